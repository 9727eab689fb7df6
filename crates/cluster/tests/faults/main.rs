//! A whole cluster under faults: everything it stands on fails, hangs, tears or repeats under a seed, its process is
//! killed at durable steps and its power fails, and the rules of the design hold all the same.
//!
//! ```text
//!   who asks ──▶ API server ──▶ store ──────▶ disk (fails, hangs, tears, forgets)
//!                  │ └──▶ webhook (fails, hangs, answers half, is asked twice)
//!                  ▲  wire (requests and watches break)
//!                 node, scheduler, controllers ──▶ checkpoints ──▶ disk
//!                   └──▶ machine (cgroup writes and containers fail, with a referee who sees every effect)
//! ```
//!
//! One thread, virtual time, one process after another on the same disks and machine. `SUPPLE_FAULT_SEEDS=5000` runs that
//! many seeds; a seed that fails prints the command that runs it alone.

mod checks;
mod dice;
mod disk;
mod hook;
mod life;
mod machine;
mod run;
#[path = "../../../node/tests/support/tally.rs"]
mod tally;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Seeds of a run of the tests that asks for no number.
const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is to be a number and is {text:?}")))
}

#[test]
fn the_rules_hold_under_every_seed() {
    let seeds = match number("SUPPLE_FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SUPPLE_FAULT_SEEDS").unwrap_or(SEEDS),
    };
    let count = usize::try_from(seeds.end - seeds.start).expect("a number of runs that end");
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let outcome = std::panic::catch_unwind(|| run::run(seed));
                    let error = match outcome {
                        Ok(Ok(())) => continue,
                        Ok(Err(error)) => error,
                        Err(_) => "it panicked: see above".to_owned(),
                    };
                    failed.lock().unwrap_or_else(PoisonError::into_inner).push((seed, error));
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort();
    for (seed, error) in failed.iter().take(3) {
        println!("seed {seed}: {error}\nSUPPLE_FAULT_SEED={seed} cargo test -p supple-cluster --test faults\n");
    }
    let seeds: Vec<_> = failed.iter().map(|(seed, _)| seed).collect();
    assert!(
        failed.is_empty(),
        "{} of {} seeds failed: {seeds:?}",
        seeds.len(),
        number("SUPPLE_FAULT_SEEDS").unwrap_or(SEEDS)
    );
    // Fewer may do without some of them.
    dice::TALLY.close(count, &dice::EXPECTED, count >= 500);
}
