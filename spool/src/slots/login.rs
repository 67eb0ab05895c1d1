//! What a login needs of a slots file, and what it gets from it.

use wire::scram::{self, mac, same, sha256};

use super::{SlotsFile, Verifier, Way};
use crate::edges::login::{Admitted, DeviceFields};
use crate::keys::{Context, DevicePassword, Identities, KeyError, Kind, Link, Secret, Wrapped};
use crate::names::SlotId;

/// What a login is for. Each has its own salt, so that what one service sees is of no use to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Reading mail: the login opens the device's slot.
    Imap = 0,
    /// Sending mail: the login proves itself and opens nothing.
    Submission = 1,
}

/// What SCRAM needs of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFields {
    /// One a mailbox and purpose.
    pub salt: [u8; 16],
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// Every device that may log in.
    pub devices: Vec<DeviceFields>,
}

impl SlotsFile {
    /// What the SASL side needs to check a proof against each device.
    #[must_use]
    pub fn login_fields(&self, purpose: Purpose) -> LoginFields {
        let devices = self.slots.iter().filter_map(|slot| match &slot.way {
            Way::Device(verifiers) => {
                let Verifier { stored_key, server_key, .. } = verifiers[purpose as usize];
                Some(DeviceFields { device: slot.id, stored_key, server_key })
            }
            _ => None,
        });
        LoginFields { salt: self.salts[purpose as usize], iterations: self.iterations, devices: devices.collect() }
    }

    /// Compares a login's `check` with its hash; for IMAP the answer carries the wrapped identities. `None` is a refusal.
    #[must_use]
    pub fn admit(&self, purpose: Purpose, device: SlotId, check: &[u8; 32]) -> Option<Admitted> {
        let slot = self.slot(device)?;
        let Way::Device(verifiers) = &slot.way else { return None };
        if !same(&sha256(check), &verifiers[purpose as usize].check_hash) {
            return None;
        }
        let mut admitted =
            Admitted { mailbox: self.mailbox, device, wrapped: None, earlier: Vec::new(), generation: self.generation };
        if purpose == Purpose::Imap {
            admitted.wrapped = Some(slot.wrapped.as_bytes().to_vec());
            admitted.earlier = self.earlier_numbered().map(|(n, link)| (n, link.as_bytes().to_vec())).collect();
        }
        Some(admitted)
    }

    /// Generation and link, newest first.
    pub(super) fn earlier_numbered(&self) -> impl Iterator<Item = (u32, &Link)> {
        (1..self.generation).rev().zip(&self.earlier)
    }
}

/// Opens what an admitted IMAP login got, with `wrap` of its ClientKey.
///
/// # Errors
/// [`KeyError`]; [`KeyError::WrongKey`] also when nothing came with it.
pub fn open_admitted(admitted: &Admitted, wrap: &[u8; 32]) -> Result<Identities, KeyError> {
    let wrapped = Wrapped::from_bytes(admitted.wrapped.as_deref().ok_or(KeyError::WrongKey)?)?;
    let place = Context {
        mailbox: admitted.mailbox,
        slot: admitted.device,
        kind: Kind::Device,
        generation: admitted.generation,
    };
    let newest = wrapped.open(wrap, &place)?;
    let earlier = admitted.earlier.iter().map(|(generation, link)| (*generation, link.as_slice()));
    Identities::from_chain(admitted.mailbox, admitted.generation, newest, earlier)
}

/// Fields for a name nobody has: of the same shape, and the same ones each time, but that no password fits them.
/// `secret` is the keeper's, `name` the one spelling that all spellings of a name come to.
#[must_use]
pub fn fake_fields(secret: &[u8; 32], purpose: Purpose, name: &str) -> LoginFields {
    let text = [b"postern fake", [purpose as u8].as_slice(), name.to_ascii_lowercase().as_bytes()].concat();
    let seed = mac(secret, &text);
    let field = |what: &[u8], number: u32| mac(&seed, &[what, &number.to_le_bytes()].concat());
    let shape = field(b"salt", 0);
    let mut salt = [0; 16];
    salt.copy_from_slice(&shape[..16]);
    // As many as a person has: the time a proof takes to check must not tell, and neither must never-changing "one".
    // A mailbox's first device has slot 1; 2 are its words (`SlotsFile::new_mailbox`).
    let slots = std::iter::once(1).chain(3..);
    let devices = slots
        .take(1 + usize::from(shape[16] % 3))
        .map(|number| DeviceFields {
            device: SlotId(number),
            stored_key: field(b"stored", number),
            server_key: field(b"server", number),
        })
        .collect();
    LoginFields { salt, iterations: scram::ITERATIONS, devices }
}

/// A new device's verifiers for both purposes, and the key of its slot.
pub(super) fn verifiers(password: &DevicePassword, salts: &[[u8; 16]; 2], iterations: u32) -> ([Verifier; 2], Secret) {
    let client_and_verifier = |salt: &[u8; 16]| {
        let salted = scram::salted_password(password.as_str().as_bytes(), salt, iterations);
        let client = scram::client_key(&salted);
        let verifier = Verifier {
            stored_key: scram::stored_key(&client),
            server_key: scram::server_key(&salted),
            check_hash: sha256(&scram::check(&client)),
        };
        (client, verifier)
    };
    let (client, imap) = client_and_verifier(&salts[Purpose::Imap as usize]);
    let (_, submission) = client_and_verifier(&salts[Purpose::Submission as usize]);
    ([imap, submission], scram::wrap(&client))
}
