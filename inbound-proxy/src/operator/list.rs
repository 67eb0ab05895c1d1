//! `inbound-proxy list`, `revoke` and `forget`.

use std::time::{SystemTime, UNIX_EPOCH};

use relay_link::homes::Home;
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
    match folder.homes::<HomeGrant>()?.close(home).doing(|| home.to_owned())? {
        true => {
            println!(
                "{home} is revoked: its connections end within seconds, and mail for its names waits at its senders \
                 (`inbound-proxy forget {home}`, once they lead elsewhere)"
            );
            Ok(())
        }
        false => Err(unknown(home)),
    }
}

/// From then on its names are as any other's: a sender that asks for none may be taken to mean the home that is left.
pub(super) fn forget(folder: &Folder, home: &str) -> Result<(), Failure> {
    let homes = folder.homes::<HomeGrant>()?;
    let all = homes.all().doing(|| home.to_owned())?;
    let facts = all.get(home).ok_or_else(|| unknown(home))?;
    if facts.paired.is_some() {
        return Err(Failure::new(format!("{home} is paired: `inbound-proxy revoke {home}` comes first")));
    }
    homes.revoke(home).doing(|| home.to_owned())?;
    println!("{home} is forgotten, and its names are free: see that no MX record leads here for them");
    Ok(())
}

fn unknown(home: &str) -> Failure {
    Failure::new(format!("there is no home {home}; see `inbound-proxy list`"))
}
