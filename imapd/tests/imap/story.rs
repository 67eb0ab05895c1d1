//! What a transcript cannot say: many letters, damage, proofs, counting.

use std::time::{Duration, Instant};

use wire::{base64, scram};

use crate::client::Client;
use crate::house::{House, Mailbox};

/// Something to do in a house.
pub type Story = fn(&House);

/// Name and story.
pub const ALL: &[(&str, Story)] = &[
    ("scram_with_and_without_binding", scram_with_and_without_binding),
    ("what_is_pipelined_behind_a_login_is_done", what_is_pipelined_behind_a_login_is_done),
    ("bodies_come_back_byte_for_byte", bodies_come_back_byte_for_byte),
    ("a_large_letter_streams", a_large_letter_streams),
    ("lists_with_and_without_the_cache_are_the_same", lists_with_and_without_the_cache_are_the_same),
    ("headers_come_from_the_cache", headers_come_from_the_cache),
    ("a_filter_that_hangs_keeps_nobody_out", a_filter_that_hangs_keeps_nobody_out),
    ("a_message_nobody_could_read_is_refused_for_good", a_message_nobody_could_read_is_refused_for_good),
    ("a_damaged_letter_is_told_and_the_others_are_shown", a_damaged_letter_is_told_and_the_others_are_shown),
    ("two_swapped_letters_are_noticed", two_swapped_letters_are_noticed),
    ("a_full_mailbox_says_so", a_full_mailbox_says_so),
    ("old_letters_stay_readable_after_a_rekey", old_letters_stay_readable_after_a_rekey),
    ("a_second_device_stays_when_the_first_is_revoked", a_second_device_stays_when_the_first_is_revoked),
    ("a_revoked_device_is_cut_off_in_the_middle", a_revoked_device_is_cut_off_in_the_middle),
    ("three_clients_agree_in_the_end", three_clients_agree_in_the_end),
    ("news_of_the_folder_before_is_not_of_this_one", news_of_the_folder_before_is_not_of_this_one),
    ("an_owner_ends_with_its_last_session", an_owner_ends_with_its_last_session),
    ("who_loses_its_owner_is_told", who_loses_its_owner_is_told),
    ("a_new_letter_is_told_within_milliseconds", a_new_letter_is_told_within_milliseconds),
];

fn message(number: usize, bytes: usize) -> Vec<u8> {
    let mut text = format!(
        "From: Anna <anna@home.test>\r\nTo: Ben <ben@home.test>\r\nSubject: number {number}\r\n\
         Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <{number}@home.test>\r\n\r\n"
    );
    while text.len() < bytes {
        text += &format!("line {} of letter {number}, with some words in it\r\n", text.len());
    }
    text.into_bytes()
}

fn fill(client: &mut Client, folder: &str, sizes: &[usize]) {
    for (number, bytes) in sizes.iter().enumerate() {
        let answer = client.append(folder, &message(number, *bytes));
        assert!(answer.contains("APPENDUID"), "{answer}");
    }
}

/// A SCRAM login; the tagged line.
fn scram_login(client: &mut Client, mailbox: &Mailbox, plus: bool) -> String {
    let exporter = plus.then(|| client.exporter());
    let (mechanism, header) = if plus { ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,") } else { ("SCRAM-SHA-256", "n,,") };
    let bare = format!("n={},r=fyko+d2lbbFgONRv9qkxdawL", mailbox.address);
    client.send(&format!("x AUTHENTICATE {mechanism} {}", base64::encode(format!("{header}{bare}").as_bytes())));
    let challenge = |line: String| {
        let text = line.strip_prefix("+ ").unwrap_or_else(|| panic!("no challenge: {line}"));
        String::from_utf8(base64::decode(text.as_bytes()).unwrap()).unwrap()
    };
    let first = challenge(client.line());
    let field = |name: &str| first.split(',').find_map(|field| field.strip_prefix(name)).unwrap().to_owned();
    let (salt, rounds) = (base64::decode(field("s=").as_bytes()).unwrap(), field("i=").parse().unwrap());
    let salted = scram::salted_password(mailbox.password.as_bytes(), &salt, rounds);
    let client_key = scram::client_key(&salted);
    let bound = [header.as_bytes(), exporter.as_ref().map_or(&[][..], |exporter| exporter)].concat();
    let without_proof = format!("c={},r={}", base64::encode(&bound), field("r="));
    let signed = format!("{bare},{first},{without_proof}");
    let signature = scram::mac(&scram::stored_key(&client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, mask)| key ^ mask).collect();
    client.send(&base64::encode(format!("{without_proof},p={}", base64::encode(&proof)).as_bytes()));
    let line = client.line();
    if line.starts_with("x ") {
        return line;
    }
    let verifier = scram::mac(&scram::server_key(&salted), signed.as_bytes());
    assert_eq!(challenge(line), format!("v={}", base64::encode(&verifier)), "the server proves itself");
    client.send("");
    client.line()
}

fn scram_with_and_without_binding(house: &House) {
    let mut mailbox = house.mailbox("scram", None);
    for plus in [false, true] {
        let mut client = house.connect();
        client.line();
        let answer = scram_login(&mut client, &mailbox, plus);
        assert!(answer.starts_with("x OK [CAPABILITY "), "{answer}");
        assert!(!client.ask("STATUS INBOX (MESSAGES)").is_empty());
    }
    mailbox.password.replace_range(0..1, "?");
    let mut client = house.connect();
    client.line();
    let answer = scram_login(&mut client, &mailbox, true);
    assert!(answer.starts_with("x NO [AUTHENTICATIONFAILED]"), "{answer}");
}

fn what_is_pipelined_behind_a_login_is_done(house: &House) {
    let mailbox = house.mailbox("pipelined", None);
    let mut client = house.connect();
    client.line();
    let (address, password) = (&mailbox.address, &mailbox.password);
    client.send(&format!("a LOGIN {address} {password}\r\nb SELECT INBOX\r\nc NOOP\r\nd LOGOUT"));
    assert!(client.line().starts_with("a OK "));
    client.until("b OK ");
    client.until("c OK ");
    client.until("d OK ");
    assert_eq!(client.line(), "(end)");
}

/// `BODY[]` of every letter, in order.
fn bodies(client: &mut Client, count: usize) -> Vec<Vec<u8>> {
    client.send("x UID FETCH 1:* BODY.PEEK[]");
    let mut bodies = Vec::new();
    for number in 0..count {
        let line = client.line();
        assert!(line.starts_with(&format!("* {} FETCH (UID ", number + 1)), "{line}");
        let length = line.rsplit_once('{').unwrap().1.trim_end_matches('}').parse().unwrap();
        bodies.push(client.bytes(length));
        assert_eq!(client.line(), ")");
    }
    let tagged = client.line();
    assert!(tagged.starts_with("x OK "), "{tagged}");
    bodies
}

fn bodies_come_back_byte_for_byte(house: &House) {
    let mailbox = house.mailbox("bodies", None);
    let mut client = house.session(&mailbox);
    let sizes: Vec<usize> = (0..120).map(|n| [100, 2_000, 20_000, 66_000, 200_000][n % 5]).collect();
    fill(&mut client, "INBOX", &sizes);
    client.ask("SELECT INBOX");
    for (number, (body, bytes)) in bodies(&mut client, sizes.len()).into_iter().zip(&sizes).enumerate() {
        assert!(body == message(number, *bytes), "letter {number} is another");
    }
}

fn a_large_letter_streams(house: &House) {
    let mailbox = house.mailbox("large", None);
    let mut client = house.session(&mailbox);
    let large = message(0, 12_000_000);
    assert!(client.append("INBOX", &large).contains("APPENDUID"));
    client.ask("SELECT INBOX");
    assert!(bodies(&mut client, 1)[0] == large);
    client.send("x FETCH 1 BODY.PEEK[]<11000000.1000>");
    assert_eq!(client.line(), "* 1 FETCH (BODY[]<11000000> {1000}");
    assert!(client.bytes(1000) == large[11_000_000..11_001_000]);
    client.until("x OK ");
    client.send("x FETCH 1 BODY.PEEK[]<12000000.100000>");
    let rest = &large[12_000_000..];
    assert_eq!(client.line(), format!("* 1 FETCH (BODY[]<12000000> {{{}}}", rest.len()));
    assert!(client.bytes(rest.len()) == rest);
    client.until("x OK ");
}

fn lists_with_and_without_the_cache_are_the_same(house: &House) {
    let mailbox = house.mailbox("lists", None);
    let mut client = house.session(&mailbox);
    fill(&mut client, "INBOX", &[500; 90]);
    client.ask("SELECT INBOX");
    let list = "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)";
    let first = client.ask(list);
    assert_eq!(first.len(), 90);
    assert!(first[7].contains("\"number 7\""), "{}", first[7]);
    assert_eq!(client.ask(list), first, "from the cache");
    assert_eq!(client.ask("SEARCH SUBJECT \"number 8\"").concat(), "* SEARCH 9 81 82 83 84 85 86 87 88 89 90");
    let mut other = house.session(&mailbox);
    other.ask("EXAMINE INBOX");
    let others = other.ask(list);
    assert_eq!(others.len(), 90);
}

/// What mutt, mbsync and phones list with: answered without opening a letter once the cache has its header, which any list
/// before brings there.
fn headers_come_from_the_cache(house: &House) {
    let mailbox = house.mailbox("headers", None);
    let mut client = house.session(&mailbox);
    let before = house.letters();
    fill(&mut client, "INBOX", &[700; 5]);
    let small = fresh(house, &before);
    let long = format!("X-Long: {}\r\n", "long ".repeat(10).trim_end()).repeat(400);
    assert!(long.len() > 16 * 1024);
    assert!(client.append("INBOX", &[long.as_bytes(), &message(6, 700)].concat()).contains("APPENDUID"));
    client.ask("SELECT INBOX");
    let commands = [
        "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (Subject From X-None)] RFC822.SIZE)",
        "FETCH 1:* (BODY.PEEK[HEADER.FIELDS.NOT (Subject)]<3.40> ENVELOPE)",
        "FETCH 1:* RFC822.HEADER",
        "FETCH 1:* (BODY.PEEK[HEADER]<0.50> BODY.PEEK[HEADER]<100000.5>)",
    ];
    client.ask("FETCH 1:3 ENVELOPE");
    let opened = commands.map(|command| client.ask(command));
    let list = opened[0].join("\n");
    let told = "BODY[HEADER.FIELDS (Subject From X-None)] {50}\nFrom: Anna <anna@home.test>\nSubject: number 4\n\n RFC822.SIZE ";
    assert!(list.contains(told), "{list}");
    assert!(
        opened[1].join("\n").contains("]<3> {40}\nm: Anna <anna@home.test>\nTo: Ben <ben@h ENVELOPE"),
        "{:?}",
        opened[1]
    );
    assert_eq!(opened[2].join("\n").matches("X-Long: long").count(), 400);
    assert_eq!(commands.map(|command| client.ask(command)), opened, "from the cache");
    small.iter().for_each(|letter| std::fs::remove_file(letter).unwrap());
    for (command, before) in commands.iter().zip(&opened) {
        assert_eq!(&client.ask(command), before, "without the small letters' files");
    }
    let mut other = house.session(&mailbox);
    other.ask("EXAMINE INBOX");
    assert_eq!(other.ask("FETCH 1:* RFC822.HEADER"), opened[2]);
}

fn a_message_nobody_could_read_is_refused_for_good(house: &House) {
    let mailbox = house.mailbox("parts", None);
    let mut client = house.session(&mailbox);
    let head = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n";
    let answer = client.append("INBOX", format!("{head}{}--q--\r\n", "--q\r\n\r\npart\r\n".repeat(3_000)).as_bytes());
    assert!(answer.starts_with("x NO [CANNOT]"), "{answer}");
    assert!(client.append("INBOX", &message(1, 700)).contains("APPENDUID"));
}

/// The owner zygote waits for nobody: logins go on while the filter's zygote answers nothing.
fn a_filter_that_hangs_keeps_nobody_out(house: &House) {
    use rustix::process::{Pid, Signal, kill_process};
    let zygote = Pid::from_raw(house.processes()[1]).unwrap();
    let mailboxes: Vec<Mailbox> = (0..3).map(|n| house.mailbox(&format!("hang{n}"), None)).collect();
    kill_process(zygote, Signal::STOP).unwrap();
    let mut sessions: Vec<Client> = mailboxes.iter().map(|mailbox| house.session(mailbox)).collect();
    sessions.iter_mut().for_each(|session| drop(session.ask("SELECT INBOX")));
    kill_process(zygote, Signal::CONT).unwrap();
    for session in &mut sessions {
        assert!(session.append("INBOX", &message(1, 700)).contains("APPENDUID"));
    }
}

/// The letters' files of what was added since `before`.
fn fresh(house: &House, before: &[std::path::PathBuf]) -> Vec<std::path::PathBuf> {
    house.letters().into_iter().filter(|path| !before.contains(path)).collect()
}

fn a_damaged_letter_is_told_and_the_others_are_shown(house: &House) {
    let mailbox = house.mailbox("damaged", None);
    let mut client = house.session(&mailbox);
    fill(&mut client, "INBOX", &[700]);
    let before = house.letters();
    fill(&mut client, "INBOX", &[700]);
    let hurt = fresh(house, &before);
    fill(&mut client, "INBOX", &[700]);
    client.ask("SELECT INBOX");
    let mut bytes = std::fs::read(&hurt[0]).unwrap();
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    std::fs::write(&hurt[0], bytes).unwrap();
    for command in ["FETCH 1:3 (UID BODY.PEEK[])", "FETCH 1:3 (UID ENVELOPE)"] {
        client.send(&format!("x {command}"));
        let lines = client.until("x ");
        let shown = lines.iter().filter(|line| line.contains(" FETCH (UID ")).count();
        assert_eq!(shown, 2, "{command}: {lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("* NO [ALERT] The letter with UID 2")), "{lines:?}");
        assert!(lines.last().unwrap().starts_with("x NO [CORRUPTION]"), "{lines:?}");
    }
    client.send("x SEARCH TEXT line");
    let lines = client.until("x ");
    assert!(lines.iter().any(|line| line.starts_with("* NO [ALERT] The letter with UID 2")), "{lines:?}");
    assert!(lines.iter().any(|line| line == "* SEARCH 1 3"), "{lines:?}");
}

fn two_swapped_letters_are_noticed(house: &House) {
    let mailbox = house.mailbox("swapped", None);
    let before = house.letters();
    let mut client = house.session(&mailbox);
    fill(&mut client, "INBOX", &[700, 700]);
    let both = fresh(house, &before);
    let aside = both[0].with_extension("aside");
    std::fs::rename(&both[0], &aside).unwrap();
    std::fs::rename(&both[1], &both[0]).unwrap();
    std::fs::rename(&aside, &both[1]).unwrap();
    client.ask("SELECT INBOX");
    client.send("x FETCH 1:2 BODY.PEEK[]");
    let lines = client.until("x ");
    assert_eq!(lines.iter().filter(|line| line.starts_with("* NO [ALERT]")).count(), 2, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("FETCH (")), "{lines:?}");
}

fn a_full_mailbox_says_so(house: &House) {
    let mailbox = house.mailbox("full", Some(20_000));
    let mut client = house.session(&mailbox);
    assert!(client.append("INBOX", &message(0, 9_000)).contains("APPENDUID"));
    let answer = client.append("INBOX", &message(1, 30_000));
    assert!(answer.starts_with("x NO [OVERQUOTA]"), "{answer}");
    assert!(client.append("INBOX", &message(2, 3_000)).contains("APPENDUID"), "a smaller one still fits");
    client.ask("NOOP");
}

fn old_letters_stay_readable_after_a_rekey(house: &House) {
    let mut mailbox = house.mailbox("rekeyed", None);
    let mut before = house.session(&mailbox);
    fill(&mut before, "INBOX", &[300]);
    house.rekey(&mut mailbox);
    let mut after = house.session(&mailbox);
    assert!(after.append("INBOX", &message(1, 300)).contains("APPENDUID"));
    after.ask("SELECT INBOX");
    let both = bodies(&mut after, 2);
    assert!(both[0] == message(0, 300) && both[1] == message(1, 300));
}

fn a_second_device_stays_when_the_first_is_revoked(house: &House) {
    let mut mailbox = house.mailbox("devices", None);
    let first = Mailbox::clone_login(&mailbox);
    let password = house.device(&mailbox, "second");
    let mut one = house.session(&first);
    mailbox.password = password;
    let mut two = house.session(&mailbox);
    two.ask("SELECT INBOX");
    house.revoke(&mailbox, "first");
    assert!(one.line().starts_with("* BYE "));
    assert_eq!(one.line(), "(end)");
    two.ask("NOOP");
    let mut again = house.connect();
    again.line();
    again.send(&format!("x LOGIN {} {}", first.address, first.password));
    assert!(again.line().starts_with("x NO [AUTHENTICATIONFAILED]"));
}

/// Neither a message that it sends slowly nor letters that it reads slowly keep it in.
fn a_revoked_device_is_cut_off_in_the_middle(house: &House) {
    const LETTERS: usize = 24;
    let mut mailbox = house.mailbox("thief", None);
    let first = Mailbox::clone_login(&mailbox);
    mailbox.password = house.device(&mailbox, "second");
    let (mut reads, mut writes) = (house.session(&first), house.session(&first));
    // More than all that lies between an owner and who reads slowly.
    fill(&mut reads, "Archive", &[1_000_000; LETTERS]);
    reads.ask("SELECT Archive");
    reads.send("f FETCH 1:* (BODY.PEEK[])");
    assert!(reads.line().starts_with("* 1 FETCH "));
    writes.send("a APPEND INBOX {100000}");
    assert!(writes.line().starts_with("+ "));
    writes.send("Subject: the first of many lines");
    house.revoke(&mailbox, "first");
    assert!(writes.line().starts_with("* BYE "));
    assert_eq!(writes.line(), "(end)");
    std::thread::sleep(Duration::from_secs(1));
    let (mut letters, mut line) = (1, reads.line());
    while line != "(end)" {
        assert!(!line.starts_with("f OK"), "it has all of it");
        letters += usize::from(line.starts_with("* ") && line.contains(" FETCH "));
        line = reads.line();
    }
    assert!(letters < LETTERS, "{letters} letters");
    house.session(&mailbox).ask("NOOP");
}

/// What a client believes after untagged replies: how many letters there are.
fn count(mut letters: usize, lines: &[String]) -> usize {
    for line in lines {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["*", number, "EXISTS"] => {
                let told: usize = number.parse().unwrap();
                assert!(told >= letters, "EXISTS never shrinks");
                letters = told;
            }
            ["*", number, "EXPUNGE"] => {
                let gone: usize = number.parse().unwrap();
                assert!((1..=letters).contains(&gone), "expunged {gone} of {letters}");
                letters -= 1;
            }
            _ => {}
        }
    }
    letters
}

fn three_clients_agree_in_the_end(house: &House) {
    let mailbox = house.mailbox("agree", None);
    let mut clients: Vec<Client> = (0..3).map(|_| house.session(&mailbox)).collect();
    fill(&mut clients[0], "INBOX", &[200; 6]);
    let mut letters = Vec::new();
    for client in &mut clients {
        letters.push(count(0, &client.ask("SELECT INBOX")));
    }
    // A generator of numbers, the same in every run.
    let mut seed = 12_345_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..200 {
        let who = random(3);
        if random(6) == 0 {
            // To another folder and back, or just again: what is remembered of the folder must be what it is now.
            if random(2) == 0 {
                clients[who].ask("EXAMINE Sent");
            }
            letters[who] = count(0, &clients[who].ask("SELECT INBOX"));
        }
        let command = match random(8) {
            0 => "APPEND INBOX {24+}\r\nSubject: another\r\n\r\ntext".to_owned(),
            1 | 2 if letters[who] > 0 => {
                format!("STORE {} +FLAGS.SILENT (\\Deleted)", random(letters[who]) + 1)
            }
            3 => "EXPUNGE".to_owned(),
            4 if letters[who] > 0 => format!("FETCH 1:{} (FLAGS)", letters[who]),
            5 => "SEARCH DELETED".to_owned(),
            _ => "NOOP".to_owned(),
        };
        clients[who].send(&format!("x {command}"));
        let lines = clients[who].until("x ");
        assert!(!lines.last().unwrap().starts_with("x BAD"), "{command}: {lines:?}");
        letters[who] = count(letters[who], &lines);
        // Numbers stand still under FETCH, STORE and SEARCH.
        if ["FETCH", "STORE", "SEARCH"].iter().any(|verb| command.starts_with(verb)) {
            assert!(!lines.iter().any(|line| line.ends_with(" EXPUNGE")), "{command}: {lines:?}");
        }
    }
    let mut lists = Vec::new();
    for (client, letters) in clients.iter_mut().zip(&mut letters) {
        *letters = count(*letters, &client.ask("NOOP"));
        let list = client.ask("FETCH 1:* (UID)");
        assert_eq!(list.len(), *letters);
        lists.push((list, client.ask("UID SEARCH DELETED")));
    }
    assert!(lists[0] == lists[1] && lists[1] == lists[2]);
}

fn news_of_the_folder_before_is_not_of_this_one(house: &House) {
    let mailbox = house.mailbox("switching", None);
    let (mut reader, mut writer) = (house.session(&mailbox), house.session(&mailbox));
    reader.ask("CREATE quiet");
    let busy = std::thread::spawn(move || {
        for number in 0..120 {
            assert!(writer.append("INBOX", &message(number, 200)).contains("APPENDUID"));
        }
    });
    while !busy.is_finished() {
        let inbox = count(0, &reader.ask("SELECT INBOX"));
        let inbox = count(inbox, &reader.ask("NOOP"));
        assert!(reader.ask("FETCH 1:* (UID)").len() >= inbox);
        assert_eq!(count(0, &reader.ask("SELECT quiet")), 0);
        assert_eq!(count(0, &reader.ask("NOOP")), 0, "a letter of the folder before");
    }
    busy.join().unwrap();
    assert_eq!(count(0, &reader.ask("SELECT INBOX")), 120);
}

/// Processes below the owner zygote.
fn owner_processes(house: &House) -> Vec<String> {
    let zygote = house.processes()[2];
    let text = std::fs::read_to_string(format!("/proc/{zygote}/task/{zygote}/children")).unwrap();
    text.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Waits until there are so many: one ends a moment after its last session.
fn until_owners(house: &House, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while owner_processes(house).len() != count {
        assert!(Instant::now() < deadline, "{} owners, not {count}", owner_processes(house).len());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn who_loses_its_owner_is_told(house: &House) {
    let mailbox = house.mailbox("killed", None);
    let (mut idle, mut other) = (house.session(&mailbox), house.session(&mailbox));
    idle.ask("SELECT INBOX");
    idle.send("x IDLE");
    assert!(idle.line().starts_with('+'));
    other.ask("NOOP");
    until_owners(house, 1);
    let killed = std::process::Command::new("kill").arg("-9").args(owner_processes(house)).status();
    assert!(killed.unwrap().success());
    for client in [&mut idle, &mut other] {
        assert!(client.line().starts_with("* BYE "));
        assert_eq!(client.line(), "(end)");
    }
    house.session(&mailbox).ask("SELECT INBOX");
}

fn an_owner_ends_with_its_last_session(house: &House) {
    until_owners(house, 0);
    let (one, two) = (house.mailbox("one", None), house.mailbox("two", None));
    let mut sessions = vec![house.session(&one), house.session(&one), house.session(&two)];
    sessions.iter_mut().for_each(|session| drop(session.ask("NOOP")));
    assert_eq!(owner_processes(house).len(), 2, "one owner a mailbox");
    drop(sessions);
    until_owners(house, 0);
    // Logins that follow each other closely never meet an owner that is leaving.
    for _ in 0..30 {
        let mut session = house.session(&one);
        session.ask("NOOP");
    }
}

fn a_new_letter_is_told_within_milliseconds(house: &House) {
    let mailbox = house.mailbox("latency", None);
    let (mut writer, mut waiter) = (house.session(&mailbox), house.session(&mailbox));
    waiter.ask("SELECT INBOX");
    waiter.send("x IDLE");
    waiter.line();
    let mut times: Vec<Duration> = (0..40)
        .map(|number| {
            assert!(writer.append("INBOX", &message(number, 2_000)).contains("APPENDUID"));
            let start = Instant::now();
            assert!(waiter.line().ends_with(" EXISTS"));
            let took = start.elapsed();
            waiter.line();
            took
        })
        .collect();
    times.sort_unstable();
    // No test asserts time; the figure is for whoever looks.
    println!("    tagged OK of APPEND to EXISTS in IDLE: p50 {:.1?}, longest {:.1?}", times[20], times[39]);
}
