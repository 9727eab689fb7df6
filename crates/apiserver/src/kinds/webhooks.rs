//! The rows of what configures admission webhooks.

use k8s_openapi::api::admissionregistration::v1 as registration;

use super::rows::stored;
use super::{Resource, Scope, Strategy, TypeOf};
use crate::table::printers;
use crate::validate::rules::webhook as rules;

/// The kinds that extend the API itself.
const EXTENSIONS: &[&str] = &["api-extensions"];

pub(super) const MUTATING: Resource = Resource {
    singular: "mutatingwebhookconfiguration",
    kind: "MutatingWebhookConfiguration",
    list_kind: "MutatingWebhookConfigurationList",
    type_of: Some(TypeOf::of::<registration::MutatingWebhookConfiguration>()),
    strategy: Strategy::Rules(&rules::MUTATING),
    storage_version_hash: "Sqi0GUgDaX0=",
    ..configuration("mutatingwebhookconfigurations")
};

pub(super) const VALIDATING: Resource = Resource {
    singular: "validatingwebhookconfiguration",
    kind: "ValidatingWebhookConfiguration",
    list_kind: "ValidatingWebhookConfigurationList",
    type_of: Some(TypeOf::of::<registration::ValidatingWebhookConfiguration>()),
    strategy: Strategy::Rules(&rules::VALIDATING),
    storage_version_hash: "B0wHjQmsGNk=",
    ..configuration("validatingwebhookconfigurations")
};

/// What both have in common.
const fn configuration(collection: &'static str) -> Resource {
    Resource {
        group: "admissionregistration.k8s.io",
        categories: EXTENSIONS,
        scope: Scope::Cluster,
        printer: &printers::WEBHOOK_CONFIGURATIONS,
        unconditional_update: false,
        ..stored(collection)
    }
}
