//! What a zygote's client and the zygote say to each other on their edge, and what a client and its worker say on
//! the worker's one socket.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use crate::report::{Facts, Query};

/// Bounds of these talks.
pub mod limits {
    /// Largest message any worker can be made for (bytes).
    pub const LARGEST: u64 = 256 * 1024 * 1024;
    /// Largest message of a worker that waits ready (bytes).
    pub const READY_LARGEST: u64 = 1024 * 1024;
    /// Memory of a worker beside twice its message (bytes; DESIGN section 4).
    pub const ROOM: u64 = 64 * 1024 * 1024;
    /// Bytes of one encoded job.
    pub const JOB: usize = 512 * 1024;
    /// Seconds of processor time any worker may ask for.
    pub const SECONDS: u32 = 600;
}

/// From a client to its zygote.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// A worker, please. Riding along: the memory file that becomes its message, and its end of its one socket. What is
    /// to be done may lie in both before it is there: the making of it takes longer than all else.
    Spawn(Spawn),
    /// The edge that rides along is one more client's.
    Attach,
}

/// What a worker is to be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// Largest message (bytes).
    pub largest: u64,
    /// Processor time (seconds): the backstop behind the client's own deadline.
    pub seconds: u32,
    /// It will wait ready: touch beforehand what a message will touch.
    pub warm: bool,
}

/// From a zygote to its client.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Riding along: its pidfd.
    Worker,
    /// To `Attach`.
    Attached,
    /// The kernel refused (errno): a temporary failure.
    Refused(i32),
}

/// News from a zygote: none. What it has to tell it tells `up`.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {}

/// What a worker is told to do, once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Describe the message: the first `size` bytes of the memory file. The answer is one frame, a report; an empty
    /// one when the message is beyond the report's limits.
    Examine { size: u64, facts: Facts },
    /// For each letter that follows on the socket (known: u64, length: u32, bytes; little-endian): one byte, 0 or 1.
    Search(Query),
    /// Say which layers hold: one frame, a [`Status`](crate::confine::Status).
    Describe,
}

/// One frame: length (u32, little-endian), then that many bytes.
pub(crate) fn frame(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut frame = Vec::with_capacity(4 + bytes.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(bytes);
    Ok(frame)
}

/// A job as a frame.
pub(crate) fn job_frame(job: &Job) -> io::Result<Vec<u8>> {
    let bytes = postcard::to_stdvec(job).map_err(io::Error::other)?;
    if bytes.len() > limits::JOB {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the job is longer than a worker takes"));
    }
    frame(&bytes)
}

/// Reads one frame of at most `most` bytes.
pub(crate) fn read_frame(from: &mut impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame longer than allowed"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
