//! The map of homes, as their folder says now.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use relay_link::homes::{Home, Homes};

use crate::grant::HomeGrant;
use crate::route::Map;

type Read = Arc<BTreeMap<String, Home<HomeGrant>>>;

/// How long it is not asked whether the folder has changed. Thousands come in a second; operators' commands take one.
const SAME: Duration = Duration::from_millis(100);

/// Made anew only when the folder was read anew.
#[derive(Debug)]
pub(super) struct Maps {
    streets: BTreeMap<IpAddr, String>,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    from: Read,
    map: Arc<Map>,
    looked: Instant,
}

impl Maps {
    pub(super) const fn new(streets: BTreeMap<IpAddr, String>) -> Self {
        Self { streets, made: Mutex::new(None) }
    }

    /// All homes: one that is only invited, or revoked, is away, and its mail is nobody else's.
    ///
    /// # Errors
    /// The folder's.
    pub(super) fn now(&self, homes: &Homes<HomeGrant>) -> io::Result<Arc<Map>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = Instant::now();
        if let Some(made) = made.as_ref()
            && looked.saturating_duration_since(made.looked) < SAME
        {
            return Ok(made.map.clone());
        }
        let read = homes.all()?;
        if let Some(made) = made.as_mut()
            && Arc::ptr_eq(&made.from, &read)
        {
            made.looked = looked;
            return Ok(made.map.clone());
        }
        let hides_some = !homes.are_all_read()?;
        let homes = read.iter().map(|(name, home)| (name.clone(), home.grant.clone())).collect();
        let map = Arc::new(Map { homes, hides_some, streets: self.streets.clone() });
        *made = Some(Made { from: read, map: map.clone(), looked });
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use relay_link::inbound::Service;
    use relay_link::keys::LinkKey;

    use super::*;
    use crate::memory::Memory;
    use crate::route::{Facts, How, Route};
    use crate::sender::Group;

    const ALICE: &str = "mail.alice.example";
    const MALLORY: &str = "mail.mallory.example";
    const SHARED: &str = "192.0.2.1";
    const HERS: &str = "192.0.2.2";

    fn route(map: &Map, dialled: &str, sni: Option<&str>) -> Route {
        let group = Group::Network4([198, 51, 100]);
        let facts = Facts {
            dialled: dialled.parse().unwrap(),
            service: Service::Mail,
            sni,
            tickets: &[],
            ehlo: None,
            confirmed: false,
            group: &group,
        };
        map.route(&facts, &mut Memory::default(), 0)
    }

    /// Mallory answers 250 to everything, and Alice is away: invited, revoked, or invited again.
    #[test]
    fn nobody_gets_the_mail_of_a_home_that_is_not_there() {
        let folder = std::env::temp_dir().join(format!("gate-map-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let homes = Homes::<HomeGrant>::open(&folder).unwrap();
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3_600));
        let grant = |name: &str, address: Option<&str>| HomeGrant {
            names: [name.to_owned()].into(),
            addresses: address.into_iter().map(|address| address.parse().unwrap()).collect(),
            ..HomeGrant::default()
        };
        let pair = |name, address| {
            let invited = homes.invite(name, grant(name, address), now, hour).unwrap();
            homes.pair(&invited.secret, LinkKey::generate().unwrap().public(), now).unwrap();
        };
        let invite = || drop(homes.invite(ALICE, grant(ALICE, Some(HERS)), now, hour).unwrap());
        let close = || assert!(homes.close(ALICE).unwrap());
        pair(MALLORY, None);
        let steps: [(&str, &dyn Fn()); 4] = [
            ("invited", &invite),
            ("paired", &|| pair(ALICE, Some(HERS))),
            ("revoked", &close),
            ("invited again", &invite),
        ];
        for (step, act) in steps {
            act();
            let map = Maps::new(BTreeMap::new()).now(&homes).unwrap();
            assert_eq!(route(&map, SHARED, Some(ALICE)), Route::Home(ALICE.into(), How::Sni), "{step}");
            assert_eq!(route(&map, SHARED, None), Route::Learn, "{step}");
            assert_eq!(route(&map, SHARED, Some("mail.nobody.example")), Route::Learn, "{step}");
            for sni in [None, Some(ALICE), Some(MALLORY)] {
                assert_eq!(route(&map, HERS, sni), Route::Home(ALICE.into(), How::OwnAddress), "{step}");
            }
        }
        assert!(homes.revoke(ALICE).unwrap());
        let map = Maps::new(BTreeMap::new()).now(&homes).unwrap();
        assert_eq!(route(&map, SHARED, None), Route::Home(MALLORY.into(), How::Only), "forgotten by the operator");
        assert_eq!(route(&map, SHARED, Some(ALICE)), Route::Learn);
        std::fs::write(folder.join("mail.bob.example.toml"), "damaged").unwrap();
        let map = Maps::new(BTreeMap::new()).now(&homes).unwrap();
        assert_eq!(route(&map, SHARED, None), Route::Learn, "there is another, whoever it is");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
