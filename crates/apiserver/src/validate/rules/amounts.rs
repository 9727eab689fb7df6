//! Limit ranges and resource quotas: which resources they may name, and which amounts make sense together.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::LimitRange;
use serde_json::Value;
use supple_quantity::Quantity;
use supple_resize::admission::limit_range::apply_defaults;
use supple_resize::field::{BadValue, Path};
use supple_resize::resources::is_hugepages;
use supple_resize::validate::names;

use super::FieldError;
use crate::tree::{at, items, text};

/// What a container can ask for.
const CONTAINER_RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// What has a name without a domain, besides.
const STANDARD_RESOURCES: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

/// What a quota counts in whole numbers.
const COUNTED: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Resource lists of a limit: name to amount.
type Amounts = BTreeMap<String, Quantity>;

/// Text that is shown as it is.
struct Shown(String);

impl BadValue for Shown {
    fn shown(&self) -> String {
        self.0.clone()
    }
}

fn amounts(limit: &Value, field: &str) -> Amounts {
    let entries = at(limit, field).as_object().into_iter().flatten();
    entries.filter_map(|(name, it)| Some((name.clone(), it.as_str()?.parse().ok()?))).collect()
}

/// Fills in defaults and default requests of container limits, as admission expects to find them.
pub(super) fn default_limit_range(object: &mut Value) {
    // A normalised object has a typed form; one that has none is left for validation to refuse.
    if let Ok(mut range) = serde_json::from_value::<LimitRange>(object.clone()) {
        apply_defaults(&mut range);
        if let Ok(spec) = serde_json::to_value(range.spec)
            && !spec.is_null()
        {
            object["spec"] = spec;
        }
    }
}

pub(super) fn limit_range(object: &Value) -> Vec<FieldError> {
    let spec = Path::root("spec");
    let path = spec.child("limits");
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, limit) in items(object, "spec.limits").iter().enumerate() {
        let path = path.index(index);
        let kind = text(limit, "type");
        errors.extend(limit_type(&path.child("type"), kind));
        if !seen.insert(kind) {
            errors.push(path.child("type").duplicate(kind));
        }
        errors.extend(limit_item(&path, limit, kind));
    }
    errors
}

fn limit_type(path: &Path<'_>, kind: &str) -> Vec<FieldError> {
    let wrong = names::qualified(kind);
    if !wrong.is_empty() {
        return wrong.into_iter().map(|it| path.invalid(kind, it)).collect();
    }
    let standard = matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim");
    if !standard && !kind.contains('/') {
        return vec![path.invalid(kind, "must be a standard limit type or fully qualified")];
    }
    Vec::new()
}

fn limit_item(path: &Path<'_>, limit: &Value, kind: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut read = |field: &'static str| {
        let amounts = amounts(limit, field);
        let path = path.child(field);
        errors.extend(amounts.keys().flat_map(|name| limited_resource(&path.key(name), kind, name)));
        amounts
    };
    let max = read("max");
    let min = read("min");
    let of_pods = kind == "Pod";
    let (default, default_request) =
        if of_pods { Default::default() } else { (read("default"), read("defaultRequest")) };
    let ratio = read("maxLimitRequestRatio");
    if of_pods {
        for field in ["default", "defaultRequest"] {
            if !amounts(limit, field).is_empty() {
                errors.push(path.child(field).forbidden("may not be specified when `type` is 'Pod'"));
            }
        }
    }
    if kind == "PersistentVolumeClaim" && !min.contains_key("storage") && !max.contains_key("storage") {
        errors.push(
            path.child("limits")
                .required("either minimum or maximum storage value is required, but neither was provided"),
        );
    }
    let names: BTreeSet<&String> =
        [&max, &min, &default, &default_request, &ratio].into_iter().flat_map(|it| it.keys()).collect();
    for name in names {
        let limits = Limits {
            min: min.get(name),
            max: max.get(name),
            default: default.get(name),
            default_request: default_request.get(name),
            ratio: ratio.get(name),
        };
        errors.extend(limits.check(path, name));
    }
    errors
}

/// The amounts of one resource in one limit.
struct Limits<'a> {
    min: Option<&'a Quantity>,
    max: Option<&'a Quantity>,
    default: Option<&'a Quantity>,
    default_request: Option<&'a Quantity>,
    ratio: Option<&'a Quantity>,
}

impl Limits<'_> {
    fn check(&self, path: &Path<'_>, name: &str) -> Vec<FieldError> {
        let Self { min, max, default, default_request, ratio } = *self;
        let mut errors = Vec::new();
        // (the smaller, its words, the larger, its words, the field blamed, the value shown)
        let mut ordered = |low: (Option<&Quantity>, &str), high: (Option<&Quantity>, &str), field, blame_low: bool| {
            if let ((Some(low), low_is), (Some(high), high_is)) = (low, high)
                && low > high
            {
                let blamed = if blame_low { low } else { high };
                let detail = format!("{low_is} value {low} is greater than {high_is} value {high}");
                errors.push(path.child(field).key(name).invalid(blamed, detail));
            }
        };
        ordered((min, "min"), (max, "max"), "min", true);
        ordered((min, "min"), (default_request, "default request"), "defaultRequest", false);
        ordered((default_request, "default request"), (max, "max"), "defaultRequest", true);
        ordered((default_request, "default request"), (default, "default limit"), "defaultRequest", true);
        ordered((min, "min"), (default, "default"), "default", true);
        ordered((default, "default"), (max, "max"), "default", false);
        if let Some(ratio) = ratio {
            errors.extend(self.check_ratio(&path.child("maxLimitRequestRatio").key(name), ratio));
        }
        let shared = matches!(name, "cpu" | "memory" | "ephemeral-storage");
        if let (Some(default), Some(request)) = (default, default_request)
            && !shared
            && default != request
        {
            let detail = format!("default value {default} must equal to defaultRequest value {request} in {name}");
            errors.push(path.child("defaultRequest").key(name).invalid(request, detail));
        }
        errors
    }

    fn check_ratio(&self, path: &Path<'_>, ratio: &Quantity) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if ratio.milli() < 1000 {
            errors.push(path.invalid(ratio, format!("ratio {ratio} is less than 1")));
        }
        if let (Some(min), Some(max)) = (self.min, self.max) {
            // Exact: ratio/1000 > max/min, multiplied out. A minimum of zero bounds nothing.
            let (ratio_milli, min, max) = (i128::from(ratio.milli()), i128::from(min.milli()), i128::from(max.milli()));
            if min > 0 && ratio_milli * min > max * 1000 {
                let limit = Decimal(max * 1_000_000 / min);
                errors.push(path.invalid(ratio, format!("ratio {ratio} is greater than max/min = {limit}")));
            }
        }
        errors
    }
}

/// Millionths, printed with six decimals.
struct Decimal(i128);

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

fn limited_resource(path: &Path<'_>, kind: &str, name: &str) -> Vec<FieldError> {
    let wrong = names::qualified(name);
    if !wrong.is_empty() {
        return wrong.into_iter().map(|it| path.invalid(name, it)).collect();
    }
    if name.contains('/') {
        return Vec::new();
    }
    let for_containers = CONTAINER_RESOURCES.contains(&name) || is_hugepages(name);
    if matches!(kind, "Pod" | "Container") {
        if for_containers { Vec::new() } else { vec![path.invalid(name, "must be a standard resource for containers")] }
    } else if for_containers || STANDARD_RESOURCES.contains(&name) {
        Vec::new()
    } else {
        vec![path.invalid(name, "must be a standard resource type or fully qualified")]
    }
}

pub(super) fn quota(object: &Value) -> Vec<FieldError> {
    let spec = Path::root("spec");
    let mut errors = quota_amounts(&spec.child("hard"), at(object, "spec.hard"));
    let scopes = items(object, "spec.scopes");
    let path = spec.child("scopes");
    let shown = || Shown(Value::Array(scopes.to_vec()).to_string());
    for scope in scopes.iter().filter_map(Value::as_str) {
        if !SCOPES.contains(&scope) {
            errors.push(path.invalid(shown(), "unsupported scope"));
        }
        let hard = at(object, "spec.hard").as_object().into_iter().flatten();
        for (name, _) in hard {
            if !scope_fits(scope, name) {
                errors.push(path.invalid(shown(), "unsupported scope applied to resource"));
            }
        }
    }
    let has = |name: &str| scopes.iter().any(|it| it == name);
    if (has("BestEffort") && has("NotBestEffort")) || (has("Terminating") && has("NotTerminating")) {
        errors.push(path.invalid(shown(), "conflicting scopes"));
    }
    errors
}

pub(super) fn quota_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = quota(new);
    let sorted = |object: &Value| -> BTreeSet<String> {
        items(object, "spec.scopes").iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if sorted(new) != sorted(old) {
        let shown = Shown(Value::Array(items(new, "spec.scopes").to_vec()).to_string());
        errors.push(Path::root("spec").child("scopes").invalid(shown, "field is immutable"));
    }
    errors
}

pub(super) fn quota_status(object: &Value) -> Vec<FieldError> {
    let status = Path::root("status");
    let mut errors = quota_amounts(&status.child("hard"), at(object, "status.hard"));
    errors.extend(quota_amounts(&status.child("used"), at(object, "status.used")));
    errors
}

fn quota_amounts(path: &Path<'_>, list: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (name, amount) in list.as_object().into_iter().flatten() {
        let path = path.key(name);
        errors.extend(quota_resource(&path, name));
        let Some(amount) = amount.as_str().and_then(|it| it.parse::<Quantity>().ok()) else { continue };
        if amount.sign() < 0 {
            errors.push(path.invalid(&amount, "must be greater than or equal to 0"));
        }
        if (COUNTED.contains(&name.as_str()) || name.starts_with("count/")) && amount.milli() % 1000 != 0 {
            errors.push(path.invalid(&amount, "must be an integer"));
        }
    }
    errors
}

fn quota_resource(path: &Path<'_>, name: &str) -> Vec<FieldError> {
    let wrong = names::qualified(name);
    if !wrong.is_empty() {
        return wrong.into_iter().map(|it| path.invalid(name, it)).collect();
    }
    let paged = is_hugepages(name) || name.strip_prefix("requests.").is_some_and(is_hugepages);
    let standard = STANDARD_RESOURCES.contains(&name) && name != "storage" || paged;
    if name.contains('/') || standard {
        Vec::new()
    } else {
        vec![path.invalid(name, "must be a standard resource for quota")]
    }
}

/// Whether a quota of this scope can count this resource: scopes about pods count only what pods use.
fn scope_fits(scope: &str, name: &str) -> bool {
    let of_pods = name == "pods"
        || CONTAINER_RESOURCES.contains(&name)
        || name
            .split_once('.')
            .is_some_and(|(part, rest)| matches!(part, "requests" | "limits") && CONTAINER_RESOURCES.contains(&rest));
    match scope {
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            of_pods || !STANDARD_RESOURCES.contains(&name)
        }
        "BestEffort" => name == "pods" || !STANDARD_RESOURCES.contains(&name),
        _ => true,
    }
}
