//! Who a message says it is from, for submission: the login must own every address in From. Strict, since what
//! we cannot read for certain a mail reader may read otherwise.

use crate::encoded_words::{self, EncodedWord};
use crate::session::path::Address;
use crate::{header, limits};

/// What From says.
#[derive(Debug, PartialEq, Eq)]
pub enum Authors {
    /// Its addresses, at least one; Sender's too, if there is one.
    These(Vec<Address>),
    /// None, two Froms, a group, one longer than [`limits::AUTHORS`], or something that is no list of addresses.
    Unreadable,
}

/// Reads From and Sender of a message.
#[must_use]
pub fn of(message: &[u8]) -> Authors {
    let values = |name: &str| -> Vec<String> {
        header::fields(message).filter(|field| field.is(name)).map(|field| field.unfolded()).collect()
    };
    let (from, sender) = (values("From"), values("Sender"));
    if from.len() != 1 || sender.len() > 1 {
        return Authors::Unreadable;
    }
    let all: Option<Vec<Vec<Address>>> = from.iter().chain(&sender).map(|value| list_for_all(value)).collect();
    match all {
        Some(lists) => Authors::These(lists.concat()),
        None => Authors::Unreadable,
    }
}

/// Whether a field's value is a list of addresses that every reader reads alike.
#[must_use]
pub fn is_list(value: &str) -> bool {
    list_for_all(value).is_some()
}

fn list_for_all(value: &str) -> Option<Vec<Address>> {
    if value.len() > limits::AUTHORS {
        return None;
    }
    let hides = |value| hides_in_encoded_words(value) || makes_an_address(value) || makes_a_quote(value);
    let list = list(value).filter(|_| !hides(value) && !ends_elsewhere(value))?;
    (!makes_it_another(value) || repeats(value, &list)).then_some(list)
}

/// Whether encoded words beside what is quoted and the comments have an address, or what ends one that is quoted or in a comment:
/// decoded first, that is no name.
fn makes_it_another(value: &str) -> bool {
    let bare = header::without_comments(value).and_then(|value| header::without_quoted(&value)).unwrap_or_default();
    let (shown, ats) = (encoded_words::shown(&bare), |text: &str| text.matches('@').count());
    shown.contains('@') || ats(&encoded_words::decoded(value)) > ats(&bare) && shown.contains([',', ';', ':', '[', ']'])
}

/// Whether From is one address whose name, decoded, is that address, as honest apps write it.
fn repeats(value: &str, list: &[Address]) -> bool {
    let decoded = encoded_words::decoded(value);
    let address = decoded.strip_suffix('>').and_then(|value| value.split_once('<'));
    list.len() == 1 && address.is_some_and(|(name, address)| name.trim().eq_ignore_ascii_case(address))
}

/// Whether encoded words have what opens or ends a quote, a comment or an address beside one that is there in clear: decoded
/// first, it holds something else.
fn makes_a_quote(value: &str) -> bool {
    value.contains(['"', '(']) && encoded_words::shown(value).contains(['"', '\\', '(', ')', '<', '>'])
}

/// Whether encoded words, one or some together, have what makes an address of its own for readers that decode them first.
fn makes_an_address(value: &str) -> bool {
    let shown = encoded_words::shown(value);
    shown.contains('@') && shown.contains(['<', '>', ',', ';', '"'])
}

/// Whether a comment or a quoted string is one whose end some readers see earlier: those that know no backslash before another, and
/// no comment in a comment. Of one like `(O(1))` all see the same: no sign of an address is in it, and its first end is followed by
/// ends alone.
fn ends_elsewhere(value: &str) -> bool {
    let (mut quoted, mut escaped, mut depth, mut signs, mut nested, mut ending) =
        (false, false, 0_u32, false, false, false);
    for c in value.chars() {
        match c {
            '\\' if escaped => return true,
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '\\' if depth > 0 => return true,
            _ if ending && !matches!(c, ')' | ' ' | '\t') => return true,
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => {
                (nested, depth) = (depth > 0, depth + 1);
                signs &= nested;
            }
            ')' if !quoted => {
                depth = depth.saturating_sub(1);
                ending = depth > 0;
                nested &= ending;
            }
            '@' | '<' | '>' | '"' | ',' | ';' | ':' => signs = true,
            _ => {}
        }
        if nested && signs {
            return true;
        }
    }
    false
}

/// What some take for an encoded word, and what is one with signs that belong in none (RFC 2047 §2, §5): for some readers an
/// address or a quote ends elsewhere. Within quotes or a comment, where apps write whole names so, its signs mean nothing as long
/// as it ends there, too.
fn hides_in_encoded_words(value: &str) -> bool {
    let (mut enclosures, last_end) = (Enclosures::of(value), value.rfind("?="));
    let mut at = 0;
    while let Some(next) = value[at..].find("=?") {
        at += next;
        let inside = enclosures.rest_at(at);
        let length = match encoded_word(&value[at..]) {
            None if !inside.is_empty() && last_end < Some(at) => Some("=?".len()),
            None => name_in_one(inside),
            plain => plain,
        };
        let Some(length) = length else { return true };
        at += length;
    }
    false
}

/// Where quoted strings and comments end, each looked for once, however many are asked about.
struct Enclosures<'a> {
    value: &'a str,
    signs: std::iter::Peekable<std::str::CharIndices<'a>>,
    depth: u32,
    quoted: bool,
    escaped: bool,
    /// The end of the one last asked about.
    end: usize,
}

impl<'a> Enclosures<'a> {
    fn of(value: &'a str) -> Self {
        Self { value, signs: value.char_indices().peekable(), depth: 0, quoted: false, escaped: false, end: 0 }
    }

    /// The rest of the quoted string or comment in which a place lies; nothing where it lies in none. Places only grow.
    fn rest_at(&mut self, place: usize) -> &'a str {
        while self.signs.peek().is_some_and(|(at, _)| *at < place) {
            self.step();
        }
        if place >= self.end {
            self.end = place;
            while self.depth > 0 || self.quoted {
                let Some(at) = self.step() else { return "" };
                self.end = at;
            }
        }
        &self.value[place..self.end]
    }

    fn step(&mut self) -> Option<usize> {
        let (at, c) = self.signs.next()?;
        match c {
            _ if self.escaped => self.escaped = false,
            '\\' if self.depth > 0 || self.quoted => self.escaped = true,
            '"' if self.depth == 0 => self.quoted = !self.quoted,
            '(' if !self.quoted => self.depth += 1,
            ')' if self.depth > 0 => self.depth -= 1,
            _ => {}
        }
        Some(at)
    }
}

/// The length of the encoded word that a text begins with, of whatever neither ends nor opens what it lies in, decoded or not.
fn name_in_one(inside: &str) -> Option<usize> {
    let word = EncodedWord::at_start(inside)?;
    let plain = word.charset().chars().all(|c| c.is_ascii_alphanumeric() || "-_.:+*".contains(c));
    let ends = |text: &str| text.contains(['"', '\\', '(', ')']);
    let whole = word.is_whole() && plain && !ends(word.text) && !ends(&word.decoded()?);
    whole.then_some(word.length())
}

/// The length of the plain encoded word that a text begins with.
fn encoded_word(text: &str) -> Option<usize> {
    let word = EncodedWord::at_start(text)?;
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic() && !"\"<>@(),;:\\[]?".contains(c));
    let whole = word.is_whole() && plain(word.charset()) && plain(word.text) && word.decoded().is_some();
    whole.then_some(word.length())
}

/// RFC 5322 §3.4 `mailbox-list`.
fn list(value: &str) -> Option<Vec<Address>> {
    let value = header::without_comments(value)?;
    split_at_commas(&value)?.iter().map(|one| mailbox(one)).collect()
}

fn mailbox(text: &str) -> Option<Address> {
    let text = text.trim();
    let address = match text.strip_suffix('>') {
        // The display name may hold anything quoted; unquoted brackets would be a second address, and some end a quoted
        // one at a semicolon (RFC 5322 §3.2.3: what no atom has).
        Some(front) => {
            let (name, address) = front.rsplit_once('<')?;
            if header::without_quoted(name)?
                .contains(|c: char| "()<>[]:;@\\,".contains(c) || (c.is_control() && c != '\t'))
            {
                return None;
            }
            address.trim()
        }
        None => text,
    };
    // RFC 2047 §5: never in an address. Some decode it all the same, and see another.
    Address::parse(address.as_bytes()).ok().filter(|_| !address.contains("=?"))
}

/// `None` too where nothing is between two quotes: some readers take what stands behind them, a comment even, for the address.
fn split_at_commas(value: &str) -> Option<Vec<String>> {
    let (mut parts, mut quoted, mut escaped, mut before) = (vec![String::new()], false, false, ' ');
    for c in value.chars() {
        let last = std::mem::replace(&mut before, if escaped { ' ' } else { c });
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if quoted && last == '"' => return None,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut()?.push(c);
    }
    (!quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from(value: &str) -> Option<Vec<String>> {
        match of(format!("From: {value}\r\n\r\n").as_bytes()) {
            Authors::These(all) => Some(all.iter().map(ToString::to_string).collect()),
            Authors::Unreadable => None,
        }
    }

    #[test]
    fn readable() {
        for (value, addresses) in [
            ("a@b.test", vec!["a@b.test"]),
            ("A B <a@b.test>", vec!["a@b.test"]),
            ("\"B, A <x@y.test>\" <a@b.test>, c@d.test", vec!["a@b.test", "c@d.test"]),
            ("=?utf-8?q?J=C3=B6?= <a@b.test> (comment, here <x@y.test>)", vec!["a@b.test"]),
            ("<a@b.test>", vec!["a@b.test"]),
            ("=?utf-8?q?J=C3=B6?= <a@b.test>, =?utf-8?b?QsOp?= <c@b.test>", vec!["a@b.test", "c@b.test"]),
            ("=?utf-8?q?Anna_M=C3=BCller?= <a@b.test> (=?utf-8?q?B=C3=BCro?=)", vec!["a@b.test"]),
            ("=?utf-8?q?J=C3=B6?= \"Joe\" =?utf-8?q?M=C3=BC?= <a@b.test>", vec!["a@b.test"]),
            ("J. O'Neill & Co <a@b.test>", vec!["a@b.test"]),
            ("\"J. \\\"Jo\\\"\" <a@b.test>", vec!["a@b.test"]),
            ("\"=?UTF-8?Q?M=C3=BCller,_Anna?=\" <a@b.test>", vec!["a@b.test"]),
            ("\"=?UTF-8?Q?M=C3=BCller,?= =?UTF-8?Q?Anna?=\" <a@b.test>", vec!["a@b.test"]),
            ("\"=?UTF-8?B?TcO8bGxlcg==?= (Anna)\" <a@b.test> (=?utf-8?q?B=C3=BCro, 2?=)", vec!["a@b.test"]),
            ("\"Why =? that\" <a@b.test>", vec!["a@b.test"]),
            ("=?iso-2022-jp?B?GyRCOzNFRBsoQg==?= <a@b.test>", vec!["a@b.test"]),
            ("\"=?iso-2022-jp?B?GyRCOzNFRBsoQg==?=\" <a@b.test>", vec!["a@b.test"]),
            ("=?utf-8?b?TcO8bGxlciwgQW5uYSAoQsO8cm8p?= <a@b.test>", vec!["a@b.test"]),
            ("=?utf-8?q?a=40b.test?= <a@b.test>", vec!["a@b.test"]),
            ("=?utf-8?q?A=40B.test?= <a@b.test>", vec!["a@b.test"]),
            ("=?big5-hkscs?B?pKSk5Q==?= <a@b.test>", vec!["a@b.test"]),
            ("=?utf-8?q?M=C3=BCller=2C_Anna?= <a@b.test> (B)", vec!["a@b.test"]),
            ("\"=?utf-8?q?c=40d.test?=\" <a@b.test>", vec!["a@b.test"]),
            ("A <a@b.test> (x =? y)", vec!["a@b.test"]),
            ("a@b.test (O(1))", vec!["a@b.test"]),
            ("Anna (Office (North ((2nd) ) )) <a@b.test>, c@d.test (home)", vec!["a@b.test", "c@d.test"]),
        ] {
            assert_eq!(from(value), Some(addresses.into_iter().map(String::from).collect()), "{value}");
        }
    }

    #[test]
    fn unreadable() {
        for value in [
            "",
            "A",
            "<a@b.test> <c@d.test>",
            "a@b.test, ",
            "Group: a@b.test;",
            "x@y.test <a@b.test>",
            "\"a <a@b.test>",
            "a@b.test (never closed",
            "<@route:a@b.test>",
            "a @ b.test",
            "\"c@d.test\"; <a@b.test>",
            "\"\"(<c@d.test>) <a@b.test>",
            "\"C\" \"\"(C <c@d.test>) <a@b.test>",
            "(C) \"c@d.test\"; A <a@b.test>",
            "\"c@d.test\"?=[ <a@b.test>",
            // Some take what is between two encoded quotes for a name.
            "=?utf-8?q?\"?= <c@d.test> =?utf-8?q?\"?= <a@b.test>",
            "=?utf-8?q?(?= <c@d.test> =?utf-8?q?)?= <a@b.test>",
            "\"=?utf-8?q?\" <c@d.test> \"?=\" <a@b.test>",
            "\"=?utf-8?q?\\\"?=\" <a@b.test>",
            "\"C =?\" <c@d.test> (?= <a@b.test>)",
            "(=?utf-8?q?) <c@d.test> (?=) <a@b.test>",
            "(\"=?utf-8?q?)x?= <a@b.test>",
            "C =? <a@b.test>",
            "(x () <c@d.test>) <a@b.test>",
            "(x (y) <c@d.test>) <a@b.test>",
            "(<c@d.test> (x)) <a@b.test>",
            "(x (<c@d.test>)) <a@b.test>",
            "a@b.test (x (y) .evil)",
            "(x (y)(z)) <a@b.test>",
            "(x (y) \"<c@d.test>) \" <a@b.test>",
            "(x (y))) <a@b.test>",
            "(\\) <c@d.test>) <a@b.test>",
            "\"c@d.test\\\\\" <a@b.test>",
            "<a+=?utf-8?q?=40d.test=3E?=@b.test>",
            "a+=?utf-8?q?=40d.test=3E?=@b.test",
            "\"=?utf-8?q?=22_<c@d.test>,?=\" <a@b.test>",
            "=?utf-8?q??= \"?= <c@d.test>\" <a@b.test>",
            // `" <ceo@bank.test>,`, `) <ceo@bank.test>,` and `<ceo@bank.test>,`.
            "\"=?utf-8?b?IiA8Y2VvQGJhbmsudGVzdD4s?=\" <a@b.test>",
            "(=?utf-8?b?KSA8Y2VvQGJhbmsudGVzdD4s?=) <a@b.test>",
            "=?utf-8?b?PGNlb0BiYW5rLnRlc3Q+LA==?= <a@b.test>",
            "=?utf-8?q?=3Cceo=40bank.test=3E=2C?= <a@b.test>",
            "=?utf-8?q?=63eo=40bank.test?= =?utf-8?q?=2C_Boss?= <a@b.test>",
            "\"=?utf-8?q?=63eo=40bank.test?=\" =?utf-8?q?=3C?= <a@b.test>",
            "\"=?utf-7?q?+ACI- <c@d.test>,?=\" <a@b.test>",
            "=?utf-8?q?=22?= \"<c@d.test>,\" <a@b.test>",
            "=?utf-8?q?=22?=\"<c@d.test>,\" <a@b.test>",
            "=?utf-8?q?x=28?= \"x) <c@d.test>,\" <a@b.test>",
            "=?utf-8?q?x=28?= <a@b.test> (x) <c@d.test>,)",
            "=?cp037?b?TIOFlnyCgZWSS6OFoqNuaw==?= <a@b.test>",
            "=?cp930?b?TIOFlnyCgZWSS6OFoqNuaw==?= <a@b.test>",
            "\"c@d.test\" =?utf-8?q?=2C?= <a@b.test>",
            "\"=?utf-8?q?c=40d.test?=\" =?utf-8?q?=5B?= <a@b.test>",
            "(=?utf-8?q?c=40d.test?=) =?utf-8?q?=5B?= <a@b.test>",
            "\"x =?utf-8?q?c=40d.test?=\" =?utf-8?q?=3A?= <a@b.test>",
            "\"c@d.test\" =?utf-8?q?=3B?= <a@b.test>",
            "\"c@d.test\" =?utf-8?q?=5B?= <a@b.test>",
            "=?utf-8?q?=5D?= <a@b.test> (c@d.test)",
            "=?utf-8?q?c=40d.test?= <a@b.test>",
            "=?utf-8?q?c?= =?utf-8?q?=40d.test?= <a@b.test>",
            "=?utf-8?q?c=40d.test=28?= <a@b.test>",
            "c=?utf-8?q?=40?=d.test <a@b.test>",
            "c=?utf-8?q?a=40b.test?= <a@b.test>",
            "=?utf-8?q?a=40b.test?= <a@b.test>, c@d.test",
            "\"=?utf-16?b?ACIAIA==?=\" <a@b.test>",
            "\"=?utf-8?b?IiA8!Y2VvQGJh?=\" <a@b.test>",
        ] {
            assert_eq!(from(value), None, "{value}");
        }
        assert_eq!(of(b"From: a@b.test\r\nFrom: c@d.test\r\n\r\n"), Authors::Unreadable);
        assert_eq!(of(b"Subject: x\r\n\r\nFrom: a@b.test\r\n"), Authors::Unreadable);
        assert!(matches!(of(b"From: a@b.test\r\nSender: c@d.test\r\n\r\n"), Authors::These(all) if all.len() == 2));
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        let long = |spare: usize| format!("\"{}\" <a@b.test>", "x".repeat(limits::AUTHORS - 13 - spare));
        assert_eq!((from(&long(0)).map(|all| all.len()), from(&long(0).replace('x', "xx"))), (Some(1), None));
        let sender = |long: String| of(format!("From: a@b.test\r\nSender: {long} \r\n\r\n").as_bytes());
        assert!(matches!(sender(long(0)), Authors::These(all) if all.len() == 2));
        assert_eq!(sender(long(0).replacen('x', "xx", 1)), Authors::Unreadable);
    }

    proptest! {
        #[test]
        fn any_value_is_taken(value in "\\PC{0,80}") {
            let _ = from(&value);
        }
    }
}
