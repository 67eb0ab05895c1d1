//! A role's own loopback: up, with one DNS service on it. Allocates nothing: it runs between fork and exec.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::Dns;
use crate::sys;
use crate::walls::ITS_DNS;

/// Connections waiting on the TCP socket.
const BACKLOG: i32 = 16;

/// Brings `lo` up in this network namespace and binds the resolver's port there.
pub(super) fn serve() -> io::Result<Dns> {
    let flags = SocketFlags::CLOEXEC;
    let udp = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    let tcp = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    up(&udp)?;
    let here = SocketAddrV4::new(Ipv4Addr::LOCALHOST, ITS_DNS);
    rustix::net::bind(&udp, &here)?;
    rustix::net::bind(&tcp, &here)?;
    rustix::net::listen(&tcp, BACKLOG)?;
    Ok(Dns { udp, tcp })
}

fn up(any_socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: this request reads an ifreq.
    let answer = unsafe { libc::ioctl(any_socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    sys::check(answer.into()).map(drop)
}
