//! A container runtime that exists in this process alone: it keeps the CRI's promises as CRI-O does where that differs
//! from containerd 1.6, and breaks them on request.
//!
//! As CRI-O: events are offered, `UpdatePodSandboxResources` and `RuntimeConfig` are there, the driver is systemd, a
//! container's cgroup is `crio-ID.scope`, status tells resources, and what is gone is `NOT_FOUND`. It runs no
//! processes, but it makes the cgroups of containers and writes to them.
#![allow(dead_code, reason = "each test file uses its part")]

mod proto {
    #![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated; the CRI documents them")]
    include!(concat!(env!("OUT_DIR"), "/server/runtime.v1.rs"));
}

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::stream::BoxStream;
pub use proto::LinuxContainerResources;
use proto::image_service_server::{ImageService, ImageServiceServer};
use proto::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use proto::*;
use supple_node::cgroup::{Group, Hierarchies, Mounts, Role};
use supple_resize::kernel::CgroupResources;
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tonic::{Request, Response, Status};

/// What a call comes to instead of its answer.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// No answer, ever.
    Hang,
    /// This error; nothing is done.
    Fail(Status),
    /// It is done, and the answer is this error.
    FailAfter(Status),
}

/// One sandbox.
#[derive(Clone, Debug)]
struct Sandbox {
    config: PodSandboxConfig,
    ready: bool,
    created_at: i64,
}

/// One container.
#[derive(Clone, Debug)]
struct Container {
    sandbox: String,
    config: ContainerConfig,
    state: ContainerState,
    created_at: i64,
    started_at: i64,
    finished_at: i64,
    exit_code: i32,
    reason: String,
    resources: LinuxContainerResources,
}

#[derive(Debug, Default)]
struct State {
    next: u32,
    sandboxes: BTreeMap<String, Sandbox>,
    containers: BTreeMap<String, Container>,
    images: Vec<String>,
    /// Images a registry has.
    registry: Vec<String>,
    troubles: BTreeMap<&'static str, VecDeque<Trouble>>,
    calls: Vec<String>,
    veto: Option<String>,
    without_events: bool,
    memory: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct FakeCri {
    state: Arc<Mutex<State>>,
    events: Arc<Mutex<broadcast::Sender<Result<ContainerEventResponse, Status>>>>,
}

/// A listening fake; dropped, every connection breaks and nobody listens.
#[derive(Debug)]
pub struct Serving(Option<tokio::runtime::Runtime>);

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl FakeCri {
    pub fn new() -> Self {
        let state = State { images: vec!["present:1".into()], memory: 8 << 20, ..State::default() };
        let events = broadcast::Sender::new(64);
        Self { state: Arc::new(Mutex::new(state)), events: Arc::new(Mutex::new(events)) }
    }

    /// Listen there, on a runtime of its own: with it the connections end too.
    pub fn serve(&self, socket: &Path) -> Serving {
        let _ = std::fs::remove_file(socket);
        let listener = std::os::unix::net::UnixListener::bind(socket).expect("the socket can be bound");
        listener.set_nonblocking(true).expect("a socket can be waited for");
        let server = tonic::transport::Server::builder()
            .add_service(RuntimeServiceServer::new(self.clone()))
            .add_service(ImageServiceServer::new(self.clone()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        runtime.spawn(async move {
            let listener = UnixListener::from_std(listener).expect("the socket listens");
            let incoming = futures::stream::unfold(listener, |listener| async {
                let accepted = listener.accept().await.map(|(stream, _)| stream);
                Some((accepted, listener))
            });
            server.serve_with_incoming(incoming).await.expect("the fake serves");
        });
        Serving(Some(runtime))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next call of this method comes to trouble; after several, those after it too.
    pub fn trouble(&self, method: &'static str, trouble: Trouble) {
        self.state().troubles.entry(method).or_default().push_back(trouble);
    }

    /// From now on a change of a sandbox's size is refused, or no longer.
    pub fn veto(&self, words: Option<&str>) {
        self.state().veto = words.map(str::to_owned);
    }

    /// Offer no events, as containerd 1.6.
    pub fn without_events(&self) {
        self.state().without_events = true;
    }

    /// A registry has this image.
    pub fn publish(&self, image: &str) {
        self.state().registry.push(image.to_owned());
    }

    /// What every container uses, in bytes.
    pub fn uses(&self, memory: u64) {
        self.state().memory = memory;
    }

    /// Every stream of events ends with an error.
    pub fn tear_streams(&self) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = events.send(Err(Status::unavailable("transport is closing")));
        *events = broadcast::Sender::new(64);
    }

    /// Calls so far of these methods, in order.
    pub fn calls(&self, of: &[&str]) -> Vec<String> {
        let named = |line: &&String| of.iter().any(|name| line.split(' ').next() == Some(name));
        self.state().calls.iter().filter(named).cloned().collect()
    }

    /// How many containers and sandboxes there are.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.containers.len(), state.sandboxes.len())
    }

    /// The cgroup parent of every sandbox.
    pub fn cgroup_parents(&self) -> Vec<String> {
        let state = self.state();
        let configs = state.sandboxes.values().filter_map(|it| it.config.linux.as_ref());
        configs.map(|it| it.cgroup_parent.clone()).collect()
    }

    /// The container ends by itself; told if anybody listens.
    pub fn end(&self, name: &str, exit_code: i32, reason: &str) {
        let id = {
            let mut state = self.state();
            let (id, container) = state
                .containers
                .iter_mut()
                .find(|(_, it)| it.state == ContainerState::ContainerRunning && container_name(it) == name)
                .expect("such a container runs");
            container.finish(exit_code, reason);
            id.clone()
        };
        self.tell(&id, ContainerEventType::ContainerStoppedEvent);
    }

    /// Every sandbox dies, with what is in it: the machine has been restarted.
    pub fn lose_sandboxes(&self) {
        let mut state = self.state();
        state.sandboxes.values_mut().for_each(|it| it.ready = false);
        let running = state.containers.values_mut().filter(|it| it.state == ContainerState::ContainerRunning);
        running.for_each(|it| it.finish(255, "Unknown"));
    }

    fn tell(&self, id: &str, kind: ContainerEventType) {
        let event = ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind.into(),
            created_at: now(),
        };
        // Nobody listens: then nobody is told.
        let _ = self.events.lock().unwrap_or_else(PoisonError::into_inner).send(Ok(event));
    }

    /// Note the call, and come to trouble if it is to.
    async fn called<T>(
        &self,
        method: &'static str,
        about: &str,
        answer: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let trouble = {
            let mut state = self.state();
            state.calls.push(format!("{method} {about}").trim_end().to_owned());
            state.troubles.get_mut(method).and_then(VecDeque::pop_front)
        };
        match trouble {
            None => answer(&mut self.state()).map(Response::new),
            Some(Trouble::Hang) => std::future::pending().await,
            Some(Trouble::Fail(status)) => Err(status),
            Some(Trouble::FailAfter(status)) => {
                answer(&mut self.state())?;
                Err(status)
            }
        }
    }
}

impl Container {
    fn finish(&mut self, exit_code: i32, reason: &str) {
        self.state = ContainerState::ContainerExited;
        self.finished_at = now();
        self.exit_code = exit_code;
        self.reason = reason.to_owned();
    }

    fn status(&self, id: &str) -> ContainerStatus {
        ContainerStatus {
            id: id.to_owned(),
            metadata: self.config.metadata.clone(),
            state: self.state.into(),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code,
            reason: self.reason.clone(),
            labels: self.config.labels.clone(),
            resources: Some(ContainerResources { linux: Some(self.resources.clone()) }),
            ..ContainerStatus::default()
        }
    }
}

fn container_name(container: &Container) -> &str {
    container.config.metadata.as_ref().map_or("", |it| &it.name)
}

fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).expect("before the year 2262")
}

fn absent(what: &str, id: &str) -> Status {
    Status::not_found(format!("could not find {what} \"{id}\": {what} with ID starting with {id} not found"))
}

/// The container's cgroup, as CRI-O names it with systemd.
fn group(state: &State, id: &str, container: &Container) -> Group {
    let top = Hierarchies::detect(&Mounts::of_this_machine()).expect("the tests run where cgroups can be made");
    let config = &state.sandboxes[&container.sandbox].config;
    let parent = config.linux.as_ref().map_or("", |it| &it.cgroup_parent);
    let mut levels = parent.split('/').filter(|it| !it.is_empty());
    let root = Group::root(&top, levels.next().expect("a parent has levels"));
    let pod = levels.fold(root, |group, level| group.child(level, Role::Pod));
    pod.child(&format!("crio-{id}.scope"), Role::Container)
}

fn resources(linux: &LinuxContainerResources) -> CgroupResources {
    let stated = |value: i64| (value != 0).then_some(value);
    let unsigned = |value: i64| stated(value).and_then(|it| u64::try_from(it).ok());
    CgroupResources {
        cpu_shares: unsigned(linux.cpu_shares),
        cpu_quota_us: stated(linux.cpu_quota),
        cpu_period_us: unsigned(linux.cpu_period),
        memory_limit_bytes: stated(linux.memory_limit_in_bytes),
        ..CgroupResources::default()
    }
}

fn matches(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[tonic::async_trait]
impl RuntimeService for FakeCri {
    async fn version(&self, _: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        self.called("Version", "", |_| {
            Ok(VersionResponse {
                version: "0.1.0".into(),
                runtime_name: "cri-o".into(),
                runtime_version: "1.31.2".into(),
                runtime_api_version: "v1".into(),
            })
        })
        .await
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let condition = |kind: &str, status| RuntimeCondition {
            r#type: kind.into(),
            status,
            reason: if status { String::new() } else { "NetworkPluginNotReady".into() },
            message: if status { String::new() } else { "No CNI configuration file in /etc/cni/net.d/".into() },
        };
        self.called("Status", "", |_| {
            let conditions = vec![condition("RuntimeReady", true), condition("NetworkReady", false)];
            Ok(StatusResponse { status: Some(RuntimeStatus { conditions }), info: BTreeMap::new() })
        })
        .await
    }

    async fn runtime_config(
        &self,
        _: Request<RuntimeConfigRequest>,
    ) -> Result<Response<RuntimeConfigResponse>, Status> {
        self.called("RuntimeConfig", "", |_| {
            let linux = LinuxRuntimeConfiguration { cgroup_driver: CgroupDriver::Systemd.into() };
            Ok(RuntimeConfigResponse { linux: Some(linux) })
        })
        .await
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<RunPodSandboxRequest>,
    ) -> Result<Response<RunPodSandboxResponse>, Status> {
        let config = request.into_inner().config.unwrap_or_default();
        let metadata = config.metadata.clone().unwrap_or_default();
        let about = format!("{}#{}", metadata.name, metadata.attempt);
        self.called("RunPodSandbox", &about, |state| {
            if state.sandboxes.values().any(|it| it.config.metadata.as_ref() == Some(&metadata)) {
                return Err(Status::unknown(format!("pod sandbox with name \"k8s_{}\" already exists", metadata.name)));
            }
            state.next += 1;
            let id = format!("5a{:04x}", state.next);
            state.sandboxes.insert(id.clone(), Sandbox { config, ready: true, created_at: now() });
            Ok(RunPodSandboxResponse { pod_sandbox_id: id })
        })
        .await
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<StopPodSandboxRequest>,
    ) -> Result<Response<StopPodSandboxResponse>, Status> {
        let id = request.into_inner().pod_sandbox_id;
        self.called("StopPodSandbox", &id, |state| {
            let sandbox = state.sandboxes.get_mut(&id).ok_or_else(|| absent("pod sandbox", &id))?;
            sandbox.ready = false;
            for container in state.containers.values_mut().filter(|it| it.sandbox == id) {
                if container.state == ContainerState::ContainerRunning {
                    container.finish(137, "Error");
                }
            }
            Ok(StopPodSandboxResponse {})
        })
        .await
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<RemovePodSandboxRequest>,
    ) -> Result<Response<RemovePodSandboxResponse>, Status> {
        let id = request.into_inner().pod_sandbox_id;
        self.called("RemovePodSandbox", &id, |state| {
            state.sandboxes.remove(&id).ok_or_else(|| absent("pod sandbox", &id))?;
            state.containers.retain(|_, it| it.sandbox != id);
            Ok(RemovePodSandboxResponse {})
        })
        .await
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<PodSandboxStatusRequest>,
    ) -> Result<Response<PodSandboxStatusResponse>, Status> {
        let id = request.into_inner().pod_sandbox_id;
        self.called("PodSandboxStatus", &id, |state| {
            let sandbox = state.sandboxes.get(&id).ok_or_else(|| absent("pod sandbox", &id))?;
            let status = PodSandboxStatus {
                id: id.clone(),
                metadata: sandbox.config.metadata.clone(),
                state: sandbox_state(sandbox).into(),
                created_at: sandbox.created_at,
                network: None,
            };
            Ok(PodSandboxStatusResponse { status: Some(status) })
        })
        .await
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Result<Response<ListPodSandboxResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.called("ListPodSandbox", "", |state| {
            let of = state.sandboxes.iter().filter(|(_, it)| matches(&filter.label_selector, &it.config.labels));
            let items = of.map(|(id, it)| PodSandbox {
                id: id.clone(),
                metadata: it.config.metadata.clone(),
                state: sandbox_state(it).into(),
                created_at: it.created_at,
                labels: it.config.labels.clone(),
                annotations: it.config.annotations.clone(),
            });
            Ok(ListPodSandboxResponse { items: items.collect() })
        })
        .await
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<UpdatePodSandboxResourcesRequest>,
    ) -> Result<Response<UpdatePodSandboxResourcesResponse>, Status> {
        let UpdatePodSandboxResourcesRequest { pod_sandbox_id: id, resources, .. } = request.into_inner();
        let resources = resources.unwrap_or_default();
        let about = format!("memory={}", resources.memory_limit_in_bytes >> 20);
        self.called("UpdatePodSandboxResources", &about, |state| {
            state.sandboxes.get(&id).ok_or_else(|| absent("pod sandbox", &id))?;
            match &state.veto {
                Some(words) => Err(Status::unknown(words.clone())),
                None => Ok(UpdatePodSandboxResourcesResponse {}),
            }
        })
        .await
    }

    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        let CreateContainerRequest { pod_sandbox_id, config, .. } = request.into_inner();
        let config = config.unwrap_or_default();
        let metadata = config.metadata.clone().unwrap_or_default();
        self.called("CreateContainer", &format!("{}#{}", metadata.name, metadata.attempt), |state| {
            let sandbox = state.sandboxes.get(&pod_sandbox_id).ok_or_else(|| absent("pod sandbox", &pod_sandbox_id))?;
            if !sandbox.ready {
                return Err(Status::unknown(format!(
                    "CreateContainer failed as the sandbox was stopped: {pod_sandbox_id}"
                )));
            }
            let of_pod = |it: &&Container| it.sandbox == pod_sandbox_id;
            if state.containers.values().filter(of_pod).any(|it| it.config.metadata.as_ref() == Some(&metadata)) {
                return Err(Status::unknown(format!(
                    "error reserving ctr name k8s_{}: name is reserved",
                    metadata.name
                )));
            }
            state.next += 1;
            let id = format!("c0{:04x}", state.next);
            let resources = config.linux.clone().and_then(|it| it.resources).unwrap_or_default();
            let container = Container {
                sandbox: pod_sandbox_id,
                config,
                state: ContainerState::ContainerCreated,
                created_at: now(),
                started_at: 0,
                finished_at: 0,
                exit_code: 0,
                reason: String::new(),
                resources,
            };
            state.containers.insert(id.clone(), container);
            Ok(CreateContainerResponse { container_id: id })
        })
        .await
    }

    async fn start_container(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Result<Response<StartContainerResponse>, Status> {
        let id = request.into_inner().container_id;
        let answer = self
            .called("StartContainer", &id, |state| {
                let container = state.containers.get(&id).ok_or_else(|| absent("container", &id))?;
                if container.state != ContainerState::ContainerCreated {
                    return Err(Status::unknown(format!("container {id} is not in created state")));
                }
                let group = group(state, &id, container);
                group.create().and_then(|()| group.apply(&resources(&container.resources))).expect("a cgroup");
                let container = state.containers.get_mut(&id).ok_or_else(|| absent("container", &id))?;
                container.state = ContainerState::ContainerRunning;
                container.started_at = now();
                Ok(StartContainerResponse {})
            })
            .await;
        self.tell(&id, ContainerEventType::ContainerStartedEvent);
        answer
    }

    async fn stop_container(
        &self,
        request: Request<StopContainerRequest>,
    ) -> Result<Response<StopContainerResponse>, Status> {
        let StopContainerRequest { container_id: id, timeout } = request.into_inner();
        let answer = self
            .called("StopContainer", &format!("grace={timeout}"), |state| {
                let container = state.containers.get_mut(&id).ok_or_else(|| absent("container", &id))?;
                if container.state == ContainerState::ContainerRunning {
                    container.finish(if timeout > 0 { 143 } else { 137 }, "Error");
                }
                Ok(StopContainerResponse {})
            })
            .await;
        self.tell(&id, ContainerEventType::ContainerStoppedEvent);
        answer
    }

    async fn remove_container(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Result<Response<RemoveContainerResponse>, Status> {
        let id = request.into_inner().container_id;
        self.called("RemoveContainer", &id, |state| {
            state.containers.remove(&id).map(|_| RemoveContainerResponse {}).ok_or_else(|| absent("container", &id))
        })
        .await
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.called("ListContainers", "", |state| {
            let of = state.containers.iter().filter(|(_, it)| {
                matches(&filter.label_selector, &it.config.labels)
                    && (filter.pod_sandbox_id.is_empty() || filter.pod_sandbox_id == it.sandbox)
            });
            let containers = of.map(|(id, it)| proto::Container {
                id: id.clone(),
                pod_sandbox_id: it.sandbox.clone(),
                metadata: it.config.metadata.clone(),
                state: it.state.into(),
                created_at: it.created_at,
                labels: it.config.labels.clone(),
                annotations: it.config.annotations.clone(),
            });
            Ok(ListContainersResponse { containers: containers.collect() })
        })
        .await
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Result<Response<ContainerStatusResponse>, Status> {
        let id = request.into_inner().container_id;
        self.called("ContainerStatus", &id, |state| {
            let container = state.containers.get(&id).ok_or_else(|| absent("container", &id))?;
            Ok(ContainerStatusResponse { status: Some(container.status(&id)) })
        })
        .await
    }

    async fn list_container_stats(
        &self,
        request: Request<ListContainerStatsRequest>,
    ) -> Result<Response<ListContainerStatsResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.called("ListContainerStats", "", |state| {
            let running = |it: &&Container| it.state == ContainerState::ContainerRunning;
            let of = state.containers.iter().filter(|(_, it)| running(it) && it.sandbox == filter.pod_sandbox_id);
            let value = |value| Some(UInt64Value { value });
            let stats = of.map(|(id, it)| ContainerStats {
                attributes: Some(ContainerAttributes {
                    id: id.clone(),
                    metadata: it.config.metadata.clone(),
                    labels: it.config.labels.clone(),
                }),
                cpu: Some(CpuUsage { timestamp: now(), usage_core_nano_seconds: value(1_500_000_000) }),
                memory: Some(MemoryUsage {
                    timestamp: now(),
                    working_set_bytes: value(state.memory),
                    usage_bytes: None,
                }),
            });
            Ok(ListContainerStatsResponse { stats: stats.collect() })
        })
        .await
    }

    async fn update_container_resources(
        &self,
        request: Request<UpdateContainerResourcesRequest>,
    ) -> Result<Response<UpdateContainerResourcesResponse>, Status> {
        let UpdateContainerResourcesRequest { container_id: id, linux } = request.into_inner();
        let linux = linux.unwrap_or_default();
        let about = format!("memory={}", linux.memory_limit_in_bytes >> 20);
        self.called("UpdateContainerResources", &about, |state| {
            let container = state.containers.get(&id).ok_or_else(|| absent("container", &id))?;
            let written = group(state, &id, container).apply(&resources(&linux));
            written.map_err(|it| Status::unknown(format!("updating resources for container \"{id}\" failed: {it}")))?;
            Ok(UpdateContainerResourcesResponse {})
        })
        .await
    }

    async fn reopen_container_log(
        &self,
        request: Request<ReopenContainerLogRequest>,
    ) -> Result<Response<ReopenContainerLogResponse>, Status> {
        let id = request.into_inner().container_id;
        self.called("ReopenContainerLog", &id, |state| {
            let container = state.containers.get(&id).ok_or_else(|| absent("container", &id))?;
            let config = &state.sandboxes[&container.sandbox].config;
            let log = PathBuf::from(&config.log_directory).join(&container.config.log_path);
            std::fs::write(log, "").map_err(|it| Status::unknown(it.to_string()))?;
            Ok(ReopenContainerLogResponse {})
        })
        .await
    }

    type GetContainerEventsStream = BoxStream<'static, Result<ContainerEventResponse, Status>>;

    async fn get_container_events(
        &self,
        _: Request<GetEventsRequest>,
    ) -> Result<Response<Self::GetContainerEventsStream>, Status> {
        let receiver = self.events.lock().unwrap_or_else(PoisonError::into_inner).subscribe();
        self.called("GetContainerEvents", "", |state| {
            if state.without_events {
                return Err(Status::unimplemented("unknown method GetContainerEvents"));
            }
            let stream = futures::stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.ok().map(|event| (event, receiver))
            });
            Ok(stream.boxed())
        })
        .await
    }
}

fn sandbox_state(sandbox: &Sandbox) -> PodSandboxState {
    if sandbox.ready { PodSandboxState::SandboxReady } else { PodSandboxState::SandboxNotready }
}

#[tonic::async_trait]
impl ImageService for FakeCri {
    async fn image_status(
        &self,
        request: Request<ImageStatusRequest>,
    ) -> Result<Response<ImageStatusResponse>, Status> {
        let image = request.into_inner().image.unwrap_or_default().image;
        self.called("ImageStatus", &image, |state| {
            let image = state.images.iter().find(|it| **it == image);
            Ok(ImageStatusResponse { image: image.map(|it| Image { id: it.clone(), ..Image::default() }) })
        })
        .await
    }

    async fn pull_image(&self, request: Request<PullImageRequest>) -> Result<Response<PullImageResponse>, Status> {
        let image = request.into_inner().image.unwrap_or_default().image;
        self.called("PullImage", &image, |state| {
            if !state.registry.contains(&image) {
                return Err(Status::unknown(format!("initializing source docker://{image}: no such host")));
            }
            state.images.push(image.clone());
            Ok(PullImageResponse { image_ref: image.clone() })
        })
        .await
    }
}
