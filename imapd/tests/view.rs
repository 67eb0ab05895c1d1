//! Sequence numbers are a promise to one client: whatever happens in whatever order, a client that applies what it
//! is told sees exactly the session's view, and in the end the folder.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::RefCell;
use std::rc::Rc;

use imapd::facts::FolderFacts;
use imapd::view::{Expunges, News, View};
use proptest::prelude::*;
use spool::edges::mailbox::{Event, Fact, Folder, flag};
use spool::names::{FolderId, LetterId};

fn fact(uid: u32, modseq: u64) -> Fact {
    Fact { uid, letter: LetterId([uid as u8; 16]), flags: 0, keywords: 0, modseq, arrived: 0, size: 1 }
}

fn folder(uid_next: u32, modseq: u64) -> Folder {
    Folder {
        id: FolderId(1),
        name: "INBOX".to_owned(),
        uid_validity: 1,
        uid_next,
        special_use: None,
        messages: 0,
        unseen: 0,
        recent: 0,
        deleted: 0,
        bytes: 0,
        modseq,
    }
}

/// The keeper's folder: what is, and the events every session gets.
struct Truth {
    letters: Vec<Fact>,
    next: u32,
    modseq: u64,
}

impl Truth {
    fn new(count: u32) -> Self {
        Self { letters: (1..=count).map(|uid| fact(uid, 1)).collect(), next: count + 1, modseq: 1 }
    }

    fn open(&self, facts: &Rc<RefCell<FolderFacts>>) -> View {
        View::open(facts.clone(), &folder(self.next, self.modseq), Some(self.letters.clone()), self.next, false)
    }

    fn add(&mut self) -> Event {
        self.modseq += 1;
        let fact = fact(self.next, self.modseq);
        self.next += 1;
        self.letters.push(fact);
        Event::Added(vec![fact])
    }

    fn expunge(&mut self, place: usize) -> Option<Event> {
        let gone = (!self.letters.is_empty()).then(|| self.letters.remove(place % self.letters.len()))?;
        self.modseq += 1;
        Some(Event::Expunged(vec![(gone.uid, gone.uid)]))
    }

    fn flag(&mut self, place: usize) -> Option<Event> {
        let length = self.letters.len();
        let fact = self.letters.get_mut(place.checked_rem(length)?)?;
        self.modseq += 1;
        (fact.flags, fact.modseq) = (fact.flags ^ flag::SEEN, self.modseq);
        Some(Event::Flags(vec![(fact.uid, fact.flags, 0, self.modseq)]))
    }
}

/// What a client believes: a letter it knows the flags of, by sequence number. New ones are unknown until fetched.
#[derive(Debug, Default)]
struct Client {
    flags: Vec<Option<u8>>,
}

impl Client {
    fn opens(view: &View) -> Self {
        Self { flags: view.uids().iter().map(|uid| view.facts().get(*uid).map(|fact| fact.flags)).collect() }
    }

    fn hears(&mut self, view: &View, news: &[News]) {
        for one in news {
            match one {
                News::Expunge(number) => drop(self.flags.remove(*number as usize - 1)),
                News::Exists(count) => {
                    assert!(*count as usize >= self.flags.len(), "EXISTS never shrinks");
                    self.flags.resize(*count as usize, None);
                }
                News::Flags { number, uid } => {
                    assert_eq!(view.number(*uid), Some(*number));
                    self.flags[*number as usize - 1] = Some(view.facts().get(*uid).unwrap().flags);
                }
                News::Recent(_) | News::Keywords => {}
            }
        }
        assert_eq!(self.flags.len(), view.exists() as usize);
    }
}

fn uids(letters: &[Fact]) -> Vec<u32> {
    letters.iter().map(|fact| fact.uid).collect()
}

#[test]
fn expunges_wait_while_numbers_are_in_use() {
    let mut truth = Truth::new(3);
    let mut view = truth.open(&Rc::default());
    view.absorb(truth.expunge(0).unwrap());
    view.absorb(truth.add());
    assert_eq!(view.news(Expunges::HoldBack), [News::Exists(4), News::Recent(1)]);
    assert_eq!(view.number(2), Some(2), "numbers stand still");
    assert!(view.facts().get(1).is_none(), "but the letter is gone");
    assert_eq!(view.news(Expunges::Tell), [News::Expunge(1)]);
    assert_eq!(view.uids(), [2, 3, 4]);
    assert!(!view.has_news(Expunges::Tell));
}

#[test]
fn many_expunges_are_told_from_the_end() {
    let mut truth = Truth::new(5);
    let mut view = truth.open(&Rc::default());
    view.absorb(Event::Expunged(vec![(1, 2), (4, 4)]));
    assert_eq!(view.news(Expunges::Tell), [News::Expunge(4), News::Expunge(2), News::Expunge(1)]);
    assert_eq!(view.uids(), [3, 5]);
    truth.next += 1;
}

#[test]
fn a_letter_that_came_and_went_untold_is_never_told() {
    let mut truth = Truth::new(1);
    let mut view = truth.open(&Rc::default());
    view.absorb(truth.add());
    view.absorb(truth.expunge(1).unwrap());
    assert!(!view.has_news(Expunges::Tell));
    assert!(view.news(Expunges::Tell).is_empty());
}

#[test]
fn flags_of_a_letter_that_is_gone_are_not_told() {
    let mut truth = Truth::new(2);
    let mut view = truth.open(&Rc::default());
    view.absorb(truth.flag(0).unwrap());
    view.absorb(truth.expunge(0).unwrap());
    assert_eq!(view.news(Expunges::HoldBack), []);
    assert_eq!(view.news(Expunges::Tell), [News::Expunge(1)]);
}

#[test]
fn a_deleted_folder_empties() {
    let mut view = Truth::new(2).open(&Rc::default());
    view.absorb(Event::FolderGone);
    assert!(view.gone());
    assert_eq!(view.news(Expunges::Tell), [News::Expunge(2), News::Expunge(1)]);
    assert_eq!(view.exists(), 0);
}

#[test]
fn recent_are_those_from_the_keepers_mark_on() {
    let truth = Truth::new(4);
    let view = View::open(Rc::default(), &folder(5, 1), Some(truth.letters), 3, false);
    assert_eq!(view.recent(), 2);
    assert!(!view.is_recent(2) && view.is_recent(3));
}

// RFC 3501 §2.3.2: the first session that hears of a letter, and no other; one that only looks takes it from nobody.
#[test]
fn a_new_letter_is_recent_for_one_session() {
    let (mut truth, facts) = (Truth::new(1), Rc::default());
    let mut looks = View::open(Rc::clone(&facts), &folder(2, 1), Some(truth.letters.clone()), 2, true);
    let (mut one, mut two) = (truth.open(&facts), truth.open(&facts));
    let added = truth.add();
    looks.absorb(added.clone());
    two.absorb(added.clone());
    one.absorb(added);
    let recent = [&looks, &one, &two].map(|view| view.is_recent(2));
    assert_eq!(recent, [true, false, true]);
    assert_eq!(one.news(Expunges::Tell), [News::Exists(2), News::Recent(0)]);
    assert_eq!(two.news(Expunges::Tell), [News::Exists(2), News::Recent(1)]);
    let added = truth.add();
    one.absorb(added.clone());
    two.absorb(added);
    assert!(one.is_recent(3) && !two.is_recent(3) && two.is_recent(2));
    let later = truth.open(&facts);
    assert_eq!((later.recent(), later.exists()), (0, 3));
}

#[test]
fn a_keyword_is_told_to_every_session_of_the_owner() {
    let (truth, facts) = (Truth::new(1), Rc::default());
    let (mut one, mut two) = (truth.open(&facts), truth.open(&facts));
    one.absorb(Event::Keyword(0, "$Forwarded".to_owned()));
    two.absorb(Event::Keyword(0, "$Forwarded".to_owned()));
    assert_eq!(one.news(Expunges::Tell), [News::Keywords]);
    assert_eq!(two.news(Expunges::Tell), [News::Keywords]);
    assert_eq!(two.facts().keywords(), ["$Forwarded"]);
}

#[derive(Debug, Clone)]
enum Act {
    Add,
    Expunge(usize),
    Flag(usize),
    /// The session takes so many of the events that wait for it.
    Hear(usize, usize),
    /// The session is told its news; `true`: expunges too.
    Tell(usize, bool),
    /// The session closes the folder and opens it again.
    Reopen(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Add),
        2 => (0usize..20).prop_map(Act::Expunge),
        2 => (0usize..20).prop_map(Act::Flag),
        4 => (0usize..3, 1usize..5).prop_map(|(who, count)| Act::Hear(who, count)),
        4 => (0usize..3, any::<bool>()).prop_map(|(who, expunges)| Act::Tell(who, expunges)),
        1 => (0usize..3).prop_map(Act::Reopen),
    ]
}

struct Seat {
    view: View,
    client: Client,
    waiting: std::collections::VecDeque<Event>,
}

impl Seat {
    fn new(truth: &Truth, facts: &Rc<RefCell<FolderFacts>>) -> Self {
        let view = truth.open(facts);
        let client = Client::opens(&view);
        Self { view, client, waiting: std::collections::VecDeque::new() }
    }

    fn hear(&mut self, count: usize) {
        let count = count.min(self.waiting.len());
        self.waiting.drain(..count).for_each(|event| self.view.absorb(event));
    }

    fn tell(&mut self, expunges: Expunges) {
        let news = self.view.news(expunges);
        self.client.hears(&self.view, &news);
    }
}

proptest! {
    /// Three sessions of one owner share the facts; each hears every event once, at its own pace.
    #[test]
    fn every_client_ends_with_the_truth(acts in proptest::collection::vec(act(), 0..80)) {
        let (mut truth, facts) = (Truth::new(5), Rc::new(RefCell::new(FolderFacts::default())));
        let mut seats: Vec<Seat> = (0..3).map(|_| Seat::new(&truth, &facts)).collect();
        for act in acts {
            let event = match act {
                Act::Add => Some(truth.add()),
                Act::Expunge(place) => truth.expunge(place),
                Act::Flag(place) => truth.flag(place),
                Act::Hear(who, count) => { seats[who].hear(count); None }
                Act::Tell(who, true) => { seats[who].tell(Expunges::Tell); None }
                Act::Tell(who, false) => { seats[who].tell(Expunges::HoldBack); None }
                Act::Reopen(who) => { seats[who] = Seat::new(&truth, &facts); None }
            };
            for seat in &mut seats {
                seat.waiting.extend(event.clone());
            }
        }
        for seat in &mut seats {
            seat.hear(usize::MAX);
            seat.tell(Expunges::Tell);
            prop_assert_eq!(seat.view.uids(), uids(&truth.letters));
            prop_assert_eq!(seat.view.modseq().max(1), truth.letters.iter().map(|f| f.modseq).max().unwrap_or(1).max(seat.view.modseq()));
            for (known, fact) in seat.client.flags.iter().zip(&truth.letters) {
                prop_assert!(known.is_none_or(|flags| flags == fact.flags), "a change of flags was not told");
            }
        }
        let facts = facts.borrow();
        prop_assert_eq!(facts.letters(), truth.letters.as_slice());
    }
}

#[test]
fn the_first_unseen_letter_is_told_by_the_session_s_own_numbers() {
    let facts = Rc::default();
    let mut truth = Truth::new(3);
    let _ = truth.flag(1);
    let before = truth.open(&facts);
    assert_eq!(before.first_unseen(), Some(1));
    // Another session has heard of it, this one not yet.
    let mut other = truth.open(&facts);
    other.absorb(truth.expunge(0).unwrap());
    assert_eq!((before.exists(), before.first_unseen()), (3, Some(3)));
    assert_eq!(truth.open(&facts).first_unseen(), Some(2));
}
