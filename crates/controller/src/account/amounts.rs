//! Amounts in the JSON of an account: as Kubernetes writes them, with their units.

use serde::Serializer;
use serde::ser::Serialize as _;
use serde_json::{Map, Value, json};
use supple_decide::need::{Need, Use, Wanted};
use supple_decide::numbers::Numbers;
use supple_decide::record::{Done, Record, TooSmall};
use supple_recommend::explain::{Account as Reasoning, Explanation};

pub(super) fn numbers<S: Serializer>(it: &Numbers, serializer: S) -> Result<S::Ok, S::Error> {
    sizes(it).serialize(serializer)
}

fn sizes(it: &Numbers) -> Value {
    json!({
        "cpuRequest": text(it.cpu_request.as_ref()), "cpuLimit": text(it.cpu_limit.as_ref()),
        "memoryRequest": text(it.memory_request.as_ref()), "memoryLimit": text(it.memory_limit.as_ref()),
    })
}

pub(super) fn record<S: Serializer>(it: &Record, serializer: S) -> Result<S::Ok, S::Error> {
    let originals: Map<String, Value> = it.originals.iter().map(|(name, it)| (name.to_string(), sizes(it))).collect();
    let done = |it: &Done| {
        let containers = it.containers.iter();
        let containers: Map<String, Value> = containers
            .map(|(name, (before, after))| (name.to_string(), json!({"before": sizes(before), "after": sizes(after)})))
            .collect();
        json!({"at": it.at, "pod": it.pod, "containers": containers, "code": it.code, "message": it.message})
    };
    let too_small =
        |it: &TooSmall| json!({"container": it.container, "size": sizes(&it.size), "at": it.at, "code": it.code});
    json!({
        "originals": originals, "last": it.last.iter().map(done).collect::<Vec<_>>(),
        "tooSmall": it.too_small.iter().map(too_small).collect::<Vec<_>>(), "setbacks": it.setbacks,
        "notBefore": it.not_before, "incidentsUntil": it.incidents_until, "noRoomSince": it.no_room_since,
        "recreated": it.recreated.as_ref().map(|it| {
            let sizes = it.sizes.iter().map(|(name, (next, full))| (name.to_string(), json!({"next": self::sizes(next), "full": self::sizes(full)})));
            json!({"at": it.at, "containers": sizes.collect::<Map<String, Value>>(), "otherwise": it.otherwise})
        }),
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
            "memoryPressurePermille": it.memory_pressure_permille,
            "cpuPressurePermille": it.cpu_pressure_permille, "throttledPermille": it.throttled_permille,
        })
    });
    used.serialize(serializer)
}

/// The recommender's own numbers keep their fractions, so that their units stand in their names.
pub(super) fn explanation<S: Serializer>(it: &Option<Explanation>, serializer: S) -> Result<S::Ok, S::Error> {
    let one = |it: Reasoning, unit: &str| {
        let mut out = Map::new();
        out.insert("rule".to_owned(), json!(it.rule));
        out.insert("way".to_owned(), json!(it.way));
        for (name, value) in [("average", it.average), ("peak", it.peak), ("plan", it.plan)] {
            out.insert(format!("{name}{unit}"), json!(value));
        }
        // In hours of mean use.
        for (name, value) in
            [("slack", it.slack), ("price", it.price), ("costOfPlan", it.cost.0), ("costOfStaying", it.cost.1)]
        {
            out.insert(format!("{name}HoursOfUse"), json!(value));
        }
        out.insert("overShare".to_owned(), json!(it.over));
        out.insert("hours".to_owned(), json!(it.hours));
        let climb = it.climb.map(|it| json!({"bytesPerHour": it.per_hour, "hoursToLimit": it.hours_to_limit}));
        out.insert("climb".to_owned(), json!(climb));
        out.insert("killedHoursAgo".to_owned(), json!(it.killed_hours_ago));
        out.insert("changedHoursAgo".to_owned(), json!(it.changed_hours_ago));
        out
    };
    let of = |it: &Explanation| json!({"cpu": it.cpu.map(|it| one(it, "Millicores")), "memory": it.memory.map(|it| one(it, "Bytes"))});
    it.as_ref().map(of).serialize(serializer)
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
