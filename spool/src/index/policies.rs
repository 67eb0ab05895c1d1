//! MTA-STS policies, as the courier gave them: a cache that is lost at a restart could be exploited (RFC 8461 §10.2).

use std::collections::BTreeMap;

use crate::edges::outbox::limits::POLICIES;

/// All of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Policies(BTreeMap<String, (i64, Vec<u8>)>);

impl Policies {
    /// Each with the time until which it holds.
    pub fn all(&self) -> impl Iterator<Item = (&str, i64, &[u8])> {
        self.0.iter().map(|(domain, (until, policy))| (domain.as_str(), *until, policy.as_slice()))
    }

    /// Those behind that domain, by domain.
    pub fn after(&self, domain: Option<&str>) -> impl Iterator<Item = (&str, &[u8])> {
        let from = domain.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let all = self.0.range::<str, _>((from, std::ops::Bound::Unbounded));
        all.map(|(domain, (_, policy))| (domain.as_str(), policy.as_slice()))
    }

    /// When there are too many, the one that holds no longer, or the least long, goes.
    pub(super) fn keep(&mut self, domain: String, until: i64, policy: Vec<u8>) {
        self.0.insert(domain, (until, policy));
        if self.0.len() > POLICIES
            && let Some(first) = self.0.iter().min_by_key(|(_, (until, _))| *until).map(|(domain, _)| domain.clone())
        {
            self.0.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_ends_first_makes_room() {
        let mut policies = Policies::default();
        for number in 0..=POLICIES {
            policies.keep(format!("{number:05}"), if number == 7 { 1 } else { 100 }, vec![1]);
        }
        assert_eq!(policies.all().count(), POLICIES);
        assert!(policies.all().all(|(domain, ..)| domain != "00007"));
        assert_eq!(policies.after(Some("00006")).next().map(|(domain, _)| domain), Some("00008"));
        assert_eq!(policies.after(None).next().map(|(domain, _)| domain), Some("00000"));
    }
}
