//! The closed loop: what is done to a container changes what it does next.
//!
//! ```text
//! sample ─▶ what is due by then ─▶ use under the size in force ─▶ judge ─▶ strategy ─▶ decide ─┐
//!             ▲                     (late work, kills)                                         │ a second later
//!             └── retries ◀── node: done · restart · waits · infeasible ◀── resize ◀───────────┘
//! ```
//!
//! Unlike in the open loop ([`crate::workload`]) two strategies do not see the same use here, so their figures cannot be
//! compared with a bound. What can be learned is what the open loop leaves out: restarts, waiting, and work done late.
//!
//! Everything that happens stands in one queue, ordered by time, kind and number; all collections are ordered. Samples must
//! come in the order of time, and of those of one time in an order that does not depend on how they were recorded.

use std::collections::BTreeSet;

use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::sample::{OutOfMemory, Sample, Size, amount, believable, whole};
use supple_recommend::strategy::Strategy;
use supple_resize::queue::RETRY_INTERVAL;

use crate::decide::Decide;
use crate::figures::Figures;
use crate::life::{Backlog, Shape};
use crate::node::{Id, Node, Outcome};
use crate::workload::{DELAY, InForce, censor, changed};

/// What every node offers; `None`: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSize {
    /// CPU.
    pub cpu: Option<MilliCpu>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Number of pods.
    pub pods: Option<u32>,
}

/// What a workload's container lived through.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lived {
    /// CPU, memory: with the use there would have been.
    pub figures: [Figures; 2],
    /// Kills for want of memory.
    pub kills: u64,
    /// Restarts: after kills, and by resizes.
    pub restarts: u64,
    /// Work that a CPU limit held up, in thousandths of a core times hours.
    pub late: f64,
    /// Hours resizes waited that came to pass in the end.
    pub waited: f64,
    /// Pods that fitted on no empty node.
    pub unplaced: u64,
}

impl Lived {
    /// Adds another container's.
    pub fn add(&mut self, other: &Self) {
        let Self { figures, kills, restarts, late, waited, unplaced } = other;
        self.figures.iter_mut().zip(figures).for_each(|(mine, theirs)| mine.add(theirs));
        self.kills += kills;
        self.restarts += restarts;
        self.late += late;
        self.waited += waited;
        self.unplaced += unplaced;
    }
}

/// One strategy for each workload, and the nodes their pods run on.
pub struct Closed {
    lanes: Vec<Lane>,
    pods: Vec<Living>,
    nodes: Vec<Node>,
    retries: Vec<bool>,
    node: NodeSize,
    due: BTreeSet<(i64, Due)>,
}

/// What is going to happen, in the order of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A pod's resize reaches its node.
    Resize(Id),
    /// A node tries again what waits.
    Retry(usize),
}

struct Lane {
    strategy: Box<dyn Strategy + Send>,
    decide: Decide,
    pods: u32,
    lived: Lived,
}

struct Living {
    lane: usize,
    /// Its number among the pods of its lane.
    number: u32,
    node: Option<usize>,
    in_force: InForce,
    /// What was asked for and is not yet in force, and since when.
    asked: Option<(Size, i64)>,
    /// What will never be: not asked for again.
    refused: Option<Size>,
    waits_for_use: bool,
    throttled: bool,
    shape: Shape,
    backlog: Backlog,
    /// Since when the container runs, where that is not as recorded.
    restarted: Option<i64>,
    recorded: Option<u32>,
    own_restarts: u32,
    /// It was counted that no empty node had room for it.
    unplaced: bool,
    /// Memory in use.
    used: Option<i64>,
    counts: bool,
}

impl Closed {
    /// Nodes of this size, as many as the pods need: each takes the first that has room.
    pub const fn new(node: NodeSize) -> Self {
        Self { lanes: Vec::new(), pods: Vec::new(), nodes: Vec::new(), retries: Vec::new(), node, due: BTreeSet::new() }
    }

    /// A workload's container; lanes and pods are numbered from 0 in the order in which they are added.
    pub fn lane(&mut self, strategy: Box<dyn Strategy + Send>, decide: Decide) -> usize {
        self.lanes.push(Lane { strategy, decide, pods: 0, lived: Lived::default() });
        self.lanes.len() - 1
    }

    /// A pod of a workload that was added before.
    pub fn pod(&mut self, lane: usize) -> usize {
        let number = self.lanes.get_mut(lane).map_or(0, |it| {
            it.pods += 1;
            it.pods - 1
        });
        self.pods.push(Living {
            lane,
            number,
            node: None,
            in_force: InForce::default(),
            asked: None,
            refused: None,
            waits_for_use: false,
            throttled: false,
            shape: Shape::default(),
            backlog: Backlog::default(),
            restarted: None,
            recorded: None,
            own_restarts: 0,
            unplaced: false,
            used: None,
            counts: false,
        });
        self.pods.len() - 1
    }

    /// What the workloads lived through, by number.
    pub fn lived(&self) -> impl Iterator<Item = &Lived> {
        self.lanes.iter().map(|it| &it.lived)
    }

    /// How many nodes were needed.
    pub const fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// A sample of a pod whose CPU and memory stand for so many hours; `counts` is false for learning time.
    pub fn put(&mut self, pod: usize, recorded: &Sample, hours: [f64; 2], counts: bool) {
        self.pass(recorded.time);
        let Some(living) = self.pods.get_mut(pod) else { return };
        let Some(lane) = self.lanes.get_mut(living.lane) else { return };
        if counts && !living.counts {
            // What was asked for while learning has waited since now, as far as anybody counts.
            living.asked = living.asked.map(|(wanted, since)| (wanted, since.max(recorded.time)));
        }
        living.counts = counts;
        let (sample, killed) = living.live(recorded, hours[0], lane);
        if counts && living.node.is_some() {
            let figures = &mut lane.lived.figures;
            living.in_force.judge(&sample, hours, figures);
            // Use cannot pass a limit here; what it did is what counts as over.
            let throttled = sample.throttled.is_some_and(|it| it > 0.0);
            let before = std::mem::replace(&mut living.throttled, throttled);
            figures[0].over += u64::from(throttled);
            figures[0].events += u64::from(throttled && !before);
            figures[1].over += u64::from(killed.is_some());
            figures[1].events += u64::from(killed.is_some());
            censor(recorded, &living.in_force.size, figures);
        }
        lane.strategy.observe(living.number, &sample);
        if let Some(kill) = killed {
            lane.strategy.out_of_memory(living.number, &kill);
        }
        let size = living.in_force.size;
        let wanted = lane.strategy.size(living.number, sample.time, &size);
        let wanted = lane.decide.settle(&size, &wanted, living.in_force.changed, sample.time);
        let restarts = lane.decide.restarts;
        if living.node.is_none() {
            self.place(pod, &wanted, restarts, sample.time);
        }
        self.ask(pod, wanted, sample.time);
        self.freed(pod, sample.time);
    }

    /// Lets happen what is due up to a time.
    fn pass(&mut self, now: i64) {
        while let Some((time, due)) = self.due.pop_first() {
            if time > now {
                self.due.insert((time, due));
                return;
            }
            match due {
                Due::Resize(id) => self.resize(index(id), time),
                Due::Retry(node) => {
                    if let Some(scheduled) = self.retries.get_mut(node) {
                        *scheduled = false;
                    }
                    self.retry(node, time);
                }
            }
        }
    }

    fn place(&mut self, pod: usize, size: &Size, restarts: [bool; 2], now: i64) {
        let id = id(pod);
        let mut node = self.nodes.iter_mut().position(|it| it.admit(id, size, restarts).is_ok());
        if node.is_none() {
            let mut empty = Node::new(self.node.cpu, self.node.memory, self.node.pods);
            if empty.admit(id, size, restarts).is_ok() {
                self.nodes.push(empty);
                self.retries.push(false);
                node = Some(self.nodes.len() - 1);
            }
        }
        let Some(living) = self.pods.get_mut(pod) else { return };
        if node.is_none() {
            living.refused = Some(*size);
            let first = living.counts && !living.unplaced;
            living.unplaced |= first;
            if let Some(lane) = self.lanes.get_mut(living.lane).filter(|_| first) {
                lane.lived.unplaced += 1;
            }
        }
        living.node = node;
        if node.is_some() {
            living.in_force.size = *size;
            living.in_force.changed = Some(now);
        }
    }

    /// Notes a wish; it reaches the node a little later.
    fn ask(&mut self, pod: usize, wanted: Size, now: i64) {
        let Some(living) = self.pods.get_mut(pod).filter(|it| it.node.is_some()) else { return };
        if wanted == living.in_force.size {
            if living.asked.take().is_some()
                && let Some(node) = living.node.and_then(|it| self.nodes.get_mut(it))
            {
                node.withdraw(id(pod));
            }
            return;
        }
        if living.refused == Some(wanted) || living.asked.is_some_and(|(asked, _)| asked == wanted) {
            return;
        }
        living.asked = Some((wanted, now));
        self.due.insert((now + DELAY, Due::Resize(id(pod))));
    }

    fn resize(&mut self, pod: usize, now: i64) {
        let Some(living) = self.pods.get_mut(pod) else { return };
        let (Some((wanted, _)), Some(at)) = (living.asked, living.node) else { return };
        let Some(node) = self.nodes.get_mut(at) else { return };
        if living.in_force.size == Size::default() {
            // A pod without sizes can be given none by a resize: it is created anew, with them.
            node.remove(id(pod));
            let restarts = self.lanes.get(living.lane).map_or([false; 2], |it| it.decide.restarts);
            self.place(pod, &wanted, restarts, now);
            self.settle(pod, Outcome::Done { restarted: true }, now);
        } else {
            let outcome = node.resize(id(pod), &wanted, living.used, now);
            self.settle(pod, outcome, now);
        }
        self.retry(at, now);
    }

    /// Takes in what came of a resize.
    fn settle(&mut self, pod: usize, outcome: Outcome, now: i64) {
        let Some(living) = self.pods.get_mut(pod) else { return };
        let (Some((wanted, since)), Some(lane)) = (living.asked, self.lanes.get_mut(living.lane)) else { return };
        living.waits_for_use = outcome == Outcome::InUse;
        let moved = changed(&living.in_force.size, &wanted);
        let mut each = |f: fn(&mut Figures)| {
            if living.counts {
                lane.lived.figures.iter_mut().zip(moved).filter(|(_, moved)| *moved).for_each(|(it, _)| f(it));
            }
        };
        match outcome {
            Outcome::NoRoom | Outcome::InUse => each(|it| it.deferred += 1),
            Outcome::Infeasible(_) => {
                each(|it| it.infeasible += 1);
                living.refused = Some(wanted);
                living.asked = None;
            }
            Outcome::Nothing => {
                living.refused = Some(wanted);
                living.asked = None;
            }
            Outcome::Done { restarted } => {
                each(|it| it.resizes += 1);
                if restarted {
                    each(|it| it.restarts += 1);
                    lane.lived.restarts += u64::from(living.counts);
                    living.begin_again(now);
                }
                if living.counts && now - since > DELAY {
                    lane.lived.waited += amount(now - since - DELAY) / 3600.0;
                }
                // A resize sets and never removes.
                let old = living.in_force.size;
                let size = Size {
                    cpu_request: wanted.cpu_request.or(old.cpu_request),
                    cpu_limit: wanted.cpu_limit.or(old.cpu_limit),
                    memory_request: wanted.memory_request.or(old.memory_request),
                    memory_limit: wanted.memory_limit.or(old.memory_limit),
                };
                living.in_force.size = size;
                living.in_force.changed = Some(now);
                (living.asked, living.refused) = (None, (size != wanted).then_some(wanted));
            }
        }
    }

    /// Lets a node try what waits, now and again.
    fn retry(&mut self, at: usize, now: i64) {
        loop {
            let Some(node) = self.nodes.get_mut(at) else { return };
            let pods = &self.pods;
            let done = node.retry(now, |id| pods.get(index(id)).and_then(|it| it.used));
            if done.is_empty() {
                break;
            }
            for (id, outcome) in done {
                self.settle(index(id), outcome, now);
            }
        }
        let waits = self.nodes.get(at).is_some_and(Node::waits);
        if let Some(scheduled) = self.retries.get_mut(at).filter(|it| waits && !**it) {
            *scheduled = true;
            self.due.insert((now + RETRY_INTERVAL.as_secs(), Due::Retry(at)));
        }
    }

    /// A pod whose resize waits for its memory to fall may have let go of it.
    fn freed(&mut self, pod: usize, now: i64) {
        let Some(living) = self.pods.get(pod).filter(|it| it.waits_for_use) else { return };
        let limit = living.asked.and_then(|(wanted, _)| wanted.memory_limit);
        if let (Some(limit), Some(used), Some(at)) = (limit, living.used, living.node)
            && used < limit.0
        {
            if let Some(node) = self.nodes.get_mut(at) {
                node.stir();
            }
            self.retry(at, now);
        }
    }
}

impl Living {
    /// What would have been measured in place of the recorded sample, and the kill that ended it, if one did. `hours`
    /// are those that its CPU stands for.
    fn live(&mut self, recorded: &Sample, hours: f64, lane: &mut Lane) -> (Sample, Option<OutOfMemory>) {
        let now = recorded.time;
        if recorded.restarts > self.recorded && self.recorded.is_some() {
            self.shape.begin(now);
            self.restarted = None;
            self.backlog.forget();
        }
        self.recorded = recorded.restarts.or(self.recorded);
        let size = self.in_force.size;
        let mut sample = Sample { cpu_limit: size.cpu_limit, memory_limit: size.memory_limit, ..*recorded };
        if let Some(demand) = recorded.cpu.filter(|it| believable(*it)) {
            let served = self.backlog.serve(demand, size.cpu_limit.map(|it| it.0), hours * 3600.0);
            sample.cpu = Some(served.used);
            sample.throttled = size.cpu_limit.is_some().then_some(served.throttled);
            if self.counts {
                lane.lived.late += served.late / 3600.0;
            }
        }
        let mut killed = None;
        if let Some(used) = recorded.memory.filter(|it| believable(*it)) {
            self.shape.put(now, used);
            let mut used = self.restarted.and_then(|since| self.shape.at(now - since)).unwrap_or(used);
            if let Some(limit) = size.memory_limit.filter(|limit| used > amount(limit.0)) {
                killed = Some(OutOfMemory {
                    time: now,
                    limit: Some(limit),
                    request: size.memory_request,
                    peak: Some(amount(limit.0)),
                });
                used = amount(limit.0);
                lane.lived.kills += u64::from(self.counts);
                lane.lived.restarts += u64::from(self.counts);
                self.begin_again(now);
            }
            sample.memory = Some(used);
            self.used = Some(whole(used));
        }
        sample.restarts = Some(recorded.restarts.unwrap_or(0).saturating_add(self.own_restarts));
        (sample, killed)
    }

    fn begin_again(&mut self, now: i64) {
        self.restarted = Some(now);
        self.own_restarts = self.own_restarts.saturating_add(1);
        self.backlog.forget();
        self.used = None;
    }
}

fn id(pod: usize) -> Id {
    Id::try_from(pod).unwrap_or(Id::MAX)
}

fn index(id: Id) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}
