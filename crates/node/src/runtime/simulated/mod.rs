//! Containers that are only computed: usage from patterns, deterministic from a seed and the clock.

use crate::Clock;
use crate::runtime::Images;

/// Everything the simulated runtime is built from.
#[derive(Clone)]
pub struct SimulatedOptions {
    /// Where time comes from; usage is a function of it.
    pub clock: Clock,
    /// Which of the many possible worlds: same seed, same usage.
    pub seed: u64,
    /// Which images count as present.
    pub images: Images,
}
