//! Forecasts beyond the API: room on the node, restarts, memory in use, what is written; and the sentences people read.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateRunning, ContainerStatus, Node, Pod};
use serde_json::json;
use supple_quantity::Bytes;
use supple_resize::guard::MemoryUsage;
use supple_resize::kernel::CgroupResources;
use supple_resize::predict::{Change, Forecast, NamespaceSight, NodeSight, Reason, Sizes, Stage, predict};
use supple_resize::strategy;

use crate::support::{pod, requirements};

/// A pod as its API object is when all its containers run and everything is settled.
fn running(name: &str, line: &str) -> Pod {
    let mut pod = pod(line);
    pod.metadata.name = Some(name.to_owned());
    pod.metadata.namespace = Some("default".to_owned());
    let spec = pod.spec.as_mut().expect("has one");
    spec.node_name = Some("n1".to_owned());
    let mut statuses = Vec::new();
    for container in &mut spec.containers {
        container.image = Some("i".to_owned());
        container.image_pull_policy = Some("Never".to_owned());
        container.termination_message_policy = Some("File".to_owned());
        statuses.push(ContainerStatus {
            name: container.name.clone(),
            resources: container.resources.clone().or_else(|| Some(Default::default())),
            allocated_resources: container.resources.as_ref().and_then(|it| it.requests.clone()),
            state: Some(ContainerState { running: Some(ContainerStateRunning::default()), ..Default::default() }),
            ..Default::default()
        });
    }
    supple_resize::defaults::apply(&mut pod);
    strategy::prepare_for_create(&mut pod);
    let status = pod.status.as_mut().expect("just made");
    status.phase = Some("Running".to_owned());
    status.container_statuses = Some(statuses);
    pod
}

fn node() -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": "n1"},
        "status": {
            "allocatable": {"cpu": "2", "memory": "2Gi", "pods": "10"},
            "declaredFeatures": ["InPlacePodLevelResourcesVerticalScaling"],
        },
    }))
    .expect("a node")
}

fn sizes(text: &str) -> Sizes {
    Sizes::of(requirements(text).as_ref())
}

fn of_c(text: &str) -> Change {
    Change::of_container("c", sizes(text))
}

fn usage(c: i64) -> MemoryUsage {
    MemoryUsage { pod: Some(Bytes(c << 20)), containers: BTreeMap::from([("c".to_owned(), Bytes(c << 20))]) }
}

const LINE: &str = "c: R{cpu=100m,mem=64Mi} L{cpu=200m,mem=128Mi}";

fn foresee(line: &str, change: &Change, others: &[Pod], usage: Option<&MemoryUsage>) -> Forecast {
    let sight = NodeSight::from_api(&node(), others);
    predict(&running("p", line), change, &sight, &NamespaceSight::default(), usage)
}

#[track_caller]
fn check(forecast: &Forecast, reason: Reason, message: &str, advice: &str) {
    let obstacle = forecast.obstacle.as_ref().expect("an obstacle");
    assert_eq!((obstacle.reason, obstacle.message.as_str(), obstacle.advice.as_str()), (reason, message, advice));
    assert_eq!(obstacle.to_string(), format!("{reason}: {message}; {advice}"));
}

#[test]
fn a_resize_that_comes_to_pass() {
    let forecast = foresee(LINE, &of_c("R{cpu=150m} L{mem=256Mi}"), &[], Some(&usage(60)));
    assert_eq!(forecast.obstacle, None);
    assert_eq!(forecast.qos_class, "Burstable");
    assert_eq!(forecast.change, of_c("R{cpu=150m} L{mem=256Mi}"));
    assert_eq!(forecast.restarts, Vec::<String>::new());
    assert_eq!(forecast.unforeseen, Vec::<String>::new());
    let expected = CgroupResources {
        cpu_shares: Some(153),
        cpu_quota_us: Some(20_000),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(256 << 20),
        ..CgroupResources::default()
    };
    assert_eq!((forecast.cgroups.pod, forecast.cgroups.containers["c"]), (expected, expected));
    assert_eq!(forecast.steps.len(), 4);
}

#[test]
fn what_would_restart() {
    let line = format!("{LINE} rp[memory Restart]");
    assert_eq!(foresee(&line, &of_c("R{cpu=150m}"), &[], None).restarts, Vec::<String>::new());
    let forecast = foresee(&line, &of_c("L{mem=100Mi}"), &[], Some(&usage(120)));
    assert_eq!(forecast.restarts, ["c"]);
    assert_eq!(forecast.obstacle, None, "it gives its memory back");
}

#[test]
fn nothing_to_do_and_nobody_to_do_it_to() {
    let forecast = foresee(LINE, &of_c("R{cpu=0.1} L{mem=131072Ki}"), &[], None);
    check(&forecast, Reason::NothingToDo, "the pod has these sizes already", "ask for other sizes");
    assert!(forecast.is_accepted());
    let change = Change::of_container("x", sizes("R{cpu=1}"));
    let forecast = foresee("c: R{cpu=1}; d:", &change, &[], None);
    check(&forecast, Reason::NoSuchContainer, "the pod has no container \"x\"", "name one of c, d");
    assert!(!forecast.is_accepted());
}

#[test]
fn a_class_that_would_change() {
    let change = "Pod QOS Class may not change as a result of resizing";
    let forecast = foresee(LINE, &of_c("R{cpu=200m,mem=128Mi}"), &[], None);
    check(
        &forecast,
        Reason::QosChange,
        &format!("spec: Invalid value: \"Burstable\": {change}"),
        "the pod is Burstable and would become Guaranteed: keep at least one request below its limit",
    );
    let forecast = foresee("c: R{cpu=1,mem=1Mi} L{cpu=1,mem=1Mi}", &of_c("R{cpu=500m}"), &[], None);
    check(
        &forecast,
        Reason::QosChange,
        &format!("spec: Invalid value: \"Guaranteed\": {change}"),
        "the pod is Guaranteed and would become Burstable: keep every request equal to its limit",
    );
    let forecast = foresee("c:", &of_c("R{cpu=500m}"), &[], None);
    check(
        &forecast,
        Reason::QosChange,
        &format!("spec: Invalid value: \"BestEffort\": {change}"),
        "the pod is BestEffort and would become Burstable: create the pod anew with requests: one without any can have none by a resize",
    );
    let forecast = foresee("c: R{cpu=500m}", &of_c("R{cpu=0}"), &[], None);
    assert_eq!(forecast.obstacle.expect("an obstacle").reason, Reason::QosChange);
}

#[test]
fn what_validation_refuses() {
    let forecast = foresee(LINE, &of_c("R{cpu=300m}"), &[], None);
    check(
        &forecast,
        Reason::Rejected,
        "spec.containers[0].resources.requests: Invalid value: \"300m\": must be less than or equal to cpu limit of 200m",
        "change the sizes as the message says",
    );
}

#[test]
fn a_node_that_is_too_small_or_too_full() {
    let line = "c: R{cpu=100m,mem=64Mi}";
    let forecast = foresee(line, &of_c("R{cpu=3}"), &[], None);
    check(
        &forecast,
        Reason::NodeCapacity,
        "node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000",
        "ask for less than the whole node has, or move the pod to a larger one",
    );
    assert!(!forecast.is_accepted());
    let mut ended = running("ended", "c: R{cpu=2}");
    ended.status.as_mut().expect("has one").phase = Some("Succeeded".to_owned());
    let others = [running("o", "c: R{cpu=1200m}"), ended];
    let forecast = foresee(line, &of_c("R{cpu=1500m}"), &others, None);
    check(
        &forecast,
        Reason::Deferred,
        "Node didn't have enough resource: cpu, requested: 1500, used: 1200, capacity: 2000",
        "other pods of the node must give back 700m of cpu, or ask for at most 800m for the whole pod",
    );
    assert!(forecast.is_accepted());
    assert_eq!(foresee(line, &of_c("R{cpu=800m}"), &others, None).obstacle, None);
    let others = [running("o", "c: R{mem=1Gi}")];
    let forecast = foresee(line, &of_c("R{mem=1536Mi}"), &others, None);
    check(
        &forecast,
        Reason::Deferred,
        "Node didn't have enough resource: memory, requested: 1610612736, used: 1073741824, capacity: 2147483648",
        "other pods of the node must give back 512Mi of memory, or ask for at most 1Gi for the whole pod",
    );
}

#[test]
fn a_node_that_cannot_at_all() {
    let mut sight = NodeSight::from_api(&node(), []);
    sight.view.static_cpu_manager = true;
    let pod = running("p", "c: R{cpu=1,mem=1Mi} L{cpu=1,mem=1Mi}");
    let forecast = predict(&pod, &of_c("R{cpu=2} L{cpu=2}"), &sight, &NamespaceSight::default(), None);
    check(
        &forecast,
        Reason::Infeasible,
        "Resize is infeasible for Guaranteed Pods alongside CPU Manager policy \"static\"",
        "create the pod anew with the sizes: this node pins what Guaranteed pods own",
    );
    let mut init = running("p", "init i: R{cpu=1}; c: R{cpu=1}");
    let spec = init.spec.as_mut().expect("has one");
    let own = spec.init_containers.as_mut().expect("has one");
    own[0].image = Some("i".to_owned());
    let change = Change::of_container("i", sizes("R{cpu=2}"));
    let forecast = predict(&init, &change, &NodeSight::from_api(&node(), []), &NamespaceSight::default(), None);
    check(
        &forecast,
        Reason::NodeUnsupported,
        "pod update requires features InPlacePodVerticalScalingInitContainers which are not available on node \"n1\"",
        "move the pod to a node that can resize it",
    );
}

#[test]
fn memory_in_use() {
    let forecast = foresee(LINE, &of_c("R{mem=20Mi} L{mem=30Mi}"), &[], Some(&usage(60)));
    check(
        &forecast,
        Reason::MemoryBelowUsage,
        "cannot decrease memory limits: [attempting to set pod memory limit (31457280) below current usage (62914560), \
         attempting to set container \"c\" memory limit (31457280) below current usage (62914560)]",
        "keep the pod's limit above the 60Mi it uses and the limit of container c above the 60Mi it uses",
    );
    assert_eq!(forecast.obstacle.as_ref().map(|it| it.reason.stage()), Some(Stage::Actuation));
    assert!(forecast.is_accepted());
    let forecast = foresee(LINE, &of_c("R{mem=20Mi} L{mem=61Mi}"), &[], Some(&usage(60)));
    assert_eq!(forecast.obstacle, None);
    let forecast = foresee(LINE, &of_c("R{mem=20Mi} L{mem=30Mi}"), &[], None);
    assert_eq!(forecast.obstacle, None);
    let unforeseen = [
        "whether memory in use leaves room: missing pod memory usage",
        "whether memory in use leaves room: missing container \"c\" memory usage",
    ];
    assert_eq!(forecast.unforeseen, unforeseen);
}

#[test]
fn what_is_not_known_is_said() {
    let pod = running("p", LINE);
    let forecast =
        predict(&pod, &of_c("R{cpu=150m}"), &NodeSight::default(), &NamespaceSight::default(), Some(&usage(1)));
    assert_eq!(forecast.obstacle, None);
    assert_eq!(forecast.unforeseen, ["whether the node has room: what its other pods hold is not known"]);
}

#[test]
fn a_pod_on_no_node_is_only_stored() {
    let mut pod = running("p", LINE);
    pod.spec.as_mut().expect("has one").node_name = None;
    let sight = NodeSight::default();
    let forecast = predict(&pod, &of_c("R{cpu=150m}"), &sight, &NamespaceSight::default(), None);
    assert_eq!((forecast.obstacle, forecast.steps.len(), forecast.unforeseen.len()), (None, 0, 0));
}

#[test]
fn a_change_as_a_request() {
    let pod = running("p", "side s: R{cpu=50m}; c: R{cpu=100m}; d:");
    let mut change = of_c("R{cpu=150m,mem=64Mi} L{cpu=300m}");
    change.containers.insert("s".to_owned(), sizes("L{mem=1Gi}"));
    change.containers.insert("d".to_owned(), Sizes::default());
    change.pod = sizes("R{cpu=1}");
    let expected = json!({"spec": {
        "initContainers": [{"name": "s", "resources": {"limits": {"memory": "1Gi"}}}],
        "containers": [{"name": "c", "resources": {
            "requests": {"cpu": "150m", "memory": "64Mi"}, "limits": {"cpu": "300m"}}}],
        "resources": {"requests": {"cpu": "1"}},
    }});
    assert_eq!(change.to_patch(&pod), Ok(expected));
    let after = change.applied_to(&pod).expect("its own containers");
    change.containers.remove("d");
    assert_eq!(Change::between(&pod, &after), change);
    // What was not there before cannot be taken back; what was is put back.
    assert_eq!(Change::between(&after, &pod), of_c("R{cpu=100m}"));
    assert!(Change::between(&pod, &pod).is_empty());
    let error = Change::of_container("x", Sizes::default()).to_patch(&pod).expect_err("none such");
    assert_eq!(error.to_string(), "the pod has no container \"x\"; it has s, c, d");
    let text = serde_json::to_value(&change).expect("plain data");
    let expected = json!({
        "containers": {
            "c": {"cpuRequest": "150m", "cpuLimit": "300m", "memoryRequest": "64Mi"},
            "s": {"memoryLimit": "1Gi"},
        },
        "pod": {"cpuRequest": "1"},
    });
    assert_eq!(text, expected);
}

#[test]
fn codes_are_their_names() {
    for reason in [
        Reason::NothingToDo,
        Reason::NoSuchContainer,
        Reason::QosChange,
        Reason::Rejected,
        Reason::LimitRange,
        Reason::QuotaExceeded,
        Reason::NodeCapacity,
        Reason::NodeUnsupported,
        Reason::Infeasible,
        Reason::Deferred,
        Reason::MemoryBelowUsage,
    ] {
        assert_eq!(serde_json::to_value(reason).expect("plain data"), json!(reason.as_str()));
        assert_eq!(format!("{reason:?}"), reason.to_string());
    }
}
