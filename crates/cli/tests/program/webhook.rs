//! An admission webhook as somebody runs one beside the cluster: its words reach whoever uses kubectl.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::cluster::{Kubectl, Up, bad, eventually, text};

/// An authority, and a TLS configuration whose certificate it has signed for this address.
fn identity() -> (String, Arc<ServerConfig>) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    (pem, Arc::new(config))
}

/// Answers reviews for as long as the test runs; returns where, and the authority to trust.
fn serve(judge: fn(&Value) -> Value) -> (SocketAddr, String) {
    let (authority, config) = identity();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A connection that breaks off is the caller's business, and shows in what the test sees.
            let _ = answer(stream, &config, judge);
        }
    });
    (address, authority)
}

/// One request on one connection.
fn answer(stream: TcpStream, config: &Arc<ServerConfig>, judge: fn(&Value) -> Value) -> io::Result<()> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let (mut read, mut part) = (Vec::new(), [0; 4096]);
    let review: Value = loop {
        let length = stream.read(&mut part)?;
        read.extend_from_slice(&part[..length]);
        let body = read.windows(4).position(|it| it == b"\r\n\r\n").map(|end| &read[end + 4..]);
        if let Some(review) = body.and_then(|body| serde_json::from_slice(body).ok()) {
            break review;
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut response = judge(&review["request"]);
    response["uid"] = review["request"]["uid"].clone();
    let body = json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}).to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Databases do not give memory back: the rule of this webhook.
fn no_less_memory(request: &Value) -> Value {
    let memory = |object: &str| request[object].pointer("/spec/containers/0/resources/limits/memory").cloned();
    // Both were written by this test, in Mi with the same number of digits.
    let less = memory("object").zip(memory("oldObject")).is_some_and(|(new, old)| new.as_str() < old.as_str());
    if less {
        let message = format!("memory of {} may grow, not shrink", request["name"].as_str().unwrap_or_default());
        json!({"allowed": false, "status": {"code": 403, "reason": "Forbidden", "message": message}})
    } else {
        json!({"allowed": true, "warnings": ["resizes are watched here"]})
    }
}

#[test]
fn a_webhook_refuses_a_resize_in_its_own_words() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.pod("db", "{requests: {cpu: 100m, memory: 256Mi}, limits: {cpu: 200m, memory: 256Mi}}");
    let (address, authority) = serve(no_less_memory);
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "databases"},
        "webhooks": [{
            "name": "memory.databases.example", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": format!("https://{address}/judge"), "caBundle": STANDARD.encode(authority)},
            "rules": [{"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/resize"]}],
        }],
    });
    kubectl.create(&configuration.to_string());
    let table = kubectl.good(["get", "validatingwebhookconfigurations"]);
    assert_eq!(table.lines().nth(1).map(|it| it.split_whitespace().take(2).collect()), Some(vec!["databases", "1"]));

    let ask = |resources: Value| {
        let patch = json!({"spec": {"containers": [{"name": "app", "resources": resources}]}}).to_string();
        kubectl.run(["patch", "pod", "db", "--subresource", "resize", "--patch", &patch])
    };
    let refused = bad(&ask(json!({"requests": {"memory": "128Mi"}, "limits": {"memory": "128Mi"}})), 1);
    let words = "admission webhook \"memory.databases.example\" denied the request: memory of db may grow, not shrink";
    assert!(refused.contains(words), "{refused}");
    let grown = ask(json!({"requests": {"memory": "512Mi"}, "limits": {"memory": "512Mi"}}));
    let told = super::cluster::text(&grown.stderr);
    assert!(grown.status.success() && told.contains("Warning: resizes are watched here"), "{told}");
    assert_eq!(kubectl.path("pod/db", "{.spec.containers[0].resources.limits.memory}"), "512Mi");

    // `supple resize` is one more client: it is told the same.
    let refused = up.supple(["resize", "db", "--memory", "384Mi:384Mi"]);
    assert!(!refused.status.success());
    let said = super::cluster::text(&refused.stderr) + &super::cluster::text(&refused.stdout);
    assert!(said.contains("memory of db may grow, not shrink"), "{said}");
}

const APPROVED: &str = "
apiVersion: supple.dev/v1alpha1
kind: RightsizePolicy
metadata: {name: approved, namespace: default}
spec: {approveMemoryDecrease: true}
";

#[test]
fn up_serves_the_loops_own_webhook_where_it_is_asked_to_and_takes_it_away_again() {
    let dir = tempfile::tempdir().unwrap();
    let says_withdrawn =
        |up: &Up| up.announced.iter().any(|it| it.contains("registrations behind: they are withdrawn"));
    // Stopped while it is being registered.
    assert_eq!(Up::start(dir.path(), "simulated", &["--webhook"]).stop().1, Some(0));
    let up = Up::start(dir.path(), "simulated", &["--webhook"]);
    assert!(!says_withdrawn(&up), "it was registered again after its end");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(APPROVED);
    kubectl.pod("a", "{requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 200m, memory: 512Mi}}");
    let lowered = r#"{"spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": "256Mi"}}}]}}"#;
    let lower = |more: &[&str]| {
        let args = ["patch", "pod", "a", "--subresource=resize", "-p", lowered];
        kubectl.run(args.iter().chain(more))
    };
    let said = eventually("a decrease that nobody has approved of is refused", || {
        let output = lower(&["--dry-run=server"]);
        (!output.status.success()).then(|| text(&output.stderr))
    });
    assert!(said.contains("resize.supple.dev") && said.contains("supple.dev/approve-memory-decrease"), "{said}");
    kubectl.good(["annotate", "pod", "a", "supple.dev/approve-memory-decrease=true"]);
    eventually("it has been heard", || lower(&[]).status.success().then_some(()));
    let looked = text(&up.supple(["doctor"]).stdout);
    assert!(looked.contains("(resize.supple.dev) is registered and served"), "{looked}");
    up.stop();
    let registered = |up: &Up| {
        let kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations";
        Kubectl::of(up).unwrap().good(["get", kinds, "-o", "name"]).lines().count()
    };
    // Nobody is there to be asked in the next life.
    let mut up = Up::start(dir.path(), "simulated", &["--webhook"]);
    assert!(!says_withdrawn(&up), "it was withdrawn at the end");
    eventually("it is registered again", || (registered(&up) == 2).then_some(()));
    up.kill();
    let up = Up::start(dir.path(), "simulated", &["--no-loop"]);
    assert!(says_withdrawn(&up), "{:?}", up.announced);
    assert_eq!(registered(&up), 0);
}
