//! The table: which role talks to whom, what each is given, and in which namespaces it lives.
//!
//! `up` wires the roles from it, and the live test compares `/proc/PID` with it. What is not in here does not exist:
//! a role has exactly the sockets of its rows.
//!
//! ```text
//!  mx ──────────── Deposit ──► keeper ◄── Login ── submission ── Spawn ──► submission-zygote
//!  │ ├─ Spawn ──► mx-zygote      ▲ ▲
//!  │ ├─ Spawn ──► scanner-zygote │ │   (when the admin has switched it on)
//!  └─ DNS ──► resolver           │ └── Admin ──── admin.sock
//!  link ── Handed ──► mx, submission, imapd-login
//!  courier ── Dials ──► link
//!  courier ── Outbox, Notices ──► keeper
//!  └─ Spawn ──► courier-zygote    └ Login ── imapd-login ── Owners ──► imapd-owner ── Spawn ──► imapd-zygote
//! ```

use filter_sandbox::role::Role;
use filter_sandbox::walls::Network;
use wire::control::EdgeName;

use crate::up::ports::Service;

/// What an edge carries: the client's whole privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Find a recipient, put sealed letters.
    Deposit,
    /// What a SASL exchange needs, and its proof.
    Login,
    /// Lease what is due to leave, report its fate.
    Outbox,
    /// Put sealed letters into the mailboxes of those who sent what waits to leave.
    Notices,
    /// A logged-in stream, its mailbox socket and identity.
    Owners,
    /// Make single-use workers.
    Spawn,
    /// Connections that came through a proxy; back, which of them went to the wrong house.
    Handed,
    /// Which hosts to connect with through a proxy; back, the connections.
    Dials,
}

/// One edge: a pair of packet sockets that `up` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeRow {
    /// Who asks.
    pub client: Role,
    /// Who answers.
    pub server: Role,
    /// What may be asked.
    pub carries: Carries,
    /// The edge's name in news to the client after the server was restarted.
    pub at_client: EdgeName,
    /// The edge's name in news to the server after the client was restarted; `None`: the server ends with its client
    /// and is restarted too.
    pub at_server: Option<EdgeName>,
}

/// All edges. A role's start packet carries its ends in this order.
pub const EDGES: [EdgeRow; 15] = [
    EdgeRow {
        client: Role::Mx,
        server: Role::Keeper,
        carries: Carries::Deposit,
        at_client: EdgeName::Keeper,
        at_server: Some(EdgeName::Deposit),
    },
    EdgeRow {
        client: Role::Submission,
        server: Role::Keeper,
        carries: Carries::Login,
        at_client: EdgeName::Keeper,
        at_server: Some(EdgeName::SubmissionLogin),
    },
    EdgeRow {
        client: Role::Login,
        server: Role::Keeper,
        carries: Carries::Login,
        at_client: EdgeName::Keeper,
        at_server: Some(EdgeName::ImapLogin),
    },
    EdgeRow {
        client: Role::Courier,
        server: Role::Keeper,
        carries: Carries::Outbox,
        at_client: EdgeName::Outbox,
        at_server: Some(EdgeName::Outbox),
    },
    EdgeRow {
        client: Role::Courier,
        server: Role::Keeper,
        carries: Carries::Notices,
        at_client: EdgeName::Notices,
        at_server: Some(EdgeName::Notices),
    },
    EdgeRow {
        client: Role::Login,
        server: Role::OwnerZygote,
        carries: Carries::Owners,
        at_client: EdgeName::Owners,
        at_server: Some(EdgeName::Owners),
    },
    EdgeRow {
        client: Role::Mx,
        server: Role::MxZygote,
        carries: Carries::Spawn,
        at_client: EdgeName::Zygote,
        at_server: None,
    },
    EdgeRow {
        client: Role::Submission,
        server: Role::SubmissionZygote,
        carries: Carries::Spawn,
        at_client: EdgeName::Zygote,
        at_server: None,
    },
    EdgeRow {
        client: Role::Courier,
        server: Role::CourierZygote,
        carries: Carries::Spawn,
        at_client: EdgeName::Zygote,
        at_server: None,
    },
    EdgeRow {
        client: Role::OwnerZygote,
        server: Role::ImapZygote,
        carries: Carries::Spawn,
        at_client: EdgeName::Zygote,
        at_server: None,
    },
    EdgeRow {
        client: Role::Link,
        server: Role::Mx,
        carries: Carries::Handed,
        at_client: EdgeName::HandToMx,
        at_server: Some(EdgeName::HandToMx),
    },
    EdgeRow {
        client: Role::Link,
        server: Role::Submission,
        carries: Carries::Handed,
        at_client: EdgeName::HandToSubmission,
        at_server: Some(EdgeName::HandToSubmission),
    },
    EdgeRow {
        client: Role::Link,
        server: Role::Login,
        carries: Carries::Handed,
        at_client: EdgeName::HandToLogin,
        at_server: Some(EdgeName::HandToLogin),
    },
    EdgeRow {
        client: Role::Courier,
        server: Role::Link,
        carries: Carries::Dials,
        at_client: EdgeName::Dials,
        at_server: Some(EdgeName::Dials),
    },
    // The last of mx's: it has it only when there is a scanner.
    EdgeRow {
        client: Role::Mx,
        server: Role::ScannerZygote,
        carries: Carries::Spawn,
        at_client: EdgeName::Scanner,
        at_server: None,
    },
];

/// A role that `up` starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleRow {
    /// Which.
    pub role: Role,
    /// What it accepts connections for.
    pub serves: &'static [Service],
    /// Other sockets it is given.
    pub given: Given,
    /// Whether it runs an asynchronous runtime (which has descriptors of its own, see [`RUNTIME_SOCKETS`]).
    pub runtime: bool,
}

/// Sockets that are neither edges nor services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// None.
    Nothing,
    /// The listening admin socket.
    Admin,
    /// `mx`'s DNS, in its own network, UDP and TCP.
    Dns,
}

/// Sockets of the runtime itself: the pair that wakes it for signals, one end twice.
pub const RUNTIME_SOCKETS: usize = 3;

/// All roles, in the order in which they are started: who answers before who asks, so that nobody waits.
pub const ROLES: [RoleRow; 13] = [
    RoleRow { role: Role::Keeper, serves: &[], given: Given::Admin, runtime: true },
    RoleRow { role: Role::ScannerZygote, serves: &[], given: Given::Nothing, runtime: false },
    RoleRow { role: Role::MxZygote, serves: &[], given: Given::Nothing, runtime: false },
    RoleRow { role: Role::SubmissionZygote, serves: &[], given: Given::Nothing, runtime: false },
    RoleRow { role: Role::ImapZygote, serves: &[], given: Given::Nothing, runtime: false },
    RoleRow { role: Role::CourierZygote, serves: &[], given: Given::Nothing, runtime: false },
    RoleRow { role: Role::OwnerZygote, serves: &[], given: Given::Nothing, runtime: false },
    RoleRow { role: Role::Mx, serves: &[Service::Smtp], given: Given::Nothing, runtime: true },
    RoleRow { role: Role::Resolver, serves: &[], given: Given::Dns, runtime: true },
    RoleRow {
        role: Role::Submission,
        serves: &[Service::Submissions, Service::Submission],
        given: Given::Nothing,
        runtime: true,
    },
    RoleRow { role: Role::Login, serves: &[Service::Imaps], given: Given::Nothing, runtime: true },
    RoleRow { role: Role::Link, serves: &[], given: Given::Nothing, runtime: true },
    RoleRow { role: Role::Courier, serves: &[], given: Given::Nothing, runtime: true },
];

/// The namespaces of `/proc/PID/ns` that must be a role's own. All have these but for `net`.
pub const NAMESPACES: [&str; 6] = ["user", "mnt", "pid", "ipc", "uts", "cgroup"];

/// The rows of a box, with the external scanner or without.
pub fn rows(scanner: bool) -> impl Iterator<Item = &'static RoleRow> {
    ROLES.iter().filter(move |row| row.is_in(scanner))
}

impl RoleRow {
    /// Whether a box has it: all have all but the scanner's zygote.
    #[must_use]
    pub fn is_in(&self, scanner: bool) -> bool {
        scanner || self.role != Role::ScannerZygote
    }

    /// Its row.
    #[must_use]
    pub fn of(role: Role) -> Option<&'static Self> {
        ROLES.iter().find(|row| row.role == role)
    }

    /// Its edges, in the table's order, in a box with the external scanner or without.
    pub fn edges(&self, scanner: bool) -> impl Iterator<Item = &'static EdgeRow> + use<> {
        let role = self.role;
        let there = EDGES.iter().filter(move |edge| scanner || edge.server != Role::ScannerZygote);
        there.filter(move |edge| edge.client == role || edge.server == role)
    }

    /// Whether its network is its own.
    #[must_use]
    pub fn own_network(&self) -> bool {
        self.role.walls().network != Network::Host
    }

    /// Whether it makes the single-use workers.
    #[must_use]
    pub fn makes_workers(&self) -> bool {
        self.role.walls().makes_children() && self.role != Role::OwnerZygote
    }

    /// Sockets it has when nobody is connected: control edge, edges, listeners, what else it was given, its runtime's.
    /// `binds` is the number of addresses each service listens on; see [`Self::edges`] for `scanner`.
    #[must_use]
    pub fn sockets(&self, binds: usize, scanner: bool) -> usize {
        let given = match self.given {
            Given::Nothing => 0,
            Given::Admin => 1,
            Given::Dns => 2,
        };
        let runtime = if self.runtime { RUNTIME_SOCKETS } else { 0 };
        1 + self.edges(scanner).count() + self.serves.len() * binds + given + runtime
    }

    /// The roles that end, and are restarted, when this one does.
    pub fn dependants(&self) -> impl Iterator<Item = Role> + use<> {
        let role = self.role;
        EDGES.iter().filter(move |edge| edge.client == role && edge.at_server.is_none()).map(|edge| edge.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_an_edge_is_a_role_that_is_started() {
        for edge in &EDGES {
            assert!(RoleRow::of(edge.client).is_some() && RoleRow::of(edge.server).is_some(), "{edge:?}");
        }
    }

    #[test]
    fn every_service_has_one_role() {
        for service in Service::ALL {
            assert_eq!(ROLES.iter().filter(|row| row.serves.contains(&service)).count(), 1, "{service:?}");
        }
    }

    #[test]
    fn who_answers_starts_before_who_asks() {
        let place = |role| ROLES.iter().position(|row| row.role == role);
        for edge in &EDGES {
            assert!(place(edge.server) < place(edge.client), "{edge:?}");
        }
        assert!(place(Role::Mx) < place(Role::Resolver), "mx's network has the resolver's sockets");
    }

    #[test]
    fn a_zygote_has_no_edge_but_its_clients() {
        for row in ROLES.iter().filter(|row| row.makes_workers()) {
            let edges: Vec<_> = row.edges(true).collect();
            assert!(matches!(edges[..], [one] if one.server == row.role && one.at_server.is_none()), "{row:?}");
        }
    }

    #[test]
    fn nobody_but_who_asks_who_sends_and_who_links_has_the_hosts_network() {
        let host: Vec<_> = ROLES.iter().filter(|row| !row.own_network()).map(|row| row.role).collect();
        assert_eq!(host, [Role::Resolver, Role::Link, Role::Courier]);
    }
}
