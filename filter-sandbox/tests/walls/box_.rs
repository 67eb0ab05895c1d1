//! A small box to test in: starts roles as `up` does.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use filter_sandbox::edge::Edge;
use filter_sandbox::filter::{Filter, FilterLimits};
use filter_sandbox::{Launch, Role, Running, attacks, zygote};

/// What this program does when it was started as a role.
pub fn role(name: &str, args: &[&str]) -> ExitCode {
    let role: Role = name.parse().unwrap();
    match args {
        [] => zygote::run(role),
        ["survey", "whole"] => attacks::survey(role, true),
        ["survey", "alone"] => attacks::survey(role, false),
        _ => ExitCode::FAILURE,
    }
}

/// Starts a role as `up` does.
pub fn start(role: Role, args: &[&str]) -> std::io::Result<Running> {
    let exe = File::open("/proc/self/exe").unwrap();
    let uid = rustix::process::geteuid().is_root().then(|| role.host_uid());
    let stderr = std::io::stderr();
    Launch { role, exe: exe.as_fd(), args, uid, directory: None, stderr: stderr.as_fd() }.start()
}

/// A zygote that serves, and its first client's edge.
pub fn zygote(self_test: bool) -> (Running, Edge, zygote::Ready) {
    let running = start(Role::MxZygote, &[]).unwrap();
    let (ours, theirs) = Edge::pair().unwrap();
    running.control.send(&zygote::Start { self_test }, &[theirs.as_fd()]).unwrap();
    let (ready, _) = running.control.recv::<zygote::Ready>().unwrap();
    (running, ours, ready)
}

pub const LIMITS: FilterLimits =
    FilterLimits { ready: 2, concurrent: 4, deadline: Duration::from_secs(5), largest: 50 * 1024 * 1024 };

/// Runs async code with a filter on a fresh zygote.
pub fn with_filter<F: Future>(limits: FilterLimits, work: impl FnOnce(Arc<Filter>) -> F) -> F::Output {
    let (running, edge, ready) = zygote(false);
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
