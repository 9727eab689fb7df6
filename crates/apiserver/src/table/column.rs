//! Columns and what they say about themselves. Most describe a field of the object, in the words of the field's own
//! schema; those words are looked up, not repeated.

use serde_json::{Value, json};

use crate::schema::types;
use crate::tree::at;

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its title.
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the column that names the object, else empty.
    pub format: &'static str,
    /// What it says.
    pub description: Description,
    /// 0: always shown; more: only in wide output.
    pub priority: u8,
}

/// What a column says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Description {
    /// In these words.
    Words(&'static str),
    /// What the schema says of a field: the type (without `io.k8s.`) and the field.
    Field(&'static str, &'static str),
}

impl Column {
    /// A column of text that describes a field.
    pub const fn of(name: &'static str, type_name: &'static str, field: &'static str) -> Self {
        Self { name, kind: "string", format: "", description: Description::Field(type_name, field), priority: 0 }
    }

    /// A column of text in its own words.
    pub const fn saying(name: &'static str, words: &'static str) -> Self {
        Self { name, kind: "string", format: "", description: Description::Words(words), priority: 0 }
    }

    /// The same column, shown in wide output only.
    pub const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }

    /// The same column, holding another kind of value.
    pub const fn holding(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    /// The same column, in this format.
    pub const fn formatted(self, format: &'static str) -> Self {
        Self { format, ..self }
    }

    /// The column as a table's `columnDefinitions` have it.
    pub fn definition(&self) -> Value {
        let Self { name, kind, format, description, priority } = self;
        let description = match description {
            Description::Words(words) => Value::from(*words),
            Description::Field(type_name, field) => {
                let schema = types().definition(&format!("io.k8s.{type_name}")).unwrap_or_default();
                at(&schema, "properties").get(*field).and_then(|it| it.get("description")).cloned().unwrap_or("".into())
            }
        };
        json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority})
    }
}
