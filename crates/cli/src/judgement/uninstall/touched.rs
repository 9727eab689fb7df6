//! Which pods have sizes from us, because they were resized or sized as they were created, and what puts them back. Pure.

use std::collections::BTreeMap;

use supple_decide::facts::PodFacts;
use supple_decide::hand::Hand;
use supple_decide::key::PodKey;
use supple_decide::note::SizedAtCreation;
use supple_decide::numbers::{Numbers, pair};
use supple_decide::scene::{Scene, Subject};
use supple_resize::predict::Change;
use supple_resize::qos::QosClass;

/// What our webhook noted on the pods that it sized.
pub type Created = BTreeMap<PodKey, SizedAtCreation>;

/// Pods that have sizes from us.
pub struct Touched<'a> {
    /// In our hand, or in a person's who gave them back what was before: with what puts them back.
    pub ours: Vec<(&'a PodFacts, Change)>,
    /// In another's, with whose.
    pub theirs: Vec<(&'a PodFacts, String)>,
}

/// All of them.
pub fn touched<'a>(scene: &'a Scene, created: &Created) -> Touched<'a> {
    let mut found = Touched { ours: Vec::new(), theirs: Vec::new() };
    for pod in scene.pods.values().filter(|it| !it.deleting) {
        let sized = created.get(&pod.key);
        let Some(subject) = scene.workloads.get(&pod.workload).filter(|_| pod.note.is_some() || sized.is_some()) else {
            continue;
        };
        let change = back(pod, subject, sized);
        match &pod.hand {
            Hand::Theirs(other) if !change.is_empty() => found.theirs.push((pod, other.to_string())),
            _ => found.ours.push((pod, change)),
        }
    }
    // Who gives back goes first, and makes room for who takes.
    found.ours.sort_by_key(|(pod, change)| takes(pod, change));
    found
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

/// What gives a pod's containers their original sizes back: those it would have been created with, else those of the template it was made
/// from, and what was noted before the first resize where the template says nothing. A number that was not set before us cannot be taken away again; none is
/// ever added.
fn back(pod: &PodFacts, subject: &Subject, sized: Option<&SizedAtCreation>) -> Change {
    let mut change = Change::default();
    for container in &pod.containers {
        let name = &*container.name;
        let noted = subject.record.originals.get(name).copied().unwrap_or_default();
        let template = subject.facts.template.get(name).copied().unwrap_or_default();
        let asked = container.asked;
        let before = sized.and_then(|it| it.before.get(name)).map(Numbers::of).unwrap_or_default();
        let wanted = before.or(&template).or(&noted).or(&asked);
        let sizes = wanted.beyond(&asked);
        if !sizes.is_empty() {
            change.containers.insert(name.to_owned(), sizes);
        }
    }
    change
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
