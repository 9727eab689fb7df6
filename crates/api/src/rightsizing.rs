//! `Rightsizing`: one for each workload, owned by it: what it needs, what was decided and why, what was done, and what is
//! remembered of it. Written by the controller alone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which workload it is about.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "supple.dev",
    version = "v1alpha1",
    kind = "Rightsizing",
    plural = "rightsizings",
    namespaced,
    status = "RightsizingStatus",
    shortname = "rsz",
    category = "supple",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase")]
pub struct RightsizingSpec {
    /// The workload.
    pub workload_ref: WorkloadRef,
}

/// A workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// "apps/v1"
    pub api_version: String,
    /// "Deployment"
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Status of the workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RightsizingStatus {
    /// The generation of the specification this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What each container needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recommendation: Vec<ContainerRecommendation>,
    /// The last decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Current and proposed requests of a pod, all containers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sizes: Option<Sizes>,
    /// Its pods, counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodCounts>,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordStatus>,
    /// State of the recommender, by container, in base64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub history: BTreeMap<String, String>,
    /// What is the case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What a container needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerRecommendation {
    /// Its name.
    pub container_name: String,
    /// CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Recommended>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Recommended>,
    /// Hours of history.
    pub hours: i32,
    /// The newest measurement it rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::word::date_time")]
    pub measured: Option<Timestamp>,
}

/// What is wanted of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Recommended {
    /// The request to have.
    pub target: String,
    /// Below this, the risk is higher than allowed.
    pub lower: String,
    /// Above this there is nothing to gain.
    pub upper: String,
    /// Confidence, in thousandths.
    pub confidence: i32,
    /// The rule that decided the size.
    pub rule: String,
    /// What lowers the confidence; absent: nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub doubt: String,
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Decision {
    /// The reason code, as docs/reason-codes.md has it.
    pub code: String,
    /// Message: what, why, and what must change.
    pub message: String,
    /// The mode in effect for this workload.
    pub mode: String,
    /// When it is checked again, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::word::date_time")]
    pub again: Option<Timestamp>,
    /// Since when the code has been this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::word::date_time")]
    pub since: Option<Timestamp>,
}

/// What a pod asks for and is to ask for, as a person reads it: `250m`, or `250m -> 400m` where it is to change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sizes {
    /// CPU requested by a pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cpu: String,
    /// Memory requested by a pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub memory: String,
}

/// Pods, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCounts {
    /// All that run.
    pub total: i32,
    /// With the sizes they are to have.
    pub fitting: i32,
    /// A resize is in progress or being watched.
    pub under_way: i32,
    /// Their node has no room yet.
    pub deferred: i32,
    /// Their node cannot do it.
    pub infeasible: i32,
}

/// What was done and came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordStatus {
    /// Original sizes of each container, before Supple first resized it; `supple uninstall --restore` restores them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub originals: BTreeMap<String, SizesText>,
    /// The newest resizes, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_resizes: Vec<DoneText>,
    /// Sizes that proved too small.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub too_small: Vec<TooSmallText>,
    /// Number of consecutive resizes that caused harm or were refused.
    pub setbacks: i32,
    /// Only urgent changes are made before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::word::date_time")]
    pub not_before: Option<Timestamp>,
    /// Incidents up to this time are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::word::date_time")]
    pub incidents_until: Option<Timestamp>,
    /// Since when a pod has had no room on its node for its new sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::word::date_time")]
    pub no_room_since: Option<Timestamp>,
    /// Intended sizes of the last recreated pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recreated: Option<RecreatedText>,
}

/// A recreation for sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecreatedText {
    /// When it was decided.
    #[schemars(schema_with = "crate::word::date_time")]
    pub at: Timestamp,
    /// Intended sizes of the recreated pod, by container.
    #[serde(default)]
    pub containers: BTreeMap<String, AimText>,
    /// Whether the new pod has other sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<bool>,
}

/// Intended sizes of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AimText {
    /// Next.
    pub next: SizesText,
    /// If a step could be of any size.
    pub full: SizesText,
}

/// The numbers of a container, as quantities; an absent one was not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SizesText {
    /// requests.cpu
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<String>,
    /// limits.cpu
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<String>,
    /// requests.memory
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_request: Option<String>,
    /// limits.memory
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<String>,
}

/// A resize that was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DoneText {
    /// When it was asked for.
    #[schemars(schema_with = "crate::word::date_time")]
    pub at: Timestamp,
    /// Of which pod.
    pub pod: String,
    /// How it ended: a reason code.
    pub code: String,
    /// Message.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What changed, by container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub containers: BTreeMap<String, ChangeText>,
}

/// A container's numbers before and after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ChangeText {
    /// As they were.
    pub before: SizesText,
    /// As they were set.
    pub after: SizesText,
}

/// A size that caused harm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TooSmallText {
    /// Which container.
    pub container: String,
    /// The sizes that caused it.
    pub size: SizesText,
    /// When.
    #[schemars(schema_with = "crate::word::date_time")]
    pub at: Timestamp,
    /// Why: a reason code.
    pub code: String,
}
