//! Whose is what: an owner adopts what its selector matches and nobody controls, and lets go what it controls and does
//! not match any more (reference: `pkg/controller/controller_ref_manager.go`).

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::ObjectMeta;
use kube::core::{Selector, SelectorExt as _};
use serde_json::json;

use super::plan::{Act, Plan, Scene};
use super::view::{Key, Watched};

/// A label selector ready to match; one that cannot be understood matches nothing.
pub(super) fn selector(selector: &LabelSelector) -> Option<Selector> {
    Selector::try_from(selector.clone()).ok()
}

/// Whether these labels are selected.
pub(super) fn selects(selector: &Selector, meta: &ObjectMeta) -> bool {
    selector.matches(meta.labels.as_ref().unwrap_or(&std::collections::BTreeMap::new()))
}

/// The reference by which `owner` controls an object.
pub(super) fn control<K: Watched>(owner: &K) -> OwnerReference {
    let meta = owner.meta();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

impl<'a, K: Watched> Scene<'a, K> {
    /// The objects of a kind that are the owner's, in the order of their names; what has to be adopted or let go for
    /// that is put into the plan. An object that is only about to be adopted is not among them: it is once the view says
    /// so, and until then a count that misses it is corrected by the adoption itself, which wakes the owner.
    pub(super) fn claim<C: Watched>(
        &self,
        selector: Option<&LabelSelector>,
        is_member: impl Fn(&C) -> bool,
        plan: &mut Plan,
    ) -> Vec<&'a Arc<C>> {
        let Some(selector) = selector.and_then(self::selector) else { return Vec::new() };
        let shelf = C::shelf(self.view);
        let fits = |it: &&Arc<C>| selects(&selector, it.meta()) && is_member(it);
        let (kept, lost): (Vec<_>, Vec<_>) = shelf.controlled_by(self.uid(), self.namespace()).partition(fits);
        if self.is_going() {
            return kept;
        }
        for object in lost {
            plan.push(give(object.as_ref(), self.others(object.meta()), false));
        }
        if !selector.selects_all() {
            let free = shelf.controlled_by("", self.namespace());
            for object in free.filter(fits).filter(|it| it.meta().deletion_timestamp.is_none()) {
                let mut owners = self.others(object.meta());
                owners.push(control(self.owner.as_ref()));
                plan.push(give(object.as_ref(), owners, true));
            }
        }
        kept
    }

    fn others(&self, meta: &ObjectMeta) -> Vec<OwnerReference> {
        meta.owner_references.iter().flatten().filter(|it| it.uid != self.uid()).cloned().collect()
    }
}

/// Only of the very object that was looked at: its revision is named, so that nothing that came since is lost.
fn give<C: Watched>(object: &C, owners: Vec<OwnerReference>, adopts: bool) -> Act {
    let meta = object.meta();
    let body = json!({"metadata": {
        "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": owners,
    }});
    Act::Patch { kind: C::KIND, key: Key::of(meta), body, adopts }
}
