//! Whether a domain's SPF record lets mail from an address pass (RFC 7208), as any receiver evaluates it. Hostile input: every
//! record. Macros and `ptr` are not evaluated here; of a record that comes to them nothing is said.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;

use smtpd::courier::destination::{Answer, Mx};

/// RFC 7208 §4.6.4: terms that ask DNS.
const LOOK_UPS: u32 = 10;
/// RFC 7208 §4.6.4: of those, such as find nothing.
const VOID: u32 = 2;
/// RFC 7208 §4.6.4: hosts of one `mx`.
const HOSTS: usize = 10;

/// What a record says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// It may send.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// Nothing.
    Neutral,
}

/// Why there is no such word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Who evaluates it gives up: as good as no record (permerror).
    Broken(String),
    /// It cannot be said now, or not here.
    Unknown(String),
}

/// Who answers questions.
pub trait Names {
    /// TXT.
    fn txt(&self, name: &str) -> impl Future<Output = Answer<String>>;
    /// MX.
    fn mx(&self, name: &str) -> impl Future<Output = Answer<Mx>>;
    /// A.
    fn four(&self, name: &str) -> impl Future<Output = Answer<Ipv4Addr>>;
    /// AAAA.
    fn six(&self, name: &str) -> impl Future<Output = Answer<Ipv6Addr>>;
}

/// Whether a TXT record is one of SPF.
#[must_use]
pub fn is_spf(text: &str) -> bool {
    text.split(' ').next().is_some_and(|version| version.eq_ignore_ascii_case("v=spf1"))
}

/// What a domain's record says of an address.
///
/// # Errors
/// [`Stop`].
pub async fn evaluate(names: &impl Names, domain: &str, address: IpAddr) -> Result<Says, Stop> {
    let mut walk = Walk { names, address, look_ups: 0, void: 0 };
    walk.check(domain.to_owned()).await?.ok_or_else(|| Stop::Broken(format!("{domain} has no SPF record")))
}

/// One evaluation, and what it has asked.
struct Walk<'a, N> {
    names: &'a N,
    address: IpAddr,
    look_ups: u32,
    void: u32,
}

type Checked<'b> = Pin<Box<dyn Future<Output = Result<Option<Says>, Stop>> + 'b>>;

impl<N: Names> Walk<'_, N> {
    /// `None`: there is no record.
    fn check(&mut self, domain: String) -> Checked<'_> {
        Box::pin(async move {
            let Some(text) = self.record(&domain).await? else { return Ok(None) };
            // RFC 7208 §4.6: an error anywhere in it comes before any match.
            let record = Record::read(&text).map_err(|why| Stop::Broken(format!("{domain}: {why}")))?;
            for (says, mechanism) in &record.directives {
                if self.matches(mechanism, &domain).await? {
                    return Ok(Some(*says));
                }
            }
            let Some(other) = record.redirect else { return Ok(Some(Says::Neutral)) };
            let other = self.asks_of(Some(&other), &domain)?;
            match self.check(other.clone()).await? {
                None => Err(Stop::Broken(format!("{domain}: `redirect` leads to {other}, which has no SPF record"))),
                says => Ok(says),
            }
        })
    }

    async fn record(&mut self, domain: &str) -> Result<Option<String>, Stop> {
        let Some(mut records) = known(self.names.txt(domain).await, domain)? else { return Ok(None) };
        records.retain(|text| is_spf(text));
        if records.len() > 1 {
            return Err(Stop::Broken(format!("{domain} has more than one SPF record")));
        }
        Ok(records.pop())
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip(net, length) => Ok(is_within(self.address, *net, *length)),
            Mechanism::A(of, lengths) => {
                let host = self.asks_of(of.as_deref(), domain)?;
                self.has_address(&host, *lengths).await
            }
            Mechanism::Mx(of, lengths) => {
                let of = self.asks_of(of.as_deref(), domain)?;
                self.is_of_mx(&of, *lengths).await
            }
            Mechanism::Include(of) => {
                let of = self.asks_of(Some(of), domain)?;
                match self.check(of.clone()).await? {
                    None => Err(Stop::Broken(format!("{domain}: `include` names {of}, which has no SPF record"))),
                    says => Ok(says == Some(Says::Pass)),
                }
            }
            Mechanism::Exists(of) => {
                let of = self.asks_of(Some(of), domain)?;
                let found = known(self.names.four(&of).await, &of)?;
                self.finds(found.is_some())?;
                Ok(found.is_some())
            }
            Mechanism::Ptr => Err(Stop::Unknown(format!("{domain}: it uses `ptr`, which is not evaluated here"))),
        }
    }

    /// One more question, about that name or the domain itself.
    fn asks_of(&mut self, of: Option<&str>, domain: &str) -> Result<String, Stop> {
        self.look_ups += 1;
        if self.look_ups > LOOK_UPS {
            return Err(Stop::Broken(format!("it asks DNS more than {LOOK_UPS} times")));
        }
        match of {
            Some(of) if of.contains('%') => {
                Err(Stop::Unknown(format!("{domain}: it uses macros ({of}), which are not evaluated here")))
            }
            of => Ok(of.unwrap_or(domain).to_owned()),
        }
    }

    fn finds(&mut self, something: bool) -> Result<(), Stop> {
        self.void += u32::from(!something);
        if self.void > VOID {
            return Err(Stop::Broken(format!("more than {VOID} of the names in it do not exist")));
        }
        Ok(())
    }

    async fn is_of_mx(&mut self, of: &str, lengths: Lengths) -> Result<bool, Stop> {
        let found = known(self.names.mx(of).await, of)?;
        self.finds(found.is_some())?;
        let hosts = found.unwrap_or_default();
        if hosts.len() > HOSTS {
            return Err(Stop::Broken(format!("{of} has more than {HOSTS} MX records")));
        }
        for host in hosts {
            if self.is_at(&host.host, lengths).await?.unwrap_or(false) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_address(&mut self, host: &str, lengths: Lengths) -> Result<bool, Stop> {
        let at = self.is_at(host, lengths).await?;
        self.finds(at.is_some())?;
        Ok(at.unwrap_or(false))
    }

    /// `None`: it is nowhere.
    async fn is_at(&self, host: &str, (four, six): Lengths) -> Result<Option<bool>, Stop> {
        Ok(match self.address {
            IpAddr::V4(_) => known(self.names.four(host).await, host)?
                .map(|all| all.into_iter().any(|net| is_within(self.address, net.into(), four))),
            IpAddr::V6(_) => known(self.names.six(host).await, host)?
                .map(|all| all.into_iter().any(|net| is_within(self.address, net.into(), six))),
        })
    }
}

/// `None`: there are none.
fn known<T>(answer: Answer<T>, name: &str) -> Result<Option<Vec<T>>, Stop> {
    match answer {
        Answer::Found { records, .. } => Ok(Some(records)),
        Answer::Nothing { .. } | Answer::NoName { .. } => Ok(None),
        Answer::Failed => Err(Stop::Unknown(format!("DNS gave no answer about {name}"))),
    }
}

fn is_within(address: IpAddr, net: IpAddr, length: u8) -> bool {
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            (address.to_bits() ^ net.to_bits()) & mask == 0
        }
        (IpAddr::V6(address), IpAddr::V6(net)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            (address.to_bits() ^ net.to_bits()) & mask == 0
        }
        _ => false,
    }
}

/// Of IPv4 and of IPv6.
type Lengths = (u8, u8);

#[derive(Debug, PartialEq, Eq)]
enum Mechanism {
    All,
    Ip(IpAddr, u8),
    A(Option<String>, Lengths),
    Mx(Option<String>, Lengths),
    Include(String),
    Exists(String),
    Ptr,
}

/// A record that was read whole.
#[derive(Debug, Default, PartialEq, Eq)]
struct Record {
    directives: Vec<(Says, Mechanism)>,
    redirect: Option<String>,
}

impl Record {
    /// RFC 7208 §12.
    fn read(text: &str) -> Result<Self, String> {
        let (mut record, mut explained) = (Self::default(), false);
        for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
            let wrong = || format!("{term:?} means nothing in SPF");
            let end = term.find([':', '/', '=']).unwrap_or(term.len());
            match term.split_at(end) {
                (name, value) if value.starts_with('=') => {
                    let (name, value) = (name.to_ascii_lowercase(), &value[1..]);
                    let again = match name.as_str() {
                        "redirect" => record.redirect.replace(name_of(value).ok_or_else(wrong)?).is_some(),
                        "exp" => std::mem::replace(&mut explained, true),
                        // RFC 7208 §6: others are passed over.
                        other => !is_name(other),
                    };
                    if again {
                        return Err(wrong());
                    }
                }
                (name, value) => record.directives.push(directive(name, value).ok_or_else(wrong)?),
            }
        }
        Ok(record)
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.'))
}

/// A domain, perhaps with macros.
fn name_of(text: &str) -> Option<String> {
    let sound = !text.is_empty() && text.chars().all(|one| one.is_ascii_graphic());
    sound.then(|| text.strip_suffix('.').unwrap_or(text).to_owned())
}

fn directive(name: &str, value: &str) -> Option<(Says, Mechanism)> {
    let (says, name) = match name.split_at_checked(1) {
        Some(("+", name)) => (Says::Pass, name),
        Some(("-", name)) => (Says::Fail, name),
        Some(("~", name)) => (Says::SoftFail, name),
        Some(("?", name)) => (Says::Neutral, name),
        _ => (Says::Pass, name),
    };
    let after = value.strip_prefix(':');
    let mechanism = match name.to_ascii_lowercase().as_str() {
        "all" if value.is_empty() => Mechanism::All,
        "ip4" => net(after?, |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4), 32)?,
        "ip6" => net(after?, |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6), 128)?,
        "a" => with_lengths(value).map(|(of, lengths)| Mechanism::A(of, lengths))?,
        "mx" => with_lengths(value).map(|(of, lengths)| Mechanism::Mx(of, lengths))?,
        "include" => Mechanism::Include(name_of(after?)?),
        "exists" => Mechanism::Exists(name_of(after?)?),
        "ptr" if value.is_empty() || after.is_some_and(|of| !of.is_empty()) => Mechanism::Ptr,
        _ => return None,
    };
    Some((says, mechanism))
}

fn net(text: &str, address: fn(&str) -> Option<IpAddr>, most: u8) -> Option<Mechanism> {
    let (net, bits) = text.split_once('/').map_or((text, None), |(net, bits)| (net, Some(bits)));
    Some(Mechanism::Ip(address(net)?, bits.map_or(Some(most), |bits| length(bits, most))?))
}

/// `:DOMAIN/24//64`, all of which may be missing.
fn with_lengths(value: &str) -> Option<(Option<String>, Lengths)> {
    let (of, lengths) = value.find('/').map_or((value, ""), |at| value.split_at(at));
    let of = match of.strip_prefix(':') {
        Some(of) => Some(name_of(of)?),
        None if of.is_empty() => None,
        None => return None,
    };
    let (four, six) = match lengths.find("//") {
        Some(at) => (&lengths[..at], Some(&lengths[at + 2..])),
        None => (lengths, None),
    };
    let four = if four.is_empty() { Some(32) } else { four.strip_prefix('/').and_then(|bits| length(bits, 32)) };
    Some((of, (four?, six.map_or(Some(128), |bits| length(bits, 128))?)))
}

fn length(text: &str, most: u8) -> Option<u8> {
    let digits = text.chars().all(|one| one.is_ascii_digit());
    text.parse().ok().filter(|bits| digits && *bits <= most)
}

#[cfg(test)]
mod tests;
