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

    /// The names of which it matters where they lead: all, where an address is somebody's, else those of homes whose box has never
    /// come.
    pub(super) fn followed<'a>(
        &self,
        homes: &'a BTreeMap<String, Home<HomeGrant>>,
    ) -> impl Iterator<Item = &'a String> + use<'a> {
        let owned = !self.streets.is_empty() || homes.values().any(|home| !home.grant.addresses.is_empty());
        homes.values().filter(move |home| owned || home.expected).flat_map(|home| &home.grant.names)
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
        let follows = self.followed(&read).next().is_some();
        let homes = read.iter().map(|(name, home)| (name.clone(), home.grant.clone())).collect();
        let expected = read.iter().filter(|(_, home)| home.expected).map(|(name, _)| name.clone()).collect();
        let strays = if follows { self.leads().strays(&homes, seconds()) } else { Strays::default() };
        let map = Arc::new(Map { homes, hides_some, streets: self.streets.clone(), strays, expected });
        *made = Some(Made { from: read, map: map.clone(), looked });
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use relay_link::dns::Addresses;
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
        leads.heard(ALICE, Some(&Addresses::all(vec![HERS.parse().unwrap()])), seconds());
        leads.heard(MALLORY, Some(&Addresses::all(to)), seconds());
        Maps::new(BTreeMap::new(), leads)
    }

    fn grant(name: &str, address: Option<&str>) -> HomeGrant {
        HomeGrant {
            names: [name.to_owned()].into(),
            addresses: address.into_iter().map(|address| address.parse().unwrap()).collect(),
            ..HomeGrant::default()
        }
    }

    const CLUB: &str = "mail.club.example";
    const HOUR: Duration = Duration::from_secs(3_600);

    /// What is known of where the names of those lead whose box has not come.
    fn following(name: &str, to: Option<&[&str]>) -> Maps {
        let mut leads = Leads::default();
        leads.due([name.to_owned()].iter(), seconds());
        let to = to.map(|to| Addresses::all(to.iter().map(|address| address.parse().unwrap()).collect()));
        leads.heard(name, to.as_ref(), seconds());
        Maps::new(BTreeMap::new(), leads)
    }

    /// Mail cannot come yet for a name that leads nowhere; as soon as it can, it goes to nobody else.
    #[test]
    fn an_invitation_alone_takes_nothing_away() {
        let folder = std::env::temp_dir().join(format!("gate-expected-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let homes = Homes::<HomeGrant>::open(&folder).unwrap();
        let now = SystemTime::now();
        let (own, only) = (LinkKey::generate().unwrap().public(), Route::Home(ALICE.into(), How::Only));
        let invited = homes.invite(ALICE, grant(ALICE, None), now, HOUR).unwrap();
        homes.pair(&invited.secret, own, now).unwrap();
        let club = homes.invite(CLUB, grant(CLUB, None), now, HOUR).unwrap();
        for (leads, expected) in [
            (Some(&[][..]), &only),
            (Some(&["198.51.100.9"]), &only),
            (Some(&[SHARED]), &Route::Learn),
            (Some(&["198.51.100.9", SHARED]), &Route::Learn),
            (None, &Route::Learn),
        ] {
            let maps = following(CLUB, leads);
            assert_eq!(maps.followed(&homes.all().unwrap()).collect::<Vec<_>>(), [CLUB]);
            let map = maps.now(&homes).unwrap();
            assert_eq!(route(&map, SHARED, None), *expected, "{leads:?}");
            assert_eq!(route(&map, SHARED, Some(CLUB)), Route::Home(CLUB.into(), How::Sni));
        }
        // Its box turns out to be Alice's: it is no stranger, wherever its name leads.
        homes.pair(&club.secret, own, now).unwrap();
        let maps = following(CLUB, None);
        assert_eq!(maps.followed(&homes.all().unwrap()).count(), 0, "nobody asks the DNS for nothing");
        let map = maps.now(&homes).unwrap();
        assert_eq!(route(&map, SHARED, None), only);
        assert_eq!(route(&map, SHARED, Some(CLUB)), Route::Home(ALICE.into(), How::Sni));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// The second name of a family that has an address of its own leads there, as the first does.
    #[test]
    fn two_names_of_one_box_share_its_own_address() {
        let folder = std::env::temp_dir().join(format!("gate-two-names-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let homes = Homes::<HomeGrant>::open(&folder).unwrap();
        let (now, own) = (SystemTime::now(), LinkKey::generate().unwrap().public());
        for (name, address, key) in
            [(ALICE, Some(HERS), own), (MALLORY, None, LinkKey::generate().unwrap().public()), (CLUB, None, own)]
        {
            let invited = homes.invite(name, grant(name, address), now, HOUR).unwrap();
            homes.pair(&invited.secret, key, now).unwrap();
        }
        let mut leads = Leads::default();
        let all = [ALICE, CLUB, MALLORY].map(str::to_owned);
        leads.due(all.iter(), seconds());
        for (name, to) in all.iter().zip([HERS, HERS, SHARED]) {
            leads.heard(name, Some(&Addresses::all(vec![to.parse().unwrap()])), seconds());
        }
        let map = Maps::new(BTreeMap::new(), leads).now(&homes).unwrap();
        for sni in [None, Some(CLUB), Some(ALICE)] {
            assert_eq!(route(&map, HERS, sni), Route::Home(ALICE.into(), How::OwnAddress), "{sni:?}");
        }
        assert_eq!(route(&map, HERS, Some(MALLORY)), Route::Home(MALLORY.into(), How::Sni));
        assert_eq!(route(&map, SHARED, None), Route::Learn, "Mallory is a stranger still");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// Mallory answers 250 to everything, and Alice is away: invited, revoked, or invited again.
    #[test]
    fn nobody_gets_the_mail_of_a_home_that_is_not_there() {
        let folder = std::env::temp_dir().join(format!("gate-map-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let homes = Homes::<HomeGrant>::open(&folder).unwrap();
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3_600));
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
            // Her name leads elsewhere, so as long as her box has never come nobody can have mail for her here.
            let left = if step == "invited" { Route::Home(MALLORY.into(), How::Only) } else { Route::Learn };
            assert_eq!(route(&map, SHARED, None), left, "{step}");
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
