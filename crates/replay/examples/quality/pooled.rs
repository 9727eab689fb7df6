//! Several pods of one workload, as `supple replay` and the controller see them: one recommender for all of them.
//!
//! None of the shared recordings has two pods of a workload, so they are made of what was recorded: every series becomes some pods that
//! follow it, each at its own level and with a noise of its own, as behind a load balancer. That is no recording of pods. It tells
//! whether judging them together costs what judging each alone does.

use supple_recommend::baseline::{autopilot::Autopilot, newsvendor::Newsvendor, percentile, vpa::Vpa};
use supple_recommend::policy::Policy;
use supple_recommend::resource::Resource;
use supple_recommend::sample::Sample;
use supple_replay::decide::Decide;
use supple_replay::figures::Figures;
use supple_replay::workload::{Intervals, Workload, recorded};

use crate::judge::{Make, cost, judge, on_all_cores, ours, total};
use crate::rows::dice;
use crate::sets::{Set, each};

/// Pods of a workload.
const PODS: u32 = 6;

/// Of the series of a half every so many-th is taken, for time's sake.
const EVERY: usize = 3;

/// One pod's share of what was recorded: its level, 5 % up and down, and a noise of 10 %.
fn pod(samples: &[Sample], pod: u32) -> Vec<Sample> {
    let level = 1.0 + 0.05 * (2.0 * f64::from(pod) / f64::from(PODS - 1) - 1.0);
    let mut made = samples.to_vec();
    for (at, sample) in (0..).zip(&mut made) {
        let factor = level * (0.95 + 0.1 * dice(i64::from(pod), at, 7));
        // They are not asked all in the same second.
        sample.time += i64::from(pod);
        sample.cpu = sample.cpu.map(|it| it * factor);
        sample.memory = sample.memory.map(|it| it * factor);
    }
    made
}

/// Pods of one workload after each other under one strategy for all.
fn together(pods: &[Vec<Sample>], warmup: i64, resource: Resource, make: &Make<'_>) -> Figures {
    let mut workload = Workload::new(vec![(make(), Decide::default())], warmup);
    let mut intervals = vec![Intervals::default(); pods.len()];
    for at in 0..pods.first().map_or(0, Vec::len) {
        for ((number, pod), interval) in (0..).zip(pods).zip(&mut intervals) {
            if let Some(hours) = interval.next(pod[at].time, recorded(&pod[at])) {
                workload.put(number, &pod[at], hours, |_| {});
            }
        }
    }
    workload.runners()[0].figures[usize::from(resource == Resource::Memory)]
}

/// J of pods that are judged together, and of the same pods each judged alone.
pub fn table(sets: &[Set]) {
    println!("\n### Pods of a workload together\n");
    println!(
        "| half | set | resource | supple, each pod alone: J, over | together: J, over | J by the best baseline's |"
    );
    println!("|---|---|---|---|---|---|");
    let policy = Policy::default();
    each(sets, |half, set, resource, series| {
        let few: Vec<Vec<Sample>> = series.iter().step_by(EVERY).cloned().collect();
        let pods = |samples: &[Sample]| (0..PODS).map(|it| pod(samples, it)).collect::<Vec<_>>();
        let pooled =
            |make: &Make<'_>| on_all_cores(&few, |samples| together(&pods(samples), set.warmup, resource, make));
        let each_alone: Vec<Vec<Sample>> = few.iter().flat_map(|it| pods(it)).collect();
        let alone = judge(&each_alone, set.warmup, resource, &|| ours(&policy));
        let own = pooled(&|| ours(&policy));
        let baselines: [&Make<'_>; 5] = [
            &|| Box::new(Vpa::default()),
            &|| Box::new(Autopilot::default()),
            &|| Box::new(percentile::Percentile::new(percentile::Rule::krr())),
            &|| Box::new(percentile::Percentile::new(percentile::Rule::p95())),
            &|| Box::new(Newsvendor::default()),
        ];
        let best = baselines.iter().map(|make| cost(&pooled(make), resource)).fold(f64::INFINITY, f64::min);
        let told = |all: &[Figures]| {
            let total = total(all);
            let over = match resource {
                Resource::Cpu => format!("{:.2} %", total.over_ratio() * 100.0),
                Resource::Memory => format!("{:.3} a day", total.events_per_day()),
            };
            format!("{:.3}, {over}", cost(all, resource))
        };
        let ratio = cost(&own, resource) / best;
        println!("| {half} | {} | {resource:?} | {} | {} | {ratio:.2} |", set.name, told(&alone), told(&own));
    });
}
