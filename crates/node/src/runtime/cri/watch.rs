//! Learning what happens: from the runtime's events where it offers them, and by listing its containers now and then,
//! which also finds what no event told, what is left over, and logs that have grown too long.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tonic::{Code, Status};

use super::machine::Machine;
use super::proto::{self, ContainerEventResponse, ContainerEventType, ContainerState, ReopenContainerLogRequest};
use super::run::Run;
use super::start::{containers, remove_container, status};
use super::words::{self, State};
use super::{error as cri, layout};
use crate::runtime::ground::lock;
use crate::runtime::{RuntimeEvent, error};

/// With events a listing only finds what they missed.
const RELIST_WITH_EVENTS: u32 = 30;
/// A runtime that offers no events is asked again after as many listings: it may have been upgraded.
const ASK_AGAIN: u32 = 300;

/// Look for as long as somebody wants to know.
pub async fn watch(machine: Arc<Machine>) {
    let every = machine.options.relist;
    loop {
        // Asked before the list: what happens in between is in either.
        let events = machine.calls.get_container_events().await;
        relist(&machine).await;
        match events {
            Ok(events) => follow(&machine, events, every * RELIST_WITH_EVENTS).await,
            Err(status) if status.code() == Code::Unimplemented => {
                for _ in 0..ASK_AGAIN {
                    pause(&machine, every).await;
                    relist(&machine).await;
                }
            }
            Err(status) => {
                tracing::warn!(error = %cri::words(&status), "container events cannot be had now; will retry");
                pause(&machine, every).await;
            }
        }
    }
}

async fn pause(machine: &Machine, every: Duration) {
    tokio::select! {
        () = tokio::time::sleep(every) => {}
        () = machine.relist.notified() => {}
    }
}

/// Until the stream ends: then a listing follows, and the runtime is asked for another stream.
async fn follow(machine: &Machine, mut events: tonic::Streaming<ContainerEventResponse>, every: Duration) {
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => happened(machine, &event).await,
                Some(Err(status)) => {
                    tracing::debug!(error = %cri::words(&status), "the stream of container events broke");
                    // Not at once: a runtime that breaks each stream would be asked without end.
                    return pause(machine, machine.options.relist).await;
                }
                None => return pause(machine, machine.options.relist).await,
            },
            () = tokio::time::sleep(every) => relist(machine).await,
            () = machine.relist.notified() => relist(machine).await,
        }
    }
}

async fn happened(machine: &Machine, event: &ContainerEventResponse) {
    match event.container_event_type() {
        ContainerEventType::ContainerStoppedEvent | ContainerEventType::ContainerDeletedEvent => {}
        ContainerEventType::ContainerCreatedEvent | ContainerEventType::ContainerStartedEvent => return,
    }
    if let Some(run) = machine.running().into_iter().find(|run| run.container == event.container_id) {
        look(machine, &run).await;
    }
}

/// See how a run is; if it is over, say so. An error is one more reason to look again later.
pub async fn look(machine: &Machine, run: &Run) {
    match status(machine, &run.container).await {
        Ok(status) => seen(machine, run, status.as_ref()),
        Err(status) => {
            let container = error::describe(&run.id);
            tracing::debug!(container, error = %cri::words(&status), "a container cannot be looked at");
        }
    }
}

/// What there is to say about a run whose status is this; `None`: the runtime does not have it any more.
fn seen(machine: &Machine, run: &Run, status: Option<&proto::ContainerStatus>) {
    let Some(since) = run.running() else { return };
    match status.map(words::state) {
        Some(State::Exited(exit)) => machine.ended(run, exit),
        Some(State::Running(_) | State::Created | State::Unknown) => {}
        None => {
            tracing::warn!(container = %error::describe(&run.id), "a container is gone without a record; it counts \
             as killed");
            machine.ended(run, words::lost(since, jiff::Timestamp::now()));
        }
    }
}

/// Compare what the runtime has with what is known.
pub async fn relist(machine: &Machine) {
    // Before the list: what is started while it is made would seem to be missing in it.
    let running = machine.running();
    let listed = match containers(machine, None).await {
        Ok(listed) => listed,
        Err(status) => return unreachable(&status),
    };
    for run in &running {
        let found = listed.iter().find(|it| it.id == run.container);
        if found.is_none_or(|it| it.state() != ContainerState::ContainerRunning) {
            look(machine, run).await;
        }
        told_of_kills(machine, run);
        if run.running().is_some() {
            rotate(machine, run).await;
        }
    }
    for container in &listed {
        remove_stray(machine, container).await;
    }
    remove_stray_sandboxes(machine).await;
}

fn unreachable(status: &Status) {
    tracing::warn!(error = %cri::words(status), "the containers cannot be listed; will retry");
}

/// The OOM killer may have taken a process of a container and not its first one, which the CRI does not tell.
pub fn told_of_kills(machine: &Machine, run: &Run) {
    if run.running().is_none() {
        return;
    }
    let Some(kills) = machine.group(run).and_then(|group| group.oom_kills().ok()) else { return };
    let mut told = lock(&run.oom_kills);
    if kills > std::mem::replace(&mut *told, kills) {
        machine.tell(RuntimeEvent::OomKill(run.id.clone()));
    }
}

/// A log that has reached its size is put aside and begun anew.
async fn rotate(machine: &Machine, run: &Run) {
    let Ok(dir) = machine.run_dir(&run.id) else { return };
    if fs::metadata(dir.log()).map_or(0, |it| it.len()) < machine.options.log_limit_bytes {
        return;
    }
    let request = ReopenContainerLogRequest { container_id: run.container.clone() };
    let renamed: io::Result<()> = fs::rename(dir.log(), dir.older_log());
    let failed = match renamed {
        Ok(()) => machine.calls.reopen_container_log(request).await.err().map(|it| cri::words(&it)),
        Err(it) => Some(it.to_string()),
    };
    if let Some(error) = failed {
        // Back again, so that the next look finds it too long once more.
        let _ = fs::rename(dir.older_log(), dir.log());
        tracing::warn!(container = %error::describe(&run.id), error, "a log could not be rotated");
    }
}

/// A container of ours that nobody knows was made by a call whose answer was lost: it must not run beside its successor.
async fn remove_stray(machine: &Machine, container: &proto::Container) {
    let Some(metadata) = &container.metadata else { return };
    let Some(pod) = layout::pod(&container.labels) else { return };
    let run = (metadata.name.clone(), metadata.attempt);
    // In this order: a run is known before it is no longer being made.
    if machine.is_making(&pod.uid, Some(run.clone())) {
        return;
    }
    let known =
        machine.known(&pod.uid).is_some_and(|pod| pod.runs.get(&run).is_some_and(|it| it.container == container.id));
    if !known {
        tracing::info!(container = run.0, attempt = run.1, pod = pod.name, "removing a container that nobody knows");
        if let Err(status) = remove_container(machine, &container.id).await {
            tracing::debug!(error = %cri::words(&status), "it is tried again");
        }
    }
}

async fn remove_stray_sandboxes(machine: &Machine) {
    let listed = match machine.sandboxes(None).await {
        Ok(listed) => listed,
        Err(status) => return unreachable(&status),
    };
    for sandbox in listed {
        let Some(pod) = layout::pod(&sandbox.labels) else { continue };
        if machine.is_making(&pod.uid, None) {
            continue;
        }
        let known = machine.known(&pod.uid);
        // A dead one is there for its containers' sake until it is renewed.
        if known.and_then(|it| it.sandbox).is_none_or(|it| it.id != sandbox.id) {
            tracing::info!(pod = pod.name, "removing a sandbox that nobody knows");
            if let Err(status) = machine.remove_sandbox(&sandbox.id).await {
                tracing::debug!(error = %cri::words(&status), "it is tried again");
            }
        }
    }
}
