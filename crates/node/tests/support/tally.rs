//! What went wrong on purpose, counted by where and how, printed when all of it is over. A kind of fault that never occurred
//! has proved nothing, and fails the test that promised it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// See the module.
pub struct Tally(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Tally {
    /// One in which nothing has gone wrong yet.
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Something went wrong there, in this way.
    pub fn count(&self, at: &'static str, how: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((at, how)).or_default() += 1;
    }

    /// Prints what occurred in so many runs. With `all`, each of these has to have occurred.
    #[track_caller]
    pub fn close(&self, runs: usize, expected: &[(&'static str, &[&'static str])], all: bool) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        println!("faults in {runs} runs:");
        let mut missing = Vec::new();
        for (at, ways) in expected {
            let of = |how: &&'static str| counts.get(&(*at, *how)).copied().unwrap_or(0);
            let texts: Vec<String> = ways.iter().map(|how| format!("{how} {}", of(how))).collect();
            println!("    {at:<16} {}", texts.join(", "));
            missing.extend(ways.iter().filter(|how| of(how) == 0).map(|how| format!("{at}: {how}")));
        }
        assert!(!all || missing.is_empty(), "never occurred: {missing:?}");
    }
}
