//! Names of labels and annotations that a decision reads or is remembered under: people type them and other programs look
//! for them, so they are fixed.

/// What labels and annotations that speak to us begin with.
pub const PREFIX: &str = "supple.dev/";

/// Label or annotation of a namespace, workload or pod: how far we may go. `recommend` and `in-place`, or the words of
/// `updateMode`; see [`crate::policy::Mode`].
pub const MODE: &str = "supple.dev/mode";

/// Annotation of a namespace, workload or pod: nothing is to be done. `true`, a reason, or `2026-12-01T06:00:00Z reason`.
pub const PAUSED: &str = "supple.dev/paused";

/// Annotation of a workload or pod: a memory decrease that waits for approval has it (`"true"`).
pub const APPROVE_MEMORY_DECREASE: &str = "supple.dev/approve-memory-decrease";

/// Annotation we leave on a pod, a [`crate::note::LastResize`]: its last resize, so that it can be undone and a stranger's
/// hand is noticed.
pub const LAST_RESIZE: &str = "supple.dev/last-resize";

/// Annotation that our webhook leaves on a pod that it sizes as it is created, a [`crate::note::SizedAtCreation`]: what the pod would
/// have had. It is what is remembered of such a pod, and what who removes us gives back.
pub const SIZED_AT_CREATION: &str = "supple.dev/sized-at-creation";

/// Annotation that an adjusted autoscaler bears: its [`crate::scaler::Anchor`].
pub const ADJUSTED_TARGET: &str = "supple.dev/adjusted-target";

/// What a simulated pod uses, and is like, is said to its node and not to us.
pub(crate) const SIMULATED: [&str; 2] = ["supple.dev/usage-pattern", "supple.dev/behaviour"];
