//! What holds for every pod and every resize of it.

use k8s_openapi::api::core::v1::{Container, LimitRange, Node, Pod};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use supple_resize::admission::{limit_range, node, quota};
use supple_resize::resources::{Requirements, ResourceList, containers};
use supple_resize::{defaults, qos, strategy, validate};

use crate::merge;
use crate::pipeline::{Door, World, create, decode, update};
use crate::times::times;

/// Usual amounts, in several spellings, so that equal and ordered ones meet often.
fn amount(resource: &'static str) -> impl Strategy<Value = String> {
    let of: &[&str] = match resource {
        "cpu" => &["0", "50m", "100m", "0.1", "250m", "1", "1000m", "1500m", "100u"],
        _ => &["0", "32Mi", "64Mi", "67108864", "128Mi", "0.5Gi", "512Mi", "1Gi", "1e9"],
    };
    prop::sample::select(of.to_vec()).prop_map(str::to_owned)
}

fn list() -> impl Strategy<Value = Value> {
    (prop::option::weighted(0.7, amount("cpu")), prop::option::weighted(0.7, amount("memory"))).prop_map(
        |(cpu, memory)| {
            let stated = [("cpu", cpu), ("memory", memory)];
            stated
                .into_iter()
                .filter_map(|(name, it)| Some((name.to_owned(), it?.into())))
                .collect::<Map<_, _>>()
                .into()
        },
    )
}

fn requirements() -> impl Strategy<Value = Value> {
    (list(), list()).prop_map(|(requests, limits)| json!({"requests": requests, "limits": limits}))
}

/// Requests equal to limits now and then, for Guaranteed pods.
fn balanced() -> impl Strategy<Value = Value> {
    prop_oneof![3 => requirements(), 2 => list().prop_map(|limits| json!({"limits": limits}))]
}

fn container(name: String) -> impl Strategy<Value = Value> {
    balanced().prop_map(move |resources| json!({"name": name, "image": "image", "resources": resources}))
}

fn named(prefix: &'static str, count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Value>> {
    count.prop_flat_map(move |count| (0..count).map(|i| container(format!("{prefix}{i}"))).collect::<Vec<_>>())
}

fn pod() -> impl Strategy<Value = Value> {
    let sidecar = any::<bool>();
    (named("c", 1..4), named("i", 0..2), sidecar, prop::option::weighted(0.2, requirements())).prop_map(
        |(containers, mut init, sidecar, own)| {
            for it in init.iter_mut().filter(|_| sidecar) {
                it["restartPolicy"] = json!("Always");
            }
            let mut spec = json!({"containers": containers, "initContainers": init});
            if let Some(own) = own {
                spec["resources"] = own;
            }
            json!({"metadata": {"name": "p"}, "spec": spec})
        },
    )
}

/// A strategic merge patch that changes, adds and removes amounts of some containers and now and then of the pod.
fn patch() -> impl Strategy<Value = Value> {
    let change = |name: String| requirements().prop_map(move |resources| json!({"name": name, "resources": resources}));
    let some = prop::sample::subsequence(vec!["c0", "c1"], 0..=2)
        .prop_flat_map(move |names| names.into_iter().map(|name| change(name.to_owned())).collect::<Vec<_>>());
    (some, prop::option::weighted(0.2, requirements()), any::<bool>()).prop_map(|(containers, own, image)| {
        let mut spec = json!({"containers": containers});
        if let Some(own) = own {
            spec["resources"] = own;
        }
        if image {
            spec["tolerations"] = json!([{"operator": "Exists"}]);
        }
        json!({"spec": spec})
    })
}

/// A stored pod and the body of a resize of it; `None` where the pod itself was refused.
fn resized(pod: Value, patch: &Value) -> Option<(Pod, Value)> {
    let stored = create(&World::default(), pod).ok()?;
    let mut body = serde_json::to_value(&stored).unwrap();
    // A container that the pod does not have would only ever be refused.
    let mut patch = patch.clone();
    let has = |it: &Value| stored.spec.as_ref().unwrap().containers.iter().any(|own| it["name"] == own.name.as_str());
    patch["spec"]["containers"].as_array_mut().unwrap().retain(has);
    merge::strategic(&mut body, &patch);
    Some((stored, body))
}

fn lists(container: &Container) -> [ResourceList; 2] {
    let Requirements { requests, limits } = Requirements::read(container.resources.as_ref());
    [requests, limits]
}

/// The properties below say nothing where everything is refused; this says that it is not.
#[test]
fn the_strategies_make_resizes_that_are_accepted() {
    let mut runner = TestRunner::deterministic();
    let (mut accepted, mut moved, mut refused) = (0, 0, 0);
    for _ in 0..1000 {
        let (pod, patch) = (pod(), patch()).new_tree(&mut runner).unwrap().current();
        let Some((stored, body)) = resized(pod, &patch) else { continue };
        match update(&World::default(), &stored, body, Door::Resize) {
            Ok(new) if new.metadata.generation != stored.metadata.generation => moved += 1,
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        accepted > 30 && moved > 30 && refused > 30,
        "{accepted} without change, {moved} with one, {refused} refused"
    );
}

proptest! {
    #![proptest_config(times(1000))]

    #[test]
    fn an_accepted_resize_keeps_the_class(pod in pod(), patch in patch()) {
        let Some((stored, body)) = resized(pod, &patch) else { return Ok(()) };
        if let Ok(new) = update(&World::default(), &stored, body, Door::Resize) {
            prop_assert_eq!(qos::compute(&new), qos::compute(&stored));
            prop_assert_eq!(new.status, stored.status);
        }
    }

    #[test]
    fn an_accepted_resize_removes_nothing(pod in pod(), patch in patch()) {
        let Some((stored, body)) = resized(pod, &patch) else { return Ok(()) };
        if let Ok(new) = update(&World::default(), &stored, body, Door::Resize) {
            for (new, old) in containers(&new).zip(containers(&stored)) {
                for (new, old) in lists(new.container).iter().zip(&lists(old.container)) {
                    prop_assert!(old.iter().all(|(name, _)| new.get(name).is_some()));
                }
            }
        }
    }

    #[test]
    fn requests_stay_within_limits(pod in pod(), patch in patch()) {
        let Some((stored, body)) = resized(pod, &patch) else { return Ok(()) };
        for pod in [Ok(stored.clone()), update(&World::default(), &stored, body, Door::Resize)].into_iter().flatten() {
            for it in containers(&pod) {
                let [requests, limits] = lists(it.container);
                prop_assert!(requests.iter().all(|(name, request)| limits.get(name).is_none_or(|limit| request <= limit)));
            }
        }
    }

    #[test]
    fn a_resize_touches_nothing_but_resources(pod in pod(), patch in patch()) {
        let Some((stored, body)) = resized(pod, &patch) else { return Ok(()) };
        if let Ok(mut new) = update(&World::default(), &stored, body, Door::Resize) {
            let (spec, old) = (new.spec.as_mut().unwrap(), stored.spec.as_ref().unwrap());
            spec.resources.clone_from(&old.resources);
            for (new, old) in spec.containers.iter_mut().zip(&old.containers) {
                new.resources.clone_from(&old.resources);
            }
            let init = spec.init_containers.iter_mut().flatten().zip(old.init_containers.iter().flatten());
            init.for_each(|(new, old)| new.resources.clone_from(&old.resources));
            prop_assert_eq!(&new.spec, &stored.spec);
        }
    }

    #[test]
    fn a_resize_to_the_same_is_accepted_and_changes_nothing(pod in pod()) {
        let Some((stored, body)) = resized(pod, &json!({"spec": {"containers": []}})) else { return Ok(()) };
        prop_assert_eq!(validate::resize(&stored, &stored), vec![]);
        let same = update(&World::default(), &stored, body, Door::Resize).expect("nothing changes");
        prop_assert_eq!(same, stored);
    }

    #[test]
    fn the_generation_moves_exactly_with_the_spec(pod in pod(), patch in patch()) {
        let Some((stored, body)) = resized(pod, &patch) else { return Ok(()) };
        if let Ok(new) = update(&World::default(), &stored, body, Door::Resize) {
            let moved = new.metadata.generation != stored.metadata.generation;
            let differ = containers(&new).zip(containers(&stored)).any(|(a, b)| lists(a.container) != lists(b.container))
                || Requirements::read(new.spec.as_ref().unwrap().resources.as_ref())
                    != Requirements::read(stored.spec.as_ref().unwrap().resources.as_ref());
            // Pod-level resources that state nothing are still there or not.
            let own = |pod: &Pod| pod.spec.as_ref().unwrap().resources.is_some();
            prop_assert_eq!(moved, differ || own(&new) != own(&stored));
        }
    }

    #[test]
    fn defaults_settle(pod in pod()) {
        let mut once = decode(pod).expect("the strategy makes pods");
        defaults::apply(&mut once);
        let mut twice = once.clone();
        defaults::apply(&mut twice);
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn strategies_settle(pod in pod(), patch in patch()) {
        let Some((stored, body)) = resized(pod, &patch) else { return Ok(()) };
        let new = decode(body).expect("a merged pod is a pod");
        for prepare in [strategy::prepare_for_resize, strategy::prepare_for_update, strategy::prepare_for_status] {
            let mut once = new.clone();
            prepare(&mut once, &stored);
            let mut twice = once.clone();
            prepare(&mut twice, &stored);
            prop_assert_eq!(twice, once);
        }
    }

    #[test]
    fn nothing_panics_on_amounts_that_are_none(texts in prop::collection::vec("\\PC{0,8}|[-+]?[0-9]{1,25}(Ei|E|m|e9)?", 8)) {
        let list = |a: usize, name: &str| json!({"cpu": texts[a], name: texts[a + 1]});
        let resources = |a: usize| json!({"requests": list(a, "hugepages-1"), "limits": list(a + 2, &texts[0])});
        let value = json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "c", "image": "i", "resources": resources(0)}],
            "resources": resources(4), "nodeName": "n",
        }});
        let mut pod: Pod = serde_json::from_value(value).unwrap();
        let old = pod.clone();
        defaults::apply(&mut pod);
        strategy::prepare_for_create(&mut pod);
        let _ = (validate::create(&pod), validate::resize(&pod, &old), validate::update(&pod, &old));
        let range: LimitRange = serde_json::from_value(json!({"spec": {"limits": [
            {"type": "Pod", "min": list(0, "memory"), "max": list(2, "memory"), "maxLimitRequestRatio": list(4, "memory")},
        ]}})).unwrap();
        let _ = limit_range::validate_pod(&pod, &[range]);
        let _ = (node::check(&pod, &old, Some(&Node::default())), quota::check(&pod, Some(&old), &[]), quota::usage(&pod));
    }
}
