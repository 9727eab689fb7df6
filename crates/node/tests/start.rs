//! What a node says when it cannot start: which step failed, on what, and what the other side said.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response};
use kube::client::Body;
use supple_node::runtime::Images;
use supple_node::runtime::simulated::{SimulatedOptions, SimulatedRuntime};
use supple_node::{Capacity, CrashPoints, Keep, Node, NodeOptions, StartError};
use supple_quantity::{Bytes, MilliCpu};

/// An API server that answers every request with the same code and body, but for creations.
fn client(created: u16, other: (u16, &'static str)) -> kube::Client {
    let service = tower::service_fn(move |request: Request<Body>| async move {
        let node = r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"lab"}}"#;
        let (code, body) = if request.method() == Method::POST && created < 300 { (created, node) } else { other };
        let response = Response::builder().status(code).header("content-type", "application/json");
        Ok::<_, Infallible>(
            response.body(Body::from(body.as_bytes().to_vec())).expect("a code and a body make an answer"),
        )
    });
    kube::Client::new(service, "default")
}

fn options(checkpoints: Keep) -> NodeOptions {
    NodeOptions {
        name: "lab".into(),
        capacity: Capacity { cpu: MilliCpu(2000), memory: Bytes(1 << 30), pods: 10 },
        memory_qos: Default::default(),
        checkpoints,
        runtime: Arc::new(SimulatedRuntime::new(SimulatedOptions {
            images: Images::default(),
            ..SimulatedOptions::new(Arc::new(jiff::Timestamp::now))
        })),
        clock: Arc::new(jiff::Timestamp::now),
        speed: Default::default(),
        beat: Default::default(),
        crash_points: CrashPoints::none(),
    }
}

const REFUSED: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"nodes is forbidden","reason":"Forbidden","code":403}"#;

#[tokio::test]
async fn a_refused_registration_is_said() {
    let error = Node::start(client(403, (403, REFUSED)), options(Keep::Nowhere)).await.expect_err("it is refused");
    assert!(matches!(error, StartError::Register { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("register node \"lab\"") && text.contains("nodes is forbidden"), "{text}");
}

#[tokio::test]
async fn a_damaged_checkpoint_file_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("node-checkpoints.redb");
    std::fs::write(&path, [7; 10_000]).expect("it can be written");
    let error = Node::start(client(201, (200, "{}")), options(Keep::Directory(dir.path().to_owned())))
        .await
        .expect_err("it is damaged");
    assert!(matches!(error, StartError::Checkpoint(_)), "{error:?}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}
