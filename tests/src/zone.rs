//! Real DNS: a zone signed by Knot, validated by Unbound, for what only a real proof can show.

use std::fs::File;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::alone::DNS;
use crate::peers;

const APEX: &str = ". 1 IN SOA ns. admin. 1 3600 600 86400 1\n. 1 IN NS ns.\n";

/// Both servers, running.
#[derive(Debug)]
pub struct Zone {
    child: Child,
    root: PathBuf,
    _alone: File,
}

impl Zone {
    /// Serves these records (with full names, as a zone file has them) on [`DNS`], and waits until it answers.
    #[must_use]
    pub fn serve(records: &str) -> Self {
        let root = peers::folder().join("names");
        let alone = File::create(root.with_extension("lock")).unwrap();
        rustix::fs::flock(&alone, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let _ = std::fs::remove_dir_all(root.join("srv"));
        std::fs::create_dir(root.join("srv")).unwrap();
        write(&root, records);
        let child = Command::new(script()).arg(&root).arg(DNS).stdin(Stdio::null()).spawn().unwrap();
        let this = Self { child, root, _alone: alone };
        let up = (0..900).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            TcpStream::connect((DNS, 53)).is_ok()
        });
        assert!(up, "no name server: {}", this.log());
        this
    }

    /// Serves these instead.
    pub fn change(&self, records: &str) {
        write(&self.root, records);
        self.tell("on");
    }

    /// Serves it unsigned, as who takes signatures away would; it stays known that there are some.
    pub fn spoil(&self) {
        self.tell("off");
    }

    /// Serves it signed again.
    pub fn mend(&self) {
        self.tell("on");
    }

    fn tell(&self, what: &str) {
        let output = Command::new(script()).arg(&self.root).arg(what).output().unwrap();
        assert!(output.status.success(), "{output:?} {}", self.log());
    }

    fn log(&self) -> String {
        let files = ["srv/knot.log", "srv/unbound.log"];
        files.iter().filter_map(|file| std::fs::read_to_string(self.root.join(file)).ok()).collect()
    }
}

fn write(root: &std::path::Path, records: &str) {
    std::fs::write(root.join("srv/zone"), format!("{APEX}ns. 1 IN A {DNS}\n{records}")).unwrap();
}

fn script() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/peers/names")
}

impl Drop for Zone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the name servers' log ----\n{}", self.log());
        }
        // Their namespaces end with it, and all that is in them.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
