//! The external scanner: a foreign program that looks at one message and says one number.
//!
//! Weaker than a worker, and off by default: it sees the read-only tree of [`TREE`] (programs, libraries, rules; nothing
//! of the box's, no mail) and may execute what lies there, so an attacker who takes it over finds an interpreter
//! waiting. All else is as for a worker: seven namespaces of its own for each message, no network, no capability, one
//! message, one socket, killed after its answer. It has nowhere to write: what SpamAssassin would put into temporary
//! files stays in its memory, which its driver locks before it reads a byte of mail.
//!
//! Its answer is one short line, a score; anything else counts as no answer.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::confine::{self, At, ConfineError, Status};
use crate::protocol::limits as workers;
use crate::role::Role;
use crate::worker::{Birth, ended};
use crate::{offspring, sys};

/// Bounds of a scanner.
pub mod limits {
    /// Largest letter given to a scanner (bytes): rules run for minutes on what is larger, and spam is small.
    pub const LARGEST: usize = 1024 * 1024;
    /// Bytes of its answer, the end of the line included.
    pub const ANSWER: usize = 12;
    /// Address space beside what its letter takes: an interpreter with all rules compiled (bytes).
    pub const ROOM: u64 = 512 * 1024 * 1024;
    /// Address space for each byte of its letter: decoded, rendered, split into lines.
    pub const TIMES: u64 = 32;
    /// Its stack (bytes): regular expressions recurse.
    pub const STACK: u64 = 8 * 1024 * 1024;
    /// Most that it can say (points), so that sums stay numbers.
    pub const POINTS: f32 = 1_000.0;
}

/// One entry of the tree that a scanner sees.
#[derive(Debug, Clone, Copy)]
pub struct Listed {
    /// The path, the same outside and inside; what it leads to outside is what stands there inside.
    pub path: &'static CStr,
    /// What may be done with it.
    pub used: Used,
    /// Whether there is no scanner without it.
    pub needed: bool,
}

/// What a listed path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// It is executed.
    Executed,
    /// It holds code that a running program maps.
    Mapped,
    /// It is read.
    Read,
}

#[cfg(target_arch = "x86_64")]
macro_rules! here {
    (libraries) => {
        "x86_64-linux-gnu"
    };
    (linker) => {
        "/lib64/ld-linux-x86-64.so.2"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! here {
    (libraries) => {
        "aarch64-linux-gnu"
    };
    (linker) => {
        "/lib/ld-linux-aarch64.so.1"
    };
}
#[cfg(target_arch = "arm")]
macro_rules! here {
    (libraries) => {
        "arm-linux-gnueabihf"
    };
    (linker) => {
        "/lib/ld-linux-armhf.so.3"
    };
}

/// A path as the kernel wants it.
macro_rules! path {
    ($($part:expr),+) => {
        match CStr::from_bytes_with_nul(concat!($($part),+, "\0").as_bytes()) {
            Ok(path) => path,
            Err(_) => panic!("a path has no NUL in it"),
        }
    };
}

const fn needed(path: &'static CStr, used: Used) -> Listed {
    Listed { path, used, needed: true }
}

const fn optional(path: &'static CStr, used: Used) -> Listed {
    Listed { path, used, needed: false }
}

/// The interpreter.
const PERL: &CStr = c"/usr/bin/perl";

/// All that a scanner sees: Debian's SpamAssassin, Perl and what they link to. Nothing of it is the box's.
pub const TREE: &[Listed] = &[
    needed(PERL, Used::Executed),
    needed(path!(here!(linker)), Used::Executed),
    needed(path!("/lib/", here!(libraries), "/libc.so.6"), Used::Mapped),
    needed(path!("/lib/", here!(libraries), "/libm.so.6"), Used::Mapped),
    needed(path!("/lib/", here!(libraries), "/libcrypt.so.1"), Used::Mapped),
    optional(path!("/lib/", here!(libraries), "/libpthread.so.0"), Used::Mapped),
    optional(path!("/lib/", here!(libraries), "/libdl.so.2"), Used::Mapped),
    optional(path!("/lib/", here!(libraries), "/libgcc_s.so.1"), Used::Mapped),
    optional(path!("/usr/lib/", here!(libraries), "/libssl.so.3"), Used::Mapped),
    optional(path!("/usr/lib/", here!(libraries), "/libcrypto.so.3"), Used::Mapped),
    optional(path!("/usr/lib/", here!(libraries), "/libdb-5.3.so"), Used::Mapped),
    needed(path!("/usr/lib/", here!(libraries), "/perl-base"), Used::Mapped),
    needed(path!("/usr/lib/", here!(libraries), "/perl"), Used::Mapped),
    needed(path!("/usr/lib/", here!(libraries), "/perl5"), Used::Mapped),
    needed(c"/usr/share/perl", Used::Read),
    needed(c"/usr/share/perl5", Used::Read),
    needed(c"/usr/share/spamassassin", Used::Read),
    needed(c"/etc/spamassassin", Used::Read),
    // Newer rules, fetched by sa-update.
    optional(c"/var/lib/spamassassin", Used::Read),
];

impl Listed {
    /// The path outside.
    pub(crate) fn outside(&self) -> &'static Path {
        use std::os::unix::ffi::OsStrExt;
        Path::new(std::ffi::OsStr::from_bytes(self.path.to_bytes()))
    }
}

/// What a scanner cannot do without and this machine does not have.
#[must_use]
pub fn missing() -> Option<&'static Path> {
    TREE.iter().filter(|listed| listed.needed).map(Listed::outside).find(|path| !path.exists())
}

/// What the family's admin does about it.
pub const REMEDY: &str = "install Debian's package `spamassassin` (apt-get install --no-install-recommends spamassassin), \
                          or take the section [scanner] out of the configuration";

/// The program that scans, made ready before any message comes.
#[derive(Debug)]
pub(crate) struct Command {
    /// Owns what `pointers` point into.
    _words: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Command {
    /// SpamAssassin, driven by a few lines of Perl: its own rules, none that ask the network, nothing learnt or kept.
    pub(crate) fn spamassassin() -> io::Result<Self> {
        Self::perl(include_str!("scanner/spamassassin.pl"))
    }

    /// The interpreter with that program, in taint mode. Exec has forgotten locks and made it dumpable: before anything
    /// else, and so before mail is read, both are put right.
    pub(crate) fn perl(program: &str) -> io::Result<Self> {
        let first = include_str!("scanner/first.pl")
            .replace("PRCTL", &libc::SYS_prctl.to_string())
            .replace("MLOCKALL", &libc::SYS_mlockall.to_string());
        let words = ["perl", "-T", "-e", &format!("{first}{program}")]
            .map(CString::new)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let pointers = words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Self { _words: words, pointers })
    }

    /// Becomes the scanner; returns only when it cannot.
    fn exec(&self) -> io::Error {
        let environment = [c"LC_ALL=C".as_ptr(), std::ptr::null()];
        // SAFETY: lists of NUL-terminated words that end with null and live on.
        unsafe { libc::execve(PERL.as_ptr(), self.pointers.as_ptr(), environment.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// In the cloned child: locks it, then becomes the scanner.
pub(crate) fn live(birth: &Birth<'_>, command: &Command) -> ! {
    match lock(birth) {
        Ok(_) => drop(command.exec()),
        Err(error) => eprintln!("scanner: {error}"),
    }
    sys::exit(ended::UNCONFINED)
}

/// Every wall, the last one last. The tree is its zygote's, in a mount namespace of its own.
pub(crate) fn lock(birth: &Birth<'_>) -> Result<Status, ConfineError> {
    offspring::write_maps(birth.zygote.proc()).at("its id maps")?;
    descriptors(birth).at("its descriptors")?;
    sys::reset_signals(&[]);
    let no_new_code = confine::harden().at("process attributes")?;
    limit(birth).at("resource limits")?;
    confine::capabilities::give_up().at("capabilities")?;
    let landlock = confine::landlock::restrict(Role::Scanner.walls()).at("Landlock")?;
    // Where a program expects to be able to complain; writing there fails, because the message is read-only.
    sys::place(0, 2, false).at("its descriptors")?;
    if let Some(program) = &birth.prepared.program {
        crate::seccomp::install(program).at("seccomp")?;
    }
    Ok(Status { landlock: Some(landlock), locked: None, no_new_code })
}

/// The message at 0, the socket at 1, the log at 2 until the walls stand; nothing else. They stay open on exec.
fn descriptors(birth: &Birth<'_>) -> io::Result<()> {
    let message = sys::lift(birth.message.as_raw_fd(), 3)?;
    sys::place(birth.socket.as_raw_fd(), 1, false)?;
    sys::place(message, 0, false)?;
    sys::close_from(3)
}

fn limit(birth: &Birth<'_>) -> io::Result<()> {
    let walls = Role::Scanner.walls();
    let space = limits::ROOM + limits::TIMES * birth.spawn.largest.min(limits::LARGEST as u64);
    let seconds = birth.spawn.seconds.clamp(1, workers::SECONDS);
    walls.limit_one_message(space, seconds, limits::STACK)
}

/// Reads a scanner's answer, hostile as any: a number with at most four digits before the point and one after it, and
/// the end of the line. It comes back within [`limits::POINTS`].
#[must_use]
pub fn answer(line: &[u8]) -> Option<f32> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (whole, tenths) = text.strip_prefix('-').unwrap_or(text).split_once('.')?;
    let digits = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole, 4) || !digits(tenths, 1) {
        return None;
    }
    text.parse::<f32>().ok().map(|points| points.clamp(-limits::POINTS, limits::POINTS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_is_one_short_number() {
        assert_eq!(answer(b"1000.0\n"), Some(1000.0));
        assert_eq!(answer(b"-0.4\n"), Some(-0.4));
        assert_eq!(answer(b"9999.9\n"), Some(limits::POINTS));
        for bad in [
            "",
            "\n",
            "5.0",
            "5\n",
            "5.00\n",
            ".5\n",
            "5.\n",
            "--5.0\n",
            "+5.0\n",
            "nan\n",
            "inf\n",
            "1e9\n",
            "5.0\r\n",
            " 5.0\n",
            "5.0 \n",
            "5.0\n\n",
            "12345.0\n",
            "5,0\n",
            "٥.٠\n",
            "0x5.0\n",
            "5.-1\n",
        ] {
            assert_eq!(answer(bad.as_bytes()), None, "{bad:?}");
        }
        assert!(b"-9999.9\n".len() <= limits::ANSWER);
    }

    proptest! {
        #[test]
        fn any_answer_is_a_number_within_bounds(line: Vec<u8>, points in -1e6f32..1e6) {
            for line in [line, format!("{points:.1}\n").into_bytes()] {
                if let Some(points) = answer(&line) {
                    prop_assert!(points.is_finite() && points.abs() <= limits::POINTS);
                    prop_assert!(line.len() <= limits::ANSWER);
                }
            }
        }
    }

    #[test]
    fn the_tree_holds_nothing_of_the_box_and_no_home() {
        for listed in TREE {
            let path = listed.outside().to_str().unwrap();
            let known = ["/usr/bin/perl", "/usr/lib/", "/lib", "/usr/share/perl", "/usr/share/spamassassin"];
            let kept = ["/etc/spamassassin", "/var/lib/spamassassin"];
            assert!(known.iter().chain(&kept).any(|start| path.starts_with(start)), "{path}");
            assert!(!path.contains("..") && path.split('/').count() > 2, "{path}");
        }
    }
}
