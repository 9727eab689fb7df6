//! What the three kinds of patch do to an object: JSON patch (RFC 6902), JSON merge patch (RFC 7396) and strategic merge
//! patch (driven by the [types](crate::schema)), with the reference's limits, codes and texts. Server-side apply is
//! recognised and left to the caller.
//!
//! ```text
//! bytes ─▶ parse (duplicates) ─▶ merge into the stored object ─▶ normalise (unknown fields, wrong types) ─▶ Patched
//! ```

mod json;
mod order;
mod print;
pub mod strategic;

use serde_json::Value;

use crate::fields::{Decoder, FieldValidation, Parsed, json_word, parse_json, strict_error};
use crate::kinds::Resource;
use print::go_print;

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
    /// `application/apply-patch+yaml`; JSON is YAML, and may be named so.
    Apply,
}

impl PatchType {
    /// The patch of this `Content-Type`; parameters after `;` do not matter. `None` is a 415.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().map(str::trim) {
            Some("application/json-patch+json") => Some(Self::Json),
            Some("application/merge-patch+json") => Some(Self::Merge),
            Some("application/strategic-merge-patch+json") => Some(Self::Strategic),
            Some("application/apply-patch+yaml" | "application/apply-patch+json") => Some(Self::Apply),
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
    #[error(
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    )]
    Unsupported,
    /// 500: the patch contradicts itself in a way the reference reports as its own failure.
    #[error("{0}")]
    Internal(String),
}

/// Applies `body` to `current` (an object in the resource's own form) and makes the outcome an object of the resource's
/// type again.
///
/// # Errors
/// [`PatchError`]; its variants say which status they are.
pub fn apply(
    patch_type: PatchType,
    resource: &Resource,
    current: &Value,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Patched, PatchError> {
    if resource.shape().is_none() || (resource.custom().is_some() && patch_type == PatchType::Strategic) {
        return Err(PatchError::Unsupported);
    }
    let (patch, duplicates) = Patch::read(patch_type, body, validation)?;
    let decoder = if matches!(patch, Patch::Strategic(_)) { Decoder::Tree } else { Decoder::Text };
    let outcome = patch.outcome(current, resource)?;
    if !outcome.is_object() {
        return Err(PatchError::BadRequest("the patch does not leave an object".to_owned()));
    }
    let invalid = |detail: String| PatchError::Invalid { value: patch.shown(current, resource), detail };
    let normalised = resource.normalise(outcome, decoder).map_err(|error| invalid(error.to_string()))?;
    let mut findings = duplicates;
    findings.extend(normalised.unknown);
    let warnings = match validation {
        FieldValidation::Strict if !findings.is_empty() => return Err(invalid(strict_error(&findings))),
        FieldValidation::Warn => findings,
        FieldValidation::Strict | FieldValidation::Ignore => Vec::new(),
    };
    Ok(Patched { value: normalised.value, warnings })
}

/// A patch that was read.
enum Patch {
    Strategic(Value),
    Merge(Value),
    Json(Vec<Value>),
}

impl Patch {
    /// The patch, and a finding for each field that it has twice.
    fn read(
        patch_type: PatchType,
        body: &[u8],
        validation: FieldValidation,
    ) -> Result<(Self, Vec<String>), PatchError> {
        let Parsed { value, duplicates } = parse_json(body).map_err(|error| {
            let strict = validation != FieldValidation::Ignore && patch_type != PatchType::Strategic;
            PatchError::BadRequest(if strict { format!("error decoding patch: {error}") } else { error.to_string() })
        })?;
        Ok(match (patch_type, value) {
            (PatchType::Strategic, value @ Value::Object(_)) => (Self::Strategic(value), duplicates),
            (PatchType::Merge, value @ Value::Object(_)) => (Self::Merge(value), duplicates),
            (PatchType::Json, Value::Array(operations)) => {
                (Self::Json(operations), duplicates.into_iter().map(|it| format!("json patch {it}")).collect())
            }
            (PatchType::Json, other) => return Err(not_this("[]interface {}", &other)),
            (PatchType::Strategic | PatchType::Merge, other) => {
                return Err(not_this("map[string]interface {}", &other));
            }
            (PatchType::Apply, _) => return Err(PatchError::Unsupported),
        })
    }

    fn outcome(&self, current: &Value, resource: &Resource) -> Result<Value, PatchError> {
        match self {
            Self::Strategic(patch) => strategic_merge(current, patch, resource),
            Self::Merge(patch) => {
                let mut merged = current.clone();
                json_patch::merge(&mut merged, patch);
                Ok(merged)
            }
            Self::Json(operations) => {
                let mut patched = current.clone();
                json::apply(&mut patched, operations)?;
                Ok(patched)
            }
        }
    }

    /// What the text of a [`PatchError::Invalid`] shows: the patch of a strategic merge, the outcome of the others. It
    /// is made again here, since only errors are worth the copy.
    fn shown(&self, current: &Value, resource: &Resource) -> String {
        match self {
            Self::Strategic(patch) => go_print(patch),
            Self::Merge(_) | Self::Json(_) => {
                self.outcome(current, resource).map(|it| it.to_string()).unwrap_or_default()
            }
        }
    }
}

/// Carries out the operations of a JSON patch on `object`, which is changed in part where they fail.
///
/// # Errors
/// What went wrong.
pub fn operate(object: &mut Value, operations: &[Value]) -> Result<(), String> {
    json::apply(object, operations).map_err(|error| match error {
        PatchError::Unprocessable { why } => why,
        other => other.to_string(),
    })
}

/// Merges a strategic patch into a copy of `current`, without looking at the outcome.
///
/// # Errors
/// [`PatchError`] as [`apply`] gives it.
pub fn strategic_merge(current: &Value, patch: &Value, resource: &Resource) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else { return Err(not_this("map[string]interface {}", patch)) };
    let mut merged = current.as_object().cloned().unwrap_or_default();
    strategic::merge(&mut merged, patch, resource.shape())?;
    Ok(Value::Object(merged))
}

impl From<strategic::MergeError> for PatchError {
    fn from(error: strategic::MergeError) -> Self {
        use strategic::MergeError::{
            BadArgument, BadPrimitiveList, BadRetainKeys, ListOfLists, MergeList, MixedList, NoMergeKey, OrderMismatch,
            UnknownDirective,
        };
        let text = error.to_string();
        match error {
            BadPrimitiveList | BadRetainKeys => Self::BadRequest(text),
            ListOfLists => Self::Unprocessable { why: text },
            BadArgument { .. }
            | MergeList
            | MixedList(..)
            | NoMergeKey { .. }
            | OrderMismatch { .. }
            | UnknownDirective { .. } => Self::Internal(text),
        }
    }
}

fn not_this(wanted: &str, found: &Value) -> PatchError {
    let word = json_word(found);
    PatchError::BadRequest(format!("json: cannot unmarshal {word} into Go value of type {wanted}"))
}
