//! The proxies at clean addresses: whether this house's links are up, and what it may still send.

use relay_link::link::Seen;
use relay_link::outbound::Budget;

use super::{Finding, Patient};
use crate::box_key::BoxKey;
use crate::cli::pair::in_words;
use crate::cli::secret::Secrets;
use crate::pairings;
use crate::up::upstreams;

const ABOUT: &str = "mail out";
/// Units below which a letter or two may be all that leaves now.
const LITTLE: u64 = 60;

/// Nothing where the house sends by itself.
pub fn look(patient: &Patient) -> Vec<Finding> {
    let Some(data) = &patient.data else { return Vec::new() };
    if !data.entry("pairings").exists() {
        return Vec::new();
    }
    let kept = Secrets::new(false)
        .and_then(|secrets| BoxKey::find(data, secrets.passphrase()))
        .and_then(|key| pairings::of(data, &key)?.read());
    let all = match kept {
        Ok(all) => all,
        Err(failure) => {
            let advice =
                "a box that was started with it so lets no mail leave, since it may only do so through a proxy";
            return vec![Finding::bad(ABOUT, format!("the pairings: {failure}"), advice)];
        }
    };
    let (outbound, inbound): (Vec<_>, Vec<_>) = all.iter().partition(|pairing| pairing.proxy.outbound);
    let mut findings: Vec<Finding> = inbound
        .into_iter()
        .map(|pairing| {
            let seen = pairings::presence(&pairing.proxy, upstreams(&patient.config));
            brings(&pairing.called, &seen.unwrap_or_else(|failure| Seen::Failed(failure.to_string())))
        })
        .collect();
    findings.extend(outbound.into_iter().map(|pairing| {
        match pairings::budget(&pairing.proxy, upstreams(&patient.config)) {
            Ok(budget) => judged(&pairing.called, &budget),
            Err(failure) => Finding::bad(
                ABOUT,
                format!("{}: {failure}", pairing.called),
                format!(
                    "until it answers, mail waits; `postern pair revoke {}:{}` lets it leave from here again",
                    pairing.proxy.host, pairing.proxy.port
                ),
            ),
        }
    }));
    findings
}

/// An inbound one.
fn brings(called: &str, seen: &Seen) -> Finding {
    let words = format!("through {called}: {}", in_words(seen));
    match seen {
        Seen::Up(_) => Finding::good("mail in", words),
        Seen::Down | Seen::Failed(_) => Finding::bad(
            "mail in",
            words,
            "senders keep their mail for days, and phones away from home see none; ask the proxy's operator",
        ),
    }
}

fn judged(called: &str, budget: &Budget) -> Finding {
    let Budget { left, bucket, hourly, today, sessions, networks, megabytes } = budget;
    let words = format!(
        "through {called}: {left} of {bucket} units are left ({hourly} come back in an hour), {} of {} for today are spent; \
         {} of {} sessions today, {} of {} networks this hour, {} of {} MiB today",
        today.0, today.1, sessions.0, sessions.1, networks.0, networks.1, megabytes.0, megabytes.1
    );
    let dry = *left < LITTLE
        || today.0.saturating_add(LITTLE) > today.1
        || sessions.0 >= sessions.1
        || networks.0 >= networks.1
        || megabytes.0 >= megabytes.1;
    match dry {
        true => Finding::weak(ABOUT, words, "mail waits meanwhile; the proxy's operator can grant more"),
        false => Finding::good(ABOUT, words),
    }
}
