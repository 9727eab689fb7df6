//! What the loop knows and what it concludes from it: a plain struct, one synchronous [`World::apply`], effects as
//! values. No IO, no clock: the moment comes with the event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt as _;
use supple_resize::predict::{Change, Sizes};
use supple_resize::resources::{ContainerKind, resizable_containers};

use crate::event::{Effect, Ended, Event, PodKey, Request, Told};
use crate::judge::{Policy, Verdict, Why, judge};
use crate::reason::Reason;
use crate::samples::Samples;
use crate::snapshot::{Last, Row, Snapshot};
use crate::usage::PodUse;
use supple_decide::hand::{Hand, hand};
use supple_decide::numbers::Numbers;
use supple_decide::progress::{Progress, progress};

/// The label that opts a namespace or a pod in.
pub const ENABLED: &str = "supple.dev/enabled";

/// First pause after a resize that came to nothing; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1800);

/// The loop's whole memory.
#[derive(Debug)]
pub struct World {
    policy: Policy,
    namespaces: BTreeSet<String>,
    pods: BTreeMap<PodKey, Known>,
    /// Why there is no usage, while there is none.
    blind: Option<String>,
}

/// What is known of one pod.
#[derive(Debug)]
struct Known {
    pod: Pod,
    samples: BTreeMap<String, Samples>,
    /// Whether a resize is under way: never more than one.
    in_flight: bool,
    failures: u32,
    not_before: Option<Timestamp>,
    /// Whether it has been said that we stand back.
    stood_back: bool,
    last: Option<Last>,
}

/// What is to be made of one pod now.
#[derive(Debug)]
enum Decision {
    /// Nothing; the sentence says why.
    Leave(String),
    /// Somebody else has it.
    StandBack(String),
    /// Resize it.
    Resize { change: Change, why: String },
}

impl World {
    /// Knowing nothing.
    pub fn new(policy: Policy) -> Self {
        Self { policy, namespaces: BTreeSet::new(), pods: BTreeMap::new(), blind: None }
    }

    /// Take in what happened at `now`; say what is to be done about it.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        match event {
            Event::Pod(pod) => self.see(*pod),
            Event::PodGone(key) => {
                self.pods.remove(&key);
            }
            Event::PodsListed(keys) => {
                let listed: BTreeSet<PodKey> = keys.into_iter().collect();
                self.pods.retain(|key, _| listed.contains(key));
            }
            Event::Namespace { name, enabled: true } => {
                self.namespaces.insert(name);
            }
            Event::Namespace { name, enabled: false } | Event::NamespaceGone(name) => {
                self.namespaces.remove(&name);
            }
            Event::Tick => return vec![Effect::Measure],
            Event::Usage(Ok(usage)) => {
                self.blind = None;
                self.take_in(usage);
                return self.decide_all(now);
            }
            Event::Usage(Err(why)) => self.blind = Some(why),
            Event::Ended(ended) => return self.end(ended, now),
        }
        Vec::new()
    }

    fn see(&mut self, pod: Pod) {
        match self.pods.entry(PodKey::of(&pod)) {
            std::collections::btree_map::Entry::Occupied(mut known) => known.get_mut().pod = pod,
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Known {
                    pod,
                    samples: BTreeMap::new(),
                    in_flight: false,
                    failures: 0,
                    not_before: None,
                    stood_back: false,
                    last: None,
                });
            }
        }
    }

    fn take_in(&mut self, usage: Vec<PodUse>) {
        let mut by_name: BTreeMap<(String, String), PodUse> =
            usage.into_iter().map(|it| ((it.namespace.clone(), it.name.clone()), it)).collect();
        let window = self.policy.window;
        for (key, known) in &mut self.pods {
            let Some(used) = by_name.remove(&(key.namespace.clone(), key.name.clone())) else { continue };
            for (container, sample) in used.containers {
                known.samples.entry(container).or_insert_with(|| Samples::new(window)).push(sample);
            }
        }
    }

    fn decide_all(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        let (policy, namespaces) = (&self.policy, &self.namespaces);
        for (key, known) in &mut self.pods {
            match known.decide(policy, namespaces, now) {
                Decision::Leave(_) => known.stood_back = false,
                Decision::StandBack(message) => {
                    if !known.stood_back {
                        known.stood_back = true;
                        known.last = Some(Last { reason: Reason::StoodBack, message: message.clone(), at: now });
                        effects.push(Effect::Tell(Told {
                            pod: key.clone(),
                            reason: Reason::StoodBack,
                            message,
                            at: now,
                        }));
                    }
                }
                Decision::Resize { change, why } => {
                    known.stood_back = false;
                    known.in_flight = true;
                    effects.push(Effect::Resize(Request { pod: key.clone(), change, why }));
                }
            }
        }
        effects
    }

    fn end(&mut self, ended: Ended, now: Timestamp) -> Vec<Effect> {
        let Ended { pod, reason, message } = ended;
        let Some(known) = self.pods.get_mut(&pod) else { return Vec::new() };
        known.in_flight = false;
        if reason.is_success() {
            known.failures = 0;
            known.not_before = None;
        } else {
            let pause =
                FIRST_PAUSE.saturating_mul(1_u32.checked_shl(known.failures).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
            known.failures = known.failures.saturating_add(1);
            known.not_before = now.checked_add(pause).ok();
        }
        known.last = Some(Last { reason, message: message.clone(), at: now });
        vec![Effect::Tell(Told { pod, reason, message, at: now })]
    }

    /// What is to be seen of it at `now`: one row a container of each pod that is opted in.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let mut rows = Vec::new();
        for (key, known) in &self.pods {
            if !known.opted_in(&self.namespaces) {
                continue;
            }
            let state = match known.decide(&self.policy, &self.namespaces, now) {
                Decision::Leave(why) | Decision::StandBack(why) => why,
                Decision::Resize { .. } => "about to be resized".to_owned(),
            };
            for container in judged(&known.pod) {
                let asked = Numbers::of(&Sizes::of(container.resources.as_ref()));
                let samples = known.samples.get(&container.name);
                let verdict = samples.map(|it| verdict(container, &asked, it, &self.policy));
                rows.push(Row {
                    namespace: key.namespace.clone(),
                    pod: key.name.clone(),
                    workload: workload(&known.pod),
                    container: container.name.clone(),
                    asked,
                    used: samples.and_then(Samples::latest).map(|it| (it.cpu, it.memory)),
                    next: verdict.filter(Verdict::is_change).map(|it| it.next),
                    state: state.clone(),
                    in_flight: known.in_flight,
                    last: known.last.clone(),
                });
            }
        }
        Snapshot { rows, blind: self.blind.clone(), pods: self.pods.len() }
    }
}

impl Known {
    /// The pod's own label wins over its namespace's.
    fn opted_in(&self, namespaces: &BTreeSet<String>) -> bool {
        match self.pod.labels().get(ENABLED).map(String::as_str) {
            Some("true") => true,
            Some(_) => false,
            None => namespaces.contains(&self.pod.namespace().unwrap_or_default()),
        }
    }

    fn decide(&self, policy: &Policy, namespaces: &BTreeSet<String>, now: Timestamp) -> Decision {
        let leave = |why: &str| Decision::Leave(why.to_owned());
        if !self.opted_in(namespaces) {
            return leave("not opted in");
        }
        if self.pod.metadata.deletion_timestamp.is_some() {
            return leave("is being deleted");
        }
        let status = self.pod.status.as_ref();
        if status.and_then(|it| it.phase.as_deref()) != Some("Running") {
            return leave("does not run");
        }
        if self.in_flight {
            return leave("is being resized");
        }
        // Also one that was begun by a predecessor, or by somebody else: never two at once.
        let generation = self.pod.metadata.generation.unwrap_or_default();
        match progress(&self.pod, generation) {
            Progress::Underway => return leave("a resize is under way"),
            Progress::Failing(why) => return Decision::Leave(format!("its node cannot finish a resize: {why}")),
            Progress::Deferred(_) | Progress::Infeasible(_) | Progress::Settled | Progress::Ended => {}
        }
        if let Hand::Theirs(other) = hand(&self.pod) {
            return Decision::StandBack(format!("stands back: {other}"));
        }
        let age = status
            .and_then(|it| it.start_time.as_ref())
            .or(self.pod.metadata.creation_timestamp.as_ref())
            .map_or(Duration::ZERO, |it| now.duration_since(it.0).try_into().unwrap_or(Duration::ZERO));
        if age < policy.min_pod_age {
            return Decision::Leave(format!("too young: {} s of {} s", age.as_secs(), policy.min_pod_age.as_secs()));
        }
        if let Some(until) = self.not_before.filter(|it| *it > now) {
            let left = until.duration_since(now).as_secs();
            return Decision::Leave(format!("tried again in {left} s"));
        }
        let mut change = Change::default();
        let mut words = Vec::new();
        let mut still = "fits".to_owned();
        for container in judged(&self.pod) {
            let asked = Numbers::of(&Sizes::of(container.resources.as_ref()));
            let none = Samples::new(policy.window);
            let samples = self.samples.get(&container.name).unwrap_or(&none);
            let verdict = verdict(container, &asked, samples, policy);
            match &verdict.why {
                Why::Resize { .. } => {
                    change.containers.insert(container.name.clone(), verdict.next.beyond(&asked));
                    words.push(format!("{} {}", container.name, verdict.why));
                }
                Why::Fits => {}
                other => still = other.to_string(),
            }
        }
        if change.is_empty() { Decision::Leave(still) } else { Decision::Resize { change, why: words.join("; ") } }
    }
}

/// Containers whose usage says something about what they need: those that run as long as the pod does. An init
/// container that ends is over before it could be judged.
fn judged(pod: &Pod) -> impl Iterator<Item = &Container> {
    resizable_containers(pod).filter(|it| it.kind != ContainerKind::Init).map(|it| it.container)
}

/// The judgement of one container, without what would restart it: whoever asked for a restart on a change of size
/// (`resizePolicy: RestartContainer`) wants to choose the moment, and the loop is there to spare restarts.
fn verdict(container: &Container, asked: &Numbers, samples: &Samples, policy: &Policy) -> Verdict {
    let mut verdict = judge(asked, samples, policy);
    let restarts = |resource: &str| {
        let mut policies = container.resize_policy.iter().flatten();
        policies.any(|it| it.resource_name == resource && it.restart_policy == "RestartContainer")
    };
    if restarts("cpu") {
        (verdict.next.cpu_request, verdict.next.cpu_limit) = (asked.cpu_request, asked.cpu_limit);
    }
    if restarts("memory") {
        (verdict.next.memory_request, verdict.next.memory_limit) = (asked.memory_request, asked.memory_limit);
    }
    if verdict.is_change() && verdict.next == *asked {
        verdict.why = Why::WouldRestart;
    }
    verdict
}

/// What people call the pod's workload: its controller, or the pod itself.
fn workload(pod: &Pod) -> String {
    match pod.owner_references().iter().find(|it| it.controller == Some(true)) {
        Some(owner) => format!("{}/{}", owner.kind.to_lowercase(), owner.name),
        None => format!("pod/{}", pod.name_any()),
    }
}

#[cfg(test)]
mod tests;
