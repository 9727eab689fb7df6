//! What is another in the next state of a pod, as two small trees by which its owners are told: that of before and that of
//! now. What is the same in both says nothing of who owns it, and is left out; a pod as a whole would be a tree of hundreds
//! of nodes, of which a write changes a few.

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodStatus};
use serde_json::{Map, Value};
use supple_resize::status::fields::{has, is_same, member};

/// Before and now.
type Trees = (Value, Value);

/// Fields of a status that have one owner each, whatever is in them: of these only that they are others counts.
const WHOLE: [&str; 9] = [
    "containerStatuses",
    "ephemeralContainerStatuses",
    "hostIP",
    "initContainerStatuses",
    "message",
    "observedGeneration",
    "qosClass",
    "reason",
    "startTime",
];

/// What a resize may change. `None`: the containers are not the same ones.
pub(super) fn sizes(before: &Pod, now: &Pod) -> Option<Trees> {
    let (old, new) = (before.spec.as_ref()?, now.spec.as_ref()?);
    let (mut stored, mut made) = (Map::new(), Map::new());
    let (of_old, of_new) = containers(&old.containers, &new.containers)?;
    stored.insert("containers".to_owned(), of_old);
    made.insert("containers".to_owned(), of_new);
    if let (Some(old), Some(new)) = (&old.init_containers, &new.init_containers) {
        let (of_old, of_new) = containers(old, new)?;
        stored.insert("initContainers".to_owned(), of_old);
        made.insert("initContainers".to_owned(), of_new);
    }
    if old.resources != new.resources {
        for (tree, spec) in [(&mut stored, old), (&mut made, new)] {
            if let Some(resources) = &spec.resources {
                tree.insert("resources".to_owned(), serde_json::to_value(resources).ok()?);
            }
        }
    }
    Some((within("spec", stored), within("spec", made)))
}

/// An object with one member.
fn within(name: &str, fields: Map<String, Value>) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), Value::Object(fields))]))
}

/// The containers whose resources are others.
fn containers(old: &[Container], new: &[Container]) -> Option<Trees> {
    if old.len() != new.len() || old.iter().zip(new).any(|(old, new)| old.name != new.name) {
        return None;
    }
    let tree = |of: &Container| -> Option<Value> {
        let mut tree = Map::from_iter([("name".to_owned(), Value::from(of.name.as_str()))]);
        if let Some(resources) = &of.resources {
            tree.insert("resources".to_owned(), serde_json::to_value(resources).ok()?);
        }
        Some(Value::Object(tree))
    };
    let others = old.iter().zip(new).filter(|(old, new)| old.resources != new.resources);
    let trees = others.map(|(old, new)| Some((tree(old)?, tree(new)?))).collect::<Option<Vec<_>>>()?;
    let (stored, made): (Vec<_>, Vec<_>) = trees.into_iter().unzip();
    Some((stored.into(), made.into()))
}

/// These fields of the statuses.
pub(super) fn statuses(before: &Pod, now: &Pod, fields: &[&str]) -> Option<Trees> {
    let nothing = PodStatus::default();
    let (old, new) = (before.status.as_ref().unwrap_or(&nothing), now.status.as_ref().unwrap_or(&nothing));
    let (mut stored, mut made) = (Map::new(), Map::new());
    for name in fields {
        if is_same(name, old, new) {
            continue;
        }
        let (was, is) = match (*name, &old.conditions, &new.conditions) {
            ("conditions", Some(old), Some(new)) if are_told_apart(old) && are_told_apart(new) => {
                (Some(conditions(old, new, 0)), Some(conditions(new, old, 1)))
            }
            // Two numbers that are not the same stand for what would be compared as a whole.
            (name, ..) if WHOLE.contains(&name) => (has(name, old).then(|| 0.into()), has(name, new).then(|| 1.into())),
            (name, ..) => (member(name, old).ok()?, member(name, new).ok()?),
        };
        for (tree, value) in [(&mut stored, was), (&mut made, is)] {
            if let Some(value) = value {
                tree.insert((*name).to_owned(), value);
            }
        }
    }
    Some((within("status", stored), within("status", made)))
}

/// Whether each is of another type.
fn are_told_apart(conditions: &[PodCondition]) -> bool {
    conditions.iter().enumerate().all(|(at, one)| conditions[..at].iter().all(|other| other.type_ != one.type_))
}

/// Those of one status that are not the same in the other, and of these what is not: `side` stands for it, since each field
/// of a condition has one owner, whatever it says.
fn conditions(of: &[PodCondition], others: &[PodCondition], side: u8) -> Value {
    let each = of.iter().filter_map(|one| {
        let other = others.iter().find(|it| it.type_ == one.type_);
        (other != Some(one)).then(|| condition(one, other, side))
    });
    each.collect()
}

fn condition(one: &PodCondition, other: Option<&PodCondition>, side: u8) -> Value {
    let PodCondition { last_probe_time, last_transition_time, message, observed_generation, reason, status, type_ } =
        one;
    let mut tree = Map::from_iter([("type".to_owned(), Value::from(type_.as_str()))]);
    let is_same = |field: &dyn Fn(&PodCondition) -> bool| other.is_some_and(field);
    for (name, is_there, is_same) in [
        ("lastProbeTime", last_probe_time.is_some(), is_same(&|it| it.last_probe_time == *last_probe_time)),
        (
            "lastTransitionTime",
            last_transition_time.is_some(),
            is_same(&|it| it.last_transition_time == *last_transition_time),
        ),
        ("message", message.is_some(), is_same(&|it| it.message == *message)),
        (
            "observedGeneration",
            observed_generation.is_some(),
            is_same(&|it| it.observed_generation == *observed_generation),
        ),
        ("reason", reason.is_some(), is_same(&|it| it.reason == *reason)),
        ("status", true, is_same(&|it| it.status == *status)),
    ] {
        if is_there && !is_same {
            tree.insert(name.to_owned(), side.into());
        }
    }
    Value::Object(tree)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apply::{self, Comparison, Edit, Scope, Writer};
    use crate::kinds;

    fn compared((old, new): &Trees) -> Comparison {
        let shape = kinds::find("", "v1", "pods").unwrap().shape();
        let by = Writer { manager: "m", api_version: "v1", subresource: "" };
        apply::changes(Edit { shape, by, scope: Scope::All, now: "" }, Some(old), new)
    }

    /// The same is told by the small trees as by those of the whole pods.
    #[track_caller]
    fn check(old: Value, new: Value) {
        let pod = |value: &Value| serde_json::from_value::<Pod>(value.clone()).unwrap();
        let (before, now) = (pod(&old), pod(&new));
        let whole = (serde_json::to_value(&before).unwrap(), serde_json::to_value(&now).unwrap());
        let small = match old.get("status") {
            None => sizes(&before, &now).unwrap(),
            Some(_) => {
                let fields: Vec<&str> = ["allocatedResources", "conditions", "resources", "podIPs"].into();
                statuses(&before, &now, &[&fields[..], &WHOLE].concat()).unwrap()
            }
        };
        assert_eq!(compared(&small), compared(&whole), "{small:?}");
    }

    #[test]
    fn small_trees_tell_what_whole_ones_do() {
        let spec = |resources: Value| {
            json!({"spec": {"containers": [
                {"name": "a", "image": "i", "resources": resources}, {"name": "b", "resources": {"limits": {"cpu": "1"}}},
            ], "initContainers": [{"name": "c", "resources": resources}], "resources": resources}})
        };
        let limits = |cpu: &str| json!({"limits": {"cpu": cpu, "memory": "1Gi"}, "requests": {"cpu": "1"}});
        for (old, new) in [
            (limits("1"), limits("1")),
            (limits("1"), limits("2")),
            (Value::Null, limits("2")),
            (limits("1"), Value::Null),
            (json!({}), limits("2")),
            (limits("1"), json!({"limits": {"memory": "1Gi"}, "requests": {}})),
        ] {
            check(spec(old), spec(new));
        }
        let condition = |kind: &str, generation: i64| {
            json!({"type": kind, "status": "True", "observedGeneration": generation,
                   "lastTransitionTime": "2030-01-01T00:00:00Z"})
        };
        let container = |cpu: &str| {
            json!({"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                   "allocatedResources": {"cpu": cpu}})
        };
        let statuses = [
            json!({}),
            json!({"conditions": [condition("Ready", 1), condition("Other", 1)], "containerStatuses": [container("1")],
                   "allocatedResources": {"cpu": "1"}, "podIPs": [{"ip": "10.0.0.1"}], "message": "m"}),
            json!({"conditions": [condition("Other", 1), condition("Ready", 1)], "containerStatuses": [container("2")],
                   "resources": {"limits": {"cpu": "1"}}, "podIPs": [{"ip": "10.0.0.2"}], "message": "n"}),
            json!({"conditions": [condition("Ready", 2), condition("Third", 1)], "initContainerStatuses": [container("2")],
                   "allocatedResources": {"cpu": "2", "memory": "1"}, "observedGeneration": 2, "reason": "r"}),
            json!({"conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [],
                   "startTime": "2030-01-01T00:00:00Z", "hostIP": "10.0.0.9", "qosClass": "Burstable"}),
            json!({"conditions": [condition("Ready", 1), condition("Ready", 2)], "ephemeralContainerStatuses": [container("1")]}),
            json!({"conditions": []}),
        ];
        let status = |of: &Value| json!({"spec": {"containers": []}, "status": of});
        for old in &statuses {
            for new in &statuses {
                check(status(old), status(new));
            }
        }
    }
}
