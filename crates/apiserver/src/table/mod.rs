//! Answers in other forms than the object itself: `as=Table` (what `kubectl get` prints) and `as=PartialObjectMetadata`.

mod negotiate;
pub mod printers;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use negotiate::{Form, negotiate};

use crate::kinds::Resource;

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
    pub description: &'static str,
    /// 0: always shown; more: only in wide output.
    pub priority: u8,
}

/// How a resource is printed.
#[derive(Debug)]
pub struct Printer {
    /// The columns.
    pub columns: &'static [Column],
    /// The cells of one object (in the form of the resource's version), one a column, at this moment.
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
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
    let _ = (resource, objects.into_iter().count(), include, columns, now);
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": [], "rows": []})
}

/// The metadata of an object alone, as a `PartialObjectMetadata`.
pub fn partial_metadata(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}
