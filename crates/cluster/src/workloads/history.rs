//! The templates an owner has had, kept as ControllerRevisions by those that have no ReplicaSets to keep them
//! (reference: `pkg/controller/history`).

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::claim::control;
use super::plan::{Effect, Plan, Scene};
use super::template;
use super::view::{Key, Watched};

/// The label of a pod that says which revision it is of.
pub(super) const REVISION_LABEL: &str = "controller-revision-hash";

/// What differs between the kinds that keep a history.
pub(super) struct Source<'a> {
    pub template: &'a PodTemplateSpec,
    pub selector: &'a LabelSelector,
    /// `status.collisionCount`.
    pub collisions: Option<i32>,
    /// Where a revision notes its hash.
    pub hash_label: &'static str,
}

/// The templates of an owner.
pub(super) struct History {
    /// That of the present template, as it is or will be.
    pub present: ControllerRevision,
    /// All that there are, oldest first, the present one among them.
    pub all: Vec<ControllerRevision>,
}

/// The name of a revision.
pub(super) fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

/// The template a revision keeps.
pub(super) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut kept = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    kept.as_object_mut()?.remove("$patch");
    serde_json::from_value(kept).ok()
}

/// Kept as the patch that brings the template back: kubectl's `rollout undo` sends it as it is.
fn data(template: &PodTemplateSpec) -> Value {
    let mut kept = template::canonical(template);
    kept["$patch"] = "replace".into();
    json!({"spec": {"template": kept}})
}

/// The history with the present template in it; what is missing is put into the plan. `None`: the name of the new
/// revision is taken, and the owner has to count a collision.
pub(super) fn sync<K: Watched>(scene: &Scene<'_, K>, source: &Source<'_>, plan: &mut Plan) -> Option<History> {
    let claimed = scene.claim::<ControllerRevision>(Some(source.selector), |_| true, plan);
    let mut all: Vec<ControllerRevision> = claimed.into_iter().map(|it| ControllerRevision::clone(it)).collect();
    let order =
        |it: &ControllerRevision| (it.revision, it.metadata.creation_timestamp.clone(), it.metadata.name.clone());
    all.sort_by_key(order);
    let present = template::canonical(source.template);
    let next = all.last().map_or(0, |it| it.revision) + 1;
    let same = all.iter().rposition(|it| template_of(it).is_some_and(|it| template::canonical(&it) == present));
    let present = match same {
        Some(at) if at + 1 == all.len() => all[at].clone(),
        // It was the present one before: it becomes so again, under a new number.
        Some(at) => {
            let mut again = all.remove(at);
            again.revision = next;
            plan.push(Effect::update(&again));
            all.push(again.clone());
            again
        }
        None => {
            let hash = template::hash(&present, source.collisions);
            let name = format!("{}-{hash}", scene.name());
            if scene.view.revisions.get(&Key::new(scene.namespace(), &name)).is_some() {
                return None;
            }
            let mut labels = source.template.metadata.as_ref().and_then(|it| it.labels.clone()).unwrap_or_default();
            labels.insert(source.hash_label.to_owned(), hash);
            let made = ControllerRevision {
                metadata: ObjectMeta {
                    name: Some(name),
                    namespace: Some(scene.namespace().to_owned()),
                    labels: Some(labels),
                    annotations: scene.meta().annotations.clone(),
                    owner_references: Some(vec![control(scene.owner.as_ref())]),
                    ..ObjectMeta::default()
                },
                data: Some(RawExtension(data(source.template))),
                revision: next,
            };
            plan.push(Effect::create(&made));
            all.push(made.clone());
            made
        }
    };
    Some(History { present, all })
}

/// Delete the oldest revisions that no pod is of, beyond `limit`.
pub(super) fn truncate(history: &History, live: &[&str], limit: Option<i32>, plan: &mut Plan) {
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
    let dead: Vec<_> = history.all.iter().filter(|it| it.metadata.uid.is_some() && !live.contains(&name(it))).collect();
    let surplus = dead.len().saturating_sub(limit);
    plan.effects.extend(dead.into_iter().take(surplus).map(Effect::delete));
}
