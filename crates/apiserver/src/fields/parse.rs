//! JSON and YAML into values, noticing fields that appear twice, with the wording of Go's JSON decoder for what is not
//! JSON (clients and tests look for those words).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::MAX_FINDINGS;
use super::path::Path;

/// A body that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// The value; the last of duplicate fields counts.
    pub value: Value,
    /// A finding for each field that appears twice: `duplicate field "spec.containers[0].name"`.
    pub duplicates: Vec<String>,
}

/// A body that is not JSON or YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(pub String);

/// Reads JSON. Nesting beyond 128 is refused (the reference stops at 10,000; no object of the API nests deeper than 30),
/// so that recursion over a value never runs out of stack.
///
/// # Errors
/// [`SyntaxError`] in the words of Go's decoder: `unexpected end of JSON input`, `invalid character 'x' …`.
pub fn parse_json(body: &[u8]) -> Result<Parsed, SyntaxError> {
    let mut findings = Findings::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Node { path: &Path::Root, findings: &mut findings }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| SyntaxError(describe(body, &error)))?;
    Ok(Parsed { value, duplicates: findings.0 })
}

/// Reads YAML (one document).
///
/// # Errors
/// [`SyntaxError`] with the parser's sentence.
pub fn parse_yaml(body: &[u8]) -> Result<Parsed, SyntaxError> {
    let text = std::str::from_utf8(body).map_err(|_| SyntaxError("yaml: the body is not UTF-8".to_owned()))?;
    let value = serde_saphyr::from_str(text).map_err(|error| SyntaxError(format!("yaml: {error}")))?;
    Ok(Parsed { value, duplicates: Vec::new() })
}

#[derive(Default)]
struct Findings(Vec<String>);

struct Node<'a> {
    path: &'a Path<'a>,
    findings: &'a mut Findings,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(Value::Number(it.into()))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(Value::Number(it.into()))
    }

    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        Ok(Number::from_f64(it).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(Value::String(it.to_owned()))
    }

    fn visit_string<E>(self, it: String) -> Result<Value, E> {
        Ok(Value::String(it))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = Path::Index(self.path, items.len());
            let Some(item) = seq.next_element_seed(Node { path: &path, findings: self.findings })? else { break };
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = Path::Field(self.path, &key);
            let value = map.next_value_seed(Node { path: &path, findings: self.findings })?;
            if object.contains_key(&key) && self.findings.0.len() < MAX_FINDINGS {
                let finding = format!("duplicate field \"{path}\"");
                if !self.findings.0.contains(&finding) {
                    self.findings.0.push(finding);
                }
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// Go's words for what serde_json found.
fn describe(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let said = error.to_string();
    if said.starts_with("recursion limit exceeded") {
        return "exceeded max depth".to_owned();
    }
    let context = [
        ("key must be a string", "looking for beginning of object key string"),
        ("expected `:`", "after object key"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("trailing characters", "after top-level value"),
        ("trailing comma", "looking for beginning of value"),
        ("invalid escape", "in string escape code"),
        ("control character", "in string literal"),
        ("invalid number", "in numeric literal"),
        ("expected ident", "in literal"),
    ]
    .into_iter()
    .find_map(|(ours, theirs)| said.starts_with(ours).then_some(theirs))
    .unwrap_or("looking for beginning of value");
    match character_at(body, error.line(), error.column()) {
        Some(character) => format!("invalid character {character:?} {context}"),
        None => format!("invalid JSON {context}"),
    }
}

/// The character that serde_json's position (both counted from one, in bytes) points at.
fn character_at(body: &[u8], line: usize, column: usize) -> Option<char> {
    let line = body.split(|byte| *byte == b'\n').nth(line.checked_sub(1)?)?;
    let rest = line.get(column.saturating_sub(1)..).filter(|it| !it.is_empty())?;
    String::from_utf8_lossy(rest).chars().next()
}
