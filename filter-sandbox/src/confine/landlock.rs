//! Landlock, where the kernel has it: a second wall behind the empty root and the empty network.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use crate::scanner::Used;
use crate::walls::{Root, Walls};

/// The newest interface the lists here are written for; older kernels give what they have.
const WRITTEN_FOR: ABI = ABI::V6;

/// Forbids every file, every TCP port and everything outside this process, but for what the walls name.
/// Answers whether the kernel did.
pub(crate) fn restrict(walls: &Walls) -> io::Result<bool> {
    match enforce(walls) {
        Ok(enforced) => Ok(enforced),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

fn enforce(walls: &Walls) -> Result<bool, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WRITTEN_FOR))?
        .handle_access(AccessNet::from_all(WRITTEN_FOR))?
        .scope(Scope::from_all(WRITTEN_FOR))?
        .create()?;
    for port in walls.connects {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    match walls.root {
        Root::Spool => rules = spool(rules)?,
        Root::Listed => rules = listed(rules)?,
        Root::Empty | Root::Proc | Root::ListedAndProc => {}
    }
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

fn spool(rules: RulesetCreated) -> Result<RulesetCreated, RulesetError> {
    let Ok(path) = PathFd::new("/spool") else { return Ok(rules) };
    let allowed = AccessFs::from_all(WRITTEN_FOR) & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock);
    rules.add_rule(PathBeneath::new(path, allowed))
}

/// Reading the tree; executing only what is there to be executed.
fn listed(mut rules: RulesetCreated) -> Result<RulesetCreated, RulesetError> {
    if let Ok(null) = PathFd::new(super::mounts::NULL) {
        rules = rules.add_rule(PathBeneath::new(null, AccessFs::ReadFile))?;
    }
    for listed in crate::scanner::TREE {
        let Ok(path) = PathFd::new(listed.outside()) else { continue };
        let mut allowed = BitFlags::from(AccessFs::ReadFile);
        if listed.outside().is_dir() {
            allowed |= AccessFs::ReadDir;
        }
        if listed.used == Used::Executed {
            allowed |= AccessFs::Execute;
        }
        rules = rules.add_rule(PathBeneath::new(path, allowed))?;
    }
    Ok(rules)
}
