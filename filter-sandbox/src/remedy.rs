//! What the family's admin must do when the kernel refuses what the box cannot do without.

use crate::launch::Stage;

/// The exact fix for a failed start, from what `/proc/sys` says.
pub(crate) fn of(stage: Stage, errno: i32) -> Option<String> {
    match stage {
        Stage::Namespaces => Some(namespaces(errno)),
        Stage::Maps => Some(rights()),
        _ => None,
    }
}

fn namespaces(errno: i32) -> String {
    if errno == libc::EINVAL {
        return "This kernel lacks a namespace: it needs CONFIG_USER_NS, PID_NS, NET_NS, IPC_NS, UTS_NS and CGROUPS"
            .to_owned();
    }
    if setting("kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        return fix("kernel.unprivileged_userns_clone", "1");
    }
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        if setting(&format!("user/max_{kind}_namespaces")).as_deref() == Some("0") {
            return fix(&format!("user.max_{kind}_namespaces"), "10000");
        }
    }
    if errno == libc::ENOSYS {
        return "This kernel is older than 5.3, or a container's seccomp profile hides clone3 from it".to_owned();
    }
    "No setting of this system forbids them, so a container's seccomp profile does: run the container with one that \
     allows clone3 with new namespaces, mount and pivot_root (Docker: --security-opt seccomp=unconfined)"
        .to_owned()
}

/// Namespaces can be made but carry no capabilities.
pub(crate) fn rights() -> String {
    if setting("kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        return "AppArmor restricts user namespaces here: load a profile for this program with the rule `userns,` \
                (/etc/apparmor.d/postern: `abi <abi/4.0>, profile postern /path/to/postern flags=(unconfined) { userns, }`)"
            .to_owned();
    }
    "A security module takes the new namespace's rights away: it must allow this program `userns`, mount and pivot_root"
        .to_owned()
}

fn setting(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|text| text.trim().to_owned())
}

fn fix(name: &str, value: &str) -> String {
    format!("Run as root: sysctl -w {name}={value} (and put `{name} = {value}` into /etc/sysctl.d/postern.conf)")
}
