//! A recording as often as it is to be read, in an order in which a replay can go through it in bounded memory.
//!
//! Where the rows of every workload come in the order of time, the files are read as they are. Where pods come one after
//! another, where several answers of Prometheus are to be joined, and where the input can be read only once, all rows are
//! sorted by time first, outside of memory.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::sample::Sample;

use crate::Progress;
use crate::names::{Names, Order, Place};
use crate::open::{self, Kind, kind};
use crate::row::{InputError, Sink};
use crate::spill::{Record, Sorted, Sorter, word};

/// Reasons told of those for which rows were skipped.
const TOLD: usize = 5;

/// Rows between two steps of the progress bar.
const STEP: u64 = 8192;

/// What is known of a recording.
#[derive(Debug, Default)]
pub struct Known {
    /// The series.
    pub names: Names,
    /// How many rows or series were skipped.
    pub skipped: u64,
    /// Why, of the first few.
    pub reasons: Vec<String>,
    /// Rows that count.
    pub samples: u64,
    /// Whether all of them came in the order of time, whatever their workload.
    pub by_time: bool,
}

/// The files, and what is known of them.
pub struct Recording<'a> {
    files: &'a [PathBuf],
    lenient: bool,
    /// What was found in them.
    pub known: Known,
    sorted: Option<Sorted<Row>>,
    read_before: bool,
}

impl<'a> Recording<'a> {
    /// Files to be read in this order.
    pub fn new(files: &'a [PathBuf], lenient: bool) -> Self {
        Self { files, lenient, known: Known::default(), sorted: None, read_before: false }
    }

    /// Whether the files must be sorted whatever is in them.
    pub fn must_be_sorted(&self) -> bool {
        self.files.iter().any(|path| kind(path) == Some(Kind::Json) || !open::is_lasting(path))
    }

    /// Reads all once. False where the rows of a workload do not come in the order of time: [`Recording::sort`] mends that.
    pub fn each(
        &mut self,
        progress: &dyn Progress,
        mut f: impl FnMut(&Names, Place, &Sample),
    ) -> Result<bool, InputError> {
        if let Some(sorted) = &mut self.sorted {
            let names = &self.known.names;
            self.known.samples = each_sorted(sorted, progress, |place, sample| f(names, place, sample))?;
            return Ok(true);
        }
        let mut in_order = true;
        self.read(progress, &mut |names, place, sample, order| {
            in_order = order == Order::Straight;
            if in_order {
                f(names, place, &sample);
            }
            Ok(in_order)
        })?;
        Ok(in_order)
    }

    /// Sorts all rows by time, outside of memory.
    pub fn sort(&mut self, progress: &dyn Progress) -> Result<(), InputError> {
        self.read_before = false;
        let mut sorter = Sorter::default();
        self.read(progress, &mut |_, place, sample, _| {
            sorter.put(Row { place, sample }).map_err(temporary)?;
            Ok(true)
        })?;
        self.sorted = Some(sorter.finish().map_err(temporary)?);
        self.known.by_time = true;
        Ok(())
    }

    fn read(&mut self, progress: &dyn Progress, row: &mut Take<'_>) -> Result<(), InputError> {
        let quiet = std::mem::replace(&mut self.read_before, true);
        self.known.names.rewind();
        (self.known.samples, self.known.by_time) = (0, true);
        if !quiet {
            (self.known.skipped, self.known.reasons) = (0, Vec::new());
        }
        let lenient = self.lenient || quiet;
        let read = Arc::new(AtomicU64::new(0));
        let mut taking = Taking {
            known: &mut self.known,
            quiet,
            lenient,
            file: String::new(),
            latest: i64::MIN,
            goes_on: true,
            progress,
            read: Arc::clone(&read),
            size: size(self.files),
            row,
        };
        for path in self.files {
            taking.file = path.display().to_string();
            open::read(path, &mut taking, &read)?;
            if !taking.goes_on {
                break;
            }
        }
        Ok(())
    }
}

/// Bytes of all files together; `None` where one of them has no size.
fn size(files: &[PathBuf]) -> Option<u64> {
    let known = |path: &PathBuf| open::is_lasting(path).then(|| path.metadata().ok()).flatten();
    files.iter().map(|path| known(path).map(|it| it.len())).sum()
}

/// Who takes a row; false ends the reading.
type Take<'a> = dyn FnMut(&Names, Place, Sample, Order) -> Result<bool, InputError> + 'a;

/// One reading of the files.
struct Taking<'a> {
    known: &'a mut Known,
    /// What is wrong was told before.
    quiet: bool,
    lenient: bool,
    file: String,
    latest: i64,
    goes_on: bool,
    progress: &'a dyn Progress,
    /// Bytes of the files that were read.
    read: Arc<AtomicU64>,
    /// Of so many, where that is known.
    size: Option<u64>,
    row: &'a mut Take<'a>,
}

impl Sink for Taking<'_> {
    fn names(&mut self) -> &mut Names {
        &mut self.known.names
    }

    fn row(&mut self, place: Place, sample: Sample, line: u64) -> Result<bool, InputError> {
        let order = self.known.names.note(place, sample.time);
        if order == Order::Late {
            let what = format!("time {} is not after the previous row of the same pod", sample.time);
            self.wrong(InputError::Wrong { file: self.file.clone(), place: format!("line {line}"), what })?;
            return Ok(true);
        }
        self.known.by_time &= sample.time >= self.latest;
        self.latest = sample.time;
        self.part(place, sample, order)
    }

    fn half(&mut self, place: Place, sample: Sample) -> Result<(), InputError> {
        self.part(place, sample, Order::LaneTurnedBack).map(|_| ())
    }

    fn wrong(&mut self, error: InputError) -> Result<(), InputError> {
        if !self.lenient {
            return Err(error);
        }
        if !self.quiet {
            self.known.skipped += 1;
            if self.known.reasons.len() < TOLD {
                self.known.reasons.push(error.to_string().replace("; --lenient skips and counts invalid rows", ""));
            }
        }
        Ok(())
    }
}

impl Taking<'_> {
    fn part(&mut self, place: Place, sample: Sample, order: Order) -> Result<bool, InputError> {
        self.known.samples += 1;
        if self.known.samples.is_multiple_of(STEP) {
            self.progress.advance(STEP);
            if let Some(size) = self.size {
                self.progress.read(self.read.load(Ordering::Relaxed), size);
            }
        }
        self.goes_on = (self.row)(&self.known.names, place, sample, order)?;
        Ok(self.goes_on)
    }
}

/// A row outside of memory.
#[derive(Clone, Copy)]
struct Row {
    place: Place,
    sample: Sample,
}

/// What is not there.
const NOTHING: u64 = u64::MAX;

impl Record for Row {
    const SIZE: usize = 8 * 8;
    type Key = (i64, usize);

    fn key(&self) -> Self::Key {
        (self.sample.time, self.place.series)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let it = &self.sample;
        let float = |it: Option<f64>| it.map_or(NOTHING, f64::to_bits);
        let whole = |it: Option<i64>| it.map_or(NOTHING, i64::cast_unsigned);
        let words = [
            it.time.cast_unsigned(),
            self.place.series as u64,
            self.place.lane as u64 | u64::from(self.place.pod) << 32,
            float(it.cpu),
            float(it.memory),
            whole(it.cpu_limit.map(|it| it.0)),
            whole(it.memory_limit.map(|it| it.0)),
            it.restarts.map_or(NOTHING, u64::from),
        ];
        words.iter().for_each(|word| out.extend(word.to_le_bytes()));
    }

    fn read(bytes: &[u8]) -> Self {
        let some = |at| Some(word(bytes, at)).filter(|it| *it != NOTHING);
        let sample = Sample {
            time: word(bytes, 0).cast_signed(),
            cpu: some(3).map(f64::from_bits),
            memory: some(4).map(f64::from_bits),
            cpu_limit: some(5).map(|it| MilliCpu(it.cast_signed())),
            memory_limit: some(6).map(|it| Bytes(it.cast_signed())),
            restarts: some(7).and_then(|it| u32::try_from(it).ok()),
            ..Sample::default()
        };
        let index = |word: u64| usize::try_from(word).unwrap_or(usize::MAX);
        let lane = word(bytes, 2);
        let place = Place {
            series: index(word(bytes, 1)),
            lane: index(lane & u64::from(u32::MAX)),
            pod: u32::try_from(lane >> 32).unwrap_or(u32::MAX),
        };
        Self { place, sample }
    }
}

/// All rows in order; what was recorded of one series and time in several rows is one sample. How many there were.
fn each_sorted(
    sorted: &mut Sorted<Row>,
    progress: &dyn Progress,
    mut f: impl FnMut(Place, &Sample),
) -> Result<u64, InputError> {
    let mut rows = sorted.iter().map_err(temporary)?;
    let mut samples = 0;
    let mut held = rows.next().map_err(temporary)?;
    while let Some(mut row) = held {
        held = rows.next().map_err(temporary)?;
        while let Some(more) = held.filter(|it| it.key() == row.key()) {
            row.sample = joined(&row.sample, &more.sample);
            held = rows.next().map_err(temporary)?;
        }
        f(row.place, &row.sample);
        samples += 1;
        if u64::is_multiple_of(samples, STEP) {
            progress.advance(STEP);
        }
    }
    Ok(samples)
}

/// Two halves of a sample; where both know something, the later one is believed.
fn joined(one: &Sample, other: &Sample) -> Sample {
    Sample {
        time: one.time,
        cpu: other.cpu.or(one.cpu),
        memory: other.memory.or(one.memory),
        cpu_limit: other.cpu_limit.or(one.cpu_limit),
        memory_limit: other.memory_limit.or(one.memory_limit),
        throttled: other.throttled.or(one.throttled),
        cpu_pressure: other.cpu_pressure.or(one.cpu_pressure),
        memory_pressure: other.memory_pressure.or(one.memory_pressure),
        memory_breached: other.memory_breached || one.memory_breached,
        restarts: other.restarts.or(one.restarts),
    }
}

/// Something could not be kept outside of memory.
pub fn temporary(source: io::Error) -> InputError {
    InputError::Temporary { folder: std::env::temp_dir().display().to_string(), source }
}
