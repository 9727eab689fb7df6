//! Decides what each pod of the node may have: admission of new pods, allocation of resizes, the queue of those that
//! must wait, and who has to go for a critical pod.
//!
//! A plain struct that is told things and answers with commands to workers; the only waiting is in the caller's loop.
//! Every decision is made here, one after another, so that two of them never promise the same room.

mod ledger;
mod preempt;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use supple_resize::actuate;
use supple_resize::allocate::{self, Allocation, Decision, NodeView, Shortage};
use supple_resize::condition::{PendingReason, ResizeConditions};
use supple_resize::event::{self, ResizeEvent};
use supple_resize::queue::{self, FIRST_RETRY, RETRY_INTERVAL, Trigger, Waiting};

use crate::checkpoint::{Change, Records};
use crate::events::{Kind, Note};
use crate::feed::Followed;
use crate::lately::Lately;
use crate::runtime::{ContainerRef, FoundPod, PodRef, RunState, RuntimeEvent};
use crate::shared::Shared;
use crate::status::{self, Failure};
use crate::worker::{Begin, Birth, Command, Report, Sender, Worker};
use ledger::Ledger;
use preempt::{Candidate, Class};

/// One pod, as the manager sees it.
struct Entry {
    id: Arc<PodRef>,
    /// As the API has it: what is desired.
    pod: Followed,
    /// What of that its worker looks at.
    looks: Looks,
    /// Whether its worker has been told of that pod.
    is_told: bool,
    /// What that asks for.
    wished: Arc<Allocation>,
    /// What was promised last.
    allocation: Arc<Allocation>,
    /// What is pending; progress is the worker's.
    conditions: ResizeConditions,
    /// It has not ended.
    active: bool,
    /// It was told to go for a critical pod.
    evicted: bool,
    worker: Sender,
}

impl Entry {
    /// Tell the worker something that comes with the pod as it is now.
    fn tell(&mut self, command: impl FnOnce(Followed) -> Command) {
        self.is_told = true;
        self.worker.tell(command(self.pod.clone()));
    }
}

/// The decisions of one node.
pub(crate) struct Manager {
    shared: Arc<Shared>,
    view: NodeView,
    /// Boxed: a map keeps half as much room again as is in it.
    entries: HashMap<String, Box<Entry>>,
    ledger: Ledger,
    /// Pods whose desired size is not their allocated one, by their UIDs. Decoded, because each is looked at whenever room may
    /// have been freed.
    pending: BTreeMap<String, Arc<Pod>>,
    /// Critical pods that are let in once those that must go for them have gone.
    awaiting_room: BTreeMap<String, Followed>,
    /// What the disk said at start, until the pod's worker has taken it over.
    records: BTreeMap<String, Records>,
    /// What was found on the machine at start, likewise.
    found: HashMap<String, FoundPod>,
    /// What was lately promised.
    lately: Lately<Allocation>,
    /// When waiting resizes are tried without a reason.
    retry_at: Timestamp,
}

impl Manager {
    /// The manager of a node, with what its predecessor left.
    pub(crate) fn new(
        shared: Arc<Shared>,
        view: NodeView,
        records: BTreeMap<String, Records>,
        found: Vec<FoundPod>,
    ) -> Self {
        let retry_at = shared.now().checked_add(FIRST_RETRY).unwrap_or(Timestamp::MAX);
        Self {
            shared,
            view,
            entries: HashMap::new(),
            ledger: Ledger::default(),
            pending: BTreeMap::new(),
            awaiting_room: BTreeMap::new(),
            records,
            found: found.into_iter().map(|it| (it.pod.uid.clone(), it)).collect(),
            lately: Lately::default(),
            retry_at,
        }
    }

    /// When [`Manager::retry_if_due`] has something to do; `None` while nothing waits.
    pub(crate) fn wake(&self) -> Option<Timestamp> {
        (!self.pending.is_empty()).then_some(self.retry_at)
    }

    /// All pods of the node, as a list of the API has them: the first time and after each gap in the watch.
    pub(crate) fn listed(&mut self, pods: Vec<Followed>) {
        let uids: BTreeSet<String> = pods.iter().filter_map(|pod| pod.pod().metadata.uid.clone()).collect();
        let known = self.entries.keys().chain(self.awaiting_room.keys());
        let gone: Vec<String> = known.filter(|uid| !uids.contains(uid.as_str())).cloned().collect();
        // What an earlier node left and the API no longer has.
        let orphans: Vec<FoundPod> =
            self.found.extract_if(|uid, _| !uids.contains(uid.as_str())).map(|(_, it)| it).collect();
        let stale: Vec<String> = self.records.keys().filter(|uid| !uids.contains(uid.as_str())).cloned().collect();
        for uid in &gone {
            self.removed(uid);
        }
        for uid in stale {
            self.records.remove(&uid);
            // Not waited for: what is not dropped now is dropped at the next start.
            let _ = self.shared.checkpoints.write(&uid, Change::Forgotten);
        }
        for orphan in orphans {
            self.shared.workers.spawn(remove_orphan(Arc::clone(&self.shared), orphan));
        }
        let mut new = Vec::new();
        for pod in pods {
            let known = pod.pod().metadata.uid.as_deref().is_some_and(|uid| self.entries.contains_key(uid));
            if known { self.applied(pod) } else { new.push(pod) }
        }
        self.add(new);
    }

    /// A pod is new or has changed.
    pub(crate) fn applied(&mut self, followed: Followed) {
        let pod = followed.pod();
        let Some(uid) = pod.metadata.uid.clone() else { return };
        if let Some(waiting) = self.awaiting_room.get_mut(&uid) {
            *waiting = followed.at_rest();
            return;
        }
        let Some(entry) = self.entries.get_mut(&uid) else {
            let replaced =
                self.entries.values().find(|it| it.id.name == name(&pod) && it.id.namespace == namespace(&pod));
            if let Some(uid) = replaced.map(|it| it.id.uid.clone()) {
                self.removed(&uid);
            }
            self.add(vec![followed]);
            return;
        };
        if let Some(pending) = self.pending.get_mut(&uid) {
            *pending = Arc::clone(&pod);
        }
        let looks = Looks::of(&pod, &entry.looks);
        // As it is told, until everybody has been told.
        entry.pod = followed;
        if looks == entry.looks {
            entry.tell(Command::Echo);
            entry.pod = entry.pod.at_rest();
            return;
        }
        entry.is_told = false;
        let before = std::mem::replace(&mut entry.looks, looks);
        if before.generation != pod.metadata.generation && entry.active {
            let wished = self.lately.shared(Allocation::of(&pod));
            let wished = std::mem::replace(&mut entry.wished, wished);
            self.shared.figures.requested(&wished, &entry.wished);
            if entry.allocation.is_of(&pod) {
                self.settle(&uid);
            } else {
                self.pending.insert(uid.clone(), pod);
                self.retry(Trigger::PodUpdated);
            }
        }
        // Unless a decision has brought it along.
        if let Some(entry) = self.entries.get_mut(&uid) {
            if !entry.is_told {
                entry.tell(Command::Changed);
            }
            entry.pod = entry.pod.at_rest();
        }
    }

    /// A pod has left the API.
    pub(crate) fn deleted(&mut self, pod: &Pod) {
        if let Some(uid) = &pod.metadata.uid {
            self.removed(uid);
        }
    }

    fn removed(&mut self, uid: &str) {
        self.awaiting_room.remove(uid);
        self.pending.remove(uid);
        if let Some(entry) = self.entries.get(uid) {
            // What it holds is free when its worker says so: until then its processes run.
            entry.worker.tell(Command::Removed);
        }
    }

    /// Something happened on the machine.
    pub(crate) fn happened(&mut self, event: RuntimeEvent) {
        let (uid, command) = match event {
            RuntimeEvent::Exited(id, exit) => (id.pod.uid.clone(), Command::Exited(id, exit)),
            RuntimeEvent::OomKill(id) => (id.pod.uid.clone(), Command::OomKill(id)),
            RuntimeEvent::Strained { pod, container, strain } => (pod.uid, Command::Strained(container, strain)),
        };
        if let Some(entry) = self.entries.get(&uid) {
            entry.worker.tell(command);
        }
    }

    /// A worker reports.
    pub(crate) fn reported(&mut self, report: Report) {
        match report {
            Report::Recorded(uid, amounts) => {
                if self.ledger.recorded(&uid, &amounts) {
                    self.retry(Trigger::PodResized);
                }
            }
            Report::Actuated(uid, amounts) => {
                if self.ledger.actuated(&uid, &amounts) {
                    self.retry(Trigger::PodResized);
                }
            }
            Report::Ended(uid) => {
                self.pending.remove(&uid);
                if let Some(entry) = self.entries.get_mut(&uid) {
                    entry.active = false;
                    entry.conditions.clear();
                }
                if self.ledger.release(&uid) {
                    let waiting = std::mem::take(&mut self.awaiting_room);
                    self.add(waiting.into_values().collect());
                    self.retry(Trigger::PodTerminated);
                }
            }
            Report::Gone(uid) => {
                self.entries.remove(&uid);
            }
        }
    }

    /// Try waiting resizes if nothing has made the node try them for long.
    pub(crate) fn retry_if_due(&mut self) {
        if self.shared.now() >= self.retry_at {
            self.retry(Trigger::PeriodicRetry);
        }
    }

    /// Leave everything as it is and end all workers.
    pub(crate) fn stop(&mut self) {
        for entry in self.entries.values() {
            entry.worker.tell(Command::Stop);
        }
    }

    /// Admit pods that are new on this node: those that were here before it started first, then by age.
    fn add(&mut self, mut pods: Vec<Followed>) {
        pods.sort_by_cached_key(|pod| {
            let pod = pod.pod();
            let known = self.records.contains_key(uid(&pod)) || self.found.contains_key(uid(&pod));
            let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (!known, created, namespace(&pod).to_owned(), name(&pod).to_owned())
        });
        for pod in pods {
            self.admit(pod);
        }
        if !self.pending.is_empty() {
            self.retry(Trigger::PodsAdded);
        }
    }

    fn admit(&mut self, followed: Followed) {
        let pod = followed.pod();
        let id = PodRef { uid: uid(&pod).into(), namespace: namespace(&pod).into(), name: name(&pod).into() };
        let id = Arc::new(id);
        if id.uid.is_empty() || pod.spec.is_none() || self.entries.contains_key(&id.uid) {
            return;
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let over = matches!(phase, Some("Succeeded" | "Failed"));
        let leaving = pod.metadata.deletion_timestamp.is_some();
        let records = self.records.get(&id.uid).cloned().unwrap_or_default();
        let recorded = records.allocated.as_ref().map(|it| Arc::clone(&it.allocation));
        let allocation = self.lately.same(recorded.unwrap_or_else(|| Arc::new(Allocation::of(&pod))));
        let view = allocation.applied_to(&pod);
        let begin = if over {
            Begin::Over
        } else {
            let used = match records.allocated {
                Some(_) => self.ledger.promised_to_others(&id.uid),
                None => self.ledger.others(&id.uid),
            };
            let room = allocate::admit(&view, &self.view, &used);
            match room {
                // Whoever is on the way out is not refused: it holds what it has until that is gone.
                Err(_) if leaving => Begin::Admitted(Arc::clone(&allocation)),
                Ok(()) => Begin::Admitted(Arc::clone(&allocation)),
                Err(shortage) => {
                    if self.make_room(&pod, &shortage) {
                        self.awaiting_room.insert(id.uid.clone(), followed.at_rest());
                        return;
                    }
                    let message = format!("Pod was rejected: {shortage}");
                    Begin::Rejected(Failure { reason: shortage.reason().into(), message })
                }
            }
        };
        self.records.remove(&id.uid);
        let found: Option<Vec<(ContainerRef, RunState)>> = self.found.remove(&id.uid).map(|it| it.containers);
        let active = matches!(begin, Begin::Admitted(_));
        // Of one that is being deleted nothing may be left: its room has been given to others before the node was started.
        if active && (!leaving || found.is_some()) {
            self.ledger.promise(&id.uid, &actuate::pod_amounts(&view));
            if let Some(amounts) = records.actuated.as_ref().and_then(|it| it.pod.as_ref()) {
                self.ledger.actuated(&id.uid, amounts);
            }
        }
        let mut conditions = match &records.allocated {
            Some(allocated) => allocated.conditions.clone(),
            None => ResizeConditions::read(api_conditions(&pod)),
        };
        conditions.in_progress = None;
        let birth = Birth { pod: followed.clone(), id: Arc::clone(&id), begin, records, found };
        let worker = Worker::start(Arc::clone(&self.shared), birth);
        if active && !allocation.is_of(&pod) {
            self.pending.insert(id.uid.clone(), Arc::clone(&pod));
        } else if conditions.settle() {
            worker.tell(Command::Pending(followed.clone(), None));
        }
        let looks = Looks::of(&pod, &Looks::default());
        let wished = self.lately.shared(Allocation::of(&pod));
        let (pod, is_told, evicted) = (followed.at_rest(), true, false);
        let entry = Entry { id, pod, looks, is_told, wished, allocation, conditions, active, evicted, worker };
        self.entries.insert(entry.id.uid.clone(), Box::new(entry));
    }

    /// The desired size is the allocated one again.
    fn settle(&mut self, uid: &str) {
        self.pending.remove(uid);
        if let Some(entry) = self.entries.get_mut(uid)
            && entry.conditions.settle()
        {
            entry.tell(|pod| Command::Pending(pod, None));
        }
    }

    /// Try every waiting resize, in order of rank. The cost goes with the number of those that wait, which is usually
    /// the one that has just come.
    fn retry(&mut self, trigger: Trigger) {
        self.retry_at = self.shared.now().checked_add(RETRY_INTERVAL).unwrap_or(Timestamp::MAX);
        let mut waiting: Vec<Waiting> = self
            .pending
            .iter()
            .filter_map(|(uid, pod)| Some((self.entries.get(uid)?, pod)))
            .map(|(entry, pod)| Waiting {
                uid: entry.id.uid.clone(),
                increasing: queue::is_increasing(pod, &entry.allocation),
                priority: priority(pod),
                guaranteed: class(pod) == Class::Guaranteed,
                since: entry.conditions.pending.as_ref().map(|it| it.since),
            })
            .collect();
        waiting.sort();
        tracing::trace!(trigger = trigger.as_str(), waiting = waiting.len(), "waiting resizes are tried");
        for it in waiting {
            self.try_resize(&it.uid, trigger);
        }
    }

    fn try_resize(&mut self, uid: &str, trigger: Trigger) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let pod = entry.pod.pod();
        let generation = pod.metadata.generation;
        match allocate::decide(&pod, &entry.allocation, &self.view, &self.ledger.others(uid)) {
            Decision::Unchanged => self.settle(uid),
            Decision::Allocate(allocation) => {
                self.ledger.promise(uid, &actuate::pod_amounts(&pod));
                let allocation = self.lately.shared(allocation);
                entry.allocation = Arc::clone(&allocation);
                let waited = entry.conditions.pending.as_ref().is_some_and(|it| it.reason == PendingReason::Deferred);
                if waited {
                    self.shared.figures.accepted(trigger);
                }
                entry.conditions.settle();
                self.pending.remove(uid);
                entry.tell(|pod| Command::Allocate(pod, allocation));
            }
            Decision::Deferred(shortage) => {
                // While those that must go for it are ending it is neither allocated nor refused.
                if !self.make_room(&pod, &shortage) {
                    let event = || event::deferred(&pod, generation.unwrap_or_default(), &shortage);
                    self.refuse(uid, PendingReason::Deferred, shortage.to_string(), event);
                }
            }
            Decision::Infeasible(why) => {
                self.pending.remove(uid);
                self.shared.figures.infeasible(why.detail());
                let event = || event::infeasible(&pod, generation.unwrap_or_default(), why);
                self.refuse(uid, PendingReason::Infeasible, why.to_string(), event);
            }
        }
    }

    fn refuse(&mut self, uid: &str, reason: PendingReason, message: String, event: impl FnOnce() -> ResizeEvent) {
        let now = self.shared.now();
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let before = entry.conditions.clone();
        if entry.conditions.refuse(reason, message, entry.looks.generation, now) {
            let ResizeEvent { type_, reason, message } = event();
            let kind = if type_ == "Warning" { Kind::Warning } else { Kind::Normal };
            let note = Note { pod: PodRef::clone(&entry.id), field_path: None, kind, reason: reason.into(), message };
            self.shared.recorder.note(note);
        } else if entry.conditions.same_to_readers(&before) {
            return;
        }
        let pending = entry.conditions.pending.clone();
        entry.tell(|pod| Command::Pending(pod, pending));
    }

    /// Whether room is being made for a critical pod: tells those that have to go to do so.
    fn make_room(&mut self, pod: &Pod, shortage: &Shortage) -> bool {
        if priority(pod) < preempt::CRITICAL {
            return false;
        }
        let candidates = self.entries.values().filter(|it| it.active && it.id.uid != uid(pod));
        let candidates: Vec<Candidate> = candidates
            .map(|it| {
                let pod = it.pod.pod();
                let amounts = actuate::pod_amounts(&it.allocation.applied_to(&pod));
                let holds = (amounts.cpu_request.0, amounts.memory_request.0);
                Candidate { uid: it.id.uid.clone(), priority: priority(&pod), class: class(&pod), holds }
            })
            .collect();
        let Some(chosen) = preempt::choose(priority(pod), std::slice::from_ref(shortage), candidates) else {
            return false;
        };
        for uid in &chosen {
            if let Some(entry) = self.entries.get_mut(uid)
                && !std::mem::replace(&mut entry.evicted, true)
            {
                let message = "Preempted in order to admit critical pod".to_owned();
                entry.worker.tell(Command::Evict(Failure { reason: status::PREEMPTING.into(), message }));
            }
        }
        !chosen.is_empty()
    }
}

/// End what an earlier node left of a pod that the API does not have.
async fn remove_orphan(shared: Arc<Shared>, orphan: FoundPod) {
    let FoundPod { pod, containers } = orphan;
    let running = containers.iter().filter(|(_, run)| matches!(run, RunState::Running { .. }));
    let stops = running.map(|(id, _)| shared.runtime.stop_container(id, std::time::Duration::ZERO));
    let mut results: Vec<_> = futures::future::join_all(stops).await.into_iter().map(|it| it.map(|_| ())).collect();
    results.push(shared.runtime.remove_pod(&pod).await);
    results.push(shared.runtime.forget_pod(&pod).await);
    for error in results.into_iter().filter_map(Result::err) {
        tracing::error!(pod = pod.name, namespace = pod.namespace, %error, "cannot remove what an earlier node left \
         of a pod");
    }
}

/// What of a pod its worker looks at. The echo of the pod's own status is not.
#[derive(Clone, Debug, Default, PartialEq)]
struct Looks {
    generation: Option<i64>,
    deletion: Option<Timestamp>,
    grace: Option<i64>,
    /// Labels, annotations and what others say in its conditions, as text: of a pod at rest nobody asks for them.
    rest: Arc<[u8]>,
}

impl Looks {
    /// Of this pod; what is as `before` is shared with it.
    fn of(pod: &Pod, before: &Self) -> Self {
        let meta = &pod.metadata;
        let foreign: Vec<&PodCondition> = api_conditions(pod).iter().filter(|it| status::is_foreign(it)).collect();
        let rest = serde_json::to_vec(&(&meta.labels, &meta.annotations, foreign)).expect("it is written to memory");
        Self {
            generation: meta.generation,
            deletion: meta.deletion_timestamp.as_ref().map(|it| it.0),
            grace: meta.deletion_grace_period_seconds,
            rest: if *rest == *before.rest { Arc::clone(&before.rest) } else { rest.into() },
        }
    }
}

fn api_conditions(pod: &Pod) -> &[PodCondition] {
    pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

fn class(pod: &Pod) -> Class {
    // The API server sets it at creation and never changes it.
    match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        Some("Guaranteed") => Class::Guaranteed,
        Some("BestEffort") => Class::BestEffort,
        _ => Class::Burstable,
    }
}
