//! Seeds of a fault test: which are run, what is rolled under one, and how one that failed is run again.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::atomic::{AtomicU64, Ordering};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is to be a number and is {text:?}")))
}

/// The seeds of one run of a test. Whichever is under way when the test fails prints the command that runs it alone.
pub struct Seeds {
    test: &'static str,
    next: u64,
    end: u64,
}

impl Seeds {
    /// One in `part` of `SUPPLE_FAULT_SEEDS`, because each takes real time; at the least ten. `test` is the target and the
    /// name of the test. `SUPPLE_FAULT_SEED` chooses one.
    pub fn of(test: &'static str, part: u64) -> Self {
        match number("SUPPLE_FAULT_SEED") {
            Some(seed) => Self { test, next: seed, end: seed + 1 },
            None => Self { test, next: 0, end: (number("SUPPLE_FAULT_SEEDS").unwrap_or(0) / part).max(10) },
        }
    }
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let seed = self.next;
        self.next += 1;
        (seed < self.end).then_some(seed)
    }
}

impl Drop for Seeds {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, test) = (self.next - 1, self.test);
            println!("seed {seed} failed: SUPPLE_FAULT_SEED={seed} cargo test -p supple-node --test {test}");
        }
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
