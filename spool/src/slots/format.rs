//! The slots file's bytes, both ways. The table is in the module above.

use wire::scram::sha256;

use super::{Slot, SlotsError, SlotsFile, Verifier, Way};
use crate::bytes::{Cut, Take, put_counted};
use crate::keys::{Cost, Kind, Link, PublicKey, Wrapped};
use crate::limits;
use crate::names::{MailboxId, SlotId};

const MAGIC: [u8; 8] = *b"PSTNSLOT";
const VERSION: u8 = 1;
const HASH: usize = 32;
/// Where the revision lies, which the tag leaves out: the keeper raises it without a secret.
const REVISION: std::ops::Range<usize> = 17..25;

enum Fault {
    Cut,
    Damaged(&'static str),
    Newer(u8),
}

impl From<Cut> for Fault {
    fn from(Cut: Cut) -> Self {
        Self::Cut
    }
}

impl SlotsFile {
    /// The file's bytes.
    ///
    /// # Errors
    /// [`SlotsError::TooMany`] over [`limits::SLOTS_FILE`].
    pub fn encode(&self) -> Result<Vec<u8>, SlotsError> {
        let mut out = self.front();
        out.extend_from_slice(&self.tag);
        out.push(u8::try_from(self.slots.len()).map_err(|_| SlotsError::TooMany("slots"))?);
        for slot in &self.slots {
            out.extend_from_slice(&slot.untagged());
            out.extend_from_slice(&slot.tag);
        }
        put_counted(&mut out, &self.sealed);
        out.extend_from_slice(&sha256(&out));
        if out.len() > limits::SLOTS_FILE || self.sealed.len() > limits::SEALED_FACTS {
            return Err(SlotsError::TooMany("bytes of the slots file"));
        }
        Ok(out)
    }

    /// Reads a file whole; nothing may follow.
    ///
    /// # Errors
    /// [`SlotsError::Damaged`]; [`SlotsError::Newer`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SlotsError> {
        if bytes.len() > limits::SLOTS_FILE {
            return Err(SlotsError::Damaged("too long"));
        }
        let (body, hash) =
            bytes.split_at_checked(bytes.len().wrapping_sub(HASH)).ok_or(SlotsError::Damaged("cut short"))?;
        if sha256(body) != *hash {
            return Err(wrong(bytes, hash));
        }
        parse(body).map_err(|fault| match fault {
            Fault::Cut => SlotsError::Damaged("cut short"),
            Fault::Newer(version) => SlotsError::Newer(version),
            Fault::Damaged(what) => SlotsError::Damaged(what),
        })
    }

    /// Everything before the tag.
    fn front(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 * 1024);
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&self.mailbox.0.to_le_bytes());
        out.extend_from_slice(&self.revision.to_le_bytes());
        out.extend_from_slice(&self.next.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.public.to_bytes());
        out.extend_from_slice(&self.iterations.to_le_bytes());
        self.salts.iter().for_each(|salt| out.extend_from_slice(salt));
        self.earlier.iter().for_each(|link| out.extend_from_slice(link.as_bytes()));
        out
    }

    /// What the tag is over.
    pub(super) fn tagged_front(&self) -> Vec<u8> {
        let mut front = self.front();
        front.drain(REVISION);
        front
    }
}

impl Slot {
    /// Its fields without the tag.
    pub(super) fn untagged(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(&self.id.0.to_le_bytes());
        out.push(self.kind() as u8);
        out.extend_from_slice(&self.added.to_le_bytes());
        out.extend_from_slice(&self.key.to_bytes());
        // Bounded by `Wrapped::from_bytes`.
        put_counted(&mut out, self.wrapped.as_bytes());
        match &self.way {
            Way::Device(verifiers) => verifiers.iter().for_each(|verifier| {
                out.extend_from_slice(&verifier.stored_key);
                out.extend_from_slice(&verifier.server_key);
                out.extend_from_slice(&verifier.check_hash);
            }),
            Way::Chosen(cost) => {
                out.extend_from_slice(&cost.salt);
                out.extend_from_slice(&cost.kib.to_le_bytes());
                out.extend_from_slice(&cost.passes.to_le_bytes());
            }
            Way::Words | Way::Household => {}
        }
        out
    }
}

/// What a file is whose hash is wrong: a later version may have another; a version of ours that lost a bit has its own.
fn wrong(bytes: &[u8], hash: &[u8]) -> SlotsError {
    let newer = bytes.strip_prefix(&MAGIC).and_then(|rest| rest.first()).filter(|version| **version > VERSION);
    let mut ours = bytes[..bytes.len() - HASH].to_vec();
    match newer {
        Some(version) => {
            ours[MAGIC.len()] = VERSION;
            if sha256(&ours) == *hash { SlotsError::Damaged("version") } else { SlotsError::Newer(*version) }
        }
        None => SlotsError::Damaged("its hash is wrong"),
    }
}

fn parse(body: &[u8]) -> Result<SlotsFile, Fault> {
    let mut take = Take::new(body);
    if take.array()? != MAGIC {
        return Err(Fault::Damaged("not a slots file"));
    }
    match take.u8()? {
        VERSION => {}
        newer if newer > VERSION => return Err(Fault::Newer(newer)),
        _ => return Err(Fault::Damaged("version")),
    }
    let (mailbox, revision) = (MailboxId(take.u64()?), take.u64()?);
    let (next, generation) = (take.u32()?, take.u32()?);
    let public = public_key(&mut take)?;
    let iterations = take.u32()?;
    let salts = [take.array()?, take.array()?];
    let earlier = earlier(&mut take, generation)?;
    let tag = take.array()?;
    let slots = (0..take.u8()?).map(|_| slot(&mut take)).collect::<Result<Vec<_>, _>>()?;
    let sealed = take.counted()?.to_vec();
    let file = SlotsFile {
        mailbox,
        revision,
        saved: revision,
        next,
        generation,
        public,
        iterations,
        salts,
        earlier,
        tag,
        slots,
        sealed,
    };
    if !take.is_empty() {
        return Err(Fault::Damaged("bytes after its end"));
    }
    bounded(&file).map(|()| file)
}

fn bounded(file: &SlotsFile) -> Result<(), Fault> {
    let must = |holds: bool, what| if holds { Ok(()) } else { Err(Fault::Damaged(what)) };
    must(file.slots.len() <= limits::SLOTS, "too many slots")?;
    let devices = file.slots.iter().filter(|slot| slot.kind() == Kind::Device).count();
    must(devices <= limits::DEVICES, "too many devices")?;
    must(file.slots.is_sorted_by(|a, b| a.id < b.id), "slots out of order")?;
    must(file.slots.last().is_none_or(|slot| slot.id.0 < file.next), "slot number")?;
    must((1..=limits::ITERATIONS).contains(&file.iterations), "PBKDF2 rounds")?;
    must((1..u64::MAX).contains(&file.revision), "revision")?;
    must(file.sealed.len() <= limits::SEALED_FACTS, "sealed part too long")
}

fn earlier(take: &mut Take<'_>, generation: u32) -> Result<Vec<Link>, Fault> {
    if !(1..=limits::GENERATIONS).contains(&generation) {
        return Err(Fault::Damaged("generation"));
    }
    (1..generation)
        .map(|_| Link::from_bytes(take.bytes(Link::BYTES)?).map_err(|_| Fault::Damaged("earlier identity")))
        .collect()
}

fn slot(take: &mut Take<'_>) -> Result<Slot, Fault> {
    let id = SlotId(take.u32()?);
    let kind = Kind::from_byte(take.u8()?).ok_or(Fault::Damaged("kind of slot"))?;
    let added = take.i64()?;
    let key = public_key(take)?;
    let wrapped = Wrapped::from_bytes(take.counted()?).map_err(|_| Fault::Damaged("wrapped identity"))?;
    let way = match kind {
        Kind::Device => Way::Device(Box::new([verifier(take)?, verifier(take)?])),
        Kind::Words => Way::Words,
        Kind::Chosen => Way::Chosen(cost(take)?),
        Kind::Household => Way::Household,
    };
    Ok(Slot { id, added, key, wrapped, way, tag: take.array()? })
}

fn verifier(take: &mut Take<'_>) -> Result<Verifier, Cut> {
    Ok(Verifier { stored_key: take.array()?, server_key: take.array()?, check_hash: take.array()? })
}

fn cost(take: &mut Take<'_>) -> Result<Cost, Fault> {
    let cost = Cost { salt: take.array()?, kib: take.u32()?, passes: take.u32()? };
    if cost.is_bounded() { Ok(cost) } else { Err(Fault::Damaged("cost of a chosen password")) }
}

fn public_key(take: &mut Take<'_>) -> Result<PublicKey, Fault> {
    PublicKey::from_bytes(&take.array()?).map_err(|_| Fault::Damaged("public key"))
}
