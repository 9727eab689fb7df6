//! Sizes for a pod that is being created, as a JSON patch of its resources, and of an annotation with what it would have had. Pure. What
//! they are is decided by `decide::create`; here is only how they are written. Of what would make a pod that the server refuses nothing is written all the same: a pod with its own
//! sizes is better than none.
//!
//! Where a webhook after ours changes the pod, we are asked once more about what we have sized already. It is judged by the sizes that it
//! came with, as the first time: judged by those we gave it, it would take a second step from the first one.
//!
//! ```text
//!   pod ─▶ as its owner made it (less our own note of it) ─▶ decide ─▶ sizes ─▶ what differs from the pod as it is
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use supple_api::names::SIZED_AT_CREATION;
use supple_decide::note::SizedAtCreation;
use supple_decide::numbers::{Numbers, sizes_of};
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::qos;

use super::knowledge::Knowledge;
use super::review::{Question, Verdict};

/// A note older than this is none of the pod's own: its template is a copy of a pod that was sized once. A request has a minute to be
/// answered, and the clocks of two replicas have another to differ.
const LATELY: SignedDuration = SignedDuration::from_mins(2);

const EACH: [(Resource, Requirement, &str, &str); 4] = [
    (Resource::Cpu, Requirement::Request, "requests", "cpu"),
    (Resource::Cpu, Requirement::Limit, "limits", "cpu"),
    (Resource::Memory, Requirement::Request, "requests", "memory"),
    (Resource::Memory, Requirement::Limit, "limits", "memory"),
];

/// A container of the pod, and what it asks for.
struct Part {
    list: &'static str,
    index: usize,
    name: String,
    /// As the pod is now.
    now: Numbers,
    /// As its owner made it.
    own: Numbers,
    /// As it is to be.
    next: Numbers,
}

impl Part {
    /// Its resources among those of a pod that has them as they are now.
    fn write(&self, object: &mut Value, next: Numbers) -> Option<Value> {
        let container = object.pointer_mut(&format!("/spec/{}/{}", self.list, self.index))?;
        let resources = written(container.get("resources"), self.now, next);
        container["resources"] = resources.clone();
        Some(resources)
    }
}

/// Judge a question about a new pod.
pub fn judge(question: &Question, knowledge: &dyn Knowledge, now: Timestamp) -> Verdict {
    let Some(pod) = &question.pod else { return Verdict::passes() };
    let noted = SizedAtCreation::read(&pod.metadata);
    let mut parts = parts(question, pod, noted.as_ref().filter(|it| now.duration_since(it.at).abs() <= LATELY));
    let Some(own) = with(question, pod, &parts, |it| it.own) else { return Verdict::passes() };
    let Some(sizing) = knowledge.sizes(&question.namespace, &own, now) else { return Verdict::passes() };
    for part in &mut parts {
        let wanted = sizing.containers.get(&*part.name).map_or(part.own, |it| it.or(&part.own));
        part.next = if is_possible(&wanted) { wanted } else { part.own };
    }
    if !with(question, pod, &parts, |it| it.next).is_some_and(|it| qos::compute(&it) == qos::compute(&own)) {
        parts.iter_mut().for_each(|it| it.next = it.own);
    }
    let mut object = question.object.clone();
    let (mut patch, mut told) = (Vec::new(), Vec::new());
    let mut note = SizedAtCreation { at: now, before: BTreeMap::new(), after: BTreeMap::new() };
    for part in &parts {
        let Part { list, index, name, now, own, next } = part;
        if next != now
            && let Some(resources) = part.write(&mut object, *next)
        {
            patch.push(json!({"op": "add", "path": format!("/spec/{list}/{index}/resources"), "value": resources}));
            told.push(format!("{name}: {}", shown(*next)));
        }
        if next != own {
            note.before.insert(name.clone(), own.beyond(next));
            note.after.insert(name.clone(), next.beyond(own));
        }
    }
    let is_noted =
        noted.as_ref().map_or(note.after.is_empty(), |it| it.before == note.before && it.after == note.after);
    if !is_noted {
        patch.extend(annotation(&object, &note));
    }
    let audit = match told.as_slice() {
        [] => ("kept", format!("{}: {}: {}", sizing.of, sizing.code, sizing.why)),
        told => ("sized", format!("{} from {}", told.join("; "), sizing.of)),
    };
    Verdict { patch, audit: vec![audit], ..Verdict::passes() }
}

/// The containers of the pod, with the sizes that its owner gave them: where ours are still there, those of the note beside them. Whose
/// sizes have been changed since has been given them by somebody who comes after us.
fn parts(question: &Question, pod: &Pod, note: Option<&SizedAtCreation>) -> Vec<Part> {
    let mut parts = Vec::new();
    for list in ["initContainers", "containers"] {
        let containers = question.object.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let Some(name) = container.get("name").and_then(Value::as_str) else { continue };
            let now = Numbers::of(&sizes_of(pod, name));
            let ours = note.and_then(|it| Some((it.before.get(name)?, Numbers::of(it.after.get(name)?))));
            let ours = ours.filter(|(_, after)| after.or(&now) == now);
            let own = ours.map_or(now, |(before, after)| restored(now, &Numbers::of(before), &after));
            parts.push(Part { list, index, name: name.to_owned(), now, own, next: own });
        }
    }
    parts
}

/// What was there before the numbers that `after` names were set.
fn restored(mut numbers: Numbers, before: &Numbers, after: &Numbers) -> Numbers {
    for (resource, requirement, ..) in EACH {
        if after.get(resource, requirement).is_some() {
            numbers.set(resource, requirement, before.get(resource, requirement));
        }
    }
    numbers
}

/// The pod with these numbers in the place of those that it has.
fn with<'a>(
    question: &Question,
    pod: &'a Pod,
    parts: &[Part],
    numbers: impl Fn(&Part) -> Numbers,
) -> Option<Cow<'a, Pod>> {
    if parts.iter().all(|it| numbers(it) == it.now) {
        return Some(Cow::Borrowed(pod));
    }
    let mut object = question.object.clone();
    for part in parts.iter().filter(|it| numbers(it) != it.now) {
        part.write(&mut object, numbers(part))?;
    }
    Pod::deserialize(&object).ok().map(Cow::Owned)
}

/// The operation that leaves the note on the pod, or takes off one that is not true of it.
fn annotation(object: &Value, note: &SizedAtCreation) -> Option<Value> {
    let text = serde_json::to_string(note).ok()?;
    let list = "/metadata/annotations";
    let path = format!("{list}/{}", SIZED_AT_CREATION.replace('/', "~1"));
    Some(match object.pointer(list) {
        _ if note.after.is_empty() => {
            object.pointer(&path)?;
            json!({"op": "remove", "path": path})
        }
        Some(Value::Object(_)) => json!({"op": "add", "path": path, "value": text}),
        _ => json!({"op": "add", "path": list, "value": {(SIZED_AT_CREATION): text}}),
    })
}

/// Whether the server takes them: nothing of nothing, and no request above its limit.
fn is_possible(numbers: &Numbers) -> bool {
    let Numbers { cpu_request, cpu_limit, memory_request, memory_limit } = numbers;
    let positive = cpu_request.is_none_or(|it| it.0 > 0) && memory_request.is_none_or(|it| it.0 > 0);
    let above = cpu_request.zip(*cpu_limit).is_some_and(|(request, limit)| request > limit)
        || memory_request.zip(*memory_limit).is_some_and(|(request, limit)| request > limit);
    positive && !above
}

/// The resources, in which the numbers of `now` stand, with those of `next`. What is in both is not written anew, in our rounding.
fn written(resources: Option<&Value>, now: Numbers, next: Numbers) -> Value {
    let sizes = next.beyond(&now);
    let mut resources = resources.and_then(Value::as_object).cloned().unwrap_or_default();
    for (resource, requirement, list, name) in EACH {
        if let Some(amount) = sizes.get(resource, requirement) {
            let list = resources.entry(list).or_insert_with(|| Value::Object(Map::new()));
            if !list.is_object() {
                *list = Value::Object(Map::new());
            }
            list[name] = amount.to_string().into();
        } else if next.get(resource, requirement).is_none()
            && let Some(Value::Object(list)) = resources.get_mut(list)
        {
            list.remove(name);
        }
    }
    resources.into()
}

fn shown(numbers: Numbers) -> String {
    let Numbers { cpu_request, cpu_limit, memory_request, memory_limit } = numbers;
    let cpu = supple_decide::numbers::pair(cpu_request, cpu_limit).map(|it| format!("cpu {it}"));
    let memory = supple_decide::numbers::pair(memory_request, memory_limit).map(|it| format!("memory {it}"));
    [cpu, memory].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
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
        asked_of(&Known(wanted), object, 0)
    }

    /// And after so many seconds, of whom this is known.
    fn asked_of(knowledge: &dyn Knowledge, object: &Value, seconds: i64) -> Verdict {
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
        judge(&question, knowledge, Timestamp::from_second(seconds).unwrap())
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
        assert_eq!(sized.audit, [("sized", "c: cpu 500m:500m, memory 1Gi:1Gi from deployment/web".to_owned())]);
    }
    /// A loop that takes a step of so many percent from whatever sizes the pods have that it is shown.
    struct Steps {
        cpu: i64,
        memory: i64,
    }

    impl Knowledge for Steps {
        fn used(&self, _: &str, _: &str) -> Uses {
            Uses::default()
        }

        fn approval(&self, _: &str, _: &Pod) -> Approval {
            Approval::NotNeeded
        }

        fn sizes(&self, _: &str, pod: &Pod, _: Timestamp) -> Option<Sizing> {
            let step = |container: &k8s_openapi::api::core::v1::Container| {
                let mut numbers = Numbers::read(container.resources.as_ref());
                for (resource, requirement, ..) in EACH {
                    let percent = if resource == Resource::Cpu { self.cpu } else { self.memory };
                    let stepped = numbers.get(resource, requirement).map(|it| it * percent / 100);
                    numbers.set(resource, requirement, stepped);
                }
                (Arc::from(&*container.name), numbers)
            };
            let containers = pod.spec.as_ref()?.containers.iter().map(step).collect();
            Some(Sizing { containers, of: "deployment/web".to_owned(), code: Code::Resize, why: String::new() })
        }
    }

    /// The pod as the answer makes it.
    fn after(object: &Value, verdict: Verdict) -> Value {
        let mut object = object.clone();
        let patch: json_patch::Patch = serde_json::from_value(verdict.patch.into()).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
        object
    }

    fn note(object: &Value) -> Option<SizedAtCreation> {
        SizedAtCreation::read(&serde_json::from_value::<Pod>(object.clone()).unwrap().metadata)
    }

    /// A pod without its note.
    fn bare(object: &Value) -> Value {
        let mut object = object.clone();
        object["metadata"].as_object_mut().unwrap().remove("annotations");
        object
    }

    fn web(cpu: &str) -> Value {
        json!({"metadata": {"generateName": "web-"}, "spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]}})
    }

    const HALF: Steps = Steps { cpu: 50, memory: 100 };

    #[test]
    fn one_that_was_sized_and_changed_by_another_is_judged_by_its_own_sizes() {
        let first = after(&web("2"), asked_of(&HALF, &web("2"), 0));
        let mut injected = first.clone();
        let sidecar = json!({"name": "proxy", "resources": {"requests": {"cpu": "100m"}}});
        injected["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
        let second = after(&injected, asked_of(&HALF, &injected, 10));
        assert_eq!(second["spec"]["containers"][0], first["spec"]["containers"][0], "it is the same step");
        assert_eq!(second["spec"]["containers"][1]["resources"]["requests"]["cpu"], "50m");
        let before = serde_json::to_value(note(&second).unwrap().before).unwrap();
        assert_eq!(before, json!({"c": {"cpuRequest": "2"}, "proxy": {"cpuRequest": "100m"}}));

        // Who sets sizes after us has the last word about where that container begins, and it is no longer ours.
        let mut set = first.clone();
        set["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "600m".into();
        let second = after(&set, asked_of(&HALF, &set, 10));
        assert_eq!(second["spec"]["containers"][0]["resources"]["requests"]["cpu"], "300m");
        assert_eq!(note(&second).unwrap().before["c"].cpu_request, "600m".parse().ok());
    }

    #[test]
    fn what_is_to_be_given_no_more_is_taken_back_with_its_note() {
        let first = after(&web("2"), asked_of(&HALF, &web("2"), 0));
        let none = Steps { cpu: 100, memory: 100 };
        let second = asked_of(&none, &first, 10);
        assert_eq!(bare(&after(&first, second.clone())), web("2"));
        assert_eq!(note(&after(&first, second)), None);
    }

    #[test]
    fn the_note_of_a_pod_that_a_template_was_copied_from_says_nothing_of_this_one() {
        let live = after(&web("2"), asked_of(&HALF, &web("2"), 0));
        let copied = after(&live, asked_of(&HALF, &live, 3600));
        assert_eq!(copied["spec"]["containers"][0]["resources"]["requests"]["cpu"], "500m");
        assert_eq!(note(&copied).unwrap().before["c"].cpu_request, "1".parse().ok());
        // Nor where nothing is given: else what it speaks of would be put back on the day that we are removed.
        let kept = asked_of(&Steps { cpu: 100, memory: 100 }, &live, 3600);
        assert_eq!(kept.audit[0].0, "kept");
        assert_eq!((bare(&after(&live, kept.clone())), note(&after(&live, kept))), (web("1"), None));
    }

    /// The resources of a container that names any of the four numbers.
    fn container() -> impl Strategy<Value = Value> {
        let number = || prop::option::of(1_i64..400);
        (number(), number(), number(), number()).prop_map(|(cpu, more_cpu, memory, more_memory)| {
            let mut resources = json!({"requests": {}, "limits": {}});
            for (name, unit, request, more) in [("cpu", "0m", cpu, more_cpu), ("memory", "Mi", memory, more_memory)] {
                if let Some(request) = request {
                    resources["requests"][name] = format!("{request}{unit}").into();
                }
                if let Some(more) = more {
                    resources["limits"][name] = format!("{}{unit}", request.unwrap_or(0) + more).into();
                }
            }
            resources
        })
    }

    fn pod_of(containers: &[Value]) -> Value {
        let named = containers.iter().enumerate();
        let containers: Vec<Value> =
            named.map(|(index, it)| json!({"name": format!("c{index}"), "resources": it})).collect();
        json!({"metadata": {"generateName": "web-"}, "spec": {"containers": containers}})
    }

    proptest! {
        /// Asked again, it changes nothing; and whatever container another has added, all come out as if it had been there at once.
        #[test]
        fn asked_again_is_asked_once(
            own in prop::collection::vec(container(), 1..4),
            added in prop::collection::vec(container(), 0..2),
            cpu in 30_i64..200,
            memory in 30_i64..200,
        ) {
            let steps = Steps { cpu, memory };
            let first = after(&pod_of(&own), asked_of(&steps, &pod_of(&own), 0));
            prop_assert_eq!(asked_of(&steps, &first, 30).patch, Vec::<Value>::new());

            let all = [&*own, &*added].concat();
            let at_once = after(&pod_of(&all), asked_of(&steps, &pod_of(&all), 0));
            let mut injected = first;
            let new = pod_of(&all)["spec"]["containers"].as_array().unwrap()[own.len()..].to_vec();
            injected["spec"]["containers"].as_array_mut().unwrap().extend(new);
            let second = after(&injected, asked_of(&steps, &injected, 30));
            let of = |it: &Value| {
                let pod: Pod = serde_json::from_value(it.clone()).unwrap();
                let names = (0..all.len()).map(|index| format!("c{index}"));
                names.map(|it| Numbers::of(&sizes_of(&pod, &it))).collect::<Vec<_>>()
            };
            prop_assert_eq!(of(&second), of(&at_once));
            let sizes = |it: &Value| note(it).map(|it| (it.before, it.after));
            prop_assert_eq!(sizes(&second), sizes(&at_once));
            prop_assert_eq!(asked_of(&steps, &second, 60).patch, Vec::<Value>::new());
        }
    }
}
