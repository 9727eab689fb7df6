//! What the first reading keeps for the second: the samples of every series in blocks, outside of memory.
//!
//! ```text
//! block := lane and pod · count and kinds · first time · step between times · times? · CPU · memory
//! ```
//!
//! A block holds samples of one series alone, so that what is known of it is at hand for all of them. Most recordings are written
//! in decimals and at equal intervals: there a block has the digits as they were written, four bytes a number, and one step for all
//! times. Whatever is not like that is kept bit by bit. Either way what is read is what was put in.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, Write as _};

use supple_recommend::sample::Sample;

use crate::row::milli;
use crate::spill::word;

/// Samples of a block.
const BLOCK: usize = 128;

/// Bytes of a buffer.
const BUFFER: usize = 1 << 16;

/// Bytes before the numbers of a block.
const HEAD: usize = 32;

/// Steps between times that are not equal.
const UNEQUAL: u64 = 0;

/// A sample, as far as it is kept. What was not recorded is not a number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Short {
    /// When.
    pub time: i64,
    /// CPU in thousandths of a core.
    pub cpu: f64,
    /// Memory in bytes.
    pub memory: f64,
}

impl Short {
    /// As a sample that says nothing else.
    pub fn whole(&self) -> Sample {
        let known = |it: f64| Some(it).filter(|it| !it.is_nan());
        Sample { time: self.time, cpu: known(self.cpu), memory: known(self.memory), ..Sample::default() }
    }
}

/// So many samples at least, and so many for each open block, are put in between two looks for blocks that nothing was put into
/// meanwhile: pods end, and what is kept of them is to be outside of memory then.
const UNLOOKED: usize = 1 << 14;
const UNLOOKED_EACH: usize = 4;

/// The samples of a worker's lanes.
#[derive(Default)]
pub struct Kept {
    /// Blocks that are not full, by lane and pod.
    open: Vec<Vec<Block>>,
    /// Those into which something was put when they were last looked at, or since then.
    lately: Vec<(usize, u32)>,
    /// Samples since then.
    unlooked: usize,
    /// All that were; none yet where nothing was ever full.
    file: Option<BufWriter<File>>,
    bytes: Vec<u8>,
}

/// A block that is being filled.
#[derive(Default)]
struct Block {
    samples: Vec<Short>,
    /// It is in [`Kept::lately`].
    is_listed: bool,
    /// Something was put in since blocks were last looked at.
    grew: bool,
}

impl Kept {
    /// Adds a sample of a lane's pod.
    pub fn put(&mut self, lane: usize, pod: u32, sample: Short) -> io::Result<()> {
        let at = index(pod);
        if self.open.len() <= lane {
            self.open.resize_with(lane + 1, Vec::new);
        }
        let pods = &mut self.open[lane];
        if pods.len() <= at {
            pods.resize_with(at + 1, Block::default);
        }
        let block = &mut pods[at];
        if !std::mem::replace(&mut block.is_listed, true) {
            self.lately.push((lane, pod));
        }
        block.samples.push(sample);
        block.grew = true;
        if block.samples.len() == BLOCK {
            let mut samples = std::mem::take(&mut block.samples);
            self.close(lane, pod, &samples)?;
            samples.clear();
            self.open[lane][at].samples = samples;
        }
        self.unlooked += 1;
        if self.unlooked >= UNLOOKED.max(UNLOOKED_EACH * self.lately.len()) { self.look() } else { Ok(()) }
    }

    /// Writes out what nothing was put into lately.
    fn look(&mut self) -> io::Result<()> {
        self.unlooked = 0;
        let mut lately = std::mem::take(&mut self.lately);
        let mut written = Ok(());
        lately.retain(|(lane, pod)| {
            let block = &mut self.open[*lane][index(*pod)];
            if std::mem::take(&mut block.grew) || written.is_err() {
                return true;
            }
            let samples = std::mem::take(block).samples;
            if !samples.is_empty() {
                written = self.close(*lane, *pod, &samples);
            }
            false
        });
        self.lately = lately;
        written
    }

    fn close(&mut self, lane: usize, pod: u32, samples: &[Short]) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(BufWriter::with_capacity(BUFFER, tempfile::tempfile()?));
        }
        self.bytes.clear();
        write(lane, pod, samples, &mut self.bytes);
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(&self.bytes))
    }

    /// Gives all of them back, block by block: lane, pod, samples. Those of one series come in the order in which they were put in.
    pub fn each(self, mut f: impl FnMut(usize, u32, &[Short])) -> io::Result<()> {
        let mut block = Vec::with_capacity(BLOCK);
        if let Some(file) = self.file {
            let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.rewind()?;
            let mut file = BufReader::with_capacity(BUFFER, file);
            let (mut head, mut bytes) = ([0; HEAD], Vec::new());
            while !file.fill_buf()?.is_empty() {
                file.read_exact(&mut head)?;
                let head = Head::read(&head);
                bytes.resize(head.size(), 0);
                file.read_exact(&mut bytes)?;
                read(&head, &bytes, &mut block);
                f(head.lane, head.pod, &block);
            }
        }
        for (lane, pods) in self.open.iter().enumerate() {
            for (pod, block) in (0..).zip(pods) {
                f(lane, pod, &block.samples);
            }
        }
        Ok(())
    }
}

/// How the numbers of a column are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Not at all: none was recorded.
    Nothing,
    /// As they are.
    Bits,
    /// As whole numbers of four bytes, of which so many digits were behind the point.
    Digits(u8),
}

/// Digits behind the point, as they are tried: CPU in cores, memory in bytes.
const FRACTIONS: [&[u8]; 2] = [&[4, 3, 6], &[0]];

/// Powers of ten.
const TENS: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];

fn ten(fraction: u8) -> f64 {
    TENS.get(usize::from(fraction)).copied().unwrap_or(1.0)
}

/// A column's numbers out of what was written: as reading a row makes them.
fn number(column: usize, digits: u32, ten: f64) -> f64 {
    let written = f64::from(digits) / ten;
    if column == 0 { milli(written) } else { written }
}

/// The digits of which a number was made, if it was made of so many behind the point.
fn digits(column: usize, value: f64, ten: f64) -> Option<u32> {
    let unit = if column == 0 { milli(1.0) } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; looked at below")]
    let digits = (value * (ten / unit) + 0.5) as u32;
    (number(column, digits, ten).to_bits() == value.to_bits()).then_some(digits)
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Bits => 1,
            Self::Digits(fraction) => 2 + fraction,
        }
    }

    const fn coded(code: u8) -> Self {
        match code {
            0 => Self::Nothing,
            1 => Self::Bits,
            more => Self::Digits(more - 2),
        }
    }

    /// Bytes of so many numbers.
    const fn size(self, count: usize) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Bits => 8 * count,
            Self::Digits(_) => 4 * count,
        }
    }
}

/// What stands before the numbers.
struct Head {
    lane: usize,
    pod: u32,
    count: usize,
    kinds: [Kind; 2],
    first: i64,
    step: u64,
}

impl Head {
    fn size(&self) -> usize {
        let times = if self.step == UNEQUAL { 8 * self.count } else { 0 };
        times + self.kinds.map(|it| it.size(self.count)).iter().sum::<usize>()
    }

    fn write(&self, out: &mut [u8]) {
        let [cpu, memory] = self.kinds.map(|it| u64::from(it.code()));
        let place = self.lane as u64 | u64::from(self.pod) << 32;
        let words = [place, self.count as u64 | cpu << 32 | memory << 40, self.first.cast_unsigned(), self.step];
        let (to, _) = out.as_chunks_mut::<8>();
        to.iter_mut().zip(words).for_each(|(to, word)| *to = word.to_le_bytes());
    }

    fn read(bytes: &[u8; HEAD]) -> Self {
        let low = |word: u64| usize::try_from(word & u64::from(u32::MAX)).unwrap_or(usize::MAX);
        let [.., cpu, memory, _, _] = word(bytes, 1).to_le_bytes();
        Self {
            lane: low(word(bytes, 0)),
            pod: u32::try_from(word(bytes, 0) >> 32).unwrap_or(u32::MAX),
            count: low(word(bytes, 1)),
            kinds: [cpu, memory].map(Kind::coded),
            first: word(bytes, 2).cast_signed(),
            step: word(bytes, 3),
        }
    }
}

fn write(lane: usize, pod: u32, block: &[Short], out: &mut Vec<u8>) {
    let begin = out.len();
    let steps = block.windows(2).map(|pair| pair[1].time.wrapping_sub(pair[0].time).cast_unsigned());
    let step = steps.reduce(|one, other| if one == other { one } else { UNEQUAL }).unwrap_or(UNEQUAL);
    let first = block.first().map_or(0, |it| it.time);
    out.extend([0; HEAD]);
    if step == UNEQUAL {
        block.iter().for_each(|it| out.extend(it.time.to_le_bytes()));
    }
    let kinds = [column(0, block, |it| it.cpu, out), column(1, block, |it| it.memory, out)];
    Head { lane, pod, count: block.len(), kinds, first, step }.write(&mut out[begin..]);
}

/// Writes a column in as little as it takes, and tells how.
fn column(column: usize, block: &[Short], of: impl Fn(&Short) -> f64, out: &mut Vec<u8>) -> Kind {
    if block.iter().all(|it| of(it).is_nan()) {
        return Kind::Nothing;
    }
    let begin = out.len();
    for fraction in FRACTIONS[column] {
        let ten = ten(*fraction);
        out.resize(begin + Kind::Digits(*fraction).size(block.len()), 0);
        let (numbers, _) = out[begin..].as_chunks_mut::<4>();
        let exact = |(number, it): (&mut [u8; 4], &Short)| {
            digits(column, of(it), ten).map(|digits| *number = digits.to_le_bytes()).is_some()
        };
        if numbers.iter_mut().zip(block).all(exact) {
            return Kind::Digits(*fraction);
        }
    }
    out.truncate(begin);
    block.iter().for_each(|it| out.extend(of(it).to_bits().to_le_bytes()));
    Kind::Bits
}

fn read(head: &Head, mut bytes: &[u8], block: &mut Vec<Short>) {
    block.clear();
    block.resize(head.count, Short { time: head.first, cpu: f64::NAN, memory: f64::NAN });
    let mut part = |size: usize| {
        let (part, rest) = bytes.split_at_checked(size).unwrap_or((bytes, &[]));
        bytes = rest;
        part
    };
    if head.step == UNEQUAL {
        let (times, _) = part(8 * head.count).as_chunks::<8>();
        block.iter_mut().zip(times).for_each(|(it, time)| it.time = i64::from_le_bytes(*time));
    } else {
        let mut time = head.first;
        for it in block.iter_mut() {
            it.time = time;
            time = time.wrapping_add(head.step.cast_signed());
        }
    }
    for (column, kind) in head.kinds.into_iter().enumerate() {
        let numbers = part(kind.size(head.count));
        let of = |it: &mut Short, value: f64| *if column == 0 { &mut it.cpu } else { &mut it.memory } = value;
        match kind {
            Kind::Nothing => {}
            Kind::Bits => {
                let (numbers, _) = numbers.as_chunks::<8>();
                block.iter_mut().zip(numbers).for_each(|(it, bits)| of(it, f64::from_le_bytes(*bits)));
            }
            Kind::Digits(fraction) => {
                let (numbers, _) = numbers.as_chunks::<4>();
                let ten = ten(fraction);
                let value = |digits: &[u8; 4]| number(column, u32::from_le_bytes(*digits), ten);
                block.iter_mut().zip(numbers).for_each(|(it, digits)| of(it, value(digits)));
            }
        }
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Bits = (i64, u64, u64);

    fn bits(it: &Short) -> Bits {
        (it.time, it.cpu.to_bits(), it.memory.to_bits())
    }

    /// What comes back of each series, and how many bytes were outside of memory.
    fn through(samples: &[(usize, u32, Short)]) -> (std::collections::BTreeMap<(usize, u32), Vec<Bits>>, u64) {
        let mut kept = Kept::default();
        for (lane, pod, sample) in samples {
            kept.put(*lane, *pod, *sample).unwrap();
        }
        let size = kept.file.as_mut().map_or(0, |file| {
            file.flush().unwrap();
            file.get_ref().metadata().unwrap().len()
        });
        let mut back = std::collections::BTreeMap::<_, Vec<Bits>>::new();
        kept.each(|lane, pod, block| back.entry((lane, pod)).or_default().extend(block.iter().map(bits))).unwrap();
        back.retain(|_, it| !it.is_empty());
        (back, size)
    }

    #[track_caller]
    fn check(make: impl Fn(i64) -> Short, bytes_each: u64) {
        let samples: Vec<_> = (0..10 * BLOCK as i64 + 7).map(|at| (usize::from(at % 2 == 1), 3, make(at))).collect();
        let (back, size) = through(&samples);
        for lane in 0..2 {
            let put: Vec<Bits> = samples.iter().filter(|it| it.0 == lane).map(|it| bits(&it.2)).collect();
            assert_eq!(back[&(lane, 3)], put);
        }
        assert_eq!(size, 10 * (HEAD as u64 + BLOCK as u64 * bytes_each));
    }

    #[test]
    fn decimals_at_equal_intervals_take_little() {
        let cores = |at: i64| milli(f64::from(u32::try_from(at * 37 % 90_001).unwrap()) / 10_000.0);
        let memory = |at: i64| f64::from(u32::try_from(at * 1_000_003).unwrap());
        check(|at| Short { time: at / 2 * 60, cpu: cores(at), memory: memory(at) }, 8);
        check(|at| Short { time: at / 2 * 60, cpu: f64::NAN, memory: memory(at) }, 4);
        check(|at| Short { time: at * at, cpu: cores(at), memory: memory(at) }, 16);
        check(|at| Short { time: at / 2 * 60, cpu: cores(at), memory: memory(at) * 1e6 }, 12);
        check(|at| Short { time: at / 2 * 60, cpu: if at % 4 < 2 { f64::NAN } else { 0.5 }, memory: -0.0 }, 16);
    }

    #[test]
    fn of_a_pod_that_ended_nothing_stays_in_memory() {
        let mut kept = Kept::default();
        // One after another, each of nine samples, beside one that lives on.
        let pods = 30_000;
        for pod in 0..pods {
            for minute in 0..9 {
                let sample = Short { time: i64::from(pod * 9 + minute) * 60, cpu: f64::from(pod), memory: 1.0 };
                kept.put(0, 0, sample).unwrap();
                kept.put(1, pod, sample).unwrap();
            }
        }
        let in_memory = kept.open[1].iter().filter(|it| it.samples.capacity() > 0).count();
        assert!(in_memory <= 2 * UNLOOKED / 18 + 1, "{in_memory} pods");
        let (mut longest, mut samples) = (0, vec![0; 30_000]);
        kept.each(|lane, pod, block| {
            if lane == 0 {
                longest += block.len();
            } else {
                samples[index(pod)] += block.len();
            }
        })
        .unwrap();
        assert!(longest == 270_000 && samples.iter().all(|it| *it == 9));
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_put_in(
            samples in prop::collection::vec((0usize..2, 0u32..2, any::<i64>(), any::<f64>(), any::<f64>()), 0..900),
        ) {
            let samples: Vec<_> =
                samples.into_iter().map(|(lane, pod, time, cpu, memory)| (lane, pod, Short { time, cpu, memory })).collect();
            let mut put = std::collections::BTreeMap::<_, Vec<Bits>>::new();
            samples.iter().for_each(|(lane, pod, it)| put.entry((*lane, *pod)).or_default().push(bits(it)));
            prop_assert_eq!(through(&samples).0, put);
        }
    }
}
