//! What must hold of the recommender whatever it is fed.

use proptest::prelude::*;
use supple_quantity::Bytes;
use supple_recommend::codec::MOST;
use supple_recommend::policy::{Policy, Risk};
use supple_recommend::sample::{OutOfMemory, Sample, Size, amount};
use supple_recommend::state::{Cursor, State, Taken};
use supple_recommend::strategy::Strategy;
use supple_recommend::supple::Supple;

const MEBI: f64 = 1_048_576.0;

/// A walk of use: cores from 1m to 8, memory from 1 MiB to 8 GiB, a sample every five minutes with some gaps.
fn samples() -> impl Strategy_<Value = Vec<Sample>> {
    prop::collection::vec((0.0f64..13.0, 0.0f64..13.0, 1i64..4), 1..400).prop_map(|steps| {
        let mut time = 0;
        steps
            .into_iter()
            .map(|(cpu, memory, gap)| {
                time += 300 * gap;
                Sample { time, cpu: Some(cpu.exp2()), memory: Some(memory.exp2() * MEBI), ..Sample::default() }
            })
            .collect()
    })
}

use proptest::strategy::Strategy as Strategy_;

fn fed(samples: &[Sample]) -> State {
    let (mut state, mut cursor) = (State::default(), Cursor::default());
    for sample in samples {
        state.observe(&mut cursor, sample, &Policy::default());
    }
    state
}

fn risky(share: f64) -> Policy {
    let mut policy = Policy::default();
    policy.cpu.risk = Some(Risk::Share(share));
    policy.memory.risk = Some(Risk::Rate { count: share * 10.0, seconds: 86_400.0 });
    policy
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bounds_enclose_the_request(samples in samples(), in_force in prop::option::of(1i64..10_000)) {
        let advice = fed(&samples).advise(&Policy::default(), (in_force, in_force.map(|it| it << 20)));
        for part in [advice.cpu, advice.memory].into_iter().flatten() {
            prop_assert!(part.lower <= part.request && part.request <= part.upper, "{part:?}");
            prop_assert!((0.0..=1.0).contains(&part.confidence.value), "{part:?}");
        }
    }

    #[test]
    fn saved_and_loaded_is_the_same(samples in samples()) {
        let mut state = fed(&samples);
        state.out_of_memory(&OutOfMemory { time: 1_000_000, limit: Some(Bytes(1 << 30)), request: None, peak: None });
        prop_assert_eq!(State::load(&state.save()), Ok(state));
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_break(bytes in prop::collection::vec(any::<u8>(), 0..700), samples in samples(), at in 0usize..300) {
        let _ = State::load(&bytes);
        let mut saved = fed(&samples).save();
        let place = at % saved.len();
        saved[place] ^= 0x55;
        if let Ok(state) = State::load(&saved) {
            let _ = state.advise(&Policy::default(), (None, None));
        }
        prop_assert!(State::load(&saved[..place]).is_err());
    }

    #[test]
    fn less_risk_never_lowers_the_upper_bound_or_the_lower(samples in samples()) {
        let state = fed(&samples);
        let (bold, careful) = (state.advise(&risky(0.05), (None, None)), state.advise(&risky(0.001), (None, None)));
        for (bold, careful) in [(bold.cpu, careful.cpu), (bold.memory, careful.memory)] {
            let (bold, careful) = (bold.unwrap(), careful.unwrap());
            prop_assert!(bold.upper <= careful.upper, "{bold:?} {careful:?}");
        }
    }

    #[test]
    fn a_merge_with_nothing_is_nothing_and_order_does_not_matter(a in samples(), b in samples()) {
        let (a, b) = (fed(&a), fed(&b));
        let mut alone = a;
        alone.merge(&State::default());
        prop_assert_eq!(alone, a);
        let (mut ab, mut ba) = (a, b);
        ab.merge(&b);
        ba.merge(&a);
        prop_assert_eq!(ab.memory.week, ba.memory.week);
        prop_assert_eq!(ab.memory.open, ba.memory.open);
    }

    #[test]
    fn two_pods_merged_are_two_pods_fed_as_far_as_memory_goes(samples in samples()) {
        let (odd, even): (Vec<_>, Vec<_>) = samples.iter().enumerate().partition(|(i, _)| i % 2 == 1);
        let only = |it: Vec<(usize, &Sample)>| -> Vec<Sample> { it.into_iter().map(|(_, it)| *it).collect() };
        let mut merged = fed(&only(odd));
        merged.merge(&fed(&only(even)));
        let whole = fed(&samples);
        prop_assume!(whole.shift.is_none() && merged.shift.is_none());
        prop_assert_eq!(merged.memory.open, whole.memory.open);
        prop_assert_eq!(merged.memory.week, whole.memory.week);
    }

    #[test]
    fn anything_may_come_in(values in prop::collection::vec((any::<i32>(), any::<f64>(), any::<f64>(), any::<f64>(), any::<i32>()), 1..100)) {
        let mut strategy = Supple::new(Policy::default());
        let mut size = Size::default();
        for (time, cpu, memory, throttled, limit) in values {
            let time = i64::from(time);
            let memory_limit = Some(Bytes(i64::from(limit)));
            let sample = Sample { time, cpu: Some(cpu), memory: Some(memory), throttled: Some(throttled), memory_limit, ..Sample::default() };
            strategy.observe(0, &sample);
            strategy.out_of_memory(0, &OutOfMemory { time, limit: memory_limit, request: None, peak: Some(memory) });
            size = strategy.size(0, time, &size);
            prop_assert!(size.cpu_request.is_none_or(|it| it.0 >= 1));
            prop_assert!(size.memory_request.is_none_or(|it| it.0 >= 1));
        }
    }
}

/// Feeds a shape of memory (MiB) and CPU (thousandths), a sample every minute.
fn shaped(minutes: i64, shape: impl Fn(i64) -> (f64, f64)) -> (Supple, Size) {
    let mut strategy = Supple::new(Policy::default());
    let mut size = Size::default();
    for minute in 0..minutes {
        let (cpu, memory) = shape(minute);
        strategy.observe(
            0,
            &Sample { time: minute * 60, cpu: Some(cpu), memory: Some(memory * MEBI), ..Sample::default() },
        );
        size = strategy.size(0, minute * 60, &size);
    }
    (strategy, size)
}

fn mebi(size: &Size) -> f64 {
    amount(size.memory_limit.map_or(0, |it| it.0)) / MEBI
}

fn milli(size: &Size) -> i64 {
    size.cpu_request.map_or(0, |it| it.0)
}

const DAY: i64 = 1440;

#[test]
fn a_steady_container_gets_a_small_margin() {
    let (_, size) = shaped(3 * DAY, |_| (100.0, 300.0));
    assert!((300.0..=331.0).contains(&mebi(&size)), "{size:?}");
    assert!((100..115).contains(&milli(&size)), "{size:?}");
}

#[test]
fn a_burst_of_five_minutes_an_hour_does_not_vanish() {
    let (_, size) = shaped(4 * DAY, |minute| (if minute % 60 < 5 { 2000.0 } else { 50.0 }, 200.0));
    assert!(milli(&size) >= 2000, "VPA says 63m here: {size:?}");
}

#[test]
fn a_step_up_is_followed_within_minutes() {
    let (_, size) = shaped(2 * DAY + 5, |minute| if minute < 2 * DAY { (100.0, 300.0) } else { (1000.0, 900.0) });
    assert!(milli(&size) >= 1000 && mebi(&size) >= 900.0, "{size:?}");
}

#[test]
fn a_step_down_is_followed_within_a_day() {
    let (_, size) = shaped(5 * DAY, |minute| if minute < 4 * DAY { (1000.0, 2048.0) } else { (100.0, 200.0) });
    assert!(milli(&size) <= 200 && mebi(&size) <= 400.0, "{size:?}");
}

#[test]
fn a_steady_climb_is_said_with_the_time_left() {
    let (strategy, size) = shaped(2 * DAY, |minute| (100.0, 200.0 + amount(minute) / 10.0));
    let climb = strategy.state().memory.climb(47).expect("six MiB an hour for two days");
    assert!((climb / MEBI - 6.0).abs() < 1.0, "{climb}");
    let advice = strategy.state().advise(&Policy::default(), (None, size.memory_limit.map(|it| it.0)));
    assert!(advice.memory.unwrap().account.climb.is_some_and(|it| it.hours_to_limit.is_some()));
    let (steady, _) = shaped(2 * DAY, |minute| (100.0, 200.0 + amount(minute % 7)));
    assert_eq!(steady.state().memory.climb(47), None);
}

#[test]
fn an_idle_container_comes_to_the_floor() {
    let (_, size) = shaped(3 * DAY, |_| (0.0, 0.2));
    assert!(milli(&size) <= 2 && mebi(&size) < 1.2, "{size:?}");
}

#[test]
fn a_kill_is_learned_from_its_limit() {
    let (mut strategy, size) = shaped(DAY, |_| (100.0, 300.0));
    let limit = size.memory_limit;
    strategy.out_of_memory(0, &OutOfMemory { time: DAY * 60, limit, request: limit, peak: Some(300.0 * MEBI) });
    let after = strategy.size(0, DAY * 60, &size);
    assert!(mebi(&after) >= mebi(&size) * 1.1, "{after:?}");
}

#[test]
fn use_at_a_limit_is_not_demand() {
    let feed = |limit: Option<i64>| {
        let (mut state, mut cursor) = (State::default(), Cursor::default());
        for minute in 0..DAY {
            let cpu_limit = limit.map(supple_quantity::MilliCpu);
            let sample = Sample { time: minute * 60, cpu: Some(500.0), cpu_limit, ..Sample::default() };
            assert_eq!(state.observe(&mut cursor, &sample, &Policy::default()), Taken::Counted);
        }
        state.advise_cpu(&Policy::default(), None).unwrap()
    };
    assert!(feed(Some(500)).request >= feed(None).request * 115 / 100);
    assert_eq!(feed(Some(500)).confidence.doubt, supple_recommend::explain::Doubt::Cut);
}

#[test]
fn late_and_unbelievable_samples_are_told() {
    let (mut state, mut cursor) = (State::default(), Cursor::default());
    let mut take = |time, cpu| {
        state.observe(&mut cursor, &Sample { time, cpu: Some(cpu), ..Sample::default() }, &Policy::default())
    };
    assert_eq!(take(60, 1.0), Taken::Counted);
    assert_eq!(take(60, 1.0), Taken::Late);
    assert_eq!(take(0, 1.0), Taken::Late);
    assert_eq!(take(120, f64::NAN), Taken::Unbelievable);
    assert_eq!(take(120, -1.0), Taken::Unbelievable);
    assert_eq!(take(120, 0.0), Taken::Counted);
}

#[test]
fn a_state_is_small() {
    assert!(std::mem::size_of::<State>() <= 2048, "{}", std::mem::size_of::<State>());
    // A busy service: a daily swing, noise on every sample, memory that saws.
    let (strategy, _) = shaped(14 * DAY, |minute| {
        let noise = amount((minute * 7919) % 101) / 100.0;
        let swing = (amount(minute) * std::f64::consts::TAU / 1440.0).sin();
        (500.0 + 300.0 * swing + 200.0 * noise, 800.0 + 200.0 * noise + amount(minute % 700) / 4.0)
    });
    let bytes = strategy.state().save().len();
    assert!(bytes <= MOST, "{bytes}");
}
