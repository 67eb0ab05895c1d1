//! Who is invited, and who has come: a secret makes a box a home, or adds a name to the home that it is already.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, io};

use super::{Grant, Home, Homes, Invitation, Paired, is_name};
use crate::durable;
use crate::hello::Refusal;
use crate::keys::{OneTimeSecret, PublicKey};
use crate::limits;

/// Why nobody is invited: for the operator.
#[derive(Debug)]
pub enum InviteError {
    /// Not a name.
    Name,
    /// That home is paired already.
    Taken(String),
    /// Another home has what this one would.
    Clash { with: String, what: String },
    /// [`limits::HOMES`].
    Full,
    /// The disk, or the system's randomness.
    Io(io::Error),
}

impl fmt::Display for InviteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("a home's name is letters, digits, dots and hyphens, as in mail.alice.example"),
            Self::Taken(name) => write!(f, "{name} is paired with a box already; revoke it first if that box is gone"),
            Self::Clash { with, what } => write!(f, "{what} is given to {with} already"),
            Self::Full => write!(f, "there are {} homes already", limits::HOMES),
            Self::Io(error) => write!(f, "the folder of homes: {error}"),
        }
    }
}

impl std::error::Error for InviteError {}

impl From<io::Error> for InviteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What goes into a code.
#[derive(Debug)]
pub struct Invited {
    /// Said once.
    pub secret: OneTimeSecret,
    /// Seconds since 1970, a whole minute.
    pub expires: u64,
}

impl<G: Grant> Homes<G> {
    /// Invites: the secret goes into a code, and nowhere else. A code given out before for the same home is void.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn invite(&self, name: &str, grant: G, now: SystemTime, valid: Duration) -> Result<Invited, InviteError> {
        if !is_name(name) {
            return Err(InviteError::Name);
        }
        let _lock = self.lock()?;
        let all = self.all()?;
        if all.len() >= limits::HOMES && !all.contains_key(name) {
            return Err(InviteError::Full);
        }
        if all.get(name).is_some_and(|home| home.paired.is_some()) {
            return Err(InviteError::Taken(name.to_owned()));
        }
        let grant = match all.get(name) {
            Some(home) => grant.renewed(&home.grant),
            None => grant,
        };
        for (with, home) in all.iter().filter(|(other, _)| *other != name) {
            if let Some(what) = grant.clashes_with(&home.grant) {
                return Err(InviteError::Clash { with: with.clone(), what });
            }
        }
        let secret = OneTimeSecret::generate().map_err(io::Error::other)?;
        // Whole minutes, since the code has no more.
        let expires = (unix(now) + valid.as_secs()) / 60 * 60;
        let invitation = Some(Invitation { digest: secret.digest(), expires, name: None });
        let expected = all.get(name).is_none_or(|home| home.expected);
        self.write(name, &Home { expected, grant, invitation, paired: None })?;
        Ok(Invited { secret, expires })
    }

    /// A box has brought a secret and proved a key: it becomes the home, once, or the home that it is already has this one's names,
    /// too. Under which name it was invited.
    ///
    /// # Errors
    /// [`Refusal::Code`], or [`Refusal::Busy`] when the disk fails.
    pub fn pair(&self, secret: &OneTimeSecret, key: PublicKey, now: SystemTime) -> Result<(String, G), Refusal> {
        self.try_pair(secret, key, now).unwrap_or_else(|error| {
            tracing::error!(%error, "pairing: the folder of homes");
            Err(Refusal::Busy)
        })
    }

    fn try_pair(
        &self,
        secret: &OneTimeSecret,
        key: PublicKey,
        now: SystemTime,
    ) -> io::Result<Result<(String, G), Refusal>> {
        let _lock = self.lock()?;
        let all = self.all()?;
        let (digest, now) = (secret.digest(), unix(now));
        let invited =
            |home: &Home<G>| home.invitation.as_ref().is_some_and(|it| it.digest == digest && now < it.expires);
        let Some((name, home)) = all.iter().find(|(_, home)| invited(home)) else { return Ok(Err(Refusal::Code)) };
        let known = all.iter().find(|(_, home)| home.paired.as_ref().is_some_and(|paired| paired.key == key));
        match (known, &home.paired) {
            // The answer was lost on its way.
            (Some((known, _)), _) if known == name => {
                let called = home.invitation.as_ref().and_then(|code| code.name.as_ref()).unwrap_or(name);
                return Ok(Ok((called.clone(), home.grant.clone())));
            }
            (Some(known), None) => return self.join(known, (name, home)),
            // A code works once.
            (_, Some(_)) => return Ok(Err(Refusal::Code)),
            (None, None) => {}
        }
        let paired = Home { expected: false, paired: Some(Paired { key, since: now }), ..home.clone() };
        self.write(name, &paired)?;
        Ok(Ok((name.clone(), paired.grant)))
    }

    /// Makes one home of a box's and of that to which it was invited as well. The code stays with it, for an answer that is lost; nobody
    /// else can use it from the first write on.
    fn join(
        &self,
        (known, its): (&String, &Home<G>),
        (name, invited): (&String, &Home<G>),
    ) -> io::Result<Result<(String, G), Refusal>> {
        // A key stands for one home.
        let Some(grant) = its.grant.joined(&invited.grant) else { return Ok(Err(Refusal::Code)) };
        let code = invited.invitation.clone().map(|code| Invitation { name: Some(name.clone()), ..code });
        let joined = Home { grant, invitation: code, ..its.clone() };
        self.write(known, &joined)?;
        durable::remove(&self.path(name))?;
        self.forget();
        tracing::info!(home = known, name, "its box was invited under this name, too: they are one home");
        Ok(Ok((name.clone(), joined.grant)))
    }
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
