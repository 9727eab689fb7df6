//! News in, facts out.

use serde_json::{Value, json};

use supple_resize::disruption::Health;

use super::*;

fn pod(name: &str, uid: &str, hash: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": name, "uid": uid, "labels": {"pod-template-hash": hash},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("web-{hash}"), "uid": "r",
                "controller": true}]},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }))
    .unwrap()
}

fn of<K: serde::de::DeserializeOwned>(value: Value) -> watcher::Event<K> {
    watcher::Event::Apply(serde_json::from_value(value).unwrap())
}

fn web() -> WorkloadKey {
    WorkloadKey { namespace: Arc::from("shop"), kind: Arc::from("Deployment"), name: Arc::from("web") }
}

fn deployment() -> News {
    News::Deployment(of(json!({
        "metadata": {"namespace": "shop", "name": "web", "uid": "d", "labels": {"team": "a"}},
        "spec": {"replicas": 3, "selector": {}, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c"}]}}},
        "status": {"readyReplicas": 2, "replicas": 3, "updatedReplicas": 3},
    })))
}

#[test]
fn a_workload_is_put_together_from_what_speaks_of_it() {
    let mut view = View::default();
    view.see(News::Pod(watcher::Event::Apply(pod("web-1", "1", "a"))));
    let alone = view.facts_of(&web());
    assert_eq!(
        (alone.replicas, alone.uid.as_ref(), alone.rollout.is_some()),
        (1, "", false),
        "its object has not come yet"
    );
    view.see(deployment());
    view.see(News::Budget(of(json!({
        "metadata": {"namespace": "shop", "name": "b"}, "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2},
    }))));
    view.see(News::Scaler(of(json!({
        "metadata": {"namespace": "shop", "name": "h"},
        "spec": {"maxReplicas": 9, "scaleTargetRef": {"kind": "Deployment", "name": "web"}},
    }))));
    assert_eq!(view.take_dirty(), BTreeSet::from([web()]));
    let facts = view.facts_of(&web());
    assert_eq!((facts.replicas, facts.ready, facts.uid.as_ref()), (3, 2, "d"));
    assert_eq!((facts.scalers.len(), facts.rollout.is_some()), (1, true));
    let health = Health { current: 2, desired: 1, always: false };
    assert_eq!(facts.budgets, [facts::Budget { name: "b".into(), allowed: 1, health, is_shared: false }]);
    assert_eq!(view.said(&web()).labels["team"], "a");
}

#[test]
fn a_pod_of_the_same_name_is_another_pod() {
    let mut view = View::default();
    view.see(News::Pod(watcher::Event::Apply(pod("web-1", "1", "a"))));
    view.see(News::Pod(watcher::Event::Apply(pod("web-1", "2", "a"))));
    assert_eq!(view.scene.pods.keys().map(|it| it.uid.as_ref()).collect::<Vec<_>>(), ["2"]);
    // The first one's end is told late: it says nothing about the second.
    view.see(News::Pod(watcher::Event::Delete(pod("web-1", "1", "a"))));
    assert_eq!(view.members(&web()).count(), 1);
    view.see(News::Pod(watcher::Event::Delete(pod("web-1", "2", "a"))));
    assert_eq!((view.members(&web()).count(), view.scene.pods.len(), view.members.len()), (0, 0, 0));
}

#[test]
fn what_a_new_list_leaves_out_is_gone() {
    let mut view = View::default();
    for event in [
        watcher::Event::Init,
        watcher::Event::InitApply(pod("web-1", "1", "a")),
        watcher::Event::InitApply(pod("web-2", "2", "a")),
        watcher::Event::InitDone,
        watcher::Event::Init,
        watcher::Event::InitApply(pod("web-2", "2", "a")),
        watcher::Event::InitDone,
    ] {
        view.see(News::Pod(event));
    }
    assert_eq!(view.scene.pods.keys().map(|it| it.name.as_ref()).collect::<Vec<_>>(), ["web-2"]);
    assert!(!view.missing().contains(&"pods") && view.missing().contains(&"nodes"));
}

#[test]
fn the_switch_and_labels_of_a_namespace() {
    let mut view = View::default();
    view.see(News::Namespace(of(json!({"metadata": {
        "name": "supple-system", "labels": {"supple.dev/mode": "in-place"},
        "annotations": {"supple.dev/stop": "incident 7", "other": "x"}}}))));
    let own = Arc::from("supple-system");
    assert_eq!(view.namespace_words(&own).unwrap().get("supple.dev/stop").map(String::as_str), Some("incident 7"));
    assert_eq!(view.scene.namespaces[&own].mode.as_deref(), Some("in-place"));
}

/// A pod of a job, the job, which is of a cron job, and that.
fn run() -> [News; 3] {
    let of_kind = |kind: &str, name: &str| json!([{"apiVersion": "batch/v1", "kind": kind, "name": name, "uid": "o", "controller": true}]);
    let meta =
        |name: &str, owners: Value| json!({"namespace": "shop", "name": name, "uid": "u", "ownerReferences": owners});
    [
        News::Pod(of(json!({"metadata": meta("report-1-x", of_kind("Job", "report-1")), "spec": {"containers": []}}))),
        News::Job(of(json!({"metadata": meta("report-1", of_kind("CronJob", "report"))}))),
        News::CronJob(of(json!({"metadata": meta("report", json!([]))}))),
    ]
}

/// Of which workload the only pod is, and which workloads there are.
fn whose(view: &View) -> (String, Vec<String>) {
    let pod = view.pod("shop", "report-1-x").unwrap();
    (pod.workload.to_string(), view.members.keys().map(ToString::to_string).collect())
}

#[test]
fn a_cron_jobs_pods_are_its_own_in_whatever_order_they_are_told_of() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut view = View::default();
        let mut news = run().map(Some);
        for at in order {
            view.see(news[at].take().unwrap());
        }
        let cron = "shop/cronjob/report".to_owned();
        assert_eq!(whose(&view), (cron.clone(), vec![cron]), "{order:?}");
        assert!(view.take_dirty().iter().any(|it| &*it.kind == "CronJob"), "{order:?}");
    }
}

#[test]
fn a_job_that_is_set_free_takes_its_pods_along() {
    let mut view = View::default();
    for news in run() {
        view.see(news);
    }
    view.see(News::Job(of(json!({"metadata": {"namespace": "shop", "name": "report-1"}}))));
    let job = "shop/job/report-1".to_owned();
    assert_eq!(whose(&view), (job.clone(), vec![job]));
    let pod = json!({"metadata": {"namespace": "shop", "name": "report-1-x", "uid": "u"}});
    view.see(News::Pod(watcher::Event::Delete(serde_json::from_value(pod).unwrap())));
    assert_eq!((view.members.len(), view.of_jobs.len()), (0, 0));
}

#[test]
fn a_job_that_is_gone_leaves_its_ending_pods_to_its_cron_job() {
    let job = || serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": "report-1"}})).unwrap();
    let cron = "shop/cronjob/report".to_owned();
    for gone in [vec![watcher::Event::Delete(job())], vec![watcher::Event::Init, watcher::Event::InitDone]] {
        let mut view = View::default();
        for news in run() {
            view.see(news);
        }
        for event in gone {
            view.see(News::Job(event));
        }
        assert_eq!(whose(&view), (cron.clone(), vec![cron.clone()]));
        let [pod, ..] = run();
        view.see(pod); // a word of how it ends
        assert_eq!(whose(&view), (cron.clone(), vec![cron.clone()]));
    }
}

#[test]
fn nothing_is_decided_before_it_can_be_known_whose_pods_are() {
    let missing = View::default().missing();
    assert!(missing.contains(&"jobs") && missing.contains(&"cronjobs"), "{missing:?}");
}

/// A pod with these labels that this made.
fn made(name: &str, labels: Value, (version, kind, owner): (&str, &str, &str)) -> News {
    News::Pod(of(json!({
        "metadata": {"namespace": "shop", "name": name, "uid": name, "labels": labels, "ownerReferences": [
            {"apiVersion": version, "kind": kind, "name": owner, "uid": format!("{owner} itself"), "controller": true}]},
        "spec": {"containers": [{"name": "c"}]},
    })))
}

fn budget(name: &str, selector: Value, allowed: u32) -> News {
    News::Budget(of(json!({
        "metadata": {"namespace": "shop", "name": name}, "spec": {"selector": selector},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2},
    })))
}

const SET: (&str, &str, &str) = ("apps/v1", "ReplicaSet", "web-1");
const CLUSTER: (&str, &str, &str) = ("postgresql.example.com/v1", "Cluster", "db");

/// Which budgets are over the only workload, whose object is not watched, what each leaves, and which share pods: `b 0`, `b 0 shared`.
#[track_caller]
fn check_budgets(news: Vec<News>, expect: &[&str]) {
    let mut view = View::default();
    for news in news {
        view.see(news);
    }
    let [workload] = &view.members.keys().cloned().collect::<Vec<_>>()[..] else { panic!("one workload") };
    let told = |it: &facts::Budget| format!("{} {}{}", it.name, it.allowed, if it.is_shared { " shared" } else { "" });
    let over: Vec<String> = view.facts_of(workload).budgets.iter().map(told).collect();
    assert_eq!(over, expect, "{workload}");
}

#[test]
fn a_budget_holds_for_pods_whose_workload_is_not_watched() {
    let web = || json!({"matchLabels": {"app": "web"}});
    let pod = |name: &str, owner| made(name, json!({"app": "web"}), owner);
    check_budgets(vec![pod("a", SET), budget("b", web(), 0)], &["b 0"]);
    check_budgets(
        vec![budget("c", web(), 1), pod("a", CLUSTER), pod("b", CLUSTER), budget("b", web(), 2)],
        &["b 2 shared", "c 1 shared"],
    );
    check_budgets(vec![pod("a", SET), budget("b", json!({"matchLabels": {"app": "db"}}), 0)], &[]);
    check_budgets(vec![made("a", json!(null), SET), budget("b", json!({}), 0)], &["b 0"]);
    let rollout = json!({"app": "web", "rollouts-pod-template-hash": "1"});
    check_budgets(vec![made("a", rollout, SET), budget("b", web(), 0)], &["b 0"]);
    // Which pod is which says its label alone, and that of the first by name does not speak for the other.
    let role = |name: &str, role: &str| made(name, json!({"app": "db", "role": role}), CLUSTER);
    let of_role = |name: &str| budget(name, json!({"matchLabels": {"role": name}}), 0);
    let beside = |other: Option<News>| {
        let roles = [role("db-1", "replica"), role("db-2", "primary"), of_role("primary")];
        roles.into_iter().chain(other).collect()
    };
    check_budgets(beside(None), &["primary 0"]);
    // Each has one of its own; or the primary has two.
    check_budgets(beside(Some(of_role("replica"))), &["primary 0", "replica 0"]);
    let of_all = budget("all", json!({"matchLabels": {"app": "db"}}), 1);
    check_budgets(beside(Some(of_all)), &["all 1 shared", "primary 0 shared"]);
    let bare = News::Pod(of(json!({"metadata": {"namespace": "shop", "name": "a", "labels": {"app": "web"}},
        "spec": {"containers": []}})));
    check_budgets(vec![bare, budget("b", web(), 3)], &["b 3"]);
}

#[test]
fn pods_speak_for_a_workload_that_is_not_watched_by_what_they_have_in_common() {
    let registration = |selector: Value| {
        let hook = json!({"metadata": {"name": "supple"}, "webhooks": [{
            "name": "create.supple.dev", "objectSelector": selector, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://127.0.0.1/create", "caBundle": "YQ=="},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}]});
        Registration::of([&serde_json::from_value(hook).unwrap()])
    };
    let mut view = View::default();
    for (name, role) in [("db-1", "replica"), ("db-2", "primary")] {
        view.see(made(name, json!({"app": "db", "role": role}), CLUSTER));
    }
    let key = view.members.keys().next().unwrap().clone();
    assert_eq!(*view.said(&key).labels, Map::from([("app".to_owned(), "db".to_owned())]));
    let asked = |selector: Value| view.is_asked_about(&key, &registration(selector));
    assert!(asked(json!({"matchLabels": {"app": "db"}})) && !asked(json!({"matchLabels": {"app": "web"}})));
    for name in ["db-1", "db-2"] {
        let pod = json!({"metadata": {"namespace": "shop", "name": name, "uid": name}});
        view.see(News::Pod(watcher::Event::Delete(serde_json::from_value(pod).unwrap())));
    }
    assert_eq!((view.labels.len(), view.unwatched.len()), (0, 0), "nothing is left of them");
}

#[test]
fn an_object_that_is_not_watched_is_known_by_what_its_pods_tell() {
    let facts = |news: News| {
        let mut view = View::default();
        view.see(news);
        let key = view.members.keys().next().unwrap().clone();
        assert!(!view.is_of_unknown_job(&key), "{key}");
        let facts = view.facts_of(&key);
        (key.to_string(), facts.api_version.to_string(), facts.uid.to_string())
    };
    let expect = |key: &str, version: &str, uid: &str| (key.to_owned(), version.to_owned(), uid.to_owned());
    assert_eq!(facts(made("a", json!({}), SET)), expect("shop/replicaset/web-1", "apps/v1", "web-1 itself"));
    let volcano = ("batch.volcano.sh/v1alpha1", "Job", "train");
    assert_eq!(
        facts(made("a", json!({}), volcano)),
        expect("shop/job/train", "batch.volcano.sh/v1alpha1", "train itself")
    );
    // Its pods are told of by the replica sets of its releases, and it is one workload over all of them.
    let rollout = json!({"rollouts-pod-template-hash": "1"});
    assert_eq!(facts(made("a", rollout, SET)), expect("shop/rollout/web", "argoproj.io/v1alpha1", ""));
    let bare =
        News::Pod(of(json!({"metadata": {"namespace": "shop", "name": "a", "uid": "u"}, "spec": {"containers": []}})));
    assert_eq!(facts(bare), expect("shop/pod/a", "v1", "u"));
}

#[test]
fn two_releases_of_an_argo_rollout_are_one_workload_that_is_rolling() {
    let mut view = View::default();
    let release = |hash: &str| {
        let owner = format!("web-{hash}");
        made(hash, json!({"rollouts-pod-template-hash": hash}), ("apps/v1", "ReplicaSet", &owner))
    };
    view.see(release("1"));
    let key = view.members.keys().next().unwrap().clone();
    assert!(!view.facts_of(&key).rolling);
    view.see(release("2"));
    assert_eq!((view.members.len(), view.members(&key).count()), (1, 2));
    assert!(view.facts_of(&key).rolling);
    // A pod of the first one that was evicted may be left for long.
    let News::Pod(watcher::Event::Apply(mut evicted)) = release("1") else { panic!("it is one") };
    evicted.status.get_or_insert_default().phase = Some("Failed".to_owned());
    view.see(News::Pod(watcher::Event::Apply(evicted)));
    assert_eq!(view.members(&key).count(), 2);
    assert!(!view.facts_of(&key).rolling);
    assert_eq!(view.facts_of(&key).replicas, 1);
}

/// A workload of this kind that somebody has made, of this group, and an autoscaler of what is called so; how many scale it, and through what.
#[track_caller]
fn check_scaled(maker: (&str, &str, &str), target: Value, expect: Option<&str>) {
    let mut view = View::default();
    let (kind, name, version) = maker;
    let owner = json!({"apiVersion": version, "kind": kind, "name": name, "uid": "o", "controller": true});
    view.see(News::StatefulSet(of(json!({
        "metadata": {"namespace": "shop", "name": "db", "ownerReferences": [owner]},
        "spec": {"selector": {}, "serviceName": "", "template": {"metadata": {}, "spec": {"containers": [{"name": "c"}]}}},
    }))));
    view.see(News::Scaler(of(json!({
        "metadata": {"namespace": "shop", "name": "h"},
        "spec": {"maxReplicas": 9, "scaleTargetRef": target, "metrics": [{"type": "Resource", "resource":
            {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]},
    }))));
    let key = WorkloadKey { namespace: Arc::from("shop"), kind: Arc::from("StatefulSet"), name: Arc::from("db") };
    let scalers = view.facts_of(&key).scalers;
    let through: Vec<_> = scalers.iter().map(|it| it.through.as_deref().unwrap_or("itself")).collect();
    assert_eq!(through, expect.into_iter().collect::<Vec<_>>(), "{maker:?} {target}");
}

#[test]
fn who_scales_what_a_workload_is_made_by_scales_its_pods() {
    let made = ("Prometheus", "k8s", "monitoring.coreos.com/v1");
    check_scaled(made, json!({"kind": "StatefulSet", "name": "db"}), Some("itself"));
    check_scaled(made, json!({"kind": "Prometheus", "name": "k8s"}), Some("prometheus/k8s"));
    let versioned = |version: &str| json!({"kind": "Prometheus", "name": "k8s", "apiVersion": version});
    check_scaled(made, versioned("monitoring.coreos.com/v1beta1"), Some("prometheus/k8s"));
    check_scaled(made, versioned("monitoring.example.com/v1"), None);
    check_scaled(made, json!({"kind": "Prometheus", "name": "other"}), None);
    check_scaled(made, json!({"kind": "Alertmanager", "name": "k8s"}), None);
}
