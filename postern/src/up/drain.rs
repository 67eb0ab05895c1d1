//! Ending well: no new connections, then who talks to the world, then who answers them, the keeper last.

use std::time::Duration;

use filter_sandbox::role::Role;
use tokio::time::{Instant, sleep};

use super::roles::Roles;
use super::say;
use crate::edges::ROLES;

/// How long sessions may finish what is under way.
const SESSIONS: Duration = Duration::from_secs(10);
/// The roles themselves end what does not end by itself, and say so to its client: they must come first.
const _: () = {
    let mail = smtpd::limits::DRAIN.as_millis() + smtpd::limits::LAST_WORDS.as_millis();
    let imap = imapd::limits::DRAIN.as_millis() + imapd::limits::LAST_WORDS.as_millis();
    assert!(mail < SESSIONS.as_millis() && imap < SESSIONS.as_millis());
};
/// How long the courier may wait for the answer to letters that it has sent: without it they go twice.
const LETTERS: Duration = Duration::from_secs(25);
const _: () = assert!(smtpd::courier::limits::DRAIN.as_millis() < LETTERS.as_millis());
/// How long the keeper may take to write what it holds.
const KEEPER: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Asks in turn, and waits within bounds.
pub async fn drain(roles: &mut Roles) {
    let talks = |role| role == Role::Courier;
    // No new calls; what it relays ends with the sessions of the roles that have it.
    roles.drain(Role::Link);
    let fronts = || ROLES.iter().filter(|row| !row.serves.is_empty() || talks(row.role)).map(|row| row.role);
    fronts().for_each(|role| roles.drain(role));
    // A listener that nobody accepts from would let clients wait; the roles close theirs, too.
    roles.close_doors();
    // Whose sessions `imapd-login` waits for: they say BYE there, as soon as no command of theirs runs.
    roles.drain(Role::OwnerZygote);
    wait(roles, fronts().filter(|role| !talks(*role)), SESSIONS).await;
    wait(roles, [Role::Courier].into_iter(), LETTERS).await;
    // Nobody asks these any more, and none of them has anything to write.
    ROLES.iter().filter(|row| row.role != Role::Keeper).for_each(|row| roles.end(row.role));
    roles.drain(Role::Keeper);
    wait(roles, [Role::Keeper].into_iter(), KEEPER).await;
}

async fn wait(roles: &mut Roles, each: impl Iterator<Item = Role>, patience: Duration) {
    let until = Instant::now() + patience;
    for role in each {
        while !roles.is_gone(role) {
            if Instant::now() >= until {
                say(&format!("{role} does not end; it is ended"));
                roles.end(role);
                break;
            }
            sleep(LOOK).await;
        }
    }
}

/// Ends what is left.
pub fn end(roles: &mut Roles) {
    ROLES.iter().rev().for_each(|row| roles.end(row.role));
}
