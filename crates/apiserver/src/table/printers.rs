//! Columns and cells of the kinds.

use serde_json::Value;

use super::Printer;

macro_rules! empty { ($($name:ident)*) => { $(
/// x
pub static $name: Printer = Printer { columns: &[], cells: |_: &Value, _| Vec::new() };
)* } }
empty!(NAME_AND_AGE NAME_AND_CREATION CONFIG_MAPS EVENTS NAMESPACES NODES PODS RESOURCE_QUOTAS SECRETS LEASES PRIORITY_CLASSES NODE_METRICS POD_METRICS);
