//! Listeners that a role inherits. They, and every connection they accept, belong to the host's network, in which a role
//! must reach nobody: seccomp tells `connect` by its number only, and `mx` needs it to ask its resolver.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

/// TCP flags, from the 14th byte of a segment (RFC 9293 §3.1).
const FLAGS_AT: u32 = 13;
const SYN: u32 = 0x02;
const RST: u32 = 0x04;
const ACK: u32 = 0x10;
const SEQUENCE_AT: u32 = 4;

const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Drops what answers a connection that this side began: SYN with ACK, and the refusal of a closed port (RST with ACK
/// and sequence number 0, RFC 9293 §3.10.7.1). A listener and what it accepts never get either.
const DEAF: [libc::sock_filter; 9] = [
    step(LOAD_BYTE, 0, 0, FLAGS_AT),
    step(AND, 0, 0, SYN | RST | ACK),
    step(EQUAL, 0, 1, SYN | ACK),
    step(RETURN, 0, 0, 0),
    step(EQUAL, 0, 3, RST | ACK),
    step(LOAD_WORD, 0, 0, SEQUENCE_AT),
    step(EQUAL, 0, 1, 0),
    step(RETURN, 0, 0, 0),
    step(RETURN, 0, 0, u32::MAX),
];

const fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// Makes a bound TCP socket unable to connect out, for good, and all that it will accept: it is deaf to the answers.
/// (A far side that answers without SYN and ACK, as no server does, could as well connect to the listener.)
/// `false`: this kernel (measured: 6.18) keeps that for root.
///
/// # Errors
/// The kernel's.
pub fn only_answers(listener: BorrowedFd<'_>) -> Result<bool, Errno> {
    // One that was handed down again after a restart.
    if is_deaf(listener) {
        return Ok(true);
    }
    let program = libc::sock_fprog { len: DEAF.len() as u16, filter: DEAF.as_ptr().cast_mut() };
    match set(listener, libc::SO_ATTACH_FILTER, &program) {
        Err(Errno::PERM) => return Ok(false),
        other => other?,
    }
    let locked: libc::c_int = 1;
    set(listener, libc::SO_LOCK_FILTER, &locked).map(|()| true)
}

/// Sockets handed down at most.
const HANDED: i32 = 64;
/// The first of them (`sd_listen_fds(3)`).
const FIRST_HANDED: i32 = 3;

/// The TCP listeners that a service manager has bound for this process, so that it needs no right to (systemd's socket
/// units: `LISTEN_PID`, `LISTEN_FDS`). Once only, and before anything else is opened.
#[must_use]
pub fn handed_down() -> Vec<TcpListener> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    if number("LISTEN_PID") != i32::try_from(std::process::id()).ok() || TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, HANDED);
    let handed = (FIRST_HANDED..FIRST_HANDED + count).filter_map(|fd| {
        // SAFETY: a number and a flag only; of a descriptor that is not open it says so.
        let open = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
        // SAFETY: it is open, was given to this process by number, and nobody else takes it: this runs once.
        open.then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    });
    let listens = |socket: &OwnedFd| {
        rustix::net::sockopt::socket_acceptconn(socket).is_ok_and(|on| on)
            && rustix::net::sockopt::socket_type(socket).is_ok_and(|kind| kind == rustix::net::SocketType::STREAM)
    };
    handed.filter(listens).map(TcpListener::from).collect()
}

/// Whether that was done to it.
#[must_use]
pub fn is_deaf(listener: BorrowedFd<'_>) -> bool {
    let (mut locked, mut length) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    let (place, room) = ((&raw mut locked).cast(), &raw mut length);
    // SAFETY: there is room for one number.
    let answer = unsafe { libc::getsockopt(listener.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LOCK_FILTER, place, room) };
    answer == 0 && locked == 1
}

fn set<T>(socket: BorrowedFd<'_>, option: libc::c_int, value: &T) -> Result<(), Errno> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes at `value` during the call, and for a filter the instructions it names.
    let answer =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const *value).cast(), length) };
    if answer == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec};
    use rustix::net::sockopt;

    use super::*;

    fn far() -> (TcpListener, SocketAddr) {
        let far = TcpListener::bind("127.0.0.1:0").unwrap();
        far.set_nonblocking(true).unwrap();
        let at = far.local_addr().unwrap();
        (far, at)
    }

    fn listener(deaf: bool) -> TcpListener {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if deaf {
            assert!(only_answers(listener.as_fd()).unwrap(), "these tests are root's");
        }
        listener
    }

    fn accepted(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// What a taken-over role would do; whether it got an answer, and whether `far` got a connection.
    fn connects(socket: &OwnedFd, far: &TcpListener, to: SocketAddr) -> (bool, bool) {
        rustix::io::ioctl_fionbio(socket, true).unwrap();
        assert_eq!(rustix::net::connect(socket, &to), Err(Errno::INPROGRESS));
        let mut fds = [PollFd::new(socket, PollFlags::OUT)];
        let half_a_second = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
        rustix::event::poll(&mut fds, Some(&half_a_second)).unwrap();
        (!fds[0].revents().is_empty(), far.accept().is_ok())
    }

    fn reused(listener: TcpListener) -> OwnedFd {
        let socket = OwnedFd::from(listener);
        rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).unwrap();
        socket
    }

    fn disconnected(stream: TcpStream) -> OwnedFd {
        let socket = OwnedFd::from(stream);
        rustix::net::connect_unspec(&socket).unwrap();
        socket
    }

    #[test]
    fn a_listener_and_what_it_accepts_reach_nobody() {
        let (far, at) = far();
        let one = listener(true);
        let (_client, stream) = accepted(&one);
        assert_eq!(connects(&disconnected(stream), &far, at), (false, false));
        assert_eq!(connects(&reused(one), &far, at), (false, false));
    }

    #[test]
    fn without_it_they_do() {
        let (far, at) = far();
        let one = listener(false);
        let (_client, stream) = accepted(&one);
        assert_eq!(connects(&disconnected(stream), &far, at), (true, true));
        assert_eq!(connects(&reused(one), &far, at), (true, true));
    }

    #[test]
    fn nor_learn_which_ports_are_closed() {
        let (far, at) = far();
        drop(far);
        let (far, _) = self::far();
        assert_eq!(connects(&reused(listener(true)), &far, at), (false, false));
    }

    #[test]
    fn it_cannot_be_taken_off() {
        let one = listener(true);
        let (_client, stream) = accepted(&one);
        assert!(is_deaf(one.as_fd()) && is_deaf(stream.as_fd()) && !is_deaf(listener(false).as_fd()));
        let none: libc::c_int = 0;
        for socket in [one.as_fd(), stream.as_fd()] {
            assert_eq!(set(socket, libc::SO_DETACH_FILTER, &none), Err(Errno::PERM));
            assert_eq!(set(socket, libc::SO_LOCK_FILTER, &none), Err(Errno::PERM));
        }
    }

    #[test]
    fn who_comes_is_served_and_seen_to_go() {
        let one = listener(true);
        let (mut client, mut stream) = accepted(&one);
        client.write_all(b"a question").unwrap();
        let mut read = [0; 10];
        stream.read_exact(&mut read).unwrap();
        stream.write_all(b"an answer").unwrap();
        client.read_exact(&mut read[..9]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut read).unwrap(), 0);
        // Lingering for no time: its end is an RST.
        let (client, mut stream) = accepted(&one);
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(stream.read(&mut read).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
}
