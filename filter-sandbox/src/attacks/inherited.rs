//! Reaching out through what a role was given: a listener, and a connection that it accepted, belong to the host's
//! network, whatever network the role itself lives in.

use super::table::host;
use super::{Attack, Outcome, Victim, answer, attempt, network};

/// As row 10, by other means. What came of it counts only beside what the victim's listener saw.
pub const ON_INHERITED: &[Attack] = &[
    host(10, "connect a listener by sending from it", by_sending, REACHES_NOBODY),
    host(10, "the same with sendmsg", by_message, REACHES_NOBODY),
    host(10, "connect a listener that is not deaf by sending from it", open_by_sending, Outcome::Works),
    host(10, "connect a listener that is not deaf with sendmsg", open_by_message, Outcome::Works),
    host(10, "connect an accepted connection by sending from it", accepted_by_sending, REACHES_NOBODY),
    host(10, "connect a listener", by_connecting, REACHES_NOBODY),
    host(10, "connect an accepted connection", accepted_by_connecting, REACHES_NOBODY),
    host(10, "connect a listener by writing to it", by_writing, REACHES_NOBODY),
];

const REACHES_NOBODY: Outcome = Outcome::Refused(libc::ETIMEDOUT);

const DATA: &[u8; 5] = b"hello";

/// A listener that is shut down can be used as a new socket.
fn reuse(socket: i32) -> Result<(), i32> {
    attempt!(libc::SYS_shutdown, socket, libc::SHUT_RDWR).map(drop)
}

/// A connection that goes back to before it was one.
fn dissolve(socket: i32) -> Result<(), i32> {
    network::connect(socket, &(libc::AF_UNSPEC as u128).to_ne_bytes())
}

fn send(socket: i32, victim: &Victim) -> Result<(), i32> {
    let address = network::loopback(victim.tcp);
    let flags = libc::MSG_FASTOPEN | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    begun(attempt!(libc::SYS_sendto, socket, DATA.as_ptr(), DATA.len(), flags, address.as_ptr(), address.len()))?;
    established(socket)
}

fn message(socket: i32, victim: &Victim) -> Result<(), i32> {
    let mut address = network::loopback(victim.tcp);
    let mut data = libc::iovec { iov_base: DATA.as_ptr().cast_mut().cast(), iov_len: DATA.len() };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_name, message.msg_namelen) = (address.as_mut_ptr().cast(), address.len() as libc::socklen_t);
    (message.msg_iov, message.msg_iovlen) = (&raw mut data, 1);
    let flags = libc::MSG_FASTOPEN | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    begun(attempt!(libc::SYS_sendmsg, socket, &raw const message, flags))?;
    established(socket)
}

fn connect(socket: i32, victim: &Victim) -> Result<(), i32> {
    begun(network::connect(socket, &network::loopback(victim.tcp)).map(|()| 0))?;
    established(socket)
}

fn begun(answer: Result<libc::c_long, i32>) -> Result<(), i32> {
    match answer {
        Ok(_) | Err(libc::EINPROGRESS) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Waits for the far side to answer.
fn established(socket: i32) -> Result<(), i32> {
    let mut wait = libc::pollfd { fd: socket, events: libc::POLLOUT, revents: 0 };
    let time = libc::timespec { tv_sec: 0, tv_nsec: 300_000_000 };
    let none = std::ptr::null::<libc::sigset_t>();
    if attempt!(libc::SYS_ppoll, &raw mut wait, 1, &raw const time, none, 8)? == 0 {
        return Err(libc::ETIMEDOUT);
    }
    let (mut error, mut length) = (0i32, size_of::<i32>() as libc::socklen_t);
    let (place, room) = (&raw mut error, &raw mut length);
    // SAFETY: there is room for one number.
    answer(unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_ERROR, place.cast(), room) }.into())?;
    if error == 0 { Ok(()) } else { Err(error) }
}

fn by_sending(victim: &Victim) -> Result<(), i32> {
    reuse(victim.listener)?;
    send(victim.listener, victim)
}

fn by_message(victim: &Victim) -> Result<(), i32> {
    reuse(victim.listener)?;
    message(victim.listener, victim)
}

fn open_by_sending(victim: &Victim) -> Result<(), i32> {
    reuse(victim.open_listener)?;
    send(victim.open_listener, victim)
}

fn open_by_message(victim: &Victim) -> Result<(), i32> {
    reuse(victim.open_listener)?;
    message(victim.open_listener, victim)
}

fn accepted_by_sending(victim: &Victim) -> Result<(), i32> {
    dissolve(victim.accepted)?;
    send(victim.accepted, victim)
}

fn by_connecting(victim: &Victim) -> Result<(), i32> {
    reuse(victim.listener)?;
    connect(victim.listener, victim)
}

fn accepted_by_connecting(victim: &Victim) -> Result<(), i32> {
    dissolve(victim.accepted)?;
    connect(victim.accepted, victim)
}

/// With this option a connect only remembers the address: the first write connects.
fn by_writing(victim: &Victim) -> Result<(), i32> {
    reuse(victim.listener)?;
    let one = 1i32;
    let (level, option) = (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT);
    attempt!(libc::SYS_setsockopt, victim.listener, level, option, &raw const one, size_of::<i32>())?;
    network::connect(victim.listener, &network::loopback(victim.tcp))?;
    begun(attempt!(libc::SYS_write, victim.listener, DATA.as_ptr(), DATA.len()))?;
    established(victim.listener)
}
