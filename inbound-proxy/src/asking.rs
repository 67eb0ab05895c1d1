//! Asks where a home's name leads; of one whose box has never come, also where the mail of its domains goes: a family may have pointed
//! its MX record at the proxy's own name, and its letters are no one else's, though its name leads nowhere yet.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use relay_link::dns::{Addresses, Dns, Silent};
use tokio::time::timeout;

use crate::limits;

/// For one name.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a name leads; `None`: nobody has answered.
pub async fn name(dns: &Dns, name: &str) -> Option<Addresses> {
    timeout(PATIENCE, dns.all_addresses(name)).await.ok().and_then(Result::ok)
}

/// The same of a name of a home that is expected, and of its domains' mail. What goes to the hosts of `homes`, which are all that have
/// names here, is not for this one.
pub async fn expected(dns: &Dns, host: &str, homes: &BTreeSet<String>) -> Option<Addresses> {
    let (own, mail) = tokio::join!(name(dns, host), timeout(PATIENCE, mail(dns, host, homes)));
    both(own, mail.unwrap_or_default())
}

/// Where the mail of its domains goes, and whether that is all of it.
async fn mail(dns: &Dns, host: &str, homes: &BTreeSet<String>) -> (Vec<IpAddr>, bool) {
    let (mut hosts, mut found, mut whole) = (BTreeSet::new(), Vec::new(), true);
    for domain in domains(host) {
        match dns.mail_hosts(domain).await {
            // A domain without an MX record takes its own mail, and is not the family's for that: it may be the operator's.
            Ok(all) => hosts
                .extend(all.into_iter().filter(|to| ![host, domain, ""].contains(&to.as_str()) && !homes.contains(to))),
            Err(_) => whole = false,
        }
    }
    for to in hosts {
        match dns.all_addresses(&to).await {
            Ok(answer) => {
                whole &= answer.silent.is_none();
                found.extend(answer.found);
            }
            Err(_) => whole = false,
        }
    }
    (found, whole)
}

/// A host's name, and those above it but the last.
fn domains(host: &str) -> impl Iterator<Item = &str> {
    let all = std::iter::successors(Some(host), |domain| Some((*domain).split_once('.')?.1));
    all.filter(|domain| domain.contains('.')).take(limits::LEADS_DOMAINS)
}

/// What is missing of one answer takes nothing away of the other: it counts as half of one.
fn both(own: Option<Addresses>, (mail, whole): (Vec<IpAddr>, bool)) -> Option<Addresses> {
    let half = Some(Silent::Six);
    match own {
        None if mail.is_empty() => None,
        None => Some(Addresses { found: mail, silent: half }),
        Some(Addresses { found, silent }) => {
            let silent = if whole { silent } else { silent.or(half) };
            Some(Addresses { found: [mail, found].concat(), silent })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domains_of_a_name() {
        let of = |name| domains(name).collect::<Vec<_>>();
        assert_eq!(of("mail.dora.test"), ["mail.dora.test", "dora.test"]);
        assert_eq!(of("dora.test"), ["dora.test"]);
        assert_eq!(of("a.b.c.d.e.f.test").len(), limits::LEADS_DOMAINS);
    }

    #[test]
    fn half_an_answer_is_half_an_answer() {
        let [own, mail] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let all = |found: &[IpAddr]| Some(Addresses::all(found.to_vec()));
        let half = |found: &[IpAddr]| Some(Addresses { found: found.to_vec(), silent: Some(Silent::Six) });
        assert_eq!(both(all(&[]), (vec![mail], true)), all(&[mail]));
        assert_eq!(both(all(&[own]), (vec![], false)), half(&[own]));
        assert_eq!(both(None, (vec![mail], true)), half(&[mail]));
        assert_eq!(both(None, (vec![], false)), None);
        let four = Addresses { found: vec![own], silent: Some(Silent::Four) };
        assert_eq!(both(Some(four.clone()), (vec![], false)), Some(four));
    }
}
