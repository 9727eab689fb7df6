//! What rules cost at most, as far as a schema says how much there can be: limits, sizes of values, prices of steps. The
//! numbers are those of apiextensions v1.36. What nothing is known of counts as cheap: what the reference takes is taken.

use std::collections::BTreeMap;

use serde_json::Value;

/// What one expression may cost, on all values together that it can be about (`StaticEstimatedCostLimit`).
pub const EXPRESSION_LIMIT: u64 = 10_000_000;

/// What all expressions of one schema may cost (`StaticEstimatedCRDCostLimit`).
pub const SCHEMA_LIMIT: u64 = 100_000_000;

/// Making a list.
pub const LIST: u64 = 10;

/// Making a map.
pub const MAP: u64 = 30;

/// Most bytes of an object, which bounds whatever has no bound of its own.
const REQUEST: u64 = 3 << 20;

/// Going through so many characters.
pub fn walk(size: u64) -> u64 {
    size.div_ceil(10)
}

/// Looking for a pattern of this size in a text of that size.
pub fn search(size: u64, pattern: u64) -> u64 {
    walk(size.saturating_add(1)).saturating_mul(pattern.div_ceil(4))
}

/// How often values of a schema can be in one object that has them below lists and maps without bound.
pub fn times(least: u64) -> u64 {
    REQUEST / (least + 1)
}

/// What is said of an expression that costs more than it may.
pub fn over(what: &str, cost: u64, limit: u64) -> String {
    // Ratios are for people; past a hundred the number says nothing.
    #[expect(clippy::cast_precision_loss, reason = "the reference's arithmetic")]
    let ratio = cost as f64 / limit as f64;
    let factor = match ratio {
        100.0.. => "more than 100".to_owned(),
        1.5.. => format!("{ratio:.1}"),
        _ => format!("{ratio:.6}"),
    };
    format!(
        "{what} exceeds budget by factor of {factor}x (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// Whether values of a schema have fields or entries.
pub fn has_fields(schema: &Value) -> bool {
    text(schema, "type") == "object"
}

/// How many values there can be below one of this schema; `None` where the schema does not bound it.
pub fn below(schema: &Value) -> Option<u64> {
    match text(schema, "type") {
        "array" => bound(schema, "maxItems"),
        "object" if schema.get("additionalProperties").is_some() => bound(schema, "maxProperties"),
        _ => Some(1),
    }
}

/// The sizes of the values of one definition's schemas, looked up once each.
#[derive(Default)]
pub struct Sizes(BTreeMap<*const Value, u64>);

impl Sizes {
    /// Most characters or items of a value of this schema; 0 for what has none.
    pub fn most(&mut self, schema: &Value) -> u64 {
        let whole = REQUEST - 2;
        let letters = |bytes_each: u64| bound(schema, "maxLength").map_or(whole, |it| it.saturating_mul(bytes_each));
        if is_int_or_string(schema) {
            return letters(4);
        }
        match (text(schema, "type"), text(schema, "format")) {
            ("array", _) => bound(schema, "maxItems")
                .unwrap_or_else(|| whole / (schema.get("items").map_or(0, |it| self.least(it)) + 1)),
            ("object", _) => match schema.get("additionalProperties").filter(|it| it.is_object()) {
                Some(of) => bound(schema, "maxProperties").unwrap_or_else(|| whole / (self.least(of) + 6)),
                None => 0,
            },
            ("string", "byte") => letters(1),
            ("string", "duration") => 32,
            ("string", "date") => 12,
            ("string", "date-time") => 37,
            ("string", _) => match schema.get("enum").and_then(Value::as_array) {
                Some(words) if schema.get("maxLength").is_none() => {
                    words.iter().filter_map(Value::as_str).map(|it| it.len() as u64).max().unwrap_or(0)
                }
                _ => letters(4),
            },
            _ => 0,
        }
    }

    /// Fewest bytes of a value of this schema as JSON.
    pub fn least(&mut self, schema: &Value) -> u64 {
        match (text(schema, "type"), text(schema, "format")) {
            ("object", _) if schema.get("additionalProperties").is_none() => {
                if let Some(known) = self.0.get(&std::ptr::from_ref(schema)) {
                    return *known;
                }
                let fields = schema.get("properties").and_then(Value::as_object);
                let needed = |name: &str| crate::tree::items(schema, "required").iter().any(|it| it == name);
                let mut sum = 2;
                for (name, field) in fields.into_iter().flatten() {
                    if field.get("default").is_none() && needed(name) {
                        sum += name.len() as u64 + self.least(field) + 4;
                    }
                }
                self.0.insert(schema, sum);
                sum
            }
            ("object" | "array", _) => 2,
            ("boolean", _) => 4,
            ("string", "duration") => 3,
            ("string", "date") => 12,
            ("string", "date-time") => 21,
            ("string", _) => 2,
            _ => 1,
        }
    }
}

fn text<'a>(schema: &'a Value, name: &str) -> &'a str {
    crate::tree::text(schema, name)
}

/// A limit of the schema; one below zero allows nothing.
fn bound(schema: &Value, name: &str) -> Option<u64> {
    let given = schema.get(name)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and no fraction is let in"
    )]
    let as_written = |number: f64| number as u64;
    given.as_u64().or_else(|| given.as_f64().map(as_written))
}

fn is_int_or_string(schema: &Value) -> bool {
    schema.get("x-kubernetes-int-or-string").and_then(Value::as_bool).unwrap_or_default()
}
