//! What is wrong with a new pod, as people meet it.

use serde_json::{Value, json};

use crate::pipeline::{World, create};

/// The pod `{metadata: {name: p}, spec}` with `change` merged in: accepted, or the one message after `Pod "p" is invalid: `.
#[track_caller]
fn check(change: Value, expected: &str) {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app", "image": "i"}]}});
    json_patch::merge(&mut pod, &change);
    let got = match create(&World::default(), pod) {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => refusal.message(),
    };
    assert_eq!(got.strip_prefix("Pod \"p\" is invalid: ").unwrap_or(&got), expected);
}

fn containers(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

fn resources(resources: Value) -> Value {
    containers(json!([{"name": "app", "image": "i", "resources": resources}]))
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
    with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

#[test]
fn containers_have_names_and_images() {
    check(json!({}), "ok");
    check(containers(json!([])), "spec.containers: Required value");
    check(containers(json!([{"image": "i"}])), "spec.containers[0].name: Required value");
    check(containers(json!([{"name": "app"}])), "spec.containers[0].image: Required value");
    check(
        containers(json!([{"name": "App", "image": "i"}])),
        &format!("spec.containers[0].name: Invalid value: \"App\": {LABEL}"),
    );
    check(
        containers(json!([{"name": "a.b", "image": "i"}])),
        "spec.containers[0].name: Invalid value: \"a.b\": must not contain dots",
    );
    check(
        containers(json!([{"name": "app", "image": " i"}])),
        "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace",
    );
    check(
        containers(json!([{"name": "a", "image": "i"}, {"name": "a", "image": "i"}])),
        "spec.containers[1].name: Duplicate value: \"a\"",
    );
    check(
        json!({"spec": {"initContainers": [{"name": "app", "image": "i"}]}}),
        "spec.initContainers[0].name: Duplicate value: \"app\"",
    );
}

#[test]
fn pods_have_names() {
    check(
        json!({"metadata": {"name": null, "generateName": "p-"}}),
        "Pod \"\" is invalid: metadata.name: Required value: name or generateName is required",
    );
    let pod = json!({"metadata": {"name": "P"}, "spec": {"containers": [{"name": "app", "image": "i"}]}});
    let message = create(&World::default(), pod).unwrap_err().message();
    assert!(
        message
            .starts_with("Pod \"P\" is invalid: metadata.name: Invalid value: \"P\": a lowercase RFC 1123 subdomain")
    );
    check(
        json!({"metadata": {"labels": {"a": "b c"}}}),
        "metadata.labels: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, \
         '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
         regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    );
}

#[test]
fn what_only_comes_later_is_refused() {
    check(json!({"spec": null}), "spec.containers: Required value");
    check(
        json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "i"}]}}),
        "spec.ephemeralContainers: Forbidden: cannot be set on create",
    );
    check(
        json!({"spec": {"nodeName": "n", "schedulingGates": [{"name": "g"}]}}),
        "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
    );
}

#[test]
fn refused_values_are_quoted_as_go_quotes_them() {
    check(
        json!({"spec": {"restartPolicy": "a\"b\\\n\u{1}é"}}),
        "spec.restartPolicy: Unsupported value: \"a\\\"b\\\\\\n\\x01é\": supported values: \"Always\", \"Never\", \"OnFailure\"",
    );
    let much = "x".repeat(256 * 1024);
    check(
        json!({"metadata": {"annotations": {"a": much}}}),
        "metadata.annotations: Too long: may not be more than 262144 bytes",
    );
}

#[test]
fn words_are_out_of_their_lists() {
    check(
        json!({"spec": {"restartPolicy": "Sometimes"}}),
        "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
    );
    check(
        containers(json!([{"name": "app", "image": "i", "imagePullPolicy": "Maybe"}])),
        "spec.containers[0].imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
    );
    check(
        json!({"spec": {"dnsPolicy": "Mine"}}),
        "spec.dnsPolicy: Unsupported value: \"Mine\": supported values: \"ClusterFirst\", \"ClusterFirstWithHostNet\", \"Default\", \"None\"",
    );
    check(
        json!({"spec": {"os": {"name": "plan9"}}}),
        "spec.os.name: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
    );
    check(
        json!({"spec": {"activeDeadlineSeconds": 0}}),
        "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
    );
}

#[test]
fn resources_are_sound() {
    check(resources(json!({"requests": {"cpu": "1"}, "limits": {"cpu": 2}})), "ok");
    check(
        resources(json!({"requests": {"cpu": "-1"}})),
        "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
    );
    check(
        resources(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
        "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
    );
    check(
        resources(json!({"requests": {"storage": "1"}})),
        "spec.containers[0].resources.requests[storage]: Invalid value: \"storage\": must be a standard resource for containers",
    );
    check(
        resources(json!({"requests": {"disk": "1"}})),
        "[spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a standard resource type or fully \
         qualified, spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a standard resource for containers]",
    );
    check(
        resources(json!({"limits": {"example.com/gpu": "500m"}})),
        "[spec.containers[0].resources.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer, \
         spec.containers[0].resources.requests[example.com/gpu]: Invalid value: \"500m\": must be an integer]",
    );
    check(
        resources(json!({"requests": {"example.com/gpu": "1"}})),
        "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
    );
    check(
        resources(json!({"limits": {"hugepages-2Mi": "4Mi"}})),
        "spec.containers[0].resources: Forbidden: HugePages require cpu or memory",
    );
    check(
        resources(json!({"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}})),
        "[spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of \
         hugepages-2Mi, spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive \
         integer multiple of hugepages-2Mi]",
    );
}

#[test]
fn plain_init_containers_have_no_probes_and_do_not_restart() {
    let init = |change: Value| {
        let mut container = json!({"name": "i", "image": "i"});
        json_patch::merge(&mut container, &change);
        json!({"spec": {"initContainers": [container]}})
    };
    let probe = json!({"readinessProbe": {"exec": {"command": ["true"]}}});
    check(
        init(probe.clone()),
        "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
    );
    let mut sidecar = probe;
    sidecar["restartPolicy"] = json!("Always");
    check(init(sidecar), "ok");
    check(
        init(json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]})),
        "spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must not be set to \
         'RestartContainer' for non-sidecar initContainers",
    );
    check(
        init(json!({"resizePolicy": [{"resourceName": "cpu"}]})),
        "spec.initContainers[0].resizePolicy: Required value",
    );
}

#[test]
fn mounts_name_volumes() {
    let mount = containers(json!([{"name": "app", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]));
    check(mount.clone(), "spec.containers[0].volumeMounts[0].name: Not found: \"v\"");
    let mut with_volume = mount;
    with_volume["spec"]["volumes"] = json!([{"name": "v"}]);
    check(with_volume, "ok");
}

#[test]
fn defaults_as_the_reference_stores_them() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "a", "image": "registry:5000/a"}, {"name": "b", "image": "b:1"}, {"name": "c", "image": "c@sha256:0"}],
        "volumes": [{"name": "v"}],
        "schedulingGates": [{"name": "example.com/gate"}],
    }});
    let pod = create(&World::default(), pod).unwrap();
    let spec = pod.spec.as_ref().unwrap();
    let pull: Vec<_> = spec.containers.iter().map(|it| it.image_pull_policy.as_deref().unwrap()).collect();
    assert_eq!(pull, ["Always", "IfNotPresent", "IfNotPresent"]);
    assert_eq!(spec.restart_policy.as_deref(), Some("Always"));
    assert_eq!(spec.termination_grace_period_seconds, Some(30));
    assert!(spec.volumes.as_ref().unwrap()[0].empty_dir.is_some());
    let status = pod.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(status.conditions.unwrap()[0].reason.as_deref(), Some("SchedulingGated"));
}
