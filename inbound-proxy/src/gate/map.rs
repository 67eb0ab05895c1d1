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

    /// The homes that are paired; who is only invited gets nothing yet.
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
        let paired = read.iter().filter(|(_, home)| home.paired.is_some());
        let homes = paired.map(|(name, home)| (name.clone(), home.grant.clone())).collect();
        let map = Arc::new(Map { homes, streets: self.streets.clone() });
        *made = Some(Made { from: read, map: map.clone(), looked });
        Ok(map)
    }
}
