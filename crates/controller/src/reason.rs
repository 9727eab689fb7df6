//! Why something happened to a pod: one closed list of codes, the same in events, log lines, tables and `-o json`.

use std::fmt;

/// A stable code. Codes are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The pod runs with the new numbers.
    Resized,
    /// The pod had these numbers already.
    NothingToChange,
    /// A dry run: it would be accepted.
    WouldResize,
    /// Accepted by the API server; not waited for.
    Accepted,
    /// The rules refuse it; nothing was sent.
    PredictedRefusal,
    /// The API server refused it.
    Refused,
    /// The node has no room for it now and will try again.
    Deferred,
    /// The node cannot do it with its configuration.
    Infeasible,
    /// The node tries and fails; it goes on trying.
    Failed,
    /// Accepted, but not done when the time was up.
    TimedOut,
    /// The pod is gone.
    PodGone,
    /// Somebody changed the pod's resources again while this resize was under way.
    Overtaken,
    /// Somebody else has set the pod's resources; the loop leaves it to them.
    StoodBack,
    /// There is no resize that could be undone.
    NothingToUndo,
    /// The request makes no sense for this pod: no such container, or several and none named.
    BadRequest,
}

impl Reason {
    /// Every code.
    pub const ALL: [Self; 15] = [
        Self::Resized,
        Self::NothingToChange,
        Self::WouldResize,
        Self::Accepted,
        Self::PredictedRefusal,
        Self::Refused,
        Self::Deferred,
        Self::Infeasible,
        Self::Failed,
        Self::TimedOut,
        Self::PodGone,
        Self::Overtaken,
        Self::StoodBack,
        Self::NothingToUndo,
        Self::BadRequest,
    ];

    /// The code as it is written everywhere.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Resized => "Resized",
            Self::NothingToChange => "NothingToChange",
            Self::WouldResize => "WouldResize",
            Self::Accepted => "Accepted",
            Self::PredictedRefusal => "PredictedRefusal",
            Self::Refused => "Refused",
            Self::Deferred => "Deferred",
            Self::Infeasible => "Infeasible",
            Self::Failed => "Failed",
            Self::TimedOut => "TimedOut",
            Self::PodGone => "PodGone",
            Self::Overtaken => "Overtaken",
            Self::StoodBack => "StoodBack",
            Self::NothingToUndo => "NothingToUndo",
            Self::BadRequest => "BadRequest",
        }
    }

    /// Whether what was asked for is so, or will be so without anybody doing more.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Resized | Self::NothingToChange | Self::WouldResize | Self::Accepted)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}
