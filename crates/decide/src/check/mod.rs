//! The named checks, in the order in which they are asked. Each is one small function in a room of its own below here, all of
//! one shape: what is known of a pod goes in, its draft is changed. A check that has nothing to say says nothing.
//!
//! What somebody said comes before what time brings by itself: whoever is told "still learning" waits, and a pause or another's
//! hand would only come to light when the waiting is over.

pub(crate) mod budget;
pub(crate) mod cool_down;
pub(crate) mod data;
pub(crate) mod draft;
pub(crate) mod limit_range;
pub(crate) mod memory_decrease;
pub(crate) mod node_pressure;
pub(crate) mod owner;
pub(crate) mod permission;
pub(crate) mod progress;
pub(crate) mod qos;
pub(crate) mod quota;
pub(crate) mod replicas;
pub(crate) mod restart;
pub(crate) mod room;
pub(crate) mod settling;
pub(crate) mod sight;
pub(crate) mod startup;
pub(crate) mod step;
pub(crate) mod valid;
pub(crate) mod wave;
pub(crate) mod worth;

use std::fmt;

use serde::{Deserialize, Serialize};

use draft::Draft;
use sight::Sight;

macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A check. Their order here is the order in which they are asked, and that of the documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Check {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Check {
            /// Every check, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What it asks, in a sentence.
            #[must_use]
            pub const fn question(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)+).trim_ascii(),)+ }
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
    /// Do policy, windows, pauses and supple.dev/stop allow a change now?
    Permission,
    /// Does something else set the pod's sizes: a VPA, a horizontal autoscaler on the same resource, KEDA, another
    /// field manager?
    Owner,
    /// Is there enough data, and is it recent?
    Data,
    /// Did the last resize cause harm, or is the pod still being watched?
    Settling,
    /// Is a rollout, a restart or a resize in progress?
    Progress,
    /// Is the change large enough, within minimum, maximum and schedules?
    Worth,
    /// Has the pod finished starting up?
    Startup,
    /// Does the QoS class stay the same?
    Qos,
    /// Would the API server accept it?
    Valid,
    /// Do the limit ranges allow it, including ratios?
    LimitRange,
    /// Does the quota have room, including other pods resized in the same round?
    Quota,
    /// Does the node have room, including other resized pods and deferred resizes there?
    Room,
    /// May memory be lowered: use, peak, pressure, page cache, swap, approval?
    MemoryDecrease,
    /// If a restart is needed, do mode, disruption budget and replica count allow it?
    Restart,
    /// Do workload, namespace, node and cluster allow one more resize now?
    Budget,
    /// Is the node free of pressure?
    NodePressure,
    /// Is the step within its cap?
    Step,
    /// Are the cool-down and the back-off after harm over?
    CoolDown,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// When a check is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Always.
    Always,
    /// Where something is to change.
    Change,
    /// Where something is to change, and again as pods are given their places one after the other: the answer depends on
    /// what others got before.
    Place,
}

/// A check's function.
pub(crate) type Ask = fn(&Sight<'_>, &mut Draft);

/// Put a check's question.
pub(crate) fn put(check: Check, ask: Ask, sight: &Sight<'_>, draft: &mut Draft) {
    draft.asked.insert(check);
    ask(sight, draft);
}

/// Which checks were asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Asked(u32);

impl Asked {
    /// This one was.
    pub const fn insert(&mut self, check: Check) {
        self.0 |= 1 << check as u32;
    }

    /// Whether this one was.
    #[must_use]
    pub const fn contains(self, check: Check) -> bool {
        self.0 & (1 << check as u32) != 0
    }
}

/// Every check with its function, in the published order.
pub(crate) const TABLE: [(Check, When, Ask); 18] = [
    (Check::Permission, When::Change, permission::ask),
    (Check::Owner, When::Change, owner::ask),
    (Check::Data, When::Always, data::ask),
    (Check::Settling, When::Always, settling::ask),
    (Check::Progress, When::Always, progress::ask),
    (Check::Worth, When::Change, worth::ask),
    (Check::Startup, When::Change, startup::ask),
    (Check::Qos, When::Change, qos::ask),
    (Check::Valid, When::Change, valid::ask),
    (Check::LimitRange, When::Change, limit_range::ask),
    (Check::Quota, When::Place, quota::ask),
    (Check::Room, When::Place, room::ask),
    (Check::MemoryDecrease, When::Change, memory_decrease::ask),
    (Check::Restart, When::Place, restart::ask),
    (Check::Budget, When::Place, budget::ask),
    (Check::NodePressure, When::Change, node_pressure::ask),
    (Check::Step, When::Always, step::ask),
    (Check::CoolDown, When::Change, cool_down::ask),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_sentence_and_nothing_around_it() {
        for check in Check::ALL {
            let question = check.question();
            assert!(question.starts_with(char::is_uppercase) && question.ends_with('?'), "{question:?}");
        }
    }

    #[test]
    fn the_table_is_in_the_published_order() {
        assert_eq!(TABLE.map(|(check, _, _)| check).as_slice(), Check::ALL);
    }
}
