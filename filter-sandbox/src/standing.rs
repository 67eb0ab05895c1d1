//! How far the other end of a TCP connection is with what it was sent, as its kernel last said.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// `struct tcp_info` of `linux/tcp.h`, which only ever grows: where in it stand what is asked for, and where the last of it ends.
const ROUND_TRIP: usize = 68;
/// See [`ROUND_TRIP`].
const ACKNOWLEDGED: usize = 120;
/// See [`ROUND_TRIP`]; since Linux 5.4.
const WINDOW: usize = 228;
/// See [`ROUND_TRIP`].
const ENOUGH: usize = WINDOW + 4;

/// What the other end has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Octets that it has, of all that it was ever sent. (One more: the kernel counts the beginning.)
    pub acknowledged: u64,
    /// Octets for which it has room beyond them. What its program has not read takes room.
    pub window: u64,
    /// How long an octet and its answer take.
    pub round_trip: Duration,
}

/// `None`: this is no TCP connection, or the kernel does not say so much.
#[must_use]
pub fn standing(stream: &impl AsFd) -> Option<Standing> {
    let (mut said, mut length) = ([0u8; ENOUGH], ENOUGH as libc::socklen_t);
    let fd = stream.as_fd().as_raw_fd();
    // SAFETY: the kernel writes `length` octets at the most, and there are as many.
    let answer =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, said.as_mut_ptr().cast(), &raw mut length) };
    if answer != 0 || (length as usize) < ENOUGH {
        return None;
    }
    let small = |at: usize| said[at..].first_chunk().map_or(0, |octets| u32::from_ne_bytes(*octets));
    let acknowledged = said[ACKNOWLEDGED..].first_chunk().map_or(0, |octets| u64::from_ne_bytes(*octets));
    let round_trip = Duration::from_micros(small(ROUND_TRIP).into());
    Some(Standing { acknowledged, window: small(WINDOW).into(), round_trip })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;

    fn until(one: &TcpStream, wanted: impl Fn(Standing) -> bool) {
        let began = Instant::now();
        while !wanted(standing(one).unwrap()) {
            assert!(began.elapsed() < Duration::from_secs(30), "{:?}", standing(one));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_is_not_read_takes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut other = listener.accept().unwrap().0;
        let before = standing(&one).unwrap();
        one.write_all(b"begins").unwrap();
        until(&one, |now| now.acknowledged == before.acknowledged + 6);
        one.set_nonblocking(true).unwrap();
        let mut sent = 6;
        while standing(&one).unwrap().window > before.window / 2 {
            sent += one.write(&[7; 4_096]).unwrap_or(0);
        }
        let full = standing(&one).unwrap();
        other.read_exact(&mut vec![0; sent]).unwrap();
        // Whatever it says, it says how much room there is, too.
        other.write_all(b"read").unwrap();
        until(&one, |now| now.window > full.window);
        assert_eq!(standing(&std::os::unix::net::UnixStream::pair().unwrap().0), None);
    }
}
