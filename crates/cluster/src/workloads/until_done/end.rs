//! How a job ends, in two conditions: first it is announced, which stops its pods; when they are gone it is concluded.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::plan::Told;

const COMPLETE: &str = "Complete";
const FAILED: &str = "Failed";
const SUSPENDED: &str = "Suspended";
/// The announcements of the two.
const CRITERIA_MET: &str = "SuccessCriteriaMet";
const FAILURE_TARGET: &str = "FailureTarget";

/// An end, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    is_success: bool,
    reason: String,
    message: String,
}

impl End {
    /// All that was wanted has succeeded.
    pub(super) fn completed() -> Self {
        let message = "Reached expected number of succeeded pods".to_owned();
        Self { is_success: true, reason: "CompletionsReached".to_owned(), message }
    }

    /// Enough has succeeded, by its own policy.
    pub(super) fn enough(message: &str) -> Self {
        Self { is_success: true, reason: "SuccessPolicy".to_owned(), message: message.to_owned() }
    }

    /// It is given up.
    pub(super) fn failed(reason: &str, message: &str) -> Self {
        Self { is_success: false, reason: reason.to_owned(), message: message.to_owned() }
    }

    /// The event.
    pub(super) fn told(&self) -> Told {
        if self.is_success {
            return Told::normal("Completed", "Job completed");
        }
        let reason = match self.reason.as_str() {
            "BackoffLimitExceeded" => "BackoffLimitExceeded",
            "PodFailurePolicy" => "PodFailurePolicy",
            _ => "DeadlineExceeded",
        };
        Told::warning(reason, self.message.clone())
    }
}

fn find<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|it| it.type_ == type_)
}

fn holds<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    find(status, type_).filter(|it| it.status == "True")
}

fn set(status: &mut JobStatus, type_: &str, is: bool, reason: &str, message: &str, now: Time) {
    let condition = JobCondition {
        type_: type_.to_owned(),
        status: if is { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(now.clone()),
        last_transition_time: Some(now),
    };
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|it| it.type_ == type_) {
        Some(there) => *there = condition,
        None => conditions.push(condition),
    }
}

/// The end that is written.
pub(super) fn of(status: &JobStatus) -> Option<&JobCondition> {
    holds(status, COMPLETE).or_else(|| holds(status, FAILED))
}

/// When it was.
pub(super) fn at(status: &JobStatus) -> Option<Timestamp> {
    of(status)?.last_transition_time.as_ref().map(|it| it.0)
}

/// The end that has been announced.
pub(super) fn announced(status: &JobStatus) -> Option<End> {
    let end = |is_success, it: &JobCondition| End {
        is_success,
        reason: it.reason.clone().unwrap_or_default(),
        message: it.message.clone().unwrap_or_default(),
    };
    holds(status, CRITERIA_MET)
        .map(|it| end(true, it))
        .or_else(|| holds(status, FAILURE_TARGET).map(|it| end(false, it)))
}

/// Announce it, once.
pub(super) fn announce(status: &mut JobStatus, end: &End, now: Time) {
    let type_ = if end.is_success { CRITERIA_MET } else { FAILURE_TARGET };
    if holds(status, type_).is_none() {
        set(status, type_, true, &end.reason, &end.message, now);
    }
}

/// Conclude it.
pub(super) fn conclude(status: &mut JobStatus, end: &End, now: Time) {
    set(status, if end.is_success { COMPLETE } else { FAILED }, true, &end.reason, &end.message, now.clone());
    if end.is_success {
        status.completion_time = Some(now);
    }
}

/// Note that it is suspended, or goes on; whether that is news.
pub(super) fn suspend(status: &mut JobStatus, suspended: bool, now: Time) -> bool {
    let known = find(status, SUSPENDED).map(|it| it.status == "True");
    if known.unwrap_or(false) == suspended {
        return false;
    }
    let (reason, message) = if suspended { ("JobSuspended", "Job suspended") } else { ("JobResumed", "Job resumed") };
    set(status, SUSPENDED, suspended, reason, message, now);
    true
}
