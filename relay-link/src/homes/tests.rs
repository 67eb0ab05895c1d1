//! The folder of homes, as two programs change it.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::durable::tests::Scratch;
use crate::hello::Refusal;
use crate::keys::{LinkKey, OneTimeSecret};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Names(Vec<String>);

impl Grant for Names {
    fn clashes_with(&self, other: &Self) -> Option<String> {
        self.0.iter().find(|name| other.0.contains(name)).cloned()
    }

    /// "alone.example" is a stranger's to all.
    fn joined(&self, other: &Self) -> Option<Self> {
        let all = [self.0.clone(), other.0.clone()].concat();
        (!all.contains(&"alone.example".to_owned())).then_some(Self(all))
    }
}

fn names(name: &str) -> Names {
    Names(vec![name.to_owned()])
}

const DAY: Duration = Duration::from_secs(86_400);

fn key() -> PublicKey {
    LinkKey::generate().unwrap().public()
}

#[test]
fn a_code_works_once_in_time_and_again_for_the_same_box() {
    let scratch = Scratch::new("once");
    let homes = Homes::open(&scratch.0.join("homes")).unwrap();
    let now = SystemTime::now();
    let invited = homes.invite("alice", names("mail.alice.example"), now, DAY).unwrap();
    let (box_of_alice, thief) = (key(), key());
    let late = UNIX_EPOCH + Duration::from_secs(invited.expires);
    assert_eq!(homes.pair(&OneTimeSecret([0; 10]), thief, now), Err(Refusal::Code), "any other secret");
    assert_eq!(homes.pair(&invited.secret, thief, late), Err(Refusal::Code), "too late");
    let expected = ("alice".to_owned(), names("mail.alice.example"));
    assert_eq!(homes.pair(&invited.secret, box_of_alice, now), Ok(expected.clone()));
    assert_eq!(homes.pair(&invited.secret, thief, now), Err(Refusal::Code), "used");
    assert_eq!(homes.pair(&invited.secret, box_of_alice, now), Ok(expected.clone()), "the answer was lost");
    assert_eq!(homes.find(&box_of_alice).unwrap(), Some(expected));
    assert_eq!(homes.find(&thief).unwrap(), None);
    assert!(matches!(homes.invite("alice", names("x.example"), now, DAY), Err(InviteError::Taken(_))));
}

/// As if two processes did it: each opens the folder for itself.
#[test]
fn of_many_at_once_one_is_paired() {
    let scratch = Scratch::new("at-once");
    let folder = scratch.0.join("homes");
    let now = SystemTime::now();
    let invited = Homes::open(&folder).unwrap().invite("alice", names("a.example"), now, DAY).unwrap();
    let paired = std::thread::scope(|scope| {
        let pair = || {
            let homes = Homes::<Names>::open(&folder).unwrap();
            let key = key();
            homes.pair(&invited.secret, key, now).is_ok().then_some(key)
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(pair)).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(paired.len(), 1, "a code works once");
    let homes = Homes::<Names>::open(&folder).unwrap();
    assert_eq!(homes.find(&paired[0]).unwrap().unwrap().0, "alice");
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&homes.path("alice"))), (0o700, 0o600), "its owner's alone");
    let text = fs::read_to_string(homes.path("alice")).unwrap();
    assert!(!text.contains(&crate::base32::encode(&invited.secret.0)), "the secret is in no file: {text}");
}

#[test]
fn a_second_code_makes_the_first_void() {
    let scratch = Scratch::new("second");
    let homes = Homes::open(&scratch.0).unwrap();
    let now = SystemTime::now();
    let first = homes.invite("alice", names("a.example"), now, DAY).unwrap();
    let second = homes.invite("alice", names("a.example"), now, DAY).unwrap();
    assert_eq!(homes.pair(&first.secret, key(), now), Err(Refusal::Code));
    assert!(homes.pair(&second.secret, key(), now).is_ok());
}

#[test]
fn what_one_has_no_other_gets() {
    let scratch = Scratch::new("clash");
    let homes = Homes::open(&scratch.0).unwrap();
    let now = SystemTime::now();
    homes.invite("alice", names("a.example"), now, DAY).unwrap();
    assert!(matches!(homes.invite("bob", names("a.example"), now, DAY), Err(InviteError::Clash { .. })));
    homes.invite("alice", names("other.example"), now, DAY).unwrap();
    let bob = homes.invite("bob", names("a.example"), now, DAY).unwrap();
    let bobs = key();
    homes.pair(&bob.secret, bobs, now).unwrap();
    let carol = homes.invite("carol", names("alone.example"), now, DAY).unwrap();
    assert_eq!(homes.pair(&carol.secret, bobs, now), Err(Refusal::Code), "a key stands for one home");
    assert!(homes.pair(&carol.secret, key(), now).is_ok(), "nor was the code used up");
    for bad in ["", "../x", ".x", "a/b", "A", "a b", "lock", &"a".repeat(201)] {
        assert!(matches!(homes.invite(bad, names("z.example"), now, DAY), Err(InviteError::Name)), "{bad}");
    }
}

#[test]
fn revoked_by_another_process_and_read_anew() {
    let scratch = Scratch::new("revoke");
    let (proxy, command) = (Homes::<Names>::open(&scratch.0).unwrap(), Homes::<Names>::open(&scratch.0).unwrap());
    let now = SystemTime::now();
    let invited = command.invite("alice", names("a.example"), now, DAY).unwrap();
    let alices = key();
    proxy.pair(&invited.secret, alices, now).unwrap();
    fs::write(scratch.0.join("broken.toml"), "nonsense").unwrap();
    assert!(proxy.find(&alices).unwrap().is_some(), "a damaged file shuts nobody else out");
    assert!(!proxy.are_all_read().unwrap(), "and is not taken for none");
    assert!(command.revoke("alice").unwrap());
    assert!(!command.revoke("alice").unwrap());
    assert_eq!(proxy.find(&alices).unwrap(), None);
}

/// The clock was wrong when somebody was invited, and is set back.
#[test]
fn a_folder_of_the_future_is_read_once() {
    let scratch = Scratch::new("future");
    let homes = Homes::<Names>::open(&scratch.0).unwrap();
    let now = SystemTime::now();
    drop(homes.invite("alice", names("a.example"), now, DAY).unwrap());
    let folder = fs::File::open(&scratch.0).unwrap();
    folder.set_modified(now + Duration::from_secs(7_200)).unwrap();
    let read = homes.all().unwrap();
    assert!(Arc::ptr_eq(&read, &homes.all().unwrap()), "not for each look");
    drop(homes.invite("bob", names("b.example"), now, DAY).unwrap());
    assert_eq!(homes.all().unwrap().len(), 2, "what changes is seen");
}

#[test]
fn a_home_that_is_closed_keeps_what_it_was_granted() {
    let scratch = Scratch::new("close");
    let homes = Homes::open(&scratch.0).unwrap();
    let now = SystemTime::now();
    let invited = homes.invite("alice", names("a.example"), now, DAY).unwrap();
    let alices = key();
    homes.pair(&invited.secret, alices, now).unwrap();
    assert!(homes.close("alice").unwrap());
    assert_eq!(homes.find(&alices).unwrap(), None);
    assert_eq!(homes.pair(&invited.secret, key(), now), Err(Refusal::Code), "its code is void");
    assert_eq!(homes.all().unwrap().get("alice").map(|home| home.grant.clone()), Some(names("a.example")));
    let another = homes.invite("mallory", names("a.example"), now, DAY);
    assert!(matches!(another, Err(InviteError::Clash { .. })), "its names are not free");
    assert!(homes.invite("alice", names("a.example"), now, DAY).is_ok(), "it can be invited again");
    assert!(!homes.close("bob").unwrap());
}

#[test]
fn no_file_holds_the_secret() {
    let scratch = Scratch::new("secret");
    let homes = Homes::open(&scratch.0).unwrap();
    let invited = homes.invite("alice", names("a.example"), SystemTime::now(), DAY).unwrap();
    let text = fs::read_to_string(scratch.0.join("alice.toml")).unwrap();
    assert!(!text.contains(&crate::base32::encode(&invited.secret.0)), "{text}");
}

fn both() -> Names {
    Names(vec!["a.example".to_owned(), "club.example".to_owned()])
}

/// Only the box itself can have proved the key.
#[test]
fn a_box_that_brings_a_second_code_is_one_home_with_two_names() {
    let scratch = Scratch::new("join");
    let homes = Homes::open(&scratch.0).unwrap();
    let now = SystemTime::now();
    let (alices, thiefs) = (key(), key());
    let alice = homes.invite("alice", names("a.example"), now, DAY).unwrap();
    homes.pair(&alice.secret, alices, now).unwrap();
    let club = homes.invite("club", names("club.example"), now, DAY).unwrap();
    assert_eq!(homes.pair(&club.secret, alices, now), Ok(("club".to_owned(), both())));
    assert_eq!(homes.find(&alices).unwrap(), Some(("alice".to_owned(), both())));
    assert_eq!(homes.all().unwrap().keys().collect::<Vec<_>>(), ["alice"]);
    assert_eq!(homes.pair(&club.secret, alices, now), Ok(("club".to_owned(), both())), "the answer was lost");
    assert_eq!(homes.pair(&club.secret, thiefs, now), Err(Refusal::Code), "used");
    let clash = homes.invite("mallory", names("club.example"), now, DAY);
    assert!(matches!(clash, Err(InviteError::Clash { .. })), "its names are not free");
    // Who comes with a key of his own, or one that is known no more, is nobody's housemate.
    let mallory = homes.invite("mallory", names("m.example"), now, DAY).unwrap();
    assert_eq!(homes.pair(&mallory.secret, thiefs, now), Ok(("mallory".to_owned(), names("m.example"))));
    assert!(homes.close("alice").unwrap());
    let again = homes.invite("again", names("z.example"), now, DAY).unwrap();
    assert_eq!(homes.pair(&again.secret, alices, now), Ok(("again".to_owned(), names("z.example"))));
}

/// The proxy ended after the first of two writes: no name is in two homes, and no second box uses the code.
#[test]
fn joining_goes_on_where_it_was_cut() {
    let scratch = Scratch::new("cut");
    let homes = Homes::open(&scratch.0).unwrap();
    let (now, boxs, thiefs) = (SystemTime::now(), key(), key());
    let zoe = homes.invite("zoe", names("a.example"), now, DAY).unwrap();
    homes.pair(&zoe.secret, boxs, now).unwrap();
    for (second, goes_on) in [("club", true), ("zz", true), ("club", false)] {
        let invited = homes.invite(second, names("club.example"), now, DAY).unwrap();
        let path = scratch.0.join(second).with_extension("toml");
        let before = fs::read(&path).unwrap();
        homes.pair(&invited.secret, boxs, now).unwrap();
        fs::write(&path, before).unwrap();
        let homes = Homes::<Names>::open(&scratch.0).unwrap();
        let only = || {
            let all = homes.all().unwrap();
            all.iter().map(|(name, home)| (name.clone(), home.grant.clone())).collect::<Vec<_>>()
        };
        assert_eq!(only(), [("zoe".to_owned(), both())], "{second}");
        if goes_on {
            assert_eq!(homes.pair(&invited.secret, thiefs, now), Err(Refusal::Code), "{second}");
            assert_eq!(homes.pair(&invited.secret, boxs, now), Ok((second.to_owned(), both())));
        } else {
            assert!(homes.close("zoe").unwrap());
        }
        assert!(!path.exists(), "{second}");
        assert_eq!(only(), [("zoe".to_owned(), both())], "{second}");
        assert!(homes.leave("zoe", "zoe", names("a.example")).unwrap());
    }
}

/// Its operator calls it by a name that it gives up.
#[test]
fn a_home_is_called_otherwise() {
    let scratch = Scratch::new("called");
    let homes = Homes::open(&scratch.0).unwrap();
    let (now, boxs) = (SystemTime::now(), key());
    let alice = homes.invite("alice", both(), now, DAY).unwrap();
    homes.invite("bob", names("b.example"), now, DAY).unwrap();
    fs::write(scratch.0.join("damaged.toml"), "damaged").unwrap();
    for (from, to) in [("alice", "bob"), ("alice", "damaged"), ("alice", "a_b"), ("nobody", "club")] {
        assert!(!homes.leave(from, to, names("club.example")).unwrap(), "{from} {to}");
    }
    assert!(homes.leave("alice", "club", names("club.example")).unwrap());
    assert_eq!(
        homes.pair(&alice.secret, boxs, now),
        Ok(("club".to_owned(), names("club.example"))),
        "its code works on"
    );
    assert!(homes.knows(&boxs, "club").unwrap());
    assert!(homes.leave("club", "clubs", names("club.example")).unwrap());
    assert!(homes.knows(&boxs, "clubs").unwrap() && !homes.knows(&boxs, "club").unwrap(), "its box is to dial as that");
    assert_eq!(homes.pair(&alice.secret, boxs, now), Err(Refusal::Code), "what it was for may be another's by now");
    assert!(homes.invite("alice", names("a.example"), now, DAY).is_ok(), "what it gave up is free");
}

/// Whose mail may be on its way, and whose cannot be.
#[test]
fn a_home_is_expected_until_its_box_has_come_once() {
    let scratch = Scratch::new("expected");
    let homes = Homes::open(&scratch.0).unwrap();
    let now = SystemTime::now();
    let expected = || homes.all().unwrap()["alice"].expected;
    let invite = || homes.invite("alice", names("a.example"), now, DAY).unwrap();
    invite();
    assert!(expected());
    homes.close("alice").unwrap();
    assert!(expected(), "it has not come, and will not");
    homes.pair(&invite().secret, key(), now).unwrap();
    assert!(!expected());
    homes.close("alice").unwrap();
    invite();
    assert!(!expected(), "it was here");
    // What an older program wrote does not say.
    let path = scratch.0.join("bob.toml");
    homes.invite("bob", names("b.example"), now, DAY).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("expected = true\n", "")).unwrap();
    assert!(!homes.all().unwrap()["bob"].expected);
}
