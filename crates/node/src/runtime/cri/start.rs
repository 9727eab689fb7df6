//! Starting a container, and what it takes to know whether it has begun when an answer is lost.

use std::fs;
use std::sync::Arc;

use tonic::{Code, Status};

use super::machine::{Machine, Sandbox, key, log_dir};
use super::proto::{
    self, ContainerFilter, ContainerMetadata, ContainerStatusRequest, CreateContainerRequest, ImageSpec, KeyValue,
    LinuxContainerConfig, LinuxContainerSecurityContext, ListContainersRequest, RemoveContainerRequest,
    StartContainerRequest,
};
use super::run::{Phase, Run};
use super::sandbox::{gone, namespaces, no_sandbox};
use super::words::{self, State};
use super::{error as cri, layout};
use crate::cgroup::MemoryEvents;
use crate::runtime::ground::{lock, remove_dir};
use crate::runtime::{ContainerConfig, ContainerRef, RunState, RuntimeError, error};

/// Start it. Whatever fails, nothing of the attempt stays, or it is removed as a stray later.
pub async fn start(machine: Arc<Machine>, config: ContainerConfig) -> Result<RunState, RuntimeError> {
    let id = &config.id;
    let dir = machine.run_dir(id)?;
    forget_older(&machine, id);
    // A run of this attempt that a predecessor began and did not finish is not this one.
    remove_dir(dir.path())?;
    fs::create_dir_all(dir.path()).map_err(|it| error::record("create", dir.path(), &it))?;
    let making = machine.making(&id.pod, Some(key(id)));
    let container = create(&machine, &config).await?;
    match begin(&machine, id, &container).await {
        Ok(phase) => {
            let run = Arc::new(Run::new(id.clone(), container, phase));
            // The reading from which it is measured: its counter is zero now.
            lock(&run.rate).take(machine.began.elapsed(), 0, machine.options.usage_window);
            machine.add_run(&run);
            machine.listen(&run, MemoryEvents::default());
            drop(making);
            Ok(run.state())
        }
        Err(failed) => {
            remove(&machine, id, &container).await;
            let _ = remove_dir(dir.path());
            Err(failed)
        }
    }
}

/// Make the container; where the pod's sandbox has died, in another one.
async fn create(machine: &Machine, config: &ContainerConfig) -> Result<String, RuntimeError> {
    let id = &config.id;
    let failed = |status: &Status| cri::call("CreateContainerError", "create", error::describe(id), status);
    let sandbox = machine.pod(&id.pod)?.sandbox.ok_or_else(|| no_sandbox(&id.pod))?;
    let status = match machine.calls.create_container(request(machine, config, &sandbox)).await {
        Ok(answer) => return Ok(answer.container_id),
        Err(status) => status,
    };
    // The answer to an earlier try may have been lost: then it is there.
    if let Some(found) = find(machine, id, &sandbox.id).await.map_err(|_| failed(&status))? {
        return Ok(found);
    }
    let alive = machine.sandboxes(Some(&id.pod)).await.map_err(|_| failed(&status))?;
    if alive.iter().any(|it| it.id == sandbox.id && it.state() == proto::PodSandboxState::SandboxReady) {
        return Err(failed(&status));
    }
    machine.renew_sandbox(&id.pod).await?;
    let sandbox = machine.pod(&id.pod)?.sandbox.ok_or_else(|| no_sandbox(&id.pod))?;
    let answer = machine.calls.create_container(request(machine, config, &sandbox)).await;
    answer.map(|it| it.container_id).map_err(|it| failed(&it))
}

fn request(machine: &Machine, config: &ContainerConfig, sandbox: &Sandbox) -> CreateContainerRequest {
    let ContainerConfig { id, image, command, args, env, working_dir, resources, oom_score_adj, annotations: _ } =
        config;
    let mut labels = layout::labels(&machine.root, &id.pod);
    labels.insert(layout::CONTAINER.to_owned(), id.container.clone());
    let annotations = [(layout::RESTARTS.to_owned(), id.attempt.to_string())].into();
    CreateContainerRequest {
        pod_sandbox_id: sandbox.id.clone(),
        config: Some(proto::ContainerConfig {
            metadata: Some(ContainerMetadata { name: id.container.clone(), attempt: id.attempt }),
            image: Some(ImageSpec {
                image: image.clone(),
                user_specified_image: image.clone(),
                ..ImageSpec::default()
            }),
            command: command.clone(),
            args: args.clone(),
            working_dir: working_dir.clone().unwrap_or_default(),
            envs: env.iter().map(|(key, value)| KeyValue { key: key.clone(), value: value.clone() }).collect(),
            labels,
            annotations,
            log_path: format!("{}/log", log_dir(id)),
            linux: Some(LinuxContainerConfig {
                resources: Some(words::start(resources, *oom_score_adj)),
                security_context: Some(LinuxContainerSecurityContext {
                    namespace_options: Some(namespaces(machine.options.request.network)),
                }),
            }),
        }),
        sandbox_config: Some(sandbox.config.clone()),
    }
}

/// The container of this very attempt in this sandbox, if it has been made and not started.
async fn find(machine: &Machine, id: &ContainerRef, sandbox: &str) -> Result<Option<String>, Status> {
    let found = containers(machine, Some(sandbox)).await?;
    let of = |it: &proto::Container| it.metadata.as_ref().map(|it| (it.name.clone(), it.attempt));
    let made =
        found.into_iter().find(|it| of(it) == Some(key(id)) && it.state() == proto::ContainerState::ContainerCreated);
    Ok(made.map(|it| it.id))
}

/// Our containers, or those of one sandbox.
pub async fn containers(machine: &Machine, sandbox: Option<&str>) -> Result<Vec<proto::Container>, Status> {
    let filter = ContainerFilter {
        pod_sandbox_id: sandbox.unwrap_or_default().to_owned(),
        label_selector: [(layout::NODE.to_owned(), machine.root.clone())].into(),
        ..ContainerFilter::default()
    };
    let mut found = machine.calls.list_containers(ListContainersRequest { filter: Some(filter) }).await?.containers;
    found.retain(|it| it.labels.get(layout::NODE) == Some(&machine.root));
    Ok(found)
}

/// What the runtime says of a container; `None` for one it does not have.
pub async fn status(machine: &Machine, container: &str) -> Result<Option<proto::ContainerStatus>, Status> {
    let request = ContainerStatusRequest { container_id: container.to_owned(), verbose: false };
    match machine.calls.container_status(request).await {
        Ok(answer) => Ok(answer.status),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// Start it and see.
async fn begin(machine: &Machine, id: &ContainerRef, container: &str) -> Result<Phase, RuntimeError> {
    let started = machine.calls.start_container(StartContainerRequest { container_id: container.to_owned() }).await;
    let now = jiff::Timestamp::now();
    let seen = status(machine, container).await;
    let state = seen.as_ref().ok().and_then(Option::as_ref).map(words::state);
    match (started, state) {
        (_, Some(State::Running(since))) => Ok(Phase::Running(since)),
        // Over already.
        (Ok(_), Some(State::Exited(exit))) => Ok(Phase::Ended(exit)),
        // It has been started and cannot be looked at: the next look says how it is.
        (Ok(_), _) => Ok(Phase::Running(now)),
        (Err(status), _) => Err(cri::call("StartError", "start", error::describe(id), &status)),
    }
}

async fn remove(machine: &Machine, id: &ContainerRef, container: &str) {
    if let Err(status) = remove_container(machine, container).await {
        let container = error::describe(id);
        tracing::warn!(container, error = %cri::words(&status), "a container that did not start is left for later");
    }
}

/// Remove a container, ending it if need be; nothing if it is gone.
pub async fn remove_container(machine: &Machine, container: &str) -> Result<(), Status> {
    gone(machine.calls.remove_container(RemoveContainerRequest { container_id: container.to_owned() }).await)
}

/// Keep the log of the run before this one (`kubectl logs --previous`) and drop those of earlier ones, so that a
/// crash-looping container fills no disk.
fn forget_older(machine: &Machine, id: &ContainerRef) {
    let Some(last) = id.attempt.checked_sub(2) else { return };
    // Attempts are counted up one by one; the ones before have been dropped by the starts before.
    for attempt in (0..=last).rev() {
        let old = ContainerRef { attempt, ..id.clone() };
        let Ok(dir) = machine.run_dir(&old) else { return };
        if !dir.path().is_dir() {
            return;
        }
        if let Err(it) = remove_dir(dir.path()) {
            tracing::warn!(container = %error::describe(&old), error = %it, "could not remove an old log");
            return;
        }
    }
}
