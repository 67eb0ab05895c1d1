//! Whose box it is. Where it runs as a user of its own, as the packaged service does, root's commands become that user
//! before they touch anything: what they made would be root's, and a keeper of theirs would take the spool away from it.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use filter_sandbox::role;

use crate::data;
use crate::failure::Failure;

/// Begins this command anew as the user that the box in `folder` runs as, when that is not who runs it now. A box that
/// was started as root belongs to root; `up` by root makes any box but the service's one of root's.
///
/// # Errors
/// In words for the admin.
pub fn become_owner(folder: &Path, is_up: bool) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() || is_up && !data::is_service(folder) {
        return Ok(());
    }
    let found = std::fs::symlink_metadata(folder.join("spool")).or_else(|_| std::fs::metadata(folder));
    let Some((uid, gid)) = found.ok().map(|found| (found.uid(), found.gid())).filter(|(uid, _)| is_a_users(*uid))
    else {
        return Ok(());
    };
    // By exec: a process that changes its user may not look at itself in /proc any more.
    let error = Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).uid(uid).gid(gid).exec();
    Err(Failure::new(format!("{} belongs to user {uid}, and cannot be used as that one: {error}", folder.display())))
}

/// Not root's, nor one of the users that a box of root's gives its roles.
const fn is_a_users(uid: u32) -> bool {
    uid != 0 && !(role::FIRST_UID <= uid && uid < role::END_UID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_of_roots_stays_roots() {
        let keeper = role::Role::Keeper.host_uid();
        assert_eq!([0, keeper, 1000, 997].map(is_a_users), [false, false, true, true]);
    }
}
