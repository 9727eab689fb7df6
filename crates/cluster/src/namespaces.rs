//! The life of a namespace: it gets its `default` service account, and when it is deleted everything in it goes first.

use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::core::ApiResource;
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use crate::tidy::create_if_absent;

/// How often a namespace that waits for its contents is looked at again.
const RETRY: Duration = Duration::from_millis(500);

/// Watch namespaces until told to stop.
pub(crate) async fn run(client: Client, stop: CancellationToken) {
    let api = Api::<Namespace>::all(client.clone());
    let mut changes = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
    let mut waiting: Vec<String> = Vec::new();
    loop {
        let wake = if waiting.is_empty() { Duration::MAX } else { RETRY };
        let Some(change) = stop.run_until_cancelled(tokio::time::timeout(wake, changes.next())).await else { return };
        match change {
            Ok(Some(Ok(namespace))) => {
                let name = namespace.name_any();
                if namespace.metadata.deletion_timestamp.is_some() {
                    if !waiting.contains(&name) {
                        waiting.push(name);
                    }
                } else if let Err(error) = default_account(&client, &name).await {
                    tracing::debug!(%error, namespace = name, "create the default service account");
                }
            }
            Ok(Some(Err(error))) => tracing::debug!(%error, "resuming the watch of namespaces"),
            Ok(None) => return,
            Err(_elapsed) => {}
        }
        let mut still = Vec::new();
        for name in waiting {
            match empty(&client, &name).await {
                Ok(true) => {}
                Ok(false) => still.push(name),
                Err(error) => {
                    tracing::debug!(%error, namespace = name, "empty a namespace; will retry");
                    still.push(name);
                }
            }
        }
        waiting = still;
    }
}

async fn default_account(client: &Client, namespace: &str) -> Result<(), kube::Error> {
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some("default".to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    create_if_absent(&Api::namespaced(client.clone(), namespace), &account).await
}

/// Delete what is in the namespace; once nothing is left, let the namespace itself go. `true` when it is gone.
async fn empty(client: &Client, name: &str) -> Result<bool, kube::Error> {
    let mut left = 0;
    for resource in namespaced_kinds(client).await? {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), name, &resource);
        if api.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty() {
            continue;
        }
        api.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        left += api.list_metadata(&ListParams::default().limit(1)).await?.items.len();
    }
    if left > 0 {
        return Ok(false);
    }
    let api = Api::<Namespace>::all(client.clone());
    let Some(mut namespace) = api.get_opt(name).await? else { return Ok(true) };
    if let Some(spec) = &mut namespace.spec {
        spec.finalizers = Some(Vec::new());
    }
    match api.replace_subresource("finalize", name, &PostParams::default(), &namespace).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(true),
        Err(error) => Err(error),
    }
}

/// Every kind that lives in a namespace and can be deleted, as the server itself lists them.
async fn namespaced_kinds(client: &Client) -> Result<Vec<ApiResource>, kube::Error> {
    let discovery = Discovery::new(client.clone()).run().await?;
    Ok(discovery
        .groups()
        .flat_map(kube::discovery::ApiGroup::recommended_resources)
        .filter(|(_, capabilities)| {
            capabilities.scope == Scope::Namespaced
                && capabilities.supports_operation(verbs::DELETE)
                && capabilities.supports_operation(verbs::LIST)
        })
        .map(|(resource, _)| resource)
        .collect())
}
