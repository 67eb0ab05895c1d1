//! Every transcript of `tests/transcripts/whole/`, held with one house.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::Path;

use tests::{House, Setup, transcript};

#[test]
fn conversations_go_as_written() {
    let transcripts = transcript::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts/whole"));
    assert!(transcripts.len() >= 10, "only {} of them", transcripts.len());
    let house = House::start(Setup::default());
    let only = std::env::var("TRANSCRIPT").unwrap_or_default();
    let chosen = transcripts.iter().filter(|transcript| transcript.name.contains(&only));
    let wrong: Vec<String> = chosen
        .filter_map(|transcript| transcript.hold(&house).err().map(|error| format!("== {}: {error}", transcript.name)))
        .collect();
    assert!(wrong.is_empty(), "{} went another way:\n{}", wrong.len(), wrong.join("\n"));
}
