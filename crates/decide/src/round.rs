//! What comes of a scene: actions in the order in which they are to be carried out, one decision a pod with everything that
//! was found, and what is to be remembered.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use supple_resize::amounts::Resource;
use supple_resize::predict::Change;

use crate::check::{Asked, Check};
use crate::code::Code;
use crate::key::{PodKey, WorkloadKey};
use crate::numbers::Numbers;
use crate::record::Record;
use crate::scaler::Target;

/// What comes of a scene.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// What is to be done, in this order: what takes room back goes before what needs it.
    pub actions: Vec<Action>,
    /// What was found, one entry a pod that was judged, by name.
    pub decisions: Vec<Decision>,
    /// Records that are different from what they were.
    pub records: BTreeMap<WorkloadKey, Record>,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// The pod it is about.
    pub pod: PodKey,
    /// Its workload.
    pub workload: WorkloadKey,
    /// What.
    pub what: What,
    /// The code of the decision.
    pub code: Code,
    /// Why, for people.
    pub why: String,
    /// It takes back what does harm, or raises what cannot wait: budgets and other resizes on the node do not hold it up.
    pub cannot_wait: bool,
}

/// What is to be done with a pod or its workload.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Resize it in place.
    Resize(Change),
    /// Give it back the sizes it had.
    RollBack(Change),
    /// Evict it; its owner makes another.
    Evict,
    /// Restart its workload through the template; at most one such action a workload.
    RollOut,
    /// Change the target of a horizontal autoscaler where that has not been done, then resize: all pods of the workload do so
    /// in one round.
    AdjustScaler {
        /// Which, and to what.
        target: Target,
        /// The pod's own change.
        change: Change,
    },
    /// Give a horizontal autoscaler that was adjusted the target that goes with what its pods ask for now. The pod stands for its
    /// workload; nothing is done to it.
    SettleScaler(Target),
}

impl What {
    /// What is to be changed in the pod.
    #[must_use]
    pub const fn change(&self) -> Option<&Change> {
        match self {
            Self::Resize(change) | Self::RollBack(change) | Self::AdjustScaler { change, .. } => Some(change),
            Self::Evict | Self::RollOut | Self::SettleScaler(_) => None,
        }
    }

    /// What is to be changed in the pod, where that is something new and not what was before.
    #[must_use]
    pub const fn new_change(&self) -> Option<&Change> {
        if matches!(self, Self::RollBack(_)) { None } else { self.change() }
    }
}

/// What was found for one pod. What is found of pods of one workload is mostly the same, and then kept once; it is read as the
/// decision's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Which pod.
    pub pod: PodKey,
    /// What was found.
    #[serde(flatten)]
    pub verdict: Arc<Verdict>,
}

impl Deref for Decision {
    type Target = Verdict;

    fn deref(&self) -> &Verdict {
        &self.verdict
    }
}

/// What was found for a pod, or for several that are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Its workload.
    pub workload: WorkloadKey,
    /// Per container, in the order of the pod.
    pub containers: Vec<Proposal>,
    /// What the checks had to say, in their order; one that passed says nothing.
    pub findings: Vec<Finding>,
    /// What settled it: the code of the action, or of the first finding that stopped it.
    pub code: Code,
    /// The sentence for people.
    pub message: String,
    /// When it may be otherwise by itself.
    pub again: Option<Timestamp>,
    /// The checks that were asked: one that was and is not among the findings passed.
    #[serde(default)]
    pub asked: Asked,
}

impl Verdict {
    /// What held the size of a resource of a container last: the bound, step, range or quota that it comes from.
    #[must_use]
    pub fn bound(&self, container: &str, resource: Resource) -> Option<&Finding> {
        let about = |it: &&Finding| it.container.as_deref() == Some(container) && it.resource == Some(resource);
        let binds = |it: &&Finding| it.outcome == Outcome::Clamped || it.code == Code::QuotaExceeded;
        self.findings.iter().rev().filter(about).find(|it| binds(it) && it.code.rule().is_some())
    }
}

/// One container: what it has and what it should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Its name.
    pub container: Arc<str>,
    /// What its spec asks for now.
    pub now: Numbers,
    /// What the recommender wants, before any check: requests alone.
    pub wanted: Numbers,
    /// What is left of it after the checks that concern numbers; equal to `now` where nothing is to change. Where something
    /// else stands in the way, the decision's findings say so and this says what it would have been.
    pub next: Numbers,
    /// What it was to have before a check held a part of it for now, or as things are; equal to `next` where none did.
    #[serde(default)]
    pub due: Numbers,
}

/// What a check had to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// About which container; `None`: about the pod.
    pub container: Option<Arc<str>>,
    /// About which resource; `None`: about both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// What it comes to.
    pub outcome: Outcome,
    /// The code.
    pub code: Code,
    /// The sentence for people, with the numbers in it.
    pub message: String,
    /// The setting that says so, and where it comes from, where a setting does.
    pub setting: Option<String>,
}

/// What a finding comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The numbers were changed; the rest goes on.
    Clamped,
    /// Not now; perhaps by itself later.
    Delayed,
    /// Not as things are: somebody would have to change something.
    Refused,
}

pub use crate::engine::decide;
