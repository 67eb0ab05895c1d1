//! Where the world is to find a house that is behind inbound proxies: as they say, each asked beside its link; one that cannot be
//! asked now, as it said last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use relay_link::operator::config::is_host;

use super::House;
use crate::failure::Failure;
use crate::house_addresses;
use crate::pairings::{self, FoundAt, Pairing, Pairings};
use crate::records::{self, Facts, Found, Kind, Record, Verdict};
use crate::up::upstreams;

/// What is known of it.
#[derive(Debug, Default)]
pub struct Place {
    /// There.
    pub addresses: Vec<IpAddr>,
    /// Its further names at a proxy, and where they are to lead.
    pub also: Vec<(String, Vec<IpAddr>)>,
    /// In words, what nobody can say, and why.
    pub unknown: Vec<String>,
}

/// What a proxy has said; `None`: it does not know this house any more.
type Told = Result<Option<FoundAt>, Failure>;

/// Asks all of them at once, and keeps what is news.
pub fn look(house: &House, kept: &Pairings, inbound: &[Pairing]) -> Place {
    let host = house.config.hostname().to_lowercase();
    let host = host.as_str();
    let ask =
        |pairing: &Pairing| pairings::found_at(&pairing.proxy, asked(pairing, inbound, host), upstreams(&house.config));
    let told: Vec<Told> = std::thread::scope(|scope| {
        let asking: Vec<_> = inbound.iter().map(|pairing| scope.spawn(move || ask(pairing))).collect();
        let ended = |one: std::thread::ScopedJoinHandle<'_, _>| one.join();
        asking.into_iter().map(|one| ended(one).unwrap_or_else(|_| Err(Failure::new("asking failed")))).collect()
    });
    keep(kept, inbound, &told);
    known(host, inbound, told)
}

/// For which name a proxy is asked: for this host's, but where it serves that by another pairing, for this one's.
fn asked<'a>(pairing: &'a Pairing, inbound: &[Pairing], host: &'a str) -> &'a str {
    let same = |other: &&Pairing| other.proxy.key == pairing.proxy.key;
    let is_served = inbound.iter().filter(same).any(|other| other.name == host);
    if is_served && is_host(&pairing.name) { &pairing.name } else { host }
}

/// A disk that takes no writes is no reason not to say what is so.
fn keep(kept: &Pairings, inbound: &[Pairing], told: &[Told]) {
    let is_news = |pairing: &Pairing, told: &FoundAt| pairing.found_at.as_ref() != Some(told);
    let all = || inbound.iter().zip(told).filter_map(|(pairing, told)| Some((pairing, told.as_ref().ok()?.as_ref()?)));
    if !all().any(|(pairing, told)| is_news(pairing, told)) {
        return;
    }
    let _ = kept.change(|now| {
        for (pairing, told) in all() {
            let same = now.iter_mut().filter(|other| other.proxy == pairing.proxy && other.name == pairing.name);
            same.for_each(|other| other.found_at = Some(told.clone()));
        }
        Ok(())
    });
}

fn known(host: &str, inbound: &[Pairing], told: Vec<Told>) -> Place {
    let (mut addresses, mut also, mut unknown, mut takes_none) =
        (BTreeSet::new(), BTreeMap::<String, BTreeSet<IpAddr>>::new(), Vec::new(), Vec::new());
    for (pairing, told) in inbound.iter().zip(told) {
        let name = asked(pairing, inbound, host);
        let last = || pairing.found_at.clone().filter(|last| last.host == name);
        let called = &pairing.called;
        match told.or_else(|failure| last().map(Some).ok_or(failure)) {
            Ok(Some(FoundAt { addresses: Some(at), .. })) => {
                let found = if name == host { &mut addresses } else { also.entry(name.to_owned()).or_default() };
                found.extend(at.iter().map(IpAddr::to_canonical));
            }
            Ok(Some(_)) if name == host => takes_none.push(format!(
                "{called} takes nothing that is for {host}: its operator must invite this house with `--name {host}`"
            )),
            told => unknown.push(in_words(called, name, told)),
        }
    }
    // A house may have a second name at a proxy for what is not this host.
    if addresses.is_empty() {
        unknown.append(&mut takes_none);
    }
    let also = also.into_iter().map(|(name, at)| (name, at.into_iter().collect())).collect();
    Place { addresses: addresses.into_iter().collect(), also, unknown }
}

/// Why nobody can say where a name is to lead.
fn in_words(called: &str, name: &str, told: Told) -> String {
    match told {
        Ok(Some(_)) => {
            format!(
                "{called} takes nothing that is for {name} any more: if that is meant, `postern pair revoke {name}`"
            )
        }
        Ok(None) => format!(
            "{called} does not know this house any more, and {name} must lead elsewhere, or its operator must give you a new code"
        ),
        Err(failure) => format!("{called} has not said yet to which address {name} is to lead: {failure}"),
    }
}

/// What is to be said of the addresses of a house behind a proxy, whose own are `proxys`. Another of the proxy's is no second way: there
/// its mail waits, and may keep a neighbour's waiting. One that is nobody's known may be this house's own line, which a router
/// translates. And whoever finds the house by IPv4 misses no IPv6.
pub fn strictly(facts: &Facts, records: &[Record], found: &[Found], proxys: &[IpAddr]) -> Vec<Verdict> {
    let found: Vec<Found> =
        records.iter().zip(found).map(|(record, found)| by_one_name(facts, record, found)).collect();
    let found = found.as_slice();
    let verdicts = records.iter().zip(found).map(|(record, found)| (record, found, records::judge(record, found)));
    if !facts.is_behind_proxy {
        return verdicts.map(|(.., verdict)| verdict).collect();
    }
    let own = house_addresses::every();
    let judged = verdicts.map(|one| {
        let also = facts.also.iter().find(|(name, _)| *name == one.0.name).map(|(_, at)| at);
        judge(one, also.unwrap_or(&facts.addresses), (&own, proxys))
    });
    let judged: Vec<Verdict> = judged.collect();
    let each = records.iter().zip(found).zip(&judged);
    each.map(|((record, found), verdict)| {
        without_six(record, found, (records, &judged)).unwrap_or_else(|| verdict.clone())
    })
    .collect()
}

/// A house that is found by IPv4 needs no AAAA record.
fn without_six(record: &Record, found: &Found, (records, judged): (&[Record], &[Verdict])) -> Option<Verdict> {
    let (Kind::Address(wanted @ IpAddr::V6(_)), Found::Records(found)) = (&record.kind, found) else { return None };
    let is_absent = !found.iter().any(|one| one.name() == record.kind.name());
    let is_four = |other: &Record| other.name == record.name && matches!(other.kind, Kind::Address(IpAddr::V4(_)));
    let mut fours = records.iter().zip(judged).filter(|(other, _)| is_four(other));
    (is_absent && fours.any(|(_, verdict)| matches!(verdict, Verdict::Fine | Verdict::But(_)))).then(|| {
        let name = &record.name;
        Verdict::But(format!(
            "{name} has no AAAA record, and needs none: the proxy has {wanted}, too, which you may add"
        ))
    })
}

/// A domain's mail may go to any of the names that this house has at a proxy: by each it comes here.
fn by_one_name(facts: &Facts, record: &Record, found: &Found) -> Found {
    let (Kind::Mx(_, host), mut found) = (&record.kind, found.clone()) else { return found.clone() };
    if let Found::Records(all) | Found::Aliased(all, _) = &mut found {
        let is_ours =
            |to: &str| facts.also.iter().any(|(name, _)| to.strip_suffix('.').unwrap_or(to).eq_ignore_ascii_case(name));
        let to = all.iter_mut().filter_map(|one| if let Kind::Mx(_, to) = one { Some(to) } else { None });
        to.filter(|to| is_ours(to)).for_each(|to| to.clone_from(host));
    }
    found
}

fn judge(
    (record, found, verdict): (&Record, &Found, Verdict),
    told: &[IpAddr],
    (own, proxys): (&[IpAddr], &[IpAddr]),
) -> Verdict {
    let (Kind::Address(_), Found::Records(found)) = (&record.kind, found) else { return verdict };
    let at = |kind: &Kind| if let Kind::Address(at) = kind { Some(*at) } else { None };
    let found = found.iter().filter_map(at);
    let name = &record.name;
    let elsewhere: Vec<IpAddr> = found.filter(|at| !told.contains(at) && !own.contains(at)).collect();
    if elsewhere.is_empty() || !matches!(verdict, Verdict::But(_)) {
        return verdict;
    }
    let is_proxys = elsewhere.iter().any(|at| proxys.contains(at));
    let leads = elsewhere.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" and ");
    match is_proxys {
        true => Verdict::Wrong(format!(
            "{name} leads to {leads}, too, where the proxy does not take mail in for this house: remove that"
        )),
        false => Verdict::But(format!(
            "{name} leads to {leads}, too, which neither the proxy has for this house nor this machine: remove that, unless it is \
             this house's own line"
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

    fn silent() -> Told {
        Err(Failure::new("nothing answers"))
    }

    fn place(pairing: Pairing, told: Told) -> (String, String) {
        let Place { addresses, unknown, .. } = known(HOST, &[pairing], vec![told]);
        (addresses.iter().map(|at| format!("{at} ")).collect(), unknown.join("; "))
    }

    #[test]
    fn what_was_said_last_is_known_without_a_link() {
        let last = || pairing("clean.test", Some((HOST, Some(&["44.0.0.21", "::ffff:44.0.0.22"]))));
        assert_eq!(place(last(), silent()), ("44.0.0.21 44.0.0.22 ".into(), String::new()));
        let now = found(HOST, Some(&["2a00:44::1"]));
        assert_eq!(place(last(), Ok(Some(now))), ("2a00:44::1 ".into(), String::new()), "it has changed");
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
            let proxys = ["44.0.0.20", "44.0.0.21", "2a00:44::20"].map(at);
            judge((&record, &found, verdict), &told, (&own, &proxys))
        };
        let but = || Verdict::But("some mail may go there".into());
        assert_eq!(judged("2a00:71::2", but()), but(), "its own line");
        for other in ["44.0.0.20", "2a00:44::20"] {
            let Verdict::Wrong(words) = judged(other, but()) else { panic!("{other}") };
            assert!(words.contains(other) && !words.contains("44.0.0.21"), "{words}");
        }
        // Behind a router a house does not know its own line's address.
        let Verdict::But(words) = judged("45.0.0.9", but()) else { panic!("a line") };
        assert!(words.contains("45.0.0.9, too") && words.contains("own line"), "{words}");
        assert_eq!(judged("44.0.0.21", Verdict::Fine), Verdict::Fine);
    }

    /// The proxy's operator says of it no more than that.
    #[test]
    fn a_missing_aaaa_is_no_fault() {
        let at = |text: &str| -> IpAddr { text.parse().unwrap() };
        let six = Record { name: HOST.to_owned(), kind: Kind::Address(at("2a00:44::21")), purpose: "" };
        let four = Record { kind: Kind::Address(at("44.0.0.21")), ..six.clone() };
        let both = [four, six];
        let facts =
            Facts { is_behind_proxy: true, addresses: vec![at("44.0.0.21"), at("2a00:44::21")], ..Facts::default() };
        // As they are looked up: of each kind what is there.
        let judged = |fours: &[&str], sixes: &[&str]| {
            let found =
                [fours, sixes].map(|all| Found::Records(all.iter().map(|text| Kind::Address(at(text))).collect()));
            strictly(&facts, &both, &found, &[])
        };
        let all = judged(&["44.0.0.21"], &[]);
        assert!(
            all[0] == Verdict::Fine && matches!(&all[1], Verdict::But(words) if words.contains("may add")),
            "{all:?}"
        );
        for (fours, sixes) in [(&["44.0.0.9"][..], &[][..]), (&[], &[]), (&["44.0.0.21"], &["2a00:1::1"])] {
            assert!(matches!(judged(fours, sixes)[1], Verdict::Wrong(_)), "{fours:?} {sixes:?}");
        }
        assert!(matches!(judged(&[], &["2a00:44::21"])[0], Verdict::Wrong(_)), "many senders have no IPv6");
    }

    #[test]
    fn mail_may_come_by_the_second_name() {
        let at = |text: &str| -> IpAddr { text.parse().unwrap() };
        let mx = |host: &str| Kind::Mx(10, host.to_owned());
        let facts = Facts {
            is_behind_proxy: true,
            also: vec![("mail.club.test".into(), vec![at("44.0.0.22")])],
            ..Facts::default()
        };
        let record = Record { name: "club.test".into(), kind: mx(HOST), purpose: "" };
        let judged = |found: &[&str]| {
            let found = Found::Records(found.iter().map(|host| mx(host)).collect());
            strictly(&facts, std::slice::from_ref(&record), &[found], &[]).remove(0)
        };
        for fine in [&["Mail.Club.test."][..], &[HOST, "mail.club.test"], &[HOST]] {
            assert_eq!(judged(fine), Verdict::Fine, "{fine:?}");
        }
        assert!(matches!(judged(&["mail.bob.test"]), Verdict::Wrong(_)));
        assert!(
            matches!(judged(&["mail.club.test", "mail.bob.test"]), Verdict::But(words) if words.contains("mail.bob.test"))
        );
    }

    #[test]
    fn a_second_name_has_its_own_address() {
        let club = Pairing { name: "mail.club.test".to_owned(), ..pairing("clean.test", None) };
        let both = [pairing("clean.test", None), club.clone()];
        assert_eq!([asked(&both[0], &both, HOST), asked(&club, &both, HOST)], [HOST, "mail.club.test"]);
        assert_eq!(asked(&club, std::slice::from_ref(&club), HOST), HOST, "nothing else serves this host");
        let odd = Pairing { name: "a\"b".to_owned(), ..club.clone() };
        assert_eq!(asked(&odd, &[both[0].clone(), odd.clone()], HOST), HOST, "no name for a zone file");
        let told = |club| vec![Ok(Some(found(HOST, Some(&["44.0.0.21"])))), club];
        let served = known(HOST, &both, told(Ok(Some(found("mail.club.test", Some(&["44.0.0.22"]))))));
        let at = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert_eq!((served.addresses, served.unknown), (vec![at("44.0.0.21")], vec![]));
        assert_eq!(served.also, [("mail.club.test".to_owned(), vec![at("44.0.0.22")])]);
        let forgotten = known(HOST, &both, told(Ok(Some(found("mail.club.test", None)))));
        assert!(forgotten.also.is_empty() && forgotten.unknown[0].contains("nothing that is for mail.club.test"));
    }

    /// Where it led before is of no use to anybody.
    #[test]
    fn a_proxy_that_knows_this_house_no_more_is_told_of() {
        let (addresses, unknown) = place(pairing("clean.test", Some((HOST, Some(&["44.0.0.21"])))), Ok(None));
        assert!(addresses.is_empty() && unknown.contains("does not know this house any more"), "{unknown}");
    }

    #[test]
    fn a_name_that_the_proxy_does_not_take_leads_nowhere() {
        let (addresses, unknown) = place(pairing("clean.test", None), Ok(Some(found(HOST, None))));
        assert!(addresses.is_empty() && unknown.contains("--name mail.alice.test"), "{unknown}");
        let both = [pairing("clean.test", None), pairing("other.test", None)];
        let told = vec![Ok(Some(found(HOST, None))), Ok(Some(found(HOST, Some(&["44.0.0.21"]))))];
        assert!(known(HOST, &both, told).unknown.is_empty(), "another proxy does");
    }
}
