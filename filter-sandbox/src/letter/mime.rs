//! The MIME fields of one part (RFC 2045, 2183, 3282), as BODYSTRUCTURE shows them.

use super::{continued::joined, fields, lexer::Lexer, texts::Texts};
use crate::report::{Field, Parameters, is_token, limits};

/// What a part's header says about its body.
#[derive(Debug, Clone)]
pub(super) struct Mime {
    pub kind: Vec<u8>,
    pub subtype: Vec<u8>,
    pub parameters: Parameters,
    pub id: Option<Vec<u8>>,
    pub description: Option<Vec<u8>>,
    pub encoding: Vec<u8>,
    pub md5: Option<Vec<u8>>,
    pub disposition: Option<(Vec<u8>, Parameters)>,
    pub language: Vec<Vec<u8>>,
    pub location: Option<Vec<u8>>,
}

impl Mime {
    /// RFC 2045 §5.2 and, in a digest, RFC 2046 §5.1.5: what a part is that does not say.
    pub(super) fn default_in(digest: bool) -> Mime {
        let (kind, subtype) = if digest { ("message", "rfc822") } else { ("text", "plain") };
        Mime {
            kind: kind.into(),
            subtype: subtype.into(),
            parameters: Vec::new(),
            id: None,
            description: None,
            encoding: b"7BIT".to_vec(),
            md5: None,
            disposition: None,
            language: Vec::new(),
            location: None,
        }
    }

    /// The MIME fields among `index`; the first of each name counts.
    pub(super) fn read(message: &[u8], index: impl Iterator<Item = Field>, digest: bool, texts: &mut Texts) -> Mime {
        let mut mime = Mime::default_in(digest);
        let mut seen_type = false;
        let mut seen_encoding = false;
        for field in index {
            let name = fields::name(message, &field);
            let Some((_, rest)) = name.split_at_checked(8).filter(|(start, _)| start.eq_ignore_ascii_case(b"content-"))
            else {
                continue;
            };
            let line = fields::unfold(fields::value(message, &field));
            match rest.to_ascii_lowercase().as_slice() {
                b"type" if !seen_type => {
                    seen_type = true;
                    mime.set_type(&line, texts);
                }
                b"transfer-encoding" if !seen_encoding => {
                    seen_encoding = true;
                    mime.set_encoding(&line, texts);
                }
                b"disposition" if mime.disposition.is_none() => mime.disposition = disposition(&line, texts),
                b"language" if mime.language.is_empty() => mime.language = language(&line, texts),
                b"id" => first(&mut mime.id, line, texts),
                b"description" => first(&mut mime.description, line, texts),
                b"md5" => first(&mut mime.md5, line, texts),
                b"location" => first(&mut mime.location, line, texts),
                _ => {}
            }
        }
        mime.default_charset();
        mime
    }

    /// RFC 2045 §5.2: a type that cannot be read is text/plain, in a digest too.
    fn set_type(&mut self, line: &[u8], texts: &mut Texts) {
        let mut lexer = Lexer::new(line);
        lexer.space();
        let kind = lexer.run(is_token);
        lexer.space();
        let slash = lexer.take(b'/');
        lexer.space();
        let subtype = lexer.run(is_token);
        let readable = slash && !kind.is_empty() && !subtype.is_empty();
        let (kind, subtype): (&[u8], &[u8]) = if readable { (kind, subtype) } else { (b"text", b"plain") };
        (self.kind, self.subtype) = (kept_token(kind, texts), kept_token(subtype, texts));
        self.parameters = if readable { parameters(&mut lexer, texts) } else { Vec::new() };
    }

    fn set_encoding(&mut self, line: &[u8], texts: &mut Texts) {
        let mut lexer = Lexer::new(line);
        lexer.space();
        let token = lexer.run(is_token);
        if !token.is_empty() {
            self.encoding = kept_token(token, texts);
        }
    }

    /// RFC 2046 §4.1.2; Dovecot says so of every text type, and clients are used to it.
    fn default_charset(&mut self) {
        if self.is_kind(b"text") && self.parameter(b"charset").is_none() && self.parameters.len() < limits::PARAMETERS {
            self.parameters.push((b"charset".to_vec(), b"us-ascii".to_vec()));
        }
    }

    pub(super) fn is_kind(&self, kind: &[u8]) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }

    pub(super) fn is(&self, kind: &[u8], subtype: &[u8]) -> bool {
        self.is_kind(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// A Content-Type parameter.
    pub(super) fn parameter(&self, name: &[u8]) -> Option<&[u8]> {
        named(&self.parameters, name)
    }

    /// A multipart whose parts were not found is shown as the text it is, so that its words are not lost.
    pub(super) fn become_text(&mut self) {
        self.parameters.retain(|(name, _)| name.eq_ignore_ascii_case(b"charset"));
        (self.kind, self.subtype) = (b"text".to_vec(), b"plain".to_vec());
        self.default_charset();
    }

    /// A message too deep inside others to be opened is shown as a file.
    pub(super) fn become_file(&mut self) {
        (self.kind, self.subtype) = (b"application".to_vec(), b"octet-stream".to_vec());
        self.parameters.clear();
    }
}

/// The parameter of that name.
pub(super) fn named<'p>(parameters: &'p Parameters, name: &[u8]) -> Option<&'p [u8]> {
    parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
}

fn first(slot: &mut Option<Vec<u8>>, line: Vec<u8>, texts: &mut Texts) {
    if slot.is_none() && !line.is_empty() {
        *slot = Some(texts.keep(line));
    }
}

/// A token may be cut by its bound, and may then not be empty.
fn kept_token(token: &[u8], texts: &mut Texts) -> Vec<u8> {
    let kept = texts.keep(token.to_vec());
    if kept.is_empty() { b"x".to_vec() } else { kept }
}

/// `;name=value` as often as it comes (RFC 2045 §5.1), pieces of one value together.
fn parameters(lexer: &mut Lexer<'_>, texts: &mut Texts) -> Parameters {
    let mut parameters = Vec::new();
    while parameters.len() < limits::PARAMETERS && texts.items() > 0 {
        lexer.run(|b| b != b';' && b != b'(');
        lexer.space();
        if !lexer.take(b';') {
            match lexer.peek() {
                Some(_) => lexer.skip(),
                None => break,
            }
            continue;
        }
        lexer.space();
        let name = lexer.run(is_token);
        lexer.space();
        if name.is_empty() || !lexer.take(b'=') {
            continue;
        }
        lexer.space();
        let mut value = Vec::new();
        if lexer.peek() == Some(b'"') {
            lexer.quoted(&mut value);
        } else {
            // Careless writers leave out quotes that a space or a slash would need.
            value.extend_from_slice(lexer.run(|b| b != b';').trim_ascii_end());
        }
        parameters.push((kept_token(name, texts), texts.keep(value)));
    }
    joined(parameters, texts)
}

fn disposition(line: &[u8], texts: &mut Texts) -> Option<(Vec<u8>, Parameters)> {
    let mut lexer = Lexer::new(line);
    lexer.space();
    let name = lexer.run(is_token);
    if name.is_empty() {
        return None;
    }
    Some((kept_token(name, texts), parameters(&mut lexer, texts)))
}

fn language(line: &[u8], texts: &mut Texts) -> Vec<Vec<u8>> {
    let mut lexer = Lexer::new(line);
    let mut languages = Vec::new();
    while languages.len() < limits::LANGUAGES && texts.items() > 0 {
        lexer.space();
        let tag = lexer.run(is_token);
        if !tag.is_empty() {
            languages.push(kept_token(tag, texts));
        } else if lexer.peek().is_some() {
            lexer.skip();
        } else {
            break;
        }
    }
    languages
}
