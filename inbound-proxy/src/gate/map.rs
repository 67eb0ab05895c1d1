//! The map of homes, as their folder says now.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use relay_link::homes::{Home, Homes};

use crate::grant::HomeGrant;
use crate::route::Map;

type Read = Arc<BTreeMap<String, Home<HomeGrant>>>;

/// Made anew only when the folder was read anew.
#[derive(Debug)]
pub(super) struct Maps {
    streets: BTreeMap<IpAddr, String>,
    made: Mutex<Option<(Read, Arc<Map>)>>,
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
        let read = homes.all()?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, map)) = made.as_ref()
            && Arc::ptr_eq(from, &read)
        {
            return Ok(map.clone());
        }
        let paired = read.iter().filter(|(_, home)| home.paired.is_some());
        let homes = paired.map(|(name, home)| (name.clone(), home.grant.clone())).collect();
        let map = Arc::new(Map { homes, streets: self.streets.clone() });
        *made = Some((read, map.clone()));
        Ok(map)
    }
}
