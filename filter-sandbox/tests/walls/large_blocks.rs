//! What a role had in memory of large letters it gives back, whichever of its threads had it.

use std::process::ExitCode;
use std::sync::Barrier;

use filter_sandbox::{Role, confine};

use crate::box_;
use crate::runner::Case;

pub fn cases() -> Vec<Case> {
    vec![Case { name: "large blocks go back to the kernel", run: they_go_back }]
}

const THREADS: usize = 6;
/// What glibc, left alone, would keep from the second on: its threshold follows what is freed up to 32 MB.
const BLOCK: usize = 28 << 20;
/// Of a whole role with its threads, in bytes: a fifth of what those would keep.
const AT_REST: usize = THREADS * BLOCK / 5;

/// The role: each thread has a large block, one after the other, and all stay.
pub fn take_and_free(role: Role) -> ExitCode {
    let Ok(confined) = confine(role) else { return ExitCode::from(255) };
    let (turn, all) = (std::sync::Mutex::new(()), Barrier::new(THREADS + 1));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..2 {
                    let _mine = turn.lock().unwrap();
                    let block = std::hint::black_box(vec![1u8; BLOCK]);
                    drop(block);
                }
                all.wait();
                all.wait();
            });
        }
        all.wait();
        confined.control.send(&true, &[]).unwrap();
        let _ = confined.control.recv::<bool>();
        all.wait();
    });
    ExitCode::SUCCESS
}

fn they_go_back() {
    for role in [Role::Courier, Role::Submission, Role::Mx] {
        let running = box_::start(role, &["large-blocks"]).unwrap();
        let (done, _) = running.control.recv::<bool>().unwrap();
        assert!(done);
        let held = resident(running.pid);
        box_::end(running);
        assert!(held < AT_REST, "{role} holds {held} bytes");
    }
}

fn resident(pid: i32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
