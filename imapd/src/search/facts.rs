//! Stage one: what the journal knows of a letter.

use spool::edges::mailbox::Fact;

use super::Key;
use crate::grammar::date::DAY;
use crate::sequence::holds;

/// What a session knows of its folder when a search begins.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Letters in the view.
    pub exists: u32,
    /// UID of the last of them, or 0.
    pub last_uid: u32,
    /// UIDs that are \Recent for this session, both ends inclusive, ascending.
    pub recent: &'a [(u32, u32)],
    /// The mailbox's keyword table.
    pub keywords: &'a [String],
}

/// A key over a [`Fact`] and a sequence number, everything looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactKey {
    /// All or nothing.
    Always(bool),
    /// Sequence numbers.
    Sequence(Vec<(u32, u32)>),
    /// UIDs.
    Uid(Vec<(u32, u32)>),
    /// A flag bit, set or not.
    Flag(u8, bool),
    /// Keyword bits, set or not.
    Keyword(u64, bool),
    /// UIDs that are \Recent, or not.
    Recent(Vec<(u32, u32)>, bool),
    /// Arrived on these days: from, up to and not with.
    Arrived(i64, i64),
    /// Size within, not with the ends.
    Size(Option<u32>, Option<u32>),
}

impl FactKey {
    /// The key, when facts alone decide it.
    pub fn of(key: &Key, view: &View<'_>) -> Option<Self> {
        Some(match key {
            Key::All => Self::Always(true),
            Key::Sequence(set) => Self::Sequence(set.resolved(view.exists)),
            Key::Uid(set) => Self::Uid(set.resolved(view.last_uid)),
            Key::Flag(bit, set) => Self::Flag(*bit, *set),
            Key::Keyword(name, set) => match view.keywords.iter().take(64).position(|k| k.eq_ignore_ascii_case(name)) {
                Some(at) => Self::Keyword(1 << at, *set),
                None => Self::Always(!set),
            },
            Key::Recent(is) => Self::Recent(view.recent.to_vec(), *is),
            Key::Before(day) => Self::Arrived(i64::MIN, *day),
            Key::On(day) => Self::Arrived(*day, day.saturating_add(DAY)),
            Key::Since(day) => Self::Arrived(*day, i64::MAX),
            Key::Larger(size) => Self::Size(Some(*size), None),
            Key::Smaller(size) => Self::Size(None, Some(*size)),
            _ => return None,
        })
    }

    /// Whether a letter matches. Days are UTC's, as INTERNALDATE is shown.
    pub fn matches(&self, sequence: u32, fact: &Fact) -> bool {
        match self {
            Self::Always(yes) => *yes,
            Self::Sequence(ranges) => holds(ranges, sequence),
            Self::Uid(ranges) => holds(ranges, fact.uid),
            Self::Flag(bit, set) => (fact.flags & bit != 0) == *set,
            Self::Keyword(bit, set) => (fact.keywords & bit != 0) == *set,
            Self::Recent(ranges, is) => holds(ranges, fact.uid) == *is,
            Self::Arrived(from, to) => (*from..*to).contains(&fact.arrived),
            Self::Size(above, below) => above.is_none_or(|n| fact.size > n) && below.is_none_or(|n| fact.size < n),
        }
    }
}
