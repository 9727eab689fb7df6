//! The table of resources: what the server serves, one row a resource. Handlers, discovery, patches, tables and the
//! OpenAPI documents are all driven by it, so that a new kind is one entry in [`rows`](TABLE) and no new handler.
//!
//! ```text
//!              ┌─ discovery   plural, kind, short names, verbs, subresources
//!   Resource ──┼─ schema      the type's fields: decoding, unknown fields, merge keys, OpenAPI
//!              ├─ selectable  which fields a field selector may name
//!              ├─ strategy    defaulting, what an update may not touch, validation
//!              └─ printer     columns and cells of `kubectl get`
//! ```

mod access;
mod admission;
mod plain;
mod rows;
mod workloads;

use std::borrow::Cow;

use k8s_openapi::schemars::JsonSchema;
#[cfg(test)]
use k8s_openapi::schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use crate::custom::Custom;
use crate::fields::{self, Decoder, Normalised, TypeError};
use crate::schema::{ShapeId, types};
use crate::table::Printer;
use crate::validate::NameRule;
use crate::validate::rules::Rules;

pub use crate::custom::registry::Rows;
pub use rows::TABLE;
pub(crate) use workloads::SCALE_BODY;
pub use workloads::SCALES;

/// Whether objects of a resource live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `/namespaces/{namespace}/{plural}/{name}`.
    Namespaced,
    /// `/{plural}/{name}`.
    Cluster,
}

/// What may be done with a resource; the words discovery uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// POST.
    Create,
    /// DELETE of one object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
    /// GET of one object.
    Get,
    /// GET of a collection.
    List,
    /// PATCH.
    Patch,
    /// PUT.
    Update,
    /// GET of a collection with `watch=true`.
    Watch,
}

impl Verb {
    /// The verb as discovery and RBAC write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// A type of the API, by the name its schema is published under.
#[derive(Clone, Copy)]
pub struct TypeOf {
    /// Name of the definition, such as `io.k8s.api.core.v1.Pod`.
    pub name: fn() -> Cow<'static, str>,
    /// Derives the schema, registering everything it refers to: the program has it [from a file](crate::schema).
    #[cfg(test)]
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl TypeOf {
    /// The type `T`.
    pub const fn of<T: JsonSchema>() -> Self {
        Self {
            name: T::schema_name,
            #[cfg(test)]
            schema: |generator| generator.subschema_for::<T>(),
        }
    }

    /// The fields of the type.
    pub fn shape(self) -> Option<ShapeId> {
        types().named(&(self.name)())
    }
}

impl std::fmt::Debug for TypeOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&(self.name)())
    }
}

/// The body that a subresource takes where it is not the parent's kind.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version within the group.
    pub version: &'static str,
    /// `kind` of the body.
    pub kind: &'static str,
    /// Its fields.
    pub type_of: TypeOf,
}

/// What a path below an object does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubresourceKind {
    /// Writes only `status`.
    Status,
    /// Writes only the resources of a pod's containers (KEP-1287).
    Resize,
    /// Sets `spec.nodeName` of a pod once.
    Binding,
    /// Deletes a pod politely (`policy/v1` Eviction).
    Eviction,
    /// Reads a container's output.
    Log,
    /// Writes only the finalizers in a namespace's spec.
    Finalize,
    /// Reads and writes how many replicas there are to be (`autoscaling/v1` Scale).
    Scale(ScalePaths),
}

/// Where an object that can be scaled has what a Scale shows. Dotted paths from its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// How many replicas there are to be; a number.
    pub replicas: &'static str,
    /// How many there are; a number.
    pub status_replicas: &'static str,
    /// Which pods they are: a label selector, as an object or as text; `None` where the object does not say.
    pub selector: Option<&'static str>,
}

/// A path below an object, such as `pods/resize`.
#[derive(Clone, Copy, Debug)]
pub struct Subresource {
    /// What it does.
    pub what: SubresourceKind,
    /// Last segment of the path.
    pub name: &'static str,
    /// What may be done with it.
    pub verbs: &'static [Verb],
    /// The body it takes where that is not the parent's kind.
    pub body: Option<Body>,
}

/// Where the objects of a resource come from.
#[derive(Clone, Copy, Debug)]
pub enum Backing {
    /// Kept in the store under this collection name, in this resource's own form.
    Stored(&'static str),
    /// Kept in the store under this collection name, in another version's form.
    View {
        /// The collection.
        collection: &'static str,
        /// From this resource's form to the stored one.
        to_stored: Conversion,
        /// From the stored form to this resource's.
        from_stored: Conversion,
    },
    /// Made at each request from what the node measures.
    Metrics,
    /// Questions: whoever creates one gets it back with its answer, and nothing is kept.
    Asked,
}

/// How an object gets from one form into another.
#[derive(Clone, Copy, Debug)]
pub enum Conversion {
    /// By a function of its own.
    By(fn(Value) -> Value),
    /// Nothing differs but the `apiVersion`.
    ApiVersion(&'static str),
}

impl Conversion {
    /// The object in the other form.
    pub fn of(self, mut object: Value) -> Value {
        match self {
            Self::By(convert) => convert(object),
            Self::ApiVersion(version) => {
                if let Some(fields) = object.as_object_mut() {
                    fields.insert("apiVersion".to_owned(), version.into());
                }
                object
            }
        }
    }
}

impl Backing {
    /// The collection in the store; `None` for what is not stored.
    pub const fn collection(&self) -> Option<&'static str> {
        match self {
            Self::Stored(collection) | Self::View { collection, .. } => Some(collection),
            Self::Metrics | Self::Asked => None,
        }
    }
}

/// What happens to an object between decoding and storing.
#[derive(Clone, Copy, Debug)]
pub enum Strategy {
    /// Pods: `supple_resize::{defaults, strategy, validate}` and the admission of pods.
    Pod,
    /// Everything else: functions over the JSON of the object.
    Rules(&'static Rules),
    /// Objects of a definition: its schema.
    Custom(&'static Custom),
}

/// A field that a field selector may name.
#[derive(Clone, Copy, Debug)]
pub struct Selectable {
    /// The name in the selector, such as `spec.nodeName`.
    pub label: &'static str,
    /// Where the value is in the *stored* object: field names joined by dots.
    pub path: &'static str,
    /// What an absent value compares as (`"false"` for booleans, empty otherwise).
    pub absent: &'static str,
}

/// One row of the table.
#[derive(Debug)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version within the group.
    pub version: &'static str,
    /// Name in paths, such as `pods`.
    pub plural: &'static str,
    /// Name of one, such as `pod`.
    pub singular: &'static str,
    /// `kind` of an object.
    pub kind: &'static str,
    /// `kind` of a list.
    pub list_kind: &'static str,
    /// What people type.
    pub short_names: &'static [&'static str],
    /// Groups of resources (`kubectl get all`).
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub scope: Scope,
    /// What may be done.
    pub verbs: &'static [Verb],
    /// Paths below an object.
    pub subresources: &'static [Subresource],
    /// Where objects come from.
    pub backing: Backing,
    /// The type; `None` for what clients never send.
    pub type_of: Option<TypeOf>,
    /// What field selectors may name, besides `metadata.name` and `metadata.namespace`.
    pub selectable: &'static [Selectable],
    /// What `metadata.name` may be.
    pub name_rule: NameRule,
    /// Defaulting, preparation and validation.
    pub strategy: Strategy,
    /// Columns and cells.
    pub printer: &'static Printer,
    /// Whether a PUT or a server-side apply of an absent object creates it.
    pub create_on_update: bool,
    /// Whether a PUT without `resourceVersion` is accepted.
    pub unconditional_update: bool,
    /// Hash that clients compare to learn that the stored form changed; empty for what is not stored.
    pub storage_version_hash: &'static str,
}

impl Resource {
    /// `apiVersion` of an object: `v1`, `policy/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods`, `leases.coordination.k8s.io`: as error texts name a resource.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Pod`, `Lease.coordination.k8s.io`: as "is invalid" texts name a kind.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// Whether `verb` may be done with the resource itself.
    pub fn allows(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// The subresource of this name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|it| it.name == name)
    }

    /// Whether objects live in a namespace.
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The fields of the type, for decoding and merging; `None` for what clients never send.
    pub fn shape(&self) -> Option<ShapeId> {
        match self.strategy {
            Strategy::Custom(custom) => Some(custom.shape),
            Strategy::Pod | Strategy::Rules(_) => self.type_of.and_then(TypeOf::shape),
        }
    }

    /// What a definition says of the resource, if it comes from one.
    pub fn custom(&self) -> Option<&'static Custom> {
        match self.strategy {
            Strategy::Custom(custom) => Some(custom),
            Strategy::Pod | Strategy::Rules(_) => None,
        }
    }

    /// The name of its type in OpenAPI documents, if clients send it.
    pub fn type_name(&self) -> Option<Cow<'static, str>> {
        match self.strategy {
            Strategy::Custom(_) => Some(crate::custom::rows::type_name(self.group, self.version, self.kind).into()),
            Strategy::Pod | Strategy::Rules(_) => self.type_of.map(|it| (it.name)()),
        }
    }

    /// Makes `value` an object of the type.
    ///
    /// # Errors
    /// [`TypeError`] for a field whose value its type cannot hold.
    pub fn normalise(&self, mut value: Value, decoder: Decoder) -> Result<Normalised, TypeError> {
        match (self.custom(), self.shape()) {
            (Some(custom), _) => custom.prune(&mut value).map(|unknown| Normalised { value, unknown }),
            (None, Some(shape)) => fields::normalise(value, shape, decoder),
            (None, None) => Ok(Normalised { value, unknown: Vec::new() }),
        }
    }
}

/// The resource served at `/api/{version}/…` (`group` empty) or `/apis/{group}/{version}/…`.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    TABLE.iter().find(|it| it.plural == plural && it.group == group && it.version == version)
}

/// Whether resources of this group are the API server's own: not from a definition, and not of another server behind it.
pub fn is_built_in(group: &str) -> bool {
    TABLE.iter().any(|it| it.group == group && !matches!(it.backing, Backing::Metrics))
}

/// The resource whose objects have this `apiVersion` and `kind`.
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    TABLE.iter().find(|it| it.kind == kind && it.group == group && it.version == version)
}
