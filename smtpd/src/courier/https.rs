//! One file over HTTPS: an MTA-STS policy (RFC 8461 §3.3). No redirects, no cookies, no reuse; the host must prove its
//! name. What it sends is hostile and bounded.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::limits::STS_POLICY;

/// Bytes of the answer's header.
const HEAD: usize = 16 * 1024;

/// Fetches a file from a host that is connected.
///
/// # Errors
/// What is wrong, in words.
pub async fn get<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    roots: Arc<RootCertStore>,
    host: &str,
    path: &str,
) -> Result<Vec<u8>, String> {
    let provider = wire::ciphers::provider();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| "no host name".to_owned())?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let mut limited = stream.take((HEAD + 2 * STS_POLICY) as u64);
    // Many servers end without TLS's goodbye; a body that is whole by its own length is whole.
    let _ = limited.read_to_end(&mut answer).await;
    body(&answer)
}

/// The body of an answer: 200, text, whole.
pub(super) fn body(answer: &[u8]) -> Result<Vec<u8>, String> {
    let end = answer.windows(4).take(HEAD).position(|ends| ends == b"\r\n\r\n").ok_or("no HTTP answer")?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| "no HTTP answer")?;
    let (first, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let code = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    if code != Some("200") {
        return Err(format!("answered {}", code.unwrap_or("no HTTP")));
    }
    let value = |name: &str| {
        let mut named = fields.split("\r\n").filter_map(|line| line.split_once(':'));
        named.find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_ascii_lowercase())
    };
    let media = value("content-type").unwrap_or_default();
    if media.split(';').next().map(str::trim) != Some("text/plain") {
        return Err("is not text/plain".to_owned());
    }
    let rest = &answer[end + 4..];
    let whole = match (value("transfer-encoding").as_deref(), value("content-length")) {
        (Some("chunked"), _) => chunks(rest).ok_or("cut short")?,
        (Some(_), _) => return Err("in an encoding that was not asked for".to_owned()),
        (None, Some(length)) => {
            let length: usize = length.parse().map_err(|_| "no length")?;
            rest.get(..length).ok_or("cut short")?.to_vec()
        }
        (None, None) => rest.to_vec(),
    };
    if whole.len() > STS_POLICY { Err("too long".to_owned()) } else { Ok(whole) }
}

/// RFC 9112 §7.1, without trailers.
fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let end = rest.windows(2).position(|ends| ends == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(out);
        }
        out.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(answer: &str) -> Result<String, String> {
        body(answer.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn answers() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n";
        assert_eq!(read(&format!("{ok}Content-Length: 3\r\n\r\nabcd")), Ok("abc".into()));
        assert_eq!(read(&format!("{ok}\r\nabcd")), Ok("abcd".into()));
        assert_eq!(
            read(&format!("{ok}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n")),
            Ok("abc".into())
        );
        assert!(read(&format!("{ok}Content-Length: 9\r\n\r\nabcd")).unwrap_err().contains("short"));
        assert!(read(&format!("{ok}Transfer-Encoding: chunked\r\n\r\n2\r\na")).unwrap_err().contains("short"));
        assert!(
            read("HTTP/1.1 301 Moved\r\nContent-Type: text/plain\r\nLocation: /x\r\n\r\n").is_err(),
            "no redirects"
        );
        assert!(read("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nversion: STSv1").is_err());
        assert!(read("220 mx ESMTP\r\n\r\n").is_err());
        let long = "x".repeat(STS_POLICY + 1);
        assert!(read(&format!("{ok}\r\n{long}")).is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_taken(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            chunked in "(HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n)?",
        ) {
            let _ = body(&[chunked.as_bytes(), &bytes].concat());
        }
    }
}
