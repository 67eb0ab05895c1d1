//! The values of a cache: one file, written at its end, read in place.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::bytes::{Cut, Take};
use crate::limits;

/// Values lying one after another are read at once, up to this many bytes.
const RUN: u64 = 1024 * 1024;

/// Where one value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    at: u64,
    length: u32,
}

impl Place {
    pub(super) const BYTES: usize = 12;

    pub(super) fn encode(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(&self.at.to_le_bytes());
        out[8..].copy_from_slice(&self.length.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut take = Take::new(bytes);
        let place = (|| Ok::<_, Cut>(Self { at: take.u64()?, length: take.u32()? }))().ok()?;
        let bounded = place.end()? <= limits::CACHE_BYTES && place.length as usize <= limits::CACHE_VALUE;
        (bounded && take.is_empty()).then_some(place)
    }

    pub(super) fn length(self) -> u64 {
        u64::from(self.length)
    }

    fn end(self) -> Option<u64> {
        self.at.checked_add(self.length())
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct Values {
    file: File,
    end: Mutex<u64>,
}

impl Values {
    /// Makes an empty one, in place of any other.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Self { file, end: Mutex::new(0) })
    }

    /// Opens the one that was closed with this length.
    pub(super) fn open(path: &Path, length: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() != length {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { file, end: Mutex::new(length) })
    }

    /// Writes values at the end, in one write, and says where they lie; all or none.
    pub(super) fn append(&self, values: &[&[u8]]) -> io::Result<Vec<Place>> {
        let mut end = self.end();
        let (start, all) = (*end, values.concat());
        if start + all.len() as u64 > limits::CACHE_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all_at(&all, start)?;
        let mut places = Vec::with_capacity(values.len());
        for value in values {
            let length = u32::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
            places.push(Place { at: *end, length });
            *end += u64::from(length);
        }
        Ok(places)
    }

    /// Reads the values at these places, in their order; neighbours in the file are read at once.
    pub(super) fn read(&self, places: &[Option<Place>]) -> Vec<Option<Vec<u8>>> {
        let mut out = vec![None; places.len()];
        let mut order: Vec<(usize, Place)> =
            places.iter().enumerate().filter_map(|(number, place)| place.map(|place| (number, place))).collect();
        order.sort_unstable_by_key(|(_, place)| place.at);
        let mut buffer = Vec::new();
        for run in order.chunk_by(|(_, a), (_, b)| a.end() == Some(b.at) && b.at / RUN == a.at / RUN) {
            let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else { continue };
            let length = last.end().and_then(|end| usize::try_from(end - first.at).ok()).unwrap_or(0);
            buffer.resize(length, 0);
            if self.file.read_exact_at(&mut buffer, first.at).is_ok() {
                let mut rest = buffer.as_slice();
                for (number, place) in run {
                    let Some((value, after)) = rest.split_at_checked(place.length as usize) else { break };
                    out[*number] = Some(value.to_vec());
                    rest = after;
                }
            }
        }
        out
    }

    /// On the disk; says how long it is.
    pub(super) fn sync(&self) -> io::Result<u64> {
        let end = *self.end();
        // What a failed write left behind the last value.
        self.file.set_len(end)?;
        self.file.sync_all()?;
        Ok(end)
    }

    /// Replaces the file by one that holds only `kept`, in their order, and says where each lies now.
    pub(super) fn compact(self, path: &Path, kept: &[Place]) -> io::Result<(Self, Vec<Place>)> {
        let beside = crate::disk::beside(path);
        let new = Self::create(&beside)?;
        let mut places = Vec::with_capacity(kept.len());
        for some in kept.chunks(256) {
            let some: Vec<_> = some.iter().map(|place| Some(*place)).collect();
            let values = self.read(&some);
            let values: Vec<&[u8]> = values.iter().map(|value| value.as_deref().unwrap_or_default()).collect();
            places.extend(new.append(&values)?);
        }
        fs::rename(&beside, path)?;
        Ok((new, places))
    }

    fn end(&self) -> MutexGuard<'_, u64> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
