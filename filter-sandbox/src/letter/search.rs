//! A SEARCH's text keys over one letter (RFC 3501 §6.4.4): headers and texts decoded, letters' case and the length
//! of white space disregarded.

use super::{
    address_text,
    decode::Text,
    envelope,
    fields::{self, Fields},
    fold::{Fold, folded},
    html::Html,
    texts::Texts,
    walk::{self, Node, Shape, Walked},
    words,
};
use crate::report::{Field, Query, limits};
use memchr::memmem::Finder;

/// Whether the letter matches. `known` holds the bits of [`Query::Known`], what the owner found out without the
/// letter's text. A letter that [`examine`](super::examine) would not describe has no text to match.
pub fn matches(message: &[u8], known: u64, query: &Query) -> bool {
    let walked = walk::walk(message, &mut Texts::new());
    let mut needles = Vec::new();
    gather(query, &mut needles);
    Search { message, walked, known, needles, in_body: None }.holds(query)
}

/// The texts that are looked for in the body, folded, in the order in which `holds` comes to them.
fn gather(query: &Query, needles: &mut Vec<Vec<u8>>) {
    match query {
        Query::Body(text) | Query::Text(text) => {
            let needle = folded(text);
            if !needles.contains(&needle) {
                needles.push(needle);
            }
        }
        Query::And(all) | Query::Or(all) => all.iter().for_each(|key| gather(key, needles)),
        Query::Not(key) => gather(key, needles),
        Query::Known(_) | Query::Header(..) => {}
    }
}

struct Search<'m> {
    message: &'m [u8],
    walked: Option<Walked>,
    known: u64,
    needles: Vec<Vec<u8>>,
    /// Which needles stand in the body; found out in one pass, when first asked.
    in_body: Option<Vec<bool>>,
}

impl Search<'_> {
    fn holds(&mut self, query: &Query) -> bool {
        match query {
            Query::Known(bit) => self.known.checked_shr(u32::from(*bit)).unwrap_or(0) & 1 == 1,
            Query::Header(name, text) => self.in_field(name, &folded(text)),
            Query::Body(text) => self.in_body(&folded(text)),
            Query::Text(text) => {
                let needle = folded(text);
                self.in_header(&needle) || self.in_body(&needle)
            }
            Query::And(all) => all.iter().all(|key| self.holds(key)),
            Query::Or(any) => any.iter().any(|key| self.holds(key)),
            Query::Not(key) => !self.holds(key),
        }
    }

    /// The message's own fields of that name.
    fn in_field(&self, name: &str, needle: &[u8]) -> bool {
        let Some(root) = self.walked.as_ref().and_then(|walked| walked.nodes.first()) else { return false };
        let finder = Finder::new(needle);
        let lists = ADDRESSES.iter().any(|list| name.eq_ignore_ascii_case(list));
        let named = |field: &&Field| fields::name(self.message, field).eq_ignore_ascii_case(name.as_bytes());
        root.fields.iter().filter(named).any(|field| {
            finder.find(&folded(&value(self.message, field))).is_some()
                || (lists && finder.find(&folded(&read_addresses(self.message, field))).is_some())
        })
    }

    fn in_header(&self, needle: &[u8]) -> bool {
        let Some(root) = self.walked.as_ref().and_then(|walked| walked.nodes.first()) else { return false };
        let finder = Finder::new(needle);
        Fields::of(self.message, root.header.clone())
            .any(|field| finder.find(&folded(&line(self.message, &field))).is_some())
    }

    fn in_body(&mut self, needle: &[u8]) -> bool {
        if self.in_body.is_none() {
            let mut body = Body::new(&self.needles);
            for (index, node) in self.walked.iter().flat_map(|walked| &walked.nodes).enumerate() {
                body.node(self.message, node, index == 0);
            }
            self.in_body = Some(body.found);
        }
        let found = self.in_body.as_deref().unwrap_or_default();
        self.needles.iter().zip(found).any(|(known, found)| known == needle && *found)
    }
}

/// All needles looked for in all texts, one pass.
struct Body<'n> {
    finders: Vec<Finder<'n>>,
    found: Vec<bool>,
    longest: usize,
    /// Folded text not searched yet, after as much of the searched as a needle may reach back.
    window: Fold,
}

impl<'n> Body<'n> {
    fn new(needles: &'n [Vec<u8>]) -> Self {
        let finders: Vec<Finder<'n>> = needles.iter().map(Finder::new).collect();
        let found = needles.iter().map(Vec::is_empty).collect();
        let longest = needles.iter().map(Vec::len).max().unwrap_or(0);
        Body { finders, found, longest, window: Fold::default() }
    }

    /// A part's header, unless it is the letter's own, and its text.
    fn node(&mut self, message: &[u8], node: &Node, is_own: bool) {
        if !is_own {
            for field in Fields::of(message, node.header.clone()) {
                self.look(&line(message, &field));
                self.window = Fold::default();
            }
            self.file_names(node);
        }
        if matches!(node.shape, Shape::Leaf) && node.mime.is_kind(b"text") {
            self.text(Text::new(&message[node.body.clone()], &node.mime), node.mime.is(b"text", b"html"));
            self.window = Fold::default();
        }
    }

    /// RFC 2231: nobody who looks for a file knows its name as its header writes it.
    fn file_names(&mut self, node: &Node) {
        let disposition = node.mime.disposition.as_ref();
        let names = [
            words::parameter(&node.mime.parameters, "name"),
            disposition.and_then(|(_, parameters)| words::parameter(parameters, "filename")),
        ];
        for name in names.iter().flatten() {
            self.look(name);
            self.window = Fold::default();
        }
    }

    fn text(&mut self, mut text: Text<'_>, is_html: bool) {
        let mut html = is_html.then(Html::new);
        let (mut piece, mut readable) = (String::new(), String::new());
        let mut more = true;
        while more && self.found.contains(&false) {
            piece.clear();
            more = text.next(&mut piece);
            let Some(html) = &mut html else {
                self.look(&piece);
                continue;
            };
            readable.clear();
            html.push(&piece, &mut readable, &mut ());
            if !more {
                html.finish(&mut readable);
            }
            self.look(&readable);
        }
    }

    fn look(&mut self, text: &str) {
        self.window.push(text);
        for (finder, found) in self.finders.iter().zip(&mut self.found) {
            *found = *found || finder.find(&self.window.bytes).is_some();
        }
        let searched = self.window.bytes.len().saturating_sub(self.longest.saturating_sub(1));
        self.window.bytes.drain(..searched);
    }
}

/// Fields that a summary has as addresses.
const ADDRESSES: [&str; 4] = ["From", "To", "Cc", "Bcc"];
/// Addresses of one field that are also compared as a summary shows them; each takes some hundred bytes meanwhile.
const MOST_ADDRESSES: usize = 20_000;

/// An address field as a summary has it, so that a letter whose summary was cut answers as others do.
fn read_addresses(message: &[u8], field: &Field) -> String {
    address_text(&envelope::addresses(fields::value(message, field), MOST_ADDRESSES), limits::LIST)
}

/// A field's value, decoded.
fn value(message: &[u8], field: &Field) -> String {
    let value = fields::value(message, field).trim_ascii();
    words::decode(&value[..value.len().min(limits::LIST)])
}

/// A whole field, decoded. One of megabytes is no header that anybody wrote: only its beginning is searched.
fn line(message: &[u8], field: &Field) -> String {
    let line = &message[field.start as usize..field.end as usize];
    words::decode(line[..line.len().min(limits::LIST)].trim_ascii())
}
