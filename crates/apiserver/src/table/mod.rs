//! Answers in other forms than the object itself: `as=Table` (what `kubectl get` prints) and `as=PartialObjectMetadata`.

pub mod admission;
mod age;
mod column;
mod negotiate;
pub mod plain;
mod pod_row;
pub mod printers;
pub mod workloads;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use age::human_duration;
pub(crate) use age::since;
pub use column::{Column, Description};
pub use negotiate::{Form, negotiate};

use crate::kinds::Resource;

/// How a resource is printed.
#[derive(Debug)]
pub struct Printer {
    /// The columns.
    pub columns: &'static [Column],
    /// The cells of one object (in the form of the resource's version), one a column, at this moment.
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
    /// What is said about the row as a whole, such as that the pod has ended.
    pub condition: Option<fn(&Value) -> Option<Value>>,
}

/// What comes along with each row (`includeObject=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata. The default.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// The value of the query parameter; empty is the default.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// A table of `objects`. `metadata` is the list's (`resourceVersion`, `continue`, …), `{}` for a single object;
/// `columns` is false for all but the first event of a watch, as the reference sends them once.
pub fn table<'a>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: Value,
    include: Include,
    columns: bool,
    now: Timestamp,
) -> Value {
    let printer = resource.printer;
    let custom = resource.custom().map(|it| &it.columns);
    let cells = |object: &Value| match custom {
        Some(custom) => custom.cells(object, now),
        None => Value::Array((printer.cells)(object, now)),
    };
    let rows: Vec<Value> = objects.into_iter().map(|object| row(printer, object, cells(object), include)).collect();
    let columns = match (columns, custom) {
        (false, _) => Value::Null,
        (true, Some(custom)) => custom.definitions(),
        (true, None) => printer.columns.iter().map(Column::definition).collect(),
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn row(printer: &Printer, object: &Value, cells: Value, include: Include) -> Value {
    let mut row = Map::new();
    row.insert("cells".to_owned(), cells);
    if let Some(condition) = printer.condition.and_then(|of| of(object)) {
        row.insert("conditions".to_owned(), Value::Array(vec![condition]));
    }
    let included = match include {
        Include::None => Value::Null,
        Include::Metadata => partial_metadata(object),
        Include::Object => object.clone(),
    };
    row.insert("object".to_owned(), included);
    Value::Object(row)
}

/// The metadata of an object alone, as a `PartialObjectMetadata`.
pub fn partial_metadata(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}
