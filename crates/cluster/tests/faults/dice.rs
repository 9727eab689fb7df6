//! The dice: every choice of a run, made from its seed, where it is made and how often it was made there before. So a
//! choice does not depend on what other tasks rolled in between.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::tally::Tally;

/// What can go wrong with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused and nothing is done.
    Fail,
    /// It is done and the answer is lost.
    Lost,
    /// Half of it is done.
    Torn,
    /// It takes this long.
    Hang(Duration),
    /// It is done twice.
    Repeat,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Fail => "failed",
            Self::Lost => "lost",
            Self::Torn => "torn",
            Self::Hang(_) => "hung",
            Self::Repeat => "repeated",
        }
    }
}

/// What went wrong in all runs.
pub static TALLY: Tally = Tally::new();

/// What has to, in some hundreds of runs.
pub const EXPECTED: [(&str, &[&str]); 8] = [
    ("durable write", &["failed", "lost", "torn", "hung", "repeated"]),
    ("request", &["failed", "lost", "torn", "hung", "repeated"]),
    ("watch", &["failed", "lost", "torn", "hung", "repeated"]),
    ("webhook call", &["failed", "lost", "torn", "hung", "repeated"]),
    ("cgroup write", &["failed", "lost", "torn", "hung", "repeated"]),
    ("container call", &["failed", "lost", "hung", "repeated"]),
    ("clock", &["jumped"]),
    ("process", &["killed", "killed by a power failure"]),
];

/// Which layer an operation belongs to; a seed decides how often each layer fails, and some not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The disks beneath store and checkpoints.
    Disk,
    /// Requests and watches between the cluster's parts and its API server.
    Wire,
    /// The machine: cgroups, containers.
    Machine,
    /// The admission webhook.
    Hook,
}

/// The dice of one run.
pub struct Dice {
    seed: u64,
    rolled: Mutex<BTreeMap<String, u64>>,
    calm: AtomicBool,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self { seed, rolled: Mutex::default(), calm: AtomicBool::new(false) }
    }

    /// A number below `sides`.
    pub fn roll(&self, site: &str, sides: u64) -> u64 {
        // Panics end the run, and nothing is rolled after one.
        let mut rolled = self.rolled.lock().unwrap_or_else(PoisonError::into_inner);
        let count = rolled.entry(site.to_owned()).or_default();
        *count += 1;
        let hash = site.bytes().fold(mix(self.seed), |hash, byte| mix(hash ^ u64::from(byte)));
        mix(hash ^ *count) % sides
    }

    /// One of these.
    pub fn pick<'a, T>(&self, site: &str, from: &'a [T]) -> &'a T {
        let at = self.roll(site, from.len() as u64);
        &from[usize::try_from(at).expect("below the length of a slice")]
    }

    /// What goes wrong with this operation, if anything: of what is rolled, what `able` makes of it where it takes place.
    pub fn fault(
        &self,
        layer: Layer,
        site: &str,
        seam: &'static str,
        able: impl Fn(Fault) -> Option<Fault>,
    ) -> Option<Fault> {
        if self.calm.load(Ordering::Relaxed) {
            return None;
        }
        // Fixed for a seed: one in so many operations of a layer fails; 0 is none.
        let hash = mix(self.seed ^ mix(layer as u64 + 1));
        let one_in = [0, 3, 6, 12, 25, 60][usize::try_from(hash % 6).expect("below 6")];
        if one_in == 0 || self.roll(site, one_in) != 0 {
            return None;
        }
        let fault = able(match self.roll(site, 6) {
            0 | 1 => Fault::Fail,
            2 => Fault::Lost,
            3 => Fault::Torn,
            4 => Fault::Hang(Duration::from_millis(1 + self.roll(site, 40_000))),
            _ => Fault::Repeat,
        })?;
        TALLY.count(seam, fault.name());
        Some(fault)
    }

    /// From now on nothing goes wrong.
    pub fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }
}

/// A number that looks random and is a function of `x` alone (the finaliser of SplitMix64).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
