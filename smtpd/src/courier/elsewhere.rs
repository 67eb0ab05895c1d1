//! When one host of a domain cannot have a letter, another may (RFC 5321 §5.1; RFC 8689 §4.2.1 for REQUIRETLS): for whom it is
//! asked, and whose word counts in the end.

use tokio::time::Instant;

use super::fate::{Fate, Why};
use super::limits;

/// Recipients by their numbers.
pub type Fates = Vec<(u16, Fate)>;

/// The hosts of a domain that were asked for a letter in one attempt.
#[derive(Debug)]
pub struct Asked {
    names: Vec<String>,
    not_now: usize,
    /// The last one was lost before any byte of the letter's text went out: nobody can have it.
    lost_unbegun: bool,
    /// How many may say "not now": one more with each attempt that failed, or a third host would never be asked.
    most: usize,
    until: Instant,
}

impl Asked {
    /// Nobody yet, of a letter that has had so many failed attempts there.
    #[must_use]
    pub fn none(failures: u32) -> Self {
        let failures = usize::try_from(failures).unwrap_or(limits::HOSTS);
        let most = limits::HOSTS_NOT_NOW.saturating_add(failures).min(limits::HOSTS);
        Self { names: Vec::new(), not_now: 0, lost_unbegun: false, most, until: Instant::now() + limits::REACH }
    }

    /// By name.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// That one has answered so; `lost_unbegun`: and was lost before any byte of the letter's text went out.
    pub fn answered(&mut self, host: &str, fates: &Fates, lost_unbegun: bool) {
        self.names.push(host.to_owned());
        self.lost_unbegun = lost_unbegun;
        self.not_now += usize::from(fates.iter().any(|(_, fate)| self.has_nothing_now(fate)));
    }

    fn has_nothing_now(&self, fate: &Fate) -> bool {
        is_not_now(fate) || (self.lost_unbegun && is_lost(fate))
    }

    /// For whom another host is to be asked.
    ///
    /// Nobody once one recipient has the letter: that must be written down before anything else takes time; the others have
    /// another attempt soon. Nor when a connection was lost over the letter's text: it may have been taken.
    #[must_use]
    pub fn left(&self, fates: &Fates) -> Vec<u16> {
        let is_late = self.names.len() >= limits::HOSTS_NOT_NOW && Instant::now() >= self.until;
        if is_late || self.names.len() >= limits::HOSTS || is_taken(fates) {
            return Vec::new();
        }
        let may = |fate: &Fate| is_misfit(fate) || (self.has_nothing_now(fate) && self.not_now < self.most);
        fates.iter().filter(|(_, fate)| may(fate)).map(|(number, _)| *number).collect()
    }
}

/// Whether somebody has the letter.
#[must_use]
pub fn is_taken(fates: &[(u16, Fate)]) -> bool {
    fates.iter().any(|(_, fate)| matches!(fate, Fate::Delivered(_)))
}

/// Whether that host has said "not now".
const fn is_not_now(fate: &Fate) -> bool {
    matches!(fate, Fate::Deferred(why) if why.said.is_some())
}

/// Whether the connection was lost, or silent.
#[must_use]
pub const fn is_lost(fate: &Fate) -> bool {
    matches!(fate, Fate::Deferred(why) if why.said.is_none() && why.status.subject == 4)
}

/// Where there is another host, who was not asked for there has not failed: it is another attempt's turn.
pub fn postpone(fates: &mut Fates) {
    for (_, fate) in fates.iter_mut().filter(|(_, fate)| is_misfit(fate)) {
        let why = fate.why();
        *fate = Fate::Deferred(Why { status: why.status.of_class(4), ..why.clone() });
    }
}

/// Whether this is why somebody was postponed.
#[must_use]
pub fn is_postponed(why: &Why) -> bool {
    why.status.class == 4 && is_lack(why)
}

/// Whether that host only lacks what the letter needs.
fn is_misfit(fate: &Fate) -> bool {
    matches!(fate, Fate::Failed(why) if is_lack(why))
}

fn is_lack(why: &Why) -> bool {
    why.said.is_none() && LACKS.contains(&(why.status.subject, why.status.detail))
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

    fn taken() -> Fate {
        Fate::Delivered(said(2, 250))
    }

    /// After the answers of so many hosts, the last of them the latest.
    fn left(failures: u32, answers: &[Fates]) -> Vec<u16> {
        let (mut asked, mut fates) = (Asked::none(failures), Fates::new());
        for (answer, name) in answers.iter().zip('a'..) {
            asked.answered(&name.to_string(), answer, false);
            merge(&mut fates, answer.clone());
        }
        asked.left(&fates)
    }

    #[test]
    fn for_whom_another_is_asked() {
        let nobody = Vec::<u16>::new();
        assert_eq!(left(0, &[vec![(0, not_now()), (1, never()), (2, lacks())]]), [0, 2]);
        let too_many = Fate::Deferred(Why { status: Status::new(4, 5, 3), ..said(4, 452) });
        assert_eq!(left(0, &[vec![(0, too_many)]]), [0], "it took nobody");
        let lost = Fate::Deferred(Why::ours(Status::new(4, 4, 2), "the connection was closed"));
        for fates in [vec![(0, lost)], vec![(0, taken()), (1, not_now())], vec![(0, never())]] {
            assert_eq!(left(0, std::slice::from_ref(&fates)), nobody, "{fates:?}");
        }
        assert_eq!(left(0, &vec![vec![(0, lacks())]; limits::HOSTS - 1]), [0]);
        assert_eq!(left(0, &vec![vec![(0, lacks())]; limits::HOSTS]), nobody);
    }

    #[test]
    fn how_many_may_say_not_now() {
        let (waits, lack) = (|| vec![(0, not_now())], || vec![(0, lacks())]);
        assert_eq!(left(0, &[waits(), waits()]), Vec::<u16>::new());
        assert_eq!(left(0, &[lack(), lack(), waits()]), [0], "those that only lack something are not among them");
        assert_eq!(left(0, &[vec![(0, not_now()), (2, lacks())], vec![(0, not_now()), (2, lacks())]]), [2]);
        assert_eq!(left(1, &[waits(), waits()]), [0], "a third is reached at a later attempt");
        assert_eq!(left(1, &[waits(), waits(), waits()]), Vec::<u16>::new());
        assert_eq!(left(u32::MAX, &vec![waits(); limits::HOSTS]), Vec::<u16>::new());
    }

    #[test]
    fn two_have_all_their_time_and_the_others_what_is_left() {
        let mut asked = Asked { until: Instant::now(), ..Asked::none(9) };
        let fates = vec![(0, not_now()), (1, lacks())];
        asked.answered("a", &fates, false);
        assert_eq!(asked.left(&fates), [0, 1]);
        asked.answered("b", &fates, false);
        assert_eq!(asked.left(&fates), Vec::<u16>::new());
    }

    #[test]
    fn lost_before_the_text_another_is_asked() {
        let lost = || Fate::Deferred(Why::ours(Status::new(4, 4, 2), "the connection was closed"));
        for (begun, next) in [(false, vec![0, 2]), (true, vec![])] {
            let mut asked = Asked::none(0);
            let fates = vec![(0, lost()), (1, never()), (2, lost())];
            asked.answered("a", &fates, !begun);
            assert_eq!(asked.left(&fates), next, "begun: {begun}");
            asked.answered("b", &fates, !begun);
            assert_eq!(asked.left(&fates), Vec::<u16>::new(), "two are enough at first");
        }
    }

    #[test]
    fn who_is_postponed() {
        let mut fates = vec![(0, taken()), (1, lacks()), (2, never()), (3, not_now())];
        postpone(&mut fates);
        let postponed: Vec<u16> = fates
            .iter()
            .filter(|(_, fate)| matches!(fate, Fate::Deferred(why) if is_postponed(why)))
            .map(|one| one.0)
            .collect();
        assert_eq!(postponed, [1]);
        assert_eq!((&fates[0].1, &fates[2].1, &fates[3].1), (&taken(), &never(), &not_now()));
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
