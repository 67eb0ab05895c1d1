//! What the processes between fork and exec tell `up`: B's number, its DNS sockets, or why it could not.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::{cell::Cell, error, fmt};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use super::{Dns, Running};
use crate::edge::Edge;

/// How far a start came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Taking the role's uid.
    User = 1,
    /// Entering the directory it is to see.
    Directory,
    /// Making its namespaces.
    Namespaces,
    /// Writing its id maps.
    Maps,
    /// Its loopback and the DNS sockets on it.
    Loopback,
    /// Placing its descriptors.
    Descriptors,
    /// Starting the program.
    Exec,
}

impl Stage {
    const ALL: [Self; 7] =
        [Self::User, Self::Directory, Self::Namespaces, Self::Maps, Self::Loopback, Self::Descriptors, Self::Exec];
}

/// Why a role could not be started: what is missing, the errno, what to do.
#[derive(Debug)]
pub struct LaunchError {
    /// How far it came.
    pub stage: Stage,
    /// The kernel's answer.
    pub errno: i32,
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = io::Error::from_raw_os_error(self.errno);
        let what = match self.stage {
            Stage::User => "the role's user id could not be taken",
            Stage::Directory => "the role's directory cannot be entered by its user",
            Stage::Namespaces => "user namespaces are missing",
            Stage::Maps => "user namespaces are there but give no rights",
            Stage::Loopback => "the role's own loopback could not be brought up",
            Stage::Descriptors => "the role's descriptors could not be placed",
            Stage::Exec => {
                "the program file could not be run by the role's user (is it readable and executable by all?)"
            }
        };
        write!(f, "{what}: {errno}")?;
        match crate::remedy::of(self.stage, self.errno) {
            Some(fix) => write!(f, ". {fix}"),
            None => Ok(()),
        }
    }
}

impl error::Error for LaunchError {}

const PID: u8 = b'p';
const DNS: u8 = b'd';
const FAILED: u8 = b'f';

/// The children's end. Its sends allocate nothing.
pub(crate) struct Teller {
    fd: OwnedFd,
    /// Whether it has been moved to its last number, and every other descriptor closed.
    placed: Cell<bool>,
}

impl Teller {
    pub(crate) const fn new(fd: OwnedFd) -> Self {
        Self { fd, placed: Cell::new(false) }
    }

    pub(crate) fn number(&self) -> RawFd {
        if self.placed.get() { super::TELL } else { self.fd.as_raw_fd() }
    }

    pub(crate) fn now_placed(&self) {
        self.placed.set(true);
    }

    pub(crate) fn pid(&self, pid: i32) {
        let mut packet = [PID; 5];
        packet[1..].copy_from_slice(&pid.to_ne_bytes());
        let _ = rustix::net::send(&self.fd, &packet, SendFlags::NOSIGNAL);
    }

    pub(crate) fn dns(&self, dns: &Dns) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let with = [dns.udp.as_fd(), dns.tcp.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&with));
        let _ = rustix::net::sendmsg(&self.fd, &[IoSlice::new(&[DNS])], &mut ancillary, SendFlags::NOSIGNAL);
    }

    pub(crate) fn failed(&self, stage: Stage, error: &io::Error) {
        let mut packet = [FAILED; 6];
        packet[1] = stage as u8;
        packet[2..].copy_from_slice(&error.raw_os_error().unwrap_or(0).to_ne_bytes());
        // SAFETY: the buffer is valid for its length; the number is that of our descriptor.
        unsafe { libc::send(self.number(), packet.as_ptr().cast(), packet.len(), libc::MSG_NOSIGNAL) };
    }
}

/// Reads until the children's ends are closed: by exec, or by death.
pub(crate) fn listen(tell: &OwnedFd, control: Edge, want_dns: bool) -> io::Result<Running> {
    let mut pid = None;
    let mut dns = None;
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut packet = [0; 8];
        let got = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(tell, &mut [IoSliceMut::new(&mut packet)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })?;
        match packet[..got.bytes] {
            [] => break,
            [PID, a, b, c, d] => pid = Some(i32::from_ne_bytes([a, b, c, d])),
            [DNS] => dns = sockets(&mut ancillary),
            [FAILED, stage, a, b, c, d] => return Err(failure(pid, stage, i32::from_ne_bytes([a, b, c, d]))),
            _ => return Err(io::Error::other("the starting process said something unknown")),
        }
    }
    let pid = pid.ok_or_else(|| io::Error::other("the starting process died without a word"))?;
    if want_dns && dns.is_none() {
        return Err(io::Error::other("the role's process died before it was started"));
    }
    let number = rustix::process::Pid::from_raw(pid).ok_or_else(|| io::Error::other("no process number"))?;
    let pidfd = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty())?;
    Ok(Running { pid, pidfd, control, dns })
}

fn sockets(ancillary: &mut RecvAncillaryBuffer<'_>) -> Option<Dns> {
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(with) = message {
            fds.extend(with);
        }
    }
    let mut fds = fds.into_iter();
    Some(Dns { udp: fds.next()?, tcp: fds.next()? })
}

fn failure(pid: Option<i32>, stage: u8, errno: i32) -> io::Error {
    if let Some(pid) = pid {
        super::reap(pid);
    }
    match Stage::ALL.into_iter().find(|known| *known as u8 == stage) {
        Some(stage) => io::Error::new(io::Error::from_raw_os_error(errno).kind(), LaunchError { stage, errno }),
        None => io::Error::other("the starting process said something unknown"),
    }
}
