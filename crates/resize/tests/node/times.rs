//! How many cases a property is tried with.

use proptest::prelude::ProptestConfig;

/// So many, or as many times more as `SUPPLE_CASES` says.
pub fn times(usual: u32) -> ProptestConfig {
    let more = std::env::var("SUPPLE_CASES").ok().map(|it| it.parse().expect("SUPPLE_CASES is a whole number"));
    ProptestConfig::with_cases(usual.saturating_mul(more.unwrap_or(1)))
}
