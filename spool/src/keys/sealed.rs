//! Small things sealed with age in memory: a wrapped identity, the facts of a slots file, an audit entry.

use std::io::{Read, Write};
use std::iter;

use zeroize::Zeroizing;

use super::{Identity, KeyError, PublicKey};

/// Seals `plain` to a public key.
pub(crate) fn seal_small(to: &PublicKey, plain: &[u8]) -> Result<Vec<u8>, KeyError> {
    let wrong = |_| KeyError::Malformed("cannot seal");
    let encryptor = age::Encryptor::with_recipients(iter::once(to.recipient() as &dyn age::Recipient))
        .map_err(|_| KeyError::Malformed("cannot seal"))?;
    let mut writer = encryptor.wrap_output(Vec::with_capacity(plain.len() + 512)).map_err(wrong)?;
    writer.write_all(plain).map_err(wrong)?;
    writer.finish().map_err(wrong)
}

/// Opens what [`seal_small`] made. The caller has bounded `sealed`.
pub(crate) fn open_small(with: &Identity, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let decryptor = age::Decryptor::new_buffered(sealed).map_err(|_| KeyError::WrongKey)?;
    let mut reader = decryptor.decrypt(iter::once(with.age() as &dyn age::Identity)).map_err(|_| KeyError::WrongKey)?;
    // Longer than the text can be, so that it never moves and leaves a copy.
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    reader.read_to_end(&mut plain).map_err(|_| KeyError::WrongKey)?;
    Ok(plain)
}
