//! `* n FETCH (...)` (RFC 3501 §7.4.2), item by item, so that bodies can stream between.

use filter_sandbox::report::{Envelope, Part};

use super::text::number;
use super::{flags, section, structure};
use crate::command::SectionItem;
use crate::grammar::date;

/// One letter's line, begun and not ended. Every method appends one item.
#[derive(Debug)]
#[must_use = "a line must be ended"]
pub struct FetchLine {
    first: bool,
}

impl FetchLine {
    /// Begins the line of the letter with this sequence number.
    pub fn begin(out: &mut Vec<u8>, sequence: u32) -> Self {
        out.extend_from_slice(b"* ");
        number(out, u64::from(sequence));
        out.extend_from_slice(b" FETCH (");
        Self { first: true }
    }

    fn item(&mut self, out: &mut Vec<u8>, name: &[u8]) {
        if !std::mem::replace(&mut self.first, false) {
            out.push(b' ');
        }
        out.extend_from_slice(name);
    }

    /// UID
    pub fn uid(&mut self, out: &mut Vec<u8>, uid: u32) {
        self.item(out, b"UID ");
        number(out, u64::from(uid));
    }

    /// FLAGS
    pub fn flags(&mut self, out: &mut Vec<u8>, system: u8, keywords: u64, table: &[String], recent: bool) {
        self.item(out, b"FLAGS ");
        flags::flags(out, system, keywords, table, recent);
    }

    /// INTERNALDATE, seconds since 1970.
    pub fn internal_date(&mut self, out: &mut Vec<u8>, arrived: i64) {
        self.item(out, b"INTERNALDATE ");
        date::write(out, arrived);
    }

    /// RFC822.SIZE
    pub fn size(&mut self, out: &mut Vec<u8>, size: u32) {
        self.item(out, b"RFC822.SIZE ");
        number(out, u64::from(size));
    }

    /// ENVELOPE
    pub fn envelope(&mut self, out: &mut Vec<u8>, envelope: &Envelope) {
        self.item(out, b"ENVELOPE ");
        super::envelope(out, envelope);
    }

    /// BODY
    pub fn body(&mut self, out: &mut Vec<u8>, root: &Part) {
        self.item(out, b"BODY ");
        structure::body(out, root);
    }

    /// BODYSTRUCTURE
    pub fn body_structure(&mut self, out: &mut Vec<u8>, root: &Part) {
        self.item(out, b"BODYSTRUCTURE ");
        structure::body_structure(out, root);
    }

    /// A section's name and its literal's announcement: exactly `length` bytes must follow. `None` is NIL.
    pub fn section(&mut self, out: &mut Vec<u8>, item: &SectionItem, length: Option<u64>) {
        self.item(out, b"");
        section::label(out, item);
        match length {
            None => out.extend_from_slice(b" NIL"),
            Some(length) => {
                out.extend_from_slice(b" {");
                number(out, length);
                out.extend_from_slice(b"}\r\n");
            }
        }
    }

    /// Ends the line.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b")\r\n");
    }
}
