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
    /// The pods whose samples waited together last time, as they came, and their places in the order of names: nearly always the same
    /// pods come in the same order.
    came: Vec<u32>,
    by_name: Vec<usize>,
    /// Pods as the strategies number them: in the order of time, then of names.
    numbered: Vec<u32>,
    /// What of the bound is reckoned on the second way.
    of_bound: OfBound,
}

/// What is wanted of the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OfBound {
    /// Nothing.
    #[default]
    Nothing,
    /// What it comes to.
    Figures,
    /// Its changes, too.
    Changes,
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
    /// See [`Lane::numbered`].
    number: Option<u32>,
    intervals: Intervals,
    /// Its last sample: until then its bound is reckoned on the second way.
    last: i64,
    ranges: [Range; 2],
    least: [Least; 2],
}

/// How far the bound of a pod's resource is: what it takes while it is reckoned is fifty times what it comes to.
#[derive(Default)]
enum Least {
    /// Nothing came yet, or ever.
    #[default]
    Nothing,
    Reckoned(Box<Bound>),
    Known(Box<Figures>),
}

impl Least {
    /// Begins where there is something to reckon.
    fn begun(range: &Range, resource: Resource, of_bound: OfBound) -> Self {
        if of_bound == OfBound::Nothing || range.hours <= 0.0 || !range.low.is_finite() {
            return Self::Nothing;
        }
        let (prices, unit) = prices(resource);
        let bound = Bound::new(range, &prices, unit);
        Self::Reckoned(Box::new(if of_bound == OfBound::Changes { bound.with_changes() } else { bound }))
    }

    fn figures(&self) -> Option<Figures> {
        match self {
            Self::Nothing => None,
            Self::Reckoned(bound) => Some(bound.figures()),
            Self::Known(figures) => Some(**figures),
        }
    }
}

impl PodLane {
    /// Its bounds are reckoned to the end: what they come to is kept, and their changes are given away. The CPU of the bound has no limit,
    /// as most have none.
    fn end(&mut self, mut changed: impl FnMut(i64, Size)) {
        let [mut cpu, mut memory] = self.least.each_mut().map(|it| {
            let Least::Reckoned(bound) = it else { return Vec::new().into_iter().peekable() };
            let changes = bound.changes();
            *it = Least::Known(Box::new(bound.figures()));
            changes.into_iter().peekable()
        });
        let mut size = Size::default();
        while let Some(time) = cpu.peek().into_iter().chain(memory.peek()).map(|it| it.0).min() {
            if let Some((_, cores)) = cpu.next_if(|it| it.0 == time) {
                size.cpu_request = Some(MilliCpu(cores));
            }
            if let Some((_, bytes)) = memory.next_if(|it| it.0 == time) {
                (size.memory_request, size.memory_limit) = (Some(Bytes(bytes)), Some(Bytes(bytes)));
            }
            changed(time, size);
        }
    }
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
        Self {
            workload,
            pods: Vec::new(),
            waiting: Vec::new(),
            more: Vec::new(),
            came: Vec::new(),
            by_name: Vec::new(),
            numbered: Vec::new(),
            of_bound: OfBound::Nothing,
        }
    }

    /// Names a pod before its first sample.
    pub fn name(&mut self, pod: u32, name: String) {
        while self.pods.len() <= index(pod) {
            self.pods.push(PodLane {
                name: String::new(),
                number: None,
                intervals: Intervals::default(),
                last: i64::MIN,
                ranges: Default::default(),
                least: Default::default(),
            });
        }
        self.pods[index(pod)].name = name;
    }

    /// Finds the order of names of what waits.
    fn order(&mut self, waiting: &[Waiting]) {
        if waiting.iter().map(|it| it.pod).eq(self.came.iter().copied()) {
            return;
        }
        self.came.clear();
        self.came.extend(waiting.iter().map(|it| it.pod));
        self.by_name.clear();
        self.by_name.extend(0..waiting.len());
        self.by_name.sort_by_key(|at| self.pods.get(index(self.came[*at])).map(|it| it.name.as_str()));
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
        self.order(&waiting);
        let by_name = std::mem::take(&mut self.by_name);
        for Waiting { pod, sample, more } in by_name.iter().map(|at| &waiting[*at]) {
            let more = more.and_then(|it| self.more.get(index(it)).copied());
            self.take(*pod, &more.unwrap_or_else(|| sample.whole()), changed);
        }
        self.by_name = by_name;
        waiting.clear();
        self.waiting = waiting;
        self.more.clear();
    }

    fn take(&mut self, pod: u32, sample: &Sample, changed: &mut dyn FnMut(Change)) {
        let Some(lane) = self.pods.get_mut(index(pod)) else { return };
        let Some(hours) = lane.intervals.next(sample.time, recorded(sample)) else { return };
        lane.last = sample.time;
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

    /// Between the two ways through the recording: how far use reaches is known.
    pub fn rewind(&mut self, of_bound: OfBound) {
        self.of_bound = of_bound;
        self.pods.iter_mut().for_each(|it| it.intervals = Intervals::default());
    }

    /// The second way, for the bound: samples of one pod, in their order. Those that come after the one before are told to `taken`. At the
    /// pod's last one the changes of the bound are, where they are wanted, as those of the strategy that comes after all others.
    pub fn put_again(
        &mut self,
        pod: u32,
        samples: &[Short],
        mut taken: impl FnMut(&Short),
        mut changed: impl FnMut(Change),
    ) {
        let strategy = self.workload.runners().len();
        let Some(lane) = self.pods.get_mut(index(pod)) else { return };
        for sample in samples {
            let counts = self.workload.counts(sample.time);
            let used = [sample.cpu, sample.memory];
            let recorded = used.map(believable);
            let Some(hours) = lane.intervals.next(sample.time, recorded) else { continue };
            for (at, resource) in Resource::ALL.into_iter().enumerate().filter(|it| counts && recorded[it.0]) {
                let least = &mut lane.least[at];
                if matches!(least, Least::Nothing) {
                    *least = Least::begun(&lane.ranges[at], resource, self.of_bound);
                }
                if let Least::Reckoned(bound) = least {
                    bound.put(sample.time, used[at], hours[at]);
                }
            }
            taken(sample);
            if sample.time >= lane.last {
                lane.end(|time, size| changed(Change { strategy, pod, time, size }));
            }
        }
    }

    /// How many bounds are being reckoned.
    #[cfg(test)]
    fn reckoned(&self) -> usize {
        self.pods.iter().flat_map(|it| &it.least).filter(|it| matches!(it, Least::Reckoned(_))).count()
    }

    /// What it came to.
    pub fn finish(&self, bound: bool) -> Result {
        let runners = self.workload.runners();
        let least = || {
            let mut total = [Figures::default(); 2];
            for pod in self.numbered.iter().filter_map(|pod| self.pods.get(index(*pod))) {
                for (total, least) in total.iter_mut().zip(&pod.least) {
                    least.figures().iter().for_each(|it| total.add(it));
                }
            }
            total
        };
        let by_pod = |place: usize| {
            let bounds = self.pods.iter().filter_map(|it| it.least[place].figures());
            bounds.filter_map(|it| it.footprint()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use supple_recommend::baseline::fixed::Nothing;
    use supple_recommend::strategy::Strategy;
    use supple_replay::decide::Decide;

    struct Nobody;

    impl Contender for Nobody {
        fn name(&self) -> &'static str {
            "nobody"
        }

        fn make(&self) -> (Box<dyn Strategy + Send>, Decide) {
            (Box::new(Nothing), Decide::default())
        }
    }

    #[test]
    fn a_bound_is_reckoned_as_long_as_its_pod_lives() {
        let mut lane = Lane::new(&[&Nobody], 0);
        // As of a cron job: one after another, each of ten samples and a use of its own, of which the last has no memory.
        let sample = |pod: u32, minute: i64| Short {
            time: (i64::from(pod) * 10 + minute) * 60,
            cpu: f64::from(100 + pod % 7) + if minute > 4 { 50.0 } else { 0.0 },
            memory: if minute == 9 { f64::NAN } else { 1e8 },
        };
        let samples = || (0..500).flat_map(|pod| (0..10).map(move |minute| (pod, minute)));
        (0..500).for_each(|pod| lane.name(pod, format!("p-{pod}")));
        samples().for_each(|(pod, minute)| lane.put(pod, sample(pod, minute), None, &mut |_| {}));
        lane.flush(&mut |_| {});
        lane.rewind(OfBound::Changes);
        let mut changes = Vec::new();
        for (pod, minute) in samples() {
            lane.put_again(pod, &[sample(pod, minute)], |_| {}, |it| changes.push(it));
            assert_eq!(lane.reckoned(), if minute == 9 { 0 } else { 2 }, "pod {pod}, minute {minute}");
        }
        let [cpu, memory] = lane.finish(true).bound.unwrap();
        assert_eq!((cpu.samples, memory.samples), (5000, 4500));
        assert_eq!(changes.len(), 500 + usize::try_from(cpu.resizes).unwrap(), "a size each, and what changed");
        assert!(changes.iter().all(|it| it.strategy == 1 && it.size.memory_limit == Some(Bytes(100_000_000))));
        assert_eq!(lane.finish(true).footprints[1].each_ref().map(Vec::len), [500, 500]);
        lane.rewind(OfBound::Nothing);
        assert_eq!(lane.reckoned(), 0);
    }
}
