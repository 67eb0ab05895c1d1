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

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
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
        let _ = fcntl_setpipe_size(&write, limits::PIPE);
        Ok(Pipe { read, write })
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
        ended = &mut forth => { ended?; last(&mut back, &moved.back).await }
        ended = &mut back => { ended?; last(&mut forth, &moved.forth).await }
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

async fn direction(from: &TcpStream, to: &TcpStream, pipes: &Pipes, moved: &AtomicU64) -> io::Result<()> {
    loop {
        from.readable().await?;
        let pipe = pipes.take()?;
        let ended = burst(from, to, &pipe, moved).await?;
        pipes.put_back(pipe);
        if ended {
            // A peer that has closed already needs not be told.
            return match shutdown(to, Shutdown::Write) {
                Ok(()) | Err(Errno::NOTCONN) => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
    }
}

/// Moves what is there; leaves the pipe empty. Whether `from` has ended.
async fn burst(from: &TcpStream, to: &TcpStream, pipe: &Pipe, moved: &AtomicU64) -> io::Result<bool> {
    loop {
        // The pipe is empty here, so "would block" can only mean that nothing is to be read.
        let taken = match from.try_io(Interest::READABLE, || piece(from, &pipe.write, limits::PIPE)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            other => other?,
        };
        if taken == 0 {
            return Ok(true);
        }
        let mut left = taken;
        while left > 0 {
            left -= to.async_io(Interest::WRITABLE, || piece(&pipe.read, to, left)).await?;
        }
        moved.fetch_add(taken as u64, Ordering::Relaxed);
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
