//! The rows of what configures admission: webhooks and validating policies.

use k8s_openapi::api::admissionregistration::v1 as registration;

use super::rows::{STATUS, stored};
use super::{Resource, Scope, Strategy, TypeOf};
use crate::table::admission as printers;
use crate::validate::rules::{policy, webhook};

/// The kinds that extend the API itself.
const EXTENSIONS: &[&str] = &["api-extensions"];

pub(super) const MUTATING_WEBHOOKS: Resource = Resource {
    singular: "mutatingwebhookconfiguration",
    kind: "MutatingWebhookConfiguration",
    list_kind: "MutatingWebhookConfigurationList",
    type_of: Some(TypeOf::of::<registration::MutatingWebhookConfiguration>()),
    strategy: Strategy::Rules(&webhook::MUTATING),
    printer: &printers::WEBHOOK_CONFIGURATIONS,
    storage_version_hash: "Sqi0GUgDaX0=",
    ..configuration("mutatingwebhookconfigurations")
};

pub(super) const POLICIES: Resource = Resource {
    singular: "validatingadmissionpolicy",
    kind: "ValidatingAdmissionPolicy",
    list_kind: "ValidatingAdmissionPolicyList",
    subresources: &[STATUS],
    type_of: Some(TypeOf::of::<registration::ValidatingAdmissionPolicy>()),
    strategy: Strategy::Rules(&policy::POLICY),
    printer: &printers::POLICIES,
    storage_version_hash: "6OxvlMmQ6is=",
    ..configuration("validatingadmissionpolicies")
};

pub(super) const POLICY_BINDINGS: Resource = Resource {
    singular: "validatingadmissionpolicybinding",
    kind: "ValidatingAdmissionPolicyBinding",
    list_kind: "ValidatingAdmissionPolicyBindingList",
    type_of: Some(TypeOf::of::<registration::ValidatingAdmissionPolicyBinding>()),
    strategy: Strategy::Rules(&policy::BINDING),
    printer: &printers::POLICY_BINDINGS,
    storage_version_hash: "v9715VZqakg=",
    ..configuration("validatingadmissionpolicybindings")
};

pub(super) const VALIDATING_WEBHOOKS: Resource = Resource {
    singular: "validatingwebhookconfiguration",
    kind: "ValidatingWebhookConfiguration",
    list_kind: "ValidatingWebhookConfigurationList",
    type_of: Some(TypeOf::of::<registration::ValidatingWebhookConfiguration>()),
    strategy: Strategy::Rules(&webhook::VALIDATING),
    printer: &printers::WEBHOOK_CONFIGURATIONS,
    storage_version_hash: "B0wHjQmsGNk=",
    ..configuration("validatingwebhookconfigurations")
};

/// What all have in common.
const fn configuration(collection: &'static str) -> Resource {
    Resource {
        group: "admissionregistration.k8s.io",
        categories: EXTENSIONS,
        scope: Scope::Cluster,
        unconditional_update: false,
        ..stored(collection)
    }
}
