//! The pods of a recording, as a simulated cluster has them: each workload a stateful set, because its pods have names
//! that can be foretold, each pod playing what one recorded pod did.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use supple_cluster::simulate::{Course, Kind, Part, Population, Reading, Recording, Size, Workload};
use supple_recommend::sample::Sample;
use supple_recordings::names::{Names, Place};
use supple_recordings::open;
use supple_recordings::row::{InputError, Sink};

use crate::exit::Failure;

/// Requests are so many percent of the most that was used, and limits twice that: what was recorded has no sizes.
const REQUESTED: u64 = 120;

/// No copy is further ahead of the recording than this part of it: what is together in it stays together.
const COPIES_APART: u32 = 8;

/// A recording, read.
#[derive(Debug, Default)]
pub struct Recorded {
    workloads: BTreeMap<(String, String), BTreeMap<String, Pod>>,
    length: u32,
}

/// What was recorded of a pod, by container.
type Pod = BTreeMap<String, Lived>;

/// What was recorded of a container.
#[derive(Debug, Default)]
struct Lived {
    readings: Vec<(i64, Reading)>,
    cpu_limit: u64,
    memory_limit: u64,
}

/// The pods of a simulated cluster, and what they play.
pub struct Staged {
    /// The workloads.
    pub population: Population,
    /// What each container uses.
    pub recording: Recording,
}

/// Read a recording in one of the forms that `supple replay` reads.
pub fn read(path: &Path) -> Result<Recorded, Failure> {
    let file = path.display().to_string();
    let mut taken = Taken::default();
    let read = open::read(path, &mut taken, &Arc::default());
    read.map_err(|error| match error {
        InputError::Read { .. } | InputError::Temporary { .. } => Failure::unreachable(error),
        error => Failure::refused(plain(&error.to_string())),
    })?;
    let recorded = taken.recorded();
    if recorded.workloads.is_empty() {
        return Err(Failure::refused(format!("{file}: it contains no usage")));
    }
    Ok(recorded)
}

/// `supple replay` offers to skip what is wrong; a cluster of half a recording would be no use.
fn plain(error: &str) -> String {
    error.replace("; --lenient skips and counts invalid rows", "")
}

/// Takes rows in whatever order they come.
#[derive(Default)]
struct Taken {
    names: Names,
    lived: Vec<(Place, Lived)>,
}

impl Taken {
    fn take(&mut self, place: Place, sample: &Sample) {
        while self.lived.len() <= place.series {
            self.lived.push((place, Lived::default()));
        }
        let (owner, lived) = &mut self.lived[place.series];
        *owner = place;
        let before = lived.readings.last().filter(|(at, _)| *at == sample.time).map(|(_, it)| *it);
        let last = lived.readings.last().map(|(_, it)| *it);
        // What a row does not say is what it was.
        let cpu =
            sample.cpu.map_or_else(|| last.map_or(0, |it| it.cpu), |it| u32::try_from(whole(it)).unwrap_or(u32::MAX));
        let memory = sample.memory.map_or_else(|| last.map_or(0, |it| it.memory()), whole);
        let reading = (sample.time, Reading::new(0, cpu, memory));
        match before {
            Some(_) => drop(lived.readings.pop().map(|_| lived.readings.push(reading))),
            None => lived.readings.push(reading),
        }
        let positive = |amount: i64| u64::try_from(amount).unwrap_or(0);
        lived.cpu_limit = sample.cpu_limit.map_or(lived.cpu_limit, |it| positive(it.0));
        lived.memory_limit = sample.memory_limit.map_or(lived.memory_limit, |it| positive(it.0));
    }

    fn recorded(self) -> Recorded {
        let Self { names, lived } = self;
        let times = || lived.iter().flat_map(|(_, it)| it.readings.iter().map(|(at, _)| *at));
        let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        let step = step(&lived);
        let length = u32::try_from(last.saturating_sub(first).saturating_add(step)).unwrap_or(u32::MAX);
        let mut recorded = Recorded { workloads: BTreeMap::new(), length };
        for (place, mut lived) in lived.into_iter().filter(|(_, it)| !it.readings.is_empty()) {
            let lane = &names.lanes()[place.lane].name;
            for (at, reading) in &mut lived.readings {
                reading.at = u32::try_from(*at - first).unwrap_or(u32::MAX);
            }
            let workload = if lane.workload.is_empty() { names.pod(place) } else { &lane.workload };
            let pods = recorded.workloads.entry((lane.namespace.clone(), workload.to_owned())).or_default();
            pods.entry(names.pod(place).to_owned()).or_default().insert(lane.container.clone(), lived);
        }
        recorded
    }
}

/// How far apart readings usually are: the loop takes so long from its last to its first.
fn step(lived: &[(Place, Lived)]) -> i64 {
    let steps = lived.iter().flat_map(|(_, it)| it.readings.windows(2).map(|pair| pair[1].0 - pair[0].0));
    let mut steps: Vec<i64> = steps.filter(|it| *it > 0).take(1000).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().unwrap_or(60)
}

fn whole(amount: f64) -> u64 {
    u64::try_from(supple_recommend::sample::whole(amount)).unwrap_or(0)
}

impl Sink for Taken {
    fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    fn row(&mut self, place: Place, sample: Sample, _line: u64) -> Result<bool, InputError> {
        self.take(place, &sample);
        Ok(true)
    }

    fn half(&mut self, place: Place, sample: Sample) -> Result<(), InputError> {
        self.take(place, &sample);
        Ok(())
    }

    fn wrong(&mut self, error: InputError) -> Result<(), InputError> {
        Err(error)
    }
}

impl Recorded {
    /// How many pods were recorded.
    pub fn pods(&self) -> u32 {
        u32::try_from(self.workloads.values().map(BTreeMap::len).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// So many pods in a loop that begins at `origin`. More than were recorded: each workload is so many times as large,
    /// its further pods somewhat ahead of those they copy. Fewer: as many workloads as have room.
    pub fn staged(self, pods: u32, origin: Timestamp) -> Staged {
        let times = pods.div_ceil(self.pods().max(1)).max(1);
        let mut recording = Recording::new(origin, self.length);
        let (mut population, mut left) = (Population::default(), pods);
        let mut taken = BTreeMap::<String, u32>::new();
        for ((namespace, workload), recorded) in self.workloads {
            let replicas = u32::try_from(recorded.len()).unwrap_or(u32::MAX).saturating_mul(times).min(left);
            if replicas == 0 {
                break;
            }
            left -= replicas;
            let namespace = label(&namespace);
            // Two names may come to the same once they are made fit.
            let full = format!("{namespace}/{}", label(&workload));
            let count = taken.entry(full.clone()).or_default();
            *count += 1;
            let name = match *count {
                1 => label(&workload),
                count => label(&format!("{}-{count}", label(&workload))),
            };
            let parts = stage(&mut recording, &namespace, &name, replicas, recorded, self.length);
            let kind = Kind::StatefulSet;
            population.workloads.push(Workload { namespace, name, kind, replicas, behaviour: "recorded", parts });
        }
        Staged { population, recording }
    }
}

/// Have the pods of a workload play those that were recorded, by turns; its containers.
fn stage(
    recording: &mut Recording,
    namespace: &str,
    workload: &str,
    replicas: u32,
    recorded: BTreeMap<String, Pod>,
    length: u32,
) -> Vec<Part> {
    let mut sizes = BTreeMap::<String, Size>::new();
    let count = u32::try_from(recorded.len()).unwrap_or(u32::MAX).max(1);
    for (index, containers) in (0..).zip(recorded.into_values()) {
        for (container, Lived { readings, cpu_limit, memory_limit }) in containers {
            let Some(course) = Course::new(readings.into_iter().map(|(_, it)| it).collect()) else { continue };
            let container = label(&container);
            grow(sizes.entry(container.clone()).or_default(), &course, cpu_limit, memory_limit);
            let course = Arc::new(course);
            for (turn, replica) in (0_u32..).zip((index..replicas).step_by(usize::try_from(count).unwrap_or(1))) {
                // The golden section of the part: copies are spread evenly, however many there are.
                let ahead = u64::from(turn) * 618 % 1000 * u64::from(length / COPIES_APART) / 1000;
                let ahead = u32::try_from(ahead).unwrap_or(0);
                recording.play(namespace, &format!("{workload}-{replica}"), &container, Arc::clone(&course), ahead);
            }
        }
    }
    sizes.into_iter().map(|(name, size)| Part { name, size, pattern: None }).collect()
}

/// All pods of a workload have one template: it suits the largest.
fn grow(size: &mut Size, course: &Course, cpu_limit: u64, memory_limit: u64) {
    let most = |amount: fn(&Reading) -> u64| course.readings().iter().map(amount).max().unwrap_or(0);
    let cpu = (most(|it| u64::from(it.cpu)) * REQUESTED / 100).max(1);
    let memory = (most(Reading::memory) * REQUESTED / 100).div_ceil(1 << 20).max(1);
    let limit = |recorded: u64, request: u64| if recorded > 0 { recorded.max(1) } else { request * 2 };
    size.cpu_limit = size.cpu_limit.max(limit(cpu_limit, cpu));
    size.memory_limit = size.memory_limit.max(limit(memory_limit >> 20, memory));
    size.cpu_request = size.cpu_request.max(cpu).min(size.cpu_limit);
    size.memory_request = size.memory_request.max(memory).min(size.memory_limit);
}

/// A name as Kubernetes takes it: lower case letters, digits and dashes, short enough for a number behind it.
fn label(name: &str) -> String {
    let fit = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(fit).take(52).collect();
    let name = name.trim_matches('-');
    match name.chars().next() {
        None => "unnamed".to_owned(),
        // A service's name begins with a letter, and a stateful set's is one.
        Some(first) if first.is_ascii_digit() => format!("n-{name}"),
        Some(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use supple_recordings::csv;

    fn recorded(text: &str) -> Recorded {
        let mut taken = Taken::default();
        let text =
            format!("time,namespace,workload,pod,container,cpu_cores,memory_bytes,cpu_limit,memory_limit\n{text}");
        csv::read("f.csv", &mut text.as_bytes(), &mut taken).unwrap();
        taken.recorded()
    }

    const TWO: &str = "1000,Shop,web,w1,app,0.1,1048576,,\n1060,Shop,web,w1,app,0.2,2097152,,\n\
                       1000,Shop,web,w2,app,0.3,1048576,2,\n1000,Shop,,job_7,main,0.5,1048576,,104857600\n";

    #[test]
    fn workloads_are_stateful_sets_that_play_their_pods() {
        let recorded = recorded(TWO);
        assert_eq!((recorded.pods(), recorded.length), (3, 120));
        let Staged { population, recording } = recorded.staged(3, Timestamp::UNIX_EPOCH);
        let told: Vec<_> =
            population.workloads.iter().map(|it| format!("{}/{} {}", it.namespace, it.name, it.replicas)).collect();
        assert_eq!(told, ["shop/job-7 1", "shop/web 2"]);
        assert_eq!(recording.len(), 3);
        let sizes: Vec<Size> = population.workloads.iter().map(|it| it.parts[0].size).collect();
        assert_eq!(sizes[0], Size { cpu_request: 600, cpu_limit: 1200, memory_request: 2, memory_limit: 100 });
        assert_eq!(sizes[1], Size { cpu_request: 360, cpu_limit: 2000, memory_request: 3, memory_limit: 6 });
    }

    #[test]
    fn more_pods_are_copies_and_fewer_are_the_first() {
        let of = |pods| recorded(TWO).staged(pods, Timestamp::UNIX_EPOCH);
        let Staged { population, recording } = of(8);
        assert_eq!((population.pods(), recording.len()), (8, 8));
        assert_eq!(of(1).population.pods(), 1);
    }

    #[test]
    fn names_are_made_fit() {
        #[track_caller]
        fn check(name: &str, expect: &str) {
            assert_eq!(label(name), expect);
        }
        check("web", "web");
        check("Web_Server.1", "web-server-1");
        check("--", "unnamed");
        check("7up", "n-7up");
        check(&"x".repeat(80), &"x".repeat(52));
    }
}
