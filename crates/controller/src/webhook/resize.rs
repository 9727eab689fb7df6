//! What is said of a resize: a memory limit does not go to or below what is used, and where a policy asks for it, not down
//! without somebody's approval. Pure; what would be lowered in place, and what a restart gives back, the model of a resize says.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use supple_api::names::APPROVE_MEMORY_DECREASE;
use supple_decide::code::Code;
use supple_decide::need::Use;
use supple_decide::numbers::{Numbers, show_measured_memory, sizes_of};
use supple_quantity::Bytes;
use supple_resize::guard::{self, MemoryUsage, Reason};
use supple_resize::predict::planned;
use supple_resize::resources::resizable_containers;

use super::knowledge::{Approval, Knowledge};
use super::review::{Question, Verdict};

/// What was measured longer ago says nothing of now: it is not refused for it, but warned.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// Judge a question about `pods/resize`.
pub fn judge(question: &Question, knowledge: &dyn Knowledge, now: Timestamp) -> Verdict {
    let (Some(new), Some(old)) = (&question.pod, &question.old) else {
        return Verdict::warns("supple.dev: cannot parse the pod, so its resize was not checked".to_owned());
    };
    let lowered = lowered(old, new);
    if lowered.is_empty() {
        return Verdict::passes();
    }
    let used = knowledge.used(&question.namespace, &question.name);
    let fresh = |it: &str| used.get(it).filter(|it| now.duration_since(it.at) <= FRESH).and_then(|it| it.memory);
    // What is measured runs, whatever a status that lags behind says.
    let plan = planned(old, new, |it| fresh(it).is_some());
    let containers = used.keys().filter_map(|it| Some((it.to_string(), fresh(it)?)));
    let usage = MemoryUsage { pod: None, containers: containers.collect() };
    let below = guard::check(&plan, &usage).err().map(|it| it.reasons).unwrap_or_default();
    let mut warnings = Vec::new();
    for Lowered { container, before, after } in &lowered {
        let now_asked = || format!("the memory limit of container {container:?} would go {} {after}", from(*before));
        let seconds = |it: &Use| now.duration_since(it.at).as_secs().max(0);
        match below.iter().find(|it| it.container() == Some(container)) {
            Some(Reason::ContainerUsage { usage, .. }) => {
                let message = format!(
                    "{}, and it uses {} (measured {} s ago): it would be OOM-killed; set a higher limit, or wait \
                     until it uses less",
                    now_asked(),
                    show_measured_memory(*usage),
                    used.get(container.as_str()).map_or(0, seconds),
                );
                return Verdict::refuses(Code::BelowUse, message);
            }
            Some(_) => warnings.push(match used.get(container.as_str()) {
                Some(used) => format!(
                    "supple.dev: {}, and its usage was last measured {} minutes ago",
                    now_asked(),
                    seconds(used) / 60
                ),
                None => format!("supple.dev: {}, and its usage is unknown", now_asked()),
            }),
            None => {}
        }
        // A restart gives it all back.
        let charged = used.get(container.as_str()).and_then(|it| it.memory_charged);
        let stays = fresh(container).is_some() && !plan.restart.contains(container);
        if let Some(charged) = charged.filter(|charged| charged >= after && stays) {
            warnings.push(format!(
                "supple.dev: {}, and {} is charged to it, page cache included: its node waits until less is charged",
                now_asked(),
                show_measured_memory(charged)
            ));
        }
    }
    if let Approval::Needed { by } = knowledge.approval(&question.namespace, old)
        && !is_approved(old)
    {
        let Lowered { container, before, after } = &lowered[0];
        let message = format!(
            "the memory limit of container {container:?} would go {} {after}, and {by} requires approval: kubectl -n \
             {} annotate pod {} {APPROVE_MEMORY_DECREASE}=true",
            from(*before),
            question.namespace,
            question.name
        );
        return Verdict::refuses(Code::NeedsApproval, message);
    }
    Verdict { warnings, ..Verdict::passes() }
}

/// A memory limit that goes down, or is set where there was none.
struct Lowered {
    container: String,
    before: Option<Bytes>,
    after: Bytes,
}

fn lowered(old: &Pod, new: &Pod) -> Vec<Lowered> {
    let of = |it: &str| {
        let limit = |pod| Numbers::of(&sizes_of(pod, it)).memory_limit;
        let (before, after) = (limit(old), limit(new)?);
        let is_lower = before.is_none_or(|before| after < before);
        is_lower.then(|| Lowered { container: it.to_owned(), before, after })
    };
    resizable_containers(new).filter_map(|it| of(&it.container.name)).collect()
}

fn from(before: Option<Bytes>) -> String {
    before.map_or("from none to".to_owned(), |it| format!("from {it} to"))
}

fn is_approved(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().and_then(|it| it.get(APPROVE_MEMORY_DECREASE)).is_some_and(|it| it == "true")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use supple_decide::need::Uses;

    use super::super::knowledge::Sizing;
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    struct Known {
        used: Option<Use>,
        approval: Approval,
    }

    impl Knowledge for Known {
        fn used(&self, _: &str, _: &str) -> Uses {
            self.used.map(|it| ("c".into(), it)).into_iter().collect()
        }

        fn approval(&self, _: &str, _: &Pod) -> Approval {
            self.approval.clone()
        }

        fn sizes(&self, _: &str, _: &Pod, _: Timestamp) -> Option<Sizing> {
            None
        }
    }

    fn pod(limit: Option<&str>, approved: bool) -> Option<Pod> {
        let limits = limit.map_or(json!({}), |it| json!({"memory": it}));
        let annotations = if approved { json!({APPROVE_MEMORY_DECREASE: "true"}) } else { json!({}) };
        serde_json::from_value(json!({"metadata": {"name": "p", "annotations": annotations},
            "spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]},
            "status": {"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {}}}]}}))
        .ok()
    }

    /// The pod, whose container is restarted for a change of this resource.
    fn restarting(pod: Option<Pod>, resource: &str) -> Option<Pod> {
        let mut pod = serde_json::to_value(pod).unwrap();
        pod["spec"]["containers"][0]["resizePolicy"] =
            json!([{"resourceName": resource, "restartPolicy": "RestartContainer"}]);
        serde_json::from_value(pod).ok()
    }

    fn question(old: Option<Pod>, new: Option<Pod>) -> Question {
        Question {
            uid: "u".to_owned(),
            namespace: "d".to_owned(),
            name: "p".to_owned(),
            operation: "UPDATE".to_owned(),
            subresource: "resize".to_owned(),
            pod: new,
            object: json!({}),
            old,
        }
    }

    fn uses(mebibytes: i64, minutes_ago: i64) -> Option<Use> {
        let at = now() - SignedDuration::from_mins(minutes_ago);
        Some(Use { memory: Some(Bytes(mebibytes << 20)), ..Use::at(at) })
    }

    #[track_caller]
    fn check(old: Option<&str>, new: Option<&str>, known: Known, refused: Option<Code>, part: &str) {
        let verdict = judge(&question(pod(old, false), pod(new, false)), &known, now());
        let said = format!("{verdict:?}");
        assert_eq!(verdict.refused.map(|it| it.0), refused, "{said}");
        assert!(said.contains(part), "{said}");
        if refused.is_none() {
            assert_eq!(verdict.warnings.is_empty(), part.is_empty(), "{said}");
        }
    }

    fn known(used: Option<Use>) -> Known {
        Known { used, approval: Approval::NotNeeded }
    }

    #[test]
    fn below_use_is_refused() {
        let said = "from 512Mi to 64Mi, and it uses 90Mi (measured 60 s ago): it would be OOM-killed";
        check(Some("512Mi"), Some("64Mi"), known(uses(90, 1)), Some(Code::BelowUse), said);
        check(Some("512Mi"), Some("90Mi"), known(uses(90, 1)), Some(Code::BelowUse), "");
        check(Some("512Mi"), Some("91Mi"), known(uses(90, 1)), None, "");
        check(None, Some("64Mi"), known(uses(90, 1)), Some(Code::BelowUse), "from none to 64Mi");
        check(Some("64Mi"), Some("70Mi"), known(uses(90, 1)), None, "");
        check(Some("64Mi"), None, known(uses(90, 1)), None, "");
    }

    #[test]
    fn what_is_restarted_for_it_is_not_killed_by_it() {
        let ask = |resource: &str| {
            let (old, new) = (pod(Some("512Mi"), false), pod(Some("64Mi"), false));
            let question = question(restarting(old, resource), restarting(new, resource));
            judge(&question, &known(uses(90, 1)), now())
        };
        assert_eq!(ask("memory"), Verdict::passes());
        assert_eq!(ask("cpu").refused.map(|it| it.0), Some(Code::BelowUse), "its CPU does not change");
    }

    #[test]
    fn what_is_not_known_is_warned_of() {
        check(Some("512Mi"), Some("64Mi"), known(None), None, "its usage is unknown");
        check(Some("512Mi"), Some("64Mi"), known(uses(90, 11)), None, "last measured 11 minutes ago");
        let charged = uses(10, 1).map(|it| Use { memory_charged: Some(Bytes(100 << 20)), ..it });
        check(Some("512Mi"), Some("64Mi"), known(charged), None, "100Mi is charged to it");
        let unread = judge(&question(None, pod(None, false)), &known(None), now());
        assert!(unread.refused.is_none() && unread.warnings.len() == 1);
    }

    #[test]
    fn approval_is_asked_for_where_a_policy_wants_it() {
        let needed =
            || Known { used: uses(10, 1), approval: Approval::Needed { by: "rightsizepolicy/web".to_owned() } };
        let said = "rightsizepolicy/web requires approval: kubectl -n d annotate pod p \
                    supple.dev/approve-memory-decrease=true";
        check(Some("512Mi"), Some("64Mi"), needed(), Some(Code::NeedsApproval), said);
        check(Some("64Mi"), Some("512Mi"), needed(), None, "");
        let approved = judge(&question(pod(Some("512Mi"), true), pod(Some("64Mi"), true)), &needed(), now());
        assert_eq!(approved, Verdict::passes());
        // No approval lets a container be killed.
        let killed = Known { used: uses(90, 1), ..needed() };
        let refused = judge(&question(pod(Some("512Mi"), true), pod(Some("64Mi"), true)), &killed, now());
        assert_eq!(refused.refused.map(|it| it.0), Some(Code::BelowUse));
    }
}
