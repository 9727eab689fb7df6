//! Series under strategies and at the least possible: the figures all tables are made of.

use supple_recommend::policy::Policy;
use supple_recommend::resource::Resource;
use supple_recommend::sample::Sample;
use supple_recommend::strategy::Strategy;
use supple_recommend::supple::Supple;
use supple_replay::bound::{Bound, Range};
use supple_replay::decide::Decide;
use supple_replay::figures::{Figures, Prices};
use supple_replay::workload::{Interval, Workload};

/// A strategy that knows nothing yet.
pub type Make<'a> = dyn Fn() -> Box<dyn Strategy + Send> + Sync + 'a;

/// Ours, under a policy.
pub fn ours(policy: &Policy) -> Box<dyn Strategy + Send> {
    Box::new(Supple::new(*policy))
}

/// Prices and the least size of a resource.
pub fn prices(resource: Resource) -> (Prices, f64) {
    match resource {
        Resource::Cpu => (Prices::CPU, 1.0),
        Resource::Memory => (Prices::MEMORY, 1_048_576.0),
    }
}

/// Many series under one strategy, on all cores.
pub fn judge(series: &[Vec<Sample>], warmup: i64, resource: Resource, make: &Make<'_>) -> Vec<Figures> {
    on_all_cores(series, |samples| {
        let mut workload = Workload::new(vec![(make(), Decide::default())], warmup);
        let mut interval = Interval::default();
        for sample in samples {
            if let Some(hours) = interval.next(sample.time) {
                workload.put(0, sample, [hours; 2], |_| {});
            }
        }
        workload.runners()[0].figures[usize::from(resource == Resource::Memory)]
    })
}

/// The same at the least possible.
pub fn least(series: &[Vec<Sample>], warmup: i64, resource: Resource) -> Vec<Figures> {
    let (prices, least) = prices(resource);
    on_all_cores(series, |samples| {
        let first = samples.first().map_or(0, |it| it.time);
        let mut interval = Interval::default();
        let mut counted = Vec::new();
        let mut range = Range::default();
        for sample in samples {
            let (Some(hours), Some(used)) = (interval.next(sample.time), sample.cpu.or(sample.memory)) else {
                continue;
            };
            if sample.time - first >= warmup {
                range.put(used, hours);
                counted.push((used, hours));
            }
        }
        let mut bound = Bound::new(&range, &prices, least);
        (0..).zip(&counted).for_each(|(at, (used, hours))| bound.put(at, *used, *hours));
        bound.figures()
    })
}

/// In the order of the series, whoever computed what.
pub fn on_all_cores<T: Send>(series: &[Vec<Sample>], one: impl Fn(&[Sample]) -> T + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = series.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = series
            .chunks(share)
            .map(|part| scope.spawn(|| part.iter().map(|it| one(it)).collect::<Vec<T>>()))
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    })
}

/// All together.
pub fn total(all: &[Figures]) -> Figures {
    let mut total = Figures::default();
    all.iter().for_each(|it| total.add(it));
    total
}

/// J, the mean over the series.
pub fn cost(all: &[Figures], resource: Resource) -> f64 {
    let (prices, least) = prices(resource);
    mean(all.iter().filter_map(|it| it.cost(&prices, least)))
}

/// The mean of some numbers.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, number) = values.fold((0.0, 0.0), |(sum, number), it| (sum + it, number + 1.0));
    sum / number
}
