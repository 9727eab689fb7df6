//! The two resize conditions of a pod and how they change (reference §1.6, §4.4, §4.5).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

/// Condition type of a resize that the node has not accepted.
pub const POD_RESIZE_PENDING: &str = "PodResizePending";
/// Condition type of a resize that is accepted and not yet wholly actuated.
pub const POD_RESIZE_IN_PROGRESS: &str = "PodResizeInProgress";
/// Reason of [`POD_RESIZE_IN_PROGRESS`] after a failed attempt.
pub const REASON_ERROR: &str = "Error";

/// Why a resize is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PendingReason {
    /// Does not fit now; tried again.
    Deferred,
    /// Cannot be on this node; not tried again until the spec changes or the node restarts.
    Infeasible,
}

impl PendingReason {
    /// The condition's reason.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deferred => "Deferred",
            Self::Infeasible => "Infeasible",
        }
    }
}

/// `PodResizePending`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// Why.
    pub reason: PendingReason,
    /// In words, from the decision.
    pub message: String,
    /// Generation of the refused spec.
    pub generation: Option<i64>,
    /// Since when the reason has been this one: the age that orders deferred resizes.
    pub since: Timestamp,
    /// When it was last evaluated.
    pub probed: Timestamp,
}

/// `PodResizeInProgress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InProgress {
    /// The last attempt's error; `None`: none failed yet.
    pub error: Option<String>,
    /// Generation at which it was allocated; kept until it is completed or replaced.
    pub generation: Option<i64>,
    /// Since when the reason (error or not) has been this one.
    pub since: Timestamp,
    /// When it was last evaluated.
    pub probed: Timestamp,
}

/// The resize conditions of one pod. Plain data: also what the node checkpoints, so that generation and age survive a
/// restart with full precision (the API keeps whole seconds).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResizeConditions {
    /// A desired size that was not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// An accepted size that is not yet in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_progress: Option<InProgress>,
}

impl ResizeConditions {
    /// A desired size was refused. Returns whether an event is due: the condition is new, or its reason or generation
    /// changed.
    pub fn refuse(&mut self, reason: PendingReason, message: String, generation: Option<i64>, now: Timestamp) -> bool {
        let old = self.pending.take();
        let same_reason = old.as_ref().is_some_and(|it| it.reason == reason);
        let same_generation = old.as_ref().is_some_and(|it| it.generation == generation);
        let since = old.filter(|_| same_reason).map_or(now, |it| it.since);
        self.pending = Some(Pending { reason, message, generation, since, probed: now });
        !(same_reason && same_generation)
    }

    /// The desired size is the allocated one (again): nothing is pending. Returns whether something was.
    pub fn settle(&mut self) -> bool {
        self.pending.take().is_some()
    }

    /// A new size was allocated: nothing is pending, and progress begins anew at this generation, an older error
    /// forgotten.
    pub fn allocate(&mut self, generation: Option<i64>, now: Timestamp) {
        self.pending = None;
        self.in_progress = Some(InProgress { error: None, generation, since: now, probed: now });
    }

    /// Actuation is needed or goes on. Keeps generation and error of a condition that stands; makes one where none does
    /// (after a restart without a record).
    pub fn proceed(&mut self, generation: Option<i64>, now: Timestamp) {
        match &mut self.in_progress {
            Some(it) => it.probed = now,
            None => self.in_progress = Some(InProgress { error: None, generation, since: now, probed: now }),
        }
    }

    /// An attempt to actuate failed. Returns whether an event is due: the error is a new one.
    pub fn fail(&mut self, error: String, generation: Option<i64>, now: Timestamp) -> bool {
        let old = self.in_progress.take();
        let had_error = old.as_ref().is_some_and(|it| it.error.is_some());
        let due = old.as_ref().and_then(|it| it.error.as_ref()) != Some(&error);
        let since = old.as_ref().filter(|_| had_error).map_or(now, |it| it.since);
        let generation = old.map_or(generation, |it| it.generation);
        self.in_progress = Some(InProgress { error: Some(error), generation, since, probed: now });
        due
    }

    /// Allocated and actuated are equal. Returns the generation that was completed, if one was in progress: the
    /// `ResizeCompleted` event is due for it.
    pub fn complete(&mut self) -> Option<Option<i64>> {
        self.in_progress.take().map(|it| it.generation)
    }

    /// The pod has ended: no resize matters any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The conditions as an API status has them, for a node that has no record of its own. Other types, and pending
    /// reasons that are none of ours, are passed over.
    #[must_use]
    pub fn read(conditions: &[PodCondition]) -> Self {
        let find = |type_: &str| conditions.iter().find(|it| it.type_ == type_);
        let time = |it: &Option<Time>| it.as_ref().map(|it| it.0);
        let pending = find(POD_RESIZE_PENDING).and_then(|it| {
            let reason = match it.reason.as_deref() {
                Some("Deferred") => PendingReason::Deferred,
                Some("Infeasible") => PendingReason::Infeasible,
                _ => return None,
            };
            let since = time(&it.last_transition_time).unwrap_or(Timestamp::UNIX_EPOCH);
            Some(Pending {
                reason,
                message: it.message.clone().unwrap_or_default(),
                generation: it.observed_generation,
                since,
                probed: time(&it.last_probe_time).unwrap_or(since),
            })
        });
        let in_progress = find(POD_RESIZE_IN_PROGRESS).map(|it| {
            let since = time(&it.last_transition_time).unwrap_or(Timestamp::UNIX_EPOCH);
            InProgress {
                error: it
                    .reason
                    .as_deref()
                    .filter(|&it| it == REASON_ERROR)
                    .map(|_| it.message.clone().unwrap_or_default()),
                generation: it.observed_generation,
                since,
                probed: time(&it.last_probe_time).unwrap_or(since),
            }
        });
        Self { pending, in_progress }
    }

    /// The conditions as the status is to have them: pending before in-progress.
    #[must_use]
    pub fn to_conditions(&self) -> Vec<PodCondition> {
        let pending = self.pending.as_ref().map(|it| PodCondition {
            type_: POD_RESIZE_PENDING.to_owned(),
            status: "True".to_owned(),
            reason: Some(it.reason.as_str().to_owned()),
            message: Some(it.message.clone()),
            observed_generation: it.generation,
            last_transition_time: Some(Time(it.since)),
            last_probe_time: Some(Time(it.probed)),
        });
        let in_progress = self.in_progress.as_ref().map(|it| PodCondition {
            type_: POD_RESIZE_IN_PROGRESS.to_owned(),
            status: "True".to_owned(),
            reason: it.error.as_ref().map(|_| REASON_ERROR.to_owned()),
            message: it.error.clone(),
            observed_generation: it.generation,
            last_transition_time: Some(Time(it.since)),
            last_probe_time: Some(Time(it.probed)),
        });
        pending.into_iter().chain(in_progress).collect()
    }

    /// Whether two states differ in what a status patch is worth: reason, message, presence. Times and generations
    /// alone cause none (reference §4.4).
    #[must_use]
    pub fn same_to_readers(&self, other: &Self) -> bool {
        let pending = |it: &Self| it.pending.as_ref().map(|it| (it.reason, it.message.clone()));
        let in_progress = |it: &Self| it.in_progress.as_ref().map(|it| it.error.clone());
        pending(self) == pending(other) && in_progress(self) == in_progress(other)
    }
}
