//! Stage two: what the sealed summary knows of a letter.

use filter_sandbox::letter::Needle;
use filter_sandbox::report::Summary;

use super::{Key, Place, Verdict};
use crate::grammar::date::DAY;
use crate::letters::Digest;
use crate::render;

/// A key over a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SummaryKey {
    /// Written on these days: from, up to and not with. A letter without a date was written on none.
    Sent(i64, i64),
    /// A text in a field the summary has; where it was cut, the letter itself may have more.
    Contains(Known, Needle),
    /// HEADER with the empty text: whether there is such a field.
    Present(String),
    /// TEXT: certain when a known field has it, else the body decides.
    Anywhere(Needle),
    /// No client's key: whether the two before the last may have to be asked of the letter itself.
    Unsure,
}

/// Fields the summary has, decoded or (the last three) as they stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Subject
    Subject,
    /// From
    From,
    /// To
    To,
    /// Cc
    Cc,
    /// Bcc
    Bcc,
    /// Message-ID
    MessageId,
    /// In-Reply-To
    InReplyTo,
    /// Date
    Date,
}

impl Known {
    // Sender and Reply-To are not here: the envelope fills them in from From.
    fn field(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "subject" => Self::Subject,
            "from" => Self::From,
            "to" => Self::To,
            "cc" => Self::Cc,
            "bcc" => Self::Bcc,
            "message-id" => Self::MessageId,
            "in-reply-to" => Self::InReplyTo,
            "date" => Self::Date,
            _ => return None,
        })
    }

    fn contains(self, needle: &Needle, summary: &Summary) -> bool {
        let envelope = &summary.envelope;
        let [from, to, cc, bcc] = &summary.address_texts;
        let text = |there: bool, text: &str| there && needle.is_in(text);
        let bytes =
            |field: &Option<Vec<u8>>| field.as_ref().is_some_and(|field| needle.is_in(&String::from_utf8_lossy(field)));
        match self {
            Self::Subject => text(envelope.subject.is_some(), &summary.subject_text),
            Self::From => text(!envelope.from.is_empty(), from),
            Self::To => text(!envelope.to.is_empty(), to),
            Self::Cc => text(!envelope.cc.is_empty(), cc),
            Self::Bcc => text(!envelope.bcc.is_empty(), bcc),
            Self::MessageId => bytes(&envelope.message_id),
            Self::InReplyTo => bytes(&envelope.in_reply_to),
            Self::Date => bytes(&envelope.date),
        }
    }
}

impl SummaryKey {
    /// The key, when the summary can say something about it.
    pub fn of(key: &Key) -> Option<Self> {
        let contains = |known, text: &str| Self::Contains(known, Needle::new(text));
        Some(match key {
            Key::SentBefore(day) => Self::Sent(i64::MIN, *day),
            Key::SentOn(day) => Self::Sent(*day, day.saturating_add(DAY)),
            Key::SentSince(day) => Self::Sent(*day, i64::MAX),
            Key::Contains(Place::Subject, text) => contains(Known::Subject, text),
            Key::Contains(Place::From, text) => contains(Known::From, text),
            Key::Contains(Place::To, text) => contains(Known::To, text),
            Key::Contains(Place::Cc, text) => contains(Known::Cc, text),
            Key::Contains(Place::Bcc, text) => contains(Known::Bcc, text),
            Key::Contains(Place::Header(name), text) if text.is_empty() => Self::Present(name.clone()),
            Key::Contains(Place::Header(name), text) => contains(Known::field(name)?, text),
            Key::Contains(Place::Text, text) => Self::Anywhere(Needle::new(text)),
            _ => return None,
        })
    }

    /// Whether it is certain after this stage, unless the letter is one of those that are unsure.
    pub const fn decides(&self) -> bool {
        !matches!(self, Self::Anywhere(_))
    }

    /// What the summary says.
    pub fn matches(&self, digest: &Digest) -> Verdict {
        let summary = &*digest.summary;
        let found = |found: bool, otherwise: Verdict| if found { Verdict::Yes } else { otherwise };
        match self {
            Self::Sent(from, to) => summary.sent_day.is_some_and(|day| (*from..*to).contains(&day)).into(),
            Self::Contains(known, needle) => {
                found(known.contains(needle, summary), if summary.is_cut() { Verdict::Unknown } else { Verdict::No })
            }
            Self::Present(name) => digest.header.as_ref().map_or(Verdict::Unknown, |header| {
                render::has_field(summary.root.header, header, &summary.fields, name).into()
            }),
            Self::Anywhere(needle) => {
                let fields = [Known::Subject, Known::From, Known::To, Known::Cc, Known::Bcc];
                found(fields.into_iter().any(|known| known.contains(needle, summary)), Verdict::Unknown)
            }
            Self::Unsure => (summary.is_cut() || digest.header.is_none()).into(),
        }
    }
}
