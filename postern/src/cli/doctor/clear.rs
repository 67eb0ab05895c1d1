//! What stands open although nobody meant it to: mail without encryption, and a data folder that others may look into.

use std::os::unix::fs::PermissionsExt;

use super::{Finding, Patient};

/// Nothing where all is closed.
pub fn look(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    if patient.config.is_clear() {
        findings.push(Finding::weak(
            "encryption",
            "`clear-text` permits mail without encryption from and to everybody",
            "it is meant for tests: start `up` without --clear-text, and take `*` out of `clear-text` in the configuration",
        ));
    }
    findings.extend(patient.data.as_ref().and_then(|data| {
        let mode = std::fs::metadata(data.path()).ok()?.permissions().mode();
        let path = data.path().display();
        (mode & 0o022 != 0).then(|| {
            Finding::bad(
                "data folder",
                format!("other users of this machine may change what lies in {path}"),
                format!("chmod go-w {path}"),
            )
        })
    }));
    findings
}
