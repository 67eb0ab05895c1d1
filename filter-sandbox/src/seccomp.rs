//! Putting a list of calls in force.

use std::io;

use crate::bpf::Program;
use crate::calls;
use crate::walls::Walls;

/// The program of a role's lists. Anything else it calls is its end.
pub(crate) fn program(walls: &Walls) -> Program {
    Program::new(&calls::merged(walls.calls), libc::SECCOMP_RET_KILL_PROCESS)
}

/// Puts a program in force for this thread and all it will make; there is no way back. No new privileges must be set.
pub(crate) fn install(program: &Program) -> io::Result<()> {
    const SET_MODE_FILTER: libc::c_uint = 1;
    let code = program.instructions();
    let wanted = libc::sock_fprog { len: code.len() as u16, filter: code.as_ptr().cast_mut() };
    // SAFETY: the kernel reads the instructions during the call only, and never writes them.
    crate::sys::check(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const wanted) }).map(drop)
}
