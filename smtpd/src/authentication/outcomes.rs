//! The words of `mail-auth` in ours, and what of its words may stand in front of mail.

use filter_sandbox::score::{Outcome, Policy};
use mail_auth::{DkimOutput, DkimResult, DmarcResult, DnsError, Error, IprevOutput, IprevResult, SpfResult, dmarc};

pub(super) fn no_answer() -> Error {
    Error::Dns(DnsError::Resolver("no answer in time".into()))
}

/// The library escapes what it writes; this is the belt to its braces, since the field goes in front of mail.
pub(super) fn is_one_field(field: &str) -> bool {
    let Some(lines) = field.strip_suffix("\r\n") else { return false };
    lines.split("\r\n").enumerate().all(|(number, line)| {
        let folded = line.starts_with(['\t', ' ']);
        (folded || number == 0) && !line.trim().is_empty() && !line.chars().any(|c| c.is_control() && c != '\t')
    })
}

pub(super) fn client_name(iprev: &IprevOutput) -> Option<String> {
    let name = iprev.ptr.as_ref().filter(|_| iprev.result == IprevResult::Pass)?.first()?.trim_end_matches('.');
    let plain =
        !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    plain.then(|| name.to_owned())
}

pub(super) const fn spf_outcome(result: SpfResult) -> Outcome {
    match result {
        SpfResult::Pass => Outcome::Pass,
        SpfResult::Fail => Outcome::Fail,
        SpfResult::SoftFail => Outcome::SoftFail,
        SpfResult::Neutral => Outcome::Neutral,
        SpfResult::TempError => Outcome::TempError,
        SpfResult::PermError => Outcome::PermError,
        SpfResult::None => Outcome::None,
    }
}

pub(super) const fn dkim_outcome(result: &DkimResult) -> Outcome {
    match result {
        DkimResult::Pass => Outcome::Pass,
        DkimResult::Neutral(_) => Outcome::Neutral,
        DkimResult::Fail(_) => Outcome::Fail,
        DkimResult::PermError(_) => Outcome::PermError,
        DkimResult::TempError(_) => Outcome::TempError,
        DkimResult::None => Outcome::None,
    }
}

/// One good signature is enough; a broken one beside it means nothing (RFC 6376 §6.1).
pub(super) fn best(signatures: &[DkimOutput<'_>]) -> Outcome {
    const ORDER: [Outcome; 5] =
        [Outcome::Pass, Outcome::TempError, Outcome::Fail, Outcome::PermError, Outcome::Neutral];
    let found: Vec<Outcome> = signatures.iter().map(|one| dkim_outcome(one.result())).collect();
    ORDER.into_iter().find(|outcome| found.contains(outcome)).unwrap_or_default()
}

pub(super) const fn dmarc_outcome(result: &DmarcResult) -> Outcome {
    match result {
        DmarcResult::Pass => Outcome::Pass,
        DmarcResult::Fail(_) => Outcome::Fail,
        DmarcResult::TempError(_) => Outcome::TempError,
        DmarcResult::PermError(_) => Outcome::PermError,
        DmarcResult::None => Outcome::None,
    }
}

pub(super) const fn iprev_outcome(result: &IprevResult) -> Outcome {
    match result {
        IprevResult::Pass => Outcome::Pass,
        IprevResult::Fail(_) => Outcome::Fail,
        IprevResult::TempError(_) => Outcome::TempError,
        IprevResult::PermError(_) => Outcome::PermError,
        IprevResult::None => Outcome::None,
    }
}

pub(super) const fn policy(policy: dmarc::Policy) -> Policy {
    match policy {
        dmarc::Policy::Reject => Policy::Reject,
        dmarc::Policy::Quarantine => Policy::Quarantine,
        dmarc::Policy::None | dmarc::Policy::Unspecified => Policy::None,
    }
}
