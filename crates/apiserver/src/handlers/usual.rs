//! The usual write of a pod: a patch of its spec or its status that nobody else is asked about. Only the part that it names
//! is made into a tree; the others go from the stored object into the next one as they are. Whatever is unusual about a
//! patch, and whatever is to be refused, is left to the general way ([`super::write`]), so that every refusal is said in one
//! place.

use serde_json::{Map, Value};

use super::Api;
use super::ownership::Author;
use crate::kinds::{Backing, Resource, Strategy};
use crate::metadata;
use crate::options::WriteOptions;
use crate::patch::{self, PatchType};
use crate::route::Target;
use crate::store::{Draft, Expect, Object, Pieces, Write};
use crate::strategy::{Admitted, Part, Passage, Stored};

/// Parts of a pod that need not be looked at where a patch does not name them.
const PARTS: [&str; 2] = ["spec", "status"];

/// Fields of the metadata that a patch may name to say which object it is for.
const NAMING: [&str; 4] = ["name", "namespace", "uid", "resourceVersion"];

/// A patch of the usual kind.
pub(super) struct Usual<'a> {
    patch_type: PatchType,
    body: &'a [u8],
    parts: Vec<&'static str>,
}

impl<'a> Usual<'a> {
    /// The patch, if it is one.
    pub(super) fn of(
        resource: &Resource,
        patch_type: PatchType,
        options: &WriteOptions,
        body: &'a [u8],
    ) -> Option<Self> {
        let merges = matches!(patch_type, PatchType::Strategic | PatchType::Merge);
        let is_pod = matches!(resource.strategy, Strategy::Pod) && matches!(resource.backing, Backing::Stored(_));
        if !merges || !is_pod || options.dry_run {
            return None;
        }
        let patch: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let names_only = |metadata: &Value| {
            metadata.as_object().is_some_and(|it| it.keys().all(|name| NAMING.contains(&name.as_str())))
        };
        let is_usual = patch.iter().all(|(name, value)| match name.as_str() {
            "metadata" => names_only(value),
            name => PARTS.contains(&name) && value.is_object(),
        });
        let parts = PARTS.into_iter().filter(|it| patch.contains_key(*it)).collect();
        is_usual.then_some(Self { patch_type, body, parts })
    }
}

impl Api {
    /// What a usual patch makes of this state of a pod, and what must be written with it; `None` where that has to be worked
    /// out in the general way.
    pub(super) fn usually(
        &self,
        target: &Target,
        options: &WriteOptions,
        author: &Author,
        old: &Object,
        patch: &Usual<'_>,
    ) -> Option<(Write, Vec<Write>)> {
        let (resource, part) = (target.resource, Part::of(target));
        if self.webhooks.any() || old.pod().ok()?.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let mut tree = old.narrowed(&patch.parts);
        let patched = patch::apply(patch.patch_type, resource, &tree, patch.body, options.field_validation).ok()?;
        if !patched.warnings.is_empty() {
            return None;
        }
        let mut object = patched.value;
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.into();
        metadata::place(target, &mut object).ok()?;
        let stored = Stored { object: old, value: &tree };
        metadata::update(resource, &mut object, stored).ok()?;
        let asked = (part == Part::Resize).then(|| author.changes(stored.value, &object));
        let mut passage = Passage::update(&self.store, target, part, object, stored).ok()?;
        passage.prepare();
        passage.validate().ok()?;
        passage.admit().ok()?;
        let Admitted { object, kept, pod, also } = passage.charge().ok()?;
        if PARTS.iter().any(|it| !kept.contains(it) && !patch.parts.contains(it)) {
            return None; // something else has changed with it
        }
        for part in &kept {
            tree.as_object_mut()?.remove(*part);
        }
        let managed = match old.managed() {
            Some(managed) => {
                let changes = author.changed(&tree, &object, asked);
                author.recorded(&changes, &managed, self.clock.now())?
            }
            None => None,
        };
        let mut outline = (self.store.indexer())(target.collection(), &object);
        let before = old.outline();
        let parts: Vec<_> = kept.iter().filter_map(|part| Some((*part, old.part(part)?))).collect();
        let members: Vec<_> = parts.iter().map(|(part, json)| (*part, &**json)).collect();
        for part in kept {
            if let Some(shown) = before.get(part) {
                outline[part] = shown.clone();
            }
        }
        let pieces = Pieces { object: &object, managed: managed.as_deref(), members: &members };
        let draft = Draft::of(pieces, &outline);
        let expect = Expect::Revision(old.revision);
        Some((Write { key: old.key.clone(), expect, draft: draft.known(pod), remove: false }, also))
    }
}
