use super::*;
use proptest::prelude::*;

/// Everything a framer says about bytes that come in pieces of these sizes, chunks of a message joined.
fn steps(bytes: &[u8], pieces: &[usize]) -> Vec<Step> {
    let mut framer = Framer::new();
    let mut steps: Vec<Step> = Vec::new();
    let (mut rest, mut sizes) = (bytes, pieces.iter().cycle());
    loop {
        match framer.step() {
            Step::Incomplete if rest.is_empty() => return steps,
            Step::Incomplete => {
                let size = sizes.next().copied().unwrap_or(usize::MAX).clamp(1, rest.len());
                framer.feed(&rest[..size]);
                rest = &rest[size..];
            }
            Step::Chunk(more) => match steps.last_mut() {
                Some(Step::Chunk(chunk)) => chunk.extend(more),
                _ => steps.push(Step::Chunk(more)),
            },
            Step::Refused(refused) if refused.fault.closes() => {
                steps.push(Step::Refused(refused));
                return steps;
            }
            step => steps.push(step),
        }
    }
}

fn whole(text: &str) -> Vec<Step> {
    steps(text.as_bytes(), &[usize::MAX])
}

fn command(text: &str) -> Step {
    Step::Command(Zeroizing::new(text.as_bytes().to_vec()))
}

fn refused(tag: &str, fault: Fault) -> Step {
    Step::Refused(Refused { tag: Some(tag.to_owned()), fault })
}

fn append(tag: &str, size: u32, sync: bool) -> Step {
    let flags = crate::command::Flags::default();
    Step::Append(AppendHead { tag: tag.to_owned(), mailbox: "Sent".to_owned(), flags, date: None, size, sync })
}

#[test]
fn lines() {
    assert_eq!(whole("a NOOP\r\n\r\nb NOOP\nc NO"), [command("a NOOP"), command("b NOOP")]);
}

#[test]
fn literals() {
    let text = "a LOGIN {3}\r\njoe {4+}\r\npass\r\nb NOOP\r\n";
    assert_eq!(whole(text), [Step::Continue, command("a LOGIN {3}\r\njoe {4+}\r\npass"), command("b NOOP")]);
    assert_eq!(whole("a SELECT {0+}\r\n\r\n"), [command("a SELECT {0+}\r\n")]);
    // What a literal holds is not looked at.
    assert_eq!(whole("a X {6+}\r\n{9}\r\n\n\r\n"), [command("a X {6+}\r\n{9}\r\n\n")]);
}

#[test]
fn a_message_streams() {
    let text = "a APPEND Sent {5}\r\nhello\r\nb NOOP\r\n";
    let chunk = || Step::Chunk(b"hello".to_vec());
    let end = |well_formed| Step::AppendEnd { well_formed };
    assert_eq!(whole(text), [append("a", 5, true), chunk(), end(true), command("b NOOP")]);
    assert_eq!(whole("a APPEND {4+}\r\nSent {0}\r\n\r\n"), [append("a", 0, true), end(true)]);
    // Several messages at once (RFC 3502) are not offered: the second is read past, the first must be dropped.
    let many = "a APPEND Sent {5+}\r\nhello {3+}\r\nyou\r\nb NOOP\r\n";
    assert_eq!(whole(many), [append("a", 5, false), chunk(), end(false), command("b NOOP")]);
}

#[test]
fn appends_head() {
    let text = "a append \"Sent\" (\\Seen $Forwarded) \"17-Jul-1996 02:44:25 -0700\" {310+}\r\n";
    let head = AppendHead {
        tag: "a".to_owned(),
        mailbox: "Sent".to_owned(),
        flags: crate::command::Flags { system: 1, keywords: vec!["$Forwarded".to_owned()] },
        date: Some(837_596_665),
        size: 310,
        sync: false,
    };
    assert_eq!(whole(text), [Step::Append(head)]);
}

#[test]
fn an_unwanted_message() {
    let refusing = |bytes: &[u8], after: usize| {
        let mut framer = Framer::new();
        framer.feed(bytes);
        let Step::Append(head) = framer.step() else { panic!("no head") };
        (0..after).for_each(|_| drop(framer.step()));
        framer.refuse_append(&head);
        framer.feed(b"b NOOP\r\n");
        framer.step()
    };
    // A client that waits sends its next command instead; one that does not has sent the message.
    assert_eq!(refusing(b"a APPEND Sent {5}\r\n", 0), command("b NOOP"));
    assert_eq!(refusing(b"a APPEND Sent {5+}\r\nhello\r\n", 0), command("b NOOP"));
    // Too late to keep the client from sending.
    assert_eq!(refusing(b"a APPEND Sent {5}\r\nhello\r\n", 1), command("b NOOP"));
}

#[test]
fn too_much() {
    let long = format!("a NOOP {}", "x".repeat(limits::LINE));
    assert_eq!(whole(&long), [refused("a", Fault::LineTooLong)]);
    let line = format!("a{}", " ".repeat(limits::LINE - 2));
    assert_eq!(whole(&format!("{line}\r\n")), [command(&line)]);
    let fault = Fault::TooMuch("The command's literals are too long");
    assert_eq!(whole("a LOGIN {65537}\r\nb NOOP\r\n"), [refused("a", fault), command("b NOOP")]);
    let skipped = format!("a LOGIN {{65537+}}\r\n{} {{3+}}\r\nabc\r\nb NOOP\r\n", "x".repeat(65_537));
    assert_eq!(whole(&skipped), [refused("a", fault), command("b NOOP")]);
    for size in ["1048577", "4294967296", "99999999999999999999999"] {
        assert_eq!(whole(&format!("a LOGIN {{{size}+}}\r\n")), [refused("a", Fault::LiteralTooLong)]);
    }
    assert_eq!(whole("a APPEND Sent {4294967296+}\r\n"), [refused("a", Fault::LiteralTooLong)]);
    let fault = Fault::TooMuch("The message is too long");
    assert_eq!(whole("a APPEND Sent {4294967296}\r\nb NOOP\r\n"), [refused("a", fault), command("b NOOP")]);
}

#[test]
fn broken_appends() {
    let fault = Fault::Syntax("A date is broken");
    assert_eq!(whole("a APPEND Sent \"now\" {3+}\r\nabc\r\nb NOOP\r\n"), [refused("a", fault), command("b NOOP")]);
    assert_eq!(whole("a APPEND Sent \"now\" {3}\r\nb NOOP\r\n"), [refused("a", fault), command("b NOOP")]);
    assert_eq!(whole("a APPEND A&B {3}\r\nb NOOP\r\n"), [refused("a", Fault::BadName), command("b NOOP")]);
    assert_eq!(whole("a APPEND Sent hello\r\n"), [command("a APPEND Sent hello")]);
}

#[test]
fn plain_lines() {
    let mut framer = Framer::new();
    framer.feed(b"dGVzdA=={3}\r\nDO");
    assert_eq!(framer.line().unwrap().unwrap().as_slice(), b"dGVzdA=={3}");
    assert_eq!(framer.line(), Ok(None));
    framer.feed(b"NE\r\nb NOOP\r\nrest");
    assert_eq!(framer.line().unwrap().unwrap().as_slice(), b"DONE");
    assert_eq!(framer.step(), command("b NOOP"));
    assert_eq!(framer.into_rest().as_slice(), b"rest");
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"a NOOP\r\n".to_vec()),
        Just(b"b LOGIN {3}\r\njoe {4+}\r\npass\r\n".to_vec()),
        Just(b"c APPEND Sent {5}\r\nhello\r\n".to_vec()),
        Just(b"d APPEND Sent {5+}\r\nhello {2+}\r\nxy\r\n".to_vec()),
        Just(b"e APPEND Sent bad {3+}\r\nabc\r\n".to_vec()),
        Just(b"f SEARCH TEXT {70000+}\r\n".to_vec()),
        Just(vec![b'x'; 70_000]),
        prop::collection::vec(any::<u8>(), 0..20),
        "[ a-z{}+0-9\r\n]{0,20}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        bytes in prop::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat()),
        sizes in prop::collection::vec(1usize..5_000, 1..10),
        few in prop::bool::ANY,
    ) {
        let sizes: Vec<usize> = sizes.into_iter().map(|size| if few { size % 7 + 1 } else { size }).collect();
        prop_assert_eq!(steps(&bytes, &[usize::MAX]), steps(&bytes, &sizes));
    }

    #[test]
    fn anything_can_be_fed(bytes in prop::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat())) {
        crate::grammar::exercise(&bytes);
    }
}
