//! Folder names: UTF-8, `/` between levels.

use crate::edges::limits;

/// The name as we keep it: INBOX in capitals (RFC 3501 §5.1), no empty level, nothing a client could
/// not list again. `None` when it cannot be a folder's.
#[must_use]
pub fn normal(name: &str) -> Option<String> {
    let plain = |c: char| !c.is_control() && c != '*' && c != '%';
    if name.is_empty() || name.len() > limits::FOLDER_NAME || !name.chars().all(plain) {
        return None;
    }
    let (first, rest) = name.split_once('/').map_or((name, None), |(first, rest)| (first, Some(rest)));
    let first = if first.eq_ignore_ascii_case("INBOX") { "INBOX" } else { first };
    let full = rest.map_or_else(|| first.to_owned(), |rest| format!("{first}/{rest}"));
    full.split('/').all(|level| !level.is_empty()).then_some(full)
}

/// The folders above it, nearest last.
pub fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// Whether `name` lies below `above`.
#[must_use]
pub fn below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}
