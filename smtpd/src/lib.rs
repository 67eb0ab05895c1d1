//! SMTP: the roles `mx` (port 25: strangers bring mail) and `submission` (465 and 587: our own people send).
//!
//! ```text
//! bytes ─► driver ─► session (pure) ─► effects ─► driver ─► keeper, filter, TLS, DNS
//!             ▲                                     │
//!             └────────────── outcomes ◄────────────┘
//! ```

pub mod authentication;
pub mod budget;
pub mod data;
pub mod failed_lookups;
pub mod final_bytes;
pub mod header;
pub mod limits;
pub mod reply;
pub mod session;
pub mod verdict;
