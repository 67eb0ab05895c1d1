//! Writing FETCH's answers, one letter after another.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use spool::edges::mailbox::Fact;
use tokio::sync::mpsc;
use tracing::warn;

use super::plan::Plan;
use crate::client::Client;
use crate::command::{Item, SectionItem};
use crate::facts::FolderFacts;
use crate::letters::{Digest, Head, Piece};
use crate::pipeline::{Letter, Named};
use crate::render::{self, FetchLine};
use crate::sequence::holds;
use crate::session::Ended;
use crate::summaries::Cache;
use crate::view::View;

/// One letter to tell of.
#[derive(Debug, Clone, Copy)]
struct Target {
    number: u32,
    uid: u32,
    named: Named,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Letters whose \Seen was told with them, at this modseq.
    pub marked: Vec<(u32, u64)>,
    /// Some had been expunged.
    pub gone: bool,
    /// Some could not be read.
    pub damaged: bool,
}

/// Tells letters in the order of their numbers.
#[derive(Debug)]
pub(super) struct Teller<'a> {
    plan: &'a Plan,
    facts: Rc<RefCell<FolderFacts>>,
    recent: Vec<(u32, u32)>,
    targets: Vec<Target>,
    next: usize,
    marked: BTreeSet<u32>,
    told: Told,
}

impl<'a> Teller<'a> {
    pub(super) fn new(view: &View, plan: &'a Plan, uids: Vec<u32>, marked: BTreeSet<u32>) -> Self {
        let facts = view.facts();
        let target = |uid: &u32| {
            let fact = facts.get(*uid)?;
            Some(Target { number: view.number(*uid)?, uid: *uid, named: (fact.letter, fact.size) })
        };
        let targets: Vec<Target> = uids.iter().filter_map(target).collect();
        let told = Told { gone: targets.len() < uids.len(), ..Told::default() };
        let facts = view.shared();
        Self { plan, facts, recent: view.recent_ranges().to_vec(), targets, next: 0, marked, told }
    }

    pub(super) fn names(&self) -> Vec<Named> {
        self.targets.iter().map(|target| target.named).collect()
    }

    pub(super) fn finish(self) -> Told {
        self.told
    }

    /// Tells one letter from what the journal knows; `false` when all have been told.
    pub(super) fn next_fact(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(target) = self.take() else { return false };
        self.line(out, target, None);
        true
    }

    /// Tells the letters as they come.
    ///
    /// # Errors
    /// [`Ended`].
    pub(super) async fn letters(
        &mut self,
        client: &mut Client,
        from: &mut mpsc::Receiver<Letter>,
        cache: &RefCell<Cache>,
    ) -> Result<(), Ended> {
        while let Some(target) = self.take() {
            match from.recv().await.ok_or(Ended::KeeperGone)? {
                Letter::Cached(digest) => self.line(&mut client.out, target, Some(&digest)),
                Letter::Opening(mut pieces) => self.opening(client, target, &mut pieces, cache).await?,
                Letter::Missing => self.damaged(client, target, "its file is missing or damaged"),
            }
            if client.is_full() {
                client.flush().await.map_err(|_| Ended::ClientGone)?;
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<Target> {
        let target = self.targets.get(self.next).copied();
        self.next += 1;
        target
    }

    async fn opening(
        &mut self,
        client: &mut Client,
        target: Target,
        pieces: &mut mpsc::Receiver<Piece>,
        cache: &RefCell<Cache>,
    ) -> Result<(), Ended> {
        match pieces.recv().await {
            Some(Piece::Head(head)) => {
                if !head.fresh.is_empty() {
                    cache.borrow_mut().add(target.named.0, &head.fresh);
                }
                let met = |digest: &&Digest| self.plan.wanted.as_ref().is_some_and(|wanted| wanted.is_met_by(digest));
                if let Some(digest) = head.digest.as_ref().filter(met) {
                    self.line(&mut client.out, target, Some(digest));
                    return Ok(());
                }
                self.opened(client, target, &head, pieces).await
            }
            Some(Piece::Failed(error)) => {
                self.damaged(client, target, &error.to_string());
                Ok(())
            }
            Some(Piece::Bytes(_)) | None => {
                self.damaged(client, target, "it could not be opened");
                Ok(())
            }
        }
    }

    async fn opened(
        &mut self,
        client: &mut Client,
        target: Target,
        head: &Head,
        pieces: &mut mpsc::Receiver<Piece>,
    ) -> Result<(), Ended> {
        let Some(fact) = self.fact(target.uid) else { return Ok(()) };
        let mut line = FetchLine::begin(&mut client.out, target.number);
        let mut lengths = head.lengths.iter();
        for item in &self.plan.items {
            let Item::Section(section) = item else {
                self.item(&mut line, &mut client.out, item, &fact, head.digest.as_ref());
                continue;
            };
            let length = lengths.next().copied().flatten();
            line.section(&mut client.out, section, length);
            if let Some(length) = length {
                stream(client, length, pieces).await?;
            }
        }
        self.end(line, &mut client.out, &fact);
        Ok(())
    }

    /// A whole line that needs no more bytes of the letter.
    fn line(&mut self, out: &mut Vec<u8>, target: Target, digest: Option<&Digest>) {
        let Some(fact) = self.fact(target.uid) else { return };
        let mut line = FetchLine::begin(out, target.number);
        for item in &self.plan.items {
            self.item(&mut line, out, item, &fact, digest);
        }
        self.end(line, out, &fact);
    }

    /// As it is now; one that went away meanwhile is left out.
    fn fact(&mut self, uid: u32) -> Option<Fact> {
        let fact = self.facts.borrow().get(uid).copied();
        self.told.gone |= fact.is_none();
        fact
    }

    fn item(&self, line: &mut FetchLine, out: &mut Vec<u8>, item: &Item, fact: &Fact, digest: Option<&Digest>) {
        match (item, digest) {
            (Item::Uid, _) => line.uid(out, fact.uid),
            (Item::Flags, _) => self.flags(line, out, fact),
            (Item::InternalDate, _) => line.internal_date(out, fact.arrived),
            (Item::Size, _) => line.size(out, fact.size),
            (Item::Envelope, Some(digest)) => line.envelope(out, &digest.summary.envelope),
            (Item::Body, Some(digest)) => line.body(out, &digest.summary.root),
            (Item::BodyStructure, Some(digest)) => line.body_structure(out, &digest.summary.root),
            (Item::Section(section), Some(digest)) => header(line, out, section, digest),
            // The plan asked for what its items need.
            (Item::Envelope | Item::Body | Item::BodyStructure | Item::Section(_), _) => {}
        }
    }

    fn flags(&self, line: &mut FetchLine, out: &mut Vec<u8>, fact: &Fact) {
        let recent = holds(&self.recent, fact.uid);
        line.flags(out, fact.flags, fact.keywords, self.facts.borrow().keywords(), recent);
    }

    fn end(&mut self, mut line: FetchLine, out: &mut Vec<u8>, fact: &Fact) {
        if self.marked.contains(&fact.uid) {
            if !self.plan.flags {
                self.flags(&mut line, out, fact);
            }
            self.told.marked.push((fact.uid, fact.modseq));
        }
        line.end(out);
    }

    fn damaged(&mut self, client: &mut Client, target: Target, why: &str) {
        if self.fact(target.uid).is_none() {
            return;
        }
        self.told.damaged = true;
        warn!(letter = %target.named.0, uid = target.uid, why, "a letter cannot be shown");
        client.say(&format!("* NO [ALERT] The letter with UID {} cannot be shown: {why}\r\n", target.uid));
    }
}

/// A section of a header that is at hand.
fn header(line: &mut FetchLine, out: &mut Vec<u8>, item: &SectionItem, digest: &Digest) {
    let bytes = digest.header.as_ref().map(|header| header.as_slice()).unwrap_or_default();
    let slices = render::of_header(&digest.summary, bytes, item);
    line.section(out, item, Some(slices.len()));
    for span in &slices.spans {
        out.extend_from_slice(bytes.get(span.range()).unwrap_or_default());
    }
    out.extend_from_slice(slices.tail);
}

/// Exactly the announced bytes, or the connection breaks off.
async fn stream(client: &mut Client, length: u64, pieces: &mut mpsc::Receiver<Piece>) -> Result<(), Ended> {
    client.owe(length);
    let mut left = length;
    while left > 0 {
        let Some(Piece::Bytes(bytes)) = pieces.recv().await else { return Err(Ended::BrokenLetter) };
        left = left.checked_sub(bytes.len() as u64).ok_or(Ended::BrokenLetter)?;
        client.send(&bytes).await.map_err(|_| Ended::ClientGone)?;
        client.pay(bytes.len() as u64);
    }
    Ok(())
}
