//! Plans: what an entry must say so that a request comes true. Nothing is changed here.

mod folders;
mod letters;

pub(crate) use folders::next_validity;
pub use folders::{create, delete, rename, subscribe};
pub use letters::{Arrival, append_place, arrivals, copy, expunge, keywords, store};

use crate::edges::mailbox::Refusal;
use crate::journal::record::Entry;

/// An entry to commit, or why not.
pub type Plan = Result<Entry, Refusal>;
