//! Two workers that would like to know of each other, at the same time or one after another: rows 58 and 59.

use std::io::{self, Read};

use super::{Message, Outcome, answer, attempt, end_of};
use crate::sys;
use crate::zygote::births::Births;

/// What the first of the two leaves, and how the second looks for it. Tried with seccomp off: with it, neither gets
/// that far.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// In words.
    pub name: &'static str,
    leave: fn() -> Result<(), i32>,
    find: fn() -> Result<(), i32>,
    /// What must come of looking.
    pub expected: Outcome,
}

/// Rows 58 and 59.
pub const PAIRS: &[Pair] = &[
    Pair {
        name: "abstract socket",
        leave: listen,
        find: || connect_to(NAME),
        expected: Outcome::Refused(libc::ECONNREFUSED),
    },
    Pair { name: "SysV segment", leave: leave_segment, find: find_segment, expected: Outcome::Refused(libc::ENOENT) },
    Pair { name: "file in the root", leave: leave_nothing, find: leave_file, expected: Outcome::Refused(libc::EROFS) },
    Pair { name: "session keyring", leave: leave_nothing, find: leave_key, expected: Outcome::Refused(libc::EACCES) },
    Pair { name: "user keyring", leave: leave_user_key, find: find_user_key, expected: Outcome::Refused(libc::ENOKEY) },
    Pair { name: "host name", leave: leave_nothing, find: set_name, expected: Outcome::Refused(libc::EPERM) },
];

const NAME: &[u8] = b"\0left-behind";
const KEY: i32 = 0x7057;

/// Exit code of a child that could not leave anything.
const LEFT_NOTHING: i32 = 120;

impl Births {
    /// Looks once while the first lives, once after its end.
    pub(super) fn pair(&self, pair: &Pair) -> io::Result<[Outcome; 2]> {
        let (mut socket, pidfd) = self.locked_child(Message::ReadOnly, |_| {
            if (pair.leave)().is_err() {
                return LEFT_NOTHING;
            }
            let mut byte = 0u8;
            // Says that it is there, then waits to be ended.
            let _ = attempt!(libc::SYS_write, 1, b"x".as_ptr(), 1);
            let _ = attempt!(libc::SYS_read, 1, &raw mut byte, 1);
            0
        })?;
        let mut byte = [0];
        if socket.read(&mut byte)? != 1 {
            return Ok([Outcome::NotTried; 2]);
        }
        let look = || self.hostile(Message::ReadOnly, || (pair.find)().err().unwrap_or(0));
        let beside = look()?;
        sys::kill(&pidfd)?;
        end_of(&pidfd)?;
        Ok([beside, look()?])
    }
}

fn leave_nothing() -> Result<(), i32> {
    Ok(())
}

fn unix_socket() -> Result<(i32, Vec<u8>), i32> {
    let socket = attempt!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0)? as i32;
    Ok((socket, [(libc::AF_UNIX as u16).to_ne_bytes().as_slice(), NAME].concat()))
}

fn listen() -> Result<(), i32> {
    let (socket, address) = unix_socket()?;
    attempt!(libc::SYS_bind, socket, address.as_ptr(), address.len())?;
    attempt!(libc::SYS_listen, socket, 1).map(drop)
}

fn connect_to(_: &[u8]) -> Result<(), i32> {
    let (socket, address) = unix_socket()?;
    attempt!(libc::SYS_connect, socket, address.as_ptr(), address.len()).map(drop)
}

fn leave_segment() -> Result<(), i32> {
    // SAFETY: numbers only.
    answer(unsafe { libc::shmget(KEY, 4096, libc::IPC_CREAT | 0o666) }.into()).map(drop)
}

fn find_segment() -> Result<(), i32> {
    // SAFETY: numbers only.
    answer(unsafe { libc::shmget(KEY, 4096, 0) }.into()).map(drop)
}

fn leave_file() -> Result<(), i32> {
    let flags = libc::O_WRONLY | libc::O_CREAT;
    attempt!(libc::SYS_openat, libc::AT_FDCWD, c"/left".as_ptr(), flags, 0o666).map(drop)
}

fn add_key(keyring: i32) -> Result<(), i32> {
    let (kind, name) = (c"user".as_ptr(), c"left".as_ptr());
    attempt!(libc::SYS_add_key, kind, name, b"x".as_ptr(), 1, keyring).map(drop)
}

fn leave_key() -> Result<(), i32> {
    const SESSION_KEYRING: i32 = -3;
    add_key(SESSION_KEYRING)
}

const USER_KEYRING: i32 = -4;

fn leave_user_key() -> Result<(), i32> {
    add_key(USER_KEYRING)
}

fn find_user_key() -> Result<(), i32> {
    const SEARCH: i32 = 10;
    let (kind, name) = (c"user".as_ptr(), c"left".as_ptr());
    attempt!(libc::SYS_keyctl, SEARCH, USER_KEYRING, kind, name, 0).map(drop)
}

fn set_name() -> Result<(), i32> {
    attempt!(libc::SYS_sethostname, b"left".as_ptr(), 4).map(drop)
}
