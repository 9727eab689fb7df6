//! The loop under measurement: `supple controller` as a process of its own beside a simulated cluster, looked at from outside.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::program::{Figures, Program, SUPPLE};

/// How often it is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(20);

/// A policy for the whole cluster under which what was seen in a minute is enough to act on.
const AT_ONCE: &str = r#"{
  "apiVersion": "supple.dev/v1alpha1",
  "kind": "ClusterRightsizePolicy",
  "metadata": {"name": "at-once"},
  "spec": {"learn": "0h", "minConfidence": 0, "startup": "0s"}
}"#;

/// Let the loop act without having learned for a day.
pub async fn act_at_once(program: &Program) {
    let path = "/apis/supple.dev/v1alpha1/clusterrightsizepolicies";
    let mut connection = program.connect().await;
    let answer = connection.call("POST", path, "application/json", AT_ONCE).await;
    assert_eq!(answer.code, 201, "POST {path}: {}", String::from_utf8_lossy(connection.body()));
}

/// A running `supple controller`.
pub struct Loop {
    child: Child,
    metrics: u16,
    probes: u16,
    began: Instant,
}

impl Loop {
    /// Start it on the cluster of this kubeconfig.
    pub fn start(kubeconfig: &Path, interval: &str) -> Self {
        let (metrics, probes) = (free_port(), free_port());
        let began = Instant::now();
        let child = Command::new(&*SUPPLE)
            .args(["controller", "--interval", interval, "--leader-election=false", "--kubeconfig"])
            .arg(kubeconfig)
            .args([
                "--listen-metrics",
                &format!("127.0.0.1:{metrics}"),
                "--listen-probes",
                &format!("127.0.0.1:{probes}"),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        Self { child, metrics, probes, began }
    }

    /// What the system knows of its process.
    pub fn figures(&self) -> Figures {
        Figures(self.child.id())
    }

    /// How long it took from its start until it had read the cluster and come round.
    pub async fn ready(&self) -> Duration {
        while fetch(self.probes, "/readyz").await.is_none_or(|(code, _)| code != 200) {
            tokio::time::sleep(LOOK).await;
        }
        self.began.elapsed()
    }

    /// Its metrics: each series by its whole name, and by the name alone summed over their labels; of buckets those up to a second.
    pub async fn metrics(&self) -> BTreeMap<String, f64> {
        let (_, text) = fetch(self.metrics, "/metrics").await.expect("it serves metrics");
        let mut sums = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            if series.contains('{') {
                sums.insert(series.to_owned(), value.parse::<f64>().unwrap_or_default());
            }
            if series.contains("le=\"") && !series.contains("le=\"1\"") {
                continue;
            }
            let name = series.split('{').next().unwrap_or_default();
            *sums.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap_or_default();
        }
        sums
    }

    /// Kill it as the kernel would.
    pub fn kill(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }
}

/// Within how many seconds 99 of 100 raises were made: the upper bound of the bucket in which the last of them are.
pub fn ninety_nine(metrics: &BTreeMap<String, f64>) -> f64 {
    const BUCKET: &str = "supple_raise_duration_seconds_bucket{le=\"";
    let all = metrics.get("supple_raise_duration_seconds_count").copied().unwrap_or_default();
    let buckets = metrics.iter().filter_map(|(series, count)| Some((series.strip_prefix(BUCKET)?, *count)));
    let within = buckets.filter_map(|(bound, count)| Some((bound.strip_suffix("\"}")?.parse::<f64>().ok()?, count)));
    within.filter(|(_, count)| count * 100.0 >= all * 99.0).map(|(bound, _)| bound).fold(f64::INFINITY, f64::min)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// One GET, the connection closed after it; `None` where nobody listens.
async fn fetch(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let code = answer.split(' ').nth(1)?.parse().ok()?;
    Some((code, answer))
}
