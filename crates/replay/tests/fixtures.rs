//! What must hold on recorded use, whatever the figures are: the bound is the bound, a replay repeats itself, and ours is not
//! dearer than vpa where it must not be. (On CPU of a single quiet day it may be: `docs/recommender.md` has whole recordings.)

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeMap;
use std::path::Path;

use supple_recommend::baseline::{autopilot::Autopilot, percentile, vpa::Vpa};
use supple_recommend::policy::Policy;
use supple_recommend::resource::Resource;
use supple_recommend::sample::Sample;
use supple_recommend::strategy::Strategy;
use supple_recommend::supple::Supple;
use supple_replay::bound::{Bound, Range};
use supple_replay::decide::Decide;
use supple_replay::figures::{Figures, Prices};
use supple_replay::workload::{Change, Interval, Workload};

/// The series of a fixture, one resource each.
fn load(file: &str, resource: Resource) -> Vec<Vec<Sample>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let mut series = BTreeMap::<String, Vec<Sample>>::new();
    for line in text.lines().skip(1) {
        let values: Vec<&str> = line.split(',').collect();
        let number = |at: usize| values[at].parse::<f64>().ok();
        let (cpu, memory) = (number(5).map(|it| it * 1000.0), number(6));
        let sample = Sample { time: values[0].parse().unwrap(), ..Sample::default() };
        let sample = match resource {
            Resource::Cpu => Sample { cpu, ..sample },
            Resource::Memory => Sample { memory, ..sample },
        };
        if sample.cpu.is_some() || sample.memory.is_some() {
            series.entry(values[3].to_owned()).or_default().push(sample);
        }
    }
    series.into_values().collect()
}

fn strategies() -> Vec<Box<dyn Strategy + Send>> {
    vec![
        Box::new(Supple::new(Policy::default())),
        Box::new(Vpa::default()),
        Box::new(Autopilot::default()),
        Box::new(percentile::Percentile::new(percentile::Rule::krr())),
        Box::new(percentile::Percentile::new(percentile::Rule::p95())),
    ]
}

/// Figures of ours, of the others and of the bound, and every change.
fn replay(samples: &[Sample], resource: Resource, warmup: i64) -> (Vec<Figures>, Vec<Change>) {
    let (prices, least) = match resource {
        Resource::Cpu => (Prices::CPU, 1.0),
        Resource::Memory => (Prices::MEMORY, 1_048_576.0),
    };
    let all = strategies().into_iter().map(|it| (it, Decide::default())).collect();
    let (mut workload, mut interval) = (Workload::new(all, warmup), Interval::default());
    let (mut changes, mut counted, mut range) = (Vec::new(), Vec::new(), Range::default());
    for sample in samples {
        let Some(hours) = interval.next(sample.time) else { continue };
        let used = sample.cpu.or(sample.memory).unwrap();
        if workload.counts(sample.time) {
            range.put(used, hours);
            counted.push((used, hours));
        }
        workload.put(0, sample, [hours; 2], |change| changes.push(change));
    }
    let mut bound = Bound::new(&range, &prices, least);
    (0..).zip(&counted).for_each(|(at, (used, hours))| bound.put(at, *used, *hours));
    let figures = workload.runners().iter().map(|it| it.figures[usize::from(resource == Resource::Memory)]);
    (figures.chain([bound.figures()]).collect(), changes)
}

#[track_caller]
fn check(file: &str, resource: Resource, warmup: i64, beats_vpa: bool) {
    let (prices, least) = match resource {
        Resource::Cpu => (Prices::CPU, 1.0),
        Resource::Memory => (Prices::MEMORY, 1_048_576.0),
    };
    let all = load(file, resource);
    assert!(!all.is_empty(), "{file} has {resource:?}");
    let mut sums = [0.0; 6];
    for samples in &all {
        let (figures, changes) = replay(samples, resource, warmup);
        let again = replay(samples, resource, warmup);
        assert_eq!((&figures, &changes), (&again.0, &again.1), "{file}, {resource:?}: the same twice");
        for (sum, figures) in sums.iter_mut().zip(&figures) {
            *sum += figures.cost(&prices, least).unwrap();
        }
    }
    let [costs @ .., bound] = sums;
    for (cost, name) in costs.iter().zip(["ours", "vpa", "autopilot", "krr", "p95"]) {
        // One per cent is what the grid of sizes may cost.
        assert!(bound <= cost * 1.01, "{file}, {resource:?}: {name} at {cost} beats the bound at {bound}");
    }
    let [ours, vpa, ..] = costs;
    assert!(!beats_vpa || ours <= vpa, "{file}, {resource:?}: ours at {ours} is dearer than vpa at {vpa}");
}

#[test]
fn google_jobs() {
    check("google-2011-jobs.csv", Resource::Cpu, 86_400, false);
    check("google-2011-jobs.csv", Resource::Memory, 86_400, true);
}

#[test]
fn nezha_pods() {
    check("nezha-pods.csv", Resource::Cpu, 5 * 3600, false);
    check("nezha-pods.csv", Resource::Memory, 5 * 3600, true);
}

#[test]
fn crane_apps() {
    check("crane-apps.csv", Resource::Cpu, 86_400, false);
}

#[test]
fn whole_recordings_have_their_licence_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let told = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".csv") else { continue };
        let licence = format!("{stem}.LICENSE");
        assert!(told.contains(&name), "{name} is not in the README");
        assert!(folder.join(&licence).exists() || told.contains("CC BY 4.0"), "{name} has no licence");
        assert!(stem == "google-2011-jobs" || folder.join(&licence).exists(), "{licence} is missing");
    }
}
