//! A node of plain values: pods that are allocated, actuated and reported by the library's functions and nothing else. No
//! kernel, no disk, no network; every pod is at rest between two calls.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStateRunning, ContainerStatus, Pod};
use supple_quantity::Bytes;
use supple_resize::actuate::{self, Actuated, Situation, Target};
use supple_resize::allocate::{self, Allocation, Capacity, Decision, NodeView, Used, decide};
use supple_resize::condition::{PendingReason, ResizeConditions};
use supple_resize::event::{self, ResizeEvent};
use supple_resize::guard::{self, MemoryUsage};
use supple_resize::kernel::{CgroupResources, DEFAULT_PERIOD_US};
use supple_resize::predict::Change;
use supple_resize::queue::{Waiting, is_increasing};
use supple_resize::status::{self, Observed};
use supple_resize::{defaults, qos, resources, strategy, validate};

use crate::support::{at, milli};

/// One pod on the stage.
pub struct Actor {
    /// As the API has it, status included.
    pub api: Pod,
    allocation: Allocation,
    pub actuated: Actuated,
    pub conditions: ResizeConditions,
    pub cgroup: CgroupResources,
    pub running: BTreeMap<String, CgroupResources>,
    pub restarts: BTreeMap<String, u32>,
    pub events: Vec<ResizeEvent>,
}

/// The node and its pods.
pub struct Stage {
    node: NodeView,
    pub actors: BTreeMap<String, Actor>,
    /// What a pod that the recording does not list held while it was made.
    bystander: Used,
    waiting: BTreeSet<String>,
    second: i64,
}

/// What a container's command comes to, under a memory limit: how much it uses, or that it does not stay.
fn outcome(container: &Container, limit: Option<Bytes>) -> Option<Bytes> {
    let command = container.command.as_ref().and_then(|it| it.last()).map_or("", String::as_str);
    let filled = command.split_once("head -c ").and_then(|(_, it)| it.split_once(' ')).map_or("1000000", |(it, _)| it);
    let uses = Bytes(filled.parse().expect("a number of bytes"));
    let stays = container.image.as_deref() != Some("nope:1") && command != "exit 1" && limit.is_none_or(|it| uses < it);
    stays.then_some(uses)
}

impl Actor {
    fn view(&self) -> Pod {
        self.allocation.applied_to(&self.api)
    }

    fn generation(&self) -> Option<i64> {
        self.api.metadata.generation
    }

    /// What its containers use.
    pub fn usage(&self) -> MemoryUsage {
        let containers: BTreeMap<String, Bytes> = resources::containers(&self.api)
            .filter(|it| self.running.contains_key(&it.container.name))
            .filter_map(|it| Some((it.container.name.clone(), outcome(it.container, None)?)))
            .collect();
        MemoryUsage { pod: Some(Bytes(containers.values().map(|it| it.0).sum())), containers }
    }

    /// Start what does not run and can.
    fn start(&mut self) {
        let view = self.view();
        for container in resources::containers(&view).map(|it| it.container) {
            let amounts = actuate::container_amounts(&view, &container.name).expect("its own");
            let resources = CgroupResources::at_start(&amounts, DEFAULT_PERIOD_US);
            let limit = resources.memory_limit().into_iter().chain(self.cgroup.memory_limit()).min();
            if !self.running.contains_key(&container.name) && outcome(container, limit).is_some() {
                self.actuated.container_starting(&container.name, amounts);
                self.running.insert(container.name.clone(), resources);
                *self.restarts.entry(container.name.clone()).or_default() += 1;
            }
        }
    }

    /// One sync of the worker: actuate, start, complete.
    fn sync(&mut self, second: i64) {
        let view = self.view();
        if !actuate::in_progress(&view, &self.actuated, |it| self.running.contains_key(it)) {
            self.complete(&view);
            return;
        }
        self.conditions.proceed(self.generation(), at(second));
        let plan = actuate::plan(&Situation {
            pod: &view,
            actuated: &self.actuated,
            running: &self.running,
            cgroup: self.cgroup,
            period_us: DEFAULT_PERIOD_US,
        });
        if let Err(refusal) = guard::check(&plan, &self.usage()) {
            if self.conditions.fail(refusal.to_string(), self.generation(), at(second)) {
                let generation = self.conditions.in_progress.as_ref().and_then(|it| it.generation).unwrap_or_default();
                self.events.push(event::error(&view, generation, &refusal.to_string()));
            }
            return;
        }
        for container in &plan.restart {
            self.running.remove(container);
            self.events.push(event::killing(container));
        }
        for step in &plan.steps {
            guard::check_step(&plan, step, &self.usage()).expect("the plan as a whole was");
            let cgroup = match &step.target {
                Target::Pod => &mut self.cgroup,
                Target::Container(name) => self.running.get_mut(name).expect("only running containers are updated"),
            };
            *cgroup = cgroup.with(&step.write);
            self.actuated.record(step);
        }
        self.start();
        self.complete(&view);
    }

    fn complete(&mut self, view: &Pod) {
        if let Some(generation) = self.conditions.complete() {
            self.events.push(event::completed(view, generation.unwrap_or_default()));
        }
    }

    /// Write what the node reports into the API's pod.
    fn report(&mut self) {
        let view = self.view();
        let statuses = |list: &[Container]| {
            let status = |it: &Container| {
                let started = self.restarts.contains_key(&it.name) || outcome(it, Some(Bytes(0))).is_some();
                let seen = started || it.image.as_deref() != Some("nope:1");
                let observed = match self.running.get(&it.name) {
                    None => Observed::Stopped,
                    Some(cgroup) => Observed::Running {
                        actuated: self.actuated.containers.get(&it.name),
                        cgroup: Some(cgroup),
                        previous: None,
                    },
                };
                let reported = status::container(&self.allocation.containers[&it.name], observed);
                ContainerStatus {
                    name: it.name.clone(),
                    resources: seen.then_some(reported.resources),
                    allocated_resources: reported.allocated_resources.filter(|_| seen),
                    state: self.running.contains_key(&it.name).then(|| ContainerState {
                        running: Some(ContainerStateRunning::default()),
                        ..ContainerState::default()
                    }),
                    ..ContainerStatus::default()
                }
            };
            list.iter().map(status).collect::<Vec<_>>()
        };
        let spec = view.spec.as_ref().expect("has one");
        let (init, regular) =
            (statuses(spec.init_containers.as_deref().unwrap_or_default()), statuses(&spec.containers));
        let running = !self.running.is_empty() || regular.iter().any(|it| it.resources.is_some());
        let reported = status::pod(&view, &self.actuated, running);
        let status = self.api.status.get_or_insert_default();
        status.phase = Some(if running { "Running" } else { "Pending" }.to_owned());
        (status.init_container_statuses, status.container_statuses) = (Some(init), Some(regular));
        status.resources = Some(reported.resources);
        status.allocated_resources = reported.allocated_resources;
        status.conditions = Some(self.conditions.to_conditions());
    }
}

impl Stage {
    pub fn new(scenario: &str) -> Self {
        let allocatable = Capacity { cpu: milli(2000), memory: Bytes(24_581_696 << 10), pods: 110 };
        let node = NodeView { allocatable, ..NodeView::default() };
        // Recorded as 300m more than the listed pods hold together, in these scenarios alone.
        let cpu = if scenario.contains("deferred") { 300 } else { 0 };
        let bystander = Used { cpu: milli(cpu), ..Used::default() };
        Self { node, actors: BTreeMap::new(), bystander, waiting: BTreeSet::new(), second: 0 }
    }

    fn others(&self, but: &str) -> Used {
        let mut used = self.bystander;
        for actor in self.actors.iter().filter(|(name, _)| *name != but).map(|(_, it)| it) {
            used.add(&actor.api, &actor.allocation);
        }
        used
    }

    /// Whether there is room for one more.
    pub fn admits(&self, pod: &Pod) -> bool {
        allocate::admit(pod, &self.node, &self.others("")).is_ok()
    }

    pub fn create(&mut self, pod: &Pod) {
        let mut api = pod.clone();
        resources::canonicalise(&mut api).expect("it was created");
        defaults::apply(&mut api);
        strategy::prepare_for_create(&mut api);
        let name = api.metadata.name.clone().expect("has one");
        api.metadata.uid = Some(name.clone());
        api.metadata.namespace = Some("default".to_owned());
        if let Some(spec) = api.spec.as_mut().filter(|it| it.priority_class_name.is_some()) {
            spec.priority = Some(2_000_001_000); // of system-node-critical, the only one
        }
        assert_eq!(allocate::admit(&api, &self.node, &self.others(&name)), Ok(()), "{name}");
        let allocation = Allocation::of(&api);
        let amounts = actuate::pod_amounts(&api);
        let mut actuated = Actuated::default();
        actuated.pod_created(amounts);
        let mut actor = Actor {
            api,
            allocation,
            actuated,
            conditions: ResizeConditions::default(),
            cgroup: CgroupResources::of(&amounts, DEFAULT_PERIOD_US),
            running: BTreeMap::new(),
            restarts: BTreeMap::new(),
            events: Vec::new(),
        };
        actor.start();
        actor.restarts.values_mut().for_each(|it| *it = 0);
        actor.report();
        self.actors.insert(name, actor);
    }

    /// A resize through the API's rules, which must accept it.
    pub fn resize(&mut self, name: &str, change: &Change) {
        let actor = self.actors.get_mut(name).expect("it exists");
        let mut new = change.applied_to(&actor.api).expect("its own containers");
        defaults::apply(&mut new);
        strategy::prepare_for_resize(&mut new, &actor.api);
        let errors = validate::resize(&new, &actor.api);
        assert!(errors.is_empty(), "{name}: {errors:?}");
        actor.api = new;
        self.waiting.insert(name.to_owned());
        self.retry();
    }

    /// Try what waits, in order, until nothing moves any more: a shrink may make room for the next.
    pub fn retry(&mut self) {
        loop {
            self.second += 1;
            let mut order: Vec<Waiting> = self.waiting.iter().map(|it| self.rank(it)).collect();
            order.sort();
            let moved = order.iter().filter(|it| self.attempt(&it.uid)).count();
            for actor in self.actors.values_mut() {
                actor.sync(self.second);
                actor.report();
            }
            if moved == 0 {
                return;
            }
        }
    }

    fn rank(&self, name: &str) -> Waiting {
        let actor = &self.actors[name];
        Waiting {
            uid: name.to_owned(),
            increasing: is_increasing(&actor.api, &actor.allocation),
            priority: actor.api.spec.as_ref().and_then(|it| it.priority).unwrap_or_default(),
            guaranteed: qos::recorded(&actor.api) == qos::QosClass::Guaranteed,
            since: actor.conditions.pending.as_ref().map(|it| it.since),
        }
    }

    /// Whether something was allocated.
    fn attempt(&mut self, name: &str) -> bool {
        let actor = &self.actors[name];
        let decision = decide(&actor.api, &actor.allocation, &self.node, &self.others(name));
        if matches!(decision, Decision::Deferred(_)) && self.rank(name).priority > 2_000_000_000 {
            // A critical pod takes the room of another (the node's preemption; the recorded one took the largest).
            let largest = |it: &&String| actuate::pod_amounts(&self.actors[*it].view()).cpu_request;
            let victim = self.actors.keys().filter(|it| *it != name).max_by_key(largest).cloned();
            self.actors.remove(&victim.expect("somebody else holds the room"));
            return self.attempt(name);
        }
        let (second, actor) = (self.second, self.actors.get_mut(name).expect("just seen"));
        let generation = actor.generation();
        let number = generation.unwrap_or_default();
        match decision {
            Decision::Unchanged => {
                actor.conditions.settle();
                self.waiting.remove(name);
                false
            }
            Decision::Allocate(allocation) => {
                actor.allocation = allocation;
                actor.conditions.allocate(generation, at(second));
                actor.events.push(event::started(&actor.api, number));
                self.waiting.remove(name);
                true
            }
            Decision::Deferred(shortage) => {
                if actor.conditions.refuse(PendingReason::Deferred, shortage.to_string(), generation, at(second)) {
                    actor.events.push(event::deferred(&actor.api, number, &shortage));
                }
                false
            }
            Decision::Infeasible(why) => {
                if actor.conditions.refuse(PendingReason::Infeasible, why.to_string(), generation, at(second)) {
                    actor.events.push(event::infeasible(&actor.api, number, why));
                }
                self.waiting.remove(name);
                false
            }
        }
    }
}
