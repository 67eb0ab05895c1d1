//! Memory for octets on their way, lent while there are some: a session that waits holds none.

use std::sync::Mutex;

use super::lock;
use crate::limits;

/// Those that are not lent.
#[derive(Debug, Default)]
pub struct Pieces {
    small: Mutex<Vec<Box<[u8]>>>,
    large: Mutex<Large>,
}

#[derive(Debug, Default)]
struct Large {
    lent: usize,
    spare: Vec<Box<[u8]>>,
}

impl Pieces {
    /// One of them, or a new one.
    pub fn lend(&self) -> Lent<'_> {
        let spare = lock(&self.small).pop();
        Lent { piece: spare.unwrap_or_else(|| vec![0; limits::PIECE].into()), pieces: self }
    }

    /// A large one, if there is one, for whoever sends in bulk.
    pub fn lend_large(&self) -> Lent<'_> {
        let mut large = lock(&self.large);
        if large.lent >= limits::LARGE_PIECES {
            drop(large);
            return self.lend();
        }
        large.lent += 1;
        let spare = large.spare.pop();
        Lent { piece: spare.unwrap_or_else(|| vec![0; limits::LARGE_PIECE].into()), pieces: self }
    }
}

/// Goes back by itself.
#[derive(Debug)]
pub struct Lent<'a> {
    piece: Box<[u8]>,
    pieces: &'a Pieces,
}

impl Lent<'_> {
    /// The memory.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.piece
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        if piece.len() == limits::LARGE_PIECE {
            let mut large = lock(&self.pieces.large);
            large.lent -= 1;
            if large.spare.len() < limits::SPARE_LARGE_PIECES {
                large.spare.push(piece);
            }
            return;
        }
        let mut spare = lock(&self.pieces.small);
        if spare.len() < limits::SPARE_PIECES {
            spare.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_whoever_sends_in_bulk() {
        let pieces = Pieces::default();
        let lent: Vec<_> = (0..2 * limits::LARGE_PIECES).map(|_| pieces.lend_large()).collect();
        let large = lent.iter().filter(|lent| lent.piece.len() == limits::LARGE_PIECE).count();
        assert_eq!(large, limits::LARGE_PIECES);
        assert!(lent.iter().all(|lent| lent.piece.len() >= limits::PIECE));
        drop(lent);
        assert_eq!(lock(&pieces.large).spare.len(), limits::SPARE_LARGE_PIECES);
        assert_eq!(lock(&pieces.small).len(), limits::SPARE_PIECES);
        assert_eq!(pieces.lend_large().piece.len(), limits::LARGE_PIECE, "they came back");
        assert_eq!(lock(&pieces.large).lent, 0);
    }
}
