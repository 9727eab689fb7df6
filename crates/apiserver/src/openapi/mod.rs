//! The OpenAPI v3 documents: an index, and one document a group and version, made from the table of resources and the
//! [types](crate::schema). kubectl explains kinds from them and learns from them that the server validates fields itself
//! (a PATCH of the kind with a `fieldValidation` parameter), so that it need not validate by [`v2`] documents.

mod custom;
mod paths;
mod schemas;
pub mod v2;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::kinds::{Resource, Rows, TABLE};

/// What documents say they describe.
const TITLE: &str = "Kubernetes";
/// Of which version.
const VERSION: &str = "v1.36.2";

/// A document, ready to be sent.
#[derive(Debug)]
pub struct Document {
    /// The JSON.
    pub body: Bytes,
    /// A hash of it; the index names it, and the answer carries it as `ETag`.
    pub hash: String,
}

/// The documents of a set of rows.
#[derive(Debug)]
pub struct Documents {
    /// Of groups that definitions add to.
    custom: BTreeMap<String, Document>,
}

impl Documents {
    /// The documents of these rows. Those of the table alone are made once for the process.
    pub fn of(rows: &Rows) -> Self {
        let paths: BTreeSet<String> = rows.custom().iter().map(|it| prefix(it)).collect();
        let of = |path: &String| make(&rows.iter().filter(|it| prefix(it) == *path).collect::<Vec<_>>());
        Self { custom: paths.iter().map(|path| (path.clone(), of(path))).collect() }
    }

    /// `GET /openapi/v3`.
    pub fn index(&self) -> Value {
        let own = built_in().iter().filter(|(path, _)| !self.custom.contains_key(*path));
        let paths: Map<String, Value> = own
            .chain(&self.custom)
            .map(|(path, document)| {
                let url = format!("/openapi/v3/{path}?hash={}", document.hash);
                (path.clone(), json!({"serverRelativeURL": url}))
            })
            .collect();
        json!({"paths": paths})
    }

    /// `GET /openapi/v3/{path}`, where `path` is `api/v1` or `apis/{group}/{version}`.
    pub fn get(&self, path: &str) -> Option<&Document> {
        self.custom.get(path).or_else(|| built_in().get(path))
    }
}

/// The documents of the table, made at the first request for any: a server that only kube clients talk to never makes
/// them.
fn built_in() -> &'static BTreeMap<String, Document> {
    static DOCUMENTS: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
        let mut groups: BTreeMap<String, Vec<&'static Resource>> = BTreeMap::new();
        for resource in TABLE {
            groups.entry(prefix(resource)).or_default().push(resource);
        }
        groups.into_iter().map(|(path, resources)| (path, make(&resources))).collect()
    });
    &DOCUMENTS
}

/// `api/v1`, `apis/{group}/{version}`: where the paths of a resource begin.
fn prefix(resource: &Resource) -> String {
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", resource.api_version())
}

fn make(resources: &[&'static Resource]) -> Document {
    let mut paths = Map::new();
    for resource in resources {
        paths::add(&mut paths, resource);
    }
    let document = json!({
        "openapi": "3.0.0",
        "info": {"title": TITLE, "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas::of(resources)},
    });
    let body = document.to_string();
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    Document { hash: format!("{:016X}", hasher.finish()), body: Bytes::from(body) }
}

/// Group, version and kind as documents mark operations and types with them.
fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}
