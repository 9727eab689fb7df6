//! Columns and cells of the kinds. Titles, order and priorities are those of Kubernetes v1.36.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::age::{UNKNOWN, since};
use super::{Column, Printer, pod_row};
use crate::tree::{at, items, number, text};

const META: &str = "apimachinery.pkg.apis.meta.v1.ObjectMeta";
const POD_SPEC: &str = "api.core.v1.PodSpec";
const POD_STATUS: &str = "api.core.v1.PodStatus";
const SYSTEM_INFO: &str = "api.core.v1.NodeSystemInfo";
const NODE_STATUS: &str = "api.core.v1.NodeStatus";
const EVENT: &str = "api.core.v1.Event";
const PRIORITY_CLASS: &str = "api.scheduling.v1.PriorityClass";

pub(crate) const NAME: Column = Column::of("Name", META, "name").formatted("name");
pub(super) const AGE: Column = Column::of("Age", META, "creationTimestamp");
/// The age of a custom resource, which its row gives as a moment ago.
pub(crate) const AGE_OF_CUSTOM: Column = AGE.holding("date");

/// Kinds whose row is a name and an age.
pub static NAME_AND_AGE: Printer =
    Printer { columns: &[NAME, AGE], cells: |it, now| vec![name(it), age(it, now)], condition: None };

/// Kinds without a printer in the reference: a name and the moment of creation.
pub static NAME_AND_CREATION: Printer = Printer {
    columns: &[NAME, Column::of("Created At", META, "creationTimestamp").holding("date")],
    cells: |it, _| vec![name(it), text(it, "metadata.creationTimestamp").into()],
    condition: None,
};

/// Pods.
pub static PODS: Printer = Printer {
    columns: &[
        NAME,
        Column::saying("Ready", "The aggregate readiness state of this pod for accepting traffic."),
        Column::saying("Status", "The aggregate status of the containers in this pod."),
        Column::saying(
            "Restarts",
            "The number of times the containers in this pod have been restarted and when the last container in this pod \
             has restarted.",
        ),
        AGE,
        Column::of("IP", POD_STATUS, "podIP").wide(),
        Column::of("Node", POD_SPEC, "nodeName").wide(),
        Column::of("Nominated Node", POD_STATUS, "nominatedNodeName").wide(),
        Column::of("Readiness Gates", POD_SPEC, "readinessGates").wide(),
    ],
    cells: pod_row::cells,
    condition: Some(pod_row::condition),
};

/// Nodes.
pub static NODES: Printer = Printer {
    columns: &[
        NAME,
        Column::saying("Status", "The status of the node"),
        Column::saying("Roles", "The roles of the node"),
        AGE,
        Column::of("Version", SYSTEM_INFO, "kubeletVersion"),
        Column::of("Internal-IP", NODE_STATUS, "addresses").wide(),
        Column::of("External-IP", NODE_STATUS, "addresses").wide(),
        Column::of("OS-Image", SYSTEM_INFO, "osImage").wide(),
        Column::of("Kernel-Version", SYSTEM_INFO, "kernelVersion").wide(),
        Column::of("Container-Runtime", SYSTEM_INFO, "containerRuntimeVersion").wide(),
    ],
    cells: node_cells,
    condition: None,
};

/// Namespaces.
pub static NAMESPACES: Printer = Printer {
    columns: &[NAME, Column::saying("Status", "The status of the namespace"), AGE],
    cells: |it, now| vec![name(it), text(it, "status.phase").into(), age(it, now)],
    condition: None,
};

/// Events, in the form of either version.
pub static EVENTS: Printer = Printer {
    columns: &[
        Column::of("Last Seen", EVENT, "lastTimestamp"),
        Column::of("Type", EVENT, "type"),
        Column::of("Reason", EVENT, "reason"),
        Column::of("Object", EVENT, "involvedObject"),
        Column::of("Subobject", "api.core.v1.ObjectReference", "fieldPath").wide(),
        Column::of("Source", EVENT, "source").wide(),
        Column::of("Message", EVENT, "message"),
        Column::of("First Seen", EVENT, "firstTimestamp").wide(),
        Column::of("Count", EVENT, "count").wide(),
        NAME.wide(),
    ],
    cells: event_cells,
    condition: None,
};

/// Resource quotas.
pub static RESOURCE_QUOTAS: Printer = Printer {
    columns: &[
        NAME,
        Column::saying("Request", "Request represents a minimum amount of cpu/memory that a container may consume."),
        Column::saying(
            "Limit",
            "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the \
             node.",
        ),
        AGE,
    ],
    cells: |it, now| {
        let (limits, requests): (Vec<_>, Vec<_>) = quota_entries(it).partition(|(name, _)| name.starts_with("limits."));
        let join = |entries: Vec<(&str, String)>| entries.into_iter().map(|(_, it)| it).collect::<Vec<_>>().join(", ");
        vec![name(it), join(requests).into(), join(limits).into(), age(it, now)]
    },
    condition: None,
};

/// Config maps.
pub static CONFIG_MAPS: Printer = Printer {
    columns: &[NAME, Column::of("Data", "api.core.v1.ConfigMap", "data"), AGE],
    cells: |it, now| vec![name(it), (entries(it, "data") + entries(it, "binaryData")).into(), age(it, now)],
    condition: None,
};

/// Secrets.
pub static SECRETS: Printer = Printer {
    columns: &[
        NAME,
        Column::of("Type", "api.core.v1.Secret", "type"),
        Column::of("Data", "api.core.v1.Secret", "data"),
        AGE,
    ],
    cells: |it, now| vec![name(it), text(it, "type").into(), entries(it, "data").into(), age(it, now)],
    condition: None,
};

/// Leases.
pub static LEASES: Printer = Printer {
    columns: &[NAME, Column::of("Holder", "api.coordination.v1.LeaseSpec", "holderIdentity"), AGE],
    cells: |it, now| vec![name(it), text(it, "spec.holderIdentity").into(), age(it, now)],
    condition: None,
};

/// Priority classes.
pub static PRIORITY_CLASSES: Printer = Printer {
    columns: &[
        NAME,
        Column::of("Value", PRIORITY_CLASS, "value").holding("integer"),
        Column::of("Global-Default", PRIORITY_CLASS, "globalDefault").holding("boolean"),
        AGE,
        Column::of("PreemptionPolicy", PRIORITY_CLASS, "preemptionPolicy"),
    ],
    cells: |it, now| {
        vec![
            name(it),
            number(it, "value").into(),
            (at(it, "globalDefault") == true).into(),
            age(it, now),
            text(it, "preemptionPolicy").into(),
        ]
    },
    condition: None,
};

const CPU: Column = Column::saying("cpu", "CPU in use, averaged over the window.").formatted("quantity");
const MEMORY: Column =
    Column::saying("memory", "Memory in use that cannot be given back at once.").formatted("quantity");
const WINDOW: Column = Column::saying("Window", "How long CPU was measured for.").formatted("duration");

/// Usage of nodes.
pub static NODE_METRICS: Printer = Printer {
    columns: &[NAME, CPU, MEMORY, WINDOW],
    cells: |it, _| {
        vec![name(it), text(it, "usage.cpu").into(), text(it, "usage.memory").into(), text(it, "window").into()]
    },
    condition: None,
};

/// Usage of pods: the sum of their containers.
pub static POD_METRICS: Printer = Printer {
    columns: &[NAME, CPU, MEMORY, WINDOW],
    cells: |it, _| {
        let sum = |resource: &str| -> Value {
            let amounts = items(it, "containers").iter().map(|it| text(it, resource));
            let parsed = amounts.filter_map(|it| it.parse::<supple_quantity::Quantity>().ok());
            let mut sum = supple_quantity::Quantity::default();
            parsed.for_each(|amount| sum += &amount);
            sum.to_string().into()
        };
        vec![name(it), sum("usage.cpu"), sum("usage.memory"), text(it, "window").into()]
    },
    condition: None,
};

pub(super) fn name(object: &Value) -> Value {
    text(object, "metadata.name").into()
}

pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    since(text(object, "metadata.creationTimestamp"), now).into()
}

fn entries(object: &Value, map: &str) -> usize {
    at(object, map).as_object().map_or(0, serde_json::Map::len)
}

fn node_cells(node: &Value, now: Timestamp) -> Vec<Value> {
    let mut status = match items(node, "status.conditions").iter().find(|it| text(it, "type") == "Ready") {
        Some(ready) if text(ready, "status") == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if at(node, "spec.unschedulable") == true {
        status.push_str(",SchedulingDisabled");
    }
    let address = |kind: &str| -> Value {
        let found = items(node, "status.addresses").iter().find(|it| text(it, "type") == kind);
        found.map_or("<none>", |it| text(it, "address")).into()
    };
    let info = |field: &str| -> Value {
        let text = text(at(node, "status.nodeInfo"), field);
        (if text.is_empty() { UNKNOWN } else { text }).into()
    };
    vec![
        name(node),
        status.into(),
        node_roles(node).into(),
        age(node, now),
        text(node, "status.nodeInfo.kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn node_roles(node: &Value) -> String {
    let labels = at(node, "metadata.labels").as_object();
    let roles: BTreeSet<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}

fn event_cells(event: &Value, now: Timestamp) -> Vec<Value> {
    // `events.k8s.io` has the same fields under other names.
    let either = |core: &str, events: &str| {
        let value = at(event, core);
        if value.is_null() { at(event, events) } else { value }
    };
    let words = |core: &str, events: &str| either(core, events).as_str().unwrap_or_default();
    let seen = |timestamp: &str| (!timestamp.is_empty()).then(|| since(timestamp, now));

    let first = seen(words("firstTimestamp", "deprecatedFirstTimestamp"))
        .or_else(|| seen(text(event, "eventTime")))
        .unwrap_or_else(|| UNKNOWN.to_owned());
    let series = at(event, "series");
    let (last, count) = if series.is_null() {
        let last = seen(words("lastTimestamp", "deprecatedLastTimestamp")).unwrap_or_else(|| first.clone());
        (last, either("count", "deprecatedCount").as_i64().filter(|it| *it != 0).unwrap_or(1))
    } else {
        (since(text(series, "lastObservedTime"), now), number(series, "count"))
    };

    let about = either("involvedObject", "regarding");
    let kind = text(about, "kind").to_lowercase();
    let object = match text(about, "name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let source = either("source", "deprecatedSource");
    let or =
        |preferred: &'_ str, other: &'_ str| if preferred.is_empty() { other.to_owned() } else { preferred.to_owned() };
    let mut reporter = or(text(source, "component"), words("reportingComponent", "reportingController"));
    let instance = or(text(source, "host"), text(event, "reportingInstance"));
    if !instance.is_empty() {
        reporter = format!("{reporter}, {instance}");
    }
    vec![
        last.into(),
        text(event, "type").into(),
        text(event, "reason").into(),
        object.into(),
        text(about, "fieldPath").into(),
        reporter.into(),
        words("message", "note").trim().into(),
        first.into(),
        count.into(),
        name(event),
    ]
}

/// `name: used/hard` for each resource of a quota, by name.
fn quota_entries(quota: &Value) -> impl Iterator<Item = (&str, String)> {
    let used = at(quota, "status.used");
    at(quota, "status.hard").as_object().into_iter().flatten().map(move |(resource, hard)| {
        let used = used.get(resource).and_then(Value::as_str).unwrap_or("0");
        let hard = hard.as_str().unwrap_or("0");
        (resource.as_str(), format!("{resource}: {used}/{hard}"))
    })
}
