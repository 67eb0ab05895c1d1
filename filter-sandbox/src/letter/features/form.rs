//! The header's form: what is missing, repeated, or pretends.

use super::Found;
use crate::{
    letter::{Letter, fields, preview::is_invisible, words},
    report::Address,
};

/// Fields that RFC 5322 §3.6 allows once.
const ONCE: [&str; 9] = ["date", "from", "sender", "reply-to", "to", "cc", "message-id", "subject", "in-reply-to"];

pub(super) fn note(letter: &Letter<'_>, found: &mut Found) {
    missing(letter, found);
    repeated(letter, found);
    subject(&letter.summary.subject_text, found);
    from(letter, found);
    let named = |name: &str| count(letter, name) > 0;
    found.is("LIST_MAIL", named("list-id") || named("list-unsubscribe"));
    found.count("PARTS_UNCLOSED", letter.walked.unclosed);
    found.count("PARTS_TOO_DEEP", letter.walked.too_deep);
    found.count("PARTS", letter.walked.nodes.len());
}

fn count(letter: &Letter<'_>, name: &str) -> usize {
    let is_named = |field| fields::name(letter.message, field).eq_ignore_ascii_case(name.as_bytes());
    letter.summary.fields.iter().filter(|field| is_named(field)).count()
}

fn missing(letter: &Letter<'_>, found: &mut Found) {
    let envelope = &letter.summary.envelope;
    found.is("MISSING_DATE", envelope.date.is_none());
    found.is("DATE_UNREADABLE", envelope.date.is_some() && letter.summary.sent_day.is_none());
    found.is("MISSING_MESSAGE_ID", envelope.message_id.as_ref().is_none_or(Vec::is_empty));
    found.is("MISSING_FROM", !envelope.from.iter().any(|address| domain(address).is_some()));
    found.is("MISSING_TO", envelope.to.is_empty() && envelope.cc.is_empty());
    found.is("MISSING_SUBJECT", envelope.subject.is_none());
}

fn repeated(letter: &Letter<'_>, found: &mut Found) {
    found.is("REPEATED_FROM", count(letter, "from") > 1);
    found.count("REPEATED_FIELDS", ONCE.into_iter().filter(|name| count(letter, name) > 1).count());
}

fn subject(subject: &str, found: &mut Found) {
    let letters = subject.chars().filter(|c| c.is_alphabetic()).count();
    let small = subject.chars().filter(|c| c.is_lowercase()).count();
    let large = subject.chars().filter(|c| c.is_uppercase()).count();
    // "RE: FAX" is not shouting; and scripts without case never are.
    found.is("SUBJECT_SHOUTING", letters >= 12 && large > 9 * small.max(1));
    found.is("SUBJECT_EXCLAIMS", subject.chars().filter(|c| *c == '!').count() >= 3);
    found.count("SUBJECT_INVISIBLE", subject.chars().filter(|c| is_invisible(*c)).count());
    found.is("SUBJECT_MIXED_SCRIPTS", mixed_scripts(subject));
}

fn from(letter: &Letter<'_>, found: &mut Found) {
    let envelope = &letter.summary.envelope;
    let Some((from, domain_of_from)) = envelope.from.iter().find_map(|from| Some((from, domain(from)?))) else {
        return;
    };
    let name = words::decode(from.name.as_deref().unwrap_or_default());
    found.is("FROM_NAME_ADDRESS", names_other_address(&name, &domain_of_from));
    found.is("FROM_NAME_MIXED_SCRIPTS", mixed_scripts(&name));
    found.count("FROM_NAME_INVISIBLE", name.chars().filter(|c| is_invisible(*c)).count());
    let reply = envelope.reply_to.iter().find_map(domain);
    found.is("REPLY_TO_DIFFERS", reply.is_some_and(|reply| !related(&reply, &domain_of_from)));
    let sender = &letter.facts.sender_domain;
    found.is("SENDER_DIFFERS", !sender.is_empty() && !related(sender, &domain_of_from));
    found.is("FROM_PUNYCODE", domain_of_from.split('.').any(|label| label.starts_with("xn--")));
}

/// The address's domain in lower case.
fn domain(address: &Address) -> Option<String> {
    let host = address.host.as_ref().filter(|host| !host.is_empty())?;
    Some(String::from_utf8_lossy(host).to_lowercase())
}

/// Whether one domain is the other or lies under it. (There is no list of public suffixes here: the feature weighs
/// little because of it.)
fn related(one: &str, other: &str) -> bool {
    let under =
        |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    under(one, other) || under(other, one)
}

/// A display name like `service@bank.example` on an address of somebody else.
fn names_other_address(name: &str, own: &str) -> bool {
    name.split(|c: char| c.is_whitespace() || "<>()\"',;".contains(c)).any(|word| {
        let domain =
            word.rsplit_once('@').filter(|(local, _)| !local.is_empty()).map(|(_, domain)| domain.to_lowercase());
        domain.is_some_and(|domain| domain.contains('.') && !related(&domain, own))
    })
}

/// A word with Latin letters among Cyrillic or Greek ones, as imitations of a brand's name have.
pub(super) fn mixed_scripts(text: &str) -> bool {
    text.split(|c: char| !c.is_alphabetic()).any(|word| {
        let latin = word.chars().any(|c| c.is_ascii_alphabetic());
        let other = word.chars().any(|c| matches!(c, '\u{370}'..='\u{52f}'));
        latin && other
    })
}
