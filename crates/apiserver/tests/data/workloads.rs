//! What workloads, autoscalers, budgets and the kinds that are stored only are refused for, in the reference's words.

use serde_json::{Value, json};
use supple_apiserver::kinds::{self, Strategy};
use supple_apiserver::validate::rules::Rules;

fn rules(kind: &str) -> &'static Rules {
    match kinds::TABLE.iter().find(|it| it.kind == kind).map(|it| &it.strategy) {
        Some(Strategy::Rules(rules)) => rules,
        _ => panic!("{kind} is served and has rules"),
    }
}

/// `object` with each (pointer, value) set; null removes.
fn with(mut object: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let mut place = &mut object;
        for step in parent.split('/').skip(1) {
            place = match step.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[step],
            };
        }
        if value.is_null() {
            place.as_object_mut().unwrap().remove(field);
        } else {
            place[field] = value.clone();
        }
    }
    object
}

fn created(kind: &str, mut object: Value) -> Value {
    (rules(kind).default)(&mut object);
    (rules(kind).prepare_create)(&mut object);
    object
}

/// What a creation of `base` with `changes` is refused for.
#[track_caller]
fn check(kind: &str, base: &Value, changes: &[(&str, Value)], expected: &[&str]) {
    let object = created(kind, with(base.clone(), changes));
    let errors: Vec<String> = (rules(kind).validate_create)(&object).iter().map(ToString::to_string).collect();
    assert_eq!(errors, expected, "{kind} {changes:?}");
}

/// What an update of `base` by `changes` is refused for.
#[track_caller]
fn check_update(kind: &str, base: &Value, changes: &[(&str, Value)], expected: &[&str]) {
    let old = created(kind, base.clone());
    let mut new = with(old.clone(), changes);
    (rules(kind).default)(&mut new);
    (rules(kind).prepare_update)(&mut new, &old);
    let errors: Vec<String> = (rules(kind).validate_update)(&new, &old).iter().map(ToString::to_string).collect();
    assert_eq!(errors, expected, "{kind} {changes:?}");
}

fn workload(spec: Value) -> Value {
    let mut object = json!({
        "metadata": {"name": "w", "uid": "u"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

#[test]
fn deployments() {
    let base = workload(json!({}));
    let kind = "Deployment";
    check(kind, &base, &[], &[]);
    check(
        kind,
        &base,
        &[("/spec/replicas", json!(-1))],
        &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    );
    check(
        kind,
        &base,
        &[("/spec/selector", Value::Null)],
        &[
            "spec.selector: Required value",
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
        ],
    );
    check(
        kind,
        &base,
        &[("/spec/template/metadata/labels", json!({"a": "c"}))],
        &["spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`"],
    );
    check(
        kind,
        &base,
        &[("/spec/selector", json!({}))],
        &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
    );
    check(
        kind,
        &base,
        &[("/spec/selector", json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In"}]}))],
        &[
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
        ],
    );
    check(
        kind,
        &base,
        &[("/spec/template/spec/restartPolicy", json!("Never"))],
        &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
    );
    check(
        kind,
        &base,
        &[("/spec/template/spec/containers", json!([]))],
        &["spec.template.spec.containers: Required value"],
    );
    check(
        kind,
        &base,
        &[("/spec/template/spec/containers/0/resources", json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}))],
        &[
            "spec.template.spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ],
    );
    check(
        kind,
        &base,
        &[("/spec/strategy", json!({"type": "Recreate", "rollingUpdate": {}}))],
        &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
    );
    check(
        kind,
        &base,
        &[("/spec/strategy", json!({"type": "X"}))],
        &["spec.strategy.type: Unsupported value: \"X\": supported values: \"Recreate\", \"RollingUpdate\""],
    );
    check(
        kind,
        &base,
        &[("/spec/strategy", json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}))],
        &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0"],
    );
    check(
        kind,
        &base,
        &[("/spec/minReadySeconds", json!(600))],
        &["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
    );
    check_update(kind, &base, &[("/spec/replicas", json!(4))], &[]);
    check_update(
        kind,
        &base,
        &[("/spec/selector/matchLabels/c", json!("d")), ("/spec/template/metadata/labels/c", json!("d"))],
        &["spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable"],
    );
}

#[test]
fn sets() {
    let base = workload(json!({"serviceName": "s"}));
    check("ReplicaSet", &base, &[], &[]);
    check("StatefulSet", &base, &[], &[]);
    check(
        "StatefulSet",
        &base,
        &[("/spec/podManagementPolicy", json!("X")), ("/spec/replicas", json!(-2))],
        &[
            "spec.podManagementPolicy: Invalid value: \"X\": must be 'OrderedReady' or 'Parallel'",
            "spec.replicas: Invalid value: -2: must be greater than or equal to 0",
        ],
    );
    check(
        "StatefulSet",
        &base,
        &[("/spec/selector", json!({})), ("/spec/updateStrategy", json!({"type": "OnDelete", "rollingUpdate": {}}))],
        &[
            "spec.updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy 'RollingUpdate'",
            "spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
        ],
    );
    let forbidden = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    check_update("StatefulSet", &base, &[("/spec/serviceName", json!("t"))], &[forbidden]);
    check_update("StatefulSet", &base, &[("/spec/podManagementPolicy", json!("Parallel"))], &[forbidden]);
    check_update(
        "StatefulSet",
        &base,
        &[("/spec/replicas", json!(3)), ("/spec/minReadySeconds", json!(3)), ("/spec/ordinals", json!({"start": 1}))],
        &[],
    );
    check("DaemonSet", &base, &[], &[]);
    check(
        "DaemonSet",
        &base,
        &[("/spec/updateStrategy", json!({"rollingUpdate": {"maxSurge": 1}}))],
        &[
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
        ],
    );
    check(
        "DaemonSet",
        &base,
        &[("/spec/updateStrategy", json!({"rollingUpdate": {"maxUnavailable": 0}}))],
        &["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
    );
    let revision = json!({"metadata": {"name": "r"}, "data": {"x": 1}, "revision": 1});
    check("ControllerRevision", &revision, &[("/data", Value::Null)], &["data: Required value: data is mandatory"]);
    check_update(
        "ControllerRevision",
        &revision,
        &[("/data", json!({"x": 2}))],
        &["data: Invalid value: {\"x\":2}: field is immutable"],
    );
}

#[test]
fn jobs_and_cron_jobs() {
    let base = with(
        workload(json!({})),
        &[("/spec/selector", Value::Null), ("/spec/template/spec/restartPolicy", json!("Never"))],
    );
    let kind = "Job";
    check(kind, &base, &[], &[]);
    let made = created(kind, base.clone());
    assert_eq!(
        [&made["spec"]["backoffLimit"], &made["spec"]["completionMode"], &made["spec"]["podReplacementPolicy"]],
        [&json!(6), &json!("NonIndexed"), &json!("TerminatingOrFailed")]
    );
    check(
        kind,
        &base,
        &[("/spec/backoffLimit", json!(-1))],
        &["spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"],
    );
    check(
        kind,
        &base,
        &[("/spec/completionMode", json!("Indexed")), ("/spec/parallelism", json!(2))],
        &["spec.completions: Required value: when completion mode is Indexed"],
    );
    check_update(kind, &base, &[("/spec/parallelism", json!(5))], &[]);
    check_update(
        kind,
        &base,
        &[("/spec/completions", json!(5))],
        &["spec.completions: Invalid value: 5: field is immutable"],
    );
    check_update(
        kind,
        &base,
        &[("/spec/completionMode", json!("Indexed"))],
        &["spec.completionMode: Invalid value: \"Indexed\": field is immutable"],
    );
    let elastic = with(
        base.clone(),
        &[("/spec/completionMode", json!("Indexed")), ("/spec/completions", json!(2)), ("/spec/parallelism", json!(2))],
    );
    check_update(kind, &elastic, &[("/spec/completions", json!(3)), ("/spec/parallelism", json!(3))], &[]);

    let cron =
        json!({"metadata": {"name": "c"}, "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": base["spec"]}}});
    let kind = "CronJob";
    check(kind, &cron, &[], &[]);
    check(kind, &cron, &[("/spec/schedule", json!(""))], &["spec.schedule: Required value"]);
    check(
        kind,
        &cron,
        &[("/spec/schedule", json!("* *"))],
        &["spec.schedule: Invalid value: \"* *\": expected exactly 5 fields, found 2: [* *]"],
    );
    check(
        kind,
        &cron,
        &[("/spec/timeZone", json!("Nowhere/Land"))],
        &["spec.timeZone: Invalid value: \"Nowhere/Land\": unknown time zone Nowhere/Land"],
    );
    check(
        kind,
        &cron,
        &[("/spec/concurrencyPolicy", json!("X"))],
        &["spec.concurrencyPolicy: Unsupported value: \"X\": supported values: \"Allow\", \"Forbid\", \"Replace\""],
    );
    check(
        kind,
        &cron,
        &[("/metadata/name", json!("n".repeat(53)))],
        &[&format!("metadata.name: Invalid value: {:?}: must be no more than 52 characters", "n".repeat(53))],
    );
}

#[test]
fn autoscalers_and_budgets() {
    let base = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "w"}}});
    let kind = "HorizontalPodAutoscaler";
    check(kind, &base, &[], &[]);
    check(
        kind,
        &base,
        &[("/spec/minReplicas", json!(5))],
        &["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
    );
    check(
        kind,
        &base,
        &[("/spec/maxReplicas", json!(0)), ("/spec/minReplicas", json!(0)), ("/spec/scaleTargetRef/name", json!(""))],
        &[
            "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
            "spec.maxReplicas: Invalid value: 0: must be greater than 0",
            "spec.scaleTargetRef.name: Required value",
        ],
    );
    check(
        kind,
        &base,
        &[(
            "/spec/metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]),
        )],
        &[
            "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
        ],
    );
    check(
        kind,
        &base,
        &[("/spec/behavior", json!({"scaleDown": {"stabilizationWindowSeconds": 4000}}))],
        &[
            "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600",
        ],
    );
    let base = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}});
    let kind = "PodDisruptionBudget";
    check(kind, &base, &[], &[]);
    check(
        kind,
        &base,
        &[("/spec/maxUnavailable", json!("20%")), ("/spec/selector", Value::Null)],
        &[
            "spec: Invalid value: {\"maxUnavailable\":\"20%\",\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
        ],
    );
    check(
        kind,
        &base,
        &[("/spec/minAvailable", json!("120%"))],
        &["spec.minAvailable: Invalid value: \"120%\": must not be greater than 100%"],
    );
    check(
        kind,
        &base,
        &[("/spec/unhealthyPodEvictionPolicy", json!("Never"))],
        &[
            "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Never\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
        ],
    );
}

#[test]
fn what_is_stored_only() {
    let service = json!({"metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}});
    check("Service", &service, &[], &[]);
    let made = created("Service", service.clone());
    assert_eq!(made["spec"]["ports"][0], json!({"port": 80, "protocol": "TCP", "targetPort": 80}));
    check("Service", &service, &[("/spec/ports", json!([]))], &["spec.ports: Required value"]);
    check(
        "Service",
        &service,
        &[("/spec/ports/0/port", json!(0))],
        &["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
    );
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    check("PersistentVolumeClaim", &claim, &[], &[]);
    check(
        "PersistentVolumeClaim",
        &claim,
        &[("/spec/accessModes", json!([])), ("/spec/resources", Value::Null)],
        &[
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value",
        ],
    );
    check_update("PersistentVolumeClaim", &claim, &[("/spec/resources/requests/storage", json!("2Gi"))], &[]);
    let role = json!({"metadata": {"name": "system:x", "namespace": "n"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
    check("Role", &role, &[], &[]);
    check(
        "Role",
        &role,
        &[("/rules/0/verbs", json!([]))],
        &["rules[0].verbs: Required value: verbs must contain at least one value"],
    );
    let binding = json!({"metadata": {"name": "b", "namespace": "n"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]});
    check("RoleBinding", &binding, &[], &[]);
    check_update(
        "RoleBinding",
        &binding,
        &[("/roleRef/name", json!("q"))],
        &[
            "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"q\"}: cannot change roleRef",
        ],
    );
}
