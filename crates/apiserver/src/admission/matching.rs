//! Which requests rules and selectors are about: one way for webhooks and for policies.

use k8s_openapi::api::admissionregistration::v1::NamedRuleWithOperations;
use serde::Deserialize;
use serde_json::Value;

use super::request::{Operation, Request};
use crate::errors::{ApiError, Subject};
use crate::kinds::{Resource, Rows};
use crate::selector::{LabelSelector, SelectorError};
use crate::store::{Key, Store};

/// Rules, any of which may be about a request. In JSON, a list of them.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Rules(Vec<NamedRuleWithOperations>);

impl Rules {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The version of the resource in which rules of this kind want to see the request, if they are about it: the
    /// request's own if a rule names it, else (unless `exact`) the first that a rule names of those in which the same
    /// objects are served.
    pub fn wants<'a>(&self, request: &Request<'a>, rows: &Rows, exact: bool) -> Option<&'a Resource> {
        let own: &Resource = request.target.resource;
        if self.0.iter().any(|rule| matches(rule, request, own)) {
            return Some(own);
        }
        if exact {
            return None;
        }
        self.0.iter().find_map(|rule| others(request, rows).find(|other| matches(rule, request, other)))
    }
}

/// The other versions in which the objects of a request are served.
fn others<'r>(request: &Request<'r>, rows: &'r Rows) -> impl Iterator<Item = &'static Resource> + use<'r> {
    let own: &Resource = request.target.resource;
    let subresource = request.subresource();
    rows.iter().filter(move |other| {
        other.backing.collection().is_some()
            && other.backing.collection() == own.backing.collection()
            && (other.group, other.version) != (own.group, own.version)
            && (subresource.is_empty() || other.subresource(subresource).is_some())
    })
}

fn matches(rule: &NamedRuleWithOperations, request: &Request<'_>, resource: &Resource) -> bool {
    let names = rule.resource_names.as_deref().unwrap_or_default();
    scope(rule, request)
        && operation(rule, request.operation)
        && any_of(rule.api_groups.as_deref(), resource.group)
        && any_of(rule.api_versions.as_deref(), resource.version)
        && (names.is_empty() || names.iter().any(|name| name == request.name))
        && rule.resources.iter().flatten().any(|named| {
            // `pods` is only the pods themselves, `pods/*` is them and every path below, `*` is every resource itself.
            let (plural, subresource) = named.split_once('/').unwrap_or((named, ""));
            (plural == "*" || plural == resource.plural) && (subresource == "*" || subresource == request.subresource())
        })
}

fn scope(rule: &NamedRuleWithOperations, request: &Request<'_>) -> bool {
    let in_namespace = !request.is_namespace() && !request.namespace().is_empty();
    match rule.scope.as_deref() {
        None | Some("*") => true,
        Some("Namespaced") => in_namespace,
        Some("Cluster") => !in_namespace,
        Some(_) => false,
    }
}

fn operation(rule: &NamedRuleWithOperations, operation: Operation) -> bool {
    any_of(rule.operations.as_deref(), operation.as_str())
}

fn any_of(named: Option<&[String]>, word: &str) -> bool {
    named.unwrap_or_default().iter().any(|it| it == "*" || it == word)
}

/// What labels a request's object and its namespace must have.
#[derive(Debug)]
pub struct Selection {
    namespaces: LabelSelector,
    objects: LabelSelector,
}

impl Selection {
    /// From `namespaceSelector` and `objectSelector`.
    ///
    /// # Errors
    /// [`SelectorError`] for a selector that is none.
    pub fn of(namespaces: &Value, objects: &Value) -> Result<Self, SelectorError> {
        Ok(Self { namespaces: LabelSelector::of(namespaces)?, objects: LabelSelector::of(objects)? })
    }

    /// Whether the request is among those selected: by its namespace, and by its object before or after.
    ///
    /// # Errors
    /// 404 for a namespace that is not there.
    pub fn covers(&self, store: &Store, request: &Request<'_>, object: Option<&Value>) -> Result<bool, ApiError> {
        if !self.namespaces.is_empty() && !self.in_namespace(store, request, object)? {
            return Ok(false);
        }
        let selected = |object: Option<&Value>| object.is_some_and(|object| self.objects.matches(object));
        Ok(self.objects.is_empty() || selected(object) || selected(request.old))
    }

    fn in_namespace(&self, store: &Store, request: &Request<'_>, object: Option<&Value>) -> Result<bool, ApiError> {
        // The labels of a namespace that is being written are those it will have.
        if let Some(object) = object.filter(|_| request.is_namespace() && request.subresource().is_empty()) {
            return Ok(self.namespaces.matches(object));
        }
        let name = request.namespace();
        if name.is_empty() {
            return Ok(true);
        }
        let absent = || ApiError::not_found(Subject { name, group: "", kind: "namespaces" });
        let namespace = store.latest(&Key::new("namespaces", "", name)).ok_or_else(absent)?;
        Ok(self.namespaces.matches(&namespace.outline()))
    }
}
