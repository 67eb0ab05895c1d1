//! Which box had which name. What is kept of a home is kept by its name; when the folder changes, all of that follows the box: to the name by
//! which its home is called now, or to its end. Another box that has the old name gets nothing of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

use relay_link::homes::Home;
use relay_link::keys::PublicKey;

use super::Gate;
use super::reports::Passing;
use crate::grant::HomeGrant;

type All = Arc<BTreeMap<String, Home<HomeGrant>>>;

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Boxes {
    seen: Option<All>,
    /// Whose box it was, by the home's name.
    keys: BTreeMap<String, PublicKey>,
    /// Names by which homes were called once, and those by which they are called now: who was on the way comes to these.
    called: BTreeMap<String, String>,
}

/// One look at the folder after another.
struct Change {
    before: BTreeMap<String, PublicKey>,
    now: BTreeMap<String, PublicKey>,
    names: BTreeMap<PublicKey, String>,
}

impl Change {
    fn new(before: BTreeMap<String, PublicKey>, all: &BTreeMap<String, Home<HomeGrant>>) -> Self {
        let paired = all.iter().filter_map(|(name, home)| Some((name.clone(), home.paired.as_ref()?.key)));
        let now: BTreeMap<_, _> = paired.collect();
        let names = now.iter().map(|(name, key)| (*key, name.clone())).collect();
        Self { before, now, names }
    }

    /// What the home of this name is called now; `None`: its box is paired no more. (Of a name that was not seen nobody knows another.)
    fn of(&self, name: &str) -> Option<&str> {
        match self.before.get(name) {
            Some(key) if self.now.get(name) != Some(key) => self.names.get(key).map(String::as_str),
            _ => self.now.get_key_value(name).map(|(name, _)| name.as_str()),
        }
    }

    /// The same for what is moved one name after the other: a name that was another home's a moment ago takes nothing in.
    fn apart(&self, name: &str) -> Option<&str> {
        self.of(name).filter(|to| *to == name || !self.before.contains_key(*to))
    }
}

impl Gate {
    /// Has what is kept of homes follow their boxes.
    ///
    /// # Errors
    /// The folder's: one that cannot be read makes nobody forgotten.
    pub(super) fn follow_boxes(&self) -> io::Result<()> {
        // Read under the lock, so that what is older never comes after what is newer.
        let mut boxes = self.boxes();
        let all = self.homes.all()?;
        if boxes.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &all)) {
            return Ok(());
        }
        let first = boxes.seen.replace(all.clone()).is_none();
        let change = Change::new(std::mem::take(&mut boxes.keys), &all);
        if first || change.before != change.now {
            self.memory().follow(|home| change.apart(home));
            boxes.note(&change, &all);
            self.passing_follows(&change);
        }
        boxes.keys = change.now;
        Ok(())
    }

    /// Ends what is relayed to boxes that are paired no more. Ended out of the lock: each takes itself out of the map.
    fn passing_follows(&self, change: &Change) {
        let mut ended = Vec::new();
        for passing in self.passing().values_mut() {
            match change.of(&passing.home) {
                Some(home) if home == passing.home => {}
                Some(home) => home.clone_into(&mut passing.home),
                None => ended.extend(passing.relaying.clone()),
            }
        }
        ended.iter().for_each(tokio::task::AbortHandle::abort);
    }

    /// Keeps what led a stream to its home, which may be called otherwise since.
    pub(super) fn passes(&self, number: u64, mut passing: Passing) {
        let boxes = self.boxes();
        if let Some(home) = boxes.called.get(&passing.home) {
            home.clone_into(&mut passing.home);
        }
        self.passing().insert(number, passing);
    }

    /// What a home is called now.
    pub(super) fn called(&self, home: &str) -> String {
        self.boxes().called.get(home).cloned().unwrap_or_else(|| home.to_owned())
    }

    fn boxes(&self) -> MutexGuard<'_, Boxes> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Boxes {
    /// Notes who is called otherwise. A name that is a home's again leads to that one.
    fn note(&mut self, change: &Change, all: &BTreeMap<String, Home<HomeGrant>>) {
        let before = std::mem::take(&mut self.called);
        let moved = before.iter().filter_map(|(once, name)| Some((once.clone(), change.of(name)?.to_owned())));
        let moves = change.before.keys().filter_map(|name| Some((name.clone(), change.of(name)?.to_owned())));
        let others = moved.chain(moves.filter(|(once, name)| once != name));
        self.called = others.filter(|(once, _)| !all.contains_key(once)).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use relay_link::homes::Homes;
    use relay_link::keys::LinkKey;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// A name that is given up and another box's at once, and one that is free again.
    #[test]
    fn names_change_hands_between_two_looks() {
        let folder = std::env::temp_dir().join(format!("gate-boxes-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let homes = Homes::<HomeGrant>::open(&folder).unwrap();
        let grant = |names: &[&str]| HomeGrant {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..HomeGrant::default()
        };
        let pair = |name: &str, names: &[&str], key: &LinkKey| {
            let invited = homes.invite(name, grant(names), SystemTime::now(), HOUR).unwrap();
            homes.pair(&invited.secret, key.public(), SystemTime::now()).unwrap();
        };
        let [alice, mallory] = [(); 2].map(|()| LinkKey::generate().unwrap());
        pair("club", &["club", "two"], &alice);
        let mut boxes = Boxes::default();
        let look = |boxes: &mut Boxes| {
            let all = homes.all().unwrap();
            let change = Change::new(std::mem::take(&mut boxes.keys), &all);
            boxes.note(&change, &all);
            boxes.keys = change.now.clone();
            change
        };
        assert_eq!(look(&mut boxes).of("club"), Some("club"));
        assert!(homes.leave("club", "two", grant(&["two"])).unwrap());
        pair("club", &["club"], &mallory);
        let change = look(&mut boxes);
        assert_eq!((change.of("club"), change.apart("club")), (Some("two"), Some("two")), "it is not Mallory's");
        assert!(boxes.called.is_empty(), "who asks for that name now means her");
        assert!(homes.close("club").unwrap() && homes.revoke("club").unwrap());
        let change = look(&mut boxes);
        assert_eq!((change.of("club"), change.of("two")), (None, Some("two")));
        // Between two looks the name was hers, and is Alice's now: nothing is mixed.
        pair("club", &["club"], &mallory);
        look(&mut boxes);
        assert!(homes.close("club").unwrap() && homes.revoke("club").unwrap());
        assert!(homes.leave("two", "club", grant(&["club"])).unwrap());
        let change = look(&mut boxes);
        assert_eq!((change.of("club"), change.of("two"), change.apart("two")), (None, Some("club"), None));
        assert_eq!(boxes.called.get("two").map(String::as_str), Some("club"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
