//! What came of a resize: for a person one line, for a program one object.

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use supple_resize::amounts::containers;
use supple_resize::predict::{Change, Sizes};

use crate::reason::Reason;
use supple_decide::numbers::{pair, sizes_of};
use supple_decide::progress::container_status;

/// What came of a resize.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// The stable code.
    pub reason: Reason,
    /// The sentence.
    pub message: String,
    /// The containers that were to change.
    pub containers: Vec<ContainerOutcome>,
    /// What was seen before the request was sent: the prediction's warnings, and what it had to do without.
    pub notes: Vec<String>,
}

/// One container of an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerOutcome {
    /// Its name.
    pub name: String,
    /// What it asked for before.
    pub before: Sizes,
    /// What it asks for now, or would.
    pub after: Sizes,
    /// How often it had been restarted before.
    pub restarts_before: i32,
    /// How often it has been restarted now.
    pub restarts_after: i32,
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// What happened to each container that was to change, from the pod before and the pod now.
pub(crate) fn compare(change: &Change, before: &Pod, after: &Pod) -> Vec<ContainerOutcome> {
    let restarts = |pod: &Pod, name: &str| container_status(pod, name).map_or(0, |it| it.restart_count);
    // In the order of the pod, not of the alphabet: people know their pods that way.
    containers(before)
        .filter(|it| change.containers.contains_key(&it.name))
        .map(|it| ContainerOutcome {
            name: it.name.clone(),
            before: sizes_of(before, &it.name),
            after: sizes_of(after, &it.name),
            restarts_before: restarts(before, &it.name),
            restarts_after: restarts(after, &it.name),
        })
        .collect()
}

/// `app: cpu 100m:200m → 250m:500m, memory 64Mi → 128Mi`, only what changed; containers joined by `; `.
pub(crate) fn in_words(containers: &[ContainerOutcome]) -> String {
    let words: Vec<String> = containers
        .iter()
        .map(|ContainerOutcome { name, before, after, .. }| {
            let mut parts = Vec::new();
            let step = |what: &str, old: Option<String>, new: Option<String>| {
                let old_text = old.clone().unwrap_or_else(|| "none".to_owned());
                (old != new).then(|| format!("{what} {old_text} → {}", new.unwrap_or_else(|| "none".to_owned())))
            };
            parts.extend(step(
                "cpu",
                pair(before.cpu_request.as_ref(), before.cpu_limit.as_ref()),
                pair(after.cpu_request.as_ref(), after.cpu_limit.as_ref()),
            ));
            parts.extend(step(
                "memory",
                pair(before.memory_request.as_ref(), before.memory_limit.as_ref()),
                pair(after.memory_request.as_ref(), after.memory_limit.as_ref()),
            ));
            format!("{name}: {}", parts.join(", "))
        })
        .collect();
    words.join("; ")
}

/// `no restart`, or which containers were restarted.
pub(crate) fn restarts_in_words(containers: &[ContainerOutcome]) -> String {
    let restarted: Vec<&str> =
        containers.iter().filter(|it| it.restarts_after > it.restarts_before).map(|it| it.name.as_str()).collect();
    match restarted.as_slice() {
        [] => "no restart".to_owned(),
        names => format!("restarted {}", names.join(", ")),
    }
}
