//! One workload on its way through a replay: its strategies on the first reading, its bound on the second.

use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::explain::Explanation;
use supple_recommend::resource::Resource;
use supple_recommend::sample::{Sample, Size, believable};
use supple_replay::bound::{Bound, Range};
use supple_replay::figures::{Figures, Prices};
use supple_replay::workload::{Change, Interval, Workload};

use super::policy::Contender;

/// What is asked of a lane beside the figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// Seconds of learning left out of the figures.
    pub warmup: i64,
    /// Keep every change of a size.
    pub changes: bool,
}

/// A workload and container under all contenders.
pub struct Lane {
    workload: Workload,
    pods: Vec<PodLane>,
    wish: Wish,
    /// Changes as they took effect, where wished for.
    pub changes: Vec<Change>,
    /// The time of the latest sample of any pod.
    pub last: Option<i64>,
}

#[derive(Default)]
struct PodLane {
    interval: Interval,
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
    /// A lane on which nothing has happened.
    pub fn new(contenders: &[Contender], wish: Wish) -> Self {
        let strategies = contenders.iter().map(Contender::make).collect();
        let workload = Workload::new(strategies, wish.warmup);
        Self { workload, pods: Vec::new(), wish, changes: Vec::new(), last: None }
    }

    /// First reading. False where the sample is not after the one before it of the same pod: it counts for nothing.
    pub fn put(&mut self, pod: u32, sample: &Sample) -> bool {
        let lane = pod_lane(&mut self.pods, pod);
        let Some(hours) = lane.interval.next(sample.time) else {
            return false;
        };
        self.last = self.last.max(Some(sample.time));
        if self.workload.counts(sample.time) {
            for (range, used) in lane.ranges.iter_mut().zip([sample.cpu, sample.memory]) {
                if let Some(used) = used.filter(|it| believable(*it)) {
                    range.put(used, hours);
                }
            }
        }
        let (keep, changes) = (self.wish.changes, &mut self.changes);
        self.workload.put(pod, sample, hours, |change| {
            if keep {
                changes.push(change);
            }
        });
        true
    }

    /// Between the readings: the ranges are known.
    pub fn rewind(&mut self) {
        for lane in &mut self.pods {
            lane.interval = Interval::default();
            for (resource, (bound, range)) in Resource::ALL.into_iter().zip(lane.bounds.iter_mut().zip(lane.ranges)) {
                let (prices, least) = prices(resource);
                *bound = (range.hours > 0.0 && range.low.is_finite()).then(|| Bound::new(&range, &prices, least));
            }
        }
    }

    /// Second reading, for the bound. What a sample stands for in hours, and whether it counts.
    pub fn put_again(&mut self, pod: u32, sample: &Sample) -> Option<(f64, bool)> {
        let lane = pod_lane(&mut self.pods, pod);
        let hours = lane.interval.next(sample.time)?;
        let counts = self.workload.counts(sample.time);
        if counts {
            for (bound, used) in lane.bounds.iter_mut().zip([sample.cpu, sample.memory]) {
                if let (Some(bound), Some(used)) = (bound, used.filter(|it| believable(*it))) {
                    bound.put(used, hours);
                }
            }
        }
        Some((hours, counts))
    }

    /// What it came to.
    pub fn finish(&self, bound: bool) -> Result {
        let runners = self.workload.runners();
        let least = || {
            let mut total = [Figures::default(); 2];
            for pod in &self.pods {
                for (total, bound) in total.iter_mut().zip(&pod.bounds) {
                    if let Some(bound) = bound {
                        total.add(&bound.figures());
                    }
                }
            }
            total
        };
        Result {
            figures: runners.iter().map(|it| it.figures).collect(),
            bound: bound.then(least),
            explanations: runners.iter().map(|it| it.explain().copied()).collect(),
        }
    }
}

fn pod_lane(pods: &mut Vec<PodLane>, pod: u32) -> &mut PodLane {
    let place = usize::try_from(pod).unwrap_or(usize::MAX);
    while pods.len() <= place {
        pods.push(PodLane::default());
    }
    &mut pods[place]
}

/// A size as the four values of a row: cores and bytes, empty where not set.
pub fn written(size: &Size) -> [String; 4] {
    let cores = |it: Option<MilliCpu>| it.map_or_else(String::new, |it| format!("{}.{:03}", it.0 / 1000, it.0 % 1000));
    let bytes = |it: Option<Bytes>| it.map_or_else(String::new, |it| it.0.to_string());
    [cores(size.cpu_request), cores(size.cpu_limit), bytes(size.memory_request), bytes(size.memory_limit)]
}
