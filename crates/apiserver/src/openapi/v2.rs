//! The OpenAPI v2 document: a whole one that describes nothing. Before it creates a `kind: List`, every kubectl up to 1.36
//! downloads it to validate the items itself; about a kind that the document does not know it has nothing to say, and the
//! server validates each item when it arrives. Refused the document, kubectl refuses the list.

use serde_json::{Value, json};

use super::{TITLE, VERSION};

/// What an `Accept` header names when it wants the protobuf form (no client we know wants the other).
pub const REQUESTED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The content type of the protobuf form. It differs from what is asked for by a dot, since `@` is no part of a media
/// type.
pub const CONTENT_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The document as JSON.
pub fn json() -> Value {
    json!({"swagger": "2.0", "info": {"title": TITLE, "version": VERSION}, "paths": {}, "definitions": {}})
}

/// The document as `openapi.v2.Document`: `swagger` is field 1, `info` 2 (`title` 1, `version` 2), `paths` 8.
pub fn protobuf() -> Vec<u8> {
    let info = [field(1, TITLE.as_bytes()), field(2, VERSION.as_bytes())].concat();
    [field(1, b"2.0"), field(2, &info), field(8, &[])].concat()
}

/// A field of bytes. Numbers and lengths here are below 16 and 128 and so take one byte each.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("the document's texts are short");
    let mut field = vec![number << 3 | 2, length];
    field.extend_from_slice(content);
    field
}
