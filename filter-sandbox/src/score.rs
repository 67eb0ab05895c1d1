//! From features and authentication results to a verdict. Rules with fixed, documented weights; nothing is learnt.
//!
//! Points add up; from [`THRESHOLD`] on a letter goes to Junk. The weights are chosen so that no single sign of
//! carelessness (no Message-ID, HTML only, a missing SPF record) can do that alone, and that what only a fraud or a
//! virus does comes close by itself. Ordinary mail that fails nothing has no points at all, whatever it may lack in
//! authentication: many honest small senders have none.

use crate::report::Feature;

/// Points from which a letter is filed as junk.
pub const THRESHOLD: f32 = 5.0;

/// One check's outcome, as Authentication-Results (RFC 8601 §2.7) names them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Not done, or nothing to check.
    #[default]
    None,
    /// Passed.
    Pass,
    /// Failed.
    Fail,
    /// SPF `~all`.
    SoftFail,
    /// SPF `?all`; a signature that proves nothing.
    Neutral,
    /// DNS did not answer in time.
    TempError,
    /// The sender's records are broken.
    PermError,
}

/// What the owner of the From domain asks for when DMARC fails (RFC 7489 §6.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// No record, or `p=none`.
    #[default]
    None,
    /// `p=quarantine`.
    Quarantine,
    /// `p=reject`.
    Reject,
}

/// What was verified about a letter's origin before it was handed to a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Authentication {
    /// SPF of the envelope sender, or of HELO for the null sender.
    pub spf: Outcome,
    /// The best DKIM signature.
    pub dkim: Outcome,
    /// DMARC alignment with From.
    pub dmarc: Outcome,
    /// The From domain's published policy.
    pub policy: Policy,
    /// The ARC chain of forwarders.
    pub arc: Outcome,
    /// The client's address has a name that leads back to it.
    pub iprev: Outcome,
}

/// Where a letter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// INBOX.
    Inbox,
    /// Junk.
    Junk,
}

/// Points with their reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The sum of the reasons.
    pub points: f32,
    /// Rule and points, in the order of the rules.
    pub reasons: Vec<(&'static str, f32)>,
    /// [`Verdict::Junk`] from [`THRESHOLD`] points on.
    pub verdict: Verdict,
}

/// A rule about one feature: points once, and more for each further one up to a bound.
struct Rule {
    feature: &'static str,
    points: f32,
    most: f32,
}

const fn once(feature: &'static str, points: f32) -> Rule {
    Rule { feature, points, most: points }
}

const fn each(feature: &'static str, points: f32, most: f32) -> Rule {
    Rule { feature, points, most }
}

/// All rules about features. Those not named here are for learning later.
const RULES: &[Rule] = &[
    // The test string decides alone, whatever else speaks for the letter.
    once("GTUBE", 1_000.0),
    // Programs hardly ever travel by mail between honest people; under a false name never.
    once("FILE_PROGRAM", 4.0),
    once("FILE_DOUBLE_EXTENSION", 3.0),
    once("FILE_NAME_REVERSED", 4.0),
    once("FILE_DISK_IMAGE", 2.5),
    once("FILE_MACROS", 2.0),
    once("FILE_PAGE", 1.0),
    // Links that deceive.
    each("URL_MISMATCH", 1.5, 3.0),
    each("URL_IP_LITERAL", 1.5, 3.0),
    once("URL_USER_INFO", 1.5),
    once("URL_ODD_SCHEME", 1.5),
    each("URL_PUNYCODE", 0.8, 1.6),
    each("URL_SHORTENER", 0.5, 1.0),
    once("URL_PORT", 0.5),
    // Pretended senders.
    once("FROM_NAME_ADDRESS", 2.0),
    once("FROM_NAME_MIXED_SCRIPTS", 2.0),
    once("FROM_NAME_INVISIBLE", 1.5),
    once("FROM_PUNYCODE", 0.5),
    once("REPLY_TO_DIFFERS", 0.5),
    once("REPEATED_FROM", 3.0),
    // Form: what mail programs always write and bad scripts forget.
    once("MISSING_FROM", 2.0),
    once("MISSING_DATE", 1.0),
    once("DATE_UNREADABLE", 1.0),
    once("MISSING_MESSAGE_ID", 0.5),
    once("MISSING_TO", 0.5),
    once("MISSING_SUBJECT", 0.3),
    each("REPEATED_FIELDS", 0.7, 2.1),
    once("PARTS_TOO_DEEP", 2.0),
    once("PARTS_UNCLOSED", 0.3),
    // How it reads.
    once("SUBJECT_SHOUTING", 1.0),
    once("SUBJECT_EXCLAIMS", 0.5),
    once("SUBJECT_INVISIBLE", 1.0),
    once("SUBJECT_MIXED_SCRIPTS", 1.5),
    once("TEXT_MIXED_SCRIPTS", 0.8),
    once("HTML_SCRIPT", 1.0),
    once("HTML_FORM", 1.0),
    once("HTML_ONLY", 0.3),
    once("IMAGES_ONLY", 1.0),
];

/// Scores a letter. Total: unknown features and values that are not finite count nothing.
pub fn score(features: &[Feature], authentication: &Authentication) -> Score {
    let mut reasons = Vec::new();
    for rule in RULES {
        let value = features.iter().find(|feature| feature.name == rule.feature).map_or(0.0, |feature| feature.value);
        if value.is_finite() && value > 0.0 {
            reasons.push((rule.feature, (rule.points * value.max(1.0)).min(rule.most)));
        }
    }
    origin(authentication, &mut reasons);
    let points: f32 = reasons.iter().map(|(_, points)| points).sum();
    let verdict = if points >= THRESHOLD { Verdict::Junk } else { Verdict::Inbox };
    Score { points, reasons, verdict }
}

/// What authentication adds or takes away.
fn origin(authentication: &Authentication, reasons: &mut Vec<(&'static str, f32)>) {
    let Authentication { spf, dkim, dmarc, policy, arc, iprev } = *authentication;
    // A forwarder breaks SPF and often DKIM; a whole ARC chain says so.
    let forwarded = arc == Outcome::Pass;
    match (dmarc, policy) {
        (Outcome::Fail, Policy::Quarantine | Policy::Reject) if forwarded => reasons.push(("DMARC_FAIL_ARC", 1.5)),
        // The domain's owner asks for exactly this.
        (Outcome::Fail, Policy::Quarantine | Policy::Reject) => reasons.push(("DMARC_QUARANTINE", THRESHOLD)),
        (Outcome::Fail, Policy::None) => reasons.push(("DMARC_FAIL", 1.0)),
        // Proves who it is, not that they mean well.
        (Outcome::Pass, _) => reasons.push(("DMARC_PASS", -0.5)),
        _ => {}
    }
    match spf {
        Outcome::Fail if !forwarded => reasons.push(("SPF_FAIL", 2.0)),
        Outcome::SoftFail if !forwarded => reasons.push(("SPF_SOFT_FAIL", 1.0)),
        Outcome::PermError => reasons.push(("SPF_BROKEN", 0.3)),
        _ => {}
    }
    if dkim == Outcome::Fail && !forwarded {
        reasons.push(("DKIM_FAIL", 0.5));
    }
    if arc == Outcome::Fail {
        reasons.push(("ARC_FAIL", 0.5));
    }
    match iprev {
        Outcome::Fail => reasons.push(("IPREV_FAIL", 1.0)),
        Outcome::PermError => reasons.push(("IPREV_BROKEN", 0.5)),
        _ => {}
    }
}
