//! What befell the containers of a pod between two of its statuses. Pure. Each thing is told once, however often the status is
//! told, and also where watching was interrupted in between.

use std::sync::Arc;

use jiff::Timestamp;
use supple_decide::facts::{LastEnd, PodFacts};
use supple_decide::key::PodKey;

/// Something that befell a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// The kernel killed the container in this place for want of memory, then.
    OutOfMemory(usize, Timestamp),
    /// Containers were started again so often, after a kill too.
    Restarted(u32),
    /// Its node threw it out, being short of something.
    Evicted,
}

impl Incident {
    /// Every word of [`Incident::counted`].
    pub const WORDS: [&str; 3] = ["out-of-memory", "restarted", "evicted"];

    /// As metrics name it, and how often it happened.
    #[must_use]
    pub const fn counted(self) -> (&'static str, u32) {
        match self {
            Self::OutOfMemory(..) => (Self::WORDS[0], 1),
            Self::Restarted(times) => (Self::WORDS[1], times),
            Self::Evicted => (Self::WORDS[2], 1),
        }
    }
}

/// What has to be remembered of a pod to see what befell it since.
#[derive(Clone, Debug)]
pub struct Mark {
    pod: PodKey,
    evicted: bool,
    containers: Vec<(Arc<str>, u32, Option<LastEnd>)>,
}

impl Mark {
    /// Of a pod as it is now.
    #[must_use]
    pub fn of(pod: &PodFacts) -> Self {
        let containers = pod.containers.iter().map(|it| (it.name.clone(), it.restarts, it.last_end));
        Self { pod: pod.key.clone(), evicted: pod.evicted.is_some(), containers: containers.collect() }
    }

    /// Whether it is of this pod, and not of another of the same name.
    #[must_use]
    pub fn is_of(&self, pod: &PodFacts) -> bool {
        self.pod == pod.key
    }

    /// What befell the pod since. Another pod of the same name has a past of its own.
    #[must_use]
    pub fn since(&self, now: &PodFacts) -> Vec<Incident> {
        let mut found = Vec::new();
        if !self.is_of(now) {
            return found;
        }
        let mut restarted = 0_u32;
        for (place, container) in now.containers.iter().enumerate() {
            let Some((_, restarts, end)) = self.containers.iter().find(|it| it.0 == container.name) else { continue };
            restarted = restarted.saturating_add(container.restarts.saturating_sub(*restarts));
            if let Some(killed) = container.last_end.filter(|it| it.out_of_memory && Some(*it) != *end) {
                found.push(Incident::OutOfMemory(place, killed.at));
            }
        }
        if restarted > 0 {
            found.push(Incident::Restarted(restarted));
        }
        if now.evicted.is_some() && !self.evicted {
            found.push(Incident::Evicted);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};
    use supple_decide::key::WorkloadKey;

    use super::*;

    fn run(second: u32, reason: &str) -> Value {
        let exit = if reason == "OOMKilled" { 137 } else { 1 };
        json!({"terminated": {"exitCode": exit, "reason": reason, "finishedAt": format!("2026-01-01T00:00:{second:02}Z")}})
    }

    fn running() -> Value {
        json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    }

    fn facts(uid: &str, status: Value) -> PodFacts {
        let pod = json!({"metadata": {"namespace": "n", "name": "p", "uid": uid},
            "spec": {"containers": [{"name": "c"}]}, "status": status});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        PodFacts::of(&pod, WorkloadKey { namespace: "n".into(), kind: "Pod".into(), name: "p".into() })
    }

    fn pod(restarts: i32, state: Value, last: Value) -> PodFacts {
        facts(
            "u",
            json!({"phase": "Running", "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true,
                "restartCount": restarts, "state": state, "lastState": last}]}),
        )
    }

    /// What is told on the way through these statuses, in one word each.
    #[track_caller]
    fn check(way: &[PodFacts], expect: &[&str]) {
        let told = way.windows(2).flat_map(|it| Mark::of(&it[0]).since(&it[1]));
        let told: Vec<String> = told.map(|it| format!("{} {}", it.counted().0, it.counted().1)).collect();
        assert_eq!(told, expect);
    }

    #[test]
    fn a_kill_is_told_once_on_its_way_through_the_status() {
        let fresh = pod(0, running(), json!({}));
        let killed = pod(0, run(1, "OOMKilled"), json!({}));
        let waits = pod(0, json!({"waiting": {"reason": "CrashLoopBackOff"}}), run(1, "OOMKilled"));
        let again = pod(1, running(), run(1, "OOMKilled"));
        let both = ["out-of-memory 1", "restarted 1"];
        check(&[fresh.clone(), killed.clone(), waits.clone(), again.clone(), again.clone()], &both);
        check(&[fresh.clone(), killed, again.clone()], &both);
        check(&[fresh, again.clone()], &both); // as a list tells it after the watch was interrupted
        let second = pod(4, running(), run(9, "OOMKilled"));
        check(&[again, second], &["out-of-memory 1", "restarted 3"]);
    }

    #[test]
    fn other_ends_are_restarts_when_it_is_started_again() {
        let fresh = pod(0, running(), json!({}));
        let ended = pod(0, run(1, "Error"), json!({}));
        check(&[fresh.clone(), ended.clone()], &[]);
        check(&[fresh, ended, pod(1, running(), run(1, "Error"))], &["restarted 1"]);
    }

    #[test]
    fn an_eviction_is_told_once_and_another_pod_has_its_own_past() {
        let fresh = pod(3, running(), run(1, "OOMKilled"));
        let evicted = facts("u", json!({"phase": "Failed", "reason": "Evicted"}));
        check(&[fresh.clone(), evicted.clone(), evicted], &["evicted 1"]);
        let other = facts("v", json!({"phase": "Failed", "reason": "Evicted"}));
        check(&[fresh, other], &[]);
    }
}
