//! Sizes for a pod that is being created, as a JSON patch of its resources, and of an annotation with what it would have had. Pure. What
//! they are is decided by `decide::create`; here is only how they are written. Of what would make a pod that the server refuses nothing is written all the same: a pod with its own
//! sizes is better than none.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use supple_api::names::SIZED_AT_CREATION;
use supple_decide::note::SizedAtCreation;
use supple_decide::numbers::{Numbers, sizes_of};
use supple_resize::qos;

use super::knowledge::Knowledge;
use super::review::{Question, Verdict};

/// Judge a question about a new pod.
pub fn judge(question: &Question, knowledge: &dyn Knowledge, now: Timestamp) -> Verdict {
    let Some(pod) = &question.pod else { return Verdict::passes() };
    let Some(sizing) = knowledge.sizes(&question.namespace, pod, now) else { return Verdict::passes() };
    let wanted: BTreeMap<&str, Numbers> = sizing.containers.iter().map(|(name, it)| (name.as_ref(), *it)).collect();
    let mut object = question.object.clone();
    let (mut patch, mut told) = (Vec::new(), Vec::new());
    let mut note = SizedAtCreation { at: now, before: BTreeMap::new(), after: BTreeMap::new() };
    for list in ["initContainers", "containers"] {
        let containers = object.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let Some(name) = container.get("name").and_then(Value::as_str).map(str::to_owned) else { continue };
            let Some(wanted) = wanted.get(name.as_str()) else { continue };
            let before = Numbers::of(&sizes_of(pod, &name));
            let Some((resources, after)) = resources(container.get("resources"), before, *wanted) else { continue };
            patch.push(json!({"op": "add", "path": format!("/spec/{list}/{index}/resources"), "value": resources}));
            told.push(format!("{name}: {}", shown(*wanted)));
            container["resources"] = resources;
            note.before.insert(name.clone(), before.beyond(&after));
            note.after.insert(name, after.beyond(&before));
        }
    }
    let same_class = Pod::deserialize(&object).is_ok_and(|sized| qos::compute(&sized) == qos::compute(pod));
    if patch.is_empty() || !same_class {
        let audit = vec![("kept", format!("{}: {}: {}", sizing.of, sizing.code, sizing.why))];
        return Verdict { audit, ..Verdict::passes() };
    }
    patch.extend(annotation(&object, &note));
    let audit = vec![("sized", format!("{} from {}", told.join("; "), sizing.of))];
    Verdict { patch, audit, ..Verdict::passes() }
}

/// The operation that leaves the note on the pod.
fn annotation(object: &Value, note: &SizedAtCreation) -> Option<Value> {
    let text = serde_json::to_string(note).ok()?;
    let list = "/metadata/annotations";
    Some(match object.pointer(list) {
        Some(Value::Object(_)) => {
            let path = format!("{list}/{}", SIZED_AT_CREATION.replace('/', "~1"));
            json!({"op": "add", "path": path, "value": text})
        }
        _ => json!({"op": "add", "path": list, "value": {(SIZED_AT_CREATION): text}}),
    })
}

/// The resources with the wanted numbers, and which it then has; `None` where nothing changes, or a request would be above its limit.
fn resources(now: Option<&Value>, before: Numbers, wanted: Numbers) -> Option<(Value, Numbers)> {
    let after = Numbers {
        cpu_request: wanted.cpu_request.or(before.cpu_request),
        cpu_limit: wanted.cpu_limit.or(before.cpu_limit),
        memory_request: wanted.memory_request.or(before.memory_request),
        memory_limit: wanted.memory_limit.or(before.memory_limit),
    };
    let positive = after.cpu_request.is_none_or(|it| it.0 > 0) && after.memory_request.is_none_or(|it| it.0 > 0);
    let above = after.cpu_request.zip(after.cpu_limit).is_some_and(|(request, limit)| request > limit)
        || after.memory_request.zip(after.memory_limit).is_some_and(|(request, limit)| request > limit);
    if after == before || above || !positive {
        return None;
    }
    let sizes = after.beyond(&before);
    let mut resources = now.and_then(Value::as_object).cloned().unwrap_or_default();
    let mut set = |list: &str, resource: &str, amount: Option<&supple_quantity::Quantity>| {
        if let Some(amount) = amount {
            let list = resources.entry(list).or_insert_with(|| Value::Object(Map::new()));
            if !list.is_object() {
                *list = Value::Object(Map::new());
            }
            list[resource] = amount.to_string().into();
        }
    };
    set("requests", "cpu", sizes.cpu_request.as_ref());
    set("requests", "memory", sizes.memory_request.as_ref());
    set("limits", "cpu", sizes.cpu_limit.as_ref());
    set("limits", "memory", sizes.memory_limit.as_ref());
    Some((resources.into(), after))
}

fn shown(numbers: Numbers) -> String {
    let Numbers { cpu_request, cpu_limit, memory_request, memory_limit } = numbers;
    let cpu = supple_decide::numbers::pair(cpu_request, cpu_limit).map(|it| format!("cpu {it}"));
    let memory = supple_decide::numbers::pair(memory_request, memory_limit).map(|it| format!("memory {it}"));
    [cpu, memory].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use supple_decide::code::Code;
    use supple_decide::need::Uses;
    use supple_quantity::{Bytes, MilliCpu};

    use super::super::knowledge::{Approval, Sizing};
    use super::*;

    struct Known(Option<Numbers>);

    impl Knowledge for Known {
        fn used(&self, _: &str, _: &str) -> Uses {
            Uses::default()
        }

        fn approval(&self, _: &str, _: &Pod) -> Approval {
            Approval::NotNeeded
        }

        fn sizes(&self, _: &str, _: &Pod, _: Timestamp) -> Option<Sizing> {
            let numbers = self.0?;
            let (of, why) = ("deployment/web".to_owned(), String::new());
            Some(Sizing { containers: [("c".into(), numbers)].into(), of, code: Code::Resize, why })
        }
    }

    fn numbers(cpu: (i64, i64), memory: (i64, i64)) -> Option<Numbers> {
        let some = |it: i64| (it > 0).then_some(it);
        Some(Numbers {
            cpu_request: some(cpu.0).map(MilliCpu),
            cpu_limit: some(cpu.1).map(MilliCpu),
            memory_request: some(memory.0).map(|it| Bytes(it << 20)),
            memory_limit: some(memory.1).map(|it| Bytes(it << 20)),
        })
    }

    /// What is answered when this pod is created, where each container is to have these sizes.
    fn asked(object: &Value, wanted: Option<Numbers>) -> Verdict {
        let question = Question {
            uid: "u".to_owned(),
            namespace: "d".to_owned(),
            name: String::new(),
            operation: "CREATE".to_owned(),
            subresource: String::new(),
            pod: serde_json::from_value(object.clone()).ok(),
            object: object.clone(),
            old: None,
        };
        judge(&question, &Known(wanted), Timestamp::UNIX_EPOCH)
    }

    /// What becomes of these resources of the second container.
    #[track_caller]
    fn check(resources: &Value, wanted: Option<Numbers>, expect: Option<Value>) {
        let object = json!({"metadata": {"generateName": "web-"}, "spec": {"containers": [
            {"name": "other", "resources": {"requests": {"cpu": "1"}}}, {"name": "c", "resources": resources}]}});
        let verdict = asked(&object, wanted);
        let expect = expect.map(|it| json!({"op": "add", "path": "/spec/containers/1/resources", "value": it}));
        assert_eq!(verdict.patch.first(), expect.as_ref(), "{verdict:?}");
        assert!(verdict.refused.is_none());
    }

    #[test]
    fn what_is_wanted_is_set_and_the_rest_is_kept() {
        let own = json!({"requests": {"cpu": "2", "memory": "1Gi", "example.com/gpu": "1"}, "claims": []});
        let sized = json!({"requests": {"cpu": "250m", "memory": "300Mi", "example.com/gpu": "1"}, "claims": []});
        check(&own, numbers((250, 0), (300, 0)), Some(sized));
        check(&own, numbers((2000, 0), (1024, 0)), None);
        check(&own, None, None);
        let limited = json!({"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}});
        let sized = json!({"requests": {"cpu": "100m"}, "limits": {"memory": "512Mi"}});
        check(&limited, numbers((100, 0), (0, 512)), Some(sized));
    }

    #[test]
    fn what_the_pod_would_have_had_is_noted_beside_whatever_else_is() {
        for (annotations, path) in [
            (json!({"annotations": {"a": "b"}}), "/metadata/annotations/supple.dev~1sized-at-creation"),
            (json!({}), "/metadata/annotations"),
        ] {
            let mut object = json!({"metadata": annotations, "spec": {"containers": [
                {"name": "c", "resources": {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}}]}});
            let verdict = asked(&object, numbers((250, 0), (300, 1024)));
            assert_eq!(verdict.patch[1]["path"], path);
            let patch: json_patch::Patch = serde_json::from_value(verdict.patch.into()).unwrap();
            json_patch::patch(&mut object, &patch).unwrap();
            let sized: Pod = serde_json::from_value(object.clone()).unwrap();
            let note = SizedAtCreation::read(&sized.metadata).unwrap();
            assert_eq!(
                serde_json::to_value(&note).unwrap(),
                json!({"at": "1970-01-01T00:00:00Z",
                "before": {"c": {"cpuRequest": "2", "memoryRequest": "1Gi"}},
                "after": {"c": {"cpuRequest": "250m", "memoryRequest": "300Mi"}}})
            );
            assert!(supple_decide::extract::words(&sized.metadata).is_empty(), "nobody has said anything by it");
            assert!(asked(&object, numbers((250, 0), (300, 0))).patch.is_empty());
        }
    }

    #[test]
    fn what_the_server_would_refuse_is_left() {
        check(&json!({"limits": {"memory": "100Mi"}}), numbers((0, 0), (200, 0)), None);
        check(&Value::Null, numbers((100, 50), (0, 0)), None);
    }

    #[test]
    fn the_class_is_kept() {
        let object = json!({"spec": {"containers": [{"name": "c", "resources": {
            "requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}}]}});
        let ask = |wanted| asked(&object, wanted);
        let kept = ask(numbers((500, 0), (0, 0)));
        assert_eq!((kept.patch.len(), kept.audit[0].0), (0, "kept"));
        let sized = ask(numbers((500, 500), (0, 0)));
        assert_eq!(sized.audit, [("sized", "c: cpu 500m:500m from deployment/web".to_owned())]);
    }
}
