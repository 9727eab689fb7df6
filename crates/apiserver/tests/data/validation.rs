//! Validation and defaulting of the kinds that are not pods.

use proptest::prelude::*;
use serde_json::{Value, json};
use supple_apiserver::kinds::{self, Resource, Strategy as Hooks};
use supple_apiserver::validate::rules::{Rules, event};
use supple_apiserver::validate::{self, FieldError};

fn resource(kind: &str) -> &'static Resource {
    kinds::TABLE.iter().find(|it| it.kind == kind).expect("served")
}

fn rules(kind: &str) -> &'static Rules {
    match resource(kind).strategy {
        Hooks::Rules(rules) => rules,
        Hooks::Pod | Hooks::Custom(_) => panic!("pods and custom resources are validated elsewhere"),
    }
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// What a creation of `object` is refused for.
#[track_caller]
fn check(kind: &str, object: Value, expected: &[&str]) {
    let mut object = object;
    (rules(kind).default)(&mut object);
    (rules(kind).prepare_create)(&mut object);
    assert_eq!(texts(&(rules(kind).validate_create)(&object)), expected, "{object}");
}

/// What an update from `old` to `new` is refused for.
#[track_caller]
fn check_update(kind: &str, old: Value, new: Value, expected: &[&str]) {
    let (mut old, mut new) = (old, new);
    (rules(kind).default)(&mut old);
    (rules(kind).default)(&mut new);
    (rules(kind).prepare_update)(&mut new, &old);
    assert_eq!(texts(&(rules(kind).validate_update)(&new, &old)), expected, "{old} -> {new}");
}

/// What creation makes of `object`.
#[track_caller]
fn check_created(kind: &str, object: Value, expected: Value) {
    let mut object = object;
    (rules(kind).default)(&mut object);
    (rules(kind).prepare_create)(&mut object);
    assert_eq!(object, expected);
}

#[track_caller]
fn check_metadata(kind: &str, metadata: Value, expected: &[&str]) {
    assert_eq!(texts(&validate::metadata(resource(kind), &json!({"metadata": metadata}))), expected, "{metadata}");
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

#[test]
fn metadata_is_checked() {
    check_metadata("ConfigMap", json!({"name": "a.b", "labels": {"a/b": "c"}, "annotations": {"x": "any thing"}}), &[]);
    check_metadata("ConfigMap", json!({"name": "A"}), &[&format!("metadata.name: Invalid value: \"A\": {SUBDOMAIN}")]);
    check_metadata("ConfigMap", json!({}), &["metadata.name: Required value: name or generateName is required"]);
    check_metadata(
        "Namespace",
        json!({"name": "a.b"}),
        &["metadata.name: Invalid value: \"a.b\": must not contain dots"],
    );
    check_metadata("Namespace", json!({}), &["metadata.name: Required value: name or generateName is required"]);
    check_metadata("Node", json!({"name": "a.b"}), &[]);
    check_metadata(
        "ConfigMap",
        json!({"name": "a", "annotations": {"x": "y".repeat(300_000)}}),
        &["metadata.annotations: Too long: may not be more than 262144 bytes"],
    );
    check_metadata(
        "ConfigMap",
        json!({"name": "a", "labels": {"x": "y".repeat(64)}}),
        &[&format!("metadata.labels: Invalid value: \"{}\": must be no more than 63 bytes", "y".repeat(64))],
    );
    check_metadata(
        "ConfigMap",
        json!({"name": "a", "finalizers": ["orphan", "foregroundDeletion"]}),
        &[
            "metadata.finalizers: Invalid value: \"[orphan foregroundDeletion]\": finalizer orphan and foregroundDeletion cannot be both set",
        ],
    );
}

#[test]
fn metadata_keeps_its_identity() {
    let check = |old: Value, new: Value, expected: &[&str]| {
        let errors = validate::metadata_update(&json!({"metadata": new}), &json!({"metadata": old}));
        assert_eq!(texts(&errors), expected);
    };
    check(json!({"name": "a", "uid": "1"}), json!({"name": "a", "uid": "1"}), &[]);
    check(
        json!({"name": "a", "uid": "1"}),
        json!({"name": "a", "uid": "2"}),
        &["metadata.uid: Invalid value: \"2\": field is immutable"],
    );
    check(
        json!({"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x.y/z"]}),
        json!({"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x.y/z", "a.b/c"]}),
        &[
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a.b/c\"}",
        ],
    );
}

#[test]
fn config_maps() {
    check("ConfigMap", json!({"data": {"a.b_c-D": "x"}, "binaryData": {"e": "AA=="}}), &[]);
    check(
        "ConfigMap",
        json!({"data": {"a b": "x", "..": "y"}}),
        &[
            "data[..]: Invalid value: \"..\": must not be '..'",
            "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        ],
    );
    check(
        "ConfigMap",
        json!({"data": {"a": "x"}, "binaryData": {"a": "AA=="}}),
        &["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"],
    );
    check(
        "ConfigMap",
        json!({"data": {"a": "x".repeat(1_048_577)}}),
        &["[]: Too long: may not be more than 1048576 bytes"],
    );
    let frozen = json!({"data": {"a": "x"}, "immutable": true});
    check_update("ConfigMap", frozen.clone(), frozen.clone(), &[]);
    check_update(
        "ConfigMap",
        frozen,
        json!({"data": {"a": "y"}}),
        &[
            "immutable: Forbidden: field is immutable when `immutable` is set",
            "data: Forbidden: field is immutable when `immutable` is set",
        ],
    );
}

#[test]
fn secrets() {
    check_created(
        "Secret",
        json!({"stringData": {"a": "hello"}, "data": {"a": "eA==", "b": "eQ=="}}),
        json!({"type": "Opaque", "data": {"a": "aGVsbG8=", "b": "eQ=="}}),
    );
    check_created("Secret", json!({"type": "x.y/z"}), json!({"type": "x.y/z"}));
    check(
        "Secret",
        json!({"type": "kubernetes.io/tls"}),
        &["data[tls.crt]: Required value", "data[tls.key]: Required value"],
    );
    check(
        "Secret",
        json!({"type": "kubernetes.io/basic-auth"}),
        &["data[username]: Required value", "data[password]: Required value"],
    );
    check("Secret", json!({"type": "kubernetes.io/basic-auth", "stringData": {"username": "u"}}), &[]);
    check("Secret", json!({"type": "kubernetes.io/ssh-auth"}), &["data[ssh-privatekey]: Required value"]);
    check("Secret", json!({"type": "kubernetes.io/dockerconfigjson"}), &["data[.dockerconfigjson]: Required value"]);
    check(
        "Secret",
        json!({"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "{"}}),
        &["data[.dockercfg]: Invalid value: \"<secret contents redacted>\": unexpected end of JSON input"],
    );
    check(
        "Secret",
        json!({"type": "kubernetes.io/service-account-token"}),
        &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
    );
    check_update(
        "Secret",
        json!({"type": "a/b"}),
        json!({"type": "c/d"}),
        &["type: Invalid value: \"c/d\": field is immutable"],
    );
    check_update(
        "Secret",
        json!({"immutable": true, "data": {"a": "eA=="}}),
        json!({"immutable": true}),
        &["data: Forbidden: field is immutable when `immutable` is set"],
    );
}

fn limits(item: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [item]}})
}

#[test]
fn limit_ranges() {
    check_created(
        "LimitRange",
        limits(
            json!({"type": "Container", "max": {"cpu": "2", "memory": "1Gi"}, "min": {"cpu": "100m"}, "default": {"cpu": "1"}}),
        ),
        limits(
            json!({"type": "Container", "max": {"cpu": "2", "memory": "1Gi"}, "min": {"cpu": "100m"}, "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "1", "memory": "1Gi"}}),
        ),
    );
    check_created(
        "LimitRange",
        limits(json!({"type": "Pod", "max": {"cpu": "2"}})),
        limits(json!({"type": "Pod", "max": {"cpu": "2"}})),
    );
    check("LimitRange", limits(json!({"type": "Pod", "max": {"cpu": "2"}, "min": {"cpu": "1"}})), &[]);
    check(
        "LimitRange",
        limits(json!({"type": "Pod", "max": {"cpu": "1"}, "min": {"cpu": "2"}})),
        &["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"],
    );
    check(
        "LimitRange",
        limits(json!({"type": "Pod", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}})),
        &[
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            "spec.limits[0].defaultRequest: Forbidden: may not be specified when `type` is 'Pod'",
        ],
    );
    check(
        "LimitRange",
        limits(
            json!({"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "500m"}, "default": {"cpu": "2"}, "defaultRequest": {"cpu": "3"}}),
        ),
        &[
            "spec.limits[0].defaultRequest[cpu]: Invalid value: \"3\": default request value 3 is greater than max value 1",
            "spec.limits[0].defaultRequest[cpu]: Invalid value: \"3\": default request value 3 is greater than default limit value 2",
            "spec.limits[0].default[cpu]: Invalid value: \"1\": default value 2 is greater than max value 1",
        ],
    );
    check(
        "LimitRange",
        limits(
            json!({"type": "Container", "min": {"cpu": "2"}, "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}),
        ),
        &[
            "spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default request value 1",
            "spec.limits[0].default[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1",
        ],
    );
    check(
        "LimitRange",
        limits(json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "500m"}})),
        &["spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1"],
    );
    check(
        "LimitRange",
        limits(json!({"type": "Pod", "min": {"cpu": "3"}, "max": {"cpu": "4"}, "maxLimitRequestRatio": {"cpu": "2"}})),
        &["spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"2\": ratio 2 is greater than max/min = 1.333333"],
    );
    check(
        "LimitRange",
        limits(json!({"type": "Pod", "max": {"disk": "1"}})),
        &["spec.limits[0].max[disk]: Invalid value: \"disk\": must be a standard resource for containers"],
    );
    check(
        "LimitRange",
        limits(json!({"type": "Foo"})),
        &["spec.limits[0].type: Invalid value: \"Foo\": must be a standard limit type or fully qualified"],
    );
    check(
        "LimitRange",
        limits(json!({"type": "PersistentVolumeClaim"})),
        &[
            "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
        ],
    );
    check(
        "LimitRange",
        limits(
            json!({"type": "Container", "default": {"example.com/gpu": "2"}, "defaultRequest": {"example.com/gpu": "1"}}),
        ),
        &[
            "spec.limits[0].defaultRequest[example.com/gpu]: Invalid value: \"1\": default value 2 must equal to defaultRequest value 1 in example.com/gpu",
        ],
    );
    let twice = json!({"spec": {"limits": [{"type": "Pod"}, {"type": "Pod"}]}});
    check("LimitRange", twice, &["spec.limits[1].type: Duplicate value: \"Pod\""]);
}

#[test]
fn quotas() {
    let quota =
        |hard: Value, scopes: Value| json!({"metadata": {"name": "q"}, "spec": {"hard": hard, "scopes": scopes}});
    check(
        "ResourceQuota",
        quota(
            json!({"pods": "3", "requests.cpu": "1500m", "limits.memory": "1Gi", "count/pods": "2", "example.com/x": "1", "requests.hugepages-2Mi": "2Mi"}),
            json!([]),
        ),
        &[],
    );
    check(
        "ResourceQuota",
        quota(json!({"disk": "3"}), json!([])),
        &["spec.hard[disk]: Invalid value: \"disk\": must be a standard resource for quota"],
    );
    check(
        "ResourceQuota",
        quota(json!({"pods": "-1"}), json!([])),
        &["spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0"],
    );
    check(
        "ResourceQuota",
        quota(json!({"pods": "1500m"}), json!([])),
        &["spec.hard[pods]: Invalid value: \"1500m\": must be an integer"],
    );
    check(
        "ResourceQuota",
        quota(json!({"pods": "1"}), json!(["BestEffort", "NotBestEffort"])),
        &["spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"],
    );
    check(
        "ResourceQuota",
        quota(json!({"services": "1"}), json!(["NotBestEffort"])),
        &["spec.scopes: Invalid value: [\"NotBestEffort\"]: unsupported scope applied to resource"],
    );
    check(
        "ResourceQuota",
        quota(json!({"requests.cpu": "1"}), json!(["BestEffort"])),
        &["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"],
    );
    check(
        "ResourceQuota",
        quota(json!({}), json!(["Foo"])),
        &["spec.scopes: Invalid value: [\"Foo\"]: unsupported scope"],
    );
    check_update(
        "ResourceQuota",
        quota(json!({}), json!(["BestEffort"])),
        quota(json!({}), json!([])),
        &["spec.scopes: Invalid value: []: field is immutable"],
    );
    check_created("ResourceQuota", json!({"spec": {}, "status": {"hard": {"pods": "1"}}}), json!({"spec": {}}));
    let mut new = json!({"spec": {"hard": {"pods": "2"}}, "status": {"used": {"pods": "9"}}});
    let old = json!({"spec": {"hard": {"pods": "1"}}, "status": {"used": {"pods": "0"}}});
    (rules("ResourceQuota").prepare_update)(&mut new, &old);
    assert_eq!(new, json!({"spec": {"hard": {"pods": "2"}}, "status": {"used": {"pods": "0"}}}));
    let mut new = json!({"spec": {"hard": {"pods": "2"}}, "status": {"used": {"pods": "9"}}});
    (rules("ResourceQuota").prepare_status)(&mut new, &old);
    assert_eq!(new, json!({"spec": {"hard": {"pods": "1"}}, "status": {"used": {"pods": "9"}}}));
}

#[test]
fn namespaces_and_nodes() {
    check_created(
        "Namespace",
        json!({"metadata": {"name": "n"}, "status": {"phase": "Terminating"}}),
        json!({"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}),
    );
    let status = |object: Value| texts(&(rules("Namespace").validate_status)(&object, &json!({})));
    assert_eq!(
        status(json!({"status": {"phase": "Terminating"}})),
        ["status.phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"]
    );
    assert_eq!(
        status(json!({"metadata": {"deletionTimestamp": "x"}, "status": {"phase": "Terminating"}})),
        Vec::<String>::new()
    );
    check_created(
        "Node",
        json!({"status": {"capacity": {"cpu": "4"}}}),
        json!({"status": {"capacity": {"cpu": "4"}, "allocatable": {"cpu": "4"}}}),
    );
    check(
        "Node",
        json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "Maybe"}, {"key": "c"}]}, "status": {"capacity": {"cpu": "-1"}, "allocatable": {}}}),
        &[
            "spec.taints[1]: Duplicate value: \"a:NoSchedule\"",
            "spec.taints[2].effect: Unsupported value: \"Maybe\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            "spec.taints[3].effect: Required value",
            "status.capacity[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ],
    );
    check_update(
        "Node",
        json!({"spec": {"providerID": "a"}}),
        json!({"spec": {"providerID": "b"}}),
        &["spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid"],
    );
    check_update("Node", json!({"spec": {}}), json!({"spec": {"providerID": "b"}}), &[]);
}

#[test]
fn leases_and_priority_classes() {
    check(
        "Lease",
        json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}),
        &[
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
    check("Lease", json!({"spec": {"leaseDurationSeconds": 15, "holderIdentity": "me"}}), &[]);
    check_created(
        "PriorityClass",
        json!({"metadata": {"name": "p"}, "value": 5}),
        json!({"metadata": {"name": "p", "generation": 1}, "value": 5, "preemptionPolicy": "PreemptLowerPriority"}),
    );
    check(
        "PriorityClass",
        json!({"metadata": {"name": "p"}, "value": 1_000_000_001}),
        &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    );
    check(
        "PriorityClass",
        json!({"metadata": {"name": "system-mine"}}),
        &[
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class",
        ],
    );
    check("PriorityClass", json!({"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}), &[]);
    check(
        "PriorityClass",
        json!({"metadata": {"name": "p"}, "preemptionPolicy": "x"}),
        &["preemptionPolicy: Unsupported value: \"x\": supported values: \"Never\", \"PreemptLowerPriority\""],
    );
    check_update(
        "PriorityClass",
        json!({"metadata": {}, "value": 1}),
        json!({"metadata": {}, "value": 2}),
        &["value: Forbidden: may not be changed in an update."],
    );
}

#[test]
fn events() {
    check("Event", json!({"metadata": {"namespace": "a"}, "involvedObject": {"namespace": "a"}}), &[]);
    check("Event", json!({"metadata": {"namespace": "default"}, "involvedObject": {"kind": "Node"}}), &[]);
    check(
        "Event",
        json!({"metadata": {"namespace": "a"}, "involvedObject": {"namespace": "b"}}),
        &["involvedObject.namespace: Invalid value: \"b\": does not match event.namespace"],
    );
    check(
        "Event",
        json!({"metadata": {"namespace": "a"}, "regarding": {"namespace": "b"}}),
        &["regarding.namespace: Invalid value: \"b\": does not match event.namespace"],
    );
    check(
        "Event",
        json!({"metadata": {"namespace": "a"}, "regarding": {"namespace": "a"}, "eventTime": "x", "reportingInstance": "i", "action": "a"}),
        &["reportingController: Required value", "reason: Required value"],
    );
    let event = json!({"apiVersion": "events.k8s.io/v1", "note": "n", "regarding": {"name": "p"}, "reportingController": "c", "deprecatedCount": 2, "series": {"count": 1}});
    let stored = event::to_core(event.clone());
    assert_eq!(
        stored,
        json!({"apiVersion": "v1", "message": "n", "involvedObject": {"name": "p"}, "reportingComponent": "c", "count": 2, "series": {"count": 1}})
    );
    assert_eq!(event::from_core(stored), event);
}

proptest! {
    /// Whatever a normalised object holds, no rule panics on it.
    #[test]
    fn no_rule_panics(
        name in "[a-zA-Z0-9./-]{0,12}",
        amounts in prop::collection::btree_map("[a-z./-]{0,10}", "-?[0-9]{1,22}[mkMGTPE]?i?", 0..4),
        kind in prop::sample::select(vec!["Pod", "Container", "PersistentVolumeClaim", ""]),
    ) {
        let object = json!({
            "metadata": {"name": name, "labels": {name.clone(): name}, "finalizers": [name]},
            "data": {name.clone(): "eA=="}, "stringData": {name.clone(): name}, "type": name, "value": 7,
            "spec": {"hard": amounts, "scopes": [name], "taints": [{"key": name}],
                "limits": [{"type": kind, "max": amounts, "min": amounts, "default": amounts, "defaultRequest": amounts, "maxLimitRequestRatio": amounts}]},
            "status": {"hard": amounts, "capacity": amounts},
        });
        for resource in kinds::TABLE {
            let Hooks::Rules(rules) = resource.strategy else { continue };
            let mut new = object.clone();
            (rules.default)(&mut new);
            (rules.prepare_create)(&mut new);
            (rules.prepare_update)(&mut new, &object);
            (rules.prepare_status)(&mut new, &object);
            let _ = validate::metadata(resource, &new);
            let _ = validate::metadata_update(&new, &object);
            let _ = (rules.validate_create)(&new);
            let _ = (rules.validate_update)(&new, &object);
            let _ = (rules.validate_status)(&new, &object);
        }
    }
}
