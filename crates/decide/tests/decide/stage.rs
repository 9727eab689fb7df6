//! A small cluster to decide about: one namespace, nodes, workloads and their pods, all well and of long standing unless a
//! test says otherwise.

#![allow(dead_code, reason = "each test program takes from it what it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use supple_decide::code::Code;
use supple_decide::facts::{
    Budget, ContainerFacts, ContainerShape, LastEnd, NamespaceFacts, NodeFacts, Noted, Phase, PodFacts, PodShape,
    Rollout, WorkloadFacts,
};
use supple_decide::few::Few;
use supple_decide::hand::Hand;
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::need::{Need, Use, Wanted};
use supple_decide::note::Author;
use supple_decide::numbers::Numbers;
use supple_decide::policy::{Layer, Mode, Policy, RecreateBy, StepCaps};
use supple_decide::progress::Progress;
use supple_decide::record::Record;
use supple_decide::round::{Action, Decision, Outcome, Round, What, decide};
use supple_decide::scaler::Target;
use supple_decide::scene::{Moment, Scene, Subject};
use supple_quantity::{Bytes, MilliCpu};
use supple_resize::disruption::Health;
use supple_resize::predict::Change;
use supple_resize::qos::QosClass;
use supple_resize::resources::ContainerKind;

pub const NAMESPACE: &str = "shop";
pub const MIB: i64 = 1 << 20;

pub struct Stage {
    pub scene: Scene,
    pub now: Timestamp,
}

pub fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// `500m`, `1:2`, `:2` or nothing.
fn cpu(text: &str) -> (Option<MilliCpu>, Option<MilliCpu>) {
    let (request, limit) = text.split_once(':').unwrap_or((text, ""));
    let of = |it: &str| (!it.is_empty()).then(|| MilliCpu::from(&it.parse::<supple_quantity::Quantity>().unwrap()));
    (of(request), of(limit))
}

fn memory(text: &str) -> (Option<Bytes>, Option<Bytes>) {
    let (request, limit) = text.split_once(':').unwrap_or((text, ""));
    let of = |it: &str| (!it.is_empty()).then(|| Bytes::from(&it.parse::<supple_quantity::Quantity>().unwrap()));
    (of(request), of(limit))
}

/// `1:2 512Mi:1Gi`: CPU and memory, request and limit.
pub fn numbers(text: &str) -> Numbers {
    let (cpus, memories) = text.split_once(' ').unwrap_or((text, ""));
    let ((cpu_request, cpu_limit), (memory_request, memory_limit)) = (cpu(cpus), memory(memories));
    Numbers { cpu_request, cpu_limit, memory_request, memory_limit }
}

pub fn show(numbers: &Numbers) -> String {
    let pair = |it: Option<String>| it.unwrap_or_default();
    let cpu = pair(supple_decide::numbers::pair(numbers.cpu_request, numbers.cpu_limit));
    let memory = pair(supple_decide::numbers::pair(numbers.memory_request, numbers.memory_limit));
    format!("{cpu} {memory}").trim().to_owned()
}

/// The one copy of the namespace's name that all keys have, as in a controller.
static COPY: LazyLock<Arc<str>> = LazyLock::new(|| NAMESPACE.into());

pub fn key(name: &str) -> PodKey {
    PodKey::new(COPY.clone(), name, format!("uid-{name}"))
}

pub fn workload(name: &str) -> WorkloadKey {
    WorkloadKey { namespace: COPY.clone(), kind: "Deployment".into(), name: name.into() }
}

pub fn wanted<T: Copy>(target: T) -> Wanted<T> {
    Wanted {
        target,
        lower: target,
        upper: target,
        confidence_permille: 900,
        rule: "plan".into(),
        doubt: "none".into(),
        urgent: false,
        veto: false,
    }
}

pub fn need(text: &str) -> Need {
    let numbers = numbers(text);
    Need {
        cpu: numbers.cpu_request.map(wanted),
        memory: numbers.memory_request.map(wanted),
        fresh: None,
        hours: 24 * 30,
    }
}

pub fn class(containers: &[ContainerFacts]) -> QosClass {
    let all = |it: &ContainerFacts| {
        let own = &it.asked;
        own.cpu_limit.is_some()
            && own.memory_limit.is_some()
            && own.cpu_request == own.cpu_limit
            && own.memory_request == own.memory_limit
    };
    if containers.iter().all(|it| it.asked.is_empty()) {
        QosClass::BestEffort
    } else if containers.iter().all(all) {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    pub fn new() -> Self {
        Self::starting("2026-03-01T12:00:00Z".parse().unwrap())
    }

    pub fn starting(now: Timestamp) -> Self {
        let mut scene = Scene::default();
        scene.namespaces.insert(NAMESPACE.into(), NamespaceFacts::default());
        scene.cluster.minor_version = Some(36);
        let mut stage = Self { scene, now };
        stage.node("n1", "16", "64Gi");
        stage
    }

    pub fn ago(&self, minutes: i64) -> Timestamp {
        self.now - SignedDuration::from_mins(minutes)
    }

    pub fn node(&mut self, name: &str, cpu: &str, memory: &str) {
        let node = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
            "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap();
        self.scene.nodes.insert(name.into(), NodeFacts::of(&node));
    }

    /// A workload in mode `InPlace` whose container `app` needs this.
    pub fn workload(&mut self, name: &str, needs: &str) -> &mut Subject {
        let key = workload(name);
        let facts = WorkloadFacts {
            key: key.clone(),
            uid: format!("uid-{name}").into(),
            api_version: "apps/v1".into(),
            replicas: 0,
            ready: 0,
            rolling: false,
            template: Few::new(),
            budgets: Vec::new(),
            rollout: Some(Rollout::Surge),
            rollout_takes: 0,
            sized_at_creation: false,
            scalers: Vec::new(),
            other_vertical: Vec::new(),
            words: BTreeMap::new(),
        };
        let needs = Few::from([(Arc::from("app"), need(needs))]);
        let policy = Policy::default().under(Layer { mode: Some(Mode::InPlace), ..Layer::default() });
        let subject = Subject { facts, policy: Arc::new(policy), needs, record: Arc::new(Record::default()) };
        self.scene.workloads.insert(key.clone(), Box::new(subject));
        self.scene.workloads.get_mut(&key).unwrap()
    }

    pub fn subject(&mut self, name: &str) -> &mut Subject {
        self.scene.workloads.get_mut(&workload(name)).unwrap()
    }

    /// A disruption budget over the pods of a workload that allows so many disruptions, with so many healthy pods of those it wants.
    pub fn budget(&mut self, workload: &str, allowed: u32, (current, desired): (i64, i64)) -> &mut Budget {
        let health = Health { current, desired, always: false };
        let budgets = &mut self.subject(workload).facts.budgets;
        budgets.push(Budget { name: format!("budget-{}", budgets.len()).into(), allowed, health, is_shared: false });
        budgets.last_mut().unwrap()
    }

    /// A workload of this kind that is recreated by restarting it so, which takes away up to so many of its pods at once.
    pub fn rolls(&mut self, name: &str, kind: &str, how: Rollout, takes: u32) {
        let facts = &mut self.subject(name).facts;
        (facts.key.kind, facts.rollout, facts.rollout_takes) = (kind.into(), Some(how), takes);
        self.policy(name, |it| it.recreate_by.value = RecreateBy::Rollout);
    }

    /// The webhook is asked about new pods of all workloads.
    pub fn sizes_new_pods(&mut self) {
        for subject in self.scene.workloads.values_mut() {
            subject.facts.sized_at_creation = true;
        }
    }

    pub fn policy(&mut self, name: &str, change: impl FnOnce(&mut Policy)) {
        change(Arc::make_mut(&mut self.subject(name).policy));
    }

    /// A pod `WORKLOAD-…` with one container `app` of these sizes, which uses a little.
    pub fn pod(&mut self, workload_name: &str, name: &str, node: &str, sizes: &str) -> &mut PodFacts {
        let started = self.ago(60 * 24 * 3);
        let container = self.container("app", sizes);
        let containers = vec![container];
        let pod = PodFacts {
            key: key(name),
            shape: Arc::new(PodShape {
                workload: workload(workload_name),
                qos: class(&containers),
                revision: Some("r1".into()),
                pod_level: Numbers::default(),
                pod_level_held: None,
                overhead: Numbers::default(),
                priority: 0,
                words: BTreeMap::new(),
                sized: None,
                do_not_evict: false,
                fixed: None,
                never_restarts: false,
                priority_class: None,
                has_deadline: false,
            }),
            generation: 1,
            node: Some(node.into()),
            phase: Phase::Running,
            deleting: false,
            leaving: None,
            evicted: None,
            started: Some(started.into()),
            made: Some(started.into()),
            ready: Some(started.into()),
            unready: None,
            progress: Progress::Settled,
            progress_since: None,
            hand: Hand::Free,
            note: None,
            containers,
        };
        let subject = self.subject(workload_name);
        subject.facts.replicas += 1;
        subject.facts.ready += 1;
        self.scene.pods.insert(key(name), Box::new(pod));
        let used = Use {
            cpu: Some(MilliCpu(10)),
            memory: Some(Bytes(8 * MIB)),
            memory_peak: Some(Bytes(8 * MIB)),
            ..Use::at(self.now)
        };
        self.scene.uses.entry(key(name)).or_default().insert("app".into(), used);
        self.scene.pods.get_mut(&key(name)).unwrap()
    }

    pub fn container(&self, name: &str, sizes: &str) -> ContainerFacts {
        let asked = numbers(sizes);
        let allocated = Numbers { cpu_limit: None, memory_limit: None, ..asked };
        ContainerFacts {
            shape: Arc::new(ContainerShape {
                name: name.into(),
                kind: ContainerKind::Regular,
                asked,
                allocated: Some(allocated),
                actual: Some(asked),
                restarts_for_cpu: false,
                restarts_for_memory: false,
                others: None,
            }),
            running_since: Some(self.ago(60 * 24 * 3).into()),
            last_end: None,
            restarts: 0,
            ready: true,
            killed_and_waiting: false,
            killed_at_start: false,
            done: false,
        }
    }

    pub fn at(&mut self, name: &str) -> &mut PodFacts {
        self.scene.pods.get_mut(&key(name)).unwrap()
    }

    /// The pod as it is told by a node that does not say what containers have and run with: a kubelet before 1.33, or none at all.
    pub fn says_nothing_of_sizes(&mut self, name: &str) {
        let facts = self.at(name);
        let mut pod = facts.to_pod();
        for status in pod.status.iter_mut().flat_map(|it| &mut it.container_statuses).flatten() {
            (status.resources, status.allocated_resources) = (None, None);
        }
        let told = PodFacts::of(&pod, facts.workload.clone());
        (facts.progress, facts.progress_since) = (told.progress, told.progress_since);
        facts.containers = told.containers;
    }

    pub fn used(&mut self, name: &str) -> &mut Use {
        self.scene.uses.get_mut(&key(name)).unwrap().get_mut("app").unwrap()
    }

    /// A workload is to have so much CPU at once, though its pods have as much as was thought to be enough.
    pub fn needs_cpu_at_once(&mut self, name: &str, cpu: &str) {
        let mut need = need(cpu);
        let wanted = need.cpu.as_mut().unwrap();
        (wanted.urgent, wanted.lower) = (true, MilliCpu(1));
        self.subject(name).needs.insert("app".into(), need);
    }

    /// The pod was resized by the loop from these sizes to those it has, so many minutes ago.
    pub fn resized(&mut self, name: &str, before: &str, minutes_ago: i64) {
        let at = self.ago(minutes_ago);
        let pod = self.at(name);
        let after = pod.containers[0].asked;
        let changed = |it: &Numbers, other: &Numbers| Numbers {
            cpu_request: it.cpu_request.filter(|_| it.cpu_request != other.cpu_request),
            cpu_limit: it.cpu_limit.filter(|_| it.cpu_limit != other.cpu_limit),
            memory_request: it.memory_request.filter(|_| it.memory_request != other.memory_request),
            memory_limit: it.memory_limit.filter(|_| it.memory_limit != other.memory_limit),
        };
        let before = numbers(before);
        let (old, new) = (changed(&before, &after), changed(&after, &before));
        pod.note = Some(Box::new(Noted {
            by: Author::Controller,
            at,
            generation: pod.generation,
            containers: [("app".into(), old, new)].into(),
            urgent: false,
            lowered: None,
            first: None,
        }));
        pod.generation += 1;
        pod.hand = Hand::Ours;
    }

    /// The pod was raised ten minutes ago and is killed all the same: its cgroup stays small.
    pub fn stuck(&mut self, name: &str) {
        self.at(name).containers[0] = self.container("app", "1 2Gi:2Gi");
        self.resized(name, "1 1Gi:1Gi", 10);
        let at = self.ago(5);
        let pod = self.at(name);
        (pod.ready, pod.unready) = (None, Some(at.into()));
        let container = &mut pod.containers[0];
        (container.running_since, container.killed_and_waiting) = (None, true);
        container.actual = Some(numbers("1 1Gi:1Gi"));
        container.last_end = Some(LastEnd { at, out_of_memory: true, exit_code: 137 });
    }

    pub fn decide(&self) -> Round {
        decide(&self.scene, &Moment { now: self.now, only: None })
    }

    pub fn decide_only(&self, names: &[&str]) -> Round {
        let only: BTreeSet<WorkloadKey> = names.iter().map(|it| workload(it)).collect();
        decide(&self.scene, &Moment { now: self.now, only: Some(&only) })
    }

    /// The scene in which the round's actions have been sent and nothing has come of them yet.
    pub fn carry_out(&mut self, round: &Round) {
        for (key, record) in &round.records {
            self.scene.workloads.get_mut(key).unwrap().record = Arc::new(record.clone());
        }
        for action in &round.actions {
            let now = self.now;
            let pod = self.scene.pods.get_mut(&action.pod).unwrap();
            match &action.what {
                What::Resize(change) => send(pod, change, Author::Controller, now),
                What::RollBack(change) => send(pod, change, Author::RollBack, now),
                What::AdjustScaler { target, change } => {
                    send(pod, change, Author::Controller, now);
                    self.aim(&action.workload, target);
                }
                What::SettleScaler(target) => self.aim(&action.workload, target),
                What::Evict => pod.deleting = true,
                What::RollOut => self.scene.workloads.get_mut(&action.workload).unwrap().facts.rolling = true,
            }
        }
    }

    /// The scaler of its workload has the target that an action gives it.
    pub fn aim_at(&mut self, action: &Action) {
        if let What::AdjustScaler { target, .. } | What::SettleScaler(target) = &action.what {
            self.aim(&action.workload, target);
        }
    }

    fn aim(&mut self, workload: &WorkloadKey, target: &Target) {
        let scalers = &mut self.scene.workloads.get_mut(workload).unwrap().facts.scalers;
        for it in scalers.iter_mut().filter(|it| it.name == target.name) {
            it.anchor = target.anchor;
            let cpu = it.metrics.iter_mut().filter(|it| it.resource == supple_resize::amounts::Resource::Cpu);
            cpu.for_each(|it| it.percent = target.to);
        }
    }

    /// What is under way has come to its end: the pods have what they ask for.
    pub fn let_settle(&mut self) {
        for pod in self.scene.pods.extract_if(.., |_, it| it.deleting).map(|it| it.1) {
            self.scene.workloads.get_mut(&pod.workload).unwrap().facts.replicas -= 1;
        }
        for pod in self.scene.pods.values_mut() {
            if pod.progress == Progress::Underway {
                pod.progress = Progress::Settled;
                for container in &mut pod.containers {
                    container.allocated = Some(Numbers { cpu_limit: None, memory_limit: None, ..container.asked });
                    container.actual = Some(container.asked);
                }
            }
        }
    }

    pub fn pass(&mut self, minutes: i64) {
        self.now += SignedDuration::from_mins(minutes);
        for used in self.scene.uses.values_mut().flat_map(supple_decide::need::Uses::values_mut) {
            used.at = self.now;
        }
    }

    pub fn quota(&mut self, hard: Value, used: Value) {
        let quota = serde_json::from_value(json!({
            "metadata": {"name": "quota"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used},
        }))
        .unwrap();
        self.scene.namespaces.get_mut(NAMESPACE).unwrap().quotas.push(quota);
    }

    pub fn limit_range(&mut self, item: Value) {
        let range = serde_json::from_value(json!({"metadata": {"name": "range"}, "spec": {"limits": [item]}})).unwrap();
        self.scene.namespaces.get_mut(NAMESPACE).unwrap().limit_ranges.push(range);
    }
}

/// As the API server would have it after the request.
pub fn send(pod: &mut PodFacts, change: &Change, by: Author, at: Timestamp) {
    let mut containers = Vec::new();
    for container in &mut pod.containers {
        let Some(sizes) = change.containers.get(&*container.name) else { continue };
        let before = container.asked;
        container.asked.set_all(sizes);
        let after = Numbers::of(sizes);
        let mut old = before;
        old.cpu_request = before.cpu_request.filter(|_| after.cpu_request.is_some());
        old.cpu_limit = before.cpu_limit.filter(|_| after.cpu_limit.is_some());
        old.memory_request = before.memory_request.filter(|_| after.memory_request.is_some());
        old.memory_limit = before.memory_limit.filter(|_| after.memory_limit.is_some());
        containers.push((Arc::clone(&container.name), old, after));
    }
    pod.note = Some(Box::new(Noted {
        by,
        at,
        generation: pod.generation,
        containers: containers.into(),
        urgent: false,
        lowered: None,
        first: None,
    }));
    pod.generation += 1;
    pod.hand = Hand::Ours;
    pod.progress = Progress::Underway;
}

/// What is to be done with the pod, if anything.
pub fn action<'a>(round: &'a Round, name: &str) -> Option<&'a Action> {
    round.actions.iter().find(|it| *it.pod.name == *name)
}

pub fn decision<'a>(round: &'a Round, name: &str) -> &'a Decision {
    round.decisions.iter().find(|it| *it.pod.name == *name).unwrap()
}

/// What the container `app` of the pod is to have by the round's action; nothing where there is none.
pub fn sizes(round: &Round, name: &str) -> String {
    let Some(action) = action(round, name) else { return "nothing".into() };
    let Some(change) = action.what.change() else {
        return if action.what == What::Evict { "evict".into() } else { "roll out".into() };
    };
    show(&change.containers.get("app").map(Numbers::of).unwrap_or_default())
}

#[track_caller]
pub fn check(round: &Round, name: &str, code: Code, expect: &str) {
    let decision = decision(round, name);
    assert_eq!((decision.code, sizes(round, name).as_str()), (code, expect), "{}\n{decision:#?}", decision.message);
}

/// Nothing is to be done, because a number is held where it is under this code.
#[track_caller]
pub fn check_held(round: &Round, name: &str, code: Code) {
    check(round, name, Code::Fits, "nothing");
    let held = decision(round, name).findings.iter().find(|it| it.code == code && it.outcome == Outcome::Clamped);
    let held = held.unwrap_or_else(|| panic!("nothing is held by {code}: {:#?}", decision(round, name)));
    assert!(decision(round, name).message.contains(&held.message), "{}", decision(round, name).message);
}

/// The codes of everything that was found for the pod.
pub fn codes(round: &Round, name: &str) -> Vec<Code> {
    decision(round, name).findings.iter().map(|it| it.code).collect()
}

/// What is decided of the pod `web-1`, which has so much and needs so much, after a change of the scene.
pub fn decided(has: &str, needs: &str, change: impl FnOnce(&mut Stage)) -> Round {
    let mut stage = Stage::new();
    stage.workload("web", needs);
    stage.pod("web", "web-1", "n1", has);
    stage.policy("web", |it| it.steps.value = StepCaps::default());
    change(&mut stage);
    stage.decide()
}

/// The size that comes of it, or `held`.
#[track_caller]
pub fn size(has: &str, needs: &str, change: impl FnOnce(&mut Stage), code: Code, expect: &str) {
    let round = decided(has, needs, change);
    match expect {
        "held" => check_held(&round, "web-1", code),
        expect => check(&round, "web-1", code, expect),
    }
}
