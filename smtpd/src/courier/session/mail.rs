//! MAIL, with the parameters the far server knows.

use std::fmt::Write;

use super::events::Effect;
use super::letter::{Letter, Return, Transaction};
use super::states::State;
use super::{Context, data, rcpt, ready, rset, send};
use crate::courier::fate::{Fate, Status, Why};
use crate::courier::reply::FarReply;

/// Begins a transaction, or says at once why this server cannot have the letter.
pub(super) fn begin(context: &Context, letter: Letter, out: &mut Vec<Effect>) -> State {
    if let Some(why) = misfit(context, &letter) {
        out.push(Effect::Fates(vec![Fate::Failed(why); letter.recipients.len()]));
        return ready(out);
    }
    let asked = letter.recipients.len().min(context.extensions.most_recipients());
    let too_many = || Fate::Deferred(context.about(Status::new(4, 5, 3), "takes fewer recipients at once"));
    let mut fates = vec![None; asked];
    fates.resize_with(letter.recipients.len(), || Some(too_many()));
    let ahead = context.extensions.pipelining;
    let transaction = Transaction { letter, fates, asked, answered: 0, refused: false, ahead, passed_over: 0 };
    send(out, command(context, &transaction.letter));
    if ahead {
        // RFC 2920 §3.1: MAIL and RCPT may be sent ahead, DATA as the last of them. With BDAT the bytes themselves
        // would follow, so its turn comes when somebody wants them.
        transaction.letter.recipients[..asked].iter().for_each(|one| send(out, rcpt::command(context, one)));
        if !context.extensions.chunking {
            send(out, data::COMMAND);
        }
    }
    State::ExpectMail(Box::new(transaction))
}

/// What the letter needs and the server has not. The driver converts what can be before it hands a letter in.
fn misfit(context: &Context, letter: &Letter) -> Option<Why> {
    let has = &context.extensions;
    if letter.require_tls && !(context.secure && has.require_tls) {
        // RFC 8689 §4.2.1, §5: 5.7.30.
        return Some(context.about(Status::new(5, 7, 30), "does not promise to pass the letter on only encrypted"));
    }
    if letter.international && !has.international {
        // RFC 6531 §3.5, RFC 5248: X.6.7.
        return Some(context.about(Status::new(5, 6, 7), "takes no addresses or headers beyond ASCII (SMTPUTF8)"));
    }
    if letter.eight_bit && !has.eight_bit {
        return Some(context.about(Status::new(5, 6, 3), "takes no 8-bit text, and the letter cannot be converted"));
    }
    let largest = has.largest().filter(|largest| letter.size > *largest)?;
    let what = format!("takes letters of up to {largest} bytes, and this one has {}", letter.size);
    Some(context.about(Status::new(5, 3, 4), &what))
}

fn command(context: &Context, letter: &Letter) -> String {
    let has = &context.extensions;
    let mut line = match &letter.sender {
        Some(sender) => format!("MAIL FROM:<{sender}>"),
        None => "MAIL FROM:<>".to_owned(),
    };
    if has.size.is_some() {
        let _ = write!(line, " SIZE={}", letter.size);
    }
    if letter.eight_bit {
        line.push_str(" BODY=8BITMIME");
    }
    if letter.international {
        line.push_str(" SMTPUTF8");
    }
    if letter.require_tls {
        line.push_str(" REQUIRETLS");
    }
    if has.notifications {
        match letter.ret {
            Some(Return::Full) => line.push_str(" RET=FULL"),
            Some(Return::Headers) => line.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(id) = &letter.envelope_id {
            let _ = write!(line, " ENVID={id}");
        }
    }
    line.push_str("\r\n");
    line
}

pub(super) fn answered(
    context: &Context,
    mut transaction: Box<Transaction>,
    reply: &FarReply,
    out: &mut Vec<Effect>,
) -> State {
    if reply.is_positive() {
        if !transaction.ahead {
            transaction.ask_next(context, out);
        }
        return State::ExpectRecipient(transaction);
    }
    transaction.settle_everybody(&reply.fate(&context.rules.far, (1, 0)));
    if transaction.ahead {
        transaction.refused = true;
        return State::ExpectRecipient(transaction);
    }
    transaction.finish(out);
    rset::rset(out)
}
