//! Custom resources: what a `CustomResourceDefinition` makes of a row of the table of [kinds](crate::kinds), so that the
//! same handlers serve its objects as serve pods.
//!
//! ```text
//! definition ─▶ structural · typing · cost   is it one?                           422
//!            ─▶ naming                  are its names free? conditions
//!            ─▶ schema ─▶ rows ─▶ registry ─▶ route, discovery, openapi
//!                            │
//! object ──▶ prune ─▶ default ─▶ validate ─▶ rules (CEL)        shapes: ownership      columns: tables
//! ```
//!
//! Rows are kept for as long as the process lives, one for each definition that is different from all before: whatever
//! looks at a row may keep it, and there are few. A [`Registry`](registry::Registry) says which of them a server serves.

pub mod columns;
mod cost;
pub mod definition;
mod format;
pub mod jsonpath;
pub mod naming;
pub mod prune;
pub mod registry;
pub mod rows;
pub mod rules;
pub mod schema;
mod shapes;
pub mod structural;
mod typing;
pub mod validate;

use serde_json::Value;
use supple_resize::field::FieldError;

use crate::schema::ShapeId;
use columns::Columns;
use schema::Schema;

/// What a row of a custom resource has besides what every row has.
#[derive(Debug)]
pub struct Custom {
    /// `openAPIV3Schema` as it was written.
    pub source: Value,
    /// The same, read.
    pub schema: Schema,
    /// The same, for ownership.
    pub shape: ShapeId,
    /// What `kubectl get` shows.
    pub columns: Columns,
    /// Whether the status has a path of its own.
    pub has_status: bool,
    /// The definition is being deleted: nothing new is made.
    pub terminating: bool,
    /// What clients of this version are warned of.
    pub warning: Option<String>,
}

impl Custom {
    /// Removes what the schema does not name and puts `metadata` in order. A finding for each field that went.
    ///
    /// # Errors
    /// [`TypeError`](crate::fields::TypeError) for metadata that is none.
    pub fn prune(&self, object: &mut Value) -> Result<Vec<String>, crate::fields::TypeError> {
        let mut findings = prune::metadata(object)?;
        findings.extend(prune::prune(object, &self.schema));
        Ok(findings)
    }

    /// Fills in defaults.
    pub fn default(&self, object: &mut Value) {
        prune::default(object, &self.schema);
    }

    /// What is wrong with a new object, or with the change of an old one.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = validate::object(&self.schema, new, old);
        // Rules may rely on what the schema says.
        if errors.is_empty() {
            errors.extend(validate::lists(&self.schema, new));
        }
        if errors.is_empty() {
            errors.extend(rules::check(&self.schema, new, old));
        }
        errors
    }

    /// What a new object begins with.
    pub fn prepare_create(&self, object: &mut Value) {
        if self.has_status
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        object["metadata"]["generation"] = 1.into();
    }

    /// Keeps what an update of the object may not touch; another specification is another generation.
    pub fn prepare_update(&self, object: &mut Value, old: &Value) {
        if self.has_status {
            keep(object, old, "status");
        }
        let parts = |object: &Value| {
            let fields = object.as_object().into_iter().flatten();
            let parts = fields.filter(|(name, _)| !matches!(name.as_str(), "metadata" | "apiVersion"));
            parts.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>()
        };
        if parts(object) != parts(old) {
            let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            object["metadata"]["generation"] = (generation + 1).into();
        }
    }

    /// Of a write to the status, nothing else is taken.
    pub fn prepare_status(&self, object: &mut Value, old: &Value) {
        let status = object.get("status").cloned();
        let version = object.get("apiVersion").cloned().unwrap_or_default();
        let managed = object.pointer("/metadata/managedFields").cloned();
        *object = old.clone();
        object["apiVersion"] = version;
        if let Some(fields) = object.as_object_mut() {
            match status {
                Some(status) => fields.insert("status".to_owned(), status),
                None => fields.remove("status"),
            };
        }
        if let Some(managed) = managed {
            object["metadata"]["managedFields"] = managed;
        }
    }
}

fn keep(object: &mut Value, old: &Value, field: &str) {
    let Some(fields) = object.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => fields.insert(field.to_owned(), value.clone()),
        None => fields.remove(field),
    };
}
