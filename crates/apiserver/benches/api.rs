//! What a request costs, without a socket: `cargo bench -p supple-apiserver`. The durable ones write to the disk that
//! holds the temporary directory (`TMPDIR`), so compare them on one machine in one run, never with a stored number.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to measure")]

use axum::Router;
use axum::body::Body;
use divan::{Bencher, counter::ItemsCount};
use http::Request;
use http_body_util::BodyExt;
use serde_json::json;
use supple_apiserver::{ApiServer, Options, Storage};
use tokio::runtime::Runtime;
use tower::ServiceExt;

fn main() {
    divan::main();
}

/// A server with this many pods on the node `lab`.
struct Bench {
    runtime: Runtime,
    router: Router,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(pods: usize, durable: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = if durable { Storage::Durable(directory.path().join("store.redb")) } else { Storage::Memory };
        let server = ApiServer::open(Options { storage, ..Options::in_memory() }).unwrap();
        let bench = Self {
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
            router: server.router(),
            _directory: directory,
        };
        bench.runtime.block_on(async {
            let node = json!({"metadata": {"name": "lab"}});
            call(&bench.router, "POST", "/api/v1/nodes", node.to_string()).await;
            let status = json!({"status": {"allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"}}});
            call(&bench.router, "PATCH", "/api/v1/nodes/lab/status", status.to_string()).await;
            let creations = (0..pods).map(|index| {
                let router = bench.router.clone();
                async move { call(&router, "POST", "/api/v1/namespaces/default/pods", pod(index)).await }
            });
            futures::future::join_all(creations).await;
        });
        bench
    }

    /// One resize of each of `pods`, all at once, on both workers.
    fn resize(&self, pods: std::ops::Range<usize>, round: usize) {
        self.runtime.block_on(async {
            let tasks: Vec<_> = pods
                .map(|index| {
                    let (router, body) = (self.router.clone(), resize(round));
                    tokio::spawn(async move {
                        let path = format!("/api/v1/namespaces/default/pods/pod-{index}/resize");
                        call(&router, "PATCH", &path, body).await
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}

fn pod(index: usize) -> String {
    json!({
        "metadata": {"name": format!("pod-{index}"), "labels": {"app": "web", "tier": "front"}},
        "spec": {"nodeName": "lab", "containers": [{
            "name": "app", "image": "registry.example/app:1", "command": ["sleep", "infinity"],
            "env": [{"name": "A", "value": "b"}, {"name": "C", "value": "d"}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "256Mi"}},
        }]},
    })
    .to_string()
}

/// A request that differs from the round before, and stays below a whole core so that it is stored as it is written.
fn cpu(round: usize) -> String {
    format!("{}m", 101 + round % 899)
}

fn resize(round: usize) -> String {
    let cpu = cpu(round);
    json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": cpu}}}]}}).to_string()
}

async fn call(router: &Router, method: &str, path: &str, body: String) -> usize {
    let content_type = if method == "PATCH" { "application/strategic-merge-patch+json" } else { "application/json" };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .body(Body::from(body))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert!(response.status().is_success(), "{method} {path}: {}", response.status());
    response.into_body().collect().await.unwrap().to_bytes().len()
}

#[divan::bench]
fn get(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(100, false);
    let path = "/api/v1/namespaces/default/pods/pod-50";
    bencher.bench_local(|| bench.runtime.block_on(call(&bench.router, "GET", path, String::new())));
}

#[divan::bench(sample_count = 20, args = ["", "?limit=500", "?fieldSelector=spec.nodeName%3Dlab", "?labelSelector=app%3Dapi"])]
fn list_10k(bencher: Bencher<'_, '_>, query: &str) {
    let bench = Bench::new(10_000, false);
    let path = format!("/api/v1/pods{query}");
    bencher.bench_local(|| bench.runtime.block_on(call(&bench.router, "GET", &path, String::new())));
}

/// A hundred changes, each seen by every one of the watchers.
#[divan::bench(args = [1, 10, 100], sample_count = 20)]
fn watch_100_changes(bencher: Bencher<'_, '_>, watchers: usize) {
    let bench = Bench::new(1, false);
    let mut round = 0;
    let mut bodies: Vec<Body> = bench.runtime.block_on(futures::future::join_all((0..watchers).map(|_| async {
        let request = Request::builder().uri("/api/v1/pods?watch=1").body(Body::empty()).unwrap();
        bench.router.clone().oneshot(request).await.unwrap().into_body()
    })));
    bencher.counter(ItemsCount::new(watchers * 100)).bench_local(|| {
        for _ in 0..100 {
            round += 1;
            bench.resize(0..1, round);
        }
        let newest = format!("\"cpu\":\"{}\",\"memory\":\"128Mi\"", cpu(round));
        bench.runtime.block_on(futures::future::join_all(bodies.iter_mut().map(|body| async {
            loop {
                let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
                if String::from_utf8_lossy(&piece).contains(&newest) {
                    break;
                }
            }
        })));
    });
}

#[divan::bench(args = ["memory", "durable"])]
fn resize_alone(bencher: Bencher<'_, '_>, storage: &str) {
    let bench = Bench::new(200, storage == "durable");
    let mut round = 0;
    bencher.bench_local(|| {
        round += 1;
        bench.resize(round % 200..round % 200 + 1, round);
    });
}

#[divan::bench(args = ["memory", "durable"], sample_count = 50)]
fn resize_200_at_once(bencher: Bencher<'_, '_>, storage: &str) {
    let bench = Bench::new(200, storage == "durable");
    let mut round = 0;
    bencher.counter(ItemsCount::new(200_usize)).bench_local(|| {
        round += 1;
        bench.resize(0..200, round);
    });
}
