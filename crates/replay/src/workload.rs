//! One (workload, container) under several strategies at once: recorded use in, sizes and their figures out.
//!
//! ```text
//! sample ─▶ judge the size in force ─▶ observe ─▶ strategy's size ─▶ decide (caps, cool-down) ─▶ in force one second later
//! ```
//!
//! A sample is judged by the size that was in force *before* it: what a sample teaches can only help the next one. A
//! change takes effect a second after the sample that led to it, so that "in force at" is never in doubt.

use supple_recommend::resource::Resource;
use supple_recommend::sample::{OutOfMemory, Sample, Size, amount, believable};
use supple_recommend::strategy::{Pod, Strategy};

use crate::decide::Decide;
use crate::figures::Figures;

/// Seconds from a sample to the size it led to.
pub const DELAY: i64 = 1;

/// A step of more than so many usual intervals is a gap, and counts as one interval.
const GAP: i64 = 3;

/// Gaps are lone things: where they are not, the interval is another one. A gap counts for so much, every other step takes one away, and
/// at so much there were too many: two in a row, or more with no more than three steps between them.
const OF_A_GAP: u8 = 4;
const TOO_MANY: u8 = 8;

/// A strategy at work on one workload.
pub struct Runner {
    strategy: Box<dyn Strategy + Send>,
    decide: Decide,
    pods: Vec<InForce>,
    /// CPU, memory.
    pub figures: [Figures; 2],
}

/// What is in force for a pod.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InForce {
    /// The size itself.
    pub(crate) size: Size,
    /// Since when.
    pub(crate) changed: Option<i64>,
    /// Memory was above the limit a sample ago.
    killed: bool,
    came_to: [CameTo; 2],
}

/// What is remembered of a pod's resource, of every pod that ever was: as little as it takes.
#[derive(Clone, Copy, Debug, Default)]
struct CameTo {
    /// The last sample was over.
    in_event: bool,
    /// Amounts times hours.
    reserved: f64,
    used: f64,
}

/// A change of a size, as it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Index of the strategy.
    pub strategy: usize,
    /// The pod.
    pub pod: Pod,
    /// From when on.
    pub time: i64,
    /// What is in force from then on.
    pub size: Size,
}

/// How long the samples of a pod stand for, of CPU and of memory by themselves: what was recorded more seldom, or a second later, stands
/// for the time since it was recorded last, whatever was recorded of the other meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intervals {
    last: Option<i64>,
    each: [Interval; 2],
}

impl Intervals {
    /// Hours that a sample's CPU and memory stand for, each none where it was not `recorded`; `None` where the sample is not after the
    /// last one.
    pub fn next(&mut self, time: i64, recorded: [bool; 2]) -> Option<[f64; 2]> {
        if self.last.is_some_and(|last| time <= last) {
            return None;
        }
        self.last = Some(time);
        let mut hours = [0.0; 2];
        for ((hours, interval), recorded) in hours.iter_mut().zip(&mut self.each).zip(recorded) {
            *hours = if recorded { interval.next(time).unwrap_or(0.0) } else { 0.0 };
        }
        Some(hours)
    }
}

/// Whether a sample's CPU and memory were recorded.
pub fn recorded(sample: &Sample) -> [bool; 2] {
    [sample.cpu, sample.memory].map(|it| it.is_some_and(believable))
}

/// How long a sample of one resource stands for, told from the samples themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interval {
    last: Option<i64>,
    usual: Option<i64>,
    /// The usual interval in hours.
    hours: f64,
    /// The last gap, and how much gaps lately count for.
    gap: i64,
    gaps: u8,
}

impl Interval {
    /// Hours a sample at this time stands for; `None` where it is not after the last one.
    pub fn next(&mut self, time: i64) -> Option<f64> {
        let Some(last) = self.last else {
            self.last = Some(time);
            return Some(0.0);
        };
        let step = time - last;
        if step <= 0 {
            return None;
        }
        self.last = Some(time);
        if self.usual == Some(step) {
            self.gaps = self.gaps.saturating_sub(1);
            return Some(self.hours); // nearly always
        }
        let usual = self.usual.unwrap_or(step);
        if step > usual * GAP {
            return Some(self.gap(step));
        }
        self.gaps = self.gaps.saturating_sub(1);
        // Slowly, down most of all: two samples that happen to lie close are no new interval.
        self.become_usual(if step < usual { (7 * usual + step) / 8 } else { (3 * usual + step) / 4 });
        Some(amount(step) / 3600.0)
    }

    /// Hours that the sample after a gap stands for: a usual interval. After too many gaps that is the shorter one of the last two.
    fn gap(&mut self, step: i64) -> f64 {
        let shorter = step.min(std::mem::replace(&mut self.gap, step));
        self.gaps += OF_A_GAP;
        if self.gaps >= TOO_MANY {
            self.gaps = 0;
            self.become_usual(shorter);
            if step <= shorter * GAP {
                return amount(step) / 3600.0;
            }
        }
        self.hours
    }

    fn become_usual(&mut self, seconds: i64) {
        let seconds = seconds.max(1);
        (self.usual, self.hours) = (Some(seconds), amount(seconds) / 3600.0);
    }
}

/// A workload under all strategies.
pub struct Workload {
    runners: Vec<Runner>,
    first: Option<i64>,
    warmup: i64,
}

impl Workload {
    /// Strategies in the order of the answers; figures begin `warmup` seconds after the first sample.
    pub fn new(strategies: Vec<(Box<dyn Strategy + Send>, Decide)>, warmup: i64) -> Self {
        let runners = strategies
            .into_iter()
            .map(|(strategy, decide)| Runner { strategy, decide, pods: Vec::new(), figures: Default::default() })
            .collect();
        Self { runners, first: None, warmup }
    }

    /// True where a sample at this time is past the learning time.
    pub fn counts(&mut self, time: i64) -> bool {
        let first = *self.first.get_or_insert(time);
        time - first >= self.warmup
    }

    /// A sample of a pod whose CPU and memory stand for so many hours. Changes are given to `changed`.
    pub fn put(&mut self, pod: Pod, sample: &Sample, hours: [f64; 2], mut changed: impl FnMut(Change)) {
        let counts = self.counts(sample.time);
        for (index, runner) in self.runners.iter_mut().enumerate() {
            if let Some(size) = runner.put(pod, sample, hours, counts) {
                changed(Change { strategy: index, pod, time: sample.time + DELAY, size });
            }
        }
    }

    /// The strategies with what they came to.
    pub fn runners(&self) -> &[Runner] {
        &self.runners
    }
}

impl Runner {
    /// Why the last size is what it is, where the strategy says so.
    pub fn explain(&self) -> Option<&supple_recommend::explain::Explanation> {
        self.strategy.explain()
    }

    /// The footprints of the pods of which there is one.
    pub fn footprints(&self, resource: Resource) -> Vec<f64> {
        let place = usize::from(resource == Resource::Memory);
        let came_to = self.pods.iter().map(|it| &it.came_to[place]);
        came_to.filter(|it| it.used > 0.0).map(|it| it.reserved / it.used).collect()
    }

    fn put(&mut self, pod: Pod, sample: &Sample, hours: [f64; 2], counts: bool) -> Option<Size> {
        let place = usize::try_from(pod).unwrap_or(usize::MAX);
        while self.pods.len() <= place {
            self.pods.push(InForce::default());
        }
        let in_force = &mut self.pods[place];
        if counts {
            in_force.judge(sample, hours, &mut self.figures);
            censor(sample, &in_force.size, &mut self.figures);
        }
        let size = in_force.size;
        let killed = in_force.kill(sample);
        self.strategy.observe(pod, sample);
        if let Some(kill) = killed {
            self.strategy.out_of_memory(pod, &kill);
        }
        let wanted = self.strategy.size(pod, sample.time, &size);
        if wanted == size {
            return None; // nearly always
        }
        let new = self.decide.settle(&size, &wanted, in_force.changed, sample.time);
        if new == size {
            return None;
        }
        in_force.size = new;
        in_force.changed = Some(sample.time);
        if counts {
            // The first size of a resource is no change of one; it may come later than the other's.
            let had = [size.cpu_request.is_some(), size.memory_request.is_some()];
            for (place, changed) in changed(&size, &new).into_iter().enumerate().filter(|it| had[it.0]) {
                self.figures[place].resizes += u64::from(changed);
                self.figures[place].restarts += u64::from(changed && self.decide.restarts[place]);
            }
        }
        Some(new)
    }
}

/// Whether CPU, whether memory differs.
pub(crate) fn changed(old: &Size, new: &Size) -> [bool; 2] {
    [
        (new.cpu_request, new.cpu_limit) != (old.cpu_request, old.cpu_limit),
        (new.memory_request, new.memory_limit) != (old.memory_request, old.memory_limit),
    ]
}

/// Use at this share of the recorded limit was cut by it.
const CUT: f64 = 0.98;

/// Counts, of the samples that are judged, those cut by the recorded limit: what was wanted there is not known.
pub(crate) fn censor(recorded: &Sample, in_force: &Size, figures: &mut [Figures; 2]) {
    let cut = |used: Option<f64>, limit: Option<i64>| {
        used.zip(limit).is_some_and(|(used, limit)| believable(used) && used >= amount(limit) * CUT)
    };
    let cpu = in_force.cpu_request.is_some() && cut(recorded.cpu, recorded.cpu_limit.map(|it| it.0));
    let memory = in_force.memory_request.is_some() && cut(recorded.memory, recorded.memory_limit.map(|it| it.0));
    figures[0].censored += u64::from(cpu);
    figures[1].censored += u64::from(memory);
}

impl InForce {
    /// Judges what was in force. CPU by the limit where there is one, else by the request; memory likewise.
    pub(crate) fn judge(&mut self, sample: &Sample, hours: [f64; 2], total: &mut [Figures; 2]) {
        for (resource, hours) in Resource::ALL.into_iter().zip(hours) {
            let place = usize::from(resource == Resource::Memory);
            let (used, request, limit) = match resource {
                Resource::Cpu => (sample.cpu, self.size.cpu_request.map(|it| it.0), self.size.cpu_limit.map(|it| it.0)),
                Resource::Memory => {
                    (sample.memory, self.size.memory_request.map(|it| it.0), self.size.memory_limit.map(|it| it.0))
                }
            };
            let (Some(used), Some(request)) = (used.filter(|it| believable(*it)), request) else {
                continue;
            };
            let mine = &mut self.came_to[place];
            let figures = &mut total[place];
            figures.in_event = mine.in_event;
            figures.judge(used, request, hours);
            let allowed = amount(limit.unwrap_or(request));
            if limit.is_some_and(|it| it != request) {
                // Judged by the request above; what counts as over is the limit.
                let (by_request, by_limit) = (used > amount(request), used > allowed);
                figures.over = figures.over + u64::from(by_limit) - u64::from(by_request);
                figures.events =
                    figures.events + u64::from(by_limit && !mine.in_event) - u64::from(by_request && !mine.in_event);
                figures.in_event = by_limit;
            }
            mine.in_event = figures.in_event;
            // What a footprint is made of, by pod too.
            mine.reserved += amount(request) * hours;
            mine.used += used * hours;
        }
    }

    /// A kill, when memory passes the limit in force and did not a sample ago.
    fn kill(&mut self, sample: &Sample) -> Option<OutOfMemory> {
        let limit = self.size.memory_limit?;
        let used = sample.memory.filter(|it| believable(*it))?;
        let over = used > amount(limit.0);
        let killed = over && !self.killed;
        self.killed = over;
        killed.then_some(OutOfMemory {
            time: sample.time,
            limit: Some(limit),
            request: self.size.memory_request,
            peak: Some(used),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours that samples at these times stand for.
    fn hours(times: impl Iterator<Item = i64>) -> f64 {
        let mut interval = Interval::default();
        times.filter_map(|it| interval.next(it)).sum()
    }

    #[track_caller]
    fn check(times: impl Iterator<Item = i64>, wanted: f64) {
        let told = hours(times);
        assert!((told - wanted).abs() <= wanted * 0.02, "{told} h in place of {wanted} h");
    }

    #[test]
    fn samples_stand_for_the_time_they_cover() {
        check((0..1000).map(|it| it * 300), 83.3);
        check((0..1000).map(|it| it * 300 + it % 2 * 7), 83.3);
        // Twice a minute from the middle on, and once an hour.
        check((0..500).map(|it| it * 300).chain((0..1000).map(|it| 150_000 + it * 30)), 50.0);
        check((0..500).map(|it| it * 300).chain((0..200).map(|it| 150_000 + it * 3600)), 240.5);
    }

    #[test]
    fn samples_close_together_make_no_gaps_of_all_others() {
        // Every tenth is followed by another a second later, as two that scrape the same do; and five in a row.
        check((0..1000).flat_map(|it| [Some(it * 300), (it % 10 == 0).then_some(it * 300 + 1)]).flatten(), 83.3);
        check((0..1000).flat_map(|it| [it * 300, it * 300 + 1]), 83.3);
        check((0..5).chain((1..1000).map(|it| it * 300)), 83.3);
    }

    /// Hours that CPU and memory stand for, where they were recorded at these times.
    #[track_caller]
    fn check_both(of: impl Iterator<Item = (i64, [bool; 2])>, wanted: f64) {
        let mut intervals = Intervals::default();
        let told = of.filter_map(|(time, recorded)| intervals.next(time, recorded));
        let told = told.fold([0.0; 2], |sum, it| [sum[0] + it[0], sum[1] + it[1]]);
        for told in told {
            assert!((told - wanted).abs() <= wanted * 0.02, "{told} h in place of {wanted} h");
        }
    }

    #[test]
    fn each_resource_stands_for_the_time_since_it_was_recorded_itself() {
        // Two queries of Prometheus a second apart, with a step of a minute.
        check_both((0..1000).flat_map(|it| [(it * 60, [true, false]), (it * 60 + 1, [false, true])]), 16.67);
        // Memory in each fourth row.
        check_both((0..4000).map(|it| (it * 15, [true, it % 4 == 0])), 16.67);
        // And the other way round, with rows of nothing.
        check_both((0..4000).map(|it| (it * 15, [it % 8 == 0, it % 2 == 0])), 16.67);
        // What comes late stands for nothing.
        let mut intervals = Intervals::default();
        assert_eq!(intervals.next(60, [true; 2]), Some([0.0; 2]));
        assert_eq!(intervals.next(60, [true; 2]), None);
        assert_eq!(intervals.next(60 + 3600, [false, true]), Some([0.0, 1.0]));
    }

    /// Seconds that the samples after these steps stand for.
    #[track_caller]
    fn check_steps(steps: &[i64], wanted: &[i64]) {
        let (mut interval, mut time) = (Interval::default(), 0);
        assert_eq!(interval.next(time), Some(0.0), "the first stands for nothing");
        let told = steps.iter().map(|step| {
            time += step;
            supple_recommend::sample::whole(interval.next(time).unwrap() * 3600.0)
        });
        assert_eq!(told.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_gap_counts_as_one_interval() {
        check((0..1000).filter(|it| !(300..700).contains(it)).map(|it| it * 300), 50.0);
        check_steps(&[60, 60, 180, 60, 7200, 60, 60], &[60, 60, 180, 60, 86, 60, 60]);
        // The second of two that are close is one, too; and they may come again and again.
        check_steps(&[60, 60, 7200, 60, 250, 60, 60], &[60, 60, 60, 60, 60, 60, 60]);
        check_steps(&[60, 60, 7200, 60, 60, 60, 7200, 60, 60], &[60; 9]);
        check((0..10_000).filter(|it| it % 500 > 4).map(|it| it * 60), 10_000.0 * 0.99 / 60.0);
        check((0..10_000).map(|it| (it + it / 10 * 50) * 60), 10_000.0 / 60.0);
    }

    #[test]
    fn gaps_that_are_none_are_the_interval() {
        check_steps(&[60, 60, 300, 300, 300, 60], &[60, 60, 60, 300, 300, 60]);
        // After an outage, before one, and between two.
        check_steps(&[60, 60, 7200, 300, 300, 300], &[60, 60, 60, 300, 300, 300]);
        check_steps(&[60, 60, 300, 7200, 300, 300], &[60, 60, 60, 300, 300, 300]);
        // Three that write the same, of which none knows of the others.
        check((0..1000).flat_map(|it| [0, 7, 20].map(|at| it * 60 + at)), 16.67);
    }
}
