//! The end of a container: asked for, waited for, and forgotten.

use std::time::Duration;

use super::error as cri;
use super::machine::{Machine, key};
use super::proto::StopContainerRequest;
use super::run::Run;
use super::sandbox::gone;
use super::start::{containers, remove_container};
use super::watch::look;
use crate::runtime::{ContainerRef, Exit, RuntimeError, error};

/// Some runtimes answer before their own status says so.
const LOOKS: [Duration; 6] = [
    Duration::from_millis(5),
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// Stop a run. May be dropped and called again with less grace: the runtime asks a container to end only once.
pub async fn stop(machine: &Machine, run: &Run, grace: Duration) -> Result<Exit, RuntimeError> {
    if let Some(exit) = run.exit() {
        return Ok(exit);
    }
    // Whole seconds, and none too few: 0 is "at once".
    let timeout = i64::try_from(grace.as_secs() + u64::from(grace.subsec_nanos() > 0)).unwrap_or(i64::MAX);
    let request = StopContainerRequest { container_id: run.container.clone(), timeout };
    let stopped = tokio::select! {
        exit = run.ended() => return Ok(exit),
        stopped = machine.calls.stop_container(request) => gone(stopped),
    };
    for pause in LOOKS {
        look(machine, run).await;
        if let Some(exit) = run.exit() {
            return Ok(exit);
        }
        if let Err(status) = &stopped {
            return Err(cri::call("KillContainerError", "stop", error::describe(&run.id), status));
        }
        tokio::time::sleep(pause).await;
    }
    Err(RuntimeError {
        reason: "StillRunning",
        operation: "stop".into(),
        object: error::describe(&run.id),
        message: "the container runtime says that it has stopped it, and shows it as running".into(),
    })
}

/// A run that nobody knows may still have been made by a call whose answer was lost: nothing of it stays.
pub async fn end_unknown(machine: &Machine, id: &ContainerRef) -> Result<(), RuntimeError> {
    let failed = |status| cri::call("KillContainerError", "end", error::describe(id), &status);
    let Some(sandbox) = machine.known(&id.pod.uid).and_then(|it| it.sandbox) else { return Ok(()) };
    for container in containers(machine, Some(&sandbox.id)).await.map_err(failed)? {
        if container.metadata.is_some_and(|it| (it.name, it.attempt) == key(id)) {
            remove_container(machine, &container.id).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Forget an ended run; its log stays.
pub async fn remove(machine: &Machine, id: &ContainerRef) -> Result<(), RuntimeError> {
    let Ok(run) = machine.run(id) else { return Ok(()) };
    if run.running().is_some() {
        return Err(error::still_running(id));
    }
    let removed = remove_container(machine, &run.container).await;
    removed.map_err(|it| cri::call("RemoveContainerError", "remove", error::describe(id), &it))?;
    machine.drop_run(id);
    Ok(())
}
