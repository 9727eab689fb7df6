//! What a size does to the use it meets: throttled work is done later, and a killed container begins its memory anew.

use supple_recommend::sample::amount;

/// Bins of age to a doubling: a bin is at most 4.5 % of the age it stands for, and nothing grows with the recording.
const BINS: f64 = 16.0;

/// The highest memory by age of the container, as recorded since its last start. Fine where it is young, coarse where it is
/// old, and at most some 400 numbers whatever its age.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    start: Option<i64>,
    peaks: Vec<f64>,
}

impl Shape {
    /// The container was started at this time: what was before is another life.
    pub fn begin(&mut self, time: i64) {
        self.start = Some(time);
        self.peaks.clear();
    }

    /// Takes in a measurement.
    pub fn put(&mut self, time: i64, used: f64) {
        let start = *self.start.get_or_insert(time);
        let bin = bin(time - start);
        if self.peaks.len() <= bin {
            // Ages without a sample are what the sample before them was.
            let last = self.peaks.last().copied().unwrap_or(used);
            self.peaks.resize(bin, last);
            self.peaks.push(used);
        } else {
            self.peaks[bin] = self.peaks[bin].max(used);
        }
    }

    /// What a container of this age used; of an older one than was ever seen, what the oldest did.
    pub fn at(&self, age: i64) -> Option<f64> {
        self.peaks.get(bin(age)).or(self.peaks.last()).copied()
    }
}

fn bin(age: i64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "of a logarithm of a number of at least 1"
    )]
    let bin = ((amount(age.max(0)) + 1.0).log2() * BINS) as usize;
    bin
}

/// CPU work that a limit held up, in thousandths of a core times seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    waiting: f64,
}

/// What came of one interval under a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Served {
    /// Mean CPU really used, in thousandths of a core.
    pub used: f64,
    /// Share of what was wanted (new and held up) that had to wait: what the kernel would show as throttled periods.
    pub throttled: f64,
    /// Work newly held up, in thousandths of a core times seconds.
    pub late: f64,
}

impl Backlog {
    /// Serves a mean demand over so many seconds, and of what waits as much as the limit lets through.
    pub fn serve(&mut self, demand: f64, limit: Option<i64>, seconds: f64) -> Served {
        let Some(limit) = limit.map(amount).filter(|_| seconds > 0.0) else {
            let used = demand + if seconds > 0.0 { self.waiting / seconds } else { 0.0 };
            self.waiting = if seconds > 0.0 { 0.0 } else { self.waiting };
            return Served { used, throttled: 0.0, late: 0.0 };
        };
        let wanted = demand + self.waiting / seconds;
        let used = wanted.min(limit);
        let before = self.waiting;
        self.waiting = (wanted - used) * seconds;
        let throttled = if wanted > 0.0 { (wanted - used) / wanted } else { 0.0 };
        Served { used, throttled, late: (self.waiting - before).max(0.0) }
    }

    /// Work that still waits, in thousandths of a core times seconds.
    pub const fn waiting(&self) -> f64 {
        self.waiting
    }

    /// A restart forgets what was asked of the container before.
    pub const fn forget(&mut self) {
        self.waiting = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn memory_begins_again_from_the_start_of_its_recording() {
        let mut shape = Shape::default();
        shape.begin(1000);
        for minute in 0..600 {
            shape.put(1000 + minute * 60, 100.0 + amount(minute));
        }
        assert_eq!(shape.at(0), Some(100.0));
        let hour = shape.at(3600).unwrap();
        assert!((155.0..=165.0).contains(&hour), "an hour in it used 160, told {hour}");
        assert_eq!(shape.at(i64::MAX), Some(699.0), "older than ever seen: the oldest");
        shape.begin(90_000);
        assert_eq!(shape.at(0), None);
    }

    #[test]
    fn nothing_grows_with_the_recording() {
        let mut shape = Shape::default();
        for day in 0..36_500 {
            shape.put(day * 86_400, 1.0);
        }
        assert!(shape.peaks.len() < 512, "{} bins for a hundred years", shape.peaks.len());
    }

    #[test]
    fn a_limit_defers_work_and_loses_none() {
        let mut backlog = Backlog::default();
        let first = backlog.serve(1500.0, Some(1000), 60.0);
        assert_eq!((first.used, first.late), (1000.0, 30_000.0));
        assert!((first.throttled - 1.0 / 3.0).abs() < 1e-12);
        let second = backlog.serve(800.0, Some(1000), 60.0);
        assert_eq!((second.used, second.late, backlog.waiting()), (1000.0, 0.0, 18_000.0));
        let third = backlog.serve(100.0, None, 60.0);
        assert_eq!((third.used, backlog.waiting()), (400.0, 0.0), "without a limit all of it is done");
    }

    proptest! {
        #[test]
        fn work_is_conserved(demands in prop::collection::vec((0.0f64..5000.0, prop::option::of(1i64..3000)), 1..50)) {
            let (mut backlog, mut asked, mut done) = (Backlog::default(), 0.0, 0.0);
            for (demand, limit) in demands {
                asked += demand * 60.0;
                let served = backlog.serve(demand, limit, 60.0);
                prop_assert!(limit.is_none_or(|it| served.used <= amount(it)));
                done += served.used * 60.0;
            }
            prop_assert!((asked - done - backlog.waiting()).abs() < 1e-3);
        }
    }
}
