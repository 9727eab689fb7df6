//! The node of the recordings, embedded: name `lab`, two cores, 24581696Ki, one image.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use serde_json::{Value, json};
use supple_cluster::{Cluster, ClusterOptions, NodeRuntime, NodeSettings};
use supple_node::Capacity;
use supple_node::runtime::{PodRef, Runtime};
use supple_quantity::{Bytes, MilliCpu};

use crate::ground::Ground;
use crate::observed::observed;
use crate::version_2::Files;
use crate::{PATIENCE, Scenario, Told, expected};

/// Events that the recordings have.
const REASONS: [&str; 7] =
    ["ResizeStarted", "ResizeCompleted", "ResizeDeferred", "ResizeInfeasible", "ResizeError", "Killing", "BackOff"];

/// How long to wait for the next change before looking at the cgroups again, which nobody announces.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long at most, after doubling it each time in vain: where looking takes an emulated processor as long as what is
/// waited for, who looks often waits for himself.
const LOOK_SELDOM: Duration = Duration::from_secs(3);

/// The pauses between one look and the next.
fn pauses() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(LOOK_AGAIN), |pause| Some((*pause * 2).min(LOOK_SELDOM)))
}

pub struct Lab {
    cluster: Cluster,
    runtime: Arc<dyn Runtime>,
    client: kube::Client,
    /// Our own cgroups on version 2; read there, whatever the runtime says.
    files: Option<Files>,
    _dir: tempfile::TempDir,
}

impl Lab {
    pub async fn start(ground: &Ground) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let runtime = ground.runtime(dir.path()).await;
        let node = NodeSettings {
            name: "lab".into(),
            capacity: Capacity { cpu: MilliCpu(2000), memory: Bytes(24_581_696 << 10), pods: 110 },
            memory_qos: supple_cluster::MemoryQos::default(),
            runtime: NodeRuntime::Given(Arc::clone(&runtime)),
            stand_in: Vec::new(),
        };
        let options = ClusterOptions::in_memory(vec![node], Arc::new(jiff::Timestamp::now));
        let cluster = Cluster::start(options).await.expect("the cluster starts");
        let client = cluster.client();
        let files = Files::of(ground, dir.path());
        Self { cluster, runtime, client, files, _dir: dir }
    }

    /// The pods that the recorded node had of its own, which took 300m: there until the random schedules began.
    pub async fn with_system_pod(self) -> Self {
        let system = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "system" },
            "spec": {
                "nodeName": "lab", "priorityClassName": "system-cluster-critical", "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "app", "image": "busybox:1.35", "command": ["sleep", "100000"],
                    "resources": { "requests": { "cpu": "300m" } },
                }],
            },
        });
        self.create_in("kube-system", &system).await;
        self
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub async fn create(&self, pod: &Value) {
        let mut pod = pod.clone();
        // A shell becomes its last command where it can, and what it has filled goes: it is given something to wait for.
        if let Some(Value::String(script)) = pod.pointer_mut("/spec/containers/0/command/2")
            && script.contains("head -c")
        {
            script.push_str("; exit");
        }
        self.create_in("default", &pod).await;
    }

    async fn create_in(&self, namespace: &str, pod: &Value) {
        let pod: Pod = serde_json::from_value(pod.clone()).expect("recorded pods are pods");
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        api.create(&PostParams::default(), &pod).await.expect("the API takes the pod");
    }

    /// Send a resize; returns the answer's code.
    pub async fn resize(&self, pod: &str, patch: &Value) -> u16 {
        match self.pods().patch_resize(pod, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => 200,
            Err(kube::Error::Api(status)) => status.code,
            Err(error) => panic!("{pod} could not be resized: {error}"),
        }
    }

    pub async fn delete(&self, pod: &str) {
        self.pods().delete(pod, &DeleteParams::default()).await.expect("the pod can be deleted");
    }

    async fn get(&self, pod: &str) -> Value {
        let pod = self.pods().get_opt(pod).await.expect("pods can be read");
        serde_json::to_value(pod).expect("a pod has a JSON form")
    }

    /// Wait until every container that will run does.
    pub async fn all_started(&self, scenario: &Scenario) {
        if scenario.steps.first().is_some_and(|step| step.step == "start") {
            return;
        }
        for pod in &scenario.pods {
            let name = pod["metadata"]["name"].as_str().expect("pods have names");
            let ready = |pod: &Value| {
                let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
                conditions.into_iter().any(|it| it["type"] == "Ready" && it["status"] == "True")
            };
            let end = tokio::time::Instant::now() + PATIENCE;
            let mut pauses = pauses();
            while !ready(&self.get(name).await) {
                assert!(tokio::time::Instant::now() < end, "{name} never became ready: {}", self.get(name).await);
                self.changed(name, pauses.next()).await;
            }
        }
    }

    /// Wait until a pod whose command fills memory (`head -c BYTES /dev/zero`) uses that much, if its limit allows.
    pub async fn has_filled(&self, scenario: &Scenario, pod: &str) {
        let spec = scenario.pods.iter().find(|it| it["metadata"]["name"] == pod).expect("the pod is one of them");
        let container = &spec["spec"]["containers"][0];
        let script = container["command"][2].as_str().unwrap_or_default();
        let bytes = script.split_once("head -c ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<i64>().ok());
        let limit = container.pointer("/resources/limits/memory").and_then(Value::as_str);
        let limit = limit.and_then(|it| it.strip_suffix("Mi")?.parse::<i64>().ok()).map_or(i64::MAX, |it| it << 20);
        let Some(bytes) = bytes.filter(|bytes| *bytes < limit) else { return };
        let object = self.get(pod).await;
        let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let id = PodRef { uid: uid.into(), namespace: "default".into(), name: pod.into() };
        // A shell fills it, byte by byte and with a fifth of a processor, and the processor may be an emulated one.
        let end = tokio::time::Instant::now() + 4 * PATIENCE;
        let mut pauses = pauses();
        while self.runtime.usage(&id).await.expect("usage can be read").memory_usage.0 < bytes {
            assert!(tokio::time::Instant::now() < end, "{pod} never used {bytes} bytes");
            // Nobody announces that a process has filled its memory.
            tokio::time::sleep(pauses.next().unwrap_or(LOOK_SELDOM)).await;
        }
    }

    /// Wait for the next change of a pod, but not for long.
    async fn changed(&self, pod: &str, pause: Option<Duration>) {
        let params = WatchParams::default().fields(&format!("metadata.name={pod}"));
        let Ok(watch) = self.pods().watch(&params, "0").await else { return };
        let mut watch = std::pin::pin!(watch.skip(1));
        // Running out of time is no error: the cgroups are looked at again.
        let _ = tokio::time::timeout(pause.unwrap_or(LOOK_SELDOM), watch.next()).await;
    }

    /// What is recorded, in the words of this machine's cgroups.
    pub fn in_its_words(&self, recorded: Value) -> Value {
        match &self.files {
            Some(files) => files.expected(recorded),
            None => recorded,
        }
    }

    /// Wait until a pod looks like this; `Err`: what it looks like instead.
    pub async fn comes_to(&self, pod: &str, expected: &Value) -> Result<(), Value> {
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut pauses = pauses();
        loop {
            let seen = observed(&self.get(pod).await, &*self.runtime, self.files.as_ref()).await;
            let gone = expected["gone"] == true && seen.is_null();
            if gone || seen == *expected {
                return Ok(());
            }
            if tokio::time::Instant::now() >= end {
                return Err(seen);
            }
            self.changed(pod, pauses.next()).await;
        }
    }

    /// Wait until these events were told about a pod, in this order and no others; `Err`: those that were.
    pub async fn tells(&self, pod: &str, expected: &[Told]) -> Result<(), Vec<Told>> {
        let api = Api::<Event>::namespaced(self.client.clone(), "default");
        let params = ListParams::default().fields(&format!("involvedObject.name={pod}"));
        let end = tokio::time::Instant::now() + PATIENCE / 10;
        loop {
            let mut events = api.list(&params).await.expect("events can be listed").items;
            // The order in which they were written.
            events.sort_by_key(|it| it.first_timestamp.as_ref().map(|time| time.0));
            let mut told: Vec<Told> = events
                .into_iter()
                .map(|it| Told {
                    type_: it.type_.unwrap_or_default(),
                    reason: it.reason.unwrap_or_default(),
                    message: expected::comparable(&it.message.unwrap_or_default(), pod),
                })
                .filter(|it| REASONS.contains(&it.reason.as_str()))
                .collect();
            // On a slow machine usage, which is left out here, has another value at the retry, and that is told anew.
            told.dedup_by(|again, before| again == before && before.reason == "ResizeError");
            if told == expected {
                return Ok(());
            }
            if tokio::time::Instant::now() >= end {
                return Err(told);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub async fn stop(self) {
        self.cluster.stop().await;
    }
}
