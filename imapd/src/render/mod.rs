//! From values to response bytes. Everything appends to one `Vec<u8>`: a list of 10,000 letters is one allocation
//! growing, not 10,000 small ones.

mod codes;
mod envelope;
mod fetch;
mod flags;
mod folders;
mod found;
mod section;
mod status;
mod structure;
mod text;

pub use codes::{appended, bye, capability, continuation, copied, id, namespace, quota, quota_root, tagged, untagged};
pub use envelope::envelope;
pub use fetch::FetchLine;
pub use flags::{flags, flags_line, permanent_flags};
pub use folders::{list_line, lsub_line, root_line};
pub use found::{esearch, search};
pub use section::{Slices, Wanted, cut, fields, has_field, is_of_header, label, of_header, resolve};
pub use status::status;
pub use structure::{body, body_structure};
pub use text::{folder_name, nil_or_string, number, string};
