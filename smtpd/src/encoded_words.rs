//! What encoded words (RFC 2047) hide: some readers decode them before they look for addresses. Only their ASCII signs matter
//! here, so whatever lies beyond is not told apart.

/// The parts of one: `=?charset?encoding?text?=`.
#[derive(Debug, Clone, Copy)]
pub struct EncodedWord<'a> {
    charset: &'a str,
    encoding: &'a str,
    /// What is encoded.
    pub text: &'a str,
}

impl<'a> EncodedWord<'a> {
    /// The one that a text begins with, if it has an end.
    #[must_use]
    pub fn at_start(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix("=?")?.splitn(3, '?');
        let (charset, encoding, behind) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { charset, encoding, text: &behind[..behind.find("?=")?] })
    }

    /// Its character set.
    #[must_use]
    pub const fn charset(&self) -> &'a str {
        self.charset
    }

    /// The same without a language, as all spell it.
    fn character_set(&self) -> String {
        self.charset.split('*').next().unwrap_or_default().to_ascii_lowercase().replace('_', "-")
    }

    /// Whether its encoding is one of the two there are, and something is encoded.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.encoding, "b" | "B" | "q" | "Q") && !self.text.is_empty()
    }

    /// Bytes of all of it.
    #[must_use]
    pub const fn length(&self) -> usize {
        "=????=".len() + self.charset.len() + self.encoding.len() + self.text.len()
    }

    /// What a reader sees who decodes it; `None` where readers may see one thing or another.
    #[must_use]
    pub fn decoded(&self) -> Option<String> {
        let bytes = match self.encoding {
            "q" | "Q" => quoted(self.text.as_bytes()),
            "b" | "B" => base64(self.text.as_bytes())?,
            _ => return None,
        };
        let charset = self.character_set();
        let bytes = if charset.starts_with("iso-2022-jp") { without_shifted(&bytes)? } else { bytes };
        has_ascii(&charset).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A text with its encoded words decoded, where that can be done.
#[must_use]
pub fn decoded(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    walk(text, |plain, shown| all.extend([plain, shown]));
    all
}

/// The same without the blanks between two encoded words, which are part of neither (RFC 2047 §6.2).
#[must_use]
pub fn joined(text: &str) -> String {
    let (mut all, mut behind_one) = (String::with_capacity(text.len()), false);
    walk(text, |plain, shown| {
        let between = behind_one && !shown.is_empty() && plain.trim().is_empty();
        all.extend([if between { "" } else { plain }, shown]);
        behind_one = !shown.is_empty();
    });
    all
}

/// What its encoded words show, all together.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut all = String::new();
    walk(text, |_, shown| all.push_str(shown));
    all
}

/// Every piece of a text, with what the encoded word behind it shows.
fn walk(text: &str, mut piece: impl FnMut(&str, &str)) {
    let mut from = 0;
    for (at, word) in words(text) {
        let Some(shown) = word.decoded().filter(|_| at >= from) else { continue };
        piece(&text[from..at], &shown);
        from = at + word.length();
    }
    piece(&text[from..], "");
}

/// Whatever may be an encoded word, with its place; some may lie in others.
fn words(text: &str) -> impl Iterator<Item = (usize, EncodedWord<'_>)> {
    beginnings(text).filter_map(|at| Some((at, EncodedWord::at_start(&text[at..])?)))
}

/// Where one may begin: behind the last end none does, and none is looked for.
fn beginnings(text: &str) -> impl Iterator<Item = usize> {
    text[..text.rfind("?=").unwrap_or(0)].match_indices("=?").map(|(at, _)| at)
}

/// RFC 2047 §4.2; what is no pair of hexadecimal digits stays as it is.
fn quoted(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(byte) = text.get(at) {
        let pair = text.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let hex = pair.filter(|_| *byte == b'=').and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(hex.unwrap_or(if *byte == b'_' { b' ' } else { *byte }));
        at += if hex.is_some() { 3 } else { 1 };
    }
    bytes
}

/// With or without its padding, but with nothing else in it: what readers make of that differs.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let mut padded = text.get(..text.len() - padding)?.to_vec();
    padded.resize(padded.len().next_multiple_of(4), b'=');
    wire::base64::decode(&padded)
}

/// ISO-2022-JP without its signs of two bytes, which look like ASCII ones.
fn without_shifted(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut parts = bytes.split(|byte| *byte == 0x1b);
    let mut plain = parts.next()?.to_vec();
    for part in parts {
        match part {
            [b'(', b'B' | b'J', text @ ..] => plain.extend_from_slice(text),
            [b'$', b'@' | b'B', ..] => {}
            _ => return None,
        }
    }
    Some(plain)
}

/// Whether a text has an encoded word in a character set in which ASCII is not itself, or that nobody here has heard of: what a
/// reader shows of it we cannot know.
#[must_use]
pub fn has_a_riddle(text: &str) -> bool {
    words(text).any(|(_, word)| !has_ascii(&word.character_set()))
}

/// Whether ASCII means in it what it means in ASCII; not in UTF-7, UTF-16 or EBCDIC (cp037, cp500 and others), nor in what nobody
/// here has heard of.
fn has_ascii(charset: &str) -> bool {
    const EXACTLY: [&str; 33] = [
        "utf-8",
        "utf8",
        "us-ascii",
        "ascii",
        "ansi-x3.4-1968",
        "gb2312",
        "gb-2312-80",
        "gbk",
        "x-gbk",
        "gb18030",
        "big5",
        "x-big5",
        "big5-hkscs",
        "euc-jp",
        "euc-kr",
        "euc-tw",
        "ks-c-5601-1987",
        "ks-c-5601",
        "shift-jis",
        "x-sjis",
        "sjis",
        "ms932",
        "cp932",
        "cp936",
        "tis-620",
        "viscii",
        "macintosh",
        "ibm437",
        "ibm850",
        "ibm852",
        "unknown",
        "x-unknown",
        "unknown-8bit",
    ];
    const BEGINNINGS: [&str; 17] = [
        "iso-8859-",
        "iso8859-",
        "latin",
        "windows-125",
        "windows-874",
        "windows-31j",
        "koi8-",
        "iso-2022-jp",
        "x-mac-",
        "cp125",
        "cp437",
        "cp737",
        "cp775",
        "cp85",
        "cp86",
        "cp874",
        "cp949",
    ];
    EXACTLY.contains(&charset) || BEGINNINGS.iter().any(|beginning| charset.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readers_see() {
        for (text, shown) in [
            ("=?utf-8?q?a_b=40c?= d", "a b@c d"),
            ("=?UTF-8?B?IiA8Y2VvQGJhbmsudGVzdD4s?=", "\" <ceo@bank.test>,"),
            ("x =?utf-8*en?b?YQ?= =?us-ascii?q?=ZZ=4?=", "x a =ZZ=4"),
            ("=?iso-2022-jp?B?GyRCOzNFRBsoQiA8YUBiPg==?=", " <a@b>"),
            ("=?utf-7?q?+ACI- <c@d>,?=", "=?utf-7?q?+ACI- <c@d>,?="),
            ("=?utf-8?q?=61?==?utf-8?q?b?=c", "abc"),
            ("=?utf-8?b?!!!?= =? =?a?b", "=?utf-8?b?!!!?= =? =?a?b"),
        ] {
            assert_eq!(decoded(text), shown, "{text}");
        }
    }

    #[test]
    fn blanks_between_two_are_part_of_neither() {
        for (text, shown) in [
            ("=?utf-8?q?a=40?= \t=?utf-8?q?b?= c", "a@b c"),
            ("x =?utf-8?q?a?= b =?utf-8?q?c?=", "x a b c"),
            ("=?utf-8?q?a?= ", "a "),
        ] {
            assert_eq!(joined(text), shown, "{text}");
        }
    }

    #[test]
    fn no_end_is_looked_for_where_none_follows() {
        let many = "=?utf-8?q?x".repeat(1_000);
        assert_eq!((beginnings(&many).count(), decoded(&many)), (0, many.clone()));
        assert_eq!(beginnings(&format!("=?utf-8?q?x?={many}")).count(), 1);
    }

    #[test]
    fn what_nobody_can_know() {
        for charset in
            ["utf-7", "UTF-16", "cp930", "cp939", "cp037", "cp500", "cp1140", "cp1200", "ibm037", "x-none", ""]
        {
            assert!(has_a_riddle(&format!("a =?x =?{charset}?q?b?= <c@d>")), "{charset}");
        }
        for charset in [
            "utf-8*en",
            "cp932",
            "cp936",
            "ISO_8859-1",
            "Windows-1252",
            "cp1251",
            "cp866",
            "x-sjis",
            "Big5-HKSCS",
            "unknown-8bit",
        ] {
            assert!(!has_a_riddle(&format!("=?{charset}?q?b?= <c@d>")), "{charset}");
        }
        assert!(!has_a_riddle("=?utf-7?b"));
    }
}
