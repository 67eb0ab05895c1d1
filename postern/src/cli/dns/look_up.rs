//! What DNS has for each record.

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use smtpd::courier::dane::{self, Match, Tlsa};
use smtpd::courier::destination::Answer;
use smtpd::courier::dns::Dns as Resolver;

use super::{House, chain, runtime};
use crate::failure::Failure;
use crate::records::{Found, Kind, Record};
use crate::up::upstreams;

/// What DNS has for each record.
///
/// # Errors
/// In words for the admin: nobody can be asked.
pub fn look_up(house: &House, records: &[Record]) -> Result<Vec<Found>, Failure> {
    let (resolver, chain, validates) = (resolver(house)?, chain(house), house.config.dns_validates);
    Ok(runtime()?.block_on(async {
        let mut all = Vec::with_capacity(records.len());
        for record in records {
            all.push(without_others(ask(&resolver, record, (&chain, validates)).await, record, records));
        }
        all
    }))
}

/// Who is asked.
///
/// # Errors
/// In words for the admin: nobody can be.
pub fn resolver(house: &House) -> Result<Resolver, Failure> {
    let servers = upstreams(&house.config);
    if servers.is_empty() {
        return Err(Failure::new("no DNS servers are known: name some with `dns = [...]` in the configuration"));
    }
    Ok(Resolver::new(servers, house.config.dns_validates))
}

async fn ask(resolver: &Resolver, record: &Record, (chain, validates): (&[CertificateDer<'_>], bool)) -> Found {
    let name = &record.name;
    match &record.kind {
        Kind::Address(address) => {
            let four = found(resolver.four(name).await, |address| Kind::Address(address.into()));
            let six = found(resolver.six(name).await, |address| Kind::Address(address.into()));
            if address.is_ipv4() { and(four, six) } else { and(six, four) }
        }
        Kind::Mx(_, host) => {
            let all = found(resolver.mx(name).await, |mx| Kind::Mx(mx.preference, mx.host));
            with_alias(all, resolver.alias(host).await)
        }
        Kind::Txt(_) => found(resolver.txt(name).await, Kind::Txt),
        Kind::Tlsa(ours) => tlsa(resolver, name, *ours, (chain, validates)).await,
        Kind::Srv(..) => found(resolver.srv(name).await, |(port, host)| Kind::Srv(port, host)),
    }
}

/// What an MX record must not name is told where it is named.
fn with_alias(all: Found, alias: Answer<String>) -> Found {
    match (all, alias) {
        (Found::Records(all), Answer::Found { mut records, .. }) if !records.is_empty() => {
            Found::Aliased(all, records.swap_remove(0))
        }
        (all, _) => all,
    }
}

/// Beside what was asked for, what else may be there; if nobody knows, nothing.
fn and(asked: Found, beside: Found) -> Found {
    match (asked, beside) {
        (Found::Records(mut all), Found::Records(more)) => {
            all.extend(more);
            Found::Records(all)
        }
        (asked, _) => asked,
    }
}

/// Of addresses not those of another record of the same name; nor those of a family of which there is such a record: it is
/// told there.
fn without_others(found: Found, record: &Record, records: &[Record]) -> Found {
    let (Kind::Address(_), Found::Records(mut all)) = (&record.kind, found.clone()) else { return found };
    let others = || records.iter().filter(|other| other.name == record.name && other.kind != record.kind);
    let foreign =
        |kind: &Kind| kind.name() != record.kind.name() && others().any(|other| other.kind.name() == kind.name());
    all.retain(|kind| !others().any(|other| other.kind == *kind) && !foreign(kind));
    Found::Records(all)
}

/// What proves this box's certificate in another way is as good as ours. Of the rest only what names a public key's SHA-256
/// is like it.
async fn tlsa(
    resolver: &Resolver,
    name: &str,
    ours: [u8; 32],
    (chain, validates): (&[CertificateDer<'_>], bool),
) -> Found {
    let host = name.strip_prefix("_25._tcp.").unwrap_or(name);
    let like = |record: &Tlsa| (record.usage, record.selector, record.matching) == (3, 1, 1);
    let answer = resolver.tlsa(host).await;
    // Only a resolver that validates says whether the zone is signed.
    let unsigned = validates && !answer.is_secure();
    let found = match answer {
        Answer::Found { records, .. } => {
            let digest = |one: &Tlsa| match proves(one, chain, host) {
                true => Some(ours),
                false => one.data.as_slice().try_into().ok().filter(|_| like(one)),
            };
            let mut digests: Vec<[u8; 32]> = records.iter().filter_map(digest).collect();
            digests.sort_unstable();
            digests.dedup();
            Found::Records(digests.into_iter().map(Kind::Tlsa).collect())
        }
        other => found(other, |_| Kind::Tlsa([0; 32])),
    };
    match found {
        Found::Records(all) if unsigned => Found::Unsigned(all),
        found => found,
    }
}

/// RFC 7672 §3.1: by its own certificate or by one of those that it sends along, which must then be for that host.
fn proves(record: &Tlsa, chain: &[CertificateDer<'_>], host: &str) -> bool {
    let (Some((own, above)), all) = (chain.split_first(), chain.iter().map(AsRef::as_ref).collect::<Vec<_>>()) else {
        return false;
    };
    if !record.is_usable() {
        return false;
    }
    match dane::compare(std::slice::from_ref(record), &all) {
        Match::EndEntity => true,
        Match::Anchors(found) => {
            above.iter().any(|one| found.iter().any(|found| found == one.as_ref())) && is_for(own, host)
        }
        Match::None => false,
    }
}

fn is_for(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let (parsed, name) = (ParsedCertificate::try_from(certificate), ServerName::try_from(host));
    parsed.is_ok_and(|parsed| name.is_ok_and(|name| verify_server_name(&parsed, &name).is_ok()))
}

fn found<T>(answer: Answer<T>, kind: impl Fn(T) -> Kind) -> Found {
    match answer {
        Answer::Found { records, .. } => Found::Records(records.into_iter().map(kind).collect()),
        Answer::Nothing { .. } | Answer::NoName { .. } => Found::Records(Vec::new()),
        Answer::Failed => Found::NoAnswer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    #[test]
    fn any_record_that_proves_the_certificate_will_do() {
        let key = || KeyPair::generate().unwrap();
        let (root, leaf) = (key(), key());
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let above = authority.self_signed(&root).unwrap();
        let issuer = Issuer::new(authority, root);
        let own = CertificateParams::new(vec!["mail.home.test".into()]).unwrap().signed_by(&leaf, &issuer).unwrap();
        let chain = [own.der().clone(), above.der().clone()];
        let sha256 = |bytes: &[u8]| ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec();
        let record = |usage, selector, matching, data: Vec<u8>| Tlsa { usage, selector, matching, data };
        let spki = |der: &CertificateDer<'_>| dane::public_key(der).unwrap().to_vec();
        let at = |record: &Tlsa, host| proves(record, &chain, host);
        for one in [
            record(3, 1, 1, sha256(&spki(&chain[0]))),
            record(3, 0, 1, sha256(&chain[0])),
            record(3, 0, 0, chain[0].to_vec()),
            record(2, 0, 1, sha256(&chain[1])),
            record(2, 1, 1, sha256(&spki(&chain[1]))),
            record(2, 0, 0, chain[1].to_vec()),
        ] {
            assert!(at(&one, "mail.home.test"), "{one:?}");
            assert_eq!(at(&one, "other.test"), one.usage == 3, "an authority's word is for a name");
        }
        let stranger = authority_of_others();
        for one in [
            record(3, 1, 1, sha256(&chain[0])),
            record(3, 0, 1, sha256(&chain[1])),
            record(2, 0, 1, sha256(&stranger)),
            record(2, 0, 0, stranger.to_vec()),
            record(1, 0, 1, sha256(&chain[0])),
        ] {
            assert!(!at(&one, "mail.home.test"), "{one:?}");
        }
        assert!(!proves(&record(3, 0, 1, sha256(&chain[0])), &[], "mail.home.test"));
    }

    fn authority_of_others() -> CertificateDer<'static> {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn an_alias_is_told_where_there_is_an_mx() {
        let (mx, to) = (|| vec![Kind::Mx(10, "mail.home.test".into())], || vec!["box.home.test".to_owned()]);
        let alias = Answer::Found { records: to(), secure: false };
        assert_eq!(with_alias(Found::Records(mx()), alias), Found::Aliased(mx(), to().remove(0)));
        assert_eq!(with_alias(Found::Records(mx()), Answer::Failed), Found::Records(mx()));
        assert_eq!(with_alias(Found::NoAnswer, Answer::Found { records: to(), secure: true }), Found::NoAnswer);
    }

    #[test]
    fn addresses_of_ours_are_not_elsewhere() {
        let at = |text: &str| Kind::Address(text.parse().unwrap());
        let record = |kind| Record { name: "mail.home.test".into(), kind, purpose: "" };
        let (four, six) = (record(at("44.0.0.1")), record(at("2a00:44::1")));
        let found = || Found::Records(["44.0.0.1", "9.9.9.9", "2a00:44::1", "2a00:44::2"].map(at).into());
        let both = [four.clone(), six.clone()];
        let only = |record, records: &[Record]| without_others(found(), record, records);
        assert_eq!(only(&four, &both), Found::Records(["44.0.0.1", "9.9.9.9"].map(at).into()));
        assert_eq!(only(&six, &both), Found::Records(["2a00:44::1", "2a00:44::2"].map(at).into()));
        assert_eq!(only(&four, &both[..1]), found(), "what nobody here has is somebody else's");
    }
}
