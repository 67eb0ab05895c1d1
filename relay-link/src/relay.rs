//! Moves bytes between two connections inside the kernel, both ways, until both have ended.
//!
//! `splice(2)` needs a pipe between two sockets. A connection has one only while bytes are on their way (an idle
//! one costs no memory of ours but its task), and an empty pipe goes to the next that needs one. The end of one
//! direction is passed on as such: mail servers half-close, and the other direction goes on.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits;

/// What a pipe's size is counted in, and the least that one has (pipe(7)).
const FRAGMENT: usize = 4_096;
/// See [`FRAGMENT`].
const PIPE_AT_LEAST: usize = 2 * FRAGMENT;

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Fragments it holds, however small each is.
    places: usize,
}

/// Empty pipes. Shared by all relays of a process.
#[derive(Debug, Default)]
pub struct Pipes(Mutex<Vec<Pipe>>);

impl Pipes {
    fn take(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(pipe);
        }
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // A pipe's places hold a packet's fragment each, however small. Where the kernel gives no more, what it has does.
        let size = fcntl_setpipe_size(&write, limits::PIPE).unwrap_or(PIPE_AT_LEAST);
        Ok(Pipe { read, write, places: size / FRAGMENT })
    }

    fn put_back(&self, empty: Pipe) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < limits::SPARE_PIPES {
            spare.push(empty);
        }
    }
}

/// How many bytes went each way; readable while they go.
#[derive(Debug, Default)]
pub struct Moved {
    /// From the first connection to the second.
    pub forth: AtomicU64,
    /// From the second to the first.
    pub back: AtomicU64,
}

/// Relays until both directions have ended, or one has failed; then both are closed by being dropped.
///
/// # Errors
/// Of either connection. `TimedOut` when one direction had ended and the other went silent for
/// [`limits::HALF_OPEN`].
pub async fn relay(one: &TcpStream, other: &TcpStream, pipes: &Pipes, moved: &Moved) -> io::Result<()> {
    let forth = direction(one, other, pipes, &moved.forth);
    let back = direction(other, one, pipes, &moved.back);
    tokio::pin!(forth, back);
    tokio::select! {
        ended = &mut forth => { ended?; pass_on(other)?; last(&mut back, &moved.back).await }
        ended = &mut back => { ended?; pass_on(one)?; last(&mut forth, &moved.forth).await }
    }
}

/// The direction that is left may go on for as long as something comes.
async fn last(direction: &mut (impl Future<Output = io::Result<()>> + Unpin), moved: &AtomicU64) -> io::Result<()> {
    loop {
        let before = moved.load(Ordering::Relaxed);
        match timeout(limits::HALF_OPEN, &mut *direction).await {
            Ok(ended) => return ended,
            Err(_) if moved.load(Ordering::Relaxed) == before => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => {}
        }
    }
}

/// Tells a peer that nothing more comes; one that has closed already needs not be told. What is left ends with the connection.
fn pass_on(to: &TcpStream) -> io::Result<()> {
    match shutdown(to, Shutdown::Write) {
        Ok(()) | Err(Errno::NOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn direction(from: &TcpStream, to: &TcpStream, pipes: &Pipes, moved: &AtomicU64) -> io::Result<()> {
    loop {
        from.readable().await?;
        let pipe = pipes.take()?;
        let ended = burst(from, to, &pipe, moved).await?;
        pipes.put_back(pipe);
        if ended {
            return Ok(());
        }
    }
}

/// Moves what is there; leaves the pipe empty. Whether `from` has ended.
async fn burst(from: &TcpStream, to: &TcpStream, pipe: &Pipe, moved: &AtomicU64) -> io::Result<bool> {
    loop {
        let Some((taken, more)) = take(from, pipe)? else { return Ok(false) };
        if taken == 0 {
            return Ok(true);
        }
        let mut left = taken;
        while left > 0 {
            left -= to.async_io(Interest::WRITABLE, || piece(&pipe.read, to, left)).await?;
        }
        moved.fetch_add(taken as u64, Ordering::Relaxed);
        if !more {
            return Ok(false);
        }
    }
}

/// Puts what is there into an empty pipe: how much (0: `from` has ended), and whether there may be more. `None`: there is
/// nothing, which "would block" means, since the pipe is empty.
fn take(from: &TcpStream, pipe: &Pipe) -> io::Result<Option<(usize, bool)>> {
    let mut few = None;
    let taken = from.try_io(Interest::READABLE, || {
        let taken = piece(from, &pipe.write, limits::PIPE)?;
        // Fewer bytes than places: the pipe has not been full, so nothing is left, and whatever comes is told anew. To ask
        // once more would cost each short reply a call.
        if (1..pipe.places).contains(&taken) {
            few = Some(taken);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    });
    match (taken, few) {
        (_, Some(few)) => Ok(Some((few, false))),
        (Ok(taken), None) => Ok(Some((taken, true))),
        (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        (Err(error), None) => Err(error),
    }
}

fn piece(from: impl std::os::fd::AsFd, to: impl std::os::fd::AsFd, most: usize) -> io::Result<usize> {
    loop {
        match splice(&from, None, &to, None, most, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
            Err(Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}
