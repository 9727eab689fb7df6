//! The rows of what runs pods (apps, batch), of what scales it (autoscaling) and of what guards it (policy).

use k8s_openapi::api::{apps, autoscaling, batch, policy};

use super::rows::{PART, STATUS, field, renamed, stored};
use super::{
    Backing, Body, Conversion, Resource, ScalePaths, Selectable, Strategy, Subresource, SubresourceKind, TypeOf,
};
use crate::table::workloads as printers;
use crate::validate::rules::{autoscaler, workloads as rules};

const SCALE: Subresource = Subresource {
    what: SubresourceKind::Scale(ScalePaths {
        replicas: "spec.replicas",
        status_replicas: "status.replicas",
        selector: Some("spec.selector"),
    }),
    name: "scale",
    verbs: PART,
    body: Some(SCALE_BODY),
};

/// What is read and written at the `scale` of anything.
pub(crate) const SCALE_BODY: Body =
    Body { group: "autoscaling", version: "v1", kind: "Scale", type_of: TypeOf::of::<autoscaling::v1::Scale>() };

/// How scales are decoded, checked and printed. They have no collection of their own: they stand below what they scale.
pub static SCALES: Resource = Resource {
    group: SCALE_BODY.group,
    version: SCALE_BODY.version,
    singular: "scale",
    kind: SCALE_BODY.kind,
    list_kind: "ScaleList",
    verbs: PART,
    type_of: Some(SCALE_BODY.type_of),
    strategy: Strategy::Rules(&rules::SCALE),
    printer: &printers::SCALES,
    ..stored("scales")
};

/// What `kubectl get all` shows.
const ALL: &[&str] = &["all"];

/// Zero compares as text, as everything in a field selector does.
const REPLICAS: Selectable = Selectable { absent: "0", ..field("status.replicas") };

pub(super) const CONTROLLER_REVISIONS: Resource = Resource {
    group: "apps",
    singular: "controllerrevision",
    kind: "ControllerRevision",
    list_kind: "ControllerRevisionList",
    type_of: Some(TypeOf::of::<apps::v1::ControllerRevision>()),
    strategy: Strategy::Rules(&rules::CONTROLLER_REVISION),
    printer: &printers::CONTROLLER_REVISIONS,
    storage_version_hash: "85nkx63pcBU=",
    ..stored("controllerrevisions")
};

pub(super) const DAEMON_SETS: Resource = Resource {
    group: "apps",
    singular: "daemonset",
    kind: "DaemonSet",
    list_kind: "DaemonSetList",
    short_names: &["ds"],
    categories: ALL,
    subresources: &[STATUS],
    type_of: Some(TypeOf::of::<apps::v1::DaemonSet>()),
    strategy: Strategy::Rules(&rules::DAEMON_SET),
    printer: &printers::DAEMON_SETS,
    storage_version_hash: "dd7pWHUlMKQ=",
    ..stored("daemonsets")
};

pub(super) const DEPLOYMENTS: Resource = Resource {
    group: "apps",
    singular: "deployment",
    kind: "Deployment",
    list_kind: "DeploymentList",
    short_names: &["deploy"],
    categories: ALL,
    subresources: &[SCALE, STATUS],
    type_of: Some(TypeOf::of::<apps::v1::Deployment>()),
    strategy: Strategy::Rules(&rules::DEPLOYMENT),
    printer: &printers::DEPLOYMENTS,
    storage_version_hash: "8aSe+NMegvE=",
    ..stored("deployments")
};

pub(super) const REPLICA_SETS: Resource = Resource {
    group: "apps",
    singular: "replicaset",
    kind: "ReplicaSet",
    list_kind: "ReplicaSetList",
    short_names: &["rs"],
    categories: ALL,
    subresources: &[SCALE, STATUS],
    type_of: Some(TypeOf::of::<apps::v1::ReplicaSet>()),
    selectable: &[REPLICAS],
    strategy: Strategy::Rules(&rules::REPLICA_SET),
    printer: &printers::REPLICA_SETS,
    storage_version_hash: "P1RzHs8/mWQ=",
    ..stored("replicasets")
};

pub(super) const STATEFUL_SETS: Resource = Resource {
    group: "apps",
    singular: "statefulset",
    kind: "StatefulSet",
    list_kind: "StatefulSetList",
    short_names: &["sts"],
    categories: ALL,
    subresources: &[SCALE, STATUS],
    type_of: Some(TypeOf::of::<apps::v1::StatefulSet>()),
    strategy: Strategy::Rules(&rules::STATEFUL_SET),
    printer: &printers::STATEFUL_SETS,
    storage_version_hash: "H+vl74LkKdo=",
    ..stored("statefulsets")
};

pub(super) const CRON_JOBS: Resource = Resource {
    group: "batch",
    singular: "cronjob",
    kind: "CronJob",
    list_kind: "CronJobList",
    short_names: &["cj"],
    categories: ALL,
    subresources: &[STATUS],
    type_of: Some(TypeOf::of::<batch::v1::CronJob>()),
    strategy: Strategy::Rules(&rules::CRON_JOB),
    printer: &printers::CRON_JOBS,
    storage_version_hash: "sd5LIXh4Fjs=",
    ..stored("cronjobs")
};

pub(super) const JOBS: Resource = Resource {
    group: "batch",
    singular: "job",
    kind: "Job",
    list_kind: "JobList",
    categories: ALL,
    subresources: &[STATUS],
    type_of: Some(TypeOf::of::<batch::v1::Job>()),
    selectable: &[Selectable { absent: "0", ..renamed("status.successful", "status.succeeded") }],
    strategy: Strategy::Rules(&rules::JOB),
    printer: &printers::JOBS,
    storage_version_hash: "mudhfqk/qZY=",
    ..stored("jobs")
};

/// Autoscalers as they are stored.
pub(super) const AUTOSCALERS: Resource = Resource {
    group: "autoscaling",
    version: "v2",
    singular: "horizontalpodautoscaler",
    kind: "HorizontalPodAutoscaler",
    list_kind: "HorizontalPodAutoscalerList",
    short_names: &["hpa"],
    categories: ALL,
    subresources: &[STATUS],
    type_of: Some(TypeOf::of::<autoscaling::v2::HorizontalPodAutoscaler>()),
    strategy: Strategy::Rules(&rules::AUTOSCALER),
    printer: &printers::AUTOSCALERS,
    storage_version_hash: "qwQve8ut294=",
    ..stored("horizontalpodautoscalers")
};

/// Autoscalers as they were before they knew other metrics than CPU.
pub(super) const AUTOSCALERS_V1: Resource = Resource {
    version: "v1",
    backing: Backing::View {
        collection: "horizontalpodautoscalers",
        to_stored: Conversion::By(autoscaler::to_v2),
        from_stored: Conversion::By(autoscaler::from_v2),
    },
    type_of: Some(TypeOf::of::<autoscaling::v1::HorizontalPodAutoscaler>()),
    printer: &printers::AUTOSCALERS_V1,
    ..AUTOSCALERS
};

pub(super) const DISRUPTION_BUDGETS: Resource = Resource {
    group: "policy",
    singular: "poddisruptionbudget",
    kind: "PodDisruptionBudget",
    list_kind: "PodDisruptionBudgetList",
    short_names: &["pdb"],
    subresources: &[STATUS],
    type_of: Some(TypeOf::of::<policy::v1::PodDisruptionBudget>()),
    strategy: Strategy::Rules(&rules::DISRUPTION_BUDGET),
    printer: &printers::DISRUPTION_BUDGETS,
    unconditional_update: false,
    storage_version_hash: "EVWiDmWqyJw=",
    ..stored("poddisruptionbudgets")
};
