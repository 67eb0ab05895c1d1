//! What a home has spent and may spend: a token bucket, a day's units and sessions, a minute's sessions, an hour's networks.
//! Pure; times are seconds since 1970, given by the caller.
//!
//! Whether a session may begin is decided before anybody is connected with: the home's queue keeps what is refused. A
//! session that has begun is never refused, only slowed: the home's own octets wait ([`Account::pace`]), never the far
//! server's replies. So a 250 always arrives, and nothing is sent twice.

use std::time::Duration;

use relay_link::outbound::{Budget, Refusal};
use serde::{Deserialize, Serialize};

use crate::grant::Allowance;
use crate::limits;
use crate::meter::Units;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// One home's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What is in the bucket, in 3600ths of a unit, so that a second's refill is a whole number. Below zero: a session
    /// has cost more than there was.
    level: i64,
    /// When that was true.
    at: u64,
    today: Today,
    /// When each session of the last minute began.
    begun: Vec<u64>,
    /// Far networks, and when each was last connected with.
    networks: Vec<([u8; 7], u64)>,
    /// Units of bodies of the day of `at`: a large letter is no recipients.
    bodies: Units,
}

/// Of the day of [`Account::at`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Today {
    units: Units,
    sessions: u32,
    /// Of them those that are over and carried less than a letter.
    empty: u32,
}

impl Today {
    const NOTHING: Self = Self { units: 0, sessions: 0, empty: 0 };
}

impl Account {
    /// With a full bucket.
    #[must_use]
    pub fn new(allowance: &Allowance, now: u64) -> Self {
        Self { level: full(allowance), ..Self::empty(now) }
    }

    /// With an empty one: when nobody knows what has been spent.
    #[must_use]
    pub const fn empty(now: u64) -> Self {
        Self { level: 0, at: now, today: Today::NOTHING, begun: Vec::new(), networks: Vec::new(), bodies: 0 }
    }

    /// A session with a host of this network may begin, and is charged its minimum.
    ///
    /// # Errors
    /// [`Refusal`], and nothing is charged.
    pub fn open(&mut self, allowance: &Allowance, running: u32, network: [u8; 7], now: u64) -> Result<(), Refusal> {
        self.come_to(allowance, now);
        let midnight = seconds(DAY - now % DAY);
        if running >= allowance.concurrent {
            return Err(Refusal::Concurrent);
        }
        if self.today.units >= u64::from(allowance.daily) || self.bodies >= bodies(allowance, 0) {
            return Err(Refusal::Spent(midnight));
        }
        if let Some(wait) = until(limits::SESSION_UNITS, self.level, allowance) {
            return Err(Refusal::Spent(seconds(wait)));
        }
        if self.today.sessions >= allowance.sessions || self.today.empty >= allowance.empty {
            return Err(Refusal::Sessions(midnight));
        }
        if let Some(wait) = self.in_a_minute(allowance, now) {
            return Err(Refusal::Sessions(seconds(wait)));
        }
        self.visit(allowance, network, now)?;
        self.today.sessions += 1;
        self.begun.push(now);
        self.charge(allowance, limits::SESSION_UNITS, now);
        Ok(())
    }

    /// Takes what has come due.
    pub fn charge(&mut self, allowance: &Allowance, units: Units, now: u64) {
        self.come_to(allowance, now);
        self.level = self.level.saturating_sub(in_level(units));
        self.today.units = self.today.units.saturating_add(units);
    }

    /// Takes what bodies weigh.
    pub fn carry(&mut self, allowance: &Allowance, units: Units, now: u64) {
        self.come_to(allowance, now);
        self.bodies = self.bodies.saturating_add(units);
    }

    /// A session is over in which no letter can have gone.
    pub fn was_empty(&mut self, allowance: &Allowance, now: u64) {
        self.come_to(allowance, now);
        self.today.empty = self.today.empty.saturating_add(1);
    }

    /// How many such sessions there were today: for the operator.
    #[must_use]
    pub const fn empty_today(&self, now: u64) -> u32 {
        if self.is_another_day(now) { 0 } else { self.today.empty }
    }

    /// How long the home's octets must wait now.
    #[must_use]
    pub fn pace(&self, allowance: &Allowance, now: u64) -> Duration {
        let bucket = until(0, self.level_at(allowance, now), allowance).unwrap_or(0);
        let (units, carried) = if self.is_another_day(now) { (0, 0) } else { (self.today.units, self.bodies) };
        let spent = units > u64::from(allowance.daily) || carried > bodies(allowance, limits::LETTER_TO_END);
        let day = if spent { DAY - now % DAY } else { 0 };
        Duration::from_secs(bucket.max(day))
    }

    /// Units that may be spent now.
    #[must_use]
    pub fn left(&self, allowance: &Allowance, now: u64) -> Units {
        let bucket = u64::try_from(self.level_at(allowance, now)).unwrap_or(0) / HOUR;
        let today = if self.is_another_day(now) { 0 } else { self.today.units };
        bucket.min(u64::from(allowance.daily).saturating_sub(today))
    }

    /// Octets that may be commands, which all sessions together may have out unanswered: each could be a part of the shortest RCPT
    /// there is.
    #[must_use]
    pub fn reach(&self, allowance: &Allowance, now: u64) -> u64 {
        let more = limits::HALF_BUCKETS_OUT * u64::from(allowance.bucket) / 2;
        (self.left(allowance, now) + more) * limits::COMMAND
    }

    /// For the home and the operator.
    #[must_use]
    pub fn budget(&self, allowance: &Allowance, now: u64) -> Budget {
        let mut then = self.clone();
        then.come_to(allowance, now);
        let networks = u32::try_from(then.networks.len()).unwrap_or(u32::MAX);
        Budget {
            left: u64::try_from(then.level).unwrap_or(0) / HOUR,
            bucket: allowance.bucket.into(),
            hourly: allowance.hourly.into(),
            today: (then.today.units, allowance.daily.into()),
            sessions: (then.today.sessions, allowance.sessions),
            networks: (networks, allowance.networks),
            megabytes: (then.bodies.div_ceil(limits::BODY_UNITS), allowance.megabytes.into()),
        }
    }

    /// Lets time pass. A clock that is set back gives nothing and takes nothing (but by more than a day it was wrong before).
    fn come_to(&mut self, allowance: &Allowance, now: u64) {
        // A machine that began with a clock years ahead must not stop its homes for years. They are given nothing for it.
        if self.at.saturating_sub(now) > DAY {
            self.at = now;
            self.begun.retain(|begun| *begun <= now);
            self.networks.retain(|(_, seen)| *seen <= now);
        }
        self.level = self.level_at(allowance, now);
        if self.is_another_day(now) {
            (self.today, self.bodies) = (Today::NOTHING, 0);
        }
        self.at = self.at.max(now);
        self.begun.retain(|begun| now.saturating_sub(*begun) < MINUTE);
        self.networks.retain(|(_, seen)| now.saturating_sub(*seen) < HOUR);
    }

    /// What is in the bucket then.
    fn level_at(&self, allowance: &Allowance, now: u64) -> i64 {
        let passed = i64::try_from(now.saturating_sub(self.at)).unwrap_or(i64::MAX);
        let refill = passed.saturating_mul(allowance.hourly.into());
        self.level.saturating_add(refill).min(full(allowance))
    }

    const fn is_another_day(&self, now: u64) -> bool {
        now / DAY > self.at / DAY
    }

    /// Seconds until one more session may begin; `None` when it may now.
    fn in_a_minute(&self, allowance: &Allowance, now: u64) -> Option<u64> {
        let most = usize::try_from(allowance.burst).unwrap_or(usize::MAX).min(limits::BURST);
        let ends = self.begun.len().checked_sub(most)?;
        let first = self.begun.get(ends).copied().unwrap_or(now);
        Some((first + MINUTE).saturating_sub(now))
    }

    /// Whether a network is one of those of the last hour.
    #[must_use]
    pub fn knows(&self, network: [u8; 7], now: u64) -> bool {
        self.of_this_hour(now).any(|(known, _)| *known == network)
    }

    /// Whether it is, or may be one more.
    #[must_use]
    pub fn may_visit(&self, allowance: &Allowance, network: [u8; 7], now: u64) -> bool {
        self.knows(network, now) || self.of_this_hour(now).count() < most_networks(allowance)
    }

    fn of_this_hour(&self, now: u64) -> impl Iterator<Item = &([u8; 7], u64)> {
        // A clock that was set back gives nothing; by more than a day it was wrong before.
        let ahead = self.at.saturating_sub(now) > DAY;
        let is_past = move |seen: u64| if ahead { seen > now } else { now.saturating_sub(seen) >= HOUR };
        self.networks.iter().filter(move |(_, seen)| !is_past(*seen))
    }

    /// Notes a further network of a session that has begun: another address of the same host.
    ///
    /// # Errors
    /// [`Refusal::Networks`], and nothing is noted.
    pub fn visit(&mut self, allowance: &Allowance, network: [u8; 7], now: u64) -> Result<(), Refusal> {
        if let Some((_, seen)) = self.networks.iter_mut().find(|(known, _)| *known == network) {
            *seen = now;
            return Ok(());
        }
        if self.networks.len() >= most_networks(allowance) {
            let oldest = self.networks.iter().map(|(_, seen)| *seen).min().unwrap_or(now);
            return Err(Refusal::Networks(seconds((oldest + HOUR).saturating_sub(now))));
        }
        self.networks.push((network, now));
        Ok(())
    }
}

fn most_networks(allowance: &Allowance) -> usize {
    usize::try_from(allowance.networks).unwrap_or(usize::MAX).min(limits::NETWORKS)
}

/// Seconds until there are so many units; `None` when there are.
fn until(units: Units, level: i64, allowance: &Allowance) -> Option<u64> {
    let missing = u64::try_from(in_level(units).saturating_sub(level)).ok().filter(|missing| *missing > 0)?;
    Some(missing.div_ceil(u64::from(allowance.hourly).max(1)))
}

/// Units of bodies of a day, and of so many MiB more.
fn bodies(allowance: &Allowance, more: u64) -> Units {
    (u64::from(allowance.megabytes) + more) * limits::BODY_UNITS
}

const fn full(allowance: &Allowance) -> i64 {
    allowance.bucket as i64 * HOUR as i64
}

fn in_level(units: Units) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX).saturating_mul(HOUR as i64)
}

fn seconds(wait: u64) -> u32 {
    u32::try_from(wait.max(1)).unwrap_or(u32::MAX)
}
