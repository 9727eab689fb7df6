//! Whether a pod may be evicted: what its disruption budget says, and what is left of the budget afterwards. Pure. The rules
//! and sentences are those of Kubernetes v1.36 (`pkg/registry/core/pod/storage/eviction.go`).

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use supple_resize::disruption::{ALWAYS, Health};

use crate::errors::{ApiError, Subject};
use crate::metadata::{self, fields};
use crate::selector::LabelSelector;
use crate::tree::{at, items, number, text};

/// More evictions than this, none of which the budget's controller has noticed, are one too many.
const MOST_DISRUPTED: usize = 2000;

/// Seconds after which a client may try again, where only the budget's controller has to catch up.
const CATCH_UP: u64 = 10;

/// What stands between a pod and its eviction.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing. `guarded`: the pod is to be in this very revision still, for the answer depends on what it does.
    Free {
        /// Whether the removal is on condition of the revision.
        guarded: bool,
    },
    /// The budget of this name, of which one disruption is to be [taken](take) first.
    Budget(String),
    /// The pod is not healthy, and its budget (of this name) lets such pods go.
    Unhealthy(String),
}

/// Decides on a pod whose namespace has these budgets.
///
/// # Errors
/// 500 in the reference's words where several budgets are about the pod.
pub fn decide(pod: &Value, budgets: &[Value]) -> Result<Verdict, ApiError> {
    let phase = text(pod, "status.phase");
    let ended = matches!(phase, "Succeeded" | "Failed") || metadata::is_deleting(pod);
    if ended || phase == "Pending" {
        // What has not begun may become ready in the meantime; what has ended stays so.
        return Ok(Verdict::Free { guarded: !ended });
    }
    let mut about = budgets.iter().filter(|it| covers(it, pod));
    let Some(budget) = about.next() else { return Ok(Verdict::Free { guarded: false }) };
    if about.next().is_some() {
        let message =
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", message));
    }
    let name = text(budget, "metadata.name").to_owned();
    if !is_ready(pod) {
        let health = Health {
            current: number(budget, "status.currentHealthy"),
            desired: number(budget, "status.desiredHealthy"),
            always: text(budget, "spec.unhealthyPodEvictionPolicy") == ALWAYS,
        };
        if health.lets_unready_go() {
            return Ok(Verdict::Unhealthy(name));
        }
    }
    Ok(Verdict::Budget(name))
}

/// A budget without a selector is about nothing, one with an empty selector about all pods of its namespace.
fn covers(budget: &Value, pod: &Value) -> bool {
    let selector = at(budget, "spec.selector");
    selector.is_object() && LabelSelector::of(selector).is_ok_and(|it| it.matches(pod))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = items(pod, "status.conditions");
    conditions.iter().any(|it| text(it, "type") == "Ready" && text(it, "status") == "True")
}

/// Takes one disruption out of a budget, noting that it is for this pod: until its controller has noticed that the pod is
/// gone, nobody else can have the same.
///
/// # Errors
/// 429 where the budget has none or is not up to date, 403 for a budget that makes no sense.
pub fn take(mut budget: Value, pod: &str, now: Timestamp) -> Result<Value, ApiError> {
    let name = text(&budget, "metadata.name").to_owned();
    let senseless = |why: &str| {
        Err(ApiError::forbidden(Subject { name: &name, group: "policy", kind: "poddisruptionbudget" }, why))
    };
    if number(&budget, "status.observedGeneration") < number(&budget, "metadata.generation") {
        return Err(busy(&name));
    }
    let allowed = number(&budget, "status.disruptionsAllowed");
    if allowed < 0 {
        return senseless("pdb disruptions allowed is negative");
    }
    if at(&budget, "status.disruptedPods").as_object().is_some_and(|it| it.len() > MOST_DISRUPTED) {
        return senseless("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Err(exhausted(&budget, &name));
    }
    let observed = at(&budget, "status.observedGeneration").clone();
    let status = fields(fields(&mut budget).entry("status").or_insert(Value::Null));
    status.insert("disruptionsAllowed".to_owned(), (allowed - 1).into());
    if allowed == 1 {
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        close(conditions, &observed, now);
    }
    fields(status.entry("disruptedPods").or_insert(Value::Null)).insert(pod.to_owned(), metadata::time(now));
    Ok(budget)
}

/// Says in the conditions that nothing more may be disrupted.
fn close(conditions: &mut Value, observed: &Value, now: Timestamp) {
    let mut condition = json!({
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "InsufficientPods",
        "message": "",
        "lastTransitionTime": metadata::moment(now),
    });
    if !observed.is_null() {
        condition["observedGeneration"] = observed.clone();
    }
    let Some(list) = conditions.as_array_mut() else { return };
    match list.iter_mut().find(|it| text(it, "type") == "DisruptionAllowed") {
        Some(there) => {
            if text(there, "status") == "False" {
                condition["lastTransitionTime"] = at(there, "lastTransitionTime").clone();
            }
            *there = condition;
        }
        None => list.push(condition),
    }
}

/// 429: the budget's controller has to catch up first.
pub fn busy(name: &str) -> ApiError {
    let message = format!("The disruption budget {name} is still being processed by the server.");
    let mut error = refused(&message);
    if let Some(details) = &mut error.details {
        details["retryAfterSeconds"] = CATCH_UP.into();
    }
    error
}

fn exhausted(budget: &Value, name: &str) -> ApiError {
    let conditions = items(budget, "status.conditions");
    let failed =
        conditions.iter().find(|it| text(it, "type") == "DisruptionAllowed" && text(it, "reason") == "SyncFailed");
    refused(&match failed {
        Some(failed) => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            text(failed, "message")
        ),
        None => format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            number(budget, "status.desiredHealthy"),
            number(budget, "status.currentHealthy")
        ),
    })
}

fn refused(cause: &str) -> ApiError {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
        .with_causes([json!({"reason": "DisruptionBudget", "message": cause})])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    fn pod(phase: &str, ready: &str) -> Value {
        json!({
            "metadata": {"name": "p", "labels": {"app": "a"}},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    fn budget(name: &str, selector: Value, status: Value) -> Value {
        json!({"metadata": {"name": name, "generation": 2}, "spec": {"selector": selector}, "status": status})
    }

    #[track_caller]
    fn check(pod: &Value, budgets: &[Value], expected: Result<Verdict, u16>) {
        assert_eq!(decide(pod, budgets).map_err(|it| it.code.as_u16()), expected, "{pod}");
    }

    #[test]
    fn a_budget_is_asked_where_there_is_one() {
        let a = || json!({"matchLabels": {"app": "a"}});
        let of = |selector: Value| [budget("b", selector, json!({}))];
        check(&pod("Running", "True"), &[], Ok(Verdict::Free { guarded: false }));
        check(&pod("Running", "True"), &of(a()), Ok(Verdict::Budget("b".into())));
        check(&pod("Running", "True"), &of(json!({})), Ok(Verdict::Budget("b".into())));
        check(&pod("Running", "True"), &of(Value::Null), Ok(Verdict::Free { guarded: false }));
        check(&pod("Running", "True"), &of(json!({"matchLabels": {"app": "b"}})), Ok(Verdict::Free { guarded: false }));
        check(&pod("Pending", "False"), &of(a()), Ok(Verdict::Free { guarded: true }));
        check(&pod("Failed", "False"), &of(a()), Ok(Verdict::Free { guarded: false }));
        let mut going = pod("Running", "True");
        going["metadata"]["deletionTimestamp"] = "t".into();
        check(&going, &of(a()), Ok(Verdict::Free { guarded: false }));
        let two = [budget("b", a(), json!({})), budget("c", json!({}), json!({}))];
        check(&pod("Running", "True"), &two, Err(500));
    }

    #[test]
    fn an_unhealthy_pod_costs_nothing_where_enough_are_healthy() {
        let with = |status: Value, policy: &str| {
            let mut budget = budget("b", json!({}), status);
            budget["spec"]["unhealthyPodEvictionPolicy"] = policy.into();
            [budget]
        };
        let enough = json!({"currentHealthy": 2, "desiredHealthy": 2});
        let short = json!({"currentHealthy": 1, "desiredHealthy": 2});
        let sick = pod("Running", "False");
        check(&sick, &with(enough.clone(), ""), Ok(Verdict::Unhealthy("b".into())));
        check(&sick, &with(short.clone(), "IfHealthyBudget"), Ok(Verdict::Budget("b".into())));
        check(&sick, &with(short, "AlwaysAllow"), Ok(Verdict::Unhealthy("b".into())));
        check(&sick, &with(json!({}), ""), Ok(Verdict::Budget("b".into())));
        check(&pod("Running", "True"), &with(enough, ""), Ok(Verdict::Budget("b".into())));
    }

    #[track_caller]
    fn check_take(status: Value, code: u16, cause: &str) {
        let error = take(budget("b", json!({}), status), "p", now()).unwrap_err();
        assert_eq!(error.code.as_u16(), code);
        let causes = error.details.as_ref().map(|it| it["causes"].clone()).unwrap_or_default();
        let found = causes[0]["message"].as_str().unwrap_or(&error.message);
        assert_eq!(found, cause);
    }

    #[test]
    fn a_disruption_is_taken_once() {
        let left = json!({"observedGeneration": 2, "disruptionsAllowed": 2});
        let taken = take(budget("b", json!({}), left), "p", now()).unwrap();
        let noted = json!({"p": "2030-01-01T00:00:00Z"});
        assert_eq!((&taken["status"]["disruptionsAllowed"], &taken["status"]["disruptedPods"]), (&json!(1), &noted));
        assert!(taken["status"]["conditions"].is_null());
        let last = take(taken, "q", now()).unwrap();
        assert_eq!(last["status"]["disruptionsAllowed"], 0);
        assert_eq!(last["status"]["conditions"][0]["reason"], "InsufficientPods");
        let error = take(last, "r", now()).unwrap_err();
        assert_eq!(error.message, "Cannot evict pod as it would violate the pod's disruption budget.");
        check_take(
            json!({"observedGeneration": 2, "disruptionsAllowed": 0, "desiredHealthy": 2, "currentHealthy": 2}),
            429,
            "The disruption budget b needs 2 healthy pods and has 2 currently",
        );
        check_take(
            json!({"observedGeneration": 1, "disruptionsAllowed": 1}),
            429,
            "The disruption budget b is still being processed by the server.",
        );
        check_take(
            json!({"observedGeneration": 2, "conditions": [{"type": "DisruptionAllowed", "reason": "SyncFailed", "message": "why"}]}),
            429,
            "The disruption budget b does not allow evicting pods currently because it failed sync: why",
        );
        check_take(
            json!({"observedGeneration": 2, "disruptionsAllowed": -1}),
            403,
            "poddisruptionbudget.policy \"b\" is forbidden: pdb disruptions allowed is negative",
        );
    }
}
