//! Which home a connection is for, in the order of the table in `route`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use inbound_proxy::grant::HomeGrant;
use inbound_proxy::leads::Strays;
use inbound_proxy::memory::Memory;
use inbound_proxy::route::{Facts, Here, How, Map, Route};
use inbound_proxy::sender::Group;
use inbound_proxy::tickets::digest;
use relay_link::inbound::{ClientName, Service};

const SHARED: &str = "192.0.2.1";
const LANE: &str = "192.0.2.2";
const OWN: &str = "192.0.2.3";

fn grant(name: &str, street: Option<&str>) -> HomeGrant {
    HomeGrant { names: [name.to_owned()].into(), street: street.map(str::to_owned), ..HomeGrant::default() }
}

/// alice and bob live in the lane; mallory has a street of her own, and shares one address with them.
fn map() -> Map {
    let mut map = Map::default();
    map.homes.insert("alice".into(), grant("mail.alice.example", Some("lane")));
    let bob = HomeGrant { senders: [".bobsbank.example".to_owned()].into(), ..grant("mail.bob.example", Some("lane")) };
    map.homes.insert("bob".into(), bob);
    let mallory = HomeGrant { addresses: [OWN.parse().unwrap()].into(), ..grant("mail.mallory.example", Some("hers")) };
    map.homes.insert("mallory".into(), mallory);
    map.streets.insert(LANE.parse().unwrap(), "lane".into());
    map
}

#[derive(Default, Clone)]
struct Caller<'a> {
    sni: Option<&'a str>,
    tickets: Vec<Vec<u8>>,
    ehlo: Option<&'a str>,
}

fn group() -> Group {
    Group::Network4([198, 51, 100])
}

fn route(map: &Map, memory: &mut Memory, dialled: &str, caller: &Caller<'_>) -> Route {
    let ehlo = caller.ehlo.map(|name| ClientName::new(name).unwrap());
    let facts = Facts {
        dialled: dialled.parse().unwrap(),
        service: Service::Mail,
        sni: caller.sni,
        tickets: &caller.tickets,
        ehlo: ehlo.as_ref(),
        confirmed: ehlo.is_some(),
        group: &group(),
    };
    map.route(&facts, memory, 100)
}

fn home(name: &str, how: How) -> Route {
    Route::Home(name.into(), how)
}

#[test]
fn in_this_order() {
    let (map, mut memory) = (map(), Memory::default());
    memory.learn(Some("lane"), &group(), &[digest(b"ticket")], "alice", 0);
    let nothing = Caller::default();
    let table = Caller { ehlo: Some("mx.bobsbank.example"), ..nothing.clone() };
    let ticket = Caller { tickets: vec![b"another's".to_vec(), b"ticket".to_vec()], ..table.clone() };
    let sni = Caller { sni: Some("mail.bob.example"), ..ticket.clone() };
    assert_eq!(route(&map, &mut memory, OWN, &ticket), home("mallory", How::OwnAddress));
    assert_eq!(route(&map, &mut memory, OWN, &sni), home("bob", How::Sni), "it asks for another");
    assert_eq!(route(&map, &mut memory, LANE, &sni), home("bob", How::Sni));
    assert_eq!(route(&map, &mut memory, LANE, &ticket), home("alice", How::Ticket));
    assert_eq!(route(&map, &mut memory, LANE, &table), home("bob", How::Table));
    assert_eq!(route(&map, &mut memory, LANE, &nothing), home("alice", How::Learnt));
    let elsewhere = Caller { sni: Some("mail.nobody.example"), ..nothing };
    assert_eq!(route(&map, &mut Memory::default(), LANE, &elsewhere), Route::Learn, "a name nobody has");
}

/// Mallory answers 250 to everything. What senders have had to do with her, or she with them, leads nobody else's
/// mail to her: between streets only proof counts.
#[test]
fn a_hostile_home_gets_nothing_of_another_street() {
    let (mut map, mut memory) = (map(), Memory::default());
    // She claims every sender there is, and has the sender's group learnt for her, twenty times.
    map.homes.get_mut("mallory").unwrap().senders = ["mx.sender.example".to_owned(), ".example".to_owned()].into();
    for _ in 0..20 {
        memory.learn(Some("hers"), &group(), &[digest(b"hers")], "mallory", 0);
        memory.learn(Some("lane"), &group(), &[], "mallory", 0);
        memory.take("hers", &group(), 10, |_| true);
    }
    let sender = Caller { ehlo: Some("mx.sender.example"), ..Caller::default() };
    assert_eq!(route(&map, &mut memory, SHARED, &sender), Route::Learn);
    assert_eq!(route(&map, &mut memory, LANE, &sender), Route::Learn, "in a street she does not live in");
    let named = Caller { sni: Some("mail.alice.example"), ..sender };
    assert_eq!(route(&map, &mut memory, SHARED, &named), home("alice", How::Sni));
    assert_eq!(map.street(SHARED.parse().unwrap()), None);
    assert_eq!(map.street(LANE.parse().unwrap()).as_deref(), Some("lane"));
}

#[test]
fn alone_at_an_address() {
    let (mut map, mut memory) = (map(), Memory::default());
    map.homes.retain(|name, _| name == "alice");
    assert_eq!(route(&map, &mut memory, SHARED, &Caller::default()), home("alice", How::Only));
    let elsewhere = Caller { sni: Some("mail.bob.example"), ..Caller::default() };
    assert_eq!(route(&map, &mut memory, SHARED, &elsewhere), Route::Learn, "it asks for somebody who is not here");
    let here = Caller { sni: Some("mail.alice.example"), ..Caller::default() };
    assert_eq!(route(&map, &mut memory, SHARED, &here), home("alice", How::Sni));
    map.hides_some = true;
    assert_eq!(route(&map, &mut memory, SHARED, &Caller::default()), Route::Learn, "there may be another");
    assert_eq!(map.street(SHARED.parse().unwrap()), None);
    map.hides_some = false;
    map.homes.clear();
    assert_eq!(route(&map, &mut memory, SHARED, &Caller::default()), Route::Learn);
}

/// The same where a street has an address for itself.
#[test]
fn alone_in_a_street() {
    let (mut map, mut memory) = (map(), Memory::default());
    map.homes.remove("alice");
    assert_eq!(route(&map, &mut memory, LANE, &Caller::default()), home("bob", How::Only));
    for sni in ["mail.alice.example", "mail.nobody.example"] {
        let caller = Caller { sni: Some(sni), ..Caller::default() };
        assert_eq!(route(&map, &mut memory, LANE, &caller), Route::Learn, "{sni}");
    }
}

/// Bob's name leads still, or again, to an address that the operator has given to others: they do not get his letters for it.
#[test]
fn an_address_to_which_anothers_name_leads_proves_nothing() {
    const HILL: &str = "192.0.2.4";
    let (mut map, mut memory) = (map(), Memory::default());
    map.homes.get_mut("mallory").unwrap().street = Some("hill".into());
    map.streets.insert(HILL.parse().unwrap(), "hill".into());
    // She has the sender's group learnt for herself, and claims it by name.
    map.homes.get_mut("mallory").unwrap().senders = ["mx.sender.example".to_owned()].into();
    memory.learn(Some("hill"), &group(), &[], "mallory", 0);
    let (nothing, sender) = (Caller::default(), Caller { ehlo: Some("mx.sender.example"), ..Caller::default() });
    assert_eq!(route(&map, &mut memory, HILL, &nothing), home("mallory", How::Only));
    assert_eq!(route(&map, &mut memory, OWN, &nothing), home("mallory", How::OwnAddress));
    let known = map.clone();
    for at in [HILL, OWN] {
        let address = at.parse().unwrap();
        for unknown in [false, true] {
            map = known.clone();
            match unknown {
                true => drop(map.strays.anywhere.insert("bob".into())),
                false => map.strays.lead(address, "bob"),
            }
            for caller in [&nothing, &sender] {
                assert_eq!(route(&map, &mut memory, at, caller), Route::Learn, "{at}, {unknown}");
            }
            assert_eq!((map.alone(address), map.street(address)), (None, None), "nothing is learnt there");
            assert_eq!(map.astray(address), ["bob"]);
            let asks = Caller { sni: Some("mail.mallory.example"), ..Caller::default() };
            assert_eq!(route(&map, &mut memory, at, &asks), home("mallory", How::Sni), "that is proof as ever");
        }
    }
    // The ticket of a session for bob alone, or for her, is the same sender's proof there.
    map = known;
    map.strays.lead(HILL.parse().unwrap(), "bob");
    memory.learn(None, &group(), &[digest(b"ticket")], "bob", 0);
    let ticket = Caller { tickets: vec![b"ticket".to_vec()], ..Caller::default() };
    assert_eq!(route(&map, &mut memory, HILL, &ticket), home("bob", How::Ticket));
    // Neighbours share what their names lead to.
    map.strays = Strays::default();
    map.strays.lead(LANE.parse().unwrap(), "bob");
    assert_eq!(map.street(LANE.parse().unwrap()).as_deref(), Some("lane"));
}

/// Behind a router DNS names the router's address, so nobody can tell whose names lead here.
#[test]
fn an_address_of_no_public_network_proves_nothing() {
    let (mut map, mut memory) = (map(), Memory::default());
    map.streets.insert("10.0.0.2".parse().unwrap(), "hers".into());
    map.homes.get_mut("mallory").unwrap().street = Some("hers".into());
    assert_eq!(route(&map, &mut memory, "10.0.0.2", &Caller::default()), Route::Learn);
    map.homes.retain(|home, _| home == "mallory");
    assert_eq!(
        route(&map, &mut memory, "10.0.0.2", &Caller::default()),
        home("mallory", How::Only),
        "there is no other"
    );
}

#[test]
fn homes_without_a_street_share_nothing() {
    let (mut map, mut memory) = (Map::default(), Memory::default());
    for name in ["carol", "dave"] {
        map.homes.insert(name.into(), grant(&format!("mail.{name}.example"), None));
    }
    memory.learn(Some(""), &group(), &[], "carol", 0);
    assert_eq!(route(&map, &mut memory, SHARED, &Caller::default()), Route::Learn);
}

#[test]
fn what_was_learnt_ends_with_the_home() {
    let (mut map, mut memory) = (map(), Memory::default());
    memory.learn(Some("lane"), &group(), &[digest(b"ticket")], "alice", 0);
    map.homes.get_mut("alice").unwrap().street = Some("road".into());
    assert_eq!(route(&map, &mut memory, LANE, &Caller::default()), home("bob", How::Only));
    map.homes.remove("alice");
    let ticket = Caller { tickets: vec![b"ticket".to_vec()], ..Caller::default() };
    assert_eq!(route(&map, &mut memory, SHARED, &ticket), Route::Learn, "a ticket of one who is gone");
}

/// Between streets a ticket is the proof of who got it, and of nobody else; its use keeps it alive.
#[test]
fn a_ticket_is_its_senders() {
    const DAY: u64 = 86_400;
    let (map, mut memory) = (map(), Memory::default());
    let (ticket, another) =
        (Caller { tickets: vec![b"ticket".to_vec()], ..Caller::default() }, Group::Network4([203, 0, 113]));
    memory.learn(None, &another, &[digest(b"ticket")], "alice", 0);
    assert_eq!(route(&map, &mut memory, SHARED, &ticket), Route::Learn);
    assert_eq!(route(&map, &mut memory, LANE, &ticket), home("alice", How::Ticket), "neighbours trust each other");
    memory.learn(None, &group(), &[digest(b"ticket")], "alice", 0);
    assert_eq!(route(&map, &mut memory, SHARED, &ticket), home("alice", How::Ticket));
    assert!(memory.by_ticket(b"ticket", 100 + 5 * DAY).is_some(), "refreshed");
}

#[test]
fn other_services_go_by_name_alone() {
    let (map, mut memory) = (map(), Memory::default());
    let mut facts = Facts {
        dialled: OWN.parse().unwrap(),
        service: Service::Imap,
        sni: None,
        tickets: &[],
        ehlo: None,
        confirmed: false,
        group: &group(),
    };
    assert_eq!(map.route(&facts, &mut memory, 0), Route::Nowhere);
    facts.sni = Some("mail.alice.example");
    assert_eq!(map.route(&facts, &mut memory, 0), home("alice", How::Sni));
    assert_eq!(map.by_name("mail.bob.example"), Some("bob"), "targets of MX records are found the same way");
}

/// What a family is told, and an operator.
#[test]
fn where_each_home_lives() {
    let mut map = map();
    map.homes.insert("carol".into(), grant("mail.carol.example", None));
    let behind_a_router = HomeGrant { addresses: ["10.0.0.3".parse().unwrap()].into(), ..grant("dora.example", None) };
    map.homes.insert("dora".into(), behind_a_router);
    let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let six = "2001:db8::1";
    let lives = |home: &str, named: &[&str], bound: &[&str]| {
        map.places(&map.homes[home], &Here::new(&all(named), &all(bound))).into_iter().collect::<Vec<_>>()
    };
    let everywhere = [SHARED, LANE, OWN, six];
    assert_eq!(lives("mallory", &everywhere, &[]), all(&[OWN]));
    assert_eq!(lives("alice", &everywhere, &[]), all(&[LANE]));
    for home in ["carol", "dora"] {
        assert_eq!(lives(home, &everywhere, &[]), all(&[SHARED, six]), "{home}: what is nobody's");
        assert_eq!(lives(home, &[SHARED], &["192.0.2.9"]), all(&[SHARED]), "{home}: where the world knows the proxy");
        assert_eq!(lives(home, &[], &["0.0.0.0", "10.0.0.2", OWN, "192.0.2.9"]), all(&["192.0.2.9"]), "{home}");
        assert!(lives(home, &[OWN], &[]).is_empty(), "{home}: there is no place for it");
    }
}
