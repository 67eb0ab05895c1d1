//! RCPT, one recipient after another.

use std::fmt::Write;

use super::events::Effect;
use super::letter::{Notify, Recipient, Transaction};
use super::states::State;
use super::{Context, bdat, data, rset};
use crate::courier::fate::{Fate, Status};
use crate::courier::reply::FarReply;

pub(super) fn command(context: &Context, recipient: &Recipient) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.address);
    if context.extensions.notifications {
        if let Some(notify) = recipient.notify {
            let _ = write!(line, " NOTIFY={}", wanted(notify));
        }
        if let Some(original) = &recipient.original {
            let _ = write!(line, " ORCPT={original}");
        }
    }
    line.push_str("\r\n");
    line
}

fn wanted(notify: Notify) -> String {
    let all = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let named: Vec<&str> = all.into_iter().filter_map(|(on, name)| on.then_some(name)).collect();
    if named.is_empty() { "NEVER".to_owned() } else { named.join(",") }
}

pub(super) fn answered(
    context: &Context,
    mut transaction: Box<Transaction>,
    reply: &FarReply,
    out: &mut Vec<Effect>,
) -> State {
    let at = transaction.answered;
    // After a refused MAIL every answer is a consequence of it, and says nothing.
    if !transaction.refused && !reply.is_positive() {
        transaction.fates[at] = Some(fate(context, &transaction, reply));
    }
    transaction.answered += 1;
    if transaction.answered < transaction.asked {
        if !transaction.ahead {
            transaction.ask_next(context, out);
        }
        return State::ExpectRecipient(transaction);
    }
    all_answered(context, transaction, out)
}

fn fate(context: &Context, transaction: &Transaction, reply: &FarReply) -> Fate {
    let fate = reply.fate(&context.rules.far, (1, 0));
    // RFC 5321 §4.5.3.1.10: 552 is an old way to say 452, too many recipients. When somebody was accepted before, and
    // it does not say that something else is the matter, it means that.
    let accepted = transaction.fates[..transaction.answered].iter().any(Option::is_none);
    let silent = reply.status.is_none_or(|status| (status.subject, status.detail) == (5, 3));
    match fate {
        Fate::Failed(mut why) if reply.code == 552 && accepted && silent => {
            why.status = Status::new(4, 5, 3);
            Fate::Deferred(why)
        }
        fate => fate,
    }
}

fn all_answered(context: &Context, transaction: Box<Transaction>, out: &mut Vec<Effect>) -> State {
    if transaction.ahead && !context.extensions.chunking {
        // DATA is on its way already.
        return State::ExpectGo(transaction);
    }
    if !transaction.has_accepted() {
        transaction.finish(out);
        return rset::rset(out);
    }
    if context.extensions.chunking { bdat::bdat(transaction, out) } else { data::data(transaction, out) }
}
