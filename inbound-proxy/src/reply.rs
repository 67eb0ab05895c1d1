//! Everything this proxy can say in SMTP: a closed table. There is no 354 in it, and no 250 that could follow data,
//! because after DATA or BDAT the one thing left to say is [`Reply::NoData`], which closes.

/// One reply. The name is the occasion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The first word.
    Greeting,
    /// Overload, the proxy's end, or the home of this address sleeps: the first word, and the last. Later: a new connection is needed.
    Unavailable,
    /// EHLO in clear: STARTTLS is offered.
    HelloInClear,
    /// EHLO under TLS.
    HelloUnderTls,
    /// HELO.
    PlainHello,
    /// STARTTLS.
    GoAhead,
    /// MAIL under TLS: which sender it is has been heard, no more.
    SenderHeard,
    /// NOOP, RSET.
    Fine,
    /// VRFY, EXPN.
    Perhaps,
    /// HELP.
    Help,
    /// QUIT.
    Bye,
    /// MAIL or RCPT in clear: TLS first.
    TlsFirst,
    /// RCPT under TLS: try again, and by then it is known whose this is.
    TryAgain,
    /// MAIL or RCPT under TLS while the home is away.
    HomeAway,
    /// DATA or BDAT, ever.
    NoData,
    /// A command at the wrong moment that carries no mail.
    OutOfOrder,
    /// A command that is none.
    NotUnderstood,
    /// A line that is too long, or ends in a bare CR or LF.
    BadLine,
    /// Nothing has come for too long, or it has taken too long in all.
    Idle,
    /// Too many commands, or too many that make no sense.
    Enough,
}

impl Reply {
    /// Every one.
    pub const ALL: [Self; 20] = [
        Self::Greeting,
        Self::Unavailable,
        Self::HelloInClear,
        Self::HelloUnderTls,
        Self::PlainHello,
        Self::GoAhead,
        Self::SenderHeard,
        Self::Fine,
        Self::Perhaps,
        Self::Help,
        Self::Bye,
        Self::TlsFirst,
        Self::TryAgain,
        Self::HomeAway,
        Self::NoData,
        Self::OutOfOrder,
        Self::NotUnderstood,
        Self::BadLine,
        Self::Idle,
        Self::Enough,
    ];

    /// Code and words; `{}` stands for the proxy's name.
    const fn text(self) -> &'static str {
        match self {
            Self::Greeting => "220 {} ESMTP",
            Self::Unavailable => "421 4.3.2 {} not now, try again later",
            // No PIPELINING: it would bring DATA along with RCPT (measured: Postfix, Exim, Sendmail). No CHUNKING for
            // the same reason. SIZE without a number: the home says which.
            Self::HelloInClear => "250-{}\r\n250-8BITMIME\r\n250-SIZE\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS",
            Self::HelloUnderTls => "250-{}\r\n250-8BITMIME\r\n250-SIZE\r\n250 ENHANCEDSTATUSCODES",
            Self::PlainHello => "250 {}",
            Self::GoAhead => "220 2.0.0 go ahead",
            Self::SenderHeard => "250 2.1.0 and for whom?",
            Self::Fine => "250 2.0.0 fine",
            Self::Perhaps => "252 2.0.0 perhaps",
            Self::Help => "214 2.0.0 this address serves several homes: https://www.rfc-editor.org/rfc/rfc5321",
            Self::Bye => "221 2.0.0 {} goodbye",
            Self::TlsFirst => "451 4.7.0 this address takes mail under TLS only: STARTTLS first",
            Self::TryAgain => {
                "451 4.7.1 several homes share this address: try again, and it will be known whose this is"
            }
            Self::HomeAway => "451 4.4.1 the home is not connected: try again later",
            Self::NoData => "451 4.3.0 no recipient was accepted",
            Self::OutOfOrder => "503 5.5.1 not now",
            Self::NotUnderstood => "500 5.5.2 not understood",
            Self::BadLine => "500 5.5.2 lines end in CRLF and have at most 2048 octets",
            Self::Idle => "421 4.4.2 {} this takes too long",
            Self::Enough => "421 4.7.0 {} enough",
        }
    }

    /// Whether nothing may be said after it: the connection ends. After a 421 that leaves a connection open, Exim and
    /// chasquid go on in clear (measured).
    #[must_use]
    pub const fn closes(self) -> bool {
        matches!(self, Self::Unavailable | Self::Bye | Self::NoData | Self::Idle | Self::Enough)
    }

    /// Appends it as it goes on the wire.
    pub fn write(self, proxy: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text().replace("{}", proxy).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: Reply) -> String {
        let mut out = Vec::new();
        reply.write("clean.example", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_takes_mail_in() {
        for reply in Reply::ALL {
            for line in written(reply).lines() {
                assert!(!line.starts_with('3'), "{reply:?} asks for data");
                let positive = line.starts_with('2');
                let harmless = matches!(
                    reply,
                    Reply::Greeting
                        | Reply::HelloInClear
                        | Reply::HelloUnderTls
                        | Reply::PlainHello
                        | Reply::GoAhead
                        | Reply::SenderHeard
                        | Reply::Fine
                        | Reply::Perhaps
                        | Reply::Help
                        | Reply::Bye
                );
                assert_eq!(positive, harmless, "{reply:?}");
            }
        }
        assert!(written(Reply::NoData).starts_with("451 ") && Reply::NoData.closes());
    }

    #[test]
    fn the_table_is_whole_and_well_formed() {
        for (at, reply) in Reply::ALL.iter().enumerate() {
            assert_eq!(*reply as usize, at);
            let text = written(*reply);
            assert!(text.ends_with("\r\n") && !text.contains("{}"), "{text}");
            let lines: Vec<_> = text.split_terminator("\r\n").collect();
            let code = &lines[0][..3];
            for (number, line) in lines.iter().enumerate() {
                let between = if number + 1 == lines.len() { " " } else { "-" };
                assert!(line.starts_with(&format!("{code}{between}")) && line.len() < 510, "{line}");
                assert!(!line.contains(['\r', '\n']), "{line}");
            }
            assert_eq!(code == "421", reply.closes() && !matches!(reply, Reply::Bye | Reply::NoData), "{reply:?}");
        }
        assert_eq!(Reply::Enough as usize + 1, Reply::ALL.len(), "the last of the enum is in the table");
    }

    #[test]
    fn nothing_that_begets_data_is_offered() {
        for reply in [Reply::HelloInClear, Reply::HelloUnderTls] {
            for word in ["PIPELINING", "CHUNKING", "SMTPUTF8", "BINARYMIME", "AUTH"] {
                assert!(!written(reply).contains(word), "{word}");
            }
        }
        assert!(written(Reply::HelloInClear).contains("250 STARTTLS"));
        assert!(!written(Reply::HelloUnderTls).contains("STARTTLS"));
    }
}
