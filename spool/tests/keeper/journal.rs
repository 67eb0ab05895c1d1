//! The journal read back is the index that was: after any operations, checkpoints, cuts and flips.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use spool::commit::{Committer, With};
use spool::disk::Disk;
use spool::edges;
use spool::edges::mailbox::{Change, UidSet};
use spool::index::Index;
use spool::index::plan::{self, Arrival};
use spool::journal::files;
use spool::journal::open::{OpenError, open};
use spool::journal::record::{Device, Profile, Record, Stored};
use spool::names::{FolderId, LetterId, MailboxId, SlotId, TransactionId};

use crate::house::{Folder, KEY};

#[derive(Debug, Clone)]
enum Op {
    Add(u8),
    Remove(u8),
    Suspend(u8, bool),
    Alias(u8, u8, bool),
    Deliver(Vec<u8>, bool),
    Store(u8, u32, UidSet, u8, u8, bool),
    Expunge(u8, u32),
    Copy(u8, u32, UidSet, u8, bool),
    Create(u8, u8),
    Rename(u8, u8, u8),
    Delete(u8, u8),
    Subscribe(u8, u8, bool),
    Recent(u8, u32),
    Slots(u8),
    Checkpoint,
    Reopen,
}

fn ranges() -> impl Strategy<Value = UidSet> {
    prop::collection::btree_set(1_u32..12, 0..4).prop_map(|uids| uids.into_iter().map(|uid| (uid, uid)).collect())
}

fn op() -> impl Strategy<Value = Op> {
    let m = || 0_u8..3;
    let folder = || 1_u32..9;
    let name = || 0_u8..8;
    prop_oneof![
        2 => m().prop_map(Op::Add),
        1 => m().prop_map(Op::Remove),
        1 => (m(), any::<bool>()).prop_map(|(m, on)| Op::Suspend(m, on)),
        2 => (m(), m(), any::<bool>()).prop_map(|(a, m, on)| Op::Alias(a, m, on)),
        10 => (prop::collection::vec(m(), 1..4), any::<bool>()).prop_map(|(to, junk)| Op::Deliver(to, junk)),
        6 => (m(), folder(), ranges(), any::<u8>(), 0_u8..3, any::<bool>())
            .prop_map(|(m, f, set, flags, change, word)| Op::Store(m, f, set, flags, change, word)),
        3 => (m(), folder()).prop_map(|(m, f)| Op::Expunge(m, f)),
        4 => (m(), folder(), ranges(), name(), any::<bool>()).prop_map(|(m, f, s, to, mv)| Op::Copy(m, f, s, to, mv)),
        3 => (m(), name()).prop_map(|(m, n)| Op::Create(m, n)),
        2 => (m(), name(), name()).prop_map(|(m, a, b)| Op::Rename(m, a, b)),
        1 => (m(), name()).prop_map(|(m, n)| Op::Delete(m, n)),
        1 => (m(), name(), any::<bool>()).prop_map(|(m, n, on)| Op::Subscribe(m, n, on)),
        2 => (m(), folder()).prop_map(|(m, f)| Op::Recent(m, f)),
        1 => m().prop_map(Op::Slots),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
    ]
}

const NAMES: [&str; 8] = ["INBOX", "Junk", "Trash", "a", "a/b", "a/b/c", "d", "d/e"];

fn profile(index: &Index, m: u8) -> Profile {
    Profile {
        address: format!("m{m}@home.test"),
        display_name: String::new(),
        quota: 1_000,
        suspended: false,
        revision: 1,
        devices: vec![Device { slot: SlotId(1), name: "phone".into(), added: 1, last_login: 0 }],
        made: index.next_made(),
        audit: None,
    }
}

/// The entry an operation comes to on that index; empty when it comes to nothing.
fn entry(index: &Index, op: &Op, step: u64) -> Vec<Record> {
    let id = |m: &u8| MailboxId(u64::from(*m));
    let get = |m: &u8| index.mailbox(id(m));
    let at = i64::try_from(1_000 + step).unwrap();
    match op {
        Op::Add(m) if get(m).is_none() => {
            let uid_validity = u32::try_from(at).unwrap();
            vec![Record::MailboxAdded { mailbox: id(m), profile: profile(index, *m), uid_validity }]
        }
        Op::Remove(m) => vec![Record::MailboxRemoved { mailbox: id(m) }],
        Op::Suspend(m, on) => vec![Record::Suspended { mailbox: id(m), on: *on }],
        Op::Alias(a, m, true) => vec![Record::AliasAdded { alias: format!("a{a}@home.test"), target: id(m) }],
        Op::Alias(a, m, false) => {
            let target = (*m > 0).then(|| id(m));
            vec![Record::AliasRemoved { alias: format!("a{a}@home.test"), target }]
        }
        Op::Deliver(to, junk) => deliver(index, to, *junk, step),
        Op::Store(m, folder, set, flags, change, word) => {
            let change = [Change::Add, Change::Remove, Change::Replace][usize::from(*change)];
            let words: Vec<String> = word.then(|| format!("w{}", step % 5)).into_iter().collect();
            let plan = |mailbox| plan::store(id(m), mailbox, FolderId(*folder), set.clone(), (change, *flags, &words));
            get(m).and_then(|mailbox| plan(mailbox).ok()).unwrap_or_default()
        }
        Op::Expunge(m, folder) => {
            get(m).and_then(|mailbox| plan::expunge(id(m), mailbox, FolderId(*folder), None).ok()).unwrap_or_default()
        }
        Op::Copy(m, folder, set, to, and_remove) => {
            let to = (NAMES[usize::from(*to)], *and_remove);
            let plan = |mailbox| plan::copy(id(m), mailbox, FolderId(*folder), set, to);
            get(m).and_then(|mailbox| plan(mailbox).ok()).map(|copy| copy.entry).unwrap_or_default()
        }
        Op::Create(m, name) => get(m)
            .and_then(|mailbox| plan::create(id(m), mailbox, NAMES[usize::from(*name)], None, at).ok())
            .unwrap_or_default(),
        Op::Rename(m, from, to) => get(m)
            .and_then(|mailbox| {
                plan::rename(id(m), mailbox, NAMES[usize::from(*from)], NAMES[usize::from(*to)], at).ok()
            })
            .unwrap_or_default(),
        Op::Delete(m, name) => {
            get(m).and_then(|mailbox| plan::delete(id(m), mailbox, NAMES[usize::from(*name)]).ok()).unwrap_or_default()
        }
        Op::Subscribe(m, name, on) => get(m)
            .and_then(|mailbox| plan::subscribe(id(m), mailbox, NAMES[usize::from(*name)], *on).ok())
            .unwrap_or_default(),
        Op::Recent(m, folder) => {
            vec![Record::RecentTaken {
                mailbox: id(m),
                folder: FolderId(*folder),
                before: u32::try_from(step % 7).unwrap(),
            }]
        }
        Op::Slots(m) => {
            let devices = vec![(SlotId(1), "phone".into()), (SlotId(2), "laptop".into())];
            vec![Record::Slots { mailbox: id(m), revision: step, devices, at, audit: Some([3; 32]) }]
        }
        Op::Add(_) | Op::Checkpoint | Op::Reopen => vec![],
    }
}

fn deliver(index: &Index, to: &[u8], junk: bool, step: u64) -> Vec<Record> {
    let into = if junk { edges::Into::Junk } else { edges::Into::Inbox };
    let arrivals: Vec<_> = (0_u8..)
        .zip(to)
        .map(|(n, m)| {
            let mut name = [n; 16];
            name[1..9].copy_from_slice(&step.to_le_bytes());
            let mailbox = MailboxId(u64::from(*m));
            let letter = LetterId(name);
            (Arrival { mailbox, letter, digest: [1; 32], size: 10, stored: Stored::new(1, 10, 10), arrived: 5 }, into)
        })
        .collect();
    let letters = plan::arrivals(index, &arrivals);
    let mut transaction = [0; 16];
    transaction[..8].copy_from_slice(&step.to_le_bytes());
    vec![Record::Delivered { transaction: Some(TransactionId(transaction)), at: 5, letters }]
}

/// All an index says, in a form that can be kept and compared.
fn picture(index: &Index) -> Vec<Vec<u8>> {
    let records =
        std::iter::once(index.house(0)).chain(index.ids().into_iter().flat_map(|id| index.mailbox_records(0, id)));
    records.map(|record| postcard::to_stdvec(&record).unwrap()).collect()
}

fn derived(index: &Index) -> Vec<(u64, u32, Vec<edges::mailbox::Folder>)> {
    let shown = |mailbox: &spool::index::Mailbox| mailbox.folders().iter().map(spool::index::Folder::shown).collect();
    index.mailboxes().map(|(_, mailbox)| (mailbox.used(), mailbox.letters(), shown(mailbox))).collect()
}

struct Written {
    folder: Folder,
    /// The picture after each entry, from none on.
    pictures: Vec<Vec<Vec<u8>>>,
}

fn begin(root: &Path) -> (std::sync::Arc<Committer<()>>, std::thread::JoinHandle<()>) {
    let opened = open(&Disk::default(), &root.join("journal"), &KEY).unwrap();
    assert!(opened.findings.is_empty() && !opened.damaged, "{:?}", opened.findings);
    Committer::start(Disk::default(), root, KEY, opened, ()).unwrap()
}

fn end((committer, thread): (std::sync::Arc<Committer<()>>, std::thread::JoinHandle<()>)) {
    committer.stop();
    thread.join().unwrap();
}

fn write(ops: &[Op]) -> Written {
    let folder = Folder::new();
    let mut journal = begin(&folder.0);
    let mut pictures = vec![picture(&journal.0.lock().index)];
    for (step, op) in (0..).zip(ops) {
        match op {
            Op::Checkpoint => journal.0.checkpoint(false).unwrap(),
            Op::Reopen => {
                let before = {
                    let core = journal.0.lock();
                    (picture(&core.index), derived(&core.index))
                };
                end(journal);
                journal = begin(&folder.0);
                let core = journal.0.lock();
                assert_eq!((picture(&core.index), derived(&core.index)), before);
            }
            _ => {
                let mut core = journal.0.lock();
                let entry = entry(&core.index, op, step);
                if entry.is_empty() {
                    continue;
                }
                journal.0.take(&mut core, entry, &With::default()).unwrap();
                pictures.push(picture(&core.index));
            }
        }
    }
    end(journal);
    Written { folder, pictures }
}

fn last_segment(root: &Path) -> std::path::PathBuf {
    let dir = root.join("journal");
    files::segment_path(&dir, *files::list_only(&dir).unwrap().segments.last().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_back_is_what_was(ops in prop::collection::vec(op(), 1..60)) {
        let written = write(&ops);
        let opened = open(&Disk::default(), &written.folder.0.join("journal"), &KEY).unwrap();
        prop_assert_eq!(&picture(&opened.index), written.pictures.last().unwrap());
    }

    #[test]
    fn a_cut_of_the_last_segment_loses_only_what_came_last(
        ops in prop::collection::vec(op(), 1..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let written = write(&ops);
        let path = last_segment(&written.folder.0);
        let bytes = std::fs::read(&path).unwrap();
        let cut = cut.index(bytes.len() + 1).max(spool::journal::segment::HEADER);
        std::fs::write(&path, &bytes[..cut]).unwrap();
        // As a power cut leaves it: nobody has closed it.
        std::fs::remove_file(written.folder.0.join("journal/closed")).unwrap();
        let opened = open(&Disk::default(), &written.folder.0.join("journal"), &KEY).unwrap();
        prop_assert!(!opened.damaged, "{:?}", opened.findings);
        prop_assert!(written.pictures.contains(&picture(&opened.index)));
        drop(opened);
        // And it goes on from there.
        let journal = begin(&written.folder.0);
        let entry = vec![Record::MailboxRemoved { mailbox: MailboxId(9) }];
        journal.0.take(&mut journal.0.lock(), entry, &With::default()).unwrap();
        end(journal);
        end(begin(&written.folder.0));
    }

    #[test]
    fn a_flipped_bit_is_told(
        ops in prop::collection::vec(op(), 1..40),
        file in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
    ) {
        let written = write(&ops);
        let dir = written.folder.0.join("journal");
        let listing = files::list_only(&dir).unwrap();
        let base = listing.checkpoints.last().copied().unwrap_or(0);
        let mut read: Vec<_> =
            listing.segments.iter().filter(|n| **n >= base).map(|n| files::segment_path(&dir, *n)).collect();
        read.extend(listing.checkpoints.last().map(|n| files::checkpoint_path(&dir, *n)));
        let path = &read[file.index(read.len())];
        let mut bytes = std::fs::read(path).unwrap();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(path, bytes).unwrap();
        match open(&Disk::default(), &dir, &KEY) {
            Ok(opened) => prop_assert!(!opened.findings.is_empty()),
            Err(OpenError::Key) => {}
            Err(OpenError::Newer(error)) => panic!("a flipped bit is no newer version: {error}"),
            Err(OpenError::Io(error)) => panic!("{error}"),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_and_applied_without_harm(
        data in prop::collection::vec(any::<u8>(), 0..300),
        ops in prop::collection::vec(op(), 0..10),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        spool::fuzz::journal(&data);
        // Entries that were true but for one byte.
        let mut index = Index::default();
        let mut bytes = Vec::new();
        for (step, op) in (1..).zip(&ops) {
            let entry = entry(&index, op, step);
            bytes.extend(postcard::to_stdvec(&entry).unwrap());
            bytes.push(0xff);
            entry.into_iter().for_each(|record| index.apply(step, record, &mut ()));
        }
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        spool::fuzz::journal(&bytes);
    }
}

#[test]
fn commits_go_on_while_a_checkpoint_is_written() {
    let folder = Folder::new();
    let journal = begin(&folder.0);
    let add = entry(&journal.0.lock().index, &Op::Add(0), 0);
    journal.0.take(&mut journal.0.lock(), add, &With::default()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                journal.0.checkpoint(false).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut step = 1;
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let mut core = journal.0.lock();
            let entry = deliver(&core.index, &[0], false, step);
            let number = journal.0.take(&mut core, entry, &With::default()).unwrap();
            drop(core);
            if step % 50 == 0 {
                assert!(journal.0.wait(number));
            }
            step += 1;
        }
    });
    let before = picture(&journal.0.lock().index);
    end(journal);
    let again = begin(&folder.0);
    assert!(picture(&again.0.lock().index) == before);
    end(again);
}

/// Who may block writes its own entries, whoever else writes meanwhile; nothing waits for the next request.
#[test]
fn threads_that_lead_leave_nothing_behind() {
    const EACH: u64 = 50;
    let folder = Folder::new();
    let journal = begin(&folder.0);
    let alias =
        |of: u64, at: u64| vec![Record::AliasAdded { alias: format!("{of}-{at}@home.test"), target: MailboxId(1) }];
    std::thread::scope(|scope| {
        for of in 0..4 {
            let committer = &journal.0;
            scope.spawn(move || {
                for at in 0..EACH {
                    let number = if of == 0 {
                        committer.take(&mut committer.lock(), alias(of, at), &With::default()).unwrap()
                    } else {
                        let leading = committer.leading();
                        leading.take(&mut committer.lock(), alias(of, at), &With::default()).unwrap()
                    };
                    assert!(committer.wait(number));
                }
            });
        }
        scope.spawn(|| (0..5).for_each(|_| journal.0.checkpoint(false).unwrap()));
    });
    end(journal);
    let opened = open(&Disk::default(), &folder.0.join("journal"), &KEY).unwrap();
    assert_eq!(opened.index.aliases().count() as u64, 4 * EACH);
}

/// What a thread leads is durable when it has let go, by that thread alone.
#[test]
fn a_lone_entry_needs_no_other_thread() {
    let folder = Folder::new();
    let journal = begin(&folder.0);
    let leading = journal.0.leading();
    let entry = vec![Record::AliasAdded { alias: "a@home.test".into(), target: MailboxId(1) }];
    let number = leading.take(&mut journal.0.lock(), entry, &With::default()).unwrap();
    let reached = || {
        let mut progress = journal.0.progress();
        pin!(progress.reached(number)).poll(&mut Context::from_waker(Waker::noop()))
    };
    assert_eq!(reached(), Poll::Pending);
    drop(leading);
    assert_eq!(reached(), Poll::Ready(Some(true)));
    end(journal);
}

/// Every connection waits for a failure: entry after entry must not wake them all.
#[test]
fn who_waits_for_a_failure_is_not_woken_by_entries() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let folder = Folder::new();
    let journal = begin(&folder.0);
    let (mut progress, woken) = (journal.0.progress(), Arc::new(Count(AtomicUsize::new(0))));
    let waker = Waker::from(woken.clone());
    let mut failed = pin!(progress.failed());
    assert!(failed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let entry = vec![Record::AliasAdded { alias: "a@home.test".into(), target: MailboxId(1) }];
    let number = journal.0.take(&mut journal.0.lock(), entry, &With::default()).unwrap();
    assert!(journal.0.wait(number));
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    end(journal);
}
