//! JSON patch (RFC 6902), with the reference's limits: at most [`MAX_OPERATIONS`] operations, and
//! copies may not make the object grow without end.

use json_patch::PatchOperation;
use serde::Deserialize;
use serde_json::Value;

use super::{MAX_OPERATIONS, PatchError};

/// What all `copy` operations of a patch together may add, in bytes of JSON: as much as a request body may have.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// Applies the operations one after the other; on an error `object` is changed in part and is to be thrown away.
pub(super) fn apply(object: &mut Value, operations: &[Value]) -> Result<(), PatchError> {
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations(operations.len()));
    }
    let mut copied = 0_usize;
    for operation in operations {
        if !operation.is_object() {
            return Err(PatchError::BadRequest(
                "json: cannot unmarshal a value that is no object into Go value of type jsonpatch.Operation".to_owned(),
            ));
        }
        let operation = PatchOperation::deserialize(operation).map_err(unprocessable)?;
        if let PatchOperation::Copy(copy) = &operation
            && let Ok(source) = copy.from.resolve(object)
        {
            copied = copied.saturating_add(source.to_string().len());
            if copied > MAX_COPIED {
                return Err(unprocessable(format!(
                    "the copies of the patch add {copied} bytes; the limit is {MAX_COPIED}"
                )));
            }
        }
        // "Unsafe" only in that it does not undo on an error; undoing would cost a copy of the object an operation.
        json_patch::patch_unsafe(object, std::slice::from_ref(&operation)).map_err(unprocessable)?;
    }
    Ok(())
}

fn unprocessable(why: impl std::fmt::Display) -> PatchError {
    PatchError::Unprocessable { why: why.to_string() }
}
