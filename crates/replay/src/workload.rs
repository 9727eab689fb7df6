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

/// A gap of more than so many usual intervals is a gap, and counts as one interval.
const GAP: i64 = 3;

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
    over: [bool; 2],
    figures: [Figures; 2],
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

/// How long a sample stands for, told from the samples themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interval {
    last: Option<i64>,
    usual: Option<i64>,
    /// The usual interval in hours.
    hours: f64,
}

impl Interval {
    /// Hours a sample at this time stands for; `None` where it is not after the last one.
    pub fn next(&mut self, time: i64) -> Option<f64> {
        let Some(last) = self.last.replace(time) else {
            return Some(amount(self.usual.unwrap_or(0)) / 3600.0);
        };
        let step = time - last;
        if self.usual == Some(step) {
            return Some(self.hours); // nearly always
        }
        if step <= 0 {
            self.last = Some(last);
            return None;
        }
        let usual = self.usual.unwrap_or(step);
        // Slowly down: two samples that happen to lie close are no new interval. Up at once where what seemed a gap comes again, or
        // all that follows would be gaps for ever.
        let next = if step < usual {
            (7 * usual + step) / 8
        } else if step <= usual * GAP {
            (3 * usual + step) / 4
        } else {
            2 * usual + 1 // more than a short step takes away again
        }
        .max(1);
        (self.usual, self.hours) = (Some(next), amount(next) / 3600.0);
        Some(amount(if step > usual * GAP { usual } else { step }) / 3600.0)
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

    /// A sample of a pod that stands for so many hours. Changes are given to `changed`.
    pub fn put(&mut self, pod: Pod, sample: &Sample, hours: f64, mut changed: impl FnMut(Change)) {
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
        self.pods.iter().filter_map(|it| it.figures[place].footprint()).collect()
    }

    fn put(&mut self, pod: Pod, sample: &Sample, hours: f64, counts: bool) -> Option<Size> {
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
        let first = size == Size::default();
        in_force.size = new;
        in_force.changed = Some(sample.time);
        if counts && !first {
            for ((figures, changed), restarts) in
                self.figures.iter_mut().zip(changed(&size, &new)).zip(self.decide.restarts)
            {
                figures.resizes += u64::from(changed);
                figures.restarts += u64::from(changed && restarts);
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
    pub(crate) fn judge(&mut self, sample: &Sample, hours: f64, total: &mut [Figures; 2]) {
        for resource in Resource::ALL {
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
            let mine = &mut self.figures[place];
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
            (mine.samples, mine.reserved, mine.used) =
                (mine.samples + 1, mine.reserved + amount(request) * hours, mine.used + used * hours);
        }
    }

    /// A kill, when memory passes the limit in force and did not a sample ago.
    fn kill(&mut self, sample: &Sample) -> Option<OutOfMemory> {
        let limit = self.size.memory_limit?;
        let used = sample.memory.filter(|it| believable(*it))?;
        let over = used > amount(limit.0);
        let killed = over && !self.over[1];
        self.over[1] = over;
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

    #[test]
    fn a_gap_counts_as_one_interval() {
        check((0..1000).filter(|it| !(300..700).contains(it)).map(|it| it * 300), 50.0);
    }
}
