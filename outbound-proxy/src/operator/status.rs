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
    let budgets = budgets.map(|(name, home)| spent(name, home));
    let budgets = budgets.collect::<Result<Vec<_>, _>>()?;
    if as_json {
        let homes: Vec<Value> = budgets.iter().map(value).collect();
        println!("{}", Value::from(homes));
        return Ok(());
    }
    let [home, left, hourly, today] = ["HOME", "LEFT", "/HOUR", "TODAY"];
    print!("{home:24} {left:>11} {hourly:>6} {today:>13} ");
    println!("{:>11} {:>9} {:>9} {:>9}", "SESSIONS", "EMPTY", "NETWORKS", "MIB");
    budgets.iter().for_each(|spent| println!("{}", row(spent)));
    Ok(())
}

/// What is shown of one home.
struct Spent {
    home: String,
    budget: Budget,
    /// Sessions of today without a letter, and how many a day has.
    empty: (u32, u32),
}

/// As the running service last wrote it down.
fn spent(name: &str, home: &Home<HomeGrant>) -> Result<Spent, Failure> {
    let now = books::now();
    let allowance = books::allowance(home, now);
    let kept = match ledger::read(&books::file(Path::new(service::SPENT), name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Account::new(&allowance, now)),
        kept => kept.doing(|| format!("what {name} has spent"))?,
    };
    let kept = kept.unwrap_or_else(|| Account::empty(now));
    let empty = (kept.empty_today(now), allowance.empty);
    Ok(Spent { home: name.to_owned(), budget: kept.budget(&allowance, now), empty })
}

fn row(Spent { home, budget, empty }: &Spent) -> String {
    let of = |(have, all): (u64, u64)| format!("{have}/{all}");
    let few = |(have, all): (u32, u32)| format!("{have}/{all}");
    format!(
        "{home:24} {:>11} {:>6} {:>13} {:>11} {:>9} {:>9} {:>9}",
        of((budget.left, budget.bucket)),
        budget.hourly,
        of(budget.today),
        few(budget.sessions),
        few(*empty),
        few(budget.networks),
        of(budget.megabytes)
    )
}

fn value(Spent { home, budget, empty }: &Spent) -> Value {
    json!({
        "home": home, "left": budget.left, "bucket": budget.bucket, "hourly": budget.hourly,
        "today": budget.today.0, "daily": budget.today.1,
        "sessions": budget.sessions.0, "daily-sessions": budget.sessions.1,
        "empty": empty.0, "daily-empty": empty.1,
        "networks": budget.networks.0, "hourly-networks": budget.networks.1,
        "megabytes": budget.megabytes.0, "daily-megabytes": budget.megabytes.1,
    })
}
