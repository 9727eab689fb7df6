//! Validating admission policies: rules in the expression language that refuse a write, or warn of it, without anybody being
//! called. They are asked just before the webhooks that judge.
//!
//! ```text
//! policy (which requests, which rules) ─┐
//! binding (where it holds, with what)  ─┴─▶ judge: parameters ─▶ evaluate ─▶ deny · warn · audit
//! ```

mod definition;
mod evaluate;
mod params;

use http::StatusCode;
use serde_json::{Value, json};

use super::request::Request;
use super::webhook::Warnings;
use crate::errors::ApiError;
use crate::kinds::{Resource, Rows};
use crate::metadata::subject;
use crate::store::{Key, Store};

pub use definition::{Action, Binding, Policy, VARIABLES};
use evaluate::{Input, Verdict};

/// Where a policy looks for what it needs besides the request.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Namespaces and parameters.
    pub store: &'a Store,
    /// What is served.
    pub rows: &'a Rows,
}

/// Asks a policy about a request in the version that it wants to see.
///
/// # Errors
/// The refusal, with the code of the rule that it breaks.
pub fn judge(
    policy: &Policy,
    resource: &Resource,
    place: Place<'_>,
    request: &Request<'_>,
    object: Option<&Value>,
    warnings: &mut Warnings,
) -> Result<(), ApiError> {
    let Place { store, .. } = place;
    if !policy.constraints.covers(store, request, object)? {
        return Ok(());
    }
    let facts = request.facts(resource, object);
    let namespace = match request.namespace() {
        "" => Value::Null,
        _ if request.is_namespace() => Value::Null,
        name => store.latest(&Key::new("namespaces", "", name)).map(|it| it.value()).unwrap_or_default(),
    };
    for binding in &policy.bindings {
        let verdicts = match holds(binding, place, request, object) {
            Ok(false) => continue,
            Ok(true) => match params::of(policy, binding, place, request.namespace()) {
                Ok(params) => params
                    .iter()
                    .flat_map(|params| {
                        evaluate::evaluate(policy, &Input { facts: &facts, namespace: &namespace, params })
                    })
                    .collect(),
                Err(why) => unable(policy, &why),
            },
            Err(error) => unable(policy, &error.message),
        };
        for verdict in verdicts {
            enforce(policy, binding, request, &verdict, warnings)?;
        }
    }
    Ok(())
}

/// Whether a binding is about the request, too.
fn holds(binding: &Binding, place: Place<'_>, request: &Request<'_>, object: Option<&Value>) -> Result<bool, ApiError> {
    match &binding.narrowed {
        Some(narrowed) => {
            Ok(narrowed.wants(request, place.rows).is_some() && narrowed.covers(place.store, request, object)?)
        }
        None => Ok(true),
    }
}

/// What follows from a binding that cannot be carried out.
fn unable(policy: &Policy, why: &str) -> Vec<Verdict> {
    if policy.fails_open {
        tracing::warn!(policy = policy.name, why, "a binding cannot be configured, its policy is not asked");
        return Vec::new();
    }
    let message = format!("failed to configure binding: {why}");
    vec![Verdict { message, reason: "Invalid".to_owned(), whatever: true }]
}

/// Does with a broken rule what the binding says.
fn enforce(
    policy: &Policy,
    binding: &Binding,
    request: &Request<'_>,
    verdict: &Verdict,
    warnings: &mut Warnings,
) -> Result<(), ApiError> {
    let who = format!("ValidatingAdmissionPolicy '{}' with binding '{}'", policy.name, binding.name);
    if binding.actions.contains(&Action::Warn) {
        warnings.extend([format!("Validation failed for {who}: {}", verdict.message)]);
    }
    if binding.actions.contains(&Action::Audit) {
        tracing::info!(target: "supple::audit", policy = policy.name, message = verdict.message, "validation failure");
    }
    if !(verdict.whatever || binding.actions.contains(&Action::Deny)) {
        return Ok(());
    }
    let message = format!("{who} denied request: {}", verdict.message);
    let refusal = ApiError::forbidden(subject(request.target.resource, request.name), &message);
    let (code, reason) = match verdict.reason.as_str() {
        "Forbidden" => (StatusCode::FORBIDDEN, "Forbidden"),
        "Unauthorized" => (StatusCode::UNAUTHORIZED, "Unauthorized"),
        "RequestEntityTooLarge" => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
    };
    Err(ApiError { code, reason: reason.into(), ..refusal }.with_causes([json!({"message": message})]))
}
