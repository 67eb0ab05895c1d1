//! One pass over the message's lines that finds its parts. It counts as it goes, so a letter with too many parts
//! is given up before anything is decoded.
//!
//! The parts are not taken from mail-parser's tree: that forgets the boundaries round the innermost multipart, lets
//! a boundary match as another's prefix, and takes 37 times the size of a message of many small parts. BODY[n] must
//! give exactly the bytes between two boundaries.

use super::{fields::Fields, mime::Mime, texts::Texts};
use crate::report::{Field, limits};
use memchr::{memchr, memchr_iter};
use std::ops::Range;

/// One part while and after it is found.
pub(super) struct Node {
    pub header: Range<usize>,
    pub body: Range<usize>,
    pub lines: usize,
    pub mime: Mime,
    /// Fields of a message's header; empty for a MIME part, whose header nobody indexes.
    pub fields: Vec<Field>,
    pub shape: Shape,
    /// Root of a message, the outermost or an enclosed one.
    is_root: bool,
    /// In a multipart/digest.
    in_digest: bool,
    boundary: Vec<u8>,
    /// The multipart's last boundary has been seen; what follows is its epilogue.
    closed: bool,
    /// Line breaks of the message before the body.
    breaks: usize,
}

/// What is inside a node, as indexes.
pub(super) enum Shape {
    Leaf,
    Parts(Vec<usize>),
    Message(usize),
}

/// All parts of a message; the first is its root.
pub(super) struct Walked {
    pub nodes: Vec<Node>,
    /// Multiparts whose last boundary never came.
    pub unclosed: usize,
    /// Parts that were not opened because they lay too deep.
    pub too_deep: usize,
}

/// The parts of a message; `None` when it has more parts or header fields than [`limits`] allow or is too long
/// for 32-bit offsets.
pub(super) fn walk(message: &[u8], texts: &mut Texts) -> Option<Walked> {
    u32::try_from(message.len()).ok()?;
    let mut walker = Walker {
        message,
        texts,
        walked: Walked { nodes: Vec::new(), unclosed: 0, too_deep: 0 },
        open: Vec::new(),
        active: Vec::new(),
        in_header: false,
        breaks: 0,
        fields: 0,
    };
    walker.begin(0, true, false)?;
    walker.run()?;
    Some(walker.walked)
}

struct Walker<'m, 't> {
    message: &'m [u8],
    texts: &'t mut Texts,
    walked: Walked,
    /// From the root to the innermost part that lines now belong to.
    open: Vec<usize>,
    /// The open multiparts whose boundaries still count, by their place in `open`.
    active: Vec<usize>,
    in_header: bool,
    breaks: usize,
    fields: usize,
}

impl Walker<'_, '_> {
    fn run(&mut self) -> Option<()> {
        let mut at = 0;
        while at < self.message.len() {
            if !self.in_header && self.active.is_empty() {
                // Nothing can end this body but the end.
                self.breaks += memchr_iter(b'\n', &self.message[at..]).count();
                break;
            }
            let next = memchr(b'\n', &self.message[at..]).map_or(self.message.len(), |n| at + n + 1);
            self.line(at, next)?;
            self.breaks += usize::from(self.message[next - 1] == b'\n');
            at = next;
        }
        while self.in_header {
            self.end_header(self.message.len(), self.breaks)?;
        }
        self.close_down_to(0, self.message.len(), self.breaks);
        Some(())
    }

    fn line(&mut self, at: usize, next: usize) -> Option<()> {
        let line = &self.message[at..next];
        if line.starts_with(b"--")
            && let Some((level, last)) = self.boundary(line)
        {
            return self.delimiter(level, last, at, next);
        }
        if self.in_header && matches!(line, b"\r\n" | b"\n") {
            self.end_header(next, self.breaks + 1)?;
        }
        Some(())
    }

    /// The multipart whose boundary this line is, innermost first, and whether it is the last one. The whole line
    /// must be the boundary but for white space (RFC 2046 §5.1.1), so that one may begin like another.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let line = line.get(2..)?.trim_ascii_end();
        self.active.iter().rev().find_map(|level| {
            let boundary = &self.walked.nodes[self.open[*level]].boundary;
            match line.strip_prefix(boundary.as_slice())? {
                b"" => Some((*level, false)),
                b"--" => Some((*level, true)),
                _ => None,
            }
        })
    }

    /// A boundary of `open[level]` at `at`: what was open inside it ends, without the line break that belongs to
    /// the boundary.
    fn delimiter(&mut self, level: usize, last: bool, at: usize, next: usize) -> Option<()> {
        while self.in_header {
            self.end_header(at, self.breaks)?;
        }
        let line_break = match &self.message[..at] {
            [.., b'\r', b'\n'] => 2,
            [.., b'\n'] => 1,
            _ => 0,
        };
        let breaks = self.breaks - usize::from(line_break > 0);
        self.close_down_to(level + 1, at - line_break, breaks);
        let multipart = self.open[level];
        if last {
            self.walked.nodes[multipart].closed = true;
            self.active.pop();
            return Some(());
        }
        let digest = self.walked.nodes[multipart].mime.is(b"multipart", b"digest");
        let child = self.begin(next, false, digest)?;
        if let Shape::Parts(children) = &mut self.walked.nodes[multipart].shape {
            children.push(child);
        }
        Some(())
    }

    /// A part whose header begins at `at`.
    fn begin(&mut self, at: usize, is_root: bool, in_digest: bool) -> Option<usize> {
        let id = self.walked.nodes.len();
        if id >= limits::PARTS {
            return None;
        }
        self.walked.nodes.push(Node {
            header: at..at,
            body: at..at,
            lines: 0,
            mime: Mime::default_in(in_digest),
            fields: Vec::new(),
            shape: Shape::Leaf,
            is_root,
            in_digest,
            boundary: Vec::new(),
            closed: false,
            breaks: 0,
        });
        self.open.push(id);
        self.in_header = true;
        Some(id)
    }

    /// The innermost part's header ends at `end`: its fields say what its body is.
    fn end_header(&mut self, end: usize, breaks: usize) -> Option<()> {
        self.in_header = false;
        let id = *self.open.last()?;
        let node = &mut self.walked.nodes[id];
        (node.header.end, node.body, node.breaks) = (end, end..end, breaks);
        let room = limits::FIELDS - self.fields;
        let index: Vec<Field> = Fields::of(self.message, node.header.clone()).take(room + 1).collect();
        if index.len() > room {
            return None;
        }
        self.fields += index.len();
        node.mime = Mime::read(self.message, index.iter().copied(), node.in_digest, self.texts);
        if node.is_root {
            node.fields = index;
        }
        self.open_inside(id, end)
    }

    /// Turns the node into a multipart or a message, if that is what it is and it does not lie too deep.
    fn open_inside(&mut self, id: usize, at: usize) -> Option<()> {
        let deepest = self.open.len() >= limits::DEPTH;
        let node = &mut self.walked.nodes[id];
        if node.mime.is(b"message", b"rfc822") {
            if deepest {
                self.walked.too_deep += 1;
                node.mime.become_file();
                return Some(());
            }
            let root = self.begin(at, true, false)?;
            self.walked.nodes[id].shape = Shape::Message(root);
        } else if node.mime.is_kind(b"multipart") {
            self.walked.too_deep += usize::from(deepest);
            let boundary = node.mime.parameter(b"boundary").unwrap_or_default().trim_ascii_end().to_vec();
            if !deepest && !boundary.is_empty() {
                node.boundary = boundary;
                self.active.push(self.open.len() - 1);
                node.shape = Shape::Parts(Vec::new());
            } else {
                node.mime.become_text();
            }
        }
        Some(())
    }

    /// Ends every part above `level`, innermost first, at `end`, and no enclosing part before what it encloses.
    fn close_down_to(&mut self, level: usize, end: usize, breaks: usize) {
        let (mut end, mut breaks) = (end, breaks);
        while self.active.last().is_some_and(|active| *active >= level) {
            self.active.pop();
        }
        while self.open.len() > level {
            let Some(id) = self.open.pop() else { return };
            let node = &mut self.walked.nodes[id];
            if node.body.start > end {
                // The header's empty line was also the boundary's line break.
                (end, breaks) = (node.body.start, node.breaks);
            }
            node.body.end = end;
            node.lines = breaks.saturating_sub(node.breaks);
            if let Shape::Parts(children) = &node.shape {
                self.walked.unclosed += usize::from(!node.closed && !children.is_empty());
                if children.is_empty() {
                    node.shape = Shape::Leaf;
                    node.mime.become_text();
                }
            }
        }
    }
}
