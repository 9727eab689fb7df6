//! Which pods have sizes from us, because they were resized or sized as they were created, and what puts them back. Pure.

use supple_decide::facts::{Phase, PodFacts};
use supple_decide::hand::Hand;
use supple_decide::numbers::{Numbers, pair};
use supple_decide::progress::Progress;
use supple_decide::scene::{Scene, Subject};
use supple_resize::predict::Change;
use supple_resize::qos::QosClass;

/// Pods that have sizes from us.
pub struct Touched<'a> {
    /// In our hand, or in a person's who gave them back what was before: with what puts them back.
    pub ours: Vec<(&'a PodFacts, Change)>,
    /// In our hand, and nothing says what they had before: their notes are the last that is known of them.
    pub unknown: Vec<&'a PodFacts>,
    /// In another's, with whose.
    pub theirs: Vec<(&'a PodFacts, String)>,
}

/// All of them.
pub fn touched(scene: &Scene) -> Touched<'_> {
    let mut found = Touched { ours: Vec::new(), unknown: Vec::new(), theirs: Vec::new() };
    // What VPA's updater has resized since it was created is its.
    let is_touched = |it: &PodFacts| it.note.is_some() || (it.sized.is_some() && it.hand != Hand::Inherited);
    for pod in scene.pods.values().filter(|it| !it.deleting && is_touched(it)) {
        let Some(subject) = scene.workloads.get(&pod.workload) else { continue };
        // A pod that has ended uses nothing: there is nothing to put back, and only its notes are taken off.
        let back = if pod.phase == Phase::Ended { Some(Change::default()) } else { back(pod, subject) };
        match (&pod.hand, back) {
            (Hand::Theirs(other), change) if change.as_ref().is_none_or(|it| !it.is_empty()) => {
                found.theirs.push((pod, other.to_string()));
            }
            (_, Some(change)) => found.ours.push((pod, change)),
            (_, None) => found.unknown.push(pod),
        }
    }
    // Who gives back goes first, and makes room for who takes.
    found.ours.sort_by_key(|(pod, change)| takes(pod, change));
    found
}

/// Whether it has its original sizes, where that is what is still to be changed.
pub fn is_back(pod: &PodFacts, change: &Change) -> bool {
    change.is_empty() && in_vain(pod).is_none()
}

/// Why its node will never give a pod what it asks for: it asks for its original sizes, say, and runs with others all the same.
pub fn in_vain(pod: &PodFacts) -> Option<&str> {
    match &pod.progress {
        Progress::Infeasible(why) if pod.phase != Phase::Ended => Some(why),
        _ => None,
    }
}

fn takes(pod: &PodFacts, change: &Change) -> bool {
    pod.containers.iter().any(|container| {
        let mut then = container.asked;
        if let Some(sizes) = change.containers.get(&*container.name) {
            then.set_all(sizes);
        }
        then.cpu_request > container.asked.cpu_request || then.memory_request > container.asked.memory_request
    })
}

/// What gives a pod's containers their original sizes back: those that the pod itself says it was given, because its workload may have
/// been given others since; else those of the template, and what is remembered of the workload where that has none here. `None`: we changed
/// a number that nothing of all this speaks of. A number that was not set before us cannot be taken away again; none is ever added.
fn back(pod: &PodFacts, subject: &Subject) -> Option<Change> {
    let mut change = Change::default();
    for container in &pod.containers {
        let name = &*container.name;
        let noted = subject.record.originals.get(name).copied().unwrap_or_default();
        let template = subject.facts.template.get(name).copied().unwrap_or_default();
        let asked = container.asked;
        let known = pod.given(name).or(&template).or(&noted);
        let changed = pod.note.as_deref().and_then(|it| it.container(name));
        if changed.is_some_and(|(before, _)| known.or(before) != known) {
            return None;
        }
        let sizes = known.or(&asked).beyond(&asked);
        if !sizes.is_empty() {
            change.containers.insert(name.to_owned(), sizes);
        }
    }
    Some(change)
}

/// `app: cpu 50m → 900m, memory 64Mi → 1Gi`
pub fn in_words(pod: &PodFacts, change: &Change) -> String {
    let one = |(name, sizes): (&String, _)| {
        let now = pod.containers.iter().find(|it| *it.name == **name).map(|it| it.asked).unwrap_or_default();
        let mut then = now;
        then.set_all(sizes);
        let step = |what: &str, now: Option<String>, then: Option<String>| {
            let shown = |it: Option<String>| it.unwrap_or_else(|| "none".to_owned());
            (now != then).then(|| format!("{what} {} → {}", shown(now), shown(then)))
        };
        let cpu = step("cpu", pair(now.cpu_request, now.cpu_limit), pair(then.cpu_request, then.cpu_limit));
        let memory =
            step("memory", pair(now.memory_request, now.memory_limit), pair(then.memory_request, then.memory_limit));
        let steps: Vec<String> = cpu.into_iter().chain(memory).collect();
        format!("{name}: {}", steps.join(", "))
    };
    change.containers.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn asked(pod: &PodFacts, container: &str) -> Numbers {
    pod.containers.iter().find(|it| *it.name == *container).map(|it| it.asked).unwrap_or_default()
}

/// Whether it lowers the memory limit of a container, which what is used may forbid.
pub fn lowers_memory_limit(pod: &PodFacts, change: &Change) -> bool {
    let lowers = |(name, sizes)| {
        let now = asked(pod, name);
        Numbers::of(sizes).memory_limit.is_some_and(|it| now.memory_limit.is_some_and(|now| it < now))
    };
    change.containers.iter().map(|(name, sizes)| (name.as_str(), sizes)).any(lowers)
}

/// Everything but lower memory limits. In a pod in which every request equals its limit the request stays with it.
pub fn keep_memory_limits(pod: &PodFacts, change: &mut Change) {
    for (name, sizes) in &mut change.containers {
        let now = asked(pod, name);
        if Numbers::of(sizes).memory_limit < now.memory_limit {
            sizes.memory_limit = None;
            if pod.qos == QosClass::Guaranteed {
                sizes.memory_request = None;
            }
        }
    }
    change.containers.retain(|_, sizes| !sizes.is_empty());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde_json::{Value, json};
    use supple_decide::facts::WorkloadFacts;
    use supple_decide::few::Few;
    use supple_decide::key::WorkloadKey;
    use supple_decide::policy::Policy;
    use supple_decide::record::Record;
    use supple_resize::predict::Sizes;

    use super::*;

    /// A pod that requests 64Mi, which the author of a note set in place of `before`.
    fn pod(by: &str, before: &str, first: Value, created: Option<&str>) -> PodFacts {
        let size = |it: &str| json!({"app": {"memoryRequest": it}});
        let mut note = json!({"by": by, "at": "2026-06-01T00:00:00Z", "generation": 1,
            "before": size(before), "after": size("64Mi")});
        if !first.is_null() {
            note["first"] = first;
        }
        let mut notes = BTreeMap::from([("supple.dev/last-resize", note.to_string())]);
        if let Some(created) = created {
            let sized = json!({"at": "2026-06-01T00:00:00Z", "before": size(created), "after": size(before)});
            notes.insert("supple.dev/sized-at-creation", sized.to_string());
        }
        let pod = json!({
            "metadata": {"namespace": "shop", "name": "web-0", "uid": "u", "generation": 2, "annotations": notes},
            "spec": {"containers": [{"name": "app", "resources": {"requests": {"memory": "64Mi"}}}]},
        });
        let key = WorkloadKey { namespace: "shop".into(), kind: "Rollout".into(), name: "web".into() };
        PodFacts::of(&serde_json::from_value(pod).unwrap(), key)
    }

    fn sizes(memory: Option<&str>) -> Few<Arc<str>, Numbers> {
        let of = |it: &str| Numbers::of(&Sizes { memory_request: it.parse().ok(), ..Sizes::default() });
        memory.into_iter().map(|it| (Arc::from("app"), of(it))).collect()
    }

    /// The scene of one pod, whose template says this, and whose workload is remembered with that.
    fn scene(pod: PodFacts, template: Option<&str>, remembered: Option<&str>) -> Scene {
        let facts = WorkloadFacts {
            key: pod.workload.clone(),
            uid: "".into(),
            api_version: "argoproj.io/v1alpha1".into(),
            replicas: 1,
            ready: 1,
            rolling: false,
            template: sizes(template),
            budgets: Vec::new(),
            rollout_takes: 0,
            rollout: None,
            sized_at_creation: false,
            scalers: Vec::new(),
            other_vertical: Vec::new(),
            words: BTreeMap::new(),
        };
        let record = Arc::new(Record { originals: sizes(remembered), ..Record::default() });
        let subject = Subject { facts, policy: Arc::new(Policy::default()), needs: Few::new(), record };
        let mut scene = Scene::default();
        scene.workloads.insert(pod.workload.clone(), Box::new(subject));
        scene.pods.insert(pod.key.clone(), Box::new(pod));
        scene
    }

    #[track_caller]
    fn check(pod: PodFacts, template: Option<&str>, remembered: Option<&str>, expect: Option<&str>) {
        let scene = scene(pod, template, remembered);
        let found = touched(&scene);
        let memory = found.ours.first().map(|(_, change)| {
            let sizes = change.containers.get("app");
            sizes.and_then(|it| it.memory_request.as_ref()).map_or_else(|| "as it is".to_owned(), ToString::to_string)
        });
        assert_eq!(memory.as_deref(), expect);
        assert_eq!((found.unknown.len(), found.theirs.len()), (usize::from(expect.is_none()), 0));
    }

    #[test]
    fn a_pod_knows_best_what_it_was_given() {
        let none = || json!({});
        // Its workload was first resized at 512Mi, and has been released with 2Gi since.
        check(pod("controller", "2Gi", none(), None), None, Some("512Mi"), Some("2Gi"));
        let second = || pod("controller", "1Gi", json!({"app": {"memoryRequest": "2Gi"}}), None);
        check(second(), None, Some("512Mi"), Some("2Gi"));
        check(second(), Some("3Gi"), Some("512Mi"), Some("2Gi"));
        check(pod("controller", "1Gi", none(), Some("4Gi")), Some("3Gi"), Some("512Mi"), Some("4Gi"));
        // All that was remembered elsewhere has been deleted.
        check(second(), None, None, Some("2Gi"));
        check(pod("roll-back", "1Gi", none(), None), None, None, Some("1Gi"));
        check(pod("restore", "1Gi", Value::Null, None), Some("3Gi"), Some("512Mi"), Some("as it is"));
    }

    #[test]
    fn of_what_nothing_is_known_nothing_is_said_to_be_restored() {
        let old = || pod("controller", "1Gi", Value::Null, None);
        check(old(), Some("3Gi"), Some("512Mi"), Some("3Gi"));
        check(old(), None, Some("512Mi"), Some("512Mi"));
        check(old(), None, None, None);
    }

    #[test]
    fn nothing_is_put_back_in_a_pod_that_has_ended() {
        let ended = |first| PodFacts { phase: Phase::Ended, ..pod("controller", "2Gi", first, None) };
        check(ended(json!({})), None, None, Some("as it is"));
        check(ended(Value::Null), None, Some("512Mi"), Some("as it is"));
    }

    #[test]
    fn a_pod_that_asks_for_its_sizes_in_vain_does_not_have_them() {
        let none = Change::default();
        let some = Change::of_container("app", Sizes { memory_request: "1Gi".parse().ok(), ..Sizes::default() });
        let infeasible = || Progress::Infeasible("static CPU manager".into());
        for (progress, phase, change, expect) in [
            (Progress::Settled, Phase::Running, &none, true),
            (Progress::Deferred("no room".into()), Phase::Running, &none, true),
            (infeasible(), Phase::Running, &none, false),
            (infeasible(), Phase::Ended, &none, true),
            (Progress::Settled, Phase::Running, &some, false),
        ] {
            let pod = PodFacts { progress, phase, ..pod("restore", "2Gi", Value::Null, None) };
            assert_eq!(is_back(&pod, change), expect, "{:?} {change:?}", pod.progress);
        }
    }
}
