//! The least client there can be: HTTP/1.1 over TLS, one request at a time on each connection, answers counted and not
//! parsed. On a machine of two cores every microsecond of the client is one that the server does not have.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where a server is and how to get in.
#[derive(Clone)]
pub struct Access {
    address: SocketAddr,
    tls: TlsConnector,
    token: String,
}

impl Access {
    /// As the data directory of `supple up` says it.
    pub fn of(data_dir: &Path) -> Self {
        let config = kube::config::Kubeconfig::read_from(data_dir.join("kubeconfig")).expect("it writes a kubeconfig");
        let cluster = config.clusters[0].cluster.as_ref().expect("it names its cluster");
        let url: http::Uri = cluster.server.as_ref().and_then(|it| it.parse().ok()).expect("it has a URL");
        let address = url.authority().and_then(|it| it.as_str().parse().ok()).expect("it listens on an address");
        let pem = cluster.certificate_authority_data.as_ref().and_then(|it| STANDARD.decode(it).ok());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem.expect("it has a certificate authority")) {
            roots.add(certificate.expect("it is PEM")).expect("it is a certificate");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.expect("the defaults are sound").with_root_certificates(roots).with_no_client_auth();
        let token = std::fs::read_to_string(data_dir.join("token")).expect("it writes its token");
        Self { address, tls: TlsConnector::from(Arc::new(tls)), token: token.trim().to_owned() }
    }
}

/// One connection.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    token: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// Bytes of the body.
    pub length: usize,
}

impl Connection {
    /// Connect and shake hands.
    pub async fn open(access: &Access) -> Self {
        let stream = TcpStream::connect(access.address).await.expect("the server listens");
        stream.set_nodelay(true).expect("it is a socket");
        let name = ServerName::try_from("localhost").expect("it is a name");
        let stream = access.tls.connect(name, stream).await.expect("the certificate is good");
        Self { stream, token: access.token.clone(), request: Vec::new(), answer: Vec::new() }
    }

    async fn send(&mut self, method: &str, path: &str, content_type: &str, body: &str) {
        self.request.clear();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nAccept: application/json\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.request.extend_from_slice(head.as_bytes());
        self.stream.write_all(&self.request).await.expect("the server takes a request");
        self.stream.flush().await.expect("the server takes a request");
    }

    /// Read the head of an answer; its code, its text, and how many bytes of the body came with it (they stay).
    async fn head(&mut self) -> (u16, String, usize) {
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await.expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            let Some(end) = self.answer.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&self.answer[..end]).to_ascii_lowercase();
            let code = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("an answer has a code");
            self.answer.drain(..end + 4);
            return (code, head, self.answer.len());
        }
    }

    /// One request and all of its answer.
    pub async fn call(&mut self, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
        self.send(method, path, content_type, body).await;
        let (code, head, mut read) = self.head().await;
        let length = head.lines().find_map(|it| it.strip_prefix("content-length: ")?.trim().parse().ok());
        let length: usize = length.unwrap_or_else(|| panic!("the answer does not say how long it is: {head}"));
        let mut piece = [0; 32 << 10];
        while read < length {
            let more = self.stream.read(&mut piece).await.expect("the server answers");
            assert!(more > 0, "the server closed the connection");
            if length <= 1 << 20 {
                self.answer.extend_from_slice(&piece[..more]);
            }
            read += more;
        }
        Answer { code, length }
    }

    /// The body of the last answer, where it was not longer than a MiB.
    pub fn body(&self) -> &[u8] {
        &self.answer
    }

    /// GET, which must succeed.
    pub async fn get(&mut self, path: &str) -> Answer {
        let answer = self.call("GET", path, "application/json", "").await;
        assert_eq!(answer.code, 200, "GET {path}: {}", String::from_utf8_lossy(&self.answer));
        answer
    }

    /// Watch, and tell `seen` of each piece how many events ended in it, for as long as it says so.
    pub async fn watch(mut self, path: &str, mut seen: impl FnMut(usize) -> bool) {
        self.send("GET", path, "application/json", "").await;
        let (code, _, _) = self.head().await;
        assert_eq!(code, 200, "a watch begins");
        // Each event ends with a brace and a newline; inside of JSON there is no newline.
        let mut last = 0;
        let mut piece = std::mem::take(&mut self.answer);
        loop {
            let ends = memchr::memchr_iter(b'\n', &piece);
            let events = ends.filter(|at| at.checked_sub(1).map_or(last, |before| piece[before]) == b'}').count();
            last = piece.last().copied().unwrap_or(last);
            if !seen(events) {
                return;
            }
            piece.clear();
            if self.stream.read_buf(&mut piece).await.unwrap_or(0) == 0 {
                return;
            }
        }
    }
}
