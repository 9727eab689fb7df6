//! Columns and cells of what configures admission.

use serde_json::Value;

use super::printers::{AGE, NAME, age, name};
use super::{Column, Printer};
use crate::tree::{at, items, text};

/// What is shown of what is not said.
const UNSET: &str = "<unset>";

/// Configurations of webhooks.
pub static WEBHOOK_CONFIGURATIONS: Printer = Printer {
    columns: &[
        NAME,
        Column::saying("Webhooks", "Webhooks indicates the number of webhooks registered in this configuration")
            .holding("integer"),
        AGE,
    ],
    cells: |it, now| vec![name(it), items(it, "webhooks").len().into(), age(it, now)],
    condition: None,
};

/// Policies.
pub static POLICIES: Printer = Printer {
    columns: &[
        NAME,
        Column::saying(
            "Validations",
            "Validations indicates the number of validation rules defined in this configuration",
        )
        .holding("integer"),
        Column::saying("ParamKind", "ParamKind specifies the kind of resources used to parameterize this policy"),
        AGE,
    ],
    cells: |it, now| vec![name(it), items(it, "spec.validations").len().into(), param_kind(it), age(it, now)],
    condition: None,
};

/// Bindings of policies.
pub static POLICY_BINDINGS: Printer = Printer {
    columns: &[
        NAME,
        Column::saying("PolicyName", "PolicyName indicates the policy definition which the policy binding binded to"),
        Column::saying("ParamRef", "ParamRef indicates the param resource which sets the configration param"),
        AGE,
    ],
    cells: |it, now| vec![name(it), text(it, "spec.policyName").into(), param_ref(it), age(it, now)],
    condition: None,
};

fn param_kind(policy: &Value) -> Value {
    let kind = at(policy, "spec.paramKind");
    if kind.is_null() { UNSET.into() } else { format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")).into() }
}

fn param_ref(binding: &Value) -> Value {
    let params = at(binding, "spec.paramRef");
    let (namespace, name) = (text(params, "namespace"), text(params, "name"));
    match (params.is_null(), namespace, name) {
        (true, ..) => UNSET.into(),
        (false, namespace, "") => format!("{}/*", if namespace.is_empty() { "*" } else { namespace }).into(),
        (false, "", name) => format!("*/{name}").into(),
        (false, namespace, name) => format!("{namespace}/{name}").into(),
    }
}
