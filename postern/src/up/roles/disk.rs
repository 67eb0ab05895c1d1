//! A disk that was read-only when the box was started, and is writable again.

use std::os::fd::AsFd;

use filter_sandbox::role::Role;
use wire::control::Control;

use super::{Roles, say};
use crate::admin;
use crate::data::{DataFolder, is_read_only_at, is_writable_elsewhere};

impl Roles {
    /// Starts the keeper anew once the disk can be written to again: its own mount of the spool stays read-only for good. Whether
    /// `up` has to be started anew, too, since its own does: a service's, in a mount namespace.
    pub fn look_at_disk(&mut self, data: &DataFolder) -> bool {
        let (before, spool) = (self.read_only, self.parts.spool.as_fd());
        self.read_only = self.read_only && is_read_only_at(spool);
        if self.read_only {
            // One that somebody has mounted so on purpose is so from the beginning.
            return !self.elsewhere && is_writable_elsewhere(spool);
        }
        if before {
            say("the disk of the spool takes writes again: the keeper is started anew");
            self.find_a_place(data);
            self.tell(Role::Keeper, &Control::Drain, &[]);
        }
        false
    }

    /// A box that was started on a read-only disk has its admin socket elsewhere, or none.
    fn find_a_place(&mut self, data: &DataFolder) {
        match admin::listen(data) {
            Ok(None) => {}
            Ok(socket) => self.parts.admin = socket,
            Err(failure) => say(&format!("{failure}; commands reach the box only once it is started anew")),
        }
    }

    /// Whether the disk was read-only when the keeper was started.
    #[must_use]
    pub const fn reads_only(&self) -> bool {
        self.read_only
    }
}
