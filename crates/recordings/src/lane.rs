//! One workload on its way through a replay: its strategies on the first way through the recording, its bound on the second.

use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::explain::Explanation;
use supple_recommend::resource::Resource;
use supple_recommend::sample::{Sample, Size, believable};
use supple_replay::bound::{Bound, Range};
use supple_replay::figures::{Figures, Prices};
use supple_replay::workload::{Change, Intervals, Workload, recorded};

use crate::Contender;
use crate::kept::Short;

/// A workload and container under all contenders.
pub struct Lane {
    workload: Workload,
    pods: Vec<PodLane>,
    /// Samples of the latest time, not yet taken in: of one time they are taken in by the pods' names, so that nothing depends on
    /// the order in which series were recorded.
    waiting: Vec<Waiting>,
    /// Of those that say more than a [`Short`] all they say.
    more: Vec<Sample>,
    /// Every pod has its place among the names.
    ranked: bool,
    /// Pods as the strategies number them: in the order of time, then of names.
    numbered: Vec<u32>,
}

/// A sample that waits.
#[derive(Clone, Copy)]
struct Waiting {
    pod: u32,
    sample: Short,
    /// Its place in [`Lane::more`], where it has one.
    more: Option<u32>,
}

struct PodLane {
    name: String,
    /// Its place among the names, once it was looked for.
    rank: u32,
    /// See [`Lane::numbered`].
    number: Option<u32>,
    intervals: Intervals,
    ranges: [Range; 2],
    bounds: [Option<Bound>; 2],
}

/// What a finished lane came to.
#[derive(Clone, Debug, Default)]
pub struct Result {
    /// By contender: CPU and memory.
    pub figures: Vec<[Figures; 2]>,
    /// The least possible.
    pub bound: Option<[Figures; 2]>,
    /// By contender, and behind them of the bound: of CPU and memory, the footprint of each pod.
    pub footprints: Vec<[Vec<f64>; 2]>,
    /// By contender, of the last size, where it can say.
    pub explanations: Vec<Option<Explanation>>,
}

/// Prices of a resource in **J**, and the least size there is.
pub const fn prices(resource: Resource) -> (Prices, f64) {
    let prices = match resource {
        Resource::Cpu => Prices::CPU,
        Resource::Memory => Prices::MEMORY,
    };
    (prices, resource.unit())
}

impl Lane {
    /// A lane on which nothing has happened; figures begin so many seconds after its first sample.
    pub fn new(contenders: &[&dyn Contender], warmup: i64) -> Self {
        let strategies = contenders.iter().map(|it| it.make()).collect();
        let workload = Workload::new(strategies, warmup);
        Self { workload, pods: Vec::new(), waiting: Vec::new(), more: Vec::new(), ranked: false, numbered: Vec::new() }
    }

    /// Names a pod before its first sample.
    pub fn name(&mut self, pod: u32, name: String) {
        while self.pods.len() <= index(pod) {
            self.pods.push(PodLane {
                name: String::new(),
                rank: 0,
                number: None,
                intervals: Intervals::default(),
                ranges: Default::default(),
                bounds: Default::default(),
            });
        }
        self.pods[index(pod)].name = name;
        self.ranked = false;
    }

    /// Gives every pod its place among the names.
    fn rank(&mut self) {
        let mut by_name: Vec<&mut PodLane> = self.pods.iter_mut().collect();
        by_name.sort_by(|a, b| a.name.cmp(&b.name));
        by_name.into_iter().zip(0..).for_each(|(pod, rank)| pod.rank = rank);
        self.ranked = true;
    }

    /// The first way. Where a sample says more than a `Short`, `more` is all of it. Changes are told with the pod's number as it
    /// stands in the recording.
    pub fn put(&mut self, pod: u32, sample: Short, more: Option<&Sample>, changed: &mut dyn FnMut(Change)) {
        if self.waiting.first().is_some_and(|first| first.sample.time != sample.time) {
            self.flush(changed);
        }
        let place = more.map(|_| u32::try_from(self.more.len()).expect("fewer samples of one time than memory holds"));
        self.more.extend(more);
        self.waiting.push(Waiting { pod, sample, more: place });
    }

    /// Takes in what waits.
    pub fn flush(&mut self, changed: &mut dyn FnMut(Change)) {
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.len() > 1 {
            if !self.ranked {
                self.rank();
            }
            let rank = |it: &Waiting| self.pods.get(index(it.pod)).map(|it| it.rank);
            if !waiting.is_sorted_by_key(rank) {
                waiting.sort_by_key(rank);
            }
        }
        for Waiting { pod, sample, more } in &waiting {
            let more = more.and_then(|it| self.more.get(index(it)).copied());
            self.take(*pod, &more.unwrap_or_else(|| sample.whole()), changed);
        }
        waiting.clear();
        self.waiting = waiting;
        self.more.clear();
    }

    fn take(&mut self, pod: u32, sample: &Sample, changed: &mut dyn FnMut(Change)) {
        let Some(lane) = self.pods.get_mut(index(pod)) else { return };
        let Some(hours) = lane.intervals.next(sample.time, recorded(sample)) else { return };
        if self.workload.counts(sample.time) {
            for ((range, used), hours) in lane.ranges.iter_mut().zip([sample.cpu, sample.memory]).zip(hours) {
                if let Some(used) = used.filter(|it| believable(*it)) {
                    range.put(used, hours);
                }
            }
        }
        let number = *lane.number.get_or_insert_with(|| {
            self.numbered.push(pod);
            u32::try_from(self.numbered.len() - 1).unwrap_or(u32::MAX)
        });
        self.workload.put(number, sample, hours, |change| changed(Change { pod, ..change }));
    }

    /// The first pod of its workload, the one that is drawn, as it is numbered in the recording.
    pub fn first(&self) -> Option<u32> {
        self.numbered.first().copied()
    }

    /// Whether a pod is that.
    pub fn is_first(&self, pod: u32) -> bool {
        self.first() == Some(pod)
    }

    /// Between the two ways through the recording: the ranges are known. With the changes of the bound, for [`Lane::bound_changes`],
    /// or without.
    pub fn rewind(&mut self, changes: bool) {
        for lane in &mut self.pods {
            lane.intervals = Intervals::default();
            for (resource, (bound, range)) in Resource::ALL.into_iter().zip(lane.bounds.iter_mut().zip(lane.ranges)) {
                let (prices, least) = prices(resource);
                let known = range.hours > 0.0 && range.low.is_finite();
                *bound = known.then(|| Bound::new(&range, &prices, least));
                *bound = bound.take().map(|it| if changes { it.with_changes() } else { it });
            }
        }
    }

    /// The second way, for the bound: samples of one pod, in their order. Those that come after the one before are told to `taken`.
    pub fn put_again(&mut self, pod: u32, samples: &[Short], mut taken: impl FnMut(&Short)) {
        let Some(lane) = self.pods.get_mut(index(pod)) else { return };
        for sample in samples {
            let counts = self.workload.counts(sample.time);
            let used = [sample.cpu, sample.memory];
            let recorded = used.map(believable);
            let Some(hours) = lane.intervals.next(sample.time, recorded) else { continue };
            if counts {
                for (at, bound) in lane.bounds.iter_mut().enumerate() {
                    if let Some(bound) = bound.as_mut().filter(|_| recorded[at]) {
                        bound.put(sample.time, used[at], hours[at]);
                    }
                }
            }
            taken(sample);
        }
    }

    /// The changes of the bound, as those of the strategy that comes after all others: of every pod the sizes in force from a time on.
    /// Its CPU has no limit, as most have none.
    pub fn bound_changes(&self, changed: &mut dyn FnMut(Change)) {
        let strategy = self.workload.runners().len();
        for (pod, lane) in (0..).zip(&self.pods) {
            let [mut cpu, mut memory] = lane
                .bounds
                .each_ref()
                .map(|it| it.as_ref().map(Bound::changes).unwrap_or_default().into_iter().peekable());
            let mut size = Size::default();
            while let Some(time) = cpu.peek().into_iter().chain(memory.peek()).map(|it| it.0).min() {
                if let Some((_, cores)) = cpu.next_if(|it| it.0 == time) {
                    size.cpu_request = Some(MilliCpu(cores));
                }
                if let Some((_, bytes)) = memory.next_if(|it| it.0 == time) {
                    (size.memory_request, size.memory_limit) = (Some(Bytes(bytes)), Some(Bytes(bytes)));
                }
                changed(Change { strategy, pod, time, size });
            }
        }
    }

    /// What it came to.
    pub fn finish(&self, bound: bool) -> Result {
        let runners = self.workload.runners();
        let least = || {
            let mut total = [Figures::default(); 2];
            for pod in self.numbered.iter().filter_map(|pod| self.pods.get(index(*pod))) {
                for (total, bound) in total.iter_mut().zip(&pod.bounds) {
                    if let Some(bound) = bound {
                        total.add(&bound.figures());
                    }
                }
            }
            total
        };
        let by_pod = |place: usize| {
            let bounds = self.pods.iter().filter_map(|it| it.bounds[place].as_ref());
            bounds.filter_map(|it| it.figures().footprint()).collect()
        };
        let footprints = runners.iter().map(|it| Resource::ALL.map(|resource| it.footprints(resource)));
        Result {
            figures: runners.iter().map(|it| it.figures).collect(),
            bound: bound.then(least),
            footprints: footprints.chain(bound.then(|| [by_pod(0), by_pod(1)])).collect(),
            explanations: runners.iter().map(|it| it.explain().copied()).collect(),
        }
    }
}

fn index(pod: u32) -> usize {
    usize::try_from(pod).unwrap_or(usize::MAX)
}
