//! Whoever connects badly, in each of the ways in which one can connect.

#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::*;

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// How a client connects: with TLS and these protocols, or without.
type How = Option<&'static [&'static [u8]]>;

/// All the ways there are.
const WAYS: [How; 4] = [None, Some(&[]), Some(&[b"http/1.1"]), Some(&[b"h2"])];

const PATIENT: Duration = Duration::from_secs(60);
const HASTY: Duration = Duration::from_millis(200);

/// Both ends' TLS, by a certificate of our own.
fn tls(protocols: &[&[u8]]) -> (ServerConfig, rustls::ClientConfig) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(cert);
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let mut server = server.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    (server, client)
}

/// Connects; the server's side is a task that ends with the connection.
async fn connect(how: How, silence: Duration) -> (Box<dyn Stream>, JoinHandle<Result<(), AnyError>>) {
    let (server, client) = how.map(tls).unzip();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/livez", axum::routing::get(|| async { "ok" }));
    let bounds = Bounds { connections: None, handshake: PATIENT, silence, drain: HASTY };
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        connection(stream, server.map(Arc::new), router, bounds, CancellationToken::new()).await
    });
    let stream = TcpStream::connect(address).await.unwrap();
    let stream: Box<dyn Stream> = match client {
        Some(client) => {
            let connector = TlsConnector::from(Arc::new(client));
            Box::new(connector.connect("localhost".try_into().unwrap(), stream).await.unwrap())
        }
        None => Box::new(stream),
    };
    (stream, task)
}

#[tokio::test]
async fn whoever_says_nothing_is_hung_up_on() {
    for how in WAYS {
        let (mut silent, task) = connect(how, HASTY).await;
        let mut said = Vec::new();
        // However it is hung up on: what counts is that it ends, and that nothing is held any more.
        let _ = silent.read_to_end(&mut said).await;
        let _ = task.await.unwrap();
    }
}

#[tokio::test]
async fn whoever_stops_in_the_middle_of_a_request_is_hung_up_on() {
    for how in WAYS {
        let (mut slow, task) = connect(how, HASTY).await;
        let is_http2 = how.is_some_and(|it| it.contains(&&b"h2"[..]));
        let start: &[u8] =
            if is_http2 { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" } else { b"GET /livez HTTP/1.1\r\nhost: x\r\n" };
        slow.write_all(start).await.unwrap();
        let mut said = Vec::new();
        let _ = slow.read_to_end(&mut said).await;
        let _ = task.await.unwrap();
    }
}

/// A frame of HTTP/2: length, kind, flags and stream, and what is in it.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The kinds of the frames that were said.
fn kinds(mut said: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [high, middle, low, kind, ..] = *said {
        kinds.push(kind);
        said = &said[9 + u32::from_be_bytes([0, high, middle, low]) as usize..];
    }
    kinds
}

#[tokio::test]
async fn whoever_has_asked_once_and_says_nothing_more_is_hung_up_on() {
    let (mut client, task) = connect(Some(&[b"h2"]), HASTY).await;
    // GET https://x/livez, as HPACK has it: of a table, and two texts.
    let head = [&[0x82, 0x87, 0x41, 1, b'x', 0x44, 6][..], b"/livez"].concat();
    let request = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[]), frame(1, 5, 1, &head)].concat();
    client.write_all(&request).await.unwrap();
    let mut said = Vec::new();
    let _ = client.read_to_end(&mut said).await;
    let _ = task.await.unwrap();
    // An answer (DATA), and then GOAWAY: a ping before that would have come half a minute later.
    let kinds = kinds(&said);
    let before: Vec<u8> = kinds.iter().copied().take_while(|it| *it != 7).collect();
    assert!(before.contains(&0) && !before.contains(&6) && before.len() < kinds.len(), "{kinds:?}");
}

#[tokio::test]
async fn an_answer_that_goes_on_is_no_silence() {
    let (under_way, asked) = watch::channel(0);
    let mut silent = Box::pin(silence(asked, Duration::from_millis(1)));
    let held = Held::new(&under_way);
    let body = held.until_the_end_of(Body::from("x"));
    tokio::select! {
        () = &mut silent => panic!("it is being answered"),
        () = tokio::task::yield_now() => {}
    }
    drop(body);
    silent.await;
}

#[tokio::test]
async fn whoever_asks_is_answered() {
    for how in [None, Some(&[b"http/1.1" as &[u8]] as &[&[u8]])] {
        let (mut client, task) = connect(how, PATIENT).await;
        client.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("ok"), "{said}");
        task.await.unwrap().unwrap();
    }
}
