//! The texts of the events of a resize (reference §4.6).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Serialize;

use crate::allocate::{Impossible, Shortage};

/// An event to be recorded on a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResizeEvent {
    /// `Normal` or `Warning`.
    pub type_: &'static str,
    /// Stable reason.
    pub reason: &'static str,
    /// Words and a JSON object.
    pub message: String,
}

/// The size at hand in an event, in the order the reference prints its fields.
#[derive(Serialize)]
struct Size<'a> {
    #[serde(rename = "initContainers", skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Named<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Named<'a>>,
    generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    resources: Listed<'a>,
}

#[derive(Serialize)]
struct Listed<'a> {
    #[serde(skip_serializing_if = "empty")]
    limits: Option<&'a BTreeMap<String, Quantity>>,
    #[serde(skip_serializing_if = "empty")]
    requests: Option<&'a BTreeMap<String, Quantity>>,
}

fn empty(list: &Option<&BTreeMap<String, Quantity>>) -> bool {
    list.is_none_or(BTreeMap::is_empty)
}

/// A desired size was allocated; `pod` has the desired resources.
#[must_use]
pub fn started(pod: &Pod, generation: i64) -> ResizeEvent {
    event("Normal", "ResizeStarted", format!("Pod resize started: {}", size(pod, generation, None)))
}

/// Allocated is in force; `pod` has the allocated resources, `generation` is the condition's.
#[must_use]
pub fn completed(pod: &Pod, generation: i64) -> ResizeEvent {
    event("Normal", "ResizeCompleted", format!("Pod resize completed: {}", size(pod, generation, None)))
}

/// It does not fit now; `pod` has the desired resources.
#[must_use]
pub fn deferred(pod: &Pod, generation: i64, shortage: &Shortage) -> ResizeEvent {
    let size = size(pod, generation, Some(&shortage.to_string()));
    event("Warning", "ResizeDeferred", format!("Pod resize {}: {size}", shortage.reason()))
}

/// It cannot be on this node; `pod` has the desired resources.
#[must_use]
pub fn infeasible(pod: &Pod, generation: i64, why: Impossible) -> ResizeEvent {
    let size = size(pod, generation, Some(&why.to_string()));
    event("Warning", "ResizeInfeasible", format!("Pod resize Infeasible: {size}"))
}

/// An attempt to actuate failed; `pod` has the allocated resources, `generation` is the condition's.
#[must_use]
pub fn error(pod: &Pod, generation: i64, error: &str) -> ResizeEvent {
    event("Warning", "ResizeError", format!("Pod resize error: {}", size(pod, generation, Some(error))))
}

/// A container is stopped because its resize policy asks for a restart.
#[must_use]
pub fn killing(container: &str) -> ResizeEvent {
    event("Normal", "Killing", crate::actuate::restart_message(container))
}

fn event(type_: &'static str, reason: &'static str, message: String) -> ResizeEvent {
    ResizeEvent { type_, reason, message }
}

/// The JSON object of an event. Pod-level resources are not in it.
fn size(pod: &Pod, generation: i64, error: Option<&str>) -> String {
    let spec = pod.spec.as_ref();
    let size = Size {
        init_containers: spec.and_then(|it| it.init_containers.as_ref()).into_iter().flatten().map(named).collect(),
        containers: spec.into_iter().flat_map(|it| it.containers.iter()).map(named).collect(),
        generation,
        error,
    };
    serde_json::to_string(&size).expect("strings, lists and integers always have a JSON form")
}

fn named(container: &Container) -> Named<'_> {
    let resources = container.resources.as_ref();
    let list =
        |of: fn(&ResourceRequirements) -> &Option<BTreeMap<String, Quantity>>| resources.and_then(|it| of(it).as_ref());
    Named {
        name: &container.name,
        resources: Listed { limits: list(|it| &it.limits), requests: list(|it| &it.requests) },
    }
}
