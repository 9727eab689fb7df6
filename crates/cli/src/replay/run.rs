//! The replay of whole recordings: who reads, who computes, and in which order results come out.
//!
//! ```text
//!            ┌▶ worker 0: lanes 0, n, 2n ...  ─▶ changes of sizes, outside of memory
//! reader ────┼▶ worker 1: ...                 ─▶ ...
//!  (twice)   └▶ worker n-1                    ─▶ figures, sorted by name: the same whatever n is
//! ```
//!
//! The first reading is for the strategies, the second for the bound, which must know beforehand how far use reaches. What
//! is kept is what each lane knows: nothing grows with the length of a recording.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use supple_recommend::sample::Sample;
use supple_replay::workload::Change;

use super::change::{Changed, Changes};
use super::drawing::Drawing;
use super::lane::{self, Lane};
use super::policy::Contender;
use super::progress::Progress;
use super::row::{InputError, Series};
use super::source::{Known, Recording, temporary};
use super::spill::Log;

/// Samples handed over at once, and how many such bundles may wait: more than a month of minutes of one series, so that two
/// workers can be busy where one series follows another.
const BUNDLE: usize = 2048;
const WAITING: usize = 48;

/// What to replay, and how.
pub struct Setup<'a> {
    /// Under which names and rules.
    pub contenders: &'a [Contender],
    /// Seconds of learning left out of the figures.
    pub warmup: i64,
    /// With the bound.
    pub bound: bool,
    /// Threads.
    pub jobs: usize,
    /// Keep every change of a size.
    pub changes: bool,
    /// How many of the largest workloads to record for drawing.
    pub draw: usize,
}

/// One workload's container.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Its number in the recording.
    pub lane: usize,
    /// Namespace, workload, container; `pod` is empty.
    pub name: Series,
    /// The figures.
    pub result: lane::Result,
    /// Where drawn: the use of the first pod, and the changes of its sizes.
    pub drawn: Option<(Drawing, Vec<Change>)>,
}

/// All of it.
pub struct Replayed {
    /// Sorted by name.
    pub workloads: Vec<Outcome>,
    /// Changes of sizes, where wished for.
    pub changes: Changes,
}

/// One sample on its way to a worker.
struct Item {
    lane: usize,
    pod: u32,
    sample: Sample,
}

/// Many of them, and the names of the pods that are new among them.
#[derive(Default)]
struct Bundle {
    names: Vec<(usize, u32, String)>,
    items: Vec<Item>,
}

/// Replays. Afterwards the recording can be read as it is, or was sorted.
pub fn replay(setup: &Setup<'_>, recording: &mut Recording<'_>, progress: &Progress) -> Result<Replayed, InputError> {
    if recording.must_be_sorted() {
        progress.restart("sorting");
        recording.sort(progress)?;
        progress.restart("replaying");
    }
    let mut workers = workers(setup)?;
    if !read_all(setup, recording, &mut workers, progress, Worker::first)? {
        progress.restart("pods of a workload come one after another: sorting");
        recording.sort(progress)?;
        progress.restart("replaying");
        workers = self::workers(setup)?;
        read_all(setup, recording, &mut workers, progress, Worker::first)?;
    }
    for worker in &mut workers {
        worker.flush(setup).map_err(temporary)?;
    }
    let drawn = largest(&workers, setup, &recording.known);
    if setup.bound || !drawn.is_empty() {
        progress.restart("finding the least possible");
        for (index, worker) in workers.iter_mut().enumerate() {
            worker.lanes.iter_mut().flatten().for_each(Lane::rewind);
            let own = drawn.iter().filter(|lane| **lane % setup.jobs == index);
            worker.drawn = own.map(|lane| (*lane / setup.jobs, Drawing::default())).collect();
        }
        read_all(setup, recording, &mut workers, progress, Worker::second)?;
    }
    let mut changes = Changes::default();
    for worker in &mut workers {
        changes.logs.extend(worker.log.take());
    }
    let mut of_drawn = changes_of(&mut changes, &workers, setup, &drawn).map_err(temporary)?;
    let mut workloads = Vec::new();
    for (lane, named) in recording.known.names.lanes().iter().enumerate() {
        let worker = &mut workers[lane % setup.jobs];
        let place = lane / setup.jobs;
        if let Some(found) = worker.lanes.get(place).and_then(Option::as_ref) {
            let drawing = worker.drawn.remove(&place);
            let drawn = drawing.map(|it| (it, of_drawn.remove(&lane).unwrap_or_default()));
            workloads.push(Outcome { lane, name: named.name.clone(), result: found.finish(setup.bound), drawn });
        }
    }
    workloads.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Replayed { workloads, changes })
}

/// One worker's lanes, by lane number divided by the number of workers.
struct Worker {
    index: usize,
    lanes: Vec<Option<Lane>>,
    log: Option<Log<Changed>>,
    failed: Option<io::Error>,
    drawn: BTreeMap<usize, Drawing>,
}

fn workers(setup: &Setup<'_>) -> Result<Vec<Worker>, InputError> {
    let one = |index| {
        let log = if setup.changes { Some(Log::new()?) } else { None };
        Ok(Worker { index, lanes: Vec::new(), log, failed: None, drawn: BTreeMap::new() })
    };
    (0..setup.jobs).map(one).collect::<io::Result<_>>().map_err(temporary)
}

impl Worker {
    fn first(&mut self, bundle: Bundle, setup: &Setup<'_>) {
        for (lane, pod, name) in bundle.names {
            let place = lane / setup.jobs;
            if self.lanes.len() <= place {
                self.lanes.resize_with(place + 1, || None);
            }
            self.lanes[place].get_or_insert_with(|| Lane::new(setup.contenders, setup.warmup)).name(pod, name);
        }
        let (log, failed) = (&mut self.log, &mut self.failed);
        for item in bundle.items {
            if let Some(lane) = self.lanes.get_mut(item.lane / setup.jobs).and_then(Option::as_mut) {
                lane.put(item.pod, &item.sample, &mut |change| note(log, failed, item.lane, change));
            }
        }
    }

    /// Takes in the last samples. An error: a change could not be kept.
    fn flush(&mut self, setup: &Setup<'_>) -> io::Result<()> {
        let (log, failed) = (&mut self.log, &mut self.failed);
        for (place, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(lane) = lane {
                lane.flush(&mut |change| note(log, failed, place * setup.jobs + self.index, change));
            }
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    fn second(&mut self, bundle: Bundle, setup: &Setup<'_>) {
        for item in bundle.items {
            let place = item.lane / setup.jobs;
            if let Some(lane) = self.lanes.get_mut(place).and_then(Option::as_mut)
                && let Some(hours) = lane.put_again(item.pod, &item.sample)
                && let Some(drawing) = self.drawn.get_mut(&place)
                && lane.is_first(item.pod)
            {
                drawing.put(hours, &item.sample);
            }
        }
    }
}

/// Keeps a change where changes are wished for. What goes wrong is told when the reading ends.
fn note(log: &mut Option<Log<Changed>>, failed: &mut Option<io::Error>, lane: usize, change: Change) {
    if let Some(log) = log
        && failed.is_none()
    {
        *failed = log.put(&Changed { lane, change }).err();
    }
}

/// The changes of the first pods of the lanes that are drawn, by lane.
fn changes_of(
    changes: &mut Changes,
    workers: &[Worker],
    setup: &Setup<'_>,
    drawn: &BTreeSet<usize>,
) -> io::Result<BTreeMap<usize, Vec<Change>>> {
    let mut found = BTreeMap::<usize, Vec<Change>>::new();
    if drawn.is_empty() {
        return Ok(found);
    }
    for log in &mut changes.logs {
        log.each(|it: Changed| {
            let lane = workers[it.lane % setup.jobs].lanes.get(it.lane / setup.jobs).and_then(Option::as_ref);
            if drawn.contains(&it.lane) && lane.is_some_and(|lane| lane.is_first(it.change.pod)) {
                found.entry(it.lane).or_default().push(it.change);
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// The lanes that use most, for drawing; of equals those named first.
fn largest(workers: &[Worker], setup: &Setup<'_>, known: &Known) -> BTreeSet<usize> {
    let ranks = known.names.ranks();
    let mut by_use: Vec<(f64, u32, usize)> = Vec::new();
    for worker in workers.iter().filter(|_| setup.draw > 0) {
        for (place, lane) in worker.lanes.iter().enumerate() {
            let number = place * setup.jobs + worker.index;
            if let Some(lane) = lane {
                by_use.push((weight(&lane.finish(false)), ranks[number], number));
            }
        }
    }
    by_use.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    by_use.into_iter().take(setup.draw).map(|(_, _, lane)| lane).collect()
}

/// Core-hours, a core being worth four gibibytes.
fn weight(result: &lane::Result) -> f64 {
    result.figures.first().map_or(0.0, |[cpu, memory]| cpu.used / 1000.0 + memory.used / (4.0 * 1_073_741_824.0))
}

/// Reads all once and hands every sample to the worker of its lane. False where the rows' order does not allow it.
fn read_all(
    setup: &Setup<'_>,
    recording: &mut Recording<'_>,
    workers: &mut [Worker],
    progress: &Progress,
    work: fn(&mut Worker, Bundle, &Setup<'_>),
) -> Result<bool, InputError> {
    std::thread::scope(|scope| {
        let mut senders: Vec<SyncSender<Bundle>> = Vec::new();
        for worker in workers.iter_mut() {
            let (sender, receiver): (_, Receiver<Bundle>) = sync_channel(WAITING);
            senders.push(sender);
            scope.spawn(move || receiver.into_iter().for_each(|bundle| work(worker, bundle, setup)));
        }
        let mut bundles: Vec<Bundle> = senders.iter().map(|_| Bundle::default()).collect();
        let mut named: Vec<bool> = Vec::new();
        let read = recording.each(progress, |names, place, sample| {
            let to = place.lane % setup.jobs;
            let bundle = &mut bundles[to];
            if !named.get(place.series).is_some_and(|it| *it) {
                named.resize(named.len().max(place.series + 1), false);
                named[place.series] = true;
                bundle.names.push((place.lane, place.pod, names.pod(place).to_owned()));
            }
            bundle.items.push(Item { lane: place.lane, pod: place.pod, sample: *sample });
            if bundle.items.len() >= BUNDLE {
                let full = Bundle { items: Vec::with_capacity(BUNDLE), names: Vec::new() };
                // A worker ends when its sender is dropped and not before, so this cannot fail.
                let _ = senders[to].send(std::mem::replace(bundle, full));
            }
        })?;
        for (to, bundle) in bundles.into_iter().enumerate() {
            let _ = senders[to].send(bundle);
        }
        Ok(read)
    })
}
