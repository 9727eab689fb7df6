//! Everything that can wake the loop, and everything the loop can want done: two closed lists.

use jiff::Timestamp;
use serde::Serialize;
use supple_api::rightsizing::{Rightsizing, RightsizingStatus};
use supple_decide::code::Code;
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::policy::Guard;
use supple_decide::scene::GuardReading;

use crate::carry::{Answer, Order};
use crate::rules::RuleNews;
use crate::source::Reading;
use crate::source::prometheus::past::Past;
use crate::usage::PodUse;
use crate::view::News;

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A watch of the cluster's own kinds says something.
    News(Box<News>),
    /// A watch of our own kinds, or of VPA's, says something.
    Rules(Box<RuleNews>),
    /// It is time to measure.
    Tick,
    /// Usage has come, or the sentence that says why not.
    Usage(Result<Vec<PodUse>, String>),
    /// What a node's kubelet tells beside.
    Detailed(Vec<Reading>),
    /// What a Prometheus remembers of containers.
    Past(Vec<Past>),
    /// What the guards of a workload came to.
    Guards(WorkloadKey, Vec<GuardReading>),
    /// An action has been answered.
    Answered(Box<Order>, Answer),
    /// Something that was to be written has been, or not.
    Wrote(WorkloadKey, Result<(), String>),
    /// We lead from now on, or no longer: only who leads acts and writes.
    Leading(bool),
}

/// Something is to be done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Ask for the usage of all pods; answered by [`Event::Usage`].
    Measure,
    /// Carry an action out; answered by [`Event::Answered`].
    Carry(Box<Order>),
    /// Evaluate the guards of a workload of which a resize is being watched; answered by [`Event::Guards`].
    AskGuards(WorkloadKey, Vec<Guard>),
    /// Tell people: an event, a log line, an audit line. With the version and UID of the workload's object, where known.
    Tell(Told, Option<(String, String)>),
    /// Write what is known of a workload; answered by [`Event::Wrote`].
    Write(Box<Written>),
    /// Write the status of a `VerticalPodAutoscaler`.
    WriteVpa(Box<crate::rules::VpaWritten>),
    /// The workload of this one is gone: delete it.
    Delete(Box<Rightsizing>),
}

impl Effect {
    /// Whether it changes the cluster: what only the leader may.
    pub const fn is_a_write(&self) -> bool {
        matches!(self, Self::Carry(_) | Self::Write(_) | Self::WriteVpa(_) | Self::Delete(_))
    }
}

/// What is known of a workload, to be written as its `Rightsizing`.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Which.
    pub workload: WorkloadKey,
    /// The object, as it is made where it is not there yet.
    pub object: Rightsizing,
    /// What is to stand there.
    pub status: RightsizingStatus,
    /// Whether the object has to be made first.
    pub create: bool,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// The code.
    pub code: Code,
    /// Which pod; `None`: the workload as a whole.
    pub pod: Option<PodKey>,
    /// Which workload.
    pub workload: WorkloadKey,
    /// The sentence.
    pub message: String,
}

impl Told {
    /// Whether it is as it should be, or somebody may have to look.
    pub const fn is_good(&self) -> bool {
        matches!(self.code, Code::Resize | Code::Resized | Code::Fits | Code::AdjustScaler)
    }
}
