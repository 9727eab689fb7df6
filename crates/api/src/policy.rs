//! `RightsizePolicy` and `ClusterRightsizePolicy`: what may be done with which workloads, in VPA's words where VPA has one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::word::{Amount, words};

/// What may be done with workloads of a namespace: which ones, how far, and within what bounds. Everything that is not said
/// is taken from the layer below: ClusterRightsizePolicy, then what is built in.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "supple.dev",
    version = "v1alpha1",
    kind = "RightsizePolicy",
    plural = "rightsizepolicies",
    namespaced,
    status = "PolicyStatus",
    shortname = "rsp",
    category = "supple",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase", default)]
pub struct RightsizePolicySpec {
    /// The one workload it speaks of, by kind and name; without a name every workload of the kind. With neither targetRef nor
    /// selector it speaks of all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// The workloads it applies to, by label (the workload's own labels, not its pods').
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Among policies of one kind that speak of a workload equally particularly (by name, by selector or kind, of all), the
    /// one with the higher weight has the last word. Among equals, the older one. None is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// What Supple may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_policy: Option<UpdatePolicy>,
    /// Settings of single containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_policy: Option<ResourcePolicy>,
    /// How often a container may be short of a resource. None: by the cost of a shortage, as documented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskWords>,
    /// Added to the recommendation, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headroom: Option<Headroom>,
    /// How limits change when requests change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsWord>,
    /// Maximum change at once, in percent of the current size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// Changes of less than this share of the size in force are not worth a resize, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<i32>,
    /// How long after a resize the next one waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cool_down: Option<CoolDown>,
    /// When changes are allowed (`Allow`) or forbidden (`Deny`). None: always allowed. Urgent changes do not wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<WindowSpec>,
    /// Sizes for times of day: at least, at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<ScheduleSpec>,
    /// Nothing is to be done. A pause of any layer holds; the one that ends last counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Order if room or budget is short; higher first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// What is done with a request that a horizontal autoscaler on the same resource reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hpa: Option<HpaWord>,
    /// A decrease of memory waits until the pod or workload is annotated supple.dev/approve-memory-decrease: "true".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approve_memory_decrease: Option<bool>,
    /// How long a pod is watched after its resize before it counts as good and the next pod follows: "5m".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle: Option<String>,
    /// Pods of a workload that may be under way at once, after the first one has settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods_at_once: Option<i32>,
    /// Pods of the namespace that may be under way or watched at once, whatever workload they are of. None: as many as in the
    /// cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_pods_at_once: Option<i32>,
    /// Pods younger than this are starting up, which does not count as normal usage: "10m".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<String>,
    /// Nothing is lowered with less history than this: "24h".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learn: Option<String>,
    /// Nothing is lowered with less confidence than this, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_confidence: Option<i32>,
    /// Also checked after a resize, besides the pod itself: on harm the resize is rolled back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<GuardSpec>,
    /// A resize for which the node has no room is given up after this: "30m".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub give_up_deferred_after: Option<String>,
}

/// How Supple sizes workloads of the whole cluster: the layer below every RightsizePolicy.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "supple.dev",
    version = "v1alpha1",
    kind = "ClusterRightsizePolicy",
    plural = "clusterrightsizepolicies",
    status = "PolicyStatus",
    shortname = "crsp",
    category = "supple",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterRightsizePolicySpec {
    /// The namespaces it applies to, by label. None: all namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Everything a RightsizePolicy may say.
    #[serde(flatten)]
    pub policy: RightsizePolicySpec,
}

/// A workload, or all of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// Of which API: "apps/v1". None: any; the version after the slash does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// "Deployment", "StatefulSet", …: the topmost controller of the pods.
    pub kind: String,
    /// None: every workload of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

words! {
    /// How far we may go (VPA's words).
    UpdateMode {
        /// Recommend only.
        Off,
        /// Size pods as they are created, and never afterwards.
        Initial,
        /// Evict pods whose sizes are wrong; they come back with the right ones.
        Recreate,
        /// Resize in place; where that cannot be, recreate.
        InPlaceOrRecreate,
        /// Resize in place, and never restart anything.
        InPlace,
    }
}

/// What Supple may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdatePolicy {
    /// Off: recommend only. Initial: size pods as they are created. Recreate: evict pods with wrong sizes.
    /// InPlaceOrRecreate:
    /// resize in place, else recreate. InPlace: resize in place and never restart anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_mode: Option<UpdateMode>,
    /// With fewer ready replicas than this nothing is evicted or restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// How a pod is recreated where it has to be. Eviction (built in): one pod at a time, within the disruption budgets. Rollout: the workload
    /// is restarted through its template, as its own rolling update says; where that may take pods away before new ones are ready, minReplicas
    /// and the disruption budgets hold for it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recreate_by: Option<RecreateWord>,
}

words! {
    /// How a pod is recreated.
    RecreateWord {
        /// It is evicted, and its owner makes another.
        Eviction,
        /// Its workload is restarted through the template.
        Rollout,
    }
}

/// Settings of single containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourcePolicy {
    /// By container; "*" applies to all that are not named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_policies: Vec<ContainerPolicySpec>,
}

words! {
    /// Whether a container is sized.
    ScalingMode {
        /// It is.
        Auto,
        /// It is not.
        Off,
    }
}

words! {
    /// A resource.
    ResourceName {
        /// CPU.
        Cpu = "cpu",
        /// Memory.
        Memory = "memory",
    }
}

words! {
    /// Which numbers of a container are set.
    ControlledValues {
        /// Limits keep their proportion to requests.
        RequestsAndLimits,
        /// Limits stay.
        RequestsOnly,
    }
}

/// Settings of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPolicySpec {
    /// Its name, or "*" for all that are not named.
    #[serde(default)]
    pub container_name: String,
    /// Off: it is not resized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ScalingMode>,
    /// No request below this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_allowed: Option<Amounts>,
    /// No request above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_allowed: Option<Amounts>,
    /// Which resources are set. None: both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controlled_resources: Option<Vec<ResourceName>>,
    /// Which numbers are set. None: as spec.limits says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controlled_values: Option<ControlledValues>,
    /// How this container's limits change; overrides controlledValues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsWord>,
}

/// An amount of each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Amounts {
    /// CPU: 250m, 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Amount")]
    pub cpu: Option<Amount>,
    /// Memory: 256Mi, 2Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Amount")]
    pub memory: Option<Amount>,
}

/// How often a container may be short of something, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RiskWords {
    /// OOM kills: "1 per 30 days".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Time in which CPU demand exceeds the request: "0.5 % of time".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
}

/// Room above what is recommended, in percent: 15 is a request of 115 where 100 is recommended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Headroom {
    /// For CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i32>,
    /// For memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i32>,
}

words! {
    /// How limits change when requests change.
    LimitsWord {
        /// They stay, and cap the request.
        Keep,
        /// They keep their proportion to the request.
        Ratio,
        /// They equal the request.
        Equal,
        /// None is set; one that is there stays where it is or above the request.
        None,
    }
}

/// Maximum change at once, in percent of the current size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Steps {
    /// CPU upwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_up: Option<i32>,
    /// CPU downwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_down: Option<i32>,
    /// Memory upwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_up: Option<i32>,
    /// Memory downwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_down: Option<i32>,
}

/// How long after a resize the next one waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CoolDown {
    /// Upwards, unless it is urgent: "5m".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<String>,
    /// Downwards: "1h".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<String>,
}

words! {
    /// What a window is for.
    WindowType {
        /// Changes are made in such windows only.
        Allow,
        /// No change is made in it.
        Deny,
    }
}

/// A window of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowSpec {
    /// Allow: changes are made only in such windows. Deny: no change is made in it.
    #[serde(rename = "type")]
    pub type_: WindowType,
    /// When it begins, as five cron fields: "0 22 * * 1-5".
    #[serde(default)]
    pub schedule: String,
    /// How long it lasts: "8h" are eight hours also in the night in which clocks are changed.
    #[serde(default)]
    pub duration: String,
    /// The zone of the schedule: "Europe/Berlin". None: UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// Sizes for a time of day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScheduleSpec {
    /// When it begins, as five cron fields: "0 8 * * 1-5".
    pub schedule: String,
    /// How long it lasts: "14h".
    pub duration: String,
    /// The zone of the schedule: "Europe/Berlin". None: UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The least and the most to have meanwhile, by container.
    pub container_policies: Vec<ScheduledContainer>,
}

/// What a container has meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScheduledContainer {
    /// Its name, or "*" for all that are not named.
    pub container_name: String,
    /// No request below this meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_allowed: Option<Amounts>,
    /// No request above this meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_allowed: Option<Amounts>,
}

/// Nothing is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Paused {
    /// It ends at this time. None: when it is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::word::date_time")]
    pub until: Option<String>,
    /// Who requests it, and why.
    pub reason: String,
}

words! {
    /// What is done with a request that a horizontal autoscaler on the same resource reads.
    HpaWord {
        /// It is left alone.
        Refuse | "refuse",
        /// The autoscaler's target changes with it, so that it scales at the same use as before.
        Adjust | "adjust",
    }
}

/// Something that is watched after a resize.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GuardSpec {
    /// Its name, for people.
    pub name: String,
    /// A PromQL expression whose answer is one number. `$namespace`, `$workload`, `$pod` and `$container` stand for those.
    pub query: String,
    /// A result above this is harm: "0.01", "250m".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Amount")]
    pub above: Option<Amount>,
    /// A result below this is harm.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Amount")]
    pub below: Option<Amount>,
}

/// Status of a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyStatus {
    /// The generation of the specification this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Number of workloads it applies to.
    pub matched_workloads: i32,
    /// Valid: all fields are valid. Contested: another policy of the same weight differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
