//! Memory for octets on their way, lent while there are some: a session that waits holds none.

use std::sync::Mutex;

use super::lock;
use crate::limits;

/// A piece.
pub type Piece = Box<[u8; limits::PIECE]>;

/// Those that are not lent.
#[derive(Debug, Default)]
pub struct Pieces(Mutex<Vec<Piece>>);

impl Pieces {
    /// One of them, or a new one.
    pub fn lend(&self) -> Lent<'_> {
        let piece = lock(&self.0).pop().unwrap_or_else(|| Box::new([0; limits::PIECE]));
        Lent { piece: Some(piece), pieces: self }
    }
}

/// Goes back by itself.
#[derive(Debug)]
pub struct Lent<'a> {
    piece: Option<Piece>,
    pieces: &'a Pieces,
}

impl Lent<'_> {
    /// The memory.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.piece.as_mut().map_or(&mut [], |piece| &mut piece[..])
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut spare = lock(&self.pieces.0);
        if spare.len() < limits::SPARE_PIECES {
            spare.extend(self.piece.take());
        }
    }
}
