//! What the gate says to whoever comes.

use crate::place::{PROXY, Place};

/// What a sender may try at the gate, over real sockets: argv is the proxy, and whether homes are there.
const TRY: &str = r#"
import socket, ssl, sys, time
proxy, asleep = sys.argv[1], sys.argv[2] == 'asleep'

def connect(port=25):
    s = socket.create_connection((proxy, port), 100)
    s.settimeout(100)
    return s

def reply(s):
    said = b''
    while not said.endswith(b'\n') or said.splitlines()[-1][3:4] == b'-':
        part = s.recv(4096)
        if not part: break
        said += part
    assert not said.startswith(b'354'), said
    return said.decode()

def say(s, line):
    s.sendall(line.encode() + b'\r\n')
    return reply(s)

def closed(s):
    try:
        return s.recv(1) == b''
    except ConnectionResetError:
        return True

def under_tls(name=None):
    s = connect()
    assert reply(s).startswith('220 clean.test ')
    hello = say(s, 'EHLO tester.test')
    assert 'STARTTLS' in hello and 'PIPELINING' not in hello and 'CHUNKING' not in hello, hello
    assert say(s, 'STARTTLS').startswith('220 ')
    context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(s, server_hostname=name)

# In clear: nothing, and nothing that was sent ahead counts.
s = connect(); reply(s)
assert say(s, 'EHLO tester.test').startswith('250')
assert say(s, 'MAIL FROM:<a@tester.test>').startswith('451 4.7.0')
assert say(s, 'RCPT TO:<anna@alice.test>').startswith('451 4.7.0')
assert say(s, 'DATA').startswith('451') and closed(s)
s = connect(); reply(s); say(s, 'EHLO tester.test')
s.sendall(b'STARTTLS\r\nMAIL FROM:<x@tester.test>\r\nDATA\r\n')
assert reply(s) == '220 2.0.0 go ahead\r\n'
s.shutdown(socket.SHUT_WR)
assert closed(s), 'what came ahead of TLS was answered'
# Under TLS with the proxy: up to RCPT, and 451 there.
for ending in ['DATA'] if asleep else ['DATA', 'BDAT 5 LAST', 'data']:
    s = under_tls('mail.alice.test' if asleep else None)
    assert say(s, 'EHLO tester.test').startswith('250')
    mail = say(s, 'MAIL FROM:<a@tester.test>')
    assert mail.startswith('451 4.4.1' if asleep else '250'), mail
    rcpt = say(s, 'RCPT TO:<anna@alice.test>')
    assert rcpt.startswith('451 4.4.1' if asleep else '451 4.7.1'), rcpt
    assert say(s, ending).startswith('451') and closed(s)
if not asleep:
    # One network has its share of the sessions that ask whom a sender wants: the next is told so before TLS, and gets what is
    # given back.
    held = [under_tls() for _ in range(128)]
    s = connect(); reply(s); say(s, 'EHLO tester.test')
    said = say(s, 'STARTTLS')
    assert said.startswith('421 4.3.2') and closed(s), said
    for s in held: s.close()
    until = time.time() + 60
    while True:
        s = connect(); reply(s); say(s, 'EHLO tester.test')
        if say(s, 'STARTTLS').startswith('220'): break
        assert time.time() < until, 'never given back'
    # A home that has no place for one more from there is as one that is away: in clear nobody could be told.
    def at_home():
        s = under_tls('mail.alice.test')
        assert say(s, 'EHLO tester.test').startswith('250')
        return s, say(s, 'MAIL FROM:<a@tester.test>')
    held = [at_home() for _ in range(50)]
    assert all(mail.startswith('250') for _, mail in held), held
    _, mail = at_home()
    assert mail.startswith('451 4.4.1'), mail
    for s, _ in held: s.close()
    until = time.time() + 60
    while not at_home()[1].startswith('250'):
        assert time.time() < until, 'never given back'
    # A ClientHello in pieces finds its way; a service that the home has not is closed at once.
    context = ssl.create_default_context(cafile=sys.argv[3])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname='mail.alice.test')
    try: tls.do_handshake()
    except ssl.SSLWantReadError: pass
    hello = outgoing.read()
    s = connect(993)
    for at in range(0, len(hello), 60):
        s.sendall(hello[at:at + 60])
    while True:
        incoming.write(s.recv(65536))
        try:
            tls.do_handshake(); break
        except ssl.SSLWantReadError: pass
    s = connect(443); s.sendall(hello)
    s.settimeout(30)
    assert closed(s), 'the web of a home that has none'
    for name in [None, 'mail.nobody.test']:
        try:
            context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
            context.wrap_socket(connect(993), server_hostname=name)
            assert False, 'handed on without a name'
        except (ssl.SSLError, ConnectionResetError, OSError): pass
print('all refused')
"#;

pub fn what_the_gate_says() {
    let place = Place::new();
    let mut alice = place.home("alice", "44.0.0.71", &["--street", "lane"]);
    let _bob = place.home("bob", "44.0.0.72", &["--street", "road"]);
    let ca = alice.house.authority().authority().display().to_string();
    let attempt = |how: &str| {
        let output = place.sender.command("python3").args(["-c", TRY, PROXY, how, &ca]).output().unwrap();
        assert!(output.status.success(), "{how}: {}", String::from_utf8_lossy(&output.stderr));
    };
    // The parent, started as root, can read files, and has no other right of root's.
    let parent = place.proxy.processes()[0];
    let status = std::fs::read_to_string(format!("/proc/{parent}/status")).unwrap();
    for set in ["CapPrm", "CapEff"] {
        assert!(status.contains(&format!("{set}:\t0000000000000004\n")), "{status}");
    }
    attempt("awake");
    alice.house.kill();
    attempt("asleep");
}
