//! The row of a pod: how many containers are ready, what they do as a whole, how often they have restarted.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::since;
use crate::tree::{at, items, number, text};

const NONE: &str = "<none>";

/// What the containers of a pod add up to.
#[derive(Default)]
struct Summary<'a> {
    ready: usize,
    restarts: i64,
    /// End of the last run that was followed by a restart; RFC 3339 in one format, so that text order is time order.
    last_restart: &'a str,
}

impl<'a> Summary<'a> {
    fn count(&mut self, status: &'a Value) {
        self.restarts = self.restarts.saturating_add(number(status, "restartCount"));
        self.last_restart = self.last_restart.max(text(status, "lastState.terminated.finishedAt"));
    }
}

/// The cells of a pod.
pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let init = items(pod, "spec.initContainers");
    let total = items(pod, "spec.containers").len() + init.iter().filter(|it| is_sidecar(it)).count();
    let (reason, summary) = summarise(pod);
    let mut restarts = summary.restarts.to_string();
    if summary.restarts != 0 && !summary.last_restart.is_empty() {
        restarts = format!("{restarts} ({} ago)", since(summary.last_restart, now));
    }
    let address = items(pod, "status.podIPs").first().map_or("", |it| text(it, "ip"));
    vec![
        text(pod, "metadata.name").into(),
        format!("{}/{total}", summary.ready).into(),
        reason.into(),
        restarts.into(),
        since(text(pod, "metadata.creationTimestamp"), now).into(),
        or_none(address).into(),
        or_none(text(pod, "spec.nodeName")).into(),
        or_none(text(pod, "status.nominatedNodeName")).into(),
        readiness_gates(pod).into(),
    ]
}

/// What the row of a pod that has ended says.
pub(super) fn condition(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(pod, "status.phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!({"type": "Completed", "status": "True", "reason": reason, "message": message}))
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "restartPolicy") == "Always"
}

/// The word for what the pod does, and what its containers add up to. A pod that still initialises is described by its
/// first unfinished init container, any other by its first container with something to say.
fn summarise(pod: &Value) -> (String, Summary<'_>) {
    let phase = text(pod, "status.phase");
    let mut reason = [text(pod, "status.reason"), phase].into_iter().find(|it| !it.is_empty()).unwrap_or("").to_owned();
    let conditions = items(pod, "status.conditions");
    let gated = |it: &Value| text(it, "type") == "PodScheduled" && text(it, "reason") == "SchedulingGated";
    if conditions.iter().any(gated) {
        "SchedulingGated".clone_into(&mut reason);
    }

    let mut summary = Summary::default();
    let mut sidecars = Summary::default();
    let unfinished = initialising(pod, &mut summary, &mut sidecars);
    if let Some(word) = &unfinished {
        reason.clone_from(word);
    }
    if unfinished.is_none() || has_condition(conditions, "Initialized") {
        summary = Summary { ready: summary.ready, ..sidecars };
        let mut running = false;
        for status in items(pod, "status.containerStatuses").iter().rev() {
            summary.count(status);
            if let Some(word) = said_by(status) {
                reason = word;
            } else if at(status, "ready") == true && !at(status, "state.running").is_null() {
                running = true;
                summary.ready += 1;
            }
        }
        if reason == "Completed" && running {
            (if has_condition(conditions, "Ready") { "Running" } else { "NotReady" }).clone_into(&mut reason);
        }
    }

    if !at(pod, "metadata.deletionTimestamp").is_null() {
        if text(pod, "status.reason") == "NodeLost" {
            "Unknown".clone_into(&mut reason);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut reason);
        }
    }
    (reason, summary)
}

/// Counts the init containers up to the first that is not done, and says what that one does.
fn initialising<'a>(pod: &'a Value, all: &mut Summary<'a>, sidecars: &mut Summary<'a>) -> Option<String> {
    let specs = items(pod, "spec.initContainers");
    for (index, status) in items(pod, "status.initContainerStatuses").iter().enumerate() {
        // The statuses are in the order of the containers, except while a status is being built by hand.
        let name = text(status, "name");
        let sidecar = specs
            .get(index)
            .filter(|it| text(it, "name") == name)
            .or_else(|| specs.iter().find(|it| text(it, "name") == name))
            .is_some_and(is_sidecar);
        all.count(status);
        if sidecar {
            sidecars.count(status);
        }
        let terminated = at(status, "state.terminated");
        if !terminated.is_null() && number(terminated, "exitCode") == 0 {
            continue;
        }
        if sidecar && at(status, "started") == true {
            all.ready += usize::from(at(status, "ready") == true);
            continue;
        }
        let waiting = text(status, "state.waiting.reason");
        return Some(if !terminated.is_null() {
            format!("Init:{}", ended(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", specs.len())
        });
    }
    None
}

/// What a container that does not run has to say.
fn said_by(status: &Value) -> Option<String> {
    let waiting = text(status, "state.waiting.reason");
    if !waiting.is_empty() {
        return Some(waiting.to_owned());
    }
    let terminated = at(status, "state.terminated");
    (!terminated.is_null()).then(|| ended(terminated))
}

/// Why a container ended: its reason, else its signal, else its exit code.
fn ended(terminated: &Value) -> String {
    let reason = text(terminated, "reason");
    if !reason.is_empty() {
        return reason.to_owned();
    }
    match number(terminated, "signal") {
        0 => format!("ExitCode:{}", number(terminated, "exitCode")),
        signal => format!("Signal:{signal}"),
    }
}

fn has_condition(conditions: &[Value], of: &str) -> bool {
    conditions.iter().any(|it| text(it, "type") == of && text(it, "status") == "True")
}

fn readiness_gates(pod: &Value) -> String {
    let gates = items(pod, "spec.readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let conditions = items(pod, "status.conditions");
    let open = gates.iter().filter(|it| has_condition(conditions, text(it, "conditionType"))).count();
    format!("{open}/{}", gates.len())
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { NONE } else { text }
}
