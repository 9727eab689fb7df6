//! Seeds of a fault test: which are run, what is rolled under one, and how one that failed is run again.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt as _;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is to be a number and is {text:?}")))
}

/// The seeds of one run of a test.
#[derive(Clone, Debug)]
pub struct Seeds {
    test: &'static str,
    numbers: std::ops::Range<u64>,
}

impl Seeds {
    /// `SUPPLE_FAULT_SEEDS` of them; without, ten, because each takes real time. `test` is the target and the name of the
    /// test. `SUPPLE_FAULT_SEED` chooses one.
    pub fn of(test: &'static str) -> Self {
        let numbers = match number("SUPPLE_FAULT_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..number("SUPPLE_FAULT_SEEDS").unwrap_or(10),
        };
        Self { test, numbers }
    }

    /// Plays a life under every seed, so many at once: most of them wait for what hangs. The first that fails is named, with
    /// the command that runs it alone. Returns how many were played, and whether that is all of them.
    pub async fn play<L>(self, at_once: usize, life: impl Fn(u64) -> L) -> (usize, bool)
    where
        L: Future<Output = ()> + Send + 'static,
    {
        let (test, count) = (self.test, usize::try_from(self.numbers.end - self.numbers.start).unwrap_or(0));
        let lives = futures::stream::iter(self.numbers).map(|seed| {
            let life = tokio::spawn(life(seed));
            async move { (seed, life.await) }
        });
        let mut lives = lives.buffer_unordered(at_once);
        while let Some((seed, ended)) = lives.next().await {
            if let Err(error) = ended {
                panic!("seed {seed}: {error}: SUPPLE_FAULT_SEED={seed} cargo test -p supple-node --test {test}");
            }
        }
        (count, count >= 10)
    }
}

/// Numbers that look random and are a function of the seed and of how many were rolled before.
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(AtomicU64::new(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// A number below `sides`, by xorshift64: enough to pick by.
    pub fn roll(&self, sides: u64) -> u64 {
        let step = |mut x: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x
        };
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |x| Some(step(x)));
        step(before.unwrap_or_else(|x| x)) % sides
    }
}
