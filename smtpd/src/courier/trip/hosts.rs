//! The hosts of a destination that one letter is brought to, in turn: who has nothing for it now, or lacks what it needs, is followed
//! by the next.

use spool::edges::outbox::turns::Turn;
use spool::edges::outbox::{Leased, State};
use tokio::sync::watch;

use super::{Open, Ready, Trip, all, random};
use crate::courier::elsewhere::{self, Asked, Fates};
use crate::courier::fate::{Fate, Status, Why};
use crate::courier::lanes::Went;
use crate::courier::limits;
use crate::courier::outcome;
use crate::courier::reach::{self, Reached, Wish, World};

/// What one host made of a letter.
enum Came {
    /// It stays here, and nothing is said of it.
    Back,
    /// There was no connection.
    Nowhere(Fate),
    /// So much.
    Answered(Fates),
}

impl<W: World + Send + 'static> Trip<W> {
    /// At one host, and at others for whom it has not now, or lacks, what the letter needs.
    pub(super) async fn at_hosts(
        &self,
        open: &mut Open,
        ready: &mut Option<Ready<W::Stream>>,
        went: &mut Went,
    ) -> (Fates, bool, Option<Fate>) {
        let lost = self.courier.lost().of(open.leased.letter);
        let asked = Asked::none(failures(&open.leased), lost);
        let mut asked = asked.through_proxy(self.courier.world.is_through_proxy());
        let mut fates = Fates::new();
        loop {
            match self.at_host(open, ready, &mut asked).await {
                Came::Back => return (Vec::new(), false, None),
                Came::Nowhere(fate) if asked.is_nobody() => return self.nowhere(&open.leased, fate, went),
                Came::Nowhere(fate) => elsewhere::unreached(&mut fates, &fate),
                Came::Answered(answered) => {
                    if let Some(ready) = ready {
                        let door = ready.door.clone();
                        let is_unknown = asked.answered(door.clone(), &answered, ready.link.ending());
                        let in_vain = !is_unknown && ready.link.has_begun() && elsewhere::is_refused_for_now(&answered);
                        if in_vain {
                            asked.carried_in_vain(open.leased.outgoing.size);
                        }
                        if is_unknown || in_vain {
                            self.courier.lost().note(open.leased.letter, door);
                        }
                    }
                    elsewhere::merge(&mut fates, answered);
                    let left = asked.left(&fates);
                    if !left.is_empty() {
                        open.leased.recipients = left;
                        self.go_on(open.leased.lease, ready.take()).await;
                        continue;
                    }
                    if ready.as_ref().is_some_and(|ready| ready.has_other(&asked)) {
                        elsewhere::postpone(&mut fates);
                    }
                }
            }
            let notifies = ready.as_ref().is_some_and(|ready| ready.link.extensions().notifications);
            if !fates.iter().any(|(_, fate)| matches!(fate, Fate::Deferred(_))) {
                self.courier.lost().forget(open.leased.letter);
            }
            *went = self.how_it_went(&open.leased, &asked, &fates);
            self.courier.lanes().answered(&open.leased.destination, is_slowed(&fates), wire::date::now());
            return (fates, notifies, None);
        }
    }

    /// What the far server says of one recipient's host is no trouble with this one.
    fn how_it_went(&self, leased: &Leased, asked: &Asked, fates: &Fates) -> Went {
        let Some((number, fate)) = fates.iter().find(|(number, fate)| {
            asked.unknown().contains(number) && elsewhere::is_unanswered(fate) || elsewhere::is_lost(fate)
        }) else {
            return Went::Well;
        };
        self.courier.lanes().because(&leased.destination, outcome::reason(&fate.why().to_string()));
        // A connection that was ready and is lost over what strangers send may be lost over what they are.
        let of_strangers = leased.turn() != Turn::Written;
        if of_strangers || asked.unknown().contains(number) {
            Went::Lost(leased.letter, leased.turn())
        } else {
            Went::Badly
        }
    }

    /// To another host, or over another connection: nobody has the letter, and the admin may still keep it back.
    async fn go_on(&self, lease: u64, ready: Option<Ready<W::Stream>>) {
        // A keeper that is gone has ended all of this.
        let _ = self.outbox.over(lease).await;
        if let Some(ready) = ready {
            ready.close().await;
        }
    }

    fn nowhere(&self, leased: &Leased, fate: Fate, went: &mut Went) -> (Fates, bool, Option<Fate>) {
        let fates = all(leased, &fate);
        let later = matches!(fate, Fate::Deferred(_));
        if later {
            *went = if fate.why().wait.is_some() { Went::Not } else { Went::Badly };
            self.courier.lanes().because(&leased.destination, outcome::reason(&fate.why().to_string()));
        }
        // Of a letter that asks for more than others it says nothing about them.
        (fates, false, (later && !leased.outgoing.require_tls).then_some(fate))
    }

    async fn at_host(&self, open: &mut Open, ready: &mut Option<Ready<W::Stream>>, asked: &mut Asked) -> Came {
        let leased = open.leased.clone();
        let require_tls = leased.outgoing.require_tls;
        let is_other =
            |ready: &mut Ready<_>| (require_tls && !ready.require_tls) || asked.lost_at(&ready.door).is_some();
        if let Some(other) = ready.take_if(is_other) {
            other.link.close().await;
        }
        loop {
            let reused = ready.is_some();
            let mut drain = self.drain.clone();
            let connected = tokio::select! {
                connected = self.connect(&leased, ready, asked) => connected,
                // Nothing is lost with a connection that brought nothing yet.
                _ = drain.wait_for(|drain| *drain) => return Came::Back,
            };
            if let Err(fate) = connected {
                return Came::Nowhere(fate);
            }
            let Some(current) = ready.as_mut().filter(|_| !*self.drain.borrow()) else { return Came::Back };
            let fates = self.send(current, open).await;
            if current.link.is_called_back() {
                if let Some(ready) = ready.take() {
                    ready.close().await;
                }
                return Came::Back;
            }
            // A far server ends a connection that was idle or much used when it likes: no failure of this letter's.
            if reused && current.link.is_lost_unbegun() {
                *ready = None;
                self.go_on(leased.lease, None).await;
                continue;
            }
            return Came::Answered(fates);
        }
    }

    /// Unless there is one.
    async fn connect(
        &self,
        leased: &Leased,
        ready: &mut Option<Ready<W::Stream>>,
        asked: &mut Asked,
    ) -> Result<(), Fate> {
        if ready.is_some() {
            return Ok(());
        }
        let (destination, require_tls) = (&leased.destination, leased.outgoing.require_tls);
        let clear_text = self.courier.allows_clear_text(destination);
        let wish = Wish { require_tls, clear_text, seed: random() };
        let Ok(share) = self.courier.share_of_strangers(leased.turn()).await else {
            let words = "what strangers send waits for its turn at the outbound proxy";
            return Err(Fate::Deferred(Why {
                wait: Some(limits::ROOM_WAIT),
                ..Why::ours(Status::new(4, 4, 5), words)
            }));
        };
        asked.wait_for_room(false);
        let waits = asked.waits_for_room();
        let Reached { link, door, hosts } = tokio::select! {
            reached = reach::reach(&self.courier.world, &self.courier.house, destination, (wish, asked)) => reached?,
            () = self.is_in_the_way(waits, leased.turn()) => {
                let words = format!("{destination} was silent for too long while other mail waited");
                return Err(Fate::Deferred(Why::ours(Status::new(4, 4, 2), words)));
            }
        };
        *ready = Some(Ready { link, door, hosts, require_tls, sent: 0, _share: share });
        Ok(())
    }

    /// Returns when a host has let it wait for so long that others are kept from their turn. While it waits for room at a proxy it
    /// keeps nobody from it.
    async fn is_in_the_way(&self, mut waits: watch::Receiver<bool>, turn: Turn) {
        while waits.wait_for(|waits| !*waits).await.is_ok() {
            tokio::select! {
                () = self.courier.others_wait(limits::OPENING_WHEN_BUSY, turn) => return,
                _ = waits.wait_for(|waits| *waits) => {}
            }
        }
    }
}

/// The attempts that failed, of who has had the most.
fn failures(leased: &Leased) -> u32 {
    let all = leased.recipients.iter().filter_map(|number| leased.outgoing.recipients.get(usize::from(*number)));
    let failures = all.map(|one| if let State::Waiting { failures, .. } = one.state { failures } else { 0 });
    failures.max().unwrap_or(0)
}

/// Whether a far server has said "not now".
fn is_slowed(fates: &[(u16, Fate)]) -> bool {
    let had_enough = |why: &Why| why.is_too_many_recipients() && elsewhere::is_taken(fates);
    let slowed = |why: &Why| why.said.is_some() && !had_enough(why);
    fates.iter().any(|(_, fate)| matches!(fate, Fate::Deferred(why) if slowed(why)))
}
