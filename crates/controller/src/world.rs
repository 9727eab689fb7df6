//! What the loop knows and what it concludes from it: a plain struct, one synchronous [`World::apply`], effects as values.
//! No IO, no clock: the moment comes with the event.
//!
//! ```text
//!   News ───▶ View ───────┐
//!   Rules ──▶ Rules ──────┤ refresh: policies, facts, records ─▶ Scene ─▶ decide ─▶ Round ─▶ Carry · Tell · Write
//!   Usage ──▶ History ────┘                                                           │
//!   Answered ◀── carry ◀──────────────────────────────────────────────────────────────┘
//! ```

mod answered;
mod autoscalers;
mod conditions;
mod decisions;
mod evictions;
mod flights;
mod guards;
pub(crate) mod idle;
mod kept;
mod kills;
pub mod knowledge;
mod measuring;
mod picture;
mod policies;
mod records;
mod refresh;
mod setbacks;
mod show;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::watcher::Event as Seen;
use supple_api::autoscaler::CarryOut;
use supple_decide::code::Code;
use supple_decide::facts::PodFacts;
use supple_decide::hand::Hand;
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::need::Use;
use supple_decide::policy::{Mode, Policy};
use supple_decide::progress::Progress;
use supple_decide::record::Record;
use supple_decide::round::{self, Action, Decision, Outcome, Round, decide};
use supple_decide::scene::Moment;
use supple_recommend::explain::Explanation;
use supple_resize::amounts::Resource;

use crate::carry::Order;
use crate::event::{Effect, Event, Told};
use crate::history::History;
use crate::rules::Rules;
use crate::snapshot::Last;
use crate::source::Reading;
use crate::source::incident::{Incident, Mark};
use crate::source::prometheus::part::PodName;
use crate::source::prometheus::past::{Extent, Past};
use crate::usage::PodUse;
use crate::view::shelf::Name;
use crate::view::{Place, View};
use crate::webhook::registration::{Registered, Registration};
pub use decisions::Decisions;
pub use flights::Most;

/// The same thing is not told again of the same workload before.
const TOLD_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// A container that uses this share of its memory limit is looked at more often, in percent.
const PRESSED_PERCENT: i64 = 90;

/// How many nodes are asked out of turn after a round: with five turns a second, most turns stay everybody's.
const PRESSED_NODES: usize = 10;

/// What the loop is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace it runs in: never acted on, and its annotation is the switch that stops everything.
    pub own_namespace: Arc<str>,
    /// Resizes that may be under way in the whole cluster at once.
    pub max_in_flight: u32,
    /// What is written about workloads at most, in calls to the API server a second.
    pub writes_per_second: u32,
    /// Which `VerticalPodAutoscaler` objects are ours to carry out.
    pub autoscalers: CarryOut,
    /// Guards of policies of namespaces are asked, not only those of the cluster's.
    pub namespaced_guards: bool,
    /// About which new pods our mutating webhook is asked: of those that are recreated they come back with the right sizes.
    pub registered: Registered,
    /// A Prometheus tells what was used before us.
    pub reads_past: bool,
    /// There is an audit file: what is made of each workload is told for it whenever that changes.
    pub audits: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            own_namespace: Arc::from("supple-system"),
            max_in_flight: 50,
            writes_per_second: 20,
            autoscalers: CarryOut::default(),
            namespaced_guards: true,
            registered: Registered::default(),
            reads_past: false,
            audits: false,
        }
    }
}

/// The loop's whole memory.
#[derive(Debug)]
pub struct World {
    settings: Settings,
    /// The registration that the facts of workloads rest on.
    registration: Arc<Registration>,
    view: View,
    rules: Rules,
    history: History,
    records: BTreeMap<WorkloadKey, Arc<Record>>,
    /// Actions that were sent, and until when they hold.
    in_flight: BTreeMap<PodKey, answered::Sent>,
    flights: flights::Flights,
    decisions: Decisions,
    /// When it was decided last.
    pub(crate) judged_at: Timestamp,
    /// VPA objects of ours, by the workload they speak of.
    autoscalers: BTreeMap<WorkloadKey, Arc<str>>,
    /// The last of those without a workload of which something was written.
    unheard: Option<Name>,
    told: BTreeMap<(WorkloadKey, Code), Timestamp>,
    last: BTreeMap<PodKey, Last>,
    outbox: write::Outbox,
    heard: policies::Heard,
    kept: kept::Kept,
    unseen: records::Unseen,
    evictions: evictions::Evictions,
    /// Why there is no usage, while there is none.
    blind: Option<String>,
    /// Usage has been asked for and has not all come: since when, and whether that has been said.
    measuring: Option<(Timestamp, bool)>,
    /// Workloads whose guards have been asked and have not answered.
    asking: BTreeSet<WorkloadKey>,
    /// The cluster has said its version.
    is_versioned: bool,
    leading: bool,
}

impl World {
    /// Knowing nothing, and not leading.
    pub fn new(settings: Settings) -> Self {
        let mut view = View::default();
        view.scene.cluster.max_in_flight = settings.max_in_flight;
        view.scene.cluster.own_namespace = Some(settings.own_namespace.clone());
        Self {
            rules: Rules::new(&settings),
            registration: Arc::default(),
            settings,
            view,
            history: History::default(),
            records: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            flights: flights::Flights::default(),
            decisions: Decisions::default(),
            judged_at: Timestamp::UNIX_EPOCH,
            autoscalers: BTreeMap::new(),
            unheard: None,
            told: BTreeMap::new(),
            last: BTreeMap::new(),
            outbox: write::Outbox::default(),
            heard: policies::Heard::default(),
            kept: kept::Kept::default(),
            unseen: records::Unseen::default(),
            evictions: evictions::Evictions::default(),
            blind: None,
            measuring: None,
            asking: BTreeSet::new(),
            is_versioned: false,
            leading: false,
        }
    }

    /// Nodes on which a container has nearly used up its memory limit, the nearest first: their kubelets are asked before
    /// others, a few of them, so that the others' turns come all the same.
    pub fn pressed_nodes(&self) -> Vec<Arc<str>> {
        let scene = &self.view.scene;
        let mut shares: BTreeMap<&Arc<str>, i64> = BTreeMap::new();
        for (key, uses) in &scene.uses {
            let Some((pod, node)) = scene.pods.get(key).and_then(|it| Some((it, it.node.as_ref()?))) else { continue };
            for container in &pod.containers {
                let limit = container.actual.unwrap_or(container.asked).memory_limit.map_or(0, |it| it.0);
                let used = uses.get(&container.name).and_then(|it| it.memory).map_or(0, |it| it.0);
                let share = used.saturating_mul(100).checked_div(limit).unwrap_or_default();
                if share >= PRESSED_PERCENT {
                    let nearest = shares.entry(node).or_default();
                    *nearest = share.max(*nearest);
                }
            }
        }
        let mut nodes: Vec<(&Arc<str>, i64)> = shares.into_iter().collect();
        nodes.sort_by_key(|(_, share)| std::cmp::Reverse(*share));
        nodes.into_iter().take(PRESSED_NODES).map(|(node, _)| node.clone()).collect()
    }

    /// Take in what happened at `now`; say what is to be done about it.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        match event {
            Event::News(news) => return self.see(*news, now),
            Event::Rules(news) => {
                let (seen, records) = (&self.kept, &self.records);
                let known = |it: &WorkloadKey| seen.has_seen(it).then(|| records.get(it).cloned().unwrap_or_default());
                if let Some((workload, record)) = self.rules.see(*news, known) {
                    self.follow(&workload, &record);
                }
            }
            Event::Version(minor) => {
                self.view.scene.cluster.minor_version = minor;
                self.is_versioned = true;
            }
            // What pods use is of no use before it is known which there are, and reading it would only make that later.
            Event::Tick if !self.is_complete() => {}
            Event::Tick => {
                let mut effects = self.writes(now);
                effects.extend(self.measure(now));
                return effects;
            }
            Event::Measured(usage) => {
                let pressing = self.take_in(usage, now);
                return self.at_once(&pressing, now);
            }
            Event::Usage(Ok(usage)) => {
                (self.blind, self.measuring) = (None, None);
                let pressing = self.take_in(usage, now);
                let mut effects = self.at_once(&pressing, now);
                effects.extend(self.round(now, None));
                return effects;
            }
            Event::Usage(Err(why)) => {
                (self.blind, self.measuring) = (Some(why), None);
                return self.round(now, None);
            }
            Event::Detailed(readings) => return self.take_in_details(readings, now),
            Event::Evicted(eviction) => self.evictions.wait(*eviction),
            Event::Past(past, extent, _taken) => self.take_in_past(&past, extent),
            Event::Guards(workload, asked) => return self.guarded(workload, asked, now),
            Event::Answered(order, answer) => return self.answered(&order, answer, now),
            Event::Wrote(workload, result) => self.wrote(&workload, result),
            Event::WrotePolicy(Ok(())) => {}
            Event::WrotePolicy(Err(why)) => {
                tracing::debug!(why, "cannot write the status of a policy; will retry");
                self.heard.again();
            }
            Event::Leading(leading) => self.lead(leading),
        }
        Vec::new()
    }

    /// Whether everything that a decision rests on has been read once.
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// What has not been read yet of all that a decision rests on.
    pub fn missing(&self) -> Vec<&'static str> {
        let version = (!self.is_versioned).then_some("the version of the cluster");
        self.view.missing().into_iter().chain(self.rules.missing()).chain(version).collect()
    }

    /// What people and other programs said should be done.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Why there is no usage, while there is none.
    pub fn blind(&self) -> Option<&str> {
        self.blind.as_deref()
    }

    /// The namespace of the controller, where the switch is.
    pub fn own_namespace(&self) -> &str {
        &self.settings.own_namespace
    }

    /// Why the newest needs of a container are what they are.
    pub fn explanation(&self, workload: &WorkloadKey, container: &str) -> Option<&Explanation> {
        self.history.explanation(workload, container)
    }

    /// The pods of a workload, by name.
    pub fn pods_of<'a>(&'a self, workload: &'a WorkloadKey) -> impl Iterator<Item = &'a PodFacts> {
        self.view.members(workload).filter_map(|it| Some(&**self.view.scene.pods.get(it)?))
    }

    /// Why the pod that is spoken of is given back its former sizes, and when it was given the others.
    pub fn harm_behind(&self, told: &Told) -> Option<(Code, Timestamp)> {
        let pod = told.pod.as_ref()?;
        let done = self.records.get(&told.workload)?.last.iter().rev().find(|it| *it.pod == *pod.name)?;
        (done.code != Code::Resized).then_some((done.code, done.at))
    }

    /// Whether it tells how a resize ended: that is in the record, at the moment in which it was asked for.
    pub fn is_end(&self, told: &Told) -> bool {
        let known = |it: &Arc<Record>| told.pod.as_ref().and_then(|pod| it.knows(&pod.name, told.at)).is_some();
        self.records.get(&told.workload).is_some_and(known)
    }

    /// What was decided last, by pod.
    pub const fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// The cluster as it is known, with needs, records and policies.
    pub const fn scene(&self) -> &supple_decide::scene::Scene {
        &self.view.scene
    }

    fn see(&mut self, news: crate::view::News, now: Timestamp) -> Vec<Effect> {
        let crate::view::News::Pod(event) = &news else {
            if matches!(news, crate::view::News::Namespace(_)) {
                self.rules.namespaces_changed();
            }
            self.view.see(news);
            return Vec::new();
        };
        let name = match event {
            Seen::Apply(pod) | Seen::InitApply(pod) => Some(crate::view::shelf::name_of(pod)),
            Seen::Delete(pod) => {
                self.flights.end(&PodKey::of(pod));
                None
            }
            Seen::Init | Seen::InitDone => None,
        };
        let before = name.as_ref().and_then(|(namespace, name)| self.view.pod(namespace, name)).map(Mark::of);
        self.view.see(news);
        let Some((namespace, name)) = name else { return Vec::new() };
        let Some(pod) = self.view.pod(&namespace, &name) else { return Vec::new() };
        let incidents = self.kept.kills.befell(before.as_ref(), pod);
        let (key, generation) = (pod.key.clone(), pod.generation);
        self.shows_what_was_sent(&key, generation);
        self.is_it_done(&key);
        if incidents.is_empty() { Vec::new() } else { self.befell(&key, incidents, now) }
    }

    /// What we have sent holds until the pod shows it: a view that is older is not to be believed about it.
    fn shows_what_was_sent(&mut self, pod: &PodKey, generation: i64) {
        if self.in_flight.get(pod).is_some_and(|it| it.is_shown_at(generation)) {
            self.release(pod);
        }
    }

    /// Something befell a pod. A kill cannot wait for the next round: the workload is judged at once, with what has just been
    /// learned.
    fn befell(&mut self, pod: &PodKey, incidents: Vec<Incident>, now: Timestamp) -> Vec<Effect> {
        let Some(facts) = self.view.scene.pods.get(pod).cloned() else { return Vec::new() };
        let policy = self.policy_of(&facts.workload);
        let (mut effects, mut killed) = (Vec::new(), false);
        for incident in incidents {
            match incident {
                Incident::OutOfMemory(place, at) => {
                    self.history.killed(&facts, &facts.containers[place], at.min(now), &policy);
                    killed = true;
                }
                Incident::Evicted if !self.evicted_by_status(&facts, &policy, now) => continue,
                Incident::Evicted | Incident::Restarted(_) => {}
            }
            effects.push(Effect::Count(incident));
        }
        if killed && self.is_complete() {
            let only = BTreeSet::from([facts.workload.clone()]);
            effects.extend(self.round(now, Some(&only)));
        }
        effects
    }

    /// Take in what pods use. Returns the workloads of which that demands more at once. When it was measured is told by clocks of nodes:
    /// one that is ahead must not move the hour of a workload, in which all that others measure would then be late.
    fn take_in(&mut self, usage: Vec<PodUse>, now: Timestamp) -> BTreeSet<WorkloadKey> {
        let mut pressing = BTreeSet::new();
        for PodUse { namespace, name, containers } in usage {
            for (container, used) in containers {
                let used = Use { at: used.at.min(now), ..used };
                pressing.extend(self.take_in_use(&namespace, &name, &container, used, false));
            }
        }
        pressing
    }

    /// Decide at once about those that cannot wait for the next round, not even for the rest of the usage that comes in.
    fn at_once(&mut self, pressing: &BTreeSet<WorkloadKey>, now: Timestamp) -> Vec<Effect> {
        if pressing.is_empty() { Vec::new() } else { self.round(now, Some(pressing)) }
    }

    /// What cannot wait for the next round is decided at once: a kubelet tells of a container close to its limit when it is
    /// asked, not when we are about to look.
    fn take_in_details(&mut self, readings: Vec<Reading>, now: Timestamp) -> Vec<Effect> {
        let (mut effects, mut pressing) = (Vec::new(), BTreeSet::new());
        for Reading { namespace, pod, container, usage, oom_kills, met_limit, .. } in readings {
            pressing.extend(self.take_in_use(&namespace, &pod, &container, usage, met_limit));
            // Within a run: one of its processes was killed, and the container lives on. Its status does not tell.
            if oom_kills.is_some_and(|it| it > 0)
                && let Some(facts) = self.view.pod(&namespace, &pod)
                && let Some(place) = facts.containers.iter().position(|it| it.name == container)
            {
                let key = facts.key.clone();
                effects.extend(self.befell(&key, vec![Incident::OutOfMemory(place, usage.at)], now));
            }
        }
        effects.extend(self.at_once(&pressing, now));
        effects
    }

    /// Whose past is of use: pods, each with how many containers it has.
    pub fn without_past(&self) -> Vec<(PodName, usize)> {
        let pods = self.view.scene.pods.iter().filter(|(_, it)| !self.history.is_resumed(&it.workload));
        pods.map(|(key, it)| ((key.namespace.clone(), key.name.clone()), it.containers.len())).collect()
    }

    /// The past of pods that are still there. Of a workload that was gone on from what was remembered of it nothing is taken
    /// in: it would count twice. What was measured since we began does not stand in the way, because the past ends where that begins.
    fn take_in_past(&mut self, past: &[Past], extent: Extent) {
        for told in past {
            let Some(facts) = self.view.pod(&told.namespace, &told.pod).cloned() else { continue };
            if !self.history.is_resumed(&facts.workload) {
                let policy = self.policy_of(&facts.workload);
                self.history.observe_past(&facts, &told.container, told.samples(), extent, &policy);
            }
        }
    }

    /// Take in what one container uses. Returns the workload where that demands more at once.
    fn take_in_use(
        &mut self,
        namespace: &str,
        pod: &str,
        container: &str,
        used: Use,
        met_limit: bool,
    ) -> Option<WorkloadKey> {
        let Place { pod, uses, subject } = self.view.place(namespace, pod)?;
        let found = pod.containers.iter().find(|it| &*it.name == container)?;
        // What one source does not tell, another may have told a moment ago.
        let known = uses.get(&found.name).copied();
        let (throttled, pressure) = (used.throttled_permille, used.memory_pressure_permille);
        let used = known.map_or(used, |known| used.beside(&known));
        // What was suffered before a measurement counts with it, once: heard again with each sample of a source that tells of
        // use alone, it would raise a size each time.
        let news = Use { throttled_permille: throttled, memory_pressure_permille: pressure, ..used };
        let policy = subject.map_or_else(|| self.rules.built_in(), |it| it.policy.clone());
        let learned = self.history.observe(pod, found, &news, met_limit, &policy)?;
        uses.insert(found.name.clone(), Use { memory_peak: learned.used.memory_peak, ..used });
        learned.is_pressing.then(|| pod.workload.clone())
    }

    fn policy_of(&self, workload: &WorkloadKey) -> Arc<Policy> {
        self.view.scene.workloads.get(workload).map_or_else(|| self.rules.built_in(), |it| it.policy.clone())
    }

    /// Decide, and turn what comes of it into effects. A world that does not lead decides too, so that a successor knows at
    /// once; it only does nothing about it.
    fn round(&mut self, now: Timestamp, only: Option<&BTreeSet<WorkloadKey>>) -> Vec<Effect> {
        if !self.is_complete() {
            return Vec::new();
        }
        self.refresh(now, only);
        self.judged_at = now;
        if only.is_none() {
            self.decisions.clear(); // before the new ones are made: they are most of what is kept about pods
        }
        let Round { actions, decisions, records } = decide(&self.view.scene, &Moment { now, only });
        let mut effects = Vec::new();
        if only.is_none() {
            effects.extend(self.evicted_by_events(now));
            effects.extend(self.count_unseen_kills());
            effects.extend(self.keeping_again(now));
        }
        if self.leading {
            for decision in &decisions {
                effects.extend(self.tell_obstacle(decision, now));
            }
        }
        self.decisions.take(decisions);
        let judged: Vec<WorkloadKey> = match only {
            Some(only) => only.iter().cloned().collect(),
            None => self.view.scene.workloads.keys().cloned().collect(),
        };
        for workload in judged {
            if let Some(code) = self.decision_of(&workload).map(|it| it.code) {
                effects.extend(self.audit(&workload, now));
                let subject = self.view.scene.workloads.get(&workload);
                let barred = subject.and_then(|it| self.view.scene.barred(it, now)).map(|it| it.0);
                self.outbox.decided(&workload, code, barred, now);
            }
        }
        if !self.leading {
            return effects;
        }
        let mut sent = Vec::new();
        for action in actions {
            if self.may_begin(&action) {
                sent.extend(self.send(action)); // with what is remembered of the one before it
            }
        }
        for (workload, record) in records {
            effects.extend(self.remember(&workload, record));
        }
        effects.extend(sent);
        effects.extend(self.urgent_writes(now));
        if only.is_none() {
            effects.extend(self.guards(now)); // once a round: what they answer is judged between rounds
        }
        effects
    }

    /// Tell it of a workload whose object is known.
    fn tell(&self, told: Told) -> Effect {
        let facts = self.view.scene.workloads.get(&told.workload).map(|it| &it.facts);
        let object = facts.filter(|it| !it.uid.is_empty()).map(|it| (it.api_version.to_string(), it.uid.to_string()));
        Effect::Tell(told, object)
    }

    /// What is still to be written before the loop ends.
    pub fn last_words(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = if self.leading { self.last_writes(now) } else { Vec::new() };
        effects.extend(self.keeping().filter(|_| self.is_complete()));
        effects
    }

    /// Whether what a pod asked for before us stands in the cluster: were we killed between a first resize and writing that
    /// down, nobody could give it back. What is not written yet is decided again in the next round; what is urgent, and what
    /// takes a resize back, does not wait.
    fn may_begin(&self, action: &Action) -> bool {
        let Some(change) = action.what.new_change() else { return true };
        let written = self.rules.record(&action.workload);
        action.cannot_wait
            || !self.rules.available().ours
            || written.is_some_and(|it| change.containers.keys().all(|name| it.originals.contains_key(name.as_str())))
    }

    fn send(&mut self, action: Action) -> Option<Effect> {
        let facts = self.view.scene.pods.get(&action.pod)?;
        let mut action = action;
        if action.what.new_change().is_some() {
            action.why = self.rules_behind(&action);
        }
        let record = self.records.get(&action.workload);
        let recreated = record.and_then(|it| it.recreated.clone());
        let no_room_since = record.and_then(|it| it.no_room_since);
        let inherited = facts.hand == Hand::Inherited;
        let order =
            Order { pod: facts.to_pod(), note: facts.note.clone(), inherited, recreated, no_room_since, action };
        let change = order.action.what.change().cloned().unwrap_or_default();
        if let Some(node) = facts.node.as_ref().filter(|_| order.action.what.change().is_some()) {
            let together = matches!(order.action.what, round::What::AdjustScaler { .. });
            self.flights.begin(&order.action.pod, node, !order.action.cannot_wait && !together);
        }
        self.view.scene.acting.insert(order.action.pod.clone(), change);
        self.in_flight.insert(order.action.pod.clone(), answered::Sent::Asked);
        Some(Effect::Carry(Box::new(order)))
    }

    /// What the sizes of a change come from, the recommender's rule or what held them last: `cpu by plan, memory by step`.
    fn rules_behind(&self, action: &Action) -> String {
        let Some(change) = action.what.new_change() else { return action.why.clone() };
        let needs = self.view.scene.workloads.get(&action.workload).map(|it| &it.needs);
        let decision = self.decisions.get(&action.pod);
        let held = |name: &str, resource| decision?.bound(name, resource)?.code.rule();
        let one = |(name, sizes): (&String, &supple_resize::predict::Sizes)| {
            let need = needs?.get(name.as_str())?;
            let by = |resource, rule: &str| {
                format!("{} by {}", Resource::as_str(resource), held(name, resource).unwrap_or(rule))
            };
            let cpu = need.cpu.as_ref().filter(|_| sizes.cpu_request.is_some());
            let cpu = cpu.map(|it| by(Resource::Cpu, &it.rule));
            let memory = need.memory.as_ref().filter(|_| sizes.memory_request.is_some());
            let memory = memory.map(|it| by(Resource::Memory, &it.rule));
            let rules: Vec<String> = cpu.into_iter().chain(memory).collect();
            (!rules.is_empty()).then(|| rules.join(", "))
        };
        let rules: Vec<String> = change.containers.iter().filter_map(one).collect();
        if rules.is_empty() { action.why.clone() } else { rules.join("; ") }
    }

    /// Take over a record, and tell what is new in it.
    fn remember(&mut self, workload: &WorkloadKey, record: Record) -> Vec<Effect> {
        let before = self.records.get(workload).and_then(|it| it.last.last()).map(|it| it.at);
        let news = record.last.iter().filter(|it| before.is_none_or(|before| it.at > before)).cloned();
        let mut effects = Vec::new();
        for done in news.collect::<Vec<_>>() {
            let pod = self.view.pod(&workload.namespace, &done.pod).map(|it| it.key.clone());
            if let Some(pod) = &pod {
                let last = Last { code: done.code, message: done.message.clone(), at: done.at };
                self.last.insert(pod.clone(), last);
            }
            effects.push(self.tell(Told {
                at: done.at,
                code: done.code,
                pod,
                workload: workload.clone(),
                message: done.message,
                gist: None,
            }));
        }
        self.take_over_record(workload, record);
        effects
    }

    /// Tell what stands in the way of a change that is wanted, once an hour and workload, and only where we may act at all:
    /// who only asked for recommendations is not told why nothing happens.
    fn tell_obstacle(&mut self, decision: &Decision, now: Timestamp) -> Option<Effect> {
        let acts = self.view.scene.workloads.get(&decision.workload)?.policy.mode.value > Mode::Initial;
        let waits = matches!(
            decision.code,
            Code::NoRoom | Code::Deferred | Code::DisruptionBudget | Code::ReplicasNotReady | Code::NoAnswer
        );
        let refused = decision.findings.iter().any(|it| it.outcome == Outcome::Refused && it.code == decision.code);
        if !acts || !(refused || waits) {
            return None;
        }
        let what = (decision.workload.clone(), decision.code);
        if self.told.get(&what).is_some_and(|at| now.duration_since(*at) < TOLD_AGAIN) {
            return None;
        }
        self.told.insert(what, now);
        let last = Last { code: decision.code, message: decision.message.clone(), at: now };
        self.last.insert(decision.pod.clone(), last);
        Some(self.tell(Told {
            at: now,
            code: decision.code,
            pod: Some(decision.pod.clone()),
            workload: decision.workload.clone(),
            message: decision.message.clone(),
            gist: None,
        }))
    }

    /// Nothing of ours is on its way to this pod any more.
    fn release(&mut self, pod: &PodKey) {
        self.in_flight.remove(pod);
        self.view.scene.acting.remove(pod);
        self.is_it_done(pod);
    }

    /// Whether its node is done with what was sent: the pod shows it, and is not under way any more.
    fn is_it_done(&mut self, pod: &PodKey) {
        let progress = self.view.scene.pods.get(pod).map(|it| &it.progress);
        let is_at_it = matches!(progress, Some(Progress::Underway | Progress::Failing(_)));
        if !is_at_it && !self.in_flight.contains_key(pod) {
            self.flights.end(pod);
        }
    }
}

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod past_tests;
#[cfg(test)]
mod pressing_tests;
#[cfg(test)]
mod tests;
