//! Room on the disk of the data folder.

use super::{Finding, Patient};
use crate::admin::WRITABLE_AGAIN;
use crate::data::is_read_only;
use crate::room::Room;
use crate::size::Bytes;

const ABOUT: &str = "disk";
/// Largest messages that must find room.
const ENOUGH: u64 = 10;
/// Files that must: a letter is one.
const FILES: u64 = 10_000;

/// Whether mail still finds room.
pub fn look(patient: &Patient) -> Option<Finding> {
    let data = patient.data.as_ref()?;
    let spool = data.entry("spool");
    let place = if spool.exists() { spool } else { data.path().to_owned() };
    if is_read_only(&place) {
        let words =
            format!("the file system where {} lies is read-only: mail can be read, none is taken", place.display());
        return Some(Finding::bad(ABOUT, words, format!("`dmesg` says why. {WRITABLE_AGAIN}")));
    }
    Some(match Room::at(&place) {
        Ok(room) => judge(room, patient.config.largest_message(), &place.display().to_string()),
        Err(error) => Finding::bad(ABOUT, format!("{}: {error}", place.display()), "can this user read it?"),
    })
}

fn judge(room: Room, largest: u64, place: &str) -> Finding {
    let advice = "make room: remove what else lies on that disk, let people empty their Trash, or stop the box and move \
                  the data folder to a larger disk. Until then senders are told to come again (452); nothing is lost";
    let free = format!("{} of {} are free where {place} lies", Bytes(room.free), Bytes(room.size));
    match room.files {
        Some(0) => Finding::bad(ABOUT, format!("full: no more files fit where {place} lies"), advice),
        _ if room.free < largest => Finding::bad(ABOUT, format!("full: {free}"), advice),
        Some(files @ ..FILES) => {
            Finding::weak(ABOUT, format!("nearly full: only {files} more files fit where {place} lies"), advice)
        }
        _ if room.free < largest.saturating_mul(ENOUGH) => Finding::weak(ABOUT, format!("nearly full: {free}"), advice),
        _ => Finding::good(ABOUT, free),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::State;

    #[test]
    fn a_full_disk_is_told_and_a_nearly_full_one() {
        let state = |free, files| judge(Room { free, size: 1 << 40, files }, 50_000_000, "spool").state;
        assert_eq!(state(1 << 35, Some(1 << 20)), State::Good);
        assert_eq!(state(1 << 35, None), State::Good);
        assert_eq!(state(400_000_000, Some(1 << 20)), State::Weak);
        assert_eq!(state(1 << 35, Some(9_999)), State::Weak);
        assert_eq!(state(40_000_000, Some(1 << 20)), State::Bad);
        assert_eq!(state(1 << 35, Some(0)), State::Bad);
        assert!(judge(Room { free: 1, size: 1, files: Some(0) }, 2, "spool").words.contains("no more files"));
        assert!(judge(Room { free: 0, size: 1, files: None }, 1, "spool").advice.contains("make room"));
    }
}
