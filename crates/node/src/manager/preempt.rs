//! Which pods have to go so that a critical pod fits: the kubelet's choice, as a pure function.
//!
//! Only a critical pod may push others out, and only those of lower priority that are not critical themselves. Of the
//! lower QoS classes as much as possible goes first; within a class, the pods that come closest to what is missing.

use supple_resize::allocate::ShortResource;
use supple_resize::allocate::Shortage;

/// Priority from which on a pod is critical: where `system-cluster-critical` begins.
pub(crate) const CRITICAL: i32 = 2_000_000_000;

/// QoS class, in the order in which pods have to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// No requests at all.
    BestEffort,
    /// Some.
    Burstable,
    /// All, equal to the limits.
    Guaranteed,
}

/// A pod that may have to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Which.
    pub(crate) uid: String,
    /// `spec.priority`.
    pub(crate) priority: i32,
    /// Its class.
    pub(crate) class: Class,
    /// What it holds of CPU (milli), memory (bytes).
    pub(crate) holds: (i64, i64),
}

/// UIDs of the pods to end so that a pod of this priority fits, or `None` where no choice would do.
pub(crate) fn choose(priority: i32, shortages: &[Shortage], candidates: Vec<Candidate>) -> Option<Vec<String>> {
    if priority < CRITICAL {
        return None;
    }
    let mut missing: Vec<(ShortResource, i64)> = shortages
        .iter()
        .map(|it| (it.resource, it.requested.saturating_add(it.used).saturating_sub(it.capacity)))
        .collect();
    let mut classes: [Vec<Candidate>; 3] = Default::default();
    for candidate in candidates {
        if candidate.priority < priority && candidate.priority < CRITICAL {
            let class = match candidate.class {
                Class::BestEffort => 0,
                Class::Burstable => 1,
                Class::Guaranteed => 2,
            };
            classes[class].push(candidate);
        }
    }
    let mut chosen = Vec::new();
    // From the class that is to be spared most: of each, only what all lower classes together cannot give.
    for class in (0..classes.len()).rev() {
        let lower: Vec<Candidate> = classes[..class].iter().flatten().cloned().collect();
        let mut needed = missing.clone();
        needed
            .iter_mut()
            .for_each(|(resource, amount)| *amount -= lower.iter().map(|it| gives(it, *resource)).sum::<i64>());
        for candidate in closest(needed, std::mem::take(&mut classes[class]))? {
            missing.iter_mut().for_each(|(resource, amount)| *amount -= gives(&candidate, *resource));
            chosen.push(candidate.uid);
        }
    }
    Some(chosen)
}

fn gives(candidate: &Candidate, resource: ShortResource) -> i64 {
    match resource {
        ShortResource::Pods => 1,
        ShortResource::Cpu => candidate.holds.0,
        ShortResource::Memory => candidate.holds.1,
    }
}

/// Pods that together give what is needed, each time the one that leaves the smallest distance; `None` if all together
/// do not.
fn closest(mut needed: Vec<(ShortResource, i64)>, mut candidates: Vec<Candidate>) -> Option<Vec<Candidate>> {
    let mut chosen = Vec::new();
    needed.retain(|(_, amount)| *amount > 0);
    while !needed.is_empty() {
        let distance = |candidate: &Candidate| -> i128 {
            let share = |(resource, amount): &(ShortResource, i64)| {
                let left = (i128::from(*amount) - i128::from(gives(candidate, *resource))).max(0);
                // In millionths of what is needed, squared, so that one resource far off weighs more than two near.
                let share = left * 1_000_000 / i128::from((*amount).max(1));
                share * share
            };
            needed.iter().map(share).sum()
        };
        let size = |candidate: &Candidate| candidate.holds;
        let best = (0..candidates.len()).min_by_key(|&it| (distance(&candidates[it]), size(&candidates[it])))?;
        let candidate = candidates.swap_remove(best);
        needed.iter_mut().for_each(|(resource, amount)| *amount -= gives(&candidate, *resource));
        needed.retain(|(_, amount)| *amount > 0);
        chosen.push(candidate);
    }
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(uid: &str, priority: i32, class: Class, cpu: i64) -> Candidate {
        Candidate { uid: uid.into(), priority, class, holds: (cpu, 0) }
    }

    #[track_caller]
    fn check(priority: i32, missing: i64, candidates: &[(&str, i32, Class, i64)], expect: Option<&[&str]>) {
        let shortage = Shortage { resource: ShortResource::Cpu, requested: missing, used: 1000, capacity: 1000 };
        let candidates = candidates.iter().map(|(uid, p, class, cpu)| candidate(uid, *p, *class, *cpu)).collect();
        let chosen = choose(priority, &[shortage], candidates);
        assert_eq!(
            chosen.as_ref().map(|it| it.iter().map(String::as_str).collect::<Vec<_>>()),
            expect.map(<[_]>::to_vec)
        );
    }

    #[test]
    fn only_for_critical_pods_and_only_lower_ones_go() {
        use Class::Burstable;
        check(1000, 100, &[("a", 0, Burstable, 200)], None);
        check(CRITICAL, 100, &[("a", 0, Burstable, 200)], Some(&["a"]));
        check(CRITICAL + 1000, 100, &[("a", CRITICAL, Burstable, 200)], None);
        check(CRITICAL, 300, &[("a", 0, Burstable, 200)], None);
    }

    #[test]
    fn lower_classes_go_first_and_the_closest_fit() {
        use Class::{Burstable, Guaranteed};
        check(CRITICAL, 100, &[("g", 0, Guaranteed, 100), ("b", 0, Burstable, 500)], Some(&["b"]));
        check(CRITICAL, 600, &[("g", 0, Guaranteed, 100), ("b", 0, Burstable, 500)], Some(&["g", "b"]));
        check(
            CRITICAL,
            100,
            &[("big", 0, Burstable, 500), ("small", 0, Burstable, 50), ("fit", 0, Burstable, 120)],
            Some(&["fit"]),
        );
    }
}
