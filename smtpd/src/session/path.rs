//! Reverse and forward paths (RFC 5321 §4.1.2, RFC 6531 §3.3).
//!
//! Wider than the grammar where real senders are: one space before `<`; dots in a local part anywhere;
//! underscores in a domain. Source routes are taken off, as §4.1.1.3 says.

use std::fmt;

use crate::limits;

/// A mail address that is of its form. The local part has no quotes unless it needs them; nothing is
/// lower-cased, since only its owner's server may know it to be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    local: String,
    domain: String,
}

/// `<>` or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender(pub Option<Address>);

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// Not `<...>`, or what follows it is not a space.
    Syntax,
    /// The address inside is not one.
    Address,
    /// It is not ASCII, and SMTPUTF8 was not asked for (told by the caller).
    NotUtf8,
}

impl Address {
    /// Reads `local@domain`.
    ///
    /// # Errors
    /// [`BadPath`].
    pub fn parse(text: &[u8]) -> Result<Self, BadPath> {
        let text = std::str::from_utf8(text).map_err(|_| BadPath::NotUtf8)?;
        // What the keeper is asked about is bounded.
        if text.len() > spool::edges::limits::ADDRESS {
            return Err(BadPath::Address);
        }
        let (local, domain) = split(text).ok_or(BadPath::Address)?;
        let local = local_part(local).ok_or(BadPath::Address)?;
        let domain = Some(domain).filter(|domain| is_domain(domain)).and_then(wire::dns::in_ascii);
        domain.filter(|domain| is_domain(domain)).map(|domain| Self { local, domain }).ok_or(BadPath::Address)
    }

    /// `local@domain` where both are already known to be of their form.
    #[must_use]
    pub fn postmaster(domain: &str) -> Self {
        Self { local: "postmaster".into(), domain: domain.into() }
    }

    /// The domain, as written; one beyond ASCII as DNS has it, so that both ways to write it are the same.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether the domain is an address of a machine (`[192.0.2.1]`).
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.domain.starts_with('[')
    }

    /// Whether it needs SMTPUTF8.
    #[must_use]
    pub fn is_international(&self) -> bool {
        !self.local.is_ascii() || !self.domain.is_ascii()
    }

    /// Whether the local part is one without quotes (RFC 5322 §3.2.3 `dot-atom`).
    #[must_use]
    pub fn is_dot_atom(&self) -> bool {
        self.local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_or_dot))
    }

    /// Whether there are blanks in its quoted local part: the spool knows no such address.
    #[must_use]
    pub fn has_blanks(&self) -> bool {
        self.local.contains(char::is_whitespace)
    }

    /// Lower-case and without a `+tag`: what [`spool::edges::queue::Queue::addresses`] is compared with.
    #[must_use]
    pub fn canonical(&self) -> String {
        let local = self.local.split('+').next().filter(|head| !head.is_empty()).unwrap_or(&self.local);
        format!("{local}@{}", self.domain).to_lowercase()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.local.chars().all(is_atom_or_dot) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

impl Sender {
    /// Its domain in lower case; empty for the null sender.
    #[must_use]
    pub fn domain(&self) -> String {
        self.0.as_ref().map_or_else(String::new, |address| address.domain.to_lowercase())
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |address| address.fmt(f))
    }
}

/// Takes `<...>` off the front of an argument: what is inside, and the parameters after it.
///
/// # Errors
/// [`BadPath::Syntax`].
pub fn bracketed(argument: &[u8]) -> Result<(&[u8], &[u8]), BadPath> {
    let argument = argument.strip_prefix(b" ").unwrap_or(argument);
    let inner = argument.strip_prefix(b"<").ok_or(BadPath::Syntax)?;
    let end = closing_bracket(inner).ok_or(BadPath::Syntax)?;
    let rest = &inner[end + 1..];
    if !rest.is_empty() && rest[0] != b' ' {
        return Err(BadPath::Syntax);
    }
    Ok((without_route(&inner[..end]), rest))
}

/// Reads what stood in the brackets of MAIL FROM.
///
/// # Errors
/// [`BadPath`].
pub fn sender(inner: &[u8]) -> Result<Sender, BadPath> {
    if inner.is_empty() { Ok(Sender(None)) } else { Address::parse(inner).map(|address| Sender(Some(address))) }
}

/// Reads what stood in the brackets of RCPT TO; `<postmaster>` alone is our own (§4.5.1).
///
/// # Errors
/// [`BadPath`].
pub fn recipient(inner: &[u8], own_domain: &str) -> Result<Address, BadPath> {
    if inner.eq_ignore_ascii_case(b"postmaster") {
        return Ok(Address::postmaster(own_domain));
    }
    Address::parse(inner)
}

// A quoted local part may hold '>', and a backslash there hides the next byte.
fn closing_bracket(inner: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in inner.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn without_route(inner: &[u8]) -> &[u8] {
    if inner.first() != Some(&b'@') {
        return inner;
    }
    inner.iter().position(|byte| *byte == b':').map_or(inner, |colon| &inner[colon + 1..])
}

// At the last '@': a quoted local part may hold one, a domain cannot.
fn split(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('@')
}

fn local_part(text: &str) -> Option<String> {
    if text.is_empty() || text.len() > limits::LOCAL_PART {
        return None;
    }
    match text.strip_prefix('"') {
        Some(quoted) => unquote(quoted.strip_suffix('"')?),
        None => text.chars().all(is_atom_or_dot).then(|| text.to_owned()),
    }
}

fn unquote(quoted: &str) -> Option<String> {
    let (mut out, mut escaped) = (String::new(), false);
    for c in quoted.chars() {
        match c {
            c if c.is_control() => return None,
            c if escaped => {
                out.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return None,
            c => out.push(c),
        }
    }
    (!escaped && !out.is_empty()).then_some(out)
}

fn is_atom_or_dot(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || is_international(c)
}

// RFC 6531 §3.3: UTF8-non-ascii; controls, spaces and the like beyond ASCII have no business in either half.
fn is_international(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}

/// Whether it is a domain or an address literal.
#[must_use]
pub fn is_domain(text: &str) -> bool {
    if text.is_empty() || text.len() > limits::DOMAIN {
        return false;
    }
    if let Some(literal) = text.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(is_literal);
    }
    text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || is_international(c);
    !label.is_empty()
        && label.len() <= 63
        && label.chars().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

// RFC 5321 §4.1.3.
fn is_literal(text: &str) -> bool {
    match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => text[5..].parse::<std::net::Ipv6Addr>().is_ok(),
        _ => text.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> Option<String> {
        Address::parse(text.as_bytes()).ok().map(|address| address.to_string())
    }

    #[test]
    fn what_is_an_address() {
        for (text, printed) in [
            ("a@b.example", "a@b.example"),
            ("\"a\"@b.example", "a@b.example"),
            ("\"a b\"@b.example", "\"a b\"@b.example"),
            ("\"a\\\"@b\"@c.example", "\"a\\\"@b\"@c.example"),
            ("dots..here.@b.example", "dots..here.@b.example"),
            ("jösé@bücher.example", "jösé@xn--bcher-kva.example"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
            ("a@MÜLLER.example", "a@xn--mller-kva.example"),
        ] {
            assert_eq!(address(text).as_deref(), Some(printed), "{text}");
        }
    }

    #[test]
    fn what_is_not() {
        let long = format!("{}@b.example", "a".repeat(129));
        for text in [
            "",
            "@",
            "a@",
            "@b.example",
            "a b@c.example",
            "a@b c",
            "a@-b.example",
            "a@b..example",
            "a@[300.1.1.1]",
            "\"@b.example",
            "\"\"@b.example",
            "a\"b@c.example",
            "a@b.example\t",
            "<a@b.example",
            &long,
            "a\u{a0}@b.example",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn brackets_routes_and_the_rest() {
        assert_eq!(bracketed(b"<a@b> SIZE=1"), Ok((b"a@b".as_slice(), b" SIZE=1".as_slice())));
        assert_eq!(bracketed(b" <a@b>"), Ok((b"a@b".as_slice(), b"".as_slice())));
        assert_eq!(bracketed(b"<@r1,@r2:a@b>"), Ok((b"a@b".as_slice(), b"".as_slice())));
        assert_eq!(bracketed(b"<\"a>b\"@c>"), Ok((b"\"a>b\"@c".as_slice(), b"".as_slice())));
        for bad in [b"a@b".as_slice(), b"<a@b", b"<a@b>SIZE=1", b"", b"  <a@b>"] {
            assert_eq!(bracketed(bad), Err(BadPath::Syntax));
        }
        assert_eq!(recipient(b"PostMaster", "home.test").map(|a| a.to_string()), Ok("postmaster@home.test".into()));
        assert_eq!(sender(b""), Ok(Sender(None)));
    }

    #[test]
    fn tags_are_taken_off() {
        assert_eq!(Address::parse(b"You+List@Home.Test").unwrap().canonical(), "you@home.test");
        assert_eq!(Address::parse(b"+x@home.test").unwrap().canonical(), "+x@home.test");
    }

    #[test]
    fn dot_atoms() {
        let is = |text: &str| Address::parse(text.as_bytes()).unwrap().is_dot_atom();
        assert!(is("you+a.b@home.test") && is("\"you\"@home.test") && is("jösé@home.test"));
        for quoted in
            ["\"you+<boss@bank.example>\"@home.test", "\"you+boss@bank.example\"@home.test", "\"you+ x\"@h.test"]
        {
            assert!(!is(quoted), "{quoted}");
        }
        assert!(!is("you+.@home.test") && !is("you+a..b@home.test"));
    }

    proptest! {
        #[test]
        fn printed_is_read_back(local in "[ -~]{1,30}", domain in "[a-z]{1,10}\\.[a-z]{2,4}") {
            let quoted = format!("\"{}\"@{domain}", local.replace('\\', "\\\\").replace('"', "\\\""));
            let Ok(address) = Address::parse(quoted.as_bytes()) else { return Ok(()) };
            prop_assert_eq!(Address::parse(address.to_string().as_bytes()), Ok(address));
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok((inner, _)) = bracketed(&bytes) {
                let _ = (sender(inner), recipient(inner, "home.test"));
            }
            if let Ok(address) = Address::parse(&bytes) {
                prop_assert!(!address.to_string().contains(['\r', '\n']));
            }
        }
    }
}
