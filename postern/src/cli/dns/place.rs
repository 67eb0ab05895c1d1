//! Where the world is to find a house that is behind inbound proxies: as they say, each asked beside its link; one that cannot be
//! asked now, as it said last.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::House;
use crate::failure::Failure;
use crate::house_addresses;
use crate::pairings::{self, FoundAt, Pairing, Pairings};
use crate::records::{Facts, Found, Kind, Record, Verdict};
use crate::up::upstreams;

/// What is known of it.
#[derive(Debug, Default)]
pub struct Place {
    /// There.
    pub addresses: Vec<IpAddr>,
    /// In words, what nobody can say, and why.
    pub unknown: Vec<String>,
}

/// Asks all of them at once, and keeps what is news.
pub fn look(house: &House, kept: &Pairings, inbound: &[Pairing]) -> Place {
    let host = house.config.hostname();
    let host = host.as_str();
    let ask = |pairing: &Pairing| pairings::found_at(&pairing.proxy, host, upstreams(&house.config));
    let told: Vec<Result<FoundAt, Failure>> = std::thread::scope(|scope| {
        let asking: Vec<_> = inbound.iter().map(|pairing| scope.spawn(move || ask(pairing))).collect();
        let ended = |one: std::thread::ScopedJoinHandle<'_, _>| one.join();
        asking.into_iter().map(|one| ended(one).unwrap_or_else(|_| Err(Failure::new("asking failed")))).collect()
    });
    keep(kept, inbound, &told);
    known(host, inbound, told)
}

/// A disk that takes no writes is no reason not to say what is so.
fn keep(kept: &Pairings, inbound: &[Pairing], told: &[Result<FoundAt, Failure>]) {
    let is_news = |pairing: &Pairing, told: &FoundAt| pairing.found_at.as_ref() != Some(told);
    let all = || inbound.iter().zip(told).filter_map(|(pairing, told)| Some((pairing, told.as_ref().ok()?)));
    if !all().any(|(pairing, told)| is_news(pairing, told)) {
        return;
    }
    let _ = kept.change(|now| {
        for (pairing, told) in all() {
            let same = now.iter_mut().filter(|other| other.proxy == pairing.proxy);
            same.for_each(|other| other.found_at = Some(told.clone()));
        }
        Ok(())
    });
}

fn known(host: &str, inbound: &[Pairing], told: Vec<Result<FoundAt, Failure>>) -> Place {
    let (mut addresses, mut unknown, mut takes_none) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (pairing, told) in inbound.iter().zip(told) {
        let last = || pairing.found_at.clone().filter(|last| last.host == host);
        let called = &pairing.called;
        match told.or_else(|failure| last().ok_or(failure)) {
            Ok(FoundAt { addresses: Some(at), .. }) => addresses.extend(at.iter().map(IpAddr::to_canonical)),
            Ok(FoundAt { addresses: None, .. }) => takes_none.push(format!(
                "{called} takes nothing that is for {host}: its operator must invite this house with `--name {host}`"
            )),
            Err(failure) => {
                unknown.push(format!("{called} has not said yet to which address {host} is to lead: {failure}"));
            }
        }
    }
    // A house may have a second name at a proxy for what is not this host.
    if addresses.is_empty() {
        unknown.append(&mut takes_none);
    }
    Place { addresses: addresses.into_iter().collect(), unknown }
}

/// What is to be said of the addresses of a house behind a proxy. One that is neither the proxy's for this house nor this machine's is
/// no second way: at another of the proxy's its mail waits, and may keep a neighbour's waiting.
pub fn strictly(facts: &Facts, record: &Record, found: &Found, verdict: Verdict) -> Verdict {
    if !facts.is_behind_proxy {
        return verdict;
    }
    judge((record, found, verdict), &facts.addresses, &house_addresses::every())
}

fn judge((record, found, verdict): (&Record, &Found, Verdict), told: &[IpAddr], own: &[IpAddr]) -> Verdict {
    let (Kind::Address(_), Found::Records(found), Verdict::But(_)) = (&record.kind, found, &verdict) else {
        return verdict;
    };
    let elsewhere = |kind: &Kind| match kind {
        Kind::Address(at) if !told.contains(at) && !own.contains(at) => Some(at.to_string()),
        _ => None,
    };
    let elsewhere: Vec<String> = found.iter().filter_map(elsewhere).collect();
    match elsewhere.is_empty() {
        true => verdict,
        false => Verdict::Wrong(format!(
            "{} leads to {}, too, which neither the proxy has for this house nor this machine: remove that, unless it is this house's own line",
            record.name,
            elsewhere.join(" and ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use wire::control::PairedProxy;

    use super::*;

    const HOST: &str = "mail.alice.test";

    fn pairing(called: &str, last: Option<(&str, Option<&[&str]>)>) -> Pairing {
        let proxy =
            PairedProxy { outbound: false, host: called.to_owned(), port: 7_025, key: String::new(), own: Vec::new() };
        let found_at = last.map(|(host, to)| found(host, to));
        Pairing { proxy, name: HOST.to_owned(), called: called.to_owned(), since: 0, found_at }
    }

    fn found(host: &str, to: Option<&[&str]>) -> FoundAt {
        let addresses = to.map(|to| to.iter().map(|at| at.parse().unwrap()).collect());
        FoundAt { host: host.to_owned(), addresses }
    }

    fn silent() -> Result<FoundAt, Failure> {
        Err(Failure::new("nothing answers"))
    }

    fn place(pairing: Pairing, told: Result<FoundAt, Failure>) -> (String, String) {
        let Place { addresses, unknown } = known(HOST, &[pairing], vec![told]);
        (addresses.iter().map(|at| format!("{at} ")).collect(), unknown.join("; "))
    }

    #[test]
    fn what_was_said_last_is_known_without_a_link() {
        let last = || pairing("clean.test", Some((HOST, Some(&["44.0.0.21", "::ffff:44.0.0.22"]))));
        assert_eq!(place(last(), silent()), ("44.0.0.21 44.0.0.22 ".into(), String::new()));
        let now = found(HOST, Some(&["2a00:44::1"]));
        assert_eq!(place(last(), Ok(now)), ("2a00:44::1 ".into(), String::new()), "it has changed");
    }

    #[test]
    fn what_nobody_has_said_is_not_made_up() {
        for before in [None, Some(("mail.old.test", Some(&["44.0.0.21"][..])))] {
            let (addresses, unknown) = place(pairing("clean.test", before), silent());
            assert_eq!(addresses, "");
            assert_eq!(
                unknown,
                format!("clean.test has not said yet to which address {HOST} is to lead: nothing answers")
            );
        }
    }

    #[test]
    fn at_another_address_of_the_proxy_mail_waits() {
        let at = |text: &str| -> IpAddr { text.parse().unwrap() };
        let kind = |text: &str| Kind::Address(at(text));
        let record = Record { name: HOST.to_owned(), kind: kind("44.0.0.21"), purpose: "" };
        let (told, own) = ([at("44.0.0.21")], [at("2a00:71::2")]);
        let judged = |also: &str, verdict: Verdict| {
            let found = Found::Records(vec![kind("44.0.0.21"), kind(also)]);
            judge((&record, &found, verdict), &told, &own)
        };
        let but = || Verdict::But("some mail may go there".into());
        assert_eq!(judged("2a00:71::2", but()), but(), "its own line");
        for other in ["44.0.0.20", "2a00:44::20"] {
            let Verdict::Wrong(words) = judged(other, but()) else { panic!("{other}") };
            assert!(words.contains(other) && !words.contains("44.0.0.21"), "{words}");
        }
        assert_eq!(judged("44.0.0.21", Verdict::Fine), Verdict::Fine);
    }

    #[test]
    fn a_name_that_the_proxy_does_not_take_leads_nowhere() {
        let (addresses, unknown) = place(pairing("clean.test", None), Ok(found(HOST, None)));
        assert!(addresses.is_empty() && unknown.contains("--name mail.alice.test"), "{unknown}");
        let both = [pairing("clean.test", None), pairing("other.test", None)];
        let told = vec![Ok(found(HOST, None)), Ok(found(HOST, Some(&["44.0.0.21"])))];
        assert!(known(HOST, &both, told).unknown.is_empty(), "another proxy does");
    }
}
