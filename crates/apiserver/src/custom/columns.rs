//! What `kubectl get` shows of custom resources: the columns of the definition, or the age.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::jsonpath::JsonPath;
use crate::table::printers::{AGE_OF_CUSTOM, NAME};
use crate::table::since;
use crate::tree::{items, text};

/// The columns of one version, after the name.
#[derive(Debug)]
pub struct Columns(Vec<Column>);

#[derive(Debug)]
struct Column {
    definition: Value,
    kind: String,
    path: JsonPath,
}

impl Columns {
    /// The `additionalPrinterColumns` of a version; without any, the age.
    pub fn read(version: &Value) -> Self {
        let given = items(version, "additionalPrinterColumns");
        if given.is_empty() {
            let path = JsonPath::parse(".metadata.creationTimestamp").ok();
            let age = path.map(|path| Column { definition: AGE_OF_CUSTOM.definition(), kind: "date".to_owned(), path });
            return Self(age.into_iter().collect());
        }
        Self(given.iter().filter_map(Column::read).collect())
    }

    /// `columnDefinitions`.
    pub fn definitions(&self) -> Value {
        std::iter::once(NAME.definition()).chain(self.0.iter().map(|it| it.definition.clone())).collect()
    }

    /// The cells of one object at this moment.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Value {
        let name = Value::from(text(object, "metadata.name"));
        std::iter::once(name).chain(self.0.iter().map(|it| it.cell(object, now))).collect()
    }
}

impl Column {
    fn read(source: &Value) -> Option<Self> {
        let path = text(source, "jsonPath");
        let description = match text(source, "description") {
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            given => given.to_owned(),
        };
        let definition = json!({
            "name": text(source, "name"),
            "type": text(source, "type"),
            "format": text(source, "format"),
            "description": description,
            "priority": source.get("priority").and_then(Value::as_i64).unwrap_or(0),
        });
        Some(Self { definition, kind: text(source, "type").to_owned(), path: JsonPath::parse(path).ok()? })
    }

    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(value) = self.path.first(object).filter(|it| !it.is_null()) else { return Value::Null };
        match self.kind.as_str() {
            "integer" => value.as_i64().or_else(|| whole(value)).map_or(Value::Null, Value::from),
            "number" if value.is_number() => value.clone(),
            "boolean" if value.is_boolean() => value.clone(),
            "date" => value.as_str().map_or(Value::Null, |it| since(it, now).into()),
            "string" => value.as_str().map_or_else(|| value.to_string(), str::to_owned).into(),
            _ => Value::Null,
        }
    }
}

fn whole(value: &Value) -> Option<i64> {
    let number = value.as_f64().filter(|it| it.is_finite() && it.abs() < 9e15)?;
    format!("{:.0}", number.trunc()).parse().ok()
}
