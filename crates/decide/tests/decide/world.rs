//! A cluster that lives: containers use memory and CPU and are killed for want of it, nodes take resizes up, put them off and fail at
//! them, people and others change things in between. What is decided is carried out on it as a controller does, and each action is
//! held to what must hold of every one.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use supple_decide::create::{Siblings, create, newborn};
use supple_decide::facts::{LastEnd, Phase, PodFacts};
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::need::Use;
use supple_decide::note::LastResize;
use supple_decide::numbers::Numbers;
use supple_decide::progress::Progress;
use supple_decide::round::{Round, What};
use supple_quantity::{Bytes, MilliCpu};
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::resources::ContainerKind;

use super::cases::count;
use super::stage::*;
use super::wild::{Wild, build};

/// What a container does, whatever it is given.
#[derive(Clone, Debug, Default)]
pub struct Life {
    pub cpu: i64,
    pub memory: i64,
    /// It reads files, and what it may have beside its memory is full of them.
    pub reads: bool,
    pub swap: i64,
    /// What it used, newest last.
    pub past: Vec<(Timestamp, i64)>,
}

/// What a node does with resizes of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    Defers,
    Never,
    Fails,
    Silent,
}

pub struct World {
    pub stage: Stage,
    /// What happened, for whoever reads of a failure.
    pub story: Vec<String>,
    /// What was done, in order.
    pub done: Vec<(PodKey, What)>,
    /// Of each request, which way it went last, and how often it went back on its way.
    pub turns: BTreeMap<(PodKey, String, &'static str), (Ordering, u32)>,
    pub lives: BTreeMap<(PodKey, Arc<str>), Life>,
    pub notes: BTreeMap<PodKey, LastResize>,
    pub moods: BTreeMap<PodKey, Mood>,
    pub is_measured: bool,
    made: usize,
}

/// A broken rule, with all that came before.
macro_rules! rule {
    ($world:expr, $holds:expr, $($why:tt)+) => {
        let holds: bool = $holds;
        if !holds {
            let why = format!($($why)+);
            return Err(TestCaseError::fail(format!("{why}\n{}", $world.story.join("\n"))));
        }
    };
}
pub(crate) use rule;

impl World {
    pub fn of(wild: &Wild, empty: Stage) -> Self {
        let stage = build(wild, empty);
        let mut lives = BTreeMap::new();
        for (key, uses) in &stage.scene.uses {
            for (name, used) in uses.iter() {
                let memory = used.memory.unwrap_or_default().0;
                let life = Life { cpu: used.cpu.unwrap_or_default().0, memory, ..Life::default() };
                lives.insert((key.clone(), Arc::clone(name)), life);
            }
        }
        let mut world = Self {
            stage,
            story: Vec::new(),
            done: Vec::new(),
            turns: BTreeMap::new(),
            lives,
            notes: BTreeMap::new(),
            moods: BTreeMap::new(),
            is_measured: true,
            made: 0,
        };
        for pod in world.stage.scene.pods.values() {
            let sizes: Vec<_> = pod.containers.iter().map(|it| format!("{} {}", it.name, show(&it.asked))).collect();
            let qos = pod.qos.as_str();
            world.story.push(format!("{} on {:?}: {} {qos}", pod.key.name, pod.node, sizes.join("; ")));
        }
        for (key, subject) in &world.stage.scene.workloads {
            let it = &subject.policy;
            world.story.push(format!(
                "{}: {:?} {:?} {:?} scalers {:?}",
                key.name, it.mode.value, it.limits.value, it.steps.value, subject.facts.scalers
            ));
            for (name, need) in subject.needs.iter() {
                let (cpu, memory) = (need.cpu.as_ref().map(|it| it.target), need.memory.as_ref().map(|it| it.target));
                world.story.push(format!("  {name} needs {cpu:?} {memory:?}"));
            }
        }
        world
    }

    pub fn tell(&mut self, what: String) {
        let now = self.stage.now;
        self.story.push(format!("{now:.0} {what}"));
    }

    /// Measure, decide, hold what was decided to the rules, and carry it out.
    pub fn round(&mut self) -> Result<Round, TestCaseError> {
        self.measure();
        let round = self.stage.decide();
        self.look(&round)?;
        self.carry_out(&round)?;
        Ok(round)
    }

    /// So much later, with what nodes and owners did meanwhile.
    pub fn pass(&mut self, minutes: i64) {
        self.stage.now += SignedDuration::from_mins(minutes);
        self.replace();
        self.nodes_act();
        count(&mut self.stage);
    }

    /// Kernel and metrics: who is over its limit is killed, and what all use is known, unless nothing is measured.
    pub fn measure(&mut self) {
        let now = self.stage.now;
        let mut killed = Vec::new();
        for pod in self.stage.scene.pods.values_mut() {
            for container in &mut pod.containers {
                if container.kind == ContainerKind::Init || container.running_since.is_none() {
                    continue;
                }
                let life = self.lives.entry((pod.key.clone(), container.name.clone())).or_default();
                let limits = container.actual.unwrap_or(container.asked);
                let most = limits.memory_limit.map_or(i64::MAX, |it| it.0);
                let is_killed = life.memory > most;
                if is_killed {
                    container.last_end = Some(LastEnd { at: now, out_of_memory: true, exit_code: 137 });
                    container.running_since = Some(now.into());
                    container.restarts += 1;
                    life.past.push((now, most));
                    life.memory = most / 2;
                    killed.push(format!("{}/{} is killed with {most}", pod.key.name, container.name));
                }
                life.past.push((now, life.memory));
                life.past.retain(|it| it.0 + SignedDuration::from_hours(24) >= now);
                if !self.is_measured {
                    continue;
                }
                let limit = limits.cpu_limit.map_or(i64::MAX, |it| it.0);
                let charged = match (life.reads, most) {
                    (false, _) => life.memory,
                    (true, i64::MAX) => life.memory.saturating_add(100 * MIB),
                    (true, most) => most,
                };
                let mut used = Use::at(now);
                used.cpu = Some(MilliCpu(life.cpu.min(limit)));
                used.memory = Some(Bytes(life.memory));
                used.memory_peak = life.past.iter().map(|it| Bytes(it.1)).max();
                used.details_at = Some(now);
                used.memory_charged = Some(Bytes(charged));
                used.swap = Some(Bytes(life.swap));
                used.throttled_permille = Some(if life.cpu > limit { 400 } else { 0 });
                self.stage.scene.uses.entry(pod.key.clone()).or_default().insert(container.name.clone(), used);
            }
        }
        killed.into_iter().for_each(|it| self.tell(it));
        // What cannot wait is what a recommender takes for it.
        let Stage { scene, now } = &mut self.stage;
        for (key, subject) in &mut scene.workloads {
            let pods = || scene.pods.values().filter(|it| it.workload == *key);
            for (name, need) in subject.needs.iter_mut() {
                let short = pods().filter_map(|pod| {
                    let used = scene.uses.get(&pod.key)?.get(name)?;
                    let container = pod.containers.iter().find(|it| it.name == *name)?;
                    let near = used
                        .memory
                        .zip(container.asked.memory_request)
                        .is_some_and(|(used, has)| used.0 * 100 >= has.0 * 97);
                    let killed = container.last_end.is_some_and(|it| it.out_of_memory && it.at + minutes(10) >= *now);
                    Some((used.throttled_permille > Some(150), near || killed))
                });
                let short = short.fold((false, false), |sum, it| (sum.0 || it.0, sum.1 || it.1));
                if let Some(cpu) = &mut need.cpu {
                    cpu.urgent = short.0;
                }
                if let Some(memory) = &mut need.memory {
                    memory.urgent = short.1;
                }
            }
        }
    }

    /// What nodes do with what was asked of them.
    pub fn nodes_act(&mut self) {
        let now = self.stage.now;
        let keys: Vec<PodKey> = self.stage.scene.pods.keys().cloned().collect();
        for key in keys {
            let pod = &self.stage.scene.pods[&key];
            let mood = self.moods.get(&key).copied().unwrap_or_default();
            let waits = !matches!(pod.progress, Progress::Settled | Progress::Ended);
            let Some(node) = pod.node.as_ref().filter(|_| waits && mood != Mood::Silent) else { continue };
            let node = &self.stage.scene.nodes[node];
            let others =
                self.stage.scene.pods.values().filter(|it| it.node == pod.node && it.key != key).map(|it| it.held());
            let others = others.fold((0, 0), |sum, it| (sum.0 + it.cpu_request.0, sum.1 + it.memory_request.0));
            let (wants, has) = (pod.desired(), pod.held());
            let fits = |free: i64, wants: i64, has: i64| wants <= has || wants <= free;
            let free = (node.allocatable.cpu.0 - others.0, node.allocatable.memory.0 - others.1);
            let is_possible =
                wants.cpu_request <= node.allocatable.cpu && wants.memory_request <= node.allocatable.memory;
            let has_room = fits(free.0, wants.cpu_request.0, has.cpu_request.0)
                && fits(free.1, wants.memory_request.0, has.memory_request.0);
            let below = |it: &supple_decide::facts::ContainerFacts| {
                let charged = self.stage.scene.uses.get(&key).and_then(|uses| uses.get(&it.name)?.memory_charged);
                let (next, now) = (it.asked.memory_limit, it.actual.and_then(|it| it.memory_limit));
                next < now && next.zip(charged).is_some_and(|(next, charged)| next <= charged)
            };
            let next = match mood {
                Mood::Never => Progress::Infeasible("it never can".into()),
                Mood::Defers => Progress::Deferred("it has no room".into()),
                _ if !is_possible => Progress::Infeasible("it is too small".into()),
                _ if !has_room => Progress::Deferred("it is full".into()),
                Mood::Fails => Progress::Failing("cgroup".into()),
                _ if pod.containers.iter().any(below) => Progress::Failing("below use".into()),
                _ => Progress::Settled,
            };
            let pod = self.stage.scene.pods.get_mut(&key).unwrap();
            let is_promised = matches!(next, Progress::Settled | Progress::Failing(_));
            for container in &mut pod.containers {
                let before = container.actual.unwrap_or(container.asked);
                if is_promised {
                    container.allocated = Some(Numbers { cpu_limit: None, memory_limit: None, ..container.asked });
                }
                if next != Progress::Settled {
                    continue;
                }
                container.actual = Some(container.asked);
                let differs = |resource| {
                    [Requirement::Request, Requirement::Limit]
                        .iter()
                        .any(|it| before.get(resource, *it) != container.asked.get(resource, *it))
                };
                let restarts = (container.restarts_for_cpu && differs(Resource::Cpu))
                    || (container.restarts_for_memory && differs(Resource::Memory));
                if restarts && container.running_since.is_some() {
                    container.running_since = Some(now.into());
                    container.last_end = Some(LastEnd { at: now, out_of_memory: false, exit_code: 143 });
                    container.restarts += 1;
                }
            }
            if std::mem::discriminant(&next) != std::mem::discriminant(&pod.progress) {
                pod.progress_since = (next != Progress::Settled).then(|| now.into());
            }
            pod.progress = next;
            if pod.progress != Progress::Settled {
                let what = format!("{}: {:?}", key.name, pod.progress);
                self.tell(what);
            }
        }
    }

    /// Owners make new pods in the place of those that are gone.
    pub fn replace(&mut self) {
        let rolling: Vec<WorkloadKey> =
            self.stage.scene.workloads.iter().filter(|it| it.1.facts.rolling).map(|it| it.0.clone()).collect();
        for key in &rolling {
            self.stage.scene.workloads.get_mut(key).unwrap().facts.rolling = false;
        }
        let gone: Vec<PodKey> = self
            .stage
            .scene
            .pods
            .values()
            .filter(|it| it.deleting || rolling.contains(&it.workload))
            .map(|it| it.key.clone())
            .collect();
        for key in gone {
            let of = self.stage.scene.pods[&key].workload.clone();
            let pods: Vec<&PodFacts> =
                self.stage.scene.pods.values().filter(|it| it.workload == of).map(|it| &**it).collect();
            let subject = &self.stage.scene.workloads[&of];
            let mut new = newborn(subject, pods[0]);
            if subject.facts.sized_at_creation {
                let siblings = Siblings::of(&self.stage.scene, subject, pods.iter().copied(), self.stage.now);
                let creation = create(&self.stage.scene, subject, &siblings, &new, self.stage.now);
                for container in &mut new.containers {
                    container.asked = creation.sizes.get(&container.name).copied().unwrap_or(container.asked);
                }
            }
            self.made += 1;
            let now = self.stage.now;
            let name = format!("{}-new-{}", of.name, self.made);
            new.key = super::stage::key(&name);
            (new.phase, new.generation) = (Phase::Running, 1);
            (new.made, new.started, new.ready) = (Some(now.into()), Some(now.into()), Some(now.into()));
            new.words.clear();
            let wants = new.desired();
            let node = self.stage.scene.nodes.iter().find(|(node, it)| {
                let held = self
                    .stage
                    .scene
                    .pods
                    .values()
                    .filter(|it| it.node.as_ref() == Some(node) && it.key != key)
                    .map(|it| it.held());
                let held = held.fold((0, 0), |sum, it| (sum.0 + it.cpu_request.0, sum.1 + it.memory_request.0));
                it.ready
                    && held.0 + wants.cpu_request.0 <= it.allocatable.cpu.0
                    && held.1 + wants.memory_request.0 <= it.allocatable.memory.0
            });
            new.node = node.map(|it| it.0.clone());
            if new.node.is_none() {
                (new.phase, new.ready, new.started) = (Phase::Pending, None, None);
            }
            for container in &mut new.containers {
                if container.kind != ContainerKind::Init && new.node.is_some() {
                    container.running_since = Some(now.into());
                    container.allocated = Some(Numbers { cpu_limit: None, memory_limit: None, ..container.asked });
                    container.actual = Some(container.asked);
                    container.ready = true;
                }
                let life = self.lives.get(&(key.clone(), container.name.clone())).cloned().unwrap_or_default();
                let most = container.asked.memory_limit.map_or(i64::MAX, |it| it.0);
                let life = Life { past: Vec::new(), memory: life.memory.min(most), ..life };
                self.lives.insert((new.key.clone(), container.name.clone()), life);
            }
            let told = format!("{} is made in the place of {} on {:?}", new.key.name, key.name, new.node);
            self.stage.scene.pods.remove(&key);
            self.stage.scene.uses.remove(&key);
            self.stage.scene.pods.insert(new.key.clone(), Box::new(new));
            self.tell(told);
        }
    }
}
