//! The one knob: what it buys against `vpa` at the same incidents, and whether a stated risk holds on time never seen.

use supple_recommend::baseline::vpa::Vpa;
use supple_recommend::policy::{Policy, Risk};
use supple_recommend::resource::Resource;
use supple_recommend::sample::Sample;
use supple_replay::figures::{Figures, count};

use crate::judge::{judge, least, ours, total};
use crate::sets::{HALVES, Set, each};

/// Factors on the price of an incident, from careless to careful.
const FACTORS: [f64; 19] =
    [0.25, 0.35, 0.5, 0.6, 0.7, 0.85, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0, 22.0, 32.0, 45.0, 64.0];

/// What is counted as incidents: kills a day, or the share of samples over.
fn incidents(it: &Figures, resource: Resource) -> f64 {
    match resource {
        Resource::Cpu => it.over_ratio() * 100.0,
        Resource::Memory => it.events_per_day(),
    }
}

/// Excess of the footprint over the bound's, at no more incidents than `vpa` has.
pub fn at_equal_incidents(sets: &[Set]) {
    println!("\n### At no more incidents than vpa\n");
    println!(
        "Incidents are kills a day (memory) and per cent of samples over (CPU). The price of an incident is raised or lowered by the factor until there are no more than vpa has; of those factors the one with the smallest footprint is shown.\n"
    );
    println!(
        "| half | set | resource | vpa: footprint, incidents | factor | supple: footprint, incidents | bound | excess by vpa's | aim |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    each(sets, |half, set, resource, series| {
        let vpa = total(&judge(series, set.warmup, resource, &|| Box::new(Vpa::default())));
        let bound = total(&least(series, set.warmup, resource));
        let allowed = incidents(&vpa, resource);
        let mut best: Option<(f64, Figures)> = None;
        for factor in FACTORS {
            let mut policy = Policy::default();
            policy.cpu.incident *= factor;
            policy.memory.incident *= factor;
            let it = total(&judge(series, set.warmup, resource, &|| ours(&policy)));
            let smaller = best.as_ref().is_none_or(|(_, best)| it.reserved < best.reserved);
            if incidents(&it, resource) <= allowed && smaller {
                best = Some((factor, it));
            }
        }
        let footprint = |it: &Figures| it.footprint().unwrap_or(f64::NAN);
        let told = |it: &Figures| format!("{:.2}, {:.3}", footprint(it), incidents(it, resource));
        let aim = if resource == Resource::Cpu { 0.67 } else { 0.5 };
        let (factor, own, excess, met) = match &best {
            None => ("-".to_owned(), "at no factor tried".to_owned(), "-".to_owned(), false),
            Some((factor, it)) => {
                let excess = (footprint(it) - footprint(&bound)) / (footprint(&vpa) - footprint(&bound));
                (factor.to_string(), told(it), format!("{excess:.2}"), excess <= aim)
            }
        };
        println!(
            "| {half} | {} | {resource:?} | {} | {factor} | {own} | {:.2} | {excess} | ≤ {aim} {} |",
            set.name,
            told(&vpa),
            footprint(&bound),
            if met { "✓" } else { "✗" }
        );
    });
}

/// Stated risks against what happened in the second half of every series, the first half being learning time.
pub fn calibration(sets: &[Set]) {
    println!("\n### Did the stated risk hold on held-out time?\n");
    println!(
        "The first half of every series is learned from, the second half is judged. *All* is the rate over all series together; *kept* the share of series within the stated rate.\n"
    );
    println!("| set | resource | stated | happened, all | kept |\n|---|---|---|---|---|");
    for (resource, stated) in [
        (Resource::Memory, ["1 per 3 days", "1 per 10 days", "1 per 30 days"]),
        (Resource::Cpu, ["2 % of time", "1 % of time", "0.5 % of time"]),
    ] {
        for set in sets {
            let series: Vec<Vec<Sample>> = HALVES.iter().flat_map(|(_, even)| set.half(*even, resource)).collect();
            for words in stated.iter().filter(|_| !series.is_empty()) {
                let Ok(risk) = Risk::of(resource, words) else { continue };
                let mut policy = Policy::default();
                match resource {
                    Resource::Cpu => policy.cpu.risk = Some(risk),
                    Resource::Memory => policy.memory.risk = Some(risk),
                }
                let judged: Vec<Figures> = series.iter().map(|it| second_half(it, resource, &policy)).collect();
                let rate = |it: &Figures| match resource {
                    Resource::Cpu => it.over_ratio(),
                    Resource::Memory => it.events_per_day() / 24.0,
                };
                let kept = judged.iter().filter(|it| rate(it) <= risk.per_hour()).count();
                let all = total(&judged);
                let happened = match resource {
                    Resource::Cpu => format!("{:.2} % of time", all.over_ratio() * 100.0),
                    Resource::Memory => match all.events_per_day() {
                        0.0 => "none".to_owned(),
                        rate => format!("1 per {:.1} days", 1.0 / rate),
                    },
                };
                let whole = count(u64::try_from(judged.len()).unwrap_or(1));
                let kept = count(u64::try_from(kept).unwrap_or(0)) / whole * 100.0;
                println!("| {} | {resource:?} | {words} | {happened} | {kept:.0} % |", set.name);
            }
        }
    }
}

fn second_half(samples: &[Sample], resource: Resource, policy: &Policy) -> Figures {
    let span = samples.last().zip(samples.first()).map_or(0, |(last, first)| last.time - first.time);
    total(&judge(&[samples.to_vec()], span / 2, resource, &|| ours(policy)))
}
