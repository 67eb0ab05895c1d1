//! LOGIN and AUTHENTICATE (RFC 3501 §6.2.2, §6.2.3, RFC 4959): the exchange between the client, the SASL machine and
//! the keeper.

use std::io;
use std::time::Instant;

use spool::edges::login::Unanswered;
use spool::names::SlotId;
use tracing::{info, warn};
use wire::logins::Answer as May;
use wire::sasl::{Failure, Fields, Mechanism, Proof, Sasl, Step, Verifier};
use zeroize::Zeroizing;

use super::admission;
use super::dialogue::{Next, Stranger};
use crate::answer::Answer;
use crate::capability;

impl Stranger<'_> {
    /// LOGIN is PLAIN in other words.
    pub(super) async fn login_command(&mut self, name: &[u8], password: &[u8]) -> io::Result<Next> {
        let plain = Zeroizing::new([b"\0", name, b"\0", password].concat());
        let (sasl, step) = Sasl::start(Mechanism::Plain, Some(&plain), &self.binding);
        self.exchange(sasl, step).await
    }

    pub(super) async fn authenticate(
        &mut self,
        mechanism: &str,
        initial: Option<Zeroizing<Vec<u8>>>,
    ) -> io::Result<Next> {
        let known = Mechanism::named(mechanism);
        let offered = |known: &Mechanism| capability::offered(&self.house.offer, &self.binding).any(|of| of == *known);
        let Some(mechanism) = known.filter(offered) else {
            return Ok(Next::Blame(Answer::no("CANNOT", "This mechanism is not offered")));
        };
        let (sasl, step) = Sasl::start(mechanism, initial.as_ref().map(|initial| initial.as_slice()), &self.binding);
        self.exchange(sasl, step).await
    }

    async fn exchange(&mut self, mut sasl: Sasl, mut step: Step) -> io::Result<Next> {
        loop {
            step = match step {
                Step::Challenge(challenge) => match self.challenge(&challenge).await? {
                    Some(response) => sasl.respond(&response),
                    None => return Ok(Next::Blame(Answer::bad("Not base64, or given up"))),
                },
                Step::NeedFields { name } => {
                    if !self.may_try(&name).await {
                        let text = "Too many wrong passwords; try again in an hour";
                        return Ok(Next::Blame(Answer::no("UNAVAILABLE", text)));
                    }
                    match self.fields(&name).await {
                        Some(fields) => sasl.fields(fields),
                        None => return Ok(unavailable()),
                    }
                }
                Step::Prove(proof) => return self.prove(sasl, proof).await,
                Step::Fail(why) => return Ok(self.failed(&sasl, why)),
            };
        }
    }

    /// One challenge and its answer; `None` when the client gives up or sends what is no base64.
    async fn challenge(&mut self, challenge: &[u8]) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        self.out.extend_from_slice(b"+ ");
        self.out.extend_from_slice(wire::base64::encode(challenge).as_bytes());
        self.out.extend_from_slice(b"\r\n");
        loop {
            match self.framer.line() {
                Ok(Some(line)) if line.as_slice() == b"*" => return Ok(None),
                Ok(Some(line)) => return Ok(wire::base64::decode(&line).map(Zeroizing::new)),
                Ok(None) => {}
                Err(_) => return Err(io::Error::other("a SASL answer without end")),
            }
            if !self.read().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits as long as this address has to wait for this account.
    async fn may_try(&self, name: &str) -> bool {
        match self.house.logins(self.peer, |logins, from| logins.before(from, name, Instant::now())) {
            May::After(wait) => {
                tokio::time::sleep(wait).await;
                true
            }
            May::Refuse => false,
        }
    }

    async fn fields(&self, name: &str) -> Option<Fields> {
        let fields = self.house.keeper().fields(name).await.ok()?;
        let devices = fields.devices.into_iter().map(|device| Verifier {
            device: device.device.0,
            stored_key: device.stored_key,
            server_key: device.server_key,
        });
        let devices = devices.collect();
        Some(Fields { attempt: fields.attempt, salt: fields.salt, iterations: fields.iterations, devices })
    }

    async fn prove(&mut self, sasl: Sasl, proof: Proof) -> io::Result<Next> {
        let Proof { attempt, device, check, wrap } = proof;
        let (admitted, socket) = match self.house.keeper().prove(attempt, SlotId(device), check).await {
            Ok(Some(admitted)) => admitted,
            Ok(None) => return Ok(self.failed(&sasl, Failure::Refused)),
            Err(Unanswered::Full) => return Ok(Next::Say(Answer::no("LIMIT", "Too many connections of this mailbox"))),
            Err(Unanswered::Down) => return Ok(unavailable()),
        };
        let opened = match admission::open(admitted, socket, &wrap) {
            Ok(opened) => opened,
            Err(why) => {
                warn!(session = self.session, %why, "the keeper admits and the slot does not open");
                return Ok(unavailable());
            }
        };
        drop(wrap);
        if let Some(name) = sasl.name() {
            self.house.logins(self.peer, |logins, from| logins.succeeded(from, name, Instant::now()));
        }
        // RFC 5802 §5: the client checks that we know its key, too, and answers with nothing.
        if let Some(server_final) = sasl.admitted()
            && self.challenge(&server_final).await?.is_none_or(|answer| !answer.is_empty())
        {
            return Ok(Next::Blame(Answer::bad("Given up")));
        }
        Ok(Next::Enter(opened))
    }

    fn failed(&self, sasl: &Sasl, why: Failure) -> Next {
        match why {
            Failure::Malformed => Next::Blame(Answer::bad("Not of the mechanism's form")),
            Failure::Unavailable => unavailable(),
            Failure::Refused => {
                if let Some(name) = sasl.name() {
                    let secret = sasl.shown_secret();
                    self.house.logins(self.peer, |logins, from| logins.failed(from, name, secret, Instant::now()));
                    let domain = wire::log::domain(name);
                    info!(session = self.session, peer = %self.peer, domain, "a login failed");
                }
                Next::Blame(Answer::no("AUTHENTICATIONFAILED", "Wrong address or device password"))
            }
        }
    }
}

fn unavailable() -> Next {
    Next::Say(Answer::no("UNAVAILABLE", "Logins are not possible now; try again"))
}
