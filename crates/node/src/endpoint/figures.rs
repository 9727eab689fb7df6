//! `/metrics`: what the node did with resizes, counted under the reference's names (reference §7.1).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use supple_resize::allocate::Allocation;
use supple_resize::amounts::{Amounts, Requirement, Resource};
use supple_resize::condition::PendingReason;
use supple_resize::queue::Trigger;

use super::exposition::{Exposition, Kind, count};

/// Upper bounds of the buckets of how long an actuation took, in milliseconds.
const BUCKETS: [u64; 14] =
    [10, 50, 100, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000];

/// One wish to change an amount.
type Wish = (&'static str, &'static str, &'static str);

/// Counted since the node started. Cheap to update; everybody who has something to count has a reference.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requested: BTreeMap<Wish, u64>,
    infeasible: BTreeMap<&'static str, u64>,
    accepted: BTreeMap<&'static str, u64>,
    /// Failed and succeeded.
    durations: [Durations; 2],
    /// What pods wait for or are in.
    resizing: HashMap<String, Resizing>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Durations {
    /// One more than there are bounds: what took longer than all of them.
    buckets: [u64; BUCKETS.len() + 1],
    millis: u64,
}

/// How far the resize of a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resizing {
    /// It waits, or cannot be.
    pub(crate) pending: Option<PendingReason>,
    /// It is being carried out.
    pub(crate) in_progress: bool,
}

impl Figures {
    fn with<T>(&self, f: impl FnOnce(&mut Counts) -> T) -> T {
        // Every change is one addition: a panic elsewhere cannot leave it half done.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a pod's spec asks for has changed.
    pub(crate) fn requested(&self, old: &Allocation, new: &Allocation) {
        let wishes = wishes(old, new);
        self.with(|counts| {
            for wish in wishes {
                *counts.requested.entry(wish).or_default() += 1;
            }
        });
    }

    /// A resize was found to be impossible on this node.
    pub(crate) fn infeasible(&self, detail: &'static str) {
        self.with(|counts| *counts.infeasible.entry(detail).or_default() += 1);
    }

    /// A resize that had to wait was let through.
    pub(crate) fn accepted(&self, trigger: Trigger) {
        self.with(|counts| *counts.accepted.entry(trigger.as_str()).or_default() += 1);
    }

    /// A resize was carried out, or was not.
    pub(crate) fn actuated(&self, success: bool, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|bound| millis <= *bound).unwrap_or(BUCKETS.len());
        self.with(|counts| {
            let [failed, succeeded] = &mut counts.durations;
            let durations = if success { succeeded } else { failed };
            durations.millis = durations.millis.saturating_add(millis);
            if let Some(count) = durations.buckets.get_mut(bucket) {
                *count += 1;
            }
        });
    }

    /// How far the resize of this pod is; `None`: it has none.
    pub(crate) fn resizing(&self, uid: &str, now: Option<Resizing>) {
        self.with(|counts| match now.filter(|it| it.pending.is_some() || it.in_progress) {
            Some(now) => _ = counts.resizing.insert(uid.to_owned(), now),
            None => _ = counts.resizing.remove(uid),
        });
    }

    /// As a text.
    pub(crate) fn render(&self) -> String {
        self.with(|counts| counts.render())
    }
}

/// What differs between two specs, container by container; pod-level resources count nowhere, as in the reference.
fn wishes(old: &Allocation, new: &Allocation) -> Vec<Wish> {
    let mut wishes = Vec::new();
    for (name, now) in &new.containers {
        let Some(before) = old.containers.get(name) else { continue };
        let (before, now) = (Amounts::of(Some(before)), Amounts::of(Some(now)));
        for resource in [Resource::Cpu, Resource::Memory] {
            for (requirement, word) in [(Requirement::Request, "requests"), (Requirement::Limit, "limits")] {
                let operation = match (before.get(resource, requirement), now.get(resource, requirement)) {
                    (before, now) if before == now => continue,
                    (0, _) => "add",
                    (_, 0) => "remove",
                    (before, now) if before < now => "increase",
                    _ => "decrease",
                };
                wishes.push((resource.as_str(), word, operation));
            }
        }
    }
    wishes
}

impl Counts {
    fn render(&self) -> String {
        let mut text = Exposition::default();
        let name = "kubelet_container_requested_resizes_total";
        text.family(name, Kind::Counter, "Changes of resources that specs asked for, per container and amount.");
        for ((resource, requirement, operation), number) in &self.requested {
            let labels = [("operation", *operation), ("requirement", *requirement), ("resource", *resource)];
            text.sample(name, &labels, count(*number), None);
        }
        let name = "kubelet_pod_deferred_accepted_resizes_total";
        text.family(name, Kind::Counter, "Resizes that had to wait and were let through, by what let them.");
        for (trigger, number) in &self.accepted {
            text.sample(name, &[("retry_trigger", trigger)], count(*number), None);
        }
        let resizing = |of: &dyn Fn(&Resizing) -> bool| {
            count(u64::try_from(self.resizing.values().filter(|it| of(it)).count()).unwrap_or(u64::MAX))
        };
        let name = "kubelet_pod_in_progress_resizes";
        text.family(name, Kind::Gauge, "Pods whose resize is being carried out.");
        text.sample(name, &[], resizing(&|it| it.in_progress), None);
        let name = "kubelet_pod_infeasible_resizes_total";
        text.family(name, Kind::Counter, "Resizes found to be impossible on this node, by why.");
        for (detail, number) in &self.infeasible {
            text.sample(name, &[("reason_detail", detail)], count(*number), None);
        }
        let name = "kubelet_pod_pending_resizes";
        text.family(name, Kind::Gauge, "Pods whose resize waits or is impossible.");
        for (reason, word) in [(PendingReason::Deferred, "deferred"), (PendingReason::Infeasible, "infeasible")] {
            text.sample(name, &[("reason", word)], resizing(&|it| it.pending == Some(reason)), None);
        }
        self.durations(&mut text);
        text.finish()
    }

    fn durations(&self, text: &mut Exposition) {
        let name = "kubelet_pod_resize_duration_milliseconds";
        text.family(name, Kind::Histogram, "How long it took to carry out a resize.");
        for (Durations { buckets, millis }, success) in self.durations.iter().zip(["false", "true"]) {
            let total: u64 = buckets.iter().sum();
            if total == 0 {
                continue;
            }
            let bounds = BUCKETS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            let mut below = 0;
            for (number, bound) in buckets.iter().zip(bounds) {
                below += number;
                let labels = [("success", success), ("le", bound.as_str())];
                text.sample(&format!("{name}_bucket"), &labels, count(below), None);
            }
            text.sample(&format!("{name}_sum"), &[("success", success)], count(*millis), None);
            text.sample(&format!("{name}_count"), &[("success", success)], count(total), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::super::tests::has;
    use super::*;

    fn pod(resources: serde_json::Value) -> Pod {
        serde_json::from_value(json!({ "spec": { "containers": [{ "name": "c", "resources": resources }] } })).unwrap()
    }

    #[test]
    fn wishes_are_counted_by_what_they_do() {
        #[track_caller]
        fn check(old: serde_json::Value, new: serde_json::Value, expect: &[Wish]) {
            assert_eq!(wishes(&Allocation::of(&pod(old)), &Allocation::of(&pod(new))), expect);
        }
        let some = json!({ "requests": { "cpu": "1", "memory": "1Gi" }, "limits": { "cpu": "2" } });
        check(some.clone(), some.clone(), &[]);
        check(
            some,
            json!({ "requests": { "cpu": "2", "memory": "512Mi" }, "limits": { "memory": "1Gi" } }),
            &[
                ("cpu", "requests", "increase"),
                ("cpu", "limits", "remove"),
                ("memory", "requests", "decrease"),
                ("memory", "limits", "add"),
            ],
        );
    }

    #[test]
    fn figures_are_in_the_references_words() {
        let figures = Figures::default();
        let cpu = |amount: &str| Allocation::of(&pod(json!({ "requests": { "cpu": amount } })));
        figures.requested(&cpu("1"), &cpu("2"));
        figures.infeasible("swap_limitation");
        figures.accepted(Trigger::PodTerminated);
        figures.actuated(true, Duration::from_millis(7));
        figures.actuated(true, Duration::from_millis(70));
        figures.actuated(false, Duration::from_secs(3600));
        let waits = |pending| Some(Resizing { pending: Some(pending), in_progress: false });
        figures.resizing("a", waits(PendingReason::Deferred));
        figures.resizing("b", waits(PendingReason::Deferred));
        figures.resizing("b", waits(PendingReason::Infeasible));
        figures.resizing("c", Some(Resizing { pending: None, in_progress: true }));
        figures.resizing("d", waits(PendingReason::Deferred));
        figures.resizing("d", None);
        has(
            &figures.render(),
            &[
                r#"kubelet_container_requested_resizes_total{operation="increase",requirement="requests",resource="cpu"} 1"#,
                r#"kubelet_pod_infeasible_resizes_total{reason_detail="swap_limitation"} 1"#,
                r#"kubelet_pod_deferred_accepted_resizes_total{retry_trigger="pod_terminated"} 1"#,
                r#"kubelet_pod_pending_resizes{reason="deferred"} 1"#,
                r#"kubelet_pod_pending_resizes{reason="infeasible"} 1"#,
                "kubelet_pod_in_progress_resizes 1",
                r#"kubelet_pod_resize_duration_milliseconds_bucket{success="true",le="10"} 1"#,
                r#"kubelet_pod_resize_duration_milliseconds_bucket{success="true",le="100"} 2"#,
                r#"kubelet_pod_resize_duration_milliseconds_sum{success="true"} 77"#,
                r#"kubelet_pod_resize_duration_milliseconds_bucket{success="false",le="600000"} 0"#,
                r#"kubelet_pod_resize_duration_milliseconds_bucket{success="false",le="+Inf"} 1"#,
            ],
        );
    }
}
