//! Workers that have been taken over, told by their letter what to do: rows 55 to 57.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use filter_sandbox::confine::Status;
use filter_sandbox::edge::{Answer, Edge, Numbered};
use filter_sandbox::filter::{Filter, FilterLimits, Unfiltered};
use filter_sandbox::letter;
use filter_sandbox::memory::{self, Locked};
use filter_sandbox::report::{Facts, Report};
use filter_sandbox::{protocol, zygote};

use crate::box_;
use crate::runner::Case;

pub fn cases() -> Vec<Case> {
    vec![
        Case { name: "a worker that spins or stays silent is killed in time", run: late },
        Case { name: "garbage, floods, halves and lies cost one letter", run: bad_reports },
        Case { name: "a worker that crashes costs one letter", run: crashes },
        Case { name: "a worker that answers and goes on is killed", run: goes_on },
        Case { name: "a zygote is renewed after abnormal deaths", run: renewed },
        Case { name: "a letter under way when its zygote dies needs no second place", run: under_way },
        Case { name: "one client's workers and places are bounded", run: bounded_each },
    ]
}

/// In the worker: does what the letter's first word says.
pub fn duty(message: &Locked, _: Status) -> io::Result<()> {
    // The job has come once a byte of it is there: only then is the letter written.
    let mut head = [0; 4];
    read(&mut head);
    let mut job = vec![0; u32::from_le_bytes(head) as usize];
    read(&mut job);
    let end = message.iter().position(|byte| *byte == 0).unwrap_or(message.len());
    let letter = &message[..end];
    let report = || postcard::to_stdvec(&letter::examine(letter, &Facts::default()).unwrap()).unwrap();
    match letter.split(|byte| *byte == b' ').next().unwrap_or_default() {
        b"spin" => loop {
            std::hint::spin_loop();
        },
        b"silent" => read(&mut head),
        b"flood" => loop {
            write(&[0xff; 4096]);
        },
        b"flood-after-length" => {
            write(&1000u32.to_le_bytes());
            loop {
                write(&[0xff; 4096]);
            }
        }
        b"half" => {
            write(&100u32.to_le_bytes());
            write(&[0; 50]);
            read(&mut head);
        }
        b"half-and-die" => {
            write(&100u32.to_le_bytes());
            write(&[0; 50]);
        }
        b"huge" => write(&u32::MAX.to_le_bytes()),
        b"garbage" => frame(&[0xaa; 300]),
        b"deep" => frame(&deep()),
        b"longer" => frame(&[report(), vec![0]].concat()),
        b"lie" => {
            let mut report: Report = postcard::from_bytes(&report()).unwrap();
            report.summary.root.body.end += 1_000_000;
            frame(&postcard::to_stdvec(&report).unwrap());
        }
        b"panic" => panic!("as told"),
        b"abort" => std::process::abort(),
        b"fork" => {
            // SAFETY: numbers only; it is killed.
            unsafe { libc::syscall(libc::SYS_fork) };
        }
        b"memory" => {
            let mut taken = Vec::new();
            loop {
                taken.push(vec![1u8; 1 << 20]);
            }
        }
        b"overflow" => overflow(0),
        b"goes-on" => {
            frame(&report());
            loop {
                std::hint::spin_loop();
            }
        }
        b"floods-on" => {
            frame(&report());
            loop {
                write(&[0xff; 4096]);
            }
        }
        _ => frame(&report()),
    }
    Ok(())
}

fn deep() -> Vec<u8> {
    vec![1; 500_000]
}

fn overflow(depth: u64) {
    let room = std::hint::black_box([depth; 512]);
    if depth < u64::MAX {
        overflow(depth + 1);
    }
    std::hint::black_box(room);
}

fn frame(bytes: &[u8]) {
    write(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
    write(bytes);
}

fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the buffer is valid for its length.
        let written = unsafe { libc::write(1, bytes.as_ptr().cast(), bytes.len()) };
        if written <= 0 {
            std::process::exit(0);
        }
        bytes = &bytes[written as usize..];
    }
}

fn read(mut bytes: &mut [u8]) {
    while !bytes.is_empty() {
        // SAFETY: the buffer is valid for its length.
        let read = unsafe { libc::read(1, bytes.as_mut_ptr().cast(), bytes.len()) };
        if read <= 0 {
            std::process::exit(0);
        }
        bytes = &mut bytes[read as usize..];
    }
}

/// A deadline that honest letters meet on a busy machine, too.
const QUICK: FilterLimits =
    FilterLimits { ready: 1, concurrent: 2, deadline: Duration::from_secs(3), largest: 1 << 20 };

async fn tell(filter: &Filter, word: &str) -> Result<Report, Unfiltered> {
    let letter = format!("{word} : x\r\nSubject: y\r\n\r\nwords\r\n");
    filter.examine(&[letter.as_bytes()], &Facts::default()).await
}

async fn still_well(filter: &Filter) {
    tell(filter, "honest").await.unwrap();
}

fn late() {
    box_::with_filter_on(&["hostile"], QUICK, |filter| async move {
        for word in ["spin", "silent", "half"] {
            let start = Instant::now();
            let outcome = tell(&filter, word).await;
            assert!(matches!(outcome, Err(Unfiltered::Late)), "{word}: {outcome:?}");
            assert!(start.elapsed() < QUICK.deadline * 5, "{word} took {:?}", start.elapsed());
            still_well(&filter).await;
        }
    });
}

fn bad_reports() {
    let patient = FilterLimits { deadline: Duration::from_secs(20), ..QUICK };
    box_::with_filter_on(&["hostile"], patient, |filter| async move {
        for word in ["flood", "flood-after-length", "huge", "garbage", "deep", "longer"] {
            let outcome = tell(&filter, word).await;
            assert!(matches!(outcome, Err(Unfiltered::Garbage)), "{word}: {outcome:?}");
            still_well(&filter).await;
        }
        let outcome = tell(&filter, "lie").await;
        assert!(matches!(outcome, Err(Unfiltered::Lied(_))), "{outcome:?}");
        let outcome = tell(&filter, "half-and-die").await;
        assert!(matches!(outcome, Err(Unfiltered::Died)), "{outcome:?}");
        still_well(&filter).await;
    });
}

fn crashes() {
    let patient = FilterLimits { deadline: Duration::from_secs(20), ..QUICK };
    box_::with_filter_on(&["hostile"], patient, |filter| async move {
        for word in ["panic", "abort", "fork", "memory", "overflow"] {
            let outcome = tell(&filter, word).await;
            assert!(matches!(outcome, Err(Unfiltered::Died)), "{word}: {outcome:?}");
            still_well(&filter).await;
        }
    });
}

/// Row 57: with one place, the next letter can only come through if the one that goes on was killed.
fn goes_on() {
    let one = FilterLimits { concurrent: 1, deadline: Duration::from_secs(5), ..QUICK };
    box_::with_filter_on(&["hostile"], one, |filter| async move {
        for word in ["goes-on", "floods-on", "goes-on", "honest"] {
            tell(&filter, word).await.unwrap();
        }
    });
}

/// A zygote whose workers die abnormally says that it is due, and serves until a fresh one has taken its place.
fn renewed() {
    let limits = FilterLimits { deadline: Duration::from_secs(10), ..QUICK };
    let (first, edge, _) = box_::zygote_with(&["hostile"], false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let filter = Filter::new(edge, limits).unwrap();
        for _ in 0..filter_sandbox::zygote::limits::ABNORMAL {
            assert!(matches!(tell(&filter, "abort").await, Err(Unfiltered::Died)));
        }
        let filter_sandbox::Running { pid, control, .. } = first;
        let (said, control) =
            tokio::task::spawn_blocking(move || (control.recv::<zygote::Ready>().unwrap().0, control)).await.unwrap();
        assert_eq!(said, zygote::Ready::Due);
        still_well(&filter).await;
        let (second, edge, _) = box_::zygote_with(&["hostile"], false);
        filter.replace(edge).unwrap();
        // Nobody is its client any more: it ends by itself and well.
        let status = tokio::task::spawn_blocking(move || box_::wait(pid)).await.unwrap();
        assert_eq!(status.and_then(rustix::process::WaitStatus::exit_status), Some(0));
        drop(control);
        still_well(&filter).await;
        drop(filter);
        tokio::task::spawn_blocking(move || box_::end(second)).await.unwrap();
    });
}

/// When a zygote dies every letter at work is tried again: were their places kept meanwhile, none would get one.
fn under_way() {
    let limits = FilterLimits { concurrent: 1, deadline: Duration::from_secs(20), ..QUICK };
    let (first, edge, _) = box_::zygote_with(&["hostile"], false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let filter = Filter::new(edge, limits).unwrap();
        still_well(&filter).await;
        let spins = {
            let filter = Arc::clone(&filter);
            tokio::spawn(async move { tell(&filter, "spin").await })
        };
        tokio::time::sleep(Duration::from_millis(300)).await;
        // SAFETY: the process is ours.
        assert_eq!(unsafe { libc::kill(first.pid, libc::SIGKILL) }, 0);
        tokio::task::spawn_blocking(move || box_::wait(first.pid)).await.unwrap();
        let (second, edge, _) = box_::zygote_with(&[], false);
        filter.replace(edge).unwrap();
        spins.await.unwrap().unwrap();
        drop(filter);
        tokio::task::spawn_blocking(move || box_::end(second)).await.unwrap();
    });
}

/// Asks for something over a client's edge; the reply and what rides along.
fn ask(edge: &Edge, body: protocol::Request, with: &[BorrowedFd<'_>]) -> (protocol::Reply, Vec<OwnedFd>) {
    edge.send(&Numbered { number: 1, body }, with).unwrap();
    match edge.recv::<Answer<protocol::Reply, protocol::Event>>().unwrap() {
        (Answer::Reply(_, reply), with) => (reply, with),
        (Answer::Event(news), _) => match news {},
    }
}

/// A client that has been taken over keeps neither workers nor places from the others.
fn bounded_each() {
    let (running, edge, _) = box_::zygote_with(&[], false);
    let spawn = || protocol::Request::Spawn(protocol::Spawn { largest: 100, seconds: 5, warm: false });
    let (greedy, theirs) = Edge::pair().unwrap();
    assert!(matches!(ask(&edge, protocol::Request::Attach, &[theirs.as_fd()]).0, protocol::Reply::Attached));
    let refused = |reply: &protocol::Reply| matches!(reply, protocol::Reply::Refused(_));
    let file = memory::file_of(&[b"a letter"]).unwrap();
    let one_more = |edge: &Edge| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (ask(edge, spawn(), &[file.as_fd(), theirs.as_fd()]).0, ours)
    };
    let mut held = Vec::new();
    for _ in 0..zygote::limits::LIVING_EACH {
        let (reply, socket) = one_more(&greedy);
        assert!(matches!(reply, protocol::Reply::Worker), "{reply:?}");
        held.push(socket);
    }
    assert!(refused(&one_more(&greedy).0));
    assert!(matches!(one_more(&edge).0, protocol::Reply::Worker), "another has its own");
    // A message that is no memory file, a socket that is none, or neither: nothing is made.
    let null = File::open("/dev/null").unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    let (file, null, socket) = (file.as_fd(), null.as_fd(), socket.as_fd());
    for with in [&[][..], &[file], &[null, socket], &[file, null]] {
        assert!(refused(&ask(&edge, spawn(), with).0));
    }
    // Only the first client brings others: one of them could take all the places.
    let (_more, theirs) = Edge::pair().unwrap();
    assert!(refused(&ask(&greedy, protocol::Request::Attach, &[theirs.as_fd()]).0));
    drop(held);
    let until = Instant::now() + Duration::from_secs(60);
    while refused(&one_more(&greedy).0) {
        assert!(Instant::now() < until, "its dead no longer count");
        std::thread::sleep(Duration::from_millis(10));
    }
    box_::end(running);
}
