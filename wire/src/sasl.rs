//! The server's side of SASL, as a pure machine: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 and -PLUS
//! (RFC 5802, 7677, 9266). It only ever runs under TLS. It asks for what the keeper stores, finds which
//! device proved itself, and ends with that device's `check` and `wrap`.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::limits;
use crate::scram::{self, Secret};
use crate::tls::ChannelBinding;

mod scram_messages;
use scram_messages::{ClientFinal, ClientFirst};

/// What a client may log in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// The undocumented one that Outlook and others still use in SMTP.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677 with channel binding.
    ScramSha256Plus,
}

impl Mechanism {
    /// By its registered name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Plain, Self::Login, Self::ScramSha256, Self::ScramSha256Plus]
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Its registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }

    /// What to announce on a connection with this binding, strongest first.
    #[must_use]
    pub fn offered(binding: &ChannelBinding) -> &'static [Self] {
        const ALL: [Mechanism; 4] =
            [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];
        if binding.exporter.is_some() { &ALL } else { &ALL[1..] }
    }
}

/// The mechanisms a box offers: all, but for those that its admin has left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    without: Vec<Mechanism>,
}

impl Offer {
    /// All but these.
    #[must_use]
    pub const fn without(mechanisms: Vec<Mechanism>) -> Self {
        Self { without: mechanisms }
    }

    /// What a login may be bound to on a connection. Where -PLUS is left out there is nothing: a client that could bind
    /// and sees no -PLUS says so ("y"), and RFC 5802 §6 would take that for somebody's having cut it out of the list.
    #[must_use]
    pub fn binding(&self, found: ChannelBinding) -> ChannelBinding {
        if self.without.contains(&Mechanism::ScramSha256Plus) { ChannelBinding::default() } else { found }
    }

    /// What to announce and take on a connection with this binding, strongest first.
    pub fn on(&self, binding: &ChannelBinding) -> impl Iterator<Item = Mechanism> {
        Mechanism::offered(binding).iter().copied().filter(|mechanism| !self.without.contains(mechanism))
    }
}

/// One device's verifier, as the keeper stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Its slot.
    pub device: u32,
    /// H(ClientKey).
    pub stored_key: [u8; 32],
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: [u8; 32],
}

/// What the keeper knows of a name; for an unknown one the same shape of fakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// Goes back with the proof.
    pub attempt: u64,
    /// PBKDF2 salt.
    pub salt: [u8; 16],
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// All devices.
    pub devices: Vec<Verifier>,
}

/// What the machine wants next.
#[derive(Debug)]
pub enum Step {
    /// Send this (base64 is the protocol's business) and give the answer to [`Sasl::respond`].
    Challenge(Vec<u8>),
    /// Ask the keeper for this name and give what it says to [`Sasl::fields`].
    NeedFields {
        /// As the client wrote it, UTF-8, at most [`limits::SASL_FIELD`] bytes.
        name: String,
    },
    /// Hand this to the keeper; on success call [`Sasl::admitted`].
    Prove(Proof),
    /// It is over.
    Fail(Failure),
}

/// Why an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The client broke the mechanism's syntax: 501, BAD.
    Malformed,
    /// Wrong name or secret: 535 5.7.8, NO `[AUTHENTICATIONFAILED]`. The two look alike.
    Refused,
    /// We could not: 454 4.7.0, NO `[UNAVAILABLE]`.
    Unavailable,
}

/// What the keeper compares, and what opens the slot (which never goes to the keeper).
pub struct Proof {
    /// From [`Fields`].
    pub attempt: u64,
    /// The device whose key matched.
    pub device: u32,
    /// For the keeper.
    pub check: [u8; 32],
    /// For the slot.
    pub wrap: Secret,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof {{ device: {}, .. }}", self.device)
    }
}

enum State {
    ExpectPlain,
    ExpectLoginName,
    ExpectLoginPassword { name: String },
    ExpectPlainFields { password: Zeroizing<Vec<u8>> },
    ExpectClientFirst,
    ExpectScramFields { first: ClientFirst },
    ExpectClientFinal { first: ClientFirst, server_first: String, fields: Fields },
    Proving { server_final: Option<Vec<u8>> },
    Over,
}

/// One exchange.
pub struct Sasl {
    state: State,
    plus: bool,
    binding: ChannelBinding,
    name: Option<String>,
    shown: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sasl(..)")
    }
}

impl Sasl {
    /// Begins. `initial` is the decoded initial response, if the client sent one (`=` means empty).
    #[must_use]
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>, binding: &ChannelBinding) -> (Self, Step) {
        let (state, prompt): (_, &[u8]) = match mechanism {
            Mechanism::Plain => (State::ExpectPlain, b""),
            Mechanism::Login => (State::ExpectLoginName, b"Username:"),
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => (State::ExpectClientFirst, b""),
        };
        let plus = mechanism == Mechanism::ScramSha256Plus;
        let mut sasl = Self { state, plus, binding: binding.clone(), name: None, shown: None };
        let step = match initial {
            _ if plus && binding.exporter.is_none() => sasl.fail(Failure::Malformed),
            Some(initial) => sasl.respond(initial),
            None => Step::Challenge(prompt.to_vec()),
        };
        (sasl, step)
    }

    /// The login name, once known.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The password tried, when the mechanism shows it (PLAIN, LOGIN): for [`crate::logins::Logins::failed`].
    #[must_use]
    pub fn shown_secret(&self) -> Option<&[u8]> {
        self.shown.as_ref().map(|secret| secret.as_slice())
    }

    /// Takes the client's decoded response.
    pub fn respond(&mut self, response: &[u8]) -> Step {
        if response.len() > limits::SASL_RESPONSE {
            return self.fail(Failure::Malformed);
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::ExpectPlain => self.plain(response),
            State::ExpectLoginName => match text(response) {
                Some(name) => {
                    self.state = State::ExpectLoginPassword { name };
                    Step::Challenge(b"Password:".to_vec())
                }
                None => self.fail(Failure::Malformed),
            },
            State::ExpectLoginPassword { name } => self.password(name, response),
            State::ExpectClientFirst => match ClientFirst::parse(response) {
                Some(first) if self.binding_agrees(&first) && !first.for_another => {
                    let name = first.name.clone();
                    self.state = State::ExpectScramFields { first };
                    self.need(name)
                }
                // RFC 5802 §6: an authentication that fails, not a form that is wrong.
                Some(_) => self.fail(Failure::Refused),
                None => self.fail(Failure::Malformed),
            },
            State::ExpectClientFinal { first, server_first, fields } => {
                self.client_final(&first, &server_first, &fields, response)
            }
            _ => self.fail(Failure::Malformed),
        }
    }

    /// Takes what the keeper knows of the name.
    pub fn fields(&mut self, fields: Fields) -> Step {
        if fields.iterations == 0 || fields.iterations > limits::SCRAM_ITERATIONS {
            return self.fail(Failure::Unavailable);
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::ExpectPlainFields { password } => self.compare(&fields, &password),
            State::ExpectScramFields { mut first } => {
                let mut nonce = [0; 18];
                if SystemRandom::new().fill(&mut nonce).is_err() {
                    return self.fail(Failure::Unavailable);
                }
                first.nonce.push_str(&crate::base64::encode(&nonce));
                let salt = crate::base64::encode(&fields.salt);
                let server_first = format!("r={},s={salt},i={}", first.nonce, fields.iterations);
                let challenge = server_first.clone().into_bytes();
                self.state = State::ExpectClientFinal { first, server_first, fields };
                Step::Challenge(challenge)
            }
            _ => self.fail(Failure::Unavailable),
        }
    }

    /// The keeper has admitted: the last challenge to send before saying so, if the mechanism has one
    /// (the client's answer to it is empty).
    #[must_use]
    pub fn admitted(self) -> Option<Vec<u8>> {
        match self.state {
            State::Proving { server_final } => server_final,
            _ => None,
        }
    }

    // RFC 4616 §2: [authzid] NUL authcid NUL passwd. Acting for others is not offered.
    fn plain(&mut self, response: &[u8]) -> Step {
        let fields: Vec<&[u8]> = response.split(|byte| *byte == 0).collect();
        match fields[..] {
            [authzid, authcid, password] => match text(authcid) {
                Some(name) if authzid.is_empty() || authzid == authcid => self.password(name, password),
                Some(_) => self.fail(Failure::Refused),
                None => self.fail(Failure::Malformed),
            },
            _ => self.fail(Failure::Malformed),
        }
    }

    fn password(&mut self, name: String, password: &[u8]) -> Step {
        if password.is_empty() || password.len() > limits::SASL_FIELD {
            return self.fail(Failure::Malformed);
        }
        let password = Zeroizing::new(password.to_vec());
        self.shown = Some(password.clone());
        self.state = State::ExpectPlainFields { password };
        self.need(name)
    }

    fn need(&mut self, name: String) -> Step {
        self.name = Some(name.clone());
        Step::NeedFields { name }
    }

    // One PBKDF2 whatever the name: unknown ones have fake fields, so both take the same time.
    fn compare(&mut self, fields: &Fields, password: &[u8]) -> Step {
        let typed = canonical(password);
        let salted = scram::salted_password(&typed, &fields.salt, fields.iterations);
        let client_key = scram::client_key(&salted);
        let stored_key = scram::stored_key(&client_key);
        let matching = fields.devices.iter().fold(None, |found, device| {
            if scram::same(&device.stored_key, &stored_key) { Some(device.device) } else { found }
        });
        match matching {
            Some(device) => self.prove(fields.attempt, device, &client_key, None),
            None => self.fail(Failure::Refused),
        }
    }

    // RFC 5802 §6: with -PLUS the client names the binding; without, "y" (client thinks we have none)
    // is a sign of somebody who removed -PLUS from our list.
    fn binding_agrees(&self, first: &ClientFirst) -> bool {
        match (self.plus, first.binding.as_str()) {
            (true, "p=tls-exporter") => self.binding.exporter.is_some(),
            (true, "p=tls-server-end-point") => self.binding.end_point.is_some(),
            (false, "n") => true,
            (false, "y") => self.binding.exporter.is_none(),
            _ => false,
        }
    }

    fn bound_bytes(&self, first: &ClientFirst) -> Vec<u8> {
        let mut bytes = first.header.clone().into_bytes();
        match first.binding.as_str() {
            "p=tls-exporter" => bytes.extend(self.binding.exporter.iter().flatten()),
            "p=tls-server-end-point" => bytes.extend(self.binding.end_point.iter().flatten()),
            _ => {}
        }
        bytes
    }

    fn client_final(&mut self, first: &ClientFirst, server_first: &str, fields: &Fields, response: &[u8]) -> Step {
        let Some(last) = ClientFinal::parse(response) else { return self.fail(Failure::Malformed) };
        if last.nonce != first.nonce || last.binding != self.bound_bytes(first) {
            return self.fail(Failure::Refused);
        }
        let signed = format!("{},{server_first},{}", first.bare, last.without_proof);
        let matching = fields.devices.iter().fold(None, |found, device| {
            let signature = scram::mac(&device.stored_key, signed.as_bytes());
            let mut client_key = Zeroizing::new(last.proof);
            client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
            let fits = scram::same(&scram::stored_key(&client_key), &device.stored_key);
            if fits { Some((device, client_key)) } else { found }
        });
        match matching {
            Some((device, client_key)) => {
                let verifier = scram::mac(&device.server_key, signed.as_bytes());
                let server_final = format!("v={}", crate::base64::encode(&verifier)).into_bytes();
                self.prove(fields.attempt, device.device, &client_key, Some(server_final))
            }
            None => self.fail(Failure::Refused),
        }
    }

    fn prove(&mut self, attempt: u64, device: u32, client_key: &Secret, server_final: Option<Vec<u8>>) -> Step {
        self.state = State::Proving { server_final };
        Step::Prove(Proof { attempt, device, check: scram::check(client_key), wrap: scram::wrap(client_key) })
    }

    fn fail(&mut self, why: Failure) -> Step {
        self.state = State::Over;
        Step::Fail(why)
    }
}

/// A device password as it was printed: people and phones add spaces and capitals, and leave hyphens out. Anything that is not
/// of its alphabet is left as it came (and will match nothing).
fn canonical(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let shaped = password.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b' '));
    if !shaped {
        return Zeroizing::new(password.to_vec());
    }
    let bare = |kept: fn(&u8) -> bool| {
        Zeroizing::new(password.iter().filter(|byte| kept(byte)).map(u8::to_ascii_lowercase).collect::<Vec<u8>>())
    };
    let letters = bare(|byte| !matches!(byte, b' ' | b'-'));
    if letters.len() != limits::DEVICE_PASSWORD {
        return bare(|byte| *byte != b' ');
    }
    let mut printed = Zeroizing::new(Vec::with_capacity(2 * limits::DEVICE_PASSWORD));
    for (place, letter) in letters.iter().enumerate() {
        if place > 0 && place % limits::DEVICE_PASSWORD_GROUP == 0 {
            printed.push(b'-');
        }
        printed.push(*letter);
    }
    printed
}

fn text(bytes: &[u8]) -> Option<String> {
    let bounded = !bytes.is_empty() && bytes.len() <= limits::SASL_FIELD && !bytes.contains(&0);
    bounded.then(|| String::from_utf8(bytes.to_vec()).ok()).flatten()
}

#[cfg(test)]
mod tests;
