//! Landlock, where the kernel has it: a second wall behind the empty root and the empty network.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::scanner::Used;
use crate::sys;
use crate::walls::{Root, Walls};

/// The newest interface the lists here are written for; older kernels give what they have.
const WRITTEN_FOR: ABI = ABI::V6;

/// Forbids every file, every TCP port and everything outside this process, but for what the walls name.
/// Answers whether the kernel did.
pub(crate) fn restrict(walls: &Walls) -> io::Result<bool> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WRITTEN_FOR))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(WRITTEN_FOR)))
        .and_then(|rules| rules.scope(Scope::from_all(WRITTEN_FOR)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    for port in walls.connects {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp)).map_err(io::Error::other)?;
    }
    for port in walls.binds {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::BindTcp)).map_err(io::Error::other)?;
    }
    // The same rules by another descriptor; none where the kernel has no Landlock, and then nothing needs an exception.
    let same: Option<OwnedFd> = rules.try_clone()?.into();
    if let Some(files) = same.map(Files::of).transpose()? {
        match walls.root {
            Root::Spool => files.spool()?,
            Root::Listed => files.listed()?,
            Root::Empty | Root::Proc | Root::ListedAndProc => {}
        }
    }
    Ok(rules.restrict_self().map_err(io::Error::other)?.ruleset != RulesetStatus::NotEnforced)
}

/// Rules about files. The landlock crate's own ask the C library what is a folder; on a 32-bit board it has no answer about
/// whatever was last read after 2038, and no role would start.
struct Files {
    rules: OwnedFd,
    /// What this kernel forbids unless a rule allows it; a rule may name nothing else.
    handled: BitFlags<AccessFs>,
}

impl Files {
    fn of(rules: OwnedFd) -> io::Result<Self> {
        let kernel = ABI::from(sys::landlock_version()?);
        Ok(Self { rules, handled: AccessFs::from_all(WRITTEN_FOR) & AccessFs::from_all(kernel) })
    }

    /// What is not there needs no rule.
    fn allow(&self, path: &Path, access: BitFlags<AccessFs>) -> io::Result<()> {
        let Ok(path) = PathFd::new(path) else { return Ok(()) };
        sys::landlock_allow_beneath(self.rules.as_fd(), path.as_fd(), (access & self.handled).bits())
    }

    fn spool(&self) -> io::Result<()> {
        let all = AccessFs::from_all(WRITTEN_FOR);
        self.allow("/spool".as_ref(), all & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock))
    }

    /// Reading the tree; executing only what is there to be executed.
    fn listed(&self) -> io::Result<()> {
        self.allow(super::mounts::NULL.as_ref(), AccessFs::ReadFile.into())?;
        for listed in crate::scanner::TREE {
            let mut allowed = BitFlags::from(AccessFs::ReadFile);
            if listed.outside().is_dir() {
                allowed |= AccessFs::ReadDir;
            }
            if listed.used == Used::Executed {
                allowed |= AccessFs::Execute;
            }
            self.allow(listed.outside(), allowed)?;
        }
        Ok(())
    }
}
