//! What a Vertical Pod Autoscaler's checkpoint becomes: sizes near what was in it, and days in their order.

use std::collections::BTreeMap;

use supple_recommend::import::{Checkpoint, ImportError};
use supple_recommend::policy::Policy;
use supple_recommend::resource::Resource;
use supple_recommend::sample::{Sample, Size, amount};
use supple_recommend::state::{HOUR, State};
use supple_recommend::supple::Supple;

const MEBI: f64 = 1_048_576.0;
const DAY: i64 = 86_400;
const NOW: i64 = 20_000 * DAY;

fn checkpoint(days: i64, cpu: &[(u16, u32)], memory: &[(u16, u32)]) -> Checkpoint {
    let map = |it: &[(u16, u32)]| it.iter().copied().collect::<BTreeMap<_, _>>();
    let samples = days.unsigned_abs() * 1440;
    Checkpoint { cpu: map(cpu), memory: map(memory), first: NOW - days * DAY, last: NOW, samples }
}

/// What is advised on a checkpoint alone: thousandths of a core, mebibytes.
#[track_caller]
fn check(
    checkpoint: &Checkpoint,
    cpu: Option<std::ops::RangeInclusive<i64>>,
    memory: Option<std::ops::RangeInclusive<f64>>,
) {
    let mut state = State::from_vpa(checkpoint).expect("a checkpoint as VPA writes it");
    let advice = state.advise(&Policy::default(), (None, None));
    let (got_cpu, got_memory) = (advice.cpu.map(|it| it.request), advice.memory.map(|it| amount(it.request) / MEBI));
    assert_eq!(got_cpu.is_some(), cpu.is_some(), "{checkpoint:?}");
    assert_eq!(got_memory.is_some(), memory.is_some(), "{checkpoint:?}");
    assert!(cpu.zip(got_cpu).is_none_or(|(range, got)| range.contains(&got)), "{got_cpu:?} of {checkpoint:?}");
    assert!(memory.zip(got_memory).is_none_or(|(range, got)| range.contains(&got)), "{got_memory:?} of {checkpoint:?}");
    assert_eq!(State::load(&state.save()), Ok(state));
}

#[test]
fn sizes_are_near_what_was_learned() {
    // 100m is in bucket 8 (95.5m to 110.3m); 300 MiB in bucket 19 (305 to 330 MB).
    check(&checkpoint(8, &[(8, 10_000)], &[(19, 10_000)]), Some(100..=135), Some(300.0..=380.0));
    // A tenth of the time at a core, the rest at 100m: ten minutes in a hundred over would cost more than a core does.
    check(&checkpoint(8, &[(8, 9_000), (36, 1_000)], &[]), Some(950..=1200), None);
    check(&checkpoint(1, &[], &[(19, 10_000)]), None, Some(300.0..=380.0));
    check(&checkpoint(0, &[], &[]), None, None);
}

#[test]
fn days_come_back_in_their_order() {
    // Youngest first: buckets 26, 17, 17, 37. Each day weighs half of the next younger one.
    let weights = [(26, 8_000), (17, 4_000 + 2_000), (37, 1_000)];
    let state = State::from_vpa(&checkpoint(4, &[], &weights)).expect("a checkpoint as VPA writes it");
    let end = |bucket: i32| Resource::Memory.level(1e7 * (1.05_f64.powi(bucket + 1) - 1.0) / 0.05);
    for (day, bucket) in [26, 17, 17, 37].into_iter().enumerate() {
        let age = 24 * i64::try_from(day).expect("a few days") + 12;
        assert_eq!(state.memory.peak(NOW / HOUR - age), end(bucket), "day {day}");
    }
}

#[test]
fn samples_go_on_from_there() {
    let state =
        State::from_vpa(&checkpoint(8, &[(8, 10_000)], &[(19, 10_000)])).expect("a checkpoint as VPA writes it");
    let mut supple = Supple::resume(Policy::default(), state);
    for minute in 1..=90 {
        let sample =
            Sample { time: NOW + minute * 60, cpu: Some(100.0), memory: Some(310.0 * MEBI), ..Sample::default() };
        supple.observe(0, &sample);
    }
    let advice = supple.advise(0, NOW + 90 * 60, &Size::default());
    let (cpu, memory) = (advice.cpu.expect("measured"), advice.memory.expect("measured"));
    assert!((100..=130).contains(&cpu.request), "{cpu:?}");
    assert!((310.0..=380.0).contains(&(amount(memory.request) / MEBI)), "{memory:?}");
    // Eight days are known, not an hour and a half.
    assert!(cpu.account.hours > 150 && cpu.confidence.value > 0.9, "{cpu:?}");
}

#[test]
fn what_no_vpa_says_is_refused() {
    let wrong = checkpoint(1, &[(176, 1)], &[]);
    assert_eq!(State::from_vpa(&wrong), Err(ImportError::Bucket(176)));
    let wrong = Checkpoint { first: NOW + 1, ..checkpoint(1, &[], &[]) };
    assert_eq!(State::from_vpa(&wrong).map_err(|it| it.reason()), Err("CheckpointTimes"));
}
