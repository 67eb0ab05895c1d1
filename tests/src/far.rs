//! Real mail servers that take what a house sends: Postfix, smtp-sink, Exim, OpenSMTPD, Sendmail, aiosmtpd, in folders that `tests/run` has
//! unpacked; and one that is written for its faults.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::hosts::Host;
use crate::{Authority, peers, programs};

const RECEIVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/receive");

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
        Self::begin(Command::new(RECEIVE), peer, address, domain, certificate)
    }

    /// The same on another host of the test's network.
    #[must_use]
    pub fn start_on(host: &Host, peer: &str, address: &str, domain: &str, certificate: &Authority) -> Self {
        Self::begin(host.command(RECEIVE), peer, address, domain, certificate)
    }

    fn begin(mut command: Command, peer: &str, address: &str, domain: &str, certificate: &Authority) -> Self {
        // smtp-sink comes with Postfix.
        let root = peers::folder().join(if peer == "smtp-sink" { "postfix" } else { peer });
        let alone = File::create(root.with_extension("lock")).unwrap();
        rustix::fs::flock(&alone, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let child = command
            .arg(peer)
            .arg(&root)
            .args([address, domain])
            .args([certificate.certificate(), certificate.key()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { child, root, _alone: alone };
        let up = (0..900).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            TcpStream::connect((address, 25)).is_ok()
        });
        assert!(up, "nothing on {address}: {}", this.log());
        this
    }

    /// All of somebody's mail, whether it is kept as one file or as one a letter. smtp-sink's is everybody's.
    #[must_use]
    pub fn mail(&self, person: &str) -> String {
        self.letters(person).concat()
    }

    /// The same, a letter each, where it is kept so.
    #[must_use]
    pub fn letters(&self, person: &str) -> Vec<String> {
        let place = self.root.join("vmail").join(person);
        let letters = std::fs::read_dir(place.join("new")).into_iter().flatten().flatten().map(|entry| entry.path());
        let files = letters.chain([place]).filter_map(|file| std::fs::read(file).ok());
        files.map(|bytes| String::from_utf8_lossy(&bytes).replace('\r', "")).collect()
    }

    /// Has somebody there write a letter, as a program of that machine would.
    pub fn write(&self, from: &str, to: &str, letter: &str) {
        let inner = *programs::descendants(self.child.id()).first().expect("it runs");
        let mut child = Command::new("nsenter")
            .args(["--net", "--mount", "--pid", "--uts", "--target", &inner.to_string(), "chroot"])
            .arg(&self.root)
            .args(["/usr/sbin/sendmail", "-f", from, to])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(letter.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{}", self.log());
    }

    /// What it says itself.
    #[must_use]
    pub fn log(&self) -> String {
        let files = ["var/log/mail.log", "var/log/exim4/mainlog", "var/log/smtpd.log"];
        files.iter().filter_map(|file| std::fs::read_to_string(self.root.join(file)).ok()).collect()
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // Its namespaces end with it, and all that is in them.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
