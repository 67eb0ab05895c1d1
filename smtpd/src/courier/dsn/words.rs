//! What a notice says to people.

use std::fmt::Write;

use super::{About, Facts, GIVEN_UP, Kind, PassedOn, is_whole};
use crate::courier::fate::Why;

fn is_given_up(why: &Why) -> bool {
    (why.status.class, why.status.subject, why.status.detail) == GIVEN_UP
}

/// How long it was tried; a clock that was wrong may make that nothing.
fn given_up(days: i64) -> String {
    match days {
        ..1 => "Given up after many attempts. The last answer: ".to_owned(),
        1 => "Given up after a day. The last answer: ".to_owned(),
        days => format!("Given up after {days} days. The last answer: "),
    }
}

/// To whom it was, why, and what happens now.
pub(super) fn words(kind: Kind, facts: &Facts<'_>, about: &[&About<'_>]) -> String {
    let mut out = match kind {
        Kind::Failure if facts.passed_on.is_some() => not_passed_on(facts),
        Kind::Failure => "Your message could not be delivered to:\r\n".to_owned(),
        Kind::Delay(_) => "Your message has not been delivered yet to:\r\n".to_owned(),
        Kind::Relayed => "Your message was passed on to the mail servers of:\r\n".to_owned(),
        Kind::Delivered => "Your message was delivered to:\r\n".to_owned(),
    };
    for one in about {
        let _ = write!(out, "\r\n    {}\r\n", one.address);
        let days = one.at.saturating_sub(facts.queued) / 86_400;
        let given_up = if is_given_up(one.why) { given_up(days) } else { String::new() };
        for line in wrapped(&format!("{given_up}{}", one.why), 68) {
            let _ = write!(out, "        {line}\r\n");
        }
    }
    match kind {
        Kind::Failure => {
            let _ = write!(out, "\r\nNobody will try again. {}\r\n", below(kind, facts));
            if let Some(more) = facts.passed_on.and_then(|passed_on| passed_on.more) {
                let _ = write!(out, "\r\nWhat else could not be passed on, and is told nowhere else:\r\n{more}\r\n");
            }
        }
        Kind::Delay(until) => {
            let until = wire::date::rfc5322(until);
            let _ = write!(
                out,
                "\r\nYou need not do anything: it is tried again until {until},\r\nand you will hear if it fails for good.\r\n"
            );
        }
        Kind::Relayed => out.push_str("\r\nThey do not tell whether it was delivered there.\r\n"),
        Kind::Delivered => {}
    }
    out
}

/// For the postmaster, who wrote nothing.
fn not_passed_on(facts: &Facts<'_>) -> String {
    let PassedOn { from, alias, .. } = facts.passed_on.unwrap_or_default();
    let to = alias.map(|alias| format!(" for {alias}")).unwrap_or_default();
    let words = format!(
        "A letter from {from} came{to}, and an alias here passes such letters on. It could not be delivered to the \
         addresses below, and {from} has not been told. `postern alias list` shows which alias leads there. If \
         more of what is passed on to them fails in such a way today, you hear of it in a list with others, a few times \
         a day, or at once by `postern queue retry`."
    );
    wrapped(&words, 72).iter().map(|line| format!("{line}\r\n")).collect()
}

/// What of the letter comes with the notice.
fn below(kind: Kind, facts: &Facts<'_>) -> &'static str {
    match (facts.letter.is_empty(), is_whole(kind, facts)) {
        (true, _) => "What was sent cannot be read here any more.",
        (_, true) => "What was sent is below.",
        (_, false) => "The beginning (the header) of what was sent is below.",
    }
}

/// Lines of at most so many characters, at spaces where there are some.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut length) = (Vec::new(), String::new(), 0);
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        length += word.len();
        line.extend(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}
