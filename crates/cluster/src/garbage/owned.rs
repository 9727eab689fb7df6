//! Deletes what nobody owns any more, of every kind the server has, custom ones too: watches the metadata of all of them,
//! and carries out what the graph says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{AbortHandle, BoxStream, SelectAll, abortable};
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::{ApiResource, PartialObjectMeta};
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use serde_json::json;
use supple_node::{Fed, map};
use tokio_util::sync::CancellationToken;

use super::graph::{Asked, Graph, Held, ORPHAN, Object, Policy, Verdict};

/// How many verdicts are carried out at once.
const AT_ONCE: usize = 16;

/// How long after a failure an object is looked at again.
const RETRY: Duration = Duration::from_millis(200);

/// The kinds that say which other kinds there are.
const DEFINITIONS: &str = "customresourcedefinitions";

/// A kind by the name of its resource: `deployments.apps`.
type Kind = Arc<str>;

/// The kind whose watch is shared with others.
const PODS: &str = "pods";

type Change = (Kind, Result<watcher::Event<Held>, watcher::Error>);

/// A kind that is watched.
struct Watched {
    resource: ApiResource,
    is_namespaced: bool,
    stop: AbortHandle,
    /// While it is being listed: what the list has named.
    listing: Option<BTreeSet<String>>,
}

struct Collector {
    client: Client,
    /// The watch of pods, until it is among the others.
    pods: Option<Fed>,
    graph: Graph<Kind>,
    kinds: BTreeMap<Kind, Watched>,
    changes: SelectAll<BoxStream<'static, Change>>,
    dirty: BTreeSet<String>,
    /// Something has to be tried again.
    later: BTreeSet<String>,
    /// The kinds have changed, or could not be asked for.
    discover: bool,
}

/// Collect until told to stop.
pub(crate) async fn run(client: Client, pods: Fed, stop: CancellationToken) {
    let mut collector = Collector {
        client,
        pods: Some(pods),
        graph: Graph::default(),
        kinds: BTreeMap::new(),
        changes: SelectAll::new(),
        dirty: BTreeSet::new(),
        later: BTreeSet::new(),
        discover: true,
    };
    loop {
        if collector.discover {
            collector.discover = false;
            if let Err(error) = collector.rediscover().await {
                tracing::debug!(%error, "ask which kinds there are; will retry");
                collector.discover = true;
            }
        }
        let waits = collector.discover || !collector.later.is_empty();
        let wake = if waits { RETRY } else { Duration::MAX };
        let next = tokio::time::timeout(wake, collector.changes.next());
        match stop.run_until_cancelled(next).await {
            None => return,
            Some(Ok(Some(change))) => collector.take(change),
            // Nothing is watched yet.
            Some(Ok(None)) if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() => return,
            Some(Ok(None)) => {}
            Some(Err(_elapsed)) => {
                let again = std::mem::take(&mut collector.later);
                collector.dirty.extend(again);
            }
        }
        while let Some(Some(change)) = collector.changes.next().now_or_never() {
            collector.take(change);
        }
        collector.work().await;
    }
}

impl Collector {
    /// Watch the kinds that have come, forget those that have gone.
    async fn rediscover(&mut self) -> Result<(), kube::Error> {
        let discovery = Discovery::new(self.client.clone()).run().await?;
        let all = discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources);
        let served: BTreeMap<Kind, (ApiResource, bool)> = all
            .filter(|(resource, has)| {
                // Events tell of objects and are owned by none; there are many of them.
                resource.plural != "events"
                    && [verbs::LIST, verbs::WATCH, verbs::DELETE].iter().all(|verb| has.supports_operation(verb))
            })
            .map(|(resource, has)| (name(&resource), (resource, has.scope == Scope::Namespaced)))
            .collect();
        let gone: Vec<Kind> = self.kinds.keys().filter(|it| !served.contains_key(*it)).cloned().collect();
        for kind in gone {
            if let Some(watched) = self.kinds.remove(&kind) {
                watched.stop.abort();
            }
            self.forget_all_but(&kind, &BTreeSet::new());
        }
        for (kind, (resource, is_namespaced)) in served {
            if self.kinds.contains_key(&kind) {
                continue;
            }
            let changes = match self.pods.take_if(|_| *kind == *PODS) {
                Some(pods) => pods.map(|it| Ok(map(it, |pod| Held::of(&pod.pod().metadata)))).boxed(),
                None => {
                    let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(self.client.clone(), &resource);
                    let changes = watcher(api, watcher::Config::default()).default_backoff();
                    changes.map(|it| it.map(|it| map(it, |object| Held::of(&object.metadata)))).boxed()
                }
            };
            let named = Arc::clone(&kind);
            let (changes, stop) = abortable(changes.map(move |it| (Arc::clone(&named), it)));
            self.changes.push(changes.boxed());
            self.kinds.insert(kind, Watched { resource, is_namespaced, stop, listing: None });
        }
        Ok(())
    }

    fn forget_all_but(&mut self, kind: &Kind, named: &BTreeSet<String>) {
        for uid in self.graph.missing(kind, named) {
            let concerned = self.graph.remove(&uid);
            self.dirty.extend(concerned);
        }
    }

    fn take(&mut self, (kind, change): Change) {
        let event = match change {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(%error, kind = &*kind, "resuming the watch of the garbage collector");
                // Perhaps because the kind is no more.
                self.discover = true;
                return;
            }
        };
        if kind.starts_with(DEFINITIONS) {
            self.discover = true;
        }
        let listing = self.kinds.get_mut(&kind).map(|it| &mut it.listing);
        match event {
            watcher::Event::Init => {
                if let Some(listing) = listing {
                    *listing = Some(BTreeSet::new());
                }
            }
            watcher::Event::InitApply(object) => {
                if let Some(Some(named)) = listing {
                    named.insert(object.uid.to_string());
                }
                self.put(kind, object);
            }
            watcher::Event::InitDone => {
                let named = listing.and_then(Option::take).unwrap_or_default();
                self.forget_all_but(&kind, &named);
            }
            watcher::Event::Apply(object) => self.put(kind, object),
            watcher::Event::Delete(object) => {
                let concerned = self.graph.remove(&object.uid);
                self.dirty.extend(concerned);
            }
        }
    }

    fn put(&mut self, kind: Kind, meta: Held) {
        let concerned = self.graph.put(Object { kind, meta });
        self.dirty.extend(concerned);
    }

    /// Judge who is concerned, and carry it out, until nobody is.
    async fn work(&mut self) {
        while !self.dirty.is_empty() {
            let dirty = std::mem::take(&mut self.dirty);
            let verdicts = dirty.into_iter().map(|uid| (self.graph.judge(&uid), uid));
            let verdicts: Vec<_> = verdicts.filter(|(verdict, _)| *verdict != Verdict::Keep).collect();
            let hands = &Hands { client: &self.client, graph: &self.graph, kinds: &self.kinds };
            let done: Vec<_> = futures::stream::iter(verdicts)
                .map(|(verdict, uid)| async move {
                    let result = hands.carry_out(&uid, verdict).await;
                    (uid, result)
                })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            for (uid, result) in done {
                match result {
                    Ok(answers) => {
                        let Some(namespace) = self.graph.get(&uid).map(|it| it.meta.namespace.clone()) else {
                            continue;
                        };
                        if !answers.is_empty() {
                            self.dirty.insert(uid);
                        }
                        for (owner, answer) in answers {
                            self.graph.answer(&owner, &namespace, answer);
                        }
                    }
                    // Gone, or changed: the watch brings what it is now.
                    Err(kube::Error::Api(status)) if status.is_not_found() => {}
                    Err(error) => {
                        tracing::debug!(%error, uid, "collect an object; will retry");
                        self.later.insert(uid);
                    }
                }
            }
        }
    }
}

/// What carries out verdicts: it reads what is known and writes to the server.
struct Hands<'a> {
    client: &'a Client,
    graph: &'a Graph<Kind>,
    kinds: &'a BTreeMap<Kind, Watched>,
}

impl Hands<'_> {
    async fn carry_out(&self, uid: &str, verdict: Verdict) -> Result<Vec<(OwnerReference, Asked)>, kube::Error> {
        let Some(object) = self.graph.get(uid) else { return Ok(Vec::new()) };
        match verdict {
            Verdict::Keep => {}
            Verdict::Ask(owners) => {
                let mut answers = Vec::new();
                for owner in owners {
                    let answer = self.ask(object, &owner).await?;
                    answers.push((owner, answer));
                }
                return Ok(answers);
            }
            Verdict::Delete(policy) => self.delete(object, policy).await?,
            Verdict::KeepOwners(owners) => self.patch(object, "ownerReferences", json!(owners)).await?,
            Verdict::Release(finalizer) => self.release(object, finalizer).await?,
            Verdict::Abandon(dependents) => {
                for dependent in dependents.iter().filter_map(|it| self.graph.get(it)) {
                    let others: Vec<&OwnerReference> =
                        dependent.meta.owners.iter().filter(|it| it.uid != uid).collect();
                    match self.patch(dependent, "ownerReferences", json!(others)).await {
                        Err(kube::Error::Api(status)) if status.is_not_found() => {}
                        result => result?,
                    }
                }
                self.release(object, ORPHAN).await?;
            }
        }
        Ok(Vec::new())
    }

    async fn ask(&self, object: &Object<Kind>, owner: &OwnerReference) -> Result<Asked, kube::Error> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let of_kind = |it: &&Watched| it.resource.group == group && it.resource.kind == owner.kind;
        let Some(watched) = self.kinds.values().find(of_kind) else { return Ok(Asked::Unresolvable) };
        let namespace = &*object.meta.namespace;
        if watched.is_namespaced && namespace.is_empty() {
            return Ok(Asked::Unresolvable);
        }
        let api = self.api(watched, namespace);
        let found = api.get_metadata_opt(&owner.name).await?;
        Ok(if found.is_some_and(|it| it.metadata.uid.as_ref() == Some(&owner.uid)) {
            Asked::Exists
        } else {
            Asked::Absent
        })
    }

    fn api(&self, watched: &Watched, namespace: &str) -> Api<DynamicObject> {
        if watched.is_namespaced {
            Api::namespaced_with(self.client.clone(), namespace, &watched.resource)
        } else {
            Api::all_with(self.client.clone(), &watched.resource)
        }
    }

    fn place(&self, object: &Object<Kind>) -> Option<(Api<DynamicObject>, String)> {
        let watched = self.kinds.get(&object.kind)?;
        Some((self.api(watched, &object.meta.namespace), object.meta.name.to_string()))
    }

    async fn delete(&self, object: &Object<Kind>, policy: Policy) -> Result<(), kube::Error> {
        let Some((api, name)) = self.place(object) else { return Ok(()) };
        let params = DeleteParams {
            // Only as it was judged: it may have got another owner since.
            preconditions: Some(Preconditions {
                uid: Some(object.meta.uid.to_string()),
                resource_version: Some(object.meta.revision.to_string()),
            }),
            propagation_policy: Some(match policy {
                Policy::Background => PropagationPolicy::Background,
                Policy::Foreground => PropagationPolicy::Foreground,
                Policy::Orphan => PropagationPolicy::Orphan,
            }),
            ..DeleteParams::default()
        };
        tracing::debug!(kind = &*object.kind, name, "delete what nobody owns any more");
        api.delete(&name, &params).await.map(drop)
    }

    async fn release(&self, object: &Object<Kind>, finalizer: &str) -> Result<(), kube::Error> {
        let rest: Vec<&String> = object.meta.finalizers.iter().filter(|it| *it != finalizer).collect();
        self.patch(object, "finalizers", json!(rest)).await
    }

    /// One field of the metadata, of the very object and revision that was judged.
    async fn patch(&self, object: &Object<Kind>, field: &str, value: serde_json::Value) -> Result<(), kube::Error> {
        let Some((api, name)) = self.place(object) else { return Ok(()) };
        let Held { uid, revision, .. } = &object.meta;
        let body = json!({"metadata": {"uid": uid, "resourceVersion": revision, field: value}});
        api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&body)).await.map(drop)
    }
}

fn name(resource: &ApiResource) -> Kind {
    match resource.group.as_str() {
        "" => resource.plural.as_str().into(),
        group => format!("{}.{group}", resource.plural).into(),
    }
}
