//! What a worker says about one letter. A report is hostile until [`Report::check`] has passed it.
//!
//! Reading one is bounded twice: while it is decoded (depth and list lengths, so that a hostile report can
//! neither exhaust its reader's stack nor its memory) and by `check` (everything that depends on the letter).

mod bounded;
mod check;
mod script;

pub use check::BadReport;
pub(crate) use check::is_token;
use serde::{Deserialize, Serialize};

/// Bounds of a report; what exceeds one makes the letter "not understood", never a longer report.
pub mod limits {
    /// Bytes of one encoded report.
    pub const REPORT_BYTES: usize = 1024 * 1024;
    /// Parts of one letter, all levels together.
    pub const PARTS: usize = 1_000;
    /// Levels of nesting, multiparts and enclosed messages together.
    pub const DEPTH: usize = 64;
    /// Header fields indexed, all header blocks together.
    pub const FIELDS: usize = 10_000;
    /// Addresses in one address list of an envelope.
    pub const ADDRESSES: usize = 1_000;
    /// Bytes of one address field that are read.
    pub const LIST: usize = 1024 * 1024;
    /// Bytes of any one text (subject, file name, parameter); longer ones are cut, and a letter's own say so ([`super::CUT`]).
    pub const TEXT: usize = 16 * 1024;
    /// Bytes of all texts of one report together; texts past it are cut, so that a report stays below
    /// [`REPORT_BYTES`] whatever the letter.
    pub const TEXTS: usize = 512 * 1024;
    /// Languages of one Content-Language field.
    pub const LANGUAGES: usize = 64;
    /// Parameters of one content type or disposition.
    pub const PARAMETERS: usize = 64;
    /// Characters of the preview.
    pub const PREVIEW: usize = 200;
    /// Distinct features.
    pub const FEATURES: usize = 64;
    /// Bytes of a feature's name.
    pub const FEATURE_NAME: usize = 40;
    /// Actions of a Sieve script.
    pub const ACTIONS: usize = 32;
    /// Bytes of a folder's name in an action.
    pub const FOLDER: usize = 255;
    /// Levels of a search query.
    pub const QUERY_DEPTH: usize = 64;
    /// Keys joined by one AND or OR of a search query.
    pub const QUERY_KEYS: usize = 1_000;
}

/// Ends the decoded subject of a [`Summary`] that does not have its whole envelope: a noncharacter, which no mail means.
pub const CUT: char = '\u{ffff}';

/// Offsets into the message, start inclusive, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// As a range for slicing the message.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Bytes in it; 0 when it is upside down.
    pub fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// One address of an envelope, in the form RFC 3501 §7.4.2 wants: raw bytes as they stood in the header
/// (encoded words not decoded), comments and quoting removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Display name.
    #[serde(deserialize_with = "bounded::some_bytes")]
    pub name: Option<Vec<u8>>,
    /// Local part; for a group's start the group's name; `None` for a group's end.
    #[serde(deserialize_with = "bounded::some_bytes")]
    pub mailbox: Option<Vec<u8>>,
    /// Domain, empty when the header has none; `None` marks group syntax.
    #[serde(deserialize_with = "bounded::some_bytes")]
    pub host: Option<Vec<u8>>,
}

/// RFC 3501 ENVELOPE; absent header fields are `None`, and sender and reply-to are already defaulted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Date field, unfolded.
    #[serde(deserialize_with = "bounded::some_bytes")]
    pub date: Option<Vec<u8>>,
    /// Subject field, unfolded, encoded words as they stood.
    #[serde(deserialize_with = "bounded::some_bytes")]
    pub subject: Option<Vec<u8>>,
    /// From.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ADDRESSES }>")]
    pub from: Vec<Address>,
    /// Sender, or From.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ADDRESSES }>")]
    pub sender: Vec<Address>,
    /// Reply-To, or From.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ADDRESSES }>")]
    pub reply_to: Vec<Address>,
    /// To.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ADDRESSES }>")]
    pub to: Vec<Address>,
    /// Cc.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ADDRESSES }>")]
    pub cc: Vec<Address>,
    /// Bcc.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ADDRESSES }>")]
    pub bcc: Vec<Address>,
    /// In-Reply-To.
    #[serde(deserialize_with = "bounded::some_bytes")]
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID.
    #[serde(deserialize_with = "bounded::some_bytes")]
    pub message_id: Option<Vec<u8>>,
}

/// One header field: where its name begins and ends, and where the field (with its line end) ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// First byte of the name.
    pub start: u32,
    /// Bytes of the name, without the colon.
    pub name: u16,
    /// One past the field's last line end.
    pub end: u32,
}

/// Parameters of a content type or disposition, as written.
pub type Parameters = Vec<(Vec<u8>, Vec<u8>)>;

/// One MIME part, as BODYSTRUCTURE and BODY[...] need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The part's MIME header with its empty line; for the root, the message's header.
    pub header: Span,
    /// The part's body, still encoded.
    pub body: Span,
    /// Lines of the body.
    pub lines: u32,
    /// Media type, as written, e.g. `TEXT`.
    #[serde(deserialize_with = "bounded::bytes")]
    pub kind: Vec<u8>,
    /// Subtype, as written.
    #[serde(deserialize_with = "bounded::bytes")]
    pub subtype: Vec<u8>,
    /// Content-Type parameters, as written, but that pieces of one value (RFC 2231) are together.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::PARAMETERS }>")]
    pub parameters: Parameters,
    /// Content-ID.
    #[serde(deserialize_with = "bounded::some_bytes")]
    pub id: Option<Vec<u8>>,
    /// Content-Description.
    #[serde(deserialize_with = "bounded::some_bytes")]
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding; `7BIT` when absent.
    #[serde(deserialize_with = "bounded::bytes")]
    pub encoding: Vec<u8>,
    /// Content-MD5.
    #[serde(deserialize_with = "bounded::some_bytes")]
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition with its parameters.
    pub disposition: Option<(Vec<u8>, Parameters)>,
    /// Content-Language.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::LANGUAGES }>")]
    pub language: Vec<Vec<u8>>,
    /// Content-Location.
    #[serde(deserialize_with = "bounded::some_bytes")]
    pub location: Option<Vec<u8>>,
    /// What is inside.
    pub inside: Inside,
}

/// What a part contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Inside {
    /// A leaf; never of type multipart or message/rfc822, which BODYSTRUCTURE writes otherwise.
    Leaf,
    /// A multipart's children, at least one.
    Parts(#[serde(deserialize_with = "bounded::parts")] Vec<Part>),
    /// A message/rfc822: its envelope, the index of its header's fields, and its root part.
    Message(#[serde(deserialize_with = "bounded::enclosed")] Box<Enclosed>),
}

/// A message inside a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosed {
    /// Its envelope.
    pub envelope: Envelope,
    /// Its header fields.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::FIELDS }>")]
    pub fields: Vec<Field>,
    /// Its root part.
    pub root: Part,
}

/// Everything of a letter that lists, searches and partial fetches need without parsing MIME again.
/// Sealed in front of the letter; never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Bytes of the whole message.
    pub size: u32,
    /// Envelope of the message.
    pub envelope: Envelope,
    /// Its header fields, in order.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::FIELDS }>")]
    pub fields: Vec<Field>,
    /// Its parts.
    pub root: Part,
    /// Date field as seconds since 1970 at midnight UTC of the *written* day (RFC 3501 SENTON disregards zone).
    pub sent_day: Option<i64>,
    /// Subject, decoded, for searching; ends in [`CUT`] where [`Summary::is_cut`].
    pub subject_text: String,
    /// From, To, Cc, Bcc names and addresses, decoded, for searching: one text each.
    pub address_texts: [String; 4],
    /// First readable words, decoded.
    pub preview: String,
}

impl Summary {
    /// Whether some text or address of the envelope may be missing: what is not found here may still be in the letter.
    pub fn is_cut(&self) -> bool {
        let of = &self.envelope;
        // Summaries older than the mark show it by their lengths.
        let long = |length: usize| length + 3 >= limits::TEXT;
        let lists = [&of.from, &of.to, &of.cc, &of.bcc];
        self.subject_text.ends_with(CUT)
            || long(self.subject_text.len())
            || self.address_texts.iter().any(|text| long(text.len()))
            || lists.into_iter().any(|list| list.len() + 1 >= limits::ADDRESSES)
            || [&of.date, &of.in_reply_to, &of.message_id].into_iter().flatten().any(|text| long(text.len()))
    }
}

/// One thing a scorer may weigh: a stable short name and how much of it there was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// E.g. `URL_IP_LITERAL`; ASCII upper case, digits, underscore, at most 40 bytes.
    pub name: String,
    /// Count or measure, finite.
    pub value: f32,
}

/// An action of the owner's Sieve script. None are produced yet; the report keeps their place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// File into a folder: the argument's span in the script, between the quotes of a quoted string without
    /// escapes (a name counts only where it stands literally).
    FileInto(Span),
}

/// One worker's whole answer about one letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// For the reader.
    pub summary: Summary,
    /// For the scorer.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::FEATURES }>")]
    pub features: Vec<Feature>,
    /// For delivery.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ACTIONS }>")]
    pub actions: Vec<Action>,
}

/// What the asker knows of a letter and the scorer's features may refer to. Never trusted back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The envelope's sender domain, lower-case; empty for the null sender or an APPEND.
    pub sender_domain: String,
    /// The owner's Sieve script; empty while there are none.
    pub script: Vec<u8>,
}

/// A SEARCH's text keys, evaluated by one worker over a stream of letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// What the owner already knows of the letter: bit n of the word that comes with each letter.
    Known(u8),
    /// HEADER field text, decoded, case-insensitive.
    Header(String, String),
    /// BODY text: decoded text parts.
    Body(String),
    /// TEXT: header or body.
    Text(String),
    /// All.
    And(#[serde(deserialize_with = "bounded::queries")] Vec<Query>),
    /// Any.
    Or(#[serde(deserialize_with = "bounded::queries")] Vec<Query>),
    /// Not.
    Not(#[serde(deserialize_with = "bounded::query")] Box<Query>),
}
