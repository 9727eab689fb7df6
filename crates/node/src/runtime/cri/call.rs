//! The one place through which every call to the container runtime goes: its deadline, and what a fault harness makes of
//! it. A method is a row.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use super::proto::image_service_client::ImageServiceClient;
use super::proto::runtime_service_client::RuntimeServiceClient;
use super::proto::*;

/// Greatest message either way, as between the kubelet and its runtime.
const MESSAGE: usize = 16 << 20;

/// How long the container runtime may take before a call counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// To answer a question.
    pub ask: Duration,
    /// To do something; stopping a container takes its grace period beside.
    pub act: Duration,
    /// To pull an image.
    pub pull: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        // To act: the kubelet's `--runtime-request-timeout`. It gives a question as much, and stands still meanwhile.
        let seconds = Duration::from_secs;
        Self { ask: seconds(30), act: seconds(120), pull: seconds(900) }
    }
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out.
    Carry,
    /// It never reaches the runtime.
    Refuse,
    /// Nobody ever answers; it was not carried out.
    Hang,
    /// It is carried out and the answer is lost.
    Lose,
    /// It is carried out and the answer breaks off.
    Tear,
    /// It is carried out twice.
    Repeat,
}

/// Asked for the fate of every call, by the method's name (`RunPodSandbox`). In production there is none and every call
/// is carried out.
#[derive(Clone, Default)]
pub struct CallFaults(Option<Arc<dyn Fn(&'static str) -> Fate + Send + Sync>>);

impl CallFaults {
    /// Let `fate` decide.
    pub fn new(fate: impl Fn(&'static str) -> Fate + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(fate)))
    }

    fn of(&self, method: &'static str) -> Fate {
        self.0.as_ref().map_or(Fate::Carry, |fate| fate(method))
    }
}

impl fmt::Debug for CallFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "CallFaults(some)" } else { "CallFaults(none)" })
    }
}

/// The way to the container runtime. Connects when it is first used and again whenever that broke.
#[derive(Clone, Debug)]
pub struct Calls {
    channel: Channel,
    deadlines: Deadlines,
    faults: CallFaults,
}

impl Calls {
    /// Over this socket. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the path cannot be part of an address.
    pub fn open(socket: &Path, deadlines: Deadlines, faults: CallFaults) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        Ok(Self { channel: endpoint.connect_lazy(), deadlines, faults })
    }

    fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE)
    }

    fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE)
    }

    async fn carry<A, F>(
        &self,
        method: &'static str,
        deadline: Duration,
        send: impl Fn() -> F + Send + Sync,
    ) -> Result<A, Status>
    where
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let late = || Status::deadline_exceeded(format!("no answer to {method} within {deadline:?}"));
        let once = || async {
            // Dropped when it is late, which tells the runtime to give it up.
            let answer = tokio::time::timeout(deadline, send()).await;
            answer.unwrap_or_else(|_| Err(late())).map(Response::into_inner)
        };
        match self.faults.of(method) {
            Fate::Carry => once().await,
            Fate::Refuse => Err(Status::unavailable("refused by the fault harness")),
            Fate::Hang => {
                tokio::time::sleep(deadline).await;
                Err(late())
            }
            Fate::Lose => {
                let _ = once().await;
                Err(Status::unavailable("answer lost by the fault harness"))
            }
            Fate::Tear => {
                let _ = once().await;
                Err(Status::internal("answer broken off by the fault harness"))
            }
            Fate::Repeat => {
                let _ = once().await;
                once().await
            }
        }
    }

    /// Every container event from now on. `UNIMPLEMENTED` where the runtime offers none.
    pub async fn get_container_events(&self) -> Result<Streaming<ContainerEventResponse>, Status> {
        let send = || {
            let mut client = self.runtime();
            async move { client.get_container_events(Request::new(GetEventsRequest {})).await }
        };
        self.carry("GetContainerEvents", self.deadlines.ask, send).await
    }
}

macro_rules! methods {
    ($($service:ident . $method:ident $name:literal ($request:ident) -> $answer:ident within $deadline:expr;)*) => {
        impl Calls {
            $(
                #[doc = concat!("`", $name, "`.")]
                pub async fn $method(&self, request: $request) -> Result<$answer, Status> {
                    let deadline: fn(&Deadlines, &$request) -> Duration = $deadline;
                    let deadline = deadline(&self.deadlines, &request);
                    let send = || {
                        let (mut client, request) = (self.$service(), Request::new(request.clone()));
                        async move { client.$method(request).await }
                    };
                    self.carry($name, deadline, send).await
                }
            )*
        }
    };
}

methods! {
    runtime.version "Version" (VersionRequest) -> VersionResponse within |it, _| it.ask;
    runtime.status "Status" (StatusRequest) -> StatusResponse within |it, _| it.ask;
    runtime.runtime_config "RuntimeConfig" (RuntimeConfigRequest) -> RuntimeConfigResponse within |it, _| it.ask;
    runtime.run_pod_sandbox "RunPodSandbox" (RunPodSandboxRequest) -> RunPodSandboxResponse within |it, _| it.act;
    runtime.stop_pod_sandbox "StopPodSandbox" (StopPodSandboxRequest) -> StopPodSandboxResponse within |it, _| it.act;
    runtime.remove_pod_sandbox "RemovePodSandbox" (RemovePodSandboxRequest) -> RemovePodSandboxResponse
        within |it, _| it.act;
    runtime.pod_sandbox_status "PodSandboxStatus" (PodSandboxStatusRequest) -> PodSandboxStatusResponse
        within |it, _| it.ask;
    runtime.list_pod_sandbox "ListPodSandbox" (ListPodSandboxRequest) -> ListPodSandboxResponse within |it, _| it.ask;
    runtime.update_pod_sandbox_resources "UpdatePodSandboxResources" (UpdatePodSandboxResourcesRequest)
        -> UpdatePodSandboxResourcesResponse within |it, _| it.act;
    runtime.create_container "CreateContainer" (CreateContainerRequest) -> CreateContainerResponse
        within |it, _| it.act;
    runtime.start_container "StartContainer" (StartContainerRequest) -> StartContainerResponse within |it, _| it.act;
    runtime.stop_container "StopContainer" (StopContainerRequest) -> StopContainerResponse
        within |it, request| it.act + Duration::from_secs(request.timeout.try_into().unwrap_or(0));
    runtime.remove_container "RemoveContainer" (RemoveContainerRequest) -> RemoveContainerResponse
        within |it, _| it.act;
    runtime.list_containers "ListContainers" (ListContainersRequest) -> ListContainersResponse within |it, _| it.ask;
    runtime.container_status "ContainerStatus" (ContainerStatusRequest) -> ContainerStatusResponse
        within |it, _| it.ask;
    runtime.list_container_stats "ListContainerStats" (ListContainerStatsRequest) -> ListContainerStatsResponse
        within |it, _| it.ask;
    runtime.update_container_resources "UpdateContainerResources" (UpdateContainerResourcesRequest)
        -> UpdateContainerResourcesResponse within |it, _| it.act;
    runtime.reopen_container_log "ReopenContainerLog" (ReopenContainerLogRequest) -> ReopenContainerLogResponse
        within |it, _| it.ask;
    images.image_status "ImageStatus" (ImageStatusRequest) -> ImageStatusResponse within |it, _| it.ask;
    images.pull_image "PullImage" (PullImageRequest) -> PullImageResponse within |it, _| it.pull;
}
