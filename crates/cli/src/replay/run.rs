//! The replay of whole recordings: who reads, who computes, and in which order results come out.
//!
//! ```text
//!            ┌▶ worker 0: lanes of workloads 0, n, 2n ...
//! reader ────┼▶ worker 1: ...                          ───▶ results, sorted by name
//!  (twice)   └▶ worker n-1                                   (the same whatever n is)
//! ```
//!
//! A recording in which every workload's samples come in the order of time is streamed: nothing grows with its length.
//! One in which pods of a workload come one after another, and any answer of Prometheus, is gathered and sorted first.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use supple_recommend::sample::Sample;
use supple_replay::workload::Change;

use super::csv;
use super::lane::{self, Lane, Wish};
use super::open::{Kind, kind, open};
use super::policy::Contender;
use super::progress::Progress;
use super::prometheus::{self, Joined};
use super::row::{InputError, Series};

/// Samples handed over at once, and how many such bundles may wait.
const BUNDLE: usize = 2048;
const WAITING: usize = 8;

/// What to replay, and how.
pub struct Setup<'a> {
    /// Under which names and rules.
    pub contenders: &'a [Contender],
    /// Files, in order.
    pub files: &'a [PathBuf],
    /// What lanes keep.
    pub wish: Wish,
    /// With the bound.
    pub bound: bool,
    /// Skip what is wrong.
    pub lenient: bool,
    /// Threads.
    pub jobs: usize,
    /// How many of the largest workloads to record for drawing.
    pub draw: usize,
}

/// One workload's container.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Namespace, workload, container; `pod` is empty.
    pub name: Series,
    /// Names of the pods, by number.
    pub pods: Vec<String>,
    /// The figures.
    pub result: lane::Result,
    /// Changes of sizes, where wished for.
    pub changes: Vec<Change>,
    /// Samples of the first pod with what they stand for, where drawn.
    pub drawn: Vec<(f64, Sample)>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Sorted by name.
    pub workloads: Vec<Outcome>,
    /// What was skipped, and the first few reasons.
    pub skipped: u64,
    /// See `skipped`.
    pub reasons: Vec<String>,
    /// Samples read.
    pub samples: u64,
}

/// One sample on its way to a worker.
struct Item {
    lane: usize,
    pod: u32,
    line: u64,
    sample: Sample,
}

/// Names to numbers.
#[derive(Default)]
struct Names {
    series: HashMap<String, (usize, u32)>,
    lanes: HashMap<(String, String, String), usize>,
    names: Vec<(Series, Vec<String>)>,
    last: Option<(String, (usize, u32))>,
}

impl Names {
    /// The lane and pod of a key as it stands in a row.
    fn find(&mut self, key: &str) -> (usize, u32) {
        // Most recordings are written series by series.
        if let Some((last, found)) = &self.last
            && last == key
        {
            return *found;
        }
        let found = match self.series.get(key) {
            Some(found) => *found,
            None => {
                let mut parts = key.split(',').map(str::to_owned);
                let mut part = || parts.next().unwrap_or_default();
                let series = Series { namespace: part(), workload: part(), pod: part(), container: part() };
                let found = self.add(&series);
                self.series.insert(key.to_owned(), found);
                found
            }
        };
        self.last = Some((key.to_owned(), found));
        found
    }

    fn add(&mut self, series: &Series) -> (usize, u32) {
        let key = (series.namespace.clone(), series.workload.clone(), series.container.clone());
        let next = self.names.len();
        let lane = *self.lanes.entry(key).or_insert(next);
        if lane == next {
            self.names.push((Series { pod: String::new(), ..series.clone() }, Vec::new()));
        }
        let pods = &mut self.names[lane].1;
        let pod = u32::try_from(pods.len()).unwrap_or(u32::MAX);
        pods.push(series.pod.clone());
        (lane, pod)
    }
}

/// Replays.
pub fn replay(setup: &Setup<'_>, progress: &Progress) -> Result<Replayed, InputError> {
    let json = setup.files.iter().any(|path| kind(path) == Some(Kind::Json));
    let stdin = setup.files.iter().any(|path| path.as_os_str() == "-");
    if !json && !stdin {
        if let Some(streamed) = stream(setup, progress)? {
            return Ok(streamed);
        }
        progress.restart("pods of a workload come one after another: gathering");
    }
    gather(setup, progress)
}

/// Counts what is wrong, or stops at it.
struct Skipping {
    lenient: bool,
    count: u64,
    reasons: Vec<String>,
}

impl Skipping {
    fn take(&mut self, error: InputError) -> Result<(), InputError> {
        if !self.lenient {
            return Err(error);
        }
        self.count += 1;
        if self.reasons.len() < 5 {
            self.reasons.push(error.to_string().replace("; --lenient skips and counts what is wrong", ""));
        }
        Ok(())
    }
}

/// Two readings in bounded memory. `None`: the order of the rows does not allow it.
fn stream(setup: &Setup<'_>, progress: &Progress) -> Result<Option<Replayed>, InputError> {
    let mut names = Names::default();
    let mut skipping = Skipping { lenient: setup.lenient, count: 0, reasons: Vec::new() };
    let mut samples = 0;
    let disorder = AtomicBool::new(false);
    let mut workers: Vec<Worker> = (0..setup.jobs).map(|_| Worker::default()).collect();
    let first = read_all(
        setup,
        &mut names,
        &mut workers,
        &disorder,
        progress,
        &mut skipping,
        &mut samples,
        |worker, item, setup| worker.first(item, setup),
    )?;
    if !first {
        return Ok(None);
    }
    let drawn = largest(&workers, setup);
    if setup.bound || setup.draw > 0 {
        for (index, worker) in workers.iter_mut().enumerate() {
            worker.rewind();
            worker.drawn = drawn
                .iter()
                .filter(|lane| **lane % setup.jobs == index)
                .map(|lane| (*lane / setup.jobs, Vec::new()))
                .collect();
        }
        let mut again = Skipping { lenient: true, count: 0, reasons: Vec::new() };
        read_all(setup, &mut names, &mut workers, &disorder, progress, &mut again, &mut 0, |worker, item, setup| {
            worker.second(item, setup)
        })?;
    }
    // In the order of the lines, so that what is told does not depend on the number of workers.
    let mut late: Vec<(u64, i64)> = workers.iter_mut().flat_map(|worker| std::mem::take(&mut worker.late)).collect();
    late.sort_unstable();
    for (line, time) in late {
        skipping.take(late_row("input", line, time))?;
    }
    let mut workloads = Vec::new();
    for (lane, (name, pods)) in names.names.into_iter().enumerate() {
        let worker = &mut workers[lane % setup.jobs];
        let place = lane / setup.jobs;
        if let Some(found) = worker.lanes.get_mut(place).and_then(Option::take) {
            let drawn = worker.drawn.remove(&place).unwrap_or_default();
            workloads.push(Outcome { name, pods, result: found.finish(setup.bound), changes: found.changes, drawn });
        }
    }
    workloads.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(Replayed { workloads, skipped: skipping.count, reasons: skipping.reasons, samples }))
}

/// One worker's lanes, by lane number divided by the number of workers.
#[derive(Default)]
struct Worker {
    lanes: Vec<Option<Lane>>,
    late: Vec<(u64, i64)>,
    drawn: BTreeMap<usize, Vec<(f64, Sample)>>,
}

impl Worker {
    /// False where the samples of a workload do not come in the order of time.
    fn first(&mut self, item: &Item, setup: &Setup<'_>) -> bool {
        let place = item.lane / setup.jobs;
        if self.lanes.len() <= place {
            self.lanes.resize_with(place + 1, || None);
        }
        let lane = self.lanes[place].get_or_insert_with(|| Lane::new(setup.contenders, setup.wish));
        let last = lane.last;
        if !lane.put(item.pod, &item.sample) {
            self.late.push((item.line, item.sample.time));
            return true;
        }
        last.is_none_or(|last| item.sample.time >= last)
    }

    fn second(&mut self, item: &Item, setup: &Setup<'_>) -> bool {
        let place = item.lane / setup.jobs;
        if let Some(lane) = self.lanes.get_mut(place).and_then(Option::as_mut)
            && let Some((hours, _)) = lane.put_again(item.pod, &item.sample)
            && item.pod == 0
            && let Some(drawn) = self.drawn.get_mut(&place)
        {
            drawn.push((hours, item.sample));
        }
        true
    }

    fn rewind(&mut self) {
        self.lanes.iter_mut().flatten().for_each(Lane::rewind);
    }
}

fn late_row(file: &str, line: u64, time: i64) -> InputError {
    let what = format!("time {time} is not after the row before it of the same pod");
    InputError::Wrong { file: file.to_owned(), place: format!("line {line}"), what }
}

/// The lanes that use most, for drawing.
fn largest(workers: &[Worker], setup: &Setup<'_>) -> Vec<usize> {
    let mut by_use: Vec<(f64, usize)> = Vec::new();
    for (index, worker) in workers.iter().enumerate() {
        for (place, lane) in worker.lanes.iter().enumerate() {
            if let Some(lane) = lane {
                by_use.push((weight(&lane.finish(false)), place * setup.jobs + index));
            }
        }
    }
    choose(by_use, setup.draw)
}

/// Core-hours, a core being worth four gibibytes.
fn weight(result: &lane::Result) -> f64 {
    result.figures.first().map_or(0.0, |[cpu, memory]| cpu.used / 1000.0 + memory.used / (4.0 * 1_073_741_824.0))
}

fn choose(mut by_use: Vec<(f64, usize)>, count: usize) -> Vec<usize> {
    by_use.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    by_use.into_iter().take(count).map(|(_, lane)| lane).collect()
}

/// Reads all files once and hands every sample to the worker of its lane. False where a worker found disorder.
#[expect(clippy::too_many_arguments, reason = "one private loop of two readings")]
fn read_all(
    setup: &Setup<'_>,
    names: &mut Names,
    workers: &mut [Worker],
    disorder: &AtomicBool,
    progress: &Progress,
    skipping: &mut Skipping,
    samples: &mut u64,
    work: impl Fn(&mut Worker, &Item, &Setup<'_>) -> bool + Sync,
) -> Result<bool, InputError> {
    let work = &work;
    std::thread::scope(|scope| {
        let mut senders: Vec<SyncSender<Vec<Item>>> = Vec::new();
        for worker in workers.iter_mut() {
            let (sender, receiver): (_, Receiver<Vec<Item>>) = sync_channel(WAITING);
            senders.push(sender);
            scope.spawn(move || {
                for bundle in receiver {
                    for item in bundle {
                        if !work(worker, &item, setup) {
                            disorder.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        let mut bundles: Vec<Vec<Item>> = senders.iter().map(|_| Vec::with_capacity(BUNDLE)).collect();
        let send = |to: usize, bundle: Vec<Item>| {
            // A worker only ends when its sender is dropped, so this cannot fail before.
            let _ = senders[to].send(bundle);
        };
        for path in setup.files {
            let file = path.display().to_string();
            let mut input = open(path).map_err(|source| InputError::Read { file: file.clone(), source })?;
            let mut row = |key: &str, sample: Sample, line: u64| {
                let (lane, pod) = names.find(key);
                *samples += 1;
                let to = lane % setup.jobs;
                bundles[to].push(Item { lane, pod, line, sample });
                if bundles[to].len() == BUNDLE {
                    send(to, std::mem::replace(&mut bundles[to], Vec::with_capacity(BUNDLE)));
                    progress.advance(BUNDLE);
                }
                Ok(())
            };
            csv::read(&file, &mut *input, &mut row, &mut |error| skipping.take(error))?;
            if disorder.load(Ordering::Relaxed) {
                return Ok(false);
            }
        }
        for (to, bundle) in bundles.into_iter().enumerate() {
            send(to, bundle);
        }
        drop(senders);
        Ok::<bool, InputError>(true)
    })
    .map(|read| read && !disorder.load(Ordering::Relaxed))
}

/// Everything in memory, sorted by workload and time.
fn gather(setup: &Setup<'_>, progress: &Progress) -> Result<Replayed, InputError> {
    let mut skipping = Skipping { lenient: setup.lenient, count: 0, reasons: Vec::new() };
    let mut joined = Joined::new();
    let mut samples = 0;
    for path in setup.files {
        let file = path.display().to_string();
        let mut input = open(path).map_err(|source| InputError::Read { file: file.clone(), source })?;
        if kind(path) == Some(Kind::Json) {
            prometheus::read(&file, &mut *input, &mut joined, &mut |error| skipping.take(error))?;
            continue;
        }
        let mut late = Vec::new();
        let mut row = |key: &str, sample: Sample, line: u64| {
            let mut parts = key.split(',').map(str::to_owned);
            let mut part = || parts.next().unwrap_or_default();
            let series = Series { namespace: part(), workload: part(), pod: part(), container: part() };
            let of = joined.entry(series).or_default();
            if of.last_key_value().is_some_and(|(last, _)| sample.time <= *last) {
                late.push((line, sample.time));
            } else {
                of.insert(sample.time, sample);
            }
            progress.advance(1);
            Ok(())
        };
        csv::read(&file, &mut *input, &mut row, &mut |error| skipping.take(error))?;
        for (line, time) in late {
            skipping.take(late_row(&file, line, time))?;
        }
    }
    let mut names = Names::default();
    let mut lanes: Vec<Vec<(u32, Sample)>> = Vec::new();
    for (series, of) in joined {
        let (lane, pod) = names.add(&series);
        lanes.resize_with(lanes.len().max(lane + 1), Vec::new);
        samples += u64::try_from(of.len()).unwrap_or(0);
        lanes[lane].extend(of.into_values().map(|sample| (pod, sample)));
    }
    for lane in &mut lanes {
        lane.sort_by_key(|(pod, sample)| (sample.time, *pod));
    }
    progress.restart("replaying");
    let mut results: Vec<Option<(lane::Result, Vec<Change>)>> = Vec::new();
    results.resize_with(lanes.len(), || None);
    let share = lanes.len().div_ceil(setup.jobs).max(1);
    std::thread::scope(|scope| {
        for (lanes, results) in lanes.chunks(share).zip(results.chunks_mut(share)) {
            scope.spawn(move || {
                for (samples, result) in lanes.iter().zip(results) {
                    let mut lane = Lane::new(setup.contenders, setup.wish);
                    for (pod, sample) in samples {
                        lane.put(*pod, sample);
                    }
                    if setup.bound {
                        lane.rewind();
                        for (pod, sample) in samples {
                            lane.put_again(*pod, sample);
                        }
                    }
                    *result = Some((lane.finish(setup.bound), std::mem::take(&mut lane.changes)));
                }
            });
        }
    });
    let by_use = results.iter().enumerate().filter_map(|(lane, it)| Some((weight(&it.as_ref()?.0), lane))).collect();
    let drawn = choose(by_use, setup.draw);
    let mut workloads: Vec<Outcome> = Vec::new();
    for (lane, ((name, pods), result)) in names.names.into_iter().zip(results).enumerate() {
        let Some((result, changes)) = result else { continue };
        let drawn = if drawn.contains(&lane) { first_pod(&lanes[lane]) } else { Vec::new() };
        workloads.push(Outcome { name, pods, result, changes, drawn });
    }
    workloads.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Replayed { workloads, skipped: skipping.count, reasons: skipping.reasons, samples })
}

fn first_pod(samples: &[(u32, Sample)]) -> Vec<(f64, Sample)> {
    let mut interval = supple_replay::workload::Interval::default();
    let first = samples.iter().filter(|(pod, _)| *pod == 0);
    first.filter_map(|(_, sample)| Some((interval.next(sample.time)?, *sample))).collect()
}
