//! Whether a schema is structural: every field has a type, combinations only restrict what is described outside of
//! them, lists that are maps have keys. What is refused, and the words, are those of apiextensions v1.36.

use serde_json::{Map, Value};
use supple_resize::field::{BadValue, FieldError, Path};

use super::schema::{Kind, MAX_DEPTH, Schema};
use super::validate::{self, Shown};
use super::{cost, prune, rules, typing};
use crate::tree::{items, text};

/// Most nodes of one schema: a definition of the largest size that is read has fewer, unless it is made to hurt.
const MAX_NODES: usize = 50_000;

/// Marks that no combination may have.
const EXTENSIONS: [&str; 8] = [
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "nullable",
    "additionalProperties",
];

/// Keywords of JSON Schema that are not read.
const UNSUPPORTED: [&str; 6] = ["$ref", "additionalItems", "definitions", "dependencies", "id", "patternProperties"];

/// What is wrong with an `openAPIV3Schema`.
pub fn check(source: &Value, at: &Path<'_>) -> Vec<FieldError> {
    let mut check = Check { errors: Vec::new(), nodes: 0, sizes: cost::Sizes::default(), total: 0, dear: Vec::new() };
    check.node(source, at, Level::Root, 0, Some(1));
    if check.total > cost::SCHEMA_LIMIT {
        check.over_all(at);
    }
    if check.nodes > MAX_NODES {
        check.errors = vec![at.forbidden(format!("a schema has at most {MAX_NODES} parts: split the definition"))];
    }
    check.errors
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
}

struct Check {
    errors: Vec<FieldError>,
    nodes: usize,
    sizes: cost::Sizes,
    /// What all expressions cost together, at most.
    total: u64,
    /// Those of them that cost most, by what they cost, with what is said of them should all be too much.
    dear: Vec<(u64, FieldError)>,
}

impl Check {
    /// `many`: how many values of this schema one object can have; `None` where nothing bounds it.
    fn node(&mut self, source: &Value, at: &Path<'_>, level: Level, depth: usize, many: Option<u64>) {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return;
        }
        if depth > MAX_DEPTH {
            self.errors.push(at.forbidden(format!("a schema is nested at most {MAX_DEPTH} levels deep")));
            return;
        }
        if !source.is_object() {
            self.errors.push(at.invalid(Shown(source), "must be a schema object"));
            return;
        }
        self.own(source, at, level);
        self.values(source, at);
        self.combinations(source, source, at, depth);
        self.list(source, at);
        self.default(source, at);
        self.rules(source, at, many);
        let many = many.and_then(|it| Some(it.saturating_mul(cost::below(source)?)));
        if let Some(properties) = source.get("properties").and_then(Value::as_object) {
            for (name, inner) in properties {
                let of_properties = at.child("properties");
                let here = of_properties.key(name);
                if name == "metadata" && (level == Level::Root || flag(source, "x-kubernetes-embedded-resource")) {
                    self.metadata(inner, &here);
                } else {
                    self.node(inner, &here, Level::Field, depth + 1, many);
                }
            }
        }
        match source.get("additionalProperties") {
            Some(inner @ Value::Object(_)) => {
                self.node(inner, &at.child("additionalProperties"), Level::Field, depth + 1, many);
            }
            Some(Value::Bool(false)) => {
                let why = "additionalProperties cannot be set to false";
                self.errors.push(at.child("additionalProperties").forbidden(why));
            }
            _ => {}
        }
        match source.get("items") {
            Some(Value::Array(_)) => {
                let why = "items must be a schema object and not an array";
                self.errors.push(at.child("items").forbidden(why));
            }
            Some(inner) => self.node(inner, &at.child("items"), Level::Item, depth + 1, many),
            None if text(source, "type") == "array" => {
                self.errors.push(at.child("items").required("must be specified"));
            }
            None => {}
        }
    }

    /// What is wrong with the node itself.
    fn own(&mut self, source: &Value, at: &Path<'_>, level: Level) {
        let kind = text(source, "type");
        let of_type = at.child("type");
        let (int_or_string, preserve, embedded) = (
            flag(source, "x-kubernetes-int-or-string"),
            flag(source, "x-kubernetes-preserve-unknown-fields"),
            flag(source, "x-kubernetes-embedded-resource"),
        );
        if kind.is_empty() && !int_or_string && (!preserve || level == Level::Root) {
            self.errors.push(of_type.required(match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            }));
        }
        if kind == "null" {
            self.errors.push(of_type.forbidden("type cannot be set to null, use nullable as an alternative"));
        } else if !kind.is_empty() && Kind::parse(kind).is_none() {
            let supported = ["array", "boolean", "integer", "number", "object", "string"];
            self.errors.push(of_type.not_supported(kind, &supported));
        }
        if int_or_string && !kind.is_empty() {
            let why = "must be empty if x-kubernetes-int-or-string is true";
            self.errors.push(of_type.invalid(kind, why));
        }
        if preserve && !matches!(kind, "" | "object") {
            let why = "must be object or empty if x-kubernetes-preserve-unknown-fields is true";
            self.errors.push(of_type.invalid(kind, why));
        }
        if embedded && kind != "object" {
            let why = "must be object if x-kubernetes-embedded-resource is true";
            self.errors.push(if kind.is_empty() { of_type.required(why) } else { of_type.invalid(kind, why) });
        }
        if embedded && !preserve && source.get("properties").is_none_or(is_empty) {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                       x-kubernetes-preserve-unknown-fields";
            self.errors.push(at.child("properties").required(why));
        }
        if level == Level::Root && !matches!(kind, "" | "object") {
            self.errors.push(of_type.invalid(kind, "must be object at the root"));
        }
        if source.get("additionalProperties").is_some() && source.get("properties").is_some_and(|it| !is_empty(it)) {
            let why = "additionalProperties and properties are mutual exclusive";
            self.errors.push(at.child("additionalProperties").forbidden(why));
        }
        if flag(source, "uniqueItems") {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.errors.push(at.child("uniqueItems").forbidden(why));
        }
        for name in UNSUPPORTED.into_iter().filter(|name| source.get(*name).is_some_and(|it| !it.is_null())) {
            self.errors.push(at.child(name).forbidden(format!("{name} is not supported")));
        }
    }

    /// What is wrong with limits on values.
    fn values(&mut self, source: &Value, at: &Path<'_>) {
        let pattern = text(source, "pattern");
        if let Err(error) = regex::Regex::new(pattern) {
            let why = format!("must be a valid regular expression, but isn't: {error}");
            self.errors.push(at.child("pattern").invalid(pattern, why));
        }
        let map_type = text(source, "x-kubernetes-map-type");
        if !map_type.is_empty() {
            let here = at.child("x-kubernetes-map-type");
            if !matches!(map_type, "atomic" | "granular") {
                self.errors.push(here.not_supported(map_type, &["atomic", "granular"]));
            }
            if text(source, "type") != "object" {
                let why = "must be object if x-kubernetes-map-type is specified";
                self.errors.push(at.child("type").invalid(text(source, "type"), why));
            }
        }
    }

    /// Of `metadata`, only names can be restricted.
    fn metadata(&mut self, source: &Value, at: &Path<'_>) {
        let mut left = source.clone();
        if let Some(fields) = left.as_object_mut() {
            fields.retain(|name, _| !matches!(name.as_str(), "type" | "description" | "properties"));
        }
        let properties = source.get("properties").and_then(Value::as_object);
        let only_names = properties.is_none_or(|it| it.keys().all(|it| matches!(it.as_str(), "name" | "generateName")));
        if !is_empty(&left) || !only_names {
            let why =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.errors.push(at.forbidden(why));
        }
        if !matches!(text(source, "type"), "object") {
            self.errors.push(at.child("type").invalid(text(source, "type"), "must be object"));
        }
    }

    /// Combinations restrict; they describe nothing. `outside` is the node that they restrict.
    fn combinations(&mut self, source: &Value, outside: &Value, at: &Path<'_>, depth: usize) {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let inner = items(source, keyword);
            if inner.is_empty() || is_int_or_string(outside, keyword, inner) {
                continue;
            }
            let of_keyword = at.child(keyword);
            for (index, inner) in inner.iter().enumerate() {
                self.nested(inner, outside, &of_keyword.index(index), depth + 1);
            }
        }
        if let Some(inner) = source.get("not").filter(|it| !it.is_null()) {
            self.nested(inner, outside, &at.child("not"), depth + 1);
        }
    }

    fn nested(&mut self, source: &Value, outside: &Value, at: &Path<'_>, depth: usize) {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return;
        }
        for name in ["description", "title", "type"] {
            if !text(source, name).is_empty() {
                self.errors.push(at.child(name).forbidden("must be empty to be structural"));
            }
        }
        if source.get("default").is_some() {
            self.errors.push(at.child("default").forbidden("must be undefined to be structural"));
        }
        for name in EXTENSIONS {
            match source.get(name) {
                None | Some(Value::Null | Value::Bool(false)) => {}
                Some(Value::Bool(true)) => self.errors.push(at.child(name).forbidden("must be false to be structural")),
                Some(_) => self.errors.push(at.child(name).forbidden("must be undefined to be structural")),
            }
        }
        self.values(source, at);
        for (name, inner) in source.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let of_properties = at.child("properties");
            let here = of_properties.key(name);
            match outside.get("properties").and_then(|it| it.get(name)) {
                Some(outside) => self.nested(inner, outside, &here, depth + 1),
                None if outside.get("additionalProperties").is_some_and(Value::is_object) => {
                    self.nested(inner, &outside["additionalProperties"], &here, depth + 1);
                }
                None => {
                    let missing = format!("because it is defined in {here}");
                    self.errors.push(at.child("properties").key(name).required(missing));
                }
            }
        }
        if let Some(inner) = source.get("items").filter(|it| it.is_object()) {
            match outside.get("items") {
                Some(outside) => self.nested(inner, outside, &at.child("items"), depth + 1),
                None => {
                    let here = at.child("items");
                    self.errors.push(here.required(format!("because it is defined in {here}")));
                }
            }
        }
        self.combinations(source, outside, at, depth);
    }

    /// What is wrong with a list that is a set or a map.
    fn list(&mut self, source: &Value, at: &Path<'_>) {
        let list_type = text(source, "x-kubernetes-list-type");
        let keys = items(source, "x-kubernetes-list-map-keys");
        let of_list = at.child("x-kubernetes-list-type");
        if !keys.is_empty() && list_type != "map" {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            self.errors.push(if list_type.is_empty() {
                of_list.required(why)
            } else {
                of_list.invalid(list_type, why)
            });
        }
        if list_type.is_empty() {
            return;
        }
        if !matches!(list_type, "atomic" | "set" | "map") {
            self.errors.push(of_list.not_supported(list_type, &["atomic", "map", "set"]));
        }
        let kind = text(source, "type");
        if kind != "array" {
            let why = "must be array if x-kubernetes-list-type is specified";
            let of_type = at.child("type");
            self.errors.push(if kind.is_empty() { of_type.required(why) } else { of_type.invalid(kind, why) });
        }
        let of_items = source.get("items").unwrap_or(&Value::Null);
        match list_type {
            "set" => {
                let inner = text(of_items, "type");
                let whole = match inner {
                    "object" => text(of_items, "x-kubernetes-map-type") == "atomic",
                    "array" => matches!(text(of_items, "x-kubernetes-list-type"), "" | "atomic"),
                    _ => true,
                };
                if !whole || flag(of_items, "nullable") {
                    let why = if flag(of_items, "nullable") {
                        "cannot be nullable when x-kubernetes-list-type is set"
                    } else {
                        "must be atomic as item of a list with x-kubernetes-list-type=set"
                    };
                    self.errors.push(at.child("items").forbidden(why));
                }
            }
            "map" => self.keys(source, of_items, keys, at),
            _ => {}
        }
    }

    fn keys(&mut self, source: &Value, of_items: &Value, keys: &[Value], at: &Path<'_>) {
        let of_keys = at.child("x-kubernetes-list-map-keys");
        if keys.is_empty() {
            self.errors.push(of_keys.required("must not be empty if x-kubernetes-list-type is map"));
        }
        let here = at.child("items");
        if source.get("items").is_none() {
            self.errors.push(here.required("must have a schema if x-kubernetes-list-type is map"));
            return;
        }
        if text(of_items, "type") != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            self.errors.push(here.child("type").invalid(text(of_items, "type"), why));
        }
        let mut seen: Vec<&str> = Vec::new();
        for key in keys.iter().filter_map(Value::as_str) {
            if seen.contains(&key) {
                self.errors.push(of_keys.invalid("", "must not contain duplicate entries"));
            }
            seen.push(key);
            let Some(property) = of_items.get("properties").and_then(|it| it.get(key)) else {
                self.errors.push(of_keys.invalid(key, "entries must all be names of item properties"));
                continue;
            };
            let of_properties = here.child("properties");
            let of_property = of_properties.key(key);
            if matches!(text(property, "type"), "object" | "array") {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                self.errors.push(of_property.child("type").invalid(text(property, "type"), why));
            }
            if !items(of_items, "required").iter().any(|it| it == key) && property.get("default").is_none() {
                let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                           property";
                self.errors.push(of_property.child("default").required(why));
            }
        }
    }

    /// A default must be a value of its own schema.
    fn default(&mut self, source: &Value, at: &Path<'_>) {
        let Some(given) = source.get("default") else { return };
        let schema = Schema::read(source);
        let here = at.child("default");
        let mut value = given.clone();
        for finding in prune::prune(&mut value, &schema) {
            self.errors.push(here.invalid(Shown(given), format!("must not have {finding}")));
        }
        prune::default(&mut value, &schema);
        let wrong = validate::holds(&schema, &value).into_iter().chain(rules::check(&schema, &value, None));
        for mut error in wrong {
            let inner = Path::TOP.to_string();
            error.field = if error.field == inner { here.to_string() } else { format!("{here}.{}", error.field) };
            self.errors.push(error);
        }
    }

    /// An expression costs so much on all values together. What it alone may cost is looked at here.
    fn costs(&mut self, what: &str, cost: u64, at: &Path<'_>) {
        if cost > cost::EXPRESSION_LIMIT {
            self.errors.push(at.forbidden(cost::over(what, cost, cost::EXPRESSION_LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= cost::SCHEMA_LIMIT / 100 {
            let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            self.dear.push((cost, at.forbidden(why)));
            self.dear.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
            self.dear.truncate(4);
        }
    }

    fn over_all(&mut self, at: &Path<'_>) {
        self.errors.extend(std::mem::take(&mut self.dear).into_iter().map(|(_, error)| error));
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        self.errors.push(at.forbidden(cost::over(what, self.total, cost::SCHEMA_LIMIT)));
    }

    fn rules(&mut self, source: &Value, at: &Path<'_>, many: Option<u64>) {
        let of_rules = at.child("x-kubernetes-validations");
        for (index, rule) in items(source, "x-kubernetes-validations").iter().enumerate() {
            let here = of_rules.index(index);
            if text(rule, "rule").trim().is_empty() {
                self.errors.push(here.child("rule").required("rule is not specified"));
                continue;
            }
            let (message, expression) = (text(rule, "message"), text(rule, "messageExpression"));
            if rule.get("message").is_some() && message.trim().is_empty() && !message.is_empty() {
                self.errors.push(here.child("message").invalid(message, "message must be non-empty if specified"));
            }
            if message.contains('\n') {
                self.errors.push(here.child("message").invalid(message, "message must not contain line breaks"));
            }
            if message.is_empty() && text(rule, "rule").trim().contains('\n') && expression.is_empty() {
                let why = "message must be specified if rule contains line breaks";
                self.errors.push(here.child("message").required(why));
            }
            match rules::Rule::read(rule) {
                Err(error) => {
                    let of_field = here.child(error.field);
                    let given = text(rule, error.field);
                    self.errors.push(match error.field {
                        "reason" => of_field.not_supported(
                            given,
                            &["FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired", "FieldValueDuplicate"],
                        ),
                        "fieldPath" => of_field.invalid(given, "fieldPath must be a valid path"),
                        _ => of_field.invalid(GoRule(rule), error.detail),
                    });
                }
                Ok(compiled) => {
                    match typing::check(source, rule, &compiled, &mut self.sizes) {
                        Err(error) => self.errors.push(here.child(error.field).invalid(GoRule(rule), error.detail)),
                        Ok(costs) => {
                            let many = many.unwrap_or_else(|| cost::times(self.sizes.least(source)));
                            let of_rule = costs.rule.saturating_mul(many);
                            self.costs("estimated rule cost", of_rule, &here.child("rule"));
                            if let Some(cost) = costs.message {
                                let what = "estimated messageExpression cost";
                                self.costs(what, cost, &here.child("messageExpression"));
                            }
                        }
                    }
                    if !names_a_field(source, compiled.field_path()) {
                        let given = text(rule, "fieldPath");
                        self.errors.push(here.child("fieldPath").invalid(given, "fieldPath must be a valid path"));
                    }
                }
            }
        }
    }
}

fn names_a_field(source: &Value, path: &[String]) -> bool {
    let down = |source: &Value, step: &String| -> Option<Value> {
        source.get("properties").and_then(|it| it.get(step)).or_else(|| source.get("additionalProperties")).cloned()
    };
    path.iter().try_fold(source.clone(), |source, step| down(&source, step)).is_some()
}

/// A rule as an error shows it: the reference prints the whole of it in Go's syntax.
struct GoRule<'a>(&'a Value);

impl BadValue for GoRule<'_> {
    fn shown(&self) -> String {
        let text = |name: &str| text(self.0, name).shown();
        let pointer = |name: &str, kind: &str| match self.0.get(name) {
            None | Some(Value::Null) => format!("(*{kind})(nil)"),
            Some(value) => format!("(*{kind})({value})"),
        };
        format!(
            "apiextensions.ValidationRule{{Rule:{}, Message:{}, MessageExpression:{}, Reason:{}, FieldPath:{}, \
             OptionalOldSelf:{}}}",
            text("rule"),
            text("message"),
            text("messageExpression"),
            pointer("reason", "apiextensions.FieldValueErrorReason"),
            text("fieldPath"),
            pointer("optionalOldSelf", "bool"),
        )
    }
}

/// The two ways of writing what an int-or-string is, which may have types in them.
fn is_int_or_string(outside: &Value, keyword: &str, inner: &[Value]) -> bool {
    let pair = |inner: &[Value]| {
        let types: Vec<&str> = inner.iter().map(|it| text(it, "type")).collect();
        types == ["integer", "string"] || types == ["string", "integer"]
    };
    flag(outside, "x-kubernetes-int-or-string")
        && match keyword {
            "anyOf" | "oneOf" => pair(inner),
            _ => inner.first().is_some_and(|it| pair(items(it, "anyOf"))),
        }
}

fn flag(source: &Value, name: &str) -> bool {
    source.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}
