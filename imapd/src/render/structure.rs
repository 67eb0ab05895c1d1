//! BODY and BODYSTRUCTURE (RFC 3501 §7.4.2, §9 `body`).

use filter_sandbox::report::{Inside, Parameters, Part};

use super::envelope::envelope;
use super::text::{nil_or_string, number, string};

/// Appends a part without extension data: BODY.
pub fn body(out: &mut Vec<u8>, part: &Part) {
    Writer { out, extended: false }.part(part);
}

/// Appends a part with extension data: BODYSTRUCTURE.
pub fn body_structure(out: &mut Vec<u8>, part: &Part) {
    Writer { out, extended: true }.part(part);
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    extended: bool,
}

// The nesting is bounded by the report's own checked depth (`report::limits::DEPTH`).
impl Writer<'_> {
    fn part(&mut self, part: &Part) {
        match &part.inside {
            Inside::Parts(children) if !children.is_empty() => self.multipart(part, children),
            _ => self.single(part),
        }
    }

    fn multipart(&mut self, part: &Part, children: &[Part]) {
        self.out.push(b'(');
        for child in children {
            self.part(child);
        }
        self.out.push(b' ');
        string(self.out, &part.subtype);
        if self.extended {
            self.out.push(b' ');
            self.parameters(&part.parameters);
            self.extension(part);
        }
        self.out.push(b')');
    }

    fn single(&mut self, part: &Part) {
        let (kind, subtype) = shown_type(part);
        self.out.push(b'(');
        string(self.out, kind);
        self.out.push(b' ');
        string(self.out, subtype);
        self.out.push(b' ');
        self.parameters(&part.parameters);
        self.out.push(b' ');
        nil_or_string(self.out, part.id.as_deref());
        self.out.push(b' ');
        nil_or_string(self.out, part.description.as_deref());
        self.out.push(b' ');
        string(self.out, &part.encoding);
        self.out.push(b' ');
        number(self.out, u64::from(part.body.end.saturating_sub(part.body.start)));
        if let Inside::Message(enclosed) = &part.inside {
            self.out.push(b' ');
            envelope(self.out, &enclosed.envelope);
            self.out.push(b' ');
            self.part(&enclosed.root);
        }
        if matches!(part.inside, Inside::Message(_)) || kind.eq_ignore_ascii_case(b"TEXT") {
            self.out.push(b' ');
            number(self.out, u64::from(part.lines));
        }
        if self.extended {
            self.out.push(b' ');
            nil_or_string(self.out, part.md5.as_deref());
            self.extension(part);
        }
        self.out.push(b')');
    }

    // Disposition, language, location: the same for both kinds.
    fn extension(&mut self, part: &Part) {
        self.out.push(b' ');
        match &part.disposition {
            None => self.out.extend_from_slice(b"NIL"),
            Some((kind, parameters)) => {
                self.out.push(b'(');
                string(self.out, kind);
                self.out.push(b' ');
                self.parameters(parameters);
                self.out.push(b')');
            }
        }
        self.out.push(b' ');
        self.language(&part.language);
        self.out.push(b' ');
        nil_or_string(self.out, part.location.as_deref());
    }

    fn language(&mut self, languages: &[Vec<u8>]) {
        match languages {
            [] => self.out.extend_from_slice(b"NIL"),
            [one] => string(self.out, one),
            several => {
                for (at, language) in several.iter().enumerate() {
                    self.out.push(if at == 0 { b'(' } else { b' ' });
                    string(self.out, language);
                }
                self.out.push(b')');
            }
        }
    }

    fn parameters(&mut self, parameters: &Parameters) {
        if parameters.is_empty() {
            self.out.extend_from_slice(b"NIL");
            return;
        }
        for (at, (name, value)) in parameters.iter().enumerate() {
            self.out.push(if at == 0 { b'(' } else { b' ' });
            string(self.out, name);
            self.out.push(b' ');
            string(self.out, value);
        }
        self.out.push(b')');
    }
}

// The grammar ties the form to the type: what is called multipart must have parts, what is called message/rfc822 an
// envelope, and apps fail on anything else. A leaf that claims either and could not be taken apart is shown as what
// it is to a reader: text, or bytes.
fn shown_type(part: &Part) -> (&[u8], &[u8]) {
    let is = |kind: &[u8]| part.kind.eq_ignore_ascii_case(kind);
    match &part.inside {
        Inside::Message(_) => (b"MESSAGE", b"RFC822"),
        Inside::Leaf | Inside::Parts(_) if is(b"MULTIPART") => (b"TEXT", b"PLAIN"),
        Inside::Leaf | Inside::Parts(_) if is(b"MESSAGE") && part.subtype.eq_ignore_ascii_case(b"RFC822") => {
            (b"APPLICATION", b"OCTET-STREAM")
        }
        _ => (&part.kind, &part.subtype),
    }
}
