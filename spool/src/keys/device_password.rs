//! The password a mail app logs in with; the box makes it, nobody chooses it.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::{KeyError, random};

/// Lower-case letters without `i`, `l` and `o`: no digit to look for on a phone's keyboard, nothing to mistake.
/// There are 23, a prime, so that sums modulo 23 make a checksum that finds every single wrong letter and
/// every two neighbours swapped.
const LETTERS: &[u8; 23] = b"abcdefghjkmnpqrstuvwxyz";
const RANDOM: usize = 23;
const ALL: usize = RANDOM + 2;
const GROUP: usize = 5;

/// Five groups of five letters, `kzmtb-qwvns-...`: 23 random letters (104 bits) and two of checksum.
///
/// The text *with its hyphens, lower-case* is what SCRAM hashes: the password is exactly what was printed.
/// Where the typed text itself arrives (PLAIN, unlocking a slot) [`Self::parse`] forgives case, blanks and
/// missing hyphens.
///
/// ```
/// use spool::keys::DevicePassword;
/// let password = DevicePassword::generate()?;
/// let typed = password.as_str().to_uppercase().replace('-', " ");
/// assert_eq!(DevicePassword::parse(&typed)?.as_str(), password.as_str());
/// # Ok::<(), spool::keys::KeyError>(())
/// ```
pub struct DevicePassword(Zeroizing<String>);

impl DevicePassword {
    /// A new one.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut digits = Zeroizing::new([0_u8; RANDOM]);
        let mut filled = 0;
        while filled < RANDOM {
            for byte in Zeroizing::new(random::<64>()?).iter().filter(|byte| **byte < 230).take(RANDOM - filled) {
                digits[filled] = byte % 23;
                filled += 1;
            }
        }
        Ok(Self(render(&with_checksum(&digits))))
    }

    /// Reads what a person typed.
    ///
    /// # Errors
    /// [`KeyError::Mistyped`] saying whether a letter, the length or the checksum is wrong.
    pub fn parse(typed: &str) -> Result<Self, KeyError> {
        let mut digits = Zeroizing::new([0_u8; ALL]);
        let mut count = 0;
        for byte in typed.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-') {
            let digit = LETTERS.iter().position(|letter| *letter == byte.to_ascii_lowercase());
            let digit = digit.ok_or(KeyError::Mistyped("a device password has only letters, and no i, l or o"))?;
            *digits.get_mut(count).ok_or(LENGTH)? = u8::try_from(digit).unwrap_or(0);
            count += 1;
        }
        if count != ALL {
            return Err(LENGTH);
        }
        if sums(digits.as_ref()) != (0, 0) {
            return Err(KeyError::Mistyped("a letter of the device password is wrong, or two are swapped"));
        }
        Ok(Self(render(&digits)))
    }

    /// As printed: lower-case, with hyphens.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DevicePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DevicePassword(..)")
    }
}

const LENGTH: KeyError = KeyError::Mistyped("a device password has five groups of five letters");

/// Plain sum, and sum weighted by place (from 1), modulo 23: both are zero for a whole password.
fn sums(digits: &[u8]) -> (u32, u32) {
    let (mut plain, mut weighted) = (0, 0);
    for (place, digit) in (1_u32..).zip(digits) {
        plain = (plain + u32::from(*digit)) % 23;
        weighted = (weighted + place * u32::from(*digit)) % 23;
    }
    (plain, weighted)
}

fn with_checksum(random: &[u8; RANDOM]) -> Zeroizing<[u8; ALL]> {
    let (plain, weighted) = sums(random);
    // Places 24 and 25 weigh 1 and 2: a + b = -plain and a + 2b = -weighted.
    let b = (23 + plain - weighted) % 23;
    let a = (46 - plain - b) % 23;
    let mut all = Zeroizing::new([0; ALL]);
    all[..RANDOM].copy_from_slice(random);
    [all[RANDOM], all[RANDOM + 1]] = [a, b].map(|digit| u8::try_from(digit).unwrap_or(0));
    all
}

fn render(digits: &[u8; ALL]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(ALL + ALL / GROUP));
    for (place, digit) in digits.iter().enumerate() {
        if place > 0 && place % GROUP == 0 {
            text.push('-');
        }
        let mut letter = LETTERS.get(usize::from(*digit)).copied().unwrap_or(b'a');
        text.push(char::from(letter));
        letter.zeroize();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_as_promised() {
        let password = DevicePassword::generate().unwrap();
        let groups: Vec<&str> = password.as_str().split('-').collect();
        assert_eq!(groups.len(), 5);
        assert!(groups.iter().all(|group| group.len() == 5 && group.bytes().all(|b| LETTERS.contains(&b))));
        assert_ne!(password.as_str(), DevicePassword::generate().unwrap().as_str());
    }

    #[test]
    fn every_single_wrong_letter_and_every_swap_of_neighbours_is_told() {
        for _ in 0..20 {
            let password = DevicePassword::generate().unwrap();
            let bytes: Vec<u8> = password.as_str().bytes().filter(|b| *b != b'-').collect();
            for place in 0..ALL {
                for letter in LETTERS.iter().filter(|letter| **letter != bytes[place]) {
                    let mut wrong = bytes.clone();
                    wrong[place] = *letter;
                    assert!(DevicePassword::parse(std::str::from_utf8(&wrong).unwrap()).is_err());
                }
                if place > 0 && bytes[place] != bytes[place - 1] {
                    let mut swapped = bytes.clone();
                    swapped.swap(place, place - 1);
                    assert!(DevicePassword::parse(std::str::from_utf8(&swapped).unwrap()).is_err());
                }
            }
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (typed, how) in
            [("", "groups"), ("abcde", "groups"), ("abcde-fgh1j", "letters"), (&"a".repeat(99), "groups")]
        {
            let error = DevicePassword::parse(typed).unwrap_err().to_string();
            assert!(error.contains(how), "{typed}: {error}");
        }
    }
}
