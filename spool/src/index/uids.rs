//! Sets of UIDs as ascending, disjoint, inclusive ranges.

use crate::edges::{limits, mailbox::UidSet};

/// Whether the set keeps its form: ascending, disjoint, no zero, not too many ranges.
#[must_use]
pub fn sound(set: &UidSet) -> bool {
    let ordered = set.iter().all(|(first, last)| *first > 0 && first <= last);
    let disjoint = set.windows(2).all(|pair| pair[0].1 < pair[1].0);
    set.len() <= limits::RANGES && ordered && disjoint
}

/// Puts one UID, higher than all before, at the end.
pub fn push(set: &mut UidSet, uid: u32) {
    match set.last_mut() {
        Some((_, last)) if last.checked_add(1) == Some(uid) => *last = uid,
        _ => set.push((uid, uid)),
    }
}

/// Whether it is in the set.
#[must_use]
pub fn contains(set: &UidSet, uid: u32) -> bool {
    let after = set.partition_point(|(first, _)| *first <= uid);
    after > 0 && set[after - 1].1 >= uid
}
