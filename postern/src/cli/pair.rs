//! `postern pair CODE|list|revoke`: the proxies at clean addresses that this house is paired with.

use std::time::Duration;

use clap::Subcommand;
use relay_link::code::{Kind, PairingCode, Place};
use relay_link::link::Seen;
use serde_json::{Value, json};
use wire::control::PairedProxy;

use super::{House, output};
use crate::box_key::BoxKey;
use crate::failure::Failure;
use crate::pairings::{self, Pairing, Pairings};
use crate::up;

/// Pair this house with a proxy at a clean address.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "The proxy's operator runs `inbound-proxy invite --name mail.example.org`, and gives you the code that \
    it prints. Examples:\n  postern pair clean.example:7025/g0v1-8hwk-...\n  postern pair - < code.txt\n  postern pair list\n  \
    postern pair revoke clean.example"
)]
pub struct Pair {
    /// The code, as the operator gave it; `-`: asks for it, since others on this machine see what is typed here
    code: Option<String>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show all proxies
    List,
    /// Use a proxy no more
    Revoke {
        /// What `postern pair list` shows; where one host does more, with its port or what it calls this house: clean.example:7026,
        /// alice@clean.example
        proxy: String,
    },
}

impl Pair {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn run(self, house: &mut House) -> Result<(), Failure> {
        let key = BoxKey::find(&house.data, house.secrets.passphrase())?;
        let kept = pairings::of(&house.data, &key)?;
        match (self.code, self.what) {
            (_, Some(What::List)) => list(house, &kept.read()?),
            (_, Some(What::Revoke { proxy })) => revoke(house, &kept, &proxy),
            (Some(code), None) if code == "-" => {
                let code = house.secrets.pairing_code()?;
                pair(house, &kept, &code)
            }
            (Some(code), None) => pair(house, &kept, &code),
            (None, None) => Err(Failure::new("which code? The proxy's operator has it")),
        }
    }
}

fn pair(house: &House, kept: &Pairings, code: &str) -> Result<(), Failure> {
    // Before the code is used up.
    kept.can_change()?;
    let all = kept.read()?;
    room(&all, code)?;
    let paired = pairings::pair(code, &all, up::upstreams(&house.config))?;
    let (name, called) = (paired.name.clone(), paired.called.clone());
    let outbound = paired.proxy.outbound;
    let ended = kept.change(|all| Ok(join(all, paired)))?;
    learn_place(house, kept)?;
    let taken = taken(house, kept)?;
    let unserved = if outbound { None } else { unserved(&kept.read()?, &house.config.hostname()) };
    let names: Vec<&String> = ended.iter().map(|pairing| &pairing.name).collect();
    house.print(&json!({"proxy": called, "name": name, "outbound": outbound, "ended": names, "taken": taken}), || {
        let what = if outbound { "takes this house's mail out" } else { "brings this house its mail" };
        let over = |old: &&String| {
            format!(
                "\nThis house is {old} there no more: tell its operator to revoke that (`outbound-proxy revoke {old}`)."
            )
        };
        let over: String = names.iter().filter(|old| ***old != name).map(over).collect();
        let unserved = unserved.unwrap_or_default();
        format!("Paired: {called} {what}; its operator calls this house {name}.{over}{unserved}{}", not_taken(taken))
    })
}

/// A house that runs looks every few seconds; it may be starting just now.
const TAKES_WITHIN: Duration = Duration::from_secs(10);

/// Waits for the house that runs: of what leaves it, nothing goes the old way once this command says that it goes another. `None`: it does
/// not run.
fn taken(house: &House, kept: &Pairings) -> Result<Option<bool>, Failure> {
    let taken = || pairings::Taken::of(&house.data).wait(kept, TAKES_WITHIN);
    house.told.as_ref().map(|_| taken()).transpose()
}

/// In words, when the house that runs goes on as before.
const fn not_taken(taken: Option<bool>) -> &'static str {
    match taken {
        Some(false) => {
            "\nThe house that runs has not seen it yet: until it has, mail goes as before. Start it anew if that lasts."
        }
        _ => "",
    }
}

/// What is to be done where no inbound proxy takes mail for what this house calls itself.
fn unserved(all: &[Pairing], hostname: &str) -> Option<String> {
    let inbound = || all.iter().filter(|pairing| !pairing.proxy.outbound);
    let is_alien = |pairing: &Pairing| {
        pairing.found_at.as_ref().is_some_and(|found| found.host == hostname && found.addresses.is_none())
    };
    let name = &inbound().next()?.name;
    inbound().all(is_alien).then(|| {
        format!(
            "\nThere the world finds this house as {name}, but it calls itself {hostname}: write `hostname = \"{name}\"` into \
             postern.toml, and start the box anew."
        )
    })
}

/// Adds one; returns those in whose place it comes. Under another name an inbound proxy has other mail for this house, so both
/// stay. An outbound one has a budget for each name, and a house has one.
fn join(all: &mut Vec<Pairing>, paired: Pairing) -> Vec<Pairing> {
    let is_same = |other: &Pairing| {
        (&other.proxy.host, other.proxy.port) == (&paired.proxy.host, paired.proxy.port)
            && (paired.proxy.outbound || other.name == paired.name)
    };
    let ended = all.extract_if(.., |other| is_same(other)).collect();
    all.push(paired);
    ended
}

/// So that `postern dns` knows where this house is found, should the proxy be away by then.
fn learn_place(house: &House, kept: &Pairings) -> Result<(), Failure> {
    let inbound: Vec<Pairing> = kept.read()?.into_iter().filter(|pairing| !pairing.proxy.outbound).collect();
    super::dns::place(house, kept, &inbound);
    Ok(())
}

/// Names that share a link are one; and who is paired anew with an outbound proxy needs no further one.
fn room(all: &[Pairing], code: &str) -> Result<(), Failure> {
    let most = relay_link::limits::PROXIES;
    let place = code.parse::<PairingCode>().ok().filter(|code| code.kind == Kind::Outbound).map(|code| code.place);
    let is_there = |place: Place| {
        let is_it = |proxy: &PairedProxy| proxy.outbound && proxy.host == place.host() && proxy.port == place.port();
        all.iter().any(|pairing| is_it(&pairing.proxy))
    };
    if pairings::proxies(all).len() < most || place.is_some_and(is_there) {
        return Ok(());
    }
    Err(Failure::new(format!("this house is paired with {most} proxies already; revoke one first")))
}

fn list(house: &House, all: &[Pairing]) -> Result<(), Failure> {
    let way = |pairing: &Pairing| if pairing.proxy.outbound { "out" } else { "in" };
    let links = links(house, all);
    let values: Vec<Value> = all
        .iter()
        .zip(&links)
        .map(|(pairing, link)| {
            json!({
                "proxy": pairing.proxy.host, "port": pairing.proxy.port, "called": pairing.called, "way": way(pairing),
                "name": pairing.name, "since": pairing.since, "connected": matches!(link, Seen::Up(_)),
                "seconds": if let Seen::Up(seconds) = link { Some(seconds) } else { None }, "link": since_pairing(pairing, link),
            })
        })
        .collect();
    house.print(&values.into(), || {
        let row = |(pairing, link): (&Pairing, &Seen)| {
            let names = [&pairing.proxy.host, way(pairing), &pairing.called, &pairing.name].map(str::to_owned);
            let [host, way, called, name] = names;
            [host, way, called, name, since_pairing(pairing, link)]
        };
        let rows: Vec<_> = all.iter().zip(&links).map(row).collect();
        output::table(["PROXY", "MAIL", "CALLS ITSELF", "CALLS US", "LINK"], &rows)
    })
}

/// Seconds within which a house that runs hears of a new pairing and has called.
const CALLS_WITHIN: i64 = 10;

/// A house that runs has not called yet in the first moment.
fn since_pairing(pairing: &Pairing, link: &Seen) -> String {
    let age = wire::date::now() - pairing.since;
    match link {
        Seen::Down if (0..CALLS_WITHIN).contains(&age) => {
            "not connected yet: paired just now; a house that is up calls within seconds".into()
        }
        link => in_words(link),
    }
}

/// How each proxy sees this house, all asked at once: one that is silent keeps the others' answers for seconds only.
fn links(house: &House, all: &[Pairing]) -> Vec<Seen> {
    let ask = |pairing: &Pairing| {
        let seen = pairings::presence(&pairing.proxy, up::upstreams(&house.config));
        seen.unwrap_or_else(|failure| Seen::Failed(failure.to_string()))
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = all.iter().map(|pairing| scope.spawn(move || ask(pairing))).collect();
        let ended = |answer: std::thread::ScopedJoinHandle<'_, Seen>| answer.join();
        asking.into_iter().map(|one| ended(one).unwrap_or_else(|_| Seen::Failed("asking failed".into()))).collect()
    })
}

/// For who looks after the house.
pub fn in_words(link: &Seen) -> String {
    match link {
        Seen::Up(seconds @ 0..60) => format!("connected for {seconds} s"),
        Seen::Up(seconds @ 60..7_200) => format!("connected for {} min", seconds / 60),
        Seen::Up(seconds) => format!("connected for {} h", seconds / 3_600),
        Seen::Down => {
            "not connected: the proxy answers, and this house has not called it; is `postern up` running?".into()
        }
        Seen::Failed(why) => format!("not connected: {why}"),
    }
}

/// As it is named to tell it from the other of that host.
fn full(pairing: &Pairing) -> String {
    format!("{}@{}:{}", pairing.name, pairing.proxy.host, pairing.proxy.port)
}

fn is_called(pairing: &Pairing, name: &str) -> bool {
    let (at, proxy) = name.split_once('@').map_or((None, name), |(name, proxy)| (Some(name), proxy));
    let is_name = |name: &str| plain(&pairing.name) == plain(name);
    let at_its_port = proxy
        .rsplit_once(':')
        .is_some_and(|(host, port)| plain(host) == pairing.proxy.host && port.parse() == Ok(pairing.proxy.port));
    let is_it = at_its_port || [&pairing.proxy.host, &pairing.called].iter().any(|host| plain(host) == plain(proxy));
    is_name(name) || is_it && at.is_none_or(is_name)
}

/// A host name as it is kept, however it is written.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whoever ends one pairing means no other.
fn one_of(all: &[Pairing], name: &str) -> Result<(), Failure> {
    let mut named: Vec<_> = all.iter().filter(|pairing| is_called(pairing, name)).collect();
    named.dedup_by_key(|pairing| full(pairing));
    if named.len() < 2 {
        return Ok(());
    }
    let way = |pairing: &&Pairing| if pairing.proxy.outbound { "takes mail out" } else { "brings mail in" };
    let each: Vec<_> = named.iter().map(|pairing| format!("`{}` ({})", full(pairing), way(pairing))).collect();
    Err(Failure::new(format!("{name} is more than one pairing: say {}", each.join(" or "))))
}

fn revoke(house: &House, kept: &Pairings, proxy: &str) -> Result<(), Failure> {
    let (gone, left) = kept.change(|all| {
        one_of(all, proxy)?;
        let gone: Vec<Pairing> = all.extract_if(.., |pairing| is_called(pairing, proxy)).collect();
        Ok((gone, all.clone()))
    })?;
    if gone.is_empty() {
        return Err(Failure::new(format!("this house is not paired with {proxy}; see `postern pair list`")));
    }
    let taken = taken(house, kept)?;
    house.print(&json!({"revoked": gone.len(), "taken": taken}), || match still_used(&gone, &left) {
        Some((name, stays)) => format!(
            "{name} is used no more; the same link goes on for {stays}. Tell the proxy's operator to forget that name \
             (`inbound-proxy forget {name}`), and change your DNS records.{}",
            not_taken(taken)
        ),
        None => format!(
            "{proxy} is used no more. Tell its operator to revoke this house, too, and change your DNS records.{}",
            not_taken(taken)
        ),
    })
}

/// A name that ends, and one for which its link goes on.
fn still_used<'a>(gone: &'a [Pairing], left: &'a [Pairing]) -> Option<(&'a str, &'a str)> {
    let pairs = gone.iter().flat_map(|ended| left.iter().map(move |stays| (ended, stays)));
    let mut same = pairs.filter(|(ended, stays)| ended.proxy == stays.proxy);
    same.next().map(|(ended, stays)| (&*ended.name, &*stays.name))
}

#[cfg(test)]
mod tests {
    use relay_link::keys::{Fingerprint, OneTimeSecret};

    use super::*;
    use crate::pairings::FoundAt;

    fn pairing(outbound: bool, name: &str) -> Pairing {
        let port = if outbound { 7_026 } else { 7_025 };
        let host = "clean.example".to_owned();
        let proxy = PairedProxy { outbound, host: host.clone(), port, key: String::new(), own: name.into() };
        Pairing { proxy, name: name.to_owned(), called: host, since: 0, found_at: None }
    }

    fn names(all: &[Pairing]) -> Vec<&str> {
        all.iter().map(|pairing| pairing.name.as_str()).collect()
    }

    #[test]
    fn a_second_name_at_one_proxy_costs_no_mail() {
        let mut all = vec![pairing(false, "mail.alice.test"), pairing(true, "alice")];
        assert!(join(&mut all, pairing(false, "mail.club.test")).is_empty());
        assert_eq!(names(&all), ["mail.alice.test", "alice", "mail.club.test"]);
        assert_eq!(names(&join(&mut all, pairing(false, "mail.alice.test"))), ["mail.alice.test"], "paired anew");
        assert_eq!(names(&join(&mut all, pairing(true, "club"))), ["alice"], "one budget");
        assert_eq!(names(&all), ["mail.club.test", "mail.alice.test", "club"]);
    }

    #[test]
    fn names_that_share_a_link_are_one() {
        let most = relay_link::limits::PROXIES;
        let of = |number: usize, own: usize| {
            let mut one = pairing(false, &format!("mail.{number}.test"));
            one.proxy.own = vec![u8::try_from(own).unwrap()];
            one
        };
        let names: Vec<Pairing> = (0..2 * most).map(|number| of(number, 0)).collect();
        assert_eq!(pairings::proxies(&names).len(), 1);
        assert!(room(&names, "").is_ok());
        let mut links: Vec<Pairing> = (0..most).map(|number| of(number, number)).collect();
        assert!(room(&links[1..], "").is_ok() && room(&links, "").is_err());
        links[0] = pairing(true, "alice");
        let code = |kind| {
            let place = Place::new("clean.example", 7_026).unwrap();
            PairingCode { kind, place, proxy: Fingerprint([0; 16]), secret: OneTimeSecret([0; 10]), expires: 1 }
                .to_string()
        };
        assert!(room(&links, &code(Kind::Outbound)).is_ok() && room(&links, &code(Kind::Inbound)).is_err());
    }

    #[test]
    fn whoever_names_one_of_several_ends_no_other() {
        let all = [pairing(false, "mail.alice.test"), pairing(false, "mail.club.test"), pairing(true, "alice")];
        let called =
            |name: &str| names(&all.iter().filter(|one| is_called(one, name)).cloned().collect::<Vec<_>>()).len();
        for (name, count) in [
            ("clean.example", 3),
            ("clean.example:7025", 2),
            ("clean.example:7026", 1),
            ("mail.club.test", 1),
            ("mail.club.test@clean.example", 1),
            ("mail.club.test@clean.example:7025", 1),
            ("mail.club.test@clean.example:7026", 0),
            ("alice@other.example", 0),
            ("other.example:7026", 0),
            ("CLEAN.Example", 3),
            ("clean.example.", 3),
            ("Clean.Example.:7026", 1),
            ("Mail.Club.Test.", 1),
            ("MAIL.CLUB.TEST@CLEAN.EXAMPLE.", 1),
            (".", 0),
            ("", 0),
            ("clean.example:70260", 0),
        ] {
            assert_eq!(called(name), count, "{name}");
            assert_eq!(one_of(&all, name).is_ok(), count < 2, "{name}");
        }
        let words = one_of(&all, "clean.example").unwrap_err().to_string();
        for part in
            ["`mail.club.test@clean.example:7025` (brings mail in)", "`alice@clean.example:7026` (takes mail out)"]
        {
            assert!(words.contains(part), "{words}");
        }
    }

    #[test]
    fn two_names_of_one_link_end_one_by_one() {
        let key = |own: u8, mut pairing: Pairing| {
            pairing.proxy.own = vec![own];
            pairing
        };
        let [alice, club] = [key(1, pairing(false, "mail.alice.test")), key(1, pairing(false, "mail.club.test"))];
        let [out, other] = [key(2, pairing(true, "alice")), key(3, pairing(false, "mail.bob.test"))];
        let left = [out, other, alice];
        assert_eq!(still_used(std::slice::from_ref(&club), &left), Some(("mail.club.test", "mail.alice.test")));
        assert_eq!(still_used(&[club], &left[..2]), None);
    }

    #[test]
    fn a_name_that_no_proxy_takes_is_told() {
        let found = |host: &str, known: bool| FoundAt { host: host.into(), addresses: known.then(Vec::new) };
        let mut all = vec![pairing(true, "alice"), pairing(false, "mail.alice.test")];
        assert_eq!(unserved(&all, "alice.test"), None, "nobody could be asked");
        all[1].found_at = Some(found("alice.test", false));
        assert!(unserved(&all, "alice.test").is_some_and(|words| words.contains("hostname = \"mail.alice.test\"")));
        all.push(Pairing { found_at: Some(found("alice.test", true)), ..pairing(false, "mail.club.test") });
        assert_eq!(unserved(&all, "alice.test"), None, "another proxy takes it");
        assert_eq!(unserved(&all[..1], "alice.test"), None, "none brings mail in");
    }

    #[test]
    fn a_house_that_goes_on_as_before_is_told() {
        assert!(not_taken(Some(false)).contains("has not seen it yet"));
        assert_eq!((not_taken(Some(true)), not_taken(None)), ("", ""));
    }

    #[test]
    fn a_house_that_was_paired_just_now_is_not_said_to_be_down() {
        let old = pairing(false, "mail.alice.test");
        let new = Pairing { since: wire::date::now(), ..old.clone() };
        assert!(since_pairing(&old, &Seen::Down).contains("is `postern up` running?"));
        assert!(since_pairing(&new, &Seen::Down).contains("paired just now"));
        assert_eq!(since_pairing(&new, &Seen::Up(5)), "connected for 5 s");
    }
}
