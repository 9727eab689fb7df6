//! How many cases a property is tried with.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// So many, the same ones each time: what a change breaks shows with that change. With `SUPPLE_CASES`, as many times more, and others each time.
pub fn times(usual: u32) -> ProptestConfig {
    let more = std::env::var("SUPPLE_CASES").ok().map(|it| it.parse().expect("SUPPLE_CASES is a whole number"));
    match more {
        Some(more) => ProptestConfig::with_cases(usual.saturating_mul(more)),
        None => ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(usual) },
    }
}
