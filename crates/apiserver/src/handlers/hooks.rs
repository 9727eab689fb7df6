//! Webhooks along the way of a write: what they are shown of it at each step, and what is kept of what they make of it.

use serde_json::Value;

use super::Api;
use super::ownership::{put_managed, take_managed};
use crate::admission::webhook::{Operation, Options, Panel, Remake, Request, Warnings};
use crate::errors::ApiError;
use crate::kinds::{ScalePaths, SubresourceKind};
use crate::options::WriteOptions;
use crate::route::Target;
use crate::scale;
use crate::strategy::{self, Passage};

/// The object that webhooks change is on its way through a passage.
struct OnItsWay<'p, 'a> {
    target: &'a Target,
    passage: &'p mut Passage<'a>,
    managed: &'p Value,
}

impl Remake for OnItsWay<'_, '_> {
    fn default(&mut self, object: Value) -> Result<Value, ApiError> {
        strategy::defaulted(self.target.resource, object)
    }

    fn again(&mut self, mut object: Value) -> Result<Value, ApiError> {
        take_managed(&mut object);
        self.passage.resume(object)?;
        self.passage.mutate()?;
        let mut object = self.passage.object()?;
        put_managed(&mut object, self.managed.clone());
        Ok(object)
    }
}

/// What webhooks are asked about is no object of a passage: a removal, or the body of a path below an object.
struct AsItIs;

impl Remake for AsItIs {
    fn default(&mut self, object: Value) -> Result<Value, ApiError> {
        Ok(object)
    }

    fn again(&mut self, object: Value) -> Result<Value, ApiError> {
        Ok(object)
    }
}

/// Has those that may change the object of a passage do so. They are shown it with its owners and without what `hide`
/// takes away; `settle` is given what they made of it, to put that back. Who owns what stays as it is: what webhooks add
/// is nobody's.
///
/// # Errors
/// The first refusal.
pub(super) async fn change<'a>(
    panel: &Panel<'_>,
    target: &'a Target,
    passage: &mut Passage<'a>,
    managed: &Value,
    warnings: &mut Warnings,
    hide: impl FnOnce(&mut Value) + Send,
    settle: impl FnOnce(&mut Value) -> Result<(), ApiError> + Send,
) -> Result<(), ApiError> {
    if !panel.mutates() {
        return Ok(());
    }
    let mut object = passage.object()?;
    if let Some(paths) = scaled(target) {
        let asked = scale::of(paths, &object);
        if let Some(changed) = panel.mutate(Some(&asked), &mut AsItIs, warnings).await? {
            passage.resume(scale::put(paths, object, &changed))?;
        }
        return Ok(());
    }
    hide(&mut object);
    put_managed(&mut object, managed.clone());
    let mut remake = OnItsWay { target, passage, managed };
    if let Some(mut changed) = panel.mutate(Some(&object), &mut remake, warnings).await? {
        take_managed(&mut changed);
        settle(&mut changed)?;
        passage.resume(changed)?;
    }
    Ok(())
}

/// Has those that judge the outcome of a passage do so.
///
/// # Errors
/// The first refusal.
pub(super) async fn judge(
    panel: &Panel<'_>,
    target: &Target,
    passage: &Passage<'_>,
    managed: &Value,
    revision: Option<u64>,
    warnings: &mut Warnings,
) -> Result<(), ApiError> {
    if !panel.validates() {
        return Ok(());
    }
    let mut object = passage.object()?;
    put_managed(&mut object, managed.clone());
    if let Some(revision) = revision {
        object["metadata"]["resourceVersion"] = revision.to_string().into();
    }
    let object = as_scale(target, &object).unwrap_or(object);
    panel.validate(Some(&object), warnings).await
}

/// The Scale of an object, if that is what a write to this target is about: then that is what others are shown.
pub(super) fn as_scale(target: &Target, object: &Value) -> Option<Value> {
    scaled(target).map(|paths| scale::of(paths, object))
}

/// Where the replicas are that a write to this target sets, if that is what it does.
fn scaled(target: &Target) -> Option<ScalePaths> {
    match target.subresource.map(|it| it.what) {
        Some(SubresourceKind::Scale(paths)) => Some(paths),
        _ => None,
    }
}

impl Api {
    /// Asks webhooks about a removal.
    ///
    /// # Errors
    /// The first refusal.
    pub(super) async fn ask_about_removal(
        &self,
        request: Request<'_>,
        warnings: &mut Warnings,
    ) -> Result<(), ApiError> {
        let Some(panel) = self.webhooks.panel(request) else { return Ok(()) };
        panel.mutate(None, &mut AsItIs, warnings).await?;
        panel.validate(None, warnings).await
    }

    /// Asks webhooks about the body of a path below an object (an eviction, a binding); returns what they made of it.
    ///
    /// # Errors
    /// The first refusal.
    pub(super) async fn ask_about_body(
        &self,
        target: &Target,
        options: &WriteOptions,
        body: Value,
        warnings: &mut Warnings,
    ) -> Result<Value, ApiError> {
        let request = Request {
            target,
            operation: Operation::Create,
            name: &target.name,
            options: Options::Write(options),
            old: None,
        };
        let Some(panel) = self.webhooks.panel(request) else { return Ok(body) };
        let body = panel.mutate(Some(&body), &mut AsItIs, warnings).await?.unwrap_or(body);
        panel.validate(Some(&body), warnings).await?;
        Ok(body)
    }
}
