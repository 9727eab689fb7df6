//! What stands between a valid pod and the store: limit ranges, quotas, the node it is on. In this order (reference §3.1).

pub mod limit_range;
pub mod node;
pub mod objects;
pub mod quota;

/// A refusal: HTTP 403.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denial {
    /// Why, without the `pods "x" is forbidden: ` before it.
    pub message: String,
    /// Reasons of the `causes` in the `Status` (`NodeCapacity`, `UnsupportedPlatform`); most denials have none.
    pub causes: Vec<String>,
}

impl Denial {
    fn because(message: String) -> Self {
        Self { message, causes: Vec::new() }
    }
}
