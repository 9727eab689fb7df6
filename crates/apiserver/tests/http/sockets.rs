//! The listener: TLS with our own authority, the token, both versions of HTTP, many cases over one connection, the end.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use supple_apiserver::{ApiServer, Options, tls::Identity};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::{conformance, cpu, small};

struct Served {
    address: SocketAddr,
    ca: String,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

async fn serve(token: Option<&str>) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let identity =
        Identity::load_or_create(directory.path(), &["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = ApiServer::open(Options { token: token.map(str::to_owned), ..Options::in_memory() }).unwrap();
    let (shutdown, ca) = (CancellationToken::new(), identity.ca_pem().to_owned());
    let until = shutdown.clone();
    let task = tokio::spawn(async move { server.serve(listener, &identity, until).await.unwrap() });
    Served { address, ca, shutdown, task, _directory: directory }
}

impl Served {
    /// A client as a kubeconfig makes it.
    async fn client(&self, token: &str) -> kube::Client {
        use base64::Engine as _;
        let ca = base64::engine::general_purpose::STANDARD.encode(&self.ca);
        let kubeconfig: Kubeconfig = serde_json::from_value(json!({
            "clusters": [{"name": "c", "cluster": {"server": format!("https://{}", self.address), "certificate-authority-data": ca}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
            "current-context": "x",
        }))
        .unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }
}

#[tokio::test]
async fn nobody_comes_in_without_the_token() {
    let served = serve(Some("secret")).await;
    for token in ["", "secre", "secret2", "Secret"] {
        let error = served.client(token).await.apiserver_version().await.unwrap_err();
        let kube::Error::Api(status) = error else { panic!("{error}") };
        assert_eq!(
            (status.code, status.reason.as_str(), status.message.as_str()),
            (401, "Unauthorized", "Unauthorized")
        );
    }
    let version = served.client("secret").await.apiserver_version().await.unwrap();
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "36"));
}

#[tokio::test]
async fn the_recorded_cases_over_a_socket() {
    let Some(text) = conformance("resize-api.json") else { return };
    let served = serve(Some("secret")).await;
    let client = served.client("secret").await;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut asked = 0;
    for case in cases.iter().filter(|case| case["group"] == "ordinary" || case["group"] == "quantity") {
        let pod: Pod = serde_json::from_value(case["pod"].clone()).unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        let patch = Patch::Strategic(&case["request"]["body"]);
        let found = match pods.patch_resize("p", &PatchParams::default(), &patch).await {
            Ok(pod) => (200, serde_json::to_value(&pod.spec.unwrap().containers[0].resources).unwrap()),
            Err(kube::Error::Api(status)) => (status.code, status.message.as_str().into()),
            Err(error) => panic!("{error}"),
        };
        let body = &case["response"]["body"];
        let wanted =
            if case["response"]["code"] == 200 { &body["containers"][0]["resources"] } else { &body["message"] };
        assert_eq!((json!(found.0), &found.1), (case["response"]["code"].clone(), wanted), "{}", case["name"]);
        pods.delete("p", &Default::default()).await.unwrap();
        asked += 1;
    }
    assert!(asked > 40, "{asked} cases");
}

#[tokio::test]
async fn shutting_down_ends_watches_and_the_listener() {
    use futures::TryStreamExt as _;
    let served = serve(None).await;
    let client = served.client("").await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let mut watch = Box::pin(maps.watch(&WatchParams::default(), "0").await.unwrap());
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "m"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    let event = watch.try_next().await.unwrap().unwrap();
    assert!(matches!(event, WatchEvent::Added(_)));
    served.shutdown.cancel();
    assert!(watch.try_next().await.unwrap().is_none(), "the watch ends as if its time had come");
    served.task.await.unwrap();
    assert!(tokio::net::TcpStream::connect(served.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_client_needs_no_socket() {
    let server = ApiServer::open(Options::in_memory()).unwrap();
    let pods: Api<Pod> = Api::default_namespaced(server.client("default"));
    pods.create(&PostParams::default(), &serde_json::from_value(small("a")).unwrap()).await.unwrap();
    let resized = pods.patch_resize("a", &PatchParams::default(), &Patch::Strategic(cpu("150m"))).await.unwrap();
    assert_eq!(resized.metadata.generation, Some(2));
}

#[test]
fn an_authority_is_kept_and_private_and_a_broken_one_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    let first = Identity::load_or_create(directory.path(), &names).unwrap().ca_pem().to_owned();
    let again = Identity::load_or_create(directory.path(), &names).unwrap();
    assert_eq!(again.ca_pem(), first);
    for file in ["ca.crt", "ca.key"] {
        let mode = std::fs::metadata(directory.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    std::fs::write(directory.path().join("ca.key"), "nonsense").unwrap();
    let error = Identity::load_or_create(directory.path(), &names).err().unwrap().to_string();
    assert!(error.contains("ca.key") && error.contains("does not hold a private key"), "{error}");
    let other = tempfile::tempdir().unwrap();
    Identity::load_or_create(other.path(), &names).unwrap();
    std::fs::copy(other.path().join("ca.key"), directory.path().join("ca.key")).unwrap();
    let error = Identity::load_or_create(directory.path(), &names).err().unwrap().to_string();
    assert!(error.contains("ca.crt") && error.contains("it is of another key"), "{error}");
    std::fs::remove_file(directory.path().join("ca.key")).unwrap();
    assert_ne!(
        Identity::load_or_create(directory.path(), &names).unwrap().ca_pem(),
        first,
        "a lost key means a new authority"
    );
}
