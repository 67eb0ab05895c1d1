//! One connection, in clear or under TLS, with what has been read ahead and what is not yet written.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use wire::handed::Arrived;
use wire::lines::Lines;
use wire::tls::{Tls, TlsStream, describe};

use crate::limits;
use crate::reply::Reply;
use crate::session::TlsFacts;

/// As [`crate::stream::Stream`], with a server's TLS.
pub type Stream = crate::stream::Stream<Arrived, TlsStream<Arrived>>;

/// The connection of one session.
#[derive(Debug)]
pub struct Connection {
    /// What comes in.
    pub lines: Lines<Stream>,
    unwritten: Vec<u8>,
}

impl Connection {
    /// Takes a connection over. Replies are gathered and written at once, so the kernel need not wait for more.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(stream: Arrived) -> io::Result<Self> {
        stream.set_nodelay()?;
        Ok(Self { lines: Lines::new(Stream::Clear(stream)), unwritten: Vec::new() })
    }

    /// Puts a reply with those to be written.
    pub fn reply(&mut self, reply: &Reply) {
        reply.write(&mut self.unwritten);
    }

    /// Writes what is to be written, in one go.
    ///
    /// # Errors
    /// The peer's; also when it does not read for [`limits::WRITE`].
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.unwritten);
        let stream = self.lines.stream_mut();
        let write = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        timeout(limits::WRITE, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
        // The buffer is used again.
        self.unwritten = bytes;
        self.unwritten.clear();
        Ok(())
    }

    /// Goes over to TLS. What came ahead in clear is thrown away: a man in the middle could have put it there
    /// (RFC 3207 §4.2, and the STARTTLS injections of 2011 and 2021).
    ///
    /// # Errors
    /// The peer's.
    pub async fn start_tls(&mut self, tls: &Tls) -> io::Result<TlsFacts> {
        self.flush().await?;
        self.lines.discard();
        let Stream::Clear(clear) = std::mem::replace(self.lines.stream_mut(), Stream::Gone) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (stream, binding) = tls.accept(clear).await?;
        let description = describe(stream.get_ref().1);
        *self.lines.stream_mut() = Stream::Tls(Box::new(stream));
        Ok(TlsFacts { description, binding })
    }

    /// Writes what is left and says goodbye; a peer that has gone is no error.
    pub async fn close(&mut self) {
        if self.flush().await.is_ok() {
            let _ = timeout(limits::WRITE, self.lines.stream_mut().shutdown()).await;
        }
    }
}
