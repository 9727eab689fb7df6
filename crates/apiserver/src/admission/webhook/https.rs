//! Webhooks over HTTPS: one client for each way of trusting and dialling, so that connections are used again. It follows
//! no redirects, knows no proxies and reads no endless answers.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use super::transport::{Answer, Call, Endpoint, Transport, TransportError};
use crate::body::LIMIT;

/// Most clients that are kept; a cluster with more webhooks than that makes some of them anew.
const CLIENTS: usize = 200;

/// What we call ourselves: webhooks that look for the reference's name find it.
const USER_AGENT: &str = "kube-apiserver-admission";

type HttpsClient = Client<HttpsConnector<Dial>, Full<Bytes>>;

/// What tells clients apart.
type Way = (Option<Vec<u8>>, Option<String>);

/// The network.
#[derive(Default)]
pub struct Https {
    clients: Mutex<HashMap<Way, HttpsClient>>,
}

impl Transport for Https {
    fn post(&self, call: Call) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move {
            let client = self.client(&call.endpoint)?;
            match tokio::time::timeout(call.timeout, post(&client, &call)).await {
                Ok(answer) => answer,
                Err(_) => Err(TransportError::Timeout),
            }
        })
    }
}

impl Https {
    fn client(&self, endpoint: &Endpoint) -> Result<HttpsClient, TransportError> {
        let way = (endpoint.ca_bundle.clone(), endpoint.address.clone());
        // A panic while the lock was held cannot have left half a client.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&way) {
            return Ok(client.clone());
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust(endpoint.ca_bundle.as_deref())?)
            .https_only()
            .enable_http1()
            .wrap_connector(Dial { instead: endpoint.address.as_deref().map(Arc::from) });
        let client =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build::<_, Full<Bytes>>(connector);
        if clients.len() >= CLIENTS {
            clients.clear();
        }
        clients.insert(way, client.clone());
        Ok(client)
    }
}

/// Trust in the given certificates, or in the system's.
fn trust(ca_bundle: Option<&[u8]>) -> Result<ClientConfig, TransportError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TransportError::Roots(error.to_string()))?;
    let Some(pem) = ca_bundle else {
        let roots = builder.with_native_roots().map_err(|error| TransportError::Roots(error.to_string()))?;
        return Ok(roots.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| TransportError::Roots(error.to_string()))?;
        roots.add(certificate).map_err(|error| TransportError::Roots(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(TransportError::Roots("unable to parse bytes as PEM block".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

async fn post(client: &HttpsClient, call: &Call) -> Result<Answer, TransportError> {
    let request = Request::post(call.url())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, */*")
        .header(header::USER_AGENT, USER_AGENT)
        .body(Full::new(call.body.clone()))
        .map_err(|error| TransportError::Url(error.to_string()))?;
    let host = request.uri().host().unwrap_or_default().to_owned();
    let response = client.request(request).await.map_err(|error| failure(&error, &host))?;
    let status = response.status().as_u16();
    match Limited::new(response.into_body(), LIMIT).collect().await {
        Ok(body) => Ok(Answer { status, body: body.to_bytes() }),
        Err(error) if error.is::<LengthLimitError>() => Err(TransportError::TooLarge(LIMIT)),
        Err(error) => Err(TransportError::Broken(format!("unexpected EOF ({error})"))),
    }
}

/// What a failed request says, found beneath what the client wraps it in.
fn failure(error: &ClientError, host: &str) -> TransportError {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(Dialled { address, why }) = error.downcast_ref() {
            return TransportError::Connect { address: address.clone(), why: why.clone() };
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = error.downcast_ref::<rustls::Error>();
        if let Some(tls) = tls.or_else(|| inner.and_then(|inner| inner.downcast_ref::<rustls::Error>())) {
            return TransportError::Tls(said(tls, host));
        }
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            return TransportError::Broken("EOF".to_owned());
        }
        source = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    if error.is_connect() {
        // The other end took the connection but not the handshake.
        return TransportError::Tls(format!("first record does not look like a TLS handshake ({})", deepest(error)));
    }
    TransportError::Broken(deepest(error))
}

/// The innermost reason.
fn deepest(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// A TLS failure in the reference's words, where it has them, and what to do where it would not have failed.
fn said(error: &rustls::Error, host: &str) -> String {
    let rustls::Error::InvalidCertificate(certificate) = error else { return error.to_string() };
    let why = match certificate {
        // Another authority of the same name is another one all the same.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "x509: certificate signed by unknown authority".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "x509: certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("x509: certificate is not valid for {host}")
        }
        other => {
            let text = format!("{other:?}");
            // What `openssl req -x509` makes; Go takes it, the verifier here wants an authority and a leaf.
            let hint = if text.contains("CaUsedAsEndEntity") {
                "; the webhook serves an authority's own certificate: have the authority sign one for the webhook"
            } else {
                ""
            };
            format!("x509: {text}{hint}")
        }
    };
    format!("failed to verify certificate: {why}")
}

/// Opens the connection: to the host of the URL, or to another address in its place.
#[derive(Clone)]
struct Dial {
    instead: Option<Arc<str>>,
}

/// A connection that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("dial tcp {address}: {why}")]
struct Dialled {
    address: String,
    why: String,
}

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let instead = self.instead.clone();
        Box::pin(async move {
            let address = match instead {
                Some(address) => address.to_string(),
                None => format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443)),
            };
            let stream = TcpStream::connect(&address).await.map_err(|error| {
                let why = match error.kind() {
                    io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
                    _ => error.to_string(),
                };
                io::Error::new(error.kind(), Dialled { address: address.clone(), why })
            })?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
