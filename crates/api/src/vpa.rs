//! `VerticalPodAutoscaler` and `VerticalPodAutoscalerCheckpoint` of `autoscaling.k8s.io/v1`, every field, as plain data.
//!
//! Enumerations are texts here: a cluster may have a newer VPA than we know, and one object with a new word must not make
//! the list unreadable.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::word::Amount;

/// `resource -> amount`
pub type Amounts = BTreeMap<String, Amount>;

/// What a person wants of the autoscaler.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "autoscaling.k8s.io",
    version = "v1",
    kind = "VerticalPodAutoscaler",
    plural = "verticalpodautoscalers",
    namespaced,
    status = "VerticalPodAutoscalerStatus",
    shortname = "vpa",
    schema = "disabled",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase", default)]
pub struct VerticalPodAutoscalerSpec {
    /// The topmost controller of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<CrossVersionObjectReference>,
    /// How far it may go; none is `Recreate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_policy: Option<PodUpdatePolicy>,
    /// Settings of single containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_policy: Option<PodResourcePolicy>,
    /// Who recommends; at most one. None is VPA's own, `default`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recommenders: Vec<RecommenderSelector>,
    /// More CPU while a pod starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_boost: Option<StartupBoost>,
}

/// A workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CrossVersionObjectReference {
    /// `apps/v1`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `Deployment`
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// How far it may go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodUpdatePolicy {
    /// `Off`, `Initial`, `Recreate`, `InPlaceOrRecreate`, `InPlace`, `Auto` (deprecated); none is `Recreate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_mode: Option<String>,
    /// With fewer live replicas nothing is evicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// All of these must hold for a pod to be touched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub eviction_requirements: Vec<EvictionRequirement>,
    /// A container that was killed for want of memory sooner than this after its start is evicted at once.
    #[serde(skip_serializing_if = "Option::is_none", rename = "evictAfterOOMSeconds")]
    pub evict_after_oom_seconds: Option<i32>,
}

/// A direction in which a pod may be moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EvictionRequirement {
    /// Of which resources; any of them is enough.
    pub resources: Vec<String>,
    /// `TargetHigherThanRequests` or `TargetLowerThanRequests`
    pub change_requirement: String,
}

/// Settings of single containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodResourcePolicy {
    /// By container; `*` is the default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_policies: Vec<ContainerResourcePolicy>,
}

/// Settings of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerResourcePolicy {
    /// Its name, or `*`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_name: String,
    /// `Auto` or `Off`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// No request below this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_allowed: Option<Amounts>,
    /// No request above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_allowed: Option<Amounts>,
    /// `cpu`, `memory`; none is both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controlled_resources: Option<Vec<String>>,
    /// `RequestsAndLimits` or `RequestsOnly`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controlled_values: Option<String>,
    /// By how much memory is raised after a kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_bump_up_ratio: Option<Amount>,
    /// By how much at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_min_bump_up: Option<Amount>,
    /// Peaks of memory are taken of intervals this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_aggregation_interval_seconds: Option<i64>,
    /// So many intervals are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_aggregation_interval_count: Option<i64>,
    /// More CPU while the container starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_boost: Option<StartupBoost>,
}

/// More while a pod starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StartupBoost {
    /// Of CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<GenericStartupBoost>,
}

/// How much more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GenericStartupBoost {
    /// `Factor` or `Quantity`
    #[serde(rename = "type")]
    pub type_: String,
    /// So many times as much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<i32>,
    /// So much more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Amount>,
    /// For so long after the pod is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i32>,
}

/// A recommender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecommenderSelector {
    /// Its name.
    pub name: String,
}

/// What was recommended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerticalPodAutoscalerStatus {
    /// The recommendation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<RecommendedPodResources>,
    /// What is the case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<VerticalPodAutoscalerCondition>,
    /// The generation of the specification this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// A recommendation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecommendedPodResources {
    /// By container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_recommendations: Vec<RecommendedContainerResources>,
}

/// A container's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecommendedContainerResources {
    /// Its name.
    pub container_name: String,
    /// What it is to have.
    pub target: Amounts,
    /// The least.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lower_bound: Amounts,
    /// The most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub upper_bound: Amounts,
    /// What it were to have without `minAllowed` and `maxAllowed`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub uncapped_target: Amounts,
}

/// What is the case. VPA's own type: it has no generation that is required, and its reason may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerticalPodAutoscalerCondition {
    /// `RecommendationProvided`, …
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False`, `Unknown`
    pub status: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Timestamp>,
    /// Why, in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation this was said about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whose checkpoint it is.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "autoscaling.k8s.io",
    version = "v1",
    kind = "VerticalPodAutoscalerCheckpoint",
    plural = "verticalpodautoscalercheckpoints",
    namespaced,
    status = "VerticalPodAutoscalerCheckpointStatus",
    shortname = "vpacheckpoint",
    schema = "disabled",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase", default)]
pub struct VerticalPodAutoscalerCheckpointSpec {
    /// Of which autoscaler.
    pub vpa_object_name: String,
    /// Of which container.
    pub container_name: String,
}

/// What VPA's recommender remembers of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerticalPodAutoscalerCheckpointStatus {
    /// When it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// `v3`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Of CPU, in cores.
    pub cpu_histogram: HistogramCheckpoint,
    /// Of memory peaks, in bytes.
    pub memory_histogram: HistogramCheckpoint,
    /// The first sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_sample_start: Option<Time>,
    /// The last sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sample_start: Option<Time>,
    /// How many there were.
    pub total_samples_count: i64,
}

/// A histogram that fades.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HistogramCheckpoint {
    /// The time at which a weight is itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_timestamp: Option<Time>,
    /// By bucket; the largest is 10000.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bucket_weights: BTreeMap<String, u32>,
    /// What all weights come to.
    pub total_weight: f64,
}
