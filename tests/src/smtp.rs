//! A small SMTP client that says what was answered: for loads where it matters which letter got a 250.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection in clear (the house needs `--clear-text '*'`).
#[derive(Debug)]
pub struct Smtp(BufReader<TcpStream>);

/// A reply's code and its last line's text.
pub type Reply = (u16, String);

impl Smtp {
    /// Connects, takes the greeting, says EHLO.
    ///
    /// # Errors
    /// The connection's; a greeting other than 220 as well.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(60))?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        stream.set_write_timeout(Some(Duration::from_secs(120)))?;
        stream.set_nodelay(true)?;
        let mut this = Self(BufReader::new(stream));
        this.expect(220)?;
        this.say("EHLO client.example.org")?;
        this.expect(250)?;
        Ok(this)
    }

    /// Sends one line and takes its reply.
    ///
    /// # Errors
    /// The connection's.
    pub fn ask(&mut self, line: &str) -> io::Result<Reply> {
        self.say(line)?;
        self.reply()
    }

    /// Sends a line, CRLF added.
    ///
    /// # Errors
    /// The connection's.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        self.raw(format!("{line}\r\n").as_bytes())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection's.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Takes one reply, of any number of lines.
    ///
    /// # Errors
    /// The connection's; `InvalidData` for what is no reply.
    pub fn reply(&mut self) -> io::Result<Reply> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let code = line.get(..3).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok((code, line[3..].trim().to_owned()));
            }
        }
    }

    fn expect(&mut self, code: u16) -> io::Result<()> {
        let (got, text) = self.reply()?;
        if got == code { Ok(()) } else { Err(io::Error::other(format!("{got} {text}"))) }
    }

    /// One letter; the reply to its end, or to whichever command failed.
    ///
    /// # Errors
    /// The connection's.
    pub fn send(&mut self, from: &str, to: &[&str], message: &str) -> io::Result<Reply> {
        let mut lines = vec![format!("MAIL FROM:<{from}>")];
        lines.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        for line in lines {
            let reply = self.ask(&line)?;
            if reply.0 != 250 {
                let _ = self.ask("RSET")?;
                return Ok(reply);
            }
        }
        let reply = self.ask("DATA")?;
        if reply.0 != 354 {
            return Ok(reply);
        }
        let mut text = message.replace("\r\n", "\n").replace("\n.", "\n..").replace('\n', "\r\n");
        if !text.ends_with("\r\n") {
            text.push_str("\r\n");
        }
        text.push_str(".\r\n");
        self.raw(text.as_bytes())?;
        self.reply()
    }
}

/// A plain letter with a token in its subject and body.
#[must_use]
pub fn letter(token: &str, bytes: usize) -> String {
    let mut text = format!(
        "From: aunt@example.org\nTo: you@home.test\nSubject: {token}\nDate: Sat, 21 Nov 2026 09:30:00 +0000\nMessage-ID: <{token}@example.org>\n\n{token}\n"
    );
    while text.len() < bytes {
        text.push_str("The quick brown fox jumps over the lazy dog and goes home again.\n");
    }
    text
}
