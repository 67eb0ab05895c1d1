//! Which folder a letter goes to. A rejection rests on facts about the message alone (DMARC's reject, its form):
//! one reply serves all recipients. A score only chooses a folder.

use filter_sandbox::report::Report;
use filter_sandbox::score::{self, Authentication, Outcome, Policy, Verdict};
use spool::edges::Into;

/// Whether the From domain asks that this message be refused (RFC 7489 §6.3). An intact ARC chain is no reason
/// to take it: we trust no forwarder yet.
#[must_use]
pub fn must_reject(authentication: &Authentication) -> bool {
    authentication.dmarc == Outcome::Fail && authentication.policy == Policy::Reject
}

/// Whether the From domain asks for refusals, and an aligned check had no answer: it may be the domain's or a forgery, so
/// it must come again (RFC 7489 §6.6.3).
#[must_use]
pub fn must_wait(authentication: &Authentication) -> bool {
    authentication.dmarc == Outcome::TempError && authentication.policy == Policy::Reject
}

/// Where it goes, and the rules that decided, for the log. `scanned` is what an external scanner gave it: a second opinion
/// that can only send it to Junk. The two are not added up, because they count the same signs.
#[must_use]
pub fn folder(report: &Report, authentication: &Authentication, scanned: Option<f32>) -> (Into, String) {
    let quarantined = authentication.dmarc == Outcome::Fail && authentication.policy == Policy::Quarantine;
    let score = score::score(&report.features, authentication);
    let scanner = scanned.map(|points| ("SCANNER", points));
    let reasons = score.reasons.iter().copied().chain(scanner);
    let rules: Vec<String> = reasons.map(|(name, points)| format!("{name}={points}")).collect();
    let spam = scanned.is_some_and(|points| points >= score::THRESHOLD);
    let into = if quarantined || spam || score.verdict == Verdict::Junk { Into::Junk } else { Into::Inbox };
    (into, rules.join(","))
}
