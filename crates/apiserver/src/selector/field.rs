//! Field selectors: `metadata.name=a,status.phase!=Running`; which fields there are is in the table of resources.

use serde_json::Value;

use super::SelectorError;
use crate::kinds::{Resource, Selectable};
use crate::tree::at;

/// What every resource offers.
const METADATA_NAME: Selectable = Selectable { label: "metadata.name", path: "metadata.name", absent: "" };

/// What every resource in a namespace offers.
const METADATA_NAMESPACE: Selectable =
    Selectable { label: "metadata.namespace", path: "metadata.namespace", absent: "" };

/// A conjunction of conditions on fields; empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    path: &'static str,
    absent: &'static str,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Reads the query parameter `fieldSelector` for a resource.
    ///
    /// # Errors
    /// [`SelectorError`] for what is no selector and for a field the resource does not offer.
    pub fn parse(text: &str, resource: &Resource) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in split(text).filter(|it| !it.is_empty()) {
            let Some((label, equal, value)) = term(part) else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            let value = unescape(value)?;
            let field = selectable(resource, label).ok_or_else(|| not_offered(resource, label))?;
            terms.push(Term { path: field.path, absent: field.absent, equal, value });
        }
        Ok(Self { terms })
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one name that can match, if the selector asks for one: a watch on one object need look at no other.
    pub fn name(&self) -> Option<&str> {
        self.terms.iter().find(|it| it.equal && it.path == METADATA_NAME.path).map(|it| it.value.as_str())
    }

    /// Whether an object, in its *stored* form, matches.
    pub fn matches(&self, stored: &Value) -> bool {
        self.terms.iter().all(|term| {
            let equal = match at(stored, term.path) {
                Value::Null => term.absent == term.value,
                Value::String(text) => *text == term.value,
                Value::Bool(it) => (if *it { "true" } else { "false" }) == term.value,
                Value::Number(number) => number.to_string() == term.value,
                Value::Array(_) | Value::Object(_) => false,
            };
            equal == term.equal
        })
    }
}

fn selectable(resource: &Resource, label: &str) -> Option<Selectable> {
    if label == METADATA_NAME.label {
        return Some(METADATA_NAME);
    }
    // The reference offers it for cluster-scoped kinds too, unless they have a list of their own; it matches no namespace.
    if label == METADATA_NAMESPACE.label && (resource.namespaced() || resource.selectable.is_empty()) {
        return Some(METADATA_NAMESPACE);
    }
    resource.selectable.iter().find(|it| it.label == label).copied()
}

/// The two sentences of the reference: kinds with fields of their own have one, all others another.
fn not_offered(resource: &Resource, label: &str) -> SelectorError {
    SelectorError(if resource.selectable.is_empty() {
        format!("{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {label}")
    })
}

/// The parts between commas; a comma after a backslash belongs to a value.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |character| {
        let ends = character == ',' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    })
}

/// Label, whether equality is asked for, and the raw value.
fn term(part: &str) -> Option<(&str, bool, &str)> {
    part.char_indices().find_map(|(index, _)| {
        let (label, rest) = part.split_at(index);
        [("!=", false), ("==", true), ("=", true)]
            .into_iter()
            .find_map(|(operator, equal)| rest.strip_prefix(operator).map(|value| (label, equal, value)))
    })
}

/// `\\`, `\,` and `\=` stand for the character; nothing else may be escaped, and a bare `,` or `=` may not stand alone.
fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => {
                    return Err(SelectorError(format!("invalid field selector: invalid escape sequence: \\{other}")));
                }
                None => return Err(SelectorError("invalid field selector: invalid escape sequence: \\".to_owned())),
            },
            '=' => {
                // The reference prints the code point.
                let code = u32::from(character);
                return Err(SelectorError(format!("invalid field selector: unescaped character in value: {code}")));
            }
            other => plain.push(other),
        }
    }
    Ok(plain)
}
