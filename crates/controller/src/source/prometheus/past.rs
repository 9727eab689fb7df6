//! Series of CPU and of memory into the samples of containers, held small until they are learned from. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use supple_recommend::sample::{Sample, believable};

use super::answer::Series;
use super::part::PodName;
use crate::source::Name;

/// What a series is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Cores in use.
    Cpu,
    /// Working set in bytes.
    Memory,
    /// Share of CPU periods throttled, 0 to 1.
    Throttled,
}

/// What a server tells of one moment: 16 bytes, where a [`Sample`] with all that other sources tell has nine times as many. A
/// week of a container has 2,000 of them. Seven digits are more than any recommendation has.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    /// Seconds since 1970.
    second: u32,
    /// What was not told is no number.
    cpu: f32,
    memory: f32,
    throttled: f32,
}

impl Point {
    #[expect(clippy::cast_possible_truncation, reason = "the nearest `f32` is meant")]
    fn new(second: u32, of: Of, value: f64) -> Self {
        let nothing = Self { second, cpu: f32::NAN, memory: f32::NAN, throttled: f32::NAN };
        match of {
            Of::Cpu => Self { cpu: (value * 1000.0) as f32, ..nothing },
            Of::Memory => Self { memory: value as f32, ..nothing },
            Of::Throttled => Self { throttled: value.min(1.0) as f32, ..nothing },
        }
    }

    /// Both of one moment. [`f32::max`] knows that what is no number is less than any.
    fn and(self, other: Self) -> Self {
        Self {
            second: self.second,
            cpu: self.cpu.max(other.cpu),
            memory: self.memory.max(other.memory),
            throttled: self.throttled.max(other.throttled),
        }
    }

    fn sample(self) -> Sample {
        let told = |it: f32| Some(f64::from(it)).filter(|it| believable(*it));
        Sample {
            time: i64::from(self.second),
            cpu: told(self.cpu),
            memory: told(self.memory),
            throttled: told(self.throttled),
            ..Sample::default()
        }
    }
}

/// The past of one container of one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Namespace of the pod.
    pub namespace: Arc<str>,
    /// Name of the pod.
    pub pod: Arc<str>,
    /// Name of the container.
    pub container: Arc<str>,
    points: Vec<Point>,
}

impl Past {
    /// Its samples, oldest first.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample> + '_ {
        self.points.iter().map(|it| it.sample())
    }
}

/// Whether all of a past was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All that the server has.
    Whole,
    /// Perhaps not: it may raise a size, and is no reason to lower one.
    Partial,
}

/// Bounds on what is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Containers of pods.
    pub series: usize,
    /// Samples of all of them together.
    pub samples: usize,
}

impl Default for Limits {
    /// A week at five minutes of some 490 containers: 16 MB. Where a few pods can be asked for at once that is never reached; where they
    /// cannot, it is what fits beside everything else into the 256 MiB that the chart gives.
    fn default() -> Self {
        Self { series: 10_000, samples: 1_000_000 }
    }
}

/// There is more than was bargained for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are more than {limit} {what} in it: request less at once (a narrower query, a longer step)")]
pub struct TooMuch {
    /// `series` or `samples`.
    pub what: &'static str,
    /// How many may be.
    pub limit: usize,
}

/// Samples in the making.
#[derive(Clone, Debug)]
pub struct Gather<'a> {
    /// Whose past is wanted.
    wanted: &'a BTreeSet<PodName>,
    limits: Limits,
    points: usize,
    containers: BTreeMap<Name, Vec<Point>>,
    /// Series that name no container, and the like.
    left_out: usize,
}

impl<'a> Gather<'a> {
    /// Nothing yet of these pods.
    #[must_use]
    pub fn new(wanted: &'a BTreeSet<PodName>, limits: Limits) -> Self {
        Self { wanted, limits, points: 0, containers: BTreeMap::new(), left_out: 0 }
    }

    /// Take in a series, if it is wanted. One without the labels that name a container is left out and counted. Two of one container
    /// and moment (two runs of it, or two servers that both watched) count with the higher value.
    ///
    /// # Errors
    /// [`TooMuch`] of it.
    pub fn take(&mut self, of: Of, series: &Series) -> Result<(), TooMuch> {
        let label = |names: &[&str]| {
            let found = names.iter().find_map(|name| series.metric.get(*name)).map(String::as_str);
            found.filter(|it| !it.is_empty() && *it != "POD").map(Arc::<str>::from)
        };
        let name = (label(&["namespace"]), label(&["pod", "pod_name"]), label(&["container", "container_name"]));
        let (Some(namespace), Some(pod), Some(container)) = name else {
            self.left_out += 1;
            return Ok(());
        };
        let pod = (namespace, pod);
        if !self.wanted.contains(&pod) {
            return Ok(()); // gone, and taught what it could by whoever saw it; or of a part that is asked for later
        }
        let points = self.containers.entry((pod.0, pod.1, container)).or_default();
        let before = points.len();
        points.extend(series.values.iter().chain(&series.value).filter_map(|(time, value)| {
            // Prometheus writes NaN for what is stale, and a rate over a reset may be negative.
            let value = value.parse().ok().filter(|it| believable(*it))?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
            Some(Point::new(time.floor() as u32, of, value))
        }));
        // Two runs that are in order already: as good as a merge. What is held has no room to spare.
        points.sort_by_key(|it| it.second);
        points.dedup_by(|later, kept| {
            let is_same = later.second == kept.second;
            if is_same {
                *kept = kept.and(*later);
            }
            is_same
        });
        points.shrink_to_fit();
        self.points += points.len() - before;
        let Limits { series, samples } = self.limits;
        if self.containers.len() > series {
            return Err(TooMuch { what: "series", limit: series });
        }
        if self.points > samples {
            return Err(TooMuch { what: "samples", limit: samples });
        }
        Ok(())
    }

    /// How many series named no container.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// What was gathered, by name.
    #[must_use]
    pub fn finish(self) -> Vec<Past> {
        let past = |((namespace, pod, container), points)| Past { namespace, pod, container, points };
        self.containers.into_iter().map(past).filter(|it| !it.points.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)], values: &[(f64, &str)]) -> Series {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Series {
            metric: labels.iter().map(own).collect(),
            values: values.iter().map(|(time, value)| (*time, (*value).to_owned())).collect(),
            value: None,
        }
    }

    const C: &[(&str, &str)] = &[("namespace", "n"), ("pod", "p"), ("container", "c")];

    fn wanted() -> BTreeSet<PodName> {
        ["p", "q"].map(|it| (Arc::from("n"), Arc::from(it))).into()
    }

    #[test]
    fn cpu_and_memory_meet_at_their_moments() {
        let wanted = wanted();
        let mut all = Gather::new(&wanted, Limits::default());
        all.take(Of::Memory, &series(C, &[(60.0, "100"), (120.0, "90")])).unwrap();
        all.take(Of::Cpu, &series(C, &[(60.0, "0.5"), (180.0, "0.25")])).unwrap();
        all.take(Of::Throttled, &series(C, &[(60.0, "1.5")])).unwrap();
        let past = all.finish();
        let told: Vec<_> = past[0].samples().map(|it| (it.time, it.cpu, it.memory, it.throttled)).collect();
        let expect =
            [(60, Some(500.0), Some(100.0), Some(1.0)), (120, None, Some(90.0), None), (180, Some(250.0), None, None)];
        assert_eq!(told, expect);
    }

    #[test]
    fn what_is_stale_or_odd_is_no_sample_and_of_two_the_higher_counts() {
        let wanted = wanted();
        let mut all = Gather::new(&wanted, Limits::default());
        let odd = [(1.0, "NaN"), (2.0, "-1"), (3.0, "+Inf"), (4.0, "x"), (5.0, "1")];
        all.take(Of::Memory, &series(C, &odd)).unwrap();
        all.take(Of::Memory, &series(C, &[(5.0, "3")])).unwrap();
        all.take(Of::Memory, &series(C, &[(5.0, "2")])).unwrap();
        let samples: Vec<_> = all.finish()[0].samples().map(|it| (it.time, it.memory)).collect();
        assert_eq!(samples, [(5, Some(3.0))]);
    }

    #[test]
    fn what_names_no_container_is_counted_and_what_is_not_wanted_is_not_held() {
        let wanted = wanted();
        let mut all = Gather::new(&wanted, Limits { series: 0, samples: 0 });
        let gone = [("namespace", "n"), ("pod", "gone"), ("container", "c")];
        all.take(Of::Cpu, &series(&gone, &[(1.0, "1")])).unwrap();
        all.take(Of::Cpu, &series(&[("namespace", "n"), ("pod", "p")], &[(1.0, "1")])).unwrap();
        all.take(Of::Cpu, &series(&[("namespace", "n"), ("pod", "p"), ("container", "POD")], &[])).unwrap();
        assert_eq!((all.left_out(), all.finish()), (2, Vec::new()));
    }

    #[test]
    fn what_is_held_of_a_moment_is_small() {
        assert_eq!(size_of::<Point>(), 16);
        let wanted = wanted();
        let mut all = Gather::new(&wanted, Limits::default());
        let week: Vec<(f64, &str)> = (0..2017).map(|it| (f64::from(it * 300), "1")).collect();
        for of in [Of::Cpu, Of::Memory, Of::Throttled] {
            all.take(of, &series(C, &week)).unwrap();
        }
        let past = all.finish();
        assert_eq!((past[0].samples().len(), past[0].points.capacity()), (2017, 2017));
    }

    #[test]
    fn too_much_is_said() {
        let limits = Limits { series: 1, samples: 2 };
        let wanted = wanted();
        let mut all = Gather::new(&wanted, limits);
        let error = all.take(Of::Cpu, &series(C, &[(1.0, "1"), (2.0, "1"), (3.0, "1")])).unwrap_err();
        assert_eq!(error, TooMuch { what: "samples", limit: 2 });
        let mut all = Gather::new(&wanted, limits);
        all.take(Of::Cpu, &series(C, &[])).unwrap();
        let other = [("namespace", "n"), ("pod", "q"), ("container", "c")];
        assert_eq!(all.take(Of::Cpu, &series(&other, &[])).unwrap_err().what, "series");
    }
}
