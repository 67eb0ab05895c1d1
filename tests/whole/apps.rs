//! Real mail apps: swaks, msmtp, curl and smtplib submit; mbsync, mutt, curl, fetchmail and imaplib read,
//! file, flag, move and delete. Certificates are checked against the test's own authority.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tests::programs::python_ok;
use tests::{House, Imap, Setup, Smtp};

fn ok(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    text
}

fn fed(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn letter(subject: &str) -> String {
    format!("From: you@home.test\nTo: anna@home.test\nSubject: {subject}\n\nHello Anna.\n")
}

fn inbox_subjects(house: &House, name: &str, password: &str) -> String {
    let mut imap = Imap::login(house, name, password).unwrap();
    assert!(imap.ask("SELECT INBOX").unwrap().ok());
    imap.ask("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap().text()
}

#[test]
fn submit() {
    let house = House::start(Setup::default());
    let anna = house.add_mailbox("anna");
    let (you, ca) = (house.you(), house.authority().authority());
    let ca = ca.to_str().unwrap();
    let (implicit, starttls) = (house.port("submissions").to_string(), house.port("submission").to_string());

    let swaks = |subject: &str, extra: &[&str], port: &str| {
        let mut command = Command::new("swaks");
        command.args(["--server", "localhost", "--port", port, "--from", "you@home.test", "--to", "anna@home.test"]);
        command.args([
            "--tls-verify",
            "--tls-ca-path",
            ca,
            "--auth-user",
            &you.address,
            "--auth-password",
            &you.password,
        ]);
        command.args(["--h-Subject", subject]).args(extra);
        command.output().unwrap()
    };
    ok(&swaks("by swaks plain", &["-tls", "--auth", "PLAIN"], &starttls));
    ok(&swaks("by swaks login", &["-tlsc", "--auth", "LOGIN"], &implicit));

    let msmtp = |subject: &str, auth: &str| {
        let config = house.scratch().join("msmtprc");
        let text = format!(
            "account default\nhost localhost\nport {implicit}\ntls on\ntls_starttls off\ntls_trust_file {ca}\nauth {auth}\nuser {}\npassword {}\nfrom you@home.test\n",
            you.address, you.password
        );
        private(&config, &text);
        fed(Command::new("msmtp").arg("-C").arg(&config).arg("anna@home.test"), &letter(subject))
    };
    ok(&msmtp("by msmtp plain", "plain"));
    ok(&msmtp("by msmtp scram", "scram-sha-256"));

    let file = house.scratch().join("letter");
    fs::write(&file, letter("by curl").replace('\n', "\r\n")).unwrap();
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--cacert",
        ca,
        "--ssl-reqd",
        "--url",
        &format!("smtp://localhost:{starttls}"),
    ]);
    curl.args([
        "--mail-from",
        "you@home.test",
        "--mail-rcpt",
        "anna@home.test",
        "--user",
        &format!("{}:{}", you.address, you.password),
        "-T",
    ]);
    ok(&curl.arg(&file).output().unwrap());

    python_ok(
        r#"
import smtplib, ssl, sys
port, ca, user, password, text = sys.argv[1:6]
context = ssl.create_default_context(cafile=ca)
smtp = smtplib.SMTP_SSL('localhost', int(port), context=context, timeout=60)
try:
    smtp.sendmail(user, ['anna@home.test'], text)
    sys.exit('sent without login')
except smtplib.SMTPResponseException as error:
    assert error.smtp_code == 530, error
smtp.login(user, password)
for sender, header in [('anna@home.test', 'you@home.test'), ('you@home.test', 'anna@home.test')]:
    try:
        smtp.sendmail(sender, ['anna@home.test'], text.replace('From: you@home.test', 'From: ' + header))
        sys.exit('sent as somebody else')
    except (smtplib.SMTPResponseException, smtplib.SMTPSenderRefused) as error:
        assert 500 <= error.smtp_code < 600, error
try:
    smtp.sendmail(user, ['someone@[192.0.2.1]'], text)
    sys.exit('sent to an address')
except smtplib.SMTPRecipientsRefused as error:
    assert error.recipients['someone@[192.0.2.1]'][0] == 550, error
    assert b'5.1.2' in error.recipients['someone@[192.0.2.1]'][1], error
smtp.sendmail(user, ['anna@home.test'], text)
smtp.quit()
try:
    wrong = smtplib.SMTP_SSL('localhost', int(port), context=context, timeout=60)
    wrong.login(user, 'not-the-password')
    sys.exit('logged in with a wrong password')
except smtplib.SMTPAuthenticationError as error:
    assert error.smtp_code == 535, error
"#,
        &[&implicit, ca, &you.address, &you.password, &letter("by smtplib")],
    );

    let subjects = inbox_subjects(&house, &anna.address, &anna.password);
    for by in ["swaks plain", "swaks login", "msmtp plain", "msmtp scram", "curl", "smtplib"] {
        assert!(subjects.contains(&format!("Subject: by {by}")), "{by} is missing:\n{subjects}");
    }
    assert_eq!(subjects.matches("Subject:").count(), 6, "{subjects}");
}

fn fill(house: &House, letters: usize) {
    let you = house.you();
    let mut imap = Imap::login(house, &you.address, &you.password).unwrap();
    for number in 0..letters {
        assert!(imap.append("INBOX", &tests::smtp::letter(&format!("n{number}"), 2_000)).unwrap().ok());
    }
}

#[test]
fn mbsync_files_flags_and_a_second_sync_changes_nothing() {
    let house = House::start(Setup { arguments: vec!["--clear-text".into(), "*".into()], ..Setup::default() });
    fill(&house, 4);
    // All header: as it came it has no empty line, and mbsync would leave it out.
    let mut stranger = Smtp::connect(house.address("smtp")).unwrap();
    for line in ["MAIL FROM:<aunt@example.org>", "RCPT TO:<you@home.test>", "DATA"] {
        assert!(stranger.ask(line).unwrap().0 < 400, "{line}");
    }
    assert_eq!(stranger.ask("Subject: all header\r\n.").unwrap().0, 250);
    let (you, home) = (house.you(), house.scratch().join("mbsync"));
    fs::create_dir_all(home.join("mail")).unwrap();
    let config = format!(
        "IMAPAccount house\nHost localhost\nPort {}\nUser {}\nPass {}\nSSLType IMAPS\nCertificateFile {}\n\nIMAPStore far\nAccount house\n\nMaildirStore near\nPath {home}/mail/\nInbox {home}/mail/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
        house.port("imaps"),
        you.address,
        you.password,
        house.authority().authority().display(),
        home = home.display(),
    );
    private(&home.join("rc"), &config);
    let sync = || ok(&Command::new("mbsync").arg("-c").arg(home.join("rc")).args(["-a", "-V"]).output().unwrap());
    sync();
    let new = home.join("mail/INBOX/new");
    let fetched: Vec<_> = fs::read_dir(&new).unwrap().flatten().collect();
    assert_eq!(fetched.len(), 5);
    for folder in ["Drafts", "Sent", "Junk", "Trash", "Archive"] {
        assert!(home.join("mail").join(folder).is_dir(), "{folder}");
    }
    // Seen and flagged here; a new folder with a letter in it.
    let name = fetched[0].file_name().into_string().unwrap();
    let flagged = format!("{}:2,FS", name.split(":2,").next().unwrap());
    fs::rename(fetched[0].path(), home.join("mail/INBOX/cur").join(flagged)).unwrap();
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(home.join("mail/Cakes").join(part)).unwrap();
    }
    fs::write(home.join("mail/Cakes/new/1.local"), tests::smtp::letter("filed", 1_000)).unwrap();
    sync();
    let mut imap = Imap::login(&house, &you.address, &you.password).unwrap();
    assert!(imap.ask("SELECT INBOX").unwrap().ok());
    assert_eq!(imap.ask("SEARCH FLAGGED SEEN").unwrap().text().split_whitespace().count(), 2);
    assert!(imap.ask("SELECT Cakes").unwrap().text().contains("1 EXISTS"));
    let before = snapshot(&home.join("mail"));
    sync();
    assert_eq!(snapshot(&home.join("mail")), before, "a second sync changes nothing");
}

fn snapshot(folder: &Path) -> Vec<String> {
    let output = Command::new("find")
        .arg(folder)
        .args(["-type", "f", "-not", "-name", ".mbsyncstate*", "-not", "-name", ".uidvalidity"])
        .output()
        .unwrap();
    let mut files: Vec<String> = ok(&output).lines().map(str::to_owned).collect();
    files.sort();
    files
}

#[test]
fn mutt_reads_and_moves() {
    let house = House::start(Setup::default());
    fill(&house, 3);
    let (you, rc) = (house.you(), house.scratch().join("muttrc"));
    let url = format!("imaps://localhost:{}/", house.port("imaps"));
    private(
        &rc,
        &format!(
            "set imap_user=\"{}\"\nset imap_pass=\"{}\"\nset folder=\"{url}\"\nset spoolfile=\"{url}INBOX\"\nset ssl_starttls=no\nset certificate_file=\"{ca}\"\nset ssl_ca_certificates_file=\"{ca}\"\nset header_cache=\nset confirmappend=no\nset delete=yes\nset quit=yes\nset move=no\nset mark_old=no\nset wait_key=no\npush \"<tag-pattern>~A<enter><tag-prefix><save-message>=Archive<enter><sync-mailbox><quit>\"\n",
            you.address,
            you.password,
            ca = house.authority().authority().display()
        ),
    );
    // mutt wants a terminal; `script` gives it one.
    let command = format!("mutt -n -F {}", rc.display());
    let mut mutt = Command::new("timeout");
    mutt.args(["180", "script", "-qec", &command, "/dev/null"])
        .env("TERM", "xterm")
        .env("HOME", house.scratch())
        .stdin(Stdio::null());
    let output = mutt.output().unwrap();
    let mut imap = Imap::login(&house, &you.address, &you.password).unwrap();
    let archive = imap.ask("STATUS Archive (MESSAGES)").unwrap().text();
    assert!(archive.contains("MESSAGES 3"), "{archive}\n{}", String::from_utf8_lossy(&output.stdout));
    let inbox = imap.ask("STATUS INBOX (MESSAGES)").unwrap().text();
    assert!(inbox.contains("MESSAGES 0"), "{inbox}");
}

/// The settings that README gives for mutt, with the certificate of the test's own authority.
fn muttrc(house: &House, name: &str, more: &str) -> std::path::PathBuf {
    let (you, rc) = (house.you(), house.scratch().join(name));
    let (address, password, ca) = (&you.address, &you.password, house.authority().authority());
    let (imaps, submissions) = (house.port("imaps"), house.port("submissions"));
    let text = format!(
        "set from=\"{address}\"\nset folder=\"imaps://{address}@localhost:{imaps}/\"\nset spoolfile=\"+INBOX\"\n\
         set imap_pass=\"{password}\"\nset smtp_url=\"smtps://{address}@localhost:{submissions}/\"\n\
         set smtp_pass=\"{password}\"\nset certificate_file=\"{ca}\"\nset ssl_ca_certificates_file=\"{ca}\"\n\
         set copy=no\nset header_cache=\nset wait_key=no\nset quit=yes\nset move=no\n{more}\n",
        ca = ca.display()
    );
    private(&rc, &text);
    rc
}

/// Debian 12's mutt chooses SCRAM-SHA-256-PLUS and cannot finish it over TLS 1.3.
const PLAIN: &str = "set smtp_authenticators=\"plain\"";

#[test]
fn mutt_sends_and_answers_to_the_other_mailbox() {
    let house = House::start(Setup::default());
    let anna = house.add_mailbox("anna");
    let rc = muttrc(&house, "send.rc", PLAIN);
    let mut send = Command::new("mutt");
    send.args(["-n", "-F"]).arg(&rc).args(["-s", "by mutt", "anna@home.test"]).env("HOME", house.scratch());
    ok(&fed(&mut send, "Hello Anna.\n"));

    let question = "From: anna@home.test\nTo: you@home.test\nSubject: a question\n\nWhen?\n";
    let mut imap = Imap::login(&house, &house.you().address, &house.you().password).unwrap();
    assert!(imap.append("INBOX", question).unwrap().ok());
    let answer = "set editor=\"sed -i -e '$aAn answer.'\"\nset fast_reply=yes\nset include=yes\n\
                  push \"<reply><send-message><quit>\"";
    let rc = muttrc(&house, "answer.rc", &format!("{PLAIN}\n{answer}"));
    let mut mutt = Command::new("timeout");
    mutt.args(["180", "script", "-qec", &format!("mutt -n -F {}", rc.display()), "/dev/null"]);
    let output = mutt.env("TERM", "xterm").env("HOME", house.scratch()).stdin(Stdio::null()).output().unwrap();
    let subjects = inbox_subjects(&house, &anna.address, &anna.password);
    for subject in ["Subject: by mutt", "Subject: Re: a question"] {
        assert!(subjects.contains(subject), "{subject}: {subjects}\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn mutt_sends_as_it_comes_where_plus_is_left_out() {
    let arguments = ["--without", "SCRAM-SHA-256-PLUS"].map(str::to_owned).into();
    let house = House::start(Setup { arguments, ..Setup::default() });
    let anna = house.add_mailbox("anna");
    let mut send = Command::new("mutt");
    send.args(["-n", "-F"]).arg(muttrc(&house, "send.rc", "")).args(["-s", "by scram", "anna@home.test"]);
    ok(&fed(send.env("HOME", house.scratch()), "Hello Anna.\n"));
    assert!(inbox_subjects(&house, &anna.address, &anna.password).contains("Subject: by scram"));
    // Neither announced nor taken, on any port.
    let mut imap = Imap::connect(&house).unwrap();
    let capability = imap.ask("CAPABILITY").unwrap().text();
    assert!(capability.contains("AUTH=SCRAM-SHA-256 ") && !capability.contains("PLUS"), "{capability}");
    assert!(imap.ask("AUTHENTICATE SCRAM-SHA-256-PLUS").unwrap().tagged.starts_with("NO [CANNOT]"));
}

#[test]
fn curl_fetches_and_flags() {
    let house = House::start(Setup::default());
    fill(&house, 2);
    let you = house.you();
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--cacert", house.authority().authority().to_str().unwrap()]);
        command.args(["--user", &format!("{}:{}", you.address, you.password)]);
        ok(&command.args(arguments).output().unwrap())
    };
    let url = format!("imaps://localhost:{}", house.port("imaps"));
    assert!(curl(&[&format!("{url}/INBOX;MAILINDEX=2")]).contains("Subject: n1"));
    assert!(curl(&[&format!("{url}/INBOX"), "-X", "STORE 1 +FLAGS (\\Flagged $Label1)"]).contains("FETCH"));
    assert!(curl(&[&format!("{url}/INBOX?KEYWORD%20$Label1")]).contains("SEARCH 1"));
    assert!(curl(&[&url]).contains("\\Junk"));
    let file = house.scratch().join("draft");
    fs::write(&file, tests::smtp::letter("draft", 500).replace('\n', "\r\n")).unwrap();
    curl(&["-T", file.to_str().unwrap(), &format!("{url}/Drafts")]);
    assert!(curl(&[&format!("{url}/Drafts;MAILINDEX=1")]).contains("Subject: draft"));
}

#[test]
fn fetchmail_takes_everything_and_deletes() {
    let house = House::start(Setup::default());
    fill(&house, 3);
    let (you, rc, out) = (house.you(), house.scratch().join("fetchmailrc"), house.scratch().join("fetched"));
    let authority = house.authority().authority();
    private(
        &rc,
        &format!(
            "poll localhost protocol IMAP port {} user \"{}\" password \"{}\" ssl sslcertck sslcertfile \"{}\" no keep mda \"cat >> {}\"\n",
            house.port("imaps"),
            you.address,
            you.password,
            authority.display(),
            out.display()
        ),
    );
    let output = Command::new("fetchmail")
        .args(["-f", rc.to_str().unwrap(), "--nosyslog", "--all", "-i"])
        .arg(house.scratch().join("ids"))
        .env("HOME", house.scratch())
        .env("FETCHMAILHOME", house.scratch())
        .output();
    ok(&output.unwrap());
    let fetched = fs::read_to_string(&out).unwrap();
    assert!((0..3).all(|number| fetched.contains(&format!("Subject: n{number}"))), "{fetched}");
    let mut imap = Imap::login(&house, &you.address, &you.password).unwrap();
    assert!(imap.ask("STATUS INBOX (MESSAGES)").unwrap().text().contains("MESSAGES 0"));
}

#[test]
fn imaplib_does_all_of_it() {
    let house = House::start(Setup::default());
    fill(&house, 6);
    let you = house.you();
    python_ok(
        r#"
import imaplib, ssl, sys
port, ca, user, password = sys.argv[1:5]
imap = imaplib.IMAP4_SSL('localhost', int(port), ssl_context=ssl.create_default_context(cafile=ca))
imap.authenticate('PLAIN', lambda _: b'\0' + user.encode() + b'\0' + password.encode())
def ok(pair):
    assert pair[0] == 'OK', pair
    return pair[1]
names = b' '.join(ok(imap.list()))
for name in [b'INBOX', b'Drafts', b'Sent', b'Junk', b'Trash', b'Archive']:
    assert name in names, names
ok(imap.create('Cakes/Apple'))
ok(imap.subscribe('Cakes/Apple'))
assert b'Cakes/Apple' in b' '.join(ok(imap.lsub()))
assert ok(imap.select('INBOX')) == [b'6']
assert ok(imap.search(None, 'SUBJECT', '"n3"')) == [b'4']
assert ok(imap.search(None, 'TEXT', '"brown fox"')) == [b'1 2 3 4 5 6']
assert ok(imap.search(None, 'NOT', 'TEXT', '"n3"', 'BODY', '"fox"')) == [b'1 2 3 5 6']
ok(imap.copy('1:2', 'Cakes/Apple'))
ok(imap.store('3', '+FLAGS', r'(\Seen \Answered Later)'))
assert ok(imap.search(None, 'KEYWORD', 'Later')) == [b'3']
ok(imap.uid('MOVE', '5', 'Trash'))
assert ok(imap.search(None, 'ALL')) == [b'1 2 3 4 5']
ok(imap.store('1', '+FLAGS', r'(\Deleted)'))
assert ok(imap.expunge())[-1] == b'1'
assert imap.status('Cakes/Apple', '(MESSAGES UNSEEN)')[1][0].endswith(b'(MESSAGES 2 UNSEEN 2)')
ok(imap.rename('Cakes', 'Tarts'))
assert ok(imap.select('Tarts/Apple')) == [b'2']
part = ok(imap.fetch('1', '(BODY.PEEK[TEXT]<0.2> BODYSTRUCTURE INTERNALDATE RFC822.SIZE)'))
assert part[0][1] == b'n0', part
ok(imap.close())
ok(imap.delete('Tarts/Apple'))
imap.logout()
"#,
        &[
            &house.port("imaps").to_string(),
            house.authority().authority().to_str().unwrap(),
            &you.address,
            &you.password,
        ],
    );
}
