//! What the server serves, in the two forms clients ask for: the plain lists of each group and the aggregated documents
//! (`apidiscovery.k8s.io/v2`) that kubectl asks for first. Both are made from the table of resources.

use serde_json::{Value, json};

/// Content type of the aggregated documents; clients look at it to know that they were understood.
pub const AGGREGATED_CONTENT_TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// `GET /api`. `address` is where the server listens, `HOST:PORT`.
pub fn api_versions(address: &str) -> Value {
    json!({"address": address})
}

/// `GET /apis`.
pub fn group_list() -> Value {
    json!({})
}

/// `GET /apis/{group}`.
pub fn group(name: &str) -> Option<Value> {
    let _ = name;
    None
}

/// `GET /api/{version}` (`group` empty) and `GET /apis/{group}/{version}`.
pub fn resource_list(group: &str, version: &str) -> Option<Value> {
    let _ = (group, version);
    None
}

/// `GET /api`, aggregated.
pub fn aggregated_core() -> Value {
    json!({})
}

/// `GET /apis`, aggregated.
pub fn aggregated_groups() -> Value {
    json!({})
}

/// `GET /version`.
pub fn version() -> Value {
    json!({})
}
