//! What a container should ask for, judged from what it used. Pure.
//!
//! This is the seam where the recommender and the ordered checks of later issues take over: usage and the present
//! sizes in, a verdict out. Nothing else in the crate knows how a number came about.

use std::fmt;
use std::time::Duration;

use supple_quantity::{Bytes, MilliCpu};

use crate::samples::Samples;
use supple_decide::numbers::{Numbers, show_measured_memory};

/// The knobs of the judgement. [`Policy::default`] holds the published numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which percentile of the samples stands for "what it uses".
    pub percentile: usize,
    /// Room above it, in percent of it, for CPU.
    pub cpu_headroom_percent: i64,
    /// Room above it, in percent of it, for memory: more, because memory kills where CPU only slows.
    pub memory_headroom_percent: i64,
    /// No CPU request below this.
    pub cpu_floor: MilliCpu,
    /// No memory request below this.
    pub memory_floor: Bytes,
    /// Changes of less than this share of the present request are not worth a resize.
    pub threshold_percent: i64,
    /// With fewer samples than this nothing is judged.
    pub min_samples: usize,
    /// How long samples are kept.
    pub window: Duration,
    /// Pods younger than this are left alone: starting up is not how they live.
    pub min_pod_age: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            percentile: 95,
            cpu_headroom_percent: 25,
            memory_headroom_percent: 30,
            cpu_floor: MilliCpu(50),
            memory_floor: Bytes(64 << 20),
            threshold_percent: 10,
            min_samples: 3,
            window: Duration::from_secs(3600),
            min_pod_age: Duration::from_secs(600),
        }
    }
}

/// What was judged for one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it should ask for; equal to what it asks for now where nothing should change.
    pub next: Numbers,
    /// Why.
    pub why: Why,
}

impl Verdict {
    /// Whether a resize is called for.
    pub fn is_change(&self) -> bool {
        matches!(self.why, Why::Resize { .. })
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Not enough seen yet.
    TooFewSamples {
        /// Seen.
        have: usize,
        /// Wanted.
        need: usize,
    },
    /// It asks for neither CPU nor memory: adding a request would change its QoS class, which no resize may.
    NothingRequested,
    /// What it asks for is within the threshold of what it should ask for.
    Fits,
    /// It should be resized, but its resize policy wants a restart for that.
    WouldRestart,
    /// It should be resized.
    Resize {
        /// The CPU it was judged by.
        cpu_used: MilliCpu,
        /// The memory it was judged by.
        memory_used: Bytes,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewSamples { have, need } => write!(f, "measuring: {have} of {need} samples"),
            Self::NothingRequested => f.write_str("requests nothing, and a resize may not change its QoS class"),
            Self::Fits => f.write_str("fits"),
            Self::WouldRestart => f.write_str("does not fit, but would be restarted: for a person to resize"),
            Self::Resize { cpu_used, memory_used } => {
                write!(f, "uses {cpu_used} CPU and {}", show_measured_memory(*memory_used))
            }
        }
    }
}

/// Judge one container: what it asks for now, what it used, by which policy.
pub fn judge(now: &Numbers, samples: &Samples, policy: &Policy) -> Verdict {
    let stay = |why| Verdict { next: *now, why };
    if now.cpu_request.is_none() && now.memory_request.is_none() {
        return stay(Why::NothingRequested);
    }
    let seen =
        (samples.cpu_percentile(policy.percentile), samples.memory_percentile(policy.percentile), samples.latest());
    let (Some(cpu_used), Some(memory_usual), Some(latest)) = seen else {
        return stay(Why::TooFewSamples { have: 0, need: policy.min_samples });
    };
    if samples.len() < policy.min_samples {
        return stay(Why::TooFewSamples { have: samples.len(), need: policy.min_samples });
    }
    // A process that wants more CPU than it has waits; one that wants more memory dies. So memory is never judged by
    // less than what is held at this moment, whatever the percentile says.
    let memory_used = memory_usual.max(latest.memory);

    let mut next = *now;
    if let Some(request) = now.cpu_request {
        let wanted = with_headroom(cpu_used.0, policy.cpu_headroom_percent).max(policy.cpu_floor.0);
        if differs(request.0, wanted, policy.threshold_percent) {
            next.cpu_request = Some(MilliCpu(wanted));
            next.cpu_limit = now.cpu_limit.map(|limit| MilliCpu(in_proportion(limit.0, request.0, wanted, 1)));
        }
    }
    if let Some(request) = now.memory_request {
        let wanted = with_headroom(memory_used.0, policy.memory_headroom_percent).max(policy.memory_floor.0);
        let wanted = round_up(wanted, MIB);
        if differs(request.0, wanted, policy.threshold_percent) {
            next.memory_request = Some(Bytes(wanted));
            next.memory_limit = now.memory_limit.map(|limit| Bytes(in_proportion(limit.0, request.0, wanted, MIB)));
        }
    }
    if next == *now { stay(Why::Fits) } else { Verdict { next, why: Why::Resize { cpu_used, memory_used } } }
}

/// Memory is asked for in whole MiB: a smaller step is noise to every reader.
const MIB: i64 = 1 << 20;

fn with_headroom(used: i64, percent: i64) -> i64 {
    let room = i128::from(used.max(0)) * i128::from(100 + percent);
    clamp(room.div_euclid(100) + i128::from(room.rem_euclid(100) != 0))
}

/// A limit keeps its proportion to the request, as VPA's `RequestsAndLimits` does. Equal stays equal, so Guaranteed
/// stays Guaranteed; greater stays greater, because the quotient is rounded up to the unit the request is a multiple
/// of, so Burstable cannot turn Guaranteed.
fn in_proportion(limit: i64, request: i64, wanted: i64, unit: i64) -> i64 {
    if limit == request {
        return wanted;
    }
    if request <= 0 {
        return limit.max(wanted); // no proportion to keep: only "limit not below request"
    }
    let exact = i128::from(limit) * i128::from(wanted);
    let divisor = i128::from(request);
    round_up(clamp(exact.div_euclid(divisor) + i128::from(exact.rem_euclid(divisor) != 0)), unit)
}

fn round_up(value: i64, unit: i64) -> i64 {
    clamp((i128::from(value) + i128::from(unit - 1)).div_euclid(i128::from(unit)) * i128::from(unit))
}

fn differs(now: i64, wanted: i64, threshold_percent: i64) -> bool {
    now != wanted
        && (i128::from(wanted) - i128::from(now)).abs() * 100 >= i128::from(now) * i128::from(threshold_percent)
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { 0 } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Sample;

    fn used(cpu: i64, memory_mib: i64) -> Samples {
        series((0..5).map(|_| (cpu, memory_mib)))
    }

    fn series(values: impl IntoIterator<Item = (i64, i64)>) -> Samples {
        let mut samples = Samples::new(Duration::from_secs(3600));
        for (second, (cpu, memory_mib)) in (1..).zip(values) {
            let at = jiff::Timestamp::from_second(second).unwrap();
            samples.push(Sample { at, cpu: MilliCpu(cpu), memory: Bytes(memory_mib * MIB) });
        }
        samples
    }

    /// `request[:limit]` of CPU in milli and of memory in MiB; 0 stands for absent.
    fn numbers(cpu: (i64, i64), memory: (i64, i64)) -> Numbers {
        let some = |value: i64| (value != 0).then_some(value);
        Numbers {
            cpu_request: some(cpu.0).map(MilliCpu),
            cpu_limit: some(cpu.1).map(MilliCpu),
            memory_request: some(memory.0).map(|it| Bytes(it * MIB)),
            memory_limit: some(memory.1).map(|it| Bytes(it * MIB)),
        }
    }

    #[track_caller]
    fn check(now: Numbers, samples: &Samples, expect: Numbers) {
        let verdict = judge(&now, samples, &Policy::default());
        assert_eq!(verdict.next, expect, "{}", verdict.why);
        assert_eq!(verdict.is_change(), now != expect, "{}", verdict.why);
    }

    #[test]
    fn requests_follow_use_with_headroom() {
        check(numbers((1000, 0), (1024, 0)), &used(200, 200), numbers((250, 0), (260, 0)));
        check(numbers((100, 0), (128, 0)), &used(400, 300), numbers((500, 0), (390, 0)));
    }

    #[test]
    fn floors_hold() {
        check(numbers((1000, 0), (1024, 0)), &used(1, 1), numbers((50, 0), (64, 0)));
        check(numbers((50, 0), (64, 0)), &used(0, 0), numbers((50, 0), (64, 0)));
    }

    #[test]
    fn small_changes_are_skipped_per_resource() {
        check(numbers((260, 0), (250, 0)), &used(200, 200), numbers((260, 0), (250, 0)));
        check(numbers((260, 0), (1000, 0)), &used(200, 200), numbers((260, 0), (260, 0)));
        check(numbers((500, 0), (260, 0)), &used(200, 200), numbers((250, 0), (260, 0)));
    }

    #[test]
    fn limits_keep_their_proportion() {
        check(numbers((1000, 2000), (1024, 2048)), &used(200, 200), numbers((250, 500), (260, 520)));
        check(numbers((1000, 1000), (1024, 1024)), &used(200, 200), numbers((250, 250), (260, 260)));
        // One part in a thousand above the request stays above it.
        check(numbers((1000, 1001), (1024, 1025)), &used(200, 200), numbers((250, 251), (260, 261)));
    }

    #[test]
    fn memory_is_never_judged_by_less_than_it_holds_now() {
        let growing = series((1..=40).map(|step| (100, 10 * step)));
        check(numbers((125, 0), (128, 0)), &growing, numbers((125, 0), (520, 0)));
    }

    #[test]
    fn nothing_is_judged_from_little_or_for_besteffort() {
        let now = numbers((1000, 0), (1024, 0));
        assert_eq!(
            judge(&now, &series([(1, 1), (1, 1)]), &Policy::default()).why,
            Why::TooFewSamples { have: 2, need: 3 }
        );
        assert_eq!(judge(&now, &series([]), &Policy::default()).why, Why::TooFewSamples { have: 0, need: 3 });
        assert_eq!(judge(&Numbers::default(), &used(9, 9), &Policy::default()).why, Why::NothingRequested);
    }

    #[test]
    fn only_what_is_requested_is_sized() {
        check(numbers((0, 0), (1024, 0)), &used(900, 200), numbers((0, 0), (260, 0)));
        check(numbers((100, 0), (0, 0)), &used(900, 200), numbers((1125, 0), (0, 0)));
    }

    #[test]
    fn absurd_numbers_do_not_overflow() {
        let huge = series((0..3).map(|_| (i64::MAX, i64::MAX / MIB)));
        let verdict = judge(&numbers((1, 2), (1, 2)), &huge, &Policy::default());
        assert_eq!(verdict.next.cpu_limit, Some(MilliCpu(i64::MAX)));
    }
}
