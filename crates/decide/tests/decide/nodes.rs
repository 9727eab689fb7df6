//! What nodes say of their pods, and what they leave unsaid: each pod as an API server has it, through the real extraction.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use supple_decide::code::Code;
use supple_decide::facts::{NodeFacts, PodFacts};
use supple_decide::need::Use;
use supple_decide::policy::{Mode, StepCaps};
use supple_decide::progress::Progress;
use supple_quantity::{Bytes, MilliCpu};

use crate::stage::*;

const NODE: &str = "n1";

/// A pod with a container `app` that asks for `asked` and of which its node says what is in `status`, as the API has it.
fn pod(name: &str, node: &str, generation: i64, asked: &str, container: Value, status: Value) -> Pod {
    let mut told = json!({"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-02-26T12:00:00Z"}}});
    told.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let mut all = json!({"phase": "Running", "qosClass": "Burstable", "startTime": "2026-02-26T12:00:00Z",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-02-26T12:00:00Z"}],
        "containerStatuses": [told]});
    all.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "metadata": {"namespace": NAMESPACE, "name": name, "uid": format!("uid-{name}"), "generation": generation,
            "creationTimestamp": "2026-02-26T12:00:00Z"},
        "spec": {"nodeName": node, "containers": [{"name": "app", "resources": cpu(asked)}]},
        "status": all,
    }))
    .unwrap()
}

/// `1:2` as the API has it.
fn cpu(sizes: &str) -> Value {
    let (request, limit) = sizes.split_once(':').unwrap_or((sizes, ""));
    let limits = if limit.is_empty() { json!({}) } else { json!({"cpu": limit}) };
    json!({"requests": {"cpu": request}, "limits": limits})
}

/// What a kubelet says of a container that it has promised one size, and that runs with another.
fn has(promised: &str, runs: &str) -> Value {
    json!({"allocatedResources": {"cpu": promised}, "resources": cpu(runs)})
}

/// Somebody asked for a resize at this time.
fn asked_at(pod: &mut Pod, time: &str) {
    let entry = json!([{"manager": "supple", "operation": "Update", "subresource": "resize", "time": time}]);
    pod.metadata.managed_fields = serde_json::from_value(entry).unwrap();
}

/// Pods of the workload `web`, which needs half a core, each on a node of its own.
fn stage(pods: impl IntoIterator<Item = Pod>) -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.policy("web", |it| it.steps.value = StepCaps::default());
    for pod in pods {
        stage.sees(&pod);
    }
    stage
}

impl Stage {
    /// A pod of `web` as the API has it, in the place of the one of its name.
    fn sees(&mut self, pod: &Pod) {
        let facts = PodFacts::of(pod, workload("web"));
        if let Some(node) = facts.node.as_deref().filter(|it| !self.scene.nodes.contains_key(*it)) {
            self.node(node, "16", "64Gi");
        }
        let used = Use { cpu: Some(MilliCpu(10)), memory: Some(Bytes(8 * MIB)), ..Use::at(self.now) };
        self.scene.uses.entry(facts.key.clone()).or_default().insert("app".into(), used);
        if self.scene.pods.insert(facts.key.clone(), Box::new(facts)).is_none() {
            self.subject("web").facts.replicas += 1;
            self.subject("web").facts.ready += 1;
        }
    }

    fn kubelet(&mut self, node: &str, version: &str) {
        let object = json!({
            "metadata": {"name": node, "labels": {"kubernetes.io/os": "linux"}},
            "status": {"allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {"machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
                    "containerRuntimeVersion": "", "kubeletVersion": version, "kubeProxyVersion": "",
                    "operatingSystem": "linux", "architecture": "amd64"}},
        });
        self.scene.nodes.insert(node.into(), NodeFacts::of(&serde_json::from_value(object).unwrap()));
    }
}

/// More pods than resizes may be under way at once, of each of which its node says this.
fn many(container: &Value, status: &Value) -> Vec<Pod> {
    (0..60)
        .map(|it| pod(&format!("web-{it:02}"), &format!("node-{it}"), 1, "1:2", container.clone(), status.clone()))
        .collect()
}

#[track_caller]
fn resizes(stage: &Stage, expect: usize) {
    let round = stage.decide();
    let codes: std::collections::BTreeSet<Code> = round.decisions.iter().map(|it| it.code).collect();
    assert_eq!(round.actions.len(), expect, "{codes:?}");
}

#[test]
fn a_node_that_says_nothing_of_sizes_resizes_nothing_and_holds_nobody_up() {
    let mut stage = stage(many(&json!({}), &json!({})));
    resizes(&stage, 0);
    check(&stage.decide(), "web-00", Code::NodeUnsupported, "nothing");
    // One that can be resized is, whatever the others are like.
    stage.sees(&pod("web-99", NODE, 1, "1:2", has("1", "1:2"), json!({"observedGeneration": 1})));
    let round = stage.decide();
    check(&round, "web-99", Code::Resize, "500m:1");
    // The cure.
    stage.sizes_new_pods();
    stage.policy("web", |it| it.mode.value = Mode::InPlaceOrRecreate);
    stage.scene.pods.remove(&key("web-99"));
    stage.subject("web").facts.replicas = 60;
    check(&stage.decide(), "web-00", Code::Evict, "evict");
}

#[test]
fn what_runs_otherwise_than_was_promised_is_no_resize() {
    // As with a plugin of the container runtime that halves all limits, on a kubelet that says what it has looked at.
    let drifts = many(&has("1", "1:1"), &json!({"observedGeneration": 1}));
    assert!(drifts.iter().all(|it| PodFacts::of(it, workload("web")).progress == Progress::Settled));
    resizes(&stage(drifts), 1); // the first goes ahead, and is watched
    // Also of a request, which it reads from the cgroup.
    let drifts = many(&has("1", "900m:2"), &json!({"observedGeneration": 1}));
    resizes(&stage(drifts), 1);
    let drift = |container: Value, status: Value| {
        show(&PodFacts::of(&pod("web-1", NODE, 1, "1:2", container, status), workload("web")).drift("app"))
    };
    let current = || json!({"observedGeneration": 1});
    assert_eq!(drift(has("1", "1:1"), current()), ":1");
    assert_eq!(drift(has("1", "900m:2"), current()), "900m");
    assert_eq!(drift(has("1", "1:2"), current()), "");
    assert_eq!(drift(json!({}), current()), "");
    assert_eq!(drift(has("1", "1:1"), json!({"observedGeneration": 0})), "", "that is a resize");
}

#[test]
fn a_resize_that_was_just_asked_for_is_under_way() {
    let under_way = |generation, container, status: Value| {
        let mut asked = pod("web-1", NODE, generation, "500m:1", container, status);
        asked_at(&mut asked, "2026-03-01T11:59:58Z");
        let facts = PodFacts::of(&asked, workload("web"));
        assert_eq!(facts.progress, Progress::Underway);
        let other = pod("web-2", "n2", 1, "1:2", has("1", "1:2"), json!({"observedGeneration": 1}));
        let stage = stage([asked, other]);
        check(&stage.decide(), "web-2", Code::CanarySettling, "nothing");
    };
    // Its node has not looked at it yet.
    under_way(2, has("1", "1:2"), json!({"observedGeneration": 1}));
    // It has, and has not promised it yet: what it says is from before.
    under_way(2, has("1", "1:2"), json!({"observedGeneration": 2}));
    // It is at it.
    let at_it = json!({"type": "PodResizeInProgress", "status": "True", "lastTransitionTime": "2026-03-01T11:59:59Z"});
    under_way(2, has("500m", "1:2"), json!({"observedGeneration": 2, "conditions": [at_it]}));
    // Kubelets of 1.33 do not say what they have looked at; limits alone are never promised.
    under_way(2, has("1", "1:2"), json!({}));
    under_way(2, has("500m", "500m:2"), json!({}));
}

#[test]
fn what_is_never_done_holds_nobody_up_for_ever() {
    // A kubelet of 1.33 with such a plugin, and one that nobody has heard of since it was asked.
    for (container, status) in [(has("1", "1:1"), json!({})), (has("900m", "900m:2"), json!({"observedGeneration": 0}))]
    {
        let mut pods = many(&container, &status);
        for pod in &mut pods {
            asked_at(pod, "2026-03-01T11:31:00Z");
        }
        let mut stage = stage(pods);
        resizes(&stage, 0);
        check(&stage.decide(), "web-00", Code::InProgress, "nothing");
        stage.sees(&pod("web-99", NODE, 1, "1:2", has("1", "1:2"), json!({"observedGeneration": 1})));
        check(&stage.decide(), "web-99", Code::ClusterBudget, "nothing");
        stage.pass(2);
        resizes(&stage, 1);
        // One whose node is down is not asked again all the same.
        for node in stage.scene.nodes.values_mut() {
            node.ready = false;
        }
        check(&stage.decide(), "web-00", Code::InProgress, "nothing");
    }
}

#[test]
fn what_the_kubelet_decides_is_decided_by_its_version() {
    let with = |server: u32, kubelet: &str, memory: bool| {
        let mut only = pod("web-1", NODE, 1, "1:2", has("1", "1:2"), json!({"observedGeneration": 1}));
        if memory {
            let sizes = json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}});
            only.spec.as_mut().unwrap().containers[0].resources = serde_json::from_value(sizes.clone()).unwrap();
            let status = &mut only.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0];
            status.resources = serde_json::from_value(sizes).unwrap();
            status.allocated_resources = None;
        }
        let mut stage = stage([only]);
        stage.subject("web").needs.insert("app".into(), need("500m 500Mi"));
        stage.scene.cluster.minor_version = Some(server);
        stage.kubelet(NODE, kubelet);
        stage.decide()
    };
    check(&with(36, "v1.36.2", false), "web-1", Code::Resize, "500m:1");
    check(&with(36, "v1.33.1-gke.100", false), "web-1", Code::Resize, "500m:1");
    check(&with(36, "v1.32.9+k3s1", false), "web-1", Code::NodeUnsupported, "nothing");
    check(&with(32, "v1.36.2", false), "web-1", Code::NodeUnsupported, "nothing");
    // What is no version of Kubernetes says nothing.
    check(&with(36, "kwok-v0.7.0", false), "web-1", Code::Resize, "500m:1");
    // Limits of memory are lowered since 1.34, of both.
    check(&with(36, "v1.34.0", true), "web-1", Code::Resize, "500Mi:1000Mi");
    check(&with(36, "v1.33.1", true), "web-1", Code::Resize, "500Mi");
    check(&with(33, "v1.34.0", true), "web-1", Code::Resize, "500Mi");
    check(&with(36, "x", true), "web-1", Code::Resize, "500Mi:1000Mi");
}

/// A pod of a job with the containers `app`, which runs, and `once`, which is in this state, under these restart policies.
fn job(policy: &str, own: Option<&str>, state: Value) -> Pod {
    let mut pod = pod("web-1", NODE, 1, "1:2", has("1", "1:2"), json!({"observedGeneration": 1}));
    let spec = pod.spec.as_mut().unwrap();
    spec.restart_policy = Some(policy.to_owned());
    let once = json!({"name": "once", "restartPolicy": own, "resources": cpu("1:2")});
    spec.containers.push(serde_json::from_value(once).unwrap());
    let told = json!({"name": "once", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
    let status = pod.status.as_mut().unwrap();
    status.container_statuses.as_mut().unwrap().push(serde_json::from_value(told).unwrap());
    pod
}

fn ended(exit_code: i32) -> Value {
    json!({"terminated": {"exitCode": exit_code, "finishedAt": "2026-03-01T11:59:00Z"}})
}

#[test]
fn a_container_that_is_done_holds_up_no_other_of_its_pod() {
    let judged = |policy: &str, own: Option<&str>, state: Value, code: Code, expect: &str| {
        let mut stage = stage([job(policy, own, state)]);
        // What is known of it from other pods is nothing to it any more, however much it is.
        stage.subject("web").needs.insert("once".into(), need("4"));
        let round = stage.decide();
        check(&round, "web-1", code, expect);
        let changed = action(&round, "web-1").and_then(|it| it.what.change());
        assert!(changed.is_none_or(|it| !it.containers.contains_key("once")), "{changed:?}");
    };
    judged("Never", None, ended(0), Code::Resize, "500m:1");
    judged("Never", None, ended(1), Code::Resize, "500m:1");
    judged("OnFailure", None, ended(0), Code::Resize, "500m:1");
    judged("OnFailure", None, ended(1), Code::Restarting, "nothing");
    judged("Always", None, ended(0), Code::Restarting, "nothing");
    judged("Always", Some("Never"), ended(0), Code::Resize, "500m:1");
    judged("Never", Some("Always"), ended(0), Code::Restarting, "nothing");
    judged("Never", None, json!({"waiting": {"reason": "ContainerCreating"}}), Code::Restarting, "nothing");
}

#[test]
fn a_pod_that_is_not_ready_because_a_container_is_done_came_to_no_harm() {
    let after = |state: Value, expect: &[Code]| {
        let mut pod = job("OnFailure", None, state);
        let not_ready = json!([{"type": "Ready", "status": "False", "lastTransitionTime": "2026-03-01T11:59:00Z"}]);
        pod.status.as_mut().unwrap().conditions = serde_json::from_value(not_ready).unwrap();
        let mut stage = stage([pod]);
        stage.resized("web-1", "4:4", 3);
        let round = stage.decide();
        let codes: Vec<Code> = codes(&round, "web-1").into_iter().filter(|it| *it == Code::NotReady).collect();
        assert_eq!(codes, expect);
    };
    after(ended(0), &[]);
    after(json!({"running": {"startedAt": "2026-03-01T10:00:00Z"}}), &[Code::NotReady]);
}
