//! Who owns whom, and what follows from it (reference: `pkg/controller/garbagecollector`). Pure: it is told what the
//! watches say, and says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;

/// An owner that waits for what it owns.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// An owner that leaves behind what it owns.
pub(super) const ORPHAN: &str = "orphan";

/// An object as far as ownership goes. `K` says of which kind it is.
#[derive(Clone, Debug)]
pub(super) struct Object<K> {
    /// Its kind.
    pub kind: K,
    /// Its metadata.
    pub meta: Held,
}

/// What is kept of an object's metadata: who it is, who owns it, and what holds it back.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// `uid`.
    pub uid: Arc<str>,
    /// `namespace`; empty where the kind has none.
    pub namespace: Box<str>,
    /// `name`.
    pub name: Box<str>,
    /// `resourceVersion`.
    pub revision: Box<str>,
    /// `ownerReferences`.
    pub owners: Box<[OwnerReference]>,
    /// `finalizers`.
    pub finalizers: Box<[String]>,
    /// Whether somebody has begun to delete it.
    pub is_going: bool,
}

impl Held {
    /// Of this.
    pub(super) fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            namespace: meta.namespace.as_deref().unwrap_or_default().into(),
            name: meta.name.as_deref().unwrap_or_default().into(),
            revision: meta.resource_version.as_deref().unwrap_or_default().into(),
            owners: meta.owner_references.clone().unwrap_or_default().into(),
            finalizers: meta.finalizers.clone().unwrap_or_default().into(),
            is_going: meta.deletion_timestamp.is_some(),
        }
    }
}

impl<K> Object<K> {
    fn has(&self, finalizer: &str) -> bool {
        self.meta.finalizers.iter().any(|it| it == finalizer)
    }

    fn waits_for_dependents(&self) -> bool {
        self.meta.is_going && self.has(FOREGROUND)
    }

    fn is_same_but_for_its_revision(&self, other: &Self) -> bool
    where
        K: PartialEq,
    {
        let Held { uid, namespace, name, revision: _, owners, finalizers, is_going } = &self.meta;
        self.kind == other.kind
            && (uid, namespace, name) == (&other.meta.uid, &other.meta.namespace, &other.meta.name)
            && (owners, finalizers, is_going) == (&other.meta.owners, &other.meta.finalizers, &other.meta.is_going)
    }
}

/// What becomes of the dependents of something that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// They go later.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// What is to be done about an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// First ask the server whether these owners exist: the graph does not know them.
    Ask(Vec<OwnerReference>),
    /// Delete it: nobody is left who owns it.
    Delete(Policy),
    /// Some of its owners are gone or wait for it, others hold it: these references stay.
    KeepOwners(Vec<OwnerReference>),
    /// It has left its dependents behind (these, by their UIDs): take the references off them, then let it go.
    Abandon(Vec<String>),
    /// Nothing holds it back any more: take this finalizer off.
    Release(&'static str),
}

/// What is known of an owner that no watch has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It exists.
    Exists,
    /// It does not, or under another UID.
    Absent,
    /// The reference can never be resolved; it holds.
    Unresolvable,
}

/// Every object by UID, and who names it as an owner.
#[derive(Debug)]
pub(super) struct Graph<K> {
    objects: BTreeMap<Arc<str>, Object<K>>,
    dependents: BTreeMap<String, BTreeSet<String>>,
    /// Answers of the server, by the owner's UID and the namespace it was looked for in.
    asked: BTreeMap<(String, String), Asked>,
}

impl<K> Default for Graph<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), dependents: BTreeMap::new(), asked: BTreeMap::new() }
    }
}

impl<K: Clone + PartialEq> Graph<K> {
    /// The object of this UID.
    pub(super) fn get(&self, uid: &str) -> Option<&Object<K>> {
        self.objects.get(uid)
    }

    /// An object is there, or has changed; whom that concerns.
    pub(super) fn put(&mut self, object: Object<K>) -> BTreeSet<String> {
        let uid = Arc::clone(&object.meta.uid);
        if let Some(known) = self.objects.get_mut(&uid)
            && known.is_same_but_for_its_revision(&object)
        {
            // Nearly always: what changes of a pod is its status. Nobody is judged by that.
            known.meta.revision = object.meta.revision;
            return BTreeSet::new();
        }
        let mut concerned = BTreeSet::from([uid.to_string()]);
        let before = self.objects.remove(&uid);
        if let Some(before) = &before {
            self.unlink(before);
            // Who no longer names an owner no longer holds it back.
            concerned.extend(before.meta.owners.iter().map(|it| it.uid.clone()));
        }
        for owner in &object.meta.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.to_string());
        }
        if object.waits_for_dependents() && !before.is_some_and(|it| it.waits_for_dependents()) {
            concerned.extend(self.dependents_of(&uid).map(ToOwned::to_owned));
        }
        self.asked.retain(|(asked, _), _| **asked != *uid);
        self.objects.insert(uid, object);
        concerned
    }

    /// An object is gone; whom that concerns.
    pub(super) fn remove(&mut self, uid: &str) -> BTreeSet<String> {
        let mut concerned: BTreeSet<String> = self.dependents_of(uid).map(ToOwned::to_owned).collect();
        if let Some(gone) = self.objects.remove(uid) {
            self.unlink(&gone);
            concerned.extend(gone.meta.owners.iter().map(|it| it.uid.clone()));
            self.asked.insert((uid.to_owned(), gone.meta.namespace.into()), Asked::Absent);
        }
        if !self.dependents.contains_key(uid) {
            self.asked.retain(|(asked, _), _| asked != uid);
        }
        concerned
    }

    /// The objects of a kind that are not among `named`: a new list of it does not have them.
    pub(super) fn missing(&self, kind: &K, named: &BTreeSet<String>) -> Vec<String> {
        let of_kind = self.objects.iter().filter(|(uid, it)| it.kind == *kind && !named.contains(&***uid));
        of_kind.map(|(uid, _)| uid.to_string()).collect()
    }

    /// The server has answered.
    pub(super) fn answer(&mut self, owner: &OwnerReference, namespace: &str, answer: Asked) {
        self.asked.insert((owner.uid.clone(), namespace.to_owned()), answer);
    }

    fn unlink(&mut self, object: &Object<K>) {
        for owner in &object.meta.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(&*object.meta.uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    fn dependents_of(&self, uid: &str) -> impl Iterator<Item = &str> {
        self.dependents.get(uid).into_iter().flatten().map(String::as_str)
    }

    /// What is to be done about the object of this UID.
    pub(super) fn judge(&self, uid: &str) -> Verdict {
        let Some(object) = self.objects.get(uid) else { return Verdict::Keep };
        if object.meta.is_going && object.has(ORPHAN) {
            return Verdict::Abandon(self.dependents_of(uid).map(ToOwned::to_owned).collect());
        }
        if object.waits_for_dependents() {
            return if self.is_held_back(uid) { Verdict::Keep } else { Verdict::Release(FOREGROUND) };
        }
        if object.meta.is_going || object.meta.owners.is_empty() {
            return Verdict::Keep;
        }
        self.judge_owned(object)
    }

    /// Whether a dependent that says so is still there.
    fn is_held_back(&self, uid: &str) -> bool {
        let blocks = |it: &OwnerReference| it.uid == uid && it.block_owner_deletion == Some(true);
        self.dependents_of(uid).filter_map(|it| self.objects.get(it)).any(|it| it.meta.owners.iter().any(blocks))
    }

    fn judge_owned(&self, object: &Object<K>) -> Verdict {
        let namespace = &*object.meta.namespace;
        let (mut solid, mut waiting, mut unknown, mut dangling) = (Vec::new(), 0, Vec::new(), 0);
        for owner in &object.meta.owners {
            let there = |it: &&Object<K>| it.meta.namespace.is_empty() || *it.meta.namespace == *namespace;
            let shown = self.objects.get(&*owner.uid).filter(there);
            match (shown, self.asked.get(&(owner.uid.clone(), namespace.to_owned()))) {
                (Some(it), _) if it.waits_for_dependents() => waiting += 1,
                (Some(_), _) | (None, Some(Asked::Exists | Asked::Unresolvable)) => solid.push(owner.clone()),
                (None, Some(Asked::Absent)) => dangling += 1,
                (None, None) => unknown.push(owner.clone()),
            }
        }
        if !unknown.is_empty() {
            return Verdict::Ask(unknown);
        }
        if !solid.is_empty() {
            return if waiting + dangling == 0 { Verdict::Keep } else { Verdict::KeepOwners(solid) };
        }
        // An owner that waits for this one waits for what this one owns, too.
        if waiting > 0 && self.dependents_of(&object.meta.uid).next().is_some() {
            return Verdict::Delete(Policy::Foreground);
        }
        Verdict::Delete(if object.has(ORPHAN) {
            Policy::Orphan
        } else if object.has(FOREGROUND) {
            Policy::Foreground
        } else {
            Policy::Background
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(uid: &str, owners: &[&str], change: Value) -> Object<u8> {
        let owners: Vec<Value> = owners
            .iter()
            .map(|it| {
                let (uid, blocks) = it.strip_suffix('!').map_or((*it, false), |it| (it, true));
                json!({"apiVersion": "v1", "kind": "ConfigMap", "name": uid, "uid": uid, "blockOwnerDeletion": blocks})
            })
            .collect();
        let mut meta = json!({"name": uid, "namespace": "n", "uid": uid, "ownerReferences": owners});
        meta.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Object { kind: 0, meta: Held::of(&serde_json::from_value(meta).unwrap()) }
    }

    fn going(finalizer: &str) -> Value {
        json!({"deletionTimestamp": "2030-01-01T00:00:00Z", "finalizers": [finalizer]})
    }

    fn graph(objects: impl IntoIterator<Item = Object<u8>>) -> Graph<u8> {
        let mut graph = Graph::default();
        for object in objects {
            graph.put(object);
        }
        graph
    }

    #[track_caller]
    fn check(graph: &Graph<u8>, uid: &str, expect: &str) {
        let found = match graph.judge(uid) {
            Verdict::Keep => "keep".to_owned(),
            Verdict::Ask(owners) => format!("ask {}", names(&owners)),
            Verdict::Delete(policy) => format!("delete {policy:?}"),
            Verdict::KeepOwners(owners) => format!("keep owners {}", names(&owners)),
            Verdict::Abandon(dependents) => format!("abandon {}", dependents.join(" ")),
            Verdict::Release(finalizer) => format!("release {finalizer}"),
        };
        assert_eq!(found, expect);
    }

    fn names(owners: &[OwnerReference]) -> String {
        owners.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_owned_goes_when_its_last_owner_does() {
        let mut graph =
            graph([object("a", &[], json!({})), object("b", &[], json!({})), object("c", &["a", "b"], json!({}))]);
        check(&graph, "c", "keep");
        assert!(graph.remove("a").contains("c"));
        check(&graph, "c", "keep owners b");
        graph.put(object("c", &["b"], json!({})));
        assert!(graph.remove("b").contains("c"));
        check(&graph, "c", "delete Background");
    }

    #[test]
    fn an_owner_that_was_never_seen_is_asked_for() {
        let mut graph = graph([object("c", &["x"], json!({}))]);
        check(&graph, "c", "ask x");
        let owner = graph.get("c").unwrap().meta.owners[0].clone();
        graph.answer(&owner, "n", Asked::Exists);
        check(&graph, "c", "keep");
        graph.answer(&owner, "n", Asked::Unresolvable);
        check(&graph, "c", "keep");
        graph.answer(&owner, "n", Asked::Absent);
        check(&graph, "c", "delete Background");
    }

    #[test]
    fn an_owner_elsewhere_is_none() {
        let graph = graph([object("a", &[], json!({"namespace": "m"})), object("c", &["a"], json!({}))]);
        check(&graph, "c", "ask a");
    }

    #[test]
    fn in_the_foreground_what_blocks_goes_first() {
        let mut graph = graph([
            object("a", &[], json!({})),
            object("b", &["a!"], json!({})),
            object("leaf", &["b!"], json!({})),
            object("loose", &["a"], json!({})),
        ]);
        let concerned = graph.put(object("a", &[], going(FOREGROUND)));
        assert_eq!(concerned.into_iter().collect::<Vec<_>>(), ["a", "b", "loose"]);
        check(&graph, "a", "keep");
        check(&graph, "b", "delete Foreground");
        check(&graph, "loose", "delete Background");
        graph.put(object("b", &["a!"], going(FOREGROUND)));
        check(&graph, "leaf", "delete Background");
        assert!(graph.remove("leaf").contains("b"));
        check(&graph, "b", "release foregroundDeletion");
        assert!(graph.remove("b").contains("a"));
        check(&graph, "a", "release foregroundDeletion");
    }

    #[test]
    fn orphans_are_left_behind() {
        let graph =
            graph([object("a", &[], going(ORPHAN)), object("b", &["a!"], json!({})), object("c", &["a"], json!({}))]);
        check(&graph, "a", "abandon b c");
    }

    #[test]
    fn what_is_going_already_is_left_to_go() {
        let mut graph = graph([object("a", &[], json!({})), object("b", &["a"], going("example.com/held"))]);
        graph.remove("a");
        check(&graph, "b", "keep");
        check(&graph, "unknown", "keep");
    }

    #[test]
    fn its_own_finalizer_says_how_an_object_goes() {
        let mut graph = graph([object("a", &[], json!({})), object("b", &["a"], json!({"finalizers": [ORPHAN]}))]);
        graph.remove("a");
        check(&graph, "b", "delete Orphan");
    }
}
