//! Bounds of the sealed formats. What exceeds one is refused on the way in and "damaged" on the way out.

/// Bytes of a mailbox's slots file, well under one packet of an edge, so that it travels whole.
pub const SLOTS_FILE: usize = 56 * 1024;
/// Devices of one mailbox.
pub const DEVICES: usize = crate::edges::limits::DEVICES;
/// Slots of one mailbox, all kinds together.
pub const SLOTS: usize = DEVICES + 8;
/// Identities one mailbox may have had, one more a rekey.
pub const GENERATIONS: u32 = 100;
/// Bytes of one wrapped identity: an age file of fifty bytes with its random grease.
pub const WRAPPED: usize = 768;
/// Bytes of the sealed part of a slots file.
pub const SEALED_FACTS: usize = 14 * 1024;
/// Bytes of the facts before they are sealed.
pub const FACTS: usize = 13 * 1024;
/// Addresses of one mailbox in the sealed part, aliases included.
pub const ADDRESSES: usize = 64;
/// Bytes of one address.
pub const ADDRESS: usize = crate::edges::limits::ADDRESS;
/// Bytes of a display name.
pub const DISPLAY_NAME: usize = 256;
/// Bytes of a device's name.
pub const DEVICE_NAME: usize = 64;
/// Most PBKDF2 rounds a slots file may ask for (RFC 7677 wants at least 4,096).
pub const ITERATIONS: u32 = 1_000_000;
/// Fewest letters of a chosen password.
pub const CHOSEN_MIN: usize = 10;
/// Most bytes of a chosen password.
pub const CHOSEN_MAX: usize = 1_024;
/// Most KiB Argon2id may be asked for: a board with 512 MB must open what another machine made.
pub const ARGON2_KIB: u32 = 64 * 1024;
/// Most passes Argon2id may be asked for.
pub const ARGON2_PASSES: u32 = 8;
/// Bytes of any secret that is typed; longer ones open nothing.
pub const SECRET: usize = 2_048;
/// Bytes of a letter's summary.
pub const SUMMARY: usize = 1024 * 1024;
/// Bytes of an age header in a letter; ours have at most 500.
pub const AGE_HEADER: usize = 4 * 1024;
/// Bytes of one line of the audit log.
pub const AUDIT_LINE: usize = 4 * 1024;
/// Bytes of the text of one entry of the audit log.
pub const AUDIT_TEXT: usize = 512;
/// Lines of one audit log that a reader takes.
pub const AUDIT_LINES: usize = 100_000;
/// Bytes of one value of the cache.
pub const CACHE_VALUE: usize = SUMMARY + 64;
/// Bytes sled may keep in memory for one mailbox.
pub const CACHE_MEMORY: u64 = 4 * 1024 * 1024;
/// Bytes of the values of one mailbox's cache; what comes beyond is not cached.
pub const CACHE_BYTES: u64 = 512 * 1024 * 1024;
