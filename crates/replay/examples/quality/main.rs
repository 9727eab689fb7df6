//! The quality tables, as Markdown: every strategy and the bound over the shared recordings, the risk knob, the fast path.
//!
//! `cargo run --release -p supple-replay --example quality [FOLDER]` reads `FOLDER/*.csv.xz` (default `$SUPPLE_TRACES`, then
//! `../shared/traces`). Tuning looked at the even half of each set only; both halves are printed. `cargo xtask tables` puts them into
//! `docs/recommender.md`. With `--short` it stops after what a change of judgement is held against: the sets, the aims and pods together.

mod frontier;
mod hindsight;
mod judge;
mod pooled;
mod risk;
#[path = "../recording/rows.rs"]
#[expect(dead_code, reason = "only its dice are thrown here")]
mod rows;
mod sampling;
mod sets;
mod unforeseen;

use std::path::{Path, PathBuf};

use judge::{Make, cost, judge, least, ours, total};
use sets::{HALVES, Set};
use supple_recommend::baseline::{autopilot::Autopilot, newsvendor::Newsvendor, percentile, vpa::Vpa};
use supple_recommend::policy::Policy;
use supple_recommend::resource::Resource;
use supple_replay::figures::Figures;

const NAMES: [&str; 7] = ["supple", "vpa", "autopilot", "krr", "p95", "newsvendor", "bound"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (options, folders): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|it| it.starts_with("--"));
    let folder = folders.first().map(PathBuf::from).unwrap_or_else(|| {
        std::env::var_os("SUPPLE_TRACES")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces"), PathBuf::from)
    });
    let sets = Set::load(&folder)?;
    let (mut aims, mut ratios) = (Vec::new(), Vec::new());
    for (half, even) in HALVES {
        for resource in [Resource::Cpu, Resource::Memory] {
            println!("\n### {resource:?}, {half}\n");
            println!("| set | | footprint | median | % over | events/day | resizes/day | J | J/J* |");
            println!("|---|---|---|---|---|---|---|---|---|");
            for set in &sets {
                if let Some((aim, ratio)) = table(set, even, resource) {
                    aims.push(format!("| {resource:?}, {half} {aim}"));
                    ratios.push((even, ratio));
                }
            }
        }
    }
    println!("\n### Against the aims\n");
    println!("| half | set | supple J | best baseline J | ratio | J/J* | aim |\n|---|---|---|---|---|---|---|");
    aims.iter().for_each(|it| println!("{it}"));
    for (name, halves) in [("even", &[true][..]), ("odd", &[false]), ("both", &[true, false])] {
        let mean = judge::mean(ratios.iter().filter(|it| halves.contains(&it.0)).map(|it| it.1));
        let met = if mean <= 0.85 { "✓" } else { "✗" };
        println!("| {name}, mean of all | | | | **{mean:.3}** | | ≤ 0.85 {met} |");
    }
    pooled::table(&sets);
    if options.iter().any(|it| it == "--short") {
        return Ok(());
    }
    risk::at_equal_incidents(&sets);
    risk::calibration(&sets);
    frontier::tables(&sets);
    unforeseen::tables(&sets);
    hindsight::table(&sets);
    sampling::table();
    Ok(())
}

/// One set under all strategies; what it comes to against the aims, and J by the best baseline's.
fn table(set: &Set, even: bool, resource: Resource) -> Option<(String, f64)> {
    let series = set.half(even, resource);
    if series.is_empty() {
        return None;
    }
    let policy = Policy::default();
    let makes: [&Make<'_>; 6] = [
        &|| ours(&policy),
        &|| Box::new(Vpa::default()),
        &|| Box::new(Autopilot::default()),
        &|| Box::new(percentile::Percentile::new(percentile::Rule::krr())),
        &|| Box::new(percentile::Percentile::new(percentile::Rule::p95())),
        &|| Box::new(Newsvendor::default()),
    ];
    let mut all: Vec<Vec<Figures>> = makes.map(|make| judge(&series, set.warmup, resource, make)).to_vec();
    all.push(least(&series, set.warmup, resource));
    let costs: Vec<f64> = all.iter().map(|it| cost(it, resource)).collect();
    let bound = costs[NAMES.len() - 1];
    for ((name, all), j) in NAMES.iter().zip(&all).zip(&costs) {
        let total = total(all);
        let mut footprints: Vec<f64> = all.iter().filter_map(Figures::footprint).collect();
        footprints.sort_by(f64::total_cmp);
        println!(
            "| {} | {name} | {:.2} | {:.2} | {:.2} | {:.3} | {:.2} | {j:.3} | {:.2} |",
            set.name,
            total.footprint().unwrap_or(f64::NAN),
            footprints.get(footprints.len() / 2).copied().unwrap_or(f64::NAN),
            total.over_ratio() * 100.0,
            total.events_per_day(),
            total.resizes_per_day(),
            j / bound,
        );
    }
    let baselines = NAMES[1..6].iter().zip(&costs[1..6]);
    let (best, least) = baselines.min_by(|a, b| a.1.total_cmp(b.1))?;
    let aim = match (resource, set.name) {
        (Resource::Cpu, _) => 1.6,
        (Resource::Memory, "nezha-pods") => 10.0,
        (Resource::Memory, _) => 3.0,
    };
    let ratio = costs[0] / bound;
    let met = if ratio <= aim { "✓" } else { "✗" };
    let aim = format!(
        "| {} | {:.3} | {least:.3} ({best}) | {:.2} | {ratio:.2} | ≤ {aim} {met} |",
        set.name,
        costs[0],
        costs[0] / least
    );
    Some((aim, costs[0] / least))
}
