//! Which host lost which letter over its text, and left nobody knowing whether it has it, or had nothing for it once it had all of
//! it: a later attempt begins elsewhere, where there is another. Forgotten with the courier: then it begins as the first did.

use std::collections::VecDeque;
use std::net::IpAddr;

use spool::names::LetterId;

use super::limits;

/// One address of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// By name.
    pub host: String,
    /// As it was connected with.
    pub address: IpAddr,
}

/// The latest, the oldest first.
#[derive(Debug, Default)]
pub struct Lost(VecDeque<(LetterId, Door)>);

impl Lost {
    /// It was lost there.
    pub fn note(&mut self, letter: LetterId, door: Door) {
        let one = (letter, door);
        self.0.retain(|before| *before != one);
        if self.0.len() >= limits::LOST {
            self.0.pop_front();
        }
        self.0.push_back(one);
    }

    /// Where that letter was lost.
    #[must_use]
    pub fn of(&self, letter: LetterId) -> Vec<Door> {
        self.0.iter().filter(|(one, _)| *one == letter).map(|(_, door)| door.clone()).collect()
    }

    /// Its fate is known.
    pub fn forget(&mut self, letter: LetterId) {
        self.0.retain(|(one, _)| *one != letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(last: u8) -> Door {
        Door { host: "mx.far.test".to_owned(), address: [192, 0, 2, last].into() }
    }

    #[test]
    fn the_latest_of_each_letter() {
        let (mut lost, [one, other]) = (Lost::default(), [1, 2].map(|n| LetterId([n; 16])));
        for last in [1, 2, 1] {
            lost.note(one, door(last));
        }
        lost.note(other, door(3));
        assert_eq!(lost.of(one), [door(2), door(1)]);
        lost.forget(one);
        assert_eq!((lost.of(one), lost.of(other)), (Vec::new(), vec![door(3)]));
    }

    #[test]
    fn bounded() {
        let mut lost = Lost::default();
        let letter = |number: usize| {
            let mut name = [0; 16];
            name[..8].copy_from_slice(&(number as u64).to_le_bytes());
            LetterId(name)
        };
        (0..=limits::LOST).for_each(|number| lost.note(letter(number), door(1)));
        assert_eq!((lost.0.len(), lost.of(letter(0)).len(), lost.of(letter(1)).len()), (limits::LOST, 0, 1));
    }
}
