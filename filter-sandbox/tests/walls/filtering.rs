//! Letters through real workers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use filter_sandbox::edge::{Answer, Edge, Numbered};
use filter_sandbox::filter::{Filter, FilterLimits, SheetBudget, Unfiltered};
use filter_sandbox::protocol::{Event, Reply, Request};
use filter_sandbox::report::{Facts, Query};

use crate::box_::{self, LIMITS};
use crate::runner::Case;

pub fn cases() -> Vec<Case> {
    vec![
        Case { name: "a letter is described by a ready worker", run: ready_worker },
        Case { name: "many letters at once", run: many },
        Case { name: "large letters, on demand", run: large },
        Case { name: "what is too long or too much is the sender's fault", run: too_much },
        Case { name: "a letter that comes in pieces, on a sheet", run: sheet },
        Case { name: "a search through many letters", run: search },
        Case { name: "a killed zygote costs nobody more than a wait (row 65)", run: zygote_killed },
        Case { name: "workers killed while they wait cost no letter", run: waiting_killed },
        Case { name: "without a zygote letters fail in time", run: no_zygote },
        Case { name: "a worker that the kernel refuses, its letter already written, is told as that", run: refused },
        Case { name: "a zygote that dies over a request costs no letter", run: died_over_it },
        Case { name: "the filter serves threads of a larger runtime", run: threads },
        Case { name: "no core file, no core handler (row 64)", run: cores },
    ]
}

const LETTER: &[u8] = b"From: a@b.example\r\nTo: c@d.example\r\nSubject: words\r\n\r\nHello.\r\n";

fn letter(size: usize) -> Vec<u8> {
    let mut letter = LETTER.to_vec();
    while letter.len() + 78 <= size {
        letter.extend_from_slice(&[b'x'; 76]);
        letter.extend_from_slice(b"\r\n");
    }
    letter.resize(size.max(letter.len()), b'y');
    letter
}

async fn good(filter: &Filter, letter: &[u8]) {
    let report = filter.examine(&[letter], &Facts::default()).await.unwrap();
    assert_eq!(report.summary.subject_text, "words");
    assert_eq!(report.summary.size as usize, letter.len());
}

fn ready_worker() {
    box_::with_filter(LIMITS, |filter| async move {
        for _ in 0..5 {
            let report = filter.examine(&[&LETTER[..10], &[], &LETTER[10..]], &Facts::default()).await.unwrap();
            assert_eq!(report.summary.subject_text, "words");
            assert_eq!(report.summary.size as usize, LETTER.len());
        }
    });
}

fn many() {
    let limits = FilterLimits { deadline: Duration::from_secs(30), ..LIMITS };
    box_::with_filter(limits, |filter| async move {
        let letters = (0..60).map(|index| {
            let filter = Arc::clone(&filter);
            tokio::spawn(async move { good(&filter, &letter(index * 997)).await })
        });
        for one in letters.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        // However many wait, none is turned away; and one of another address waits for no more than those at work.
        let letters: Vec<_> = (0..limits.concurrent * 60)
            .map(|_| {
                let filter = Arc::clone(&filter);
                tokio::spawn(async move { filter.examine_for(from(1), &[LETTER], &Facts::default()).await })
            })
            .collect();
        tokio::task::yield_now().await;
        filter.examine_for(from(2), &[LETTER], &Facts::default()).await.unwrap();
        let waiting = letters.iter().filter(|letter| !letter.is_finished()).count();
        assert!(waiting > limits.concurrent * 30, "{waiting} of the first still wait");
        for one in letters {
            one.await.unwrap().unwrap();
        }
    });
}

fn from(last: u8) -> Option<std::net::IpAddr> {
    Some(std::net::IpAddr::from([192, 0, 2, last]))
}

fn large() {
    let limits = FilterLimits { deadline: Duration::from_secs(60), ..LIMITS };
    box_::with_filter(limits, |filter| async move {
        for size in [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20, 50 << 20] {
            good(&filter, &letter(size)).await;
        }
    });
}

fn too_much() {
    box_::with_filter(FilterLimits { largest: 100_000, ..LIMITS }, |filter| async move {
        let outcome = filter.examine(&[&letter(100_001)], &Facts::default()).await.unwrap_err();
        assert!(matches!(outcome, Unfiltered::TooLong) && outcome.is_permanent());
        let fields = "X: y\r\n".repeat(11_000);
        let outcome = filter.examine(&[fields.as_bytes()], &Facts::default()).await.unwrap_err();
        assert!(matches!(outcome, Unfiltered::NotUnderstood) && outcome.is_permanent(), "{outcome}");
        good(&filter, LETTER).await;
    });
}

fn sheet() {
    box_::with_filter(LIMITS, |filter| async move {
        let budget = SheetBudget::new(4 << 20);
        for size in [LETTER.len(), 300_000, 3_000_000] {
            let letter = letter(size);
            let mut sheet = filter.sheet(letter.len(), &budget).await.unwrap();
            for piece in letter.chunks(70_001) {
                sheet.push(piece).await.unwrap();
            }
            assert!(matches!(sheet.push(b"x").await, Err(Unfiltered::TooLong)));
            let (report, sealed) = sheet.examine(&Facts::default()).await.unwrap();
            assert_eq!(report.summary.size as usize, letter.len());
            assert_eq!(sealed.bytes(), letter, "it can still be read");
        }
        let mut short = filter.sheet(1000, &budget).await.unwrap();
        short.push(LETTER).await.unwrap();
        drop(short);
        assert!(matches!(filter.sheet(LIMITS.largest + 1, &budget).await, Err(Unfiltered::TooLong)));
        let empty = filter.sheet(0, &budget).await.unwrap();
        let (report, _) = empty.examine(&Facts::default()).await.unwrap();
        assert_eq!(report.summary.size, 0);
    });
}

fn search() {
    box_::with_filter(LIMITS, |filter| async move {
        let query = Query::And(vec![Query::Known(3), Query::Text("hello".to_owned())]);
        let mut searcher = filter.searcher(&query).await.unwrap();
        for _ in 0..50 {
            assert!(searcher.matches(8, &[&LETTER[..7], &LETTER[7..]]).await.unwrap());
            assert!(!searcher.matches(7, &[LETTER]).await.unwrap());
            assert!(!searcher.matches(8, &[b"Subject: other\r\n\r\nbye\r\n"]).await.unwrap());
        }
        assert!(searcher.matches(8, &[&letter(4_000_000)]).await.unwrap());
        assert!(searcher.matches(8, &[LETTER]).await.unwrap());
    });
}

fn zygote_killed() {
    let (first, edge, _) = box_::zygote(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let filter = Filter::new(edge, LIMITS).unwrap();
        good(&filter, LETTER).await;
        // SAFETY: the process is ours.
        assert_eq!(unsafe { libc::kill(first.pid, libc::SIGKILL) }, 0);
        tokio::task::spawn_blocking(move || box_::wait(first.pid)).await.unwrap();
        let waits = {
            let filter = Arc::clone(&filter);
            tokio::spawn(async move { good(&filter, LETTER).await })
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waits.is_finished());
        let (second, edge, _) = box_::zygote(false);
        filter.replace(edge).unwrap();
        waits.await.unwrap();
        good(&filter, LETTER).await;
        drop(filter);
        tokio::task::spawn_blocking(move || box_::end(second)).await.unwrap();
    });
}

fn waiting_killed() {
    let (zygote, edge, _) = box_::zygote(false);
    let children = || {
        let list = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", zygote.pid)).unwrap();
        list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<libc::pid_t>>()
    };
    let until = async |count: usize| {
        let patience = Instant::now() + Duration::from_secs(60);
        while children().len() != count {
            assert!(Instant::now() < patience, "{} workers, not {count}", children().len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let filter = Filter::new(edge, LIMITS).unwrap();
        until(LIMITS.ready).await;
        for worker in children() {
            // SAFETY: the process is one of ours.
            assert_eq!(unsafe { libc::kill(worker, libc::SIGKILL) }, 0);
        }
        until(0).await;
        for _ in 0..=LIMITS.ready {
            good(&filter, LETTER).await;
        }
        // And others wait again.
        until(LIMITS.ready).await;
    });
    box_::end(zygote);
}

fn no_zygote() {
    let (running, edge, _) = box_::zygote(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let limits = FilterLimits { deadline: Duration::from_secs(3), ..LIMITS };
        let filter = Filter::new(edge, limits).unwrap();
        good(&filter, LETTER).await;
        tokio::task::spawn_blocking(move || box_::end(running)).await.unwrap();
        let start = Instant::now();
        let outcome = filter.examine(&[LETTER], &Facts::default()).await.unwrap_err();
        assert!(matches!(outcome, Unfiltered::Late | Unfiltered::Died) && !outcome.is_permanent(), "{outcome}");
        assert!(start.elapsed() < limits.deadline * 5);
    });
}

/// Answers for a zygote.
fn refused() {
    let (ours, theirs) = Edge::pair().unwrap();
    let zygote = std::thread::spawn(move || {
        while let Ok((Numbered { number, body: Request::Spawn(_) }, _)) = theirs.recv() {
            theirs.send(&Answer::<Reply, Event>::Reply(number, Reply::Refused(libc::ENOSPC)), &[]).unwrap();
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let filter = Filter::new(ours, FilterLimits { ready: 0, ..LIMITS }).unwrap();
        let outcome = filter.examine(&[LETTER], &Facts::default()).await.unwrap_err();
        let Unfiltered::NoWorker(error) = outcome else { panic!("{outcome}") };
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    });
    drop(runtime);
    zygote.join().unwrap();
}

fn died_over_it() {
    let (ours, theirs) = Edge::pair().unwrap();
    let first = std::thread::spawn(move || theirs.recv::<Numbered<Request>>().map(drop).unwrap());
    let (second, edge, _) = box_::zygote(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let filter = Filter::new(ours, FilterLimits { ready: 0, ..LIMITS }).unwrap();
        let waits = {
            let filter = Arc::clone(&filter);
            tokio::spawn(async move { good(&filter, LETTER).await })
        };
        tokio::task::spawn_blocking(move || first.join().unwrap()).await.unwrap();
        filter.replace(edge).unwrap();
        waits.await.unwrap();
    });
    drop(runtime);
    box_::end(second);
}

fn threads() {
    let (running, edge, _) = box_::zygote(false);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let limits = FilterLimits { deadline: Duration::from_secs(30), ..LIMITS };
        let filter = Filter::new(edge, limits).unwrap();
        let letters: Vec<_> = (0..40)
            .map(|_| {
                let filter = Arc::clone(&filter);
                tokio::spawn(async move { good(&filter, LETTER).await })
            })
            .collect();
        for one in letters {
            one.await.unwrap();
        }
    });
    drop(runtime);
    box_::end(running);
}

fn cores() {
    with_core_handlers(crash_many);
}

/// As root the machine's handler of core files is set, to a file and to a program, while something crashes.
pub fn with_core_handlers(crash: fn()) {
    const SETTING: &str = "/proc/sys/kernel/core_pattern";
    if !rustix::process::geteuid().is_root() {
        return crash();
    }
    let folder = box_::Directory::new("cores");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let before = std::fs::read_to_string(SETTING).unwrap();
    let place = folder.path().display();
    for pattern in [format!("{place}/core.%p"), format!("|/usr/bin/tee {place}/piped")] {
        std::fs::write(SETTING, &pattern).unwrap();
        let outcome = std::panic::catch_unwind(crash);
        std::thread::sleep(Duration::from_millis(200));
        std::fs::write(SETTING, before.trim()).unwrap();
        outcome.unwrap();
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{pattern}: {left:?}");
    }
}

fn crash_many() {
    box_::with_filter_on(&["hostile"], LIMITS, |filter| async move {
        for word in ["abort", "overflow", "fork"] {
            let letter = format!("{word} : x\r\n\r\nwords\r\n");
            assert!(filter.examine(&[letter.as_bytes()], &Facts::default()).await.is_err());
        }
    });
}
