//! `validate-pod-resize.txt`: the reference's validator alone, without defaults and strategy.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateWaiting, ContainerStatus, NodeAllocatableResourceClaimStatus,
    Pod, PodResourceClaim, PodStatus, ResourceClaim, ResourceRequirements,
};
use serde_json::{Value, json};
use supple_resize::field::{FieldError, join};
use supple_resize::{defaults, validate};

use crate::data;

/// A pod in the file's notation: `pod:`, `c[name]:`, `init[name]:`, `sidecar[name]:` with `req{}`, `lim{}` and `rp=[]`.
fn pod(text: &str) -> Pod {
    let mut spec = json!({"containers": [], "initContainers": []});
    let mut stated = Vec::new();
    for part in text.split("; ") {
        if let Some(os) = part.strip_prefix("os=") {
            spec["os"] = json!({"name": os});
            continue;
        }
        let (who, what) = part.split_once(':').unwrap();
        let requirements = requirements(what);
        if who == "pod" {
            spec["resources"] = serde_json::to_value(requirements).unwrap();
            continue;
        }
        let (kind, name) = who.trim_end_matches(']').split_once('[').unwrap();
        let mut container = json!({"name": name, "image": "image", "resizePolicy": policies(what)});
        if kind == "sidecar" {
            container["restartPolicy"] = json!("Always");
        }
        let list = if kind == "c" { "containers" } else { "initContainers" };
        spec[list].as_array_mut().unwrap().push(container);
        stated.push((list, requirements));
    }
    let mut pod: Pod =
        serde_json::from_value(json!({"metadata": {"name": "pod", "namespace": "default"}, "spec": spec})).unwrap();
    // The validator is fed without defaults of resources, so they are stated only after all others are filled in.
    let pod_level = pod.spec.as_mut().unwrap().resources.take();
    defaults::apply(&mut pod);
    let spec = pod.spec.as_mut().unwrap();
    spec.resources = pod_level;
    let of =
        |list: &str| stated.iter().filter(|it| it.0 == list).map(|it| it.1.clone()).collect::<Vec<_>>().into_iter();
    let (regular, init) = (of("containers"), of("initContainers"));
    for (container, requirements) in spec.containers.iter_mut().zip(regular) {
        container.resources = Some(requirements);
    }
    for (container, requirements) in spec.init_containers.iter_mut().flatten().zip(init) {
        container.resources = Some(requirements);
    }
    pod
}

/// The text between `open` and the closing `close` after it.
fn between<'a>(text: &'a str, open: &str, close: char) -> &'a str {
    text.split_once(open).and_then(|(_, rest)| rest.split_once(close)).map_or("", |(inner, _)| inner)
}

fn requirements(text: &str) -> ResourceRequirements {
    let list = |inner: &str| -> Value {
        let entries = inner.split(',').filter(|it| !it.is_empty()).map(|it| it.split_once('=').unwrap());
        entries.map(|(name, amount)| (name.to_owned(), Value::from(amount))).collect::<serde_json::Map<_, _>>().into()
    };
    let value = json!({"requests": list(between(text, "req{", '}')), "limits": list(between(text, "lim{", '}'))});
    serde_json::from_value(value).unwrap()
}

fn policies(text: &str) -> Value {
    let entries =
        between(text, "rp=[", ']').split("} {").map(|it| it.trim_matches(['{', '}'])).filter(|it| !it.is_empty());
    let of = |it: &str| it.split_once(' ').map(|(name, policy)| json!({"resourceName": name, "restartPolicy": policy}));
    entries.filter_map(of).collect()
}

fn status(state: ContainerState, resources: Option<ResourceRequirements>) -> PodStatus {
    let status = ContainerStatus { name: "container".to_owned(), state: Some(state), resources, ..Default::default() };
    PodStatus { container_statuses: Some(vec![status]), ..Default::default() }
}

/// What the notation does not say and the case's name does.
fn set_the_scene(name: &str, new: &mut Pod, old: &mut Pod) -> validate::Options {
    // The reference's table calls the validator without what its strategy works out from the stored pod.
    let mut options = validate::Options { tolerate_stored: false, ..Default::default() };
    let running = ContainerState { running: Some(ContainerStateRunning::default()), ..Default::default() };
    match name {
        "Pod with nil Resource field in Status" => old.status = Some(status(running, None)),
        "Pod with non-nil Resources field in Status" => old.status = Some(status(running, Some(Default::default()))),
        "Pod with containers which are not running yet" => {
            let waiting = ContainerState { waiting: Some(ContainerStateWaiting::default()), ..Default::default() };
            old.status = Some(status(waiting, None));
        }
        "Resize pod with NodeAllocatableResourceClaimStatuses" => {
            old.status = Some(PodStatus {
                node_allocatable_resource_claim_statuses: Some(vec![NodeAllocatableResourceClaimStatus::default()]),
                ..Default::default()
            });
        }
        "X:static" => {
            let mirror = ("kubernetes.io/config.mirror".to_owned(), "x".to_owned());
            old.metadata.annotations = Some([mirror].into());
        }
        "X:container with DRA claims, cpu resize" | "X:container with DRA claims, no change" => {
            for pod in [new, old] {
                let spec = pod.spec.as_mut().unwrap();
                spec.resource_claims = Some(vec![PodResourceClaim { name: "claim".to_owned(), ..Default::default() }]);
                let claim = ResourceClaim { name: "claim".to_owned(), ..Default::default() };
                spec.containers[0].resources.as_mut().unwrap().claims = Some(vec![claim]);
            }
        }
        "X:image change kept" => new.spec.as_mut().unwrap().containers[0].image = Some("other".to_owned()),
        "X:pod-level gate off" => options.pod_level_resize = false,
        "X:phase Succeeded resize" => {
            old.status = Some(PodStatus { phase: Some("Succeeded".to_owned()), ..Default::default() });
        }
        "X:status qos burstable, shape guaranteed unchanged class" => {
            old.status = Some(PodStatus { qos_class: Some("Burstable".to_owned()), ..Default::default() });
        }
        name if name.contains("FG disabled") => options.init_container_resize = false,
        _ => {}
    }
    options
}

/// Whether `errors` are those of `recorded`, in any order within what the reference reports at random.
fn same(errors: &[FieldError], recorded: &str) -> bool {
    if errors.is_empty() || recorded.is_empty() {
        return errors.is_empty() && recorded.is_empty();
    }
    let ours = join(errors);
    let mut rest = recorded.to_owned();
    for error in errors {
        rest = rest.replacen(&error.to_string(), "", 1);
    }
    ours.len() == recorded.len() && rest.chars().all(|it| "[], ".contains(it))
}

#[test]
fn validates_as_recorded() {
    let Some(text) = data::read("validate-pod-resize.txt") else { return };
    let mut differences = Vec::new();
    let mut ran = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("CASE|")) {
        let [name, old, new, wanted, whole] = line.splitn(5, '|').collect::<Vec<_>>()[..] else {
            panic!("not a case: {line}");
        };
        let (mut new, mut old) = (pod(new), pod(old));
        let mut options = set_the_scene(name, &mut new, &mut old);
        // An artefact of the recorded fixture: a policy that is present and empty, on a server without that gate.
        if whole.contains("restartPolicy: Unsupported value: \"\"") {
            options.container_restart_policy = false;
            for pod in [&mut new, &mut old] {
                pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].restart_policy = Some(String::new());
            }
        }
        let errors = validate::resize_with(&new, &old, options);
        ran += 1;
        if !same(&errors, whole) || !whole.contains(wanted) {
            differences.push(format!("{name}: got {}\n  recorded {whole}", join(&errors)));
        }
    }
    data::report(&differences, ran, 104);
}
