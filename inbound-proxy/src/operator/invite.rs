//! `inbound-proxy invite`: a home gets its names, and its family a code.

use std::net::IpAddr;
use std::time::SystemTime;

use relay_link::code::{Kind, PairingCode, Place};
use relay_link::limits;
use relay_link::operator::config::is_host;
use relay_link::operator::folder::Folder;
use relay_link::operator::valid;

use super::config::Config;
use super::own_address::{named, unusable};
use super::{Doing, Failure};
use crate::grant::{HomeGrant, is_street};
use crate::leads::is_public;

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
    /// An address of this machine that is this home's alone, and not where the proxy's own name leads (repeatable)
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
        let (home, grant) = self.grant(config)?;
        let (named, is_all) = if grant.addresses.is_empty() { (Vec::new(), true) } else { named(config)? };
        if !is_all {
            eprintln!(
                "No DNS server says for certain where {own} leads: see that it is another address, or senders that give no proof wait there."
            );
        }
        if let Some(words) = grant.addresses.iter().find_map(|address| unusable(*address, config, &named)) {
            return Err(Failure::new(words));
        }
        for absent in grant.addresses.iter().filter(|address| !is_here(**address)) {
            eprintln!("No interface of this machine has {absent}: until one has, nobody reaches {home} by it.");
        }
        for hidden in grant.addresses.iter().filter(|address| !is_public(**address)) {
            eprintln!(
                "{hidden} is behind a router: whose names lead there cannot be seen, so it proves nothing, and senders that give no \
                 proof wait there. Give this machine the public address itself."
            );
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

    fn grant(&self, config: &Config) -> Result<(String, HomeGrant), Failure> {
        let names: Vec<String> = self.names.iter().map(|name| plain(name)).collect();
        if let Some(words) = self.problem(&names, config) {
            return Err(Failure::new(words));
        }
        let grant = HomeGrant {
            street: self.street.clone(),
            addresses: self.addresses.iter().map(IpAddr::to_canonical).collect(),
            senders: self.senders.iter().map(|name| plain(name)).collect(),
            names: names.iter().cloned().collect(),
        };
        Ok((names.into_iter().next().unwrap_or_default(), grant))
    }
}

impl Invite {
    /// In words, why nobody is invited so.
    fn problem(&self, names: &[String], config: &Config) -> Option<String> {
        let own = plain(&config.name());
        if let Some(bad) = names.iter().find(|name| !is_host(name)) {
            return Some(format!("`{bad}` is no host name, such as mail.alice.example"));
        }
        if names.contains(&own) {
            return Some(format!("{own} is this proxy's own name: a home has another, such as mail.alice.example"));
        }
        if names.len() > limits::NAMES {
            return Some(format!("one home has {} names at most", limits::NAMES));
        }
        if let Some(bad) = self.street.as_ref().filter(|street| !is_street(street)) {
            let shown = bad.escape_default();
            return Some(format!("`{shown}` is no street: letters that can be seen, or no `--street` at all"));
        }
        let is_sender = |name: &str| is_host(name.strip_prefix('.').unwrap_or(name));
        if let Some(bad) = self.senders.iter().find(|name| !is_sender(&plain(name))) {
            return Some(format!("`{bad}` is no sender: say out.bank.example, or .bank.example for all below it"));
        }
        if self.street.is_none() && !self.senders.is_empty() {
            return Some("`--sender` works inside a street only: say which with `--street`".to_owned());
        }
        let mistaken = self.street.as_deref().and_then(|street| config.mistaken(street));
        mistaken.map(|other| format!("the configuration has that street as `{other}`: write it in the same way"))
    }
}

pub(super) fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether connections to it can arrive at this machine. (Nothing is sent: only who has an address can bind it.)
fn is_here(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Invite)) -> Option<String> {
        let mut invite = Invite {
            names: vec!["mail.alice.example".to_owned()],
            street: None,
            addresses: Vec::new(),
            senders: Vec::new(),
            hours: None,
        };
        change(&mut invite);
        let config = Config::parse("name = \"clean.example\"\n[streets]\n\"192.0.2.7\" = \"lane\"").unwrap();
        invite.grant(&config).err().map(|failure| failure.to_string())
    }

    #[test]
    fn who_is_invited_and_who_is_not() {
        assert_eq!(refused(|_| ()), None);
        for good in ["lane", "Lane 7"] {
            assert_eq!(refused(|invite| invite.street = Some(good.to_owned())), None);
        }
        for bad in ["", " ", "a b\nc", "\u{1b}[2J", "la\u{200b}ne"] {
            let words = refused(|invite| invite.street = Some(bad.to_owned())).unwrap();
            assert!(
                words.contains("is no street") && words.chars().all(|c| c.is_ascii_graphic() || c == ' '),
                "{words}"
            );
        }
        let words = refused(|invite| invite.street = Some("LANE".to_owned())).unwrap();
        assert!(words.contains("as `lane`"), "{words}");
        let with = |invite: &mut Invite, sender: &str| {
            invite.street = Some("lane".to_owned());
            invite.senders = vec![sender.to_owned()];
        };
        for good in ["out.bank.example", ".bank.example"] {
            assert_eq!(refused(|invite| with(invite, good)), None, "{good}");
            let words = refused(|invite| invite.senders = vec![good.to_owned()]).unwrap();
            assert!(words.contains("inside a street only"), "{words}");
        }
        for bad in ["", ".", ".com", "com", "a b.example", "192.0.2.1"] {
            let words = refused(|invite| with(invite, bad)).unwrap();
            assert!(words.contains("is no sender"), "{words}");
        }
        for own in ["clean.example", "Clean.Example."] {
            assert!(refused(|invite| invite.names.push(own.to_owned())).unwrap().contains("own name"), "{own}");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_seen() {
        assert!(is_here("127.0.0.1".parse().unwrap()));
        // RFC 5737: nobody's.
        assert!(!is_here("192.0.2.1".parse().unwrap()));
    }
}
