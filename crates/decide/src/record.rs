//! What is remembered of a workload between rounds and across restarts: small, serialised into the status of its
//! `Rightsizing`. What is under way is not here but on the pods themselves ([`crate::note`]), so that it cannot be forgotten.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::numbers::Numbers;

/// How many resizes are remembered of a workload.
pub const LAST_RESIZES: usize = 10;

/// What is remembered of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// What each container asked for before we first touched it; what an uninstall puts back.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub originals: BTreeMap<String, Numbers>,
    /// The newest resizes, oldest first, at most [`LAST_RESIZES`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<Done>,
    /// Sizes that proved too small.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub too_small: Vec<TooSmall>,
    /// How often in a row it came to harm or was refused: the cool-down doubles with each.
    pub setbacks: u32,
    /// Nothing but what is urgent is done before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Up to when incidents have been reckoned with: none counts twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incidents_until: Option<Timestamp>,
    /// Since when some pod of it has found no room on its node for what it is to have; `None`: all have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_room_since: Option<Timestamp>,
}

/// One resize that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// When it was asked for.
    pub at: Timestamp,
    /// Of which pod.
    pub pod: String,
    /// What changed, by container: before and after.
    pub containers: BTreeMap<String, (Numbers, Numbers)>,
    /// How it ended.
    pub code: Code,
    /// The sentence for people.
    pub message: String,
}

/// A size that came to harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TooSmall {
    /// Which container.
    pub container: String,
    /// The size at which it was harmed; only the numbers that are to be blamed.
    pub size: Numbers,
    /// When.
    pub at: Timestamp,
    /// Why it is blamed.
    pub code: Code,
}
