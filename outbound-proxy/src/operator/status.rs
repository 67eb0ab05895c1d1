//! `outbound-proxy status`: what each home may send, and what it has spent.

use std::io;
use std::path::Path;

use relay_link::homes::Home;
use relay_link::operator::folder::Folder;
use relay_link::outbound::Budget;
use serde_json::{Value, json};

use super::{Doing, Failure};
use crate::account::Account;
use crate::grant::HomeGrant;
use crate::service::books;
use crate::{ledger, service};

pub(super) fn status(folder: &Folder, as_json: bool) -> Result<(), Failure> {
    let all = folder.homes::<HomeGrant>()?.all().doing(|| "the homes".to_owned())?;
    let budgets = all.iter().filter(|(_, home)| home.paired.is_some());
    let budgets = budgets.map(|(name, home)| budget(name, home).map(|budget| (name.clone(), budget)));
    let budgets = budgets.collect::<Result<Vec<_>, _>>()?;
    if as_json {
        let homes: Vec<Value> = budgets.iter().map(|(name, budget)| value(name, budget)).collect();
        println!("{}", Value::from(homes));
        return Ok(());
    }
    println!("{:24} {:>11} {:>6} {:>13} {:>11} {:>9}", "HOME", "LEFT", "/HOUR", "TODAY", "SESSIONS", "NETWORKS");
    for (name, budget) in &budgets {
        println!("{}", row(name, budget));
    }
    Ok(())
}

/// As the running service last wrote it down.
fn budget(name: &str, home: &Home<HomeGrant>) -> Result<Budget, Failure> {
    let now = books::now();
    let allowance = books::allowance(home, now);
    let kept = match ledger::read(&books::file(Path::new(service::SPENT), name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Account::new(&allowance, now)),
        kept => kept.doing(|| format!("what {name} has spent"))?,
    };
    Ok(kept.unwrap_or_else(|| Account::empty(now)).budget(&allowance, now))
}

fn row(name: &str, budget: &Budget) -> String {
    let of = |(have, all): (u64, u64)| format!("{have}/{all}");
    let few = |(have, all): (u32, u32)| format!("{have}/{all}");
    format!(
        "{name:24} {:>11} {:>6} {:>13} {:>11} {:>9}",
        of((budget.left, budget.bucket)),
        budget.hourly,
        of(budget.today),
        few(budget.sessions),
        few(budget.networks)
    )
}

fn value(name: &str, budget: &Budget) -> Value {
    json!({
        "home": name, "left": budget.left, "bucket": budget.bucket, "hourly": budget.hourly,
        "today": budget.today.0, "daily": budget.today.1,
        "sessions": budget.sessions.0, "daily-sessions": budget.sessions.1,
        "networks": budget.networks.0, "hourly-networks": budget.networks.1,
    })
}
