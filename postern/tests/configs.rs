//! Every bad configuration is refused with words that lead to the mistake; the shipped example is accepted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;

use postern::config::{Config, EXAMPLE};

#[test]
fn each_bad_configuration_is_refused_with_its_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-configs");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let expected =
            text.lines().next().unwrap().strip_prefix("# says: ").expect("the first line says what is wrong");
        let words = Config::read(&path).expect_err(&path.display().to_string()).to_string();
        assert!(words.contains(expected), "{}: {words}", path.display());
        seen += 1;
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn the_example_is_accepted_and_is_the_default() {
    let path = std::env::temp_dir().join(format!("postern-example-{}.toml", std::process::id()));
    fs::write(&path, EXAMPLE).unwrap();
    assert_eq!(Config::read(&path).unwrap(), Config::default());
    // Every commented line of the example is a good one, too.
    let all: String = EXAMPLE.lines().map(|line| uncommented(line) + "\n").collect();
    fs::write(&path, all).unwrap();
    let read = Config::read(&path).unwrap();
    assert!(read.tls_cert.is_some() && read.dns.len() == 2 && read.bind.len() == 2 && read.scanner.is_some());
    fs::remove_file(&path).unwrap();
}

/// `# key = value` and `# [section]` without its mark; prose stays a comment.
fn uncommented(line: &str) -> String {
    let key = line.strip_prefix("# ").filter(|rest| rest.split(' ').nth(1) == Some("=") || rest.starts_with('['));
    key.unwrap_or(line).to_owned()
}

#[test]
fn a_missing_file_is_told() {
    let words = Config::read(Path::new("/nonexistent/postern.toml")).unwrap_err().to_string();
    assert!(words.contains("/nonexistent/postern.toml"), "{words}");
}
