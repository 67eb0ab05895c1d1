//! The pairings while the box runs: `postern pair` changes the file, and the `link` role hears of it.

use std::time::SystemTime;

use wire::control::PairedProxy;

use super::roles::Roles;
use super::say;
use crate::failure::Failure;
use crate::pairings::{self, Pairing, Pairings, Taken};
use crate::sealed::Writing;

/// The proxies this house uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// All of them.
    pub all: Vec<PairedProxy>,
    /// Whether mail leaves through one of them, or not at all: also where it cannot be known through which.
    pub outbound: bool,
}

impl Proxies {
    fn of(all: &[Pairing]) -> Self {
        let all = pairings::proxies(all);
        Self { outbound: all.iter().any(|proxy| proxy.outbound), all }
    }

    /// Of a house whose pairings nobody can read.
    const fn unknown() -> Self {
        Self { all: Vec::new(), outbound: true }
    }
}

/// The file.
#[derive(Debug)]
pub struct Links {
    pairings: Pairings,
    seen: Option<SystemTime>,
    known: Option<Proxies>,
    taken: Taken,
    /// What was read, and what of it the commands know.
    writings: [Option<Writing>; 2],
    /// What was wrong with it last, in words: said once.
    wrong: Option<String>,
}

impl Links {
    /// Takes it over, not read yet.
    #[must_use]
    pub const fn new(pairings: Pairings, taken: Taken) -> Self {
        Self { pairings, seen: None, known: None, taken, writings: [None; 2], wrong: None }
    }

    /// What it holds now. One that cannot be read never sends mail past a proxy: what was known stays, and of a house that has just
    /// been started the mail that leaves waits.
    #[must_use]
    pub fn proxies(&mut self) -> Proxies {
        self.seen = self.pairings.written();
        let read = self.pairings.read_once().map(|(all, writing)| {
            self.writings[0] = writing;
            all
        });
        let (proxies, wrong) = judged(read, self.known.as_ref());
        if let Some(wrong) = wrong.as_ref().filter(|wrong| self.wrong.as_ref() != Some(*wrong)) {
            say(wrong);
        }
        self.wrong = wrong;
        self.known = Some(proxies.clone());
        proxies
    }

    /// Tells the roles when it has changed, and then the commands that they were told.
    pub fn look(&mut self, roles: &mut Roles) {
        if self.pairings.written() != self.seen || self.wrong.is_some() {
            let before = self.known.clone();
            let proxies = self.proxies();
            if before.as_ref() != Some(&proxies) {
                roles.pair(proxies);
            }
        }
        self.say_taken();
    }

    /// Where it cannot be written, a command that waits for it says so.
    fn say_taken(&mut self) {
        let [read, said] = &mut self.writings;
        if let Some(writing) = read.filter(|_| read != said)
            && self.taken.say(writing).is_ok()
        {
            *said = Some(writing);
        }
    }
}

/// Which proxies are used, and what is wrong with the file.
fn judged(read: Result<Vec<Pairing>, Failure>, known: Option<&Proxies>) -> (Proxies, Option<String>) {
    match read {
        Ok(all) => (Proxies::of(&all), None),
        Err(failure) => {
            let until = match known {
                Some(_) => "until then all goes on with those that were paired before",
                None => "until then nothing comes through a proxy, and mail that leaves waits",
            };
            let proxies = known.cloned().unwrap_or_else(Proxies::unknown);
            (proxies, Some(format!("the pairings: {failure}; {until}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::box_key::BoxKey;
    use crate::data::DataFolder;

    fn outbound() -> Pairing {
        let host = "clean.example".to_owned();
        let proxy =
            PairedProxy { outbound: true, host: host.clone(), port: 7_026, key: String::new(), own: Vec::new() };
        Pairing { proxy, name: "alice".into(), called: host, since: 0, found_at: None }
    }

    /// Mail left by the house's own line after `postern pair` had said that it leaves in no other way.
    #[test]
    fn what_is_taken_is_what_was_read() {
        let path = std::env::temp_dir().join(format!("postern-taken-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let data = DataFolder::open_or_make(&path).unwrap();
        let key = BoxKey::find(&data, None).unwrap();
        let (kept, taken) = (pairings::of(&data, &key).unwrap(), Taken::of(&data));
        let mut links = Links::new(pairings::of(&data, &key).unwrap(), Taken::of(&data));
        let is_taken = || taken.wait(&kept, Duration::ZERO).unwrap();
        assert!(is_taken(), "there is nothing yet");
        for _ in 0..2 {
            kept.change(|all| {
                all.push(outbound());
                Ok(())
            })
            .unwrap();
            links.say_taken();
            assert!(!is_taken(), "of another writing");
            assert!(links.proxies().outbound && !is_taken(), "read, and the roles not told");
            links.say_taken();
            assert!(is_taken());
        }
        std::fs::write(data.entry("pairings"), b"damaged, and longer than a nonce").unwrap();
        assert!(links.proxies().outbound && taken.wait(&kept, Duration::ZERO).is_err());
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_read_sends_nothing_past_a_proxy() {
        let damaged = || Err(Failure::new("damaged"));
        assert_eq!(judged(Ok(Vec::new()), None), (Proxies::default(), None), "a house that sends by itself");
        let (unknown, wrong) = judged(damaged(), None);
        assert!(unknown.outbound && unknown.all.is_empty());
        assert!(wrong.is_some_and(|wrong| wrong.contains("mail that leaves waits")));
        let (known, wrong) = judged(Ok(vec![outbound()]), Some(&unknown));
        assert!(known.outbound && wrong.is_none());
        assert_eq!(judged(damaged(), Some(&known)).0, known, "as it was");
        let alone = Proxies::default();
        assert_eq!(judged(damaged(), Some(&alone)).0, alone, "nor is anything kept back that was not");
    }
}
