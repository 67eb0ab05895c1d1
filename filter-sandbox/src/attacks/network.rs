//! Reaching the network and other processes' sockets: rows 10 to 18.

use super::{Victim, answer, attempt};

/// `linux/vm_sockets.h`, `linux/if_alg.h`: not in every libc.
const AF_VSOCK: i32 = 40;

fn socket(family: i32, kind: i32, protocol: i32) -> Result<i32, i32> {
    Ok(attempt!(libc::SYS_socket, family, kind, protocol)? as i32)
}

/// `struct sockaddr_in` of the loopback.
pub(super) fn loopback(port: u16) -> [u8; 16] {
    let mut address = [0; 16];
    address[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    address[2..4].copy_from_slice(&port.to_be_bytes());
    address[4..8].copy_from_slice(&[127, 0, 0, 1]);
    address
}

/// `struct sockaddr_un`; a name that begins with NUL is abstract.
fn unix(name: &[u8]) -> Vec<u8> {
    let mut address = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    address.extend_from_slice(name);
    address
}

pub(super) fn connect(socket: i32, address: &[u8]) -> Result<(), i32> {
    attempt!(libc::SYS_connect, socket, address.as_ptr(), address.len()).map(drop)
}

pub(super) fn tcp_connect(victim: &Victim) -> Result<(), i32> {
    connect(socket(libc::AF_INET, libc::SOCK_STREAM, 0)?, &loopback(victim.tcp))
}

/// Landlock takes it for no TCP.
pub(super) fn multipath_connect(victim: &Victim) -> Result<(), i32> {
    connect(socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)?, &loopback(victim.tcp))
}

pub(super) fn tcp_listen(_: &Victim) -> Result<(), i32> {
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    let address = loopback(0);
    attempt!(libc::SYS_bind, socket, address.as_ptr(), address.len())?;
    attempt!(libc::SYS_listen, socket, 1).map(drop)
}

pub(super) fn udp_send(victim: &Victim) -> Result<(), i32> {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let address = loopback(victim.udp);
    let empty = std::ptr::null::<u8>();
    attempt!(libc::SYS_sendto, socket, empty, 0, libc::MSG_DONTWAIT, address.as_ptr(), address.len()).map(drop)
}

pub(super) fn abstract_socket(victim: &Victim) -> Result<(), i32> {
    let name = [b"\0", victim.abstract_socket.as_bytes()].concat();
    connect(socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?, &unix(&name))
}

pub(super) fn socket_file(victim: &Victim) -> Result<(), i32> {
    let name = [victim.socket_file.as_bytes(), b"\0"].concat();
    connect(socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?, &unix(&name))
}

pub(super) fn netlink(_: &Victim) -> Result<(), i32> {
    socket(libc::AF_NETLINK, libc::SOCK_RAW, 0).map(drop)
}

pub(super) fn vsock(_: &Victim) -> Result<(), i32> {
    socket(AF_VSOCK, libc::SOCK_STREAM, 0).map(drop)
}

pub(super) fn packet(_: &Victim) -> Result<(), i32> {
    socket(libc::AF_PACKET, libc::SOCK_RAW, 0).map(drop)
}

pub(super) fn pair(_: &Victim) -> Result<(), i32> {
    let mut ends = [0i32; 2];
    // SAFETY: there is room for two numbers.
    answer(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()) }.into()).map(drop)
}
