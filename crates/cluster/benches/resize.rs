//! How long a resize takes from the PATCH to the kernel file, and how many a second the cluster sustains: the embedded
//! cluster on a durable store, real processes, real cgroups, every step flushed.
//!
//! `cargo bench -p supple-cluster --bench resize [-- PODS SECONDS]`. It has a `main` of its own because this very program
//! is also the shim of the containers it starts. What it prints is to be compared with another run on the same machine,
//! never with a stored number.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::json;
use supple_cluster::{Cluster, ClusterOptions, Home, NodeRuntime, NodeSettings, Seams, Speed};
use supple_node::Capacity;
use supple_node::runtime::process::{ProcessOptions, ProcessRuntime};
use supple_node::runtime::{
    ContainerConfig, ContainerRef, Exit, FoundPod, LogOptions, PodConfig, PodRef, PodUsage, RunState, Runtime,
    RuntimeError, RuntimeEvent,
};
use supple_quantity::{Bytes, MilliCpu};
use supple_resize::kernel::CgroupResources;
use tokio::sync::mpsc;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tells when a container's CPU quota has been written: the last file of the resizes made here.
struct Watched {
    inner: ProcessRuntime,
    written: Mutex<HashMap<String, mpsc::UnboundedSender<(i64, Instant)>>>,
}

impl Watched {
    fn subscribe(&self, pod: &str) -> mpsc::UnboundedReceiver<(i64, Instant)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(pod.to_owned(), sender);
        receiver
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, RuntimeError>>;

impl Runtime for Watched {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn recover(&self) -> Answer<'_, Vec<FoundPod>> {
        self.inner.recover()
    }
    fn check_image<'a>(&'a self, image: &'a str, pull_policy: Option<&'a str>) -> Answer<'a, ()> {
        self.inner.check_image(image, pull_policy)
    }
    fn ignored(&self, pod: &Pod) -> Vec<String> {
        self.inner.ignored(pod)
    }
    fn create_pod<'a>(&'a self, config: &'a PodConfig) -> Answer<'a, ()> {
        self.inner.create_pod(config)
    }
    fn update_pod<'a>(&'a self, pod: &'a PodRef, resources: &'a CgroupResources) -> Answer<'a, ()> {
        self.inner.update_pod(pod, resources)
    }
    fn read_pod<'a>(&'a self, pod: &'a PodRef) -> Answer<'a, CgroupResources> {
        self.inner.read_pod(pod)
    }
    fn remove_pod<'a>(&'a self, pod: &'a PodRef) -> Answer<'a, ()> {
        self.inner.remove_pod(pod)
    }
    fn forget_pod<'a>(&'a self, pod: &'a PodRef) -> Answer<'a, ()> {
        self.inner.forget_pod(pod)
    }
    fn start_container<'a>(&'a self, config: &'a ContainerConfig) -> Answer<'a, RunState> {
        self.inner.start_container(config)
    }
    fn update_container<'a>(&'a self, id: &'a ContainerRef, resources: &'a CgroupResources) -> Answer<'a, ()> {
        Box::pin(async move {
            self.inner.update_container(id, resources).await?;
            if let Some(quota) = resources.cpu_quota_us {
                let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sender) = written.get(&id.pod.name) {
                    // Nobody may be listening any more at the end of a round.
                    let _ = sender.send((quota, Instant::now()));
                }
            }
            Ok(())
        })
    }
    fn read_container<'a>(&'a self, id: &'a ContainerRef) -> Answer<'a, CgroupResources> {
        self.inner.read_container(id)
    }
    fn stop_container<'a>(&'a self, id: &'a ContainerRef, grace: Duration) -> Answer<'a, Exit> {
        self.inner.stop_container(id, grace)
    }
    fn remove_container<'a>(&'a self, id: &'a ContainerRef) -> Answer<'a, ()> {
        self.inner.remove_container(id)
    }
    fn usage<'a>(&'a self, pod: &'a PodRef) -> Answer<'a, PodUsage> {
        self.inner.usage(pod)
    }
    fn logs<'a>(
        &'a self,
        id: &'a ContainerRef,
        options: LogOptions,
    ) -> Answer<'a, BoxStream<'static, std::io::Result<bytes::Bytes>>> {
        self.inner.logs(id, options)
    }
    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        self.inner.events()
    }
    fn shutdown(&self) -> Answer<'_, ()> {
        self.inner.shutdown()
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|it| it == "shim").is_some() {
        supple_node::shim::main(args);
    }
    let mut numbers = args.filter_map(|it| it.to_str()?.parse::<u64>().ok());
    let pods = numbers.next().unwrap_or(200);
    let seconds = numbers.next().unwrap_or(10);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut options = ProcessOptions::new(dir.path().join("runtime"));
    options.shim = vec!["/proc/self/exe".into(), "shim".into()];
    let inner = match ProcessRuntime::new(options) {
        Ok(inner) => inner,
        Err(error) => {
            println!("skipped: processes cannot be run here: {error}");
            return ExitCode::from(u8::from(std::env::var_os("SUPPLE_REQUIRE_ALL").is_some()));
        }
    };
    let watched = Arc::new(Watched { inner, written: Mutex::default() });
    tokio::runtime::Runtime::new().expect("a runtime can be made").block_on(measure(
        dir.path(),
        watched,
        pods,
        seconds,
    ));
    ExitCode::SUCCESS
}

async fn measure(dir: &std::path::Path, runtime: Arc<Watched>, pods: u64, seconds: u64) {
    let cluster = Cluster::start(ClusterOptions {
        home: Home::Directory { path: dir.join("data"), listen: None },
        nodes: vec![NodeSettings {
            name: "bench".into(),
            capacity: Capacity { cpu: MilliCpu(1_000_000), memory: Bytes(1 << 40), pods: 1000 },
            memory_qos: supple_cluster::MemoryQos::default(),
            runtime: NodeRuntime::Given(Arc::clone(&runtime) as Arc<dyn Runtime>),
            stand_in: Vec::new(),
        }],
        clock: Arc::new(jiff::Timestamp::now),
        speed: Speed::REAL,
        seams: Seams::default(),
    })
    .await
    .expect("the cluster starts");
    let api = Api::<Pod>::namespaced(cluster.client(), "default");
    let names: Vec<String> = (0..pods).map(|n| format!("p{n}")).collect();
    let began = Instant::now();
    for name in &names {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": { "nodeName": "bench", "terminationGracePeriodSeconds": 0, "containers": [{
                "name": "app", "image": "busybox:1.35", "command": ["sleep", "100000"],
                "resources": {
                    "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "cpu": "200m", "memory": "128Mi" },
                },
            }] },
        });
        let pod: Pod = serde_json::from_value(pod).expect("it is a pod");
        api.create(&PostParams::default(), &pod).await.expect("the pod is taken");
    }
    let ready = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|it| it.status.as_ref()?.conditions.as_ref()).into_iter().flatten();
        conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
    };
    for result in join_all(names.iter().map(|name| await_condition(api.clone(), name, ready))).await {
        result.expect("pods can be watched");
    }
    println!("{pods} pods ready after {:.1} s", began.elapsed().as_secs_f64());

    let mut one_by_one = Vec::new();
    for round in 0..10_i64 {
        for name in names.iter().take(100) {
            let mut written = runtime.subscribe(name);
            one_by_one.push(resize(&api, name, 210 + round, &mut written).await);
        }
    }
    print("one at a time", one_by_one);

    let (began, burnt) = (Instant::now(), cpu_time());
    let end = began + Duration::from_secs(seconds);
    let busy = names.iter().map(|name| {
        let (api, name, runtime) = (api.clone(), name.clone(), Arc::clone(&runtime));
        tokio::spawn(async move {
            let mut written = runtime.subscribe(&name);
            let mut latencies = Vec::new();
            let mut milli = 230;
            while Instant::now() < end {
                milli = if milli == 230 { 240 } else { 230 };
                latencies.push(resize(&api, &name, milli, &mut written).await);
            }
            latencies
        })
    });
    let latencies: Vec<Duration> = join_all(busy).await.into_iter().flat_map(|it| it.expect("no panic")).collect();
    let elapsed = began.elapsed();
    #[allow(clippy::cast_precision_loss, reason = "a count of seconds' worth of requests")]
    let rate = latencies.len() as f64 / elapsed.as_secs_f64();
    println!("{rate:.0} resizes/s over {pods} pods, each waiting for its own");
    let burnt = cpu_time().saturating_sub(burnt);
    let each = burnt / u32::try_from(latencies.len()).unwrap_or(u32::MAX).max(1);
    println!("{} µs of CPU each, client, API server, store and node together", each.as_micros());
    print("all at once", latencies);
    cluster.stop().await;
}

/// One resize; from before the request to after the container's quota was written.
async fn resize(
    api: &Api<Pod>,
    name: &str,
    milli: i64,
    written: &mut mpsc::UnboundedReceiver<(i64, Instant)>,
) -> Duration {
    let patch = json!({ "spec": { "containers": [{ "name": "app", "resources": { "limits": { "cpu": format!("{milli}m") } } }] } });
    let sent = Instant::now();
    api.patch_resize(name, &PatchParams::default(), &Patch::Strategic(&patch)).await.expect("the resize is accepted");
    loop {
        let (quota, at) = written.recv().await.expect("the runtime lives");
        if quota == milli * 100 {
            return at.duration_since(sent);
        }
    }
}

/// CPU time this process has used: fields 14 and 15 of its `stat`, in hundredths of a second.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

fn print(what: &str, mut latencies: Vec<Duration>) {
    latencies.sort();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or_default();
    let ms = |it: Duration| it.as_secs_f64() * 1000.0;
    println!(
        "{what}: {} resizes, PATCH to kernel file p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
        latencies.len(),
        ms(at(50)),
        ms(at(90)),
        ms(at(99)),
        ms(latencies.last().copied().unwrap_or_default()),
    );
}
