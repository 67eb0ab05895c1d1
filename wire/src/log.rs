//! Log lines: one a decision, to stderr, where `up` reads them.

/// What a log line may say of a mail address: its domain.
#[must_use]
pub fn domain(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

/// A short random name for one session, so that its lines can be found together. Unique enough for a log.
#[must_use]
pub fn session() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    // Keyed by the process's own random state: no counter that tells a stranger how many came before.
    let now = std::time::Instant::now();
    let hashed = RandomState::new().hash_one(now);
    u32::try_from(hashed & 0xffff_ffff).unwrap_or(0)
}
