//! When one host of a domain cannot have a letter, another may, or another address of the same one (RFC 5321 §5.1; RFC 8689 §4.2.1
//! for REQUIRETLS): for whom it is asked, and whose word counts in the end.

use std::collections::BTreeSet;

use tokio::sync::watch;
use tokio::time::Instant;

use super::fate::{Fate, Why};
use super::limits;
use super::lost::Door;

/// Recipients by their numbers.
pub type Fates = Vec<(u16, Fate)>;

/// How a letter's connection was left by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was not lost.
    Kept,
    /// It was lost before any byte of the letter's text went out: nobody can have it.
    Unbegun,
    /// It was lost over the text, or after it: whoever has no answer may have the letter.
    OverText,
}

/// The addresses of a domain's hosts that were asked for a letter in one attempt.
#[derive(Debug, Clone)]
pub struct Asked {
    doors: Vec<Door>,
    /// Hosts that lack something: one of their addresses is as the other.
    lacking: Vec<String>,
    /// Hosts that had nothing for it, once for each address that said so.
    not_now: Vec<String>,
    /// Those of them that said so before they were ready, and the last that said it.
    away: (Vec<Door>, Option<Why>),
    /// All that were made, ready or not.
    connections: usize,
    /// How often all of the letter's text went out for a "not now".
    texts: usize,
    last: Ending,
    /// Who may have the letter, and nobody knows.
    unknown: BTreeSet<u16>,
    /// Some of those who are left were lacked something for: any host may have it.
    has_misfits: bool,
    /// Where it was lost over its text in earlier attempts, or was not wanted for now after it, the oldest first: there last.
    lost: Vec<Door>,
    failures: usize,
    /// Each of them costs a session of what the house may have at its proxy.
    is_through_proxy: bool,
    /// Whether its proxy has no room for one more session, and it waits for some.
    waits_for_room: watch::Sender<bool>,
    until: Instant,
}

impl Asked {
    /// It waits for room, or does so no longer.
    pub fn wait_for_room(&self, waits: bool) {
        self.waits_for_room.send_replace(waits);
    }

    /// Whether it does.
    #[must_use]
    pub fn waits_for_room(&self) -> watch::Receiver<bool> {
        self.waits_for_room.subscribe()
    }

    /// Nobody yet, of a letter that has had so many failed attempts there, and was lost over its text at those.
    #[must_use]
    pub fn none(failures: u32, lost: Vec<Door>) -> Self {
        Self {
            doors: Vec::new(),
            lacking: Vec::new(),
            not_now: Vec::new(),
            away: (Vec::new(), None),
            connections: 0,
            texts: 0,
            last: Ending::Kept,
            unknown: BTreeSet::new(),
            has_misfits: false,
            lost,
            failures: usize::try_from(failures).unwrap_or(limits::HOSTS),
            is_through_proxy: false,
            waits_for_room: watch::Sender::new(false),
            until: Instant::now() + limits::REACH,
        }
    }

    /// The same through a proxy, or not.
    #[must_use]
    pub fn through_proxy(self, is_through_proxy: bool) -> Self {
        Self { is_through_proxy, ..self }
    }

    /// Whether nobody was.
    #[must_use]
    pub const fn is_nobody(&self) -> bool {
        self.doors.is_empty()
    }

    /// Whether that host was.
    #[must_use]
    pub fn has_asked(&self, host: &str) -> bool {
        self.doors.iter().any(|door| door.host == host)
    }

    /// Whether that address was.
    #[must_use]
    pub fn has_been_at(&self, door: &Door) -> bool {
        self.doors.contains(door) || self.away.0.contains(door)
    }

    /// Whether that host is not asked any more, whatever addresses it has.
    #[must_use]
    pub fn is_done_with(&self, host: &str) -> bool {
        self.lacking.iter().any(|lacking| lacking == host) || !self.may_say_not_now(host)
    }

    /// How long ago a letter was lost there over its text, among all such; `None`: it was not.
    #[must_use]
    pub fn lost_at(&self, door: &Door) -> Option<usize> {
        self.lost.iter().position(|lost| lost == door)
    }

    /// Whether it is known by address, not by its name alone.
    #[must_use]
    pub fn knows(&self, host: &str) -> bool {
        self.doors.iter().chain(&self.lost).chain(&self.away.0).any(|door| door.host == host)
    }

    /// One more connection was made.
    pub const fn connected(&mut self) {
        self.connections += 1;
    }

    /// Whether no further connection is made.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        let through = limits::NOT_NOW_THROUGH + usize::from(self.failures > 0);
        self.connections.max(self.doors.len()) >= limits::HOSTS
            || self.is_through_proxy && self.not_now.len() >= through
    }

    /// That one had nothing for anybody now, before it was ready for a letter.
    pub fn turned_away(&mut self, door: Door, why: Why) {
        self.not_now.push(door.host.clone());
        self.away.0.push(door);
        self.away.1 = Some(why);
    }

    /// Why the last of those.
    #[must_use]
    pub const fn turned_away_by(&self) -> Option<&Why> {
        self.away.1.as_ref()
    }

    /// All of a letter of so many octets went out, and then there was nothing for it now.
    pub const fn carried_in_vain(&mut self, size: u32) {
        self.texts += if size > limits::CARRIED_ONCE { limits::TEXTS } else { 1 };
    }

    /// That one has answered so; whether somebody may have the letter now, and nobody knows.
    pub fn answered(&mut self, door: Door, fates: &Fates, ending: Ending) -> bool {
        self.last = ending;
        let is_unknown = |fate| ending == Ending::OverText && is_unanswered(fate);
        let unknown: Vec<u16> = fates.iter().filter(|(_, fate)| is_unknown(fate)).map(|(number, _)| *number).collect();
        self.unknown.extend(&unknown);
        if fates.iter().any(|(_, fate)| is_misfit(fate)) {
            self.lacking.push(door.host.clone());
        }
        if fates.iter().any(|(number, fate)| self.has_nothing_now(*number, fate)) {
            self.not_now.push(door.host.clone());
        }
        self.doors.push(door);
        !unknown.is_empty()
    }

    /// Who may have the letter, and nobody knows.
    #[must_use]
    pub const fn unknown(&self) -> &BTreeSet<u16> {
        &self.unknown
    }

    fn has_nothing_now(&self, number: u16, fate: &Fate) -> bool {
        !self.unknown.contains(&number) && (is_not_now(fate) || (self.last == Ending::Unbegun && is_lost(fate)))
    }

    /// Whether one more "not now" of that host may be asked for.
    fn may_say_not_now(&self, host: &str) -> bool {
        let said = self.not_now.iter().filter(|one| *one == host).count();
        match said {
            0 => self.has_misfits || self.hosts_not_now() < self.most(limits::HOSTS_NOT_NOW),
            said => said < self.most(limits::ADDRESSES_NOT_NOW),
        }
    }

    fn hosts_not_now(&self) -> usize {
        self.not_now.iter().collect::<BTreeSet<_>>().len()
    }

    /// One more with each attempt that failed, or a third would never be asked.
    fn most(&self, at_first: usize) -> usize {
        at_first.saturating_add(self.failures).min(limits::HOSTS)
    }

    /// For whom another is to be asked.
    ///
    /// Nobody once one recipient has the letter: that must be written down before anything else takes time; the others have
    /// another attempt soon. Nor who may have it, since a connection was lost over its text.
    #[must_use]
    pub fn left(&mut self, fates: &Fates) -> Vec<u16> {
        let is_late = self.doors.len() >= limits::HOSTS_NOT_NOW && Instant::now() >= self.until;
        if is_late || self.is_spent() || is_taken(fates) {
            return Vec::new();
        }
        self.has_misfits = fates.iter().any(|(_, fate)| is_misfit(fate));
        let is_enough = self.texts >= limits::TEXTS
            || self.hosts_not_now() >= self.most(limits::HOSTS_NOT_NOW)
                && (self.has_misfits || self.not_now.iter().all(|host| !self.may_say_not_now(host)));
        let may = |number: u16, fate: &Fate| is_misfit(fate) || (!is_enough && self.has_nothing_now(number, fate));
        fates.iter().filter(|(number, fate)| may(*number, fate)).map(|(number, _)| *number).collect()
    }
}

/// Whether somebody has the letter.
#[must_use]
pub fn is_taken(fates: &[(u16, Fate)]) -> bool {
    fates.iter().any(|(_, fate)| matches!(fate, Fate::Delivered(_)))
}

/// Whether nobody has the letter there, and somebody may have it another time.
#[must_use]
pub fn is_refused_for_now(fates: &[(u16, Fate)]) -> bool {
    !is_taken(fates) && fates.iter().any(|(_, fate)| is_not_now(fate))
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

/// Whether no far server has said anything of it.
#[must_use]
pub const fn is_unanswered(fate: &Fate) -> bool {
    matches!(fate, Fate::Deferred(why) if why.said.is_none())
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

    fn door(host: &str, last: u8) -> Door {
        Door { host: host.to_owned(), address: [192, 0, 2, last].into() }
    }

    /// After the answers of so many hosts, the last of them the latest.
    fn asked(failures: u32, answers: &[Fates]) -> (Asked, Fates) {
        let (mut asked, mut fates) = (Asked::none(failures, Vec::new()), Fates::new());
        for (answer, name) in answers.iter().zip('a'..) {
            asked.answered(door(&name.to_string(), 1), answer, Ending::Kept);
            merge(&mut fates, answer.clone());
        }
        (asked, fates)
    }

    fn left(failures: u32, answers: &[Fates]) -> Vec<u16> {
        let (mut asked, fates) = asked(failures, answers);
        asked.left(&fates)
    }

    #[test]
    fn for_whom_another_is_asked() {
        let nobody = Vec::<u16>::new();
        assert_eq!(left(0, &[vec![(0, not_now()), (1, never()), (2, lacks())]]), [0, 2]);
        let too_many = Fate::Deferred(Why { status: Status::new(4, 5, 3), ..said(4, 452) });
        assert_eq!(left(0, &[vec![(0, too_many)]]), [0], "it took nobody");
        for fates in [vec![(0, lost())], vec![(0, taken()), (1, not_now())], vec![(0, never())]] {
            assert_eq!(left(0, std::slice::from_ref(&fates)), nobody, "{fates:?}");
        }
        assert_eq!(left(0, &vec![vec![(0, lacks())]; limits::HOSTS - 1]), [0]);
        assert_eq!(left(0, &vec![vec![(0, lacks())]; limits::HOSTS]), nobody);
    }

    /// Whether these hosts are asked further, after those answers.
    fn open(failures: u32, answers: &[Fates], hosts: [&str; 3]) -> [bool; 3] {
        let (mut asked, fates) = asked(failures, answers);
        let is_any_left = !asked.left(&fates).is_empty();
        hosts.map(|host| is_any_left && !asked.is_done_with(host))
    }

    #[test]
    fn how_many_hosts_may_say_not_now() {
        let (waits, lack) = (|| vec![(0, not_now())], || vec![(0, lacks())]);
        assert_eq!(open(0, &[waits()], ["a", "b", "c"]), [true; 3]);
        assert_eq!(
            open(0, &[waits(), waits()], ["a", "b", "c"]),
            [true, true, false],
            "only other addresses of theirs"
        );
        assert_eq!(
            open(0, &[lack(), lack(), waits()], ["a", "c", "d"]),
            [false, true, true],
            "who lacks is not among them"
        );
        let mixed = || vec![(0, not_now()), (2, lacks())];
        assert_eq!(left(0, &[mixed(), mixed()]), [2]);
        assert_eq!(open(0, &[mixed(), mixed()], ["a", "b", "c"]), [false, false, true]);
        assert_eq!(open(1, &[waits(), waits()], ["a", "b", "c"]), [true; 3], "a third is reached at a later attempt");
        assert_eq!(open(1, &[waits(), waits(), waits()], ["b", "c", "d"]), [true, true, false]);
        assert_eq!(left(u32::MAX, &vec![waits(); limits::HOSTS]), Vec::<u16>::new());
    }

    #[test]
    fn how_many_addresses_of_a_host_may_say_not_now() {
        let fates = vec![(0, not_now())];
        for (failures, expected) in [(0, limits::ADDRESSES_NOT_NOW), (1, limits::ADDRESSES_NOT_NOW + 1)] {
            let mut asked = Asked::none(failures, Vec::new());
            let times = (1..9).find(|last| {
                asked.answered(door("a", *last), &fates, Ending::Kept);
                asked.is_done_with("a")
            });
            assert_eq!(times.map(usize::from), Some(expected));
            assert!(asked.has_been_at(&door("a", 1)) && !asked.has_been_at(&door("b", 1)));
            assert_eq!(asked.left(&fates), [0], "another host may have it");
        }
        let mut asked = Asked::none(0, Vec::new());
        for (host, last) in [("a", 1), ("a", 2), ("b", 1)] {
            asked.answered(door(host, last), &fates, Ending::Kept);
            assert_eq!(asked.left(&fates), [0], "{host} {last}");
        }
        asked.answered(door("b", 2), &fates, Ending::Kept);
        assert_eq!(asked.left(&fates), Vec::<u16>::new(), "two of each of two are enough at first");
    }

    #[test]
    fn through_a_proxy_few_say_not_now() {
        let fates = vec![(0, not_now())];
        for (failures, expected) in [(0, 2), (1, 3), (9, 3)] {
            let mut asked = Asked::none(failures, Vec::new()).through_proxy(true);
            let times = ('a'..='z').position(|host| {
                asked.answered(door(&host.to_string(), 1), &fates, Ending::Kept);
                asked.left(&fates).is_empty()
            });
            assert_eq!(times.map(|at| at + 1), Some(expected), "{failures}");
        }
    }

    #[test]
    fn two_have_all_their_time_and_the_others_what_is_left() {
        let mut asked = Asked { until: Instant::now(), ..Asked::none(9, Vec::new()) };
        let fates = vec![(0, not_now()), (1, lacks())];
        asked.answered(door("a", 1), &fates, Ending::Kept);
        assert_eq!(asked.left(&fates), [0, 1]);
        asked.answered(door("b", 1), &fates, Ending::Kept);
        assert_eq!(asked.left(&fates), Vec::<u16>::new());
    }

    #[test]
    fn a_whole_text_goes_out_twice_at_most_and_a_large_one_once() {
        let fates = vec![(0, not_now()), (1, lacks())];
        for (size, times) in [(limits::CARRIED_ONCE, limits::TEXTS), (limits::CARRIED_ONCE + 1, 1)] {
            let mut asked = Asked::none(9, Vec::new());
            for (carried, name) in (1..=times).zip('a'..) {
                asked.answered(door(&name.to_string(), 1), &fates, Ending::Kept);
                assert_eq!(asked.left(&fates), [0, 1], "before any text {carried} of {size}");
                asked.carried_in_vain(size);
                let next: &[u16] = if carried < times { &[0, 1] } else { &[1] };
                assert_eq!(asked.left(&fates), next, "after text {carried} of {size}");
            }
        }
        let refused = |fates: &[(u16, Fate)]| is_refused_for_now(fates);
        assert!(refused(&fates) && !refused(&[(0, not_now()), (1, taken())]) && !refused(&[(0, lost())]));
    }

    #[test]
    fn every_connection_counts() {
        let fates = vec![(0, lacks())];
        let mut asked = Asked::none(0, Vec::new());
        (1..limits::HOSTS).for_each(|_| asked.connected());
        asked.answered(door("a", 1), &fates, Ending::Kept);
        assert_eq!((asked.left(&fates), asked.is_spent()), (vec![0], false), "it was one of these");
        asked.connected();
        assert_eq!((asked.left(&fates), asked.is_spent()), (Vec::new(), true));
    }

    fn lost() -> Fate {
        Fate::Deferred(Why::ours(Status::new(4, 4, 2), "the connection was closed"))
    }

    #[test]
    fn lost_before_the_text_another_is_asked() {
        for (ending, next) in [(Ending::Unbegun, vec![0, 2]), (Ending::OverText, vec![])] {
            let mut asked = Asked::none(0, Vec::new());
            let fates = vec![(0, lost()), (1, never()), (2, lost())];
            asked.answered(door("a", 1), &fates, ending);
            assert_eq!(asked.left(&fates), next, "{ending:?}");
        }
    }

    #[test]
    fn who_may_have_it_is_asked_for_nowhere_else_in_this_attempt() {
        let mut asked = Asked::none(0, Vec::new());
        let mut fates = vec![(0, lost()), (1, not_now())];
        asked.answered(door("a", 1), &fates, Ending::OverText);
        assert_eq!(asked.left(&fates), [1], "it was refused before the text");
        let next = vec![(1, lost())];
        asked.answered(door("b", 1), &next, Ending::Unbegun);
        merge(&mut fates, next);
        assert_eq!(asked.left(&fates), [1]);
        assert_eq!(asked.unknown().iter().collect::<Vec<_>>(), [&0]);
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
