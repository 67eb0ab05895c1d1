//! Tests that have a small Internet each, several at once: they mostly wait, and none sees another's hosts, names, or what
//! the real servers left in their folders.

use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crate::hosts::HERE;
use crate::{Scratch, peers};

/// How many at once. Two cores have time for so many that wait.
const AT_ONCE: usize = 4;
/// Says in there which test it is.
const INSIDE: &str = "POSTERN_TEST_APART";

/// A test, by its name.
pub type Test = (&'static str, fn());

/// A list of [`Test`]s from their paths.
#[macro_export]
macro_rules! tests {
    ($($test:path),* $(,)?) => { &[$((stringify!($test), $test as fn())),*] };
}

/// The `main` of a file of such tests, which begin in this order. Understands what Cargo's own harness is asked most:
/// words of names, `--exact`, `--list`, `--nocapture`.
#[must_use]
pub fn run(tests: &[Test]) -> ExitCode {
    if let Ok(name) = std::env::var(INSIDE) {
        let (_, test) = tests.iter().find(|(known, _)| *known == name).expect("a test of this file");
        test();
        return ExitCode::SUCCESS;
    }
    let (options, words): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let asked = |option: &str| options.iter().any(|one| one == option);
    let fits = |name: &str| {
        let is = |word: &String| if asked("--exact") { name == word } else { name.contains(word.as_str()) };
        words.is_empty() || words.iter().any(is)
    };
    let chosen: Vec<_> = tests.iter().filter(|(name, _)| fits(name)).collect();
    if asked("--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, _)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let good = tell(name, asked("--nocapture"));
                    failed.fetch_or(!good, Ordering::Relaxed);
                }
            });
        }
    });
    ExitCode::from(u8::from(failed.into_inner()))
}

/// Runs one and says how it went, with all that it said when it failed; whether it was good.
fn tell(name: &str, everything: bool) -> bool {
    let began = Instant::now();
    let output = apart(name);
    let good = output.status.success();
    let mut text = format!("test {name} ... {} ({:.0?})\n", if good { "ok" } else { "FAILED" }, began.elapsed());
    if everything || !good {
        text += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
    }
    // In one piece: others speak, too.
    print!("{text}");
    good
}

/// In a network of its own, where the real servers' folders look untouched and whatever is written there is forgotten. No
/// process outlives the test.
fn apart(name: &str) -> Output {
    // A bridge without an address of its own takes its lowest member's, and another one when that comes or goes: hosts that
    // knew it would be deaf to it for seconds.
    let script = format!(
        "mount --make-rprivate / && mount -t proc proc /proc && mkdir -p /run/netns && mount -t tmpfs netns /run/netns && \
         mkdir /run/netns/.written /run/netns/.work && \
         mount -t overlay peers -o \"lowerdir=$1,upperdir=/run/netns/.written,workdir=/run/netns/.work\" \"$1\" && \
         ip link set lo up && ip link add street address 02:00:00:00:00:53 type bridge && ip link set street up && \
         ip address add {HERE}/24 dev street && exec \"$0\""
    );
    // In there every test has the same process id, by which its folders are named.
    let folder = Scratch::new("apart");
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(peers::folder())
        .env(INSIDE, name)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    if !output.status.success() {
        // What it kept for a look stays.
        std::mem::forget(folder);
    }
    output
}
