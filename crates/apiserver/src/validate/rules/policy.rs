//! Validating admission policies and their bindings: pkg/apis/admissionregistration/{v1/defaults.go,
//! validation/validation.go}.

use serde_json::{Value, json};
use supple_resize::field::Path;

use super::webhook::{FAILURE_POLICIES, LABEL_1035, MATCH_POLICIES, conditions, is_label_1035, one_of, rule};
use super::{FieldError, NONE, Rules, drop_status, fill, keep, pod_template, within};
use crate::admission::condition;
use crate::admission::policy::VARIABLES;
use crate::cel::Program;
use crate::tree::{at, items, text};
use crate::validate::path_segment;

/// Policies.
pub static POLICY: Rules = Rules {
    default: default_policy,
    prepare_create: |new| drop_status(new),
    prepare_update: |new, old| keep(new, old, "status"),
    generation: &["spec"],
    validate_create: policy,
    validate_update: |new, _| policy(new),
    ..NONE
};

/// Bindings.
pub static BINDING: Rules = Rules {
    default: |object| {
        if let Some(resources) = object.pointer_mut("/spec/matchResources") {
            default_resources(resources);
        }
    },
    generation: &["spec"],
    validate_create: binding,
    validate_update: |new, _| binding(new),
    ..NONE
};

const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const NOT_FOUND_ACTIONS: &[&str] = &["Allow", "Deny"];
const ANNOTATIONS: usize = 20;

fn default_policy(object: &mut Value) {
    let spec = within(object, "spec");
    fill(spec, "failurePolicy", "Fail");
    if let Some(constraints) = spec.get_mut("matchConstraints") {
        default_resources(constraints);
    }
}

fn default_resources(resources: &mut Value) {
    if !resources.is_object() {
        return;
    }
    fill(resources, "matchPolicy", "Equivalent");
    fill(resources, "namespaceSelector", json!({}));
    fill(resources, "objectSelector", json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in resources.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            fill(rule, "scope", "*");
        }
    }
}

fn policy(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (spec, path) = (at(object, "spec"), Path::root("spec"));
    one_of(spec, &path, "failurePolicy", FAILURE_POLICIES, &mut errors);
    let params = at(spec, "paramKind");
    if !params.is_null() {
        param_kind(params, &path.child("paramKind"), &mut errors);
    }
    let place = path.child("matchConstraints");
    let constraints = at(spec, "matchConstraints");
    if constraints.is_null() {
        errors.push(place.required(""));
    } else {
        resources(constraints, &place, &mut errors);
        if items(constraints, "resourceRules").is_empty() {
            errors.push(place.child("resourceRules").required(""));
        }
    }
    // Without a kind of parameters there are none to speak of.
    let known = |names: &[&'static str]| -> Vec<&'static str> {
        names.iter().copied().filter(|it| *it != "params" || !params.is_null()).collect()
    };
    let in_conditions = known(condition::POLICY);
    conditions(items(spec, "matchConditions"), &path.child("matchConditions"), &in_conditions, &mut errors);
    let names = known(VARIABLES);
    let place = path.child("variables");
    for (index, it) in items(spec, "variables").iter().enumerate() {
        variable(it, &place.index(index), &names, &mut errors);
    }
    let (validations, annotations) = (items(spec, "validations"), items(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        for list in ["validations", "auditAnnotations"] {
            errors.push(path.child(list).required("validations or auditAnnotations must contain at least one item"));
        }
    }
    let place = path.child("validations");
    for (index, it) in validations.iter().enumerate() {
        validation(it, &place.index(index), &names, &mut errors);
    }
    let place = path.child("auditAnnotations");
    if annotations.len() > ANNOTATIONS {
        let detail = format!("must not have more than {ANNOTATIONS} auditAnnotations");
        errors.push(place.invalid(at(spec, "auditAnnotations"), detail));
    }
    for (index, it) in annotations.iter().enumerate() {
        let place = place.index(index);
        let key = text(it, "key");
        if key.is_empty() {
            errors.push(place.child("key").required(""));
        } else if annotations.iter().take(index).any(|other| text(other, "key") == key) {
            errors.push(place.child("key").duplicate(key));
        }
        expression(it, "valueExpression", &place, "valueExpression is not specified", &mut errors, |source| {
            Program::compile(source, &names)
        });
    }
    errors
}

fn param_kind(kind: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (api_version, name) = (text(kind, "apiVersion"), text(kind, "kind"));
    if api_version.is_empty() {
        errors.push(path.child("apiVersion").required(""));
    } else if api_version.matches('/').count() > 1 {
        let detail = format!("unexpected GroupVersion string: {api_version}");
        errors.push(path.child("apiVersion").invalid(api_version, detail));
    }
    if name.is_empty() {
        errors.push(path.child("kind").required(""));
    } else if !is_label_1035(&name.to_ascii_lowercase()) {
        let detail = format!("may have mixed case, but should otherwise match: {LABEL_1035}");
        errors.push(path.child("kind").invalid(name, detail));
    }
}

fn resources(given: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    one_of(given, path, "matchPolicy", MATCH_POLICIES, errors);
    for field in ["namespaceSelector", "objectSelector"] {
        errors.extend(pod_template::selector(at(given, field), &path.child(field)));
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        let path = path.child(list);
        for (index, it) in items(given, list).iter().enumerate() {
            let path = path.index(index);
            let place = path.child("resourceNames");
            let names = items(it, "resourceNames");
            for (index, name) in names.iter().filter_map(Value::as_str).enumerate() {
                errors.extend(path_segment(name).into_iter().map(|detail| place.index(index).invalid(name, detail)));
                if names.iter().take(index).any(|other| other == name) {
                    errors.push(place.index(index).duplicate(name));
                }
            }
            rule(it, &path, errors);
        }
    }
}

fn variable(variable: &Value, path: &Path<'_>, names: &[&str], errors: &mut Vec<FieldError>) {
    let name = text(variable, "name");
    let first = name.bytes().next();
    let is_identifier = first.is_some_and(|it| it.is_ascii_alphabetic() || it == b'_')
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
    if name.trim().is_empty() {
        errors.push(path.child("name").required("name is not specified"));
    } else if !is_identifier {
        errors.push(path.child("name").invalid(name, "name is not a valid CEL identifier"));
    }
    expression(variable, "expression", path, "expression is not specified", errors, |source| {
        Program::compile(source, names)
    });
}

fn validation(validation: &Value, path: &Path<'_>, names: &[&str], errors: &mut Vec<FieldError>) {
    expression(validation, "expression", path, "expression is not specified", errors, |source| {
        Program::condition(source, names)
    });
    let says = text(validation, "messageExpression");
    if !says.is_empty() {
        let place = path.child("messageExpression");
        if says.trim().is_empty() {
            errors.push(place.invalid(says, "must be non-empty if specified"));
        } else if let Err(error) = Program::message(says, names) {
            errors.push(place.invalid(says, error.to_string()));
        }
    }
    let message = text(validation, "message");
    if !message.is_empty() && message.trim().is_empty() {
        errors.push(path.child("message").invalid(message, "message must be non-empty if specified"));
    } else if message.trim().contains(['\n', '\r']) {
        errors.push(path.child("message").invalid(message, "message must not contain line breaks"));
    }
    one_of(validation, path, "reason", REASONS, errors);
}

/// An expression that must be there and compile.
fn expression(
    object: &Value,
    field: &str,
    path: &Path<'_>,
    absent: &str,
    errors: &mut Vec<FieldError>,
    compile: impl FnOnce(&str) -> Result<Program, crate::cel::CompileError>,
) {
    let source = text(object, field);
    if source.trim().is_empty() {
        errors.push(path.child(field).required(absent));
    } else if let Err(error) = compile(source) {
        errors.push(path.child(field).invalid(source, error.to_string()));
    }
}

fn binding(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (spec, path) = (at(object, "spec"), Path::root("spec"));
    let name = text(spec, "policyName");
    if name.is_empty() {
        errors.push(path.child("policyName").required(""));
    } else {
        errors.extend(path_segment(name).into_iter().map(|it| path.child("policyName").invalid(name, it)));
    }
    let params = at(spec, "paramRef");
    if !params.is_null() {
        param_ref(params, &path.child("paramRef"), &mut errors);
    }
    let narrowed = at(spec, "matchResources");
    if !narrowed.is_null() {
        resources(narrowed, &path.child("matchResources"), &mut errors);
    }
    let (given, place) = (items(spec, "validationActions"), path.child("validationActions"));
    for (index, action) in given.iter().filter_map(Value::as_str).enumerate() {
        if !ACTIONS.contains(&action) {
            errors.push(place.index(index).not_supported(action, ACTIONS));
        }
        if given.iter().take(index).any(|it| it == action) {
            errors.push(place.index(index).duplicate(action));
        }
    }
    let has = |action: &str| given.iter().any(|it| it == action);
    if has("Deny") && has("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                      response and headers serves no purpose)";
        errors.push(place.invalid(at(spec, "validationActions"), detail));
    }
    if given.is_empty() {
        errors.push(place.required("at least one validation action is required"));
    }
    errors
}

fn param_ref(params: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (name, selector) = (text(params, "name"), at(params, "selector"));
    match (name, selector.is_null()) {
        ("", true) => errors.push(path.required("one of name or selector must be specified")),
        ("", false) => errors.extend(pod_template::selector(selector, &path.child("selector"))),
        (name, true) => errors.extend(path_segment(name).into_iter().map(|it| path.child("name").invalid(name, it))),
        (_, false) => errors.push(path.child("name").forbidden("name and selector are mutually exclusive")),
    }
    if at(params, "parameterNotFoundAction").is_null() {
        let detail = "parameterNotFoundAction is required";
        errors.push(path.child("parameterNotFoundAction").required(detail));
    }
    one_of(params, path, "parameterNotFoundAction", NOT_FOUND_ACTIONS, errors);
}
