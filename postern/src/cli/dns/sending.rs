//! From where mail of this box leaves, and whether SPF lets it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smtpd::courier::destination::{Answer, Mx};
use smtpd::courier::dns::Dns as Resolver;

use super::{House, look_up, runtime};
use crate::failure::Failure;
use crate::records::{Facts, Found, Kind, Record, Sending};
use crate::spf::{self, Names};

/// RFC 5737: nobody's.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl Names for Resolver {
    async fn txt(&self, name: &str) -> Answer<String> {
        Self::txt(self, name).await
    }
    async fn mx(&self, name: &str) -> Answer<Mx> {
        Self::mx(self, name).await
    }
    async fn four(&self, name: &str) -> Answer<Ipv4Addr> {
        Self::four(self, name).await
    }
    async fn six(&self, name: &str) -> Answer<Ipv6Addr> {
        Self::six(self, name).await
    }
}

/// The same, and of what says who may send, what it comes to.
///
/// # Errors
/// In words for the admin.
pub fn evaluated(house: &House, facts: &Facts, records: &[Record], found: Vec<Found>) -> Result<Vec<Found>, Failure> {
    let resolver = look_up::resolver(house)?;
    Ok(runtime()?.block_on(async {
        let from = from(&resolver, facts, house.config.send_past_proxy).await;
        let mut all = Vec::with_capacity(found.len());
        for (record, found) in records.iter().zip(found) {
            all.push(match (&record.kind, found) {
                (Kind::Txt(text), Found::Records(found)) if spf::is_spf(text) => {
                    let sending = sending(&resolver, &record.name, &from).await;
                    Found::Spf(found, Sending { more: facts.line_is_unknown(), ..sending })
                }
                (_, found) => found,
            });
        }
        all
    }))
}

async fn sending(names: &impl Names, domain: &str, from: &[IpAddr]) -> Sending {
    let mut ours = Vec::with_capacity(from.len());
    for address in from {
        ours.push((*address, spf::evaluate(names, domain, *address).await));
    }
    Sending { ours, more: false, others: spf::evaluate(names, domain, NOBODY).await }
}

/// Proxies' addresses; without one, and past it, its own: those that it listens at, else those that its name has. Behind an
/// inbound proxy that name is the proxy's.
async fn from(names: &impl Names, facts: &Facts, past_proxy: bool) -> Vec<IpAddr> {
    let mut all = BTreeSet::new();
    for proxy in &facts.leaves_through {
        all.extend(at(names, proxy).await);
    }
    if facts.leaves_through.is_empty() || past_proxy {
        all.extend(&facts.sends_from);
        if facts.sends_from.is_empty() && !facts.is_behind_proxy {
            all.extend(at(names, &facts.host).await);
        }
    }
    all.into_iter().collect()
}

async fn at(names: &impl Names, host: &str) -> Vec<IpAddr> {
    let (four, six) = (all(names.four(host).await), all(names.six(host).await));
    four.into_iter().map(IpAddr::from).chain(six.into_iter().map(IpAddr::from)).collect()
}

fn all<T>(answer: Answer<T>) -> Vec<T> {
    if let Answer::Found { records, .. } = answer { records } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{self, Domain, Verdict};
    use crate::spf::Says;

    /// A box at 44.0.0.1, a proxy at 44.0.0.2, and what the domain says.
    struct Zone(&'static str);

    impl Names for Zone {
        async fn txt(&self, name: &str) -> Answer<String> {
            let records = if name == "home.test" { vec![self.0.to_owned()] } else { Vec::new() };
            Answer::Found { records, secure: false }
        }
        async fn mx(&self, _: &str) -> Answer<Mx> {
            Answer::Found { records: vec![Mx { preference: 10, host: "mail.home.test".into() }], secure: false }
        }
        async fn four(&self, name: &str) -> Answer<Ipv4Addr> {
            let last = if name == "out.clean.test" { 2 } else { 1 };
            Answer::Found { records: vec![Ipv4Addr::new(44, 0, 0, last)], secure: false }
        }
        async fn six(&self, _: &str) -> Answer<Ipv6Addr> {
            Answer::Nothing { secure: false }
        }
    }

    fn facts() -> Facts {
        let domains = vec![Domain { name: "home.test".into(), keys: Vec::new() }];
        Facts { host: "mail.home.test".into(), domains, ..Facts::default() }
    }

    #[test]
    fn from_where_it_leaves() {
        let runtime = runtime().unwrap();
        let found = |facts: &Facts, past| {
            let all = runtime.block_on(from(&Zone(""), facts, past));
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found(&facts(), false), ["44.0.0.1"], "where its name leads");
        let own = Facts { sends_from: vec!["44.0.0.9".parse().unwrap()], ..facts() };
        assert_eq!(found(&own, false), ["44.0.0.9"]);
        let through = Facts { leaves_through: vec!["out.clean.test".into()], ..own };
        assert_eq!(found(&through, false), ["44.0.0.2"]);
        assert_eq!(found(&through, true), ["44.0.0.2", "44.0.0.9"]);
        assert_eq!(found(&Facts { is_behind_proxy: true, ..facts() }, false), [""; 0], "that name is the proxy's");
    }

    #[test]
    fn a_record_is_judged_by_what_it_does() {
        let judged = |text: &'static str| {
            let record = records::records(&facts()).remove(1);
            assert_eq!(record.kind, Kind::Txt("v=spf1 mx -all".into()));
            let sending =
                runtime().unwrap().block_on(sending(&Zone(text), "home.test", &["44.0.0.1".parse().unwrap()]));
            (sending.ours[0].1.clone(), records::judge(&record, &Found::Spf(vec![Kind::Txt(text.into())], sending)))
        };
        for fine in ["v=spf1 mx -all", "v=spf1 ip4:44.0.0.1 -all", "v=spf1 a:mail.home.test ~all"] {
            assert_eq!(judged(fine), (Ok(Says::Pass), Verdict::Fine), "{fine}");
        }
        for wrong in ["v=spf1 -all mx", "v=spf1 -ip4:44.0.0.1 mx -all", "v=spf1 mx bogus:x -all", "v=spf1 +all"] {
            assert!(matches!(judged(wrong).1, Verdict::Wrong(_)), "{wrong}");
        }
    }
}
