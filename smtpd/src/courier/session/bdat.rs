//! BDAT (RFC 3030): the letter in one chunk, counted, so that nothing in it can be taken for its end.

use super::events::Effect;
use super::letter::Transaction;
use super::send;
use super::states::State;

pub(super) fn bdat(transaction: Box<Transaction>, out: &mut Vec<Effect>) -> State {
    send(out, format!("BDAT {} LAST\r\n", transaction.letter.size));
    out.push(Effect::WriteBytes);
    State::ExpectWritten(transaction)
}
