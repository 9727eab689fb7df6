//! Series of CPU and of memory into the samples of containers. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use supple_recommend::sample::{Sample, believable};

use super::answer::Series;
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

/// The past of one container of one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Namespace of the pod.
    pub namespace: Arc<str>,
    /// Name of the pod.
    pub pod: Arc<str>,
    /// Name of the container.
    pub container: Arc<str>,
    /// Its samples, oldest first.
    pub samples: Vec<Sample>,
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
    /// 10,000 containers of a namespace, and eight days of 2,000 of them at five minutes: about 400 MB at the very most.
    fn default() -> Self {
        Self { series: 10_000, samples: 5_000_000 }
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
pub struct Gather {
    limits: Limits,
    points: usize,
    containers: BTreeMap<Name, BTreeMap<i64, Sample>>,
    /// Series that name no container, and the like.
    left_out: usize,
}

impl Gather {
    /// Nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, points: 0, containers: BTreeMap::new(), left_out: 0 }
    }

    /// Take in a series. One without the labels that name a container is left out and counted. Two of one container and
    /// moment (two runs of it, or two servers that both watched) count with the higher value.
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
        let samples = self.containers.entry((namespace, pod, container)).or_default();
        for (time, value) in series.values.iter().chain(&series.value) {
            // Prometheus writes NaN for what is stale, and a rate over a reset may be negative.
            let Some(value) = value.parse().ok().filter(|it| believable(*it)) else { continue };
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
            let time = time.floor() as i64;
            let sample = samples.entry(time).or_insert_with(|| {
                self.points += 1;
                Sample { time, ..Sample::default() }
            });
            let (field, value) = match of {
                Of::Cpu => (&mut sample.cpu, value * 1000.0),
                Of::Memory => (&mut sample.memory, value),
                Of::Throttled => (&mut sample.throttled, value.min(1.0)),
            };
            *field = Some(field.map_or(value, |before| before.max(value)));
        }
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
        let past = |((namespace, pod, container), samples): (_, BTreeMap<i64, Sample>)| Past {
            namespace,
            pod,
            container,
            samples: samples.into_values().collect(),
        };
        self.containers.into_iter().map(past).filter(|it| !it.samples.is_empty()).collect()
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

    #[test]
    fn cpu_and_memory_meet_at_their_moments() {
        let mut all = Gather::new(Limits::default());
        all.take(Of::Memory, &series(C, &[(60.0, "100"), (120.0, "90")])).unwrap();
        all.take(Of::Cpu, &series(C, &[(60.0, "0.5"), (180.0, "0.25")])).unwrap();
        all.take(Of::Throttled, &series(C, &[(60.0, "1.5")])).unwrap();
        let past = all.finish();
        let told: Vec<_> = past[0].samples.iter().map(|it| (it.time, it.cpu, it.memory, it.throttled)).collect();
        let expect =
            [(60, Some(500.0), Some(100.0), Some(1.0)), (120, None, Some(90.0), None), (180, Some(250.0), None, None)];
        assert_eq!(told, expect);
    }

    #[test]
    fn what_is_stale_or_odd_is_no_sample_and_of_two_the_higher_counts() {
        let mut all = Gather::new(Limits::default());
        let odd = [(1.0, "NaN"), (2.0, "-1"), (3.0, "+Inf"), (4.0, "x"), (5.0, "1")];
        all.take(Of::Memory, &series(C, &odd)).unwrap();
        all.take(Of::Memory, &series(C, &[(5.0, "3")])).unwrap();
        all.take(Of::Memory, &series(C, &[(5.0, "2")])).unwrap();
        let samples = all.finish().remove(0).samples;
        assert_eq!((samples.len(), samples[0].memory), (1, Some(3.0)));
    }

    #[test]
    fn what_names_no_container_is_counted() {
        let mut all = Gather::new(Limits::default());
        all.take(Of::Cpu, &series(&[("namespace", "n"), ("pod", "p")], &[(1.0, "1")])).unwrap();
        all.take(Of::Cpu, &series(&[("namespace", "n"), ("pod", "p"), ("container", "POD")], &[])).unwrap();
        assert_eq!((all.left_out(), all.finish()), (2, Vec::new()));
    }

    #[test]
    fn too_much_is_said() {
        let limits = Limits { series: 1, samples: 2 };
        let mut all = Gather::new(limits);
        let error = all.take(Of::Cpu, &series(C, &[(1.0, "1"), (2.0, "1"), (3.0, "1")])).unwrap_err();
        assert_eq!(error, TooMuch { what: "samples", limit: 2 });
        let mut all = Gather::new(limits);
        all.take(Of::Cpu, &series(C, &[])).unwrap();
        let other = [("namespace", "n"), ("pod", "q"), ("container", "c")];
        assert_eq!(all.take(Of::Cpu, &series(&other, &[])).unwrap_err().what, "series");
    }
}
