//! The narrow seam to the API server: the few requests a node makes about its pods, as one private trait, so that
//! everything behind it is tested with a recording stub.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, PodStatus, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use kube::{Client, Resource};
use serde::Serialize;
use serde_json::Value;

use crate::runtime::PodRef;
use crate::status::writer::Said;

/// A way in for a node that lives in the process of its API server: what it says of its pods need not be made into a request
/// and read again.
pub trait Desk: Send + Sync + 'static {
    /// Write down these fields of a pod's status. `false`: this must be sent as a request.
    ///
    /// The error is one that may pass: the server could not store it.
    fn status<'a>(
        &'a self,
        pod: &'a PodRef,
        status: &'a PodStatus,
        fields: &'a [&'a str],
    ) -> BoxFuture<'a, Result<bool, String>>;
}

/// A request that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// The object is not there (any more), or one of the same name with another UID is: nothing to retry.
    #[error("{0}")]
    Gone(String),
    /// The server refused the request for good: sending it again would change nothing.
    #[error("{0}")]
    Refused(String),
    /// The server could not be reached, was busy or failed: worth a retry.
    #[error("{0}")]
    Unavailable(String),
}

/// What the node asks of the API server.
pub(crate) trait PodApi: Send + Sync + 'static {
    /// Replace what is another in a pod's status.
    fn patch_status<'a>(&'a self, pod: &'a PodRef, said: &'a Said<'a>) -> BoxFuture<'a, Result<(), ApiError>>;
    /// Remove a pod whose containers have ended: grace 0, only if it still has this UID.
    fn delete<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), ApiError>>;
    /// Record a new event.
    fn create_event<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, Result<(), ApiError>>;
    /// An event happened again: change its count, message and last time.
    fn patch_event<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> BoxFuture<'a, Result<(), ApiError>>;
    /// Read a ConfigMap that a container's environment refers to.
    fn config_map<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<ConfigMap, ApiError>>;
    /// Read a Secret that a container's environment refers to.
    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Secret, ApiError>>;
}

/// A patch of the status of this very pod.
#[derive(Serialize)]
struct StatusPatch<'a> {
    metadata: Whose<'a>,
    status: &'a Value,
}

#[derive(Serialize)]
struct Whose<'a> {
    uid: &'a str,
}

/// The seam over a `kube::Client`, and the shorter way in where there is one.
pub(crate) struct KubeApi(pub(crate) Client, pub(crate) Option<Arc<dyn Desk>>);

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) => match status.code {
                404 => Self::Gone(status.message.clone()),
                // The only preconditions the node sets are on UIDs.
                409 => Self::Gone(status.message.clone()),
                400 | 401 | 403 | 405 | 413 | 415 | 422 => Self::Refused(status.message.clone()),
                _ => Self::Unavailable(status.message.clone()),
            },
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl PodApi for KubeApi {
    fn patch_status<'a>(&'a self, pod: &'a PodRef, said: &'a Said<'a>) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if let Some(desk) = &self.1
                && desk.status(pod, said.now, &said.fields()).await.map_err(ApiError::Unavailable)?
            {
                return Ok(());
            }
            // The UID makes it a precondition: a new pod of the same name must not get the old one's status.
            let body = StatusPatch { metadata: Whose { uid: &pod.uid }, status: &said.patch() };
            let request = Request::new(Pod::url_path(&(), Some(&pod.namespace)))
                .patch_subresource("status", &pod.name, &PatchParams::default(), &Patch::Merge(&body))
                .map_err(|error| ApiError::Refused(error.to_string()))?;
            // The answer is the whole pod, which the watch brings anyway: not worth parsing.
            self.0.request_text(request).await?;
            Ok(())
        })
    }

    fn delete<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let params = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: None }),
                ..DeleteParams::default()
            };
            Api::<Pod>::namespaced(self.0.clone(), &pod.namespace).delete(&pod.name, &params).await?;
            Ok(())
        })
    }

    fn create_event<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let namespace = event.metadata.namespace.as_deref();
            let body = serde_json::to_vec(event).map_err(|error| ApiError::Refused(error.to_string()))?;
            let request = Request::new(Event::url_path(&(), namespace))
                .create(&PostParams::default(), body)
                .map_err(|error| ApiError::Refused(error.to_string()))?;
            self.0.request_text(request).await?;
            Ok(())
        })
    }

    fn patch_event<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let request = Request::new(Event::url_path(&(), Some(namespace)))
                .patch(name, &PatchParams::default(), &Patch::Merge(patch))
                .map_err(|error| ApiError::Refused(error.to_string()))?;
            self.0.request_text(request).await?;
            Ok(())
        })
    }

    fn config_map<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<ConfigMap, ApiError>> {
        Box::pin(async move { Ok(Api::<ConfigMap>::namespaced(self.0.clone(), namespace).get(name).await?) })
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Secret, ApiError>> {
        Box::pin(async move { Ok(Api::<Secret>::namespaced(self.0.clone(), namespace).get(name).await?) })
    }
}
