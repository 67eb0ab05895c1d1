//! The file of what was learnt: records one after another, each with its length and the beginning of its digest.
//!
//! It is appended to without a sync: `kill -9` takes nothing that was written, and a power cut takes a few deferrals.
//! A torn or damaged tail is cut off at the last whole record. When it has grown long it is written anew beside, and
//! renamed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use relay_link::durable;
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::sender::{Group, Network};
use crate::tickets::TicketDigest;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// This ticket stands for this home. (Written by older versions.)
    Ticket { ticket: TicketDigest, home: String, now: u64 },
    /// This group has mail for this home.
    Pending { street: String, group: Group, home: String, now: u64 },
    /// A connection of this group was handed to this home.
    Used { street: String, group: Group, home: String, now: u64 },
    /// That home says it was the wrong one.
    Wrong { street: String, group: Group, home: String, now: u64 },
    /// This group writes to several homes.
    Mixed { street: String, group: Group, now: u64 },
    /// This ticket stands for nothing.
    Void { ticket: TicketDigest },
    /// This home is no more.
    Gone { home: String },
    /// This ticket stands for this home, and was given to this group. (Written by older versions.)
    Given { ticket: TicketDigest, home: String, group: Option<Group>, now: u64 },
    /// The same, and whence it was.
    GivenTo { ticket: TicketDigest, home: String, group: Option<Group>, now: u64, network: Network },
    /// This group, on a connection from there, has mail for this home.
    Told { street: String, group: Group, home: String, now: u64, network: Network },
    /// What is known of this group was first told on a connection from there.
    Made { street: String, group: Group, now: u64, network: Network },
    /// This home is called otherwise from now on.
    Called { home: String, to: String },
}

const CHECK: usize = 8;

/// The open file.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    length: u64,
    /// Its length when it was last written anew.
    compact: u64,
}

impl Log {
    /// Opens or makes it, hands every whole record to `apply`, and cuts off what is not whole.
    pub(super) fn open(path: &Path, mut apply: impl FnMut(Record)) -> io::Result<Self> {
        let bytes = std::fs::read(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        })?;
        let mut rest = bytes.as_slice();
        while let Some((record, after)) = decode(rest) {
            apply(record);
            rest = after;
        }
        if !rest.is_empty() {
            tracing::warn!(bytes = rest.len(), "the end of what was learnt is not whole: cut off");
        }
        let length = (bytes.len() - rest.len()) as u64;
        let file = open(path)?;
        file.set_len(length)?;
        Ok(Self { path: path.to_path_buf(), file, length, compact: length })
    }

    /// Appends, in one write.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode(record, &mut bytes)?;
        if let Err(error) = self.file.write_all(&bytes) {
            // What was written of it would hide every record after it.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(super) const fn is_long(&self) -> bool {
        self.length > limits::MEMORY_FILE && self.length / 2 > self.compact
    }

    /// Replaces all of it.
    pub(super) fn rewrite(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            encode(&record, &mut bytes)?;
        }
        durable::replace(&self.path, &bytes)?;
        self.file = open(&self.path)?;
        (self.length, self.compact) = (bytes.len() as u64, bytes.len() as u64);
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn encode(record: &Record, out: &mut Vec<u8>) -> io::Result<()> {
    let body = postcard::to_stdvec(record).map_err(io::Error::other)?;
    if body.len() > limits::RECORD_IN_MEMORY {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a record is too long"));
    }
    // It fits: the bound above is far below 65,536.
    out.extend_from_slice(&u16::try_from(body.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&check(&body));
    out.extend_from_slice(&body);
    Ok(())
}

/// The first record and what follows; `None` when there is none that is whole.
pub(super) fn decode(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (given, rest) = rest.split_first_chunk::<CHECK>()?;
    let (body, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    if *given != check(body) {
        return None;
    }
    Some((postcard::from_bytes(body).ok()?, rest))
}

fn check(body: &[u8]) -> [u8; CHECK] {
    let mut out = [0; CHECK];
    out.copy_from_slice(&digest::digest(&digest::SHA256, body).as_ref()[..CHECK]);
    out
}
