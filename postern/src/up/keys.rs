//! The DKIM keys while the box runs: what is missing is made beside, and the courier hears of every change.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::roles::Roles;
use super::say;
use crate::failure::Failure;
use crate::signing::{self, Keys, Maker, Stage};

/// After a key maker that failed.
const AGAIN: Duration = Duration::from_secs(60);

/// The file and who makes what is missing in it.
#[derive(Debug)]
pub struct SigningKeys {
    keys: Keys,
    seen: Option<SystemTime>,
    /// RSA keys still to be made, as the file was when it was seen.
    wanted: Vec<(String, String, Stage)>,
    maker: Option<Maker>,
    not_before: Instant,
}

impl SigningKeys {
    /// Makes an Ed25519 key for each domain that has none.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn open(keys: Keys, domains: &[String]) -> Result<Self, Failure> {
        let now = wire::date::now();
        let mut all = keys.read()?;
        let before = all.len();
        signing::complete(&mut all, domains, now)?;
        if all.len() > before {
            all = keys.change(|all| signing::complete(all, domains, now).map(|()| all.clone()))?;
        }
        let wanted = signing::wanted(&all);
        Ok(Self { seen: keys.written(), keys, wanted, maker: None, not_before: Instant::now() })
    }

    /// What signs.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn signing(&self) -> Result<Vec<wire::control::SigningKey>, Failure> {
        self.keys.read().map(|all| signing::signing(&all))
    }

    /// Looks what has changed, and at the key maker.
    pub fn look(&mut self, roles: &mut Roles) {
        if let Err(failure) = self.try_look(roles) {
            say(&format!("DKIM keys: {failure}"));
            self.not_before = Instant::now() + AGAIN;
            // What is still wanted is looked up again then.
            self.seen = None;
        }
    }

    fn try_look(&mut self, roles: &mut Roles) -> Result<(), Failure> {
        if Instant::now() < self.not_before {
            return Ok(());
        }
        self.take_made()?;
        let written = self.keys.written();
        if written != self.seen {
            let all = self.keys.read()?;
            roles.sign(signing::signing(&all));
            self.wanted = signing::wanted(&all);
            self.seen = written;
        }
        if self.maker.is_none()
            && let Some(next) = self.wanted.pop()
        {
            let failed = |error| Failure::new(format!("no key maker could be started: {error}"));
            self.maker = Some(Maker::start(next).map_err(failed)?);
        }
        Ok(())
    }

    fn take_made(&mut self) -> Result<(), Failure> {
        let Some(made) = self.maker.as_ref().and_then(Maker::look) else { return Ok(()) };
        let Some(maker) = self.maker.take() else { return Ok(()) };
        let wanted = maker.wanted.clone();
        maker.reap();
        let der = made.map_err(|error| Failure::new(format!("the key maker: {error}")))?;
        say(&format!("an RSA key for {} is made", wanted.0));
        self.keys.change(|all| {
            signing::put(all, wanted, der);
            Ok(())
        })
    }
}
