//! Scenes as wide as clusters are: each of what a check reads is varied here. They are made out of numbers that are drawn one after
//! the other, of which a zero always makes the plainest choice: so a failing scene shrinks to a plain one.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use supple_decide::facts::{ContainerFacts, Metric, PodLevelHeld, Rollout, Scaler};
use supple_decide::guard::{Billionths, Guard};
use supple_decide::key::PodKey;
use supple_decide::numbers::Numbers;
use supple_decide::policy::{
    ContainerPolicy, CpuAndMemory, Direction, Limits, Mode, Origin, Pause, Policy, RecreateBy, ScheduledSize, StepCaps,
    Window, WithScaler,
};
use supple_decide::scaler::Anchor;
use supple_quantity::{Bytes, MilliCpu};
use supple_resize::amounts::Resource;
use supple_resize::qos;
use supple_resize::resources::ContainerKind;

use super::cases::count;
use super::stage::*;

/// What was drawn, from 0 to 999 each.
pub struct Draws<'a>(std::slice::Iter<'a, u16>);

impl<'a> Draws<'a> {
    pub fn of(all: &'a [u16]) -> Self {
        Self(all.iter())
    }

    fn next(&mut self) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0))
    }

    /// Whether it comes to pass, in so many of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.next() >= 1000 - percent * 10
    }

    pub fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.next() * all.len() / 1000].clone()
    }

    pub fn within(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.next()).unwrap() * (to - from) / 1000
    }

    pub fn perhaps<T>(&mut self, percent: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.chance(percent) { Some(make(self)) } else { None }
    }
}

/// The draws of everything: the place, each workload with its pods, and what happens.
#[derive(Clone, Debug)]
pub struct Wild {
    pub place: Vec<u16>,
    pub workloads: Vec<(Vec<u16>, Vec<Vec<u16>>)>,
    pub events: Vec<Vec<Vec<u16>>>,
}

pub fn draws(many: usize) -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(0_u16..1000, many)
}

/// Scenes with so many rounds of which something happens in each.
pub fn wild(rounds: std::ops::Range<usize>) -> impl Strategy<Value = Wild> {
    let workload = (draws(80), prop::collection::vec(draws(40), 1..4));
    let events = prop::collection::vec(prop::collection::vec(draws(8), 0..4), rounds);
    (draws(60), prop::collection::vec(workload, 1..4), events).prop_map(|(place, workloads, events)| Wild {
        place,
        workloads,
        events,
    })
}

pub const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn cpu(it: &mut Draws<'_>) -> i64 {
    match it.within(0, 4) {
        0 => 100 * it.within(1, 20),
        1 => it.within(1, 60),
        _ => it.within(5, 3000),
    }
}

fn memory(it: &mut Draws<'_>) -> i64 {
    match it.within(0, 4) {
        0 => MIB * 100 * it.within(1, 20),
        1 => MIB * it.within(1, 60),
        2 => 1_000_000 * it.within(5, 2000),
        _ => MIB * it.within(5, 2000) + it.within(0, 5000),
    }
}

/// Request and limit of one resource, as an API server lets them be: a limit alone is a request too.
fn pair(it: &mut Draws<'_>, amount: fn(&mut Draws<'_>) -> i64) -> (Option<i64>, Option<i64>) {
    let request = amount(it);
    match it.within(0, 10) {
        0..3 => (Some(request), Some(request * it.within(101, 400) / 100 + 1)),
        3..6 => (Some(request), None),
        6..8 => (Some(request), Some(request)),
        8 => (Some(request), Some(request + it.within(1, 20))),
        _ => (None, None),
    }
}

fn sizes(it: &mut Draws<'_>) -> Numbers {
    let (cpu, memory) = (pair(it, cpu), pair(it, memory));
    Numbers {
        cpu_request: cpu.0.map(MilliCpu),
        cpu_limit: cpu.1.map(MilliCpu),
        memory_request: memory.0.map(Bytes),
        memory_limit: memory.1.map(Bytes),
    }
}

/// As a container of a Guaranteed pod has them.
fn all_equal(it: &mut Draws<'_>) -> Numbers {
    let (cpu, memory) = (Some(MilliCpu(cpu(it))), Some(Bytes(memory(it))));
    Numbers { cpu_request: cpu, cpu_limit: cpu, memory_request: memory, memory_limit: memory }
}

fn cpu_and_memory(it: &mut Draws<'_>) -> CpuAndMemory {
    CpuAndMemory { cpu: it.perhaps(70, |it| MilliCpu(cpu(it))), memory: it.perhaps(70, |it| Bytes(memory(it))) }
}

const STEPS: [Option<u32>; 8] = [None, None, Some(50), Some(30), Some(10), Some(1), Some(0), Some(100)];

const LIMITS: [Limits; 5] = [Limits::Ratio, Limits::Ratio, Limits::Keep, Limits::Equal, Limits::None];

fn policy(it: &mut Draws<'_>, stage: &Stage, policy: &mut Policy) {
    const MODES: [Mode; 8] = [
        Mode::InPlace,
        Mode::InPlace,
        Mode::InPlace,
        Mode::InPlaceOrRecreate,
        Mode::InPlaceOrRecreate,
        Mode::Recreate,
        Mode::Initial,
        Mode::Off,
    ];
    policy.mode.value = it.pick(&MODES);
    policy.limits.value = it.pick(&LIMITS);
    if it.chance(50) {
        policy.steps.value = StepCaps {
            cpu_up: it.pick(&STEPS),
            cpu_down: it.pick(&STEPS),
            memory_up: it.pick(&STEPS),
            memory_down: it.pick(&STEPS),
        };
    }
    policy.cpu_headroom_percent.value = it.pick(&[0, 0, 0, 15, 100]);
    policy.memory_headroom_percent.value = it.pick(&[0, 0, 0, 15, 100]);
    policy.threshold_percent.value = it.pick(&[10, 10, 10, 0, 1, 25]);
    policy.cool_down_up.value = minutes(it.pick(&[5, 5, 0, 120]));
    policy.cool_down_down.value = minutes(it.pick(&[60, 60, 0, 1]));
    policy.settle.value = minutes(it.pick(&[5, 5, 0, 45]));
    policy.pods_at_once.value = it.pick(&[3, 3, 1, 0]);
    policy.namespace_pods_at_once.value = it.perhaps(15, |it| it.pick(&[1, 2, 0]));
    policy.min_replicas.value = it.pick(&[2, 2, 0, 1, 3]);
    policy.startup.value = minutes(it.pick(&[10, 10, 0, 90]));
    policy.learn.value = SignedDuration::from_hours(it.pick(&[24, 24, 0, 2000]));
    policy.approve_memory_decrease.value = it.chance(7);
    policy.priority.value = it.pick(&[0, 0, 5, -5]);
    policy.give_up_deferred.value = minutes(it.pick(&[30, 30, 1, 600]));
    if it.chance(20) {
        policy.recreate_by.value = RecreateBy::Rollout;
    }
    if it.chance(7) {
        let direction = Direction { rises: it.chance(50), cpu: it.chance(60), memory: true };
        policy.recreate_only_for.value = vec![direction];
    }
    // Bounds of two layers may contradict each other, and those of one container what holds for all.
    for _ in 0..it.pick(&[0, 0, 0, 1, 2]) {
        let said = ContainerPolicy {
            off: it.perhaps(5, |_| true),
            at_least: it.perhaps(40, cpu_and_memory).unwrap_or_default(),
            at_most: it.perhaps(40, cpu_and_memory).unwrap_or_default(),
            controlled: it.perhaps(10, |it| it.pick(&[(true, false), (false, true), (true, true)])),
            limits: it.perhaps(20, |it| it.pick(&LIMITS)),
        };
        let name: Arc<str> = it.pick(&["*", "app", "side"]).into();
        policy.containers.push((Origin::Policy("p".into()), BTreeMap::from([(name, said)])));
    }
    if it.chance(10) {
        // Within it now, and by turns.
        let spans = (0..60).map(|it| (stage.ago(60 - it * 360), stage.ago(-120 - it * 360))).collect();
        policy.windows.value = vec![Window { allow: it.chance(50), spans, text: "in turns".into() }];
    }
    if it.chance(15) {
        let ends = it.chance(80);
        let span = if ends { (stage.ago(60), stage.ago(-180)) } else { (stage.ago(60), stage.ago(-60 * 24 * 30)) };
        let all = |it: CpuAndMemory| BTreeMap::from([(Arc::from("*"), it)]);
        let schedule = ScheduledSize {
            spans: vec![span],
            text: "rush hour".into(),
            at_least: it.perhaps(60, cpu_and_memory).map(all).unwrap_or_default(),
            at_most: it.perhaps(60, cpu_and_memory).map(all).unwrap_or_default(),
        };
        policy.schedules.value.push(schedule);
    }
    if it.chance(15) {
        let guard = Guard { name: "errors".into(), query: String::new(), above: Some(Billionths(10)), below: None };
        policy.guards.value = vec![guard];
    }
    if it.chance(3) {
        policy.pause.value = Some(Pause { until: None, why: "holidays".into() });
    }
}

fn scaler(it: &mut Draws<'_>, name: &str) -> Scaler {
    let percent = u32::try_from(it.within(20, 95)).unwrap();
    let container = it.perhaps(20, |_| "app".to_owned());
    Scaler {
        name: name.into(),
        kind: it.pick(&["HorizontalPodAutoscaler", "HorizontalPodAutoscaler", "ScaledObject"]).into(),
        metrics: vec![Metric {
            resource: it.pick(&[Resource::Cpu, Resource::Cpu, Resource::Memory]),
            percent,
            container,
        }],
        min_replicas: 1,
        max_replicas: 9,
        current_replicas: 2,
        anchor: it.perhaps(20, |it| Anchor { percent: 50, milli_cpu: it.within(1, 2000), pods: 2, to: percent }),
        through: it.perhaps(5, |_| "prometheus/k8s".to_owned()),
        set_by: None,
    }
}

/// The containers that the template of a workload makes.
fn template(it: &mut Draws<'_>, stage: &Stage) -> Vec<ContainerFacts> {
    let guaranteed = it.chance(20);
    let one = |name: &str, kind: ContainerKind, it: &mut Draws<'_>| {
        let mut container = stage.container(name, "");
        let asked = if guaranteed { all_equal(it) } else { sizes(it) };
        (container.kind, container.asked, container.actual) = (kind, asked, Some(asked));
        container.allocated = Some(Numbers { cpu_limit: None, memory_limit: None, ..asked });
        (container.restarts_for_cpu, container.restarts_for_memory) = (it.chance(7), it.chance(10));
        if kind == ContainerKind::Init {
            container.running_since = None;
        }
        container
    };
    let app = one("app", ContainerKind::Regular, it);
    let side = it.perhaps(40, |it| {
        let kind = it.pick(&[ContainerKind::Regular, ContainerKind::Sidecar]);
        one("side", kind, it)
    });
    let init = it.perhaps(10, |it| one("init", ContainerKind::Init, it));
    // Init containers first, as facts have them.
    let (first, last): (Vec<_>, Vec<_>) =
        [Some(app), side, init].into_iter().flatten().partition(|it| it.kind != ContainerKind::Regular);
    first.into_iter().chain(last).collect()
}

/// Pod-level resources: enough for what is in the pod, and more.
fn pod_level(it: &mut Draws<'_>, containers: &[ContainerFacts]) -> Option<Numbers> {
    if !it.chance(10) {
        return None;
    }
    let sum = |get: fn(&Numbers) -> Option<i64>| -> i64 { containers.iter().filter_map(|it| get(&it.asked)).sum() };
    let cpu = sum(|it| it.cpu_request.map(|it| it.0)).max(10) + it.within(0, 500);
    let memory = sum(|it| it.memory_request.map(|it| it.0)).max(MIB) + MIB * it.within(0, 500);
    let most_cpu = sum(|it| it.cpu_limit.map(|it| it.0)).max(cpu);
    let most_memory = sum(|it| it.memory_limit.map(|it| it.0)).max(memory);
    Some(Numbers {
        cpu_request: Some(MilliCpu(cpu)),
        memory_request: Some(Bytes(memory)),
        cpu_limit: it.chance(50).then_some(MilliCpu(most_cpu)),
        memory_limit: it.chance(50).then_some(Bytes(most_memory)),
    })
}

fn workload_of(name: &str, drawn: &[u16], pods: &[Vec<u16>], stage: &mut Stage) {
    let mut it = Draws::of(drawn);
    let text = format!("{}m {}", cpu(&mut it), memory(&mut it));
    let side = format!("{}m {}", cpu(&mut it), memory(&mut it));
    let containers = template(&mut it, stage);
    let level = pod_level(&mut it, &containers);
    let scaled = it.perhaps(15, |it| scaler(it, name));
    let adjusts = it.chance(50);
    let hours = it.pick(&[1000_u32, 1000, 1000, 0, 30]);
    let confidence = it.pick(&[900_u16, 900, 900, 100]);
    let (cpu_safe, memory_safe) = (it.within(60, 101), it.within(60, 101));
    let is_sized = it.chance(50);
    let other = it.chance(20);
    let now = Stage { scene: stage.scene.clone(), now: stage.now };
    let subject = stage.workload(name, &text);
    subject.facts.sized_at_creation = is_sized;
    subject.facts.scalers.extend(scaled);
    subject.facts.template = containers.iter().map(|it| (it.name.clone(), it.asked)).collect();
    if other {
        // It was changed since.
        subject.facts.template =
            containers.iter().map(|it| (it.name.clone(), sizes(&mut Draws::of(&drawn[40..])))).collect();
    }
    subject.needs.insert("side".into(), need(&side));
    for need in subject.needs.values_mut() {
        need.hours = hours;
        let (cpu, memory) = (need.cpu.as_mut().unwrap(), need.memory.as_mut().unwrap());
        (cpu.confidence_permille, memory.confidence_permille) = (confidence, confidence);
        cpu.lower = MilliCpu(cpu.target.0 * cpu_safe / 100);
        memory.lower = Bytes(memory.target.0 * memory_safe / 100);
    }
    if it.chance(15) {
        subject.needs.get_mut("app").unwrap().cpu = None;
    }
    if it.chance(20) {
        (subject.facts.rollout, subject.facts.rollout_takes) =
            it.pick(&[(Some(Rollout::Surge), 0), (Some(Rollout::Replace), 1), (Some(Rollout::After), 3), (None, 0)]);
    }
    let budget = it.perhaps(20, |it| (u32::try_from(it.within(0, 3)).unwrap(), it.within(0, 4)));
    stage.policy(name, |settings| {
        policy(&mut it, &now, settings);
        if adjusts {
            settings.with_scaler.value = WithScaler::Adjust;
        }
    });
    if let Some((allowed, healthy)) = budget {
        stage.budget(name, allowed, (healthy, 2));
    }
    for (index, drawn) in pods.iter().enumerate() {
        pod_of(name, index, drawn, &containers, level, stage);
    }
}

fn pod_of(
    name: &str,
    index: usize,
    drawn: &[u16],
    containers: &[ContainerFacts],
    level: Option<Numbers>,
    stage: &mut Stage,
) {
    let mut it = Draws::of(drawn);
    let pod_name = format!("{name}-{index}");
    let node = it.pick(&["n0", "n1", "n2"]);
    let started = stage.ago(it.pick(&[4000, 4000, 4000, 5]));
    let facts = stage.pod(name, &pod_name, node, "");
    facts.containers = containers.to_vec();
    (facts.made, facts.started, facts.ready) = (Some(started.into()), Some(started.into()), Some(started.into()));
    facts.priority = i32::try_from(it.within(0, 2)).unwrap();
    facts.do_not_evict = it.chance(7);
    let overhead = if it.chance(10) { (50, 30 * MIB) } else { (0, 0) };
    if overhead.0 > 0 {
        let (cpu, memory) = (Some(MilliCpu(overhead.0)), Some(Bytes(overhead.1)));
        facts.overhead = Numbers { cpu_request: cpu, memory_request: memory, ..Numbers::default() };
    }
    if let Some(level) = level {
        facts.pod_level = level;
        // What its status says counts the overhead in.
        let (cpu, memory) = (|it: MilliCpu| MilliCpu(it.0 + overhead.0), |it: Bytes| Bytes(it.0 + overhead.1));
        let actual = Numbers {
            cpu_request: level.cpu_request.map(cpu),
            cpu_limit: level.cpu_limit.map(cpu),
            memory_request: level.memory_request.map(memory),
            memory_limit: level.memory_limit.map(memory),
        };
        let allocated = Numbers { cpu_limit: None, memory_limit: None, ..actual };
        facts.pod_level_held = Some(Box::new(PodLevelHeld { allocated: Some(allocated), actual: Some(actual) }));
    }
    if it.chance(5) {
        let word = it.pick(&["Off", "in-place", "InPlaceOrRecreate", "what"]);
        facts.words.insert("supple.dev/mode".into(), word.into());
    }
    if it.chance(4) {
        facts.words.insert("supple.dev/paused".into(), "true".into());
    }
    facts.qos = qos::compute(&facts.to_pod());
    let key: PodKey = facts.key.clone();
    let uses = containers.iter().map(|container| {
        let mut used = supple_decide::need::Use::at(stage.now);
        let most = container.asked.memory_limit.map_or(i64::MAX, |it| it.0);
        used.memory = Some(Bytes(memory(&mut it).min(most)));
        used.memory_peak = used.memory;
        used.memory_charged = used.memory;
        used.cpu = Some(MilliCpu(cpu(&mut it)));
        (container.name.clone(), used)
    });
    let uses = uses.collect();
    stage.scene.uses.insert(key, uses);
}

/// What a limit range says of containers or pods.
pub fn range(it: &mut Draws<'_>) -> Value {
    let list = |it: &mut Draws<'_>, from: i64, to: i64| json!({"cpu": format!("{}m", 10 * it.within(from, to)), "memory": format!("{}Mi", 10 * it.within(from, to))});
    let mut item = json!({"type": it.pick(&["Container", "Container", "Container", "Pod"])});
    let is_pod = item["type"] == "Pod";
    if it.chance(50) {
        item["min"] = list(it, 1, 60);
    }
    if it.chance(30) {
        item["max"] = list(it, 100, 400);
    }
    if it.chance(40) {
        let ratio = it.within(1000, 5000);
        let ratio = format!("{}.{:03}", ratio / 1000, ratio % 1000);
        item["maxLimitRequestRatio"] = json!({"cpu": ratio, "memory": ratio});
    }
    if it.chance(10) && !is_pod {
        item["default"] = list(it, 20, 100);
        item["defaultRequest"] = list(it, 5, 20);
    }
    item
}

/// A quota that leaves so much room over what there is now.
pub fn quota_of(it: &mut Draws<'_>, stage: &mut Stage) {
    let all = ["requests.cpu", "requests.memory", "limits.cpu", "limits.memory", "pods"];
    let names: Vec<&str> = all.into_iter().filter(|_| it.chance(40)).collect();
    let more = it.within(0, 1500);
    let scope = it.perhaps(30, |it| it.pick(&["NotBestEffort", "BestEffort", "NotTerminating", "Terminating"]));
    let nothing: serde_json::Map<String, Value> = names.iter().map(|it| ((*it).to_owned(), json!("0"))).collect();
    stage.quota(nothing.clone().into(), nothing.into());
    let pods: Vec<_> = stage.scene.pods.values().map(|it| it.to_pod()).collect();
    let quotas = &mut stage.scene.namespaces.get_mut(NAMESPACE).unwrap().quotas;
    let name = format!("quota-{}", quotas.len());
    let quota = quotas.last_mut().unwrap();
    quota.metadata.name = Some(name);
    quota.spec.as_mut().unwrap().scopes = scope.map(|it| vec![it.to_owned()]);
    let used = supple_resize::admission::quota::used(quota, &pods);
    let hard = names.iter().map(|name| {
        let more = if name.ends_with("memory") { format!("{more}Mi") } else { format!("{more}m") };
        let more: supple_quantity::Quantity = more.parse().unwrap();
        let sum = used.get(name).cloned().unwrap_or_default() + &more;
        ((*name).to_owned(), super::cases::quantity(sum))
    });
    quota.spec.as_mut().unwrap().hard = Some(hard.collect());
}

/// The stage of these draws, as it is at first.
pub fn build(wild: &Wild, mut stage: Stage) -> Stage {
    stage.scene.nodes.clear();
    for (name, (drawn, pods)) in NAMES.iter().zip(&wild.workloads) {
        workload_of(name, drawn, pods, &mut stage);
    }
    let mut it = Draws::of(&wild.place);
    for index in 0..3 {
        let name = format!("n{index}");
        let held = stage.scene.pods.values().filter(|it| it.node.as_deref() == Some(&name)).map(|it| it.held());
        let (cpu, memory) = held.fold((0, 0), |sum, it| (sum.0 + it.cpu_request.0, sum.1 + it.memory_request.0));
        let free = it.pick(&[5000, 1500, 200, 1]);
        stage.node(&name, &format!("{}m", cpu + free), &format!("{}", memory + free * MIB));
    }
    for _ in 0..it.pick(&[0, 0, 0, 1, 2]) {
        let range = range(&mut it);
        stage.limit_range(range);
    }
    for _ in 0..it.pick(&[0, 0, 0, 1, 2]) {
        quota_of(&mut it, &mut stage);
    }
    stage.scene.cluster.max_in_flight = it.pick(&[50, 50, 1, 2]);
    stage.scene.cluster.minor_version = it.pick(&[Some(36), Some(36), Some(33), Some(34), None, Some(37)]);
    count(&mut stage);
    stage
}
