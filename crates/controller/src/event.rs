//! Everything that can wake the loop, and everything the loop can want done: two closed lists.

use jiff::Timestamp;
use serde::Serialize;
use supple_api::rightsizing::{Rightsizing, RightsizingStatus};
use supple_decide::code::Code;
use supple_decide::guard::Guard;
use supple_decide::key::{PodKey, WorkloadKey};
use tokio::sync::oneshot;

use crate::carry::{Answer, Order};
use crate::history_file::Page;
use crate::lease::mandate::LOST;
use crate::rules::{PolicyWritten, RuleNews, VpaWritten};
use crate::source::Reading;
use crate::source::eviction::Eviction;
use crate::source::incident::Incident;
use crate::source::prometheus::guards::{Asked, Watched};
use crate::source::prometheus::past::{Extent, Past};
use crate::usage::PodUse;
use crate::view::News;
use crate::view::shelf::Name;

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A watch of the cluster's own kinds says something.
    News(Box<News>),
    /// A watch of our own kinds, or of VPA's, says something.
    Rules(Box<RuleNews>),
    /// The cluster has said its minor version, or that it has none that can be read.
    Version(Option<u32>),
    /// It is time to measure.
    Tick,
    /// A part of the usage has come; the rest follows.
    Measured(Vec<PodUse>),
    /// All usage has come, and this is the last part of it; or the sentence that says why not.
    Usage(Result<Vec<PodUse>, String>),
    /// What a node's kubelet tells beside.
    Detailed(Vec<Reading>),
    /// A kubelet's event about a pod that it evicted.
    Evicted(Box<Eviction>),
    /// What a Prometheus remembers of the containers of some pods, and whether that is all of it. More is asked for when it has been taken
    /// in, which is when the last of it is dropped: at no time is there more than one of them.
    Past(Vec<Past>, Extent, oneshot::Sender<()>),
    /// What the guards of a workload came to.
    Guards(WorkloadKey, Asked),
    /// An action has been answered.
    Answered(Box<Order>, Answer),
    /// Something that was to be written has been, or not.
    Wrote(WorkloadKey, Result<(), String>),
    /// The status of a policy has been written, or not.
    WrotePolicy(Result<(), String>),
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
    AskGuards(WorkloadKey, Vec<Watched>, Vec<Guard>),
    /// Tell whoever wrote a policy: an event on it, a log line.
    TellPolicy(Box<PolicyTold>),
    /// Tell people: an event, a log line, an audit line. With the version and UID of the workload's object, where known.
    Tell(Told, Option<(String, String)>),
    /// Write into the audit file alone what is made of a workload from now on.
    Audit(Told),
    /// Write what is known of a workload; answered by [`Event::Wrote`].
    Write(Box<Written>),
    /// Write the status of a `VerticalPodAutoscaler`.
    WriteVpa(Box<VpaWritten>),
    /// Count what befell a pod.
    Count(Incident),
    /// Write down in the history file what has been learned, in place of what stands there.
    Keep(Vec<Page>),
    /// Write the status of a policy; answered by [`Event::WrotePolicy`].
    WritePolicy(Box<PolicyWritten>),
}

impl Effect {
    /// Whether it changes the cluster: what only the leader may.
    pub const fn is_a_write(&self) -> bool {
        matches!(self, Self::Carry(_) | Self::Write(_) | Self::WriteVpa(_) | Self::WritePolicy(_))
    }

    /// The effect, where it may be carried out.
    ///
    /// # Errors
    /// Only who leads may: what is answered in its place, where an answer is waited for. Nothing was begun.
    pub fn of_one_who_leads(self, leads: bool) -> Result<Self, Option<Event>> {
        if leads || !self.is_a_write() {
            return Ok(self);
        }
        let why = || LOST.to_owned();
        Err(match self {
            Self::Carry(order) => Some(Event::Answered(order, Answer::Overtaken(why()))),
            Self::Write(written) => Some(Event::Wrote(written.workload, Err(why()))),
            Self::WritePolicy(_) => Some(Event::WrotePolicy(Err(why()))),
            _ => None,
        })
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
    /// The sentence without what is another each time, as until when something waits: with the same gist the same is told. `None`: it is
    /// the whole of it.
    #[serde(skip)]
    pub gist: Option<String>,
}

/// Something that the author of a policy has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyTold {
    /// When.
    pub at: Timestamp,
    /// `RightsizePolicy` or `ClusterRightsizePolicy`.
    pub kind: &'static str,
    /// Namespace (empty: it is one of the cluster) and name.
    pub name: Name,
    /// Its UID.
    pub uid: Option<String>,
    /// What, in a word that stays.
    pub reason: &'static str,
    /// Somebody has to do something about it.
    pub is_warning: bool,
    /// The sentence.
    pub message: String,
}

impl Told {
    /// Whether it is as it should be, or somebody may have to look.
    pub const fn is_good(&self) -> bool {
        matches!(self.code, Code::Resize | Code::Resized | Code::Fits | Code::AdjustScaler)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_leader_may_is_answered_and_the_rest_goes_on() {
        let workload = WorkloadKey { namespace: "n".into(), kind: "Deployment".into(), name: "w".into() };
        let told = Told {
            at: Timestamp::UNIX_EPOCH,
            code: Code::Fits,
            pod: None,
            workload,
            message: String::new(),
            gist: None,
        };
        let policy = || PolicyWritten { name: ("n".into(), "p".into()), uid: None, status: Default::default() };
        for leads in [true, false] {
            for effect in [Effect::Measure, Effect::Audit(told.clone()), Effect::Tell(told.clone(), None)] {
                assert!(effect.of_one_who_leads(leads).is_ok(), "it changes nothing in the cluster");
            }
            let written = Effect::WritePolicy(Box::new(policy())).of_one_who_leads(leads);
            match written {
                Ok(Effect::WritePolicy(_)) => assert!(leads),
                Err(Some(Event::WrotePolicy(Err(why)))) => assert!(!leads && why == "another replica leads", "{why}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
