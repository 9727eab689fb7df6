//! How fast: samples taken in, and sizes worked out. `cargo bench -p supple-recommend`.

use divan::Bencher;
use divan::counter::ItemsCount;
use supple_recommend::policy::Policy;
use supple_recommend::sample::{Sample, amount};
use supple_recommend::state::{Cursor, State};

fn main() {
    divan::main();
}

/// A sample a minute of a service with a daily swing and noise.
fn sample(minute: i64) -> Sample {
    let noise = amount((minute * 7919) % 101) / 100.0;
    let swing = (amount(minute) * std::f64::consts::TAU / 1440.0).sin();
    let memory = 800.0 + 200.0 * noise;
    Sample {
        time: minute * 60,
        cpu: Some(500.0 + 300.0 * swing + 200.0 * noise),
        memory: Some(memory * 1_048_576.0),
        ..Sample::default()
    }
}

fn week() -> State {
    let (mut state, mut cursor) = (State::default(), Cursor::default());
    for minute in 0..7 * 1440 {
        state.observe(&mut cursor, &sample(minute), &Policy::default());
    }
    state
}

#[divan::bench]
fn observe_a_day_of_minutes(bencher: Bencher<'_, '_>) {
    let samples: Vec<Sample> = (0..1440).map(sample).collect();
    let policy = Policy::default();
    bencher.counter(ItemsCount::new(samples.len())).bench(|| {
        let (mut state, mut cursor) = (State::default(), Cursor::default());
        for sample in &samples {
            state.observe(&mut cursor, divan::black_box(sample), &policy);
        }
        state
    });
}

#[divan::bench]
fn advise(bencher: Bencher<'_, '_>) {
    let (mut state, policy) = (week(), Policy::default());
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| divan::black_box(&mut state).advise(&policy, (Some(900), Some(1 << 30))));
}

/// The first look of an hour rehearses every way to read the past.
#[divan::bench]
fn advise_at_the_first_look_of_an_hour(bencher: Bencher<'_, '_>) {
    let (state, policy) = (week(), Policy::default());
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench(|| State::clone(divan::black_box(&state)).advise(&policy, (Some(900), Some(1 << 30))));
}

#[divan::bench]
fn save_and_load(bencher: Bencher<'_, '_>) {
    let state = week();
    bencher.counter(ItemsCount::new(1_usize)).bench(|| State::load(&divan::black_box(&state).save()));
}
