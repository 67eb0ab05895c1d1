//! Servers that benches run beside the house: Postfix with Dovecot.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Authority;

/// A running Postfix with Dovecot; users `u1@home.test`.., password `pw`.
#[derive(Debug)]
pub struct Rival {
    child: Child,
    /// Takes mail, in clear too.
    pub smtp: SocketAddr,
    /// Serves it.
    pub imaps: SocketAddr,
}

impl Rival {
    /// Unpacks (once) and starts it on fixed loopback ports; `crypt` turns Dovecot's mail-crypt on.
    #[must_use]
    pub fn start(authority: &Authority, crypt: bool) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let kind = if crypt { "rival-crypt" } else { "rival" };
        let root = crate::peers::folder().join(kind);
        let packages = ["bookworm", "postfix", "dovecot-imapd", "dovecot-lmtpd"];
        let unpacked = Command::new(here.join("peers/unpack")).arg(&root).args(packages).status().unwrap();
        assert!(unpacked.success(), "cannot unpack Postfix and Dovecot");
        let _ = std::fs::remove_dir_all(root.join("mail"));
        let (smtp, imaps) = if crypt { (31_125, 31_993) } else { (31_025, 31_893) };
        let child = Command::new(here.join("benches/rival"))
            .arg(&root)
            .args([smtp.to_string(), imaps.to_string()])
            .args([authority.certificate(), authority.key()])
            .args(crypt.then_some("crypt"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { child, smtp: ([127, 0, 0, 1], smtp).into(), imaps: ([127, 0, 0, 1], imaps).into() };
        for address in [this.smtp, this.imaps] {
            let up = (0..100).any(|_| {
                std::thread::sleep(Duration::from_millis(100));
                TcpStream::connect(address).is_ok()
            });
            assert!(up, "nothing on {address}");
        }
        this
    }

    /// The root of its processes.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
