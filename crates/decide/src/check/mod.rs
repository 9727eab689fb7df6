//! The named checks, in the order in which they are asked. Each is one small function in a room of its own below here.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A check. Their order here is the order in which they are asked, and that of the documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Check {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Check {
            /// Every check, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What it asks, in a sentence.
            #[must_use]
            pub const fn question(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)+),)+ }
            }

            /// Its name as written in the code.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

checks! {
    /// Is there enough data, and is it fresh?
    Data,
    /// Do policy, windows, pauses and the switch allow a change now?
    Permission,
    /// Is the pod in another's hand: a VPA, a horizontal autoscaler on the same resource, KEDA, another field manager?
    Owner,
    /// Did its last resize do harm, or is it still being watched?
    Settling,
    /// Is a rollout, a restart or a resize in progress?
    Progress,
    /// Is the change worth it, within floors, ceilings and schedules?
    Worth,
    /// Is the pod past its start?
    Startup,
    /// Is the QoS class kept?
    Qos,
    /// Would the API server take it?
    Valid,
    /// Do the limit ranges allow it, ratios included?
    LimitRange,
    /// Does the quota have room, neighbours resized in the same round included?
    Quota,
    /// Does the node have room, neighbours and what is deferred there included?
    Room,
    /// May memory be lowered: use, peak, pressure, page cache, swap, approval?
    MemoryDecrease,
    /// Is a restart needed, and allowed by mode, disruption budget and replica count?
    Restart,
    /// Do the budgets of workload, node and cluster have a place?
    Budget,
    /// Is the node free of pressure?
    NodePressure,
    /// Is the step within its cap?
    Step,
    /// Is the cool-down over, and the back-off after harm?
    CoolDown,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
