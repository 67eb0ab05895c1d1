//! From handing a letter over to having its report: a reused worker without any sandbox, a waiting single-use worker,
//! and one made on demand, interleaved in one run; beside them what this kernel takes for a process in seven new
//! namespaces that does nothing at all, and for one that makes a worker's calls and nothing else: with the time of the
//! examination itself, no worker can undercut that. By hand: `cargo bench -p filter-sandbox`. Compare ratios only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use filter_sandbox::edge::Edge;
use filter_sandbox::filter::{Filter, FilterLimits};
use filter_sandbox::report::{Facts, Report};
use filter_sandbox::{Launch, Role, Running, letter, zygote};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[global_allocator]
static ARENA: filter_sandbox::arena::Arena = filter_sandbox::arena::Arena;

const ROUNDS: usize = 1000;
const SIZE: usize = 20 * 1024;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["postern", "role", name] => zygote::run(name.parse::<Role>().unwrap()),
        [_, "reused"] => reused(),
        _ => {
            compare();
            ExitCode::SUCCESS
        }
    }
}

fn sample() -> Vec<u8> {
    let head = "From: A <a@b.example>\r\nTo: c@d.example\r\nSubject: a letter\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\
        MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\n";
    let line = "Some words of a letter, as letters go, with https://www.example.com/ in them.\r\n";
    let text = line.repeat(SIZE / 2 / line.len());
    let middle = "--x\r\nContent-Type: text/html\r\n\r\n<html><body>";
    let html = format!("<p>{}</p>\r\n", line.trim()).repeat(SIZE / 2 / (line.len() + 7));
    format!("{head}{text}{middle}{html}</body></html>\r\n--x--\r\n").into_bytes()
}

/// A worker as one would write it without a sandbox: one process for all letters, over a socket.
fn reused() -> ExitCode {
    let mut socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let mut letter = Vec::new();
    let mut length = [0; 4];
    while socket.read_exact(&mut length).is_ok() {
        letter.resize(u32::from_le_bytes(length) as usize, 0);
        socket.read_exact(&mut letter).unwrap();
        let report = postcard::to_stdvec(&letter::examine(&letter, &Facts::default()).unwrap()).unwrap();
        socket.write_all(&[&(report.len() as u32).to_le_bytes(), report.as_slice()].concat()).unwrap();
    }
    ExitCode::SUCCESS
}

struct Reused(tokio::net::UnixStream, std::process::Child);

impl Drop for Reused {
    fn drop(&mut self) {
        let _ = self.1.kill();
        let _ = self.1.wait();
    }
}

impl Reused {
    fn start() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let theirs = std::process::Stdio::from(std::os::fd::OwnedFd::from(theirs));
        let child = std::process::Command::new("/proc/self/exe").arg("reused").stdin(theirs).spawn().unwrap();
        ours.set_nonblocking(true).unwrap();
        Self(tokio::net::UnixStream::from_std(ours).unwrap(), child)
    }

    async fn examine(&mut self, letter: &[u8]) {
        self.0.write_u32_le(letter.len() as u32).await.unwrap();
        self.0.write_all(letter).await.unwrap();
        let mut report = vec![0; self.0.read_u32_le().await.unwrap() as usize];
        self.0.read_exact(&mut report).await.unwrap();
        let report: Report = postcard::from_bytes(&report).unwrap();
        report.check(letter.len(), &Facts::default()).unwrap();
    }
}

fn filter(ready: usize) -> (Running, Arc<Filter>) {
    let exe = File::open("/proc/self/exe").unwrap();
    let uid = rustix::process::geteuid().is_root().then(|| Role::MxZygote.host_uid());
    let stderr = std::io::stderr();
    let launch =
        Launch { role: Role::MxZygote, exe: exe.as_fd(), args: &[], uid, directory: None, stderr: stderr.as_fd() };
    let running = launch.start().unwrap();
    let (ours, theirs) = Edge::pair().unwrap();
    running.control.send(&zygote::Start { self_test: false }, &[theirs.as_fd()]).unwrap();
    println!("{:?}", running.control.recv::<zygote::Ready>().unwrap().0);
    let limits = FilterLimits { ready, concurrent: 8, deadline: Duration::from_secs(10), largest: 50 << 20 };
    (running, Filter::new(ours, limits).unwrap())
}

/// The kernel's part of a worker's walls and memory: the calls that it makes, and no others.
fn lock_itself() {
    let call = |number: libc::c_long, arguments: [libc::c_long; 5]| {
        let [a, b, c, d, e] = arguments;
        // SAFETY: every pointer below is of memory that outlives its call, of the size that the call is told.
        unsafe { libc::syscall(number, a, b, c, d, e) }
    };
    let prctl = |option: libc::c_int, value: libc::c_ulong| {
        call(libc::SYS_prctl, [option.into(), value as libc::c_long, 0, 0, 0]);
    };
    prctl(libc::PR_SET_DUMPABLE, 0);
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
    prctl(libc::PR_SET_MDWE, libc::PR_MDWE_REFUSE_EXEC_GAIN.into());
    let (room, flags) = (66 << 20, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    // SAFETY: a new mapping, of which the first pages are brought in.
    unsafe {
        let room = libc::mmap(std::ptr::null_mut(), room, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        libc::madvise(room, 80 * 1024, libc::MADV_POPULATE_WRITE);
    }
    let limit = [2u64 << 30; 2];
    for _ in 0..11 {
        call(libc::SYS_prlimit64, [0, libc::RLIMIT_CPU as libc::c_long, limit.as_ptr() as _, 0, 0]);
    }
    (0..=40).for_each(|capability| prctl(libc::PR_CAPBSET_DROP, capability));
    prctl(libc::PR_SET_SECUREBITS, 0xef);
    let (version, none) = ([0x2008_0522u32, 0], [0u32; 6]);
    call(libc::SYS_capset, [version.as_ptr() as _, none.as_ptr() as _, 0, 0, 0]);
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1);
    let all = [0xffffu64, 3, 3];
    let rules = call(libc::SYS_landlock_create_ruleset, [all.as_ptr() as _, 24, 0, 0, 0]);
    call(libc::SYS_landlock_restrict_self, [rules, 0, 0, 0, 0]);
    // As long as a worker's list.
    let load = libc::sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: 0 };
    let allow = libc::sock_filter { code: libc::BPF_RET as u16, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let mut list = [load; 25];
    list[24] = allow;
    let list = libc::sock_fprog { len: 25, filter: list.as_mut_ptr() };
    call(libc::SYS_seccomp, [1, 0, (&raw const list) as _, 0, 0]);
}

/// A process in namespaces of its own that says one byte.
fn bare(does: fn()) -> Duration {
    const NEW: libc::c_int = libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let (mut here, there) = std::io::pipe().unwrap();
    let clock = Instant::now();
    // SAFETY: the child has a copy of this process's only thread, and never returns from here.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(NEW | libc::SIGCHLD), 0, 0, 0, 0) };
    if child == 0 {
        does();
        // SAFETY: one byte of a constant, into a descriptor that is open; no destructor of the parent's runs.
        unsafe {
            libc::write(there.as_raw_fd(), b"x".as_ptr().cast(), 1);
            libc::_exit(0)
        }
    }
    here.read_exact(&mut [0]).unwrap();
    let took = clock.elapsed();
    let child = rustix::process::Pid::from_raw(i32::try_from(child).unwrap());
    rustix::process::waitpid(child, rustix::process::WaitOptions::empty()).unwrap();
    took
}

fn compare() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let letter = sample();
        let mut reused = Reused::start();
        let (_pool, pooled) = filter(4);
        let (_demand, on_demand) = filter(0);
        let mut times = [const { Vec::new() }; 6];
        for _ in 0..ROUNDS {
            // Time for the pool to fill again, and for what died to be cleared away.
            tokio::time::sleep(Duration::from_millis(4)).await;
            let clock = Instant::now();
            let report = letter::examine(&letter, &Facts::default()).unwrap();
            std::hint::black_box(postcard::to_stdvec(&report).unwrap());
            times[0].push(clock.elapsed());
            let clock = Instant::now();
            reused.examine(&letter).await;
            times[1].push(clock.elapsed());
            let clock = Instant::now();
            pooled.examine(&[&letter], &Facts::default()).await.unwrap();
            times[2].push(clock.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
            let clock = Instant::now();
            on_demand.examine(&[&letter], &Facts::default()).await.unwrap();
            times[3].push(clock.elapsed());
            tokio::time::sleep(Duration::from_millis(4)).await;
            times[4].push(bare(|| {}));
            tokio::time::sleep(Duration::from_millis(4)).await;
            times[5].push(bare(lock_itself));
        }
        println!("{} bytes, {ROUNDS} rounds, interleaved; microseconds", letter.len());
        let names = [
            "in this process",
            "reused, no sandbox",
            "waiting, single-use",
            "made on demand",
            "seven bare namespaces",
            "the same with walls",
        ];
        let middle = times[1].clone().p(50);
        for (name, times) in names.iter().zip(&mut times) {
            let (p10, p50, p95) = (times.p(10), times.p(50), times.p(95));
            println!("{name:22} p10 {p10:6.0}  p50 {p50:6.0}  p95 {p95:6.0}   x reused (p50) {:.2}", p50 / middle);
        }
        let (made, floor) = (times[3].p(50), times[5].p(50) + times[0].p(50));
        println!("made on demand: {:.2} times walls and examination alone, which take {floor:.0}", made / floor);
    });
}

trait Percentile {
    fn p(&mut self, percent: usize) -> f64;
}

impl Percentile for Vec<Duration> {
    fn p(&mut self, percent: usize) -> f64 {
        self.sort_unstable();
        self[self.len() * percent / 100].as_secs_f64() * 1e6
    }
}
