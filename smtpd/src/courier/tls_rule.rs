//! What a host must prove before it gets a letter. One table:
//!
//! | DANE | MTA-STS | REQUIRETLS | then |
//! | --- | --- | --- | --- |
//! | lookup failed | | | not this host, not now |
//! | | enforce, host not listed | | not this host |
//! | records we can use | | | a certificate that matches them |
//! | other | enforce, host listed | | a certificate for its name, of a known authority |
//! | other | | yes; MX proven by DNSSEC or listed | the same |
//! | other | | yes; MX not proven | not this host |
//! | records we cannot use | none, testing | no | TLS, whoever it is |
//! | none | none, testing | no | TLS, whoever it is; in clear where the configuration allows it |

use super::dane::{Dane, Tlsa};
use super::fate::{Status, Why};
use super::mta_sts::{Mode, Policy};

/// What is known about a host and a letter for it.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The MX host.
    pub host: &'a str,
    /// DANE.
    pub dane: &'a Dane,
    /// MTA-STS of the letter's domain.
    pub policy: Option<&'a Policy>,
    /// The letter's sender insists (RFC 8689).
    pub require_tls: bool,
    /// DNSSEC proves that this is a host of that domain.
    pub host_secure: bool,
    /// `clear-text` in the configuration names the domain or the host.
    pub clear_text: bool,
}

/// What a host must prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// One of these matches its certificate.
    Dane(Vec<Tlsa>),
    /// A known authority says that it has this name.
    Named,
    /// Nothing; but TLS it is.
    Encrypted,
    /// Nothing, and without TLS if it must be.
    Anything,
}

/// The rule.
///
/// # Errors
/// Why this host gets nothing; another may.
pub fn rule(facts: &Facts<'_>) -> Result<Rule, Why> {
    if *facts.dane == Dane::Failed {
        let words = format!("DNSSEC does not say what certificate {} has (DANE)", facts.host);
        return Err(Why::ours(Status::new(4, 7, 5), words));
    }
    let listed = facts.policy.is_some_and(|policy| policy.mode != Mode::None && policy.allows(facts.host));
    let enforced = facts.policy.is_some_and(|policy| policy.mode == Mode::Enforce);
    if enforced && !listed {
        let words = format!("{} is not among the hosts that its domain's policy names (MTA-STS)", facts.host);
        return Err(Why::ours(Status::new(4, 7, 5), words));
    }
    if let Dane::Must(records) = facts.dane {
        return Ok(Rule::Dane(records.clone()));
    }
    if enforced {
        return Ok(Rule::Named);
    }
    if facts.require_tls {
        // RFC 8689 §4.2.1: first that it is the right host at all.
        if facts.host_secure || listed {
            return Ok(Rule::Named);
        }
        let words = format!("nothing proves that {} may have this letter, whose sender insists on proof", facts.host);
        return Err(Why::ours(Status::new(5, 7, 30), words));
    }
    match facts.dane {
        Dane::No if facts.clear_text => Ok(Rule::Anything),
        _ => Ok(Rule::Encrypted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(mode: Mode) -> Policy {
        Policy { mode, patterns: vec!["mx.far.test".into()], max_age: 1 }
    }

    /// `E` enforce, `T` testing, `N` none, `-` no policy; then DANE: `m` must, `u` unusable, `n` no, `f` failed; then
    /// flags: `r` REQUIRETLS, `s` secure, `c` clear text, `o` another host than the listed.
    fn decide(row: &str) -> String {
        let records = vec![Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0; 32] }];
        let policy = match &row[..1] {
            "E" => Some(policy(Mode::Enforce)),
            "T" => Some(policy(Mode::Testing)),
            "N" => Some(policy(Mode::None)),
            _ => None,
        };
        let dane = match &row[1..2] {
            "m" => Dane::Must(records),
            "u" => Dane::Unusable,
            "n" => Dane::No,
            _ => Dane::Failed,
        };
        let has = |flag| row[2..].contains(flag);
        let facts = Facts {
            host: if has('o') { "other.test" } else { "mx.far.test" },
            dane: &dane,
            policy: policy.as_ref(),
            require_tls: has('r'),
            host_secure: has('s'),
            clear_text: has('c'),
        };
        match rule(&facts) {
            Ok(Rule::Dane(_)) => "dane".into(),
            Ok(Rule::Named) => "named".into(),
            Ok(Rule::Encrypted) => "encrypted".into(),
            Ok(Rule::Anything) => "anything".into(),
            Err(why) => why.status.to_string(),
        }
    }

    #[test]
    fn the_table() {
        for (row, expected) in [
            ("-n", "encrypted"),
            ("-nc", "anything"),
            ("-uc", "encrypted"),
            ("-fc", "4.7.5"),
            ("Efs", "4.7.5"),
            ("-mc", "dane"),
            ("Em", "dane"),
            ("Emo", "4.7.5"),
            ("En", "named"),
            ("Enc", "named"),
            ("Eu", "named"),
            ("Eno", "4.7.5"),
            ("Tno", "encrypted"),
            ("Tnc", "anything"),
            ("Nno", "encrypted"),
            ("-nr", "5.7.30"),
            ("-nrc", "5.7.30"),
            ("-nrs", "named"),
            ("-urs", "named"),
            ("Tnr", "named"),
            ("Tnro", "5.7.30"),
            ("Nnr", "5.7.30"),
            ("-mr", "dane"),
        ] {
            assert_eq!(decide(row), expected, "{row}");
        }
    }

    #[test]
    fn clear_text_only_where_nothing_at_all_forbids_it() {
        for policy in ["E", "T", "N", "-"] {
            for dane in ["m", "u", "n", "f"] {
                for flags in ["", "r", "s", "o", "rs", "ro", "so", "rso"] {
                    assert_ne!(decide(&format!("{policy}{dane}{flags}")), "anything");
                    let allowed = decide(&format!("{policy}{dane}{flags}c")) == "anything";
                    assert!(!allowed || (dane == "n" && policy != "E" && !flags.contains('r')));
                }
            }
        }
    }
}
