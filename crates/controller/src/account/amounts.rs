//! Amounts in the JSON of an account: as Kubernetes writes them, with their units.

use serde::Serializer;
use serde::ser::Serialize as _;
use serde_json::{Value, json};
use supple_decide::need::{Need, Use, Wanted};
use supple_decide::numbers::Numbers;

pub(super) fn numbers<S: Serializer>(it: &Numbers, serializer: S) -> Result<S::Ok, S::Error> {
    json!({
        "cpuRequest": text(it.cpu_request.as_ref()), "cpuLimit": text(it.cpu_limit.as_ref()),
        "memoryRequest": text(it.memory_request.as_ref()), "memoryLimit": text(it.memory_limit.as_ref()),
    })
    .serialize(serializer)
}

pub(super) fn need<S: Serializer>(it: &Option<Need>, serializer: S) -> Result<S::Ok, S::Error> {
    let need = it.as_ref().map(|it| {
        let (cpu, memory) = (it.cpu.as_ref().map(wanted), it.memory.as_ref().map(wanted));
        json!({"cpu": cpu, "memory": memory, "fresh": it.fresh, "hours": it.hours})
    });
    need.serialize(serializer)
}

pub(super) fn used<S: Serializer>(it: &Option<Use>, serializer: S) -> Result<S::Ok, S::Error> {
    let used = it.as_ref().map(|it| {
        json!({
            "at": it.at, "cpu": text(it.cpu.as_ref()), "memory": text(it.memory.as_ref()),
            "memoryPeak": text(it.memory_peak.as_ref()), "detailsAt": it.details_at,
            "memoryCharged": text(it.memory_charged.as_ref()), "swap": text(it.swap.as_ref()),
            "memoryPressurePermille": it.memory_pressure_permille, "throttledPermille": it.throttled_permille,
        })
    });
    used.serialize(serializer)
}

fn wanted<T: std::fmt::Display>(it: &Wanted<T>) -> Value {
    json!({
        "target": it.target.to_string(), "lower": it.lower.to_string(), "upper": it.upper.to_string(),
        "confidencePermille": it.confidence_permille, "rule": it.rule, "doubt": it.doubt, "urgent": it.urgent,
        "veto": it.veto,
    })
}

fn text<T: std::fmt::Display>(it: Option<&T>) -> Option<String> {
    it.map(ToString::to_string)
}
