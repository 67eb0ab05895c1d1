//! `inbound-proxy list`, `revoke` and `forget`.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use relay_link::homes::{Home, Homes, is_name};
use relay_link::operator::folder::Folder;

use super::invite::plain;
use super::{Doing, Failure};
use crate::grant::HomeGrant;

pub(super) fn list(folder: &Folder) -> Result<(), Failure> {
    let all = folder.homes::<HomeGrant>()?.all().doing(|| "the homes".to_owned())?;
    if all.is_empty() {
        println!("No home yet: inbound-proxy invite --name mail.alice.example");
    }
    for (name, home) in all.iter() {
        println!("{name}: {}", describe(home));
    }
    Ok(())
}

fn describe(home: &Home<HomeGrant>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let state = match (&home.paired, &home.invitation) {
        (Some(paired), _) => format!("paired with the box whose key is {}", paired.key),
        (None, Some(code)) if code.expires > now => {
            format!("invited for {} more hours", (code.expires - now) / 3_600 + 1)
        }
        (None, Some(_)) if home.expected => "its code has expired: invite it again, or forget it".to_owned(),
        (None, None) if home.expected => "not invited any more: invite it again, or forget it".to_owned(),
        (None, Some(_)) => "its code has expired, and its mail waits: invite it again".to_owned(),
        (None, None) => "revoked, and its mail waits: invite it again, or forget it".to_owned(),
    };
    let mut words = vec![state];
    let grant = &home.grant;
    words.push(format!("names {}", listed(&grant.names)));
    words.extend(grant.street.as_ref().map(|street| format!("street {street}")));
    words.extend(grant.addresses.iter().map(|address| format!("address {address} alone")));
    words.extend(grant.senders.iter().map(|sender| format!("sender {sender}")));
    words.join("; ")
}

pub(super) fn revoke(folder: &Folder, home: &str) -> Result<(), Failure> {
    let home = &*plain(home);
    let homes = folder.homes::<HomeGrant>()?;
    let names =
        homes.all().doing(|| home.to_owned())?.get(home).map(|home| home.grant.names.clone()).unwrap_or_default();
    if homes.close(home).doing(|| home.to_owned())? {
        println!(
            "{home} is revoked: its connections end within seconds, and mail for {} waits at its senders{}",
            listed(&names),
            names
                .iter()
                .map(|name| format!("\n  inbound-proxy forget {name}, once it leads elsewhere"))
                .collect::<String>()
        );
        return Ok(());
    }
    match of_another(&homes, home)? {
        Some(of) => Err(Failure::new(format!(
            "{home} is a further name of {of}, and has the same box: `inbound-proxy revoke {of}` takes the box away, \
             `inbound-proxy forget {home}` that name alone"
        ))),
        None => Err(unknown(home)),
    }
}

/// Gives one name up; a home that has no other goes with it. From then on it is as any other's: a sender that asks for none may be taken
/// to mean the home that is left.
pub(super) fn forget(folder: &Folder, name: &str) -> Result<(), Failure> {
    println!("{}", forgotten(&folder.homes::<HomeGrant>()?, name)?);
    Ok(())
}

/// Says what came of it.
fn forgotten(homes: &Homes<HomeGrant>, name: &str) -> Result<String, Failure> {
    let name = &*plain(name);
    let all = homes.all().doing(|| name.to_owned())?;
    let has = all.iter().find(|(_, home)| home.grant.names.contains(name));
    let (of, home) = has.or_else(|| all.get_key_value(name)).ok_or_else(|| unknown(name))?;
    let mut rest = home.grant.clone();
    rest.names.remove(name);
    if rest.names.is_empty() {
        return whole(homes, (of, home), name);
    }
    // A home is called by one of its names.
    let to = match of == name {
        true => rest.names.iter().find(|name| is_name(name) && !all.contains_key(*name)).unwrap_or(of).clone(),
        false => of.clone(),
    };
    let stays = listed(&rest.names);
    if to == name || !homes.leave(of, &to, rest).doing(|| of.clone())? {
        return Err(Failure::new(format!(
            "{of} cannot be called by any of the names that stay ({stays}): invite it by another first"
        )));
    }
    let called = if to == *of { String::new() } else { format!(", which is called {to} from now on") };
    Ok(format!(
        "{name} is forgotten, and free: see that no MX record leads here for it; {stays} stays with its home{called}"
    ))
}

/// A home, with the last of its names.
fn whole(homes: &Homes<HomeGrant>, (of, home): (&String, &Home<HomeGrant>), name: &str) -> Result<String, Failure> {
    if home.paired.is_some() {
        return Err(Failure::new(format!(
            "{name} is paired, and has no other name: `inbound-proxy revoke {of}` comes first"
        )));
    }
    homes.revoke(of).doing(|| of.clone())?;
    Ok(format!("{name} is forgotten, and free: see that no MX record leads here for it"))
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// The home that has this further name.
fn of_another(homes: &Homes<HomeGrant>, name: &str) -> Result<Option<String>, Failure> {
    let all = homes.all().doing(|| name.to_owned())?;
    Ok(all.iter().find(|(_, home)| home.grant.names.contains(name)).map(|(of, _)| of.clone()))
}

fn unknown(home: &str) -> Failure {
    Failure::new(format!("there is no home {home}; see `inbound-proxy list`"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use relay_link::keys::{LinkKey, OneTimeSecret};

    use super::*;

    const ALICE: &str = "mail.alice.test";
    const CLUB: &str = "mail.club.test";

    fn open(name: &str) -> (std::path::PathBuf, Homes<HomeGrant>) {
        let folder = std::env::temp_dir().join(format!("inbound-list-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let homes = Homes::open(&folder).unwrap();
        (folder, homes)
    }

    fn invite(homes: &Homes<HomeGrant>, names: &[&str]) -> OneTimeSecret {
        let grant = HomeGrant { names: names.iter().map(|name| (*name).to_owned()).collect(), ..HomeGrant::default() };
        homes.invite(names[0], grant, SystemTime::now(), Duration::from_secs(86_400)).unwrap().secret
    }

    fn said(homes: &Homes<HomeGrant>, name: &str) -> String {
        forgotten(homes, name).unwrap_or_else(|failure| failure.to_string())
    }

    #[test]
    fn each_name_is_given_up_by_itself_also_the_first() {
        let (folder, homes) = open("first");
        let key = LinkKey::generate().unwrap().public();
        for name in [ALICE, CLUB] {
            homes.pair(&invite(&homes, &[name]), key, SystemTime::now()).unwrap();
        }
        // As it may be copied from a zone file.
        let words = said(&homes, "Mail.Alice.TEST.");
        assert!(words.contains("mail.club.test stays with its home, which is called mail.club.test"), "{words}");
        let all = homes.all().unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), [CLUB]);
        assert_eq!(all[CLUB].grant.names.iter().collect::<Vec<_>>(), [CLUB]);
        assert!(all[CLUB].paired.is_some(), "the box stays");
        assert!(said(&homes, CLUB).contains("`inbound-proxy revoke mail.club.test` comes first"));
        drop(invite(&homes, &[ALICE]));
        assert!(homes.close(CLUB).unwrap() && said(&homes, CLUB).contains("and free"));
        assert_eq!(homes.all().unwrap().keys().collect::<Vec<_>>(), [ALICE]);
        assert!(said(&homes, CLUB).contains("there is no home"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn who_is_revoked_gives_one_name_up_at_a_time() {
        let (folder, homes) = open("revoked");
        drop(invite(&homes, &[ALICE, CLUB, "mail_2.club.test"]));
        homes.close(ALICE).unwrap();
        assert!(!said(&homes, CLUB).contains("called"), "its first name stays");
        let words = said(&homes, ALICE);
        assert!(words.contains("cannot be called") && words.contains("mail_2.club.test"), "{words}");
        assert_eq!(homes.all().unwrap()[ALICE].grant.names.len(), 2, "nothing was changed");
        // As an end between the two steps leaves it.
        let two = [CLUB, "mail.z.test"].map(str::to_owned).into();
        assert!(homes.leave(ALICE, ALICE, HomeGrant { names: two, ..HomeGrant::default() }).unwrap());
        assert!(said(&homes, ALICE).contains("called mail.club.test from now on"));
        for name in [CLUB, "mail.z.test"] {
            assert!(said(&homes, name).contains("and free"));
        }
        assert!(homes.all().unwrap().is_empty());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
