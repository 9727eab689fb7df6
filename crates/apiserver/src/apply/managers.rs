//! `metadata.managedFields`: who owns which fields, one entry for each manager, way of writing, API version and path.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::codec;
use super::set::FieldSet;

/// Most entries of operation `Update`; beyond it the oldest are merged.
pub(super) const MOST_UPDATERS: usize = 10;

/// The manager that entries are merged into.
const ANCIENT: &str = "ancient-changes";

/// How an entry came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// A server-side apply: the manager said what it wants to own.
    Apply,
    /// Any other write: the manager owns what it changed.
    Update,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who writes, as an entry names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer<'a> {
    /// `fieldManager` of the request, or what stands before the slash in its user agent.
    pub manager: &'a str,
    /// API version of the object that was sent.
    pub api_version: &'a str,
    /// The path below the object; empty for the object itself.
    pub subresource: &'a str,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub manager: String,
    /// How.
    pub operation: Operation,
    /// In which version's field names.
    pub api_version: String,
    /// The path below the object; empty for the object itself.
    pub subresource: String,
    /// When the entry last took or gave a field by its own writes; as the API writes times. Empty where nobody said.
    pub time: String,
    /// What.
    pub fields: FieldSet,
}

impl Entry {
    /// An entry of this writer.
    pub fn new(by: Writer<'_>, operation: Operation, time: &str, fields: FieldSet) -> Self {
        Self {
            manager: by.manager.to_owned(),
            operation,
            api_version: by.api_version.to_owned(),
            subresource: by.subresource.to_owned(),
            time: time.to_owned(),
            fields,
        }
    }

    /// Whether a write of this kind by this writer is written down here. An applier has one entry whatever the version.
    pub fn is_of(&self, by: Writer<'_>, operation: Operation) -> bool {
        self.operation == operation
            && self.manager == by.manager
            && self.subresource == by.subresource
            && (operation == Operation::Apply || self.api_version == by.api_version)
    }

    fn order(&self, other: &Self) -> Ordering {
        self.operation
            .cmp(&other.operation)
            .then_with(|| self.time.cmp(&other.time))
            .then_with(|| self.manager.cmp(&other.manager))
            .then_with(|| self.api_version.cmp(&other.api_version))
            .then_with(|| self.subresource.cmp(&other.subresource))
    }

    fn encode(&self) -> Value {
        let mut entry = Map::new();
        let texts = [
            ("manager", self.manager.as_str()),
            ("operation", self.operation.as_str()),
            ("apiVersion", &self.api_version),
            ("subresource", &self.subresource),
            ("time", &self.time),
        ];
        for (name, text) in texts {
            if !text.is_empty() {
                entry.insert(name.to_owned(), text.into());
            }
        }
        entry.insert("fieldsType".to_owned(), "FieldsV1".into());
        entry.insert("fieldsV1".to_owned(), codec::encode(&self.fields));
        Value::Object(entry)
    }

    fn decode(entry: &Value) -> Result<Self, String> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            other => return Err(format!("operation {other:?} is neither Apply nor Update")),
        };
        if text("fieldsType") != "FieldsV1" {
            return Err(format!("fieldsType {:?} is not FieldsV1", text("fieldsType")));
        }
        let fields = entry.get("fieldsV1").map(codec::decode).transpose().map_err(|error| error.to_string())?;
        Ok(Self {
            manager: text("manager").to_owned(),
            operation,
            api_version: text("apiVersion").to_owned(),
            subresource: text("subresource").to_owned(),
            time: text("time").to_owned(),
            fields: fields.unwrap_or_default(),
        })
    }
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers(pub Vec<Entry>);

impl Managers {
    /// Reads `metadata.managedFields`; absent is empty.
    ///
    /// # Errors
    /// A sentence on the first entry that cannot be read.
    pub fn decode(list: &Value) -> Result<Self, String> {
        let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
        entries.iter().map(Entry::decode).collect::<Result<_, _>>().map(Self)
    }

    /// `metadata.managedFields`, in the reference's order; null without entries. Empty entries are left out.
    pub fn encode(mut self) -> Value {
        self.0.retain(|entry| !entry.fields.is_empty());
        self.0.sort_by(Entry::order);
        if self.0.is_empty() { Value::Null } else { self.0.iter().map(Entry::encode).collect() }
    }

    /// The place of a writer's entry.
    pub fn find(&self, by: Writer<'_>, operation: Operation) -> Option<usize> {
        self.0.iter().position(|entry| entry.is_of(by, operation))
    }

    /// Merges the oldest updaters of each version where there are too many, so that an object that many write does not
    /// grow without end (apimachinery `capmanagers.go`).
    pub fn cap(&mut self) {
        let mut updaters: Vec<usize> =
            (0..self.0.len()).filter(|at| self.0[*at].operation == Operation::Update).collect();
        let Some(mut excess) = updaters.len().checked_sub(MOST_UPDATERS).filter(|excess| *excess > 0) else { return };
        updaters.sort_by(|a, b| {
            let (a, b) = (&self.0[*a], &self.0[*b]);
            a.time.cmp(&b.time).then_with(|| a.manager.cmp(&b.manager)).then_with(|| a.order(b))
        });
        let mut buckets: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        // The first of a version alone makes no entry fewer: it is only taken once there is a second.
        let mut firsts: Vec<usize> = Vec::new();
        for at in updaters {
            if excess == 0 {
                break;
            }
            let version = self.0[at].api_version.clone();
            let bucket = buckets.iter().position(|bucket| bucket.api_version == version);
            let first = firsts.iter().position(|first| self.0[*first].api_version == version);
            let bucket = match (bucket, first) {
                (Some(bucket), _) => bucket,
                (None, Some(first)) => {
                    let first = firsts.swap_remove(first);
                    merged.push(first);
                    let by = Writer { manager: ANCIENT, api_version: &version, subresource: "" };
                    let entry = &self.0[first];
                    buckets.push(Entry::new(by, Operation::Update, &entry.time, entry.fields.clone()));
                    buckets.len() - 1
                }
                (None, None) => {
                    firsts.push(at);
                    continue;
                }
            };
            buckets[bucket].fields.add(self.0[at].fields.clone());
            buckets[bucket].time.clone_from(&self.0[at].time);
            merged.push(at);
            excess -= 1;
        }
        let mut at = 0;
        self.0.retain(|_| {
            at += 1;
            !merged.contains(&(at - 1))
        });
        self.0.extend(buckets);
    }
}
