//! `outbound-proxy list` and `revoke`.

use std::time::{SystemTime, UNIX_EPOCH};

use relay_link::homes::Home;
use relay_link::operator::folder::Folder;

use super::{Doing, Failure};
use crate::grant::HomeGrant;

pub(super) fn list(folder: &Folder) -> Result<(), Failure> {
    let all = folder.homes::<HomeGrant>()?.all().doing(|| "the homes".to_owned())?;
    if all.is_empty() {
        println!("No home yet: outbound-proxy invite alice");
    }
    for (name, home) in all.iter() {
        println!("{name}: {}", describe(home));
    }
    Ok(())
}

fn describe(home: &Home<HomeGrant>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match (&home.paired, &home.invitation) {
        (Some(paired), _) => format!("paired with the box whose key is {}", paired.key),
        (None, Some(code)) if code.expires > now => {
            format!("invited for {} more hours", (code.expires - now) / 3_600 + 1)
        }
        _ => "its code has expired: invite it again".to_owned(),
    }
}

pub(super) fn revoke(folder: &Folder, home: &str) -> Result<(), Failure> {
    if !folder.homes::<HomeGrant>()?.revoke(home).doing(|| home.to_owned())? {
        return Err(Failure::new(format!("there is no home {home}; see `outbound-proxy list`")));
    }
    println!("{home} is revoked: its connection ends within seconds, and what it would send waits in its own queue");
    Ok(())
}
