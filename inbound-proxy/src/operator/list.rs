//! `inbound-proxy list`, `revoke` and `forget`.

use std::time::{SystemTime, UNIX_EPOCH};

use relay_link::homes::{Home, Homes};
use relay_link::operator::folder::Folder;

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
    words.push(format!("names {}", grant.names.iter().cloned().collect::<Vec<_>>().join(", ")));
    words.extend(grant.street.as_ref().map(|street| format!("street {street}")));
    words.extend(grant.addresses.iter().map(|address| format!("address {address} alone")));
    words.extend(grant.senders.iter().map(|sender| format!("sender {sender}")));
    words.join("; ")
}

pub(super) fn revoke(folder: &Folder, home: &str) -> Result<(), Failure> {
    let homes = folder.homes::<HomeGrant>()?;
    if homes.close(home).doing(|| home.to_owned())? {
        println!(
            "{home} is revoked: its connections end within seconds, and mail for its names waits at its senders \
             (`inbound-proxy forget {home}`, once they lead elsewhere)"
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

/// From then on its names are as any other's: a sender that asks for none may be taken to mean the home that is left.
pub(super) fn forget(folder: &Folder, home: &str) -> Result<(), Failure> {
    let homes = folder.homes::<HomeGrant>()?;
    let all = homes.all().doing(|| home.to_owned())?;
    let Some(facts) = all.get(home) else { return forget_name(&homes, home) };
    if facts.paired.is_some() {
        return Err(Failure::new(format!("{home} is paired: `inbound-proxy revoke {home}` comes first")));
    }
    homes.revoke(home).doing(|| home.to_owned())?;
    println!("{home} is forgotten, and its names are free: see that no MX record leads here for them");
    Ok(())
}

/// One name of a home that has others.
fn forget_name(homes: &Homes<HomeGrant>, name: &str) -> Result<(), Failure> {
    let of = of_another(homes, name)?.ok_or_else(|| unknown(name))?;
    if !homes.regrant(&of, |grant| without(grant, name)).doing(|| of.clone())? {
        return Err(unknown(name));
    }
    println!("{name} is forgotten, and free: see that no MX record leads here for it; {of} stays");
    Ok(())
}

fn without(grant: &HomeGrant, name: &str) -> Option<HomeGrant> {
    let mut rest = grant.clone();
    (rest.names.remove(name) && !rest.names.is_empty()).then_some(rest)
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
    use super::*;

    #[test]
    fn a_further_name_is_forgotten_and_the_last_one_not() {
        let both = ["mail.alice.test", "mail.club.test"].map(str::to_owned);
        let grant = HomeGrant { names: both.into(), ..HomeGrant::default() };
        let rest = without(&grant, "mail.club.test").unwrap();
        assert_eq!(rest.names.iter().collect::<Vec<_>>(), ["mail.alice.test"]);
        assert_eq!(without(&rest, "mail.alice.test"), None);
        assert_eq!(without(&rest, "mail.bob.test"), None);
    }
}
