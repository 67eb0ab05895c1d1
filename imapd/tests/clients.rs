//! Command lines as real mail apps send them: each must be understood, and as what it means.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use imapd::command::{Command, Item, SectionText, Tagged};
use imapd::grammar::{Fault, parse};
use imapd::search::{Key, Place};
use spool::edges::mailbox::{Change, SpecialUse, flag};

fn command(text: &str) -> Command {
    match parse(text.as_bytes()) {
        Ok(Tagged { command, .. }) => command,
        Err(refused) => panic!("{text}: {refused:?}"),
    }
}

fn refused(text: &str) -> Fault {
    parse(text.as_bytes()).expect_err(text).fault
}

fn items(text: &str) -> Vec<Item> {
    match command(text) {
        Command::Fetch { items, .. } => items,
        other => panic!("{text}: {other:?}"),
    }
}

fn key(text: &str) -> Key {
    match command(text) {
        Command::Search { key, .. } => key,
        other => panic!("{text}: {other:?}"),
    }
}

const UNDERSTOOD: &[&str] = &[
    // Thunderbird
    r#"1 ID ("name" "Thunderbird" "version" "128.5.0esr")"#,
    r#"2 authenticate PLAIN AGpvZQBwYXNz"#,
    r#"5 list (subscribed) "" "*" return (special-use)"#,
    r#"6 list "" "INBOX""#,
    r#"7 select "INBOX""#,
    r#"8 getquotaroot "INBOX""#,
    r#"9 UID fetch 1:* (FLAGS)"#,
    r#"10 UID fetch 1:3,7 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])"#,
    r#"11 UID fetch 7 (UID RFC822.SIZE BODY.PEEK[])"#,
    r#"12 uid store 7 +FLAGS (\Seen)"#,
    r#"13 uid copy 7 "Trash""#,
    r#"14 uid store 7 +Flags (\Deleted \Seen)"#,
    r#"15 UID SEARCH UNDELETED SINCE 1-Jan-2024"#,
    r#"16 noop"#,
    r#"17 list "" "%/%""#,
    r#"18 lsub "" "*""#,
    r#"19 STATUS "Sent" (UIDNEXT MESSAGES UNSEEN RECENT)"#,
    r#"20 namespace"#,
    r#"21 UID fetch 7 (UID BODY.PEEK[HEADER] BODY.PEEK[2.MIME] BODY[1]<0.16384>)"#,
    r#"22 IDLE"#,
    // Apple Mail, iOS
    r#"1.42 ID ("name" "Mac OS X Mail" "version" "16.0 (3774.500.171.1.1)" "os" "Mac OS X" "os-version" "14.4 (23E214)" "vendor" "Apple Inc.")"#,
    r#"2.42 LIST "" "" "#,
    r#"3.42 LIST "" "*" RETURN (SPECIAL-USE)"#,
    r#"4.42 UID FETCH 1:50 (INTERNALDATE UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (date subject from to cc message-id in-reply-to references content-type x-priority x-uniform-type-identifier x-universally-unique-identifier list-id list-unsubscribe bimi-indicator bimi-location x-bimi-indicator-hash authentication-results dkim-signature x-spam-status x-spam-flag received-spf x-forefront-antispam-report)])"#,
    r#"5.42 UID FETCH 51 (BODYSTRUCTURE BODY.PEEK[HEADER])"#,
    r#"6.42 UID STORE 51 +FLAGS.SILENT ($NotJunk NotJunk)"#,
    r#"7.42 UID SEARCH RETURN (ALL) 1:* NOT DELETED"#,
    r#"8.42 STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE)"#,
    r#"9.42 UID MOVE 51 Archive"#,
    r#"10.42 CREATE "Notes" (USE (\Archive))"#,
    r#"11.42 ENABLE CONDSTORE"#,
    // Outlook
    r#"a1 ID ("name" "Microsoft Outlook" "version" "16.0" "os" NIL)"#,
    r#"a2 LSUB "" "*""#,
    r#"a3 UID FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER] INTERNALDATE)"#,
    r#"a4 FETCH 1:50 (UID RFC822.SIZE RFC822.HEADER FLAGS)"#,
    r#"a5 UID STORE 5:9 -FLAGS.SILENT (\Flagged)"#,
    r#"a6 LIST "" INBOX"#,
    r#"a7 EXPUNGE"#,
    r#"a8 UID FETCH 5 (BODYSTRUCTURE)"#,
    r#"a9 CHECK"#,
    r#"a10 CLOSE"#,
    // mbsync
    r#"3 NAMESPACE"#,
    r#"4 LIST "" "*""#,
    r#"5 SELECT INBOX"#,
    r#"6 UID FETCH 1:100 (UID FLAGS)"#,
    r#"7 UID FETCH 101:4294967294 (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"#,
    r#"8 UID FETCH 104 (BODY.PEEK[])"#,
    r#"9 UID STORE 104 +FLAGS.SILENT (\Deleted)"#,
    r#"10 UID EXPUNGE 104"#,
    r#"11 UID SEARCH HEADER X-TUID "Zk2Dz1Gk8Pqf""#,
    // mutt, neomutt
    r#"a0003 LIST "" """#,
    r#"a0004 STATUS "INBOX" (UIDNEXT UIDVALIDITY UNSEEN RECENT MESSAGES)"#,
    r#"a0005 FETCH 1:31 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO REPLY-TO LINES LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE X-LABEL X-ORIGINAL-TO)])"#,
    r#"a0006 UID FETCH 31 BODY.PEEK[]"#,
    r#"a0007 UID STORE 31 +FLAGS.SILENT (\Seen)"#,
    r#"a0008 UID SEARCH TEXT "lunch""#,
    r#"a0009 LIST "" "=Lists/%""#,
    r#"a0010 UNSELECT"#,
    // K-9, FairEmail (JavaMail)
    r#"6 UID FETCH 10,12,14 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (date subject from content-type to cc reply-to message-id references in-reply-to list-unsubscribe sender X-K9mail-Identity Chat-Version)])"#,
    r#"7 UID SEARCH 1:* UNDELETED"#,
    r#"8 UID SEARCH KEYWORD $Forwarded"#,
    r#"9 LIST "" "*" RETURN (SPECIAL-USE SUBSCRIBED CHILDREN)"#,
    r#"A5 FETCH 1 (ENVELOPE INTERNALDATE RFC822.SIZE FLAGS BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (References)])"#,
    r#"A6 SEARCH OR OR FROM "a" TO "a" SUBJECT "a" ALL"#,
    r#"A7 FETCH 1:* (UID FLAGS)"#,
    // fetchmail, imaplib, curl, offlineimap
    r#"A0004 FETCH 1:2 RFC822.SIZE"#,
    r#"A0005 FETCH 1 RFC822.HEADER"#,
    r#"A0006 FETCH 1 BODY.PEEK[TEXT]"#,
    r#"A0007 STORE 1 +FLAGS (\Seen \Deleted)"#,
    r#"FNBD3 search (UNSEEN)"#,
    r#"FNBD4 FETCH 1 (RFC822)"#,
    r#"FNBD5 STORE 1 FLAGS \Deleted"#,
    r#"FNBD6 UID SEARCH SUBJECT "a \"quoted\" word""#,
    r#"A003 FETCH 1 BODY[TEXT]"#,
    r#"A004 LIST "" *"#,
    r#"A005 LIST "" (INBOX "Sent" "A/%") RETURN (STATUS (MESSAGES UNSEEN))"#,
    r#"A006 LIST (RECURSIVEMATCH SUBSCRIBED REMOTE) "" % RETURN (CHILDREN)"#,
    r#"A007 LIST () "" %"#,
    // RFC 3501 §6
    "abcd CAPABILITY",
    "a LOGOUT",
    "a STARTTLS",
    "a AUTHENTICATE SCRAM-SHA-256",
    "a AUTHENTICATE PLAIN =",
    "a LOGIN SMITH SESAME",
    "a EXAMINE blurdybloop",
    "a DELETE foo/bar",
    "a RENAME blurdybloop sarasoop",
    "a SUBSCRIBE #news.comp.mail.mime",
    "a UNSUBSCRIBE #news.comp.mail.mime",
    "A682 LIST ~/Mail/ %",
    "A282 SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
    "A284 SEARCH CHARSET UTF-8 TEXT {6}\r\näöü",
    "A654 FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
    "a FETCH 1 FAST",
    "a FETCH 1 BODY[4.2.2.2.HEADER.FIELDS.NOT (a b)]<0.1>",
    "A003 STORE 2:4 +FLAGS (\\Deleted)",
    "A003 COPY 2:4 MEETING",
    "a MOVE 1 {3+}\r\nfoo",
    "a GETQUOTA \"\"",
    "a SETQUOTA \"\" (STORAGE 512)",
    "a NOOP ",
    "a ID NIL",
];

#[test]
fn every_line_is_understood() {
    UNDERSTOOD.iter().for_each(|line| drop(command(line)));
}

#[test]
fn what_lists_mean() {
    let Command::List(list) = command(r#"5 list (subscribed) "" "*" return (special-use)"#) else { panic!() };
    assert!(list.subscribed && list.return_special_use && list.extended && !list.return_subscribed);
    assert_eq!(list.patterns, ["*"]);
    let Command::List(list) = command(r#"a LIST "" ("A" B "Entw&APw-rfe/%") RETURN (STATUS (SIZE))"#) else { panic!() };
    assert_eq!(list.patterns, ["A", "B", "Entwürfe/%"]);
    assert!(list.return_status.unwrap().size);
    let Command::List(list) = command("a LIST Ref/ %") else { panic!() };
    assert!(!list.extended);
    assert_eq!(list.reference, "Ref/");
    for bad in [
        r#"a LIST "" ()"#,
        r#"a LIST (FOO) "" *"#,
        r#"a LIST "" * RETURN (FOO)"#,
        "a LIST (RECURSIVEMATCH) \"\" *",
        "a LIST x",
    ] {
        assert!(matches!(refused(bad), Fault::Syntax(_)), "{bad}");
    }
}

#[test]
fn what_fetches_mean() {
    let [Item::Section(section)] = &items("a FETCH 1 BODY.PEEK[1.2.HEADER.FIELDS (\"Date\" X-A)]<10.20>")[..] else {
        panic!()
    };
    assert_eq!(section.section.part, [1, 2]);
    assert_eq!(section.section.text, SectionText::Fields { names: vec!["Date".into(), "X-A".into()], not: false });
    assert_eq!((section.partial, section.peek), (Some((10, 20)), true));
    assert_eq!(items("a FETCH 1 (FLAGS FLAGS UID)"), [Item::Flags, Item::Uid]);
    let all = [Item::Flags, Item::InternalDate, Item::Size, Item::Envelope];
    assert_eq!(items("a FETCH 1 ALL"), all);
    let peeks = |text| items(text).iter().all(|item| matches!(item, Item::Section(section) if section.peek));
    assert!(peeks("a FETCH 1 RFC822.HEADER") && !peeks("a FETCH 1 RFC822.TEXT") && !peeks("a FETCH 1 RFC822"));
    for bad in ["a FETCH 1 ()", "a FETCH 1 BODY[1.2", "a FETCH 0 FLAGS", "a FETCH 1 BODY[]<0.0>", "a FETCH 1 BINARY[1]"]
    {
        assert!(matches!(refused(bad), Fault::Syntax(_)), "{bad}");
    }
}

#[test]
fn what_searches_mean() {
    let text = |place, text: &str| Key::Contains(place, text.to_owned());
    let unseen = Key::Flag(flag::SEEN, false);
    assert_eq!(key("a SEARCH UNSEEN"), unseen);
    assert_eq!(key("a SEARCH NEW"), Key::And(vec![Key::Recent(true), unseen.clone()]));
    assert_eq!(key("a SEARCH ((UNSEEN))"), unseen);
    assert_eq!(key("a SEARCH FROM x BODY y"), Key::And(vec![text(Place::From, "x"), text(Place::Body, "y")]));
    assert_eq!(key("a SEARCH NOT OR TEXT x SENTON 2-Jan-1970"), {
        Key::Not(Box::new(Key::Or(vec![text(Place::Text, "x"), Key::SentOn(86_400)])))
    });
    assert_eq!(key("a SEARCH HEADER List-Id \"\""), text(Place::Header("List-Id".into()), ""));
    assert_eq!(key("a SEARCH CHARSET utf-8 SUBJECT \"Grüße\""), text(Place::Subject, "Grüße"));
    assert_eq!(refused("a SEARCH CHARSET KOI8-R SUBJECT x"), Fault::BadCharset);
    let Command::Search { returns: Some(returns), uid: true, .. } = command("a UID SEARCH RETURN () ALL") else {
        panic!()
    };
    assert!(returns.all && !returns.count);
    let Command::Search { returns: Some(returns), .. } = command("a SEARCH RETURN (COUNT min) ALL") else { panic!() };
    assert!(returns.count && returns.min && !returns.all);
    for bad in [
        "a SEARCH",
        "a SEARCH ()",
        "a SEARCH FOO",
        "a SEARCH OR ALL",
        "a SEARCH SINCE x",
        "a SEARCH (ALL",
        "a SEARCH RETURN (SAVE) ALL",
    ] {
        assert!(matches!(refused(bad), Fault::Syntax(_)), "{bad}");
    }
}

#[test]
fn searches_have_bounds() {
    let nested = |depth: usize| format!("a SEARCH {}ALL", "NOT ".repeat(depth));
    assert!(parse(nested(31).as_bytes()).is_ok());
    assert!(matches!(refused(&nested(32)), Fault::TooMuch(_)));
    assert!(matches!(refused(&nested(20_000)), Fault::TooMuch(_)));
    assert!(matches!(refused(&format!("a SEARCH {}", "(".repeat(100_000))), Fault::TooMuch(_)));
    assert!(parse(format!("a SEARCH{}", " ALL".repeat(500)).as_bytes()).is_ok());
    assert!(matches!(refused(&format!("a SEARCH{}", " ALL".repeat(501))), Fault::TooMuch(_)));
}

#[test]
fn what_the_rest_means() {
    let uses = vec![SpecialUse::Sent];
    assert_eq!(
        command("a CREATE \"A/B/\" (USE (\\Sent))"),
        Command::Create { name: "A/B".into(), uses, unknown_use: false }
    );
    assert!(matches!(command("a CREATE x (USE (\\All))"), Command::Create { unknown_use: true, .. }));
    let Command::Store { uid: true, silent: true, change: Change::Add, flags, .. } =
        command("a UID STORE 1 +FLAGS.SILENT (\\Seen $Junk $junk)")
    else {
        panic!()
    };
    assert_eq!((flags.system, flags.keywords), (flag::SEEN, vec!["$Junk".to_owned()]));
    let login = Command::Login { name: b"joe".to_vec(), password: b"a \"b".to_vec().into() };
    assert_eq!(command("a LOGIN joe \"a \\\"b\""), login);
    let Command::Authenticate { mechanism, initial } = command("a authenticate plain AGEAYg==") else { panic!() };
    assert_eq!((mechanism.as_str(), initial.unwrap().as_slice()), ("PLAIN", &b"\0a\0b"[..]));
    assert_eq!(command("a ENABLE utf8=accept FOO"), Command::Enable(vec!["UTF8=ACCEPT".into(), "FOO".into()]));
    assert_eq!(command("a SELECT inbox"), Command::Select("INBOX".into()));
    assert_eq!(command("a SELECT {5+}\r\nInBoX"), Command::Select("INBOX".into()));
}

#[test]
fn no_debug_line_holds_a_password() {
    for line in ["a LOGIN joe sesame", "a AUTHENTICATE PLAIN c2VzYW1l"] {
        assert!(!format!("{:?}", parse(line.as_bytes())).contains("sesame"));
        let mut framer = imapd::grammar::Framer::new();
        framer.feed(line.as_bytes());
        framer.feed(b"\r\n");
        assert_eq!(format!("{:?}", framer.step()), "Command");
    }
}

#[test]
fn what_is_refused() {
    assert_eq!(refused("a FOO"), Fault::Unknown);
    assert_eq!(refused("a SORT (DATE) UTF-8 ALL"), Fault::Unknown);
    assert_eq!(refused("a SELECT A&B"), Fault::BadName);
    for bad in [
        "",
        "a",
        "a ",
        "+ NOOP",
        "a NOOP x",
        "a LOGIN x",
        "a AUTHENTICATE PLAIN x",
        "a STORE 1 FLAGS (\\Foo)",
        "a UID NOOP",
    ] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let long = format!("{} NOOP", "t".repeat(65));
    assert_eq!(parse(long.as_bytes()).unwrap_err().tag, None);
    let mut out = Vec::new();
    parse(b"a SEARCH CHARSET X ALL").unwrap_err().write(&mut out);
    assert!(out.starts_with(b"a NO [BADCHARSET (US-ASCII UTF-8)] "));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_line_panics(at in 0..UNDERSTOOD.len(), cut in 0usize..200, put in 0usize..200, byte: u8) {
        let mut line = UNDERSTOOD[at].as_bytes().to_vec();
        let put = put % line.len();
        line[put] = byte;
        let _ = parse(&line);
        line.truncate(cut);
        let _ = parse(&line);
        imapd::grammar::exercise(&[line.as_slice(), b"\r\n"].concat());
    }
}
