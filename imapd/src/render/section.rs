//! BODY[...]: which bytes of the stored message a section means (RFC 3501 §6.4.5), from the summary alone.

use filter_sandbox::report::{Field, Inside, Part, Span, Summary};

use super::text::{number, string};
use crate::command::{Form, Section, SectionItem, SectionText};

/// The bytes of an answer: spans of the message in order, then perhaps an empty line that is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slices {
    /// Each inside the message, not empty.
    pub spans: Vec<Span>,
    /// Comes after them: a line end, a part of one, or nothing.
    pub tail: &'static [u8],
}

impl Slices {
    fn one(span: Span, size: u32) -> Self {
        let span = inside(span, size);
        Self { spans: if span.start < span.end { vec![span] } else { Vec::new() }, tail: b"" }
    }

    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.spans.iter().map(|span| u64::from(span.end - span.start)).sum::<u64>() + self.tail.len() as u64
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a section turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// These bytes, before any partial: hand them to [`cut`].
    Bytes(Slices),
    /// Some fields of this header: read these bytes of the message, hand them to [`fields`].
    Fields { header: Span, index: &'a [Field] },
    /// There is no such part: NIL.
    Nothing,
}

/// Finds a section. Spans never leave the message, whatever the summary says.
#[must_use]
pub fn resolve<'a>(summary: &'a Summary, section: &Section) -> Wanted<'a> {
    let size = summary.size;
    let Some(target) = find(summary, &section.part) else { return Wanted::Nothing };
    let bytes = |span| Wanted::Bytes(Slices::one(span, size));
    match (&section.text, target) {
        (SectionText::Whole, Target::Message { whole, .. } | Target::Part { body: whole, .. }) => bytes(whole),
        (SectionText::Header, Target::Message { root, .. }) => bytes(root.header),
        (SectionText::Text, Target::Message { root, .. }) => bytes(root.body),
        (SectionText::Fields { .. }, Target::Message { root, index, .. }) => {
            Wanted::Fields { header: inside(root.header, size), index }
        }
        (SectionText::Mime, Target::Message { mime: Some(mime), .. } | Target::Part { mime, .. }) => bytes(mime),
        (SectionText::Mime, Target::Message { mime: None, .. }) | (_, Target::Part { .. }) => Wanted::Nothing,
    }
}

/// What a part number names.
enum Target<'a> {
    /// A message: the letter itself, or the one a message/rfc822 part encloses.
    Message { whole: Span, root: &'a Part, index: &'a [Field], mime: Option<Span> },
    /// Any other part.
    Part { body: Span, mime: Span },
}

fn find<'a>(summary: &'a Summary, path: &[u32]) -> Option<Target<'a>> {
    let whole = Span { start: 0, end: summary.size };
    let mut target = Target::Message { whole, root: &summary.root, index: &summary.fields, mime: None };
    // The part whose children the next number counts, and whether it is a message's root.
    let (mut part, mut is_root) = (&summary.root, true);
    for &number in path {
        part = child(part, is_root, number)?;
        target = match &part.inside {
            Inside::Message(enclosed) => Target::Message {
                whole: part.body,
                root: &enclosed.root,
                index: &enclosed.fields,
                mime: Some(part.header),
            },
            Inside::Leaf | Inside::Parts(_) => Target::Part { body: part.body, mime: part.header },
        };
        is_root = false;
        if let Inside::Message(enclosed) = &part.inside {
            (part, is_root) = (&enclosed.root, true);
        }
    }
    Some(target)
}

// RFC 3501 §6.4.5: a message that is no multipart has one part, number 1, which is its root.
fn child(part: &Part, is_root: bool, number: u32) -> Option<&Part> {
    match &part.inside {
        Inside::Parts(children) => children.get(usize::try_from(number).ok()?.checked_sub(1)?),
        Inside::Leaf | Inside::Message(_) if is_root && number == 1 => Some(part),
        Inside::Leaf | Inside::Message(_) => None,
    }
}

const fn inside(span: Span, size: u32) -> Span {
    let end = if span.end < size { span.end } else { size };
    let start = if span.start < end { span.start } else { end };
    Span { start, end }
}

/// Picks fields out of a header: those named, or with `not` all others, and an empty line behind them, always.
/// `bytes` are the message's bytes at `header`; names compare without regard to case.
#[must_use]
pub fn fields(header: Span, bytes: &[u8], index: &[Field], names: &[String], not: bool) -> Slices {
    let mut spans: Vec<Span> = Vec::new();
    for field in index {
        let Some(from) = field.start.checked_sub(header.start) else { continue };
        let from = from as usize;
        let Some(name) = bytes.get(from..from + usize::from(field.name)) else { continue };
        if field.end > header.end || field.end <= field.start {
            continue;
        }
        let named = names.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name.trim_ascii_end()));
        if named != not {
            match spans.last_mut() {
                Some(last) if last.end == field.start => last.end = field.end,
                _ => spans.push(Span { start: field.start, end: field.end }),
            }
        }
    }
    Slices { spans, tail: b"\r\n" }
}

/// Whether a header, whose bytes these are, has a field of this name.
#[must_use]
pub fn has_field(header: Span, bytes: &[u8], index: &[Field], name: &str) -> bool {
    !fields(header, bytes, index, &[name.to_owned()], false).spans.is_empty()
}

/// Whether a section lies in the message's own header.
#[must_use]
pub const fn is_of_header(section: &Section) -> bool {
    section.part.is_empty() && matches!(section.text, SectionText::Header | SectionText::Fields { .. })
}

/// Such a section, cut, when `header` are the header's bytes: spans of those, since a message begins with its header. What
/// would lie beyond them is left out.
#[must_use]
pub fn of_header(summary: &Summary, header: &[u8], item: &SectionItem) -> Slices {
    let mut slices = match (resolve(summary, &item.section), &item.section.text) {
        (Wanted::Bytes(slices), _) => slices,
        (Wanted::Fields { header: span, index }, SectionText::Fields { names, not }) => {
            fields(span, header, index, names, *not)
        }
        _ => Slices::default(),
    };
    slices.spans.retain(|span| span.end as usize <= header.len());
    cut(&slices, item.partial)
}

/// Cuts `<start.length>` out of slices; beyond the end there is nothing, and that is no error.
#[must_use]
pub fn cut(slices: &Slices, partial: Option<(u32, u32)>) -> Slices {
    let Some((start, length)) = partial else { return slices.clone() };
    let (mut skip, mut take) = (start, length);
    let mut spans = Vec::new();
    for span in &slices.spans {
        let (from, to) = window(span.end - span.start, &mut skip, &mut take);
        if from < to {
            spans.push(Span { start: span.start + from, end: span.start + to });
        }
    }
    // The tail is at most two bytes.
    let (from, to) = window(slices.tail.len() as u32, &mut skip, &mut take);
    Slices { spans, tail: slices.tail.get(from as usize..to as usize).unwrap_or_default() }
}

// The part of a piece of `length` bytes that is left after skipping and within what may be taken.
fn window(length: u32, skip: &mut u32, take: &mut u32) -> (u32, u32) {
    let from = length.min(*skip);
    let to = from + (length - from).min(*take);
    *skip -= from;
    *take -= to - from;
    (from, to)
}

/// Appends a section's name as the answer calls it: `BODY[1.HEADER.FIELDS (Date)]<0>`, `RFC822.TEXT`, ...
pub fn label(out: &mut Vec<u8>, item: &SectionItem) {
    match item.form {
        Form::Rfc822 => out.extend_from_slice(b"RFC822"),
        Form::Rfc822Header => out.extend_from_slice(b"RFC822.HEADER"),
        Form::Rfc822Text => out.extend_from_slice(b"RFC822.TEXT"),
        Form::Body => {
            out.extend_from_slice(b"BODY[");
            specifier(out, &item.section);
            out.push(b']');
        }
    }
    if let Some((start, _)) = item.partial {
        out.push(b'<');
        number(out, u64::from(start));
        out.push(b'>');
    }
}

fn specifier(out: &mut Vec<u8>, section: &Section) {
    for (at, part) in section.part.iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        number(out, u64::from(*part));
    }
    if section.text != SectionText::Whole && !section.part.is_empty() {
        out.push(b'.');
    }
    match &section.text {
        SectionText::Whole => {}
        SectionText::Header => out.extend_from_slice(b"HEADER"),
        SectionText::Text => out.extend_from_slice(b"TEXT"),
        SectionText::Mime => out.extend_from_slice(b"MIME"),
        SectionText::Fields { names, not } => {
            out.extend_from_slice(if *not { b"HEADER.FIELDS.NOT" } else { b"HEADER.FIELDS" });
            for (at, name) in names.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b" (" } else { b" " });
                field_name(out, name);
            }
            out.push(b')');
        }
    }
}

// As an atom where it may be one: apps compare what they asked with what comes back.
fn field_name(out: &mut Vec<u8>, name: &str) {
    let atom = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !name.is_empty() && name.bytes().all(atom) {
        out.extend_from_slice(name.as_bytes())
    } else {
        string(out, name.as_bytes())
    }
}
