//! What the controllers know: the last seen state of every object they read, by name and by owner. Plain data; who
//! watches fills it, who plans reads it, and a test fills it by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, OnceLock};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kube::core::ApiResource;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use supple_node::{Fed, Followed};

/// Namespace (empty for nodes) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(super) fn of(meta: &ObjectMeta) -> Self {
        Self { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A type the controllers watch.
pub(super) trait Watched:
    Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static
{
    /// Its name among the kinds.
    const KIND: Kind;
    /// Where the view keeps it.
    fn shelf(view: &View) -> &Shelf<Self>;
}

macro_rules! watched {
    ($($kind:ident: $type:ty, $shelf:ident;)*) => {
        /// A kind the controllers read or write.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(super) enum Kind { $(#[doc = stringify!($type)] $kind),* }

        impl Kind {
            /// The kind as a `kube::Api` of any type takes it.
            pub(super) fn resource(self) -> ApiResource {
                match self { $(Self::$kind => ApiResource::erase::<$type>(&())),* }
            }

            /// The kind of an owner reference.
            pub(super) fn of_reference(reference: &OwnerReference) -> Option<Self> {
                $(if reference.kind == <$type>::kind(&()) && reference.api_version == <$type>::api_version(&()) {
                    return Some(Self::$kind);
                })*
                None
            }
        }

        /// Everything the controllers know.
        #[derive(Clone, Debug, Default)]
        pub(super) struct View { $(#[doc = concat!("Every ", stringify!($type))] pub $shelf: Shelf<$type>),* }

        impl View {
            /// Whether the first list of every kind is complete: before that, "no pods" would only mean "not yet".
            pub(super) fn is_complete(&self) -> bool {
                $(self.$shelf.lists > 0)&&*
            }

            /// How far the cache of a kind has come.
            pub(super) fn progress(&self, kind: Kind) -> Progress {
                match kind { $(Kind::$kind => self.$shelf.progress()),* }
            }

            /// Whether an object with this UID is still there and nobody has begun to delete it.
            pub(super) fn is_alive(&self, kind: Kind, key: &Key, uid: &str) -> bool {
                match kind { $(Kind::$kind => self.$shelf.get(key).is_some_and(|it| {
                    it.metadata.uid.as_deref() == Some(uid) && it.metadata.deletion_timestamp.is_none()
                })),* }
            }
        }

        /// What a watch said.
        pub(super) enum Change { $(#[doc = stringify!($type)] $kind(watcher::Event<Brought<$type>>)),* }

        impl View {
            /// Take a change in; what it touched.
            pub(super) fn take(&mut self, change: Change) -> Vec<Touched> {
                match change { $(Change::$kind(event) => self.$shelf.take(event)),* }
            }
        }

        $(impl Watched for $type {
            const KIND: Kind = Kind::$kind;
            fn shelf(view: &View) -> &Shelf<Self> { &view.$shelf }
        })*

        #[cfg(test)]
        impl Change {
            /// The object is there as given, or gone.
            pub(super) fn of(kind: Kind, tree: serde_json::Value, there: bool) -> Self {
                match kind { $(Kind::$kind => {
                    let object = Brought::Whole(Arc::new(serde_json::from_value(tree).unwrap()));
                    Self::$kind(if there { watcher::Event::Apply(object) } else { watcher::Event::Delete(object) })
                })* }
            }
        }

        #[cfg(test)]
        impl View {
            /// The object as JSON.
            pub(super) fn tree(&self, kind: Kind, key: &Key) -> Option<serde_json::Value> {
                match kind { $(Kind::$kind => Some(serde_json::to_value(self.$shelf.get(key)?.as_ref()).unwrap())),* }
            }
        }

        /// The watches that fill a view, one a kind; that of pods is the one they share with others.
        pub(super) fn watches(client: &Client, pods: Fed) -> Vec<Watch> {
            let mut pods = Some(pods);
            let watches = vec![$(match (Kind::$kind, &mut pods) {
                (Kind::Pod, pods) => pods.take().map(fed),
                _ => Some(watch::<$type>(client, Change::$kind)),
            }),*];
            watches.into_iter().flatten().collect()
        }
    };
}

watched! {
    Deployment: Deployment, deployments;
    ReplicaSet: ReplicaSet, replica_sets;
    StatefulSet: StatefulSet, stateful_sets;
    DaemonSet: DaemonSet, daemon_sets;
    Job: Job, jobs;
    Budget: PodDisruptionBudget, budgets;
    Revision: ControllerRevision, revisions;
    Pod: Pod, pods;
    Claim: PersistentVolumeClaim, claims;
    Node: Node, nodes;
}

/// Changes of one kind as they come; resumed after errors, which are passed on to be told.
pub(super) type Watch = BoxStream<'static, Result<Change, watcher::Error>>;

fn watch<K: Watched>(client: &Client, change: fn(watcher::Event<Brought<K>>) -> Change) -> Watch {
    let all = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    all.map(move |it| it.map(|event| change(supple_node::map(event, |it| Brought::Whole(Arc::new(it)))))).boxed()
}

fn fed(pods: Fed) -> Watch {
    pods.map(|it| Ok(Change::Pod(supple_node::map(it, |pod| Brought::Followed(pod, Followed::pod))))).boxed()
}

/// An object as a watch brings it.
#[derive(Clone, Debug)]
pub(super) enum Brought<K> {
    /// As it is.
    Whole(Arc<K>),
    /// To be had from who follows it, in this way.
    Followed(Followed, fn(&Followed) -> Arc<K>),
}

impl<K> From<K> for Brought<K> {
    fn from(object: K) -> Self {
        Self::Whole(Arc::new(object))
    }
}

impl<K> Brought<K> {
    fn whole(&self) -> Arc<K> {
        match self {
            Self::Whole(object) => Arc::clone(object),
            Self::Followed(followed, way) => way(followed),
        }
    }

    fn at_rest(self) -> Self {
        match self {
            Self::Followed(followed, way) => Self::Followed(followed.at_rest(), way),
            whole @ Self::Whole(_) => whole,
        }
    }
}

/// An object on a shelf. A pod that nobody controls is decoded when somebody asks for it.
#[derive(Clone, Debug)]
struct Shelved<K> {
    brought: Brought<K>,
    whole: OnceLock<Arc<K>>,
    revision: u64,
    /// [`concerns`] of it.
    concerns: u64,
}

impl<K> Shelved<K> {
    fn get(&self) -> &Arc<K> {
        self.whole.get_or_init(|| self.brought.whole())
    }
}

/// How far a cache has come, to be compared with what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The newest revision it has seen.
    pub seen: u64,
    /// How many complete lists it has had.
    pub lists: u64,
}

/// What has metadata, of whatever kind it is.
pub(super) trait Described: std::fmt::Debug + Send + Sync {
    /// Its metadata.
    fn described(&self) -> &ObjectMeta;
}

impl<K: Watched> Described for K {
    fn described(&self) -> &ObjectMeta {
        self.meta()
    }
}

/// An object before and after a change, as far as its owners are concerned.
#[derive(Clone, Debug)]
pub(super) struct Touched {
    /// What it is.
    pub kind: Kind,
    old: Option<Arc<dyn Described>>,
    new: Option<Arc<dyn Described>>,
}

impl Touched {
    /// Before; `None`: it is new.
    pub(super) fn before(&self) -> Option<&ObjectMeta> {
        self.old.as_ref().map(|it| it.described())
    }

    /// After; `None`: it is gone.
    pub(super) fn after(&self) -> Option<&ObjectMeta> {
        self.new.as_ref().map(|it| it.described())
    }
}

/// The objects of one kind.
#[derive(Clone, Debug)]
pub(super) struct Shelf<K> {
    objects: BTreeMap<Key, Shelved<K>>,
    /// By the UID of the controller; under the empty one those that nobody controls.
    controlled: BTreeMap<String, BTreeSet<Key>>,
    seen: u64,
    lists: u64,
    /// While a list is being read: what it has named so far.
    listing: Option<BTreeSet<Key>>,
}

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), controlled: BTreeMap::new(), seen: 0, lists: 0, listing: None }
    }
}

impl<K: Watched> Shelf<K> {
    /// The object of this name.
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<K>> {
        self.objects.get(key).map(Shelved::get)
    }

    /// All of them, in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values().map(Shelved::get)
    }

    /// Those of a namespace.
    pub(super) fn within(&self, namespace: &str) -> impl Iterator<Item = &Arc<K>> {
        let namespace = namespace.to_owned();
        self.objects
            .range(Key::new(&namespace, "")..)
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.get())
    }

    /// Those of a namespace that this object controls; with an empty UID those that nobody controls.
    pub(super) fn controlled_by(&self, uid: &str, namespace: &str) -> impl Iterator<Item = &Arc<K>> {
        let namespace = namespace.to_owned();
        let from = Key::new(&namespace, "");
        self.controlled
            .get(uid)
            .into_iter()
            .flat_map(move |keys| keys.range(from.clone()..))
            .take_while(move |key| key.namespace == namespace)
            .filter_map(|key| self.get(key))
    }

    fn progress(&self) -> Progress {
        Progress { seen: self.seen, lists: self.lists }
    }

    /// Put an object in, in place of an older state of it.
    pub(super) fn put(&mut self, brought: impl Into<Brought<K>>) -> Touched {
        let brought = brought.into();
        let object = brought.whole();
        let (key, revision) = (Key::of(object.meta()), revision(object.meta()));
        // Of a list, only the end says how far it brings us: its objects come in no order.
        if self.listing.is_none() {
            self.seen = self.seen.max(revision);
        }
        let was_asked_for = self.objects.get(&key).is_some_and(|it| it.whole.get().is_some());
        let concerns = concerns(object.meta());
        let old = self.objects.get(&key).map(|it| match it.whole.get() {
            Some(whole) => Arc::clone(whole),
            // To its owners it is as it was, and need not be had again.
            None if it.concerns == concerns => Arc::clone(&object),
            None => it.brought.whole(),
        });
        let by = controller(object.meta());
        if old.as_ref().is_none_or(|old| controller(old.meta()) != by) {
            if let Some(old) = &old {
                self.no_longer_controlled(&key, controller(old.meta()));
            }
            self.controlled.entry(by.to_owned()).or_default().insert(key.clone());
        }
        let is_kept = was_asked_for || !by.is_empty();
        let whole = if is_kept { OnceLock::from(Arc::clone(&object)) } else { OnceLock::new() };
        self.objects.insert(key, Shelved { brought: brought.at_rest(), whole, revision, concerns });
        Touched { kind: K::KIND, old: old.map(|it| it as _), new: Some(object) }
    }

    /// Take an object out.
    pub(super) fn remove(&mut self, key: &Key) -> Touched {
        let old = self.objects.remove(key).map(|it| Arc::clone(it.get()));
        if let Some(old) = &old {
            self.no_longer_controlled(key, controller(old.meta()));
        }
        Touched { kind: K::KIND, old: old.map(|it| it as _), new: None }
    }

    fn no_longer_controlled(&mut self, key: &Key, by: &str) {
        if let Some(keys) = self.controlled.get_mut(by) {
            keys.remove(key);
            if keys.is_empty() {
                self.controlled.remove(by);
            }
        }
    }

    fn take(&mut self, event: watcher::Event<Brought<K>>) -> Vec<Touched> {
        match event {
            watcher::Event::Apply(object) => vec![self.put(object)],
            watcher::Event::Delete(object) => {
                let object = object.whole();
                self.seen = self.seen.max(revision(object.meta()));
                vec![self.remove(&Key::of(object.meta()))]
            }
            watcher::Event::Init => {
                self.listing = Some(BTreeSet::new());
                Vec::new()
            }
            watcher::Event::InitApply(object) => {
                if let Some(named) = &mut self.listing {
                    named.insert(Key::of(object.whole().meta()));
                }
                vec![self.put(object)]
            }
            watcher::Event::InitDone => {
                self.lists += 1;
                let named = self.listing.take().unwrap_or_default();
                self.seen = self.objects.values().map(|it| it.revision).fold(self.seen, u64::max);
                let gone: Vec<Key> = self.objects.keys().filter(|key| !named.contains(key)).cloned().collect();
                gone.iter().map(|key| self.remove(key)).collect()
            }
        }
    }
}

/// The revision of an object as a number. Kubernetes promises since v1.35 that they can be compared.
pub(super) fn revision(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// The owner reference of the controller.
pub(super) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|it| it.controller == Some(true))
}

/// A number that is another where an object is another to its owners, or to those who would be.
fn concerns(meta: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    meta.labels.hash(&mut hasher);
    for it in meta.owner_references.iter().flatten() {
        (&it.api_version, &it.kind, &it.name, &it.uid, it.controller).hash(&mut hasher);
    }
    hasher.finish()
}

fn controller(meta: &ObjectMeta) -> &str {
    controller_of(meta).map(|it| it.uid.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, owner: Option<&str>, version: u64) -> Pod {
        let owners: Vec<_> = owner
            .iter()
            .map(|uid| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "o", "uid": uid, "controller": true}))
            .collect();
        let meta = json!({"namespace": "n", "name": name, "uid": name, "resourceVersion": version.to_string(), "ownerReferences": owners});
        serde_json::from_value(json!({"metadata": meta})).unwrap()
    }

    fn names<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>) -> Vec<String> {
        pods.map(|it| it.metadata.name.clone().unwrap()).collect()
    }

    #[test]
    fn objects_are_found_by_owner_as_owners_change() {
        let mut view = View::default();
        view.pods.put(pod("a", Some("u"), 1));
        view.pods.put(pod("b", None, 2));
        assert_eq!(names(view.pods.controlled_by("u", "n")), ["a"]);
        assert_eq!(names(view.pods.controlled_by("", "n")), ["b"]);
        assert_eq!(names(view.pods.controlled_by("u", "m")), [""; 0]);
        let touched = view.pods.put(pod("b", Some("u"), 3));
        assert!(controller_of(touched.before().unwrap()).is_none());
        assert_eq!(names(view.pods.controlled_by("u", "n")), ["a", "b"]);
        view.pods.remove(&Key::new("n", "a"));
        assert_eq!(names(view.pods.controlled_by("u", "n")), ["b"]);
        assert_eq!(view.progress(Kind::Pod).seen, 3);
    }

    #[test]
    fn a_second_list_says_what_has_gone_and_never_shows_a_hole() {
        let mut view = View::default();
        let mut take = |event| view.take(Change::Pod(supple_node::map(event, Brought::from)));
        for event in [watcher::Event::Init, watcher::Event::InitApply(pod("a", None, 1))] {
            take(event);
        }
        take(watcher::Event::InitApply(pod("b", None, 2)));
        assert!(take(watcher::Event::InitDone).is_empty());
        take(watcher::Event::Init);
        take(watcher::Event::InitApply(pod("b", None, 4)));
        assert_eq!(names(view.pods.iter()), ["a", "b"]);
        let gone = view.take(Change::Pod(watcher::Event::InitDone));
        assert_eq!(gone.len(), 1);
        assert_eq!(names(view.pods.iter()), ["b"]);
        assert_eq!(view.progress(Kind::Pod), Progress { seen: 4, lists: 2 });
    }
}
