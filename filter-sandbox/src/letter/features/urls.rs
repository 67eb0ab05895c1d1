//! Web addresses in a letter, and the ways they deceive.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use memchr::memchr;

use super::Found;

/// Most addresses looked at.
const MOST: usize = 2_000;
/// Bytes of the longest address looked at.
const LONGEST: usize = 2_048;

/// What a browser fetches.
const WEB: [&str; 3] = ["http", "https", "ftp"];

/// Services that hide where a link leads.
const SHORTENERS: [&str; 22] = [
    "bit.ly",
    "tinyurl.com",
    "t.co",
    "goo.gl",
    "ow.ly",
    "is.gd",
    "buff.ly",
    "cutt.ly",
    "rebrand.ly",
    "rb.gy",
    "shorturl.at",
    "tiny.cc",
    "t.ly",
    "s.id",
    "v.gd",
    "lnkd.in",
    "bl.ink",
    "soo.gd",
    "adf.ly",
    "qrco.de",
    "urlz.fr",
    "shorte.st",
];

/// Counts of what was found in the addresses.
#[derive(Default)]
pub(super) struct Urls {
    seen: usize,
    ip_literal: usize,
    punycode: usize,
    shortener: usize,
    user_info: usize,
    port: usize,
    mismatch: usize,
    odd_scheme: usize,
}

impl Urls {
    pub(super) fn note(&self, found: &mut Found) {
        found.count("URLS", self.seen);
        found.count("URL_IP_LITERAL", self.ip_literal);
        found.count("URL_PUNYCODE", self.punycode);
        found.count("URL_SHORTENER", self.shortener);
        found.count("URL_USER_INFO", self.user_info);
        found.count("URL_PORT", self.port);
        found.count("URL_MISMATCH", self.mismatch);
        found.count("URL_ODD_SCHEME", self.odd_scheme);
    }

    /// One address.
    pub(super) fn add(&mut self, url: &str) {
        if self.seen >= MOST {
            return;
        }
        let url = url.trim();
        let scheme = memchr(b':', url.as_bytes()).map_or(url, |colon| &url[..colon]);
        self.odd_scheme += usize::from(is_one(scheme, &["javascript", "data", "file", "vbscript"]));
        let Some(place) = Place::of(url) else { return };
        self.seen += 1;
        self.user_info += usize::from(place.user_info);
        self.port += usize::from(place.odd_port);
        self.ip_literal += usize::from(is_ip(&place.host));
        self.punycode += usize::from(is_punycode(&place.host));
        self.shortener += usize::from(SHORTENERS.contains(&without_www(&place.host)));
    }

    /// All addresses in running text.
    pub(super) fn add_from(&mut self, text: &str) {
        let mut from = 0;
        for at in memchr::memmem::find_iter(text.as_bytes(), b"://") {
            if self.seen >= MOST {
                return;
            }
            // Inside the one before.
            if at < from {
                continue;
            }
            from = at + 3;
            let scheme = text.as_bytes()[..at].iter().rev().take_while(|b| b.is_ascii_alphabetic()).count();
            if is_one(&text[at - scheme..at], &WEB) {
                let end = from + url_length(&text[from..]);
                self.add(&text[at - scheme..end]);
                from = end;
            }
        }
    }

    /// A link whose shown text is itself an address, of another place than it leads to.
    pub(super) fn add_link(&mut self, href: &str, shown: &str) {
        let shown = shown.trim();
        let looks_like_address = !shown.contains(char::is_whitespace) && shown.contains('.') && !shown.contains('@');
        if !looks_like_address || self.mismatch >= MOST {
            return;
        }
        let shown = if shown.contains("://") { Cow::Borrowed(shown) } else { format!("http://{shown}").into() };
        let (Some(shown), Some(place)) = (Place::of(&shown), Place::of(href)) else { return };
        let site = |host: &str| host.rsplit('.').take(2).map(String::from).collect::<Vec<_>>();
        let is_name = shown
            .host
            .rsplit('.')
            .next()
            .is_some_and(|top| top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic()));
        self.mismatch += usize::from(is_name && site(&shown.host) != site(&place.host));
    }
}

/// Bytes up to the first that no address has. Mostly ASCII, which is looked at without decoding it.
fn url_length(text: &str) -> usize {
    let plain = text.bytes().position(|byte| !byte.is_ascii() || ends_url(byte.into())).unwrap_or(text.len());
    let rest = &text[plain..];
    plain + rest.find(ends_url).unwrap_or(rest.len())
}

fn is_punycode(host: &str) -> bool {
    host.as_bytes().windows(4).any(|four| four == b"xn--") && host.split('.').any(|label| label.starts_with("xn--"))
}

fn without_www(mut host: &str) -> &str {
    while let Some(rest) = host.strip_prefix("www.") {
        host = rest;
    }
    host
}

fn ends_url(char: char) -> bool {
    match char {
        '<' | '>' | '"' | '\'' | '`' | '(' | ')' | '{' | '}' | '[' | ']' | '|' | '\\' | '^' => true,
        '!'..='~' => false,
        _ => char.is_whitespace() || char.is_control(),
    }
}

fn is_one(scheme: &str, known: &[&str]) -> bool {
    known.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Where an address leads.
struct Place<'a> {
    /// Lower-case, without port, brackets or a last dot.
    host: Cow<'a, str>,
    user_info: bool,
    odd_port: bool,
}

impl<'a> Place<'a> {
    /// The authority of an `http`, `https` or `ftp` address (RFC 3986 §3.2).
    fn of(url: &'a str) -> Option<Self> {
        let end = url.len().min(LONGEST);
        let url = url.get(..end).or_else(|| url.get(..url.floor_char_boundary(end)))?;
        let (scheme, rest) = parted(url, memchr(b':', url.as_bytes())?);
        let rest = rest.strip_prefix("//")?;
        if !is_one(scheme, &WEB) {
            return None;
        }
        // Browsers read a backslash as a slash.
        let end = rest.bytes().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\')).unwrap_or(rest.len());
        let (user, server) = match rest[..end].bytes().rposition(|byte| byte == b'@') {
            Some(at) => parted(&rest[..end], at),
            None => ("", &rest[..end]),
        };
        let (host, port) = split_port(server);
        let host = lower(host.trim_matches(['[', ']', '.']));
        let usual = matches!(port, "" | "80" | "443" | "21");
        (!host.is_empty()).then_some(Place { host, user_info: !user.is_empty(), odd_port: !usual })
    }
}

/// Before and after the one ASCII byte there.
fn parted(text: &str, at: usize) -> (&str, &str) {
    (&text[..at], &text[at + 1..])
}

fn lower(host: &str) -> Cow<'_, str> {
    let is_so = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if host.bytes().all(is_so) { Cow::Borrowed(host) } else { Cow::Owned(host.to_lowercase()) }
}

fn split_port(server: &str) -> (&str, &str) {
    match server.bytes().rposition(|byte| byte == b':').map(|at| parted(server, at)) {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (server, ""),
    }
}

/// An address in numbers: dotted, IPv6, or the one number that browsers take too.
fn is_ip(host: &str) -> bool {
    let number =
        host.strip_prefix("0x").map_or_else(|| host.parse::<u32>().is_ok(), |hex| u32::from_str_radix(hex, 16).is_ok());
    host.parse::<Ipv4Addr>().is_ok() || host.contains(':') || number
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_ends_where_a_character_ends_it(text in ".{0,40}") {
            prop_assert_eq!(url_length(&text), text.find(ends_url).unwrap_or(text.len()));
        }

        #[test]
        fn case_is_one(host in "[a-zA-ZäÖİß.-]{0,20}") {
            prop_assert_eq!(lower(&host), host.to_lowercase());
        }

        #[test]
        fn punycode_begins_a_label(host in "[xn.a-]{0,12}") {
            prop_assert_eq!(is_punycode(&host), host.split('.').any(|label| label.starts_with("xn--")));
        }
    }

    #[test]
    fn where_addresses_lead() {
        let lead = |url: &str| Place::of(url).map(|place| (place.host.into_owned(), place.user_info, place.odd_port));
        let to = |host: &str, user, port| Some((host.to_owned(), user, port));
        assert_eq!(lead("HTTP://Example.ORG./a?b"), to("example.org", false, false));
        assert_eq!(lead("https://bank.example@evil.example\\x"), to("evil.example", true, false));
        assert_eq!(lead("http://a@b@c.example:8080#d:e"), to("c.example", true, true));
        assert_eq!(lead("http://[2001:db8::1]:80/"), to("2001:db8::1", false, false));
        assert_eq!(lead("http:example.org//"), None);
        assert_eq!(lead("foo:http://example.org"), None);
        assert_eq!(lead("http:///path"), None);
        assert_eq!(lead("no address"), None);
        assert_eq!(without_www("www.www.t.co"), "t.co");
    }
}
