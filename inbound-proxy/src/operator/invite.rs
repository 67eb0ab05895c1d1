//! `inbound-proxy invite`: a home gets its names, and its family a code.

use std::net::IpAddr;
use std::time::SystemTime;

use relay_link::code::{Kind, PairingCode, Place};
use relay_link::limits;
use relay_link::operator::config::is_host;
use relay_link::operator::folder::Folder;
use relay_link::operator::valid;

use super::config::Config;
use super::{Doing, Failure};
use crate::grant::HomeGrant;

/// Who is invited.
#[derive(Debug, clap::Args)]
pub(super) struct Invite {
    /// A host name of the home: what its MX record says, and what its phones connect to (repeatable; the first is what
    /// the home is called here)
    #[arg(long = "name", required = true, value_name = "HOST")]
    names: Vec<String>,
    /// Homes of one street trust each other not to take each other's post
    #[arg(long)]
    street: Option<String>,
    /// An address of this proxy that is this home's alone (repeatable)
    #[arg(long = "address", value_name = "ADDR")]
    addresses: Vec<IpAddr>,
    /// A sender (its EHLO name, or with a leading dot all below it) that writes to this home only; works inside a street
    /// (repeatable)
    #[arg(long = "sender", value_name = "NAME")]
    senders: Vec<String>,
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
        let fingerprint = folder.link_key()?.public().fingerprint();
        let own = config.name();
        let place = Place::new(&own, limits::INBOUND_PORT).filter(|_| is_host(&own)).ok_or_else(|| {
            Failure::new(format!("`{own}` is no name that a home can dial: say `name = ...` in the configuration"))
        })?;
        let (home, grant) = self.grant()?;
        for absent in grant.addresses.iter().filter(|address| !is_here(**address)) {
            eprintln!("No interface of this machine has {absent}: until one has, nobody reaches {home} by it.");
        }
        let valid = valid(self.hours)?;
        let invited =
            folder.homes::<HomeGrant>()?.invite(&home, grant, SystemTime::now(), valid).doing(|| home.clone())?;
        let expires = u32::try_from(invited.expires / 60).doing(|| "the clock".to_owned())?;
        let code = PairingCode { kind: Kind::Inbound, place, proxy: fingerprint, secret: invited.secret, expires };
        let hours = valid.as_secs() / 3_600;
        println!("{code}");
        eprintln!("In the house of {home}, within {hours} hours: postern pair CODE");
        Ok(())
    }

    fn grant(&self) -> Result<(String, HomeGrant), Failure> {
        let names: Vec<String> =
            self.names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect();
        if let Some(bad) = names.iter().find(|name| !is_host(name)) {
            return Err(Failure::new(format!("`{bad}` is no host name, such as mail.alice.example")));
        }
        if names.len() > limits::NAMES {
            return Err(Failure::new(format!("one home has {} names at most", limits::NAMES)));
        }
        let grant = HomeGrant {
            street: self.street.clone(),
            addresses: self.addresses.iter().map(IpAddr::to_canonical).collect(),
            senders: self.senders.iter().map(|name| name.to_ascii_lowercase()).collect(),
            names: names.iter().cloned().collect(),
        };
        Ok((names.into_iter().next().unwrap_or_default(), grant))
    }
}

/// Whether connections to it can arrive at this machine. (Nothing is sent: only who has an address can bind it.)
fn is_here(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_another_machine_is_seen() {
        assert!(is_here("127.0.0.1".parse().unwrap()));
        // RFC 5737: nobody's.
        assert!(!is_here("192.0.2.1".parse().unwrap()));
    }
}
