//! The external scanner: Debian's real SpamAssassin on real letters, hostile programs in its place, and its own list of
//! attacks.

use std::time::{Duration, Instant};

use filter_sandbox::Role;
use filter_sandbox::attacks::{Ask, ON_A_SCANNER};
use filter_sandbox::filter::{Scans, Unfiltered};
use filter_sandbox::scanner::limits;
use filter_sandbox::score::THRESHOLD;
use filter_sandbox::zygote::Ready;

use crate::box_;
use crate::runner::Case;
use crate::worker_attacks::{self, Outside, Survey};

pub fn cases() -> Vec<Case> {
    vec![
        Case { name: "scanner: SpamAssassin tells GTUBE from ordinary mail", run: spamassassin },
        Case { name: "scanner: many letters, each alone", run: many },
        Case { name: "scanner: what is said is a number or nothing", run: answers },
        Case { name: "scanner: what hangs, floods or dies costs one letter", run: bad_ends },
        Case { name: "scanner: a program in its place reaches nothing", run: probe },
        Case { name: "scanner: attacks, all walls", run: || attacks("whole") },
        Case { name: "scanner: attacks, seccomp off", run: || attacks("alone") },
        Case {
            name: "scanner: two of them cannot talk or leave anything",
            run: || worker_attacks::strangers(Role::ScannerZygote),
        },
        Case { name: "scanner: no core file, no core handler", run: cores },
    ]
}

const PATIENT: Duration = Duration::from_secs(60);

/// Runs async code with a scanner on a fresh zygote; with that Perl program in SpamAssassin's place.
fn scanning<F: Future>(program: Option<&str>, deadline: Duration, work: impl FnOnce(Scans) -> F) -> F::Output {
    let args: Vec<&str> = program.iter().flat_map(|program| ["scan", *program]).collect();
    let (running, edge, ready) = box_::zygote_of(Role::ScannerZygote, &args, false);
    let Ready::Serving { worker, .. } = ready else { panic!("{ready:?}") };
    assert_eq!(worker.landlock, Some(true));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let output = runtime.block_on(async { work(Scans::new(edge, 2, deadline).unwrap()).await });
    drop(runtime);
    box_::end(running);
    output
}

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

fn letter(text: &str) -> String {
    format!(
        "Received: from mail.example.org (mail.example.org [192.0.2.1]) by mx.home.test; Sat, 21 Nov 2026 09:30:01 +0000\r\n\
         From: Ann <ann@example.org>\r\nTo: you@home.test\r\nSubject: Sunday\r\nDate: Sat, 21 Nov 2026 09:30:00 +0000\r\n\
         Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
         --x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n\
         --x\r\nContent-Type: image/jpeg; name=a.jpg\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--x--\r\n",
        "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoM\r\n".repeat(500)
    )
}

fn spamassassin() {
    scanning(None, PATIENT, |scans| async move {
        let begun = Instant::now();
        let spam = scans.points(&[letter(GTUBE).as_bytes()]).await.unwrap();
        println!("    a letter took {:.1?}", begun.elapsed());
        assert!(spam > 900.0, "GTUBE has {spam} points");
        let ordinary = letter("Shall we bring the cake, or will you?\r\n\r\nAnn");
        let (first, second) = ordinary.as_bytes().split_at(100);
        let ham = scans.points(&[first, second]).await.unwrap();
        assert!(ham < THRESHOLD, "ordinary mail has {ham} points");
        let large = vec![b'x'; limits::LARGEST + 1];
        assert!(matches!(scans.points(&[&large]).await, Err(Unfiltered::TooLong)));
    });
}

/// A count that it keeps in its own memory is 1 for every letter.
fn many() {
    scanning(
        Some("$seen++; my @lines = <STDIN>; syswrite STDOUT, sprintf '%d.%d%s', $seen, scalar(@lines), qq(\\n)"),
        PATIENT,
        |scans| async move {
            for lines in 1..8 {
                let letter = "a line\n".repeat(lines);
                assert_eq!(scans.points(&[letter.as_bytes()]).await.unwrap(), 1.0 + lines as f32 / 10.0);
            }
        },
    );
}

fn answers() {
    for (said, outcome) in [
        ("-1.5\\n", Some(-1.5)),
        ("9999.0\\n", Some(1000.0)),
        ("5\\n", None),
        ("spam\\n", None),
        ("123456789012345", None),
        ("nan\\n", None),
    ] {
        let program = format!("my @lines = <STDIN>; syswrite STDOUT, qq({said}); sleep 60");
        scanning(Some(&program), PATIENT, |scans| async move {
            match (scans.points(&[b"x"]).await, outcome) {
                (Ok(points), Some(expected)) => assert_eq!(points, expected),
                (Err(Unfiltered::Garbage), None) => {}
                (other, _) => panic!("{said}: {other:?}"),
            }
        });
    }
}

fn bad_ends() {
    // The letter tells what to do.
    let program = "my $do = <STDIN>; \
        if ($do =~ /spin/) { 1 while 1 } elsif ($do =~ /silent/) { sleep 60 } \
        elsif ($do =~ /flood/) { syswrite STDOUT, 'x' x 4096 while 1 } elsif ($do =~ /half/) { syswrite STDOUT, '5.'; exit } \
        elsif ($do =~ /die/) { die } elsif ($do =~ /memory/) { my @all; push @all, 'x' x 10_000_000 while 1 } \
        elsif ($do =~ /fork/) { fork and exit while 1 } elsif ($do =~ /killed/) { syscall(PTRACE, 0, 0, 0, 0) } \
        else { syswrite STDOUT, qq(1.0\\n) }"
        .replace("PTRACE", &libc::SYS_ptrace.to_string());
    // Memory is taken slowly on a busy machine: who dies has as long as it likes.
    let hangs: (_, &[&str]) = (Duration::from_secs(6), &["spin", "silent", "fork"]);
    for (deadline, words) in [hangs, (PATIENT, &["flood", "half", "die", "memory", "killed"])] {
        scanning(Some(&program), deadline, |scans| async move {
            for word in words {
                let outcome = scans.points(&[word.as_bytes()]).await;
                let expected = match *word {
                    "spin" | "silent" | "fork" => matches!(outcome, Err(Unfiltered::Late)),
                    "flood" => matches!(outcome, Err(Unfiltered::Garbage)),
                    _ => matches!(outcome, Err(Unfiltered::Died)),
                };
                assert!(expected, "{word}: {outcome:?}");
                assert_eq!(scans.points(&[b"honest"]).await.unwrap(), 1.0, "after {word}");
            }
        });
    }
}

/// What a hostile interpreter can do with its own means; it answers with the number of its successes.
fn probe() {
    let outside = Outside::new();
    let victim = &outside.victim;
    let spool = box_::spool().path().join("letter");
    let program = format!(
        r#"
use Socket;
my @tried;
my $try = sub {{ my ($name, $done) = @_; push @tried, $name if $done }};
open my $in, '<', '{spool}' and $try->('spool', 1);
open my $file, '<', '{file}' and $try->('file', 1);
open my $up, '<', '../../../../../../{file}' and $try->('dots', 1);
$try->("open $_", open my $other, '<', $_) for qw(/etc/passwd /etc/shadow /proc/self/maps /proc/1/mem /dev/mem
    /usr/bin/env /home /root /tmp /var/lib/dpkg/status /sys);
$try->("list $_", opendir my $folder, $_) for qw(/etc /usr/bin /proc /tmp /home /var /dev /run);
$try->("write $_", open my $new, '>', $_) for qw(/x /tmp/x /usr/share/spamassassin/x.cf /etc/spamassassin/local.cf /none/x /dev/null);
$try->("make $_", mkdir $_) for qw(/x /tmp /none);
$try->('unlink', unlink '/etc/spamassassin/local.cf');
$try->('link', link '/usr/bin/perl', '/x');
for my $number (3 .. 63) {{ $try->("descriptor $number", open my $more, '<&=', $number and defined fcntl($more, 1, 0)) }}
my $here = inet_aton('127.0.0.1');
$try->('tcp', socket(my $tcp, PF_INET, SOCK_STREAM, 0) && connect($tcp, sockaddr_in({tcp}, $here)));
$try->('udp', socket(my $udp, PF_INET, SOCK_DGRAM, 0) && send($udp, '', 0, sockaddr_in({udp}, $here)));
$try->('unix', socket(my $unix, PF_UNIX, SOCK_STREAM, 0) && connect($unix, sockaddr_un('{socket}')));
$try->('kill', kill 0, {process});
$try->('fork', defined fork);
$try->("exec $_", !system {{ $_ }} $_, '-e', '1') for qw(/bin/sh /bin/true /usr/bin/env /usr/share/spamassassin/10_default_prefs.cf);
$try->('pipe', open my $pipe, '-|', '/usr/bin/perl -e 1');
$try->('message', open my $message, '>&=', 0 and syswrite $message, 'x');
$try->('the tree is there', opendir my $rules, '/usr/share/spamassassin');
my @rest = grep {{ $_ ne 'the tree is there' }} @tried;
my $line = @tried == @rest ? "99.0\n" : @rest . ".0\n";
if (@rest) {{ open my $told, '>&=', 2; syswrite $told, "@rest\n" }}
syswrite STDOUT, $line;
"#,
        spool = spool.display(),
        file = victim.file,
        tcp = victim.tcp,
        udp = victim.udp,
        socket = victim.socket_file,
        process = victim.process,
    );
    scanning(Some(&program), PATIENT, |scans| async move {
        let got = scans.points(&[letter("words").as_bytes()]).await.unwrap();
        assert_eq!(got, 0.0, "it got through, or (99) could not even read its tree");
    });
}

fn attacks(how: &str) {
    let survey = Survey::of(Role::ScannerZygote, how);
    survey.ask(Ask::OnAScanner);
    let outcomes: Vec<_> = ON_A_SCANNER.iter().map(|attack| (attack, survey.outcome())).collect();
    worker_attacks::judge(&outcomes, |attack| if how == "whole" { attack.whole } else { attack.alone });
    survey.end();
}

/// Row 64, for a process that exec had made dumpable again.
fn cores() {
    crate::filtering::with_core_handlers(|| {
        // It tries to become dumpable again first, then reads where nothing is mapped.
        let crash = "length unpack 'p', pack 'J', 1";
        let program = format!("my @lines = <STDIN>; syscall({}, 4, 1, 0, 0, 0); print {crash}", libc::SYS_prctl);
        scanning(Some(&program), PATIENT, |scans| async move {
            assert!(matches!(scans.points(&[b"x"]).await, Err(Unfiltered::Died)));
        });
    });
}
