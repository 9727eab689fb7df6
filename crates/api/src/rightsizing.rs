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

/// What is known of the workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RightsizingStatus {
    /// The generation of the specification this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What each container needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recommendation: Vec<ContainerRecommendation>,
    /// What was decided last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What a pod asks for and is to ask for, all its containers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sizes: Option<Sizes>,
    /// Its pods, counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodCounts>,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordStatus>,
    /// What the recommender remembers, by container: base64 of its state. For machines.
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
    /// For how many hours it has been watched.
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
    /// Below this the risk is more than was asked for.
    pub lower: String,
    /// Above this there is nothing to gain.
    pub upper: String,
    /// How sure, in thousandths.
    pub confidence: i32,
    /// What settled it.
    pub rule: String,
    /// What speaks against more confidence; absent: nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub doubt: String,
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Decision {
    /// The reason code, as docs/reason-codes.md has it.
    pub code: String,
    /// The sentence for people: what, why, and what would have to change.
    pub message: String,
    /// How far we may go with this workload.
    pub mode: String,
    /// When it is looked at again, where that is known.
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
    /// A resize is under way or being watched.
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
    /// What each container asked for before we first touched it: what `supple uninstall --restore` puts back.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub originals: BTreeMap<String, SizesText>,
    /// The newest resizes, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_resizes: Vec<DoneText>,
    /// Sizes that proved too small.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub too_small: Vec<TooSmallText>,
    /// How often in a row it came to harm or was refused.
    pub setbacks: i32,
    /// Nothing but what is urgent is done before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::word::date_time")]
    pub not_before: Option<Timestamp>,
    /// Up to when incidents have been reckoned with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::word::date_time")]
    pub incidents_until: Option<Timestamp>,
    /// Since when some pod has found no room on its node for what it is to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::word::date_time")]
    pub no_room_since: Option<Timestamp>,
    /// What the last pod that was recreated for its sizes was to come back with.
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
    /// By container, what the pod was to come back with.
    #[serde(default)]
    pub containers: BTreeMap<String, AimText>,
    /// Whether the pod made since came with other sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<bool>,
}

/// What a container was to come back with.
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
    /// The sentence for people.
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

/// A size that came to harm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TooSmallText {
    /// Which container.
    pub container: String,
    /// The numbers to blame.
    pub size: SizesText,
    /// When.
    #[schemars(schema_with = "crate::word::date_time")]
    pub at: Timestamp,
    /// Why: a reason code.
    pub code: String,
}
