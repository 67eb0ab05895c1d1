//! Holding a worker's report against the letter's length and the bounds, before anybody uses a number from it.

use super::{
    Action, Address, Enclosed, Envelope, Facts, Feature, Field, Inside, Parameters, Part, Report, Span, Summary,
    limits, script,
};
use std::fmt;

/// Seconds of a day.
const DAY: i64 = 86_400;
/// Last day a Date field can write (year 9999).
const LAST_DAY: i64 = 253_402_214_400;

/// Why a report is not believed. The worker lied or is broken; the letter's sender may have made it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadReport {
    /// An offset outside the message, or outside what encloses it.
    Offset,
    /// Nested deeper than [`limits::DEPTH`].
    Depth,
    /// More items than a bound allows.
    Count,
    /// A text too long, or with bytes that may not stand in it.
    Text,
    /// A number out of range or not finite.
    Number,
    /// A part whose type and content contradict each other.
    Kind,
    /// An action that does not stand in the owner's script.
    Action,
}

impl fmt::Display for BadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadReport::Offset => "report with an offset outside its message",
            BadReport::Depth => "report nested too deep",
            BadReport::Count => "report with too many items",
            BadReport::Text => "report with a bad text",
            BadReport::Number => "report with a bad number",
            BadReport::Kind => "report with a part that contradicts itself",
            BadReport::Action => "report with an action that is not in the script",
        })
    }
}

impl std::error::Error for BadReport {}

/// `Ok` when it holds.
fn hold(it: bool, otherwise: BadReport) -> Result<(), BadReport> {
    if it { Ok(()) } else { Err(otherwise) }
}

impl Report {
    /// Whether everything in the report may be used about a message of `message_len` bytes.
    pub fn check(&self, message_len: usize, facts: &Facts) -> Result<(), BadReport> {
        self.summary.check(message_len)?;
        features(&self.features)?;
        hold(self.actions.len() <= limits::ACTIONS, BadReport::Count)?;
        self.actions.iter().try_for_each(|Action::FileInto(span)| {
            let fits = !span.is_empty() && span.len() as usize <= limits::FOLDER;
            hold(fits && script::literal(&facts.script, *span), BadReport::Action)
        })
    }
}

impl Summary {
    /// Whether every offset, count and text may be used about a message of `message_len` bytes.
    pub fn check(&self, message_len: usize) -> Result<(), BadReport> {
        hold(u32::try_from(message_len) == Ok(self.size), BadReport::Offset)?;
        let whole = Span { start: 0, end: self.size };
        let mut seen = Seen::default();
        message(&self.envelope, &self.fields, &self.root, whole, &mut seen, 1)?;
        hold(
            self.sent_day.is_none_or(|day| day <= LAST_DAY && day.abs() <= LAST_DAY && day % DAY == 0),
            BadReport::Number,
        )?;
        let longest = limits::TEXT;
        readable(&self.subject_text, longest)?;
        self.address_texts.iter().try_for_each(|text| readable(text, longest))?;
        hold(self.preview.chars().count() <= limits::PREVIEW, BadReport::Text)?;
        readable(&self.preview, limits::PREVIEW * 4)
    }
}

/// What has been counted over all levels.
#[derive(Default)]
struct Seen {
    parts: usize,
    fields: usize,
}

/// A message that fills `all`: its header first, its body to the end.
fn message(
    envelope_: &Envelope,
    fields_: &[Field],
    root: &Part,
    all: Span,
    seen: &mut Seen,
    depth: usize,
) -> Result<(), BadReport> {
    envelope(envelope_)?;
    hold(root.header.start == all.start && root.body.end == all.end, BadReport::Offset)?;
    seen.fields = seen.fields.saturating_add(fields_.len());
    hold(seen.fields <= limits::FIELDS, BadReport::Count)?;
    fields(fields_, root.header)?;
    part(root, all, seen, depth)
}

/// Fields in order, inside the header, each long enough for its name and colon.
fn fields(fields: &[Field], header: Span) -> Result<(), BadReport> {
    let mut from = header.start;
    for field in fields {
        let name_end = field.start.checked_add(u32::from(field.name)).ok_or(BadReport::Offset)?;
        let inside = from <= field.start && name_end < field.end && field.end <= header.end && field.name > 0;
        hold(inside, BadReport::Offset)?;
        from = field.end;
    }
    Ok(())
}

fn part(part: &Part, room: Span, seen: &mut Seen, depth: usize) -> Result<(), BadReport> {
    hold(depth <= limits::DEPTH, BadReport::Depth)?;
    seen.parts += 1;
    hold(seen.parts <= limits::PARTS, BadReport::Count)?;
    let ordered = room.start <= part.header.start
        && part.header.start <= part.header.end
        && part.header.end == part.body.start
        && part.body.start <= part.body.end
        && part.body.end <= room.end;
    hold(ordered, BadReport::Offset)?;
    hold(part.lines <= part.body.len(), BadReport::Number)?;
    mime(part)?;
    inside(part, seen, depth)
}

fn inside(part_: &Part, seen: &mut Seen, depth: usize) -> Result<(), BadReport> {
    let multipart = part_.kind.eq_ignore_ascii_case(b"multipart");
    let enclosing = part_.kind.eq_ignore_ascii_case(b"message") && part_.subtype.eq_ignore_ascii_case(b"rfc822");
    match &part_.inside {
        Inside::Leaf => hold(!multipart && !enclosing, BadReport::Kind),
        Inside::Parts(children) => {
            hold(multipart && !children.is_empty(), BadReport::Kind)?;
            let mut room = part_.body;
            for child in children {
                part(child, room, seen, depth + 1)?;
                room.start = child.body.end;
            }
            Ok(())
        }
        Inside::Message(enclosed) => {
            hold(enclosing, BadReport::Kind)?;
            let Enclosed { envelope, fields, root } = &**enclosed;
            message(envelope, fields, root, part_.body, seen, depth + 1)
        }
    }
}

fn mime(part: &Part) -> Result<(), BadReport> {
    token(&part.kind)?;
    token(&part.subtype)?;
    token(&part.encoding)?;
    parameters(&part.parameters)?;
    for text in [&part.id, &part.description, &part.md5, &part.location].into_iter().flatten() {
        bytes(text)?;
    }
    if let Some((name, list)) = &part.disposition {
        token(name)?;
        parameters(list)?;
    }
    hold(part.language.len() <= limits::LANGUAGES, BadReport::Count)?;
    part.language.iter().try_for_each(|language| token(language))
}

fn parameters(list: &Parameters) -> Result<(), BadReport> {
    hold(list.len() <= limits::PARAMETERS, BadReport::Count)?;
    list.iter().try_for_each(|(name, value)| token(name).and_then(|()| bytes(value)))
}

fn envelope(envelope: &Envelope) -> Result<(), BadReport> {
    let texts = [&envelope.date, &envelope.subject, &envelope.in_reply_to, &envelope.message_id];
    texts.into_iter().flatten().try_for_each(|text| bytes(text))?;
    let lists = [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc];
    lists.into_iter().try_for_each(|list| addresses(list))
}

/// Groups must open and close in turn, else a client reads one list's members as another's.
fn addresses(list: &[Address]) -> Result<(), BadReport> {
    hold(list.len() <= limits::ADDRESSES, BadReport::Count)?;
    let mut in_group = false;
    for address in list {
        [&address.name, &address.mailbox, &address.host].into_iter().flatten().try_for_each(|text| bytes(text))?;
        match (&address.mailbox, &address.host) {
            (Some(_), Some(_)) => {}
            (Some(_), None) if !in_group => in_group = true,
            (None, None) if in_group => in_group = false,
            _ => return Err(BadReport::Kind),
        }
    }
    hold(!in_group, BadReport::Kind)
}

fn features(features: &[Feature]) -> Result<(), BadReport> {
    hold(features.len() <= limits::FEATURES, BadReport::Count)?;
    for (index, feature) in features.iter().enumerate() {
        let name = feature.name.as_bytes();
        let plain = name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_');
        hold(plain && !name.is_empty() && name.len() <= limits::FEATURE_NAME, BadReport::Text)?;
        hold(feature.value.is_finite(), BadReport::Number)?;
        hold(features[..index].iter().all(|earlier| earlier.name != feature.name), BadReport::Count)?;
    }
    Ok(())
}

/// A header text: any bytes but those that could end a line of a reply.
fn bytes(text: &[u8]) -> Result<(), BadReport> {
    let clean = !text.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
    hold(clean && text.len() <= limits::TEXT, BadReport::Text)
}

/// RFC 2045 §5.1 token: goes into replies between quotes as it is.
fn token(text: &[u8]) -> Result<(), BadReport> {
    hold(!text.is_empty() && text.len() <= limits::TEXT && text.iter().all(|b| is_token(*b)), BadReport::Text)
}

/// Whether the byte may stand in an RFC 2045 token.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

/// A decoded text: no control characters, which a terminal might obey.
fn readable(text: &str, longest: usize) -> Result<(), BadReport> {
    hold(text.len() <= longest && !text.chars().any(char::is_control), BadReport::Text)
}
