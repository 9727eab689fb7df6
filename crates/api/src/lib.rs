//! Our own resources and VPA's: types, schema, labels and annotations, and what all of them come to for one workload.
//!
//! ```text
//!   ClusterRightsizePolicy ─┐
//!   namespace label ────────┤
//!   RightsizePolicy ────────┼─ one Layer each ─▶ Policies ─ resolve(workload) ─▶ decide::policy::Policy, problems, ties
//!   VerticalPodAutoscaler ──┤    (layer, vpa)     (indexed)
//!   workload's own words ───┘
//!
//!   Rightsizing.status ◀─▶ decide::record::Record, recommendation, decision, history
//! ```
//!
//! * [`policy`], [`rightsizing`], [`vpa`]: the resources; [`crd`]: their definitions with every rule the API server checks.
//! * [`names`]: labels, annotations and all other names that are fixed. [`words`]: what is written under them.
//! * [`record`], [`vpa_status`]: what is remembered and what is recommended, as it stands in the status of objects.
//! * [`checkpoint`]: what VPA's recommender knew, taken over.
//! * [`layer`], [`autoscaler`]: a policy or a `VerticalPodAutoscaler` as a layer of settings; [`resolve`]: layers laid over
//!   each other; [`selector`] and [`span`]: labels matched, and cron expressions worked out around a moment. [`condition`]:
//!   what is said about it on the objects.
//!
//! Nothing here talks to a cluster or reads a clock, and zones of time come with the program: the same objects and the same
//! moment give the same policy on every machine.

pub mod autoscaler;
pub mod checkpoint;
pub mod condition;
pub mod crd;
pub mod layer;
pub mod names;
pub mod policy;
pub mod problem;
pub mod record;
pub mod resolve;
pub mod rightsizing;
pub mod selector;
pub mod span;
pub mod vpa;
pub mod vpa_status;
pub mod word;
pub mod words;

pub use policy::{ClusterRightsizePolicy, RightsizePolicy};
pub use problem::Problem;
pub use rightsizing::Rightsizing;
pub use vpa::{VerticalPodAutoscaler, VerticalPodAutoscalerCheckpoint};
