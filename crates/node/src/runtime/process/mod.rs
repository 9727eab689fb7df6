//! Containers as processes of this machine, each in a cgroup of its own: real limits, real throttling, real OOM kills.
//!
//! ```text
//!   <hierarchy>/supple-<id>/pod<uid>/<container>-<attempt>   one root per data directory, nothing outside it is touched
//!   <data>/containers/<uid>/pod.json                         which pod it is
//!   <data>/containers/<uid>/<container>/<attempt>/           one run: spec, state, exit, log (see `shim::record`)
//! ```
//!
//! Each container has a [`crate::shim`] that outlives this program, so that a container survives its end and a
//! runtime built later on the same data directory adopts it. What is in memory here can be had again from those files.

mod machine;
mod options;
mod protection;
mod recover;
mod run;
mod start;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use supple_resize::kernel::CgroupResources;

use self::machine::Machine;
pub use self::options::{NewError, ProcessOptions};
use super::{ContainerConfig, ContainerRef, Exit, FoundPod, LogOptions, PodConfig, PodRef, PodUsage, RunState};
use super::{Runtime, RuntimeError, RuntimeEvent, error, ground, logs};

/// The process runtime. Dropping it leaves everything running; [`Runtime::shutdown`] ends it.
#[derive(Debug)]
pub struct ProcessRuntime {
    machine: Arc<Machine>,
}

impl ProcessRuntime {
    /// Find the cgroup hierarchies and make our own root in them (or find it again, by the name kept in the data
    /// directory). Starts nothing and adopts nothing: that is [`Runtime::recover`].
    ///
    /// # Errors
    /// [`NewError`] where cgroups or the data directory cannot be used; then nothing has been left behind.
    pub fn new(options: ProcessOptions) -> Result<Self, NewError> {
        Ok(Self { machine: Arc::new(Machine::open(options)?) })
    }

    /// What it works with, as one sentence without a full stop.
    pub fn describe(&self) -> String {
        self.machine.describe()
    }

    /// Path of our own root in the hierarchy that accounts memory, for messages and tests.
    pub fn root_directory(&self) -> std::path::PathBuf {
        self.machine.root.memory_directory().to_owned()
    }
}

impl Runtime for ProcessRuntime {
    fn name(&self) -> &'static str {
        "process"
    }

    fn has_memory_qos(&self) -> bool {
        self.machine.root.version_2().is_some()
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<FoundPod>, RuntimeError>> {
        Box::pin(recover::recover(Arc::clone(&self.machine)))
    }

    fn check_image<'a>(
        &'a self,
        image: &'a str,
        pull_policy: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move { self.machine.options.images.check(image, pull_policy) })
    }

    fn ignored(&self, pod: &Pod) -> Vec<String> {
        super::ignored::ignored(pod)
    }

    fn create_pod<'a>(&'a self, config: &'a PodConfig) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move { self.machine.create_pod(&config.id, &config.resources) })
    }

    fn update_pod<'a>(
        &'a self,
        pod: &'a PodRef,
        resources: &'a CgroupResources,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(self.machine.update_pod(pod, *resources))
    }

    fn read_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<CgroupResources, RuntimeError>> {
        Box::pin(async move { self.machine.pod_group(pod)?.read().map_err(|it| error::cgroup(&it)) })
    }

    fn remove_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(self.machine.remove_pod(pod))
    }

    fn forget_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move { self.machine.forget_pod(pod) })
    }

    fn start_container<'a>(&'a self, config: &'a ContainerConfig) -> BoxFuture<'a, Result<RunState, RuntimeError>> {
        let started = start::start(Arc::clone(&self.machine), config.clone());
        // On a task of its own: a caller that goes away must not leave a half-started container behind.
        Box::pin(async move { tokio::spawn(started).await.unwrap_or_else(|lost| Err(error::task(&lost))) })
    }

    fn update_container<'a>(
        &'a self,
        id: &'a ContainerRef,
        resources: &'a CgroupResources,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move { ground::apply(self.machine.run(id)?.group.clone(), *resources).await })
    }

    fn read_container<'a>(&'a self, id: &'a ContainerRef) -> BoxFuture<'a, Result<CgroupResources, RuntimeError>> {
        Box::pin(async move { self.machine.run(id)?.group.read().map_err(|it| error::cgroup(&it)) })
    }

    fn stop_container<'a>(
        &'a self,
        id: &'a ContainerRef,
        grace: Duration,
    ) -> BoxFuture<'a, Result<Exit, RuntimeError>> {
        Box::pin(async move { self.machine.run(id)?.stop(grace).await })
    }

    fn remove_container<'a>(&'a self, id: &'a ContainerRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move { self.machine.remove_container(id) })
    }

    fn usage<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<PodUsage, RuntimeError>> {
        Box::pin(async move { self.machine.usage(pod) })
    }

    fn logs<'a>(
        &'a self,
        id: &'a ContainerRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, std::io::Result<Bytes>>, RuntimeError>> {
        Box::pin(async move { self.machine.logs(id, options) })
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        ground::events(self.machine.subscribe())
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(self.machine.shutdown())
    }
}
