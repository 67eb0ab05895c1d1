//! `postern dns [check]`: the records that the world must find, and whether it does.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use smtpd::courier::dane;
use smtpd::courier::destination::is_public;

mod look_up;
mod place;
mod sending;

pub(super) use look_up::look_up;
pub(super) use place::look as place;

use super::House;
use crate::box_key::BoxKey;
use crate::config::Config;
use crate::failure::{Doing, Failure};
use crate::pairings::{self, Pairing};
use crate::records::{self, Domain, Facts, Record, Verdict};
use crate::signing::{self, Key, Stage};
use crate::up::{certificate_files, upstreams};

/// The DNS records of this box.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  postern dns               every record as a table, to type into a web page\n  \
    postern dns --zone        the same as a zone file\n  postern dns check         what of it is missing or wrong")]
pub struct Dns {
    #[command(subcommand)]
    command: Option<Command>,
    /// As a zone file
    #[arg(long)]
    zone: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look each record up, and say what is missing or wrong
    Check,
}

impl Dns {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn run(self, house: &House) -> Result<ExitCode, Failure> {
        let (facts, unknown) = facts(house)?;
        let records = records::records(&facts);
        match self.command {
            None => {
                let values: Vec<Value> = records.iter().map(value).collect();
                let later: Vec<&str> = records::LATER.iter().map(|(name, _)| *name).collect();
                let following = following(house)?;
                let renewal = renewal(&house.config);
                let print = json!({
                    "records": values, "later": later, "following": following, "renewal": renewal, "unknown": unknown,
                });
                let notes = |comment: &str| {
                    let renewal = renewal.map(|words| format!("\n{comment}{words}")).unwrap_or_default();
                    still_made(&following, comment) + &lines(&unknown, comment) + &renewal
                };
                house.print(&print, || match self.zone {
                    true => records::zone_file(&records) + &notes("; "),
                    false => records::table(&records) + &notes(""),
                })?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Check) => check(house, &facts, &records, &unknown),
        }
    }
}

/// The names of records whose keys are still being made.
fn following(house: &House) -> Result<Vec<String>, Failure> {
    let key = BoxKey::find(&house.data, house.secrets.passphrase())?;
    let wanted = signing::wanted(&signing::keys(&house.data, &key)?.read()?);
    let ours = wanted.into_iter().filter(|(domain, ..)| house.config.domains.contains(domain));
    Ok(ours.map(|(domain, selector, _)| format!("{selector}._domainkey.{domain}")).collect())
}

/// So that nobody thinks the list is whole when it is not yet.
fn still_made(following: &[String], comment: &str) -> String {
    let line = |name: &String| {
        format!("\n{comment}One more record follows, {name}: its key is being made while `postern up` runs. Ask again.")
    };
    following.iter().map(line).collect()
}

/// A certificate that somebody else renews, and how DANE outlives that: who checks the record and finds another key sends
/// nothing.
fn renewal(config: &Config) -> Option<&'static str> {
    config.tls_cert.as_ref().map(|_| {
        "The TLSA record is the key of `tls-cert`: renew that with the same key (certbot: --reuse-key), or mail from those who check will wait."
    })
}

fn lines(unknown: &[String], comment: &str) -> String {
    unknown.iter().map(|words| format!("\n{comment}Not known: {words}.")).collect()
}

/// What this box serves, as the configuration and its keys say; and in words, what of it nobody knows now.
fn facts(house: &House) -> Result<(Facts, Vec<String>), Failure> {
    let key = BoxKey::find(&house.data, house.secrets.passphrase())?;
    let keys = signing::keys(&house.data, &key)?.read()?;
    let domains: Result<Vec<Domain>, Failure> = house
        .config
        .domains
        .iter()
        .map(|name| Ok(Domain { name: name.clone(), keys: of_domain(&keys, name, wire::date::now())? }))
        .collect();
    let kept = pairings::of(&house.data, &key)?;
    let (outbound, inbound): (Vec<Pairing>, Vec<Pairing>) =
        kept.read()?.into_iter().partition(|pairing| pairing.proxy.outbound);
    let place = place(house, &kept, &inbound);
    let own = house.config.bind.iter().copied().filter(|ip| is_public(*ip));
    let facts = Facts {
        host: house.config.hostname(),
        sends_from: own.clone().collect(),
        is_behind_proxy: !inbound.is_empty(),
        addresses: if inbound.is_empty() { own.collect() } else { place.addresses },
        also: place.also,
        comes_through: inbound.iter().map(|pairing| pairing.proxy.host.clone()).collect(),
        leaves_through: outbound.into_iter().map(|pairing| pairing.called).collect(),
        leaves_past: house.config.send_past_proxy,
        domains: domains?,
        keys: certificate(house).into_iter().collect(),
        // An inbound proxy hands on what begins with TLS.
        ports: if inbound.is_empty() { vec![465, 587, 993] } else { vec![465, 993] },
    };
    Ok((facts, place.unknown))
}

/// The addresses of a host.
///
/// # Errors
/// In words for the admin.
pub(super) fn addresses(host: &str, servers: Vec<SocketAddr>) -> Result<Vec<IpAddr>, Failure> {
    let dns = relay_link::dns::Dns::new(servers);
    Ok(runtime()?.block_on(dns.addresses(host)).unwrap_or_default())
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "cannot ask".to_owned())
}

/// Selector and record of each of a domain's keys whose record is still of use.
///
/// # Errors
/// A key is damaged.
fn of_domain(keys: &[Key], domain: &str, now: i64) -> Result<Vec<(String, String)>, Failure> {
    let of = keys.iter().filter(|key| key.domain == domain && !key.is_past(now));
    of.map(|key| Ok((key.selector.clone(), key.record()?))).collect()
}

/// SHA-256 of the certificate's public key (RFC 6698 §2.1.3: selector 1, matching 1).
fn certificate(house: &House) -> Option<[u8; 32]> {
    let digest = ring::digest::digest(&ring::digest::SHA256, dane::public_key(chain(house).first()?)?);
    digest.as_ref().try_into().ok()
}

/// Its certificate, and those that lead to its authority.
fn chain(house: &House) -> Vec<CertificateDer<'static>> {
    let (chain, _) = certificate_files(&house.data, &house.config);
    let all = CertificateDer::pem_file_iter(chain).map(|all| all.filter_map(Result::ok).collect());
    all.unwrap_or_default()
}

fn value(record: &Record) -> Value {
    json!({"name": record.name, "type": record.kind.name(), "content": record.kind.content(), "purpose": record.purpose})
}

fn check(house: &House, facts: &Facts, records: &[Record], unknown: &[String]) -> Result<ExitCode, Failure> {
    let found = sending::evaluated(house, facts, records, look_up(house, records)?)?;
    let verdicts = place::strictly(facts, records, &found, &proxys(house, facts));
    let judged = records.iter().zip(&verdicts).map(|(record, verdict)| judged(record, verdict));
    let values: Vec<Value> = judged.chain(unknown.iter().map(|words| unasked(facts, words))).collect();
    house.print(&values.into(), || {
        let mut lines: Vec<String> = Vec::new();
        for (record, verdict) in records.iter().zip(&verdicts) {
            lines.push(match verdict {
                Verdict::Fine => format!("ok       {} {}: {}", record.name, record.kind.name(), record.purpose),
                Verdict::But(words) => format!("ok, but  {words}"),
                Verdict::Wrong(words) => format!("WRONG    {words}"),
                Verdict::Unknown(words) => format!("unknown  {words}"),
            });
        }
        lines.extend(unknown.iter().map(|words| format!("unknown  {words}")));
        lines.join("\n")
    })?;
    let_sign(house, records, &verdicts)?;
    let fine = verdicts.iter().all(|verdict| matches!(verdict, Verdict::Fine | Verdict::But(_)));
    Ok(if fine && unknown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the names of the proxies lead through which mail comes in; who cannot be found has none.
fn proxys(house: &House, facts: &Facts) -> Vec<IpAddr> {
    let all = facts.comes_through.iter().collect::<BTreeSet<_>>();
    all.into_iter().flat_map(|host| addresses(host, upstreams(&house.config)).unwrap_or_default()).collect()
}

/// Keys that wait for their records sign from now on, if those are there.
fn let_sign(house: &House, records: &[Record], verdicts: &[Verdict]) -> Result<(), Failure> {
    let fine: BTreeSet<&str> = records
        .iter()
        .zip(verdicts)
        .filter(|(_, verdict)| **verdict == Verdict::Fine)
        .map(|(one, _)| &*one.name)
        .collect();
    let is_found = |key: &Key| fine.contains(records::selector(&key.selector, &key.domain).as_str());
    let keys = signing::keys(&house.data, &BoxKey::find(&house.data, house.secrets.passphrase())?)?;
    if !keys.read()?.iter().any(|key| matches!(key.stage, Stage::SignsFrom(_)) && is_found(key)) {
        return Ok(());
    }
    keys.change(|all| {
        signing::found(all, is_found);
        Ok(())
    })
}

fn judged(record: &Record, verdict: &Verdict) -> Value {
    let (name, words) = match verdict {
        Verdict::Fine => ("ok", None),
        Verdict::But(words) => ("ok", Some(words)),
        Verdict::Wrong(words) => ("wrong", Some(words)),
        Verdict::Unknown(words) => ("unknown", Some(words)),
    };
    let mut value = value(record);
    value["verdict"] = name.into();
    value["words"] = words.cloned().into();
    value
}

/// Where the host is to lead is not known, so nobody can be asked whether it does.
fn unasked(facts: &Facts, words: &str) -> Value {
    json!({
        "name": facts.host, "type": "A", "content": null, "purpose": "where this box is", "verdict": "unknown", "words": words,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_no_longer_signs_leaves_the_list() {
        let mut keys = Vec::new();
        signing::complete(&mut keys, &["home.test".to_owned()], 0).unwrap();
        let rsa = include_bytes!("../../../smtpd/tests/keys/dkim-rsa-2048.der").to_vec();
        signing::begin_rotation(&mut keys, vec![("home.test".to_owned(), rsa)], 86_400).unwrap();
        signing::end_rotation(&mut keys, 90_000);
        let listed = |now| of_domain(&keys, "home.test", now).unwrap().len();
        assert_eq!((listed(90_000), listed(90_000 + smtpd::courier::dkim::KEPT)), (3, 2));
        signing::prune(&mut keys, 90_000 + smtpd::courier::dkim::KEPT);
        assert_eq!(keys.len(), 2);
    }

    #[test]
    fn a_certificate_of_somebody_else_s_needs_its_key() {
        assert_eq!(renewal(&Config::default()), None);
        let own = Config { tls_cert: Some("/x".into()), ..Config::default() };
        assert!(renewal(&own).unwrap().contains("--reuse-key"));
    }

    #[test]
    fn a_list_that_is_not_whole_says_so() {
        assert_eq!(still_made(&[], ""), "");
        let zone = still_made(&["p1r._domainkey.home.test".to_owned()], "; ");
        assert!(zone.starts_with("\n; One more record follows, p1r._domainkey.home.test:"), "{zone}");
    }
}
