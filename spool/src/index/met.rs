//! To whom a mailbox has written: what its allowance of recipients for the first time is measured by.

use std::collections::{HashSet, VecDeque};

/// Recipients remembered of one mailbox; the oldest go first.
pub const KNOWN: usize = 5_000;

/// Those of one mailbox, lower-case.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Met {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Met {
    /// Whether it has written to that one.
    #[must_use]
    pub fn knows(&self, recipient: &str) -> bool {
        self.known.contains(recipient)
    }

    /// All, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    pub(super) fn meet(&mut self, recipient: String) {
        if self.known.insert(recipient.clone()) {
            self.order.push_back(recipient);
        }
        while self.order.len() > KNOWN {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_remembered() {
        let mut met = Met::default();
        (0..KNOWN + 10).for_each(|number| met.meet(number.to_string()));
        (0..KNOWN).for_each(|_| met.meet("20".into()));
        assert_eq!((met.known.len(), met.all().count()), (KNOWN, KNOWN));
        assert!(!met.knows("9") && met.knows("10"), "the oldest are strangers again");
    }
}
