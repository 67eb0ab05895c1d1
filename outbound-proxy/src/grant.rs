//! What an operator grants a home at the outbound proxy.

use std::time::Duration;

use relay_link::homes::Grant;
use serde::{Deserialize, Serialize};

use crate::limits;

/// How much a home may send. Whatever is not said is as in [`Allowance::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allowance {
    /// Units it can spend at once. Default 1500: a mail to one recipient costs about 30, a list of 100 members at 60
    /// hosts about 1700.
    pub bucket: u32,
    /// Units that come back in an hour. Default 200.
    pub hourly: u32,
    /// Units of one day (UTC). Default 5000.
    pub daily: u32,
    /// Sessions of one day. Default 300.
    pub sessions: u32,
    /// Sessions begun within a minute. Default 30, at most 100.
    pub burst: u32,
    /// Sessions of one day in which no letter can have gone (less than a KiB from the home): who has many of them looks which
    /// addresses there are. Default 100.
    pub empty: u32,
    /// Different far networks (/24, /48) within an hour. Default 60, at most 200.
    pub networks: u32,
    /// Sessions at once. Default 10.
    pub concurrent: u32,
    /// MiB that the letters of one day may have in all. Default 1024. They cost nothing else.
    pub megabytes: u32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            bucket: 1_500,
            hourly: 200,
            daily: 5_000,
            sessions: 300,
            burst: 30,
            empty: 100,
            networks: 60,
            concurrent: 10,
            megabytes: 1_024,
        }
    }
}

impl Allowance {
    /// That of a home so old: half of everything while it is new, since nobody knows it yet.
    #[must_use]
    pub fn at_age(self, age: Duration) -> Self {
        let share = |all: u32| if age < limits::NEW { all.div_ceil(2) } else { all };
        Self {
            bucket: share(self.bucket),
            // An hour's at least one, so that no wait is for ever.
            hourly: share(self.hourly).max(1),
            daily: share(self.daily),
            sessions: share(self.sessions),
            burst: share(self.burst).min(u32::try_from(limits::BURST).unwrap_or(u32::MAX)),
            empty: share(self.empty),
            networks: share(self.networks).min(u32::try_from(limits::NETWORKS).unwrap_or(u32::MAX)),
            concurrent: share(self.concurrent),
            megabytes: share(self.megabytes),
        }
    }

    /// Why no session could ever begin, in words for the operator; `None`: one can, in a home's first two weeks, too.
    #[must_use]
    pub fn too_small(&self) -> Option<String> {
        let least = u32::try_from(limits::SESSION_UNITS).unwrap_or(u32::MAX);
        let new = self.at_age(Duration::ZERO);
        let units = [("bucket", self.bucket, new.bucket), ("daily", self.daily, new.daily)];
        let counts = [
            ("sessions", self.sessions),
            ("burst", self.burst),
            ("empty", self.empty),
            ("networks", self.networks),
            ("concurrent", self.concurrent),
            ("megabytes", self.megabytes),
        ];
        let units = units.into_iter().find(|(.., new)| *new < least).map(|(name, all, new)| {
            format!(
                "{name}: of {all} units a home has {new} in its first two weeks, and each session costs {least}: none could \
                 begin; say {} or more (about 30 go with a letter to one person)",
                2 * least
            )
        });
        let none = || counts.into_iter().find(|(_, count)| *count == 0);
        units.or_else(|| none().map(|(name, _)| format!("{name}: with none no session could begin; say 1 or more")))
    }
}

/// One home's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HomeGrant {
    /// How much it may send.
    #[serde(default)]
    pub allowance: Allowance,
}

impl Grant for HomeGrant {
    fn clashes_with(&self, _: &Self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Account;

    #[test]
    fn new_homes_have_half() {
        let full = Allowance::default().at_age(limits::NEW);
        assert_eq!(full, Allowance::default());
        let new = Allowance::default().at_age(Duration::ZERO);
        assert_eq!((new.bucket, new.sessions, new.networks), (750, 150, 30));
        assert_eq!((new.burst, new.empty, new.megabytes), (15, 50, 512));
        assert_eq!(Allowance::default().too_small(), None);
        let greedy = Allowance { networks: 10_000, burst: 10_000, hourly: 0, ..Allowance::default() };
        let greedy = greedy.at_age(limits::NEW);
        assert_eq!((greedy.networks, greedy.burst, greedy.hourly), (200, 100, 1));
    }

    /// The least that is taken lets a session begin; one less does not.
    #[test]
    fn an_allowance_lets_a_session_begin() {
        let least = Allowance {
            bucket: 39,
            hourly: 0,
            daily: 39,
            sessions: 1,
            burst: 1,
            empty: 1,
            networks: 1,
            concurrent: 1,
            megabytes: 1,
        };
        let opens = |allowance: &Allowance| {
            let new = allowance.at_age(Duration::ZERO);
            Account::new(&new, 0).open(&new, 0, [4, 44, 0, 0, 0, 0, 0], 0).is_ok()
        };
        assert!(least.too_small().is_none() && opens(&least));
        for (name, smaller) in [
            ("bucket", Allowance { bucket: 38, ..least }),
            ("daily", Allowance { daily: 0, ..least }),
            ("sessions", Allowance { sessions: 0, ..least }),
            ("burst", Allowance { burst: 0, ..least }),
            ("empty", Allowance { empty: 0, ..least }),
            ("networks", Allowance { networks: 0, ..least }),
            ("concurrent", Allowance { concurrent: 0, ..least }),
            ("megabytes", Allowance { megabytes: 0, ..least }),
        ] {
            let words = smaller.too_small().unwrap();
            assert!(words.starts_with(&format!("{name}: ")) && !opens(&smaller), "{words}");
        }
    }
}
