//! Every figure of `-o json` from what anyone has: the recording and `--emit`, by the rules that `docs/replay.md` states, and by
//! nothing of ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// One row of a recording: time, and CPU (cores) and memory (bytes) where they were measured.
type Row = (i64, [Option<f64>; 2]);

/// A size in force from a time on: CPU request and limit, memory request and limit.
type InForce = (i64, [Option<f64>; 4]);

/// Namespace, workload, container, and pods.
type Pods<T> = BTreeMap<[String; 3], BTreeMap<String, Vec<T>>>;

/// What a container's pods came to.
#[derive(Clone, Debug, Default)]
struct Sums {
    samples: f64,
    hours: f64,
    reserved: f64,
    used: f64,
    slack: f64,
    over: f64,
    events: f64,
    resizes: f64,
    footprints: Vec<f64>,
}

/// Lines of values.
fn lines(text: &str) -> impl Iterator<Item = Vec<String>> + '_ {
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect())
}

fn number(text: &str) -> Option<f64> {
    (!text.is_empty()).then(|| text.parse().unwrap())
}

/// How long every sample of a pod's resource stands for, in hours.
fn hours(times: &[i64]) -> Vec<f64> {
    let mut all = vec![0];
    let (mut usual, mut gaps, mut gap_before) = (None, 0, 0);
    for pair in times.windows(2) {
        let step = pair[1] - pair[0];
        let u = *usual.get_or_insert(step);
        if step <= 3 * u {
            gaps = i64::max(gaps - 1, 0);
            all.push(step);
            usual = Some(i64::max(if step < u { (7 * u + step) / 8 } else { (3 * u + step) / 4 }, 1));
            continue;
        }
        gaps += 4;
        let shorter = step.min(gap_before);
        gap_before = step;
        if gaps >= 8 {
            (gaps, usual) = (0, Some(shorter));
            all.push(if step > 3 * shorter { shorter } else { step });
        } else {
            all.push(u);
        }
    }
    all.into_iter().map(|seconds| seconds as f64 / 3600.0).collect()
}

/// One resource of all pods of a container. `begin`: the first moment that counts.
fn sum(pods: &BTreeMap<String, Vec<Row>>, sizes: &BTreeMap<String, Vec<InForce>>, resource: usize, begin: i64) -> Sums {
    let mut sums = Sums::default();
    for (pod, rows) in pods {
        let of_pod: &[InForce] = sizes.get(pod).map_or(&[], |it| it);
        let rows: Vec<(i64, f64)> = rows.iter().filter_map(|it| Some((it.0, it.1[resource]?))).collect();
        let stands_for = hours(&rows.iter().map(|it| it.0).collect::<Vec<_>>());
        let (mut reserved, mut used_by_it, mut was_over) = (0.0, 0.0, false);
        for ((time, used), hours) in rows.iter().zip(stands_for) {
            let in_force = of_pod.iter().rfind(|it| it.0 <= *time).map(|it| it.1);
            let Some(size) = in_force else { continue };
            let Some(request) = size[2 * resource].filter(|_| *time >= begin) else { continue };
            let is_over = *used > size[2 * resource + 1].unwrap_or(request);
            sums.samples += 1.0;
            sums.hours += hours;
            reserved += request * hours;
            used_by_it += used * hours;
            sums.slack += (request - used).max(0.0) * hours;
            sums.over += f64::from(u8::from(is_over));
            sums.events += f64::from(u8::from(is_over && !was_over));
            was_over = is_over;
        }
        for pair in of_pod.windows(2) {
            let of = |it: &InForce| [it.1[2 * resource], it.1[2 * resource + 1]];
            // In force a second after the sample that led to it. The first size changes none.
            let had = of(&pair[0])[0].is_some();
            let counts = pair[1].0 > begin && had && of(&pair[0]) != of(&pair[1]);
            sums.resizes += f64::from(u8::from(counts));
        }
        sums.reserved += reserved;
        sums.used += used_by_it;
        sums.footprints.extend((used_by_it > 0.0).then(|| reserved / used_by_it));
    }
    sums
}

#[track_caller]
fn check(told: &Value, key: &str, wanted: Option<f64>, of: &str) {
    let told = told[key].as_f64();
    let same = match (told, wanted) {
        (Some(told), Some(wanted)) => (told - wanted).abs() <= 1e-9 * wanted.abs().max(1.0),
        (told, wanted) => told == wanted,
    };
    assert!(same, "{of}, {key}: {told:?} and not {wanted:?}");
}

/// What is told of one resource, of all these containers together.
#[track_caller]
fn check_all(told: &Value, all: &[Sums], resource: usize, of: &str) {
    let total = |of: fn(&Sums) -> f64| all.iter().map(of).sum::<f64>();
    let (samples, hours, used) = (total(|it| it.samples), total(|it| it.hours), total(|it| it.used));
    let a_day = |number: f64| Some(if hours > 0.0 { number * 24.0 / hours } else { 0.0 });
    check(told, "footprint", (used > 0.0).then(|| total(|it| it.reserved) / used), of);
    let mut footprints: Vec<f64> = all.iter().flat_map(|it| it.footprints.clone()).collect();
    footprints.sort_by(f64::total_cmp);
    let (half, odd) = (footprints.len() / 2, footprints.len() % 2 == 1);
    let median = (!footprints.is_empty())
        .then(|| if odd { footprints[half] } else { (footprints[half - 1] + footprints[half]) / 2.0 });
    check(told, "footprint_median", median, of);
    check(told, "over_ratio", Some(if samples > 0.0 { total(|it| it.over) / samples } else { 0.0 }), of);
    check(told, "events_per_day", a_day(total(|it| it.events)), of);
    check(told, "resizes_per_day", a_day(total(|it| it.resizes)), of);
    let unit = [1.0, 1_073_741_824.0][resource];
    check(told, "slack_hours", Some((total(|it| it.reserved) - used) / unit), of);
    let costs: Vec<f64> = all
        .iter()
        .filter(|it| it.hours > 0.0)
        .map(|it| {
            let mean = (it.used / it.hours).max([0.001, 1_048_576.0][resource]);
            let incidents = [it.over, 24.0 * it.events][resource];
            (it.slack / mean + incidents + it.resizes) / it.hours
        })
        .collect();
    check(told, "j", (!costs.is_empty()).then(|| costs.iter().sum::<f64>() / costs.len() as f64), of);
}

/// A row of a made recording, where CPU, memory or both were measured.
fn row(workload: &str, pod: &str, time: i64, (cpu, memory): (Option<i64>, Option<i64>)) -> (i64, String) {
    let cpu = cpu.map_or_else(String::new, |it| format!("0.{it:03}"));
    let memory = memory.map_or_else(String::new, |it| it.to_string());
    (time, format!("{time},made,{workload},{pod},app,{cpu},{memory},1,{},0", 320_000_000))
}

/// Three pods of a workload whose times differ, with hours that are missing, values that are missing, and surges.
fn uneven() -> Vec<(i64, String)> {
    let mut rows = Vec::new();
    for (pod, offset, every) in [("a", 0, 60), ("b", 17, 300), ("c", 90_000, 60)] {
        let mut time = offset;
        while time < 3 * 86_400 {
            let hour = time / 3600;
            let surge = if (hour + offset) % 13 == 0 { 3 } else { 1 };
            let wave = (time / every * 7919 + offset) % 100;
            let cpu = (time % 7 != 3).then_some((100 + wave) * surge);
            let memory = (time % 11 != 5).then_some(100_000_000 * surge + wave * 300_000);
            rows.push(row("uneven", pod, time, (cpu, memory)));
            // Every tenth hour a gap of two.
            let gap = hour % 10 == 9 && time % 3600 >= 3000;
            time += if gap { 7200 } else { every };
        }
    }
    rows
}

/// Pods of a workload whose CPU and memory were not measured together: a second apart, and memory at each fourth time alone.
fn apart() -> Vec<(i64, String)> {
    let used = |time: i64| (100 + time * 7919 % 100, 100_000_000 + time * 7919 % 100 * 300_000);
    let (second, fourth) = ((0..3 * 1440).map(|it| it * 60), (0..3 * 5760).map(|it| it * 15));
    let second = second.flat_map(|time| {
        let (cpu, memory) = used(time);
        [row("apart", "second", time, (Some(cpu), None)), row("apart", "second", time + 1, (None, Some(memory)))]
    });
    let fourth = fourth.map(|time| {
        let (cpu, memory) = used(time);
        row("apart", "fourth", time, (Some(cpu), (time % 60 == 0).then_some(memory)))
    });
    second.chain(fourth).collect()
}

/// A pod with two gaps close to one another, a burst of samples, pairs of them, and another interval from then on; twice.
fn changing() -> Vec<(i64, String)> {
    let steps = [(60, 1500), (7200, 1), (60, 5), (900, 1), (60, 300), (1, 30), (60, 50), (300, 200)];
    let pairs = [(1, 1), (299, 1), (1, 1), (299, 1), (1, 1), (299, 1), (1, 1), (299, 1)];
    let steps = steps.into_iter().chain(pairs).chain([(600, 3), (60, 1)]);
    let steps: Vec<i64> = steps.flat_map(|(step, times)| std::iter::repeat_n(step, times)).collect();
    let mut time = 0;
    let at = steps.iter().chain(&steps).map(|step| {
        time += step;
        row("changing", "d", time, (Some(100 + time / 60 % 100), Some(100_000_000 + time / 60 % 200 * 1_000_000)))
    });
    at.collect()
}

/// A recording of all these.
fn made_up() -> String {
    let mut rows = [uneven(), apart(), changing()].concat();
    rows.sort_by_key(|it| it.0);
    let rows: Vec<String> = rows.into_iter().map(|it| it.1).collect();
    let head = "time,namespace,workload,pod,container,cpu_cores,memory_bytes,cpu_limit,memory_limit,restarts";
    format!("{head}\n{}\n", rows.join("\n"))
}

#[test]
fn every_figure_can_be_recomputed_from_the_recording_and_the_emitted_sizes() {
    const WARMUP: i64 = 86_400;
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../replay/fixtures");
    let files = [
        fixtures.join("google-2011-jobs.csv"),
        fixtures.join("crane-apps.csv"),
        // Less than a day: nothing of it is in any figure.
        fixtures.join("nezha-pods.csv"),
        made("made-up.csv", &made_up()),
    ];
    let limited = made("limited.yaml", "controlledValues: RequestsAndLimits\nthreshold: 0.1\ncoolDown: 1h\n");
    let emitted = folder.path().join("sizes.csv");
    let output = Command::new(env!("CARGO_BIN_EXE_supple"))
        .args(["replay", "--against", "vpa,krr,p95,autopilot,newsvendor,static,none", "--warmup", "24h", "-o", "json"])
        .args([Path::new("--policy"), &limited, Path::new("--emit"), &emitted])
        .args(&files)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();

    let mut recorded = Pods::<Row>::new();
    for file in &files {
        for it in lines(&std::fs::read_to_string(file).unwrap()) {
            let [_, namespace, workload, pod, container, cpu, memory, ..] = &it[..] else { panic!("{it:?}") };
            let of = [namespace.clone(), workload.clone(), container.clone()];
            let row = (it[0].parse().unwrap(), [number(cpu), number(memory)]);
            recorded.entry(of).or_default().entry(pod.clone()).or_default().push(row);
        }
    }
    let mut sizes = BTreeMap::<String, Pods<InForce>>::new();
    let emitted = std::fs::read_to_string(&emitted).unwrap();
    assert_eq!(
        emitted.lines().next(),
        Some("policy,namespace,workload,pod,container,time,cpu_request,cpu_limit,memory_request,memory_limit")
    );
    for it in lines(&emitted) {
        let [policy, namespace, workload, pod, container, time, values @ ..] = &it[..] else { panic!("{it:?}") };
        let of = [namespace.clone(), workload.clone(), container.clone()];
        let size = (time.parse().unwrap(), std::array::from_fn(|at| number(&values[at])));
        let of_policy = sizes.entry(policy.clone()).or_default();
        of_policy.entry(of).or_default().entry(pod.clone()).or_default().push(size);
    }

    let policies = told["policies"].as_array().unwrap();
    let names: Vec<&str> = policies.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["limited", "vpa", "krr", "p95", "autopilot", "newsvendor", "static", "none", "bound"]);
    let workloads = told["workloads"].as_array().unwrap();
    assert_eq!(workloads.len(), recorded.len());
    let none = Pods::new();
    for (which, name) in names.iter().enumerate() {
        let of_policy = sizes.get(*name).unwrap_or(&none);
        for (resource, key) in ["cpu", "memory"].into_iter().enumerate() {
            let mut all = Vec::new();
            for (of, pods) in &recorded {
                let first = pods.values().filter_map(|it| it.first()).map(|it| it.0).min().unwrap();
                let in_force = of_policy.get(of).cloned().unwrap_or_default();
                let sums = sum(pods, &in_force, resource, first + WARMUP);
                let is_it = |it: &&Value| {
                    ["namespace", "workload", "container"].iter().zip(of).all(|(key, of)| it[*key] == **of)
                };
                let told = workloads.iter().find(is_it).unwrap_or_else(|| panic!("{of:?}"));
                assert_eq!(told["policies"][which]["name"], **name);
                check_all(
                    &told["policies"][which][key],
                    std::slice::from_ref(&sums),
                    resource,
                    &format!("{name} {key} of {of:?}"),
                );
                all.push(sums);
            }
            check_all(&policies[which][key], &all, resource, &format!("{name} {key}"));
            // None of it is a comparison of nothing with nothing.
            assert_eq!(all.iter().any(|it| it.samples > 0.0), *name != "none", "{name} {key}");
        }
    }

    assert_eq!(&told["bound"], &policies[names.len() - 1], "told twice");
    for it in workloads {
        assert_eq!((&it["bound"]["name"], &it["bound"]), (&"bound".into(), &it["policies"][names.len() - 1]));
    }
}
