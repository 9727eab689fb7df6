//! Facts say of a pod what the pod itself says: a forecast for the pod made again from its facts is the forecast for the
//! real one, and the sums in integers are the sums of the rules.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "decide/times.rs"]
mod times;

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use k8s_openapi::api::core::v1::{LimitRange, Node, Pod, ResourceQuota};
use supple_decide::facts::{NodeFacts, PodFacts};
use supple_decide::key::WorkloadKey;
use supple_decide::numbers::Numbers;
use supple_quantity::{Bytes, MilliCpu};
use supple_resize::allocate::{Allocation, held};
use supple_resize::amounts::{effective, pod_level};
use supple_resize::defaults;
use supple_resize::predict::{Change, NamespaceSight, NodeSight, predict};

use times::times;

fn workload() -> WorkloadKey {
    WorkloadKey { namespace: "shop".into(), kind: "Deployment".into(), name: "web".into() }
}

/// A pod as a cluster has it: much beside what a resize reads, and a status that may lag behind.
fn pods() -> impl Strategy<Value = Pod> {
    let amount = || prop::option::weighted(0.7, 1_i64..8);
    let numbers = (amount(), amount(), amount(), amount());
    let container = (
        numbers.clone(),
        prop::option::of(0_i64..3),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.9),
    );
    let shape = (1_usize..4, 0_usize..3, prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    let rest = (
        prop::option::weighted(0.2, numbers),
        prop::bool::weighted(0.1),
        prop::sample::select(vec!["", "", "", "Deferred", "Infeasible", "Error"]),
        prop::option::weighted(0.1, prop::sample::select(vec!["mirror", "windows", "claims"])),
        prop::bool::weighted(0.2),
    );
    (prop::collection::vec(container, 6), shape, rest).prop_map(|(containers, (regular, init, overhead, never), rest)| {
        let (level, deadline, condition, fixed, class) = rest;
        let resources = |(cpu, cpu_limit, memory, memory_limit): (Option<i64>, Option<i64>, Option<i64>, Option<i64>)| {
            let mut requests = serde_json::Map::new();
            let mut limits = serde_json::Map::new();
            for (name, unit, request, limit) in [("cpu", "00m", cpu, cpu_limit), ("memory", "00Mi", memory, memory_limit)] {
                if let Some(limit) = limit {
                    limits.insert(name.into(), json!(format!("{limit}{unit}")));
                }
                if let Some(request) = request {
                    let request = limit.map_or(request, |it| request.min(it));
                    requests.insert(name.into(), json!(format!("{request}{unit}")));
                }
            }
            json!({"requests": requests, "limits": limits})
        };
        let make = |index: usize, kind: &str| {
            let (numbers, step, restarts, storage, device, _) = containers[index];
            let mut own = resources(numbers);
            if storage {
                own["requests"]["ephemeral-storage"] = json!("1Gi");
            }
            if device {
                own["requests"]["example.com/gpu"] = json!("1");
                own["limits"]["example.com/gpu"] = json!("1");
            }
            let restarts = restarts && kind != "init" && !never;
            let _ = step;
            json!({
                "name": format!("{kind}-{index}"), "image": "registry/it:1", "resources": own,
                "restartPolicy": (kind == "sidecar").then_some("Always"),
                "env": [{"name": "A", "value": "b"}],
                "resizePolicy": restarts.then(|| json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}])),
            })
        };
        let kind = |index: usize| if containers[index].1 == Some(0) { "sidecar" } else { "init" };
        let inits: Vec<Value> = (0..init).map(|it| make(it, kind(it))).collect();
        let regulars: Vec<Value> = (0..regular).map(|it| make(3 + it, "c")).collect();
        let mut spec = json!({
            "containers": regulars, "initContainers": inits, "nodeName": "n1", "serviceAccountName": "default",
            "restartPolicy": if never { "Never" } else { "Always" },
            "priorityClassName": class.then_some("high"),
        });
        if overhead {
            spec["overhead"] = json!({"cpu": "100m", "memory": "64Mi"});
        }
        if let Some(level) = level {
            spec["resources"] = resources((level.0.map(|it| it + 20), level.1.map(|it| it + 30), level.2.map(|it| it + 20), level.3.map(|it| it + 30)));
        }
        if deadline {
            spec["activeDeadlineSeconds"] = json!(600);
        }
        let mut annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}", "supple.dev/mode": "in-place"});
        match fixed {
            Some("mirror") => annotations["kubernetes.io/config.mirror"] = json!("x"),
            Some("windows") => spec["os"] = json!({"name": "windows"}),
            _ => {}
        }
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "u1", "generation": 3, "annotations": annotations,
                "labels": {"pod-template-hash": "abc", "app": "web"}},
            "spec": spec,
        }))
        .unwrap();
        defaults::apply(&mut pod);
        // The status: some containers run, some have been promised or have something else than the spec says.
        let status_of = |container: &k8s_openapi::api::core::v1::Container, index: usize| {
            let (numbers, step, _, _, _, runs) = containers[index];
            let own = container.resources.clone().unwrap_or_default();
            let shown = match step {
                Some(1) => resources(numbers),
                _ => serde_json::to_value(&own).unwrap(),
            };
            let state = if runs { json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}) } else { json!({"waiting": {"reason": "CrashLoopBackOff"}}) };
            let allocated = shown["requests"].clone();
            json!({"name": container.name, "image": "x", "imageID": "y", "ready": runs, "restartCount": 1, "state": state,
                "resources": runs.then_some(shown), "allocatedResources": allocated})
        };
        let spec = pod.spec.clone().unwrap();
        let regular: Vec<Value> = spec.containers.iter().enumerate().map(|(index, it)| status_of(it, 3 + index)).collect();
        let init: Vec<Value> = spec.init_containers.iter().flatten().enumerate().map(|(index, it)| status_of(it, index)).collect();
        let conditions = match condition {
            "" => json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]),
            "Error" => json!([{"type": "PodResizeInProgress", "status": "True", "reason": "Error", "message": "why", "observedGeneration": 3}]),
            reason => json!([{"type": "PodResizePending", "status": "True", "reason": reason, "message": "why", "observedGeneration": 3}]),
        };
        let claims = (fixed == Some("claims")).then(|| json!([{"resourceClaimName": "c", "containers": ["c-3"], "resources": {}}]));
        pod.status = Some(
            serde_json::from_value(json!({
                "phase": "Running", "qosClass": supple_resize::qos::compute(&pod).as_str(), "conditions": conditions,
                "containerStatuses": regular, "initContainerStatuses": init, "podIP": "10.0.0.1",
                "nodeAllocatableResourceClaimStatuses": claims,
            }))
            .unwrap(),
        );
        pod
    })
}

fn changes(pod: &Pod, picks: &[(i64, i64, i64, i64)]) -> Change {
    let names = supple_resize::amounts::containers(pod).map(|it| it.name.clone());
    let some = |amount: i64, unit: i64| (amount > 0).then_some(amount * unit);
    let containers = names.zip(picks).map(|(name, &(cpu, cpu_limit, memory, memory_limit))| {
        let sizes = Numbers {
            cpu_request: some(cpu, 100).map(MilliCpu),
            cpu_limit: some(cpu_limit, 100).map(MilliCpu),
            memory_request: some(memory, 100 << 20).map(Bytes),
            memory_limit: some(memory_limit, 100 << 20).map(Bytes),
        };
        (name, sizes.beyond(&Numbers::default()))
    });
    Change { containers: containers.collect(), pod: Default::default() }
}

fn node() -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}},
        "status": {"allocatable": {"cpu": "3", "memory": "3Gi", "pods": "110"}, "images": [{"names": ["x"]}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "MemoryPressure", "status": "False"}],
            "declaredFeatures": ["InPlacePodVerticalScalingInitContainers"]},
    }))
    .unwrap()
}

fn namespace() -> NamespaceSight {
    let range: LimitRange = serde_json::from_value(json!({
        "metadata": {"name": "range"},
        "spec": {"limits": [
            {"type": "Container", "max": {"cpu": "700m"}, "default": {"cpu": "600m"}, "defaultRequest": {"cpu": "100m"}},
            {"type": "Pod", "maxLimitRequestRatio": {"memory": "3"}},
        ]},
    }))
    .unwrap();
    let quota = |name: &str, more: Value| -> ResourceQuota {
        let mut spec = json!({"hard": {"requests.cpu": "2"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let status = json!({"hard": {"requests.cpu": "2"}, "used": {"requests.cpu": "1500m"}});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec, "status": status})).unwrap()
    };
    let high = json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}});
    let ending = json!({"scopes": ["Terminating"]});
    NamespaceSight { limit_ranges: vec![range], quotas: vec![quota("high", high), quota("ending", ending)] }
}

proptest! {
    #![proptest_config(times(400))]

    #[test]
    fn a_pod_made_again_is_judged_like_the_real_one(
        pod in pods(),
        picks in prop::collection::vec((0_i64..8, 0_i64..9, 0_i64..8, 0_i64..9), 6),
        (bare, full) in (any::<bool>(), any::<bool>()),
    ) {
        let facts = PodFacts::of(&pod, workload());
        let again = facts.to_pod();
        let change = changes(&pod, &picks);
        let namespace = if bare { NamespaceSight::default() } else { namespace() };
        let node = node();
        let sight = if full { NodeSight::from_api(&node, []) } else { NodeSight::default() };
        let slim = NodeSight::from_api(&NodeFacts::of(&node).object(), []);
        let slim = if full { slim } else { NodeSight::default() };
        let real = predict(&pod, &change, &sight, &namespace, None);
        let made = predict(&again, &change, &slim, &namespace, None);
        prop_assert_eq!(real.obstacle.as_ref().map(|it| it.reason), made.obstacle.as_ref().map(|it| it.reason), "{:?} {:?}", real.obstacle, made.obstacle);
        prop_assert_eq!(real.change, made.change);
        prop_assert_eq!(real.restarts, made.restarts);
        prop_assert_eq!(real.cgroups, made.cgroups);
    }

    #[test]
    fn sums_in_integers_are_those_of_the_rules(pod in pods()) {
        let facts = PodFacts::of(&pod, workload());
        let of_spec = effective(&pod, pod_level(&pod), |it| supple_resize::amounts::Amounts::of(it.resources.as_ref()));
        prop_assert_eq!(facts.desired(), of_spec);
        let reported = Allocation::reported(&pod);
        prop_assert_eq!(facts.promised(), reported.requests(&pod));
        let holds = held(&pod, &reported);
        prop_assert_eq!((facts.held().cpu_request, facts.held().memory_request), (holds.cpu_request, holds.memory_request));
        prop_assert_eq!(PodFacts::of(&facts.to_pod(), workload()).held(), facts.held());
    }
}

#[test]
fn a_pod_says_since_when_it_is_taken_away() {
    let check = |metadata: serde_json::Value, status: serde_json::Value, expect: Option<&str>| {
        let mut pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "app"}]}, "status": status});
        pod["metadata"]["name"] = json!("p");
        let facts = PodFacts::of(&serde_json::from_value(pod).unwrap(), workload());
        assert_eq!(facts.leaving.map(|it| it.to_string()).as_deref(), expect, "{metadata} {status}");
    };
    let at = |time: &str, kind: &str, value: &str| json!({"type": kind, "status": value, "lastTransitionTime": time});
    let (one, two, three) = ("2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z");
    let target = |value: &str| json!({"conditions": [at(one, "DisruptionTarget", value)]});
    check(json!({}), json!({"phase": "Running", "conditions": [at(one, "Ready", "False")]}), None);
    check(json!({"deletionTimestamp": three, "deletionGracePeriodSeconds": 20}), json!({}), Some(two));
    check(json!({"deletionTimestamp": three}), json!({}), Some(three));
    check(json!({"deletionTimestamp": three, "deletionGracePeriodSeconds": i64::MIN}), json!({}), Some(three));
    check(json!({"deletionTimestamp": three, "deletionGracePeriodSeconds": i64::MAX}), json!({}), Some(three));
    check(json!({"deletionTimestamp": three, "deletionGracePeriodSeconds": 20}), target("True"), Some(one));
    check(json!({}), target("False"), None);
    // Ended as a whole: by a deadline, or by its node.
    let failed = |reason: &str| json!({"phase": "Failed", "reason": reason, "conditions": [at(two, "Ready", "False")]});
    check(json!({}), failed("DeadlineExceeded"), Some(two));
    check(json!({}), failed(""), None);
}

#[test]
fn an_eviction_says_what_each_container_used_of_the_memory_its_node_was_short_of() {
    let check = |message: &str, expect: &[(&str, i64)]| {
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"containers": [{"name": "app"}]},
            "status": {"phase": "Failed", "reason": "Evicted", "message": message}});
        let facts = PodFacts::of(&serde_json::from_value(pod).unwrap(), workload());
        let used = facts.evicted.unwrap();
        let used: Vec<(&str, i64)> = used.iter().map(|(name, it)| (&**name, it.0 >> 20)).collect();
        assert_eq!(used, expect, "{message}");
    };
    let low = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 91244Ki. ";
    let app = "Container app was using 1843Mi, request is 256Mi, has larger consumption of memory. ";
    let side = "Container side was using 1Gi, request is 0, has larger consumption of memory. ";
    check(&format!("{low}{app}"), &[("app", 1843)]);
    check(&format!("{low}{app}{side}"), &[("app", 1843), ("side", 1024)]);
    check(low, &[]);
    check(&format!("{low}{app}").replace("memory", "ephemeral-storage"), &[]);
    check("Container a was using much, request is 0, has larger consumption of memory. Container ", &[]);
    check("Pod was terminated in response to imminent node shutdown.", &[]);
}

/// What is kept of a pod beside what it has in common with others of its workload, everything on the heap included, as an
/// allocator without headers has it.
fn footprint(facts: &PodFacts) -> usize {
    use std::mem::size_of;
    let heap = |bytes: usize| bytes.div_ceil(16) * 16;
    let shared = |bytes: usize| heap(bytes + 2 * size_of::<usize>());
    let mut total = heap(size_of::<PodFacts>());
    total += shared(size_of::<supple_decide::key::PodName>());
    total += shared(facts.key.name.len()) + shared(facts.key.uid.len());
    total += heap(facts.containers.capacity() * size_of::<supple_decide::facts::ContainerFacts>());
    total += facts.note.iter().map(|it| heap(size_of_val(&**it))).sum::<usize>();
    // Its place in the map, which is two thirds full.
    total + (size_of::<supple_decide::key::PodKey>() + size_of::<Box<PodFacts>>()) * 3 / 2
}

#[test]
fn twenty_thousand_pods_fit_in_twelve_megabytes() {
    let container = |name: &str| {
        json!({"name": name, "image": "registry.example/shop/web:1.2.3",
            "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "500m", "memory": "1Gi"}}})
    };
    let one_of = |name: &str, uid: &str, second: i64| {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": uid,
                "generation": 2, "labels": {"pod-template-hash": "7d4b9c6f5d"}, "annotations": {"supple.dev/owner": "shop"}},
            "spec": {"nodeName": "ip-10-0-113-27.ec2.internal", "containers": [container("web"), container("istio-proxy")]},
        }))
        .unwrap();
        let change = changes(&pod, &[(3, 6, 6, 8), (3, 6, 6, 8)]);
        let at = jiff::Timestamp::from_second(second).unwrap();
        let note = supple_decide::note::LastResize::of(&pod, &change, supple_decide::note::Author::Controller, at);
        let note = (supple_decide::names::LAST_RESIZE.to_owned(), serde_json::to_string(&note).unwrap());
        pod.metadata.annotations.get_or_insert_default().extend([note]);
        PodFacts::of(&pod, workload())
    };
    let first = one_of("web-7d4b9c6f5d-x2x4z", "b6e5a1de-0f44-4f7b-9f0a-5d1f5f8d5c11", 1000);
    let mut facts = one_of("web-7d4b9c6f5d-6kq9p", "0d0c7c9e-64c4-4ad2-8f6c-3a6b8d2b9a57", 2000);
    let before = facts.clone();
    facts.share(&first);
    assert_eq!(facts, before, "what it says is what it said");
    let common = Arc::ptr_eq(&facts.shape, &first.shape)
        && facts.containers.iter().zip(&first.containers).all(|(own, first)| Arc::ptr_eq(&own.shape, &first.shape))
        && Arc::ptr_eq(&facts.note.as_ref().unwrap().containers, &first.note.as_ref().unwrap().containers);
    let bytes = footprint(&facts);
    assert!(common && bytes <= 600, "{bytes} bytes a pod with two containers and a note");
    // A container that is resized goes its own way, and the other's says what it said.
    facts.containers[0].asked = Numbers::default();
    assert_ne!(facts, before);
    assert_eq!(first.containers[0].asked, before.containers[0].asked);
}

#[test]
fn of_two_words_of_a_name_the_label_holds() {
    let meta = json!({"labels": {"supple.dev/mode": "recommend", "app": "web"},
        "annotations": {"supple.dev/mode": "in-place", "supple.dev/paused": "true"}});
    let words = supple_decide::extract::words(&serde_json::from_value(meta).unwrap());
    let words: Vec<(&str, &str)> = words.iter().map(|(name, it)| (name.as_str(), it.as_str())).collect();
    assert_eq!(words, [("supple.dev/mode", "recommend"), ("supple.dev/paused", "true")]);
}

proptest! {
    #![proptest_config(times(64))]

    #[test]
    fn a_node_without_a_pod_is_the_node_with_all_others(pods in prop::collection::vec(pods(), 1..5)) {
        let sight = NodeSight::from_api(&node(), &pods).without(&pods[0]);
        prop_assert_eq!(sight.others, NodeSight::from_api(&node(), &pods[1..]).others);
    }
}
