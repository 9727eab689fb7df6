//! The rows of what is kept so that manifests with it apply, and that nothing here acts on: services, volume claims, roles.

use k8s_openapi::api::{core::v1 as core, rbac::v1 as rbac};

use super::rows::{STATUS, field, stored};
use super::{Resource, Scope, Strategy, TypeOf};
use crate::table::{plain as printers, printers::NAME_AND_CREATION};
use crate::validate::{NameRule, rules::plain as rules};

pub(super) const PERSISTENT_VOLUME_CLAIMS: Resource = Resource {
    singular: "persistentvolumeclaim",
    kind: "PersistentVolumeClaim",
    list_kind: "PersistentVolumeClaimList",
    short_names: &["pvc"],
    subresources: &[STATUS],
    type_of: Some(TypeOf::of::<core::PersistentVolumeClaim>()),
    strategy: Strategy::Rules(&rules::VOLUME_CLAIM),
    printer: &printers::VOLUME_CLAIMS,
    storage_version_hash: "QWTyNDq0dC4=",
    ..stored("persistentvolumeclaims")
};

pub(super) const SERVICES: Resource = Resource {
    singular: "service",
    kind: "Service",
    list_kind: "ServiceList",
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[STATUS],
    type_of: Some(TypeOf::of::<core::Service>()),
    selectable: &[field("spec.clusterIP"), field("spec.type")],
    name_rule: NameRule::Label,
    create_on_update: true,
    strategy: Strategy::Rules(&rules::SERVICE),
    printer: &printers::SERVICES,
    storage_version_hash: "0/CO1lhkEBI=",
    ..stored("services")
};

/// What all of access control has in common. It is not enforced: there is one token, which may do everything.
const fn access(collection: &'static str) -> Resource {
    Resource {
        group: "rbac.authorization.k8s.io",
        name_rule: NameRule::Segment,
        create_on_update: true,
        ..stored(collection)
    }
}

pub(super) const CLUSTER_ROLE_BINDINGS: Resource = Resource {
    singular: "clusterrolebinding",
    kind: "ClusterRoleBinding",
    list_kind: "ClusterRoleBindingList",
    scope: Scope::Cluster,
    type_of: Some(TypeOf::of::<rbac::ClusterRoleBinding>()),
    strategy: Strategy::Rules(&rules::ROLE_BINDING),
    printer: &printers::CLUSTER_ROLE_BINDINGS,
    storage_version_hash: "48tpQ8gZHFc=",
    ..access("clusterrolebindings")
};

pub(super) const CLUSTER_ROLES: Resource = Resource {
    singular: "clusterrole",
    kind: "ClusterRole",
    list_kind: "ClusterRoleList",
    scope: Scope::Cluster,
    type_of: Some(TypeOf::of::<rbac::ClusterRole>()),
    strategy: Strategy::Rules(&rules::CLUSTER_ROLE),
    printer: &NAME_AND_CREATION,
    storage_version_hash: "bYE5ZWDrJ44=",
    ..access("clusterroles")
};

pub(super) const ROLE_BINDINGS: Resource = Resource {
    singular: "rolebinding",
    kind: "RoleBinding",
    list_kind: "RoleBindingList",
    type_of: Some(TypeOf::of::<rbac::RoleBinding>()),
    strategy: Strategy::Rules(&rules::ROLE_BINDING),
    printer: &printers::ROLE_BINDINGS,
    storage_version_hash: "eGsCzGH6b1g=",
    ..access("rolebindings")
};

pub(super) const ROLES: Resource = Resource {
    singular: "role",
    kind: "Role",
    list_kind: "RoleList",
    type_of: Some(TypeOf::of::<rbac::Role>()),
    strategy: Strategy::Rules(&rules::ROLE),
    printer: &NAME_AND_CREATION,
    storage_version_hash: "7FuwZcIIItM=",
    ..access("roles")
};
