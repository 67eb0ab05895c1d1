//! After the login: plain bytes between the TLS connection and the owner's process, read by nobody here.
//!
//! A connection that waits (IDLE, most of a phone's day) must cost next to nothing, so a direction holds a
//! buffer only while bytes are on their way through it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use filter_sandbox::memory::Locked;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use crate::limits;

/// Relays until either side ends; who is silent for too long is the owner's to say. `ahead` is what the client had sent
/// behind its login; `kept` is dropped when the owner speaks, which it does after it has read its identities.
///
/// # Errors
/// Of either stream; the connection is over then.
pub async fn relay<S>(client: S, owner: UnixStream, ahead: Vec<u8>, kept: Option<Locked>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (from_owner, mut to_owner) = owner.into_split();
    if !ahead.is_empty() {
        to_owner.write_all(&ahead).await?;
        drop(ahead);
    }
    let upward = async {
        let result = copy(&mut from_client, &mut to_owner).await;
        // The owner ends its session when it reads the end; what it still says goes down.
        to_owner.shutdown().await.and(result)
    };
    let downward = async {
        from_owner.readable().await?;
        drop(kept);
        let result = pour(&from_owner, &mut to_client).await;
        to_client.shutdown().await.and(result)
    };
    tokio::pin!(upward, downward);
    tokio::select! {
        biased;
        // The owner has ended: nothing the client still sends has a reader.
        ended = &mut downward => ended,
        // The client has: the owner may still say something, such as BYE.
        _ = &mut upward => tokio::time::timeout(limits::STALLED, downward).await.unwrap_or(Ok(())),
    }
}

/// From the owner: a large buffer while letters stream, none while the owner is silent.
async fn pour<W: AsyncWrite + Unpin>(from: &OwnedReadHalf, to: &mut W) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut buffer = Vec::with_capacity(limits::POUR);
        loop {
            buffer.clear();
            match from.try_read_buf(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    to.write_all(&buffer).await?;
                    to.flush().await?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
}

async fn copy<R, W>(from: &mut R, to: &mut W) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let chunk = std::future::poll_fn(|context| poll_chunk(Pin::new(from), context)).await?;
        if chunk.is_empty() {
            return Ok(());
        }
        to.write_all(&chunk).await?;
        to.flush().await?;
    }
}

/// Reads into the thread's one buffer and takes out what came: waiting holds no buffer.
fn poll_chunk<R: AsyncRead>(from: Pin<&mut R>, context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; limits::RELAY]);
    }
    BUFFER.with_borrow_mut(|buffer| {
        let mut space = ReadBuf::new(buffer);
        ready!(from.poll_read(context, &mut space))?;
        Poll::Ready(Ok(space.filled().to_vec()))
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
        let relaying = tokio::spawn(relay(theirs, ours, b"ahead ".to_vec(), None));
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
        let relaying = tokio::spawn(relay(theirs, ours, Vec::new(), None));
        drop(client);
        let mut all = Vec::new();
        owner.read_to_end(&mut all).await.unwrap();
        drop(owner);
        relaying.await.unwrap().unwrap();
    }
}
