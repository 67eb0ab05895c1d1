//! Real mail servers that take what a house sends: Postfix, in folders that `tests/run` has unpacked.

use std::fs::File;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Authority, peers};

/// A running server for `ben@DOMAIN` and `cleo@DOMAIN`.
#[derive(Debug)]
pub struct Far {
    child: Child,
    root: PathBuf,
    _alone: File,
}

impl Far {
    /// Starts it and waits until it answers. A peer's root serves one test at a time: others wait here.
    #[must_use]
    pub fn start(peer: &str, address: &str, domain: &str, certificate: &Authority) -> Self {
        let root = peers::folder().join(peer);
        let alone = File::create(root.with_extension("lock")).unwrap();
        rustix::fs::flock(&alone, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/receive");
        let child = Command::new(script)
            .arg(peer)
            .arg(&root)
            .args([address, domain])
            .args([certificate.certificate(), certificate.key()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { child, root, _alone: alone };
        let up = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            TcpStream::connect((address, 25)).is_ok()
        });
        assert!(up, "nothing on {address}: {}", this.log());
        this
    }

    /// All of somebody's mail.
    #[must_use]
    pub fn mail(&self, person: &str) -> String {
        std::fs::read(self.root.join("vmail").join(person))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// What it says itself.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.join("var/log/mail.log")).unwrap_or_default()
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // Its namespaces end with it, and all that is in them.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
