//! What a job's own policies make of its pods: whether a failure counts, passes unnoticed or ends the job, and when so
//! much has succeeded that the rest need not (reference: `pod_failure_policy.go`, `success_policy.go`).

use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::Indexes;
use super::end::End;

/// What becomes of a pod that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It counts, as without a policy.
    Counts,
    /// It does not count.
    Ignored,
    /// The job has failed.
    EndsTheJob(End),
}

/// What the first rule that matches says of a pod that has failed; without a match it counts.
pub(super) fn failure(spec: &JobSpec, pod: &Pod) -> Failure {
    let rules = spec.pod_failure_policy.iter().flat_map(|it| &it.rules);
    for (index, rule) in rules.enumerate() {
        let Some(what) = matched(rule, pod) else { continue };
        let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
        let pod = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
        return match rule.action.as_str() {
            "Ignore" => Failure::Ignored,
            "FailJob" => {
                let message = match what {
                    Match::Exit { container, code } => format!(
                        "Container {container} for pod {pod} failed with exit code {code} matching FailJob rule at index {index}"
                    ),
                    Match::Condition { type_ } => {
                        format!("Pod {pod} has condition {type_} matching FailJob rule at index {index}")
                    }
                };
                Failure::EndsTheJob(End::failed("PodFailurePolicy", &message))
            }
            // `FailIndex` goes with limits per index, which are stored only.
            _ => Failure::Counts,
        };
    }
    Failure::Counts
}

/// What of a pod a rule speaks of.
enum Match<'a> {
    Exit { container: &'a str, code: i32 },
    Condition { type_: &'a str },
}

fn matched<'a>(rule: &PodFailurePolicyRule, pod: &'a Pod) -> Option<Match<'a>> {
    let status = pod.status.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        let mut all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        return all.find_map(|it| exited(it, codes));
    }
    let mut conditions = status.conditions.iter().flatten();
    let found = conditions.find(|it| {
        let mut patterns = rule.on_pod_conditions.iter().flatten();
        patterns.any(|pattern| {
            // The API server fills in `True`.
            pattern.type_ == it.type_ && pattern.status.as_deref().unwrap_or("True") == it.status
        })
    });
    found.map(|it| Match::Condition { type_: &it.type_ })
}

/// A container that has failed in a way the rule names. Success is no failure, whatever a rule says.
fn exited<'a>(status: &'a ContainerStatus, codes: &PodFailurePolicyOnExitCodesRequirement) -> Option<Match<'a>> {
    if codes.container_name.as_deref().is_some_and(|it| it != status.name) {
        return None;
    }
    let code = status.state.as_ref()?.terminated.as_ref()?.exit_code;
    let is_in = codes.values.contains(&code);
    let matches = code != 0 && if codes.operator == "NotIn" { !is_in } else { is_in };
    matches.then_some(Match::Exit { container: &status.name, code })
}

/// Whether what has succeeded is enough, by the first rule that says so.
pub(super) fn success(spec: &JobSpec, done: &Indexes) -> Option<End> {
    let rules = &spec.success_policy.as_ref()?.rules;
    let completions = spec.completions.unwrap_or_default();
    let index = rules.iter().position(|rule| {
        let named = rule.succeeded_indexes.as_deref().map(|it| Indexes::parse(it, completions).0);
        let of_these = |it: &&i32| named.as_ref().is_none_or(|named| named.contains(it));
        let succeeded = done.0.iter().filter(of_these).count();
        match (rule.succeeded_count, &named) {
            (Some(count), _) => usize::try_from(count).is_ok_and(|count| succeeded >= count),
            (None, Some(named)) => succeeded >= named.len(),
            (None, None) => false,
        }
    })?;
    Some(End::enough(&format!("Matched rules at index {index}")))
}
