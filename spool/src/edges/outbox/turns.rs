//! Whose turn it is among what waits: what is written here may take every connection, what strangers decide about a share,
//! and of that what comes back to them a share again. The keeper counts by this what it leases, the courier when those that
//! hang must make room.

use super::limits::{PASSED_ON, WAY_BACK};

/// Who decides how much there is of a letter's kind, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The people of this house, with a daily allowance.
    Written,
    /// How much: strangers; where to: the owner of the alias that passes it on.
    PassedOn,
    /// Both: strangers. It has no sender, as bounces and answers that find their way back to whom they name.
    WayBack,
}

/// What is on its way of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turns {
    passed_on: usize,
    way_back: usize,
}

impl Turns {
    /// One more.
    pub const fn begun(&mut self, turn: Turn) {
        match turn {
            Turn::Written => {}
            Turn::PassedOn => self.passed_on += 1,
            Turn::WayBack => self.way_back += 1,
        }
    }

    /// One less.
    pub const fn ended(&mut self, turn: Turn) {
        match turn {
            Turn::Written => {}
            Turn::PassedOn => self.passed_on = self.passed_on.saturating_sub(1),
            Turn::WayBack => self.way_back = self.way_back.saturating_sub(1),
        }
    }

    /// Whether the next of that kind must wait for one that has begun.
    #[must_use]
    pub const fn is_full(&self, turn: Turn) -> bool {
        let all = self.passed_on + self.way_back >= PASSED_ON;
        match turn {
            Turn::Written => false,
            Turn::PassedOn => all,
            Turn::WayBack => all || self.way_back >= WAY_BACK,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_share_and_leaves_the_others_theirs() {
        let mut turns = Turns::default();
        let full = |turns: &Turns| [Turn::Written, Turn::PassedOn, Turn::WayBack].map(|turn| turns.is_full(turn));
        (0..WAY_BACK).for_each(|_| turns.begun(Turn::WayBack));
        assert_eq!(full(&turns), [false, false, true]);
        (WAY_BACK..PASSED_ON).for_each(|_| turns.begun(Turn::PassedOn));
        assert_eq!(full(&turns), [false, true, true]);
        turns.ended(Turn::WayBack);
        assert_eq!(full(&turns), [false, false, false]);
        turns.begun(Turn::PassedOn);
        assert_eq!(full(&turns), [false, true, true], "what is free belongs to who comes first");
        (0..PASSED_ON).for_each(|_| turns.ended(Turn::PassedOn));
        (1..WAY_BACK).for_each(|_| turns.ended(Turn::WayBack));
        assert_eq!(turns, Turns::default());
    }
}
