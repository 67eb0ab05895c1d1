//! `postern queue list|show|retry|hold|release|drop`: what waits to leave, and why.

use clap::Subcommand;
use serde_json::{Value, json};
use smtpd::courier::fate::without_status;
use spool::edges::admin::{QueuedInfo, Reply, Request, Rest};
use spool::edges::outbox::{Said, State};
use spool::names::LetterId;

use super::{House, output};
use crate::failure::Failure;
use crate::local_time::Zone;

/// Letters of a name that are shown, and that are enough to type.
const SHOWN: usize = 8;

/// What waits to leave.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  postern queue list\n  postern queue show 3f2a\n  postern queue retry")]
pub enum Queue {
    /// Show all letters that wait
    List,
    /// Show where each recipient of a letter stands
    Show {
        /// The letter, or how its name begins
        letter: String,
    },
    /// Try again now: one letter, or all that are not kept back
    Retry {
        /// The letter, or how its name begins
        letter: Option<String>,
    },
    /// Keep a letter back, until `release`
    Hold {
        /// The letter, or how its name begins
        letter: String,
    },
    /// Let a letter that is kept back go on
    Release {
        /// The letter, or how its name begins
        letter: String,
    },
    /// Give a letter up; its sender hears nothing
    Drop {
        /// The letter, or how its name begins
        letter: String,
    },
}

impl Queue {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn run(self, house: &mut House) -> Result<(), Failure> {
        match self {
            Self::List => list(house),
            Self::Show { letter } => show(house, &letter),
            Self::Retry { letter: None } => {
                house.session()?.done(Request::QueueRetry { letter: None })?;
                house.print(&json!({"retry": "all"}), || {
                    "All letters are tried again now, except what is kept back.".to_owned()
                })
            }
            Self::Retry { letter: Some(letter) } => {
                let made = |letter| Request::QueueRetry { letter: Some(letter) };
                change(house, &letter, ("retry", "is tried again now"), made)
            }
            Self::Hold { letter } => {
                change(house, &letter, ("hold", "is kept back"), |letter| Request::QueueHold { letter, on: true })
            }
            Self::Release { letter } => {
                change(house, &letter, ("release", "goes on"), |letter| Request::QueueHold { letter, on: false })
            }
            Self::Drop { letter } => {
                change(house, &letter, ("drop", "is given up"), |letter| Request::QueueDrop { letter })
            }
        }
    }
}

fn all(house: &House) -> Result<Vec<QueuedInfo>, Failure> {
    house.session()?.list(Request::QueueList, |reply| match reply {
        Reply::Queue { some, more } => Some((some, more)),
        _ => None,
    })
}

/// The one letter whose name begins so.
fn find(house: &House, typed: &str) -> Result<QueuedInfo, Failure> {
    let typed = typed.to_lowercase();
    let mut found: Vec<QueuedInfo> = all(house)?
        .into_iter()
        .filter(|info| !typed.is_empty() && info.letter.to_string().starts_with(&typed))
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(Failure::new(format!("several letters begin with `{typed}`: type more of the name"))),
        (None, _) => Err(Failure::new(format!("no letter `{typed}` waits to leave; see `postern queue list`"))),
    }
}

fn change(
    house: &House,
    typed: &str,
    (did, words): (&str, &str),
    request: impl FnOnce(LetterId) -> Request,
) -> Result<(), Failure> {
    let letter = find(house, typed)?.letter;
    let under_way = house.session()?.changed(request(letter))?;
    house.print(&json!({did: letter.to_string(), "under_way": under_way}), || {
        format!("Letter {letter} {words}.{}", but(&under_way))
    })
}

/// What nobody can call back.
fn but(under_way: &[String]) -> String {
    if under_way.is_empty() {
        return String::new();
    }
    format!(
        " But it is being handed over to {} at this moment, which cannot be stopped: it may arrive there.",
        under_way.join(" and ")
    )
}

fn list(house: &House) -> Result<(), Failure> {
    let (all, now) = (all(house)?, wire::date::now());
    let values: Vec<Value> = all.iter().map(value).collect();
    house.print(&values.into(), || {
        if all.is_empty() {
            return "Nothing waits to leave.".to_owned();
        }
        let when = When { now, zone: Zone::here() };
        all.iter().map(|info| block(info, &when)).collect::<Vec<_>>().join("\n")
    })
}

fn show(house: &House, typed: &str) -> Result<(), Failure> {
    let (info, now) = (find(house, typed)?, wire::date::now());
    house.print(&value(&info), || {
        let rows: Vec<[String; 2]> = info
            .recipients
            .iter()
            .zip(0..)
            .map(|((to, state), number)| {
                [to.clone(), words(to, Place::of(&info, number), state, &When { now, zone: Zone::here() })]
            })
            .collect();
        format!(
            "Letter {} from {}, {}, written {} ago{}.\n\n{}",
            info.letter,
            sender(&info),
            crate::size::Bytes(info.size.into()),
            span(now - info.queued),
            if info.held { ", kept back" } else { "" },
            output::table(["TO", "WHERE IT STANDS"], &rows)
        )
    })
}

/// A letter in a list: one line, then one for each recipient that is not done.
fn block(info: &QueuedInfo, when: &When) -> String {
    let name: String = info.letter.to_string().chars().take(SHOWN).collect();
    let held = if info.held { "  KEPT BACK" } else { "" };
    let mut out = format!("{name}  from {}, {} ago{held}\n", sender(info), span(when.now - info.queued));
    for ((to, state), number) in info.recipients.iter().zip(0..) {
        if !matches!(state, State::Done { .. }) {
            out.push_str(&format!("    {to}: {}\n", words(to, Place::of(info, number), state, when)));
        }
    }
    out
}

fn sender(info: &QueuedInfo) -> String {
    match (&info.sender, &info.mailbox) {
        (Some(sender), _) if info.passed_on => format!("{sender} (passed on by an alias)"),
        (Some(sender), _) => sender.clone(),
        (None, Some(mailbox)) => mailbox.clone(),
        (None, None) => "a mail server or an answering machine (passed on)".to_owned(),
    }
}

/// Where a letter is, as far as one recipient goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    /// The admin keeps it back.
    Held,
    /// Nobody has it in hand.
    Here,
    /// The same, and the postmaster hears of it.
    PassedOn,
    /// Nor has it anybody for a while: nothing goes there.
    Resting(&'a Rest),
    /// A connection is made for it, or has it.
    UnderWay,
}

impl<'a> Place<'a> {
    fn of(info: &'a QueuedInfo, number: u16) -> Self {
        match (info.under_way.contains(&number), rest(info, number)) {
            (true, _) => Self::UnderWay,
            (false, _) if info.held => Self::Held,
            (false, Some(rest)) => Self::Resting(rest),
            (false, None) if info.passed_on => Self::PassedOn,
            (false, None) => Self::Here,
        }
    }
}

fn rest(info: &QueuedInfo, number: u16) -> Option<&Rest> {
    info.resting.iter().find(|(numbers, _)| numbers.contains(&number)).map(|(_, rest)| rest)
}

/// Now, on this box's clock.
struct When {
    now: i64,
    zone: Zone,
}

fn words(to: &str, place: Place<'_>, state: &State, when: &When) -> String {
    let (now, said) = (when.now, |last: &Said| said(to, last));
    match state {
        State::Waiting { last: None, .. } if place == Place::UnderWay => "on its way".to_owned(),
        State::Waiting { last: Some(last), .. } if place == Place::UnderWay => {
            format!("{} Trying again now.", said(last))
        }
        State::Waiting { last: None, .. } if place == Place::Held => "not tried yet".to_owned(),
        State::Waiting { last: Some(last), .. } if place == Place::Held => said(last),
        State::Waiting { due, last, .. }
            if let Place::Resting(rest) = place
                && *due <= now.max(rest.until) =>
        {
            let own = last.as_ref().map_or_else(String::new, |last| format!("{} ", said(last)));
            format!("{own}{}", resting(to, rest, when))
        }
        State::Waiting { due, last: None, .. } if *due <= now => "waiting for its turn".to_owned(),
        State::Waiting { due, last: Some(last), .. } if *due <= now => {
            format!("{} Waiting for its turn to try again.", said(last))
        }
        State::Waiting { due, last: Some(last), .. } => {
            format!("{} Trying again at {}.", said(last), when.zone.at(*due, now))
        }
        State::Waiting { due, last: None, .. } => format!("Trying at {}.", when.zone.at(*due, now)),
        State::Untold { delivered: true, .. } => "delivered; its sender is being told".to_owned(),
        State::Untold { delivered: false, last } if place == Place::PassedOn => {
            format!("failed: {} The postmaster hears of it with others, or now: `postern queue retry`.", said(last))
        }
        State::Untold { delivered: false, last } => format!("failed: {} Its sender is being told.", said(last)),
        State::Done { delivered: true } => "delivered".to_owned(),
        State::Done { delivered: false } => "failed".to_owned(),
    }
}

/// What keeps it there is another letter's trouble.
fn resting(to: &str, rest: &Rest, when: &When) -> String {
    let stop = if rest.why.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("Nothing goes to {} before {}: {}{stop}", domain(to), when.zone.at(rest.until, when.now), rest.why)
}

fn domain(to: &str) -> &str {
    to.rsplit_once('@').map_or(to, |(_, domain)| domain)
}

/// People know the domain that they wrote to; which of its hosts it was, `--json` says.
fn said(to: &str, last: &Said) -> String {
    let domain = domain(to);
    let stop = if last.words.ends_with(['.', '!', '?']) { "" } else { "." };
    match &last.by {
        Some((_, code)) => format!("{domain} says: {code} {}{stop}", without_status(&last.words)),
        None => format!("{}{stop}", last.words),
    }
}

/// A time span as people say it.
fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn value(info: &QueuedInfo) -> Value {
    let recipients = info.recipients.iter().zip(0..).map(|((to, state), number)| {
        let mut value = recipient(to, state);
        value["under_way"] = info.under_way.contains(&number).into();
        let rest = rest(info, number);
        value["rests_until"] = rest.map(|rest| rest.until).into();
        value["rests_because"] = rest.map(|rest| rest.why.clone()).into();
        value
    });
    let recipients: Vec<Value> = recipients.collect();
    json!({
        "letter": info.letter.to_string(),
        "mailbox": info.mailbox,
        "sender": info.sender,
        "queued": info.queued,
        "size": info.size,
        "held": info.held,
        "passed_on": info.passed_on,
        "recipients": recipients,
    })
}

fn recipient(to: &str, state: &State) -> Value {
    let (name, due, failures, last) = match state {
        State::Waiting { failures, due, last, .. } => ("waiting", Some(*due), *failures, last.as_ref()),
        State::Untold { delivered, last } => (if *delivered { "delivered" } else { "failed" }, None, 0, Some(last)),
        State::Done { delivered } => (if *delivered { "delivered" } else { "failed" }, None, 0, None),
    };
    json!({
        "to": to,
        "state": name,
        "due": due,
        "failures": failures,
        "status": last.map(|last| format!("{}.{}.{}", last.status.0, last.status.1, last.status.2)),
        "host": last.and_then(|last| last.by.as_ref()).map(|(host, _)| host),
        "code": last.and_then(|last| last.by.as_ref()).map(|(_, code)| code),
        "words": last.map(|last| &last.words),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(by: Option<(&str, u16)>, words: &str) -> Said {
        let by = by.map(|(host, code)| (host.to_owned(), code));
        Said { status: (4, 7, 1), by, words: words.to_owned(), at: 0 }
    }

    #[test]
    fn in_words_a_parent_understands() {
        let waits = |due, last| State::Waiting { failures: 1, due, delay_told: false, last };
        let greylisted = last(Some(("mx.far.test", 451)), "4.7.1 greylisted, come back");
        let at = |place, state: &State| words("ben@far.test", place, state, &When { now: 0, zone: Zone::default() });
        let (held, on_its_way) = (|state: &State| at(Place::Held, state), |state: &State| at(Place::UnderWay, state));
        let words = |state: &State| at(Place::Here, state);
        assert_eq!(
            words(&waits(240, Some(greylisted.clone()))),
            "far.test says: 451 greylisted, come back. Trying again at 00:04."
        );
        assert_eq!(words(&waits(90_000, None)), "Trying at 01:00 on Friday.");
        assert_eq!(words(&waits(0, None)), "waiting for its turn");
        assert_eq!(on_its_way(&waits(0, None)), "on its way");
        let again = waits(0, Some(greylisted));
        assert!(words(&again).ends_with("come back. Waiting for its turn to try again."));
        assert!(on_its_way(&again).ends_with("come back. Trying again now."));
        let rest = Rest { until: 240, why: "mx.far.test broke the connection off".to_owned() };
        let rests = "Nothing goes to far.test before 00:04: mx.far.test broke the connection off.";
        assert_eq!(at(Place::Resting(&rest), &waits(0, None)), rests);
        let both = at(Place::Resting(&rest), &again);
        assert_eq!(both, format!("far.test says: 451 greylisted, come back. {rests}"));
        assert_eq!(at(Place::Resting(&rest), &waits(200, None)), rests, "nor when its own time comes before");
        assert_eq!(at(Place::Resting(&rest), &waits(90_000, None)), "Trying at 01:00 on Friday.");
        assert_eq!(held(&waits(0, None)), "not tried yet");
        let failed = State::Untold { delivered: false, last: last(None, "there is no domain far.test") };
        assert_eq!(words(&failed), "failed: there is no domain far.test. Its sender is being told.");
        assert!(
            at(Place::PassedOn, &failed).starts_with("failed: there is no domain far.test. The postmaster hears of it")
        );
    }

    #[test]
    fn what_cannot_be_called_back_is_said() {
        assert_eq!(but(&[]), "");
        let words = but(&["far.test".to_owned(), "third.test".to_owned()]);
        assert!(words.starts_with(" But it is being handed over to far.test and third.test at this moment"), "{words}");
    }

    #[test]
    fn whose_a_letter_is() {
        let info = |mailbox: Option<&str>, sender: Option<&str>| QueuedInfo {
            letter: LetterId([0; 16]),
            mailbox: mailbox.map(String::from),
            sender: sender.map(String::from),
            queued: 0,
            size: 0,
            held: false,
            passed_on: mailbox.is_none(),
            under_way: vec![1],
            resting: vec![(vec![1, 2], Rest { until: 60, why: "it is down".to_owned() })],
            recipients: Vec::new(),
        };
        assert_eq!(sender(&info(Some("anna@home.test"), Some("a@home.test"))), "a@home.test");
        assert_eq!(sender(&info(Some("anna@home.test"), None)), "anna@home.test");
        assert_eq!(sender(&info(None, Some("ben@far.test"))), "ben@far.test (passed on by an alias)");
        assert!(sender(&info(None, None)).starts_with("a mail server"));
        let (held, free) = (QueuedInfo { held: true, ..info(None, None) }, info(None, None));
        assert_eq!([0, 1, 2].map(|number| Place::of(&held, number)), [Place::Held, Place::UnderWay, Place::Held]);
        let rest = Place::Resting(&free.resting[0].1);
        assert_eq!([0, 1, 2].map(|number| Place::of(&free, number)), [Place::PassedOn, Place::UnderWay, rest]);
    }

    #[test]
    fn spans() {
        for (seconds, expected) in
            [(-5, "0 seconds"), (1, "1 second"), (119, "119 seconds"), (7_199, "119 minutes"), (172_800, "2 days")]
        {
            assert_eq!(span(seconds), expected);
        }
    }
}
