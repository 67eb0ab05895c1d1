//! A small box to test in: starts roles as `up` does.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use filter_sandbox::edge::Edge;
use filter_sandbox::filter::{Filter, FilterLimits};
use filter_sandbox::walls::Root;
use filter_sandbox::{Launch, Role, Running, attacks, zygote};

use crate::{hostile, large_blocks};

/// What this program does when it was started as a role.
pub fn role(name: &str, args: &[&str]) -> ExitCode {
    let role: Role = name.parse().unwrap();
    match args {
        [] => zygote::run(role),
        ["scan", program] => zygote::run_scanning(role, program),
        ["hostile"] => zygote::run_with(role, hostile::duty),
        ["large-blocks"] => large_blocks::take_and_free(role),
        ["survey", how] => attacks::survey(role, *how == "whole"),
        ["attack", list, how, index] => {
            attacks::as_role(role, *how == "whole", attack_list(list), index.parse().unwrap())
        }
        ["attack-child", child, list, how, index] => {
            let child = child.parse().unwrap();
            attacks::as_offspring(role, child, *how == "whole", attack_list(list), index.parse().unwrap())
        }
        _ => ExitCode::FAILURE,
    }
}

fn attack_list(name: &str) -> &'static [attacks::Attack] {
    if name == "inherited" { attacks::ON_INHERITED } else { attacks::ATTACKS }
}

/// Starts a role as `up` does.
pub fn start(role: Role, args: &[&str]) -> std::io::Result<Running> {
    let exe = File::open("/proc/self/exe").unwrap();
    let uid = rustix::process::geteuid().is_root().then(|| role.host_uid());
    let stderr = std::io::stderr();
    let directory = match role {
        Role::Keeper => Some(File::open(spool().path()).unwrap()),
        role if role.walls().root == Root::Spool => Some(File::open(state(role).path()).unwrap()),
        _ => None,
    };
    let directory = directory.as_ref().map(AsFd::as_fd);
    Launch { role, exe: exe.as_fd(), args, uid, directory, stderr: stderr.as_fd() }.start()
}

/// A proxy's state; like the spool it stays for as long as this program.
fn state(role: Role) -> &'static Directory {
    let state = Box::leak(Box::new(Directory::new(role.name())));
    if rustix::process::geteuid().is_root() {
        let uid = Some(role.host_uid());
        std::os::unix::fs::chown(state.path(), uid, uid).unwrap();
    }
    state
}

/// A keeper's spool: a folder of its own, closed to others.
pub fn spool() -> &'static Directory {
    static SPOOL: OnceLock<Directory> = OnceLock::new();
    SPOOL.get_or_init(|| {
        let spool = Directory::new("spool");
        std::fs::write(spool.path().join("letter"), "sealed").unwrap();
        if rustix::process::geteuid().is_root() {
            let uid = Some(Role::Keeper.host_uid());
            std::os::unix::fs::chown(spool.path(), uid, uid).unwrap();
        }
        std::fs::set_permissions(spool.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        spool
    })
}

/// A folder that goes when it is dropped.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("postern-walls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A zygote that serves, and its first client's edge.
pub fn zygote(self_test: bool) -> (Running, Edge, zygote::Ready) {
    zygote_with(&[], self_test)
}

pub fn zygote_with(args: &[&str], self_test: bool) -> (Running, Edge, zygote::Ready) {
    zygote_of(Role::MxZygote, args, self_test)
}

pub fn zygote_of(role: Role, args: &[&str], self_test: bool) -> (Running, Edge, zygote::Ready) {
    let running = start(role, args).unwrap();
    let (ours, theirs) = Edge::pair().unwrap();
    running.control.send(&zygote::Start { self_test }, &[theirs.as_fd()]).unwrap();
    let (ready, _) = running.control.recv::<zygote::Ready>().unwrap();
    (running, ours, ready)
}

pub const LIMITS: FilterLimits =
    FilterLimits { ready: 2, concurrent: 4, deadline: Duration::from_secs(5), largest: 50 * 1024 * 1024 };

/// Runs async code with a filter on a fresh zygote.
pub fn with_filter<F: Future>(limits: FilterLimits, work: impl FnOnce(Arc<Filter>) -> F) -> F::Output {
    with_filter_on(&[], limits, work)
}

/// The same, with a zygote that was given these words.
pub fn with_filter_on<F: Future>(
    args: &[&str],
    limits: FilterLimits,
    work: impl FnOnce(Arc<Filter>) -> F,
) -> F::Output {
    let (running, edge, ready) = zygote_with(args, false);
    assert!(matches!(ready, zygote::Ready::Serving { .. }), "{ready:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let output = runtime.block_on(async { work(Filter::new(edge, limits).unwrap()).await });
    drop(runtime);
    end(running);
    output
}

/// Closes the control edge and waits for the end.
pub fn end(running: Running) {
    let Running { pid, control, pidfd, .. } = running;
    drop::<Edge>(control);
    wait(pid);
    drop::<OwnedFd>(pidfd);
}

pub fn wait(pid: i32) -> Option<rustix::process::WaitStatus> {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap().map(|(_, status)| status)
}
