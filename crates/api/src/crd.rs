//! The definitions of our resources: what the types say, and the rules the API server holds objects to.
//!
//! The types give names, shapes and descriptions. The rules stand here in tables, because the two kinds of policy share
//! them, and because a list of sentences that people will read is best seen as one. Every list and text has a bound: the API
//! server reckons with the longest when it decides whether it can afford a rule.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::policy::{ClusterRightsizePolicy, RightsizePolicy};
use crate::rightsizing::Rightsizing;

/// A rule of policies: where below `spec` (`[]` is every element of a list), the expression, and what is said to whoever
/// breaks it.
pub struct Rule {
    /// Where.
    pub at: &'static str,
    /// The expression (CEL).
    pub rule: &'static str,
    /// The sentence.
    pub message: &'static str,
}

const DURATION: &str = "self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') && size(self) > 0";
const DURATION_SAYS: &str = "must be a duration in hours, minutes and seconds, such as \"10m\" or \"1h30m\"";
const LASTING: &str = "self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') && size(self) > 0 ? duration(self) > duration('0s') && duration(self) <= duration('168h') : false";
const LASTING_SAYS: &str = "must be a duration of at most 168h, such as \"8h\" or \"1h30m\"";
const CRON: &str = "self.trim().matches('^[^\\\\s]+(\\\\s+[^\\\\s]+){4}$')";
const CRON_SAYS: &str =
    "must be five cron fields (minute, hour, day of month, month, day of week), such as \"0 22 * * 1-5\"";
const ZONE: &str = "self.matches('^[A-Za-z][A-Za-z0-9_+/-]*$')";
const ZONE_SAYS: &str = "must be the name of a time zone, such as \"Europe/Berlin\"";
const COUNTED: &str = "self.matches('^[0-9]+(\\\\.[0-9]+)? per ([0-9]+(\\\\.[0-9]+)? )?(hour|day|week|month|year)s?$')";
const COUNTED_SAYS: &str = "must say how often, as in \"1 per 30 days\"";
const MEASURED: &str = "self.matches('^ *[0-9]+(\\\\.[0-9]+)? *%( of (the )?time)? *$')";
const MEASURED_SAYS: &str = "must say how much of the time, as in \"0.5 % of time\"";
const NAMED: &str = "size(self) > 0";
/// Quantities are compared where both are texts, integers where both are integers; a mixed pair is left to whoever reads the
/// policy. The reckoned length of such a field cannot be bounded (3 MiB), so only a short list can afford this.
const CPU_ORDER: &str = "!has(self.minAllowed) || !has(self.minAllowed.cpu) || !has(self.maxAllowed) || !has(self.maxAllowed.cpu) \
    || (type(self.minAllowed.cpu) == string && type(self.maxAllowed.cpu) == string \
    ? quantity(self.minAllowed.cpu).compareTo(quantity(self.maxAllowed.cpu)) <= 0 \
    : type(self.minAllowed.cpu) == int && type(self.maxAllowed.cpu) == int \
    ? int(self.minAllowed.cpu) <= int(self.maxAllowed.cpu) : true)";
const MEMORY_ORDER: &str = "!has(self.minAllowed) || !has(self.minAllowed.memory) || !has(self.maxAllowed) || !has(self.maxAllowed.memory) \
    || (type(self.minAllowed.memory) == string && type(self.maxAllowed.memory) == string \
    ? quantity(self.minAllowed.memory).compareTo(quantity(self.maxAllowed.memory)) <= 0 \
    : type(self.minAllowed.memory) == int && type(self.maxAllowed.memory) == int \
    ? int(self.minAllowed.memory) <= int(self.maxAllowed.memory) : true)";

/// A quantity, with or without a sign. Not an expression: the length of what may also be an integer cannot be bounded, so the
/// API server takes any expression over it for too dear.
const AMOUNT: &str = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$";
const NUMBER: &str = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$";

const fn rule(at: &'static str, rule: &'static str, message: &'static str) -> Rule {
    Rule { at, rule, message }
}

/// The rules of both kinds of policy.
pub const RULES: &[Rule] = &[
    rule(
        "",
        "!(has(self.targetRef) && has(self.selector))",
        "targetRef and selector exclude each other: name one workload, select many, or leave both out for all of them",
    ),
    rule("targetRef.kind", NAMED, "must be the kind of the workload, such as Deployment"),
    rule("resourcePolicy.containerPolicies[]", CPU_ORDER, "minAllowed.cpu must not be more than maxAllowed.cpu"),
    rule(
        "resourcePolicy.containerPolicies[]",
        MEMORY_ORDER,
        "minAllowed.memory must not be more than maxAllowed.memory",
    ),
    rule(
        "resourcePolicy.containerPolicies[].containerName",
        NAMED,
        "must be the name of a container, or \"*\" for all that are not named",
    ),
    rule("risk.memory", COUNTED, COUNTED_SAYS),
    rule("risk.cpu", MEASURED, MEASURED_SAYS),
    rule("coolDown.up", DURATION, DURATION_SAYS),
    rule("coolDown.down", DURATION, DURATION_SAYS),
    rule("settle", DURATION, DURATION_SAYS),
    rule("startup", DURATION, DURATION_SAYS),
    rule("learn", DURATION, DURATION_SAYS),
    rule("giveUpDeferredAfter", DURATION, DURATION_SAYS),
    rule("windows[].schedule", CRON, CRON_SAYS),
    rule("windows[].duration", LASTING, LASTING_SAYS),
    rule("windows[].timeZone", ZONE, ZONE_SAYS),
    rule("schedules[].schedule", CRON, CRON_SAYS),
    rule("schedules[].duration", LASTING, LASTING_SAYS),
    rule("schedules[].timeZone", ZONE, ZONE_SAYS),
    rule(
        "schedules[].containerPolicies[]",
        "has(self.minAllowed) || has(self.maxAllowed)",
        "must say minAllowed, maxAllowed or both",
    ),
    rule(
        "schedules[].containerPolicies[].containerName",
        NAMED,
        "must be the name of a container, or \"*\" for all that are not named",
    ),
    rule("guards[]", "has(self.above) || has(self.below)", "must say above, below or both: what of the answer is harm"),
    rule("guards[].name", NAMED, "must have a name, which events and messages use"),
    rule("guards[].query", NAMED, "must be a PromQL expression whose answer is one number"),
];

/// Bounds that are no expressions: where below `spec`, which keywords.
fn bounds() -> Vec<(String, Value)> {
    let text = |most: u32| json!({"maxLength": most});
    let percent = |most: u32| json!({"minimum": 0, "maximum": most});
    let by_name = |most: u32, key: &str| json!({"maxItems": most, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]});
    let all = [
        ("targetRef.apiVersion", text(253)),
        ("targetRef.kind", text(63)),
        ("targetRef.name", json!({"minLength": 1, "maxLength": 253})),
        ("weight", json!({"minimum": -1_000_000, "maximum": 1_000_000})),
        ("updatePolicy.minReplicas", json!({"minimum": 1})),
        ("resourcePolicy.containerPolicies", by_name(12, "containerName")),
        (
            "resourcePolicy.containerPolicies[].controlledResources",
            json!({"maxItems": 2, "x-kubernetes-list-type": "set"}),
        ),
        ("headroom.cpu", percent(1000)),
        ("headroom.memory", percent(1000)),
        ("steps.cpuUp", percent(10_000)),
        ("steps.cpuDown", percent(100)),
        ("steps.memoryUp", percent(10_000)),
        ("steps.memoryDown", percent(100)),
        ("threshold", percent(100)),
        ("minConfidence", percent(100)),
        ("windows", json!({"maxItems": 32, "x-kubernetes-list-type": "atomic"})),
        ("schedules", json!({"maxItems": 16, "x-kubernetes-list-type": "atomic"})),
        (
            "schedules[].containerPolicies",
            json!({"minItems": 1, "maxItems": 32, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["containerName"]}),
        ),
        ("paused.reason", json!({"minLength": 1, "maxLength": 256})),
        ("priority", json!({"minimum": -1_000_000, "maximum": 1_000_000})),
        ("podsAtOnce", json!({"minimum": 1, "maximum": 1000})),
        ("namespacePodsAtOnce", json!({"minimum": 1, "maximum": 10_000})),
        ("guards", by_name(10, "name")),
        ("guards[].name", text(63)),
        ("guards[].query", text(4096)),
    ];
    let mut all: Vec<(String, Value)> = all.into_iter().map(|(at, keywords)| (at.to_owned(), keywords)).collect();
    for at in ["resourcePolicy.containerPolicies[].containerName", "schedules[].containerPolicies[].containerName"] {
        all.push((at.to_owned(), text(63)));
    }
    for list in ["resourcePolicy.containerPolicies[]", "schedules[].containerPolicies[]"] {
        for field in ["minAllowed.cpu", "minAllowed.memory", "maxAllowed.cpu", "maxAllowed.memory"] {
            all.push((format!("{list}.{field}"), json!({"pattern": AMOUNT, "minimum": 0})));
        }
    }
    for at in ["guards[].above", "guards[].below"] {
        all.push((at.to_owned(), json!({"pattern": NUMBER})));
    }
    for at in ["coolDown.up", "coolDown.down", "settle", "startup", "learn", "giveUpDeferredAfter"] {
        all.push((at.to_owned(), text(24)));
    }
    for at in ["windows[].duration", "schedules[].duration"] {
        all.push((at.to_owned(), text(24)));
    }
    for at in ["windows[].schedule", "schedules[].schedule"] {
        all.push((at.to_owned(), text(128)));
    }
    for at in ["windows[].timeZone", "schedules[].timeZone", "risk.memory", "risk.cpu"] {
        all.push((at.to_owned(), text(64)));
    }
    all
}

/// Fields without which an element means nothing.
const REQUIRED: &[(&str, &[&str])] = &[
    ("targetRef", &["kind"]),
    ("resourcePolicy.containerPolicies[]", &["containerName"]),
    ("windows[]", &["type", "schedule", "duration"]),
    ("schedules[]", &["schedule", "duration", "containerPolicies"]),
    ("schedules[].containerPolicies[]", &["containerName"]),
    ("paused", &["reason"]),
    ("guards[]", &["name", "query"]),
];

/// A column of `kubectl get`: title, type, path, whether only `-o wide` shows it.
type Column = (&'static str, &'static str, &'static str, bool);

const POLICY_COLUMNS: &[Column] = &[
    ("Mode", "string", ".spec.updatePolicy.updateMode", false),
    ("Weight", "integer", ".spec.weight", false),
    ("Workloads", "integer", ".status.matchedWorkloads", false),
    ("Valid", "string", ".status.conditions[?(@.type==\"Valid\")].status", false),
    ("Contested", "string", ".status.conditions[?(@.type==\"Contested\")].status", true),
    ("Paused", "string", ".spec.paused.reason", true),
    ("Age", "date", ".metadata.creationTimestamp", false),
];

const RIGHTSIZING_COLUMNS: &[Column] = &[
    ("Mode", "string", ".status.decision.mode", false),
    ("Reason", "string", ".status.decision.code", false),
    ("CPU", "string", ".status.sizes.cpu", false),
    ("Memory", "string", ".status.sizes.memory", false),
    ("Pods", "integer", ".status.pods.total", false),
    ("Under Way", "integer", ".status.pods.underWay", true),
    ("Message", "string", ".status.decision.message", true),
    ("Age", "date", ".metadata.creationTimestamp", false),
];

/// The definitions, in the order in which they are listed.
///
/// # Panics
/// Where a table here names a field that no type has: the test of this function is what tells.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let policy = |definition, about| {
        finish(definition, about, POLICY_COLUMNS, |spec| {
            for (at, keywords) in bounds() {
                extend(place(spec, &at), keywords);
            }
            for (at, names) in REQUIRED {
                place(spec, at).insert("required".to_owned(), json!(names));
            }
            for it in RULES {
                let schema = place(spec, it.at);
                let rules = schema.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
                let rules = rules.as_array_mut().expect("only this function writes them, as a list");
                rules.push(json!({"rule": it.rule, "message": it.message}));
            }
        })
    };
    vec![
        policy(
            ClusterRightsizePolicy::crd(),
            "How Supple sizes workloads of the whole cluster: which workloads, in which mode, within which bounds. A \
             RightsizePolicy of the namespace overrides it.",
        ),
        policy(
            RightsizePolicy::crd(),
            "How Supple sizes workloads of its namespace: which workloads, in which mode, within which bounds. \
             Fields that are not set come from the ClusterRightsizePolicy, then from the built-in defaults.",
        ),
        finish(
            Rightsizing::crd(),
            "The sizes of one workload. Written by Supple; do not edit.",
            RIGHTSIZING_COLUMNS,
            |spec| {
                for (at, most) in [("workloadRef.apiVersion", 253), ("workloadRef.kind", 63), ("workloadRef.name", 253)]
                {
                    extend(place(spec, at), json!({"maxLength": most}));
                }
                let fixed =
                    json!([{"rule": "self == oldSelf", "message": "a Rightsizing is about one workload for good"}]);
                place(spec, "workloadRef").insert("x-kubernetes-validations".to_owned(), fixed);
            },
        ),
    ]
}

/// The name of the file below `deploy/crds` that a definition is committed as.
#[must_use]
pub fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural)
}

fn finish(
    definition: CustomResourceDefinition,
    about: &str,
    columns: &[Column],
    edit: impl FnOnce(&mut Map<String, Value>),
) -> CustomResourceDefinition {
    let mut text = serde_json::to_value(definition).expect("plain data");
    let version = &mut text["spec"]["versions"][0];
    version["additionalPrinterColumns"] = columns
        .iter()
        .map(|(name, kind, path, wide)| {
            let mut column = json!({"name": name, "type": kind, "jsonPath": path});
            if *wide {
                column["priority"] = json!(1);
            }
            column
        })
        .collect();
    let schema = &mut version["schema"]["openAPIV3Schema"];
    tidy(schema);
    schema["description"] = json!(about);
    edit(schema["properties"]["spec"].as_object_mut().expect("every resource of ours has a specification"));
    let status = schema["properties"]["status"].as_object_mut().expect("every resource of ours has a status");
    let by_type = json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]});
    extend(place(status, "conditions"), by_type);
    serde_json::from_value(text).expect("it is still a definition")
}

/// Takes out what the types have by their being Rust: `null` where nothing is said, formats no API server knows, defaults that
/// would be written into everybody's objects, titles.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            // A field called `default` or `format` is below `properties`, where names are keys.
            for (key, below) in fields.iter_mut() {
                match key.as_str() {
                    "properties" => below.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(tidy),
                    _ => tidy(below),
                }
            }
            if fields.contains_key("type") || fields.contains_key("x-kubernetes-int-or-string") {
                fields.remove("nullable");
                fields.remove("default");
                fields.remove("title");
                if let Some(Value::Array(words)) = fields.get_mut("enum") {
                    words.retain(|it| !it.is_null());
                }
                if fields.contains_key("x-kubernetes-int-or-string") {
                    fields.remove("anyOf"); // it says the same, and the types in it have been lost
                }
                if fields.get("format").is_some_and(|it| it == "uint32") {
                    fields.remove("format");
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn extend(schema: &mut Map<String, Value>, keywords: Value) {
    if let Value::Object(keywords) = keywords {
        schema.extend(keywords);
    }
}

/// The schema at `a.b[].c`.
fn place<'a>(schema: &'a mut Map<String, Value>, at: &str) -> &'a mut Map<String, Value> {
    let mut found = schema;
    for part in at.split('.').filter(|it| !it.is_empty()) {
        let name = part.trim_end_matches("[]");
        let mut next = found
            .get_mut("properties")
            .and_then(|it| it.get_mut(name))
            .unwrap_or_else(|| panic!("a table of crd.rs says {at:?}, and there is no {name:?}"));
        if name.len() < part.len() {
            next = next
                .get_mut("items")
                .unwrap_or_else(|| panic!("a table of crd.rs says {at:?}, and {name:?} is no list"));
        }
        found = next.as_object_mut().expect("a schema is an object");
    }
    found
}
