//! DMARC (RFC 7489): what the domains in From ask for, and whether the message is theirs.
//!
//! The policy is asked at once, beside the signatures' keys and with a time of its own: a slow key cannot hide that
//! a domain wants forgeries refused. With several domains in From the strictest policy that is not met decides
//! (§6.6.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::proto::rr::Name;
use mail_auth::{AuthenticatedMessage, DkimOutput, DmarcOutput, DmarcResult, SpfOutput};
use tokio::time::timeout;
use wire::unseen::is_unseen;

use super::Verifier;
use super::outcomes::no_answer;
use crate::{authors, encoded_words, header, limits};

/// What speaks for a message.
#[derive(Clone, Copy)]
pub(super) struct Claims<'x> {
    pub dkim: &'x [DkimOutput<'x>],
    pub spf: &'x SpfOutput,
    /// The domain that SPF was asked for.
    pub sender: &'x str,
}

/// Why the domains in From cannot all be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disorder {
    /// They are more than [`limits::AUTHOR_DOMAINS`], or may be, since From is longer than [`limits::AUTHORS`].
    Many,
    /// What stands in the place of one is none: nobody can have sent it, and what a reader shows of it may be another's name; or
    /// part of it is in a character set in which ASCII is not itself.
    NoDomain,
}

/// The domains of the addresses in From, each once.
///
/// Of a From that is out of order (`<a@ b.example>`, `a@b.example;`, `x@b.example@c.example`) readers of mail show one
/// address or another: every domain that one of them may show has its say.
///
/// # Errors
/// [`Disorder`].
pub(super) fn author_domains(message: &[u8]) -> Result<Vec<String>, Disorder> {
    // The same field that our own check of its form saw.
    let field = header::fields(message).find(|field| field.is("From"));
    let (value, unfolded) = field.map(|field| (field.value, field.unfolded())).unwrap_or_default();
    if value.len() > limits::AUTHORS {
        return Err(Disorder::Many);
    }
    let from = [b"From:".as_slice(), value].concat();
    let parsed = AuthenticatedMessage::parse(&from);
    let read = parsed.iter().flat_map(|parsed| parsed.froms()).filter_map(|address| address.rsplit_once('@'));
    let read = read.flat_map(|(_, domain)| readings(domain));
    let texts = naming(&unfolded);
    let behind = texts.iter().flat_map(|text| text.split('@').skip(1));
    let unknown = encoded_words::has_a_riddle(&unfolded);
    if unknown || behind.clone().any(names_nothing) || texts.iter().any(|text| is_encoded(text)) {
        return Err(Disorder::NoDomain);
    }
    each_once(read.chain(behind.flat_map(readings)))
}

/// Reads no further than it must to know that they are too many.
fn each_once(domains: impl Iterator<Item = String>) -> Result<Vec<String>, Disorder> {
    let mut all: Vec<String> = Vec::new();
    for domain in domains {
        let domain = askable(&domain).to_lowercase();
        if domain.is_empty() || all.contains(&domain) {
            continue;
        }
        if all.len() == limits::AUTHOR_DOMAINS {
            return Err(Disorder::Many);
        }
        all.push(domain);
    }
    Ok(all)
}

/// The texts in which what stands behind an `@` counts: From without comments and what is quoted, which are a person's name. Of
/// a From that our own strict reader cannot read nobody knows what another takes for a name: there everything counts.
fn naming(from: &str) -> Vec<String> {
    let bare = header::without_comments(from);
    let mut texts: Vec<String> = bare.as_deref().and_then(header::without_quoted).into_iter().collect();
    if !authors::is_list(from) {
        texts.extend(bare);
        texts.extend([from.to_owned(), from.replace(['"', '\\'], "")]);
        // Some decode the names first, and then look for addresses.
        texts.extend([encoded_words::decoded(from), encoded_words::joined(from)]);
        // Where one comment or quote has no end, the others are some readers' comments still.
        texts.extend([without_ended_comments(from), without_ended_comments(&from.replace(['"', '\\'], ""))]);
    }
    texts
}

/// Without whatever stands between a parenthesis and its end; one without an end stays.
fn without_ended_comments(from: &str) -> String {
    let (mut out, mut open) = (String::with_capacity(from.len()), Vec::new());
    for c in from.chars() {
        match c {
            '(' => open.push(out.len()),
            ')' => {
                if let Some(began) = open.pop() {
                    out.truncate(began);
                    continue;
                }
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Whether what stands before an `@` is an encoded word, which no address has (RFC 2047 §5): who decodes it all the same may see
/// another address in it.
fn is_encoded(text: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || ",;:\"()".contains(c);
    let mut before = text.split('@');
    before.next_back();
    before.any(|local| match local.rsplit_once('<') {
        Some((_, local)) => local.contains("=?") || local.contains("?="),
        None => local.trim_end().rsplit(ends).next().is_some_and(|word| word.contains("?=")),
    })
}

/// Whether what stands there looks like a domain and cannot be one (`a@[x].b.example`, `a@=?utf-8?q?b.example?=`, signs that no
/// name on the Internet has): DNS cannot be asked, and a reader may show the part of it that is somebody else's name.
fn names_nothing(behind: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || "<>,;@\"\\(".contains(c);
    let word: String = seen(behind).take_while(|c| !ends(*c)).map(|c| if is_dot(c) { '.' } else { c }).collect();
    if is_address_literal(&word) {
        return false;
    }
    // An encoded word's end is no part of it (`=?utf-8?q?me@b.example?=`), but what goes on behind it may be.
    let (word, encoded) = match word.split_once("?=") {
        _ if word.starts_with("=?") => (word.as_str(), true),
        Some((word, behind)) => (word, !behind.is_empty()),
        None => (word.as_str(), false),
    };
    let word = word.trim_end_matches(|c: char| c.is_ascii_punctuation() && !in_label(c));
    encoded || (looks_like_a_domain(word) && !is_name(word))
}

/// It ends in a dot and what could be a top-level domain; a price (`@ $9.99`) does not.
fn looks_like_a_domain(word: &str) -> bool {
    let top = word.rsplit_once('.').map(|(_, top)| top).unwrap_or_default();
    top.chars().nth(1).is_some() && top.chars().next().is_some_and(|c| c.is_alphabetic() || !c.is_ascii())
}

/// RFC 5321 §4.1.3.
fn is_address_literal(word: &str) -> bool {
    let Some(inner) = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) else { return false };
    let six = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")).map(|_| &inner[5..]);
    inner.parse::<Ipv4Addr>().is_ok() || six.is_some_and(|six| six.parse::<Ipv6Addr>().is_ok())
}

/// Whether it can be a name: letters beyond ASCII by IDNA; underscores some have, whether or not the resolver asks for them.
fn is_name(word: &str) -> bool {
    let lenient = word.replace('_', "x");
    askable(&lenient) == lenient && Name::from_utf8(format!("_dmarc.{lenient}.")).is_ok()
}

/// The domains that readers may find at the beginning of a text.
fn readings(text: &str) -> [String; 3] {
    [leading_domain(text), leading_word(text), leading_run(text)]
}

/// The same with all blanks left out, wherever they stand: some readers have none in an address (`a@b.ex ample`).
fn leading_run(text: &str) -> String {
    let run = seen(text).filter(|c| !c.is_whitespace()).take_while(|c| !"<>()[],;:@\"\\".contains(*c));
    run.map(|c| if is_dot(c) { '.' } else { c }).collect()
}

/// The domain that a text begins with, blanks around its dots left out (RFC 5322 §4.4, `obs-domain`).
fn leading_domain(text: &str) -> String {
    let (mut domain, mut gap) = (String::new(), false);
    for c in seen(text) {
        match c {
            c if is_dot(c) => {
                domain.push('.');
                gap = false;
            }
            c if c.is_whitespace() => gap = !domain.ends_with('.'),
            c if !gap && in_label(c) => domain.push(c),
            _ => break,
        }
    }
    domain
}

/// The same with characters that no domain has: somebody else's name may end in it (`x+y.b.example`).
fn leading_word(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || "<>()[],;:@\"\\".contains(c);
    seen(text).take_while(|c| !ends(*c)).map(|c| if is_dot(c) { '.' } else { c }).collect()
}

/// What a reader sees of a text, from its first sign on that is not blank.
fn seen(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !is_unseen(*c)).skip_while(|c| c.is_whitespace())
}

/// RFC 3490 §3.1: these are dots, too; and one that looks like it.
const fn is_dot(c: char) -> bool {
    matches!(c, '.' | '\u{2024}' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}')
}

const fn in_label(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || !c.is_ascii()
}

/// The part of a domain that DNS can be asked about (RFC 1035 §2.3.4): a label that cannot exist in front of a name must
/// not keep us from that name's policy.
fn askable(domain: &str) -> &str {
    const LABEL: usize = 63;
    // 253, without `_dmarc.`
    const NAME: usize = 246;
    let domain = domain.trim_end_matches('.');
    let mut from = domain.len();
    for at in domain.rmatch_indices('.').map(|(dot, _)| dot + 1).chain([0]) {
        let label = domain[at..from].trim_end_matches('.');
        let exists = !label.starts_with('-') && !label.ends_with('-') && label.chars().all(in_label);
        let exists = exists && Name::from_utf8(label).is_ok();
        if label.is_empty() || label.len() > LABEL || domain.len() - at > NAME || !exists {
            break;
        }
        from = at;
    }
    &domain[from..]
}

/// The outcome that decides; none without a domain in From.
pub(super) fn strictest(outcomes: &[DmarcOutput]) -> DmarcOutput {
    let rank = |one: &&DmarcOutput| {
        let wanted = match one.policy() {
            Policy::Reject => 0,
            Policy::Quarantine => 2,
            Policy::None | Policy::Unspecified => 4,
        };
        match one.result() {
            DmarcResult::Fail(_) => wanted,
            DmarcResult::TempError(_) => wanted + 1,
            DmarcResult::PermError(_) => 6,
            DmarcResult::Pass => 7,
            DmarcResult::None => 8,
        }
    };
    outcomes.iter().min_by_key(rank).cloned().unwrap_or_default()
}

/// A message of which nothing is known but its author's domain.
fn by_author(domain: &str) -> AuthenticatedMessage<'static> {
    AuthenticatedMessage { from: vec![format!("x@{domain}")], ..AuthenticatedMessage::default() }
}

impl Verifier {
    /// The record that holds for a domain; the result means nothing yet, but for an error of DNS.
    pub(super) async fn published(&self, domain: &str) -> DmarcOutput {
        let (message, nothing) = (by_author(domain), SpfOutput::new(domain.to_owned()));
        let asked = self.authenticator.verify_dmarc(DmarcParameters::new(&message, &[], domain, &nothing));
        let unknown = || undecided(DmarcOutput::new(domain.to_owned()));
        let failed = |output: &DmarcOutput| {
            matches!(output.result(), DmarcResult::TempError(_)) && output.dmarc_record().is_none()
        };
        self.ask(&format!("dmarc {domain}"), asked, failed, unknown).await
    }

    /// Whether the claims are aligned with a domain whose record is known.
    pub(super) async fn judge(&self, published: DmarcOutput, claims: Claims<'_>) -> DmarcOutput {
        if published.dmarc_record().is_none() {
            return published;
        }
        let message = by_author(published.domain());
        let parameters = DmarcParameters::new(&message, claims.dkim, claims.sender, claims.spf);
        match timeout(limits::AUTHENTICATION, self.authenticator.verify_dmarc(parameters)).await {
            Ok(judged) if judged.dmarc_record().is_some() => judged,
            // It was there a moment ago: its policy holds, and nothing is proven.
            _ => undecided(published),
        }
    }
}

fn undecided(output: DmarcOutput) -> DmarcOutput {
    let nothing = DmarcResult::TempError(no_answer());
    output.with_spf_result(nothing.clone()).with_dkim_result(nothing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn domains(from: &str) -> Result<Vec<String>, Disorder> {
        author_domains(format!("Subject: x\r\nFrom: {from}\r\n\r\nFrom: z@body.example\r\n").as_bytes())
    }

    #[test]
    fn every_domain_counts_once() {
        for (from, expected) in [
            ("a@b.example", vec!["b.example"]),
            ("A <a@B.example>, c@d.example, \"x, y\" <e@b.example>", vec!["b.example", "d.example"]),
            ("People: a@b.example, c@d.example;", vec!["b.example", "d.example"]),
            ("a\r\n\t<a@b.example>", vec!["b.example"]),
            ("a@b.example.", vec!["b.example"]),
            ("nobody", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(domains(from), Ok(expected.into_iter().map(String::from).collect()), "{from}");
        }
        assert_eq!(author_domains(b"Subject: x\r\n\r\n"), Ok(Vec::new()));
    }

    #[test]
    fn whatever_a_reader_may_show_is_asked_for() {
        for from in [
            "<a@ b.example>",
            "a@b. example",
            "A <a@b .example>",
            "<a @ b . example>",
            "a@\tb.example",
            "a@b.\r\n example",
            "a@b.example;",
            "a@b.example>",
            "<a@b.example,>",
            "a@(c)b.example",
            "\"x <a@b.example>",
            "(x <a@b.example>",
            "a@b\u{3002}example",
            "<a@\"b.example\">",
            "a@b.example\"\"x",
            "<@ \"(:a@b.example>\")",
            "=?utf-8?b?(?= <a@b.example> )",
            "\"=?utf-8?q?x\" <l@c.example> (?= <a@b.example>)",
            "a@b.example\u{200e}",
            "\"=?utf-8?b?IiA8YUBiLmV4YW1wbGU+LA==?=\" <l@c.example>",
            "(=?utf-8?b?KSA8YUBiLmV4YW1wbGU+LA==?=) <l@c.example>",
            "=?utf-8?b?PGFAYi5leGFtcGxlPiw=?= <l@c.example>",
            "\"a@b.example\" =?utf-8?q?=2C?= <x@c.example>",
            "=?utf-8?q?a=40b.example?= <x@c.example>",
            "=?utf-8?q?a=40b.example_via_list?= <x@c.example>",
            "=?utf-8?q?a=40b.ex?= =?utf-8?q?ample_via_list?= <x@c.example>",
            "a=?utf-8?q?=40?=b.example <x@c.example>",
            "a@\u{2066}b.example",
            "a@mail\u{200e}.b.example",
            "<a@\u{1f}b.example>",
            "<a@b.ex ample>",
            "a@b.\tex ample",
            "a@b.ex(c)ample",
            "<a@s u b . b.example>",
            "<a@\u{200b} b.example>",
            "a@\u{ad} b.example",
            "<a@\u{1f} b.example>",
            "a@b.example\u{2800}",
            "<a@b\u{2024}example>",
            "<a@b.ex\u{2028}ample>",
            "\"a@b.example\"; <x@c.example>",
            "\"a@b.example\" ; x <x@c.example>",
            "(x () <a@b.example>) <x@c.example>",
            "(\\) <a@b.example>) <x@c.example>",
            "a@b(x).example \"",
            "a@b.(x)example (",
            "a@(x (y)) b.example \"",
            "a@(x)b.example, x@c.example (",
            "a@(x)b.example, x@c.example\"",
            "\"a@b.example\\\\\" <x@c.example>",
        ] {
            let found = domains(from).unwrap();
            let named = |domain: &String| domain == "b.example" || domain.ends_with(".b.example");
            assert!(found.iter().any(named), "{from}: {found:?}");
        }
        for two in ["<a@b.example@c.example>", "a@b.example <a@c.example>", "a@b.example; a@c.example"] {
            let found = domains(two).unwrap();
            assert!(
                ["b.example", "c.example"].iter().all(|one| found.contains(&(*one).to_owned())),
                "{two}: {found:?}"
            );
        }
    }

    #[test]
    fn what_looks_like_a_domain_and_is_none_is_refused() {
        let long = format!("a@{}b.example", "\u{4e2d}.".repeat(58));
        for from in [
            "<a@x+y.b.example>",
            "<a@*.b.example>",
            "<a@b.example:25>",
            "<a@-.b.example>",
            "\"Pay\" <a@pay\u{627}pal.b.example>",
            "<a@\u{fffc}.b.example>",
            "<a@m\u{e000}.b.example>",
            "<a@b.example\u{81}>",
            "<a@b\u{81}.example>",
            "a@b.example\u{fffd}",
            &long,
            "a@=?utf-8?q?b.example?=",
            "\"Pay\" <a@=?us-ascii?b?Yi5leGFtcGxl?=>",
            "<a@=?utf-8?q?b?=.example>",
            "<=?utf-8?q?a@?=b.example>",
            "=?utf-8?q?a@?=b.example",
            "<=?utf-8?q?a@b?=.example>",
            "<=?utf-8?q?a@b.ex?=ample>",
            "<=?utf-8?q?a=40b.example=00?=@c.example>",
            "<x+=?utf-8?b?QGIuZXhhbXBsZT4=?=@c.example>",
            "<=?utf-8?q?a=40b.example=00?= @c.example>",
            "<=?utf-8?q?a=40b.example=00?=(c)@c.example>",
            "<=?utf-8?q?a=40b.example=00?\r\n =@c.example>",
            "<=?utf-8?q?a=40b.example @c.example>",
            "=?utf-8?q?a=40b.example=00?= @c.example",
            "=?utf-8?q?a=40b.example?= =?utf-8?q?x?=y@c.example",
            "\"Pay @\" (=?ab?q?) <a@b.example> (\"?=@\")",
            "Pay \"=?utf-8?q?@\" <a@b.example> (\"?=@\")",
            "<a@[x].b.example>",
            "<a@x]y.b.example>",
            "<a@x[1].b.example>",
            "a@x)y.b.example",
            "a@b..example",
        ] {
            assert_eq!(domains(from), Err(Disorder::NoDomain), "{from}");
        }
    }

    #[test]
    fn what_is_merely_odd_is_taken() {
        for from in [
            "a@[192.0.2.1]",
            "<a@[IPv6:2001:db8::1]>",
            "a@host_name.b.example",
            "a@b.example.",
            "<a@b\u{fc}cher.example>",
            "<a@localhost>",
            "Jo @ Work <a@b.example>",
            "Jo @St. John <a@b.example>",
            "(@jo.b) <a@b.example>",
            "=?utf-8?q?me@b.example?= <a@b.example>",
            "Best prices @-=now=- <a@b.example>",
            "[a@b.example]",
            "Sale @ $9.99 <a@b.example>",
            "=?utf-8?q?Sale_@_50%_off._Now?= <a@b.example>",
            "Joe @ a/b.c <a@b.example>",
        ] {
            assert!(domains(from).is_ok(), "{from}: {:?}", domains(from));
        }
    }

    #[test]
    fn a_persons_name_is_no_address() {
        for from in ["\"a@b.example via list\" <l@c.example>", "\"a@b.example\"@c.example", "l@c.example (a@b.example)"]
        {
            assert_eq!(domains(from), Ok(vec!["c.example".to_owned()]), "{from}");
        }
    }

    #[test]
    fn what_cannot_be_asked_hides_nothing() {
        let long = "x".repeat(64);
        assert_eq!(askable(&format!("{long}.b.example")), "b.example");
        assert_eq!(askable(&format!("a.{long}.b.example")), "b.example");
        assert_eq!(askable("a..b.example"), "b.example");
        assert_eq!(askable("host_name.b.example"), "b.example", "nor would the resolver");
        assert_eq!(askable(&format!("{}b.example", "a.".repeat(150))).len(), 245);
        assert_eq!((askable("b.example"), askable(""), askable("."), askable(&long)), ("b.example", "", "", ""));
    }

    #[test]
    fn many_domains_are_refused() {
        let list = |n: usize| (0..n).map(|n| format!("a@d{n}.example")).collect::<Vec<_>>().join(", ");
        assert_eq!(domains(&list(limits::AUTHOR_DOMAINS)).map(|all| all.len()), Ok(limits::AUTHOR_DOMAINS));
        assert_eq!(domains(&list(limits::AUTHOR_DOMAINS + 1)), Err(Disorder::Many));
    }

    #[test]
    fn no_more_is_read_than_is_asked_for() {
        let endless = (0..).map(|n| format!("d{n}.example"));
        assert_eq!(each_once(endless), Err(Disorder::Many));
        let long = |length: usize| format!("{} <a@b.example>", "x".repeat(length - 17));
        assert_eq!(domains(&long(limits::AUTHORS)), Ok(vec!["b.example".to_owned()]));
        assert_eq!(domains(&long(limits::AUTHORS + 1)), Err(Disorder::Many));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = author_domains(&[b"From: ".as_slice(), &bytes].concat());
        }
    }
}
