//! What webhooks and policies are asked about: a write on its way, and its form as an `AdmissionReview`. Pure.

use serde_json::{Map, Value, json};

use crate::kinds::{Backing, Resource};
use crate::options::{DeleteOptions, Propagation, WriteOptions};
use crate::route::Target;

/// What is being done, in the words of rules and reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// POST of an object, of a binding or of an eviction.
    Create,
    /// PUT and PATCH.
    Update,
    /// DELETE.
    Delete,
}

impl Operation {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// The options that came with a write.
#[derive(Clone, Copy, Debug)]
pub enum Options<'a> {
    /// Of a creation or an update.
    Write(&'a WriteOptions),
    /// Of a removal, and the grace period that was found for a pod.
    Delete(&'a DeleteOptions, Option<i64>),
}

/// A write as webhooks are told of it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What it is for.
    pub target: &'a Target,
    /// What is being done.
    pub operation: Operation,
    /// The object; empty while a name is still to be generated, and for each object of a removed collection.
    pub name: &'a str,
    /// What came with it.
    pub options: Options<'a>,
    /// What stands in the store, in its stored form: the object, or what of it the path shows.
    pub old: Option<&'a Value>,
}

/// Group, version and one more word: a kind or a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Version within the group.
    pub version: &'a str,
    /// `Pod` or `pods`.
    pub word: &'a str,
}

impl Named<'_> {
    fn tree(self, field: &str) -> Value {
        json!({"group": self.group, "version": self.version, field: self.word})
    }
}

/// A request as expressions see it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The object as it would be; null for a removal.
    pub object: Value,
    /// The object as it is; null for a creation.
    pub old: Value,
    /// What is asked, without the objects.
    pub request: Value,
}

impl<'a> Request<'a> {
    /// The path below the object; empty for the object itself.
    pub fn subresource(&self) -> &'a str {
        self.target.subresource.map_or("", |it| it.name)
    }

    /// The kind of the object that is sent, in the version of `resource`: the path's own where it takes another.
    pub fn kind(&self, resource: &'a Resource) -> Named<'a> {
        match self.target.subresource.and_then(|it| it.body) {
            Some(body) => Named { group: body.group, version: body.version, word: body.kind },
            None => Named { group: resource.group, version: resource.version, word: resource.kind },
        }
    }

    /// The namespace; a namespace is in itself.
    pub fn namespace(&self) -> &'a str {
        if self.is_namespace() { self.name } else { &self.target.namespace }
    }

    /// Whether this is about a namespace (or a path below one).
    pub fn is_namespace(&self) -> bool {
        let resource = self.target.resource;
        resource.group.is_empty() && resource.plural == "namespaces"
    }

    /// Whether nothing will be stored.
    pub fn dry_run(&self) -> bool {
        match self.options {
            Options::Write(options) => options.dry_run,
            Options::Delete(options, _) => options.dry_run,
        }
    }

    /// `request` of an `AdmissionReview`, in the version of `seen` where a rule named another than was asked for.
    pub fn review(&self, uid: &str, seen: &'a Resource, object: Option<&Value>) -> Value {
        let asked = self.target.resource;
        let (kind, subresource) = (self.kind(seen), self.subresource());
        let mut review = json!({
            "uid": uid,
            "kind": kind.tree("kind"),
            "resource": resource(seen).tree("resource"),
            "requestKind": self.kind(asked).tree("kind"),
            "requestResource": resource(asked).tree("resource"),
            "operation": self.operation.as_str(),
            "userInfo": {"username": USER, "groups": GROUPS},
            "object": object.map(|object| self.in_version(seen, object)),
            "oldObject": self.old.map(|object| self.in_version(seen, object)),
            "dryRun": self.dry_run(),
            "options": self.operation_options(),
        });
        let texts = [
            ("subResource", subresource),
            ("requestSubResource", subresource),
            ("name", self.name),
            ("namespace", self.namespace()),
        ];
        for (field, text) in texts {
            if !text.is_empty() {
                review[field] = text.into();
            }
        }
        review
    }

    /// What conditions and policies are evaluated on.
    pub fn facts(&self, seen: &'a Resource, object: Option<&Value>) -> Facts {
        let mut request = self.review("", seen, object);
        let mut take = |field: &str| request.as_object_mut().and_then(|asked| asked.remove(field)).unwrap_or_default();
        let (object, old, _) = (take("object"), take("oldObject"), take("uid"));
        Facts { object, old, request }
    }

    /// An object in the form of a version of its resource.
    pub fn in_version(&self, seen: &Resource, object: &Value) -> Value {
        match seen.backing {
            Backing::View { from_stored, .. } if self.target.subresource.is_none_or(|it| it.body.is_none()) => {
                from_stored.of(object.clone())
            }
            _ => object.clone(),
        }
    }

    fn operation_options(&self) -> Value {
        let mut options = Map::new();
        let kind = match self.operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
        };
        options.insert("kind".to_owned(), kind.into());
        options.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
        match self.options {
            Options::Write(given) => {
                if !given.field_manager.is_empty() {
                    options.insert("fieldManager".to_owned(), given.field_manager.as_str().into());
                }
                if let Some(validation) = given.asked_validation {
                    options.insert("fieldValidation".to_owned(), validation.as_str().into());
                }
            }
            Options::Delete(given, grace) => {
                if let Some(seconds) = grace.or(given.grace_period) {
                    options.insert("gracePeriodSeconds".to_owned(), seconds.into());
                }
                let mut preconditions = Map::new();
                for (field, value) in [("uid", &given.uid), ("resourceVersion", &given.resource_version)] {
                    if let Some(value) = value {
                        preconditions.insert(field.to_owned(), value.as_str().into());
                    }
                }
                if !preconditions.is_empty() {
                    options.insert("preconditions".to_owned(), preconditions.into());
                }
                let policy = given.propagation.map(|it| match it {
                    Propagation::Background => "Background",
                    Propagation::Foreground => "Foreground",
                    Propagation::Orphan => "Orphan",
                });
                if let Some(policy) = policy {
                    options.insert("propagationPolicy".to_owned(), policy.into());
                }
            }
        }
        if self.dry_run() {
            options.insert("dryRun".to_owned(), json!(["All"]));
        }
        options.into()
    }
}

/// Who writes: there is one identity, that of the token.
const USER: &str = "supple";

/// The groups of the one identity: it may do everything.
const GROUPS: [&str; 2] = ["system:masters", "system:authenticated"];

fn resource(of: &Resource) -> Named<'_> {
    Named { group: of.group, version: of.version, word: of.plural }
}
