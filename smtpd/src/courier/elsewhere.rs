//! When one host of a domain cannot have a letter, another may (RFC 5321 §5.1; RFC 8689 §4.2.1 for REQUIRETLS): for whom it is
//! asked, and whose word counts in the end.

use super::fate::{Fate, Why};
use super::limits;

/// Recipients by their numbers.
pub type Fates = Vec<(u16, Fate)>;

/// For whom another host is to be asked, after so many were.
///
/// Nobody once one recipient has the letter: that must be written down before anything else takes time; the others have
/// another attempt soon. Nor when a connection was lost: the letter may have been taken.
#[must_use]
pub fn left(fates: &Fates, asked: usize) -> Vec<u16> {
    if fates.iter().any(|(_, fate)| matches!(fate, Fate::Delivered(_))) {
        return Vec::new();
    }
    let may = |fate: &Fate| match fate {
        Fate::Deferred(why) => asked < limits::HOSTS_NOT_NOW && why.said.is_some() && !why.is_too_many_recipients(),
        fate => asked < limits::HOSTS && is_misfit(fate),
    };
    fates.iter().filter(|(_, fate)| may(fate)).map(|(number, _)| *number).collect()
}

/// Whether that host only lacks what the letter needs.
fn is_misfit(fate: &Fate) -> bool {
    matches!(fate, Fate::Failed(why) if why.said.is_none() && LACKS.contains(&(why.status.subject, why.status.detail)))
}

/// REQUIRETLS, SMTPUTF8, 8BITMIME, SIZE, as [`misfit`](super::session) names them.
const LACKS: [(u16, u16); 4] = [(7, 30), (6, 7), (6, 3), (3, 4)];

/// What holds after another host was asked for some: its word, but where it only lacks something the first host's hope stays, and the
/// other way round.
pub fn merge(before: &mut Fates, after: Fates) {
    for (number, fate) in after {
        match before.iter_mut().find(|(one, _)| *one == number) {
            Some((_, had)) if matches!(had, Fate::Deferred(_)) && is_misfit(&fate) => {}
            Some((_, had)) => *had = fate,
            None => before.push((number, fate)),
        }
    }
}

/// What holds when no other host could be reached: who may yet take what the first one lacked leaves hope.
pub fn unreached(before: &mut Fates, nowhere: &Fate) {
    let Fate::Deferred(Why { .. }) = nowhere else { return };
    for (_, fate) in before.iter_mut().filter(|(_, fate)| is_misfit(fate)) {
        *fate = nowhere.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::fate::Status;

    fn said(class: u8, code: u16) -> Why {
        let said = Some(("mx.far.test".to_owned(), code));
        Why { said, ..Why::ours(Status::new(class, 0, 0), "words") }
    }

    fn not_now() -> Fate {
        Fate::Deferred(said(4, 451))
    }

    fn lacks() -> Fate {
        Fate::Failed(Why::ours(Status::new(5, 7, 30), "does not promise"))
    }

    fn never() -> Fate {
        Fate::Failed(said(5, 550))
    }

    #[test]
    fn for_whom_another_is_asked() {
        assert_eq!(left(&vec![(0, not_now()), (1, never()), (2, lacks())], 1), [0, 2]);
        assert_eq!(left(&vec![(0, not_now()), (2, lacks())], limits::HOSTS_NOT_NOW), [2]);
        assert_eq!(left(&vec![(2, lacks())], limits::HOSTS), Vec::<u16>::new());
        let lost = Fate::Deferred(Why::ours(Status::new(4, 4, 2), "the connection was closed"));
        let taken = Fate::Delivered(said(2, 250));
        let too_many = Fate::Deferred(Why { status: Status::new(4, 5, 3), ..said(4, 452) });
        for fates in [vec![(0, lost)], vec![(0, taken), (1, not_now())], vec![(0, too_many)], vec![(0, never())]] {
            assert_eq!(left(&fates, 1), Vec::<u16>::new(), "{fates:?}");
        }
    }

    #[test]
    fn whose_word_counts() {
        let after = |first: Fate, second: Fate| {
            let mut fates = vec![(0, first)];
            merge(&mut fates, vec![(0, second)]);
            fates.remove(0).1
        };
        assert_eq!(after(not_now(), lacks()), not_now());
        assert_eq!(after(lacks(), not_now()), not_now());
        assert_eq!(after(not_now(), never()), never());
        let mut fates = vec![(0, lacks()), (1, never())];
        unreached(&mut fates, &never());
        assert_eq!(fates, [(0, lacks()), (1, never())], "there is no other");
        unreached(&mut fates, &not_now());
        assert_eq!(fates, [(0, not_now()), (1, never())]);
    }
}
