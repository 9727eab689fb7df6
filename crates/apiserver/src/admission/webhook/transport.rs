//! The seam between deciding to call a webhook and the network: tests and the fault harness put something else here.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

/// Where a webhook listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `https://host:port/path`, as the certificate must name it.
    pub url: String,
    /// Certificates in PEM form, one of which must have signed the webhook's; the system's where there is none.
    pub ca_bundle: Option<Vec<u8>>,
    /// `host:port` to connect to instead of the URL's.
    pub address: Option<String>,
}

/// A call of a webhook.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where to.
    pub endpoint: Endpoint,
    /// An `AdmissionReview` in JSON.
    pub body: Bytes,
    /// How long it may take. Whoever calls gives up after it, too.
    pub timeout: Duration,
}

impl Call {
    /// The URL with the time the webhook has, which the reference tells it.
    pub fn url(&self) -> String {
        format!("{}?timeout={}s", self.endpoint.url, self.timeout.as_secs())
    }
}

/// What came back, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// Why nothing came back. The texts are those of the reference where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The configuration's certificates cannot be read.
    #[error("unable to load root certificates: {0}")]
    Roots(String),
    /// The URL is none.
    #[error("unparsable URL: {0}")]
    Url(String),
    /// Nobody listens there, or its name leads nowhere.
    #[error("dial tcp {address}: {why}")]
    Connect {
        /// What was called.
        address: String,
        /// What the system said.
        why: String,
    },
    /// The webhook's certificate is not one that the configuration trusts, or it speaks no TLS.
    #[error("tls: {0}")]
    Tls(String),
    /// It did not answer in time.
    #[error("context deadline exceeded")]
    Timeout,
    /// The connection broke before the answer was whole.
    #[error("{0}")]
    Broken(String),
    /// The answer is longer than anybody needs.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// Carries a review to a webhook and its answer back.
pub trait Transport: Send + Sync + 'static {
    /// Posts `call.body`.
    ///
    /// # Errors
    /// [`TransportError`] when there is no answer; an answer of any status is none.
    fn post(&self, call: Call) -> BoxFuture<'_, Result<Answer, TransportError>>;
}
