//! What runs inside a single-use worker about one letter: find its parts, describe them, note what a scorer may
//! weigh, and answer a SEARCH's text keys.
//!
//! Everything here reads hostile bytes. All of it is total: a letter beyond the bounds of
//! [`report::limits`](crate::report::limits) is `None`, anything else gets the best description that can be given. A
//! panic would cost that one worker only; the tests see to it that there is none.

mod continued;
mod day;
mod decode;
mod envelope;
mod features;
mod fields;
mod fold;
mod html;
mod lexer;
mod mime;
mod preview;
mod search;
mod structure;
mod texts;
mod walk;
mod words;

use crate::report::{Address, CUT, Facts, Report, Summary, limits};
use texts::Texts;
use walk::Walked;

pub use envelope::addresses;
pub use fold::Needle;
pub use search::matches;

/// Describes one letter: its summary for the reader, its features for the scorer. `None` when it has more than
/// [`limits::PARTS`] parts, more than [`limits::FIELDS`] header fields, or 4 GiB. What it returns always passes
/// [`Report::check`].
pub fn examine(message: &[u8], facts: &Facts) -> Option<Report> {
    let mut texts = Texts::new();
    let mut walked = walk::walk(message, &mut texts)?;
    let summary = summary(message, &mut walked, &mut texts)?;
    let features = features::features(&Letter { message, walked: &walked, summary: &summary, facts });
    Some(Report { summary, features, actions: Vec::new() })
}

/// All that the features are made from.
struct Letter<'l> {
    message: &'l [u8],
    walked: &'l Walked,
    summary: &'l Summary,
    facts: &'l Facts,
}

fn summary(message: &[u8], walked: &mut Walked, texts: &mut Texts) -> Option<Summary> {
    let fields = walked.nodes.first()?.fields.clone();
    // What was cut of the parts' texts is nothing that a search asks the summary for.
    texts.take_cut();
    let envelope = envelope::envelope(message, &fields, texts);
    let subject = words::decode(envelope.subject.as_deref().unwrap_or_default());
    let lists = [&envelope.from, &envelope.to, &envelope.cc, &envelope.bcc];
    let address_texts = lists.map(|list| {
        let text = address_text(list, limits::TEXT);
        if text.len() > limits::TEXT {
            texts.cut();
        }
        texts.keep_readable(text.trim_end_matches([' ', ',', ':']), limits::TEXT)
    });
    let mut subject_text = texts.keep_readable(&subject, limits::TEXT - CUT.len_utf8());
    if texts.take_cut() {
        subject_text.push(CUT);
    }
    Some(Summary {
        size: u32::try_from(message.len()).ok()?,
        sent_day: envelope.date.as_deref().and_then(day::day),
        subject_text,
        address_texts,
        preview: preview::preview(message, walked),
        root: structure::part(message, &mut walked.nodes, 0, texts)?,
        envelope,
        fields,
    })
}

/// `Name <local@domain>, ...` with names decoded; a group's name before its members. Ends with the address that makes it
/// longer than `longest`.
fn address_text(list: &[Address], longest: usize) -> String {
    let mut text = String::new();
    for address in list {
        if text.len() > longest {
            break;
        }
        match (&address.mailbox, &address.host) {
            (Some(mailbox), Some(host)) => {
                let name = address.name.as_deref().map(words::decode);
                let (local, domain) = (String::from_utf8_lossy(mailbox), String::from_utf8_lossy(host));
                let space = if name.is_some() { " " } else { "" };
                text.push_str(&format!("{}{space}<{local}@{domain}>, ", name.unwrap_or_default()));
            }
            (Some(group), None) => text.push_str(&format!("{}: ", words::decode(group))),
            _ => {}
        }
    }
    text
}
