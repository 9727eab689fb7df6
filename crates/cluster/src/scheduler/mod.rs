//! The scheduler of the embedded cluster: which pending pod goes to which node. Small on purpose: whoever needs spread,
//! preemption or plugins has a real cluster.
//!
//! It wakes at any change of a pod or a node and looks at everything that is pending again, which is cheaper than knowing
//! which change could have made room for whom. What is left of each node is kept, and counted anew only where one of its
//! pods has changed: clusters of thousands of simulated pods are scheduled too.

pub(crate) mod fit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use supple_node::{Fed, Followed, Lately, Told};
use supple_resize::resources::ResourceList;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ClusterClock;
use crate::events::{Note, Series, note};
use fit::{NoFit, Room};

/// Who answers for pods that name no scheduler.
const NAME: &str = "default-scheduler";

/// Changes come in bursts (a manifest of many pods, a start): wait this long for the burst to be over.
const SETTLE: Duration = Duration::from_millis(5);

/// But no longer than this: where thousands of pods start, there is no pause.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many bindings are written side by side: they become durable together.
const AT_ONCE: usize = 32;

/// How many pods are placed before changes are taken in again. Of twenty thousand new pods the last would else be placed by
/// what was true before the first, and the watch be left so far behind that it has to begin anew.
const ROUND: usize = 512;

/// Everything it knows: the last state of every pod and node, what follows from it, and what it last told each
/// unschedulable pod. Pods are known by their UIDs, nodes by their names.
#[derive(Default)]
struct View {
    pods: BTreeMap<Arc<str>, Known>,
    nodes: BTreeMap<String, Arc<Node>>,
    /// The pods that wait for a node.
    pending: BTreeSet<String>,
    /// The pods that hold room, by node.
    bound: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    rooms: BTreeMap<String, Room>,
    /// Nodes whose room is to be counted anew.
    stale: BTreeSet<String>,
    told: BTreeMap<String, String>,
    /// What pods lately held: those of a template hold the same, and it is kept once.
    lately: Lately<ResourceList>,
    /// Whether the first list of each is complete: before that, "no nodes" would only mean "not yet".
    listed: (bool, bool),
}

/// What is kept of a pod. Of most, that they run somewhere and take so much of it: a tenth of the pod itself.
enum Known {
    /// It waits for a node.
    Waits(Box<Waiting>),
    /// It is bound to this node and holds this of it.
    Bound(Arc<str>, Arc<ResourceList>),
    /// It is nobody's business here: it has ended, or somebody else schedules it.
    Other,
}

/// A pod that waits.
struct Waiting {
    /// At rest where many wait for their first turn: decoded they are large. One that fits nowhere is looked at each time.
    pod: Followed,
    /// When it has its turn: priority first, then age, then name, so that the same cluster is always scheduled in the same way.
    turn: Turn,
}

type Turn = (i64, Option<Timestamp>, Option<String>, String);

fn turn(pod: &Pod) -> Turn {
    let priority = pod.spec.as_ref().and_then(|it| it.priority).unwrap_or_default();
    (-i64::from(priority), pod.creation_timestamp().map(|it| it.0), pod.namespace(), pod.name_any())
}

enum Change {
    Pod(Told),
    Node(Box<watcher::Event<Node>>),
}

impl View {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Pod(event) => self.apply_pod(event),
            Change::Node(event) => self.apply_node(*event),
        }
    }

    fn apply_pod(&mut self, event: Told) {
        match event {
            watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => self.know(&pod),
            watcher::Event::Delete(pod) => {
                let uid = pod.pod().uid().unwrap_or_default();
                self.forget(&uid);
                self.told.remove(&uid);
            }
            watcher::Event::Init => {
                for uid in self.pods.keys().map(Arc::clone).collect::<Vec<_>>() {
                    self.forget(&uid);
                }
            }
            watcher::Event::InitDone => self.listed.0 = true,
        }
    }

    fn know(&mut self, followed: &Followed) {
        let pod = followed.pod();
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let place = node_of(&pod).filter(|_| !is_over(&pod));
        if let (Some(node), Some(Known::Bound(known, held))) = (place, self.pods.get_mut(uid))
            && **known == *node
        {
            // Nearly always: its status is another one. Where it runs stays, and mostly what it holds there.
            let holds = fit::held(&pod);
            if **held != holds {
                *held = self.lately.shared(holds);
                self.stale.insert(node.to_owned());
            }
            return;
        }
        let uid = Arc::<str>::from(uid);
        self.forget(&uid);
        let known = match place {
            Some(node) => {
                let node = self.bound.get_key_value(node).map_or_else(|| node.into(), |(node, _)| Arc::clone(node));
                self.bound.entry(Arc::clone(&node)).or_default().insert(Arc::clone(&uid));
                self.stale.insert(node.to_string());
                Known::Bound(node, self.lately.shared(fit::held(&pod)))
            }
            None if is_ours(&pod) => {
                let is_next = self.pending.len() < ROUND || self.told.contains_key(&*uid);
                let waits = if is_next { followed.clone() } else { followed.at_rest() };
                self.pending.insert(uid.to_string());
                Known::Waits(Box::new(Waiting { pod: waits, turn: turn(&pod) }))
            }
            None => Known::Other,
        };
        self.pods.insert(uid, known);
    }

    fn forget(&mut self, uid: &str) {
        self.pending.remove(uid);
        if let Some(Known::Bound(node, _)) = self.pods.remove(uid) {
            if let Some(bound) = self.bound.get_mut(&node) {
                bound.remove(uid);
            }
            self.stale.insert(node.to_string());
        }
    }

    fn apply_node(&mut self, event: watcher::Event<Node>) {
        match event {
            watcher::Event::Apply(node) | watcher::Event::InitApply(node) => {
                self.stale.insert(node.name_any());
                self.nodes.insert(node.name_any(), Arc::new(node));
            }
            watcher::Event::Delete(node) => {
                self.nodes.remove(&node.name_any());
                self.rooms.remove(&node.name_any());
            }
            watcher::Event::Init => {
                self.nodes.clear();
                self.rooms.clear();
            }
            watcher::Event::InitDone => self.listed.1 = true,
        }
    }

    fn count(&mut self) {
        for name in std::mem::take(&mut self.stale) {
            let Some(node) = self.nodes.get(&name) else { continue };
            let bound = self.bound.get(&*name).into_iter().flatten();
            let held = bound.filter_map(|uid| match self.pods.get(uid) {
                Some(Known::Bound(_, held)) => Some(&**held),
                _ => None,
            });
            self.rooms.insert(name, Room::of(node, held));
        }
    }

    /// What to do now: each pending pod whose turn it is with the node it goes to, or the reason why it stays, up to so many that
    /// go.
    fn decide(&mut self, most: usize) -> Vec<(Arc<Pod>, Result<String, NoFit>)> {
        if self.pending.is_empty() {
            return Vec::new(); // nearly always: most changes are statuses of pods that run
        }
        self.count();
        let pending = self.pending.iter().filter_map(|uid| match self.pods.get(uid.as_str()) {
            Some(Known::Waits(waiting)) => Some(waiting),
            _ => None,
        });
        let mut pending: Vec<&Waiting> = pending.map(|it| &**it).collect();
        pending.sort_by(|a, b| a.turn.cmp(&b.turn));
        let (mut decided, mut placed) = (Vec::new(), 0);
        for waiting in pending {
            if placed == most {
                break;
            }
            let pod = waiting.pod.pod();
            let place = fit::place(&pod, &self.rooms);
            if let Ok(name) = &place {
                // Taken for this round; whether it really is, the binding will say.
                if let Some(room) = self.rooms.get_mut(name) {
                    room.take(&fit::held(&pod));
                }
                self.stale.insert(name.clone());
                placed += 1;
            }
            decided.push((pod, place));
        }
        decided
    }

    /// A pod was bound. Until the watch brings it, it counts as such: a second binding would be refused, but its room must
    /// not be given away twice. What the watch has brought since is newer.
    fn bound(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        self.told.remove(&uid);
        if matches!(self.pods.get(uid.as_str()), Some(Known::Waits(_))) {
            self.know(&Followed::from(Arc::new(pod)));
        }
    }
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|it| !it.is_empty())
}

fn is_over(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|it| it.phase.as_deref()), Some("Succeeded" | "Failed"))
}

fn is_ours(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    node_of(pod).is_none()
        && !is_over(pod)
        && pod.metadata.deletion_timestamp.is_none()
        && spec.scheduler_name.as_deref().is_none_or(|it| it.is_empty() || it == NAME)
        && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
}

/// Schedule until told to stop.
pub(crate) async fn run(client: Client, pods: Fed, clock: ClusterClock, stop: CancellationToken) {
    let nodes = watcher(Api::<Node>::all(client.clone()), watcher::Config::default()).default_backoff();
    let mut changes = futures::stream::select(
        pods.map(|it| Ok(Change::Pod(it))).boxed(),
        nodes.map(|it| it.map(|it| Change::Node(Box::new(it)))).boxed(),
    );
    let mut view = View::default();
    let mut goes_on = false;
    loop {
        if !goes_on {
            let Some(Some(change)) = stop.run_until_cancelled(changes.next()).await else { return };
            take(&mut view, change);
        }
        // Take what else is coming before looking at everything.
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end
            && let Ok(Some(change)) = tokio::time::timeout(SETTLE, changes.next()).await
        {
            take(&mut view, change);
        }
        if view.listed != (true, true) {
            continue;
        }
        let (mut bindings, mut placed, mut has_changed) = (JoinSet::new(), 0, false);
        for (pod, place) in view.decide(ROUND) {
            match place {
                Ok(node) => {
                    placed += 1;
                    while bindings.len() >= AT_ONCE {
                        has_changed |= one_is_bound(&mut view, &mut bindings, &mut changes).await;
                    }
                    bindings.spawn(bind(client.clone(), clock.clone(), Pod::clone(&pod), node));
                }
                Err(no_fit) => refuse(&client, &clock, &mut view, &pod, &no_fit.to_string()).await,
            }
        }
        while !bindings.is_empty() {
            has_changed |= one_is_bound(&mut view, &mut bindings, &mut changes).await;
        }
        goes_on = placed == ROUND || has_changed;
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Waits for one of these bindings, and takes in what changes meanwhile: thousands of pods may come in that time, and what waits
/// to be told is large. Returns whether anything has changed.
async fn one_is_bound(
    view: &mut View,
    bindings: &mut JoinSet<Option<Pod>>,
    changes: &mut (impl Stream<Item = Result<Change, watcher::Error>> + Unpin),
) -> bool {
    let mut has_changed = false;
    loop {
        tokio::select! {
            done = bindings.join_next() => {
                done.into_iter().flatten().flatten().for_each(|pod| view.bound(pod));
                return has_changed;
            }
            Some(change) = changes.next() => {
                take(view, change);
                has_changed = true;
            }
        }
    }
}

fn take(view: &mut View, change: Result<Change, watcher::Error>) {
    match change {
        Ok(change) => view.apply(change),
        Err(error) => tracing::debug!(%error, "resuming the watch of the scheduler"),
    }
}

/// Bind it; the pod as it is then, if it was.
async fn bind(client: Client, clock: ClusterClock, mut pod: Pod, node: String) -> Option<Pod> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let api = Api::<Pod>::namespaced(client.clone(), &namespace);
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace, "uid": pod.uid()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    match api.create_subresource("binding", &name, &PostParams::default(), &binding).await {
        Ok::<serde_json::Value, _>(_) => {
            let text = format!("Successfully assigned {namespace}/{name} to {node}");
            record(&client, &clock, &pod, "Normal", "Scheduled", &text).await;
            if let Some(spec) = &mut pod.spec {
                spec.node_name = Some(node);
            }
            return Some(pod);
        }
        // Deleted or bound by somebody else meanwhile: the watch will say.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
        Err(error) => tracing::warn!(%error, pod = name, namespace, node, "bind a pod"),
    }
    None
}

async fn refuse(client: &Client, clock: &ClusterClock, view: &mut View, pod: &Pod, why: &str) {
    let uid = pod.uid().unwrap_or_default();
    if view.told.get(&uid).is_some_and(|told| told == why) {
        return;
    }
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let now = clock();
    let condition = json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": why,
        "lastTransitionTime": transition(pod, now),
    });
    let patch = json!({"status": {"conditions": [condition]}});
    let api = Api::<Pod>::namespaced(client.clone(), &namespace);
    match api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
        Ok(_) => {
            view.told.insert(uid, why.to_owned());
            record(client, clock, pod, "Warning", "FailedScheduling", why).await;
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(error) => tracing::warn!(%error, pod = name, namespace, "say why a pod is not scheduled"),
    }
}

/// When the condition last changed its status: kept while it stays False.
fn transition(pod: &Pod, now: Timestamp) -> Timestamp {
    pod.status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten())
        .find(|it| it.type_ == "PodScheduled" && it.status == "False")
        .and_then(|it| it.last_transition_time.as_ref())
        .map_or(now, |it| it.0)
}

async fn record(client: &Client, clock: &ClusterClock, pod: &Pod, kind: &str, reason: &str, text: &str) {
    let regarding: ObjectReference = pod.object_ref(&());
    note(
        client,
        clock,
        Note { component: NAME, regarding, kind, reason, text, series: Series::Once { action: "Scheduling" } },
    )
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, priority: i32, created: i64, cpu: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "d", "uid": name,
                         "creationTimestamp": Timestamp::from_second(created).unwrap()},
            "spec": {"priority": priority, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        }))
        .unwrap()
    }

    fn view(pods: impl IntoIterator<Item = Pod>) -> View {
        let mut view = View::default();
        let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "1", "pods": "110"}}});
        view.apply_node(watcher::Event::Apply(serde_json::from_value(node).unwrap()));
        for pod in pods {
            view.apply_pod(watcher::Event::Apply(Followed::from(Arc::new(pod))));
        }
        view
    }

    #[track_caller]
    fn check(view: &mut View, expect: &[(&str, bool)]) {
        let decided: Vec<(String, bool)> =
            view.decide(usize::MAX).into_iter().map(|(pod, place)| (pod.name_any(), place.is_ok())).collect();
        let expect: Vec<(String, bool)> = expect.iter().map(|(name, placed)| ((*name).to_owned(), *placed)).collect();
        assert_eq!(decided, expect);
    }

    #[test]
    fn priority_then_age_then_name() {
        let pods =
            [pod("young", 0, 9, "400m"), pod("b", 0, 5, "400m"), pod("a", 0, 5, "100m"), pod("high", 7, 9, "400m")];
        check(&mut view(pods), &[("high", true), ("a", true), ("b", true), ("young", false)]);
    }

    #[test]
    fn a_round_ends_after_so_many_that_go() {
        let pods = [pod("big", 0, 1, "2"), pod("a", 0, 2, "10m"), pod("b", 0, 3, "10m"), pod("c", 0, 4, "10m")];
        let decided = view(pods).decide(2);
        let names: Vec<String> = decided.into_iter().map(|(pod, _)| pod.name_any()).collect();
        assert_eq!(names, ["big", "a", "b"]);
    }

    #[test]
    fn a_smaller_pod_behind_is_still_placed() {
        check(&mut view([pod("big", 0, 1, "2"), pod("small", 0, 2, "500m")]), &[("big", false), ("small", true)]);
    }

    #[test]
    fn only_pods_that_wait_for_us_are_looked_at() {
        let mut other = pod("other", 0, 1, "1m");
        other.spec.as_mut().unwrap().scheduler_name = Some("mine".to_owned());
        let mut over = pod("over", 0, 1, "1m");
        over.status = serde_json::from_value(json!({"phase": "Failed"})).unwrap();
        let mut bound = pod("bound", 0, 1, "1");
        bound.spec.as_mut().unwrap().node_name = Some("n".to_owned());
        let mut gated = pod("gated", 0, 1, "1m");
        gated.spec.as_mut().unwrap().scheduling_gates =
            Some(vec![k8s_openapi::api::core::v1::PodSchedulingGate { name: "wait".to_owned() }]);
        check(&mut view([other, over, bound, gated, pod("waits", 0, 1, "1m")]), &[("waits", false)]);
    }

    #[test]
    fn what_the_watch_has_brought_is_newer_than_the_answer_to_a_binding() {
        let mut view = view([pod("first", 0, 1, "1"), pod("waits", 0, 2, "1")]);
        let mut bound = pod("first", 0, 1, "1");
        bound.spec.as_mut().unwrap().node_name = Some("n".to_owned());
        view.bound(bound.clone());
        check(&mut view, &[("waits", false)]);
        let mut over = bound.clone();
        over.status = serde_json::from_value(json!({"phase": "Succeeded"})).unwrap();
        view.apply_pod(watcher::Event::Apply(Followed::from(Arc::new(over))));
        view.bound(bound);
        check(&mut view, &[("waits", true)]);
    }

    #[test]
    fn a_deleted_pod_makes_room() {
        let mut bound = pod("bound", 0, 1, "1");
        bound.spec.as_mut().unwrap().node_name = Some("n".to_owned());
        let mut view = view([bound.clone(), pod("waits", 0, 1, "1")]);
        check(&mut view, &[("waits", false)]);
        view.apply_pod(watcher::Event::Delete(Followed::from(Arc::new(bound))));
        check(&mut view, &[("waits", true)]);
    }
}
