//! POST of an `Eviction`: the polite removal of a pod, which asks the pod's disruption budget first.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::ownership::{Author, SERVER};
use super::write::Next;
use super::{Api, Call};
use crate::admission::webhook::Warnings;
use crate::disruption::{self, Verdict};
use crate::errors::ApiError;
use crate::kinds;
use crate::metadata::{self, subject};
use crate::options::{DeleteOptions, WriteOptions};
use crate::respond::{json as answer, success, warned};
use crate::route::Target;
use crate::strategy::Part;

impl Api {
    /// Evicts the pod that the call names.
    pub(super) async fn evict(&self, call: &Call, body: Body) -> Result<Response, ApiError> {
        let (target, name) = (&call.target, call.target.name.as_str());
        let (eviction, options) = self.subresource_body(call, body).await?;
        let mut said = Warnings::default();
        let eviction =
            self.ask_about_body(target, &options, eviction, &mut said).await.map_err(|error| error.warning(&said))?;
        if metadata::text(&eviction, "name") != name {
            return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
        }
        let mut asked = DeleteOptions::parse(&call.query, eviction.get("deleteOptions"))?;
        asked.dry_run |= options.dry_run;
        let key = target.key(name);
        loop {
            let stored = self.store.latest(&key).ok_or_else(|| ApiError::not_found(subject(target.resource, name)))?;
            let budgets = self.store.latest_of("poddisruptionbudgets", &target.namespace);
            let budgets: Vec<Value> = budgets.iter().map(|it| it.value()).collect();
            let verdict = disruption::decide(&stored.value(), &budgets)?;
            if let Verdict::Budget(budget) = &verdict {
                self.take_disruption(target, budget, asked.dry_run).await?;
            }
            let guarded = !matches!(verdict, Verdict::Free { guarded: false } | Verdict::Budget(_));
            let mut delete = asked.clone();
            if guarded && asked.resource_version.is_none() {
                delete.resource_version = Some(stored.revision.to_string());
            }
            // Webhooks have been asked about the eviction, and are not about the removal, as in the reference.
            match self.remove(target, &key, &delete, None).await {
                Ok(_) => return Ok(warned(answer(StatusCode::CREATED, success(None).to_string()), &said.shown())),
                // The pod has changed under the decision: what the client did not ask for must not fail it.
                Err(error) if error.reason == "Conflict" && guarded && asked.resource_version.is_none() => {
                    match verdict {
                        Verdict::Unhealthy(budget) => return Err(disruption::busy(&budget)),
                        Verdict::Free { .. } | Verdict::Budget(_) => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a disruption out of the newest state of a budget, or says why it cannot be had.
    async fn take_disruption(&self, pod: &Target, budget: &str, dry_run: bool) -> Result<(), ApiError> {
        let Some(resource) = kinds::find("policy", "v1", "poddisruptionbudgets") else { return Ok(()) };
        let target = Target {
            resource,
            namespace: pod.namespace.clone(),
            name: budget.to_owned(),
            subresource: resource.subresource("status"),
        };
        let next = |budget: &Value| {
            Ok(Next::plain(disruption::take(budget.clone(), &pod.name, self.clock.now())?, Vec::new()))
        };
        let options = WriteOptions { dry_run, ..WriteOptions::default() };
        self.modify(&target, Part::Status, &options, &Author::named(&target, SERVER), next).await?;
        Ok(())
    }
}
