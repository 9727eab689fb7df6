//! The Secret with the certificate and the two webhook configurations, kept as they have to be.
//!
//! One replica, the leader, writes; all serve what the Secret holds. A new authority is trusted by the configurations before
//! any replica serves a certificate of it.
//!
//! Behind a Service the configurations are whoever's who installed us (the chart's): of them only the authorities are written,
//! into the webhooks of our name. At an address of our own (`supple up`) they are ours as a whole.
//!
//! A certificate that is given is served as it is, whenever it is another one, and nothing at all is written: who gives it has it trusted.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use rustls::ServerConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::certificate::{CERTIFICATE, CertificateError, KEY, Pair, is_good};
use super::registration::{CREATE_HOOK, Registered, Registration};
use super::server::{CREATE, RESIZE};
use crate::caught::caught;
use crate::lease::elect::Leadership;
use crate::metrics::Metrics;
use crate::run::Clock;

/// The webhook that judges resizes.
const RESIZE_HOOK: &str = "resize.supple.dev";

/// The field manager of the configurations.
const MANAGER: &str = "supple";

/// How often is looked whether all is as it has to be. Wall clocks jump, and timers for months are not to be trusted.
const LOOK: Duration = Duration::from_secs(60);

/// How long an API server waits for an answer, in seconds. Answers take milliseconds.
const PATIENCE: u8 = 5;

/// Where the API server finds the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind a Service, on port 443.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// At an address, for a cluster that runs beside us.
    Address {
        /// Host, as the certificate has to name it.
        host: String,
        /// Port.
        port: u16,
    },
}

impl Place {
    /// The names the certificate has to have.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Service { namespace, name } => {
                vec![format!("{name}.{namespace}.svc"), format!("{name}.{namespace}.svc.cluster.local")]
            }
            Self::Address { host, .. } => vec![host.clone()],
        }
    }

    fn client_config(&self, path: &str, authorities: &str) -> Value {
        let mut config = match self {
            Self::Service { namespace, name } => {
                json!({"service": {"namespace": namespace, "name": name, "path": path, "port": 443}})
            }
            Self::Address { host, port } => json!({"url": format!("https://{host}:{port}{path}")}),
        };
        config["caBundle"] = STANDARD.encode(authorities).into();
        config
    }
}

/// What is asked of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The controller's own namespace: where the Secret is, and never blocked.
    pub namespace: String,
    /// Name of both configurations; the Secret is called so with `-webhook` behind it.
    pub name: String,
    /// Where the webhook is found.
    pub place: Place,
    /// Resizes are refused while the webhook cannot be asked; else they pass. Pods are created in any case.
    pub fail_closed: bool,
    /// New pods are sized.
    pub sizes_new_pods: bool,
    /// The folder with a certificate of somebody else, which is served in place of one of our own.
    pub given: Option<PathBuf>,
}

impl Wanted {
    /// Behind this Service, by whose name (`NAME-webhook`) everything else is found. What is asked stands in the
    /// configurations already.
    #[must_use]
    pub fn behind(namespace: &str, service_namespace: &str, service: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: service.strip_suffix("-webhook").unwrap_or(service).to_owned(),
            place: Place::Service { namespace: service_namespace.to_owned(), name: service.to_owned() },
            fail_closed: false,
            sizes_new_pods: true,
            given: None,
        }
    }

    fn secret(&self) -> String {
        format!("{}-webhook", self.name)
    }
}

/// Why things are not as they have to be.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The API server refused, or was not reached.
    #[error("{operation}: {source}")]
    Api {
        /// What was being done.
        operation: &'static str,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Nobody has told the API server to ask us.
    #[error(
        "there is no readable validating or mutating webhook configuration {0:?} with a webhook {resize} or \
         {create}: install the chart with webhook.enabled",
        resize = RESIZE_HOOK,
        create = CREATE_HOOK
    )]
    NobodyAsks(String),
}

fn api(operation: &'static str) -> impl FnOnce(kube::Error) -> PublishError {
    move |source| PublishError::Api { operation, source: Box::new(source) }
}

/// The configurations as they have to be.
#[must_use]
pub fn configurations(wanted: &Wanted, authorities: &str) -> (Value, Option<Value>) {
    let hook = |name: &str, path: &str, fail_closed: bool, operation: &str, resource: &str| {
        json!({
            "name": name,
            "clientConfig": wanted.place.client_config(path, authorities),
            "rules": [{"operations": [operation], "apiGroups": [""], "apiVersions": ["v1"],
                       "resources": [resource], "scope": "Namespaced"}],
            "namespaceSelector": {"matchExpressions": [{
                "key": "kubernetes.io/metadata.name", "operator": "NotIn",
                "values": ["kube-system", wanted.namespace],
            }]},
            "failurePolicy": if fail_closed { "Fail" } else { "Ignore" },
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": PATIENCE,
            "admissionReviewVersions": ["v1"],
        })
    };
    let whole = |kind: &str, mut hook: Value, more: Option<(&str, &str)>| {
        if let Some((key, value)) = more {
            hook[key] = value.into();
        }
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": wanted.name, "labels": {"app.kubernetes.io/name": "supple"}},
            "webhooks": [hook],
        })
    };
    let resize = hook(RESIZE_HOOK, RESIZE, wanted.fail_closed, "UPDATE", "pods/resize");
    // Without sizes a pod is as good as before: that it cannot be sized never keeps one from being created.
    let create = hook(CREATE_HOOK, CREATE, false, "CREATE", "pods");
    (
        whole("ValidatingWebhookConfiguration", resize, None),
        wanted
            .sizes_new_pods
            .then(|| whole("MutatingWebhookConfiguration", create, Some(("reinvocationPolicy", "IfNeeded")))),
    )
}

/// Who is told what is found.
#[derive(Debug)]
pub struct Told {
    /// The newest TLS configuration, at first when there is one.
    pub tls: watch::Sender<Option<Arc<ServerConfig>>>,
    /// About which new pods the webhook is asked.
    pub registered: Registered,
    /// When the certificate runs out.
    pub metrics: Metrics,
}

/// Keep things as they have to be until `stop`. A defect that ends it in the middle is no reason for the loop to end, which resizes
/// without a webhook; but a certificate that nobody renews ends the webhook weeks later, so it is begun anew.
pub async fn run(
    client: Client,
    wanted: Wanted,
    clock: Clock,
    leadership: watch::Receiver<Leadership>,
    told: Told,
    stop: CancellationToken,
) {
    while caught("keeping the webhook set up", keep(&client, &wanted, &clock, &leadership, &told, &stop)).await.is_err()
    {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK / 12) => {}
        }
    }
}

async fn keep(
    client: &Client,
    wanted: &Wanted,
    clock: &Clock,
    leadership: &watch::Receiver<Leadership>,
    told: &Told,
    stop: &CancellationToken,
) {
    let Told { tls, registered, metrics } = told;
    let mut served: Option<Pair> = None;
    let mut failed = String::new();
    let mut leads = leadership.clone();
    loop {
        let may_write = leadership.borrow().may_act(Instant::now());
        let done = once(client, wanted, may_write, clock()).await;
        match registration(client, &wanted.name).await {
            Ok(now) => registered.set(now),
            Err(error) => tracing::debug!(%error, "cannot read whether new pods are sized; keeping the previous \
                                                   answer"),
        }
        match done {
            Ok(Some(pair)) => {
                failed.clear();
                metrics.certificate(pair.until);
                if served.as_ref() != Some(&pair) {
                    match pair.server_config() {
                        Ok(config) => {
                            if wanted.given.is_some() {
                                tracing::info!(until = %pair.until, "the webhook serves the certificate it was given");
                            }
                            tls.send_replace(Some(config));
                        }
                        Err(error) => tracing::warn!(%error, "the webhook keeps its previous certificate"),
                    }
                    served = Some(pair);
                }
            }
            Ok(None) => {}
            Err(error) => {
                let now = error.to_string();
                if now != failed {
                    tracing::warn!(error = now, "the webhook is not set up; will retry");
                    failed = now;
                }
            }
        }
        // Whoever has just become the leader looks at once; a leader that renews its lease does not.
        let became = async {
            let leading = matches!(&*leads.borrow_and_update(), Leadership::Leads { .. });
            let ended = leads.wait_for(|it| matches!(it, Leadership::Leads { .. }) != leading).await.is_err();
            if ended {
                std::future::pending::<()>().await;
            }
        };
        let pause = if served.is_none() { LOOK / 12 } else { LOOK };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = became => {}
        }
    }
}

/// Look once, and write what is not as it has to be, if `may_write`. The certificate to serve; `None` while there is none
/// and somebody else has to make it.
///
/// # Errors
/// [`PublishError`].
pub async fn once(
    client: &Client,
    wanted: &Wanted,
    may_write: bool,
    now: Timestamp,
) -> Result<Option<Pair>, PublishError> {
    if let Some(folder) = &wanted.given {
        return given(folder).await.map(Some);
    }
    let secrets = Api::<Secret>::namespaced(client.clone(), &wanted.namespace);
    let name = wanted.secret();
    let secret = secrets.get_opt(&name).await.map_err(api("read the webhook's Secret"))?;
    let kept = secret.as_ref().and_then(|it| Pair::of_secret(it.data.as_ref()?));
    if !may_write {
        return Ok(kept);
    }
    let names = wanted.place.names();
    if is_good(kept.as_ref(), &names, now) {
        if let Some(kept) = &kept {
            configure(client, wanted, &kept.authorities).await?;
        }
        return Ok(kept);
    }
    let pair = Pair::make(&names, kept.as_ref(), now)?;
    // Trusted first, served afterwards. Where there is nobody yet who trusts the old one, both come to one.
    configure(client, wanted, &pair.authorities).await?;
    let mut object = secret.unwrap_or_else(|| Secret {
        metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        ..Secret::default()
    });
    object.data = Some(pair.to_secret());
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    // Guarded by its version, or by there being none: of two that write, one finds out and looks again.
    if object.metadata.resource_version.is_some() {
        secrets.replace(&name, &params, &object).await.map_err(api("write the webhook's Secret"))?;
    } else {
        secrets.create(&params, &object).await.map_err(api("write the webhook's Secret"))?;
    }
    tracing::info!(until = %pair.until, "a new certificate for the webhook");
    Ok(Some(pair))
}

/// The certificate that lies in this folder now. Between the two files whoever keeps them may exchange both; then they do not belong
/// together, and the next look finds them.
async fn given(folder: &Path) -> Result<Pair, PublishError> {
    Ok(Pair::given(read(folder, CERTIFICATE).await?, read(folder, KEY).await?)?)
}

async fn read(folder: &Path, name: &str) -> Result<String, CertificateError> {
    let path = folder.join(name);
    let read = tokio::fs::read_to_string(&path).await;
    read.map_err(|error| CertificateError::Use(format!("read {}: {error}", path.display())))
}

/// About which new pods the webhook is asked, by the configuration of this name. One that may not be read is somebody else's.
///
/// # Errors
/// [`PublishError`].
pub async fn registration(client: &Client, name: &str) -> Result<Registration, PublishError> {
    match Api::<MutatingWebhookConfiguration>::all(client.clone()).get_opt(name).await {
        Ok(found) => Ok(Registration::of(&found)),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Registration::default()),
        Err(error) => Err(api("read the mutating webhook configuration")(error)),
    }
}

async fn configure(client: &Client, wanted: &Wanted, authorities: &str) -> Result<(), PublishError> {
    let validating = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone());
    if let Place::Service { .. } = wanted.place {
        let resize = trusted(&validating, wanted, RESIZE_HOOK, authorities).await?;
        let create = trusted(&mutating, wanted, CREATE_HOOK, authorities).await?;
        return if resize || create { Ok(()) } else { Err(PublishError::NobodyAsks(wanted.name.clone())) };
    }
    let params = PatchParams::apply(MANAGER).force();
    let (resize, create) = configurations(wanted, authorities);
    validating
        .patch(&wanted.name, &params, &Patch::Apply(&resize))
        .await
        .map_err(api("apply the validating webhook configuration"))?;
    match create {
        Some(create) => {
            let applied = mutating.patch(&wanted.name, &params, &Patch::Apply(&create)).await;
            applied.map_err(api("apply the mutating webhook configuration"))?;
        }
        None => gone(mutating.delete(&wanted.name, &DeleteParams::default()).await.map(drop))?,
    }
    Ok(())
}

/// Write the authorities into the webhook of this name of a configuration that is there; whether it is. What may not be
/// read is somebody else's: whoever installed us without it has not allowed it either.
async fn trusted<K>(all: &Api<K>, wanted: &Wanted, hook: &str, authorities: &str) -> Result<bool, PublishError>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
{
    let configuration = match all.get_opt(&wanted.name).await {
        Ok(Some(configuration)) => serde_json::to_value(configuration).unwrap_or_default(),
        Ok(None) => return Ok(false),
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(false),
        Err(error) => return Err(api("read a webhook configuration")(error)),
    };
    let hooks = configuration["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(there) = hooks.iter().find(|it| it["name"] == hook) else { return Ok(false) };
    let bundle = STANDARD.encode(authorities);
    if there["clientConfig"]["caBundle"] == bundle.as_str() {
        return Ok(true);
    }
    let patch = json!({"webhooks": [{"name": hook, "clientConfig": {"caBundle": bundle}}]});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = all.patch(&wanted.name, &params, &Patch::Strategic(patch)).await;
    patched.map_err(api("write the CA bundle into a webhook configuration"))?;
    Ok(true)
}

/// Take the configurations of this name away that ask at an address of our own: nobody is asked any more. Whether there were any.
///
/// # Errors
/// [`PublishError`].
pub async fn withdraw(client: &Client, name: &str) -> Result<bool, PublishError> {
    let validating = withdrawn(&Api::<ValidatingWebhookConfiguration>::all(client.clone()), name).await?;
    let mutating = withdrawn(&Api::<MutatingWebhookConfiguration>::all(client.clone()), name).await?;
    Ok(validating || mutating)
}

async fn withdrawn<K>(all: &Api<K>, name: &str) -> Result<bool, PublishError>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
{
    let there = all.get_opt(name).await.map_err(api("read a webhook configuration"))?;
    let there = serde_json::to_value(there).unwrap_or_default();
    // Of ours there is one webhook in each.
    let hook = &there["webhooks"][0];
    if !(hook["name"] == RESIZE_HOOK || hook["name"] == CREATE_HOOK) || hook["clientConfig"]["url"].is_null() {
        return Ok(false);
    }
    gone(all.delete(name, &DeleteParams::default()).await.map(drop))?;
    Ok(true)
}

/// What is not there need not be deleted.
fn gone(result: Result<(), kube::Error>) -> Result<(), PublishError> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result.map_err(api("delete a webhook configuration")),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;
    use crate::lease::elect::alone;

    /// Whoever keeps the files exchanges them; nothing is asked of the cluster but which new pods the webhook is asked about.
    #[tokio::test(start_paused = true)]
    async fn a_given_certificate_is_served_whenever_it_is_another_one_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let clock: Clock = Arc::new(|| "2026-03-01T12:00:00Z".parse().unwrap());
        let put = |name: &str| {
            let pair = Pair::make(&[name.to_owned()], None, clock()).unwrap();
            for (key, data) in pair.to_secret() {
                std::fs::write(folder.path().join(key), data.0).unwrap();
            }
        };
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = requests.clone();
        let cluster = tower::service_fn(move |request: Request<Body>| {
            noted.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
            let none = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"}).to_string();
            let answer = Response::builder().status(404).body(axum::body::Body::from(none)).unwrap();
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        let (sender, mut tls) = watch::channel(None);
        let metrics = Metrics::default();
        let told = Told { tls: sender, registered: Registered::default(), metrics: metrics.clone() };
        let wanted = Wanted {
            given: Some(folder.path().to_owned()),
            ..Wanted::behind("supple-system", "supple-system", "supple-webhook")
        };
        let stop = CancellationToken::new();
        let keeping =
            tokio::spawn(run(Client::new(cluster, "default"), wanted, clock.clone(), alone(), told, stop.clone()));
        // It may be there later than we are.
        tokio::time::sleep(LOOK).await;
        assert!(tls.borrow().is_none());
        for name in ["first.svc", "second.svc"] {
            put(name);
            tls.changed().await.unwrap();
        }
        let expiry = "supple_webhook_certificate_expiry_timestamp_seconds 1780185600";
        let text = metrics.render(clock());
        assert!(text.contains(expiry), "{text}");
        stop.cancel();
        keeping.await.unwrap();
        let mut asked = std::mem::take(&mut *requests.lock().unwrap());
        asked.dedup();
        assert_eq!(asked, ["GET /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/supple"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_defect_has_ended_is_begun_anew_until_it_is_to_end() {
        let silent = tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
        let asked = Arc::new(AtomicUsize::new(0));
        let clock: Clock = Arc::new({
            let asked = asked.clone();
            move || panic!("a defect, for the time {}", asked.fetch_add(1, Ordering::Relaxed) + 1)
        });
        let told = Told { tls: watch::channel(None).0, registered: Registered::default(), metrics: Metrics::default() };
        let (stop, wanted) = (CancellationToken::new(), Wanted::behind("supple-system", "supple-system", "supple"));
        let keeping = run(Client::new(silent, "default"), wanted, clock, alone(), told, stop.clone());
        tokio::pin!(keeping);
        assert!(tokio::time::timeout(LOOK, &mut keeping).await.is_err(), "it goes on");
        assert!(asked.load(Ordering::Relaxed) > 1);
        stop.cancel();
        keeping.await;
    }
}
