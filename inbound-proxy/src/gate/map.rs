//! The map of homes, as their folder says now.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use relay_link::homes::{Home, Homes};

use super::now as seconds;
use crate::grant::HomeGrant;
use crate::leads::{Leads, Strays};
use crate::route::Map;

type Read = Arc<BTreeMap<String, Home<HomeGrant>>>;

/// How long it is not asked whether the folder has changed. Thousands come in a second; operators' commands take one.
const SAME: Duration = Duration::from_millis(100);

/// Made anew only when the folder was read anew, or more is known of where names lead.
#[derive(Debug)]
pub(super) struct Maps {
    streets: BTreeMap<IpAddr, String>,
    leads: Mutex<Leads>,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    from: Read,
    map: Arc<Map>,
    looked: Instant,
}

impl Maps {
    pub(super) const fn new(streets: BTreeMap<IpAddr, String>, leads: Leads) -> Self {
        Self { streets, leads: Mutex::new(leads), made: Mutex::new(None) }
    }

    /// Whether it matters where names lead: only where an address is somebody's.
    pub(super) fn has_owners(&self, homes: &BTreeMap<String, Home<HomeGrant>>) -> bool {
        !self.streets.is_empty() || homes.values().any(|home| !home.grant.addresses.is_empty())
    }

    /// Where the names lead.
    pub(super) fn leads(&self) -> MutexGuard<'_, Leads> {
        self.leads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// More is known of where they lead.
    pub(super) fn make_anew(&self) {
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
        let strays = self.has_owners(&read);
        let homes = read.iter().map(|(name, home)| (name.clone(), home.grant.clone())).collect();
        let strays = if strays { self.leads().strays(&homes, seconds()) } else { Strays::default() };
        let map = Arc::new(Map { homes, hides_some, streets: self.streets.clone(), strays });
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

    /// Mallory's name leads to these addresses.
    fn maps(mallorys: &[&str]) -> Maps {
        let (mut leads, names) = (Leads::default(), [ALICE.to_owned(), MALLORY.to_owned()]);
        leads.due(names.iter(), seconds());
        let to: Vec<IpAddr> = mallorys.iter().map(|address| address.parse().unwrap()).collect();
        leads.heard(ALICE, Some(&[HERS.parse().unwrap()]), seconds());
        leads.heard(MALLORY, Some(&to), seconds());
        Maps::new(BTreeMap::new(), leads)
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
            let map = maps(&[SHARED]).now(&homes).unwrap();
            assert_eq!(route(&map, SHARED, Some(ALICE)), Route::Home(ALICE.into(), How::Sni), "{step}");
            assert_eq!(route(&map, SHARED, None), Route::Learn, "{step}");
            assert_eq!(route(&map, SHARED, Some("mail.nobody.example")), Route::Learn, "{step}");
            for sni in [None, Some(ALICE), Some("mail.nobody.example")] {
                assert_eq!(route(&map, HERS, sni), Route::Home(ALICE.into(), How::OwnAddress), "{step}");
            }
            // Her record may be in somebody's memory still.
            assert_eq!(route(&map, HERS, Some(MALLORY)), Route::Home(MALLORY.into(), How::Sni), "{step}");
            for maps in [maps(&[SHARED, HERS]), Maps::new(BTreeMap::new(), Leads::default())] {
                let map = maps.now(&homes).unwrap();
                assert_eq!(route(&map, HERS, None), Route::Learn, "{step}: mallory's name leads there, or may");
                assert_eq!(map.alone(HERS.parse().unwrap()), None);
            }
        }
        assert!(homes.revoke(ALICE).unwrap());
        let map = maps(&[SHARED]).now(&homes).unwrap();
        assert_eq!(route(&map, SHARED, None), Route::Home(MALLORY.into(), How::Only), "forgotten by the operator");
        assert_eq!(route(&map, SHARED, Some(ALICE)), Route::Learn);
        std::fs::write(folder.join("mail.bob.example.toml"), "damaged").unwrap();
        let map = maps(&[SHARED]).now(&homes).unwrap();
        assert_eq!(route(&map, SHARED, None), Route::Learn, "there is another, whoever it is");
        assert_eq!(route(&map, HERS, None), Route::Learn, "and wherever its name leads");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
