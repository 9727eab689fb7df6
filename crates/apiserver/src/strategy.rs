//! Between decoding and storing: what a write may touch, defaulting, validation (422) and admission (403), in the
//! reference's order. A [`Passage`] takes a write through; its steps are apart so that webhooks can be asked
//! between them. What differs between kinds is in the table ([`Strategy`]) and, for pods, in `supple_resize`.
//!
//! ```text
//! default ─▶ mutate ─▶ prepare (keep what this path may not touch) ─▶ validate ─▶ admit ─▶ charge
//!                 └ mutating webhooks                                    422        403 │    403
//!                                                                                       └ validating webhooks
//! ```

use std::sync::Arc;

use k8s_openapi::api::core::v1::{LimitRange, Pod};
use serde_json::{Value, json};
use supple_resize::field::{self, FieldError};
use supple_resize::{admission as pod_admission, defaults, strategy as pod_strategy, validate as pod_validate};

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
            Some(SubresourceKind::Eviction | SubresourceKind::Log | SubresourceKind::Scale(_)) | None => Self::Main,
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
    /// What is to be stored, without what is `kept`.
    pub object: Value,
    /// The parts of it that are as they are stored.
    pub kept: Vec<&'static str>,
    /// The pod that it is.
    pub pod: Option<Box<Pod>>,
    /// What must be stored with it or not at all: quotas that are charged.
    pub also: Vec<Write>,
}

/// An object with what its type fills in where nothing was said, before anybody looks at it.
///
/// # Errors
/// 400 for what is no object of the type.
pub fn defaulted(resource: &Resource, object: Value) -> Result<Value, ApiError> {
    begin(resource, object).map(|(object, _)| object)
}

/// An object with its defaults, in the form in which it begins its way.
#[derive(Clone, Debug)]
pub struct Begun(Form);

/// [`defaulted`], and the same for [`Passage::create`].
///
/// # Errors
/// As [`defaulted`].
pub fn begin(resource: &Resource, object: Value) -> Result<(Value, Begun), ApiError> {
    let form = Form::new(resource, object, PodDefaults::Filled)?;
    Ok((form.tree(resource)?, Begun(form)))
}

/// Whether a pod gets its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PodDefaults {
    /// What is left out is filled in.
    Filled,
    /// A pod whose status is written stays as it is.
    AsGiven,
}

impl PodDefaults {
    fn of(part: Part) -> Self {
        if part == Part::Status { Self::AsGiven } else { Self::Filled }
    }
}

/// An object on its way, in the form its kind is worked on in.
#[derive(Clone, Debug)]
enum Form {
    Pod(Box<Pod>),
    Tree(Value),
}

impl Form {
    /// The object with its defaults.
    fn new(resource: &Resource, mut object: Value, of_pods: PodDefaults) -> Result<Self, ApiError> {
        match resource.strategy {
            Strategy::Pod => Ok(Self::of_pod(typed(resource, object)?, of_pods)),
            Strategy::Rules(rules) => {
                (rules.default)(&mut object);
                Ok(Self::Tree(object))
            }
            Strategy::Custom(custom) => {
                custom.default(&mut object);
                Ok(Self::Tree(object))
            }
        }
    }

    fn of_pod(mut pod: Pod, of_pods: PodDefaults) -> Self {
        if of_pods == PodDefaults::Filled {
            defaults::apply(&mut pod);
        }
        Self::Pod(Box::new(pod))
    }

    fn tree(&self, resource: &Resource) -> Result<Value, ApiError> {
        match self {
            Self::Pod(pod) => untyped(resource, pod),
            Self::Tree(tree) => Ok(tree.clone()),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Pod(pod) => pod.metadata.name.as_deref().unwrap_or_default(),
            Self::Tree(tree) => metadata::text(tree, "name"),
        }
    }
}

/// What is replaced.
#[derive(Clone, Debug)]
struct Before<'a> {
    value: &'a Value,
    /// The same, of a pod.
    pod: Option<Arc<Pod>>,
}

/// A write on its way through the server. The steps are to be taken in the order of the methods.
#[derive(Clone)]
pub struct Passage<'a> {
    store: &'a Store,
    target: &'a Target,
    part: Part,
    before: Option<Before<'a>>,
    ranges: Vec<LimitRange>,
    form: Form,
}

impl<'a> Passage<'a> {
    /// The way of a creation. Names, UID and times have been filled in.
    ///
    /// # Errors
    /// 404 or 403 for the namespace, 400 for what is no object of the type, 403 for what admission cannot complete.
    pub fn create(store: &'a Store, target: &'a Target, Begun(form): Begun) -> Result<Self, ApiError> {
        admission::namespace_open(store, target, form.name())?;
        if target.resource.custom().is_some_and(|it| it.terminating) {
            return Err(ApiError {
                message: "create not allowed while custom resource definition is terminating".to_owned(),
                ..ApiError::method_not_allowed()
            });
        }
        let ranges = match form {
            Form::Pod(_) => admission::limit_ranges(store, &target.namespace)?,
            Form::Tree(_) => Vec::new(),
        };
        let mut passage = Self { store, target, part: Part::Main, before: None, ranges, form };
        passage.mutate()?;
        Ok(passage)
    }

    /// The way of an update. Identity and revision have been checked.
    ///
    /// # Errors
    /// 400 for what is no object of the type.
    pub fn update(
        store: &'a Store,
        target: &'a Target,
        part: Part,
        object: Value,
        stored: Stored<'a>,
    ) -> Result<Self, ApiError> {
        let resource = target.resource;
        if part == Part::Binding {
            let before = Some(Before { value: stored.value, pod: None });
            return Ok(Self { store, target, part, before, ranges: Vec::new(), form: Form::Tree(object) });
        }
        let pod = match resource.strategy {
            Strategy::Pod => Some(
                stored
                    .object
                    .pod()
                    .map_err(|error| ApiError::internal(format!("read the stored pod {:?}: {error}", target.name)))?,
            ),
            Strategy::Rules(_) | Strategy::Custom(_) => None,
        };
        let ranges = ranges(store, target, part, pod.as_deref())?;
        let form = match &pod {
            Some(old) => Form::of_pod(typed_parts(resource, object, stored.value, old)?, PodDefaults::of(part)),
            None => Form::new(resource, object, PodDefaults::of(part))?,
        };
        let before = Some(Before { value: stored.value, pod });
        let mut passage = Self { store, target, part, before, ranges, form };
        passage.mutate()?;
        Ok(passage)
    }

    /// [`Passage::update`] of a pod whose next state is known already.
    ///
    /// # Errors
    /// 500 for a limit range that cannot be read.
    pub fn update_pod(
        store: &'a Store,
        target: &'a Target,
        part: Part,
        pod: Pod,
        old: Arc<Pod>,
    ) -> Result<Self, ApiError> {
        // Of a pod, nobody looks at the tree.
        const NO_TREE: &Value = &Value::Null;
        let ranges = ranges(store, target, part, Some(&old))?;
        let form = Form::of_pod(pod, PodDefaults::of(part));
        let mut passage =
            Self { store, target, part, before: Some(Before { value: NO_TREE, pod: Some(old) }), ranges, form };
        passage.mutate()?;
        Ok(passage)
    }

    /// The object as it is now.
    ///
    /// # Errors
    /// 500 for a pod that cannot be encoded.
    pub fn object(&self) -> Result<Value, ApiError> {
        self.form.tree(self.target.resource)
    }

    /// The name of the object as it is now.
    pub fn name(&self) -> &str {
        self.form.name()
    }

    /// Goes on with another object: what webhooks have made of it.
    ///
    /// # Errors
    /// 400 for what is no object of the type.
    pub fn resume(&mut self, object: Value) -> Result<(), ApiError> {
        self.form = Form::new(self.target.resource, object, PodDefaults::of(self.part))?;
        Ok(())
    }

    /// What the server's own admission fills in; has been done once when the passage begins.
    ///
    /// # Errors
    /// 403 for a priority class that does not exist or contradicts the pod.
    pub fn mutate(&mut self) -> Result<(), ApiError> {
        let Form::Pod(pod) = &mut self.form else { return Ok(()) };
        if self.before.is_none() {
            let name = pod.metadata.name.clone().unwrap_or_default();
            admission::new_pod(self.store, self.target.resource, &name, pod)?;
        }
        if self.before.is_none() || self.part == Part::Resize {
            pod_admission::limit_range::default_pod(pod, &self.ranges);
        }
        Ok(())
    }

    /// Puts back what this path may not touch, and says what follows from the change (generation, status).
    pub fn prepare(&mut self) {
        match (&mut self.form, &self.before) {
            (Form::Pod(pod), None) => pod_strategy::prepare_for_create(pod),
            (Form::Pod(pod), Some(Before { pod: Some(old), .. })) => match self.part {
                Part::Status => pod_strategy::prepare_for_status(pod, old),
                Part::Resize => pod_strategy::prepare_for_resize(pod, old),
                Part::Main | Part::Binding | Part::Finalize => pod_strategy::prepare_for_update(pod, old),
            },
            // A binding: it is the server's own, and has set no more than it says.
            (Form::Pod(_), Some(Before { pod: None, .. })) => {}
            (Form::Tree(tree), before) => {
                let rules = match self.target.resource.strategy {
                    Strategy::Rules(rules) => rules,
                    Strategy::Custom(custom) => {
                        match (before, self.part) {
                            (None, _) => custom.prepare_create(tree),
                            (Some(old), Part::Status) => custom.prepare_status(tree, old.value),
                            (Some(old), _) => custom.prepare_update(tree, old.value),
                        }
                        return;
                    }
                    Strategy::Pod => return,
                };
                match (before, self.part) {
                    (None, _) => {
                        (rules.prepare_create)(tree);
                        rules.first_generation(tree);
                    }
                    (Some(old), Part::Status) => (rules.prepare_status)(tree, old.value),
                    (Some(old), Part::Finalize) => finalize(tree, old.value),
                    (Some(old), Part::Main | Part::Resize | Part::Binding) => {
                        (rules.prepare_update)(tree, old.value);
                        rules.next_generation(tree, old.value);
                    }
                }
            }
        }
    }

    /// Whether the object is one that may be stored.
    ///
    /// # Errors
    /// 422 with a cause for each wrong field.
    pub fn validate(&self) -> Result<(), ApiError> {
        let resource = self.target.resource;
        let errors = match (&self.form, &self.before) {
            (Form::Pod(pod), None) => pod_validate::create(pod),
            (Form::Pod(pod), Some(Before { pod: Some(old), .. })) => match self.part {
                Part::Status => pod_validate::status_update(pod, old),
                Part::Resize => pod_validate::resize(pod, old),
                Part::Main | Part::Binding | Part::Finalize => pod_validate::update(pod, old),
            },
            (Form::Pod(_), Some(Before { pod: None, .. })) => Vec::new(),
            (Form::Tree(tree), before) => {
                let rules = match resource.strategy {
                    Strategy::Rules(rules) => rules,
                    Strategy::Custom(custom) => {
                        let old = before.as_ref().map(|it| it.value);
                        let mut errors = match old {
                            None => validate::metadata(resource, tree),
                            Some(old) => validate::metadata_update(tree, old),
                        };
                        errors.extend(custom.validate(tree, old));
                        return refuse(resource, self.form.name(), &errors);
                    }
                    Strategy::Pod => return Ok(()),
                };
                match before {
                    None => {
                        let mut errors = validate::metadata(resource, tree);
                        errors.extend((rules.validate_create)(tree));
                        errors
                    }
                    Some(Before { value: old, .. }) => {
                        let mut errors = validate::metadata_update(tree, old);
                        match self.part {
                            Part::Status => errors.extend((rules.validate_status)(tree, old)),
                            Part::Main | Part::Resize => errors.extend((rules.validate_update)(tree, old)),
                            Part::Finalize | Part::Binding => {}
                        }
                        errors
                    }
                }
            }
        };
        refuse(resource, self.form.name(), &errors)
    }

    /// Whether limit ranges and the node allow it.
    ///
    /// # Errors
    /// 403 with the words of the first rule that does not.
    pub fn admit(&self) -> Result<(), ApiError> {
        let Some(pod) = self.counted() else { return Ok(()) };
        pod_admission::limit_range::validate_pod(pod, &self.ranges).map_err(|denial| self.denied(&denial))?;
        if let Some(old) = self.old_pod() {
            let node = admission::node_of(self.store, pod)?;
            pod_admission::node::check(pod, old, node.as_deref()).map_err(|denial| self.denied(&denial))?;
        }
        Ok(())
    }

    /// Charges quotas: the end of the way.
    ///
    /// # Errors
    /// 403 with the words of the first quota that is exceeded.
    pub fn charge(self) -> Result<Admitted, ApiError> {
        let also = self.charged()?;
        let resource = self.target.resource;
        match (self.form, &self.before) {
            (Form::Tree(object), _) => Ok(Admitted { object, kept: Vec::new(), pod: None, also }),
            (Form::Pod(pod), Some(Before { pod: Some(old), .. })) => {
                let (object, kept) = changed_parts(resource, &pod, old)?;
                Ok(Admitted { object, kept, pod: Some(pod), also })
            }
            (Form::Pod(pod), _) => {
                Ok(Admitted { object: untyped(resource, &pod)?, kept: Vec::new(), pod: Some(pod), also })
            }
        }
    }

    /// [`Passage::charge`] of a pod, as it is. `None` for what is none, or is refused.
    pub fn charge_pod(self) -> Option<(Box<Pod>, Vec<Write>)> {
        let also = self.charged().ok()?;
        match self.form {
            Form::Pod(pod) => Some((pod, also)),
            Form::Tree(_) => None,
        }
    }

    /// What quotas are charged.
    fn charged(&self) -> Result<Vec<Write>, ApiError> {
        let old = self.before.as_ref().map(|before| before.value);
        let charged = match (&self.form, self.counted()) {
            (_, Some(pod)) => admission::charge(self.store, &self.target.namespace, pod, self.old_pod()),
            (Form::Tree(tree), None) if self.part == Part::Main => {
                admission::charge_object(self.store, self.target, tree, old)
            }
            _ => Ok(Vec::new()),
        };
        charged.map_err(|denial| self.denied(&denial))
    }

    /// The pod, if this is a write that limit ranges and quotas look at.
    fn counted(&self) -> Option<&Pod> {
        match &self.form {
            Form::Pod(pod) if self.before.is_none() || self.part == Part::Resize => Some(pod),
            Form::Pod(_) | Form::Tree(_) => None,
        }
    }

    fn old_pod(&self) -> Option<&Pod> {
        self.before.as_ref().and_then(|before| before.pod.as_deref())
    }

    /// The 403 of an admission rule.
    fn denied(&self, denial: &pod_admission::Denial) -> ApiError {
        ApiError::forbidden(subject(self.target.resource, self.form.name()), &denial.message)
            .with_causes(denial.causes.iter().map(|cause| json!({"reason": cause})))
    }
}

/// The limit ranges that a write looks at: those of a resize of a pod that stays.
fn ranges(store: &Store, target: &Target, part: Part, old: Option<&Pod>) -> Result<Vec<LimitRange>, ApiError> {
    let deleting = old.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
    if part == Part::Resize && !deleting { admission::limit_ranges(store, &target.namespace) } else { Ok(Vec::new()) }
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

/// A pod from its JSON. What comes here has been normalised, so this only fails for what the schema lets through and
/// the type does not.
fn typed(resource: &Resource, object: Value) -> Result<Pod, ApiError> {
    serde_json::from_value(object).map_err(|error| {
        let (kind, version) = (resource.kind, resource.version);
        ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
    })
}

/// [`typed`] for what replaces `old`, whose tree is `stored`: nearly every write leaves the spec or the status as it is, and
/// that is not decoded again. Of what stands in neither tree, `old` says how it is.
fn typed_parts(resource: &Resource, mut object: Value, stored: &Value, old: &Pod) -> Result<Pod, ApiError> {
    let mut is_kept = |part: &str| {
        let kept = object.get(part) == stored.get(part);
        if kept && let Some(fields) = object.as_object_mut() {
            fields.remove(part);
        }
        kept
    };
    let (keeps_spec, keeps_status) = (is_kept("spec"), is_kept("status"));
    let mut pod = typed(resource, object)?;
    if keeps_spec {
        pod.spec.clone_from(&old.spec);
    }
    if keeps_status {
        pod.status.clone_from(&old.status);
    }
    Ok(pod)
}

/// The tree of a pod without the parts in which it is the `old` one, and the names of these: they need not be encoded again.
fn changed_parts(resource: &Resource, pod: &Pod, old: &Pod) -> Result<(Value, Vec<&'static str>), ApiError> {
    let failed = |error: serde_json::Error| ApiError::internal(format!("encode a pod: {error}"));
    let (keeps_spec, keeps_status) = (pod.spec == old.spec, pod.status == old.status);
    let mut object = json!({"apiVersion": resource.api_version(), "kind": resource.kind});
    object["metadata"] = serde_json::to_value(&pod.metadata).map_err(failed)?;
    if let Some(spec) = pod.spec.as_ref().filter(|_| !keeps_spec) {
        object["spec"] = serde_json::to_value(spec).map_err(failed)?;
    }
    if let Some(status) = pod.status.as_ref().filter(|_| !keeps_status) {
        object["status"] = serde_json::to_value(status).map_err(failed)?;
    }
    let kept = [("spec", keeps_spec), ("status", keeps_status)];
    Ok((object, kept.into_iter().filter(|(_, keeps)| *keeps).map(|(part, _)| part).collect()))
}

fn untyped(resource: &Resource, pod: &Pod) -> Result<Value, ApiError> {
    let mut object = serde_json::to_value(pod).map_err(|error| ApiError::internal(format!("encode a pod: {error}")))?;
    object["apiVersion"] = resource.api_version().into();
    object["kind"] = resource.kind.into();
    Ok(object)
}

/// The 422 for wrong fields; none, none.
pub fn refuse(resource: &Resource, name: &str, errors: &[FieldError]) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    let causes =
        errors.iter().map(|error| json!({"reason": error.reason(), "message": error.message(), "field": error.field}));
    let message = field::aggregate(&resource.qualified_kind(), name, errors);
    Err(ApiError::invalid(Subject { name, group: resource.group, kind: resource.kind }, message, causes.collect()))
}
