//! Kernels that lack something: without Landlock the other walls hold alone; without user namespaces nothing starts,
//! and it is said why and what to do. One of before Linux 6.4 lacks nothing that is needed.

use filter_sandbox::attacks::{pretend, pretend_before_auxv};
use filter_sandbox::zygote::Ready;
use filter_sandbox::{Role, attacks};

use crate::runner::Case;
use crate::{box_, worker_attacks};

pub fn cases() -> Vec<Case> {
    vec![
        Case { name: "without Landlock", run: || again("landlock") },
        Case { name: "without user namespaces", run: || again("namespaces") },
        Case { name: "before Linux 6.4", run: || again("auxv") },
    ]
}

/// A kernel cannot be made whole again: in a process of its own.
fn again(lacking: &str) {
    let status = std::process::Command::new("/proc/self/exe").args(["lacking", lacking]).status().unwrap();
    assert!(status.success());
}

/// In that process.
pub fn lacking(what: &str) {
    match what {
        "landlock" => without_landlock(),
        "namespaces" => without_namespaces(),
        "auxv" => before_auxv(),
        _ => unreachable!(),
    }
}

fn without_landlock() {
    pretend(libc::SYS_landlock_create_ruleset, libc::EOPNOTSUPP).unwrap();
    let (running, edge, ready) = box_::zygote(true);
    let Ready::Serving { worker, attacks: tried, .. } = ready else { panic!("{ready:?}") };
    assert_eq!(worker.landlock, Some(false), "its absence is told");
    assert!(tried > attacks::ATTACKS.len());
    drop(edge);
    box_::end(running);
    worker_attacks::bare();
}

/// What a library asks for only when it needs it, it can be told by nobody behind a zygote's walls.
fn before_auxv() {
    pretend_before_auxv().unwrap();
    let (running, edge, ready) = box_::zygote(true);
    assert!(matches!(ready, Ready::Serving { .. }), "{ready:?}");
    drop(edge);
    box_::end(running);
}

fn without_namespaces() {
    for (errno, told) in [(libc::EPERM, "seccomp"), (libc::ENOSYS, "5.3"), (libc::EINVAL, "CONFIG_USER_NS")] {
        let status = std::process::Command::new("/proc/self/exe")
            .args(["lacking-clone", &errno.to_string(), told])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

/// In a process of its own: `clone3` fails with that errno.
pub fn lacking_clone(errno: &str, told: &str) {
    pretend(libc::SYS_clone3, errno.parse().unwrap()).unwrap();
    let error = box_::start(Role::MxZygote, &[]).unwrap_err().to_string();
    println!("    {error}");
    assert!(error.contains("user namespaces are missing") && error.contains(told), "{error}");
    assert!(error.contains(&format!("os error {errno}")), "{error}");
}
