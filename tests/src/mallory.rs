//! Homes that are no houses: a hostile one, which takes whatever is brought to it and says 250 to everything, and one
//! that only swallows.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use relay_link::control;
use relay_link::dns::Dns;
use relay_link::home::{self, State};
use relay_link::inbound::{FromHome, ToHome};
use relay_link::keys::LinkKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::Authority;

/// A home that answers one byte to what a stream begins with, and reads the rest away: for benches.
#[derive(Debug)]
pub struct Sink {
    link: tokio::task::JoinHandle<()>,
}

/// All sinks of a process share its thread: the `link` role of a house has one, too.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

impl Sink {
    /// Pairs with this code and serves until dropped.
    #[must_use]
    pub fn start(code: &str, dns: &str) -> Self {
        let make = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let runtime = RUNTIME.get_or_init(make);
        let proxy = pair(runtime, code, dns);
        Self {
            link: runtime.spawn(every_stream(proxy, |stream| {
                let stream = stream.into_std().unwrap();
                stream.set_nonblocking(false).unwrap();
                std::thread::spawn(move || swallow(stream))
            })),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.link.abort();
    }
}

/// Answers one byte to the first that comes, and reads the rest away; in a thread, so that it costs as little as may be.
///
/// # Errors
/// The connection's.
pub fn swallow(mut stream: std::net::TcpStream) -> std::io::Result<()> {
    let mut block = vec![0; 256 * 1024];
    let _ = stream.read(&mut block)?;
    stream.write_all(b"!")?;
    while stream.read(&mut block)? > 0 {}
    Ok(())
}

fn pair(runtime: &Runtime, code: &str, dns: &str) -> Arc<home::Proxy> {
    let dns = Arc::new(Dns::new(vec![SocketAddr::new(dns.parse().unwrap(), 53)]));
    let (code, own) = (code.parse().unwrap(), LinkKey::generate().unwrap());
    Arc::new(runtime.block_on(home::pair(&code, own, dns)).unwrap().0)
}

/// She, at work until dropped.
#[derive(Debug)]
pub struct Mallory {
    heard: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

impl Mallory {
    /// Pairs with this code and opens her door.
    #[must_use]
    pub fn start(code: &str, dns: &str, certificate: &Authority) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (proxy, acceptor, says) = (pair(&runtime, code, dns), acceptor(certificate), heard.clone());
        runtime.spawn(every_stream(proxy, move |stream| {
            let (acceptor, says) = (acceptor.clone(), says.clone());
            tokio::spawn(async move { agree(stream, &acceptor, &says).await })
        }));
        Self { heard, _runtime: runtime }
    }

    /// Every line that was said to her.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn acceptor(certificate: &Authority) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate.certificate()).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(certificate.key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
}

/// Keeps the link, and gives each stream that is called to `serve`.
async fn every_stream<T>(proxy: Arc<home::Proxy>, serve: impl Fn(TcpStream) -> T + Send + Sync + 'static)
where
    T: Send + 'static,
{
    let (_speaker, script) = control::speaker::<FromHome>();
    let (tell, mut calls) = mpsc::channel(16);
    let (state, _seen) = watch::channel(State::Dialling(String::new()));
    let serve = Arc::new(serve);
    let answering = async {
        while let Some(ToHome::Call(call)) = calls.recv().await {
            let (proxy, serve) = (proxy.clone(), serve.clone());
            tokio::spawn(async move {
                if let Ok(stream) = proxy.fetch(&call.ticket).await {
                    drop(serve(stream));
                }
            });
        }
    };
    tokio::select! {
        () = proxy.keep(script, tell, state) => {}
        () = answering => {}
    }
}

/// Takes it all.
async fn agree(stream: TcpStream, acceptor: &TlsAcceptor, heard: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    let (mut line, mut text) = (String::new(), false);
    while stream.read_line(&mut line).await? > 0 {
        let said = line.trim_end().to_owned();
        line.clear();
        heard.lock().unwrap().push(said.clone());
        let answer: &[u8] = match said.as_str() {
            "." if text => {
                text = false;
                b"250 mine\r\n"
            }
            _ if text => b"",
            "DATA" => {
                text = true;
                b"354 go on\r\n"
            }
            "QUIT" => b"221 come again\r\n",
            _ => b"250 gladly\r\n",
        };
        stream.write_all(answer).await?;
        stream.flush().await?;
    }
    Ok(())
}
