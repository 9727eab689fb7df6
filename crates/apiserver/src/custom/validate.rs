//! An object against its schema: types, formats, limits, combinations, with the sentences of the reference (the
//! go-openapi validator behind apiextensions).

use std::collections::HashSet;

use serde_json::Value;
use supple_resize::field::{BadValue, FieldError, Path};

use super::format;
use super::schema::{Kind, ListType, MAX_DEPTH, Schema};

/// What is wrong with an object. On an update, what has not changed is not looked at again: an object that was valid
/// once stays changeable when its schema becomes stricter.
pub fn object(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut check = Check { errors: Vec::new() };
    check.value(schema, new, old, &Path::TOP, 0);
    check.errors
}

/// What is wrong with a value that stands alone, such as a default.
pub fn holds(schema: &Schema, value: &Value) -> Vec<FieldError> {
    let mut check = Check { errors: Vec::new() };
    check.value(schema, value, None, &Path::TOP, 0);
    check.lists(schema, value, &Path::TOP, 0);
    check.errors
}

/// Items that stand twice in lists that are sets or maps.
pub fn lists(schema: &Schema, object: &Value) -> Vec<FieldError> {
    let mut check = Check { errors: Vec::new() };
    check.lists(schema, object, &Path::TOP, 0);
    check.errors
}

struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    fn value(&mut self, schema: &Schema, value: &Value, old: Option<&Value>, at: &Path<'_>, depth: usize) {
        if depth > MAX_DEPTH {
            self.errors.push(at.invalid("object", format!("is nested deeper than {MAX_DEPTH} levels")));
            return;
        }
        if old == Some(value) {
            return;
        }
        if value.is_null() && schema.nullable {
            return;
        }
        if let Some(wanted) = wrong_type(schema, value) {
            let found = type_of(value);
            self.errors.push(at.type_invalid(found, format!("{at} in body must be of type {wanted}: \"{found}\"")));
            return;
        }
        self.limits(schema, value, at);
        match value {
            Value::Object(fields) => {
                for name in schema.required.iter().filter(|name| !fields.contains_key(*name)) {
                    self.errors.push(at.child(name).required(""));
                }
                for (name, value) in fields {
                    // The root's own metadata has been checked as every object's.
                    let own = depth == 0 && matches!(name.as_str(), "metadata" | "apiVersion" | "kind");
                    if let Some(schema) = schema.field(name).filter(|_| !own) {
                        self.value(schema, value, old.and_then(|it| it.get(name)), &at.child(name), depth + 1);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(of) = &schema.items {
                    for (index, item) in items.iter().enumerate() {
                        let old = counterpart(&schema.list, old, item);
                        self.value(of, item, old, &at.index(index), depth + 1);
                    }
                }
            }
            _ => {}
        }
        self.combinations(schema, value, at, depth);
    }

    fn limits(&mut self, schema: &Schema, value: &Value, at: &Path<'_>) {
        let limits = &schema.limits;
        if let Some(allowed) = &limits.one_of
            && !allowed.iter().any(|it| equal(it, value))
        {
            let allowed: Vec<String> =
                allowed.iter().map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)).collect();
            let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
            self.errors.push(at.not_supported(Shown(value), &allowed));
        }
        match value {
            Value::String(text) => {
                let length = text.chars().count();
                if let Some(least) = limits.length.least.filter(|it| length < *it) {
                    self.refuse(at, value, &format!("should be at least {least} chars long"));
                }
                if let Some(most) = limits.length.most.filter(|it| length > *it) {
                    self.errors.push(at.too_long(most));
                }
                if let Some((source, pattern)) = &limits.pattern
                    && !pattern.is_match(text)
                {
                    self.refuse(at, value, &format!("should match '{source}'"));
                }
                if !format::fits(&limits.format, text) {
                    let wanted = &limits.format;
                    let why = format!("{at} in body must be of type {wanted}: {}", text.as_str().shown());
                    self.errors.push(at.type_invalid(Shown(value), why));
                }
            }
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                match limits.minimum {
                    Some((least, true)) if number <= least => {
                        self.refuse(at, value, &format!("should be greater than {least}"));
                    }
                    Some((least, false)) if number < least => {
                        self.refuse(at, value, &format!("should be greater than or equal to {least}"));
                    }
                    _ => {}
                }
                match limits.maximum {
                    Some((most, true)) if number >= most => {
                        self.refuse(at, value, &format!("should be less than {most}"));
                    }
                    Some((most, false)) if number > most => {
                        self.refuse(at, value, &format!("should be less than or equal to {most}"));
                    }
                    _ => {}
                }
                if let Some(of) = limits.multiple_of {
                    let times = number / of;
                    if (times - times.round()).abs() > 1e-9 {
                        self.refuse(at, value, &format!("should be a multiple of {of}"));
                    }
                }
                if !format::fits_number(&limits.format, value) {
                    let wanted = &limits.format;
                    let why = format!("{at} in body must be of type {wanted}: \"{value}\"");
                    self.errors.push(at.type_invalid(Shown(value), why));
                }
            }
            Value::Array(items) => {
                let count = items.len();
                if let Some(least) = limits.items.least.filter(|it| count < *it) {
                    self.refuse(at, &count.into(), &format!("should have at least {least} items"));
                }
                if let Some(most) = limits.items.most.filter(|it| count > *it) {
                    self.errors.push(at.too_many(count, most));
                }
                let mut seen = HashSet::new();
                if limits.unique && !items.iter().all(|item| seen.insert(item.to_string())) {
                    self.refuse(at, value, "shouldn't contain duplicates");
                }
            }
            Value::Object(fields) => {
                let count = fields.len();
                if let Some(least) = limits.properties.least.filter(|it| count < *it) {
                    self.refuse(at, &count.into(), &format!("should have at least {least} properties"));
                }
                if let Some(most) = limits.properties.most.filter(|it| count > *it) {
                    self.errors.push(at.too_many(count, most));
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn refuse(&mut self, at: &Path<'_>, value: &Value, why: &str) {
        self.errors.push(at.invalid(Shown(value), format!("{at} in body {why}")));
    }

    fn combinations(&mut self, schema: &Schema, value: &Value, at: &Path<'_>, depth: usize) {
        let errors_of = |schema: &Schema| {
            let mut check = Self { errors: Vec::new() };
            check.value(schema, value, None, at, depth + 1);
            check.errors
        };
        let mut failed = |errors: Vec<FieldError>, why: &str| {
            self.errors.extend(errors);
            self.errors.push(Path::TOP.invalid("", format!("\"{at}\" must {why}")));
        };
        let all: Vec<FieldError> = schema.all_of.iter().flat_map(errors_of).collect();
        if !all.is_empty() {
            failed(all, "validate all the schemas (allOf)");
        }
        let outcomes: Vec<Vec<FieldError>> = schema.any_of.iter().map(errors_of).collect();
        if !outcomes.is_empty() && !outcomes.iter().any(Vec::is_empty) {
            failed(least(outcomes), "validate at least one schema (anyOf)");
        }
        let outcomes: Vec<Vec<FieldError>> = schema.one_of.iter().map(errors_of).collect();
        if !outcomes.is_empty() {
            match outcomes.iter().filter(|it| it.is_empty()).count() {
                0 => failed(least(outcomes), "validate one and only one schema (oneOf). Found none valid"),
                1 => {}
                valid => failed(
                    Vec::new(),
                    &format!("validate one and only one schema (oneOf). Found {valid} valid alternatives"),
                ),
            }
        }
        if schema.not.as_deref().is_some_and(|it| errors_of(it).is_empty()) {
            failed(Vec::new(), "not validate the schema (not)");
        }
    }

    fn lists(&mut self, schema: &Schema, value: &Value, at: &Path<'_>, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        match value {
            Value::Array(items) => {
                let mut seen = HashSet::new();
                for (index, item) in items.iter().enumerate() {
                    let here = at.index(index);
                    match &schema.list {
                        ListType::Atomic => {}
                        ListType::Set => {
                            if !seen.insert(item.to_string()) {
                                self.errors.push(here.duplicate(Shown(item)));
                            }
                        }
                        ListType::Map(keys) => {
                            let key = item_key(keys, item);
                            if !seen.insert(key.to_string()) {
                                self.errors.push(here.duplicate(Shown(&key)));
                            }
                        }
                    }
                    if let Some(schema) = &schema.items {
                        self.lists(schema, item, &here, depth + 1);
                    }
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    if let Some(schema) = schema.field(name) {
                        self.lists(schema, value, &at.child(name), depth + 1);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The fields that tell an item of a list apart.
pub fn item_key(keys: &[String], item: &Value) -> Value {
    keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect::<serde_json::Map<_, _>>().into()
}

/// The old item that an item of a list stands for: in a list that is a map the one with the same keys. Items of other
/// lists cannot be told apart.
pub fn counterpart<'a>(list: &ListType, old: Option<&'a Value>, item: &Value) -> Option<&'a Value> {
    let ListType::Map(keys) = list else { return None };
    let wanted = item_key(keys, item);
    old?.as_array()?.iter().find(|it| item_key(keys, it) == wanted)
}

/// A JSON value in an error.
pub struct Shown<'a>(pub &'a Value);

impl BadValue for Shown<'_> {
    fn shown(&self) -> String {
        match self.0 {
            Value::String(text) => text.as_str().shown(),
            Value::Null => "null".shown(),
            other => other.to_string(),
        }
    }
}

fn least(outcomes: Vec<Vec<FieldError>>) -> Vec<FieldError> {
    outcomes.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

/// Numbers are equal by what they are worth.
fn equal(a: &Value, b: &Value) -> bool {
    a == b || matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a.total_cmp(&b).is_eq())
}

/// The types that were wanted, if the value is of none of them.
fn wrong_type(schema: &Schema, value: &Value) -> Option<&'static str> {
    if schema.int_or_string {
        let fits = value.is_string() || is_whole(value);
        return (!fits).then_some("integer,string");
    }
    let kind = schema.kind?;
    let fits = match kind {
        Kind::Object => value.is_object(),
        Kind::Array => value.is_array(),
        Kind::String => value.is_string(),
        Kind::Integer => is_whole(value),
        Kind::Number => value.is_number(),
        Kind::Boolean => value.is_boolean(),
    };
    (!fits).then_some(kind.as_str())
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|it| it.fract() == 0.0 && it.abs() < 1e15)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(it) if it.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
