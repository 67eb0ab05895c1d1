//! Runs a transcript (`tests/transcripts/smtp/*.txt`) against anything that speaks: the pure session, or a
//! socket.
//!
//! ```text
//! # a comment: the sentence this proves
//! # key: value        a directive, when the key is one that the peer knows (service, delivered, ...)
//! C: MAIL FROM:<>     a line, sent with CRLF; \r \n \t \0 \\ \xNN are escapes; C2: is a second connection
//! C-: abc             the same without CRLF
//! S: 250 2.1.0 ...    the next line must be this; `...` matches the rest
//! S*: 250-...         any number of such lines
//! S: <closed>         nothing more comes
//! TLS                 the client's side of the handshake
//! bound ...           any line, for a run whose TLS connections can be bound to (RFC 9266: TLS 1.3)
//! unbound ...         any line, for one whose cannot
//! ```
//!
//! All that was said must have been expected by the end.

/// What a transcript is run against. `connection` is 1 or more.
pub trait Peer {
    /// The client sends this.
    fn send(&mut self, connection: usize, bytes: &[u8]);
    /// What it reads next, without CRLF; `None` when nothing comes.
    fn line(&mut self, connection: usize) -> Option<String>;
    /// Whether the server has closed.
    fn is_closed(&mut self, connection: usize) -> bool;
    /// The client shakes hands.
    fn start_tls(&mut self, connection: usize);
    /// Whether its TLS connections have a channel binding.
    fn is_bound(&self) -> bool;
    /// A `# key: value`; `None` when it is but a comment, else whether it holds.
    fn directive(&mut self, key: &str, value: &str) -> Option<Result<(), String>>;
}

/// Runs it against a peer of which one cannot know that nothing more comes.
#[allow(dead_code)]
pub fn run_to_end(text: &str, peer: &mut impl Peer) -> Result<(), String> {
    let mut run = Run { peer, ahead: vec![None; 4], last: 1 };
    text.lines().enumerate().try_for_each(|(number, line)| run.step(line).map_err(|why| report(text, number, &why)))
}

/// Runs it; the error is the transcript with the first wrong line marked.
#[allow(dead_code)]
pub fn run(text: &str, peer: &mut impl Peer) -> Result<(), String> {
    let mut run = Run { peer, ahead: vec![None; 4], last: 1 };
    for (number, line) in text.lines().enumerate() {
        run.step(line).map_err(|why| report(text, number, &why))?;
    }
    run.nothing_more().map_err(|why| report(text, text.lines().count(), &why))
}

struct Run<'a, P> {
    peer: &'a mut P,
    ahead: Vec<Option<String>>,
    /// The highest connection there is.
    last: usize,
}

impl<P: Peer> Run<'_, P> {
    fn step(&mut self, line: &str) -> Result<(), String> {
        match line.split_once(' ') {
            Some(("bound", line)) => return if self.peer.is_bound() { self.step(line) } else { Ok(()) },
            Some(("unbound", line)) => return if self.peer.is_bound() { Ok(()) } else { self.step(line) },
            _ => {}
        }
        if let Some(comment) = line.strip_prefix('#') {
            let (key, value) = comment.split_once(':').unwrap_or((comment, ""));
            return self.peer.directive(key.trim(), value.trim()).unwrap_or(Ok(()));
        }
        if line.trim().is_empty() {
            return Ok(());
        }
        if let Some(number) = line.strip_prefix("TLS") {
            self.peer.start_tls(number.parse().unwrap_or(1));
            return Ok(());
        }
        let (head, rest) = line.split_once(':').ok_or("no such line in a transcript")?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let number = head.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(1);
        self.last = self.last.max(number);
        match (head.chars().next(), head.chars().last()) {
            (Some('C'), Some('-')) => self.peer.send(number, &unescape(rest)),
            (Some('C'), _) => self.peer.send(number, &[unescape(rest), b"\r\n".to_vec()].concat()),
            (Some('S'), Some('*')) => return self.skip(number, rest),
            (Some('S'), _) => return self.expect(number, rest),
            _ => return Err("no such line in a transcript".into()),
        }
        Ok(())
    }

    fn next(&mut self, connection: usize) -> Option<String> {
        self.ahead[connection].take().or_else(|| self.peer.line(connection))
    }

    fn expect(&mut self, connection: usize, pattern: &str) -> Result<(), String> {
        let said = self.next(connection);
        match (pattern, said) {
            ("<closed>", None) if self.peer.is_closed(connection) => Ok(()),
            ("<closed>", None) => Err("the connection is still open".into()),
            (pattern, Some(said)) if matches(pattern, &said) => Ok(()),
            (_, Some(said)) => Err(format!("it said: {said}")),
            (_, None) => Err("it said nothing".into()),
        }
    }

    fn skip(&mut self, connection: usize, pattern: &str) -> Result<(), String> {
        while let Some(said) = self.next(connection) {
            if !matches(pattern, &said) {
                self.ahead[connection] = Some(said);
                break;
            }
        }
        Ok(())
    }

    fn nothing_more(&mut self) -> Result<(), String> {
        match (1..=self.last).find_map(|connection| self.next(connection)) {
            Some(said) => Err(format!("it said more: {said}")),
            None => Ok(()),
        }
    }
}

fn matches(pattern: &str, said: &str) -> bool {
    pattern.strip_suffix("...").map_or(pattern == said, |start| said.starts_with(start))
}

fn report(text: &str, wrong: usize, why: &str) -> String {
    let shown: Vec<String> = text
        .lines()
        .chain(std::iter::once(""))
        .take(wrong + 1)
        .enumerate()
        .map(|(number, line)| format!("{} {line}", if number == wrong { ">" } else { " " }))
        .collect();
    format!("{}\n  ^ {why}", shown.join("\n"))
}

/// Resolves the escapes.
pub fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let (escaped, after) = rest.split_first().expect("something after a backslash");
        rest = after;
        match escaped {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).expect("two digits");
                out.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                rest = &rest[2..];
            }
            other => out.push(*other),
        }
    }
    out
}
