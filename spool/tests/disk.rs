//! The durable-write seam: whatever step fails, a name leads to old bytes or to new ones, whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::io::Errno;
use spool::disk::{Disk, Faults, beside};

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("postern-disk-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_replaced_file_is_old_or_new_whichever_step_fails() {
    let folder = folder("replace");
    let path = folder.join("file");
    let counter = Faults::none();
    Disk::faulty(counter.clone()).replace(&path, b"old").unwrap();
    assert_eq!(counter.steps(), 5, "open, write, fsync, rename, fsync of the folder");
    for step in 1..=5 {
        for faults in [Faults::crash(step), Faults::once(step, Errno::NOSPC)] {
            Disk::default().replace(&path, b"old").unwrap();
            assert!(Disk::faulty(faults).replace(&path, b"the new bytes").is_err());
            let now = fs::read(&path).unwrap();
            assert_eq!(now, if step == 5 { b"the new bytes".as_slice() } else { b"old" }, "step {step}");
            assert!(!beside(&path).exists());
        }
    }
    // What a cut left beside does not stand in the way.
    fs::write(beside(&path), b"half").unwrap();
    Disk::default().replace(&path, b"newest").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"newest");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_full_disk_fails_every_step_until_there_is_room() {
    let folder = folder("full");
    let (path, faults) = (folder.join("file"), Faults::none());
    let disk = Disk::faulty(faults.clone());
    let mut file = disk.append(&path).unwrap();
    file.write_all(b"before").unwrap();
    faults.set_full(true);
    let error = file.write_all(b"0123456789").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    assert!(file.sync_data().is_err() && disk.create_new(&folder.join("other")).is_err());
    faults.set_full(false);
    // A failed write has written a part, as a real one may.
    assert_eq!(fs::read(&path).unwrap(), b"before01234");
    file.truncate(6).unwrap();
    file.write_all(b" after").unwrap();
    file.sync_all().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"before after");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_folder_that_is_there_is_durable_too() {
    let folder = folder("there");
    let counter = Faults::none();
    let disk = Disk::faulty(counter.clone());
    // Who made it first may not have synced the parent yet.
    for steps in [2, 4] {
        disk.make_folder(&folder.join("sub")).unwrap();
        assert_eq!(counter.steps(), steps, "mkdir, fsync of the parent");
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn files_and_folders_are_the_boxes_alone() {
    let (folder, disk) = (folder("modes"), Disk::default());
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    disk.make_folder(&folder.join("sub")).unwrap();
    disk.make_folder(&folder.join("sub")).unwrap();
    disk.replace(&folder.join("replaced"), b"x").unwrap();
    drop(disk.create_new(&folder.join("made")).unwrap());
    assert!(disk.create_new(&folder.join("made")).is_err());
    assert_eq!((mode("sub"), mode("replaced"), mode("made")), (0o700, 0o600, 0o600));
    assert!(disk.make_folder(&folder.join("made")).is_err(), "a file of that name is no folder");
    disk.remove(&folder.join("made")).unwrap();
    disk.remove(&folder.join("made")).unwrap();
    disk.rename(&folder.join("replaced"), &folder.join("sub/renamed")).unwrap();
    assert_eq!(fs::read(folder.join("sub/renamed")).unwrap(), b"x");
    fs::remove_dir_all(&folder).unwrap();
}
