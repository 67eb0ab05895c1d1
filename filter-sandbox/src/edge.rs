//! An edge: one connected pair of packet sockets between two processes of the box.
//!
//! Every packet is one whole postcard value of at most [`MAX_PACKET`] bytes and at most
//! [`MAX_DESCRIPTORS`] descriptors. Bodies (letters, long lists) travel as descriptors, never as
//! packets. A packet that is too long, cut short or does not decode is the other side's fault: the
//! reader drops the edge.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::{fmt, mem::MaybeUninit};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::unix::AsyncFd;

mod caller;

pub use caller::{Answer, Call, Caller, Down, Numbered};

/// Largest packet in bytes. Well under the kernel's default send buffer, so that one packet is
/// always sent whole.
pub const MAX_PACKET: usize = 64 * 1024;
/// Most descriptors in one packet (the kernel's own limit is 253).
pub const MAX_DESCRIPTORS: usize = 128;
/// Bytes of as many.
const ANCILLARY: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS));
/// Most calls one client may have waiting on one edge.
pub const MAX_PENDING: usize = 4096;

/// Why an edge cannot be used.
#[derive(Debug)]
pub enum EdgeError {
    /// The process at the other end has closed it or died.
    Closed,
    /// The other end sent what no edge carries: too long, cut short, or not decodable.
    Malformed(&'static str),
    /// The kernel refused.
    Io(io::Error),
}

impl fmt::Display for EdgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the process at the other end is gone"),
            Self::Malformed(what) => write!(f, "malformed packet: {what}"),
            Self::Io(error) => write!(f, "edge: {error}"),
        }
    }
}

impl std::error::Error for EdgeError {}

impl From<rustix::io::Errno> for EdgeError {
    fn from(errno: rustix::io::Errno) -> Self {
        use rustix::io::Errno;
        match errno {
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => Self::Closed,
            other => Self::Io(other.into()),
        }
    }
}

/// One end of an edge, used by blocking code.
#[derive(Debug)]
pub struct Edge(OwnedFd);

impl Edge {
    /// Makes a connected pair, closed on exec.
    ///
    /// # Errors
    /// The kernel's, when no descriptor is left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (left, right) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(left), Self(right)))
    }

    /// Sends one message with descriptors; waits while the other side's queue is full.
    ///
    /// # Errors
    /// [`EdgeError::Closed`] when the other side is gone; [`EdgeError::Malformed`] when the message
    /// does not fit a packet (a bug of the caller's).
    pub fn send<T: Serialize>(&self, message: &T, with: &[BorrowedFd<'_>]) -> Result<(), EdgeError> {
        send_packet(self.0.as_fd(), &encode(message)?, with)
    }

    /// Waits for one message.
    ///
    /// # Errors
    /// [`EdgeError::Closed`] at the end; [`EdgeError::Malformed`] for what does not decode.
    pub fn recv<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), EdgeError> {
        all_of(recv_packet(self.0.as_fd())?)
    }
}

impl From<OwnedFd> for Edge {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Edge> for OwnedFd {
    fn from(edge: Edge) -> Self {
        edge.0
    }
}

impl AsFd for Edge {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One end of an edge, used by tokio code.
#[derive(Debug)]
pub struct AsyncEdge(AsyncFd<OwnedFd>);

impl AsyncEdge {
    /// Takes the end over, making it non-blocking.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime with its driver enabled.
    pub fn new(edge: Edge) -> io::Result<Self> {
        let fd: OwnedFd = edge.into();
        rustix::io::ioctl_fionbio(&fd, true)?;
        // SAFETY: an OwnedFd gives the same descriptor for as long as it lives, and AsyncFd owns it.
        let registered = unsafe { AsyncFd::register(fd) }?;
        Ok(Self(registered))
    }

    /// As [`Edge::send`].
    ///
    /// # Errors
    /// As [`Edge::send`].
    pub async fn send<T: Serialize>(&self, message: &T, with: &[BorrowedFd<'_>]) -> Result<(), EdgeError> {
        self.send_packet(&Packet::of(message)?, with).await
    }

    /// Sends a message encoded before. Safe to drop: a packet is sent whole or not at all.
    ///
    /// # Errors
    /// As [`Edge::send`].
    pub async fn send_packet(&self, packet: &Packet, with: &[BorrowedFd<'_>]) -> Result<(), EdgeError> {
        loop {
            let mut ready = self.0.writable().await.map_err(EdgeError::Io)?;
            match send_packet(self.0.as_fd(), &packet.0, with) {
                Err(EdgeError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                other => return other,
            }
        }
    }

    /// Kernel memory held by what was sent and the other side has not taken yet; 0 once it has taken all.
    #[must_use]
    pub fn unread(&self) -> usize {
        type Unread = rustix::ioctl::Getter<{ libc::TIOCOUTQ as rustix::ioctl::Opcode }, libc::c_int>;
        // SAFETY: TIOCOUTQ (SIOCOUTQ on a socket) writes one int and nothing else.
        let asked = unsafe { rustix::ioctl::ioctl(&self.0, Unread::new()) };
        usize::try_from(asked.unwrap_or(0)).unwrap_or(0)
    }

    /// As [`Edge::recv`]. Safe to drop and call again: a packet is taken whole or not at all.
    ///
    /// # Errors
    /// As [`Edge::recv`].
    pub async fn recv<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), EdgeError> {
        all_of(self.recv_some().await?)
    }

    /// As [`Self::recv`]; `None` for the descriptors when this process had no room for all of them: that is not the
    /// fault of who sent them.
    ///
    /// # Errors
    /// As [`Edge::recv`].
    pub async fn recv_some<T: DeserializeOwned>(&self) -> Result<(T, Option<Vec<OwnedFd>>), EdgeError> {
        loop {
            let mut ready = self.0.readable().await.map_err(EdgeError::Io)?;
            match recv_packet(self.0.as_fd()) {
                Err(EdgeError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                other => return other,
            }
        }
    }
}

impl AsFd for AsyncEdge {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A listening packet socket: every connection to it is an edge.
#[derive(Debug)]
pub struct EdgeListener(AsyncFd<OwnedFd>);

impl EdgeListener {
    /// Takes the socket over, making it non-blocking.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime with its driver enabled.
    pub fn new(listener: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        // SAFETY: an OwnedFd gives the same descriptor for as long as it lives, and AsyncFd owns it.
        let registered = unsafe { AsyncFd::register(listener) }?;
        Ok(Self(registered))
    }

    /// The next connection. Safe to drop and call again.
    ///
    /// # Errors
    /// The kernel's, when no descriptor is left: wait before the next try.
    pub async fn accept(&self) -> io::Result<Edge> {
        loop {
            let mut ready = self.0.readable().await?;
            match rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC) {
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => {}
                other => return Ok(Edge(other?)),
            }
        }
    }
}

/// A message as it will travel.
#[derive(Debug, Clone)]
pub struct Packet(Vec<u8>);

impl Packet {
    /// Encodes a message.
    ///
    /// # Errors
    /// [`EdgeError::Malformed`] when it does not fit a packet (a bug of the caller's).
    pub fn of<T: Serialize>(message: &T) -> Result<Self, EdgeError> {
        encode(message).map(Self)
    }

    /// Its bytes in memory.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.0.capacity()
    }
}

fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, EdgeError> {
    let packet = postcard::to_stdvec(message).map_err(|_| EdgeError::Malformed("cannot encode"))?;
    if packet.len() > MAX_PACKET {
        return Err(EdgeError::Malformed("longer than a packet"));
    }
    // On a packet socket nothing is what the reader sees at the end.
    if packet.is_empty() {
        return Err(EdgeError::Malformed("of no bytes"));
    }
    Ok(packet)
}

fn send_packet(fd: BorrowedFd<'_>, packet: &[u8], with: &[BorrowedFd<'_>]) -> Result<(), EdgeError> {
    if with.len() > MAX_DESCRIPTORS {
        return Err(EdgeError::Malformed("too many descriptors"));
    }
    let mut space = [MaybeUninit::uninit(); ANCILLARY];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !with.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(with)) {
        return Err(EdgeError::Malformed("too many descriptors"));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(fd, &[IoSlice::new(packet)], &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

fn all_of<T>((message, with): (T, Option<Vec<OwnedFd>>)) -> Result<(T, Vec<OwnedFd>), EdgeError> {
    with.map(|with| (message, with)).ok_or(EdgeError::Malformed("cut short"))
}

fn recv_packet<T: DeserializeOwned>(fd: BorrowedFd<'_>) -> Result<(T, Option<Vec<OwnedFd>>), EdgeError> {
    thread_local! {
        // One buffer a thread, not one an edge: the keeper holds many edges.
        static BUFFER: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; MAX_PACKET]);
    }
    BUFFER.with_borrow_mut(|buffer| {
        let mut space = [MaybeUninit::uninit(); ANCILLARY];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(fd, &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })?;
        // Taken before any check, so that descriptors of a bad packet are closed, not leaked.
        let mut with = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                with.extend(fds);
            }
        }
        if got.bytes == 0 {
            return Err(EdgeError::Closed);
        }
        // The room given holds as many as may come: with fewer of them, it was our table that had none left.
        let short = got.flags.contains(ReturnFlags::CTRUNC);
        if got.flags.contains(ReturnFlags::TRUNC) || (short && with.len() >= MAX_DESCRIPTORS) {
            return Err(EdgeError::Malformed("cut short"));
        }
        match postcard::take_from_bytes(&buffer[..got.bytes]) {
            Ok((message, [])) => Ok((message, (!short).then_some(with))),
            Ok(_) => Err(EdgeError::Malformed("bytes after the message")),
            Err(_) => Err(EdgeError::Malformed("does not decode")),
        }
    })
}
