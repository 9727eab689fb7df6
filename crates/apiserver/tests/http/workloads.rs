//! Workloads over HTTP: what a creation fills in, generations, their scale, and evictions that a budget refuses.

use serde_json::{Value, json};

use crate::harness::{APPLY, Harness, MERGE, STRATEGIC, small};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/n/deployments";
const WEB: &str = "/apis/apps/v1/namespaces/n/deployments/web";
const SCALE: &str = "/apis/apps/v1/namespaces/n/deployments/web/scale";
const PODS: &str = "/api/v1/namespaces/n/pods";
const BUDGET: &str = "/apis/policy/v1/namespaces/n/poddisruptionbudgets/b";

/// Selector and template of a workload.
fn template() -> Value {
    json!({
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "registry.example/app:1", "resources": {"limits": {"cpu": "1"}}}]},
        },
    })
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": template()})
}

#[tokio::test]
async fn a_deployment_is_filled_in_as_the_reference_does() {
    let it = Harness::new().await;
    let made = it.post(DEPLOYMENTS, deployment()).await.expect(201);
    let expected = json!({
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [{
                    "name": "c", "image": "registry.example/app:1", "imagePullPolicy": "IfNotPresent",
                    // A request is taken from a limit when a pod is made, not before.
                    "resources": {"limits": {"cpu": "1"}},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }],
                "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                "securityContext": {}, "schedulerName": "default-scheduler",
            },
        },
    });
    assert_eq!(made["spec"], expected);
    assert_eq!((&made["status"], &made["metadata"]["generation"]), (&json!({}), &json!(1)));

    let annotated = it.patch(WEB, MERGE, json!({"metadata": {"annotations": {"a": "b"}}})).await.expect(200);
    assert_eq!(annotated["metadata"]["generation"], 2, "annotations count for deployments");
    let labelled = it.patch(WEB, MERGE, json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
    assert_eq!(labelled["metadata"]["generation"], 2);
    let reported = it.set_status(WEB, json!({"replicas": 1, "observedGeneration": 2})).await;
    assert_eq!(reported["metadata"]["generation"], 2);
    let both = json!({"spec": {"replicas": 2}, "status": {"replicas": 9}});
    let changed = it.patch(WEB, MERGE, both).await.expect(200);
    assert_eq!((&changed["metadata"]["generation"], &changed["status"]["replicas"]), (&json!(3), &json!(1)));
    let other = json!({"spec": {"selector": {"matchLabels": {"app": "other"}}, "template": {"metadata": {"labels": {"app": "other"}}}}});
    let refused = it.patch(WEB, MERGE, other).await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.message(),
        "Deployment.apps \"web\" is invalid: spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"other\"}}: field is immutable"
    );
}

#[tokio::test]
async fn a_scale_is_seen_and_set() {
    let it = Harness::new().await;
    let made = it.post(DEPLOYMENTS, deployment()).await.expect(201);
    it.set_status(WEB, json!({"replicas": 1})).await;
    let scale = it.get(SCALE).await.expect(200);
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(scale["metadata"]["uid"], made["metadata"]["uid"]);
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 1}), &json!({"replicas": 1, "selector": "app=web"}))
    );
    let table =
        it.call("GET", SCALE, &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")], "").await.expect(200);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("web"), json!(1), json!(1)]);

    let mut next = scale.clone();
    next["spec"]["replicas"] = 3.into();
    let set = it.put(&format!("{SCALE}?fieldManager=p"), next.clone()).await.expect(200);
    assert_eq!((&set["kind"], &set["spec"]), (&json!("Scale"), &json!({"replicas": 3})));
    let object = it.get(WEB).await.expect(200);
    assert_eq!((&object["spec"]["replicas"], &object["metadata"]["generation"]), (&json!(3), &json!(2)));
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|it| it["manager"] == "p").unwrap();
    assert_eq!(
        (&entry["subresource"], &entry["apiVersion"], &entry["fieldsV1"]),
        (&json!("scale"), &json!("apps/v1"), &json!({"f:spec": {"f:replicas": {}}}))
    );
    assert_eq!(it.put(SCALE, next.clone()).await.code, 409, "the revision is old");
    next["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    next["metadata"]["uid"] = "other".into();
    let refused = it.put(SCALE, next.clone()).await;
    assert!(
        refused.message().starts_with(
            "Operation cannot be fulfilled on deployments/scale.apps \"web\": Precondition failed: UID in precondition: other, UID in object meta: "
        ),
        "{}",
        refused.text
    );
    let negative = it.patch(SCALE, MERGE, json!({"spec": {"replicas": -1}})).await;
    assert_eq!(
        (negative.code, negative.message()),
        (
            422,
            "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        )
    );
    assert_eq!(it.patch(SCALE, MERGE, json!({"spec": {"replicas": 0}})).await.expect(200)["spec"], json!({}));
    let dry = it.patch(&format!("{SCALE}?dryRun=All"), STRATEGIC, json!({"spec": {"replicas": 9}})).await.expect(200);
    assert_eq!(dry["spec"]["replicas"], 9);
    assert_eq!(it.get(SCALE).await.expect(200)["spec"], json!({}));
    let absent = it.get("/apis/apps/v1/namespaces/n/deployments/nope/scale").await;
    assert_eq!((absent.code, absent.message()), (404, "deployments.apps \"nope\" not found"));
}

#[tokio::test]
async fn a_scale_is_applied_and_owned() {
    let it = Harness::new().await;
    let mut wanted = deployment();
    wanted["spec"]["replicas"] = 2.into();
    it.patch(&format!("{WEB}?fieldManager=owner"), APPLY, wanted).await.expect(201);
    let scale = |replicas: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": replicas}});
    let refused = it.patch(&format!("{SCALE}?fieldManager=scaler"), APPLY, scale(5)).await;
    assert_eq!(
        (refused.code, refused.message()),
        (409, "Apply failed with 1 conflict: conflict with \"owner\": .spec.replicas")
    );
    let same = it.patch(&format!("{SCALE}?fieldManager=scaler"), APPLY, scale(2)).await.expect(200);
    assert_eq!(same["spec"]["replicas"], 2);
    let managers = |object: &Value| -> Vec<(String, String, bool)> {
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let entries = object["metadata"]["managedFields"].as_array().unwrap().iter();
        entries
            .map(|it| {
                let owns = !it["fieldsV1"]["f:spec"]["f:replicas"].is_null();
                (text(it, "manager"), text(it, "subresource"), owns)
            })
            .collect()
    };
    let both = managers(&it.get(WEB).await.expect(200));
    assert_eq!(both, [("owner".into(), String::new(), true), ("scaler".into(), "scale".into(), true)]);
    it.patch(&format!("{SCALE}?fieldManager=scaler&force=true"), APPLY, scale(5)).await.expect(200);
    let object = it.get(WEB).await.expect(200);
    assert_eq!(object["spec"]["replicas"], 5);
    assert_eq!(managers(&object), [("owner".into(), String::new(), false), ("scaler".into(), "scale".into(), true)]);
    let again = it.patch(&format!("{SCALE}?fieldManager=scaler"), APPLY, scale(5)).await.expect(200);
    assert_eq!(again["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
    let mut other = scale(1);
    other["kind"] = "Pod".into();
    assert_eq!(it.patch(&format!("{SCALE}?fieldManager=x"), APPLY, other).await.code, 400);
}

#[tokio::test]
async fn an_eviction_asks_the_budget() {
    let it = Harness::new().await;
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {}}});
    it.post("/apis/policy/v1/namespaces/n/poddisruptionbudgets", budget).await.expect(201);
    for name in ["a", "b", "c"] {
        it.post(PODS, small(name)).await.expect(201);
    }
    let evict = async |name: &str, options: Value| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options});
        it.post(&format!("{PODS}/{name}/eviction"), eviction).await
    };
    evict("c", json!({})).await.expect(201);
    assert_eq!(it.get(&format!("{PODS}/c")).await.code, 404, "a pending pod costs nothing");
    for name in ["a", "b"] {
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        it.set_status(&format!("{PODS}/{name}"), ready).await;
    }
    let busy = evict("a", json!({})).await;
    assert_eq!((busy.code, busy.headers.get("retry-after").unwrap().to_str().unwrap()), (429, "10"));
    assert_eq!(
        busy.body["details"],
        json!({"retryAfterSeconds": 10, "causes": [{"reason": "DisruptionBudget", "message": "The disruption budget b is still being processed by the server."}]})
    );
    let status = json!({"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2});
    it.set_status(BUDGET, status).await;
    evict("a", json!({"dryRun": ["All"]})).await.expect(201);
    let wrong = evict("a", json!({"preconditions": {"uid": "x"}})).await;
    assert_eq!(wrong.code, 409, "and the disruption is spent, as in the reference");
    it.set_status(BUDGET, json!({"disruptionsAllowed": 1})).await;
    evict("a", json!({})).await.expect(201);
    assert_eq!(it.get(&format!("{PODS}/a")).await.code, 404);
    let spent = it.get(BUDGET).await.expect(200);
    assert_eq!((&spent["status"]["disruptionsAllowed"], &spent["metadata"]["generation"]), (&json!(0), &json!(1)));
    assert!(spent["status"]["disruptedPods"]["a"].is_string());
    let refused = evict("b", json!({})).await;
    assert_eq!((refused.code, refused.body["reason"].as_str().unwrap()), (429, "TooManyRequests"));
    assert_eq!(refused.message(), "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(
        refused.body["details"]["causes"][0],
        json!({"reason": "DisruptionBudget", "message": "The disruption budget b needs 1 healthy pods and has 2 currently"})
    );
    assert!(refused.headers.get("retry-after").is_none());
    let second = json!({"metadata": {"name": "b2"}, "spec": {"maxUnavailable": 1, "selector": {}}});
    it.post("/apis/policy/v1/namespaces/n/poddisruptionbudgets", second).await.expect(201);
    let two = evict("b", json!({})).await;
    assert_eq!(
        (two.code, two.message()),
        (500, "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
    );
    let misnamed = it.post(&format!("{PODS}/b/eviction"), json!({"metadata": {"name": "x"}})).await;
    assert_eq!((misnamed.code, misnamed.message()), (400, "name in URL does not match name in Eviction object"));
}

#[tokio::test]
async fn jobs_select_their_own_pods() {
    let it = Harness::new().await;
    let mut job = json!({"metadata": {"name": "j"}, "spec": {"template": template()["template"]}});
    let refused = it.post("/apis/batch/v1/namespaces/n/jobs", job.clone()).await;
    assert_eq!(
        refused.message(),
        "Job.batch \"j\" is invalid: spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""
    );
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never".into();
    let made = it.post("/apis/batch/v1/namespaces/n/jobs", job).await.expect(201);
    let uid = &made["metadata"]["uid"];
    assert_eq!(made["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
    let labels = json!({"app": "web", "job-name": "j", "controller-uid": uid,
        "batch.kubernetes.io/job-name": "j", "batch.kubernetes.io/controller-uid": uid});
    assert_eq!(made["spec"]["template"]["metadata"]["labels"], labels);
    let path = "/apis/batch/v1/namespaces/n/jobs/j";
    let larger =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}}}});
    let fixed = it.patch(path, STRATEGIC, larger.clone()).await;
    assert_eq!(fixed.code, 422);
    assert!(fixed.message().contains("spec.template: Invalid value"), "{}", fixed.text);
    it.patch(path, MERGE, json!({"spec": {"suspend": true}})).await.expect(200);
    let resized = it.patch(path, STRATEGIC, larger).await.expect(200);
    assert_eq!(resized["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"], "2");
    let ended = it.get("/apis/batch/v1/namespaces/n/jobs?fieldSelector=status.successful=0").await.expect(200);
    assert_eq!(ended["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn autoscalers_are_one_kind_in_two_versions() {
    let it = Harness::new().await;
    let old = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    let made = it.post("/apis/autoscaling/v1/namespaces/n/horizontalpodautoscalers", old).await.expect(201);
    assert_eq!((&made["apiVersion"], &made["spec"]["minReplicas"]), (&json!("autoscaling/v1"), &json!(1)));
    let path = "/apis/autoscaling/v2/namespaces/n/horizontalpodautoscalers/h";
    let seen = it.get(path).await.expect(200);
    assert_eq!(
        seen["spec"]["metrics"][0]["resource"]["target"],
        json!({"type": "Utilization", "averageUtilization": 50})
    );
    let more = json!({"spec": {"metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
    ]}});
    it.patch(path, MERGE, more).await.expect(200);
    let path = "/apis/autoscaling/v1/namespaces/n/horizontalpodautoscalers/h";
    it.patch(path, MERGE, json!({"spec": {"maxReplicas": 9}})).await.expect(200);
    let table =
        it.call("GET", path, &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")], "").await.expect(200);
    assert_eq!(
        table["rows"][0]["cells"].as_array().unwrap()[..6],
        [
            json!("h"),
            json!("Deployment/web"),
            json!("cpu: <unknown>/60%, memory: <unknown>/1Gi"),
            json!("1"),
            json!(9),
            json!(0)
        ]
    );
}

#[tokio::test]
async fn quotas_count_objects() {
    let it = Harness::new().await;
    let hard = json!({"count/deployments.apps": "1", "configmaps": "2"});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    it.post("/api/v1/namespaces/n/resourcequotas", quota).await.expect(201);
    // Until it has been counted it limits nothing, as in the reference: its status has no limits yet.
    it.post("/api/v1/namespaces/n/configmaps", json!({"metadata": {"name": "a"}})).await.expect(201);
    let status = json!({"hard": hard, "used": {"count/deployments.apps": "0", "configmaps": "1"}});
    it.set_status("/api/v1/namespaces/n/resourcequotas/q", status).await;
    it.post(&format!("{DEPLOYMENTS}?dryRun=All"), deployment()).await.expect(201);
    it.post(DEPLOYMENTS, deployment()).await.expect(201);
    let mut second = deployment();
    second["metadata"]["name"] = "second".into();
    let refused = it.post(DEPLOYMENTS, second).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            403,
            "deployments.apps \"second\" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=1, limited: count/deployments.apps=1"
        )
    );
    it.patch(WEB, MERGE, json!({"spec": {"replicas": 3}})).await.expect(200);
    let made = (0..4).map(|index| {
        let it = &it;
        async move {
            it.post("/api/v1/namespaces/n/configmaps", json!({"metadata": {"name": format!("c{index}")}})).await.code
        }
    });
    let mut codes = futures::future::join_all(made).await;
    codes.sort_unstable();
    assert_eq!(codes, [201, 403, 403, 403], "two cannot both take what is left");
    let used = it.get("/api/v1/namespaces/n/resourcequotas/q").await.expect(200)["status"]["used"].clone();
    assert_eq!(used, json!({"count/deployments.apps": "1", "configmaps": "2"}));
}
