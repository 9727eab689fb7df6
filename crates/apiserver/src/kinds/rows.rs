//! The rows of the table of resources. Adding a kind is adding a row (and, where it has rules of its own, the functions
//! that the row names).

use k8s_openapi::api::{coordination, core::v1 as core, events, policy, scheduling};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;

use super::{
    Backing, Body, Conversion, Resource, Scope, Selectable, Strategy, Subresource, SubresourceKind, TypeOf, Verb,
};
use super::{access, admission, plain, workloads};
use crate::table::printers;
use crate::validate::{NameRule, rules};

/// Everything that can be done with a stored resource.
const ALL: &[Verb] = &[
    Verb::Create,
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Update,
    Verb::Watch,
];

/// Namespaces cannot be deleted as a collection: one slip would empty the cluster.
const NO_COLLECTION: &[Verb] =
    &[Verb::Create, Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];

/// What is made at each request.
const READ: &[Verb] = &[Verb::Get, Verb::List];

/// What can be done with `status` and `resize`.
pub(super) const PART: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];

pub(super) const STATUS: Subresource =
    Subresource { what: SubresourceKind::Status, name: "status", verbs: PART, body: None };

const FINALIZE: Subresource =
    Subresource { what: SubresourceKind::Finalize, name: "finalize", verbs: &[Verb::Update], body: None };

const BINDING: Body = Body { group: "", version: "v1", kind: "Binding", type_of: TypeOf::of::<core::Binding>() };

const EVICTION: Body =
    Body { group: "policy", version: "v1", kind: "Eviction", type_of: TypeOf::of::<policy::v1::Eviction>() };

/// The rows that most kinds share; a row says only what differs.
pub(super) const fn stored(collection: &'static str) -> Resource {
    Resource {
        group: "",
        version: "v1",
        plural: collection,
        singular: "",
        kind: "",
        list_kind: "",
        short_names: &[],
        categories: &[],
        scope: Scope::Namespaced,
        verbs: ALL,
        subresources: &[],
        backing: Backing::Stored(collection),
        type_of: None,
        selectable: &[],
        name_rule: NameRule::Subdomain,
        strategy: Strategy::Rules(&rules::PLAIN),
        printer: &printers::NAME_AND_AGE,
        create_on_update: false,
        unconditional_update: true,
        storage_version_hash: "",
    }
}

pub(super) const fn field(path: &'static str) -> Selectable {
    renamed(path, path)
}

pub(super) const fn renamed(label: &'static str, path: &'static str) -> Selectable {
    Selectable { label, path, absent: "" }
}

/// Every resource that is served, in the order of discovery.
pub static TABLE: &[Resource] = &[
    Resource {
        singular: "configmap",
        kind: "ConfigMap",
        list_kind: "ConfigMapList",
        short_names: &["cm"],
        type_of: Some(TypeOf::of::<core::ConfigMap>()),
        strategy: Strategy::Rules(&rules::CONFIG_MAP),
        printer: &printers::CONFIG_MAPS,
        storage_version_hash: "qFsyl6wFWjQ=",
        ..stored("configmaps")
    },
    Resource {
        singular: "event",
        kind: "Event",
        list_kind: "EventList",
        short_names: &["ev"],
        type_of: Some(TypeOf::of::<core::Event>()),
        selectable: &[
            field("involvedObject.kind"),
            field("involvedObject.namespace"),
            field("involvedObject.name"),
            field("involvedObject.uid"),
            field("involvedObject.apiVersion"),
            field("involvedObject.resourceVersion"),
            field("involvedObject.fieldPath"),
            field("reason"),
            field("reportingComponent"),
            renamed("source", "source.component"),
            field("type"),
        ],
        strategy: Strategy::Rules(&rules::EVENT),
        printer: &printers::EVENTS,
        create_on_update: true,
        storage_version_hash: "r2yiGXH7wu8=",
        ..stored("events")
    },
    Resource {
        singular: "limitrange",
        kind: "LimitRange",
        list_kind: "LimitRangeList",
        short_names: &["limits"],
        type_of: Some(TypeOf::of::<core::LimitRange>()),
        strategy: Strategy::Rules(&rules::LIMIT_RANGE),
        printer: &printers::NAME_AND_CREATION,
        create_on_update: true,
        storage_version_hash: "EBKMFVe6cwo=",
        ..stored("limitranges")
    },
    Resource {
        singular: "namespace",
        kind: "Namespace",
        list_kind: "NamespaceList",
        short_names: &["ns"],
        scope: Scope::Cluster,
        verbs: NO_COLLECTION,
        subresources: &[FINALIZE, STATUS],
        type_of: Some(TypeOf::of::<core::Namespace>()),
        selectable: &[field("status.phase")],
        name_rule: NameRule::Label,
        strategy: Strategy::Rules(&rules::NAMESPACE),
        printer: &printers::NAMESPACES,
        storage_version_hash: "Q3oi5N2YM8M=",
        ..stored("namespaces")
    },
    Resource {
        singular: "node",
        kind: "Node",
        list_kind: "NodeList",
        short_names: &["no"],
        scope: Scope::Cluster,
        subresources: &[STATUS],
        type_of: Some(TypeOf::of::<core::Node>()),
        selectable: &[Selectable { absent: "false", ..field("spec.unschedulable") }],
        strategy: Strategy::Rules(&rules::NODE),
        printer: &printers::NODES,
        storage_version_hash: "XwShjMxG9Fs=",
        ..stored("nodes")
    },
    plain::PERSISTENT_VOLUME_CLAIMS,
    Resource {
        singular: "pod",
        kind: "Pod",
        list_kind: "PodList",
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            Subresource {
                what: SubresourceKind::Binding,
                name: "binding",
                verbs: &[Verb::Create],
                body: Some(BINDING),
            },
            Subresource {
                what: SubresourceKind::Eviction,
                name: "eviction",
                verbs: &[Verb::Create],
                body: Some(EVICTION),
            },
            Subresource { what: SubresourceKind::Log, name: "log", verbs: &[Verb::Get], body: None },
            Subresource { what: SubresourceKind::Resize, name: "resize", verbs: PART, body: None },
            STATUS,
        ],
        type_of: Some(TypeOf::of::<core::Pod>()),
        selectable: &[
            field("spec.nodeName"),
            field("spec.restartPolicy"),
            field("spec.schedulerName"),
            field("spec.serviceAccountName"),
            Selectable { absent: "false", ..field("spec.hostNetwork") },
            field("status.phase"),
            field("status.podIP"),
            field("status.nominatedNodeName"),
        ],
        strategy: Strategy::Pod,
        printer: &printers::PODS,
        storage_version_hash: "xPOwRZ+Yhw8=",
        ..stored("pods")
    },
    Resource {
        singular: "resourcequota",
        kind: "ResourceQuota",
        list_kind: "ResourceQuotaList",
        short_names: &["quota"],
        subresources: &[STATUS],
        type_of: Some(TypeOf::of::<core::ResourceQuota>()),
        strategy: Strategy::Rules(&rules::RESOURCE_QUOTA),
        printer: &printers::RESOURCE_QUOTAS,
        storage_version_hash: "8uhSgffRX6w=",
        ..stored("resourcequotas")
    },
    Resource {
        singular: "secret",
        kind: "Secret",
        list_kind: "SecretList",
        type_of: Some(TypeOf::of::<core::Secret>()),
        selectable: &[field("type")],
        strategy: Strategy::Rules(&rules::SECRET),
        printer: &printers::SECRETS,
        storage_version_hash: "S6u1pOWzb84=",
        ..stored("secrets")
    },
    Resource {
        singular: "serviceaccount",
        kind: "ServiceAccount",
        list_kind: "ServiceAccountList",
        short_names: &["sa"],
        type_of: Some(TypeOf::of::<core::ServiceAccount>()),
        printer: &printers::NAME_AND_AGE,
        storage_version_hash: "pbx9ZvyFpBE=",
        ..stored("serviceaccounts")
    },
    plain::SERVICES,
    workloads::CONTROLLER_REVISIONS,
    workloads::DAEMON_SETS,
    workloads::DEPLOYMENTS,
    workloads::REPLICA_SETS,
    workloads::STATEFUL_SETS,
    Resource {
        group: "events.k8s.io",
        singular: "event",
        kind: "Event",
        list_kind: "EventList",
        short_names: &["ev"],
        backing: Backing::View {
            collection: "events",
            to_stored: Conversion::By(rules::event::to_core),
            from_stored: Conversion::By(rules::event::from_core),
        },
        type_of: Some(TypeOf::of::<events::v1::Event>()),
        selectable: &[
            field("reason"),
            renamed("regarding.kind", "involvedObject.kind"),
            renamed("regarding.namespace", "involvedObject.namespace"),
            renamed("regarding.name", "involvedObject.name"),
            renamed("regarding.uid", "involvedObject.uid"),
            renamed("regarding.apiVersion", "involvedObject.apiVersion"),
            renamed("regarding.resourceVersion", "involvedObject.resourceVersion"),
            renamed("regarding.fieldPath", "involvedObject.fieldPath"),
            renamed("reportingController", "reportingComponent"),
            field("type"),
        ],
        strategy: Strategy::Rules(&rules::EVENT),
        printer: &printers::EVENTS,
        create_on_update: true,
        storage_version_hash: "r2yiGXH7wu8=",
        ..stored("events")
    },
    access::ACCESS_REVIEWS,
    access::RULES_REVIEWS,
    access::ACCESS_REVIEWS_OF_OTHERS,
    workloads::AUTOSCALERS,
    workloads::AUTOSCALERS_V1,
    workloads::CRON_JOBS,
    workloads::JOBS,
    workloads::DISRUPTION_BUDGETS,
    plain::CLUSTER_ROLE_BINDINGS,
    plain::CLUSTER_ROLES,
    plain::ROLE_BINDINGS,
    plain::ROLES,
    admission::MUTATING_WEBHOOKS,
    admission::POLICIES,
    admission::POLICY_BINDINGS,
    admission::VALIDATING_WEBHOOKS,
    Resource {
        group: "coordination.k8s.io",
        singular: "lease",
        kind: "Lease",
        list_kind: "LeaseList",
        type_of: Some(TypeOf::of::<coordination::v1::Lease>()),
        strategy: Strategy::Rules(&rules::LEASE),
        printer: &printers::LEASES,
        create_on_update: true,
        unconditional_update: false,
        storage_version_hash: "gqkMMb/YqFM=",
        ..stored("leases")
    },
    Resource {
        group: "scheduling.k8s.io",
        singular: "priorityclass",
        kind: "PriorityClass",
        list_kind: "PriorityClassList",
        short_names: &["pc"],
        scope: Scope::Cluster,
        type_of: Some(TypeOf::of::<scheduling::v1::PriorityClass>()),
        strategy: Strategy::Rules(&rules::PRIORITY_CLASS),
        printer: &printers::PRIORITY_CLASSES,
        storage_version_hash: "1QwjyaZjj3Y=",
        ..stored("priorityclasses")
    },
    Resource {
        group: "apiextensions.k8s.io",
        singular: "customresourcedefinition",
        kind: "CustomResourceDefinition",
        list_kind: "CustomResourceDefinitionList",
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        scope: Scope::Cluster,
        subresources: &[STATUS],
        type_of: Some(TypeOf::of::<apiextensions::v1::CustomResourceDefinition>()),
        strategy: Strategy::Rules(&rules::CUSTOM_RESOURCE_DEFINITION),
        printer: &printers::NAME_AND_CREATION,
        storage_version_hash: "jfWCUB31mvA=",
        ..stored("customresourcedefinitions")
    },
    Resource {
        group: "metrics.k8s.io",
        version: "v1beta1",
        kind: "NodeMetrics",
        list_kind: "NodeMetricsList",
        scope: Scope::Cluster,
        verbs: READ,
        backing: Backing::Metrics,
        printer: &printers::NODE_METRICS,
        ..stored("nodes")
    },
    Resource {
        group: "metrics.k8s.io",
        version: "v1beta1",
        kind: "PodMetrics",
        list_kind: "PodMetricsList",
        verbs: READ,
        backing: Backing::Metrics,
        printer: &printers::POD_METRICS,
        ..stored("pods")
    },
];
