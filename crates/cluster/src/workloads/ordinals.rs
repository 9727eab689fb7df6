//! Pods with names of their own, in order: the way of a StatefulSet (reference:
//! `pkg/controller/statefulset/stateful_set_control.go`).
//!
//! Slots are filled from the lowest and emptied from the highest. Ordered, nothing happens to a slot while one that
//! matters for it is not well; in parallel, slots are filled and emptied at once, and only an update counts who is
//! missing. The claims of a pod are made before it and kept after it, whatever the retention policy says: the embedded
//! cluster stores them and has no volumes.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, Volume};
use kube::api::ObjectMeta;
use supple_resize::rolling::Fence;

use super::history::{self, History, REVISION_LABEL, Source};
use super::plan::{Effect, Plan, Scene, Told};
use super::pods::{self, Available};
use super::template::{self, label};
use super::view::Key;

/// What of a StatefulSet decides a step, read once.
struct Slots<'a> {
    scene: &'a Scene<'a, StatefulSet>,
    spec: &'a StatefulSetSpec,
    start: i32,
    /// By ordinal, from `start` on.
    filled: Vec<Option<&'a Arc<Pod>>>,
    /// Pods beyond the slots, highest first.
    surplus: Vec<&'a Arc<Pod>>,
    history: &'a History,
    /// The name of the revision that slots below the update keep.
    current: String,
    is_ordered: bool,
}

/// What a StatefulSet needs done.
pub(super) fn plan(scene: &Scene<'_, StatefulSet>) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = scene.owner.spec.clone() else { return plan };
    let old = scene.owner.status.clone().unwrap_or_default();
    let source = Source {
        template: &spec.template,
        selector: &spec.selector,
        collisions: old.collision_count,
        hash_label: "controller.kubernetes.io/hash",
    };
    let Some(history) = history::sync(scene, &source, &mut plan) else {
        let status = StatefulSetStatus { collision_count: Some(old.collision_count.unwrap_or_default() + 1), ..old };
        plan.push(Effect::status(&StatefulSet { status: Some(status), ..StatefulSet::clone(scene.owner) }));
        return plan;
    };
    let is_member = |pod: &Pod| ordinal(scene.name(), pod).is_some();
    let mine = scene.claim::<Pod>(Some(&spec.selector), is_member, &mut plan);
    let known =
        old.current_revision.clone().filter(|it| history.all.iter().any(|revision| history::name(revision) == it));
    let current = known.unwrap_or_else(|| history::name(&history.present).to_owned());
    let slots = Slots::of(scene, &spec, &history, current, &mine);
    let status = slots.status(&mine, &old);
    if status != old || scene.owner.status.is_none() {
        plan.push(Effect::status(&StatefulSet { status: Some(status.clone()), ..StatefulSet::clone(scene.owner) }));
    }
    if scene.is_going() {
        return plan;
    }
    if slots.fill(&mut plan) && slots.empty(&mut plan) {
        slots.update(&mut plan);
    }
    let mut live: Vec<&str> = mine.iter().filter_map(|it| label(&it.metadata, REVISION_LABEL)).collect();
    live.extend([history::name(&history.present), status.current_revision.as_deref().unwrap_or_default()]);
    history::truncate(&history, &live, spec.revision_history_limit, &mut plan);
    plan
}

/// The ordinal in the name of a pod of this set.
fn ordinal(set: &str, pod: &Pod) -> Option<i32> {
    pod.metadata.name.as_deref()?.strip_prefix(set)?.strip_prefix('-')?.parse().ok().filter(|it| *it >= 0)
}

impl<'a> Slots<'a> {
    fn of(
        scene: &'a Scene<'a, StatefulSet>,
        spec: &'a StatefulSetSpec,
        history: &'a History,
        current: String,
        mine: &[&'a Arc<Pod>],
    ) -> Self {
        let start = spec.ordinals.as_ref().and_then(|it| it.start).unwrap_or_default();
        let count = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default();
        let mut by_ordinal: BTreeMap<i32, &Arc<Pod>> =
            mine.iter().filter_map(|pod| Some((ordinal(scene.name(), pod)?, *pod))).collect();
        let ordinals = (start..).take(count);
        let filled = ordinals.map(|at| by_ordinal.remove(&at)).collect();
        let surplus = by_ordinal.into_values().rev().collect();
        let is_ordered = spec.pod_management_policy.as_deref() != Some("Parallel");
        Self { scene, spec, start, filled, surplus, history, current, is_ordered }
    }

    fn present(&self) -> &str {
        history::name(&self.history.present)
    }

    fn availability(&self, pod: &Pod) -> Available {
        if pods::phase(pod) != "Running" {
            return Available::No;
        }
        pods::available(pod, self.spec.min_ready_seconds.unwrap_or_default(), self.scene.now)
    }

    /// Whether it serves: running, ready for long enough, and not on its way out.
    fn is_well(&self, pod: &Pod, plan: &mut Plan) -> bool {
        match self.availability(pod) {
            Available::Yes => !pods::is_going(pod),
            Available::No => false,
            Available::At(at) => {
                plan.again_at(at);
                false
            }
        }
    }

    fn revision(pod: &Pod) -> &str {
        label(&pod.metadata, REVISION_LABEL).unwrap_or_default()
    }

    /// Fill what is empty and remake what has ended, lowest first; whether all is well enough to go on.
    fn fill(&self, plan: &mut Plan) -> bool {
        for (at, slot) in self.filled.iter().enumerate() {
            match slot {
                None => {
                    plan.effects.extend(self.claims(at));
                    plan.push(self.create(at));
                }
                Some(pod) if pods::is_over(pod) => {
                    if !pods::is_going(pod) {
                        let text = format!(
                            "StatefulSet {}/{} is recreating {} Pod {}",
                            self.scene.namespace(),
                            self.scene.name(),
                            if pods::phase(pod) == "Failed" { "failed" } else { "terminated" },
                            name(pod)
                        );
                        plan.push(Effect::tell(Told::warning("RecreatingFailedPod", text)));
                        plan.push(self.delete(pod));
                    }
                }
                Some(pod) if self.is_well(pod, plan) => continue,
                Some(_) => {}
            }
            if self.is_ordered {
                return false;
            }
        }
        true
    }

    /// Take away what is beyond the slots, highest first; whether there is nothing left to take.
    fn empty(&self, plan: &mut Plan) -> bool {
        // The lowest that is not well may go although it is not: nothing else ever makes it so.
        let all = self.filled.iter().flatten().chain(self.surplus.iter().rev());
        let first_unwell = all.into_iter().find(|it| !self.is_well(it, &mut Plan::default())).map(|it| name(it));
        for pod in &self.surplus {
            let is_well = self.is_well(pod, plan);
            if pods::is_going(pod) {
                if self.is_ordered {
                    return false;
                }
                continue;
            }
            if self.is_ordered && !is_well && first_unwell != Some(name(pod)) {
                return false;
            }
            plan.push(self.delete(pod));
            if self.is_ordered {
                return false;
            }
        }
        true
    }

    /// Bring slots to the present template, highest first, down to the partition, and never more of them missing than
    /// allowed. A pod that does not serve anyway is missing already.
    fn update(&self, plan: &mut Plan) {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|it| it.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        let rolling = strategy.and_then(|it| it.rolling_update.as_ref());
        let partition = rolling.and_then(|it| it.partition).unwrap_or_default();
        let replicas = i32::try_from(self.filled.len()).unwrap_or(i32::MAX);
        let allowed = Fence::of_stateful_set(rolling, replicas).unavailable;
        let well: Vec<bool> = self.filled.iter().map(|it| it.is_some_and(|it| self.is_well(it, plan))).collect();
        let missing = i32::try_from(well.iter().filter(|it| !**it).count()).unwrap_or(i32::MAX);
        let mut left = (allowed - missing).max(0);
        for (at, slot) in self.filled.iter().enumerate().skip(usize::try_from(partition).unwrap_or(0)).rev() {
            let Some(pod) = slot.filter(|it| Self::revision(it) != self.present() && !pods::is_going(it)) else {
                continue;
            };
            if well[at] {
                if left == 0 {
                    continue;
                }
                left -= 1;
            }
            plan.push(self.delete(pod));
        }
    }

    /// Whether a pod made for this slot is still of the current revision: an update has not come down to it.
    fn keeps_current(&self, at: usize) -> bool {
        let strategy = self.spec.update_strategy.as_ref();
        let partition = strategy.and_then(|it| it.rolling_update.as_ref()?.partition).unwrap_or_default();
        at < usize::try_from(partition).unwrap_or(0)
    }

    fn ordinal(&self, at: usize) -> i64 {
        i64::from(self.start) + i64::try_from(at).unwrap_or(i64::MAX)
    }

    fn name(&self, at: usize) -> String {
        format!("{}-{}", self.scene.name(), self.ordinal(at))
    }

    /// The claims a pod needs and does not have yet.
    fn claims(&self, at: usize) -> impl Iterator<Item = Effect> {
        let (scene, pod) = (self.scene, self.name(at));
        self.spec.volume_claim_templates.iter().flatten().filter_map(move |given| {
            let name = format!("{}-{pod}", given.metadata.name.as_deref().unwrap_or_default());
            if scene.view.claims.get(&Key::new(scene.namespace(), &name)).is_some() {
                return None;
            }
            let mut labels = self.spec.selector.match_labels.clone().unwrap_or_default();
            labels.extend(given.metadata.labels.clone().unwrap_or_default());
            let claim = PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    namespace: Some(scene.namespace().to_owned()),
                    labels: Some(labels),
                    annotations: given.metadata.annotations.clone(),
                    ..ObjectMeta::default()
                },
                spec: given.spec.clone(),
                status: None,
            };
            let what = format!("create Claim {name} Pod {pod} in StatefulSet {}", scene.name());
            Some(
                Effect::create(&claim)
                    .done(Told::normal("SuccessfulCreate", format!("{what} success")))
                    .failed(Told::warning("FailedCreate", format!("{what} failed error: {{error}}"))),
            )
        })
    }

    fn create(&self, at: usize) -> Effect {
        let (scene, spec) = (self.scene, self.spec);
        let kept = self.history.all.iter().find(|it| history::name(it) == self.current);
        let current =
            kept.filter(|_| self.keeps_current(at)).and_then(|it| Some((history::template_of(it)?, &*self.current)));
        let (given, revision) = current.unwrap_or_else(|| (spec.template.clone(), self.present()));
        let ordinal = self.ordinal(at);
        let name = self.name(at);
        let mut pod = template::pod(scene.owner.as_ref(), &given);
        pod.metadata.generate_name = Some(format!("{}-", scene.name()));
        pod.metadata.name = Some(name.clone());
        template::labels(&mut pod.metadata).extend([
            ("statefulset.kubernetes.io/pod-name".to_owned(), name.clone()),
            ("apps.kubernetes.io/pod-index".to_owned(), ordinal.to_string()),
            (REVISION_LABEL.to_owned(), revision.to_owned()),
        ]);
        if let Some(of_pod) = &mut pod.spec {
            of_pod.hostname = Some(name.clone());
            of_pod.subdomain = spec.service_name.clone().filter(|it| !it.is_empty());
            for claim in spec.volume_claim_templates.iter().flatten() {
                let volume = claim.metadata.name.clone().unwrap_or_default();
                let volumes = of_pod.volumes.get_or_insert_default();
                volumes.retain(|it| it.name != volume);
                volumes.push(Volume {
                    persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                        claim_name: format!("{volume}-{name}"),
                        read_only: None,
                    }),
                    name: volume,
                    ..Volume::default()
                });
            }
        }
        self.told(Effect::create(&pod), "create", ("SuccessfulCreate", "FailedCreate"), &name)
    }

    fn delete(&self, pod: &Pod) -> Effect {
        self.told(Effect::delete(pod), "delete", ("SuccessfulDelete", "FailedDelete"), name(pod))
    }

    fn told(&self, effect: Effect, verb: &str, (done, failed): (&'static str, &'static str), pod: &str) -> Effect {
        let what = format!("{verb} Pod {pod} in StatefulSet {}", self.scene.name());
        effect
            .done(Told::normal(done, format!("{what} successful")))
            .failed(Told::warning(failed, format!("{what} failed error: {{error}}")))
    }

    fn status(&self, mine: &[&Arc<Pod>], old: &StatefulSetStatus) -> StatefulSetStatus {
        let count =
            |is: &dyn Fn(&Pod) -> bool| i32::try_from(mine.iter().filter(|it| is(it)).count()).unwrap_or(i32::MAX);
        let of = |revision: &str| count(&|pod| !pods::is_going(pod) && Self::revision(pod) == revision);
        let some = |count: i32| (count > 0).then_some(count);
        let replicas = count(&|_| true);
        let ready = count(&|pod| pods::phase(pod) == "Running" && pods::is_ready(pod));
        let updated = of(self.present());
        let strategy = self.spec.update_strategy.as_ref();
        let is_rolling = strategy.and_then(|it| it.type_.as_deref()) != Some("OnDelete");
        let partition = strategy.and_then(|it| it.rolling_update.as_ref()?.partition).unwrap_or_default();
        let done = is_rolling && partition == 0 && updated == replicas && ready == replicas;
        let current = if done { self.present() } else { &*self.current };
        StatefulSetStatus {
            replicas,
            ready_replicas: some(ready),
            available_replicas: Some(count(&|pod| self.availability(pod) == Available::Yes)),
            current_replicas: some(of(current)),
            updated_replicas: some(updated),
            current_revision: Some(current.to_owned()),
            update_revision: Some(self.present().to_owned()),
            observed_generation: self.scene.meta().generation,
            collision_count: Some(old.collision_count.unwrap_or_default()),
            conditions: old.conditions.clone(),
        }
    }
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}
