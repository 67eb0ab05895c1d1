//! Decoding a report without trusting its lengths or its depth.
//!
//! Part, Enclosed and Query contain themselves; serde follows them as deep as the bytes say, so a small hostile
//! report could overflow its reader's stack long before anything could be checked. Each level therefore takes a
//! step of a budget kept per thread, and each list stops at its bound.

use super::{Enclosed, Part, Query, limits};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use std::{cell::Cell, fmt, marker::PhantomData};

thread_local! {
    static LEVEL: Cell<usize> = const { Cell::new(0) };
}

/// One level of nesting, given back when dropped.
struct Level;

impl Level {
    fn enter<E: Error>(deepest: usize) -> Result<Level, E> {
        LEVEL.with(|level| {
            if level.get() >= deepest {
                return Err(E::custom("nested too deep"));
            }
            level.set(level.get() + 1);
            Ok(Level)
        })
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        LEVEL.with(|level| level.set(level.get().saturating_sub(1)));
    }
}

/// A list of at most `MOST` items.
pub(super) fn list<'de, D, T, const MOST: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(AtMost::<T, MOST>(PhantomData))
}

/// Bytes, taken in one piece: one by one, as serde reads a list, they were a third of what a list of letters costs its
/// owner's process (measured).
pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    <&[u8]>::deserialize(deserializer).map(<[u8]>::to_vec)
}

/// The same, where there may be none.
pub(super) fn some_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    Option::<&[u8]>::deserialize(deserializer).map(|bytes| bytes.map(<[u8]>::to_vec))
}

/// A multipart's children, one level down.
pub(super) fn parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Part>, D::Error> {
    let _level = Level::enter(limits::DEPTH)?;
    list::<_, _, { limits::PARTS }>(deserializer)
}

/// An enclosed message, one level down.
pub(super) fn enclosed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<Enclosed>, D::Error> {
    let _level = Level::enter(limits::DEPTH)?;
    Box::deserialize(deserializer)
}

/// The keys of an AND or OR, one level down.
pub(super) fn queries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Query>, D::Error> {
    let _level = Level::enter(limits::QUERY_DEPTH)?;
    list::<_, _, { limits::QUERY_KEYS }>(deserializer)
}

/// The key of a NOT, one level down.
pub(super) fn query<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<Query>, D::Error> {
    let _level = Level::enter(limits::QUERY_DEPTH)?;
    Box::deserialize(deserializer)
}

struct AtMost<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for AtMost<T, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MOST {
                return Err(A::Error::custom("too many"));
            }
            items.push(item);
        }
        Ok(items)
    }
}
