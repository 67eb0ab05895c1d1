//! The sealed part of a slots file: what `recover` needs to put a mailbox back where it was.

use super::SlotsError;
use crate::bytes::{Cut, Take, put_counted};
use crate::keys::{Identity, PublicKey, open_small, seal_small};
use crate::limits;
use crate::names::SlotId;

const VERSION: u8 = 1;

/// Names and addresses of a mailbox. On disk only sealed, as an age file of:
///
/// | bytes | field |
/// | --- | --- |
/// | 1 | version, 1 |
/// | 1 | number of addresses; each 2 + n |
/// | 2 + n | display name |
/// | 1 + 8 | whether there is a quota, and it |
/// | 1 | number of devices; each 4 (slot) and 2 + n (name) |
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The mailbox's own address first, then its aliases; at most [`limits::ADDRESSES`].
    pub addresses: Vec<String>,
    /// At most [`limits::DISPLAY_NAME`] bytes.
    pub display_name: String,
    /// Bytes; `None` for the default.
    pub quota: Option<u64>,
    /// Names of the slots of devices.
    pub devices: Vec<(SlotId, String)>,
}

impl Facts {
    pub(super) fn seal(&self, to: &PublicKey) -> Result<Vec<u8>, SlotsError> {
        let sealed = seal_small(to, &self.encode()?)?;
        if sealed.len() > limits::SEALED_FACTS {
            return Err(SlotsError::TooMany("addresses and names together"));
        }
        Ok(sealed)
    }

    pub(super) fn open(sealed: &[u8], with: &Identity) -> Result<Self, SlotsError> {
        Self::decode(&open_small(with, sealed)?)
    }

    fn encode(&self) -> Result<Vec<u8>, SlotsError> {
        self.must_fit()?;
        let mut out = vec![VERSION];
        let mut fits = true;
        out.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        self.addresses.iter().for_each(|address| fits &= put_counted(&mut out, address.as_bytes()));
        fits &= put_counted(&mut out, self.display_name.as_bytes());
        out.push(u8::from(self.quota.is_some()));
        out.extend_from_slice(&self.quota.unwrap_or(0).to_le_bytes());
        out.push(u8::try_from(self.devices.len()).unwrap_or(u8::MAX));
        for (slot, name) in &self.devices {
            out.extend_from_slice(&slot.0.to_le_bytes());
            fits &= put_counted(&mut out, name.as_bytes());
        }
        if !fits || out.len() > limits::FACTS {
            return Err(SlotsError::TooMany("addresses and names together"));
        }
        Ok(out)
    }

    fn must_fit(&self) -> Result<(), SlotsError> {
        let too_many = |fits: bool, what| if fits { Ok(()) } else { Err(SlotsError::TooMany(what)) };
        too_many(self.addresses.len() <= limits::ADDRESSES, "addresses")?;
        too_many(self.addresses.iter().all(|address| address.len() <= limits::ADDRESS), "letters of an address")?;
        too_many(self.display_name.len() <= limits::DISPLAY_NAME, "letters of the display name")?;
        too_many(self.devices.len() <= limits::DEVICES, "devices")?;
        too_many(self.devices.iter().all(|(_, name)| name.len() <= limits::DEVICE_NAME), "letters of a device's name")
    }

    fn decode(plain: &[u8]) -> Result<Self, SlotsError> {
        let facts = Self::parse(plain).map_err(|Cut| SlotsError::Damaged("sealed part"))?;
        facts.must_fit().map_err(|_| SlotsError::Damaged("sealed part"))?;
        Ok(facts)
    }

    /// [`Cut`] stands for every kind of damage here: what is sealed is either ours or not.
    fn parse(plain: &[u8]) -> Result<Self, Cut> {
        let mut take = Take::new(plain);
        if take.u8()? != VERSION {
            return Err(Cut);
        }
        let addresses = (0..take.u8()?).map(|_| text(&mut take)).collect::<Result<_, _>>()?;
        let display_name = text(&mut take)?;
        let (has_quota, quota) = (take.u8()?, take.u64()?);
        let devices =
            (0..take.u8()?).map(|_| Ok((SlotId(take.u32()?), text(&mut take)?))).collect::<Result<_, Cut>>()?;
        if has_quota > 1 || !take.is_empty() {
            return Err(Cut);
        }
        Ok(Self { addresses, display_name, quota: (has_quota == 1).then_some(quota), devices })
    }
}

fn text(take: &mut Take<'_>) -> Result<String, Cut> {
    String::from_utf8(take.counted()?.to_vec()).map_err(|_| Cut)
}
