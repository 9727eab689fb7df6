//! Fills `status` of each ResourceQuota: what the namespace's pods and objects use of it. Admission raises `used` at
//! once when it lets something in; lowering it again is this room's work (reference §3.6).

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use supple_node::Fed;
use supple_quantity::Quantity;
use supple_resize::admission::{objects, quota as rules};
use tokio_util::sync::CancellationToken;

/// Changes come in bursts; one recount serves them all.
const SETTLE: Duration = Duration::from_millis(20);

/// A recount even without a change, for objects that are counted but not watched: all but pods.
const RESYNC: Duration = Duration::from_secs(30);

/// Recount until told to stop.
pub(crate) async fn run(client: Client, pods: Fed, stop: CancellationToken) {
    let quotas = Api::<ResourceQuota>::all(client.clone());
    // That something changed is all that is asked of these watches; metadata costs a fraction of an object to read.
    let changed = Api::<PartialObjectMeta<ResourceQuota>>::all(client.clone());
    let changed = watcher(changed, watcher::Config::default()).default_backoff();
    let mut wakes = futures::stream::select(pods.map(|_| ()).boxed(), changed.map(|_| ()).boxed());
    loop {
        let Some(_) = stop.run_until_cancelled(tokio::time::timeout(RESYNC, wakes.next())).await else { return };
        while let Ok(Some(())) = tokio::time::timeout(SETTLE, wakes.next()).await {}
        if let Err(error) = recount_all(&client, &quotas).await {
            tracing::debug!(%error, "recount quotas; will retry at the next change");
        }
    }
}

async fn recount_all(client: &Client, quotas: &Api<ResourceQuota>) -> Result<(), kube::Error> {
    for quota in quotas.list(&ListParams::default()).await? {
        match recount(client, quota).await {
            Ok(()) => {}
            // Admission raised it meanwhile, or it is gone: the change that did it wakes us again.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn recount(client: &Client, mut quota: ResourceQuota) -> Result<(), kube::Error> {
    let namespace = quota.namespace().unwrap_or_default();
    let hard = quota.spec.as_ref().and_then(|it| it.hard.clone()).unwrap_or_default();
    // The quota was read before the pods are: if admission raises it in between, the write below conflicts and is not
    // made, so a count that misses a new pod never overwrites one that has it.
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace).list(&ListParams::default()).await?;
    let counted = rules::used(&quota, &pods.items);
    let mut used = BTreeMap::new();
    for name in hard.keys() {
        let amount = match counted.get(name) {
            Some(amount) => ApiQuantity(amount.to_string()),
            None => ApiQuantity(sum_objects(client, &namespace, name).await?.to_string()),
        };
        used.insert(name.clone(), amount);
    }
    let status = ResourceQuotaStatus { hard: Some(hard), used: Some(used) };
    if quota.status.as_ref() == Some(&status) {
        return Ok(());
    }
    quota.status = Some(status);
    let name = quota.name_any();
    let api = Api::<ResourceQuota>::namespaced(client.clone(), &namespace);
    api.replace_status(&name, &PostParams::default(), &quota).await?;
    Ok(())
}

/// What the objects that a quota of this name counts add up to; nothing for kinds this cluster does not have.
async fn sum_objects(client: &Client, namespace: &str, name: &str) -> Result<Quantity, kube::Error> {
    let mut sum = Quantity::ZERO;
    let Some((group, plural)) = objects::counted_by(name) else { return Ok(sum) };
    let Some(resource) = served(client, group, plural).await? else { return Ok(sum) };
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    for object in api.list(&ListParams::default()).await?.items {
        if let Some(amount) = objects::usage(group, plural, &object.data).get(name) {
            sum += amount;
        }
    }
    Ok(sum)
}

/// A resource as the server serves it.
async fn served(client: &Client, group: &str, plural: &str) -> Result<Option<ApiResource>, kube::Error> {
    let (version, list) = if group.is_empty() {
        ("v1".to_owned(), client.list_core_api_resources("v1").await?)
    } else {
        let groups = client.list_api_groups().await?.groups;
        let found = groups.into_iter().find(|it| it.name == group);
        let Some(version) = found.and_then(|it| it.preferred_version) else { return Ok(None) };
        let list = client.list_api_group_resources(&version.group_version).await?;
        (version.version, list)
    };
    let found = list.resources.iter().find(|it| it.name == plural && it.namespaced);
    Ok(found.map(|it| ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, &version, &it.kind), plural)))
}
