//! Pods: made, resized and removed, their own cgroup together with their sandbox.

use std::fs;
use std::sync::atomic::Ordering;

use supple_resize::kernel::CgroupResources;
use supple_resize::memory_qos::MemoryTiers;
use supple_resize::qos::QosClass;
use tonic::{Code, Status};

use super::layout;
use super::machine::{Machine, Sandbox};
use super::options::PodNetwork;
use super::proto::{
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, ListPodSandboxRequest, NamespaceMode, NamespaceOption,
    PodSandbox, PodSandboxConfig, PodSandboxFilter, PodSandboxMetadata, PodSandboxState, PodSandboxStatusRequest,
    RemovePodSandboxRequest, RunPodSandboxRequest, StopPodSandboxRequest, UpdatePodSandboxResourcesRequest,
};
use super::{error as cri, words};
use crate::runtime::ground::remove_dir;
use crate::runtime::{PodConfig, PodRef, RuntimeError, error};

/// How often a sandbox is tried to be made in one go: an answer may be lost, or a dead one be in the way.
const TRIES: u32 = 2;

/// In which namespaces the containers of a pod are.
pub fn namespaces(network: PodNetwork) -> NamespaceOption {
    let network = match network {
        PodNetwork::Host => NamespaceMode::Node,
        PodNetwork::Cni => NamespaceMode::Pod,
    };
    NamespaceOption { network: network.into(), pid: NamespaceMode::Container.into(), ipc: NamespaceMode::Pod.into() }
}

impl Machine {
    /// The pod's cgroup and its sandbox; nothing if they are there.
    pub async fn create_pod(&self, config: &PodConfig) -> Result<(), RuntimeError> {
        let PodConfig { id, qos, resources, labels, annotations } = config;
        let logs = self.pod_dir(id)?;
        if self.known(&id.uid).is_some_and(|pod| pod.sandbox.is_some()) {
            return Ok(());
        }
        // Until it is known: a sandbox that nobody makes and nobody knows is a stray.
        let _making = self.making(id, None);
        fs::create_dir_all(&logs).map_err(|it| error::record("create", &logs, &it))?;
        self.cgroups.make(*qos, &id.uid, resources).await?;
        let mut labels = labels.clone();
        labels.extend(layout::labels(&self.root, id));
        let mut annotations = annotations.clone();
        annotations.insert(layout::QOS.to_owned(), qos.as_str().to_owned());
        let mut config = self.sandbox_config(id, *qos, labels, annotations);
        if let Some(linux) = &mut config.linux {
            linux.resources = Some(words::start(&resources.tiered(MemoryTiers::default()), 0));
        }
        let sandbox = self.run_sandbox(id, config).await?;
        self.set_sandbox(id, *qos, Some(sandbox));
        Ok(())
    }

    /// What a sandbox is made of, the same whenever it is asked with what the sandbox itself keeps.
    pub fn sandbox_config(
        &self,
        id: &PodRef,
        qos: QosClass,
        labels: std::collections::BTreeMap<String, String>,
        annotations: std::collections::BTreeMap<String, String>,
    ) -> PodSandboxConfig {
        let network = self.options.request.network;
        let hostname = match network {
            // The machine's.
            PodNetwork::Host => String::new(),
            // A host name is a label of DNS.
            PodNetwork::Cni => id.name.chars().take(63).collect(),
        };
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: id.name.clone(),
                uid: id.uid.clone(),
                namespace: id.namespace.clone(),
                attempt: 0,
            }),
            hostname,
            log_directory: self.containers_dir().join(&id.uid).display().to_string(),
            labels,
            annotations,
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.cgroups.parent(qos, &id.uid),
                security_context: Some(LinuxSandboxSecurityContext { namespace_options: Some(namespaces(network)) }),
                resources: None,
            }),
        }
    }

    /// Make the sandbox. One that stands already is taken (an answer may have been lost), dead ones are removed.
    async fn run_sandbox(&self, pod: &PodRef, mut config: PodSandboxConfig) -> Result<Sandbox, RuntimeError> {
        let failed = |status: &Status| cri::call("CreatePodSandboxError", "run the sandbox of", describe(pod), status);
        let mut last = None;
        for _ in 0..TRIES {
            let mut attempt = 0;
            for found in self.sandboxes(Some(pod)).await.map_err(|it| failed(&it))? {
                let metadata = found.metadata.clone().unwrap_or_default();
                if found.state() == PodSandboxState::SandboxReady {
                    config.metadata = Some(metadata);
                    return Ok(self.sandbox(found.id, config).await);
                }
                attempt = attempt.max(metadata.attempt.saturating_add(1));
                self.remove_sandbox(&found.id).await.map_err(|it| failed(&it))?;
            }
            if let Some(metadata) = &mut config.metadata {
                metadata.attempt = attempt;
            }
            let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
            match self.calls.run_pod_sandbox(request).await {
                Ok(answer) => return Ok(self.sandbox(answer.pod_sandbox_id, config).await),
                Err(status) => last = Some(status),
            }
        }
        Err(failed(&last.unwrap_or_else(|| Status::unknown("it was not tried"))))
    }

    /// A sandbox that stands, with its address where it has one of its own.
    pub async fn sandbox(&self, id: String, config: PodSandboxConfig) -> Sandbox {
        let ip = match self.options.request.network {
            PodNetwork::Host => None,
            PodNetwork::Cni => {
                let request = PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: false };
                // An address that is not known is not told; the pod runs all the same.
                let status = self.calls.pod_sandbox_status(request).await.ok().and_then(|it| it.status);
                status.and_then(|it| it.network).map(|it| it.ip).filter(|it| !it.is_empty())
            }
        };
        Sandbox { id, config, ip }
    }

    /// The pod's sandbox has died under it (its process was killed, the machine was restarted): make another, in a
    /// cgroup that may have to be made again too.
    pub async fn renew_sandbox(&self, pod: &PodRef) -> Result<(), RuntimeError> {
        let known = self.pod(pod)?;
        let Some(old) = known.sandbox else { return Err(no_sandbox(pod)) };
        let _making = self.making(pod, None);
        self.cgroups.make(known.qos, &pod.uid, &CgroupResources::default()).await?;
        let sandbox = self.run_sandbox(pod, old.config.clone()).await?;
        self.set_sandbox(pod, known.qos, Some(sandbox));
        Ok(())
    }

    /// Our sandboxes, or those of one pod, oldest first.
    pub async fn sandboxes(&self, pod: Option<&PodRef>) -> Result<Vec<PodSandbox>, Status> {
        let mut label_selector = std::collections::BTreeMap::from([(layout::NODE.to_owned(), self.root.clone())]);
        if let Some(pod) = pod {
            label_selector.insert(layout::POD_UID.to_owned(), pod.uid.clone());
        }
        let filter = Some(PodSandboxFilter { label_selector, ..PodSandboxFilter::default() });
        let mut found = self.calls.list_pod_sandbox(ListPodSandboxRequest { filter }).await?.items;
        // A runtime that does not know a filter must not make us believe that everything is ours.
        found.retain(|it| it.labels.get(layout::NODE) == Some(&self.root));
        found.sort_by_key(|it| it.created_at);
        Ok(found)
    }

    /// Stop and remove a sandbox with everything in it.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), Status> {
        let pod_sandbox_id = id.to_owned();
        gone(self.calls.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() }).await)?;
        gone(self.calls.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id }).await)
    }

    /// First the runtime, which may refuse; then the cgroup. Should that fail, the runtime is told that all is as it was.
    pub async fn update_pod(&self, pod: &PodRef, values: &CgroupResources) -> Result<(), RuntimeError> {
        let known = self.pod(pod)?;
        let current = self.cgroups.pod(known.qos, &pod.uid).read().map_err(|it| error::cgroup(&it))?;
        let told = match &known.sandbox {
            Some(sandbox) if current.with(values) != current => {
                self.notify_sandbox(pod, &sandbox.id, &current.with(values)).await?;
                Some(sandbox)
            }
            _ => None,
        };
        let written = self.cgroups.write(known.qos, &pod.uid, values).await;
        if let (Err(_), Some(sandbox)) = (&written, told)
            && let Err(it) = self.notify_sandbox(pod, &sandbox.id, &current).await
        {
            tracing::warn!(pod = pod.name, error = %it, "the container runtime believes in a size that could not be written");
        }
        written
    }

    async fn notify_sandbox(&self, pod: &PodRef, id: &str, values: &CgroupResources) -> Result<(), RuntimeError> {
        if self.no_sandbox_updates.load(Ordering::Relaxed) {
            return Ok(());
        }
        let request = UpdatePodSandboxResourcesRequest {
            pod_sandbox_id: id.to_owned(),
            overhead: None,
            // The pod's own cgroup is ours: what it protects is no affair of the container runtime's.
            resources: Some(words::update(&values.tiered(MemoryTiers::default()))),
        };
        match self.calls.update_pod_sandbox_resources(request).await {
            Ok(_) => Ok(()),
            Err(status) if is_unimplemented(&status) => {
                self.no_sandbox_updates.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(status) => Err(cri::call(
                "SandboxUpdateRefused",
                "have the container runtime agree to the new size of",
                describe(pod),
                &status,
            )),
        }
    }

    /// Remove the pod's sandboxes and its cgroup. Its logs stay.
    pub async fn remove_pod(&self, pod: &PodRef) -> Result<(), RuntimeError> {
        self.pod_dir(pod)?;
        let failed = |status: &Status| cri::call("KillPodSandboxError", "remove the sandbox of", describe(pod), status);
        for sandbox in self.sandboxes(Some(pod)).await.map_err(|it| failed(&it))? {
            self.remove_sandbox(&sandbox.id).await.map_err(|it| failed(&it))?;
        }
        let known = self.known(&pod.uid).map(|it| it.qos);
        let classes =
            known.map_or(vec![QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort], |it| vec![it]);
        for qos in classes {
            self.cgroups.end(qos, &pod.uid).await?;
            if known.is_some() {
                self.set_sandbox(pod, qos, None);
            }
        }
        Ok(())
    }

    /// Everything of ours is ended and removed.
    pub async fn shutdown(&self) -> Result<(), RuntimeError> {
        let node = || format!("everything of {}", self.root);
        let failed = |status: &Status| cri::call("KillPodSandboxError", "remove", node(), status);
        let sandboxes = self.sandboxes(None).await.map_err(|it| failed(&it))?;
        let removed = sandboxes.iter().map(|it| self.remove_sandbox(&it.id));
        futures::future::try_join_all(removed).await.map_err(|it| failed(&it))?;
        self.cgroups.end_all().await?;
        self.forget_all();
        remove_dir(&self.containers_dir())?;
        super::forget_root(&self.options)
    }
}

/// A pod in words.
pub fn describe(pod: &PodRef) -> String {
    format!("pod {}/{}", pod.namespace, pod.name)
}

/// A pod that is being ended has none.
pub fn no_sandbox(pod: &PodRef) -> RuntimeError {
    RuntimeError {
        reason: "PodSandboxGone",
        operation: "find the sandbox of".into(),
        object: describe(pod),
        message: "it has been removed".into(),
    }
}

/// What is gone already need not be removed.
pub fn gone<T>(result: Result<T, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.code() != Code::NotFound => Err(status),
        _ => Ok(()),
    }
}

/// The runtime does not have this method: containerd 2.2 says so in its own way.
pub fn is_unimplemented(status: &Status) -> bool {
    match status.code() {
        Code::Unimplemented => true,
        Code::Unknown => status.message().contains("not implemented"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: Status, unimplemented: bool) {
        assert_eq!(is_unimplemented(&status), unimplemented, "{status:?}");
    }

    #[test]
    fn a_missing_method_is_no_veto() {
        check(Status::unimplemented("unknown method UpdatePodSandboxResources"), true);
        check(Status::unknown("method UpdatePodSandboxResources not implemented"), true);
        check(Status::unknown("plugin says no"), false);
        check(Status::unavailable("not implemented"), false);
        check(Status::invalid_argument("x"), false);
    }

    #[test]
    fn what_is_gone_is_removed() {
        assert!(gone::<()>(Err(Status::not_found("x"))).is_ok());
        assert!(gone(Ok(())).is_ok());
        assert!(gone::<()>(Err(Status::unknown("x"))).is_err());
    }
}
