//! Between decoding and storing: what a write may touch, defaulting, validation (422) and admission (403), in the
//! reference's order. One function for creations and one for everything else; what differs between kinds is in the
//! table ([`Strategy`]) and, for pods, in `supple_resize`.
//!
//! ```text
//! default ─▶ mutating admission ─▶ prepare (keep what this path may not touch) ─▶ validate ─▶ validating admission
//!                                                                                  422          403, charges
//! ```

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use supple_resize::field::{self, FieldError};
use supple_resize::{defaults, strategy as pod_strategy, validate as pod_validate};

use crate::admission;
use crate::errors::{ApiError, Subject};
use crate::kinds::{Resource, Strategy, SubresourceKind};
use crate::metadata::{self, subject};
use crate::route::Target;
use crate::store::{Object, Store, Write};
use crate::validate;

/// Which part of an object a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// The status.
    Status,
    /// The resources of a pod's containers.
    Resize,
    /// The node of a pod: made by the server itself from a `Binding`.
    Binding,
    /// The finalizers in a namespace's spec.
    Finalize,
}

impl Part {
    /// What a PUT or PATCH to this target is for.
    pub fn of(target: &Target) -> Self {
        match target.subresource.map(|it| it.what) {
            Some(SubresourceKind::Status) => Self::Status,
            Some(SubresourceKind::Resize) => Self::Resize,
            Some(SubresourceKind::Binding) => Self::Binding,
            Some(SubresourceKind::Finalize) => Self::Finalize,
            Some(SubresourceKind::Eviction | SubresourceKind::Log) | None => Self::Main,
        }
    }
}

/// An object as it is stored, with its tree.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The object.
    pub object: &'a Object,
    /// [`Object::value`] of it, parsed once for everybody who looks at it.
    pub value: &'a Value,
}

/// A write that may take place.
#[derive(Debug)]
pub struct Admitted {
    /// What is to be stored.
    pub object: Value,
    /// What must be stored with it or not at all: quotas that are charged.
    pub also: Vec<Write>,
}

impl Admitted {
    fn alone(object: Value) -> Self {
        Self { object, also: Vec::new() }
    }
}

/// An object with what its type fills in where nothing was said, before anybody looks at it. To be created, it is given
/// to [`create`] next.
///
/// # Errors
/// 400 for what is no object of the type.
pub fn defaulted(resource: &Resource, object: Value) -> Result<Value, ApiError> {
    match resource.strategy {
        Strategy::Pod => {
            let mut pod = typed(resource, object)?;
            defaults::apply(&mut pod);
            untyped(resource, &pod)
        }
        Strategy::Rules(rules) => {
            let mut object = object;
            (rules.default)(&mut object);
            Ok(object)
        }
    }
}

/// What a creation becomes. Names, UID and times have been filled in.
///
/// # Errors
/// 404 or 403 for the namespace, 422 for the object, 403 for what admission refuses.
pub fn create(store: &Store, target: &Target, object: Value) -> Result<Admitted, ApiError> {
    let resource = target.resource;
    admission::namespace_open(store, target, metadata::text(&object, "name"))?;
    match resource.strategy {
        Strategy::Pod => create_pod(store, target, object),
        Strategy::Rules(rules) => {
            let mut object = object;
            (rules.default)(&mut object);
            (rules.prepare_create)(&mut object);
            let mut errors = validate::metadata(resource, &object);
            errors.extend((rules.validate_create)(&object));
            refuse(resource, metadata::text(&object, "name"), &errors)?;
            Ok(Admitted::alone(object))
        }
    }
}

/// What an update becomes. Identity and revision have been checked.
///
/// # Errors
/// 422 for the object, 403 for what admission refuses.
pub fn update(
    store: &Store,
    target: &Target,
    part: Part,
    object: Value,
    stored: Stored<'_>,
) -> Result<Admitted, ApiError> {
    let old = stored.value;
    let resource = target.resource;
    if part == Part::Binding {
        return Ok(Admitted::alone(object));
    }
    match resource.strategy {
        Strategy::Pod => update_pod(store, target, part, object, stored.object),
        Strategy::Rules(rules) => {
            let mut object = object;
            (rules.default)(&mut object);
            let errors = match part {
                Part::Status => {
                    (rules.prepare_status)(&mut object, old);
                    let mut errors = validate::metadata_update(&object, old);
                    errors.extend((rules.validate_status)(&object, old));
                    errors
                }
                Part::Finalize => {
                    finalize(&mut object, old);
                    validate::metadata_update(&object, old)
                }
                Part::Main | Part::Resize | Part::Binding => {
                    (rules.prepare_update)(&mut object, old);
                    let mut errors = validate::metadata_update(&object, old);
                    errors.extend((rules.validate_update)(&object, old));
                    errors
                }
            };
            refuse(resource, metadata::text(&object, "name"), &errors)?;
            Ok(Admitted::alone(object))
        }
    }
}

/// Of a write to `finalize`, only the finalizers in the spec are taken.
fn finalize(object: &mut Value, old: &Value) {
    let finalizers = object.pointer("/spec/finalizers").cloned();
    *object = old.clone();
    match finalizers {
        Some(finalizers) => object["spec"]["finalizers"] = finalizers,
        None => {
            if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                spec.remove("finalizers");
            }
        }
    }
}

fn create_pod(store: &Store, target: &Target, object: Value) -> Result<Admitted, ApiError> {
    let resource = target.resource;
    let name = metadata::text(&object, "name").to_owned();
    let name = name.as_str();
    let mut pod = typed(resource, object)?;
    defaults::apply(&mut pod);
    let ranges = admission::limit_ranges(store, &target.namespace)?;
    admission::new_pod(store, resource, name, &mut pod)?;
    supple_resize::admission::limit_range::default_pod(&mut pod, &ranges);
    pod_strategy::prepare_for_create(&mut pod);
    refuse(resource, name, &pod_validate::create(&pod))?;
    let also = admission::within_limits(store, &target.namespace, &pod, None, &ranges)
        .map_err(|denial| denied(resource, name, &denial))?;
    Ok(Admitted { object: untyped(resource, &pod)?, also })
}

fn update_pod(store: &Store, target: &Target, part: Part, object: Value, old: &Object) -> Result<Admitted, ApiError> {
    let (resource, name) = (target.resource, target.name.as_str());
    let mut pod = typed(resource, object)?;
    // From the stored bytes: that is cheaper than from the tree, which would have to be copied first.
    let old: Pod =
        old.decode().map_err(|error| ApiError::internal(format!("read the stored pod {name:?}: {error}")))?;
    let ranges = if part == Part::Resize && old.metadata.deletion_timestamp.is_none() {
        admission::limit_ranges(store, &target.namespace)?
    } else {
        Vec::new()
    };
    let errors = match part {
        Part::Status => {
            pod_strategy::prepare_for_status(&mut pod, &old);
            pod_validate::status_update(&pod, &old)
        }
        Part::Resize => {
            defaults::apply(&mut pod);
            supple_resize::admission::limit_range::default_pod(&mut pod, &ranges);
            pod_strategy::prepare_for_resize(&mut pod, &old);
            pod_validate::resize(&pod, &old)
        }
        Part::Main | Part::Binding | Part::Finalize => {
            defaults::apply(&mut pod);
            pod_strategy::prepare_for_update(&mut pod, &old);
            pod_validate::update(&pod, &old)
        }
    };
    refuse(resource, name, &errors)?;
    let also = if part == Part::Resize {
        let deny = |denial: &supple_resize::admission::Denial| denied(resource, name, denial);
        supple_resize::admission::limit_range::validate_pod(&pod, &ranges).map_err(|denial| deny(&denial))?;
        let node = admission::node_of(store, &pod)?;
        supple_resize::admission::node::check(&pod, &old, node.as_ref()).map_err(|denial| deny(&denial))?;
        admission::charge(store, &target.namespace, &pod, Some(&old)).map_err(|denial| deny(&denial))?
    } else {
        Vec::new()
    };
    Ok(Admitted { object: untyped(resource, &pod)?, also })
}

/// A pod from its JSON. What comes here has been normalised, so this only fails for what the schema lets through and
/// the type does not.
fn typed(resource: &Resource, object: Value) -> Result<Pod, ApiError> {
    serde_json::from_value(object).map_err(|error| {
        let (kind, version) = (resource.kind, resource.version);
        ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
    })
}

fn untyped(resource: &Resource, pod: &Pod) -> Result<Value, ApiError> {
    let mut object = serde_json::to_value(pod).map_err(|error| ApiError::internal(format!("encode a pod: {error}")))?;
    object["apiVersion"] = resource.api_version().into();
    object["kind"] = resource.kind.into();
    Ok(object)
}

/// The 422 for wrong fields; none, none.
fn refuse(resource: &Resource, name: &str, errors: &[FieldError]) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    let causes =
        errors.iter().map(|error| json!({"reason": error.reason(), "message": error.message(), "field": error.field}));
    let message = field::aggregate(&resource.qualified_kind(), name, errors);
    Err(ApiError::invalid(Subject { name, group: resource.group, kind: resource.kind }, message, causes.collect()))
}

/// The 403 of an admission rule.
fn denied(resource: &Resource, name: &str, denial: &supple_resize::admission::Denial) -> ApiError {
    ApiError::forbidden(subject(resource, name), &denial.message)
        .with_causes(denial.causes.iter().map(|cause| json!({"reason": cause})))
}
