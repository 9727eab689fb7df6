//! Limit ranges, quotas and node room, as the transcripts show them.

use k8s_openapi::api::core::v1::{LimitRange, Node, Pod, ResourceQuota};
use serde_json::{Value, json};
use supple_resize::admission::{limit_range, node, quota};
use supple_resize::resources::ResourceList;

use crate::pipeline::{Door, World, create, update};

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pod(spec: Value) -> Pod {
    create(&World::default(), json!({"metadata": {"name": "b"}, "spec": spec})).unwrap()
}

fn one(resources: Value) -> Value {
    json!({"containers": [{"name": "c1", "image": "i", "resources": resources}]})
}

fn bound(node: &str, mut spec: Value) -> Value {
    spec["nodeName"] = json!(node);
    spec
}

/// A machine of two cores and 2 GiB, with what is given beside that.
fn world(labels: Value, features: Value) -> World {
    let node: Node = of(json!({
        "metadata": {"name": "n1", "labels": labels},
        "status": {"allocatable": {"cpu": "2", "memory": "2Gi"}, "declaredFeatures": features},
    }));
    World { nodes: vec![node], ..World::default() }
}

/// The answer to a resize of `old` to `spec`: `ok`, or the message and causes of the refusal.
#[track_caller]
fn check(world: &World, old: Value, new: Value, expected: &str) {
    let stored = pod(old);
    let mut body = serde_json::to_value(&stored).unwrap();
    for list in ["containers", "initContainers"] {
        for (index, container) in new[list].as_array().into_iter().flatten().enumerate() {
            body["spec"][list][index]["resources"] = container["resources"].clone();
        }
    }
    if !new["resources"].is_null() {
        body["spec"]["resources"] = new["resources"].clone();
    }
    let got = match update(world, &stored, body, Door::Resize) {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => refusal.message(),
    };
    assert_eq!(got, expected);
}

#[test]
fn node_room() {
    let linux = world(json!({"kubernetes.io/os": "linux"}), json!([]));
    let requests = |cpu: &str, memory: &str| bound("n1", one(json!({"requests": {"cpu": cpu, "memory": memory}})));
    check(&linux, requests("500m", "512Mi"), requests("1", "512Mi"), "ok");
    check(
        &linux,
        requests("500m", "512Mi"),
        requests("4", "512Mi"),
        "pods \"b\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 4000, allocatable: 2000",
    );
    check(
        &linux,
        requests("500m", "512Mi"),
        requests("4", "4Gi"),
        "pods \"b\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 4000, allocatable: 2000; \
         memory, requested: 4294967296, allocatable: 2147483648",
    );
    // A decrease that is still too much is refused; no change at all is not.
    check(
        &linux,
        requests("3", "1Gi"),
        requests("2500m", "1Gi"),
        "pods \"b\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 2500, allocatable: 2000",
    );
    check(&linux, requests("3", "1Gi"), requests("3", "1Gi"), "ok");
    // Limits do not count, and a pod that is bound nowhere fits everywhere.
    let limited =
        |cpu: &str| bound("n1", one(json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": cpu}})));
    check(&linux, limited("2"), limited("64"), "ok");
    check(&linux, one(json!({"requests": {"cpu": "1"}})), one(json!({"requests": {"cpu": "64"}})), "ok");
    check(
        &linux,
        bound("absent", one(json!({"requests": {"cpu": "1"}}))),
        one(json!({"requests": {"cpu": "2"}})),
        "pods \"b\" is forbidden: node \"absent\" not found",
    );
}

#[test]
fn node_platform_and_features() {
    let windows = world(json!({"kubernetes.io/os": "windows"}), json!([]));
    let requests = |cpu: &str| bound("n1", one(json!({"requests": {"cpu": cpu}})));
    check(
        &windows,
        requests("1"),
        requests("2"),
        "pods \"b\" is forbidden: pod resize is only supported on linux nodes, node \"n1\" is \"windows\"",
    );
    let with_init = |init: &str, pod: &str| {
        let mut spec = bound("n1", one(json!({"requests": {"cpu": "100m"}})));
        spec["initContainers"] = json!([{"name": "i", "image": "i", "resources": {"requests": {"cpu": init}}}]);
        spec["resources"] = json!({"requests": {"cpu": pod}});
        spec
    };
    let old = || with_init("100m", "300m");
    let (none, all) =
        (world(json!({}), json!([])), world(json!({}), json!([node::POD_LEVEL_RESIZE, node::INIT_CONTAINER_RESIZE])));
    check(
        &none,
        old(),
        with_init("100m", "400m"),
        "pods \"b\" is forbidden: pod update requires features InPlacePodLevelResourcesVerticalScaling which are not \
         available on node \"n1\"",
    );
    check(
        &none,
        old(),
        with_init("120m", "300m"),
        "pods \"b\" is forbidden: pod update requires features InPlacePodVerticalScalingInitContainers which are not \
         available on node \"n1\"",
    );
    check(&all, old(), with_init("120m", "400m"), "ok");
}

#[test]
fn denials_name_their_causes() {
    let small = &world(json!({}), json!([])).nodes[0];
    let (old, mut new) = (
        pod(bound("n1", one(json!({"requests": {"cpu": "1"}})))),
        pod(bound("n1", one(json!({"requests": {"cpu": "9"}})))),
    );
    new.metadata.generation = Some(2);
    assert_eq!(node::check(&new, &old, Some(small)).unwrap_err().causes, ["NodeCapacity"]);
    let windows = &world(json!({"kubernetes.io/os": "windows"}), json!([])).nodes[0];
    assert_eq!(node::check(&new, &old, Some(windows)).unwrap_err().causes, ["UnsupportedPlatform"]);
    assert!(node::check(&new, &old, None).unwrap_err().causes.is_empty());
}

fn ranges(limits: Value) -> Vec<LimitRange> {
    let mut range: LimitRange = of(json!({"metadata": {"name": "lr"}, "spec": {"limits": limits}}));
    limit_range::apply_defaults(&mut range);
    vec![range]
}

#[track_caller]
fn check_range(limits: Value, resources: Value, expected: &str) {
    let got = limit_range::validate_pod(&pod(one(resources)), &ranges(limits));
    assert_eq!(got.map_or_else(|denial| denial.message, |()| "ok".to_owned()), expected);
}

#[test]
fn limit_range_bounds() {
    let bounds = || {
        json!([{
            "type": "Container",
            "max": {"cpu": "500m", "memory": "500Mi"},
            "min": {"cpu": "50m", "memory": "50Mi"},
            "maxLimitRequestRatio": {"cpu": "4"},
        }])
    };
    let cpu = |request: &str, limit: &str| json!({"requests": {"cpu": request, "memory": "100Mi"}, "limits": {"cpu": limit, "memory": "100Mi"}});
    check_range(bounds(), cpu("200m", "400m"), "ok");
    check_range(
        bounds(),
        cpu("100m", "600m"),
        "[maximum cpu usage per Container is 500m, but limit is 600m, cpu max limit to request ratio per Container is 4, but \
         provided ratio is 6.000000]",
    );
    check_range(
        bounds(),
        cpu("10m", "300m"),
        "[minimum cpu usage per Container is 50m, but request is 10m, cpu max limit to request ratio per Container is 4, but \
         provided ratio is 30.000000]",
    );
    check_range(
        bounds(),
        cpu("60m", "300m"),
        "cpu max limit to request ratio per Container is 4, but provided ratio is 5.000000",
    );
    check_range(
        json!([{"type": "Container", "maxLimitRequestRatio": {"cpu": "3"}}]),
        cpu("30m", "100m"),
        "cpu max limit to request ratio per Container is 3, but provided ratio is 3.333333",
    );
    check_range(
        json!([{"type": "Pod", "max": {"cpu": "800m"}}]),
        cpu("100m", "900m"),
        "maximum cpu usage per Pod is 800m, but limit is 900m",
    );
    check_range(
        json!([{"type": "Pod", "min": {"cpu": "1"}}]),
        json!({}),
        "minimum cpu usage per Pod is 1.  No request is specified",
    );
    check_range(
        json!([{"type": "Pod", "max": {"memory": "1Gi"}}]),
        json!({}),
        "maximum memory usage per Pod is 1Gi.  No limit is specified",
    );
}

#[test]
fn limit_range_fills_in_and_says_so() {
    let limits = json!([{"type": "Container", "max": {"cpu": "500m", "memory": "500Mi"}, "min": {"cpu": "50m"}}]);
    let mut pod = pod(json!({
        "containers": [{"name": "c1", "image": "i", "resources": {"requests": {"cpu": "60m"}}}],
        "initContainers": [{"name": "i", "image": "i", "resources": {"requests": {"cpu": "60m"}}}],
    }));
    limit_range::default_pod(&mut pod, &ranges(limits));
    let annotation = pod.metadata.annotations.as_ref().and_then(|it| it.get("kubernetes.io/limit-ranger")).unwrap();
    assert_eq!(
        annotation,
        "LimitRanger plugin set: memory request for container c1; cpu, memory limit for container c1; memory request for \
         init container i; cpu, memory limit for init container i"
    );
    let filled = serde_json::to_value(&pod.spec.unwrap().containers[0].resources).unwrap();
    let expected = json!({"requests": {"cpu": "60m", "memory": "500Mi"}, "limits": {"cpu": "500m", "memory": "500Mi"}});
    assert_eq!(filled, expected);
}

fn quota(name: &str, hard: Value, used: Value) -> ResourceQuota {
    of(json!({"metadata": {"name": name}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}}))
}

#[test]
fn quota_charges_growth_only() {
    let quotas =
        [quota("q", json!({"requests.cpu": "800m", "pods": "5"}), json!({"requests.cpu": "300m", "pods": "1"}))];
    let of_cpu = |cpu: &str| pod(one(json!({"requests": {"cpu": cpu}})));
    let charged = |new: &str| quota::check(&of_cpu(new), Some(&of_cpu("300m")), &quotas);
    assert_eq!(
        serde_json::to_value(&charged("800m").unwrap()[0].used).unwrap(),
        json!({"requests.cpu": "800m", "pods": "1"})
    );
    assert_eq!(charged("100m").unwrap(), []);
    assert_eq!(
        charged("900m").unwrap_err().message,
        "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=300m, limited: requests.cpu=800m"
    );
    // Creation counts the pod too.
    let created = quota::check(&of_cpu("100m"), None, &quotas).unwrap();
    assert_eq!(serde_json::to_value(&created[0].used).unwrap(), json!({"requests.cpu": "400m", "pods": "2"}));
}

#[test]
fn quota_gets_back_what_a_pod_counted_for_where_it_counts_it() {
    let mut elsewhere = quota("best-effort", json!({"pods": "5"}), json!({"pods": "1"}));
    elsewhere.spec.as_mut().unwrap().scopes = Some(vec!["BestEffort".to_owned()]);
    let used = json!({"requests.cpu": "300m", "requests.memory": "1Gi", "pods": "1", "configmaps": "3"});
    let fresh = of(json!({"metadata": {"name": "new"}, "spec": {"hard": {"pods": "1"}}}));
    let quotas = [quota("q", json!({}), used), elsewhere.clone(), fresh];
    let released = quota::released(&pod(one(json!({"requests": {"cpu": "500m"}}))), &quotas);
    let used = serde_json::to_value(released[0].status.as_ref().unwrap().used.as_ref().unwrap()).unwrap();
    assert_eq!(used, json!({"requests.cpu": "0", "requests.memory": "1Gi", "pods": "0", "configmaps": "3"}));
    assert_eq!(released[1..], quotas[1..]);
}

#[test]
fn quota_counts_the_pods_in_its_scope() {
    let pods = [
        pod(one(json!({"requests": {"cpu": "300m"}}))),
        pod(one(json!({}))),
        pod(one(json!({"requests": {"cpu": "1"}}))),
    ];
    let used = |scope: &str| {
        let mut quota =
            quota("q", json!({"requests.cpu": "2", "limits.cpu": "2", "pods": "5", "configmaps": "9"}), json!({}));
        quota.spec.as_mut().unwrap().scopes = Some(vec![scope.to_owned()]);
        serde_json::to_value(quota::used(&quota, &pods).to_wire()).unwrap()
    };
    // What is no matter of pods is left to who counts objects.
    assert_eq!(used("NotBestEffort"), json!({"requests.cpu": "1300m", "limits.cpu": "0", "pods": "2"}));
    assert_eq!(used("BestEffort"), json!({"requests.cpu": "0", "limits.cpu": "0", "pods": "1"}));
}

#[test]
fn quota_without_status_is_unknown() {
    let mut fresh = quota("q", json!({"requests.cpu": "1"}), json!({}));
    let new = pod(one(json!({"requests": {"cpu": "1m"}})));
    assert_eq!(
        quota::check(&new, None, std::slice::from_ref(&fresh)).unwrap_err().message,
        "status unknown for quota: q, resources: requests.cpu"
    );
    fresh.status = None;
    assert_eq!(quota::check(&new, None, &[fresh]), Ok(vec![]));
}

#[test]
fn quota_holds_what_a_shrinking_pod_still_has() {
    let mut pod = pod(one(json!({"requests": {"cpu": "300m"}})));
    let cpu = |pod: &Pod| quota::usage(pod).get("requests.cpu").map(ToString::to_string);
    assert_eq!(cpu(&pod).as_deref(), Some("300m"));
    let status = pod.status.as_mut().unwrap();
    status.container_statuses = of(json!([{
        "name": "c1", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
        "resources": {"requests": {"cpu": "800m"}}, "allocatedResources": {"cpu": "500m"},
    }]));
    assert_eq!(cpu(&pod).as_deref(), Some("800m"));
    // An impossible wish does not count: what is there does.
    pod.spec.as_mut().unwrap().containers[0].resources = Some(of(json!({"requests": {"cpu": "9"}})));
    pod.status.as_mut().unwrap().conditions =
        of(json!([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]));
    assert_eq!(cpu(&pod).as_deref(), Some("800m"));
    pod.status.as_mut().unwrap().phase = Some("Succeeded".to_owned());
    let ended: ResourceList = quota::usage(&pod);
    assert_eq!(ended.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["count/pods"]);
}
