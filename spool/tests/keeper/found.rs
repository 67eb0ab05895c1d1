//! Damage found at a start is told until somebody acknowledges it, and looking changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use spool::disk::Disk;
use spool::edges::admin::{Finding, Reply, Request};
use spool::journal::files;
use spool::keeper::Manner;

use crate::check::{check, flip};
use crate::house::{Folder, Running, files_below, run};

/// Every file and its bytes.
fn all(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files_below(folder).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn look(folder: &Folder) -> Vec<Finding> {
    let house = Running::with(&folder.0, Disk::default(), Manner::Look).unwrap();
    let findings = check(&house, false).0;
    assert!(matches!(house.ask(Request::Check { repair: true }), Reply::Refused(_)));
    assert!(house.stop());
    findings
}

/// A stopped house with letters, whose journal is damaged in the middle.
async fn damaged() -> Folder {
    let folder = Folder::new();
    let house = Running::start(&folder.0);
    house.add("anna@home.test");
    house.add("ben@home.test");
    for _ in 0..6 {
        house.deliver("anna@home.test", b"letter").await;
    }
    assert!(house.stop());
    assert_eq!(look(&folder), []);
    let dir = folder.0.join("journal");
    let first = files::segment_path(&dir, files::list_only(&dir).unwrap().segments[0]);
    flip(&first, |length| length - 700);
    folder
}

#[test]
fn looking_changes_nothing_and_says_the_same_each_time() {
    run(async {
        let folder = damaged().await;
        let before = all(&folder.0);
        let findings = look(&folder);
        assert!(findings.iter().any(|found| found.place.starts_with("journal/") && !found.settled()), "{findings:?}");
        assert!(findings.iter().any(|found| found.what.contains("Recovered")), "{findings:?}");
        assert_eq!(look(&folder), findings);
        assert!(all(&folder.0) == before, "a file was changed");
    });
}

#[test]
fn damage_found_at_a_start_is_told_until_it_is_acknowledged() {
    run(async {
        let folder = damaged().await;
        assert!(Running::start(&folder.0).stop());
        let house = Running::start(&folder.0);
        let (findings, _) = check(&house, false);
        let told = |what: &str| findings.iter().filter(|found| found.what.contains(what)).count();
        assert!(told("damaged bytes") > 0 && findings.iter().all(Finding::settled), "{findings:?}");
        assert_eq!(
            (told("could not be placed and are in its folder Recovered"), told("mail apps")),
            (1, 1),
            "{findings:?}"
        );
        assert_eq!(check(&house, false).0, findings);
        assert!(house.stop());
        assert_eq!(look(&folder), findings);
        assert_eq!(spool::found::read(&folder.0).unwrap(), findings);
        let house = Running::with(&folder.0, Disk::default(), Manner::Repair).unwrap();
        assert_eq!(check(&house, true).0, findings);
        assert_eq!(check(&house, true).0, []);
        assert!(house.stop());
        assert_eq!(spool::found::read(&folder.0).unwrap(), []);
        assert_eq!(check(&Running::start(&folder.0), false), (vec![], 6));
    });
}
