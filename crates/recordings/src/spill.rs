//! More records than memory should hold: kept in an unnamed file as they come, or given back in order.
//!
//! A run of records is sorted in memory and written out; at the end the runs are merged. What is in memory is one run, and a
//! buffer for each of the others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::marker::PhantomData;

/// Records of a run.
const RUN: usize = 1 << 18;

/// Bytes of a buffer.
const BUFFER: usize = 1 << 16;

/// Runs merged at once: each needs a buffer, and a file that is open.
const WAYS: usize = 64;

/// Something of a fixed size that has an order.
pub trait Record: Copy {
    /// Bytes of it.
    const SIZE: usize;
    /// What it is ordered by.
    type Key: Ord;
    /// Its place in the order.
    fn key(&self) -> Self::Key;
    /// Writes exactly `SIZE` bytes.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads them again.
    fn read(bytes: &[u8]) -> Self;
}

/// Records in the order in which they came.
pub struct Log<R> {
    file: BufWriter<File>,
    bytes: Vec<u8>,
    record: PhantomData<R>,
}

impl<R: Record> Log<R> {
    /// An empty one, in the folder for temporary files.
    pub fn new() -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER, tempfile::tempfile()?);
        Ok(Self { file, bytes: Vec::with_capacity(R::SIZE), record: PhantomData })
    }

    /// Adds one.
    pub fn put(&mut self, record: &R) -> io::Result<()> {
        self.bytes.clear();
        record.write(&mut self.bytes);
        self.file.write_all(&self.bytes)
    }

    /// All of them from the first; the log can be read again.
    pub fn each(&mut self, mut f: impl FnMut(R) -> io::Result<()>) -> io::Result<()> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.rewind()?;
        let mut run = Run { file: BufReader::with_capacity(BUFFER, &mut *file), bytes: vec![0; R::SIZE] };
        while let Some(record) = run.next()? {
            f(record)?;
        }
        file.seek(io::SeekFrom::End(0))?;
        Ok(())
    }
}

/// Takes records in any order.
pub struct Sorter<R> {
    open: Vec<R>,
    runs: Vec<File>,
}

impl<R: Record> Default for Sorter<R> {
    fn default() -> Self {
        Self { open: Vec::new(), runs: Vec::new() }
    }
}

impl<R: Record> Sorter<R> {
    /// Adds one.
    pub fn put(&mut self, record: R) -> io::Result<()> {
        self.open.push(record);
        if self.open.len() >= RUN { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> io::Result<()> {
        self.open.sort_by_key(Record::key); // stable: equal keys stay as they came
        let records = std::mem::take(&mut self.open);
        let mut left = records.iter();
        self.runs.push(written(|| Ok(left.next().copied()))?);
        self.open = records;
        self.open.clear();
        if self.runs.len() > WAYS {
            let mut merged = Merge::<R>::new(self.runs.iter_mut())?;
            let one = written(|| merged.next())?;
            self.runs = vec![one];
        }
        Ok(())
    }

    /// Ends the taking.
    pub fn finish(mut self) -> io::Result<Sorted<R>> {
        if !self.open.is_empty() {
            self.close()?;
        }
        Ok(Sorted { runs: self.runs, record: PhantomData })
    }
}

fn written<R: Record>(mut next: impl FnMut() -> io::Result<Option<R>>) -> io::Result<File> {
    let mut out = BufWriter::with_capacity(BUFFER, tempfile::tempfile()?);
    let mut bytes = Vec::with_capacity(R::SIZE);
    while let Some(record) = next()? {
        bytes.clear();
        record.write(&mut bytes);
        out.write_all(&bytes)?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)
}

/// Records in order, as often as they are wanted.
pub struct Sorted<R> {
    runs: Vec<File>,
    record: PhantomData<R>,
}

impl<R: Record> Sorted<R> {
    /// All of them, from the least on.
    pub fn iter(&mut self) -> io::Result<Merge<'_, R>> {
        Merge::new(self.runs.iter_mut())
    }
}

/// Several runs as one.
pub struct Merge<'a, R: Record> {
    runs: Vec<(Run<&'a mut File>, Option<R>)>,
    /// The least record of each run: its key, and the run, earlier runs first.
    heads: BinaryHeap<Reverse<(R::Key, usize)>>,
}

impl<'a, R: Record> Merge<'a, R> {
    fn new(files: impl Iterator<Item = &'a mut File>) -> io::Result<Self> {
        let (mut runs, mut heads) = (Vec::new(), BinaryHeap::new());
        for (at, file) in files.enumerate() {
            file.rewind()?;
            let mut run = Run { file: BufReader::with_capacity(BUFFER, file), bytes: vec![0; R::SIZE] };
            let first: Option<R> = run.next()?;
            heads.extend(first.map(|it| Reverse((it.key(), at))));
            runs.push((run, first));
        }
        Ok(Self { runs, heads })
    }

    /// The least of those that are left.
    pub fn next(&mut self) -> io::Result<Option<R>> {
        let Some(Reverse((_, at))) = self.heads.pop() else { return Ok(None) };
        let (run, head) = &mut self.runs[at];
        let following: Option<R> = run.next()?;
        self.heads.extend(following.map(|it| Reverse((it.key(), at))));
        Ok(std::mem::replace(head, following))
    }
}

struct Run<F> {
    file: BufReader<F>,
    bytes: Vec<u8>,
}

impl<F: Read> Run<F> {
    fn next<R: Record>(&mut self) -> io::Result<Option<R>> {
        match self.file.read_exact(&mut self.bytes) {
            Ok(()) => Ok(Some(R::read(&self.bytes))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Numbers from the front of bytes, eight at a time; nothing is 0.
pub fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at * 8..at * 8 + 8).and_then(|it| it.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Record for (u64, u64) {
        const SIZE: usize = 16;
        type Key = u64;

        fn key(&self) -> u64 {
            self.0
        }

        fn write(&self, out: &mut Vec<u8>) {
            out.extend(self.0.to_le_bytes());
            out.extend(self.1.to_le_bytes());
        }

        fn read(bytes: &[u8]) -> Self {
            (word(bytes, 0), word(bytes, 1))
        }
    }

    #[test]
    fn many_runs_come_back_in_order_and_equals_as_they_came() {
        let mut sorter = Sorter::default();
        let count = 3 * RUN as u64 + 7;
        for i in 0..count {
            sorter.put((i * 7919 % 1000, i)).unwrap();
        }
        let mut sorted = sorter.finish().unwrap();
        for _ in 0..2 {
            let (mut seen, mut last) = (0, (0, 0));
            let mut all = sorted.iter().unwrap();
            while let Some(record) = all.next().unwrap() {
                assert!(record >= last, "{record:?} after {last:?}");
                (last, seen) = (record, seen + 1);
            }
            assert_eq!(seen, count);
        }
    }

    #[test]
    fn a_log_is_read_as_it_was_written_and_goes_on() {
        let mut log = Log::new().unwrap();
        for i in 0..5 {
            log.put(&(i, i * i)).unwrap();
            let mut seen = Vec::new();
            log.each(|it: (u64, u64)| {
                seen.push(it.1);
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, (0..=i).map(|it| it * it).collect::<Vec<_>>());
        }
    }
}
