//! What befalls a pod after its resize and is not the doing of it: the pod is taken away, its node does not answer or has only just come
//! back, its work is over. Nothing here explains a kill for want of memory.

use jiff::{SignedDuration, Timestamp};
use supple_resize::resources::ContainerKind;

use crate::at::At;
use crate::check::sight::after;
use crate::facts::{ContainerFacts, Phase, PodFacts};
use crate::guard::GuardReading;
use crate::scene::{Scene, Subject};
use crate::settle::whole;

/// A node that is ready again has by then told how its pods are: what is said of them before that is of the time in which it was away.
const RETURNS: SignedDuration = SignedDuration::from_mins(1);

/// A pod that is not ready for less is none to be judged by: a kubelet that starts calls containers not ready until their first probe,
/// and what explains it may not be known yet.
const LASTS: SignedDuration = SignedDuration::from_secs(10);

/// What explains anything that began so with a pod.
pub fn anything(scene: &Scene, pod: &PodFacts, at: Timestamp) -> Option<&'static str> {
    if pod.leaving.is_some_and(|it| whole(it.into()) <= at) {
        return Some("the pod was on its way out");
    }
    let was_away = is_lost(scene, pod) || returned(scene, pod).is_some_and(|it| at < after(it, RETURNS));
    was_away.then_some("its node was not ready")
}

/// What explains that a container ended then: sidecars are ended when what they are beside is done.
pub fn end(scene: &Scene, pod: &PodFacts, container: &ContainerFacts, at: Timestamp) -> Option<&'static str> {
    let is_told_to = || container.kind == ContainerKind::Sidecar && is_over(pod);
    anything(scene, pod, at).or_else(|| is_told_to().then_some("its pod was done"))
}

/// What explains that a pod has not been ready since then.
pub fn unready(scene: &Scene, pod: &PodFacts, since: Timestamp, now: Timestamp) -> Option<&'static str> {
    let is_new = || now < after(since, LASTS);
    let explained = anything(scene, pod, since).or_else(|| is_over(pod).then_some("its work was done"));
    explained.or_else(|| is_new().then_some("it may only be for a moment"))
}

/// What explains what a guard reads. What is asked of the whole workload also reads what becomes of the other pods, and of a new template.
pub fn reading(
    scene: &Scene,
    subject: &Subject,
    (team, pod): (&[&PodFacts], &PodFacts),
    reading: &GuardReading,
    from: Timestamp,
) -> Option<&'static str> {
    let is_since = |it: At| Timestamp::from(it) >= whole(from);
    let moves = |it: &PodFacts| it.leaving.is_some_and(is_since) || turned(scene, it).is_some_and(is_since);
    let of_all = || reading.pod.is_none() && (subject.facts.rolling || team.iter().any(|it| moves(it)));
    anything(scene, pod, reading.at).or_else(|| of_all().then_some("other pods of its workload were disrupted"))
}

/// Whether nobody knows how the pod is: its node is not ready, or gone where others are known.
pub fn is_lost(scene: &Scene, pod: &PodFacts) -> bool {
    let Some(node) = &pod.node else { return false };
    pod.phase == Phase::Unknown || scene.nodes.get(node).map_or(!scene.nodes.is_empty(), |it| !it.ready)
}

/// When its node became ready, where that is known and it is.
pub fn returned(scene: &Scene, pod: &PodFacts) -> Option<Timestamp> {
    let node = scene.nodes.get(pod.node.as_ref()?).filter(|it| it.ready)?;
    node.since.map(Timestamp::from)
}

/// When its node became ready, or ceased to be.
fn turned(scene: &Scene, pod: &PodFacts) -> Option<At> {
    scene.nodes.get(pod.node.as_ref()?)?.since
}

/// Whether its work is done: no container that it is there for is started again.
fn is_over(pod: &PodFacts) -> bool {
    let own = || pod.containers.iter().filter(|it| it.kind == ContainerKind::Regular);
    pod.phase == Phase::Ended || (own().next().is_some() && own().all(|it| it.done))
}
