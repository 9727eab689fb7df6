//! Reason codes: one closed list, the same in status, events, metrics and the audit log. Codes are only ever added; what
//! each means and what would have to change is written here once, and `docs/reason-codes.md` is generated from it.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident => $cure:literal,)+) => {
        /// A stable code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code as it is written everywhere.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)+).trim_ascii(),)+ }
            }

            /// What would have to change for it to be otherwise; empty where nothing has to.
            #[must_use]
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ }
            }
        }
    };
}

impl Code {
    /// What a size is held by, in the word of whoever set it; `None` where the code holds no size.
    #[must_use]
    pub const fn rule(self) -> Option<&'static str> {
        Some(match self {
            Self::AtLeast => "minAllowed",
            Self::AtMost => "maxAllowed",
            Self::Scheduled => "schedule",
            Self::StepCapped => "step",
            Self::KnownTooSmall => "too small before",
            Self::LimitKept => "limit",
            Self::QosChange => "QoS class",
            Self::LimitRange => "LimitRange",
            Self::QuotaExceeded => "quota",
            Self::BelowUse => "own use",
            Self::LimitNotLowered => "version",
            _ => return None,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

codes! {
    // What is done.
    /// The pod is to be resized in place.
    Resize => "",
    /// The pod runs with the new sizes and came to no harm while it was watched.
    Resized => "",
    /// The pod is to have its former sizes back: it came to harm after its resize.
    RollBack => "",
    /// The pod is evicted so that it comes back with the right sizes.
    Evict => "",
    /// The workload is restarted through its template.
    RollOut => "",
    /// The target of a horizontal autoscaler changes together with the request it reads.
    AdjustScaler => "",
    /// What the pod asks for is what it needs, as far as its policy and its use allow.
    Fits => "",

    // What is known.
    /// Nothing has been measured yet.
    NoData => "wait for the first measurements, or see `supple doctor` if there are none",
    /// It has not been watched for long enough to lower anything.
    Learning => "wait, give history (Prometheus), or set a shorter `learn`",
    /// The newest measurement is old: it may raise, never lower.
    StaleData => "find out why measurements have stopped: `supple doctor`",
    /// The recommender is not sure enough to lower anything.
    LowConfidence => "wait, or set a lower `minConfidence`",

    // What is allowed.
    /// The mode is to recommend only.
    ModeOff => "set another mode by label, policy or VerticalPodAutoscaler",
    /// The mode is to size pods when they are created only.
    ModeInitial => "set another mode, or recreate the pod",
    /// The container is excluded by its container policy.
    ContainerOff => "take `mode: Off` out of its container policy",
    /// The resource is not ours to size.
    NotControlled => "take it into `controlledResources`",
    /// A pause is in force.
    Paused => "end the pause, or wait until it ends",
    /// The switch that stops everything in the cluster is pulled.
    Stopped => "put the switch back: `supple.dev/stop` on the namespace of the controller",
    /// No window allows a change now, or one denies it.
    OutsideWindow => "wait for the window, or change `windows`",

    // Whose pod it is.
    /// Another vertical autoscaler acts on the workload.
    OtherVertical => "remove one of the two",
    /// Somebody else has set the pod's sizes.
    OtherHand => "take our note and the name of whoever resized it off the pod (`supple explain` shows how), and let nobody else set its resources",
    /// A horizontal autoscaler reads the request that would change.
    HorizontalScaler => "set `hpa: Adjust`, or let the autoscaler read another metric",

    // What is going on.
    /// The pod does not run, is on its way out, or has ended.
    NotRunning => "",
    /// The workload has no pods now: it is scaled to zero, or between two runs.
    NoPods => "scale it up, or wait for its next run; without the webhook new pods ask for what the template says",
    /// A resize of the pod is under way.
    InProgress => "",
    /// The node has no room for the resize yet; it keeps its place.
    Deferred => "let other pods of the node shrink or leave",
    /// The node had no room for too long: given up, the former sizes are back.
    GivenUp => "free room on the node, or allow `InPlaceOrRecreate`",
    /// The node cannot do the resize in its configuration.
    Infeasible => "allow `InPlaceOrRecreate`, or create the pod anew",
    /// The node tries and fails.
    NodeFailing => "see the pod's `PodResizeInProgress` condition and its node",
    /// The workload is being rolled out.
    RollingOut => "wait until the rollout has ended",
    /// A container is being restarted.
    Restarting => "find out why it restarts",
    /// The pod is still starting up.
    StartingUp => "wait, or set a shorter `startup`",
    /// The resize of another pod of the workload is still being watched.
    CanarySettling => "wait until the first pod has settled",
    /// The resize of the pod is being watched.
    Settling => "wait until it has settled",
    /// A resize was made a short time ago.
    CoolDown => "wait, or set a shorter cool-down",
    /// It came to harm, or was refused, before: longer pauses between tries.
    BackOff => "wait; the size that did harm is remembered",

    // What the numbers are.
    /// The change is too small to be worth a resize.
    NotWorthIt => "set a lower `threshold`",
    /// The container asks for neither CPU nor memory, and a resize may not change its QoS class.
    NothingRequested => "give it requests in its template",
    /// The size is held at the least the policy allows.
    AtLeast => "lower `minAllowed`",
    /// The size is held at the most the policy allows.
    AtMost => "raise `maxAllowed`",
    /// The size is held by a schedule.
    Scheduled => "change `schedules`",
    /// The step is as large as one may be; the rest follows later.
    StepCapped => "raise the step caps",
    /// The size is kept above one that did harm before.
    KnownTooSmall => "wait until it is forgotten (a week), or raise `minAllowed`",
    /// The limit stays, and caps the request.
    LimitKept => "set another `limits` strategy",
    /// The pod's QoS class would change.
    QosChange => "create the pod anew with other requests and limits",

    // What the cluster answers.
    /// A limit range of the namespace forbids the size.
    LimitRange => "change the limit range, or the bounds of the policy",
    /// A quota of the namespace has no room for the size.
    QuotaExceeded => "raise the quota, or let other pods of the namespace shrink",
    /// The node is too small for it even when empty.
    NodeCapacity => "move the pod to a larger node",
    /// The node's version or system cannot resize it.
    NodeUnsupported => "move the pod to a node that can",
    /// The node has no room for it now, not even after others have shrunk.
    NoRoom => "free room on the node, or move the pod",
    /// The node is short of memory, disk or process ids.
    NodePressure => "wait until the node's condition is false again",
    /// The node does not answer.
    NodeNotReady => "see the node",
    /// The pod as a whole has resources of its own, and the containers' would not fit into them.
    PodLevel => "raise `spec.resources` of the pod: in place with `kubectl patch --subresource=resize`, and in its template",
    /// Pods of this kind are never resized: static ones, those on Windows, those with claims on their node's resources.
    NotResizable => "",
    /// The API server would refuse it for another reason.
    Rejected => "change the sizes as the message says",
    /// The API server refused it.
    Refused => "change the sizes as the message says",
    /// The API server did not answer, or could not: it is tried again.
    NoAnswer => "see the API server, its load and its webhooks",

    // What a memory decrease needs.
    /// The memory limit would go to or below what is used, or was used lately.
    BelowUse => "wait until it uses less",
    /// The container waits for CPU or memory, or came near its limit: nothing is lowered.
    UnderPressure => "wait until the pressure is over",
    /// The memory limit would be lowered while swap is in use.
    SwapInUse => "wait until the swap is empty",
    /// The cluster is older than 1.34, which lowers no memory limit without a restart.
    LimitNotLowered => "upgrade the cluster, or give the container's memory the resize policy RestartContainer",
    /// The memory decrease waits for somebody's approval.
    NeedsApproval => "annotate the pod or workload: supple.dev/approve-memory-decrease=true",

    // What a restart needs.
    /// The resize policy wants a restart, and the mode allows none.
    WouldRestart => "allow `InPlaceOrRecreate`, or resize it by hand",
    /// A disruption budget allows no restart now.
    DisruptionBudget => "wait until the budget allows one",
    /// It is the last ready replica, or there are too few.
    TooFewReplicas => "add replicas, or set a lower `minReplicas`",
    /// Recreating it would bring the same sizes back.
    ComesBackSame => "let the webhook size new pods and restart the workload once it does, or change the template",
    /// Its sizes do not move in the direction in which it may be recreated.
    WrongDirection => "change `evictionRequirements`, or the mode",
    /// The pod asks not to be disturbed.
    DoNotDisrupt => "remove its safe-to-evict or do-not-disrupt annotation",

    // What budgets allow.
    /// As many pods of the workload are under way as may be.
    WorkloadBudget => "wait, or raise `podsAtOnce`",
    /// As many pods of the namespace are under way as may be.
    NamespaceBudget => "wait, or raise `namespacePodsAtOnce`",
    /// As many resizes are under way in the cluster as may be.
    ClusterBudget => "wait, or raise the controller's limit",
    /// Another resize on the node is in flight.
    NodeBusy => "wait until it has ended",

    // What went wrong after a resize.
    /// The container was killed for want of memory.
    OutOfMemory => "",
    /// The container was restarted.
    Restarted => "",
    /// The pod is not ready any more.
    NotReady => "",
    /// The container is throttled more than it was.
    Throttled => "",
    /// A guard of the policy was crossed.
    GuardCrossed => "",
    /// A guard of the policy has no answer: it watches nothing, and holds nothing up.
    GuardUnread => "ask Prometheus the guard's query yourself, for a pod of the workload: it must answer with one number",
    /// The pod-level cgroup stays small after a kill: a resize cannot reach the container, only recreating it can.
    StuckAfterKill => "allow `InPlaceOrRecreate`, or delete the pod",
}
