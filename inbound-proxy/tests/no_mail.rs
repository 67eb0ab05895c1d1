//! The first test: whatever a sender says, in whatever order, this proxy takes no mail in, and bounces none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use inbound_proxy::fuzz::takes_mail;
use inbound_proxy::reply::Reply;
use inbound_proxy::session::{Effect, Event, Phase, Session};
use proptest::prelude::*;

/// What senders say, and what they should not.
const LINES: [&str; 24] = [
    "EHLO sender.example",
    "EHLO",
    "HELO sender.example",
    "STARTTLS",
    "STARTTLS now",
    "MAIL FROM:<a@sender.example>",
    "MAIL FROM:<>",
    "MAIL",
    "RCPT TO:<b@home.example>",
    "RCPT TO:<c@other.example> NOTIFY=NEVER",
    "RCPT",
    "DATA",
    "data",
    "DATA\tnow",
    " DATA",
    "BDAT 10 LAST",
    "BDAT 0",
    ".",
    "Subject: hello",
    "RSET",
    "NOOP",
    "VRFY a",
    "AUTH PLAIN AAAA",
    "QUIT",
];

fn said(effects: &[Effect]) -> Vec<Reply> {
    let reply = |effect: &Effect| match effect {
        Effect::Say(reply) => Some(*reply),
        _ => None,
    };
    effects.iter().filter_map(reply).collect()
}

fn code(reply: Reply) -> String {
    let mut out = Vec::new();
    reply.write("clean.example", &mut out);
    String::from_utf8_lossy(&out[..3]).into_owned()
}

fn phases() -> impl Strategy<Value = Phase> {
    prop_oneof![Just(Phase::Clear), Just(Phase::Learning), Just(Phase::Away)]
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let known = prop::sample::select(LINES.as_slice()).prop_map(str::to_owned);
    let anything = "[ -~]{0,40}";
    prop::collection::vec(prop_oneof![6 => known, 1 => anything], 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_order_of_commands_gets_mail_in(phase in phases(), lines in lines()) {
        let (mut session, _) = Session::new(phase);
        let mut data_was_said = false;
        for line in &lines {
            let effects = session.handle(Event::Line(line.as_bytes()));
            prop_assert!(!takes_mail(line.as_bytes(), &effects), "{line}: {effects:?}");
            // After DATA nothing is ever said again, so nothing can be taken for the answer to the end of data.
            prop_assert!(!data_was_said || effects.is_empty(), "{line} after DATA: {effects:?}");
            for reply in said(&effects) {
                prop_assert!(code(reply) != "354");
            }
            let verb = line.trim().to_ascii_uppercase();
            let is_data = ["DATA", "BDAT"].iter().any(|data| verb.split_ascii_whitespace().next() == Some(data));
            data_was_said |= is_data && !effects.is_empty();
        }
    }

    #[test]
    fn no_mail_is_bounced(phase in phases(), lines in lines()) {
        let (mut session, greeting) = Session::new(phase);
        prop_assert!(said(&greeting).iter().all(|reply| code(*reply).as_str() < "500"), "a 5xx greeting bounces");
        for line in &lines {
            let effects = session.handle(Event::Line(line.as_bytes()));
            let verb = line.trim().to_ascii_uppercase();
            let verb = verb.split_ascii_whitespace().next().unwrap_or("");
            for reply in said(&effects) {
                if ["MAIL", "RCPT", "DATA", "BDAT", "EHLO", "HELO"].contains(&verb) {
                    prop_assert!(code(reply).as_str() < "500", "{line}: {reply:?}");
                }
                if verb == "STARTTLS" {
                    prop_assert!(code(reply) != "454", "brings the mail in clear");
                }
                // 421 without a close brings it in clear, too.
                prop_assert_eq!(reply.closes(), effects.contains(&Effect::Close), "{:?}", reply);
            }
        }
    }

    #[test]
    fn every_session_ends(phase in phases(), line in "[ -~]{0,30}") {
        let (mut session, _) = Session::new(phase);
        let steps = (0..10_000).take_while(|_| {
            let effects = session.handle(Event::Line(line.as_bytes()));
            !effects.is_empty() && !session.is_over()
        });
        prop_assert!(steps.count() < 1_000);
        prop_assert!(session.is_over());
    }
}
