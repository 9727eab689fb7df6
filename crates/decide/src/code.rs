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
    /// The pod runs with the new sizes, and no harm was found while it was watched.
    Resized => "",
    /// The pod gets its former sizes back, because its resize caused harm.
    RollBack => "",
    /// The pod is evicted so that it comes back with the right sizes.
    Evict => "",
    /// The workload is restarted through its template.
    RollOut => "",
    /// The target of a horizontal autoscaler changes together with the request it reads.
    AdjustScaler => "",
    /// The pod requests what it needs, as far as its policy and its usage allow.
    Fits => "",

    // What is known.
    /// There are no measurements yet.
    NoData => "wait for the first measurements, or see `supple doctor` if there are none",
    /// The history is too short to lower anything.
    Learning => "wait, provide history (Prometheus), or set a shorter `learn`",
    /// The newest measurement is old: sizes may rise, but are not lowered.
    StaleData => "find out why measurements have stopped: `supple doctor`",
    /// The confidence is too low to lower anything.
    LowConfidence => "wait, or set a lower `minConfidence`",

    // What is allowed.
    /// The mode only recommends.
    ModeOff => "set another mode by label, policy or VerticalPodAutoscaler",
    /// The mode sizes pods only when they are created.
    ModeInitial => "set another mode, or recreate the pod",
    /// The container is excluded by its container policy.
    ContainerOff => "remove `mode: Off` from its container policy",
    /// The policy does not control this resource.
    NotControlled => "add it to `controlledResources`",
    /// A pause is in effect.
    Paused => "end the pause, or wait until it ends",
    /// The pod is in kube-system or in the controller's own namespace, where Supple never acts, whatever the mode says.
    ProtectedNamespace => "set its sizes by hand, or move the workload to another namespace",
    /// `supple.dev/stop` is set, which stops everything in the cluster.
    Stopped => "remove the annotation `supple.dev/stop` from the namespace of the controller",
    /// No window allows a change now, or a window denies it.
    OutsideWindow => "wait for the window, or change `windows`",

    // Whose pod it is.
    /// Another vertical autoscaler acts on the workload.
    OtherVertical => "remove one of the two",
    /// Someone else has set the pod's sizes.
    OtherHand => "run the command that `supple explain` shows: it removes Supple's annotation and the other field \
                  manager; then let only Supple set its resources",
    /// A horizontal autoscaler reads the request that would change.
    HorizontalScaler => "set `hpa: Adjust`, or scale on another metric",

    // What is going on.
    /// The pod does not run, is being deleted, or has ended.
    NotRunning => "wait until it runs; a pod that has ended is never resized",
    /// The workload has no pods now: it is scaled to zero, or between two runs.
    NoPods => "scale it up, or wait for its next run; without the webhook, new pods get the sizes of the template",
    /// A resize of the pod is under way.
    InProgress => "wait until that resize has ended",
    /// The node has no room for the resize yet, and retries it.
    Deferred => "shrink or move other pods of the node",
    /// The node had no room for too long: Supple gave up and restored the former sizes.
    GivenUp => "free room on the node, or allow `InPlaceOrRecreate`",
    /// The node cannot do the resize with its configuration.
    Infeasible => "allow `InPlaceOrRecreate`, or recreate the pod",
    /// The node tries the resize and fails.
    NodeFailing => "check the pod's `PodResizeInProgress` condition and its node",
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
    /// The last resize is too recent.
    CoolDown => "wait, or set a shorter cool-down",
    /// An earlier resize caused harm or was refused: the pauses between tries are longer.
    BackOff => "wait; Supple remembers the size that caused harm",

    // What the numbers are.
    /// The change is too small to be worth a resize: less than `threshold`, or less than 5 milli-CPU.
    NotWorthIt => "set a lower `threshold`; 5 milli-CPU are always needed",
    /// The container requests neither CPU nor memory, and a resize may not change its QoS class.
    NothingRequested => "add requests to its template",
    /// The size is held at the minimum the policy allows.
    AtLeast => "lower `minAllowed`",
    /// The size is held at the maximum the policy allows.
    AtMost => "raise `maxAllowed`",
    /// The size is held by a schedule.
    Scheduled => "change `schedules`",
    /// The step is capped; the rest follows later.
    StepCapped => "raise the step caps",
    /// The size stays above one that caused harm before.
    KnownTooSmall => "wait until it is forgotten (a week), or raise `minAllowed`",
    /// The limit stays, and caps the request.
    LimitKept => "set another `limits` strategy",
    /// The pod's QoS class would change.
    QosChange => "recreate the pod with other requests and limits",

    // What the cluster answers.
    /// A limit range of the namespace forbids the size.
    LimitRange => "change the limit range, or the bounds of the policy",
    /// A quota of the namespace has no room for the size.
    QuotaExceeded => "raise the quota, or shrink other pods of the namespace",
    /// The node is too small for it, even when empty.
    NodeCapacity => "move the pod to a larger node",
    /// The node's version or operating system cannot resize it.
    NodeUnsupported => "move the pod to a node that can",
    /// The node has no room for it now, even after other pods have shrunk.
    NoRoom => "free room on the node, or move the pod",
    /// The node is short of memory, disk or process ids.
    NodePressure => "wait until the node's pressure condition is False",
    /// The node does not answer.
    NodeNotReady => "check the node",
    /// The pod has pod-level resources, and the containers would not fit into them.
    PodLevel => "raise `spec.resources` of the pod: in place with `kubectl patch --subresource=resize`, and in its template",
    /// Pods of this kind are never resized: static pods, pods on Windows, pods with resource claims.
    NotResizable => "set its sizes where it is made: no running pod of this kind is resized",
    /// The API server would refuse it for another reason.
    Rejected => "change the sizes as the message says",
    /// The API server refused it.
    Refused => "change the sizes as the message says",
    /// The API server did not answer, or failed: Supple tries again.
    NoAnswer => "check the API server, its load and its webhooks",

    // What a memory decrease needs.
    /// The memory limit would be at or below the current or recent usage.
    BelowUse => "wait until it uses less",
    /// The container waits for CPU or memory, or came near its limit: nothing is lowered.
    UnderPressure => "wait until the pressure is over",
    /// The memory limit would be lowered while swap is in use.
    SwapInUse => "wait until the swap is empty",
    /// The API server or the node is older than 1.34 and cannot lower a memory limit without a restart.
    LimitNotLowered => "upgrade it, or set the container's memory resize policy to RestartContainer",
    /// The memory decrease waits for approval.
    NeedsApproval => "annotate the pod or workload: supple.dev/approve-memory-decrease=true",

    // What a restart needs.
    /// The resize policy requires a restart, and the mode allows none.
    WouldRestart => "allow `InPlaceOrRecreate`, or resize it by hand",
    /// A disruption budget allows no restart now.
    DisruptionBudget => "wait until the budget allows one; of two budgets over one pod, remove one",
    /// It is the last ready replica, or too few replicas are ready.
    TooFewReplicas => "add replicas, or set a lower `minReplicas`; the last ready replica always stays: run a second \
                       one, or set `recreateBy: Rollout` where the workload's rollout has `maxSurge`",
    /// Another replica of the workload is missing or not ready: no second one is disrupted meanwhile.
    ReplicasNotReady => "find out why the other replicas are not ready",
    /// A recreated pod would have the same sizes.
    ComesBackSame => "let the webhook size new pods, then restart the workload; or change the template",
    /// `evictionRequirements` do not allow recreating it for a change in this direction.
    WrongDirection => "change `evictionRequirements`, or the mode",
    /// An annotation on the pod forbids disruption.
    DoNotDisrupt => "remove its safe-to-evict or do-not-disrupt annotation",

    // What budgets allow.
    /// The maximum number of pods of the workload is being resized or watched.
    WorkloadBudget => "wait, or raise `podsAtOnce`",
    /// The maximum number of pods of the namespace is being resized or watched.
    NamespaceBudget => "wait, or raise `namespacePodsAtOnce`",
    /// The maximum number of resizes in the cluster is in progress.
    ClusterBudget => "wait, or raise the controller's `--max-in-flight`",
    /// Another resize on the node is in progress.
    NodeBusy => "wait until it has ended",

    // What went wrong after a resize.
    /// The container was OOM-killed.
    OutOfMemory => "",
    /// The container was restarted.
    Restarted => "",
    /// The pod is no longer ready.
    NotReady => "",
    /// The container is throttled since its CPU limit was lowered.
    Throttled => "",
    /// A guard of the policy was crossed.
    GuardCrossed => "",
    /// A guard of the policy has no answer: it is ignored, and blocks nothing.
    GuardUnread => "run the guard's query in Prometheus for a pod of the workload: the result must be one number",
    /// The pod's cgroup stays small after an OOM kill: a resize has no effect, the pod must be recreated.
    StuckAfterKill => "allow `InPlaceOrRecreate`, or delete the pod",
}
