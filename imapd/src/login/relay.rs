//! After the login: plain bytes between the TLS connection and the owner's process. Of what the client says nothing is
//! read here; of what the owner says, only where its lines end.
//!
//! A connection that waits (IDLE, most of a phone's day) must cost next to nothing, so a direction holds a
//! buffer only while bytes are on their way through it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use filter_sandbox::memory::Locked;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use super::ending::Ending;
use crate::limits;

/// For an owner that was killed, and a session that was cut off in the middle of a command (RFC 3501 §7.1.5).
const BYE: &[u8] = b"* BYE The server has ended this session; log in again\r\n";

/// Relays until either side ends; who is silent for too long is the owner's to say. `ahead` is what the client had sent
/// behind its login; a write that takes longer than `stalled` ends both; `kept` is dropped when the owner speaks, which it does after it has read its identities.
///
/// # Errors
/// Of either stream; the connection is over then.
pub async fn relay<S>(
    client: S,
    owner: UnixStream,
    ahead: Vec<u8>,
    kept: Option<Locked>,
    stalled: Duration,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (from_owner, mut to_owner) = owner.into_split();
    if !ahead.is_empty() {
        give(&mut to_owner, &ahead, stalled).await?;
        drop(ahead);
    }
    let left = AtomicBool::new(false);
    let upward = async {
        let result = copy(&mut from_client, &mut to_owner, stalled).await;
        // Some close without TLS's last word.
        let left_by_itself = result.as_ref().err().is_none_or(|why| why.kind() == io::ErrorKind::UnexpectedEof);
        left.store(left_by_itself, Ordering::Relaxed);
        // The owner ends its session when it reads the end; what it still says goes down.
        moving(to_owner.shutdown(), stalled).await.and(result)
    };
    let downward = async {
        from_owner.readable().await?;
        drop(kept);
        let mut ending = Ending::default();
        let result = pour(&from_owner, &mut to_client, &mut ending, stalled).await;
        if ending.lacks_bye() && result.is_ok() && !left.load(Ordering::Relaxed) {
            // Who is gone by now hears nothing any more.
            let _ = give(&mut to_client, BYE, stalled).await;
        }
        moving(to_client.shutdown(), stalled).await.and(result)
    };
    tokio::pin!(upward, downward);
    tokio::select! {
        biased;
        // The owner has ended: nothing the client still sends has a reader.
        ended = &mut downward => ended,
        // The client has: the owner may still say something, such as BYE.
        _ = &mut upward => tokio::time::timeout(stalled, downward).await.unwrap_or(Ok(())),
    }
}

/// Writes bytes out, unless the reader takes nothing for too long: it would hold its place and its buffers for ever.
async fn give<W: AsyncWrite + Unpin>(to: &mut W, bytes: &[u8], stalled: Duration) -> io::Result<()> {
    let giving = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    moving(giving, stalled).await
}

async fn moving<T>(work: impl Future<Output = io::Result<T>>, stalled: Duration) -> io::Result<T> {
    tokio::time::timeout(stalled, work).await?
}

/// From the owner: a large buffer while letters stream, none while the owner is silent.
async fn pour<W: AsyncWrite + Unpin>(
    from: &OwnedReadHalf,
    to: &mut W,
    ending: &mut Ending,
    stalled: Duration,
) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut buffer = Vec::with_capacity(limits::POUR);
        loop {
            buffer.clear();
            match from.try_read_buf(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    ending.hear(&buffer);
                    give(to, &buffer, stalled).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It was killed before it had read all that came for it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

async fn copy<R, W>(from: &mut R, to: &mut W, stalled: Duration) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let chunk = std::future::poll_fn(|context| poll_chunk(Pin::new(from), context)).await?;
        if chunk.is_empty() {
            return Ok(());
        }
        give(to, &chunk, stalled).await?;
    }
}

/// Reads into the thread's one buffer and takes out what came: waiting holds no buffer, and the buffer no mail.
fn poll_chunk<R: AsyncRead>(from: Pin<&mut R>, context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; limits::RELAY]);
    }
    BUFFER.with_borrow_mut(|buffer| {
        let mut space = ReadBuf::new(buffer);
        ready!(from.poll_read(context, &mut space))?;
        let chunk = space.filled().to_vec();
        space.filled_mut().fill(0);
        Poll::Ready(Ok(chunk))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn bytes_pass_both_ways_and_ends_too() {
        let (client, theirs) = tokio::io::duplex(1 << 20);
        let (ours, mut owner) = UnixStream::pair().unwrap();
        let relaying = tokio::spawn(relay(theirs, ours, b"ahead ".to_vec(), None, limits::STALLED));
        let (mut from, mut to) = tokio::io::split(client);
        to.write_all(b"behind").await.unwrap();
        let mut got = [0; 12];
        owner.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"ahead behind");
        let long = vec![7; 300_000];
        owner.write_all(&long).await.unwrap();
        drop(owner);
        let mut all = Vec::new();
        from.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, long);
        relaying.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_the_owner() {
        let (client, theirs) = tokio::io::duplex(1024);
        let (ours, mut owner) = UnixStream::pair().unwrap();
        let relaying = tokio::spawn(relay(theirs, ours, Vec::new(), None, limits::STALLED));
        drop(client);
        let mut all = Vec::new();
        owner.read_to_end(&mut all).await.unwrap();
        drop(owner);
        relaying.await.unwrap().unwrap();
    }

    /// What the client hears of an owner that ends while so much is unread, having said that.
    async fn heard(said: &[u8], unread: bool, leaves: bool) -> Vec<u8> {
        let (mut client, theirs) = tokio::io::duplex(1024);
        let (ours, mut owner) = UnixStream::pair().unwrap();
        let relaying = tokio::spawn(relay(theirs, ours, Vec::new(), None, limits::STALLED));
        client.write_all(b"a NOOP\r\n").await.unwrap();
        owner.readable().await.unwrap();
        if !unread {
            owner.read_exact(&mut [0; 8]).await.unwrap();
        }
        owner.write_all(said).await.unwrap();
        if leaves {
            client.shutdown().await.unwrap();
            assert_eq!(owner.read(&mut [0; 8]).await.unwrap(), 0);
        }
        drop(owner);
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        relaying.await.unwrap().unwrap();
        all.split_off(said.len())
    }

    #[tokio::test]
    async fn an_owner_that_dies_is_spoken_for() {
        assert_eq!(heard(b"a OK Done\r\n", false, false).await, BYE);
        assert_eq!(heard(b"a OK Done\r\n", true, false).await, BYE);
        assert_eq!(heard(b"", true, false).await, BYE);
        assert_eq!(heard(b"* BYE You are revoked\r\n", true, false).await, b"");
        assert_eq!(heard(b"a OK Do", false, false).await, b"");
        assert_eq!(heard(b"a OK Done\r\n", false, true).await, b"", "it left by itself");
    }

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_let_go() {
        let (_client, theirs) = tokio::io::duplex(64);
        let (ours, mut owner) = UnixStream::pair().unwrap();
        let relaying = tokio::spawn(relay(theirs, ours, Vec::new(), None, SHORT));
        owner.write_all(&[7; 4096]).await.unwrap();
        assert_eq!(relaying.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_owner_that_takes_nothing_is_left() {
        let (mut client, theirs) = tokio::io::duplex(1 << 20);
        let (ours, _owner) = UnixStream::pair().unwrap();
        let relaying = tokio::spawn(relay(theirs, ours, vec![7; 4 << 20], None, SHORT));
        let _ = client.write_all(b"behind").await;
        assert_eq!(relaying.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    /// DESIGN section 2: whoever fills a memory file with secrets keeps it mapped and locked until its reader has it.
    #[tokio::test]
    async fn identities_stay_mapped_until_the_owner_has_spoken() {
        let (file, kept) = filter_sandbox::memory::secret_file_of(b"an identity").unwrap();
        let inode = rustix::fs::fstat(&file).unwrap().st_ino;
        drop(file);
        let mapped = move || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.lines().any(|line| line.split_whitespace().nth(4) == Some(&inode.to_string()))
        };
        let (mut client, theirs) = tokio::io::duplex(1024);
        let (ours, mut owner) = UnixStream::pair().unwrap();
        let relaying = tokio::spawn(relay(theirs, ours, Vec::new(), Some(kept), limits::STALLED));
        client.write_all(b"a NOOP\r\n").await.unwrap();
        let mut got = [0; 8];
        owner.read_exact(&mut got).await.unwrap();
        assert!(mapped());
        owner.write_all(b"a OK\r\n").await.unwrap();
        client.read_exact(&mut got[..6]).await.unwrap();
        assert!(!mapped());
        relaying.abort();
    }
}
