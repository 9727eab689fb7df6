//! The replay of whole recordings: who reads, who computes, and in which order results come out.
//!
//! ```text
//!            ┌▶ worker 0: lanes 0, n, 2n ...  ─▶ changes of sizes; samples: outside of memory ─▶ worker 0: bounds
//! reader ────┼▶ worker 1: ...                 ─▶ ...                                         ─▶ worker 1
//!            └▶ worker n-1                    ─▶ figures, sorted by name: the same whatever n is
//! ```
//!
//! Everything is gone through twice: for the strategies, and for the bound, which must know beforehand how far use reaches. The
//! recording is read once: what the bound needs is kept outside of memory, and only where there is no room for it the
//! recording is read again. In memory is what each lane knows: nothing grows with the length of a recording.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};

use supple_recommend::sample::Sample;
use supple_replay::workload::Change;

use crate::Contender;
use crate::Progress;
use crate::change::{Changed, Changes};
use crate::drawing::Drawing;
use crate::kept::{Kept, Short};
use crate::lane::{self, Lane, OfBound};
use crate::names::Place;
use crate::row::{InputError, Series};
use crate::source::{Known, Recording, temporary};
use crate::spill::Log;

/// Samples handed over at once: a worker takes them in lane by lane, for what a thousand lanes know is more than a processor keeps at
/// hand. And how many such bundles may wait: more than a month of minutes of one series, so that two workers can be busy where one
/// series follows another.
const BUNDLE: usize = 1 << 15;
const WAITING: usize = 3;

/// Samples fetched at once.
const FETCHED: usize = 64;

/// What to replay, and how.
pub struct Setup<'a> {
    /// Under which names and rules.
    pub contenders: &'a [&'a dyn Contender],
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
    /// Which others, as `NAME` or `NAMESPACE/NAME`.
    pub draw_named: &'a [String],
}

impl Setup<'_> {
    fn draws(&self) -> bool {
        self.draw > 0 || !self.draw_named.is_empty()
    }
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
    /// Its first pod.
    pub pod: String,
    /// How many pods it had.
    pub pods: usize,
}

/// All of it.
pub struct Replayed {
    /// Sorted by name.
    pub workloads: Vec<Outcome>,
    /// Changes of sizes, where wished for.
    pub changes: Changes,
}

/// One sample on its way to a worker: what nearly all rows say, in as few bytes as it takes.
#[derive(Clone, Copy)]
struct Item {
    lane: u32,
    pod: u32,
    time: i64,
    /// Not a number where it was not recorded.
    cpu: f64,
    /// See `cpu`.
    memory: f64,
}

/// Many of them, and the names of the pods that are new among them.
#[derive(Default)]
struct Bundle {
    names: Vec<(usize, u32, String)>,
    items: Vec<Item>,
    /// Of those items that say more the place and all of it, in their order.
    more: Vec<(usize, Sample)>,
}

/// Whether a sample says more than nearly all do.
const fn says_more(sample: &Sample) -> bool {
    let Sample {
        time: _,
        cpu: _,
        memory: _,
        cpu_limit,
        memory_limit,
        throttled,
        cpu_pressure,
        memory_pressure,
        memory_breached,
        restarts,
    } = sample;
    cpu_limit.is_some()
        || memory_limit.is_some()
        || throttled.is_some()
        || cpu_pressure.is_some()
        || memory_pressure.is_some()
        || *memory_breached
        || restarts.is_some()
}

impl Item {
    const fn short(&self) -> Short {
        Short { time: self.time, cpu: self.cpu, memory: self.memory }
    }
}

impl Bundle {
    fn put(&mut self, place: Place, sample: &Sample) {
        let Sample { time, cpu, memory, .. } = *sample;
        if says_more(sample) {
            self.more.push((self.items.len(), *sample));
        }
        let number = |it: Option<f64>| it.unwrap_or(f64::NAN);
        let lane = u32::try_from(place.lane).expect("fewer lanes than rows, of which each takes memory");
        self.items.push(Item { lane, pod: place.pod, time, cpu: number(cpu), memory: number(memory) });
    }

    /// Place among the worker's lanes, item and, where there is one, the whole sample of every item, lane by lane; within a lane as they
    /// came.
    fn each(&self, setup: &Setup<'_>, mut f: impl FnMut(usize, &Item, Option<&Sample>)) {
        let place = |item: &Item| index(item.lane) / setup.jobs;
        let mut ends = vec![0_u32; self.items.iter().map(place).max().map_or(0, |it| it + 2)];
        self.items.iter().for_each(|it| ends[place(it) + 1] += 1);
        (1..ends.len()).for_each(|at| ends[at] += ends[at - 1]);
        // Where each lane begins becomes, item by item, where it ends.
        let mut order = vec![0_u32; self.items.len()];
        for (item, at) in self.items.iter().zip(0..) {
            let to = &mut ends[place(item)];
            order[index(*to)] = at;
            *to += 1;
        }
        // Fetched many at a time: one waits for another no longer then, and they come from far.
        let mut fetched = Vec::with_capacity(FETCHED);
        for part in order.chunks(FETCHED) {
            fetched.clear();
            fetched.extend(part.iter().map(|at| self.items[index(*at)]));
            for (item, at) in fetched.iter().zip(part) {
                let all = self.more.binary_search_by_key(&index(*at), |it| it.0).ok().map(|it| &self.more[it].1);
                f(place(item), item, all);
            }
        }
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Replays. Afterwards the recording can be read as it is, or was sorted.
pub fn replay(
    setup: &Setup<'_>,
    recording: &mut Recording<'_>,
    progress: &dyn Progress,
) -> Result<Replayed, InputError> {
    if recording.must_be_sorted() {
        progress.restart("sorting");
        recording.sort(progress)?;
        progress.restart("replaying");
    }
    let mut workers = workers(setup)?;
    if !read_all(setup, recording, &mut workers, progress, Worker::first)? {
        progress.restart("sorting by time");
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
        progress.restart("computing the bound");
        let of_bound = match (setup.bound, setup.changes) {
            (false, _) => OfBound::Nothing,
            (true, false) => OfBound::Figures,
            (true, true) => OfBound::Changes,
        };
        for (index, worker) in workers.iter_mut().enumerate() {
            worker.lanes.iter_mut().flatten().for_each(|it| it.rewind(of_bound));
            let own = drawn.iter().filter(|lane| **lane % setup.jobs == index);
            worker.drawn = own.map(|lane| (*lane / setup.jobs, Drawing::default())).collect();
        }
        if workers.iter().all(|it| it.kept.is_some()) {
            kept_again(setup, &mut workers, progress).map_err(temporary)?;
        } else {
            read_all(setup, recording, &mut workers, progress, Worker::second)?;
        }
    }
    for worker in &mut workers {
        worker.failed.take().map_or(Ok(()), Err).map_err(temporary)?;
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
            let pod = found.first().and_then(|it| named.pods.get(index(it))).cloned().unwrap_or_default();
            let (result, pods) = (found.finish(setup.bound), named.pods.len());
            workloads.push(Outcome { lane, name: named.name.clone(), result, drawn, pod, pods });
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
    /// What the bound needs; nothing where it is not wished for, or where there was no room.
    kept: Option<Kept>,
    drawn: BTreeMap<usize, Drawing>,
}

fn workers(setup: &Setup<'_>) -> Result<Vec<Worker>, InputError> {
    let one = |index| {
        let log = if setup.changes { Some(Log::new()?) } else { None };
        let kept = (setup.bound || setup.draws()).then(Kept::default);
        Ok(Worker { index, lanes: Vec::new(), log, failed: None, kept, drawn: BTreeMap::new() })
    };
    (0..setup.jobs).map(one).collect::<io::Result<_>>().map_err(temporary)
}

impl Worker {
    fn first(&mut self, mut bundle: Bundle, setup: &Setup<'_>) {
        for (lane, pod, name) in std::mem::take(&mut bundle.names) {
            let place = lane / setup.jobs;
            if self.lanes.len() <= place {
                self.lanes.resize_with(place + 1, || None);
            }
            self.lanes[place].get_or_insert_with(|| Lane::new(setup.contenders, setup.warmup)).name(pod, name);
        }
        let (log, failed, kept) = (&mut self.log, &mut self.failed, &mut self.kept);
        bundle.each(setup, |place, item, more| {
            if let Some(lane) = self.lanes.get_mut(place).and_then(Option::as_mut) {
                let number = place * setup.jobs + self.index;
                lane.put(item.pod, item.short(), more, &mut |change| note(log, failed, number, change));
            }
            if kept.as_mut().is_some_and(|it| it.put(place, item.pod, item.short()).is_err()) {
                *kept = None; // there is no room: the recording is going to be read again
            }
        });
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
        bundle.each(setup, |place, item, _| self.again(setup, place, item.pod, &[item.short()]));
    }

    fn again(&mut self, setup: &Setup<'_>, place: usize, pod: u32, samples: &[Short]) {
        let Some(lane) = self.lanes.get_mut(place).and_then(Option::as_mut) else { return };
        let mut drawing = self.drawn.get_mut(&place).filter(|_| lane.is_first(pod));
        let taken = |it: &Short| {
            if let Some(drawing) = &mut drawing {
                drawing.put(&it.whole());
            }
        };
        let (log, failed, number) = (&mut self.log, &mut self.failed, place * setup.jobs + self.index);
        lane.put_again(pod, samples, taken, |change| note(log, failed, number, change));
    }
}

/// Gives every worker again what it kept, which is theirs no longer then.
fn kept_again(setup: &Setup<'_>, workers: &mut [Worker], progress: &dyn Progress) -> io::Result<()> {
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        let working: Vec<_> = workers
            .iter_mut()
            .filter_map(|worker| Some((worker.kept.take()?, worker)))
            .map(|(kept, worker)| {
                let sender = sender.clone();
                let mut untold = 0;
                scope.spawn(move || {
                    kept.each(|place, pod, samples| {
                        worker.again(setup, place, pod, samples);
                        untold += samples.len();
                        if untold >= BUNDLE {
                            // Who is told listens until all senders are gone.
                            let _ = sender.send(std::mem::take(&mut untold) as u64);
                        }
                    })
                })
            })
            .collect();
        drop(sender);
        receiver.into_iter().for_each(|samples| progress.advance(samples));
        working.into_iter().try_for_each(|it| it.join().unwrap_or_else(|broke| std::panic::resume_unwind(broke)))
    })
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

/// Whether this, as `NAME` or `NAMESPACE/NAME`, means a workload.
pub fn means(text: &str, name: &Series) -> bool {
    text == name.workload
        || text.split_once('/').is_some_and(|it| it == (name.namespace.as_str(), name.workload.as_str()))
}

/// The lanes that use most, and those that are wished for by name, for drawing; of equals those named first.
fn largest(workers: &[Worker], setup: &Setup<'_>, known: &Known) -> BTreeSet<usize> {
    let ranks = known.names.ranks();
    let mut by_use: Vec<(f64, u32, usize)> = Vec::new();
    for worker in workers.iter().filter(|_| setup.draws()) {
        for (place, lane) in worker.lanes.iter().enumerate() {
            let number = place * setup.jobs + worker.index;
            if let Some(lane) = lane {
                by_use.push((weight(&lane.finish(false)), ranks[number], number));
            }
        }
    }
    by_use.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let wished = |lane: usize| setup.draw_named.iter().any(|it| means(it, &known.names.lanes()[lane].name));
    let drawn = by_use.into_iter().enumerate().filter(|(at, (_, _, lane))| *at < setup.draw || wished(*lane));
    drawn.map(|(_, (_, _, lane))| lane).collect()
}

/// What a workload uses, in core-hours, a core being worth four gibibytes.
pub fn weight(result: &lane::Result) -> f64 {
    result.figures.first().map_or(0.0, |[cpu, memory]| cpu.used / 1000.0 + memory.used / (4.0 * 1_073_741_824.0))
}

/// Reads all once and hands every sample to the worker of its lane. False where the rows' order does not allow it.
fn read_all(
    setup: &Setup<'_>,
    recording: &mut Recording<'_>,
    workers: &mut [Worker],
    progress: &dyn Progress,
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
            bundle.put(place, sample);
            if bundle.items.len() >= BUNDLE {
                let full = Bundle { items: Vec::with_capacity(BUNDLE), ..Bundle::default() };
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
