//! RCPT (RFC 5321 §4.1.1.3): always 451, whatever it says and whenever it comes. A 250 would be a promise that is not
//! ours to make, a 5xx a bounce on a map that may be old.

use super::{Effect, Phase, Session};
use crate::limits;
use crate::reply::Reply;

/// A recipient's domain: at least two labels, lower case. The local part is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain(String);

impl Domain {
    /// `None` when it is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let label = |label: &str| {
            let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(harmless)
        };
        let text = text.strip_suffix('.').unwrap_or(text);
        let formed = text.len() <= limits::DOMAIN && text.contains('.') && text.split('.').all(label);
        formed.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The domain.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(super) fn rcpt(session: &mut Session, argument: &[u8]) -> Vec<Effect> {
    match session.phase {
        Phase::Clear => vec![Effect::Say(Reply::TlsFirst)],
        Phase::Away => vec![Effect::Say(Reply::HomeAway)],
        Phase::Learning => {
            let lesson = lesson(session, domain(argument));
            lesson.into_iter().chain([Effect::Say(Reply::TryAgain)]).collect()
        }
    }
}

/// Each domain is one, once.
fn lesson(session: &mut Session, domain: Option<Domain>) -> Option<Effect> {
    match domain {
        Some(known) if session.domains.contains(&known) => None,
        Some(domain) if session.domains.len() < limits::LESSONS => {
            session.domains.push(domain.clone());
            Some(Effect::Learn(domain))
        }
        _ => Some(Effect::Unclear),
    }
}

/// What stands between the last @ of the path and its closing bracket.
fn domain(argument: &[u8]) -> Option<Domain> {
    let text = std::str::from_utf8(argument).ok()?;
    let (keyword, rest) = text.split_once(':')?;
    if !keyword.trim().eq_ignore_ascii_case("TO") {
        return None;
    }
    let (path, _) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    Domain::new(path.rsplit_once('@')?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_of_recipients() {
        for (argument, expected) in [
            ("TO:<a@Example.ORG>", Some("example.org")),
            ("to : <a@example.org> NOTIFY=NEVER", Some("example.org")),
            ("TO:<\"a@b.c\"@example.org.>", Some("example.org")),
            ("TO:<@relay.example,@x.example:a@example.org>", Some("example.org")),
            ("TO:<postmaster>", None),
            ("TO:<a@[192.0.2.1]>", None),
            ("TO:<a@localhost>", None),
            ("TO:a@example.org", None),
            ("FROM:<a@example.org>", None),
            ("TO:<a@b..c>", None),
            ("", None),
        ] {
            assert_eq!(domain(argument.as_bytes()).as_ref().map(Domain::as_str), expected, "{argument}");
        }
    }
}
