//! When a session is closed: the far server has spoken last, and the home is silent. Never while the home waits: between
//! the end of data and its 250 that would make a second letter.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tests::hosts::Host;
use tests::outbound::Stranger;
use tests::proxies::{Home, eventually};

use crate::place::{FAR, Place};

/// Greets at once, and thinks about every command for 75 seconds; with the first line of its reply to one to EHLO it does not wait.
const SLOW: &str = "
import socket, threading, time
def serve(peer):
    peer.sendall(b'220 slow.test\\r\\n')
    while said := peer.recv(1000):
        if b'begun' in said:
            peer.sendall(b'250-slow.test\\r\\n')
        time.sleep(75)
        peer.sendall(b'250 slow.test\\r\\n')
listener = socket.create_server(('0.0.0.0', 25))
print('up', flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
";

pub fn who_is_silent_is_closed_and_who_waits_is_not() {
    let place = Place::new();
    place.names.host("slow.test", FAR[0]);
    let far = Host::public("far", &[FAR[0]]);
    let mut child = far.command("python3").args(["-c", SLOW]).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    let mut home = Stranger::pair(&place.proxy.invite("alice", &[]));
    let connecting = Instant::now();
    let [mut silent, mut waiting, mut begun] = [(), (), ()].map(|()| home.connect("mx.slow.test").unwrap());
    let mut greeting = [0; 15];
    for stream in [&mut silent, &mut waiting, &mut begun] {
        stream.set_read_timeout(Some(Duration::from_secs(150))).unwrap();
        stream.read_exact(&mut greeting).unwrap();
    }
    waiting.write_all(b"EHLO home.test\r\n").unwrap();
    begun.write_all(b"EHLO begun.test\r\n").unwrap();
    let began = Instant::now();
    assert_eq!(silent.read(&mut greeting).unwrap_or(0), 0, "closed");
    let (least, most) = (began.elapsed().as_secs(), connecting.elapsed().as_secs());
    assert!(most >= 60 && least < 75, "after {least} to {most} s");
    waiting.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"250 slow.test\r\n", "the answer came, however late");
    let mut reply = [0; 30];
    begun.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"250-slow.test\r\n250 slow.test\r\n", "the rest of it, too");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Takes connections, and never says a word.
const MUTE: &str = "
import socket
listener = socket.create_server(('0.0.0.0', 25))
print('up', flush=True)
peers = []
while True:
    peers.append(listener.accept()[0])
";

/// A house has few sessions at once: those that come to nothing make room.
pub fn hosts_that_say_nothing_hold_up_nobody() {
    let place = Place::new();
    let far = place.far("postfix", 0, "far.test");
    let mute = Host::public("mute", &[FAR[1]]);
    let mut child = mute.command("python3").args(["-c", MUTE]).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    let home = Home::start("alice", "44.0.0.71");
    let anna = home.house.add_mailbox("anna");
    assert!(home.try_pair(&place.proxy.invite("alice", &["--concurrent", "4"])).status.success());
    eventually("the link is up", || place.proxy.metric("homes_connected") == 1);
    let letter = |to: &str| format!("From: anna@alice.test\nTo: {to}\nSubject: hello\n\nto {to}\n");
    for domain in ["one.test", "two.test"] {
        place.names.host(domain, FAR[1]);
        let to = format!("a@{domain}");
        home.submit(&anna, &[&to], &letter(&to));
    }
    // As many as a new home may have.
    eventually("both are begun", || place.proxy.status("alice", "sessions") == 2);
    let began = Instant::now();
    home.submit(&anna, &["ben@far.test"], &letter("ben@far.test"));
    eventually("it is delivered", || far.mail("ben").contains("to ben@far.test"));
    // Hosts that say nothing are waited for five minutes where there is room.
    assert!(began.elapsed() < Duration::from_secs(150), "{:?}", began.elapsed());
    child.kill().unwrap();
    child.wait().unwrap();
}
