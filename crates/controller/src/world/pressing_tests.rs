//! What is decided between rounds: memory that a kubelet sees running out.

use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use supple_decide::round::What;
use supple_quantity::Bytes;

use super::*;
use crate::rules::{Available, RuleNews};
use crate::source::Source;
use crate::view::News;
use kube::runtime::watcher;

const MIB: i64 = 1 << 20;

pub(super) fn at(second: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
}

fn of<K: DeserializeOwned>(value: Value) -> watcher::Event<K> {
    watcher::Event::Apply(serde_json::from_value(value).unwrap())
}

/// A bare pod that has run for a while on this node, with 100 MiB asked for and 200 MiB allowed.
pub(super) fn pod(name: &str, node: &str) -> News {
    pod_that_asks(name, node, "100Mi")
}

/// The same with another request of memory.
fn pod_that_asks(name: &str, node: &str, memory: &str) -> News {
    let resources = json!({"requests": {"cpu": "100m", "memory": memory}, "limits": {"memory": "200Mi"}});
    News::Pod(of(json!({
        "metadata": {"namespace": "shop", "name": name, "uid": name, "labels": {"supple.dev/mode": "in-place"}},
        "spec": {"nodeName": node, "containers": [{"name": "app", "resources": resources}]},
        "status": {
            "phase": "Running", "qosClass": "Burstable", "startTime": "2025-12-31T00:00:00Z",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-12-31T00:01:00Z"}],
            "containerStatuses": [{
                "name": "app", "ready": true, "restartCount": 0, "image": "i", "imageID": "i", "resources": resources,
                "allocatedResources": resources["requests"], "state": {"running": {"startedAt": "2025-12-31T00:00:30Z"}},
            }],
        },
    })))
}

fn node(name: &str) -> News {
    let room = json!({"cpu": "4", "memory": "16Gi", "pods": "110"});
    News::Node(of(json!({
        "metadata": {"name": name}, "spec": {},
        "status": {"allocatable": room, "capacity": room, "conditions": [{"type": "Ready", "status": "True"}]},
    })))
}

/// A world that leads and has read everything.
pub(super) fn world(pods: &[(&str, &str)]) -> World {
    world_that(pods, |_| ())
}

/// The same of one to which something is done at first.
pub(super) fn world_that(pods: &[(&str, &str)], first: impl FnOnce(&mut World)) -> World {
    let mut world = World::new(Settings::default());
    first(&mut world);
    let done = |news| Event::News(Box::new(news));
    world.apply(Event::Version(Some(36)), at(0));
    world.apply(Event::Rules(Box::new(RuleNews::Available(Available::default()))), at(0));
    for empty in [
        News::Pod(watcher::Event::InitDone),
        News::Node(watcher::Event::InitDone),
        News::Namespace(watcher::Event::InitDone),
        News::LimitRange(watcher::Event::InitDone),
        News::ResourceQuota(watcher::Event::InitDone),
        News::Deployment(watcher::Event::InitDone),
        News::StatefulSet(watcher::Event::InitDone),
        News::DaemonSet(watcher::Event::InitDone),
        News::Job(watcher::Event::InitDone),
        News::CronJob(watcher::Event::InitDone),
        News::Scaler(watcher::Event::InitDone),
        News::Budget(watcher::Event::InitDone),
    ] {
        world.apply(done(empty), at(0));
    }
    world.apply(done(News::Namespace(of(json!({"metadata": {"name": "shop"}})))), at(0));
    for (name, on) in pods {
        world.apply(done(node(on)), at(0));
        world.apply(done(pod(name, on)), at(0));
    }
    world.apply(Event::Leading(true), at(0));
    assert_eq!(world.missing(), Vec::<&str>::new());
    world
}

/// The same with three pods of one stateful set beside one that stands alone.
pub(super) fn three() -> World {
    let mut world = world(&[("other", "n1")]);
    for number in 0..3 {
        world.apply(Event::News(Box::new(News::Pod(watcher::Event::Apply(db(number))))), at(0));
    }
    world
}

/// One of them.
pub(super) fn db(number: usize) -> Pod {
    let News::Pod(watcher::Event::Apply(mut pod)) = pod(&format!("db-{number}"), "n1") else { panic!("it is one") };
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "db", "controller": true}]);
    pod.metadata.owner_references = serde_json::from_value(owner).unwrap();
    pod
}

fn used(mebibytes: i64, second: i64) -> Use {
    Use { cpu: Some(supple_quantity::MilliCpu(50)), memory: Some(Bytes(mebibytes * MIB)), ..Use::at(at(second)) }
}

pub(super) fn told(pod: &str, mebibytes: i64, second: i64) -> Event {
    told_that(pod, mebibytes, second, false)
}

/// A kubelet's word, and whether the limit was met since the one before.
fn told_that(pod: &str, mebibytes: i64, second: i64, met_limit: bool) -> Event {
    Event::Detailed(vec![Reading {
        namespace: "shop".into(),
        pod: pod.into(),
        container: "app".into(),
        source: Source::Kubelet,
        usage: used(mebibytes, second),
        oom_kills: None,
        met_limit,
    }])
}

/// Memory requests that effects ask for, MiB, by pod.
fn raised(effects: &[Effect]) -> Vec<(String, i64)> {
    let orders = effects.iter().filter_map(|it| match it {
        Effect::Carry(order) => Some(order),
        _ => None,
    });
    let resizes = orders.filter_map(|it| match &it.action.what {
        What::Resize(change) => {
            Some((it.action.pod.name.to_string(), change.containers["app"].memory_request.clone()?))
        }
        _ => None,
    });
    resizes.map(|(pod, memory)| (pod, Bytes::from(&memory).0 / MIB)).collect()
}

#[test]
fn a_kubelets_word_that_memory_runs_out_does_not_wait_for_a_round() {
    let mut world = world(&[("a", "n1"), ("b", "n1")]);
    for second in [10, 40, 70] {
        let effects = world.apply(told("a", 90, second), at(second));
        assert_eq!(raised(&effects), [], "nothing presses");
    }
    let effects = world.apply(told("a", 197, 100), at(100));
    let [(pod, memory)] = &raised(&effects)[..] else { panic!("one raise, not {effects:?}") };
    assert!(pod == "a" && *memory > 200, "{pod} {memory}");
    assert!(
        effects.iter().any(|it| matches!(it, Effect::Carry(order) if order.is_urgent())),
        "it is told how long it took"
    );
    // The same again while that is on its way presses no more.
    assert_eq!(raised(&world.apply(told("a", 197, 130), at(130))), []);
}

/// The pods that want of CPU raises at once, when a kubelet says so much of one that used half of its 100m for a day.
fn after_a_quiet_day(cpu: i64, throttled_permille: u16) -> Vec<String> {
    const DAY: i64 = 86_400;
    let mut world = world(&[("a", "n1")]);
    let mut tell = |second, cpu, throttled| {
        let usage = Use {
            cpu: Some(supple_quantity::MilliCpu(cpu)),
            throttled_permille: Some(throttled),
            details_at: Some(at(second)),
            ..used(60, second)
        };
        let reading = Reading {
            namespace: "shop".into(),
            pod: "a".into(),
            container: "app".into(),
            source: Source::Kubelet,
            usage,
            oom_kills: None,
            met_limit: false,
        };
        world.apply(Event::Detailed(vec![reading]), at(second))
    };
    for minute in 1..DAY / 60 {
        tell(minute * 60, 50, 0);
    }
    let effects = tell(DAY, cpu, throttled_permille);
    let orders = effects.iter().filter_map(|it| match it {
        Effect::Carry(order) if order.is_urgent() => Some(order.action.pod.name.to_string()),
        _ => None,
    });
    orders.collect()
}

#[test]
fn a_burst_of_cpu_that_nobody_foresaw_is_answered_at_once() {
    assert_eq!(after_a_quiet_day(100, 600), ["a"]);
    assert_eq!(after_a_quiet_day(100, 100), [""; 0], "it is not throttled much");
    assert_eq!(after_a_quiet_day(150, 0), [""; 0], "what the node has to spare is enough");
}

#[test]
fn a_limit_that_was_met_presses_where_it_is_not_page_cache_that_met_it() {
    let mut world = world(&[("a", "n1")]);
    world.apply(Event::News(Box::new(pod_that_asks("a", "n1", "200Mi"))), at(0));
    for second in [10, 40, 70] {
        assert_eq!(raised(&world.apply(told_that("a", 150, second, true), at(second))), [], "files fill any limit");
    }
    assert_eq!(raised(&world.apply(told("a", 185, 100), at(100))), [], "near, and not met");
    let effects = world.apply(told_that("a", 185, 130, true), at(130));
    let [(pod, memory)] = &raised(&effects)[..] else { panic!("one raise, not {effects:?}") };
    assert!(pod == "a" && *memory > 200, "{pod} {memory}");
}

#[test]
fn what_a_pod_used_when_its_node_threw_it_out_is_learned_once() {
    let mut world = world(&[("a", "n1")]);
    for minute in 1..60 {
        world.apply(told("a", 90, minute * 60), at(minute * 60));
    }
    let evicted = || {
        let News::Pod(watcher::Event::Apply(mut pod)) = pod("a", "n1") else { panic!("it is one") };
        let status = pod.status.as_mut().unwrap();
        status.phase = Some("Failed".to_owned());
        status.reason = Some("Evicted".to_owned());
        let message = "Container app was using 700Mi, request is 100Mi, has larger consumption of memory. ";
        status.message = Some(message.to_owned());
        Event::News(Box::new(News::Pod(watcher::Event::Apply(pod))))
    };
    let needs = |world: &mut World, second| {
        let facts = world.view.pod("shop", "a").unwrap().clone();
        let asked = |_: &str| Some((facts.key.clone(), facts.containers[0].asked));
        let needs = world.history.needs(&facts.workload, at(second), asked);
        needs.get("app").and_then(|it| it.memory.as_ref()).map_or(0, |it| it.target.0 / MIB)
    };
    assert!(needs(&mut world, 3600) < 300);
    let effects = world.apply(evicted(), at(3601));
    assert!(effects.iter().any(|it| matches!(it, Effect::Count(crate::source::incident::Incident::Evicted))));
    assert!(world.apply(evicted(), at(3603)).is_empty(), "it is told once");
    for minute in 61..130 {
        world.apply(told("a", 90, minute * 60), at(minute * 60));
    }
    let needed = needs(&mut world, 130 * 60);
    assert!(needed >= 700, "{needed}");
}

#[test]
fn kubelets_of_nodes_short_of_memory_are_asked_first_and_only_a_few() {
    let names: Vec<(String, String)> = (0..15).map(|it| (format!("p{it}"), format!("n{it:02}"))).collect();
    let pods: Vec<(&str, &str)> = names.iter().map(|(pod, node)| (pod.as_str(), node.as_str())).collect();
    let mut world = world(&pods);
    for (index, (pod, _)) in (0_i64..).zip(&pods) {
        world.apply(told(pod, 170 + index * 2, 10), at(10)); // 85 % and a percent more for each
    }
    let pressed = world.pressed_nodes();
    assert_eq!(
        pressed.iter().map(|it| &**it).collect::<Vec<_>>(),
        ["n14", "n13", "n12", "n11", "n10", "n09", "n08", "n07", "n06", "n05"]
    );
}
