//! A far server with one fault (`peers/faulty.py`).

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Authority;
use crate::hosts::Host;

/// It runs.
#[derive(Debug)]
pub struct Faulty {
    child: Child,
    folder: PathBuf,
}

impl Faulty {
    /// Starts it and waits until it listens; what it gets lies in a new folder in `scratch`.
    #[must_use]
    pub fn start(fault: &str, address: &str, certificate: &Authority, scratch: &Path) -> Self {
        Self::begin(Command::new("python3"), fault, address, certificate, scratch)
    }

    /// The same on another host of the test's network.
    #[must_use]
    pub fn start_on(host: &Host, fault: &str, address: &str, certificate: &Authority, scratch: &Path) -> Self {
        Self::begin(host.command("python3"), fault, address, certificate, scratch)
    }

    fn begin(mut command: Command, fault: &str, address: &str, certificate: &Authority, scratch: &Path) -> Self {
        let folder = scratch.join(fault);
        std::fs::create_dir(&folder).unwrap();
        let child = command
            .args([concat!(env!("CARGO_MANIFEST_DIR"), "/peers/faulty.py"), address])
            .args([certificate.certificate(), certificate.key(), folder.clone()])
            .arg(fault)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { child, folder };
        let up = (0..900).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            TcpStream::connect((address, 25)).is_ok()
        });
        assert!(up, "nothing on {address}");
        this
    }

    /// All letters whose end it saw.
    #[must_use]
    pub fn mail(&self) -> String {
        std::fs::read_to_string(self.folder.join("mail")).unwrap_or_default()
    }

    /// Those that wait for it answer from now on.
    pub fn go(&self) {
        std::fs::write(self.folder.join("go"), "").unwrap();
    }

    /// They wait again.
    pub fn wait_again(&self) {
        std::fs::remove_file(self.folder.join("go")).unwrap();
    }

    /// All commands it heard.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
