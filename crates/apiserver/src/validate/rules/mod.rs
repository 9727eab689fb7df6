//! Defaulting, preparation and validation of the kinds that are not pods: functions over the JSON of an object, which has
//! been [normalised](crate::fields) before. Sentences and order are those of Kubernetes v1.36.2.

mod amounts;
pub mod autoscaler;
mod batch;
mod budget;
mod cluster;
mod data;
pub mod event;
pub mod plain;
mod pod_template;
pub mod policy;
mod replicated;
mod schedule;
pub mod webhook;
pub mod workloads;

use serde_json::Value;
use supple_resize::field::Path;

use super::FieldError;
use crate::custom::definition;
use crate::metadata::fields;
use crate::tree::{at, number};

/// The functions of a kind. They are called after the generic handling of metadata.
#[derive(Debug)]
pub struct Rules {
    /// Fills in what is left out; on creation and on update.
    pub default: fn(&mut Value),
    /// Before a creation: drops what a client may not set, such as `status`.
    pub prepare_create: fn(&mut Value),
    /// Before an update of the object (new, stored): keeps what this path may not touch.
    pub prepare_update: fn(&mut Value, &Value),
    /// Before an update of `status` (new, stored): keeps all but the status.
    pub prepare_status: fn(&mut Value, &Value),
    /// Whose change a new `metadata.generation` tells: dotted paths. None: objects of the kind have no generation.
    pub generation: &'static [&'static str],
    /// What is wrong with a new object.
    pub validate_create: fn(&Value) -> Vec<FieldError>,
    /// What is wrong with an update (new, stored).
    pub validate_update: fn(&Value, &Value) -> Vec<FieldError>,
    /// What is wrong with an update of `status` (new, stored).
    pub validate_status: fn(&Value, &Value) -> Vec<FieldError>,
}

impl Rules {
    /// Gives a new object its first generation, if its kind has any.
    pub fn first_generation(&self, object: &mut Value) {
        if !self.generation.is_empty() {
            object["metadata"]["generation"] = 1.into();
        }
    }

    /// Counts a change on.
    pub fn next_generation(&self, new: &mut Value, old: &Value) {
        if self.generation.iter().any(|path| differs(new, old, path)) {
            new["metadata"]["generation"] = (number(old, "metadata.generation") + 1).into();
        }
    }
}

const NONE: Rules = Rules {
    default: |_| {},
    prepare_create: |_| {},
    prepare_update: |_, _| {},
    prepare_status: |new, old| keep(new, old, "spec"),
    generation: &[],
    validate_create: |_| Vec::new(),
    validate_update: |_, _| Vec::new(),
    validate_status: |_, _| Vec::new(),
};

/// A kind without rules of its own.
pub static PLAIN: Rules = NONE;

/// Config maps.
pub static CONFIG_MAP: Rules = Rules {
    validate_create: data::config_map,
    validate_update: |new, old| data::frozen(new, old, data::config_map),
    ..NONE
};

/// Secrets.
pub static SECRET: Rules = Rules {
    default: data::default_secret,
    validate_create: data::secret,
    validate_update: data::secret_update,
    ..NONE
};

/// Events, of either version.
pub static EVENT: Rules = Rules { validate_create: event::create, ..NONE };

/// Limit ranges.
pub static LIMIT_RANGE: Rules = Rules {
    default: amounts::default_limit_range,
    validate_create: amounts::limit_range,
    validate_update: |new, _| amounts::limit_range(new),
    ..NONE
};

/// Resource quotas. Their status is written by a controller.
pub static RESOURCE_QUOTA: Rules = Rules {
    prepare_create: |new| drop_status(new),
    prepare_update: |new, old| keep(new, old, "status"),
    validate_create: amounts::quota,
    validate_update: amounts::quota_update,
    validate_status: |new, _| amounts::quota_status(new),
    ..NONE
};

/// Namespaces.
pub static NAMESPACE: Rules = Rules {
    default: cluster::default_namespace,
    prepare_create: cluster::open_namespace,
    prepare_update: |new, old| {
        keep(new, old, "status");
        keep(new, old, "spec");
    },
    validate_status: |new, _| cluster::namespace_status(new),
    ..NONE
};

/// Nodes. A node comes with its status when it registers.
pub static NODE: Rules = Rules {
    default: cluster::default_node,
    prepare_update: |new, old| keep(new, old, "status"),
    validate_create: cluster::node,
    validate_update: cluster::node_update,
    validate_status: |new, _| cluster::node(new),
    ..NONE
};

/// Leases.
pub static LEASE: Rules =
    Rules { validate_create: cluster::lease, validate_update: |new, _| cluster::lease(new), ..NONE };

/// Priority classes.
pub static PRIORITY_CLASS: Rules = Rules {
    default: cluster::default_priority_class,
    prepare_create: |new| new["metadata"]["generation"] = 1.into(),
    validate_create: cluster::priority_class,
    validate_update: cluster::priority_class_update,
    ..NONE
};

/// Definitions of custom resources.
pub static CUSTOM_RESOURCE_DEFINITION: Rules = Rules {
    generation: &["spec"],
    default: definition::default,
    prepare_create: definition::prepare_create,
    prepare_update: definition::prepare_update,
    validate_create: definition::create,
    validate_update: definition::update,
    validate_status: definition::status,
    ..NONE
};

/// Puts a field back to what is stored.
fn keep(new: &mut Value, old: &Value, field: &str) {
    let Some(fields) = new.as_object_mut() else { return };
    match old.get(field) {
        Some(stored) => {
            fields.insert(field.to_owned(), stored.clone());
        }
        None => {
            fields.remove(field);
        }
    }
}

fn drop_status(new: &mut Value) {
    if let Some(fields) = new.as_object_mut() {
        fields.remove("status");
    }
}

/// Fills in a field that is absent or empty text: Go's plain text has no absence.
fn fill(object: &mut Value, field: &str, value: impl Into<Value>) {
    let place = fields(object).entry(field).or_insert(Value::Null);
    if place.is_null() || *place == "" {
        *place = value.into();
    }
}

/// The object in a field, made where it is absent.
fn within<'a>(object: &'a mut Value, field: &str) -> &'a mut Value {
    let place = fields(object).entry(field).or_insert(Value::Null);
    fields(place);
    place
}

/// Fills in a status: these counts are written also where they are zero.
fn count_from_zero(object: &mut Value, counts: &[&str]) {
    let status = within(object, "status");
    counts.iter().for_each(|it| fill(status, it, 0));
}

/// The status of an object that nobody has looked at yet.
fn new_status(object: &mut Value, counts: &[&str]) {
    drop_status(object);
    count_from_zero(object, counts);
}

/// The items of a list that may be absent.
fn each<'a>(object: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Whether the values at a dotted path differ.
fn differs(a: &Value, b: &Value, path: &str) -> bool {
    at(a, path) != at(b, path)
}

/// A number that may not be below zero.
fn nonnegative(object: &Value, field: &str, path: &Path<'_>) -> Option<FieldError> {
    let number = object.get(field)?.as_i64().filter(|it| *it < 0)?;
    Some(path.child(field).invalid(number, "must be greater than or equal to 0"))
}
