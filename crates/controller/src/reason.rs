//! What `supple resize` and `supple undo` answer: one closed list of codes, the same in text and in `-o json`.

use std::fmt;

/// A stable code. Codes are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The pod runs with the new sizes.
    Resized,
    /// The pod already had these sizes.
    NothingToChange,
    /// A dry run: it would be accepted.
    WouldResize,
    /// The API server accepted it; Supple did not wait, or the pod has no node yet.
    Accepted,
    /// Supple predicts a refusal; nothing was sent.
    PredictedRefusal,
    /// The API server refused it.
    Refused,
    /// The node has no room for it now, and retries.
    Deferred,
    /// The node cannot do it with its configuration.
    Infeasible,
    /// The node tries the resize, fails, and retries.
    Failed,
    /// Accepted, but not applied within the timeout.
    TimedOut,
    /// The pod is gone.
    PodGone,
    /// There is no pod of that name in that namespace.
    NoSuchPod,
    /// Someone changed the pod's resources during this resize.
    Overtaken,
    /// There is no resize to undo.
    NothingToUndo,
    /// The request does not fit this pod: the container does not exist, or there are several and none was chosen.
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
        Self::NoSuchPod,
        Self::Overtaken,
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
            Self::NoSuchPod => "NoSuchPod",
            Self::Overtaken => "Overtaken",
            Self::NothingToUndo => "NothingToUndo",
            Self::BadRequest => "BadRequest",
        }
    }

    /// What it means, in one sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Resized => "The pod runs with the new sizes.",
            Self::NothingToChange => "The pod already had these sizes.",
            Self::WouldResize => "A dry run: it would be accepted.",
            Self::Accepted => "The API server accepted it; Supple did not wait, or the pod has no node yet.",
            Self::PredictedRefusal => "Supple predicts a refusal; nothing was sent.",
            Self::Refused => "The API server refused it.",
            Self::Deferred => "The node has no room for it now, and retries.",
            Self::Infeasible => "The node cannot do it with its configuration.",
            Self::Failed => "The node tries the resize, fails, and retries.",
            Self::TimedOut => "Accepted, but not applied within the timeout.",
            Self::PodGone => "The pod is gone.",
            Self::NoSuchPod => "There is no pod of that name in that namespace.",
            Self::Overtaken => "Someone changed the pod's resources during this resize.",
            Self::NothingToUndo => "There is no resize to undo.",
            Self::BadRequest => {
                "The request does not fit this pod: the container does not exist, or there are several and none was \
                 chosen."
            }
        }
    }

    /// Whether what was asked for is so, or will be so without anybody doing more.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Resized | Self::NothingToChange | Self::WouldResize | Self::Accepted)
    }
}

/// The section of `docs/reason-codes.md` about them.
pub fn to_markdown() -> String {
    let mut page = String::from(
        "\n## What `supple resize` and `supple undo` answer\n\n\
         In `-o json` as `reason`. The first four end with exit code 0, the others with 1.\n\n| code | meaning |\n|---|---|\n",
    );
    let (good, bad): (Vec<Reason>, Vec<Reason>) = Reason::ALL.into_iter().partition(|it| it.is_success());
    for reason in good.into_iter().chain(bad) {
        page.push_str(&format!("| `{reason}` | {} |\n", reason.meaning()));
    }
    page
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}
