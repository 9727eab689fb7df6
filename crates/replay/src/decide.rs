//! The least decision there can be between a recommendation and a resize: thresholds, cool-down, caps on a step.

use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::sample::{Size, amount, whole};

/// When a wanted size is taken up. The default takes everything as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decide {
    /// A change of less than this share is left alone.
    pub threshold: f64,
    /// Seconds after a change in which nothing is lowered.
    pub cool_down: i64,
    /// A size is at most multiplied by this in one step.
    pub most_up: f64,
    /// A size is at most divided by this in one step.
    pub most_down: f64,
    /// Whether a change of CPU, of memory restarts the container: its resize policy.
    pub restarts: [bool; 2],
}

impl Default for Decide {
    fn default() -> Self {
        Self {
            threshold: 0.0,
            cool_down: 0,
            most_up: f64::INFINITY,
            most_down: f64::INFINITY,
            restarts: [false, false],
        }
    }
}

impl Decide {
    /// What is in force after `now`, of what is and what is wanted.
    pub fn settle(&self, in_force: &Size, wanted: &Size, changed: Option<i64>, now: i64) -> Size {
        let cooling = changed.is_some_and(|then| now - then < self.cool_down);
        let one = |now: Option<i64>, wanted: Option<i64>| -> Option<i64> {
            let (Some(now), Some(wanted)) = (now, wanted) else {
                return wanted;
            };
            let small = amount((wanted - now).abs()) < self.threshold * amount(now);
            if small || (wanted < now && cooling) {
                return Some(now);
            }
            let (least, most) = (amount(now) / self.most_down, amount(now) * self.most_up);
            Some(whole(amount(wanted).clamp(least, most.max(least))))
        };
        Size {
            cpu_request: one(in_force.cpu_request.map(|it| it.0), wanted.cpu_request.map(|it| it.0)).map(MilliCpu),
            cpu_limit: one(in_force.cpu_limit.map(|it| it.0), wanted.cpu_limit.map(|it| it.0)).map(MilliCpu),
            memory_request: one(in_force.memory_request.map(|it| it.0), wanted.memory_request.map(|it| it.0))
                .map(Bytes),
            memory_limit: one(in_force.memory_limit.map(|it| it.0), wanted.memory_limit.map(|it| it.0)).map(Bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(milli: i64) -> Size {
        Size { cpu_request: Some(MilliCpu(milli)), ..Size::default() }
    }

    #[track_caller]
    fn check(decide: Decide, now: i64, wanted: i64, result: i64) {
        assert_eq!(
            decide.settle(&cpu(now), &cpu(wanted), Some(0), 100),
            cpu(result),
            "{decide:?}: {now} wants {wanted}"
        );
    }

    #[test]
    fn thresholds_cool_downs_and_caps() {
        check(Decide::default(), 100, 1000, 1000);
        check(Decide { threshold: 0.1, ..Decide::default() }, 100, 109, 100);
        check(Decide { threshold: 0.1, ..Decide::default() }, 100, 111, 111);
        check(Decide { cool_down: 200, ..Decide::default() }, 100, 50, 100);
        check(Decide { cool_down: 200, ..Decide::default() }, 100, 150, 150);
        check(Decide { most_up: 2.0, ..Decide::default() }, 100, 1000, 200);
        check(Decide { most_down: 2.0, ..Decide::default() }, 100, 10, 50);
    }
}
