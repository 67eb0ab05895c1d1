//! Where commands reach a box: `admin.sock` in the data folder. A box that is started where that folder takes no file (it is
//! read-only, or has room for none) has its socket in a folder of /run, which no disk is needed for; where this user has none there, it serves without.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use filter_sandbox::edge::Edge;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::unheard;
use crate::data::{self, DataFolder};
use crate::failure::{Doing, Failure};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

fn what(data: &DataFolder) -> String {
    format!("the admin socket {}", data.entry("admin.sock").display())
}

fn socket(flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags | SocketFlags::CLOEXEC, None)
}

/// Its name where the data folder takes none. All commands on a data folder run as the same user, so they look where `up` did.
fn elsewhere(data: &DataFolder) -> Option<PathBuf> {
    let own = rustix::process::geteuid();
    let users = PathBuf::from(format!("/run/user/{}", own.as_raw()));
    // The second one systemd makes for the packaged service.
    let folders = if own.is_root() { vec![PathBuf::from("/run")] } else { vec!["/run/postern".into(), users] };
    let folder = folders.into_iter().find(|folder| is_ours(folder, own.as_raw()))?;
    let (device, inode) = data.identity()?;
    Some(folder.join(format!("postern-{device:x}-{inode:x}.sock")))
}

/// Where nobody else can put a socket of theirs.
fn is_ours(folder: &Path, own: u32) -> bool {
    folder.symlink_metadata().is_ok_and(|known| known.is_dir() && known.uid() == own && known.mode() & 0o022 == 0)
}

/// Connects to a running box; `None`: nobody listens. On the edge nothing is waited for any longer than `patience`: `up`
/// listens also while no keeper does.
///
/// # Errors
/// In words for the admin.
pub fn connect(data: &DataFolder, patience: Duration) -> Result<Option<Edge>, Failure> {
    for path in [Some(data.admin_socket()), elsewhere(data)].into_iter().flatten() {
        let socket = socket(SocketFlags::empty()).doing(|| what(data))?;
        for direction in [Timeout::Send, Timeout::Recv] {
            set_socket_timeout(&socket, direction, Some(patience)).doing(|| what(data))?;
        }
        match rustix::net::connect(&socket, &SocketAddrUnix::new(path).doing(|| what(data))?) {
            Ok(()) => return Ok(Some(Edge::from(socket))),
            Err(Errno::NOENT | Errno::CONNREFUSED) => {}
            // As many commands wait there as may.
            Err(Errno::AGAIN) => return Err(unheard(&data.entry("spool"), "nothing was asked of it")),
            Err(error) => {
                return Err(Failure::new(format!("{}: {error} (are you the user that runs the box?)", what(data))));
            }
        }
    }
    Ok(None)
}

/// Listens for admin commands; `up` hands the socket to the keeper. `None`: there is no place for it.
///
/// # Errors
/// In words for the admin.
pub fn listen(data: &DataFolder) -> Result<Option<OwnedFd>, Failure> {
    // Left behind by a box that was killed: the lock says that no other serves it.
    remove(data);
    match listen_at(&data.admin_socket()) {
        Err(error) if data::is_full(error) || data::is_read_only(data.path()) => {
            Ok(elsewhere(data).and_then(|path| listen_at(&path).ok()))
        }
        listens => listens.map(Some).doing(|| what(data)),
    }
}

fn listen_at(path: &Path) -> rustix::io::Result<OwnedFd> {
    let (socket, address) = (socket(SocketFlags::NONBLOCK)?, SocketAddrUnix::new(path)?);
    // The folder is nobody else's already; the mask makes the socket itself 0600 from its first moment.
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::umask(mask);
    bound?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Whether a box that begins now could be reached.
#[must_use]
pub fn has_place(data: &DataFolder) -> bool {
    elsewhere(data).is_some() || !data::is_read_only(data.path())
}

/// Nobody reaches the box any more.
pub fn remove(data: &DataFolder) {
    for path in [Some(data.entry("admin.sock")), elsewhere(data)].into_iter().flatten() {
        // Where it is not, and where it cannot be removed, nobody listens.
        let _ = std::fs::remove_file(path);
    }
}
