//! The first readable words of a letter.

use super::{
    decode::Text,
    html::Html,
    walk::{Node, Shape, Walked},
};
use crate::report::limits;

/// Encoded bytes of a part that are looked at; HTML may begin with pages of style.
const LOOKED_AT: usize = 64 * 1024;

/// At most [`limits::PREVIEW`] characters from the first plain text that has any, else from the first HTML.
pub(super) fn preview(message: &[u8], walked: &Walked) -> String {
    let first = |subtype: &[u8]| {
        let readable = walked.nodes.iter().filter(|node| is_body_text(node) && node.mime.is(b"text", subtype));
        readable.take(8).map(|node| words_of(message, node)).find(|words| !words.is_empty())
    };
    first(b"plain").or_else(|| first(b"html")).unwrap_or_default()
}

/// A text that is shown, not attached.
pub(super) fn is_body_text(node: &Node) -> bool {
    let attached = node.mime.disposition.as_ref().is_some_and(|(how, _)| how.eq_ignore_ascii_case(b"attachment"));
    matches!(node.shape, Shape::Leaf) && node.mime.is_kind(b"text") && !attached
}

fn words_of(message: &[u8], node: &Node) -> String {
    let raw = &message[node.body.clone()];
    let mut text = Text::new(&raw[..raw.len().min(LOOKED_AT)], &node.mime);
    let mut html = node.mime.is(b"text", b"html").then(Html::new);
    let (mut piece, mut readable, mut words) = (String::new(), String::new(), Words::default());
    loop {
        piece.clear();
        readable.clear();
        let more = text.next(&mut piece);
        match &mut html {
            Some(html) => html.push(&piece, &mut readable, &mut ()),
            None => std::mem::swap(&mut piece, &mut readable),
        }
        if !words.push(&readable) || !more {
            return words.text;
        }
    }
}

/// Words with one space between them.
#[derive(Default)]
struct Words {
    text: String,
    count: usize,
    gap: bool,
}

impl Words {
    /// `false` when it is full.
    fn push(&mut self, text: &str) -> bool {
        for char in text.chars() {
            if char.is_whitespace() || char.is_control() || is_invisible(char) {
                self.gap = true;
                continue;
            }
            let gap = std::mem::take(&mut self.gap) && self.count > 0;
            if self.count + 1 + usize::from(gap) > limits::PREVIEW {
                return false;
            }
            if gap {
                self.text.push(' ');
            }
            self.text.push(char);
            self.count += 1 + usize::from(gap);
        }
        true
    }
}

/// Characters without a shape, with which newsletters pad their preview.
pub(super) fn is_invisible(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}')
}
