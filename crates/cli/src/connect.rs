//! Which cluster is meant, in kubectl's order, and a client for it.

use std::path::{Path, PathBuf};

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use supple_controller::again::LookAgain;
use supple_controller::deadline::InTime;
use supple_controller::lists::LetGo;
use supple_controller::metrics::Metrics;
use supple_controller::metrics::calls::CountCalls;

use crate::args::ConnectionArgs;
use crate::exit::Failure;

/// A client, and the namespace its context names.
pub struct Connection {
    pub client: Client,
    pub namespace: String,
}

/// Connect. Looked for in this order: `--kubeconfig`, `$KUBECONFIG`, `~/.kube/config`, the account of the pod this runs
/// in, and last the cluster that `supple up` keeps in its default data directory.
pub async fn connect(args: &ConnectionArgs) -> Result<Connection, Failure> {
    connect_counted(args, &Metrics::default()).await
}

/// Connect, and count what is asked. Every request is answered in time or fails, whoever asks.
pub async fn connect_counted(args: &ConnectionArgs, metrics: &Metrics) -> Result<Connection, Failure> {
    let mut config = config(args).await?;
    // It would send changes again too, and for half a minute, whatever has happened since they were decided; and nobody would hear why.
    config.default_retry = false;
    let namespace = config.default_namespace.clone();
    let builder = ClientBuilder::try_from(config)
        .map_err(|error| Failure::unreachable(format!("cannot use the kubeconfig: {}", chain(&error))))?;
    let builder = builder.with_layer(&LetGo).with_layer(&InTime).with_layer(&CountCalls(metrics.clone()));
    let builder = builder.with_layer(&LookAgain);
    Ok(Connection { client: builder.build(), namespace })
}

async fn config(args: &ConnectionArgs) -> Result<Config, Failure> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    if let Some(path) = &args.kubeconfig {
        return from_file(path, &options).await;
    }
    let by_environment = std::env::var_os("KUBECONFIG").is_some_and(|it| !it.is_empty());
    let usual = std::env::home_dir().map(|it| it.join(".kube/config")).filter(|it| it.exists());
    if by_environment || usual.is_some() {
        let (named, config) =
            if by_environment { ("$KUBECONFIG", merged()) } else { ("~/.kube/config", Kubeconfig::read()) };
        let config = config.map_err(|error| malformed(named, &error))?;
        return Config::from_custom_kubeconfig(config, &options).await.map_err(|error| malformed(named, &error));
    }
    if args.context.is_none()
        && let Ok(config) = Config::incluster()
    {
        return Ok(config);
    }
    let own = default_data_dir().map(|it| supple_cluster::kubeconfig_in(&it)).filter(|it| it.exists());
    match own {
        Some(path) => from_file(&path, &options).await,
        None => Err(Failure::unreachable(
            "no cluster is configured: set --kubeconfig or KUBECONFIG, or start a cluster with `supple up`",
        )),
    }
}

/// What the files in `$KUBECONFIG` say together. As with kubectl, a file that is not there says nothing, as long as another one is.
fn merged() -> Result<Kubeconfig, KubeconfigError> {
    let value = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let paths: Vec<PathBuf> = std::env::split_paths(&value).filter(|it| !it.as_os_str().is_empty()).collect();
    let are_there: Vec<&PathBuf> = paths.iter().filter(|it| it.exists()).collect();
    let read = if are_there.is_empty() { paths.iter().collect() } else { are_there };
    read.into_iter().try_fold(Kubeconfig::default(), |merged, path| merged.merge(Kubeconfig::read_from(path)?))
}

async fn from_file(path: &Path, options: &KubeConfigOptions) -> Result<Config, Failure> {
    let shown = path.display().to_string();
    let config = Kubeconfig::read_from(path).map_err(|error| malformed(&shown, &error))?;
    Config::from_custom_kubeconfig(config, options).await.map_err(|error| malformed(&shown, &error))
}

fn malformed(named: &str, error: &KubeconfigError) -> Failure {
    Failure::unreachable(format!("cannot use kubeconfig {named}: {}", chain(error)))
}

/// An error with what caused it, on one line. A cause that its effect has quoted already is not said twice, and of what an API server
/// answered only its sentence is said.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(kube::Error::Api(status)) = error.downcast_ref() {
        return status.message.clone();
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text.replace('\n', " ")
}

/// Why a cluster tells whoever asks nothing at all. Its word for an expired token is `Unauthorized`, which nobody takes for that.
pub fn unreachable(error: &kube::Error) -> Failure {
    Failure::unreachable(match error {
        kube::Error::Api(status) if status.code == 401 => format!(
            "the cluster does not accept these credentials ({}): they may have expired; log in again, or choose others \
             with --context or --kubeconfig",
            status.message
        ),
        error => format!("cannot reach the cluster: {}", chain(error)),
    })
}

/// Whether an error is what an API server says to those it knows: that they may not, or that it has no such thing.
pub fn is_answer(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 403 | 404))
}

/// Whether there is a cluster that lets whoever asks in at all.
pub async fn reach(client: &Client) -> Result<(), Failure> {
    match client.apiserver_version().await {
        Err(error) if !is_answer(&error) => Err(unreachable(&error)),
        _ => Ok(()),
    }
}

/// `$XDG_DATA_HOME/supple`, or `~/.local/share/supple`; `None` without a home.
pub fn default_data_dir() -> Option<PathBuf> {
    let data_home = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|it| it.is_absolute());
    data_home.or_else(|| std::env::home_dir().map(|it| it.join(".local/share"))).map(|it| it.join("supple"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::body::Body;
    use axum::extract::Request;
    use axum::response::Response;
    use k8s_openapi::api::core::v1::Pod;
    use kube::Api;
    use kube::api::EvictParams;

    use super::*;

    /// Whoever decided on it is told why not, and decides anew; it was sent again for half a minute, and ended without an answer.
    #[tokio::test]
    async fn a_change_that_is_refused_for_now_is_sent_once_and_its_answer_told_and_counted() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let busy = move |request: Request| {
            seen.lock().unwrap().push(request.method().to_string());
            let causes = r#"[{"reason":"DisruptionBudget","message":"it needs 2 healthy pods"}]"#;
            let status =
                format!(r#"{{"kind":"Status","status":"Failure","code":429,"details":{{"causes":{causes}}}}}"#);
            let answer = Response::builder().status(429).header("retry-after", "1").body(Body::from(status)).unwrap();
            std::future::ready(answer)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = axum::Router::new().fallback(busy);
        tokio::spawn(async move { axum::serve(listener, server).await.unwrap() });

        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("config");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}], \
             users: [{{name: c, user: {{}}}}], contexts: [{{name: c, context: {{cluster: c, user: c}}}}]}}"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        let metrics = Metrics::default();
        let args = ConnectionArgs { kubeconfig: Some(kubeconfig), context: None };
        let Ok(connection) = connect_counted(&args, &metrics).await else { panic!("it is a kubeconfig") };

        let pods = Api::<Pod>::namespaced(connection.client, "n");
        let error = pods.evict("p", &EvictParams::default()).await.unwrap_err();
        let kube::Error::Api(status) = error else { panic!("{error}") };
        assert_eq!((status.code, status.details.unwrap().causes[0].reason.as_str()), (429, "DisruptionBudget"));
        assert_eq!(*asked.lock().unwrap(), ["POST"]);
        assert!(matches!(pods.get("p").await, Err(kube::Error::Api(status)) if status.code == 429));
        assert_eq!(*asked.lock().unwrap(), ["POST", "GET", "GET", "GET"], "what only reads is tried again");
        let text = metrics.render(jiff::Timestamp::UNIX_EPOCH);
        for (verb, resource, count) in [("create", "pods/eviction", 1), ("get", "pods", 3)] {
            let line =
                format!(r#"supple_api_requests_total{{verb="{verb}",resource="{resource}",code="429"}} {count}"#);
            assert!(text.contains(&line), "{line} is not in {text}");
        }
    }

    #[derive(Debug)]
    struct Told(&'static str, Option<Box<Told>>);

    impl std::fmt::Display for Told {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Told {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|it| it as _)
        }
    }

    #[test]
    fn causes_are_said_once() {
        let error = Told(
            "cannot open: no such file",
            Some(Box::new(Told("no such file", Some(Box::new(Told("os\n2", None)))))),
        );
        assert_eq!(chain(&error), "cannot open: no such file: os 2");
    }
}
