//! A cluster whose clock is tokio's paused one, with the loop on it if wanted.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use supple_cluster::{Capacity, Cluster, ClusterOptions, NodeRuntime, NodeSettings, Requested, Seams};
use supple_controller::history_file::{Found, HistoryFile};
use supple_controller::lease::elect::{Leadership, alone};
use supple_controller::metrics::Metrics;
use supple_controller::run::{Broken, Clock, Options, Outlets, run};
use supple_controller::snapshot::Snapshot;
use supple_controller::webhook::registration::Registered;
use supple_controller::world::Settings;
use supple_controller::world::knowledge::Shared;
use supple_quantity::{Bytes, MilliCpu};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A cluster of one node with 4 CPU and 16Gi.
pub struct Lab {
    pub cluster: Cluster,
    pub client: Client,
    pub clock: Clock,
}

/// The loop at work.
pub struct Loop {
    pub metrics: Metrics,
    pub rows: watch::Receiver<Snapshot>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), Broken>>,
}

impl Lab {
    pub async fn new() -> Self {
        Self::with(|_| Seams::default()).await
    }

    /// With something in between.
    pub async fn with(seams: impl FnOnce(&Clock) -> Seams) -> Self {
        let began = tokio::time::Instant::now();
        let base: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock: Clock = Arc::new(move || base + began.elapsed());
        let node = NodeSettings {
            name: "node".to_owned(),
            capacity: Capacity { cpu: MilliCpu(4000), memory: Bytes(16 << 30), pods: 50 },
            memory_qos: supple_cluster::MemoryQos::default(),
            runtime: NodeRuntime::Requested(Requested::Simulated),
            stand_in: Vec::new(),
        };
        let seams = seams(&clock);
        let options = ClusterOptions { seams, ..ClusterOptions::in_memory(vec![node], clock.clone()) };
        let cluster = Cluster::start(options).await.unwrap();
        let lab = Self { client: cluster.client(), cluster, clock };
        let definitions = Api::<CustomResourceDefinition>::all(lab.client.clone());
        for definition in supple_api::crd::all() {
            definitions.create(&PostParams::default(), &definition).await.unwrap();
        }
        lab
    }

    /// A policy of the namespace: what differs from a patient one that learns for an hour and watches for a minute.
    pub async fn policy(&self, name: &str, more: Value) {
        let mut spec = json!({
            "startup": "1m", "learn": "0s", "minConfidence": 0, "settle": "1m", "coolDown": {"up": "1m", "down": "5m"},
            "steps": {"cpuUp": 10000, "cpuDown": 100, "memoryUp": 10000, "memoryDown": 100},
        });
        json_patch::merge(&mut spec, &more);
        let policy = json!({
            "apiVersion": "supple.dev/v1alpha1", "kind": "RightsizePolicy",
            "metadata": {"name": name, "namespace": "default"}, "spec": spec,
        });
        let policies = Api::<supple_api::RightsizePolicy>::default_namespaced(self.client.clone());
        policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    }

    /// What stands in the `Rightsizing` of a workload.
    pub async fn rightsizing(&self, name: &str) -> supple_api::rightsizing::RightsizingStatus {
        let api = Api::<supple_api::Rightsizing>::default_namespaced(self.client.clone());
        api.get(name).await.unwrap().status.unwrap_or_default()
    }

    /// Create an opted-in pod with these requests and limits (`CPU/MEMORY`) that uses what the pattern says.
    pub async fn pod(&self, name: &str, requests: &str, limits: &str, usage: &str) -> Pod {
        let list =
            |text: &str| text.split_once('/').map_or(json!({}), |(cpu, memory)| json!({"cpu": cpu, "memory": memory}));
        let pod = json!({
            "metadata": {"name": name, "labels": {"supple.dev/mode": "in-place"},
                         "annotations": {"supple.dev/usage-pattern": usage}},
            "spec": {"containers": [{"name": "app", "image": "registry.example/app:1",
                                     "resources": {"requests": list(requests), "limits": list(limits)}}]},
        });
        self.create(pod).await
    }

    pub async fn create(&self, pod: Value) -> Pod {
        self.pods().create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap()
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    /// `CPU/MEMORY` that a pod's container requests now.
    pub async fn requests(&self, name: &str) -> String {
        requests(&self.pods().get(name).await.unwrap())
    }

    /// `reason` of each event that names the pod and comes from the loop, oldest first.
    pub async fn told(&self, name: &str) -> Vec<String> {
        tokio::time::sleep(Duration::from_secs(1)).await; // virtual: what is just being written is written then
        let events = Api::<Event>::default_namespaced(self.client.clone()).list(&ListParams::default()).await.unwrap();
        let ours = |it: &Event| {
            it.reporting_controller.as_deref() == Some("supple.dev/controller")
                && it.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some(name)
        };
        let mut events: Vec<Event> = events.into_iter().filter(ours).collect();
        events.sort_by_key(|it| it.event_time.as_ref().map(|it| it.0));
        events.into_iter().filter_map(|it| it.reason).collect()
    }

    /// A webhook that has a say about every resize, and does not answer.
    pub async fn silent_webhook(&self, failure_policy: &str) {
        let webhook = json!({"name": "down.example.com", "failurePolicy": failure_policy, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/resize"]}]});
        let object = json!({"metadata": {"name": "down"}, "webhooks": [webhook]});
        let all = Api::<ValidatingWebhookConfiguration>::all(self.client.clone());
        all.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }

    /// It is gone.
    pub async fn no_webhook(&self) {
        let all = Api::<ValidatingWebhookConfiguration>::all(self.client.clone());
        all.delete("down", &DeleteParams::default()).await.unwrap();
    }

    /// Begin the loop.
    pub fn begin(&self) -> Loop {
        self.begin_with(self.client.clone(), alone())
    }

    /// Begin it with a client and a leadership of its own.
    pub fn begin_with(&self, client: Client, leadership: watch::Receiver<Leadership>) -> Loop {
        self.begin_as(client, leadership, self.clock.clone(), None)
    }

    /// Begin it with a history file.
    pub fn begin_keeping(&self, path: &std::path::Path) -> Loop {
        let history = HistoryFile::open(path).unwrap();
        self.begin_as(self.client.clone(), alone(), self.clock.clone(), Some(history))
    }

    /// Begin it with all that it may have of its own.
    pub fn begin_as(
        &self,
        client: Client,
        leadership: watch::Receiver<Leadership>,
        clock: Clock,
        history: Option<(HistoryFile, Found)>,
    ) -> Loop {
        Self::run(client, leadership, clock, history, Outlets::new(Duration::from_secs(15)), Settings::default())
    }

    /// Begin it beside a webhook that answers from what it knows.
    pub fn begin_beside(&self, knowledge: Shared, registered: Registered) -> Loop {
        let outlets = Outlets { knowledge: Some(knowledge), ..Outlets::new(Duration::from_secs(15)) };
        let settings = Settings { registered, ..Settings::default() };
        Self::run(self.client.clone(), alone(), self.clock.clone(), None, outlets, settings)
    }

    /// Begin it with what it is told once.
    pub fn begin_set(&self, settings: Settings) -> Loop {
        let outlets = Outlets::new(Duration::from_secs(15));
        Self::run(self.client.clone(), alone(), self.clock.clone(), None, outlets, settings)
    }

    fn run(
        client: Client,
        leadership: watch::Receiver<Leadership>,
        clock: Clock,
        history: Option<(HistoryFile, Found)>,
        outlets: Outlets,
        settings: Settings,
    ) -> Loop {
        let metrics = outlets.metrics.clone();
        let options = Options {
            interval: Duration::from_secs(15),
            settings,
            instance: "replica-1".to_owned(),
            clock,
            audit: None,
            leadership,
            kubelets: None,
            prometheus: None,
            history,
            outlets,
        };
        let (sender, rows) = watch::channel(Snapshot::default());
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(client, options, sender, stop.clone()));
        Loop { metrics, rows, stop, task }
    }
}

impl Loop {
    /// Wait until the snapshot is as wanted; virtual time passes meanwhile, at most a day of it.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Snapshot) -> bool) {
        let found = tokio::time::timeout(Duration::from_secs(86_400), self.rows.wait_for(|it| wanted(it))).await;
        assert!(found.is_ok_and(|it| it.is_ok()), "never came: {what}; last seen: {:#?}", self.rows.borrow());
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// It has ended by itself, for this reason.
    pub async fn broken(self) -> Broken {
        self.task.await.unwrap().unwrap_err()
    }

    /// End it in the middle of whatever it is doing, as a kill does: nothing more is sent or written.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// `CPU/MEMORY` that the pod's first container requests.
pub fn requests(pod: &Pod) -> String {
    let resources = pod.spec.as_ref().and_then(|it| it.containers[0].resources.clone()).unwrap_or_default();
    let requests = resources.requests.unwrap_or_default();
    let of = |name: &str| requests.get(name).map_or("-", |it| it.0.as_str());
    format!("{}/{}", of("cpu"), of("memory"))
}

/// The pod's generation: how often its spec has been changed, from 1.
pub fn generation(pod: &Pod) -> i64 {
    pod.metadata.generation.unwrap_or_default()
}
