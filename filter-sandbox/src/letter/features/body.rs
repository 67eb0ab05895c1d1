//! The texts: what they say to filters, where their links lead, and what HTML hides.

use super::{Found, form::mixed_scripts, urls::Urls};
use crate::letter::{
    Letter,
    decode::Text,
    html::{Html, Tags},
    preview::{is_body_text, is_invisible},
    walk::Node,
};

/// Decoded bytes looked at, all texts together: what is beyond a person's patience need not be weighed.
const LOOKED_AT: usize = 512 * 1024;
/// Fewer than these are a line beneath a picture; more are not counted.
const FEW_WORDS: usize = 20;
/// Links remembered with their text.
const LINKS: usize = 1_000;
/// The string by which filters are tested: Generic Test for Unsolicited Bulk Email.
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

pub(super) fn note(letter: &Letter<'_>, found: &mut Found) {
    let mut body = Body::default();
    for node in letter.walked.nodes.iter().filter(|node| is_body_text(node)) {
        body.node(letter.message, node);
    }
    body.urls.note(found);
    found.is("GTUBE", body.gtube);
    found.is("HTML_ONLY", body.html > 0 && body.plain == 0);
    found.is("BODY_EMPTY", body.words == 0);
    // A photograph with a line of text is a family's mail; a page that is one picture from elsewhere is not.
    found.is("IMAGES_ONLY", body.remote_images > 0 && body.words < FEW_WORDS);
    found.is("MANY_IMAGES", body.remote_images > 15);
    found.count("HTML_REMOTE_IMAGES", body.remote_images);
    found.count("HTML_FORM", body.forms);
    found.count("HTML_SCRIPT", body.scripts);
    found.count("HTML_HIDDEN", body.hidden);
    found.count("TEXT_INVISIBLE", body.invisible);
    found.is("TEXT_MIXED_SCRIPTS", body.mixed);
}

#[derive(Default)]
struct Body {
    looked_at: usize,
    plain: usize,
    html: usize,
    words: usize,
    gtube: bool,
    mixed: bool,
    invisible: usize,
    forms: usize,
    scripts: usize,
    hidden: usize,
    remote_images: usize,
    urls: Urls,
}

impl Body {
    fn node(&mut self, message: &[u8], node: &Node) {
        let is_html = node.mime.is(b"text", b"html");
        self.html += usize::from(is_html);
        self.plain += usize::from(node.mime.is(b"text", b"plain"));
        let mut text = Text::new(&message[node.body.clone()], &node.mime);
        let mut source = String::new();
        while self.looked_at + source.len() < LOOKED_AT && text.next(&mut source) {}
        self.looked_at += source.len();
        if is_html { self.page(&source) } else { self.text(&source) }
    }

    /// What both kinds of text are looked through for.
    fn text(&mut self, text: &str) {
        self.words += text.split_whitespace().take(FEW_WORDS).count();
        self.gtube |= memchr::memmem::find(text.as_bytes(), GTUBE.as_bytes()).is_some();
        if !text.is_ascii() {
            self.mixed |= mixed_scripts(text);
            self.invisible += text.chars().filter(|c| is_invisible(*c)).count();
        }
        self.urls.add_from(text);
    }

    fn page(&mut self, source: &str) {
        let (mut text, mut seen) = (String::with_capacity(source.len() / 2), Seen::default());
        let mut html = Html::new();
        html.push(source, &mut text, &mut seen);
        html.finish(&mut text);
        self.text(&text);
        for link in &seen.links {
            self.urls.add(&link.href);
            self.urls.add_link(&link.href, text.get(link.from..link.to).unwrap_or_default());
        }
        self.forms += seen.forms;
        self.scripts += seen.scripts;
        self.hidden += seen.hidden;
        self.remote_images += seen.remote_images;
    }
}

/// A link, and where in the text its own text stands.
struct Link {
    href: String,
    from: usize,
    to: usize,
}

/// What a page's tags show.
#[derive(Default)]
struct Seen {
    links: Vec<Link>,
    /// Whether the last link has not been closed.
    in_link: bool,
    forms: usize,
    scripts: usize,
    hidden: usize,
    remote_images: usize,
}

impl Tags for Seen {
    fn tag(&mut self, tag: &str, text_before: usize) {
        let name_end = tag.find(|c: char| c.is_whitespace()).unwrap_or(tag.len());
        let (name, rest) = tag.split_at(name_end);
        let is = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        if is(&["a", "area"]) {
            self.link(rest, text_before);
        } else if is(&["/a"]) {
            self.end_link(text_before);
        } else if is(&["img"]) {
            let source = attribute(rest, "src").unwrap_or_default();
            self.remote_images += usize::from(source.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("http")));
        }
        self.forms += usize::from(is(&["form"]));
        self.scripts += usize::from(is(&["script"]));
        self.hidden += usize::from(attribute(rest, "style").is_some_and(hides));
    }
}

/// Whether a style makes its element invisible.
fn hides(style: &str) -> bool {
    let style: String = style.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
    ["display:none", "visibility:hidden", "font-size:0", "opacity:0;"].iter().any(|hide| style.contains(hide))
}

impl Seen {
    fn end_link(&mut self, text_before: usize) {
        if let Some(link) = self.links.last_mut().filter(|_| self.in_link) {
            link.to = text_before;
        }
        self.in_link = false;
    }

    fn link(&mut self, rest: &str, text_before: usize) {
        self.in_link = false;
        let Some(href) = attribute(rest, "href").filter(|_| self.links.len() < LINKS) else { return };
        self.links.push(Link { href: href.replace("&amp;", "&"), from: text_before, to: text_before });
        self.in_link = true;
    }
}

/// An attribute's value, quoted or bare.
fn attribute<'t>(tag: &'t str, wanted: &str) -> Option<&'t str> {
    let mut rest = tag;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if rest.is_empty() {
            return None;
        }
        let name_end = rest.find(|c: char| c.is_whitespace() || c == '=' || c == '/').unwrap_or(rest.len());
        let (name, after) = rest.split_at(name_end);
        let Some(after) = after.trim_start().strip_prefix('=') else {
            rest = after;
            continue;
        };
        let after = after.trim_start();
        let (value, after) = match after.chars().next() {
            Some(quote @ ('"' | '\'')) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
            _ => after.split_at(after.find(char::is_whitespace).unwrap_or(after.len())),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}
