//! One question to a Prometheus over HTTP, in bounds. It follows no redirects and tries nothing again, but its errors say
//! whether and when that is worth it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};

use super::answer::{About, AnswerError, Kind, Series, read};
use super::past::TooMuch;
use super::range::Range;

/// Where a Prometheus is, and how to speak to it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its address, with the path in front of `/api/v1` where it has one.
    pub url: String,
    /// Sent with every question: name and value.
    pub headers: Vec<(String, String)>,
    /// Holds a bearer token; read at every question, because tokens are changed.
    pub bearer_file: Option<PathBuf>,
    /// Holds the certificates one of which must have signed the server's; also read at every question. Without it the
    /// system's are trusted.
    pub ca_file: Option<PathBuf>,
    /// How long an answer may take.
    pub patience: Duration,
    /// A longer answer is not read to its end.
    pub longest_answer: usize,
}

impl Options {
    /// Nothing but an address.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            headers: Vec::new(),
            bearer_file: None,
            ca_file: None,
            patience: Duration::from_secs(60),
            longest_answer: 24 << 20,
        }
    }
}

/// Why there is nobody to ask.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address is none.
    #[error("{url:?} is not the address of a Prometheus ({why}); expected for example https://prometheus.example:9090")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A header is none.
    #[error("{0:?} is not a header for Prometheus; expected NAME=VALUE, for example X-Scope-OrgID=shop")]
    Header(String),
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A file that is sent, or trusted, cannot be used.
    #[error("read {what} for Prometheus from {path}: {why}")]
    File {
        /// What is in it.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Nobody answered, or the connection broke.
    #[error("ask Prometheus at {url}: {why}")]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        why: String,
    },
    /// It took too long.
    #[error("ask Prometheus at {url}: no answer in {seconds} s")]
    Timeout {
        /// Where.
        url: String,
        /// For how long was waited.
        seconds: u64,
    },
    /// The answer is longer than may be.
    #[error(
        "ask Prometheus at {url}: the answer is longer than {limit} bytes; request less at once (a narrower query, a \
         longer step)"
    )]
    TooLong {
        /// Where.
        url: String,
        /// What was read of it.
        limit: usize,
    },
    /// It answered that it will not.
    #[error("ask Prometheus at {url}: {status}: {message}{hint}", hint = hint(*status))]
    Refused {
        /// Where.
        url: String,
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// What it answered is none.
    #[error("ask Prometheus at {url}: {why}")]
    Wrong {
        /// Where.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// There is more in it than was bargained for.
    #[error("ask Prometheus at {url}: {source}")]
    TooMuch {
        /// Where.
        url: String,
        /// Of what.
        #[source]
        source: TooMuch,
    },
    /// The answer of a guard's query is not one number.
    #[error(
        "the query {query:?} answers with {series} series instead of one number; aggregate it, for instance with max(…)"
    )]
    NotOneNumber {
        /// The query.
        query: String,
        /// How many there were.
        series: usize,
    },
}

fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => " (see --prometheus-bearer-file and --prometheus-header)",
        300..=399 => " (redirects are not followed: use the address it leads to)",
        404 => " (check the path before /api/v1)",
        _ => "",
    }
}

/// Whether asking again may bring an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Not with the same question.
    Never,
    /// Perhaps.
    Later,
    /// Perhaps, but not before this has passed.
    After(Duration),
}

impl QueryError {
    /// Whether there was more of it than may be: less can be asked for.
    #[must_use]
    pub fn is_about_size(&self) -> bool {
        match self {
            Self::TooLong { .. } | Self::TooMuch { .. } => true,
            // As Prometheus refuses what goes beyond its own `--query.max-samples`, and a proxy a large answer.
            Self::Refused { status, .. } => matches!(status.as_u16(), 413 | 422),
            _ => false,
        }
    }

    /// Whether asking again may bring an answer.
    #[must_use]
    pub fn again(&self) -> Again {
        match self {
            Self::File { .. } | Self::Unreachable { .. } | Self::Timeout { .. } => Again::Later,
            Self::Refused { status, retry_after, .. } => match (status.as_u16(), retry_after) {
                (408 | 429 | 500 | 502 | 503 | 504, Some(pause)) => Again::After(*pause),
                (408 | 429 | 500 | 502 | 503 | 504, None) => Again::Later,
                _ => Again::Never,
            },
            Self::TooLong { .. } | Self::Wrong { .. } | Self::TooMuch { .. } | Self::NotOneNumber { .. } => {
                Again::Never
            }
        }
    }
}

type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A Prometheus to be asked.
#[derive(Clone)]
pub struct Prometheus(Arc<Inner>);

struct Inner {
    options: Options,
    base: String,
    headers: HeaderMap,
    /// The client, and the certificates it was made to trust.
    client: Mutex<Option<(Option<Vec<u8>>, HttpsClient)>>,
}

/// A longer query is sent in the body: not every server may be written to, and not every one takes long addresses.
const LONGEST_ADDRESS: usize = 4000;

/// Of an answer that is none so much is read, to show what it says.
const LONGEST_REFUSAL: usize = 64 << 10;

impl Prometheus {
    /// One at this address. Nothing is asked yet.
    ///
    /// # Errors
    /// [`SetupError`] says what is wrong with the options.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        let wrong = |why: &str| SetupError::Url { url: options.url.clone(), why: why.to_owned() };
        let uri: Uri = options.url.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            _ => return Err(wrong("it begins with neither http:// nor https://")),
        }
        if uri.authority().is_none_or(|it| it.host().is_empty()) {
            return Err(wrong("it names no host"));
        }
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(wrong("it has a password in it; send an Authorization header instead"));
        }
        if uri.query().is_some() {
            return Err(wrong("it has a query in it"));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &options.headers {
            let wrong = || SetupError::Header(name.clone());
            let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
            let mut value: HeaderValue = value.trim().parse().map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let base = options.url.trim_end_matches('/').to_owned();
        Ok(Self(Arc::new(Inner { options, base, headers, client: Mutex::new(None) })))
    }

    /// Its address, as people know it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.base
    }

    /// Give the series of a range query to `take`, one after another.
    ///
    /// # Errors
    /// [`QueryError`]; the series before it were taken.
    pub async fn range(
        &self,
        query: &str,
        range: &Range,
        take: &mut (dyn FnMut(Series) -> Result<(), TooMuch> + Send),
    ) -> Result<About, QueryError> {
        let Range { from, to, step } = range;
        let (from, to, step) = (from.to_string(), to.to_string(), step.to_string());
        let form = [("query", query), ("start", &from), ("end", &to), ("step", &step)];
        let body = self.ask("query_range", &form).await?;
        self.read(body, &[Kind::Matrix], take)
    }

    /// Give the series of an instant query to `take`, one after another.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub async fn instant(
        &self,
        query: &str,
        at: Timestamp,
        take: &mut (dyn FnMut(Series) -> Result<(), TooMuch> + Send),
    ) -> Result<About, QueryError> {
        let body = self.ask("query", &[("query", query), ("time", &at.as_second().to_string())]).await?;
        self.read(body, &[Kind::Vector, Kind::Scalar], take)
    }

    /// The one number that a query comes to; `None` where it comes to nothing, or to no number.
    ///
    /// # Errors
    /// [`QueryError`], also for an answer of several series.
    pub async fn number(&self, query: &str, at: Timestamp) -> Result<Option<f64>, QueryError> {
        let mut found = Vec::new();
        let about = self
            .instant(query, at, &mut |series| {
                found.extend(series.value.filter(|_| found.is_empty()));
                Ok(())
            })
            .await?;
        match about.series {
            0 => Ok(None),
            1 => Ok(found.pop().and_then(|(_, value)| value.parse().ok()).filter(|it: &f64| it.is_finite())),
            series => Err(QueryError::NotOneNumber { query: query.to_owned(), series }),
        }
    }

    fn read(
        &self,
        body: impl Buf,
        kinds: &[Kind],
        take: &mut (dyn FnMut(Series) -> Result<(), TooMuch> + Send),
    ) -> Result<About, QueryError> {
        let url = self.0.base.clone();
        read(body.reader(), kinds, take).map_err(|error| match error {
            AnswerError::Ended(source) => QueryError::TooMuch { url, source },
            wrong @ AnswerError::Wrong(_) => QueryError::Wrong { url, why: wrong.to_string() },
        })
    }

    /// The body of an answer, in the pieces in which it came: together they are held once.
    async fn ask(&self, what: &str, form: &[(&str, &str)]) -> Result<impl Buf + use<>, QueryError> {
        let patience = self.0.options.patience;
        let timeout = || QueryError::Timeout { url: self.0.base.clone(), seconds: patience.as_secs() };
        tokio::time::timeout(patience, self.answer(what, form)).await.map_err(|_| timeout())?
    }

    async fn answer(&self, what: &str, form: &[(&str, &str)]) -> Result<impl Buf + use<>, QueryError> {
        let client = self.client().await?;
        let request = self.request(what, form, self.token().await?)?;
        let response = client.request(request).await.map_err(|error| self.unreachable(&error))?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let said = Limited::new(body, LONGEST_REFUSAL).collect().await;
            return Err(self.refused(&head, &said.map(|it| it.to_bytes()).unwrap_or_default()));
        }
        let limit = self.0.options.longest_answer;
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(body.aggregate()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(QueryError::TooLong { url: self.0.base.clone(), limit })
            }
            Err(error) => Err(QueryError::Unreachable {
                url: self.0.base.clone(),
                why: format!("the answer broke off ({error})"),
            }),
        }
    }

    fn request(
        &self,
        what: &str,
        form: &[(&str, &str)],
        token: Option<HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, QueryError> {
        let form = encoded(form);
        let base = &self.0.base;
        let mut request = if base.len() + form.len() <= LONGEST_ADDRESS {
            Request::get(format!("{base}/api/v1/{what}?{form}")).body(Full::default())
        } else {
            Request::post(format!("{base}/api/v1/{what}"))
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Full::from(form))
        }
        .map_err(|error| QueryError::Wrong { url: base.clone(), why: error.to_string() })?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("supple/", env!("CARGO_PKG_VERSION"))));
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, token);
        }
        headers.extend(self.0.headers.clone());
        Ok(request)
    }

    async fn token(&self) -> Result<Option<HeaderValue>, QueryError> {
        let Some(path) = &self.0.options.bearer_file else { return Ok(None) };
        let wrong = |why: String| QueryError::File { what: "a bearer token", path: path.clone(), why };
        let token = tokio::fs::read_to_string(path).await.map_err(|error| wrong(error.to_string()))?;
        let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
        let mut value = value.map_err(|_| wrong("there is something else in it".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// The client; another one when the certificates to trust have changed.
    async fn client(&self) -> Result<HttpsClient, QueryError> {
        let ca = match &self.0.options.ca_file {
            Some(path) => {
                let wrong = |why: String| QueryError::File { what: "certificates", path: path.clone(), why };
                Some(tokio::fs::read(path).await.map_err(|error| wrong(error.to_string()))?)
            }
            None => None,
        };
        // A panic while the lock was held cannot have left half a client.
        let mut held = self.0.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = held.as_ref().filter(|(trusted, _)| *trusted == ca) {
            return Ok(client.clone());
        }
        // Whoever is asked without TLS needs no certificates to trust, and an image may have none.
        let tls = if self.0.base.starts_with("http://") { trust_nobody() } else { trust(ca.as_deref()) };
        let tls = tls.map_err(|error| match &self.0.options.ca_file {
            Some(path) => QueryError::File { what: "certificates", path: path.clone(), why: error.to_string() },
            None => QueryError::File {
                what: "certificates",
                path: "the system's store".into(),
                why: format!("{error}; name some with --prometheus-ca"),
            },
        })?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        *held = Some((ca, client.clone()));
        Ok(client)
    }

    fn unreachable(&self, error: &ClientError) -> QueryError {
        let mut why: &(dyn std::error::Error + 'static) = error;
        while let Some(source) = why.source() {
            why = source;
        }
        QueryError::Unreachable { url: self.0.base.clone(), why: why.to_string() }
    }

    fn refused(&self, head: &Parts, body: &[u8]) -> QueryError {
        let text = |name| head.headers.get(name).and_then(|it: &HeaderValue| it.to_str().ok()).map(str::to_owned);
        let retry_after = text(header::RETRY_AFTER).and_then(|it| it.trim().parse().ok()).map(Duration::from_secs);
        let leads = text(header::LOCATION).filter(|_| head.status.is_redirection());
        let said = serde_json::from_slice::<serde_json::Value>(body).ok();
        let said = said.as_ref().and_then(|it| it.get("error")?.as_str()).map(str::to_owned);
        let message = leads.or(said).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
        QueryError::Refused { url: self.0.base.clone(), status: head.status, message, retry_after }
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
}

/// Trust in the given certificates, or in the system's.
fn trust(ca: Option<&[u8]>) -> io::Result<ClientConfig> {
    let builder = builder().map_err(io::Error::other)?;
    let Some(pem) = ca else { return Ok(builder.with_native_roots()?.with_no_client_auth()) };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("there is no certificate in PEM form in it"));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn trust_nobody() -> io::Result<ClientConfig> {
    Ok(builder().map_err(io::Error::other)?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// As a form is written in an address.
fn encoded(form: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in form {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
                other => out.push_str(&format!("%{other:02X}")),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expect: Result<&str, &str>) {
        match (Prometheus::new(Options::new(url)), expect) {
            (Ok(made), Ok(base)) => assert_eq!(made.url(), base),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{url}: {error}"),
            (made, expect) => panic!("{url}: {:?}, not {expect:?}", made.map(|it| it.url().to_owned())),
        }
    }

    #[test]
    fn addresses() {
        check("http://127.0.0.1:9090/", Ok("http://127.0.0.1:9090"));
        check("https://thanos.example/prefix/", Ok("https://thanos.example/prefix"));
        check("thanos.example:9090", Err("neither http://"));
        check("ftp://x", Err("neither http://"));
        check("https://a:b@x/", Err("password"));
        check("https://x/?a=b", Err("query"));
        check("", Err("not the address"));
    }

    #[test]
    fn headers() {
        let with = |name: &str, value: &str| {
            let headers = vec![(name.to_owned(), value.to_owned())];
            Prometheus::new(Options { headers, ..Options::new("http://x") }).is_ok()
        };
        assert!(with("X-Scope-OrgID", "shop") && !with("a b", "c") && !with("a", "b\nc"));
    }

    #[test]
    fn forms() {
        assert_eq!(encoded(&[("a", "x y&\"é"), ("b", "1")]), "a=x%20y%26%22%C3%A9&b=1");
    }
}
