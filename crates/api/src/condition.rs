//! Conditions: what is said about a policy, a workload or an autoscaler on the object itself.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::policy::PolicyStatus;
use crate::problem::Problem;
use crate::vpa::VerticalPodAutoscalerCondition;

/// Everything a policy says could be read.
pub const VALID: &str = "Valid";

/// Another policy of the same weight says something else about the same workload.
pub const CONTESTED: &str = "Contested";

/// Of a workload: what each container needs is known well enough to go by.
pub const RECOMMENDED: &str = "Recommended";

/// Of a workload: mode, pauses and the switch let us act.
pub const PERMITTED: &str = "Permitted";

/// Of a workload: every pod asks for what it needs, or for so nearly that that it is not worth a resize.
pub const FITTING: &str = "Fitting";

/// Status, and since when, of the conditions of a workload: what has to be remembered of them.
pub type Since = [Option<(Option<bool>, Timestamp)>; 3];

/// What is to be remembered of these conditions.
#[must_use]
pub fn since(conditions: &[Condition]) -> Since {
    [RECOMMENDED, PERMITTED, FITTING].map(|type_| {
        let found = conditions.iter().find(|it| it.type_ == type_)?;
        let status = match found.status.as_str() {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        };
        Some((status, found.last_transition_time.0))
    })
}

/// Conditions as they were remembered, to be [`set`] anew.
#[must_use]
pub fn taken_up(since: &Since) -> Vec<Condition> {
    let types = [RECOMMENDED, PERMITTED, FITTING].into_iter().zip(since);
    types.filter_map(|(type_, it)| it.map(|(status, at)| (type_, status, at))).fold(Vec::new(), |mut all, it| {
        let (type_, status, at) = it;
        set(&mut all, Said { type_, status, reason: "", message: String::new() }, None, at);
        all
    })
}

/// What is to be said: a condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its type.
    pub type_: &'static str,
    /// True, false, or not known.
    pub status: Option<bool>,
    /// Why, in a word.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub message: String,
}

impl Said {
    fn status(&self) -> &'static str {
        match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// The longest message; what is more is cut, so that no object grows with its mistakes.
const LONGEST: usize = 1024;

/// Sets one of the conditions, keeping since when it has been so and leaving the others alone.
pub fn set(conditions: &mut Vec<Condition>, said: Said, generation: Option<i64>, now: Timestamp) {
    let status = said.status();
    let before = conditions.iter().position(|it| it.type_ == said.type_);
    let since = before.map(|at| &conditions[at]).filter(|it| it.status == status);
    let condition = Condition {
        type_: said.type_.to_owned(),
        status: status.to_owned(),
        reason: said.reason.to_owned(),
        message: cut(&said.message),
        observed_generation: generation,
        last_transition_time: since.map_or(Time(now), |it| it.last_transition_time.clone()),
    };
    match before {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// The same for VPA's own type.
pub fn set_vpa(
    conditions: &mut Vec<VerticalPodAutoscalerCondition>,
    said: Said,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = said.status();
    let before = conditions.iter().position(|it| it.type_ == said.type_);
    let since =
        before.map(|at| &conditions[at]).filter(|it| it.status == status).and_then(|it| it.last_transition_time);
    let some = |text: String| Some(text).filter(|it| !it.is_empty());
    let condition = VerticalPodAutoscalerCondition {
        type_: said.type_.to_owned(),
        status: status.to_owned(),
        last_transition_time: Some(since.unwrap_or(now)),
        reason: some(said.reason.to_owned()),
        message: some(cut(&said.message)),
        observed_generation: generation,
    };
    match before {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// What came of one policy in a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number of workloads it applies to.
    pub workloads: usize,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Policies of the same weight that say something else about the same workload: those that have the last word.
    pub overruled_by: Vec<String>,
}

/// What of a policy's status is ours: conditions that somebody else sets are not, and are left to them.
#[must_use]
pub fn own_policy_status(status: &PolicyStatus) -> PolicyStatus {
    let own = status.conditions.iter().filter(|it| [VALID, CONTESTED].contains(&it.type_.as_str()));
    PolicyStatus { conditions: own.cloned().collect(), ..*status }
}

/// Our part of the status of a policy, the times of its conditions kept from the one before.
#[must_use]
pub fn policy_status(
    outcome: &Outcome,
    generation: Option<i64>,
    before: Option<&PolicyStatus>,
    now: Timestamp,
) -> PolicyStatus {
    let mut conditions = before.map(own_policy_status).unwrap_or_default().conditions;
    let lines =
        |all: &[Problem]| all.iter().map(|it| format!("{}: {}", it.field, it.message)).collect::<Vec<_>>().join("; ");
    let valid = outcome.problems.is_empty();
    let (reason, message) = if valid { ("Read", String::new()) } else { ("NotRead", lines(&outcome.problems)) };
    set(&mut conditions, Said { type_: VALID, status: Some(valid), reason, message }, generation, now);
    let contested = !outcome.overruled_by.is_empty();
    let (reason, message) = if contested {
        let others = outcome.overruled_by.join(", ");
        ("SameWeight", format!("{others} has the same weight and is older, so it wins; set another weight"))
    } else {
        ("Alone", String::new())
    };
    set(&mut conditions, Said { type_: CONTESTED, status: Some(contested), reason, message }, generation, now);
    PolicyStatus {
        observed_generation: generation,
        matched_workloads: i32::try_from(outcome.workloads).unwrap_or(i32::MAX),
        conditions,
    }
}

fn cut(message: &str) -> String {
    if message.len() <= LONGEST {
        return message.to_owned();
    }
    let mut end = LONGEST - 3;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &message[..end])
}
