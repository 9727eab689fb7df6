//! Configurations of admission webhooks: pkg/apis/admissionregistration/{v1/defaults.go, validation/validation.go}.

use std::collections::HashSet;

use serde_json::{Value, json};
use supple_resize::field::Path;
use supple_resize::validate::names;

use super::{FieldError, NONE, Rules};
use crate::admission::condition;
use crate::cel::Program;
use crate::tree::{at, items, text};

/// Configurations of webhooks that may change objects.
pub static MUTATING: Rules = Rules {
    default: |object| default(object, true),
    validate_create: |new| configuration(new, Strictness::ALL),
    validate_update: |new, old| configuration(new, Strictness::of(old)),
    ..COMMON
};

/// Configurations of webhooks that may refuse requests.
pub static VALIDATING: Rules = Rules {
    default: |object| default(object, false),
    validate_create: |new| configuration(new, Strictness::ALL),
    validate_update: |new, old| configuration(new, Strictness::of(old)),
    ..COMMON
};

const COMMON: Rules = Rules { generation: &["webhooks"], ..NONE };

pub(super) const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
pub(super) const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
/// What was stored before side effects had to be absent may stay.
const ALL_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];
const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];

pub(super) const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                          alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', \
                          regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

fn default(object: &mut Value, mutating: bool) {
    for webhook in object.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten() {
        let fill = |webhook: &mut Value, field: &str, value: Value| {
            if webhook.is_object() && webhook.get(field).is_none_or(Value::is_null) {
                webhook[field] = value;
            }
        };
        fill(webhook, "failurePolicy", json!("Fail"));
        fill(webhook, "matchPolicy", json!("Equivalent"));
        fill(webhook, "namespaceSelector", json!({}));
        fill(webhook, "objectSelector", json!({}));
        fill(webhook, "timeoutSeconds", json!(10));
        if mutating {
            fill(webhook, "reinvocationPolicy", json!("Never"));
        }
        for rule in webhook.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
            fill(rule, "scope", json!("*"));
        }
        if let Some(service) = webhook.pointer_mut("/clientConfig/service") {
            fill(service, "port", json!(443));
        }
    }
}

/// What an update need not keep because the stored object does not.
#[derive(Clone, Copy)]
struct Strictness {
    side_effects: bool,
    review_versions: bool,
    unique_names: bool,
}

impl Strictness {
    const ALL: Self = Self { side_effects: true, review_versions: true, unique_names: true };

    fn of(old: &Value) -> Self {
        let hooks = items(old, "webhooks");
        let names: HashSet<&str> = hooks.iter().map(|hook| text(hook, "name")).collect();
        Self {
            side_effects: hooks.iter().all(|hook| SIDE_EFFECTS.contains(&text(hook, "sideEffects"))),
            review_versions: hooks.iter().all(|hook| is_known(items(hook, "admissionReviewVersions"))),
            unique_names: names.len() == hooks.len(),
        }
    }
}

fn is_known(versions: &[Value]) -> bool {
    versions.is_empty() || versions.iter().any(|it| it.as_str().is_some_and(|it| REVIEW_VERSIONS.contains(&it)))
}

fn configuration(object: &Value, strict: Strictness) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut names = HashSet::new();
    let webhooks = Path::root("webhooks");
    for (index, hook) in items(object, "webhooks").iter().enumerate() {
        let path = webhooks.index(index);
        webhook(hook, &path, strict, &mut errors);
        review_versions(hook, &path, strict, &mut errors);
        let name = text(hook, "name");
        if strict.unique_names && !name.is_empty() && !names.insert(name) {
            errors.push(path.child("name").duplicate(name));
        }
    }
    errors
}

fn webhook(hook: &Value, path: &Path<'_>, strict: Strictness, errors: &mut Vec<FieldError>) {
    full_name(text(hook, "name"), &path.child("name"), errors);
    let rules = path.child("rules");
    for (index, it) in items(hook, "rules").iter().enumerate() {
        rule(it, &rules.index(index), errors);
    }
    one_of(hook, path, "failurePolicy", FAILURE_POLICIES, errors);
    one_of(hook, path, "matchPolicy", MATCH_POLICIES, errors);
    let side_effects = if strict.side_effects { SIDE_EFFECTS } else { ALL_SIDE_EFFECTS };
    if at(hook, "sideEffects").is_null() {
        let detail = format!("must specify one of {}", side_effects.join(", "));
        errors.push(path.child("sideEffects").required(detail));
    }
    one_of(hook, path, "sideEffects", side_effects, errors);
    if let Some(seconds) = at(hook, "timeoutSeconds").as_i64().filter(|seconds| !(1..=30).contains(seconds)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.push(path.child("timeoutSeconds").invalid(seconds, detail));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        errors.extend(super::pod_template::selector(at(hook, field), &path.child(field)));
    }
    one_of(hook, path, "reinvocationPolicy", REINVOCATION_POLICIES, errors);
    client(at(hook, "clientConfig"), &path.child("clientConfig"), errors);
    conditions(items(hook, "matchConditions"), &path.child("matchConditions"), condition::WEBHOOK, errors);
}

/// Most match conditions of a webhook.
const CONDITIONS: usize = 64;

pub(super) fn conditions(conditions: &[Value], path: &Path<'_>, variables: &[&str], errors: &mut Vec<FieldError>) {
    if conditions.len() > CONDITIONS {
        errors.push(path.too_many(conditions.len(), CONDITIONS));
    }
    let mut known = HashSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        let source = text(condition, "expression").trim();
        if source.is_empty() {
            errors.push(path.child("expression").required(""));
        } else if let Err(error) = Program::condition(source, variables) {
            errors.push(path.child("expression").invalid(source, error.to_string()));
        }
        let name = text(condition, "name");
        if name.is_empty() {
            errors.push(path.child("name").required(""));
            continue;
        }
        errors.extend(names::qualified(name).into_iter().map(|it| path.child("name").invalid(name, it)));
        if !known.insert(name) {
            errors.push(path.child("name").duplicate(name));
        }
    }
}

pub(super) fn one_of(hook: &Value, path: &Path<'_>, field: &str, supported: &[&str], errors: &mut Vec<FieldError>) {
    if let Some(given) = at(hook, field).as_str().filter(|given| !supported.contains(given)) {
        errors.push(path.child(field).not_supported(given, supported));
    }
}

/// A name that tells whose it is: at least three parts.
fn full_name(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(path.required(""));
        return;
    }
    let wrong = names::dns_subdomain(name);
    if !wrong.is_empty() {
        errors.push(path.invalid(name, wrong.join(",")));
    } else if name.split('.').count() < 3 {
        errors.push(path.invalid(name, "should be a domain with at least three segments separated by dots"));
    }
}

/// Whether this is a DNS-1035 label: one that begins with a letter.
pub(super) fn is_label_1035(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase()) && names::dns_label(text).is_empty()
}

fn review_versions(hook: &Value, path: &Path<'_>, strict: Strictness, errors: &mut Vec<FieldError>) {
    let path = path.child("admissionReviewVersions");
    let given = items(hook, "admissionReviewVersions");
    if given.is_empty() {
        errors.push(path.required(format!("must specify one of {}", REVIEW_VERSIONS.join(", "))));
        return;
    }
    for (index, version) in given.iter().enumerate() {
        let text = version.as_str().unwrap_or_default();
        if given.iter().take(index).any(|it| it == version) {
            errors.push(path.index(index).invalid(text, "duplicate version"));
            continue;
        }
        if !is_label_1035(text) {
            errors.push(path.index(index).invalid(text, LABEL_1035));
        }
    }
    if strict.review_versions && !is_known(given) {
        let detail = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        errors.push(path.invalid(at(hook, "admissionReviewVersions"), detail));
    }
}

pub(super) fn rule(rule: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let operations = items(rule, "operations");
    let place = path.child("operations");
    if operations.is_empty() {
        errors.push(place.required(""));
    }
    if operations.len() > 1 && has_any(operations) {
        let detail = "if '*' is present, must not specify other operations";
        errors.push(place.invalid(at(rule, "operations"), detail));
    }
    for (index, operation) in operations.iter().filter_map(Value::as_str).enumerate() {
        if !OPERATIONS.contains(&operation) {
            errors.push(place.index(index).not_supported(operation, OPERATIONS));
        }
    }
    for (field, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let (given, place) = (items(rule, field), path.child(field));
        if given.is_empty() {
            errors.push(place.required(""));
        }
        if given.len() > 1 && has_any(given) {
            let detail = format!("if '*' is present, must not specify other {what}");
            errors.push(place.invalid(at(rule, field), detail));
        }
        // The group without a name is the core group; there is no such version.
        if field == "apiVersions" {
            for (index, _) in given.iter().enumerate().filter(|(_, it)| **it == "") {
                errors.push(place.index(index).required(""));
            }
        }
    }
    resources(rule, &path.child("resources"), errors);
    one_of(rule, path, "scope", SCOPES, errors);
}

fn has_any(given: &[Value]) -> bool {
    given.iter().any(|it| it == "*")
}

fn resources(rule: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let given = items(rule, "resources");
    if given.is_empty() {
        errors.push(path.required(""));
    }
    let (mut whole, mut everywhere) = (HashSet::new(), HashSet::new());
    let (mut double, mut single, mut bare) = (false, false, false);
    for (index, resource) in given.iter().filter_map(Value::as_str).enumerate() {
        let place = path.index(index);
        match resource {
            "" => {
                errors.push(place.required(""));
                continue;
            }
            "*/*" => double = true,
            "*" => single = true,
            _ => {}
        }
        let Some((plural, below)) = resource.split_once('/') else {
            bare = resource != "*";
            continue;
        };
        if whole.contains(plural) {
            let detail = format!("if '{plural}/*' is present, must not specify {resource}");
            errors.push(place.invalid(resource, detail));
        }
        if everywhere.contains(below) {
            let detail = format!("if '*/{below}' is present, must not specify {resource}");
            errors.push(place.invalid(resource, detail));
        }
        if below == "*" {
            whole.insert(plural);
        }
        if plural == "*" {
            everywhere.insert(below);
        }
    }
    let all = at(rule, "resources");
    if given.len() > 1 && double {
        errors.push(path.invalid(all, "if '*/*' is present, must not specify other resources"));
    }
    if single && bare {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(path.invalid(all, detail));
    }
}

fn client(config: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (url_at, service_at) = (at(config, "url"), at(config, "service"));
    match (url_at.as_str(), service_at.is_object()) {
        (Some(given), false) => url(given, &path.child("url"), errors),
        (None, true) => service(service_at, &path.child("service"), errors),
        _ => errors.push(path.required("exactly one of url or service is required")),
    }
}

fn url(url: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    if scheme != "https" {
        errors.push(path.invalid(scheme, format!("'https' is the only allowed URL scheme{FORM}")));
    }
    let rest = rest.strip_prefix("//").unwrap_or_default();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if host.is_empty() {
        errors.push(path.invalid(host, format!("host must be provided{FORM}")));
    }
    if let Some(user) = user {
        errors.push(path.invalid(user, "user information is not permitted in the URL"));
    }
    let (before, fragment) = tail.split_once('#').unwrap_or((tail, ""));
    if !fragment.is_empty() {
        errors.push(path.invalid(fragment, "fragments are not permitted in the URL"));
    }
    let query = before.split_once('?').map_or("", |(_, query)| query);
    if !query.is_empty() {
        errors.push(path.invalid(query, "query parameters are not permitted in the URL"));
    }
    if errors.is_empty() && url.parse::<http::Uri>().is_err() {
        errors.push(path.required(format!("url must be a valid URL: {url:?} cannot be called{FORM}")));
    }
}

fn service(service: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (field, detail) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
        if text(service, field).is_empty() {
            errors.push(path.child(field).required(detail));
        }
    }
    if let Some(port) = at(service, "port").as_i64().filter(|port| !(1..=65535).contains(port)) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(path.child("port").invalid(port, detail));
    }
    let place = path.child("path");
    let given = text(service, "path");
    if matches!(given, "" | "/") {
        return;
    }
    if given == "//" {
        errors.push(place.invalid(given, "segment[0] may not be empty"));
        return;
    }
    if !given.starts_with('/') {
        errors.push(place.invalid(given, "must start with a '/'"));
    }
    let steps = given.get(1..).unwrap_or_default();
    for (index, step) in steps.strip_suffix('/').unwrap_or(steps).split('/').enumerate() {
        if step.is_empty() {
            errors.push(place.invalid(given, format!("segment[{index}] may not be empty")));
            continue;
        }
        let wrong = names::dns_subdomain(step).into_iter();
        errors.extend(wrong.map(|it| place.invalid(given, format!("segment[{index}]: {it}"))));
    }
}
