//! Objects of one kind as a watch tells of them: what is there, by namespace and name, and what a new list leaves out is
//! gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::runtime::watcher;
use kube::{Resource, ResourceExt as _};

/// Namespace (empty for what has none) and name.
pub type Name = (Arc<str>, Arc<str>);

/// What changed on a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// This object is there, or otherwise than it was.
    There(Name),
    /// This object is gone.
    Gone(Name),
    /// A list has been read to its end: from now on what is not here is not there.
    Listed(Vec<Name>),
    /// Nothing that anybody can see yet.
    Nothing,
}

impl Moved {
    /// Whatever is otherwise than it was.
    pub fn names(self) -> Vec<Name> {
        match self {
            Self::There(name) | Self::Gone(name) => vec![name],
            Self::Listed(gone) => gone,
            Self::Nothing => Vec::new(),
        }
    }
}

/// Objects of one kind, each cut down to a `V`, which is in a box because half of a map's room is empty.
#[derive(Debug)]
pub struct Shelf<V> {
    objects: BTreeMap<Name, Box<V>>,
    listing: Option<BTreeSet<Name>>,
    listed: bool,
}

impl<V> Default for Shelf<V> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listing: None, listed: false }
    }
}

/// Namespace and name of an object.
pub fn name_of<K: Resource>(object: &K) -> Name {
    (Arc::from(object.namespace().unwrap_or_default()), Arc::from(object.name_any()))
}

impl<V> Shelf<V> {
    /// Take in what the watch says; `keep` cuts an object down.
    pub fn take<K: Resource>(&mut self, event: watcher::Event<K>, keep: impl FnOnce(K) -> V) -> Moved {
        match event {
            watcher::Event::Init => {
                self.listing = Some(BTreeSet::new());
                Moved::Nothing
            }
            watcher::Event::InitApply(object) => {
                let name = name_of(&object);
                if let Some(listing) = &mut self.listing {
                    listing.insert(name.clone());
                }
                self.objects.insert(name.clone(), Box::new(keep(object)));
                Moved::There(name)
            }
            watcher::Event::InitDone => {
                self.listed = true;
                let listing = self.listing.take().unwrap_or_default();
                let gone: Vec<Name> = self.objects.keys().filter(|it| !listing.contains(*it)).cloned().collect();
                for name in &gone {
                    self.objects.remove(name);
                }
                Moved::Listed(gone)
            }
            watcher::Event::Apply(object) => {
                let name = name_of(&object);
                self.objects.insert(name.clone(), Box::new(keep(object)));
                Moved::There(name)
            }
            watcher::Event::Delete(object) => {
                let name = name_of(&object);
                self.objects.remove(&name);
                Moved::Gone(name)
            }
        }
    }

    /// Whether a first list has been read to its end: before that, what is absent may only not have come yet.
    pub const fn is_listed(&self) -> bool {
        self.listed
    }

    /// One of them.
    pub fn get(&self, name: &Name) -> Option<&V> {
        self.objects.get(name).map(|it| &**it)
    }

    /// One of them, to be changed.
    pub fn get_mut(&mut self, name: &Name) -> Option<&mut V> {
        self.objects.get_mut(name).map(|it| &mut **it)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &V)> {
        self.objects.iter().map(|(name, it)| (name, &**it))
    }

    /// Those of one namespace.
    pub fn of_namespace<'a>(&'a self, namespace: &'a Arc<str>) -> impl Iterator<Item = (&'a Name, &'a V)> {
        let first: Name = (namespace.clone(), Arc::from(""));
        let all = self.objects.range(first..).take_while(move |((its, _), _)| its == namespace);
        all.map(|(name, it)| (name, &**it))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use serde_json::json;

    use super::*;

    fn namespace(name: &str) -> Namespace {
        serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
    }

    fn name(it: &str) -> Name {
        (Arc::from(""), Arc::from(it))
    }

    #[test]
    fn a_new_list_forgets_what_it_does_not_name() {
        let mut shelf = Shelf::<()>::default();
        let mut take = |event| shelf.take(event, |_: Namespace| ());
        assert_eq!(take(watcher::Event::Init), Moved::Nothing);
        assert_eq!(take(watcher::Event::InitApply(namespace("a"))), Moved::There(name("a")));
        assert_eq!(take(watcher::Event::InitDone), Moved::Listed(vec![]));
        assert_eq!(take(watcher::Event::Apply(namespace("b"))), Moved::There(name("b")));
        assert_eq!(take(watcher::Event::Init), Moved::Nothing);
        assert_eq!(take(watcher::Event::InitApply(namespace("b"))), Moved::There(name("b")));
        assert_eq!(take(watcher::Event::InitDone), Moved::Listed(vec![name("a")]));
        assert_eq!(take(watcher::Event::Delete(namespace("b"))), Moved::Gone(name("b")));
        assert!(shelf.is_listed() && shelf.iter().next().is_none());
    }
}
