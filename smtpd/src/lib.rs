//! SMTP: the roles `mx` (port 25: strangers bring mail) and `submission` (465 and 587: our own people send).
//!
//! ```text
//! bytes ─► driver ─► session (pure) ─► effects ─► driver ─► keeper, filter, TLS, DNS
//!             ▲                                     │
//!             └────────────── outcomes ◄────────────┘
//! ```

pub mod authentication;
pub mod authors;
pub mod body;
pub mod budget;
pub mod connection;
pub mod courier;
pub mod data;
pub mod deliver;
pub mod delivered;
pub mod desk;
pub mod driver;
pub mod encoded_words;
pub mod failed_lookups;
pub mod final_bytes;
pub mod form;
pub mod fuzz;
pub mod header;
pub mod limits;
pub mod listen;
pub mod mx;
pub mod peers;
pub mod reply;
pub mod returning;
pub mod role;
pub mod sealing;
pub mod session;
pub mod spent;
pub mod stream;
pub mod submission;
pub mod verdict;
