//! `postern dkim list|rotate`: the keys that letters are signed with.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{House, dns, output};
use crate::box_key::BoxKey;
use crate::failure::Failure;
use crate::records::{self, Kind, Record, Verdict};
use crate::signing::{self, Key, Keys, Maker, Stage};

/// The keys that letters are signed with.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "A change of keys has two steps: `postern dkim rotate` makes new keys and prints their records; once \
    they are in DNS, `postern dkim rotate` again lets them sign. The old records may go when `postern dns` no longer \
    prints them."
)]
pub enum Dkim {
    /// Show all keys
    List,
    /// Make new keys; run again once their records are in DNS
    Rotate {
        /// Let the new keys sign although DNS does not have them yet
        #[arg(long)]
        force: bool,
    },
}

impl Dkim {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn run(self, house: &House) -> Result<(), Failure> {
        let key = BoxKey::find(&house.data, house.secrets.passphrase())?;
        let keys = signing::keys(&house.data, &key)?;
        match self {
            Self::List => list(house, &keys.read()?),
            Self::Rotate { force } => {
                keys.can_change()?;
                let waiting = keys.read()?.iter().any(|key| key.stage == Stage::Next);
                if waiting { switch(house, &keys, force) } else { begin(house, &keys) }
            }
        }
    }
}

const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Next => "waits for its record in DNS",
        Stage::Signs => "signs",
        Stage::Signed(_) => "signed; its record stays a while",
        Stage::SignsFrom(_) => "signs once `postern dns check` finds its record, or in a day",
    }
}

fn list(house: &House, keys: &[Key]) -> Result<(), Failure> {
    let values: Vec<Value> = keys
        .iter()
        .map(|key| json!({"domain": key.domain, "selector": key.selector, "rsa": key.rsa, "stage": stage(key.stage)}))
        .collect();
    house.print(&values.into(), || {
        let kind = |key: &Key| if key.rsa { "RSA" } else { "Ed25519" }.to_owned();
        let rows: Vec<_> = keys
            .iter()
            .map(|key| [key.domain.clone(), key.selector.clone(), kind(key), stage(key.stage).to_owned()])
            .collect();
        output::table(["DOMAIN", "SELECTOR", "KIND", ""], &rows)
    })
}

/// New keys, which wait.
fn begin(house: &House, keys: &Keys) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("the RSA key could not be made: {error}"));
    let mut made = Vec::new();
    for domain in signing::to_rotate(&keys.read()?, &house.config.domains) {
        let maker = Maker::start((domain.clone(), String::new(), Stage::Next)).map_err(|error| failed(&error))?;
        made.push((domain, maker.wait().map_err(|error| failed(&error))?));
    }
    keys.change(|all| signing::begin_rotation(all, made, wire::date::now()))?;
    let records = next(&keys.read()?)?;
    let values: Vec<Value> = records
        .iter()
        .map(|record| json!({"name": record.name, "type": "TXT", "content": record.kind.content()}))
        .collect();
    house.print(&json!({"add": values}), || {
        format!(
            "New keys are made. Add these records to your DNS, then run `postern dkim rotate` again:\n\n{}",
            records::table(&records)
        )
    })
}

/// The records of those that wait.
fn next(keys: &[Key]) -> Result<Vec<Record>, Failure> {
    let waiting = keys.iter().filter(|key| key.stage == Stage::Next);
    let record = |key: &Key| {
        let name = format!("{}._domainkey.{}", key.selector, key.domain);
        Ok(Record { name, kind: Kind::Txt(key.record()?), purpose: "mail will be signed with this key (DKIM)" })
    };
    waiting.map(record).collect()
}

/// They sign, if DNS has them, as soon as the running house has seen it.
fn switch(house: &House, keys: &Keys, force: bool) -> Result<(), Failure> {
    if !force {
        let records = next(&keys.read()?)?;
        let found = dns::look_up(house, &records)?;
        let verdicts = records.iter().zip(&found).map(|(record, found)| records::judge(record, found));
        let missing: Vec<String> = verdicts
            .filter_map(|verdict| match verdict {
                Verdict::Fine | Verdict::But(_) => None,
                Verdict::Wrong(words) | Verdict::Unknown(words) => Some(words),
            })
            .collect();
        if !missing.is_empty() {
            return Err(Failure::new(format!(
                "the new keys do not sign yet, since who gets the mail could not verify it:\n  {}",
                missing.join("\n  ")
            )));
        }
    }
    keys.change(|all| {
        signing::end_rotation(all, wire::date::now());
        Ok(())
    })?;
    house.print(&json!({"rotated": true, "seconds": signing::TAKEN_UP}), || {
        format!(
            "The new keys sign what leaves from {} seconds on. Leave the old records in DNS until `postern dns` no longer \
             prints them.",
            signing::TAKEN_UP
        )
    })
}
