//! Defaulting, preparation and validation of the kinds that are not pods: functions over the JSON of an object.

pub mod event;

use serde_json::Value;

use super::FieldError;

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
    /// What is wrong with a new object.
    pub validate_create: fn(&Value) -> Vec<FieldError>,
    /// What is wrong with an update (new, stored).
    pub validate_update: fn(&Value, &Value) -> Vec<FieldError>,
    /// What is wrong with an update of `status` (new, stored).
    pub validate_status: fn(&Value, &Value) -> Vec<FieldError>,
}

/// A kind without rules of its own.
pub static PLAIN: Rules = PLAIN_RULES;

const PLAIN_RULES: Rules = Rules {
    default: |_| {},
    prepare_create: |_| {},
    prepare_update: |_, _| {},
    prepare_status: |_, _| {},
    validate_create: |_| Vec::new(),
    validate_update: |_, _| Vec::new(),
    validate_status: |_, _| Vec::new(),
};
macro_rules! empty { ($($name:ident)*) => { $(
/// x
pub static $name: Rules = PLAIN_RULES;
)* } }
empty!(CONFIG_MAP EVENT LIMIT_RANGE NAMESPACE NODE RESOURCE_QUOTA SECRET LEASE PRIORITY_CLASS);
