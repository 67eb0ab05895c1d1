//! `postern recover`: when the journal or the box key is lost. Any secret of a mailbox gives it back, with its
//! addresses and letters, from `mailboxes/` and `letters/` alone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use spool::audit::What;
use spool::edges::admin::{RecoveredLetter, Request};
use spool::keys::Identities;
use spool::letter::{Expect, Opened};
use spool::names::{LetterId, MailboxId};
use spool::slots::SlotsFile;
use zeroize::Zeroizing;

use super::House;
use super::unlocked::{Unlocked, damaged, touch, unlock};
use crate::admin::Session;
use crate::failure::{Doing, Failure, code};

/// Letters told to the keeper in one packet (each takes at most 21 bytes of its 64 KiB).
const BATCH: usize = 2_000;
/// Between two lines of progress.
const TELL: Duration = Duration::from_secs(2);

/// Gives mailboxes back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  postern recover\n  postern recover --words-stdin < words.txt     \
    (one mailbox's twelve words a line, or in rows as printed)")]
pub struct Recover {
    /// Read recovery words (or other secrets) from standard input, one mailbox's after the other's
    #[arg(long)]
    words_stdin: bool,
}

/// A mailbox that was given back.
struct Recovered {
    addresses: Vec<String>,
    letters: usize,
    damaged: Vec<String>,
}

impl Recover {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin; exit code 2 when the secrets open nothing.
    pub fn run(&self, house: &mut House) -> Result<(), Failure> {
        // Asked first without putting anything aside: whoever has lost nothing needs no words.
        if house.session().and_then(|mut session| session.lost()).is_ok_and(|lost| lost.is_empty()) {
            return Err(Failure::new("nothing is lost: the journal knows every mailbox in spool/mailboxes"));
        }
        let secrets = house.secrets.words(self.words_stdin)?;
        let mut session = Session::open_to_recover(&house.data, &house.config, house.secrets.passphrase())?;
        let mut lost = session.lost()?;
        let mut recovered = Vec::new();
        let mut said = Vec::new();
        for (number, secret) in (1..).zip(&secrets) {
            match open_one(&lost, secret) {
                Ok((index, open)) => {
                    let (mailbox, _) = lost.swap_remove(index);
                    recovered.push(give_back(house, &mut session, mailbox, open)?);
                }
                Err(failure) => said.push(format!("secret {number}: {}", failure.words)),
            }
        }
        if recovered.is_empty() {
            return Err(Failure { code: code::SECRET, words: said.join("\n") });
        }
        let left: Vec<String> = lost.iter().map(|(mailbox, _)| mailbox.to_string()).collect();
        tell(house, &recovered, &left, &said)
    }
}

/// Which lost mailbox a secret opens.
fn open_one(lost: &[(MailboxId, Vec<u8>)], secret: &Zeroizing<String>) -> Result<(usize, Unlocked), Failure> {
    let mut told = Failure::secret("that secret opens none of the lost mailboxes");
    for (index, (mailbox, bytes)) in lost.iter().enumerate() {
        let file = match SlotsFile::decode(bytes) {
            Ok(file) => file,
            Err(error) => {
                eprintln!("mailbox {mailbox}: {error}");
                continue;
            }
        };
        match unlock(&file, secret) {
            Ok(opened) => return Ok((index, Unlocked { address: String::new(), file, opened })),
            Err(failure) if failure.words.contains("mistyped") || failure.code != code::SECRET => told = failure,
            Err(_) => {}
        }
    }
    Err(told)
}

fn give_back(
    house: &House,
    session: &mut Session,
    mailbox: MailboxId,
    mut open: Unlocked,
) -> Result<Recovered, Failure> {
    let facts = open.file.facts(&open.opened.identities).map_err(damaged)?;
    open.address = facts.addresses.first().cloned().unwrap_or_default();
    let folder = house.data.entry("spool").join("letters").join(mailbox.to_string());
    let (letters, damaged) = read_letters(&folder, mailbox, &open.opened.identities, &open.address)?;
    let count = letters.len();
    let mut rest = letters.as_slice();
    loop {
        let (some, more) = rest.split_at(rest.len().min(BATCH));
        rest = more;
        session.done(Request::Recover {
            mailbox,
            addresses: facts.addresses.clone(),
            display_name: facts.display_name.clone(),
            quota: facts.quota,
            device_names: facts.devices.clone(),
            letters: some.to_vec(),
            last: rest.is_empty(),
        })?;
        if rest.is_empty() {
            break;
        }
    }
    open.file = super::unlocked::slots_of(session, &open.address)?;
    let slot = open.opened.slot;
    open.change(session, |file, identities| {
        touch(file, identities)?;
        Ok(((), (What::Recovered, Some(slot), String::new())))
    })?;
    Ok(Recovered { addresses: facts.addresses, letters: count, damaged })
}

/// Opens every letter of a mailbox to its last byte.
fn read_letters(
    folder: &Path,
    mailbox: MailboxId,
    identities: &Identities,
    address: &str,
) -> Result<(Vec<RecoveredLetter>, Vec<String>), Failure> {
    let files = files(folder).doing(|| format!("cannot read {}", folder.display()))?;
    let (mut letters, mut damaged, mut told) = (Vec::new(), Vec::new(), Instant::now());
    for (done, (path, letter)) in files.iter().enumerate() {
        match read_letter(path, mailbox, *letter, identities) {
            Ok(size) => letters.push(RecoveredLetter { letter: *letter, size }),
            Err(why) => damaged.push(format!("{}: {why}", path.display())),
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            let _ = writeln!(io::stderr(), "{address}: {} of {} letters", done + 1, files.len());
        }
    }
    Ok((letters, damaged))
}

fn read_letter(path: &Path, mailbox: MailboxId, letter: LetterId, identities: &Identities) -> Result<u32, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let expect = Expect { mailbox, letter, size: None };
    let mut opened = Opened::open(file, &expect, identities).map_err(|error| error.to_string())?;
    opened.verify().map_err(|error| error.to_string())?;
    u32::try_from(opened.size()).map_err(|_| "too large".to_owned())
}

/// All letters in the `<xx>` folders; what is named otherwise is none.
fn files(folder: &Path) -> io::Result<Vec<(PathBuf, LetterId)>> {
    let mut all = Vec::new();
    let shards = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
        shards => shards?,
    };
    for shard in shards {
        let shard = shard?;
        if !shard.file_type()?.is_dir() {
            continue;
        }
        for entry in fs::read_dir(shard.path())? {
            let entry = entry?;
            if let Some(letter) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                all.push((entry.path(), letter));
            }
        }
    }
    Ok(all)
}

fn tell(house: &House, recovered: &[Recovered], left: &[String], said: &[String]) -> Result<(), Failure> {
    let one = |mailbox: &Recovered| {
        json!({
            "address": mailbox.addresses.first(),
            "aliases": mailbox.addresses.get(1..).unwrap_or_default(),
            "letters": mailbox.letters,
            "damaged": mailbox.damaged,
        })
    };
    let answer = json!({
        "recovered": recovered.iter().map(one).collect::<Vec<_>>(),
        "still_lost": left,
        "refused": said,
    });
    house.print(&answer, || {
        let mut lines = Vec::new();
        for mailbox in recovered {
            lines.push(format!("{}: {} letters given back", mailbox.addresses.join(", "), mailbox.letters));
            lines.extend(mailbox.damaged.iter().map(|what| format!("    damaged: {what}")));
        }
        lines.extend(said.iter().cloned());
        if !left.is_empty() {
            lines.push(format!(
                "still waiting for one of their secrets: {} (postern recover)",
                super::mailbox::some(left.len())
            ));
        }
        lines.join("\n")
    })
}
