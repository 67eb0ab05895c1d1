//! Every transcript of `tests/transcripts/smtp` against the pure session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "transcript/pure.rs"]
mod pure;
mod transcript;

use std::fs;
use std::path::Path;

#[test]
fn every_transcript() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/transcripts/smtp");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for mut peer in [pure::Pure::default(), pure::Pure::bound()] {
            if let Err(report) = transcript::run(&text, &mut peer) {
                wrong.push(format!("{}:\n{report}", file.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} transcripts:\n\n{}", wrong.len(), files.len(), wrong.join("\n\n"));
    assert!(files.len() >= 40, "only {} transcripts", files.len());
}
