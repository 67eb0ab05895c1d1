//! What a stranger may say before the login, and how it ends.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::{info, warn};
use wire::handed::Arrived;
use wire::tls::{ChannelBinding, TlsStream};

use super::admission::{HandedOver, Opened};
use super::{House, Peer};
use crate::answer::Answer;
use crate::command::{Command, Tagged};
use crate::grammar::{self, Framer, Step};
use crate::{capability, limits};

/// A login that has been handed over.
pub(super) struct Entry {
    /// The client.
    pub stream: TlsStream<Arrived>,
    /// Its owner's process.
    pub owner: HandedOver,
    /// What the client has sent behind its login.
    pub ahead: Vec<u8>,
}

/// One connection before its login.
pub(super) struct Stranger<'a> {
    pub(super) house: &'a House,
    pub(super) binding: ChannelBinding,
    pub(super) peer: Peer,
    pub(super) session: u32,
    pub(super) framer: Framer,
    pub(super) out: Vec<u8>,
    stream: TlsStream<Arrived>,
    bad: u32,
}

/// How a command before the login goes on.
pub(super) enum Next {
    /// With this answer.
    Say(Answer),
    /// With this answer, which counts against the client.
    Blame(Answer),
    /// With the login.
    Enter(Opened),
    /// Not at all.
    Leave(Answer),
}

impl<'a> Stranger<'a> {
    pub(super) fn new(
        house: &'a House,
        stream: TlsStream<Arrived>,
        binding: ChannelBinding,
        peer: Peer,
        session: u32,
    ) -> Self {
        Self { house, binding, peer, session, framer: Framer::new(), out: Vec::new(), stream, bad: 0 }
    }

    /// Talks until the client has logged in (`Some`) or is to be let go.
    ///
    /// # Errors
    /// The stream's.
    pub(super) async fn talk(mut self) -> io::Result<Option<Entry>> {
        let mut draining = self.house.draining.subscribe();
        let bye = tokio::select! {
            talked = tokio::time::timeout(limits::BEFORE_LOGIN, self.converse()) => match talked {
                Ok(Ok(Some(owner))) => {
                    let ahead = std::mem::take(&mut *self.framer.into_rest());
                    return Ok(Some(Entry { stream: self.stream, owner, ahead }));
                }
                Ok(Ok(None)) => None,
                Ok(Err(why)) => return Err(why),
                Err(_) => Some("* BYE Log in sooner\r\n"),
            },
            _ = draining.wait_for(|draining| *draining) => Some("* BYE The server is stopping\r\n"),
        };
        if let Some(bye) = bye {
            self.out.extend_from_slice(bye.as_bytes());
        }
        self.part().await?;
        Ok(None)
    }

    /// The last words, and the end. A client that takes neither is left.
    async fn part(&mut self) -> io::Result<()> {
        let parting = async {
            self.flush().await?;
            self.stream.shutdown().await
        };
        tokio::time::timeout(limits::PARTING, parting).await.unwrap_or(Ok(()))
    }

    async fn converse(&mut self) -> io::Result<Option<HandedOver>> {
        let greeting = format!("* OK [CAPABILITY {}] Postern is ready\r\n", self.capabilities());
        self.out.extend_from_slice(greeting.as_bytes());
        loop {
            match self.framer.step() {
                Step::Incomplete => {
                    if !self.read().await? {
                        return Ok(None);
                    }
                }
                Step::Continue => self.out.extend_from_slice(b"+ \r\n"),
                Step::Command(bytes) => match grammar::parse(&bytes) {
                    Ok(tagged) => {
                        drop(bytes);
                        if let Some(owner) = self.command(tagged).await? {
                            return Ok(Some(owner));
                        }
                    }
                    Err(refused) => {
                        self.bad += 1;
                        refused.write(&mut self.out);
                    }
                },
                Step::Append(head) => {
                    self.framer.refuse_append(&head);
                    self.bad += 1;
                    Answer::bad("Log in first").write(&mut self.out, &head.tag);
                }
                Step::Chunk(_) | Step::AppendEnd { .. } => {}
                Step::Refused(refused) => {
                    self.bad += if refused.fault.closes() { limits::BAD_BEFORE_LOGIN } else { 1 };
                    refused.write(&mut self.out);
                }
            }
            if self.bad >= limits::BAD_BEFORE_LOGIN {
                self.out.extend_from_slice(b"* BYE Too many mistakes\r\n");
                return Ok(None);
            }
        }
    }

    /// Performs one command; `Some` once the login has been handed over and told.
    async fn command(&mut self, Tagged { tag, command }: Tagged) -> io::Result<Option<HandedOver>> {
        let (answer, goes_on) = match self.perform(command).await? {
            Next::Say(answer) => (answer, true),
            Next::Leave(answer) => (answer, false),
            Next::Blame(answer) => {
                self.bad += 1;
                (answer, true)
            }
            Next::Enter(opened) => match self.enter(opened).await {
                Ok(owner) => {
                    let answer = Answer::ok("Logged in")
                        .with(format!("CAPABILITY {}", capability::logged_in(self.house.largest)));
                    answer.write(&mut self.out, &tag);
                    self.flush().await?;
                    return Ok(Some(owner));
                }
                Err(why) => {
                    warn!(session = self.session, %why, "a login could not be handed over");
                    (Answer::no("UNAVAILABLE", "Your mailbox cannot be opened now; try again"), true)
                }
            },
        };
        answer.write(&mut self.out, &tag);
        if !goes_on {
            self.bad = 0;
            self.part().await?;
            return Err(io::Error::other("logged out"));
        }
        Ok(None)
    }

    async fn perform(&mut self, command: Command) -> io::Result<Next> {
        Ok(match command {
            Command::Capability => {
                let line = format!("* CAPABILITY {}\r\n", self.capabilities());
                self.out.extend_from_slice(line.as_bytes());
                Next::Say(Answer::ok("That is all"))
            }
            Command::Noop => Next::Say(Answer::ok("Nothing done")),
            Command::Id(_) => {
                self.out.extend_from_slice(capability::ID.as_bytes());
                Next::Say(Answer::ok("Pleased to meet you"))
            }
            Command::Enable(_) => {
                self.out.extend_from_slice(b"* ENABLED\r\n");
                Next::Say(Answer::ok("Nothing that needs enabling"))
            }
            Command::Logout => {
                self.out.extend_from_slice(b"* BYE Until next time\r\n");
                Next::Leave(Answer::ok("Logged out"))
            }
            Command::Login { name, password } => self.login_command(&name, &password).await?,
            Command::Authenticate { mechanism, initial } => self.authenticate(&mechanism, initial).await?,
            Command::StartTls => Next::Blame(Answer::bad("This port is TLS from its first byte")),
            _ => Next::Blame(Answer::bad("Log in first")),
        })
    }

    async fn enter(&mut self, opened: Opened) -> io::Result<HandedOver> {
        let (mailbox, device) = (opened.admitted().mailbox, opened.admitted().device);
        let owners = self.house.owners();
        let owner = opened.hand_over(&owners, self.session).await?;
        info!(session = self.session, peer = %self.peer, %mailbox, device = device.0, "logged in");
        Ok(owner)
    }

    fn capabilities(&self) -> String {
        capability::before_login(&self.house.offer, &self.binding)
    }

    /// Writes what is to be said, then waits for more; `false` at the client's end.
    pub(super) async fn read(&mut self) -> io::Result<bool> {
        self.flush().await?;
        let mut buffer = [0; 2048];
        let count = self.stream.read(&mut buffer).await?;
        self.framer.feed(&buffer[..count]);
        zeroize::Zeroize::zeroize(&mut buffer[..count]);
        Ok(count > 0)
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await?;
            self.out.clear();
        }
        Ok(())
    }
}
