//! Real containers, run by a container runtime that speaks the CRI: containerd, CRI-O.
//!
//! ```text
//!   worker ──▶ CriRuntime ──▶ call ──▶ container runtime ──▶ runc      sandboxes, containers, their cgroups, images
//!                   │           └── deadlines, and where a fault harness can have its say
//!                   ├──▶ cgroups ──▶ kernel, systemd                   pods' cgroups and those above: ours
//!                   └──◀ watch                                         events where offered, a listing now and then
//! ```
//!
//! Containers outlive this program by nature. Everything of ours carries the name of our root as a label, by which a
//! runtime built later on the same data directory finds it again; what others run there is neither seen nor touched.

pub mod call;
mod cgroups;
mod error;
mod images;
mod layout;
mod machine;
mod options;
mod probe;
mod proto;
mod recover;
mod run;
mod sandbox;
mod start;
mod stop;
pub mod systemd;
mod update;
mod usage;
mod watch;
mod words;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use supple_resize::kernel::CgroupResources;
use tokio::task::AbortHandle;

use self::call::Calls;
use self::cgroups::Cgroups;
use self::layout::Layout;
use self::machine::Machine;
pub use self::options::{CriOptions, CriRequest, NewError, PodNetwork};
use super::error as told;
use super::ground::{self, lock};
use super::{ContainerConfig, ContainerRef, Exit, FoundPod, LogOptions, PodConfig, PodRef, PodUsage, RunState};
use super::{Runtime, RuntimeError, RuntimeEvent, logs};
use crate::cgroup::Group;

/// The CRI runtime. Dropping it leaves everything running; [`Runtime::shutdown`] ends it.
#[derive(Debug)]
pub struct CriRuntime {
    machine: Arc<Machine>,
    watching: Mutex<Option<AbortHandle>>,
}

impl CriRuntime {
    /// Ask the container runtime what it is, and make our own root cgroup (or find it again, by the name kept in the
    /// data directory). Starts nothing and adopts nothing: that is [`Runtime::recover`].
    ///
    /// # Errors
    /// [`NewError`], which says what to do.
    pub async fn connect(mut options: CriOptions) -> Result<Self, NewError> {
        // The container runtime has another current directory.
        options.data_dir = std::path::absolute(&options.data_dir).map_err(|source| NewError::DataDir {
            operation: "find",
            path: options.data_dir.clone(),
            source,
        })?;
        let request = &options.request;
        let calls = Calls::open(&request.socket, options.deadlines, options.faults.clone()).map_err(|it| {
            let message = it.to_string();
            NewError::Unwell { socket: request.socket.clone(), question: "address", message }
        })?;
        let probed = probe::probe(&calls, request).await?;
        let root = root(&options)?;
        let layout = Layout { driver: probed.driver, root: root.clone() };
        let cgroups = Cgroups::open(layout, &options).await?;
        let machine = Machine::new(options, calls, cgroups, root, (probed.name, probed.version));
        Ok(Self { machine: Arc::new(machine), watching: Mutex::default() })
    }

    /// What it works with, as one sentence without a full stop.
    pub fn describe(&self) -> String {
        let (name, version) = &self.machine.name;
        let socket = self.machine.options.request.socket.display();
        format!("{name} {version} at {socket} answers; {}", self.machine.cgroups.describe())
    }

    /// Path of our own root in the hierarchy that accounts memory, for messages and tests.
    pub fn root_directory(&self) -> PathBuf {
        self.machine.cgroups.root_directory()
    }
}

impl Drop for CriRuntime {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.watching).take() {
            task.abort();
        }
    }
}

/// The directories, and the name of our root: the one asked for, or one made once and kept.
fn root(options: &CriOptions) -> Result<String, NewError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| NewError::DataDir { operation, path, source }
    };
    let containers = ground::containers_dir(&options.data_dir);
    ground::make_private(&containers).map_err(failed("make private", &containers))?;
    match &options.request.cgroup_root {
        Some(name) if Group::is_name(name) => Ok(name.clone()),
        Some(name) => Err(NewError::CgroupRoot(name.clone())),
        None => {
            let file = root_file(options);
            ground::root_name(&file).map_err(failed("keep our cgroup's name in", &file))
        }
    }
}

fn root_file(options: &CriOptions) -> PathBuf {
    options.data_dir.join("cgroup")
}

/// Everything of ours is gone: the next start makes another root.
fn forget_root(options: &CriOptions) -> Result<(), RuntimeError> {
    let file = root_file(options);
    match fs::remove_file(&file) {
        Err(it) if it.kind() != std::io::ErrorKind::NotFound => Err(told::record("remove", &file, &it)),
        _ => Ok(()),
    }
}

impl Runtime for CriRuntime {
    fn name(&self) -> &'static str {
        "cri"
    }

    fn version(&self) -> String {
        let (name, version) = &self.machine.name;
        format!("{name}://{version}")
    }

    fn container_id(&self, id: &ContainerRef) -> String {
        let runtime = &self.machine.name.0;
        match self.machine.run(id) {
            Ok(run) => format!("{runtime}://{}", run.container),
            // Forgotten by now: nothing is to be found by its name, but it is still one of its own.
            Err(_) => format!("{runtime}://{}/{}/{}", id.pod.uid, id.container, id.attempt),
        }
    }

    fn pod_ip(&self, pod: &PodRef) -> Option<String> {
        self.machine.known(&pod.uid)?.sandbox?.ip.clone()
    }

    fn has_memory_qos(&self) -> bool {
        self.machine.cgroups.is_version_2()
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<FoundPod>, RuntimeError>> {
        Box::pin(async {
            let found = recover::recover(Arc::clone(&self.machine)).await?;
            let watching = tokio::spawn(watch::watch(Arc::clone(&self.machine))).abort_handle();
            if let Some(before) = lock(&self.watching).replace(watching) {
                before.abort();
            }
            Ok(found)
        })
    }

    fn check_image<'a>(
        &'a self,
        image: &'a str,
        pull_policy: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(images::check(&self.machine, image, pull_policy))
    }

    fn ignored(&self, pod: &Pod) -> Vec<String> {
        super::ignored::with_images(pod)
    }

    fn create_pod<'a>(&'a self, config: &'a PodConfig) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(self.machine.create_pod(config))
    }

    fn update_pod<'a>(
        &'a self,
        pod: &'a PodRef,
        resources: &'a CgroupResources,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(self.machine.update_pod(pod, resources))
    }

    fn read_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<CgroupResources, RuntimeError>> {
        Box::pin(async move {
            let qos = self.machine.pod(pod)?.qos;
            self.machine.cgroups.pod(qos, &pod.uid).read().map_err(|it| told::cgroup(&it))
        })
    }

    fn remove_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(self.machine.remove_pod(pod))
    }

    fn forget_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let dir = self.machine.pod_dir(pod)?;
            self.machine.forget(&pod.uid);
            ground::remove_dir(&dir)
        })
    }

    fn start_container<'a>(&'a self, config: &'a ContainerConfig) -> BoxFuture<'a, Result<RunState, RuntimeError>> {
        let started = start::start(Arc::clone(&self.machine), config.clone());
        // On a task of its own: a caller that goes away must not leave a half-started container behind.
        Box::pin(async move { tokio::spawn(started).await.unwrap_or_else(|lost| Err(told::task(&lost))) })
    }

    fn update_container<'a>(
        &'a self,
        id: &'a ContainerRef,
        resources: &'a CgroupResources,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(update::update(&self.machine, id, resources))
    }

    fn read_container<'a>(&'a self, id: &'a ContainerRef) -> BoxFuture<'a, Result<CgroupResources, RuntimeError>> {
        Box::pin(update::read(&self.machine, id))
    }

    fn stop_container<'a>(
        &'a self,
        id: &'a ContainerRef,
        grace: Duration,
    ) -> BoxFuture<'a, Result<Exit, RuntimeError>> {
        Box::pin(async move {
            match self.machine.run(id) {
                Ok(run) => stop::stop(&self.machine, &run, grace).await,
                Err(unknown) => Err(stop::end_unknown(&self.machine, id).await.err().unwrap_or(unknown)),
            }
        })
    }

    fn remove_container<'a>(&'a self, id: &'a ContainerRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(stop::remove(&self.machine, id))
    }

    fn usage<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<PodUsage, RuntimeError>> {
        Box::pin(usage::usage(&self.machine, pod))
    }

    fn logs<'a>(
        &'a self,
        id: &'a ContainerRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, std::io::Result<Bytes>>, RuntimeError>> {
        Box::pin(async move {
            let dir = self.machine.run_dir(id)?;
            if !dir.path().is_dir() {
                return Err(told::no_container(id));
            }
            let run = self.machine.run(id).ok();
            let ended = async move {
                if let Some(run) = run {
                    run.ended().await;
                }
            };
            Ok(logs::stream(dir, options, ended))
        })
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        ground::events(self.machine.subscribe())
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(async {
            if let Some(task) = lock(&self.watching).take() {
                task.abort();
            }
            self.machine.shutdown().await
        })
    }
}
