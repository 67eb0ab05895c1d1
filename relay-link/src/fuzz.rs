//! What the fuzz targets call: one function for every kind of hostile bytes this crate reads. They panic when a
//! promise does not hold.

#![allow(clippy::expect_used, reason = "to panic is how a fuzz target tells")]

use crate::code::PairingCode;
use crate::frame::{self, Frames};
use crate::hello::{Answer, Hello};
use crate::stream::{OPENING, Opening};
use crate::{inbound, outbound};

/// A pairing code as somebody typed it: what is read is printed so that it is read the same.
pub fn code(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(code) = text.parse::<PairingCode>() {
        assert_eq!(code.to_string().parse(), Ok(code), "a code changes on its way");
    }
}

/// What a peer says on a control connection, as each kind of message.
pub fn messages(bytes: &[u8]) {
    read::<Hello>(bytes);
    read::<Answer>(bytes);
    read::<inbound::ToHome>(bytes);
    read::<inbound::FromHome>(bytes);
    read::<outbound::ToHome>(bytes);
    read::<outbound::FromHome>(bytes);
    if let Some(opening) = bytes.first_chunk::<OPENING>() {
        let _ = Opening::read(opening);
    }
}

fn read<M: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let mut frames = Frames::default();
    frames.push(bytes);
    while let Ok(Some(message)) = frames.take::<M>() {
        let (mut wire, mut again) = (Vec::new(), Frames::default());
        frame::encode(&message, &mut wire).expect("what was a message is one");
        again.push(&wire);
        assert_eq!(again.take::<M>().expect("it is read"), Some(message), "a message changes on its way");
    }
}
