//! Where the homes' names lead, beside where the operator lets them live: what `doctor` says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use relay_link::dns::Addresses;
use relay_link::operator::findings::Finding;

use crate::grant::HomeGrant;
use crate::leads::is_public;
use crate::route::{Here, Map};

/// What DNS says of each name; `None`: nobody has answered.
pub(super) type Found = BTreeMap<String, Option<Addresses>>;

/// What is to be judged.
#[derive(Debug)]
pub(super) struct Whither {
    map: Map,
    found: Found,
    here: Here,
}

impl Whither {
    /// Of a proxy that is `here`.
    pub(super) const fn new(map: Map, found: Found, here: Here) -> Self {
        Self { map, found, here }
    }

    /// All of it.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let hidden = self.map.hides_some.then(|| {
            Finding::bad(
                "a home's file cannot be read: senders that give no proof are asked whom they want, and wait",
                "the log of `run` names it: put it right, or invite that home again",
            )
        });
        let names = self
            .map
            .homes
            .iter()
            .flat_map(|(home, grant)| grant.names.iter().map(move |name| self.name(home, grant, name)));
        let addresses = self.ours().into_iter().filter_map(|address| self.address(address));
        hidden.into_iter().chain(names).chain(addresses).collect()
    }

    /// A home's name must lead to where it lives.
    fn name(&self, home: &str, grant: &HomeGrant, name: &str) -> Finding {
        let places = self.map.places(grant, &self.here);
        let wanted = if places.is_empty() { "an address of this proxy".to_owned() } else { list(&places) };
        let point = format!("its family must point it at {wanted}");
        let answer =
            self.found.get(name).and_then(Option::as_ref).filter(|it| !it.found.is_empty() || it.silent.is_none());
        let Some(answer) = answer else { return self.silent(home, name) };
        let found: BTreeSet<IpAddr> = answer.found.iter().map(IpAddr::to_canonical).collect();
        if found.is_empty() && self.map.expected.contains(home) {
            let is_here = |at: &IpAddr| self.map.strays.at.get(at).is_some_and(|homes| homes.contains(home));
            if let Some(at) = self.ours().iter().find(|at| is_here(at)) {
                let words = format!(
                    "{home}: {name} leads nowhere yet, and mail of its domain comes to {at} already, or did within a day"
                );
                return Finding::weak(words, "until its box has come, senders that give no proof wait there");
            }
            return Finding::good(format!("{home}: {name} leads nowhere yet"));
        }
        if found.is_empty() {
            return Finding::bad(format!("{home}: {name} has no address in DNS"), point);
        }
        if let Some((address, whose)) = found.iter().find_map(|at| Some((at, self.anothers(home, grant, *at)?))) {
            let words = format!("{home}: {name} leads to {address}, which is {whose}");
            return Finding::bad(words, format!("{point}; until then senders that give no proof wait, at {address}"));
        }
        let ours = self.ours();
        let not_here: BTreeSet<IpAddr> = found.difference(&places).copied().collect();
        let is_asked = |at: &IpAddr| answer.silent.is_none_or(|silent| !silent.is_of(*at));
        let absent: BTreeSet<IpAddr> = places.difference(&found).copied().filter(is_asked).collect();
        if found.is_disjoint(&places) || not_here.iter().any(|at| ours.contains(at)) {
            return Finding::bad(format!("{home}: {name} leads to {}", list(&found)), point);
        }
        if !not_here.is_empty() {
            let words = format!("{home}: {name} leads to {}, too, which is not this proxy's", list(&not_here));
            return Finding::weak(words, "if that is not its family's own line, its family must remove it");
        }
        if !absent.is_empty() {
            let words = format!("{home}: {name} leads to {}, and not to {}", list(&found), list(&absent));
            return Finding::weak(words, "its family may add that: `postern dns` says so, too");
        }
        if answer.silent.is_some() {
            let words =
                format!("{home}: {name} leads here, but its DNS servers do not answer for every kind of address");
            return Finding::weak(words, "some senders may take that for no answer at all");
        }
        Finding::good(format!("{home}: {name} leads here"))
    }

    /// The gate goes on with what it heard last.
    fn silent(&self, home: &str, name: &str) -> Finding {
        let words = format!("{home}: {name} cannot be looked up: its DNS servers do not answer");
        let then = match self.map.strays.anywhere.contains(home) {
            true => {
                "until they do, or for ten minutes after it was invited, its senders may mean any address here: those that give no proof \
                 wait, at every address"
            }
            false => "senders find it as little; what is known of it stays as it was",
        };
        Finding::bad(words, then)
    }

    /// Every address of the proxy that is known.
    fn ours(&self) -> BTreeSet<IpAddr> {
        let owned = self.map.homes.values().flat_map(|grant| &grant.addresses).chain(self.map.streets.keys());
        owned.chain(&self.here.named).chain(&self.here.bound).copied().collect()
    }

    /// Whose an address is, if it is not this home's.
    fn anothers(&self, home: &str, grant: &HomeGrant, address: IpAddr) -> Option<String> {
        match (self.map.owner(address), self.map.streets.get(&address)) {
            (Some(owner), _) => (owner != home).then(|| format!("{owner}'s alone")),
            (None, Some(street)) => (grant.street.as_ref() != Some(street)).then(|| format!("the street {street}'s")),
            (None, None) => None,
        }
    }

    /// Senders without SNI are served where proof or one street is (DESIGN section 7): the operator is told where neither is.
    fn address(&self, address: IpAddr) -> Option<Finding> {
        let (meant, astray) = (self.map.meant(address), self.map.astray(address));
        let served = meant.len() < 2 || self.map.street(address).is_some();
        let owned = self.map.owner(address).is_some() || self.map.streets.contains_key(&address);
        if served || self.map.hides_some || !owned && !self.map.strays.at.contains_key(&address) {
            return None;
        }
        let never = "a sender that sends no SNI and no ticket is never served there";
        Some(if owned && !is_public(address) {
            let words = format!(
                "{address} is behind a router: whose names lead there cannot be seen, so it is no proof, and {never}"
            );
            Finding::weak(words, "give this machine the public address itself")
        } else if astray.is_empty() {
            Finding::weak(
                format!("homes of several streets share {address}: {never}"),
                "give each street its own address (`streets`), or each home (`invite --address`)",
            )
        } else {
            let words = format!("names of {} lead to {address}, or may, which is others': {never}", astray.join(", "));
            Finding::weak(words, "see what is said of them; a day after they led there last it is well")
        })
    }
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "44.0.0.20";
    const LANE: &str = "44.0.0.21";

    /// A home, its street, its own addresses, and where DNS leads its name.
    type Living<'a> = (&'a str, Option<&'a str>, &'a [&'a str], &'a [&'a str]);

    fn said(homes: &[Living<'_>], streets: &[(&str, &str)]) -> String {
        let address = |text: &&str| text.parse::<IpAddr>().unwrap();
        let (mut map, mut found) = (Map::default(), Found::new());
        for (name, street, own, to) in homes {
            let host = format!("mail.{name}.test");
            let grant = HomeGrant {
                names: [host.clone()].into(),
                street: street.map(str::to_owned),
                addresses: own.iter().map(address).collect(),
                ..HomeGrant::default()
            };
            map.homes.insert((*name).to_owned(), grant);
            let to: Vec<IpAddr> = to.iter().map(address).collect();
            to.iter().for_each(|to| map.strays.lead(*to, name));
            found.insert(host, Some(Addresses::all(to)));
        }
        map.streets = streets.iter().map(|(at, street)| (address(at), (*street).to_owned())).collect();
        let findings = Whither::new(map, found, Here::new(&[address(&CLEAN)], &[])).findings();
        findings.iter().map(|finding| format!("{finding}\n")).collect()
    }

    #[test]
    fn each_street_has_its_address_and_its_names_lead_there() {
        let streets = [(LANE, "lane"), (CLEAN, "hill")];
        let homes: [(_, _, &[&str], _); 3] = [
            ("alice", Some("lane"), &[], &[LANE][..]),
            ("bob", Some("lane"), &[], &[LANE]),
            ("mallory", Some("hill"), &[], &[CLEAN]),
        ];
        let text = said(&homes, &streets);
        assert!(!text.contains("BAD") && !text.contains("weak"), "{text}");
        assert_eq!(text.matches("good").count(), 3);
    }

    #[test]
    fn a_name_that_leads_to_another_street_is_bad() {
        let streets = [(LANE, "lane"), (CLEAN, "hill")];
        let text = said(
            &[
                ("alice", Some("lane"), &[], &[LANE]),
                ("bob", Some("lane"), &[], &[CLEAN]),
                ("mallory", Some("hill"), &[], &[CLEAN]),
            ],
            &streets,
        );
        assert!(text.contains("BAD   bob: mail.bob.test leads to 44.0.0.20, which is the street hill's\n      -> its family must point it at 44.0.0.21;"), "{text}");
        assert!(text.contains("good  alice") && text.contains("good  mallory"), "{text}");
        assert!(text.contains("weak  names of bob lead to 44.0.0.20"), "{text}");
    }

    #[test]
    fn homes_that_share_an_address_or_have_their_own() {
        let text = said(&[("carol", None, &[], &[CLEAN]), ("dave", None, &[], &[CLEAN])], &[]);
        assert!(text.contains("weak  homes of several streets share 44.0.0.20"), "{text}");
        let text = said(
            &[("carol", None, &["44.0.0.31"], &["44.0.0.31"]), ("dave", None, &["44.0.0.32"], &["44.0.0.32"])],
            &[],
        );
        assert!(!text.contains("weak") && !text.contains("BAD"), "nobody shares: {text}");
        let text = said(
            &[("carol", None, &["44.0.0.31"], &["44.0.0.31"]), ("dave", None, &["44.0.0.32"], &["44.0.0.31"])],
            &[],
        );
        assert!(text.contains("BAD   dave: mail.dave.test leads to 44.0.0.31, which is carol's alone\n      -> its family must point it at 44.0.0.32"), "{text}");
        let text = said(&[("alice", Some("lane"), &[], &[CLEAN]), ("bob", Some("lane"), &[], &[CLEAN])], &[]);
        assert!(!text.contains("weak"), "one street: {text}");
        let text = said(&[("alice", None, &[], &["44.0.0.99"]), ("bob", None, &[], &[])], &[]);
        assert!(text.contains("leads to 44.0.0.99\n      -> its family must point it at 44.0.0.20"), "{text}");
        assert!(text.contains("mail.bob.test has no address in DNS"), "{text}");
    }

    /// There senders that give no proof would wait, though the home has an address where they need not.
    #[test]
    fn who_has_an_address_does_not_live_at_all_the_others() {
        let text = said(&[("alice", None, &[LANE], &[CLEAN])], &[]);
        let bad = "BAD   alice: mail.alice.test leads to 44.0.0.20\n      -> its family must point it at 44.0.0.21";
        assert!(text.contains(bad), "{text}");
        let text = said(&[("alice", None, &["2a00:44::21"], &["2a00:44::21", CLEAN])], &[]);
        assert!(text.contains("good  alice"), "whose senders have no IPv6 find the shared one: {text}");
        let text = said(&[("alice", None, &["2a00:44::21"], &["2a00:44::21"])], &[]);
        assert!(text.contains("weak  alice") && text.contains("and not to 44.0.0.20"), "{text}");
        let text = said(&[("alice", None, &[LANE, "2a00:44::21"], &[LANE])], &[]);
        assert!(text.contains("weak  alice: mail.alice.test leads to 44.0.0.21, and not to 2a00:44::21"), "{text}");
        let text = said(&[("alice", Some("lane"), &[], &[CLEAN])], &[(LANE, "lane")]);
        assert!(text.contains(bad), "{text}");
        let text = said(&[("alice", None, &[LANE], &[CLEAN, LANE])], &[]);
        assert!(text.contains("BAD   alice: mail.alice.test leads to 44.0.0.20 or 44.0.0.21"), "{text}");
        let text = said(&[("alice", None, &[LANE], &[LANE, "2a00:71::2"])], &[]);
        assert!(text.contains("weak  alice: mail.alice.test leads to 2a00:71::2, too"), "a line of her own: {text}");
    }

    fn of_one(answer: Option<Addresses>, change: impl FnOnce(&mut Map)) -> String {
        let host = "mail.alice.test".to_owned();
        let grant = HomeGrant { names: [host.clone()].into(), ..HomeGrant::default() };
        let mut map = Map { homes: [("alice".to_owned(), grant)].into(), ..Map::default() };
        change(&mut map);
        let here = Here::new(&[CLEAN, "2a00:44::20"].map(|text| text.parse().unwrap()), &[]);
        Whither::new(map, Found::from([(host, answer)]), here).findings()[0].to_string()
    }

    #[test]
    fn a_question_that_fails_is_said_as_what_it_means() {
        let half = |found: &[&str]| {
            let found = found.iter().map(|text| text.parse().unwrap()).collect();
            Some(Addresses { found, silent: Some(relay_link::dns::Silent::Six) })
        };
        let said = of_one(half(&[CLEAN]), |_| ());
        assert!(said.starts_with("weak") && said.contains("leads here, but") && !said.contains("and not to"), "{said}");
        for answer in [half(&[]), None] {
            let said = of_one(answer.clone(), |_| ());
            assert!(said.contains("BAD") && said.contains("stays as it was"), "{said}");
            let said = of_one(answer, |map| map.strays.anywhere.extend(["alice".to_owned()]));
            assert!(said.contains("BAD") && said.contains("ten minutes after it was invited"), "{said}");
        }
        let nowhere = Some(Addresses::default());
        assert!(of_one(nowhere.clone(), |_| ()).contains("BAD   alice: mail.alice.test has no address"));
        let said = of_one(nowhere, |map| map.expected.extend(["alice".to_owned()]));
        assert!(said.starts_with("good") && said.contains("nowhere yet"), "{said}");
        let said = of_one(Some(Addresses::default()), |map| {
            map.expected.insert("alice".to_owned());
            map.strays.lead(CLEAN.parse().unwrap(), "alice");
        });
        assert!(said.starts_with("weak") && said.contains("comes to 44.0.0.20 already"), "{said}");
    }

    #[test]
    fn behind_a_router_nothing_is_seen() {
        let text = said(
            &[("alice", Some("lane"), &[], &[CLEAN]), ("bob", Some("hill"), &[], &[CLEAN])],
            &[("10.0.0.2", "lane")],
        );
        assert!(text.contains("weak  10.0.0.2 is behind a router"), "{text}");
    }
}
