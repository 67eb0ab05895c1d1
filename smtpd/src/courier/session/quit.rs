//! QUIT.

use super::events::Effect;
use super::send;
use super::states::State;

pub(super) fn quit(out: &mut Vec<Effect>) -> State {
    send(out, "QUIT\r\n");
    State::ExpectQuit
}
