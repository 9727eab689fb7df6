//! The facts about ownership that the derived schemas lack: what a server-side apply owns as a whole and what part by
//! part (`x-kubernetes-list-type`, `-list-map-keys`, `-map-type` in the OpenAPI documents of Kubernetes v1.36).

use super::ListMerge;
use super::merge_keys::MERGE_KEYS;

/// How the value of a field is owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// As its shape says: objects part by part, lists as a whole.
    Default,
    /// As a whole, whatever its shape.
    Whole,
    /// A list whose items are told apart by these fields.
    Items(&'static [&'static str]),
    /// A list of plain values, each owned apart.
    Set,
}

/// Types that are owned as a whole wherever they stand.
const WHOLE_TYPES: &[&str] = &[
    "io.k8s.api.admissionregistration.v1.MatchResources",
    "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations",
    "io.k8s.api.admissionregistration.v1.ParamKind",
    "io.k8s.api.admissionregistration.v1.ParamRef",
    "io.k8s.api.admissionregistration.v1.Variable",
    "io.k8s.api.autoscaling.v1.CrossVersionObjectReference",
    "io.k8s.api.core.v1.ConfigMapKeySelector",
    "io.k8s.api.core.v1.FileKeySelector",
    "io.k8s.api.core.v1.LocalObjectReference",
    "io.k8s.api.core.v1.NodeSelector",
    "io.k8s.api.core.v1.NodeSelectorTerm",
    "io.k8s.api.core.v1.ObjectFieldSelector",
    "io.k8s.api.core.v1.ObjectReference",
    "io.k8s.api.core.v1.ResourceFieldSelector",
    "io.k8s.api.core.v1.ScopeSelector",
    "io.k8s.api.core.v1.SecretKeySelector",
    "io.k8s.api.core.v1.SecretReference",
    "io.k8s.api.core.v1.TypedLocalObjectReference",
    "io.k8s.api.rbac.v1.RoleRef",
    "io.k8s.api.rbac.v1.Subject",
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
];

/// Maps and lists that differ from what their shape or their [merge key](MERGE_KEYS) says: type, field, ownership.
const FIELDS: &[(&str, &str, Ownership)] = &[
    ("api.admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec", "validationActions", Ownership::Set),
    ("api.admissionregistration.v1.ValidatingAdmissionPolicyStatus", "conditions", Ownership::Items(&["type"])),
    ("api.core.v1.PodSpec", "nodeSelector", Ownership::Whole),
    ("api.batch.v1.PodFailurePolicyOnExitCodesRequirement", "values", Ownership::Set),
    ("api.batch.v1.UncountedTerminatedPods", "failed", Ownership::Set),
    ("api.batch.v1.UncountedTerminatedPods", "succeeded", Ownership::Set),
    ("api.core.v1.ContainerRestartRuleOnExitCodes", "values", Ownership::Set),
    ("api.core.v1.ResourceRequirements", "claims", Ownership::Items(&["name"])),
    ("api.core.v1.ServiceSpec", "selector", Ownership::Whole),
];

/// Whether objects of this type (`io.k8s.…`) are owned as a whole.
pub fn is_whole(type_name: &str) -> bool {
    WHOLE_TYPES.binary_search(&type_name).is_ok()
}

/// How a field of a type (named without `io.k8s.`) is owned.
pub(super) fn of(type_name: &str, field: &str) -> Ownership {
    if let Some((_, _, ownership)) = FIELDS.iter().find(|it| it.0 == type_name && it.1 == field) {
        return *ownership;
    }
    match MERGE_KEYS.iter().find(|it| it.type_name == type_name && it.field == field) {
        Some(key) if !key.list_map_keys.is_empty() => Ownership::Items(key.list_map_keys),
        Some(key) if key.merge.list == ListMerge::Set => Ownership::Set,
        _ => Ownership::Default,
    }
}

/// The value that a key of a list's items has where the item does not say.
pub fn key_default(key: &str) -> Option<&'static str> {
    (key == "protocol").then_some("TCP")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::types;

    #[test]
    fn the_tables_name_types_and_fields_that_exist() {
        assert!(WHOLE_TYPES.is_sorted());
        for (name, field, _) in FIELDS {
            let shape = types().named(&format!("io.k8s.{name}")).map(|id| types().get(id));
            assert!(
                matches!(shape, Some(crate::schema::Shape::Struct(of)) if of.fields.contains_key(*field)),
                "{name}.{field}"
            );
        }
    }
}
