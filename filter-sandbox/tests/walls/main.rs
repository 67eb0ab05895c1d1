//! The walls, attacked. This program is its own children: `launch` runs it again as `postern role NAME ...`, exactly
//! as `up` runs the box's binary, and the child then locks itself with the same functions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod box_;
mod filtering;
mod hostile;
mod large_blocks;
mod lesser_kernels;
mod role_attacks;
mod runner;
mod scanning;
mod worker_attacks;

use std::process::ExitCode;

#[global_allocator]
static ARENA: filter_sandbox::arena::Arena = filter_sandbox::arena::Arena;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["postern", "role", name, args @ ..] => box_::role(name, args),
        [_, "lacking", what] => {
            lesser_kernels::lacking(what);
            ExitCode::SUCCESS
        }
        [_, "lacking-clone", errno, told] => {
            lesser_kernels::lacking_clone(errno, told);
            ExitCode::SUCCESS
        }
        [_, args @ ..] => runner::run(args),
        [] => ExitCode::FAILURE,
    }
}
