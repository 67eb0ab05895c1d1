//! `outbound-proxy invite`: a home gets its allowance, and its family a code.

use std::net::IpAddr;
use std::time::SystemTime;

use relay_link::code::{Kind, PairingCode, Place};
use relay_link::limits;
use relay_link::operator::config::is_host;
use relay_link::operator::folder::Folder;
use relay_link::operator::valid;

use super::config::Config;
use super::{Doing, Failure};
use crate::grant::{Allowance, HomeGrant};

/// Who is invited, and to what.
#[derive(Debug, clap::Args)]
pub(super) struct Invite {
    /// What the home is called here
    home: String,
    /// Units it can spend at once
    #[arg(long, value_name = "UNITS")]
    bucket: Option<u32>,
    /// Units that come back in an hour
    #[arg(long, value_name = "UNITS")]
    hourly: Option<u32>,
    /// Units of a day
    #[arg(long, value_name = "UNITS")]
    daily: Option<u32>,
    /// Sessions of a day
    #[arg(long, value_name = "N")]
    sessions: Option<u32>,
    /// Sessions begun within a minute
    #[arg(long, value_name = "N")]
    burst: Option<u32>,
    /// Sessions of a day in which no letter can have gone
    #[arg(long, value_name = "N")]
    empty: Option<u32>,
    /// Different far networks within an hour
    #[arg(long, value_name = "N")]
    networks: Option<u32>,
    /// Sessions at once
    #[arg(long, value_name = "N")]
    concurrent: Option<u32>,
    /// MiB that the letters of a day may have in all
    #[arg(long, value_name = "MIB")]
    megabytes: Option<u32>,
    /// The address that the home dials, where this machine's name does not lead to it
    #[arg(long, value_name = "ADDR")]
    at: Option<IpAddr>,
    /// Hours for which the code works
    #[arg(long, value_name = "N")]
    hours: Option<u32>,
}

impl Invite {
    /// Prints the code.
    ///
    /// # Errors
    /// In words for the operator.
    pub(super) fn run(self, folder: &Folder, config: &Config) -> Result<(), Failure> {
        let proxy = folder.link_key()?.public().fingerprint();
        let place = self.place(&config.name())?;
        let valid = valid(self.hours)?;
        let grant = HomeGrant { allowance: self.allowance(config.allowance) };
        if let Some(words) = grant.allowance.too_small() {
            return Err(Failure::new(words));
        }
        let home = self.home.to_ascii_lowercase();
        let invited =
            folder.homes::<HomeGrant>()?.invite(&home, grant, SystemTime::now(), valid).doing(|| home.clone())?;
        let expires = u32::try_from(invited.expires / 60).doing(|| "the clock".to_owned())?;
        println!("{}", PairingCode { kind: Kind::Outbound, place, proxy, secret: invited.secret, expires });
        eprintln!("In the house of {home}, within {} hours: postern pair CODE", valid.as_secs() / 3_600);
        Ok(())
    }

    fn place(&self, own: &str) -> Result<Place, Failure> {
        let host = self.at.map_or_else(|| own.to_owned(), |address| address.to_canonical().to_string());
        let known = self.at.is_some() || is_host(own);
        Place::new(&host, limits::OUTBOUND_PORT).filter(|_| known).ok_or_else(|| {
            Failure::new(format!(
                "`{own}` is no name that a home can dial: say `name = ...` in the configuration, or --at ADDR"
            ))
        })
    }

    fn allowance(&self, usual: Allowance) -> Allowance {
        Allowance {
            bucket: self.bucket.unwrap_or(usual.bucket),
            hourly: self.hourly.unwrap_or(usual.hourly),
            daily: self.daily.unwrap_or(usual.daily),
            sessions: self.sessions.unwrap_or(usual.sessions),
            burst: self.burst.unwrap_or(usual.burst),
            empty: self.empty.unwrap_or(usual.empty),
            networks: self.networks.unwrap_or(usual.networks),
            concurrent: self.concurrent.unwrap_or(usual.concurrent),
            megabytes: self.megabytes.unwrap_or(usual.megabytes),
        }
    }
}
