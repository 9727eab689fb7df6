//! Stock kubectl on workloads: the verbs by which people roll, scale, drain and clean up.

use serde_json::Value;

use super::cluster::{Kubectl, Up, bad, eventually};

fn lab() -> Option<(Up, Kubectl)> {
    let up = Up::new("simulated");
    let kubectl = Kubectl::of(&up)?;
    Some((up, kubectl))
}

/// A deployment made as people make one, with pods that go at once.
fn deployment(kubectl: &Kubectl, name: &str, replicas: usize) {
    kubectl.good(["create", "deployment", name, "--image=registry.example/app:1", &format!("--replicas={replicas}")]);
    let at_once = r#"{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":0}}}}"#;
    kubectl.good(["patch", "deployment", name, "-p", at_once]);
    let done = kubectl.good(["rollout", "status", &format!("deployment/{name}"), "--timeout=60s"]);
    assert!(done.contains(&format!("deployment \"{name}\" successfully rolled out")), "{done}");
}

fn images(kubectl: &Kubectl) -> String {
    kubectl.path("pods", "{.items[*].spec.containers[0].image}")
}

#[test]
fn rollouts_go_on_and_back() {
    let Some((_up, kubectl)) = lab() else { return };
    deployment(&kubectl, "web", 2);
    kubectl.good(["set", "image", "deployment/web", "app=registry.example/app:2"]);
    kubectl.good(["annotate", "deployment/web", "kubernetes.io/change-cause=a better one"]);
    kubectl.good(["rollout", "status", "deployment/web", "--timeout=60s"]);
    assert_eq!(images(&kubectl), "registry.example/app:2 registry.example/app:2");
    let history = kubectl.good(["rollout", "history", "deployment/web"]);
    assert!(history.contains("a better one"), "{history}");
    kubectl.good(["rollout", "undo", "deployment/web"]);
    kubectl.good(["rollout", "status", "deployment/web", "--timeout=60s"]);
    assert_eq!(images(&kubectl), "registry.example/app:1 registry.example/app:1");

    kubectl.good(["rollout", "pause", "deployment/web"]);
    kubectl.good(["set", "resources", "deployment/web", "--requests=cpu=20m"]);
    eventually("the pause is seen", || {
        let reason = kubectl.path("deployment/web", "{.status.conditions[?(@.type=='Progressing')].reason}");
        (reason == "DeploymentPaused").then_some(())
    });
    assert_eq!(kubectl.path("pods", "{.items[*].spec.containers[0].resources.requests.cpu}"), "");
    kubectl.good(["rollout", "resume", "deployment/web"]);
    kubectl.good(["rollout", "status", "deployment/web", "--timeout=60s"]);
    assert_eq!(kubectl.path("pods", "{.items[*].spec.containers[0].resources.requests.cpu}"), "20m 20m");

    let before = kubectl.path("pods", "{.items[*].metadata.uid}");
    kubectl.good(["rollout", "restart", "deployment/web"]);
    kubectl.good(["rollout", "status", "deployment/web", "--timeout=60s"]);
    let after = kubectl.path("pods", "{.items[*].metadata.uid}");
    assert!(after.split(' ').all(|it| !before.contains(it)), "{before} then {after}");

    kubectl.good(["scale", "deployment/web", "--replicas=3"]);
    kubectl.good(["wait", "--for=jsonpath={.status.availableReplicas}=3", "deployment/web", "--timeout=60s"]);
    let described = kubectl.good(["describe", "deployment", "web"]);
    for part in ["3 desired | 3 updated | 3 total | 3 available | 0 unavailable", "ScalingReplicaSet", "NewReplicaSet:"]
    {
        assert!(described.contains(part), "{part} in\n{described}");
    }
    kubectl.good(["autoscale", "deployment/web", "--min=1", "--max=4", "--cpu=80%"]);
    assert_eq!(kubectl.path("hpa/web", "{.spec.maxReplicas}"), "4");
}

#[test]
fn stateful_sets_and_daemon_sets_roll_too() {
    let Some((_up, kubectl)) = lab() else { return };
    for (kind, name, more) in [("StatefulSet", "db", "replicas: 2, serviceName: db, "), ("DaemonSet", "agent", "")] {
        kubectl.create(&format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{more}selector: {{matchLabels: {{app: {name}}}}}, \
             template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{terminationGracePeriodSeconds: 0, \
             containers: [{{name: app, image: \"registry.example/app:1\"}}]}}}}}}\n"
        ));
        let object = format!("{}/{name}", kind.to_lowercase());
        kubectl.good(["rollout", "status", &object, "--timeout=60s"]);
        kubectl.good(["set", "image", &object, "app=registry.example/app:2"]);
        kubectl.good(["rollout", "status", &object, "--timeout=60s"]);
        let history = kubectl.good(["rollout", "history", &object]);
        assert_eq!(history.lines().filter(|it| it.starts_with(['1', '2'])).count(), 2, "{history}");
        kubectl.good(["rollout", "undo", &object]);
        kubectl.good(["rollout", "status", &object, "--timeout=60s"]);
        let image = kubectl.good([
            "get",
            "pods",
            "-l",
            &format!("app={name}"),
            "-o",
            "jsonpath={.items[0].spec.containers[0].image}",
        ]);
        assert_eq!(image, "registry.example/app:1");
    }
    kubectl.good(["scale", "statefulset/db", "--replicas=1"]);
    kubectl.good(["wait", "--for=delete", "pod/db-1", "--timeout=60s"]);
}

#[test]
fn jobs_run_and_leave() {
    let Some((_up, kubectl)) = lab() else { return };
    kubectl.good(["create", "job", "once", "--image=registry.example/app:1", "--", "true"]);
    kubectl.good(["wait", "--for=condition=Complete", "job/once", "--timeout=60s"]);
    let described = kubectl.good(["describe", "job", "once"]);
    for part in ["1 Succeeded / 0 Failed", "SuccessfulCreate", "Job completed"] {
        assert!(described.contains(part), "{part} in\n{described}");
    }
    kubectl.good([
        "create",
        "cronjob",
        "hourly",
        "--image=registry.example/app:1",
        "--schedule=0 * * * *",
        "--",
        "true",
    ]);
    kubectl.good(["create", "job", "now", "--from=cronjob/hourly"]);
    kubectl.good(["wait", "--for=condition=Complete", "job/now", "--timeout=60s"]);
    kubectl.good(["delete", "job", "once", "--cascade=foreground", "--timeout=60s"]);
    assert_eq!(kubectl.good(["get", "pods", "-l", "job-name=once", "-o", "name"]), "");
    kubectl.good(["delete", "job", "now", "--cascade=orphan", "--timeout=60s"]);
    assert_ne!(kubectl.good(["get", "pods", "-l", "job-name=now", "-o", "name"]), "");
}

#[test]
fn a_node_is_cordoned_and_drained() {
    let Some((_up, kubectl)) = lab() else { return };
    deployment(&kubectl, "web", 2);
    kubectl.good(["create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=1"]);
    eventually("the budget has counted", || {
        (kubectl.path("pdb/web", "{.status.disruptionsAllowed}") == "1").then_some(())
    });
    // One may go; the second waits for the first to come back, and on a cordoned node it cannot.
    let refused = bad(&kubectl.run(["drain", "node", "--force", "--ignore-daemonsets", "--timeout=3s"]), 1);
    assert!(refused.contains("Cannot evict pod as it would violate the pod's disruption budget"), "{refused}");
    assert!(kubectl.good(["get", "nodes"]).contains("SchedulingDisabled"));
    kubectl.good(["delete", "pdb", "web"]);
    kubectl.good(["drain", "node", "--force", "--ignore-daemonsets", "--timeout=60s"]);
    eventually("they wait for another node", || {
        (kubectl.path("pods", "{.items[*].status.phase}") == "Pending Pending").then_some(())
    });
    kubectl.good(["uncordon", "node"]);
    kubectl.good(["wait", "--for=condition=Available", "deployment/web", "--timeout=60s"]);
}

#[test]
fn deletion_takes_along_or_leaves_behind() {
    let Some((_up, kubectl)) = lab() else { return };
    deployment(&kubectl, "web", 2);
    kubectl.good(["delete", "deployment", "web", "--cascade=orphan", "--timeout=60s"]);
    let sets = kubectl.good(["get", "rs", "-o", "name"]);
    assert_ne!(sets, "");
    assert_eq!(images(&kubectl).split(' ').count(), 2);
    kubectl.good(["delete", "rs", "--all", "--cascade=foreground", "--timeout=60s"]);
    assert_eq!(kubectl.good(["get", "rs,pods", "-o", "name"]), "");
}

#[test]
fn a_rollout_that_a_kill_interrupts_goes_on() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut up = Up::start(&dir, "simulated", &["--no-loop"]);
    let Some(kubectl) = Kubectl::of(&up) else { return };
    deployment(&kubectl, "web", 6);
    kubectl.good(["set", "image", "deployment/web", "app=registry.example/app:2"]);
    eventually("it has begun", || images(&kubectl).contains("app:2").then_some(()));
    up.kill();
    let up = Up::start(&dir, "simulated", &["--no-loop"]);
    let kubectl = Kubectl::of(&up).unwrap();
    kubectl.good(["rollout", "status", "deployment/web", "--timeout=60s"]);
    eventually("only the new ones are left", || {
        (images(&kubectl).split(' ').collect::<Vec<_>>() == ["registry.example/app:2"; 6]).then_some(())
    });
    let deployment: Value = serde_json::from_str(&kubectl.good(["get", "deployment", "web", "-o", "json"])).unwrap();
    assert_eq!(deployment["status"]["readyReplicas"], 6);
}
