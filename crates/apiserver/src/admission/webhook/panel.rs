//! Asking the webhooks that want a request: in which order, with which object, and what their answers or their silence
//! mean for the write.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::Value;

use super::hook::Hook;
use super::review::{Asked, Verdict, judge, question};
use super::service;
use super::transport::{Call, TransportError};
use super::{Compiled, Warnings, Webhooks};
use crate::admission::policy;
use crate::admission::request::{Facts, Request};
use crate::errors::ApiError;
use crate::fields::{Decoder, Normalised, normalise};
use crate::kinds::{Backing, Resource, Rows, TypeOf};
use crate::metadata::subject;
use crate::patch;

/// The webhooks that want one request.
pub struct Panel<'a> {
    pub(super) webhooks: &'a Webhooks,
    pub(super) compiled: Arc<Compiled>,
    pub(super) request: Request<'a>,
    /// Which of the mutating ones, and the version each wants to see.
    pub(super) mutating: Vec<(usize, &'a Resource)>,
    /// Which of the validating ones, and the version each wants to see.
    pub(super) validating: Vec<(usize, &'a Resource)>,
    /// Which of the policies, and the version each wants to see.
    pub(super) policies: Vec<(usize, &'a Resource)>,
    /// What is served.
    pub(super) rows: Arc<Rows>,
}

/// Why a write does not go on past a webhook.
enum Failure {
    /// It could not be asked; its failure policy says whether the write goes on without it.
    Call(String),
    /// It refused, or has asked for what cannot be.
    Refusal(ApiError),
}

/// What the server does with an object that a webhook has changed.
pub trait Remake: Send {
    /// Fills in what the type fills in.
    ///
    /// # Errors
    /// For what is no object of the type any more.
    fn default(&mut self, object: Value) -> Result<Value, ApiError>;

    /// The server's own admission once more.
    ///
    /// # Errors
    /// What that refuses.
    fn again(&mut self, object: Value) -> Result<Value, ApiError>;
}

impl<'a> Panel<'a> {
    /// The same, now that the object has this name.
    pub fn named<'n>(&'n self, name: &'n str) -> Panel<'n> {
        Panel {
            webhooks: self.webhooks,
            compiled: self.compiled.clone(),
            request: Request { name, ..self.request },
            mutating: self.mutating.clone(),
            validating: self.validating.clone(),
            policies: self.policies.clone(),
            rows: self.rows.clone(),
        }
    }

    /// Whether anybody may change the object.
    pub fn mutates(&self) -> bool {
        !self.mutating.is_empty()
    }

    /// Whether anybody judges the outcome.
    pub fn validates(&self) -> bool {
        !self.validating.is_empty() || !self.policies.is_empty()
    }

    /// Asks those that may change the object; it is absent for a removal. Returns what they made of it, `None` if
    /// nothing.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn mutate(
        &self,
        object: Option<&Value>,
        remake: &mut dyn Remake,
        warnings: &mut Warnings,
    ) -> Result<Option<Value>, ApiError> {
        let mut changed: Option<Value> = None;
        // Who has been asked and is to be asked again if somebody after it changes the object; who is, now.
        let (mut seen, mut due): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        for round in 0..2 {
            if round == 1 {
                let Some(before) = changed.take() else { break };
                let again = remake.again(before.clone())?;
                if again != before {
                    due.append(&mut seen);
                }
                changed = Some(again);
            }
            for (index, resource) in &self.mutating {
                let Some(hook) = self.compiled.mutating.get(*index) else { continue };
                let current = changed.as_ref().or(object);
                if !self.applies(hook, resource, current)? || (round == 1 && !due.contains(index)) {
                    continue;
                }
                let outcome = match self.ask(hook, resource, true, current, warnings).await {
                    Ok(verdict) => self.patched(hook, resource, current, &verdict.patch),
                    Err(failure) => Err(failure),
                };
                if let Some(patched) = tolerate(hook, outcome)?.flatten() {
                    let patched = remake.default(patched)?;
                    if Some(&patched) != current {
                        due.append(&mut seen);
                        changed = Some(patched);
                    }
                }
                if hook.asked_again {
                    seen.push(*index);
                }
            }
        }
        Ok(changed)
    }

    /// Asks those that judge the outcome: policies, then webhooks, all at once.
    ///
    /// # Errors
    /// The first refusal in their order.
    pub async fn validate(&self, object: Option<&Value>, warnings: &mut Warnings) -> Result<(), ApiError> {
        for (index, resource) in &self.policies {
            if let Some(policy) = self.compiled.policies.get(*index) {
                let place = policy::Place { store: &self.webhooks.store, rows: &self.rows };
                policy::judge(policy, resource, place, &self.request, object, warnings)?;
            }
        }
        let mut calls = Vec::new();
        for (index, resource) in &self.validating {
            let Some(hook) = self.compiled.validating.get(*index) else { continue };
            if self.applies(hook, resource, object)? {
                calls.push(async move {
                    let mut said = Warnings::default();
                    let outcome = self.ask(hook, resource, false, object, &mut said).await;
                    (tolerate(hook, outcome.map(|_| ())), said)
                });
            }
        }
        let mut result = Ok(());
        for (outcome, said) in join_all(calls).await {
            warnings.extend(said.shown());
            result = result.and(outcome.map(|_| ()));
        }
        result
    }

    /// Whether selectors and conditions let the request through to the webhook.
    fn applies(&self, hook: &Hook, resource: &Resource, object: Option<&Value>) -> Result<bool, ApiError> {
        let request = &self.request;
        if !hook.selection.covers(&self.webhooks.store, request, object)? {
            return Ok(false);
        }
        if hook.conditions.is_empty() {
            return Ok(true);
        }
        let Facts { object, old, request: asked } = request.facts(resource, object);
        match hook.conditions.hold(&[("object", &object), ("oldObject", &old), ("request", &asked)]) {
            Ok(met) => Ok(met),
            Err(why) if hook.fails_open => {
                tracing::warn!(webhook = hook.name, why, "match conditions cannot be told, the webhook is not asked");
                Ok(false)
            }
            Err(why) => Err(ApiError::forbidden(subject(request.target.resource, request.name), &why)),
        }
    }

    /// Asks one webhook.
    async fn ask(
        &self,
        hook: &Hook,
        resource: &Resource,
        mutating: bool,
        object: Option<&Value>,
        warnings: &mut Warnings,
    ) -> Result<Verdict, Failure> {
        if self.request.dry_run() && !hook.dry_run_safe {
            let why = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(Failure::Refusal(ApiError::bad_request(why)));
        }
        let version = hook.version.ok_or_else(|| {
            Failure::Call(
                "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, \
                 v1beta1)"
                    .to_owned(),
            )
        })?;
        let uid = uuid::Uuid::new_v4().to_string();
        let body = question(version, self.request.review(&uid, resource, object)).into();
        let endpoint = service::endpoint(&self.webhooks.store, &hook.client)
            .map_err(|error| Failure::Call(format!("failed to call webhook: {error}")))?;
        let call = Call { endpoint, body, timeout: hook.timeout };
        let url = call.url();
        // Also a transport that never answers is given up.
        let answer = match tokio::time::timeout(hook.timeout, self.webhooks.transport.post(call)).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::Timeout),
        };
        let answer = answer.map_err(|error| {
            Failure::Call(match error {
                TransportError::Roots(_) => format!("could not get REST client: {error}"),
                _ => format!("failed to call webhook: Post {url:?}: {error}"),
            })
        })?;
        let asked = Asked { webhook: &hook.name, version, uid: &uid, mutating };
        let verdict = judge(asked, &answer).map_err(Failure::Call)?;
        for (key, value) in &verdict.audit {
            tracing::info!(target: "supple::audit", webhook = hook.name, key, %value, "audit annotation");
        }
        warnings.extend(verdict.warnings.iter().cloned());
        match verdict.refusal {
            Some(refusal) => Err(Failure::Refusal(refusal)),
            None => Ok(verdict),
        }
    }

    /// The object after a webhook's patch, in its stored form and of its type; `None` without a patch.
    fn patched(
        &self,
        hook: &Hook,
        resource: &Resource,
        object: Option<&Value>,
        operations: &[Value],
    ) -> Result<Option<Value>, Failure> {
        let internal = |why: String| Failure::Refusal(ApiError::internal(why));
        if operations.is_empty() {
            return Ok(None);
        }
        let Some(object) = object else {
            return Err(internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            )));
        };
        let body = self.request.target.subresource.and_then(|it| it.body);
        let own = body.is_none();
        let mut tree = self.request.in_version(resource, object);
        patch::operate(&mut tree, operations)
            .map_err(|why| internal(format!("the patch of admission webhook {:?} does not apply: {why}", hook.name)))?;
        let normalised = match body.and_then(|body| TypeOf::shape(body.type_of)) {
            _ if own => resource.normalise(tree, Decoder::Text),
            Some(shape) => normalise(tree, shape, Decoder::Text),
            None => Ok(Normalised { value: tree, unknown: Vec::new() }),
        };
        let normalised = normalised.map_err(|error| {
            internal(format!("the patch of admission webhook {:?} leaves no {}: {error}", hook.name, resource.kind))
        })?;
        tree = normalised.value;
        let kind = self.request.kind(resource);
        tree["apiVersion"] =
            if kind.group.is_empty() { kind.version.into() } else { format!("{}/{}", kind.group, kind.version).into() };
        tree["kind"] = kind.word.into();
        Ok(Some(match resource.backing {
            Backing::View { to_stored, .. } if own => to_stored.of(tree),
            _ => tree,
        }))
    }
}

/// What the webhook's failure policy makes of a call: `None` where the write goes on without it.
fn tolerate<T>(hook: &Hook, outcome: Result<T, Failure>) -> Result<Option<T>, ApiError> {
    match outcome {
        Ok(outcome) => Ok(Some(outcome)),
        Err(Failure::Refusal(refusal)) => Err(refusal),
        Err(Failure::Call(why)) => {
            let why = format!("failed calling webhook {:?}: {why}", hook.name);
            let open = hook.fails_open;
            tracing::warn!(configuration = hook.configuration, open, "{why}");
            if open { Ok(None) } else { Err(ApiError::internal(why)) }
        }
    }
}
