//! What befell the containers of a pod between two of its statuses. Pure. Each thing is told once: an ended run is known by its
//! container's id, wherever in the status it is seen next.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodStatus};
use supple_decide::facts::PodFacts;

/// Something that befell a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// The container; `None`: the pod as a whole.
    pub container: Option<String>,
    /// When; `None` where the status does not say.
    pub at: Option<Timestamp>,
    /// What.
    pub what: What,
}

/// What befell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// A run of it ended, and it was, or will be, started again.
    Ended {
        /// With this code.
        exit_code: i32,
        /// In the runtime's word: `Error`, `Completed`, …
        reason: String,
    },
    /// It was started again this often, and of the runs that ended only the last can be seen.
    RestartedUnseen(u32),
    /// Its node threw it out, being short of something.
    Evicted {
        /// What the node said.
        message: String,
    },
}

/// What befell a pod between its former status and its new one. Without a former one (it has not been seen before, or the
/// program was restarted) it is what can still be seen; whoever remembers a moment passes over what was before.
///
/// Runs that end for good (of init containers, of a pod that is done) are no incident, but for a kill for want of memory.
#[must_use]
pub fn incidents(old: Option<&Pod>, new: &Pod) -> Vec<Incident> {
    let Some(status) = new.status.as_ref() else { return Vec::new() };
    // Another pod of the same name has a past of its own.
    let old = old.filter(|old| old.metadata.uid == new.metadata.uid).and_then(|it| it.status.as_ref());
    let mut found = Vec::new();
    for container in statuses(status) {
        let before = old.and_then(|old| statuses(old).find(|it| it.name == container.name));
        found.extend(befell(before, container));
    }
    let evicted = |it: &PodStatus| phase(it) == "Failed" && it.reason.as_deref() == Some("Evicted");
    if evicted(status) && !old.is_some_and(evicted) {
        let at = status.conditions.iter().flatten().find(|it| it.type_ == "DisruptionTarget");
        let at = at.and_then(|it| it.last_transition_time.as_ref()).map(|it| it.0);
        let message = status.message.clone().unwrap_or_default();
        found.push(Incident { container: None, at, what: What::Evicted { message } });
    }
    found
}

/// The same from what the loop keeps of a pod, and what its node said if it threw it out just now: for counting.
#[must_use]
pub fn between(before: &PodFacts, after: &PodFacts, thrown_out: Option<String>) -> Vec<What> {
    let mut found: Vec<What> = thrown_out.map(|message| What::Evicted { message }).into_iter().collect();
    for container in &after.containers {
        let Some(was) = before.containers.iter().find(|it| it.name == container.name) else { continue };
        let end = container.last_end;
        let killed = end.is_some_and(|it| it.out_of_memory);
        if killed && end != was.last_end {
            found.push(What::OutOfMemory);
        }
        let began = container.restarts.saturating_sub(was.restarts);
        // The first of them follows the run whose end can be seen; of a kill that has been told.
        if let (false, Some(end), 1..) = (killed, end, began) {
            found.push(What::Ended { exit_code: end.exit_code, reason: String::new() });
        }
        if began > 1 {
            found.push(What::RestartedUnseen(began - 1));
        }
    }
    found
}

/// What the node said that threw a pod out; `None` where none did.
#[must_use]
pub fn thrown_out(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let is_so = phase(status) == "Failed" && status.reason.as_deref() == Some("Evicted");
    is_so.then(|| status.message.clone().unwrap_or_default())
}

fn phase(status: &PodStatus) -> &str {
    status.phase.as_deref().unwrap_or_default()
}

fn statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
}

/// The run that has ended and was not followed by another yet.
fn now(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref().and_then(|it| it.terminated.as_ref())
}

/// The last run that was followed by another, or is about to be.
fn before(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.last_state.as_ref().and_then(|it| it.terminated.as_ref())
}

/// What tells one run of a container from another.
fn identity(run: &ContainerStateTerminated) -> (Option<&str>, Option<Timestamp>, Option<Timestamp>) {
    let at = |it: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| it.as_ref().map(|it| it.0);
    match run.container_id.as_deref().filter(|it| !it.is_empty()) {
        Some(id) => (Some(id), None, None),
        None => (None, at(&run.started_at), at(&run.finished_at)),
    }
}

fn befell(old: Option<&ContainerStatus>, new: &ContainerStatus) -> Vec<Incident> {
    let seen = |of: fn(&ContainerStatus) -> Option<&ContainerStateTerminated>| old.and_then(of).map(identity);
    let (seen_now, seen_before) = (seen(now), seen(before));
    let mut found = Vec::new();
    let mut tell = |run: Option<&ContainerStateTerminated>, what| {
        let at = run.and_then(|it| it.finished_at.as_ref()).map(|it| it.0);
        found.push(Incident { container: Some(new.name.clone()), at, what });
    };
    let mut followed = 0;
    for (run, is_followed) in before(new).map(|it| (it, true)).into_iter().chain(now(new).map(|it| (it, false))) {
        let identity = Some(identity(run));
        let newly_followed = is_followed && identity != seen_before;
        followed += u32::from(newly_followed);
        let out_of_memory = run.reason.as_deref() == Some("OOMKilled");
        if out_of_memory && identity != seen_now && identity != seen_before {
            tell(Some(run), What::OutOfMemory);
        } else if !out_of_memory && newly_followed {
            let reason = run.reason.clone().unwrap_or_default();
            tell(Some(run), What::Ended { exit_code: run.exit_code, reason });
        }
    }
    let count = |it: &ContainerStatus| u32::try_from(it.restart_count).unwrap_or_default();
    // A run that ended is followed before the count says so: the container waits for its turn to be started.
    let waited =
        |it: &ContainerStatus| it.state.as_ref().is_some_and(|it| it.waiting.is_some()) && before(it).is_some();
    let began = old.map_or(0, |old| count(new).saturating_sub(count(old)));
    let owed = old.is_some_and(|old| waited(old) && count(new) > count(old));
    let unseen = began.saturating_sub(followed + u32::from(owed && followed == 0));
    if unseen > 0 {
        tell(None, What::RestartedUnseen(unseen));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(id: &str, reason: &str) -> Value {
        let exit = if reason == "OOMKilled" { 137 } else { 1 };
        json!({"terminated": {"containerID": id, "exitCode": exit, "reason": reason, "finishedAt": "2026-01-01T00:00:00Z"}})
    }

    fn running() -> Value {
        json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    }

    fn waiting() -> Value {
        json!({"waiting": {"reason": "CrashLoopBackOff"}})
    }

    fn pod(restarts: i32, state: Value, last: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u"},
            "status": {"phase": "Running", "containerStatuses": [{
                "name": "c", "image": "", "imageID": "", "ready": true, "restartCount": restarts,
                "state": state, "lastState": last}]},
        }))
        .unwrap()
    }

    /// What is told on the way through these statuses, in one word each.
    #[track_caller]
    fn check(way: &[Pod], expect: &[&str]) {
        let mut told = Vec::new();
        for (number, new) in way.iter().enumerate() {
            let old = number.checked_sub(1).map(|it| &way[it]);
            told.extend(incidents(old, new).into_iter().map(|it| match it.what {
                What::OutOfMemory => "oom".to_owned(),
                What::Ended { exit_code, .. } => format!("ended {exit_code}"),
                What::RestartedUnseen(times) => format!("unseen {times}"),
                What::Evicted { message } => message,
            }));
        }
        assert_eq!(told, expect);
    }

    #[test]
    fn a_kill_is_told_once_on_its_way_through_the_status() {
        let fresh = pod(0, running(), json!({}));
        let killed = pod(0, run("a", "OOMKilled"), json!({}));
        let waits = pod(0, waiting(), run("a", "OOMKilled"));
        let again = pod(1, running(), run("a", "OOMKilled"));
        check(&[fresh.clone(), killed.clone(), waits.clone(), again.clone(), again.clone()], &["oom"]);
        check(&[fresh.clone(), killed.clone(), again.clone()], &["oom"]);
        check(&[fresh.clone(), waits.clone(), again.clone()], &["oom"]);
        check(&[fresh, again.clone()], &["oom"]);
        check(&[again], &["oom"]); // seen for the first time: what can still be seen
    }

    #[test]
    fn each_kill_is_told() {
        let (first, second) = (pod(1, running(), run("a", "OOMKilled")), pod(2, running(), run("b", "OOMKilled")));
        check(&[first.clone(), second.clone()], &["oom", "oom"]);
        check(&[first.clone(), pod(1, run("b", "OOMKilled"), run("a", "OOMKilled")), second], &["oom", "oom"]);
        check(&[first, pod(4, running(), run("d", "OOMKilled"))], &["oom", "oom", "unseen 2"]);
    }

    #[test]
    fn a_run_that_ended_is_told_when_it_is_followed_by_another() {
        let fresh = pod(0, running(), json!({}));
        check(&[fresh.clone(), pod(0, run("a", "Error"), json!({}))], &[]);
        check(
            &[fresh.clone(), pod(0, run("a", "Error"), json!({})), pod(1, running(), run("a", "Error"))],
            &["ended 1"],
        );
        check(
            &[fresh.clone(), pod(0, waiting(), run("a", "Error")), pod(1, running(), run("a", "Error"))],
            &["ended 1"],
        );
        check(&[fresh, pod(3, running(), json!({}))], &["unseen 3"]);
    }

    #[test]
    fn runs_without_an_id_are_told_apart_by_their_times() {
        let at = |second: u32| {
            json!({"terminated": {"exitCode": 137, "reason": "OOMKilled",
            "startedAt": "2026-01-01T00:00:00Z", "finishedAt": format!("2026-01-01T00:00:{second:02}Z")}})
        };
        check(&[pod(1, running(), at(1)), pod(1, running(), at(1)), pod(2, running(), at(9))], &["oom", "oom"]);
    }

    #[test]
    fn another_pod_of_the_name_has_its_own_past() {
        let old = pod(5, running(), run("a", "Error"));
        let mut new = pod(0, running(), json!({}));
        new.metadata.uid = Some("v".into());
        assert_eq!(incidents(Some(&old), &new), []);
        assert_eq!(incidents(Some(&old), &Pod::default()), []);
    }

    #[test]
    fn what_is_kept_of_pods_tells_the_same() {
        let facts = |pod: &Pod| {
            let workload =
                supple_decide::key::WorkloadKey { namespace: "".into(), kind: "Pod".into(), name: "p".into() };
            let mut pod = pod.clone();
            let container = json!({"containers": [{"name": "c"}]});
            pod.spec = Some(serde_json::from_value(container).unwrap());
            PodFacts::of(&pod, workload)
        };
        let told = |way: &[Pod]| {
            let pairs = way.iter().zip(&way[1..]);
            let all = pairs.flat_map(|(old, new)| between(&facts(old), &facts(new), None));
            all.map(|it| match it {
                What::OutOfMemory => "oom".to_owned(),
                What::Ended { exit_code, .. } => format!("ended {exit_code}"),
                What::RestartedUnseen(times) => format!("unseen {times}"),
                What::Evicted { message } => message,
            })
            .collect::<Vec<_>>()
        };
        let fresh = pod(0, running(), json!({}));
        let killed = pod(0, run("a", "OOMKilled"), json!({}));
        let again = pod(1, running(), run("a", "OOMKilled"));
        assert_eq!(told(&[fresh.clone(), killed, again.clone(), again]), ["oom"]);
        let failed = pod(0, run("a", "Error"), json!({}));
        assert_eq!(told(&[fresh.clone(), failed, pod(1, running(), run("a", "Error"))]), ["ended 1"]);
        assert_eq!(told(&[fresh, pod(3, running(), run("a", "Error"))]), ["ended 1", "unseen 2"]);
    }

    #[test]
    fn an_eviction_is_told_once() {
        let evicted: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u"},
            "status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
                "conditions": [{"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap();
        check(
            &[pod(0, running(), json!({})), evicted.clone(), evicted.clone()],
            &["The node was low on resource: memory."],
        );
        assert!(incidents(None, &evicted)[0].at.is_some());
    }
}
