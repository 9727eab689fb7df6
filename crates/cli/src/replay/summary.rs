//! From tallies to what is told: per policy, over all workloads, with the bound beside it.

use serde::Serialize;
use supple_recommend::policy::Risk;
use supple_recommend::resource::Resource;
use supple_recordings::lane::prices;
use supple_recordings::lived::World;
use supple_recordings::run::Outcome;
use supple_replay::closed::Lived;
use supple_replay::figures::{Figures, count};

use super::policy::Contender;

/// What a core-hour and a GiB-hour cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
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
    /// Reserved by used, the middle one of the series: of each pod's container.
    pub footprint_median: Option<f64>,
    /// Share of samples over.
    pub over_ratio: f64,
    /// Runs of samples over, a day and container. Memory: kills.
    pub events_per_day: f64,
    /// Changes a day and container.
    pub resizes_per_day: f64,
    /// The same by kind.
    pub resizes: Kinds,
    /// **J**, hours of mean use lost in an hour, the mean over containers.
    pub j: Option<f64>,
    /// **J** by the bound's.
    pub j_ratio: Option<f64>,
    /// Share of the possible saving: 0 is the incumbent, 1 the bound.
    pub captured: Option<f64>,
    /// Reserved minus used, so that use above the size counts against it: core-hours or GiB-hours.
    pub slack_hours: f64,
    /// Lowest and highest size: cores or bytes.
    pub lowest: Option<f64>,
    /// See `lowest`.
    pub highest: Option<f64>,
    /// Share of samples whose use was cut by the recorded limit: what was wanted there is not known.
    pub censored_ratio: f64,
    /// Share of the samples at which there was a size to judge.
    pub judged_ratio: f64,
    /// What was reserved, in money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<f64>,
    /// Where a risk was stated: the share of containers that kept it on the time replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_kept: Option<f64>,
}

impl Told {
    /// Whether there was anything to judge. A footprint says less: where nothing was used there is none.
    pub const fn judged(&self) -> bool {
        self.judged_ratio > 0.0
    }
}

/// Changes a day and container, by kind. Only a closed loop has nodes that defer, and rules that refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Kinds {
    /// Done without a restart.
    pub in_place_per_day: f64,
    /// Done with a restart of the container.
    pub with_restart_per_day: f64,
    /// Put off for want of room, or because memory was in use.
    pub deferred_per_day: f64,
    /// Never to be done.
    pub infeasible_per_day: f64,
}

impl Kinds {
    fn of(it: &Figures) -> Self {
        Self {
            in_place_per_day: it.per_day(it.resizes.saturating_sub(it.restarts)),
            with_restart_per_day: it.per_day(it.restarts),
            deferred_per_day: it.per_day(it.deferred),
            infeasible_per_day: it.per_day(it.infeasible),
        }
    }
}

/// A resource in the closed loop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClosedResource {
    /// Reserved by used: used is what could be used.
    pub footprint: Option<f64>,
    /// Changes by kind.
    pub resizes: Kinds,
}

/// What came of a policy where sizes have effects.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClosedLoop {
    /// CPU.
    pub cpu: ClosedResource,
    /// Memory.
    pub memory: ClosedResource,
    /// Kills for want of memory, a day and container.
    pub kills_per_day: f64,
    /// Restarts after kills and by resizes, a day and container.
    pub restarts_per_day: f64,
    /// Share of samples at which a CPU limit, or where there is none the request, was passed.
    pub cpu_over_ratio: f64,
    /// Core-hours of work that a CPU limit held up.
    pub late_core_hours: f64,
    /// Hours that deferred resizes waited which came to pass.
    pub waited_hours: f64,
    /// Nodes that were needed; of a workload: all its policy's.
    pub nodes: usize,
    /// Pods that fitted on no empty node.
    pub unplaced: u64,
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
    /// What came of it where sizes have effects, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_loop: Option<ClosedLoop>,
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
    /// The bound once more, by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<Policy>,
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
    /// Which policy `captured` counts from: `vpa`, else the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incumbent: Option<String>,
    /// By namespace, workload and container.
    pub workloads: Vec<Workload>,
    /// Seconds of learning time that are in no figure.
    #[serde(rename = "warmup_seconds")]
    pub warmup: u64,
    /// Samples replayed.
    pub samples: u64,
    /// Wrong lines, series and points skipped.
    pub skipped: u64,
    /// Hours that were judged of a container, in the mean of its pods: of that which was judged longest.
    #[serde(skip)]
    pub longest: f64,
}

/// Sums up.
pub fn summarize(
    contenders: &[Contender],
    workloads: &[Outcome],
    worlds: &[World],
    (samples, skipped, warmup): (u64, u64, u64),
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
            // What there was to judge: the policy that had a size most of the time tells.
            let most = |it: &&Outcome| {
                let judged = (0..=contenders.len()).map(|index| pick(index, it).samples);
                judged.max().unwrap_or_default()
            };
            let there_was: u64 = outcomes.iter().map(most).sum();
            let told = tell(resource, &all, bound.as_deref(), old.as_deref(), money, risk);
            let judged: u64 = all.iter().map(|it| it.samples).sum();
            let by_pod = outcomes.iter().filter_map(|it| it.result.footprints.get(which));
            Told {
                footprint_median: median(by_pod.flat_map(|it| it[place(resource)].iter().copied()).collect()),
                judged_ratio: if there_was == 0 { 0.0 } else { count(judged) / count(there_was) },
                ..told
            }
        };
        let closed_loop = worlds.get(which).map(|world| closed(world, outcomes));
        Policy { name: name.to_owned(), cpu: told(Resource::Cpu), memory: told(Resource::Memory), closed_loop }
    };
    let outcomes = workloads;
    let all: Vec<&Outcome> = outcomes.iter().collect();
    let policies: Vec<Policy> = names.clone().enumerate().map(|(i, name)| of(i, &all, name)).collect();
    let workloads = outcomes
        .iter()
        .map(|it| {
            let policies: Vec<Policy> = names.clone().enumerate().map(|(i, name)| of(i, &[it], name)).collect();
            Workload {
                namespace: it.name.namespace.clone(),
                workload: it.name.workload.clone(),
                container: it.name.container.clone(),
                bound: bounded.then(|| policies.last().cloned()).flatten(),
                policies,
                explanation: it.result.explanations.first().copied().flatten(),
            }
        })
        .collect();
    let judged = |it: &Outcome| {
        let hours = it.result.figures.iter().flatten().map(|it| it.hours).fold(0.0, f64::max);
        hours / count(it.pods.max(1) as u64)
    };
    let longest = outcomes.iter().map(judged).fold(0.0, f64::max);
    let bound = bounded.then(|| policies.last().cloned()).flatten();
    let incumbent = incumbent.filter(|_| bounded).map(|at| contenders[at].name.clone());
    Summary { policies, bound, incumbent, workloads, warmup, samples, skipped, longest }
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
        footprint_median: None,
        over_ratio: total.over_ratio(),
        events_per_day: total.events_per_day(),
        resizes_per_day: total.resizes_per_day(),
        resizes: Kinds::of(&total),
        judged_ratio: 1.0,
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

fn closed(world: &World, outcomes: &[&Outcome]) -> ClosedLoop {
    let mut total = Lived::default();
    let lived = outcomes.iter().filter_map(|it| world.lanes.get(it.lane).copied().flatten());
    lived.for_each(|it| total.add(&it));
    let [cpu, memory] = &total.figures;
    let resource = |it: &Figures| ClosedResource { footprint: it.footprint(), resizes: Kinds::of(it) };
    // Where one resource was not recorded, the other knows how long it was.
    let longer = if cpu.hours > memory.hours { cpu } else { memory };
    ClosedLoop {
        cpu: resource(cpu),
        memory: resource(memory),
        kills_per_day: longer.per_day(total.kills),
        restarts_per_day: longer.per_day(total.restarts),
        cpu_over_ratio: cpu.over_ratio(),
        late_core_hours: total.late / 1000.0,
        waited_hours: total.waited,
        nodes: world.nodes,
        unplaced: total.unplaced,
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
