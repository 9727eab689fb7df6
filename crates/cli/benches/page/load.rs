//! What is asked of the program, and how long it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::program::Program;
use super::wire::Connection;

/// How many requests a second, and how long each took.
pub struct Rate {
    /// A second.
    pub rate: f64,
    latencies: Vec<Duration>,
    /// CPU of the program for each.
    pub cpu_each: Duration,
}

impl Rate {
    /// How many there were.
    pub fn count(&self) -> u32 {
        u32::try_from(self.latencies.len()).unwrap_or(u32::MAX).max(1)
    }

    /// So many in a hundred took no longer, ms.
    pub fn at(&self, percent: usize) -> f64 {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().unwrap_or_default().as_secs_f64() * 1000.0
    }
}

/// The median of some measurements, and the longest.
pub fn median(mut of: Vec<Duration>) -> (Duration, Duration) {
    of.sort();
    (of.get(of.len() / 2).copied().unwrap_or_default(), of.last().copied().unwrap_or_default())
}

/// Name of the pod with this number.
fn name(number: usize) -> String {
    format!("pod-{number:05}")
}

/// Make pods of one container that run on the node `bench`.
pub async fn create(program: &Program, pods: usize, connections: usize) -> Rate {
    let created = Arc::new(AtomicUsize::new(0));
    run(program, connections, None, move |_| {
        let number = created.fetch_add(1, Ordering::Relaxed);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name(number), "labels": {"app": "bench"},
                         "annotations": {"supple.dev/usage-pattern": "cpu=50m memory=32Mi noise=10"}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
                "name": "app", "image": "registry.example/app:1",
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"},
                              "limits": {"cpu": "200m", "memory": "128Mi"}},
            }]},
        });
        (number < pods).then(|| Ask {
            method: "POST",
            path: "/api/v1/namespaces/default/pods".to_owned(),
            content_type: "application/json",
            body: pod.to_string(),
            expect: 201,
        })
    })
    .await
}

/// Read single pods, one after another on each connection.
pub async fn gets(program: &Program, pods: usize, connections: usize, length: Duration) -> Rate {
    let next = Arc::new(AtomicUsize::new(0));
    run(program, connections, Some(length), move |_| {
        // A step that shares no factor with any round number of pods.
        let number = next.fetch_add(7919, Ordering::Relaxed) % pods;
        Some(Ask {
            method: "GET",
            path: format!("/api/v1/namespaces/default/pods/{}", name(number)),
            content_type: "application/json",
            body: String::new(),
            expect: 200,
        })
    })
    .await
}

/// Resize pods, each connection its own, one after another. `from` is a size that none has had yet, in mCPU.
pub async fn resizes(program: &Program, pods: usize, connections: usize, from: usize, length: Duration) -> Rate {
    let turns: Arc<Vec<AtomicUsize>> = Arc::new((0..connections).map(|_| AtomicUsize::new(0)).collect());
    let each = (pods / connections).max(1);
    run(program, connections, Some(length), move |connection| {
        let turn = turns[connection].fetch_add(1, Ordering::Relaxed);
        let number = (turn % each) * connections + connection;
        // Another size in each round, so that every request changes something.
        let milli = from + turn / each % 50;
        let body =
            json!({"spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": format!("{milli}m")}}}]}});
        Some(Ask {
            method: "PATCH",
            path: format!("/api/v1/namespaces/default/pods/{}/resize", name(number % pods)),
            content_type: "application/strategic-merge-patch+json",
            body: body.to_string(),
            expect: 200,
        })
    })
    .await
}

struct Ask {
    method: &'static str,
    path: String,
    content_type: &'static str,
    body: String,
    expect: u16,
}

/// Ask on so many connections at once, until the time is over or nothing is left.
async fn run(
    program: &Program,
    connections: usize,
    length: Option<Duration>,
    next: impl Fn(usize) -> Option<Ask> + Send + Sync + 'static,
) -> Rate {
    let next = Arc::new(next);
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(program.connect().await);
    }
    let (began, burnt) = (Instant::now(), program.figures().cpu_time());
    let end = length.map(|it| began + it);
    let tasks = open.into_iter().enumerate().map(|(number, mut connection)| {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while end.is_none_or(|end| Instant::now() < end)
                && let Some(Ask { method, path, content_type, body, expect }) = next(number)
            {
                let sent = Instant::now();
                let answer = connection.call(method, &path, content_type, &body).await;
                latencies.push(sent.elapsed());
                let said = || String::from_utf8_lossy(connection.body()).into_owned();
                assert_eq!(answer.code, expect, "{method} {path}: {}", said());
            }
            latencies
        })
    });
    let mut latencies = Vec::new();
    for task in futures::future::join_all(tasks).await {
        latencies.extend(task.expect("no request failed"));
    }
    let (elapsed, burnt) = (began.elapsed(), program.figures().cpu_time().saturating_sub(burnt));
    latencies.sort();
    let count = u32::try_from(latencies.len()).unwrap_or(u32::MAX).max(1);
    Rate { rate: f64::from(count) / elapsed.as_secs_f64(), latencies, cpu_each: burnt / count }
}

/// One list of all pods: how long it took and how many MiB it was.
pub async fn list(program: &Program, times: usize) -> (Duration, Duration, f64) {
    let mut connection = program.connect().await;
    let (mut took, mut length) = (Vec::new(), 0);
    for _ in 0..times {
        let began = Instant::now();
        length = connection.get("/api/v1/pods").await.length;
        took.push(began.elapsed());
    }
    let (median, longest) = median(took);
    (median, longest, f64::from(u32::try_from(length).unwrap_or(u32::MAX)) / f64::from(1 << 20))
}

/// Watch all pods on so many connections at once; when all have seen everything that is there, and a handle that counts
/// what they see from then on.
pub async fn watch(program: &Program, watchers: usize, pods: usize) -> (Duration, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let mut open = Vec::new();
    for _ in 0..watchers {
        open.push(program.connect().await);
    }
    let began = Instant::now();
    for connection in open {
        tokio::spawn(count(connection, Arc::clone(&seen)));
    }
    while seen.load(Ordering::Relaxed) < watchers * pods {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    seen.store(0, Ordering::Relaxed);
    (took, seen)
}

async fn count(connection: Connection, seen: Arc<AtomicUsize>) {
    let path = "/api/v1/pods?watch=true";
    connection
        .watch(path, move |events| {
            seen.fetch_add(events, Ordering::Relaxed);
            true
        })
        .await;
}
