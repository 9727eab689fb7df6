//! The quality tables: every strategy and the bound over the shared recordings, as Markdown.
//!
//! `cargo run --release -p supple-replay --example quality [FOLDER]` reads `FOLDER/*.csv.xz` (default `$SUPPLE_TRACES`, then
//! `../shared/traces`). Tuning looked at the even half of each set only; both halves are printed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use supple_recommend::baseline::{autopilot::Autopilot, percentile, vpa::Vpa};
use supple_recommend::policy::Policy;
use supple_recommend::resource::Resource;
use supple_recommend::sample::Sample;
use supple_recommend::strategy::Strategy;
use supple_recommend::supple::Supple;
use supple_replay::bound::{Bound, Range};
use supple_replay::decide::Decide;
use supple_replay::figures::{Figures, Prices};
use supple_replay::workload::{Interval, Workload};

const NAMES: [&str; 5] = ["supple", "vpa", "autopilot", "krr", "p95"];

/// File, and hours of learning left out.
const SETS: [(&str, i64); 4] =
    [("google-2011-jobs", 24), ("bitbrains-2013-08", 24), ("nezha-pods", 5), ("crane-apps", 24)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).map(PathBuf::from).unwrap_or_else(|| {
        std::env::var_os("SUPPLE_TRACES")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces"), PathBuf::from)
    });
    for half in ["even (tuned on)", "odd (never looked at)"] {
        for resource in [Resource::Cpu, Resource::Memory] {
            println!("\n### {resource:?}, {half}\n");
            println!("| set | | footprint | median | % over | events/day | resizes/day | J | J/J* |");
            println!("|---|---|---|---|---|---|---|---|---|");
            for (set, warmup) in SETS {
                let series = load(&folder.join(format!("{set}.csv.xz")))?;
                table(set, series, warmup, half.starts_with("even"), resource);
            }
        }
    }
    Ok(())
}

fn table(set: &str, series: BTreeMap<String, Vec<Sample>>, warmup: i64, even: bool, resource: Resource) {
    let (prices, least) = match resource {
        Resource::Cpu => (Prices::CPU, 1.0),
        Resource::Memory => (Prices::MEMORY, 1_048_576.0),
    };
    let place = usize::from(resource == Resource::Memory);
    let mut all: Vec<Vec<Figures>> = vec![Vec::new(); NAMES.len() + 1];
    for (at, (name, samples)) in series.iter().enumerate() {
        let number = name.split(|it: char| !it.is_ascii_digit()).find_map(|it| it.parse::<u64>().ok());
        // Pods have no numbers, and the applications' are all even: there the place in the list is halved.
        let number = if matches!(set, "nezha-pods" | "crane-apps") { u64::try_from(at).ok() } else { number };
        if number.is_some_and(|it| it % 2 == 0) != even {
            continue;
        }
        let samples: Vec<Sample> = samples
            .iter()
            .map(|it| if place == 0 { Sample { memory: None, ..*it } } else { Sample { cpu: None, ..*it } })
            .filter(|it| it.cpu.is_some() || it.memory.is_some())
            .collect();
        let span = samples.last().zip(samples.first()).map_or(0, |(last, first)| last.time - first.time);
        if span < (warmup + 6) * 3600 {
            continue;
        }
        for (figures, all) in replay(&samples, warmup * 3600, place, &prices, least).into_iter().zip(&mut all) {
            all.push(figures);
        }
    }
    let cost = |all: &[Figures]| mean(all.iter().filter_map(|it| it.cost(&prices, least)));
    let best = cost(&all[NAMES.len()]);
    for (name, all) in NAMES.iter().chain(&["bound"]).zip(&all).filter(|(_, all)| !all.is_empty()) {
        let mut total = Figures::default();
        all.iter().for_each(|it| total.add(it));
        let mut footprints: Vec<f64> = all.iter().filter_map(Figures::footprint).collect();
        footprints.sort_by(f64::total_cmp);
        let j = cost(all);
        println!(
            "| {set} | {name} | {:.2} | {:.2} | {:.2} | {:.3} | {:.2} | {j:.3} | {:.2} |",
            total.footprint().unwrap_or(f64::NAN),
            footprints.get(footprints.len() / 2).copied().unwrap_or(f64::NAN),
            total.over_ratio() * 100.0,
            total.events_per_day(),
            total.resizes_per_day(),
            j / best,
        );
    }
}

fn replay(samples: &[Sample], warmup: i64, place: usize, prices: &Prices, least: f64) -> Vec<Figures> {
    let strategies: Vec<Box<dyn Strategy + Send>> = vec![
        Box::new(Supple::new(Policy::default())),
        Box::new(Vpa::default()),
        Box::new(Autopilot::default()),
        Box::new(percentile::Percentile::new(percentile::Rule::krr())),
        Box::new(percentile::Percentile::new(percentile::Rule::p95())),
    ];
    let mut workload = Workload::new(strategies.into_iter().map(|it| (it, Decide::default())).collect(), warmup);
    let mut interval = Interval::default();
    let mut range = Range::default();
    let mut counted = Vec::new();
    for sample in samples {
        let Some(hours) = interval.next(sample.time) else { continue };
        if workload.counts(sample.time) {
            let used = sample.cpu.or(sample.memory).unwrap_or(0.0);
            range.put(used, hours);
            counted.push((used, hours));
        }
        workload.put(0, sample, hours, |_| {});
    }
    let mut bound = Bound::new(&range, prices, least);
    counted.iter().for_each(|(used, hours)| bound.put(*used, *hours));
    workload.runners().iter().map(|it| it.figures[place]).chain([bound.figures()]).collect()
}

fn load(path: &Path) -> Result<BTreeMap<String, Vec<Sample>>, Box<dyn std::error::Error>> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    lzma_rs::xz_decompress(&mut std::io::BufReader::new(file), &mut text).map_err(|error| format!("{error:?}"))?;
    let mut series = BTreeMap::<String, Vec<Sample>>::new();
    for line in std::str::from_utf8(&text)?.lines().skip(1) {
        let values: Vec<&str> = line.split(',').collect();
        let sample = Sample {
            time: values[0].parse()?,
            cpu: values[5].parse().ok().map(|it: f64| it * 1000.0),
            memory: values[6].parse().ok(),
            ..Sample::default()
        };
        series.entry(values[2..4].join(",")).or_default().push(sample);
    }
    Ok(series)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, number) = values.fold((0.0, 0.0), |(sum, number), it| (sum + it, number + 1.0));
    sum / number
}
