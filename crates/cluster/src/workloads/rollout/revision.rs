//! The numbering of generations: which template came when, and the ReplicaSet of a template that has none yet.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use kube::api::ObjectMeta;

use super::super::claim::control;
use super::super::plan::{Effect, Plan, Scene, Told, Trouble};
use super::super::template::{self, HASH_LABEL, annotation};
use super::super::view::Key;
use super::fleet::{Fleet, replicas};
use super::{Wanted, progress, scale, scaled};

/// Which generation it is; kubectl's `rollout history` and `undo` go by it.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// The numbers it had before, if the Deployment went back to it.
pub(super) const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The replicas the Deployment wanted when the set was last given a size.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// That with the surge.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a Deployment that are not its ReplicaSets'.
const NOT_COPIED: [&str; 5] = ["kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAX];

/// The longest history that is kept, in characters.
const LONGEST_HISTORY: usize = 2000;

/// The number of a generation; 0 if it has none.
pub(super) fn of(meta: &ObjectMeta) -> i64 {
    annotation(meta, REVISION).and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// Notes on a set what the Deployment wants.
pub(super) fn note_sizes(set: &mut ReplicaSet, wanted: &Wanted<'_>) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED.to_owned(), wanted.replicas.to_string());
    annotations.insert(MAX.to_owned(), wanted.ceiling().to_string());
}

fn next(fleet: &Fleet) -> i64 {
    fleet.old.iter().map(|it| of(&it.metadata)).max().unwrap_or_default() + 1
}

/// Annotations of the Deployment and the number of the generation, onto the set.
fn annotate(deployment: &ObjectMeta, set: &mut ObjectMeta, number: i64) {
    let before = of(set);
    let was_numbered = annotation(set, REVISION).map(ToOwned::to_owned);
    let annotations = set.annotations.get_or_insert_default();
    for (name, value) in deployment.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&name.as_str()) && annotations.get(name) != Some(value) {
            annotations.insert(name.clone(), value.clone());
        }
    }
    if before < number {
        annotations.insert(REVISION.to_owned(), number.to_string());
        if let Some(was) = was_numbered {
            let mut past: Vec<&str> = Vec::new();
            let history = annotations.get(HISTORY).cloned().unwrap_or_default();
            past.extend(history.split(',').filter(|it| !it.is_empty()));
            past.push(&was);
            while past.len() > 1 && past.iter().map(|it| it.len() + 1).sum::<usize>() > LONGEST_HISTORY {
                past.remove(0);
            }
            let history = past.join(",");
            annotations.insert(HISTORY.to_owned(), history);
        }
    }
}

fn number(deployment: &mut Deployment, number: i64) {
    deployment.metadata.annotations.get_or_insert_default().insert(REVISION.to_owned(), number.to_string());
}

/// Keeps the present generation's number, annotations and `minReadySeconds`, and the Deployment's number.
pub(super) fn sync(scene: &Scene<'_, Deployment>, deployment: &mut Deployment, fleet: &mut Fleet) {
    let next = next(fleet);
    let Some(new) = &mut fleet.new else { return };
    annotate(&deployment.metadata, &mut new.metadata, next);
    if let (Some(set), Some(spec)) = (&mut new.spec, &deployment.spec)
        && set.min_ready_seconds.unwrap_or_default() != spec.min_ready_seconds.unwrap_or_default()
    {
        set.min_ready_seconds = spec.min_ready_seconds;
    }
    let current = of(&new.metadata);
    number(deployment, current);
    let status = deployment.status.get_or_insert_default();
    if deployment.spec.as_ref().is_some_and(|it| it.progress_deadline_seconds.is_some()) {
        progress::note_found(status, new.metadata.name.as_deref().unwrap_or_default(), scene.stamp());
    }
}

/// The set of a template that has none yet. `false`: its name is taken, and the plan says how to go on.
pub(super) fn create(
    scene: &Scene<'_, Deployment>,
    wanted: &Wanted<'_>,
    deployment: &mut Deployment,
    fleet: &mut Fleet,
    plan: &mut Plan,
) -> bool {
    let collisions = deployment.status.as_ref().and_then(|it| it.collision_count);
    let hash = template::hash(&template::canonical(&wanted.spec.template), collisions);
    let name = format!("{}-{hash}", scene.name());
    if scene.view.replica_sets.get(&Key::new(scene.namespace(), &name)).is_some() {
        // Another object has the name (it is not of our template, or it is not ours): count, and take the next one.
        let mut status = deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(collisions.unwrap_or_default().saturating_add(1));
        plan.push(Effect::status(&Deployment { status: Some(status), ..deployment.clone() }));
        return false;
    }
    let mut given = wanted.spec.template.clone();
    template::labels(given.metadata.get_or_insert_default()).insert(HASH_LABEL.to_owned(), hash.clone());
    let mut selector = wanted.spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash);
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(scene.namespace().to_owned()),
            labels: given.metadata.as_ref().and_then(|it| it.labels.clone()),
            owner_references: Some(vec![control(scene.owner.as_ref())]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(scale::room_for_new(wanted, fleet)),
            min_ready_seconds: wanted.spec.min_ready_seconds,
            selector,
            template: Some(given),
        }),
        status: None,
    };
    let next = next(fleet);
    annotate(&deployment.metadata, &mut set.metadata, next);
    note_sizes(&mut set, wanted);
    let size = replicas(&set);
    let status = deployment.status.get_or_insert_default();
    if let Some(Trouble { message, .. }) = scene.trouble
        && wanted.deadline().is_some()
    {
        let mut failed = scene.owner.status.clone().unwrap_or_default();
        progress::note_not_created(&mut failed, &name, message, scene.stamp());
        if scene.owner.status.as_ref() != Some(&failed) {
            plan.push(Effect::status(&Deployment { status: Some(failed), ..Deployment::clone(scene.owner) }));
            return false;
        }
    }
    let mut effect = Effect::create(&set).failed(Told::warning(
        "ReplicaSetCreateError",
        format!("Failed to create new replica set \"{name}\": {{error}}"),
    ));
    if size > 0 {
        effect = effect.done(scaled(&name, 0, size));
    }
    plan.push(effect);
    if wanted.deadline().is_some() {
        progress::note_created(status, &name, scene.stamp());
    }
    number(deployment, next);
    fleet.new = Some(set);
    true
}
