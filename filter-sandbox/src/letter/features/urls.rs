//! Web addresses in a letter, and the ways they deceive.

use super::Found;
use std::net::Ipv4Addr;

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
        let scheme = url.split(':').next().unwrap_or_default();
        self.odd_scheme += usize::from(is_one(scheme, &["javascript", "data", "file", "vbscript"]));
        let Some(place) = Place::of(url) else { return };
        self.seen += 1;
        self.user_info += usize::from(place.user_info);
        self.port += usize::from(place.odd_port);
        self.ip_literal += usize::from(is_ip(&place.host));
        self.punycode += usize::from(place.host.split('.').any(|label| label.starts_with("xn--")));
        self.shortener += usize::from(SHORTENERS.contains(&place.host.trim_start_matches("www.")));
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
                let end = text[from..].find(ends_url).map_or(text.len(), |n| from + n);
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
        let shown = if shown.contains("://") { Place::of(shown) } else { Place::of(&format!("http://{shown}")) };
        let (Some(shown), Some(place)) = (shown, Place::of(href)) else { return };
        let site = |host: &str| host.rsplit('.').take(2).map(String::from).collect::<Vec<_>>();
        let is_name = shown
            .host
            .rsplit('.')
            .next()
            .is_some_and(|top| top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic()));
        self.mismatch += usize::from(is_name && site(&shown.host) != site(&place.host));
    }
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
struct Place {
    /// Lower-case, without port, brackets or a last dot.
    host: String,
    user_info: bool,
    odd_port: bool,
}

impl Place {
    /// The authority of an `http`, `https` or `ftp` address (RFC 3986 §3.2).
    fn of(url: &str) -> Option<Place> {
        let end = url.len().min(LONGEST);
        let url = url.get(..end).or_else(|| url.get(..url.floor_char_boundary(end)))?;
        let (scheme, rest) = url.split_once("://")?;
        if !is_one(scheme, &WEB) {
            return None;
        }
        // Browsers read a backslash as a slash.
        let authority = rest.split(['/', '?', '#', '\\']).next()?;
        let (user, server) = authority.rsplit_once('@').map_or(("", authority), |(user, server)| (user, server));
        let (host, port) = split_port(server);
        let host = host.trim_matches(['[', ']', '.']).to_lowercase();
        let usual = matches!(port, "" | "80" | "443" | "21");
        (!host.is_empty()).then_some(Place { host, user_info: !user.is_empty(), odd_port: !usual })
    }
}

fn split_port(server: &str) -> (&str, &str) {
    match server.rsplit_once(':') {
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
