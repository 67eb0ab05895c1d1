//! The sandbox: one zygote is started as `up` does, tries its worker's walls, and tells which layers there are.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use filter_sandbox::confine::Status;
use filter_sandbox::edge::Edge;
use filter_sandbox::launch::Launch;
use filter_sandbox::role::Role;
use filter_sandbox::scanner::{REMEDY, TREE, missing};
use filter_sandbox::zygote::{Ready, Start};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::Finding;
use crate::config::Config;
use crate::up::heard;

const ABOUT: &str = "sandbox";
/// Seconds a slow board may take.
const PATIENCE: i64 = 20;

/// Every layer; with the external scanner's when there is one.
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = worker();
    findings.extend(config.scanner.is_some().then(scanner));
    findings
}

fn worker() -> Vec<Finding> {
    match probe(Role::MxZygote, true) {
        Ok(Ready::Serving { worker, attacks, .. }) => layers(worker, attacks),
        Ok(Ready::Due) => Vec::new(),
        Ok(Ready::Refused(words)) => {
            vec![Finding::bad(ABOUT, heard(&words), "without this `postern up` does not start")]
        }
        Err(error) => vec![Finding::bad(ABOUT, error.to_string(), "without this `postern up` does not start")],
    }
}

/// It holds, and is weaker: that is worth a word even when all is well.
fn scanner() -> Finding {
    const ABOUT: &str = "external scanner";
    let advice = "without it `postern up` does not start: mend it, or take the section [scanner] out";
    match probe(Role::ScannerZygote, false) {
        Ok(Ready::Serving { .. } | Ready::Due) => Finding::weak(
            ABOUT,
            format!(
                "spamassassin is on. Its walls are weaker than a worker's: it may read {} paths of this machine and run \
                 /usr/bin/perl; it has no network, no other letter and nowhere to write",
                TREE.len()
            ),
            "take the section [scanner] out of the configuration if our own verdict is enough",
        ),
        Ok(Ready::Refused(words)) => Finding::bad(ABOUT, heard(&words), advice),
        Err(_) if missing().is_some() => {
            let path = missing().unwrap_or(std::path::Path::new("/"));
            Finding::bad(ABOUT, format!("{} is not there", path.display()), REMEDY)
        }
        Err(error) => Finding::bad(ABOUT, error.to_string(), advice),
    }
}

fn probe(role: Role, self_test: bool) -> io::Result<Ready> {
    let exe = File::open("/proc/self/exe")?;
    let stderr = io::stderr();
    let uid = rustix::process::geteuid().is_root().then(|| role.host_uid());
    let launch = Launch { role, exe: exe.as_fd(), args: &[], uid, directory: None, stderr: stderr.as_fd() };
    let running = launch.start()?;
    let (_client, theirs) = Edge::pair()?;
    running.control.send(&Start { self_test }, &[theirs.as_fd()]).map_err(io::Error::other)?;
    drop(theirs);
    let mut fds = [PollFd::new(&running.control, PollFlags::IN)];
    let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
    let answered = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&patience)))? > 0;
    let ready = if answered {
        running.control.recv::<Ready>().map(|(ready, _)| ready).map_err(io::Error::other)
    } else {
        Err(io::ErrorKind::TimedOut.into())
    };
    let _ = rustix::process::pidfd_send_signal(&running.pidfd, Signal::KILL);
    let _ = rustix::process::waitid(WaitId::PidFd(running.pidfd.as_fd()), WaitIdOptions::EXITED);
    ready
}

fn layers(worker: Status, attacks: usize) -> Vec<Finding> {
    let mut findings = vec![
        Finding::good(
            ABOUT,
            "namespaces (user, mount, pid, net, ipc, uts, cgroup), empty root, no capabilities, limits",
        ),
        Finding::good(ABOUT, "seccomp"),
    ];
    findings.push(match worker.landlock {
        Some(false) => Finding::weak(
            ABOUT,
            "Landlock is missing",
            "the walls hold without it; to have it too, add `lsm=landlock,...` with your other modules to the kernel's \
             command line, or use a kernel built with CONFIG_SECURITY_LANDLOCK",
        ),
        _ => Finding::good(ABOUT, "Landlock"),
    });
    findings.push(match worker.no_new_code {
        true => Finding::good(ABOUT, "memory never becomes executable"),
        false => Finding::weak(ABOUT, "memory may become executable", "Linux 6.3 or newer can forbid it"),
    });
    if attacks > 0 {
        findings.push(Finding::good(ABOUT, format!("{attacks} attacks tried from inside a worker, all in vain")));
    }
    findings
}
