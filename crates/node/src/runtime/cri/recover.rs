//! What a predecessor left with the container runtime: containers that run are adopted, ended ones are told, everything
//! else is removed. What it knows of them it reads from their labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::Status;

use super::machine::Machine;
use super::proto::{self, PodSandboxState, StopContainerRequest};
use super::run::{Phase, Run};
use super::start::{containers, remove_container, status};
use super::words::{self, State};
use super::{error as cri, layout};
use crate::runtime::ground::{lock, newest};
use crate::runtime::{ContainerRef, FoundPod, PodRef, RuntimeError, error};

/// See the module.
pub async fn recover(machine: Arc<Machine>) -> Result<Vec<FoundPod>, RuntimeError> {
    let failed = |status: &Status| {
        cri::call("RecoverError", "find", format!("what an earlier start left with the name {}", machine.root), status)
    };
    let mut pods: BTreeMap<String, (PodRef, Vec<proto::PodSandbox>)> = BTreeMap::new();
    for sandbox in machine.sandboxes(None).await.map_err(|it| failed(&it))? {
        match layout::pod(&sandbox.labels) {
            Some(pod) => pods.entry(pod.uid.clone()).or_insert_with(|| (pod, Vec::new())).1.push(sandbox),
            None => machine.remove_sandbox(&sandbox.id).await.map_err(|it| failed(&it))?,
        }
    }
    let mut all = containers(&machine, None).await.map_err(|it| failed(&it))?;
    let mut found = Vec::new();
    let mut known = Vec::new();
    for (pod, mut sandboxes) in pods.into_values() {
        // The newest that is ready; where none is, the newest, to be renewed when a container is to be started.
        let ready = sandboxes.iter().rposition(|it| it.state() == PodSandboxState::SandboxReady);
        let chosen = sandboxes.remove(ready.unwrap_or(sandboxes.len() - 1));
        for other in sandboxes {
            machine.remove_sandbox(&other.id).await.map_err(|it| failed(&it))?;
        }
        let of_pod = all.extract_if(.., |it| it.pod_sandbox_id == chosen.id).collect();
        let qos = layout::qos(chosen.annotations.get(layout::QOS).map_or("", String::as_str));
        let metadata = chosen.metadata.clone();
        let mut config = machine.sandbox_config(&pod, qos, chosen.labels, chosen.annotations);
        config.metadata = metadata.or(config.metadata);
        let sandbox = machine.sandbox(chosen.id, config).await;
        machine.set_sandbox(&pod, qos, Some(sandbox));
        if !machine.cgroups.pod(qos, &pod.uid).exists() {
            // The machine was restarted; what is in it is read, found unlimited, and set right.
            machine.cgroups.make(qos, &pod.uid, &supple_resize::kernel::CgroupResources::default()).await?;
        }
        known.push((qos, pod.uid.clone()));
        let runs = adopt(&machine, &pod, of_pod).await.map_err(|it| failed(&it))?;
        found.push(FoundPod { pod, containers: newest(runs.iter().map(|run| (run.id.clone(), run.state()))) });
    }
    machine.cgroups.adopt(&known).await?;
    Ok(found)
}

async fn adopt(machine: &Arc<Machine>, pod: &PodRef, of_pod: Vec<proto::Container>) -> Result<Vec<Arc<Run>>, Status> {
    let mut runs = Vec::new();
    for container in of_pod {
        let Some(metadata) = container.metadata.clone() else { continue };
        let id = ContainerRef { pod: pod.clone(), container: metadata.name, attempt: metadata.attempt };
        if container.state() == proto::ContainerState::ContainerUnknown {
            // A broken shim: ended for good before it is asked how it did.
            let request = StopContainerRequest { container_id: container.id.clone(), timeout: 0 };
            super::sandbox::gone(machine.calls.stop_container(request).await)?;
        }
        let state = status(machine, &container.id).await?.as_ref().map(words::state);
        let phase = match state {
            Some(State::Running(since)) => Phase::Running(since),
            Some(State::Exited(exit)) => Phase::Ended(exit),
            // Made and never started (or still not to be known): its worker begins this attempt anew.
            Some(State::Created | State::Unknown) => {
                remove_container(machine, &container.id).await?;
                continue;
            }
            None => continue,
        };
        let run = Arc::new(Run::new(id, container.id, phase));
        // Told by the predecessor.
        let seen = machine.group(&run).and_then(|group| group.memory_events().ok()).unwrap_or_default();
        *lock(&run.oom_kills) = seen.oom_kill;
        machine.add_run(&run);
        machine.listen(&run, seen);
        tracing::debug!(container = %error::describe(&run.id), "adopted");
        runs.push(run);
    }
    Ok(runs)
}
