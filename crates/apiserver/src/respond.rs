//! From stored objects to answers: the form a client asks for, copied from the stored bytes wherever that form is the
//! stored one.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::fields::warning_header;
use crate::kinds::{Backing, Resource};
use crate::skew;
use crate::store::Object;
use crate::table::{self, Form, Include};

/// What ends a list.
const LIST_TAIL: &[u8] = b"]}";

/// Bytes of a long list that are written at once.
const PIECE: usize = 256 << 10;

/// An object in the form of a resource's version.
pub fn shown(resource: &Resource, object: &Object) -> Value {
    match resource.backing {
        Backing::View { from_stored, .. } => from_stored.of(object.value()),
        Backing::Stored(_) | Backing::Metrics | Backing::Asked => object.value(),
    }
}

/// [`shown`] as JSON.
pub fn shown_json(resource: &Resource, object: &Object) -> Bytes {
    match resource.backing {
        Backing::View { .. } => Bytes::from(shown(resource, object).to_string()),
        Backing::Stored(_) | Backing::Metrics | Backing::Asked => object.json(),
    }
}

/// How an answer is to be given.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Its form.
    pub form: Form,
    /// What comes along with each row of a table.
    pub include: Include,
    /// For ages in tables.
    pub now: Timestamp,
    /// An editor that is too old for some fields: its minor version.
    pub old_editor: Option<u32>,
}

impl Wanted {
    /// One object.
    pub fn object(&self, resource: &Resource, object: &Object) -> Bytes {
        match self.form {
            Form::Table => {
                self.table(resource, &[shown(resource, object)], list_metadata(object.revision, "", None), true)
            }
            Form::PartialMetadata => partial(object),
            Form::Plain | Form::AggregatedDiscovery => match self.old_editor {
                Some(minor) => {
                    let mut object = shown(resource, object);
                    skew::hide(resource, &mut object, minor);
                    Bytes::from(object.to_string())
                }
                None => shown_json(resource, object),
            },
        }
    }

    /// One object that is not stored.
    pub fn value(&self, resource: &Resource, value: &Value) -> Bytes {
        match self.form {
            Form::Table => {
                let revision = value.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
                self.table(resource, std::slice::from_ref(value), json!({"resourceVersion": revision}), true)
            }
            Form::PartialMetadata => table::partial_metadata(value).to_string().into(),
            Form::Plain | Form::AggregatedDiscovery => value.to_string().into(),
        }
    }

    /// Objects as a table; without its columns where a watch has sent them before.
    pub fn table(&self, resource: &Resource, objects: &[Value], metadata: Value, columns: bool) -> Bytes {
        table::table(resource, objects, metadata, self.include, columns, self.now).to_string().into()
    }

    /// A list.
    pub fn list<'a>(
        &self,
        resource: &Resource,
        objects: impl Iterator<Item = &'a Object> + Clone,
        metadata: Value,
    ) -> Bytes {
        match self.form {
            Form::Table => {
                let values: Vec<Value> = objects.map(|object| shown(resource, object)).collect();
                self.table(resource, &values, metadata, true)
            }
            Form::PartialMetadata => {
                let items = objects.map(|object| partial(object).to_vec());
                list("PartialObjectMetadataList", "meta.k8s.io/v1", &metadata, items)
            }
            Form::Plain | Form::AggregatedDiscovery => {
                let items = objects.map(|object| match resource.backing {
                    Backing::View { .. } => shown_json(resource, object).to_vec(),
                    Backing::Stored(_) | Backing::Metrics | Backing::Asked => {
                        let mut item = b"{".to_vec();
                        object.members_to(&mut item);
                        item
                    }
                });
                list(resource.list_kind, &resource.api_version(), &metadata, items)
            }
        }
    }

    /// A list of objects that are not stored.
    pub fn values(&self, resource: &Resource, objects: &[Value], metadata: Value) -> Bytes {
        match self.form {
            Form::Table => self.table(resource, objects, metadata, true),
            Form::PartialMetadata => {
                let items = objects.iter().map(|object| table::partial_metadata(object).to_string().into_bytes());
                list("PartialObjectMetadataList", "meta.k8s.io/v1", &metadata, items)
            }
            Form::Plain | Form::AggregatedDiscovery => {
                let items = objects.iter().map(|object| object.to_string().into_bytes());
                list(resource.list_kind, &resource.api_version(), &metadata, items)
            }
        }
    }
}

fn partial(object: &Object) -> Bytes {
    let head: &[u8] = b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":";
    [head, &object.metadata(), b"}"].concat().into()
}

/// Everything before the first item.
fn list_head(kind: &str, api_version: &str, metadata: &Value) -> Vec<u8> {
    let (kind, api_version) = (json!(kind), json!(api_version));
    format!("{{\"kind\":{kind},\"apiVersion\":{api_version},\"metadata\":{metadata},\"items\":[").into_bytes()
}

fn list(kind: &str, api_version: &str, metadata: &Value, items: impl Iterator<Item = Vec<u8>>) -> Bytes {
    let mut out = list_head(kind, api_version, metadata);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&item);
    }
    out.extend_from_slice(LIST_TAIL);
    out.into()
}

/// A list of objects in the form in which they are stored, copied as it is sent: ten thousand pods in one piece would be as
/// large as everything else in the program.
pub fn stored_list(resource: &Resource, objects: Vec<Arc<Object>>, metadata: &Value) -> Response {
    let head = list_head(resource.list_kind, &resource.api_version(), metadata);
    let commas = objects.len().saturating_sub(1);
    let items: usize = objects.iter().map(|object| object.members_length() + 1).sum();
    let length = head.len() + items + commas + LIST_TAIL.len();
    let begin = (head, objects.into_iter(), false);
    let pieces = stream::unfold(Some(begin), |rest| async {
        let (mut piece, mut objects, mut follows) = rest?;
        while piece.len() < PIECE {
            let Some(object) = objects.next() else {
                piece.extend_from_slice(LIST_TAIL);
                return Some((Ok::<_, Infallible>(Bytes::from(piece)), None));
            };
            if std::mem::replace(&mut follows, true) {
                piece.push(b',');
            }
            piece.push(b'{');
            object.members_to(&mut piece);
        }
        Some((Ok(Bytes::from(piece)), Some((Vec::with_capacity(PIECE), objects, follows))))
    });
    let mut response = json(StatusCode::OK, Body::from_stream(pieces));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// `metadata` of a list.
pub fn list_metadata(revision: u64, continue_token: &str, remaining: Option<usize>) -> Value {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), revision.to_string().into());
    if !continue_token.is_empty() {
        metadata.insert("continue".to_owned(), continue_token.into());
        if let Some(remaining) = remaining {
            metadata.insert("remainingItemCount".to_owned(), remaining.into());
        }
    }
    Value::Object(metadata)
}

/// An answer with a JSON body.
pub fn json(code: StatusCode, body: impl Into<Body>) -> Response {
    typed(code, body, HeaderValue::from_static("application/json"))
}

/// An answer with a body of some type.
pub fn typed(code: StatusCode, body: impl Into<Body>, content_type: HeaderValue) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Adds `Warning` headers.
#[must_use]
pub fn warned(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        // A finding names a field of the client's; what no header can carry is left out rather than failing a write
        // that took place.
        if let Ok(value) = HeaderValue::from_str(&warning_header(warning)) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

/// `metav1.Status` of a success.
pub fn success(details: Option<Value>) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if let Some(details) = details {
        status["details"] = details;
    }
    status
}
