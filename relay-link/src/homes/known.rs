//! What was read of the folder.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use super::{All, ENDING, Grant, Home, is_name};
use crate::keys::PublicKey;
use crate::{durable, limits};

/// All homes as they were read, and whose each key is: every connected home is looked for every few seconds.
#[derive(Debug)]
pub(super) struct Known<G> {
    pub homes: All<G>,
    pub keys: Arc<HashMap<PublicKey, String>>,
    /// No file was passed over.
    pub whole: bool,
    /// Invitations whose box is a home that has them by now: their files only await their end.
    pub joined: Vec<String>,
}

impl<G> Clone for Known<G> {
    fn clone(&self) -> Self {
        Self { homes: self.homes.clone(), keys: self.keys.clone(), whole: self.whole, joined: self.joined.clone() }
    }
}

impl<G> Known<G> {
    pub(super) fn new((mut homes, whole): (BTreeMap<String, Home<G>>, bool)) -> Self {
        let joined = joined(&homes);
        homes.retain(|name, _| !joined.contains(name));
        let keys = homes.iter().filter_map(|(name, home)| Some((home.paired.as_ref()?.key, name.clone()))).collect();
        Self { homes: Arc::new(homes), keys: Arc::new(keys), whole, joined }
    }
}

/// Who is invited by a code that a box has used.
fn joined<G>(homes: &BTreeMap<String, Home<G>>) -> Vec<String> {
    let code = |home: &Home<G>| home.invitation.as_ref().map(|code| code.digest);
    let used: Vec<_> = homes.values().filter(|home| home.paired.is_some()).filter_map(code).collect();
    let waits = |home: &Home<G>| home.paired.is_none() && code(home).is_some_and(|code| used.contains(&code));
    homes.iter().filter(|(_, home)| waits(home)).map(|(name, _)| name.clone()).collect()
}

#[derive(Debug)]
pub(super) struct Read<G> {
    /// The folder's time of change when it was read.
    pub changed: SystemTime,
    pub known: Known<G>,
}

/// A change within the same tick of the kernel's clock as the one before does not show in the folder's time; ticks are
/// ten milliseconds at most.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// The homes, and whether that is all of them.
pub(super) fn read_folder<G: Grant>(folder: &Path) -> io::Result<(BTreeMap<String, Home<G>>, bool)> {
    let (mut homes, mut whole) = (BTreeMap::new(), true);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).filter(|name| is_name(name));
        let (Some(name), Some(ENDING)) = (name, path.extension().and_then(|ending| ending.to_str())) else { continue };
        match read_home(&path) {
            Ok(Some(home)) => drop(homes.insert(name.to_owned(), home)),
            Ok(None) => {}
            Err(error) => {
                whole = false;
                tracing::error!(home = name, %error, "its file cannot be used");
            }
        }
        if homes.len() > limits::HOMES {
            whole = false;
            break;
        }
    }
    Ok((homes, whole))
}

fn read_home<G: Grant>(path: &Path) -> io::Result<Option<Home<G>>> {
    let Some(bytes) = durable::read(path, limits::HOME_FILE)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    toml::from_str(&text).map(Some).map_err(io::Error::other)
}
