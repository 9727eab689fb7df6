//! From tallies to what is told: per policy, over all workloads, with the bound beside it.

use serde::Serialize;
use supple_recommend::policy::Risk;
use supple_recommend::resource::Resource;
use supple_replay::figures::{Figures, count};

use super::lane::prices;
use super::policy::Contender;
use super::run::Outcome;

/// What a core-hour and a GiB-hour cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// A core for an hour.
    pub cpu: f64,
    /// A GiB for an hour.
    pub memory: f64,
}

/// One resource under one policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// Reserved by used, all together.
    pub footprint: Option<f64>,
    /// Reserved by used, the middle one of the containers.
    pub footprint_median: Option<f64>,
    /// Share of samples over.
    pub over_ratio: f64,
    /// Runs of samples over, a day and container. Memory: kills.
    pub events_per_day: f64,
    /// Changes a day and container.
    pub resizes_per_day: f64,
    /// **J**, hours of mean use lost in an hour, the mean over containers.
    pub j: Option<f64>,
    /// **J** by the bound's.
    pub j_ratio: Option<f64>,
    /// Where it stands between the bound (1) and the incumbent (0).
    pub captured: Option<f64>,
    /// Reserved minus used: core-hours or GiB-hours.
    pub slack_hours: f64,
    /// Lowest and highest size: cores or bytes.
    pub lowest: Option<f64>,
    /// See `lowest`.
    pub highest: Option<f64>,
    /// Share of samples whose use was cut by the recorded limit: what was wanted there is not known.
    pub censored_ratio: f64,
    /// What was reserved, in money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<f64>,
    /// Where a risk was stated: the share of containers that kept it on the time replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_kept: Option<f64>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// CPU.
    pub cpu: Told,
    /// Memory.
    pub memory: Told,
}

/// A workload's container under all policies.
#[derive(Clone, Debug, Serialize)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Workload.
    pub workload: String,
    /// Container.
    pub container: String,
    /// The policies, and `bound` where it was computed.
    pub policies: Vec<Policy>,
    /// Why the last size of the first policy is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<supple_recommend::explain::Explanation>,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The policies, and `bound` where it was computed.
    pub policies: Vec<Policy>,
    /// The bound once more, by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<Policy>,
    /// By namespace, workload and container.
    pub workloads: Vec<Workload>,
    /// Samples replayed.
    pub samples: u64,
    /// Wrong lines and series skipped.
    pub skipped: u64,
}

/// Sums up.
pub fn summarize(
    contenders: &[Contender],
    workloads: &[Outcome],
    samples: u64,
    skipped: u64,
    money: Option<Money>,
) -> Summary {
    let bounded = workloads.iter().any(|it| it.result.bound.is_some());
    let names = contenders.iter().map(|it| it.name.as_str()).chain(bounded.then_some("bound"));
    let incumbent = contenders
        .iter()
        .position(|it| it.name == "vpa")
        .or_else(|| contenders.len().checked_sub(1).filter(|last| *last > 0));
    let of = |which: usize, outcomes: &[&Outcome], name: &str| {
        let told = |resource| {
            let pick = |index: usize, outcome: &Outcome| figures(outcome, index, contenders.len(), resource);
            let all: Vec<Figures> = outcomes.iter().map(|it| pick(which, it)).collect();
            let bound: Option<Vec<Figures>> =
                bounded.then(|| outcomes.iter().map(|it| pick(contenders.len(), it)).collect());
            let old: Option<Vec<Figures>> = incumbent.map(|old| outcomes.iter().map(|it| pick(old, it)).collect());
            let risk = contenders.get(which).and_then(|it| it.risk()[place(resource)]);
            tell(resource, &all, bound.as_deref(), old.as_deref(), money, risk)
        };
        Policy { name: name.to_owned(), cpu: told(Resource::Cpu), memory: told(Resource::Memory) }
    };
    let all: Vec<&Outcome> = workloads.iter().collect();
    let policies: Vec<Policy> = names.clone().enumerate().map(|(i, name)| of(i, &all, name)).collect();
    let workloads = workloads
        .iter()
        .map(|it| Workload {
            namespace: it.name.namespace.clone(),
            workload: it.name.workload.clone(),
            container: it.name.container.clone(),
            policies: names.clone().enumerate().map(|(i, name)| of(i, &[it], name)).collect(),
            explanation: it.result.explanations.first().copied().flatten(),
        })
        .collect();
    let bound = bounded.then(|| policies.last().cloned()).flatten();
    Summary { policies, bound, workloads, samples, skipped }
}

const fn place(resource: Resource) -> usize {
    match resource {
        Resource::Cpu => 0,
        Resource::Memory => 1,
    }
}

fn figures(outcome: &Outcome, which: usize, contenders: usize, resource: Resource) -> Figures {
    let place = place(resource);
    if which == contenders {
        return outcome.result.bound.map_or_else(Figures::default, |it| it[place]);
    }
    outcome.result.figures.get(which).map_or_else(Figures::default, |it| it[place])
}

fn tell(
    resource: Resource,
    all: &[Figures],
    bound: Option<&[Figures]>,
    incumbent: Option<&[Figures]>,
    money: Option<Money>,
    risk: Option<Risk>,
) -> Told {
    let mut total = Figures::default();
    all.iter().for_each(|it| total.add(it));
    let (prices, least) = prices(resource);
    let mean_cost = |all: &[Figures]| mean(all.iter().filter_map(|it| it.cost(&prices, least)));
    let (own, best, old) = (mean_cost(all), bound.and_then(mean_cost), incumbent.and_then(mean_cost));
    // One core is a thousand of what is counted, one GiB 2^30.
    let unit = match resource {
        Resource::Cpu => 1000.0,
        Resource::Memory => 1_073_741_824.0,
    };
    let shown = |size: i64| {
        let size = supple_recommend::sample::amount(size);
        if resource == Resource::Cpu { size / 1000.0 } else { size }
    };
    let price = money.map(|it| if resource == Resource::Cpu { it.cpu } else { it.memory });
    let kept = |it: &Figures, risk: Risk| {
        let happened = if prices.per_sample { it.over_ratio() } else { count(it.events) / it.hours };
        happened <= risk.per_hour()
    };
    let known: Vec<&Figures> = all.iter().filter(|it| it.samples > 0).collect();
    Told {
        footprint: total.footprint(),
        footprint_median: median(all.iter().filter_map(Figures::footprint).collect()),
        over_ratio: total.over_ratio(),
        events_per_day: total.events_per_day(),
        resizes_per_day: total.resizes_per_day(),
        j: own,
        j_ratio: own.zip(best).filter(|(_, best)| *best > 0.0).map(|(own, best)| own / best),
        captured: own
            .zip(best)
            .zip(old)
            .filter(|((_, best), old)| old > best)
            .map(|((own, best), old)| (old - own) / (old - best)),
        slack_hours: (total.reserved - total.used) / unit,
        lowest: total.range.map(|it| shown(it.0)),
        highest: total.range.map(|it| shown(it.1)),
        censored_ratio: if total.samples == 0 { 0.0 } else { count(total.censored) / count(total.samples) },
        money: price.map(|it| total.reserved / unit * it),
        risk_kept: risk.filter(|_| !known.is_empty()).map(|risk| {
            let kept = known.iter().filter(|it| kept(it, risk)).count();
            count(u64::try_from(kept).unwrap_or(0)) / count(u64::try_from(known.len()).unwrap_or(1))
        }),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, number) = values.fold((0.0, 0_u32), |(sum, number), it| (sum + it, number + 1));
    (number > 0).then(|| sum / f64::from(number))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        number if number % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
