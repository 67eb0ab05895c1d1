//! A hostile home: paired with an inbound proxy like any other, it takes whatever is brought to it, and says 250 to
//! everything.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use relay_link::control;
use relay_link::dns::Dns;
use relay_link::home::{self, State};
use relay_link::inbound::{FromHome, ToHome};
use relay_link::keys::LinkKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::Authority;

/// She, at work until dropped.
#[derive(Debug)]
pub struct Mallory {
    heard: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Mallory {
    /// Pairs with this code and opens her door.
    #[must_use]
    pub fn start(code: &str, dns: &str, certificate: &Authority) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let dns = Arc::new(Dns::new(vec![SocketAddr::new(dns.parse().unwrap(), 53)]));
        let (code, own) = (code.parse().unwrap(), LinkKey::generate().unwrap());
        let (proxy, _) = runtime.block_on(home::pair(&code, own, dns)).unwrap();
        runtime.spawn(serve(Arc::new(proxy), acceptor(certificate), heard.clone()));
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

async fn serve(proxy: Arc<home::Proxy>, acceptor: TlsAcceptor, heard: Arc<Mutex<Vec<String>>>) {
    let (_speaker, script) = control::speaker::<FromHome>();
    let (tell, mut calls) = mpsc::channel(16);
    let (state, _seen) = watch::channel(State::Dialling(String::new()));
    let keeping = proxy.clone();
    tokio::spawn(async move { keeping.keep(script, tell, state).await });
    while let Some(ToHome::Call(call)) = calls.recv().await {
        let Ok(stream) = proxy.fetch(&call.ticket).await else { continue };
        let (acceptor, heard) = (acceptor.clone(), heard.clone());
        tokio::spawn(async move { drop(agree(stream, &acceptor, &heard).await) });
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
