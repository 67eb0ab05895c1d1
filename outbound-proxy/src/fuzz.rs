//! What the fuzz targets call. They panic when a promise does not hold.

use crate::clear::{Clear, Side, Step};
use crate::ledger;
use crate::meter::Meter;
use crate::records::Records;

/// Both sides in clear: the first octet of a chunk says whose it is. What is passed on is what came.
pub fn clear(bytes: &[u8]) {
    let mut clear = Clear::default();
    let (mut came, mut passed) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for chunk in bytes.chunks(24) {
        let Some((side, text)) = chunk.split_first() else { return };
        let which = usize::from(side & 1);
        came[which].extend_from_slice(text);
        let from = if which == 0 { Side::Home } else { Side::Server };
        match clear.came(from, text) {
            Ok(Step::Pass(on)) => passed[which].extend(on),
            Ok(Step::TlsBegins(on) | Step::Ends(on)) => {
                passed[which].extend(on);
                break;
            }
            Err(_) => break,
        }
        assert!(came[which].starts_with(&passed[which]), "something else is passed on");
    }
}

/// Records both ways: cutting changes no count, and counts only grow.
pub fn meter(bytes: &[u8]) {
    let (home, server) = bytes.split_at(bytes.len() / 2);
    let (mut whole, mut cut) = (Meter::default(), Meter::default());
    let at_once = (whole.home(home), whole.server(server));
    let mut due = 0;
    let told = home.chunks(7).try_for_each(|chunk| cut.home(chunk).map(|units| due += units));
    let answered = server.chunks(5).try_for_each(|chunk| cut.server(chunk).map(|units| due += units));
    if let (Ok(one), Ok(other)) = at_once {
        assert!(told.is_ok() && answered.is_ok(), "cut, it is no TLS");
        assert_eq!(one + other, due, "cut, it costs another sum");
    }
}

/// A direction's records, and half a ledger from a damaged disk.
pub fn files_and_records(bytes: &[u8]) {
    let mut octets = 0;
    if Records::default().pass(bytes, |record| octets += 5 + record.length).is_ok() {
        assert!(octets + 5 > bytes.len() as u64, "octets that belong to no record");
    }
    let _ = ledger::decode(bytes);
}
