//! Manifests: files of YAML or JSON documents, created in the cluster or merged into what is there.

use std::path::{Path, PathBuf};

use kube::api::{DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{Discovery, Scope};
use kube::{Api, Client};
use serde_json::Value;

/// One object of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Where it stands: `FILE, document N`, counting documents that are not empty.
    pub place: String,
    /// The object as written.
    pub object: Value,
}

/// What became of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is new.
    Created,
    /// It was there and has been changed.
    Configured,
    /// It was there, as wanted.
    Unchanged,
}

/// Why a manifest could not be read or applied.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read manifest {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is not YAML (of which JSON is a part).
    #[error("{place} is not YAML: {message}")]
    Syntax {
        /// File and document.
        place: String,
        /// What the parser said, with line and column.
        message: String,
    },
    /// A field every object needs is missing or of the wrong kind.
    #[error("{place}: {field} is missing or not {expected}")]
    Field {
        /// File and document.
        place: String,
        /// The field's path.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The cluster has no such kind.
    #[error("{place}: the cluster has no kind {kind:?} in {api_version:?}")]
    Kind {
        /// File and document.
        place: String,
        /// `apiVersion`.
        api_version: String,
        /// `kind`.
        kind: String,
    },
    /// The API server refused it.
    #[error("{place}: {message}")]
    Refused {
        /// File and document.
        place: String,
        /// What it said; it names the field.
        message: String,
    },
}

/// Read a file of any number of documents; lists are taken apart, empty documents passed over. Nothing is applied
/// before every file has been read, so a syntax error changes nothing.
///
/// # Errors
/// [`ManifestError`] naming file, document and field.
pub fn read(path: &Path) -> Result<Vec<Manifest>, ManifestError> {
    let text = std::fs::read_to_string(path).map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
    parse(&path.display().to_string(), &text)
}

/// Read the text of a file called `name`.
///
/// # Errors
/// [`ManifestError`] naming file, document and field.
pub fn parse(name: &str, text: &str) -> Result<Vec<Manifest>, ManifestError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| ManifestError::Syntax { place: name.to_owned(), message: first_line(&error.to_string()) })?;
    let mut manifests = Vec::new();
    for (number, object) in (1..).zip(documents) {
        let place = format!("{name}, document {number}");
        let is_list = object.get("kind").and_then(Value::as_str).is_some_and(|it| it.ends_with("List"));
        match object.get("items").and_then(Value::as_array).filter(|_| is_list) {
            Some(items) => {
                for (index, item) in items.iter().enumerate() {
                    manifests.push(checked(format!("{place}, items[{index}]"), item.clone())?);
                }
            }
            None => manifests.push(checked(place, object)?),
        }
    }
    Ok(manifests)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches(':').to_owned()
}

fn checked(place: String, object: Value) -> Result<Manifest, ManifestError> {
    let missing = |field, expected| Err(ManifestError::Field { place: place.clone(), field, expected });
    if !object.is_object() {
        return missing("the document", "an object with apiVersion, kind and metadata");
    }
    for (field, pointer) in [("apiVersion", "/apiVersion"), ("kind", "/kind"), ("metadata.name", "/metadata/name")] {
        if object.pointer(pointer).and_then(Value::as_str).is_none_or(str::is_empty) {
            return missing(field, "a text that is not empty");
        }
    }
    Ok(Manifest { place, object })
}

/// Create or merge each manifest, in the order given.
///
/// An existing pod keeps its spec: nearly all of it cannot be changed, and its resources may have been resized since.
///
/// # Errors
/// The first [`ManifestError`]; what stood before it in the list has been applied.
pub async fn apply(client: &Client, manifests: &[Manifest]) -> Result<Vec<(String, Applied)>, ManifestError> {
    let refused = |place: &str, error: &kube::Error| ManifestError::Refused {
        place: place.to_owned(),
        message: match error {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        },
    };
    let Some(first) = manifests.first() else { return Ok(Vec::new()) };
    let discovery = Discovery::new(client.clone()).run().await.map_err(|error| refused(&first.place, &error))?;
    let mut done = Vec::new();
    for Manifest { place, object } in manifests {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let types = TypeMeta { api_version: api_version.clone(), kind: kind.clone() };
        let known = GroupVersionKind::try_from(types).ok().and_then(|it| discovery.resolve_gvk(&it));
        let Some((resource, capabilities)) = known else {
            return Err(ManifestError::Kind { place: place.clone(), api_version, kind });
        };
        let api = if capabilities.scope == Scope::Namespaced {
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default");
            Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource)
        } else {
            Api::<DynamicObject>::all_with(client.clone(), &resource)
        };
        let shown = format!("{}/{name}", kind.to_lowercase());
        let what = put(&api, &name, object, kind == "Pod").await.map_err(|error| refused(place, &error))?;
        done.push((shown, what));
    }
    Ok(done)
}

async fn put(api: &Api<DynamicObject>, name: &str, object: &Value, is_pod: bool) -> Result<Applied, kube::Error> {
    let Some(before) = api.get_opt(name).await? else {
        // Built by hand because `PostParams` cannot say fieldValidation, and a misspelt field must be an error.
        let request = http::Request::post(format!("{}?fieldValidation=Strict", api.resource_url()))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(object).map_err(kube::Error::SerdeError)?)
            .map_err(kube::Error::HttpError)?;
        api.clone().into_client().request::<DynamicObject>(request).await?;
        return Ok(Applied::Created);
    };
    let mut wanted = object.clone();
    if let Some(fields) = wanted.as_object_mut() {
        fields.remove("status");
        if is_pod {
            fields.remove("spec");
        }
    }
    let params = PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::default() };
    let after = api.patch(name, &params, &Patch::Merge(&wanted)).await?;
    let same = before.metadata.resource_version == after.metadata.resource_version;
    Ok(if same { Applied::Unchanged } else { Applied::Configured })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<&[&str], &str>) {
        match (parse("f.yaml", text), expect) {
            (Ok(got), Ok(places)) => {
                assert_eq!(got.iter().map(|it| it.place.as_str()).collect::<Vec<_>>(), places);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, expect) => panic!("{got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn files_are_taken_apart() {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";
        check("", Ok(&[]));
        check(pod, Ok(&["f.yaml, document 1"]));
        check(&format!("{pod}---\n---\n{pod}"), Ok(&["f.yaml, document 1", "f.yaml, document 2"]));
        check(
            r#"{"apiVersion": "v1", "kind": "List", "items": [
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}}]}"#,
            Ok(&["f.yaml, document 1, items[0]", "f.yaml, document 1, items[1]"]),
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("a: [", Err("f.yaml is not YAML"));
        check("just text", Err("f.yaml, document 1: the document is missing or not an object with apiVersion"));
        check("kind: Pod\nmetadata: {name: a}\n", Err("f.yaml, document 1: apiVersion is missing or not a text"));
        check("apiVersion: v1\nkind: Pod\nmetadata: {name: 7}\n", Err("f.yaml, document 1: metadata.name is missing"));
        check("apiVersion: v1\nkind: Pod\n---\n- 1\n", Err("f.yaml, document 1: metadata.name"));
    }

    #[test]
    fn an_absent_file_is_named() {
        let error = read(Path::new("/nonexistent/m.yaml")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read manifest /nonexistent/m.yaml: "), "{error}");
    }
}
