//! What the baselines say, by value: every expected figure is reckoned here by hand from the definition of the rule.
//!
//! Use is a power of two of the unit (one thousandth of a core, one mebibyte), because these stand on the scale as they are: no
//! figure carries the scale's rounding. `vpa` has its golden vectors in `vpa_golden.rs`.

use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::baseline::autopilot::Autopilot;
use supple_recommend::baseline::fixed::{AsRecorded, Nothing};
use supple_recommend::baseline::newsvendor::Newsvendor;
use supple_recommend::baseline::percentile::{Percentile, Rule};
use supple_recommend::sample::{OutOfMemory, Sample, Size};
use supple_recommend::strategy::Strategy;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
const MEBI: f64 = 1_048_576.0;

/// CPU in thousandths, memory in MiB.
fn sample(time: i64, cpu: f64, memory: f64) -> Sample {
    Sample { time, cpu: Some(cpu), memory: Some(memory * MEBI), ..Sample::default() }
}

/// So many samples of the same use, one every `every` seconds from `from` on.
fn repeat(from: i64, every: i64, count: i64, cpu: f64, memory: f64) -> impl Iterator<Item = Sample> {
    (0..count).map(move |i| sample(from + i * every, cpu, memory))
}

/// What a strategy says of a container without a size after these samples: thousandths of a core and bytes.
fn said(strategy: &mut dyn Strategy, samples: impl Iterator<Item = Sample>) -> (Option<i64>, Option<i64>) {
    let mut now = 0;
    for sample in samples {
        strategy.observe(0, &sample);
        now = sample.time;
    }
    amounts(&strategy.size(0, now, &Size::default()))
}

/// Request of CPU, request of memory; adaptive baselines limit memory alone, at its request.
#[track_caller]
fn amounts(size: &Size) -> (Option<i64>, Option<i64>) {
    assert_eq!((size.cpu_limit, size.memory_limit), (None, size.memory_request), "{size:?}");
    (size.cpu_request.map(|it| it.0), size.memory_request.map(|it| it.0))
}

/// A size of CPU (thousandths) and memory (bytes), as a strategy would have set it.
fn size(cpu: i64, memory: i64) -> Size {
    let memory = Some(Bytes(memory));
    Size { cpu_request: Some(MilliCpu(cpu)), cpu_limit: None, memory_request: memory, memory_limit: memory }
}

/// Bytes of so many MiB and hundredths of one, rounded up.
const fn mebi(hundredths: i64) -> i64 {
    (hundredths * 1_048_576 + 99) / 100
}

#[track_caller]
fn check_percentile(rule: Rule, of: &str, samples: Vec<Sample>, wanted: (Option<i64>, Option<i64>)) {
    assert_eq!(said(&mut Percentile::new(rule), samples.into_iter()), wanted, "{of}");
}

/// `low` samples of 64m and 128 MiB a minute, then `high` of 512m and 256 MiB.
fn mixed(low: i64, high: i64) -> Vec<Sample> {
    repeat(0, MINUTE, low, 64.0, 128.0).chain(repeat(low * MINUTE, MINUTE, high, 512.0, 256.0)).collect()
}

/// CPU: the 95th percentile. Memory: the maximum + 15 %. At least 10m and 100 MiB; nothing under 100 points.
#[test]
fn krr_is_the_percentile_of_cpu_and_the_peak_of_memory() {
    let check = |of: &str, samples, wanted| check_percentile(Rule::krr(), of, samples, wanted);
    // 256 MiB · 1.15 = 294.4 MiB, however seldom they are used.
    check("99 points are too few", mixed(94, 5), (None, None));
    check("95 of 100 samples are 64m: that is the 95th", mixed(95, 5), (Some(64), Some(mebi(29_440))));
    check("94 are, and the 95th of 100 is 512m", mixed(94, 6), (Some(512), Some(mebi(29_440))));
    // 190 of 200 = 95 %; 189 of 200 = 94.5 %.
    check("190 of 200", mixed(190, 10), (Some(64), Some(mebi(29_440))));
    check("189 of 200", mixed(189, 11), (Some(512), Some(mebi(29_440))));
    // 64 MiB · 1.15 = 73.6 MiB, and 4m: both under the floors.
    check("the floors", repeat(0, MINUTE, 100, 4.0, 64.0).collect(), (Some(10), Some(mebi(10_000))));
}

/// The 95th percentile + 15 % of both, from the first sample on.
#[test]
fn p95_is_the_percentile_and_headroom_of_both() {
    let check = |of: &str, samples, wanted| check_percentile(Rule::p95(), of, samples, wanted);
    // 64m · 1.15 = 73.6m, 128 MiB · 1.15 = 147.2 MiB.
    check("one sample is all there is", mixed(1, 0), (Some(74), Some(mebi(14_720))));
    check("95 of 100 are low", mixed(95, 5), (Some(74), Some(mebi(14_720))));
    // 512m · 1.15 = 588.8m, 256 MiB · 1.15 = 294.4 MiB.
    check("94 are", mixed(94, 6), (Some(589), Some(mebi(29_440))));
    // A day of minutes is 1440 samples, of which 5 % are 72.
    check("72 minutes of a day", mixed(1368, 72), (Some(74), Some(mebi(14_720))));
    check("73 minutes of a day", mixed(1367, 73), (Some(589), Some(mebi(29_440))));
}

/// Of two pods of a workload 95 of the 100 samples are low, though of the second only 45 of 50 are. For `p95` they are one window;
/// KRR takes the percentile of each, 64m and 512m, and of these the highest, though neither has the 100 points that both have.
#[test]
fn percentiles_are_of_all_pods_together_but_krr_s_of_each() {
    for (rule, wanted) in
        [(Rule::krr(), (Some(512), Some(mebi(29_440)))), (Rule::p95(), (Some(74), Some(mebi(14_720))))]
    {
        let mut strategy = Percentile::new(rule);
        for (pod, low) in [(0, 50), (1, 45)] {
            for it in mixed(low, 50 - low) {
                strategy.observe(pod, &it);
            }
        }
        assert_eq!(amounts(&strategy.size(1, 50 * MINUTE, &Size::default())), wanted, "{rule:?}");
    }
}

/// What a pod that is gone used leaves with its days, as what any pod used does.
#[test]
fn krr_forgets_pods_that_are_gone() {
    for (days, cpu) in [(13, 512), (14, 64)] {
        let mut strategy = Percentile::new(Rule::krr());
        repeat(0, MINUTE, 200, 512.0, 256.0).for_each(|it| strategy.observe(0, &it));
        repeat(days * DAY, MINUTE, 100, 64.0, 128.0).for_each(|it| strategy.observe(1, &it));
        let size = strategy.size(1, days * DAY + 100 * MINUTE, &Size::default());
        assert_eq!(amounts(&size).0, Some(cpu), "{days} days on");
    }
}

/// Two weeks: day 0 is known on day 13 and no more on day 14.
#[test]
fn a_day_leaves_the_window_of_two_weeks_as_a_whole() {
    for (days, cpu, memory) in [(13, 512, 256), (14, 64, 128)] {
        for (rule, factors) in [(Rule::krr(), (100, 115)), (Rule::p95(), (115, 115))] {
            let first = repeat(0, MINUTE, 1440, 512.0, 256.0);
            // Fewer than 19 times as many after it: while it is known, the percentile is of day 0.
            let later = repeat(days * DAY, MINUTE, 100, 64.0, 128.0);
            let wanted = (Some((cpu * factors.0 + 99) / 100), Some(mebi(memory * factors.1)));
            check_percentile(rule, &format!("{days} days on, {rule:?}"), first.chain(later).collect(), wanted);
        }
    }
}

/// `krr` is run once a day and sets what it says; `p95` hourly, and leaves what is within a tenth.
#[test]
fn percentiles_move_a_size_when_they_are_run_and_it_is_off() {
    let step = |strategy: &mut Percentile, time, in_force: Size| amounts(&strategy.size(0, time, &in_force));
    for (rule, every) in [(Rule::krr(), DAY), (Rule::p95(), HOUR)] {
        let mut strategy = Percentile::new(rule);
        let low = said(&mut strategy, mixed(100, 0).into_iter());
        let at = 99 * MINUTE;
        let in_force = size(low.0.unwrap(), low.1.unwrap());
        // From now on all is high, and 19 times as long as it was low: the percentile is 512m.
        repeat(at + 1, 1, 2000, 512.0, 256.0).for_each(|it| strategy.observe(0, &it));
        assert_eq!(step(&mut strategy, at + every - 1, in_force), low, "{rule:?} is not run yet");
        let high = step(&mut strategy, at + every, in_force);
        assert!(high.0 >= Some(512) && high.1 == Some(mebi(29_440)), "{rule:?} is run: {high:?}");
    }
    // 73.6m: of 67m it is off by 6.6, which is no more than 6.7; of 66m by 7.6, more than 6.6. From above: of 81m by 7.4, no more
    // than 8.1; of 82m by 8.4, more than 8.2. 147.2 MiB: of 140 MiB by 7.2, of 133 MiB by 14.2.
    for (in_force, wanted) in [
        ((67, 14_000), (67, 14_000)),
        ((66, 13_300), (74, 14_720)),
        ((81, 13_300), (81, 14_720)),
        ((82, 14_000), (74, 14_000)),
    ] {
        let mut strategy = Percentile::new(Rule::p95());
        said(&mut strategy, mixed(100, 0).into_iter());
        let now = step(&mut strategy, 99 * MINUTE, size(in_force.0, mebi(in_force.1)));
        assert_eq!(now, (Some(wanted.0), Some(mebi(wanted.1))), "{in_force:?}");
    }
}

#[track_caller]
fn check_autopilot(of: &str, samples: Vec<Sample>, wanted: (Option<i64>, Option<i64>)) {
    assert_eq!(said(&mut Autopilot::default(), samples.into_iter()), wanted, "{of}");
}

fn cpu(samples: impl Iterator<Item = Sample>) -> Vec<Sample> {
    samples.map(|it| Sample { memory: None, ..it }).collect()
}

fn memory(samples: impl Iterator<Item = Sample>) -> Vec<Sample> {
    samples.map(|it| Sample { cpu: None, ..it }).collect()
}

/// CPU: the 95th percentile of a histogram in which a sample weighs by its load, + 15 %.
#[test]
fn autopilot_weighs_by_load() {
    // 39 · 64 = 2496 of 2624 is 95.1 %; 37 · 64 = 2368 of 2496 is 94.9 %, though 37 of 38 samples are low.
    let high_then_low = |low: i64| cpu(repeat(0, 1, 1, 128.0, 0.0).chain(repeat(1, 1, low, 64.0, 0.0)));
    // The maximum of the last hour's values is taken, and the first was 128m · 1.15 = 147.2m: so an hour later.
    let later = |low: i64| high_then_low(low - 1).into_iter().chain(cpu(repeat(HOUR + 60, 1, 1, 64.0, 0.0))).collect();
    check_autopilot("39 of 64m", later(39), (Some(74), None));
    check_autopilot("37 of 64m", later(37), (Some(148), None));
    check_autopilot("39 of 64m, within the hour", high_then_low(39), (Some(148), None));
}

/// CPU weighs half after 12 hours: 8 · 128 = 1024 then are 512 now, which is 5 % of 10,240 = 160 · 64 and the rest.
#[test]
fn autopilot_forgets_half_of_cpu_in_twelve_hours() {
    let past = |low| {
        let first = repeat(0, 1, 8, 128.0, 0.0).chain(repeat(12 * HOUR, 1, low, 64.0, 0.0));
        cpu(first.chain(repeat(13 * HOUR + 300, 1, 1, 64.0, 0.0)))
    };
    // 10,240 of 10,752 is 95.2 %; had nothing been forgotten, 90.9 %.
    check_autopilot("160 samples", past(159), (Some(74), None));
    // 8960 of 9472 is 94.6 %; were it half in six hours, 97.2 %.
    check_autopilot("140 samples", past(139), (Some(148), None));
}

/// Memory: the 98th percentile of the peaks of five minutes, weighing by load and half after 48 hours, + 15 %.
#[test]
fn autopilot_takes_the_peaks_of_five_minutes() {
    let windows = |from, count| repeat(from, 300, count, 0.0, 128.0);
    // One window of 256 MiB, however many samples it had, two days ago: 128 now, a fiftieth of 50 windows of 128 MiB. That
    // takes until the 50th, some hours less what is forgotten meanwhile, and then an hour until the last higher value is past.
    let past = |count| memory(repeat(0, 60, 5, 0.0, 256.0).chain(windows(48 * HOUR, count)));
    check_autopilot("40 windows", past(40), (None, Some(mebi(29_440))));
    check_autopilot("66 windows", past(66), (None, Some(mebi(14_720))));
    // Had every sample counted, 5 · 256; had nothing been forgotten, 98 windows: neither is past after 66.
    // What the running window reached is known, whatever the percentile says.
    let jump = memory(windows(0, 100).chain(repeat(30_001, 1, 1, 0.0, 1024.0)));
    check_autopilot("a jump", jump, (None, Some(mebi(102_400))));
    let past_it = memory(windows(0, 100).chain(repeat(29_999, 1, 1, 0.0, 1024.0)).chain(windows(30_000, 1)));
    // A percentile of 98 would be 128 MiB by count; by load 1024 of 13,824 is 7.4 %: 1024 · 1.15 = 1177.6 MiB.
    check_autopilot("a jump that is past", past_it, (None, Some(mebi(117_760))));
}

/// What is within a tenth stays; a kill is a use of as much as its limit.
#[test]
fn autopilot_leaves_what_is_near_and_learns_of_kills() {
    // 64m · 1.15 = 73.6m and 128 MiB · 1.15 = 147.2 MiB, as for `p95`.
    for (in_force, wanted) in [((67, 14_000), (67, 14_000)), ((66, 13_300), (74, 14_720))] {
        let mut strategy = Autopilot::default();
        said(&mut strategy, repeat(0, 300, 2, 64.0, 128.0));
        let now = amounts(&strategy.size(0, 300, &size(in_force.0, mebi(in_force.1))));
        assert_eq!(now, (Some(wanted.0), Some(mebi(wanted.1))), "{in_force:?}");
    }
    let mut strategy = Autopilot::default();
    said(&mut strategy, repeat(0, 300, 2, 64.0, 128.0));
    strategy.out_of_memory(0, &OutOfMemory { time: 310, limit: Some(Bytes(512 << 20)), request: None, peak: None });
    assert_eq!(amounts(&strategy.size(0, 310, &Size::default())).1, Some(mebi(51_200)));
}

/// The least of slack and price of being over, + 10 %: the price of a CPU sample over is an hour of mean use, that of memory a day.
#[test]
fn newsvendor_is_the_least_expected_cost() {
    let check = |samples: Vec<Sample>, wanted| {
        assert_eq!(said(&mut Newsvendor::default(), samples.into_iter()), wanted);
    };
    let five_minutes =
        |low: i64, high: i64| repeat(0, 300, low, 64.0, 0.0).chain(repeat(low * 300, 300, high, 512.0, 0.0));
    // 9 · 64m and 512m: the mean is 108.8m, the price of a sample (a twelfth of an hour) 12 · 108.8 = 1306. At 64m one sample is
    // over: 1306. At 512m the slack is 9 · 448 = 4032. So 64m · 1.1 = 70.4m.
    check(cpu(five_minutes(9, 1)), (Some(71), None));
    // 6 and 4: the mean is 243.2m, the price 2918. 4 · 2918 = 11,674 against 6 · 448 = 2688: 512m · 1.1 = 563.2m.
    check(cpu(five_minutes(6, 4)), (Some(564), None));
    // Memory, 9 and 1: the price is 24 · 12 · 108.8 MiB = 31,334 MiB: 512 MiB · 1.1 = 563.2 MiB.
    let swapped = five_minutes(9, 1).map(|it| Sample { memory: it.cpu.map(|it| it * MEBI), cpu: None, ..it });
    check(swapped.collect(), (None, Some(mebi(56_320))));
}

/// What a sample over costs is told by how often one pod is asked, and not by how many there are that are asked in turns.
#[test]
fn newsvendor_has_one_price_for_any_number_of_pods() {
    let said = |pods: i64| {
        let mut strategy = Newsvendor::default();
        for (pod, after) in (0..).zip(0..pods) {
            strategy.observe(pod, &cpu(repeat(after, 300, 1, 64.0, 0.0))[0]);
        }
        for round in 1..10 {
            for (pod, after) in (0..).zip(0..pods) {
                let used = if round == 9 { 512.0 } else { 64.0 };
                strategy.observe(pod, &sample(round * 300 + after, used, 0.0));
            }
        }
        amounts(&strategy.size(0, 2700, &Size::default())).0
    };
    assert_eq!((said(1), said(40)), (Some(71), Some(71)));
}

/// `static`: the limits that were recorded last, as requests too; what never was recorded is not set.
#[test]
fn recorded_limits_are_kept_and_nothing_is_nothing() {
    let mut strategy = AsRecorded::default();
    assert_eq!(strategy.size(0, 0, &size(1, 1)), Size::default(), "nothing is recorded yet");
    for (cpu_limit, memory_limit, wanted) in [
        (None, Some(1 << 30), (None, Some(1 << 30))),
        (Some(500), None, (Some(500), Some(1 << 30))),
        (None, None, (Some(500), Some(1 << 30))),
        (Some(250), Some(1 << 29), (Some(250), Some(1 << 29))),
    ] {
        let (cpu_limit, memory_limit) = (cpu_limit.map(MilliCpu), memory_limit.map(Bytes));
        strategy.observe(0, &Sample { cpu_limit, memory_limit, ..sample(0, 9999.0, 9999.0) });
        strategy.out_of_memory(0, &OutOfMemory { time: 0, limit: memory_limit, request: None, peak: Some(1e12) });
        let (cpu, memory) = (wanted.0.map(MilliCpu), wanted.1.map(Bytes));
        let whole = Size { cpu_request: cpu, cpu_limit: cpu, memory_request: memory, memory_limit: memory };
        assert_eq!(strategy.size(0, 0, &size(1, 1)), whole, "{cpu_limit:?} {memory_limit:?}");
    }
    let mut nothing = Nothing;
    nothing.observe(0, &sample(0, 500.0, 500.0));
    assert_eq!(nothing.size(0, 0, &size(500, 500)), Size::default());
}
