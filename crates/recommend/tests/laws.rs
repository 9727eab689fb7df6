//! What must hold of the recommender whatever it is fed.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::codec::{LoadError, MOST};
use supple_recommend::cpu;
use supple_recommend::policy::{Policy, Risk};
use supple_recommend::resource::{Resource, TOP};
use supple_recommend::sample::{OutOfMemory, Sample, Size};
use supple_recommend::state::{Cursor, State};
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

/// By how much the CPU histograms of a merged state weigh less, and more, than those of the whole, and how many entries they have.
///
/// Weights are whole numbers. Each time they are halved every entry loses less than a half of one, and what was lost before is halved
/// with it: together less than one an entry, in one histogram. Of the two that are merged each lost that, and so did the whole. (While
/// no entry passes what a weight can be: then all are halved once more.)
fn lost(merged: &State, whole: &State) -> [(i64, i64, i64); 3] {
    let of = |state: &State| [state.cpu.lately.total(), state.cpu.day.total(), state.cpu.long.total()];
    let (merged, whole) = (of(merged), of(whole));
    std::array::from_fn(|i| {
        let less = i64::from(whole[i]) - i64::from(merged[i]);
        (less, -less, i64::try_from([cpu::LATELY, cpu::DAYS, cpu::LONG][i]).unwrap_or(0))
    })
}

/// So many, the same ones each time: what a change breaks shows with that change. With `SUPPLE_CASES`, as many times more, and others each time.
fn times(usual: u32) -> ProptestConfig {
    let more = std::env::var("SUPPLE_CASES").ok().map(|it| it.parse().expect("SUPPLE_CASES is a whole number"));
    match more {
        Some(more) => ProptestConfig::with_cases(usual.saturating_mul(more)),
        None => ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(usual) },
    }
}

proptest! {
    #![proptest_config(times(64))]

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
        state.advise_cpu(&Policy::default(), None);
        prop_assert_eq!(State::load(&state.save()), Ok(state));
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_break(bytes in prop::collection::vec(any::<u8>(), 0..700), samples in samples(), at in 0usize..300) {
        let _ = State::load(&bytes);
        let mut saved = fed(&samples).save();
        let place = at % saved.len();
        saved[place] ^= 0x55;
        if let Ok(mut state) = State::load(&saved) {
            prop_assert_eq!(State::load(&state.save()), Ok(state));
            let _ = state.advise(&Policy::default(), (None, None));
        }
        prop_assert!(State::load(&saved[..place]).is_err());
    }

    // Of a size that is chosen to stay. With one in force the plan may be to change twice where more risk has one size between the two:
    // then less risk means the smaller one first.
    #[test]
    fn less_risk_never_lowers_a_size_or_its_bounds(samples in samples()) {
        let state = fed(&samples);
        let of = |share| State::clone(&state).advise(&risky(share), (None, None));
        for pair in [0.05, 0.02, 0.01, 0.003, 0.001].windows(2) {
            let (bold, careful) = (of(pair[0]), of(pair[1]));
            for (bold, careful) in [(bold.cpu, careful.cpu), (bold.memory, careful.memory)] {
                let (bold, careful) = (bold.unwrap(), careful.unwrap());
                prop_assert!(bold.request <= careful.request, "{bold:?} {careful:?}");
                prop_assert!(bold.upper <= careful.upper && bold.lower <= careful.lower, "{bold:?} {careful:?}");
            }
        }
    }

    #[test]
    fn two_times_merged_are_one_time(samples in samples(), at in 0usize..400) {
        // What was seen before a moment and what after it, by two recommenders: together they know what one would.
        let hour = |it: &Sample| it.time.div_euclid(3600);
        let cut = samples.iter().position(|it| hour(it) > hour(&samples[at.min(samples.len() - 1)])).unwrap_or(samples.len());
        let whole = fed(&samples);
        let mut merged = fed(&samples[..cut]);
        merged.merge(&fed(&samples[cut..]));
        prop_assume!(whole.shift.is_none() && merged.shift.is_none());
        prop_assert_eq!(merged.hour, whole.hour);
        prop_assert_eq!((merged.memory.open, merged.memory.week), (whole.memory.open, whole.memory.week));
        prop_assert_eq!(merged.cpu.open, whole.cpu.open);
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
        prop_assert!(near(merged.memory.tally.average(Resource::Memory), whole.memory.tally.average(Resource::Memory)));
        prop_assert!(near(merged.cpu.tally.average(Resource::Cpu), whole.cpu.tally.average(Resource::Cpu)));
        for (less, more, entries) in lost(&merged, &whole) {
            prop_assert!(less < 2 * entries && more < entries, "{less} less or {more} more, of {entries} entries");
        }
    }

    #[test]
    fn no_state_is_longer_than_the_most(samples in samples(), others in samples(), minute in 1i64..300) {
        // As erratic as can be: every sample another size, several recommenders merged, kills in between.
        let wild = |samples: &[Sample]| {
            let again = samples.iter().cycle().take(samples.len() * 8).enumerate();
            let wild: Vec<Sample> = again
                .map(|(i, it)| Sample { time: i64::try_from(i).unwrap() * minute * 7 + (1 << 50), cpu: it.cpu.map(|it| it * (1 + i % 97) as f64), ..*it })
                .collect();
            fed(&wild)
        };
        let mut state = wild(&samples);
        state.merge(&wild(&others));
        state.out_of_memory(&OutOfMemory { time: 1 << 52, limit: Some(Bytes(1 << 39)), request: None, peak: None });
        state.advise_cpu(&Policy::default(), None);
        let saved = state.save();
        prop_assert!(saved.len() <= MOST, "{} bytes", saved.len());
        prop_assert_eq!(State::load(&saved), Ok(state));
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
    fn pods_that_do_the_same_need_what_one_does(samples in samples(), pods in 2u32..9, in_force in prop::option::of(1i64..10_000)) {
        let in_force = Size {
            cpu_request: in_force.map(MilliCpu),
            memory_request: in_force.map(|it| Bytes(it << 20)),
            ..Size::default()
        };
        let of = |pods| {
            let mut strategy = Supple::new(Policy::default());
            let mut size = in_force;
            for sample in &samples {
                for pod in 0..pods {
                    let _ = Supple::observe(&mut strategy, pod, sample);
                }
                // A look takes longer than all else here.
                if sample.time % 900 == 0 {
                    size = strategy.size(0, sample.time, &size);
                }
            }
            (size, strategy)
        };
        let ((one, mut alone), (many, mut together)) = (of(1), of(pods));
        // Before the first look there is no size, of either.
        let near = |a: Option<i64>, b: Option<i64>| a == b || a.zip(b).is_some_and(|(a, b)| (a - b).abs() * 100 <= b);
        let same = |a: &Size, b: &Size| {
            near(a.cpu_request.map(|it| it.0), b.cpu_request.map(|it| it.0))
                && near(a.memory_request.map(|it| it.0), b.memory_request.map(|it| it.0))
        };
        prop_assert!(same(&one, &many), "{one:?} {many:?}");
        let now = samples.last().map_or(0, |it| it.time);
        let (a, b) = (alone.advise(0, now, &one), together.advise(0, now, &one));
        for (a, b) in [(a.cpu, b.cpu), (a.memory, b.memory)] {
            let (a, b) = (a.unwrap(), b.unwrap());
            prop_assert!(near(Some(a.request), Some(b.request)) && near(Some(a.lower), Some(b.lower)) && near(Some(a.upper), Some(b.upper)), "{a:?} {b:?}");
            prop_assert_eq!(a.confidence.doubt, b.confidence.doubt);
            prop_assert!((a.account.price - b.account.price).abs() <= 1e-6 * a.account.price, "{a:?} {b:?}");
        }
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
            // What can be learned can be saved.
            let state = *strategy.state();
            prop_assert_eq!(State::load(&strategy.save()), Ok(state));
        }
    }
}

/// The bound above is not far from what happens to restless weeks that are cut in two: no merge could be exact.
#[test]
fn what_a_merge_of_cpu_loses_comes_near_to_its_bound() {
    let mut most = [0_i64; 3];
    for seed in 0..24_u32 {
        // Levels of use all over the scale, told by a multiplication.
        let use_at = |sample: u32| {
            (f64::from((sample.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)) >> 20) / 341.0).exp2()
        };
        let samples: Vec<Sample> = (0..1200)
            .map(|i| Sample { time: i64::from(i) * 600 + 150 * 3600, cpu: Some(use_at(i)), ..Sample::default() })
            .collect();
        let whole = fed(&samples);
        for cut in (6..1200).step_by(60) {
            let mut merged = fed(&samples[..cut]);
            merged.merge(&fed(&samples[cut..]));
            for (most, (less, _, entries)) in most.iter_mut().zip(lost(&merged, &whole)) {
                assert!(less < 2 * entries, "{less} of {entries}");
                *most = less.max(*most);
            }
        }
    }
    // None of the three is exact; the last day, which is halved most often in a week, comes to ten of its 26.
    let [lately, day, long] = most;
    assert!(lately > 0 && long > 0 && day >= 10, "{most:?}");
}

/// An hour of four hundred pods, asked every fifteen seconds, is told as the hour of one of them.
#[test]
fn an_hour_of_very_many_samples_is_remembered_from_its_beginning() {
    let of = |pods: u32| {
        let (mut state, policy) = (State::default(), Policy::default());
        let mut cursors = vec![Cursor::default(); usize::try_from(pods).unwrap()];
        for quarter in 0..3 * 240 {
            // Three quarters of each hour at one level, the rest at another, and one sample of one pod far above both.
            let cpu = if quarter % 240 < 180 { 800.0 } else { 100.0 };
            for (pod, cursor) in cursors.iter_mut().enumerate() {
                let cpu = if pod == 0 && quarter % 240 == 7 { 4000.0 } else { cpu };
                let sample =
                    Sample { time: quarter * 15, cpu: Some(cpu), memory: Some(cpu * MEBI), ..Sample::default() };
                state.observe(cursor, &sample, &policy);
            }
        }
        assert_eq!(State::load(&state.save()), Ok(state));
        state
    };
    let (one, many) = (of(1), of(400));
    assert_eq!((many.cpu.tally.per_hour, many.cpu.tally.pod), (240, 240));
    let averages = Resource::ALL.map(|it| {
        [one, many].map(|state| match it {
            Resource::Cpu => state.cpu.tally.average(it),
            Resource::Memory => state.memory.tally.average(it),
        })
    });
    assert!(averages.iter().all(|[one, all]| (all / one - 1.0).abs() < 0.03), "{averages:?}");
    for state in [one, many] {
        let open = state.cpu.open;
        let high =
            f64::from(open.within(Resource::Cpu.level(500.0), Resource::Cpu.level(1000.0))) / f64::from(open.total());
        assert!((high - 0.75).abs() < 0.01, "{high} of the hour at 800m");
        assert_eq!(open.top(), Some(Resource::Cpu.level(4000.0)), "no peak is missed");
    }
}

/// What lies beyond the scale is its end: one sample of a billion cores is not worth a billion cores of slack.
#[test]
fn an_amount_beyond_the_scale_is_the_end_of_the_scale() {
    let beyond = fed(&[Sample { time: 0, cpu: Some(1e12), memory: Some(1e300), ..Sample::default() }]);
    let end = fed(&[Sample {
        time: 0,
        cpu: Some(Resource::Cpu.amount(TOP)),
        memory: Some(Resource::Memory.amount(TOP)),
        ..Sample::default()
    }]);
    assert_eq!(beyond, end);
    assert_eq!(State::load(&beyond.save()), Ok(beyond));
}

#[test]
fn what_is_held_in_memory_is_small() {
    assert!(std::mem::size_of::<State>() <= 1024, "{} bytes", std::mem::size_of::<State>());
}

#[test]
fn bytes_of_another_version_are_refused_by_name() {
    let mut saved = State::default().save();
    saved[0] = 1;
    let error = State::load(&saved).unwrap_err();
    assert_eq!((error.reason(), error), ("StateVersion", LoadError::Version(1)));
    let now = State::default().save()[0];
    assert!(error.to_string().contains(&format!("reads version {now};")), "{error}");
    assert_eq!(State::load(&[]).unwrap_err().reason(), "StateCut");
}
