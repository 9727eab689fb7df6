//! The state as bytes: versioned, exact, and never more than [`MOST`] bytes.
//!
//! Levels of neighbouring hours are near each other, so what is written is the difference, in an Exp-Golomb code: a
//! steady container's week costs a few bits an hour. What is not smooth would cost more than the plain eleven bits a
//! level; so every part is written both ways, the shorter is kept, and a bit says which. The longest plain form is
//! [`MOST`]: no input makes a state longer.

use crate::course::{COARSEST, Course, DAY, Hour, RANKED, STEPS};
use crate::cpu::{Away, CpuPast, DAYS, LATELY, LONG, OPEN, SHIFT_HOURS, SHIFT_KNOWN};
use crate::digest::{Digest, MAX_WEIGHT};
use crate::memory::{MemoryPast, WEEK};
use crate::past::{MOST_HOURS, MOST_OF_POD, MOST_SAMPLES, Misses, Tally, UNKNOWN};
use crate::resource::TOP;
use crate::state::{MOST_CUT, REMEMBERED, State};
use crate::ways::{CPU_WAYS, MEMORY_WAYS, Rehearsal};
use crate::weekly::{HALVES, MOST as MOST_BESIDE, WEEKDAYS, Weekly};

/// Written first. A reader refuses what it does not know.
const VERSION: u8 = 7;

/// The longest a state can be.
pub const MOST: usize = 600;

/// What a level is written as where nothing is known: the one number of eleven bits that is no level.
const NOTHING: u64 = TOP as u64 + 1;

/// Bits of a plain level, of a plain weight, and of the fixed part of a step between two levels of a histogram.
const LEVEL: u32 = 11;
const WEIGHT: u32 = 13;
const STEP: u32 = 6;

/// Bits of an hour of the day: steps that ascend. They are written as the number of such steps; the one after the last stands for
/// nothing.
const HOUR: u32 = 33;
const HOURS: u64 = choose(RANKED as u64, STEPS as u64 + RANKED as u64 - 1);
const _: () = assert!(HOURS < 1 << HOUR);

/// Bits of how coarse these steps are.
const COARSE: u32 = 3;
const _: () = assert!(COARSEST < 1 << COARSE);

/// In how many ways so many can be taken out of `of`.
const fn choose(count: u64, of: u64) -> u64 {
    let (mut ways, mut taken) = (1, 0);
    while taken < count {
        // So many less than there are gives none.
        ways = ways * of.saturating_sub(taken) / (taken + 1);
        taken += 1;
    }
    ways
}

/// Bits of what a day of the week lies beside, and of a sum of misses.
const BESIDE: u32 = 5;
const MISSES: u32 = 12;
const _: () = assert!(Misses::MOST < 1 << MISSES && MOST_BESIDE < 1 << (BESIDE - 1));

/// Bits of the hours of a run, which is over once it is long enough and enough is known.
const RUN: u32 = 5;
const _: () = assert!(SHIFT_HOURS < 1 << RUN && SHIFT_KNOWN < 1 << RUN);

/// Bits of a number that has no sign, and of the number of an hour: seconds have 64.
const FLOAT: u32 = 31;
const TIME: u32 = 53;

/// Bits of a price, of which no more is kept, and of a count of samples.
const PRICE: u32 = 15;
const CUT: u32 = 11;
const _: () = assert!(MOST_CUT < 1 << CUT);

/// Bits of the samples of an hour, of all pods and of one, and of hours; and of how many entries a histogram has.
const SAMPLES: u32 = 20;
const OF_POD: u32 = 12;
const KNOWN: u32 = 14;
const _: () = assert!(MOST_SAMPLES < 1 << SAMPLES && MOST_OF_POD < 1 << OF_POD && MOST_HOURS < 1 << KNOWN);
const fn count(entries: usize) -> u32 {
    usize::BITS - entries.leading_zeros()
}

/// The bits of the longest state there can be, part by part as [`State::save`] writes them.
const LONGEST: usize = {
    let level = LEVEL as usize;
    let weight = (WEIGHT + STEP + 1) as usize;
    let float = FLOAT as usize;
    let head = 8 + (1 + TIME as usize) + (15 + level) + 15 + (2 * CUT + SAMPLES) as usize;
    let counts = (count(OPEN) + count(LATELY) + count(DAYS) + count(LONG)) as usize;
    let digests = counts + 4 * (1 + (TOP as usize >> STEP)) + weight * (OPEN + LATELY + DAYS + LONG);
    let daily = level + COARSE as usize + 1 + DAY * HOUR as usize;
    let weekly = 2 * MISSES as usize + HALVES * (WEEKDAYS + 1) * BESIDE as usize;
    let away = RUN as usize + 2 * level;
    let tally = (2 * OF_POD + KNOWN + SAMPLES) as usize + level + 4 * float;
    let week = level + 1 + WEEK * level + 2 * MISSES as usize;
    let ways = (CPU_WAYS + MEMORY_WAYS) * (level + 16) + 2 * (3 + PRICE as usize + 1);
    head + digests + daily + weekly + away + week + 2 * tally + ways
};
const _: () = assert!(LONGEST.div_ceil(8) <= MOST, "the longest state must fit");

/// Why bytes are not a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Another version wrote them.
    #[error(
        "cannot load the state of a recommender: written as version {0}, this program reads version {VERSION}; begin with an empty state"
    )]
    Version(u8),
    /// They end too early.
    #[error("cannot load the state of a recommender: it ends too early; it was cut")]
    Cut,
    /// They say what no state says.
    #[error("cannot load the state of a recommender: {0} is out of range; it was damaged")]
    Damaged(&'static str),
}

impl LoadError {
    /// For machines; never changes.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Version(_) => "StateVersion",
            Self::Cut => "StateCut",
            Self::Damaged(_) => "StateDamaged",
        }
    }
}

impl State {
    /// As bytes.
    pub fn save(&self) -> Vec<u8> {
        let Self { cpu, memory, ways, memory_ways, hour, kill, shift, cut, cut_now } = self;
        let mut out = Writer::default();
        out.bits(u64::from(VERSION), 8);
        out.time(*hour);
        out.since(*hour, kill.map(|(then, _)| then));
        out.level(kill.map_or(0, |(_, level)| level));
        out.since(*hour, *shift);
        out.bits(u64::from(cut.0), CUT);
        out.bits(u64::from(cut.1), CUT);
        out.bits(u64::from(*cut_now), SAMPLES);
        let CpuPast { open, lately, day, long, daily, weekly, away, tally } = cpu;
        out.digest(open);
        out.digest(lately);
        out.digest(day);
        out.digest(long);
        out.course(daily);
        out.weekly(weekly);
        out.bits(u64::from(away.hours), RUN);
        out.level(away.low);
        out.level(away.high);
        out.tally(tally);
        let MemoryPast { open, week, misses, tally } = memory;
        out.level(*open);
        out.hours(&week.map(|peak| [peak]), |out, [peak]| out.level(*peak));
        out.misses(*misses);
        out.tally(tally);
        out.ways(ways);
        out.ways(memory_ways);
        out.finish()
    }

    /// From bytes that [`State::save`] wrote.
    pub fn load(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut from = Reader { bytes, at: 0 };
        let version = from.bits(8)?;
        if version != u64::from(VERSION) {
            return Err(LoadError::Version(bytes[0]));
        }
        let mut state = Self { hour: from.time()?, ..Self::default() };
        let kill = from.since(state.hour)?;
        let level = from.level()?;
        state.kill = kill.map(|hour| (hour, level));
        state.shift = from.since(state.hour)?;
        state.cut = (from.short(CUT)?, from.short(CUT)?);
        if state.cut.0 >= MOST_CUT || state.cut.1 > state.cut.0 {
            return Err(LoadError::Damaged("a count"));
        }
        state.cut_now = from.samples()?;
        state.cpu.open = from.digest()?;
        state.cpu.lately = from.digest()?;
        state.cpu.day = from.digest()?;
        state.cpu.long = from.digest()?;
        state.cpu.daily = from.course()?;
        state.cpu.weekly = from.weekly()?;
        let hours = u8::try_from(from.bits(RUN)?).unwrap_or(u8::MAX);
        state.cpu.away = Away { hours, low: from.level()?, high: from.level()? };
        state.cpu.tally = from.tally()?;
        state.memory.open = from.level()?;
        state.memory.week = from.hours::<1, WEEK>(|from| Ok([from.level()?]))?.map(|[peak]| peak);
        state.memory.misses = from.misses()?;
        state.memory.tally = from.tally()?;
        state.ways = from.ways()?;
        state.memory_ways = from.ways()?;
        Ok(state)
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    /// Bits written.
    length: usize,
}

impl Writer {
    fn bits(&mut self, value: u64, count: u32) {
        for bit in (0..count).rev() {
            if self.length.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from((value >> bit) & 1 == 1) << (7 - self.length % 8);
            }
            self.length += 1;
        }
    }

    /// The shorter of two ways to write the same, after a bit that says which.
    fn shorter(&mut self, plain: impl FnOnce(&mut Self), coded: impl FnOnce(&mut Self)) {
        let (mut a, mut b) = (Self::default(), Self::default());
        plain(&mut a);
        coded(&mut b);
        let is_coded = b.length < a.length;
        self.bits(u64::from(is_coded), 1);
        let chosen = if is_coded { b } else { a };
        for at in 0..chosen.length {
            self.bits(u64::from(chosen.bytes[at / 8] >> (7 - at % 8)), 1);
        }
    }

    /// Exp-Golomb of order 2: small numbers in few bits, any number in some.
    fn number(&mut self, value: u32) {
        let shifted = u64::from(value) + 4;
        let length = 64 - shifted.leading_zeros();
        self.bits(0, length - 3);
        self.bits(shifted, length);
    }

    fn signed(&mut self, value: i32) {
        self.number(if value < 0 { value.unsigned_abs() * 2 - 1 } else { value.unsigned_abs() * 2 });
    }

    fn level(&mut self, level: u16) {
        self.bits(if level == UNKNOWN { NOTHING } else { u64::from(level) }, LEVEL);
    }

    fn float(&mut self, value: f32) {
        self.bits(u64::from(value.to_bits()), FLOAT);
    }

    fn time(&mut self, hour: Option<i64>) {
        self.bits(u64::from(hour.is_some()), 1);
        if let Some(hour) = hour {
            self.bits(((hour << 1) ^ (hour >> 63)).cast_unsigned(), TIME);
        }
    }

    /// The course of the day: from where on and in which steps, and then by hours.
    fn course(&mut self, course: &Course) {
        let (lowest, step) = course.steps();
        self.level(lowest);
        self.bits(u64::from(step), COARSE);
        self.hours(course.hours(), |out, hour| out.hour(hour, lowest, step));
    }

    /// Steps that ascend, or nothing.
    fn hour(&mut self, hour: &Hour, lowest: u16, step: u32) {
        // Each further from the one before it, so that no two are the same.
        let chosen = (0..).zip(hour).map(|(at, level)| choose(at + 1, u64::from((level - lowest) >> step) + at));
        self.bits(if hour[0] == UNKNOWN { HOURS } else { chosen.sum() }, HOUR);
    }

    fn misses(&mut self, misses: Misses) {
        self.bits(u64::from(misses.day), MISSES);
        self.bits(u64::from(misses.week), MISSES);
    }

    fn weekly(&mut self, weekly: &Weekly) {
        let Weekly { misses, beside, today } = weekly;
        self.misses(*misses);
        for steps in beside.iter().chain([today]).flatten() {
            self.bits(u64::from((steps + MOST_BESIDE).cast_unsigned()), BESIDE);
        }
    }

    /// A moment as hours before `now`: fewer than [`REMEMBERED`].
    fn since(&mut self, now: Option<i64>, then: Option<i64>) {
        let age = now.zip(then).map(|(now, then)| now.saturating_sub(then).clamp(0, REMEMBERED - 1));
        self.bits(u64::from(age.is_some()), 1);
        if let Some(age) = age {
            self.bits(age.cast_unsigned(), 14);
        }
    }

    fn digest<const N: usize>(&mut self, digest: &Digest<N>) {
        self.bits(digest.entries().count() as u64, count(N));
        // Levels ascend to TOP at most: so many steps of a fixed part and a few more bits, whatever they are.
        let mut before = 0;
        for (level, _) in digest.entries() {
            let step = level - before;
            (0..step >> STEP).for_each(|_| self.bits(1, 1));
            self.bits(0, 1);
            self.bits(u64::from(step), STEP);
            before = level;
        }
        self.shorter(
            |plain| digest.entries().for_each(|(_, weight)| plain.bits(u64::from(weight), WEIGHT)),
            |coded| digest.entries().for_each(|(_, weight)| coded.number(u32::from(weight))),
        );
    }

    fn tally(&mut self, tally: &Tally) {
        let Tally { per_hour, hours, last, mean, restless, weight, sum, pod } = tally;
        self.bits(u64::from(*per_hour), OF_POD);
        self.bits(u64::from(*hours), KNOWN);
        self.level(last.unwrap_or(UNKNOWN));
        for it in [*mean, *restless, *weight, sum.0] {
            self.float(it);
        }
        self.bits(u64::from(sum.1), SAMPLES);
        self.bits(u64::from(*pod), OF_POD);
    }

    fn ways<const N: usize>(&mut self, ways: &Rehearsal<N>) {
        let Rehearsal { sizes, charges, leader, price, done } = ways;
        sizes.iter().for_each(|it| self.level(*it));
        charges.iter().for_each(|it| self.bits(u64::from(*it), 16));
        self.bits(u64::from(*leader), 3);
        self.bits(u64::from(price.to_bits() >> 16), PRICE);
        self.bits(u64::from(*done), 1);
    }

    /// `plain` writes one of them by itself.
    fn hours<const Q: usize>(&mut self, hours: &[[u16; Q]], plain: impl Fn(&mut Self, &[u16; Q])) {
        let plain = |out: &mut Self| hours.iter().for_each(|hour| plain(out, hour));
        let coded = |out: &mut Self| {
            let mut before = [0; Q];
            for hour in hours {
                out.bits(u64::from(hour[0] != UNKNOWN), 1);
                if hour[0] == UNKNOWN {
                    continue;
                }
                // The lowest against the hour before; the others against what that move alone would have made of them.
                let mut moved = 0;
                for (now, before) in hour.iter().zip(before) {
                    let change = i32::from(*now) - i32::from(before);
                    out.signed(change - moved);
                    moved = change;
                }
                before = *hour;
            }
        };
        self.shorter(plain, coded);
    }

    fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bits(&mut self, count: u32) -> Result<u64, LoadError> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8).ok_or(LoadError::Cut)?;
            value = (value << 1) | u64::from((byte >> (7 - self.at % 8)) & 1);
            self.at += 1;
        }
        Ok(value)
    }

    fn short(&mut self, count: u32) -> Result<u16, LoadError> {
        u16::try_from(self.bits(count)?).map_err(|_| LoadError::Damaged("a count"))
    }

    fn samples(&mut self) -> Result<u32, LoadError> {
        u32::try_from(self.bits(SAMPLES)?).map_err(|_| LoadError::Damaged("a count"))
    }

    fn number(&mut self) -> Result<u32, LoadError> {
        let mut length = 3;
        while self.bits(1)? == 0 {
            length += 1;
            if length > 34 {
                return Err(LoadError::Damaged("a number"));
            }
        }
        let value = (1 << (length - 1)) | self.bits(length - 1)?;
        u32::try_from(value - 4).map_err(|_| LoadError::Damaged("a number"))
    }

    fn signed(&mut self) -> Result<i32, LoadError> {
        let coded = self.number()?;
        let half = i32::try_from(coded.div_ceil(2)).map_err(|_| LoadError::Damaged("a number"))?;
        Ok(if coded % 2 == 1 { -half } else { half })
    }

    fn level(&mut self) -> Result<u16, LoadError> {
        let level = self.bits(LEVEL)?;
        Ok(if level == NOTHING { UNKNOWN } else { u16::try_from(level).unwrap_or(UNKNOWN) })
    }

    fn float(&mut self) -> Result<f32, LoadError> {
        let value = f32::from_bits(u32::try_from(self.bits(FLOAT)?).unwrap_or(u32::MAX));
        if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(LoadError::Damaged("a sum")) }
    }

    fn time(&mut self) -> Result<Option<i64>, LoadError> {
        if self.bits(1)? == 0 {
            return Ok(None);
        }
        let coded = self.bits(TIME)?;
        Ok(Some((coded >> 1).cast_signed() ^ -(coded & 1).cast_signed()))
    }

    fn course(&mut self) -> Result<Course, LoadError> {
        let (lowest, step) = (self.level()?, self.bits(COARSE)?);
        if lowest > TOP || step > u64::from(COARSEST) {
            return Err(LoadError::Damaged("a course"));
        }
        let hours = self.hours::<RANKED, DAY>(|from| from.hour(lowest, step))?;
        Course::of(hours).ok_or(LoadError::Damaged("a course"))
    }

    fn hour(&mut self, lowest: u16, step: u64) -> Result<Hour, LoadError> {
        let mut left = self.bits(HOUR)?;
        if left == HOURS {
            return Ok([UNKNOWN; RANKED]);
        }
        if left > HOURS {
            return Err(LoadError::Damaged("an hour"));
        }
        let mut hour = [0; RANKED];
        // The largest first: it alone says most of the number.
        for (level, at) in hour.iter_mut().rev().zip((0..RANKED as u64).rev()) {
            let (mut least, mut most) = (at, u64::from(STEPS) + at);
            while most - least > 1 {
                let middle = least.midpoint(most);
                if choose(at + 1, middle) <= left { least = middle } else { most = middle }
            }
            left -= choose(at + 1, least);
            *level = u16::try_from(u64::from(lowest) + ((least - at) << step)).unwrap_or(UNKNOWN);
        }
        Ok(hour)
    }

    fn misses(&mut self) -> Result<Misses, LoadError> {
        Ok(Misses { day: self.short(MISSES)?, week: self.short(MISSES)? })
    }

    fn weekly(&mut self) -> Result<Weekly, LoadError> {
        let mut weekly = Weekly { misses: self.misses()?, ..Weekly::default() };
        for steps in weekly.beside.iter_mut().chain([&mut weekly.today]).flatten() {
            let written = i8::try_from(self.bits(BESIDE)?).unwrap_or_default();
            *steps = Some(written - MOST_BESIDE).filter(|it| *it <= MOST_BESIDE).ok_or(LoadError::Damaged("a week"))?;
        }
        Ok(weekly)
    }

    fn since(&mut self, now: Option<i64>) -> Result<Option<i64>, LoadError> {
        if self.bits(1)? == 0 {
            return Ok(None);
        }
        let age = i64::from(self.short(14)?);
        Ok(now.map(|now| now.saturating_sub(age)))
    }

    fn digest<const N: usize>(&mut self) -> Result<Digest<N>, LoadError> {
        let count = usize::from(self.short(count(N))?);
        if count > N {
            return Err(LoadError::Damaged("a count"));
        }
        let mut levels = [0; N];
        let mut before = 0_u16;
        for level in &mut levels[..count] {
            let mut step = 0_u16;
            while self.bits(1)? == 1 {
                step = step.saturating_add(1 << STEP);
            }
            before = before.saturating_add(step.saturating_add(self.short(STEP)?));
            *level = before;
        }
        let coded = self.bits(1)? == 1;
        let mut digest = Digest::default();
        for level in &levels[..count] {
            let weight = if coded { self.number()? } else { u32::from(self.short(WEIGHT)?) };
            let weight = u16::try_from(weight).ok().filter(|it| (1..=MAX_WEIGHT).contains(it));
            if *level > TOP || digest.top().is_some_and(|top| top >= *level) {
                return Err(LoadError::Damaged("a level"));
            }
            digest.put(*level, weight.ok_or(LoadError::Damaged("a weight"))?);
        }
        Ok(digest)
    }

    fn tally(&mut self) -> Result<Tally, LoadError> {
        let (per_hour, hours) = (self.short(OF_POD)?, self.short(KNOWN)?);
        let last = Some(self.level()?).filter(|it| *it != UNKNOWN);
        let (mean, restless, weight) = (self.float()?, self.float()?, self.float()?);
        let sum = (self.float()?, self.samples()?);
        Ok(Tally { per_hour, hours, last, mean, restless, weight, sum, pod: self.short(OF_POD)? })
    }

    fn ways<const N: usize>(&mut self) -> Result<Rehearsal<N>, LoadError> {
        let mut ways = Rehearsal::default();
        for size in &mut ways.sizes {
            *size = self.level()?;
        }
        for charge in &mut ways.charges {
            *charge = self.short(16)?;
        }
        ways.leader = u8::try_from(self.bits(3)?).unwrap_or(0);
        if usize::from(ways.leader) >= N {
            return Err(LoadError::Damaged("a way"));
        }
        ways.price = f32::from_bits(u32::from(self.short(PRICE)?) << 16);
        if !ways.price.is_finite() {
            return Err(LoadError::Damaged("a price"));
        }
        ways.done = self.bits(1)? == 1;
        Ok(ways)
    }

    /// `plain` reads one of them that was written by itself.
    fn hours<const Q: usize, const H: usize>(
        &mut self,
        plain: impl Fn(&mut Self) -> Result<[u16; Q], LoadError>,
    ) -> Result<[[u16; Q]; H], LoadError> {
        let coded = self.bits(1)? == 1;
        let mut hours = [[UNKNOWN; Q]; H];
        let mut before = [0_u16; Q];
        for hour in &mut hours {
            if !coded {
                *hour = plain(self)?;
                continue;
            }
            if self.bits(1)? == 0 {
                continue;
            }
            let mut moved = 0;
            for at in 0..Q {
                moved = self.signed()?.saturating_add(moved);
                let level = u16::try_from(i32::from(before[at]).saturating_add(moved)).ok();
                hour[at] = level.filter(|it| *it <= TOP).ok_or(LoadError::Damaged("a level"))?;
                if at > 0 && hour[at] < hour[at - 1] {
                    return Err(LoadError::Damaged("an hour"));
                }
            }
            before = *hour;
        }
        Ok(hours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(hour: Hour, (lowest, step): (u16, u32), number: u64) {
        let mut out = Writer::default();
        out.hour(&hour, lowest, step);
        let bytes = out.finish();
        assert_eq!(Reader { bytes: &bytes, at: 0 }.bits(HOUR), Ok(number), "{hour:?}");
        assert_eq!(Reader { bytes: &bytes, at: 0 }.hour(lowest, step.into()), Ok(hour), "{number}");
    }

    #[test]
    fn an_hour_is_a_number() {
        check([0, 0, 0, 0, 0], (0, 0), 0);
        check([0, 0, 0, 0, 1], (0, 0), 1);
        check([0, 0, 0, 1, 1], (0, 0), 2);
        check([1, 1, 1, 1, 1], (0, 0), 5);
        check([0, 0, 0, 0, 2], (0, 0), 6);
        check([500, 500, 500, 504, 504], (500, 2), 2);
        check([50, 52, 60, 70, 299], (50, 0), choose(5, 253) + choose(4, 23) + choose(3, 12) + choose(2, 3));
        check([249; RANKED], (0, 0), HOURS - 1);
        check([UNKNOWN; RANKED], (7, 3), HOURS);
        let mut out = Writer::default();
        out.bits(HOURS + 1, HOUR);
        let bytes = out.finish();
        assert_eq!(Reader { bytes: &bytes, at: 0 }.hour(0, 0), Err(LoadError::Damaged("an hour")));
    }

    #[test]
    fn a_course_is_kept_in_whole_steps() {
        let course = |levels: [i32; 2]| {
            let mut out = Writer::default();
            out.level(100);
            out.bits(1, COARSE);
            out.bits(1, 1);
            // Two hours, each of one level, and nothing of the others.
            for level in [levels[0], levels[1] - levels[0]] {
                out.bits(1, 1);
                (0..RANKED).for_each(|at| out.signed(if at == 0 { level } else { 0 }));
            }
            (2..DAY).for_each(|_| out.bits(0, 1));
            let bytes = out.finish();
            Reader { bytes: &bytes, at: 0 }.course().map(|it| it.hours()[1][0])
        };
        assert_eq!(course([100, 600]), Ok(600));
        assert_eq!(course([100, 601]), Err(LoadError::Damaged("a course")));
        assert_eq!(course([100, 2047]), Err(LoadError::Damaged("a level")));
    }

    #[test]
    fn the_levels_of_an_hour_ascend() {
        let mut out = Writer::default();
        out.bits(1, 1);
        out.bits(1, 1);
        [9, 0, -1].into_iter().for_each(|it| out.signed(it));
        let bytes = out.finish();
        let hours = Reader { bytes: &bytes, at: 0 }.hours::<3, 1>(|_| Ok([0; 3]));
        assert_eq!(hours, Err(LoadError::Damaged("an hour")));
    }

    #[test]
    fn a_week_is_what_was_written() {
        let mut weekly = Weekly {
            misses: Misses { day: Misses::MOST, week: 7 },
            today: [MOST_BESIDE, -MOST_BESIDE],
            ..Weekly::default()
        };
        weekly.beside[6] = [-1, MOST_BESIDE];
        let mut out = Writer::default();
        out.weekly(&weekly);
        let bytes = out.finish();
        assert_eq!(Reader { bytes: &bytes, at: 0 }.weekly(), Ok(weekly));
        // One number of five bits is none of the steps.
        let damaged = Reader { bytes: &[0xff; 14], at: 0 }.weekly();
        assert_eq!(damaged, Err(LoadError::Damaged("a week")));
    }

    #[test]
    fn a_step_between_hours_is_no_longer_than_any_number() {
        let mut out = Writer::default();
        out.bits(1, 1);
        out.bits(1, 1);
        out.signed(5);
        out.signed(i32::MAX);
        let bytes = out.finish();
        let hours = Reader { bytes: &bytes, at: 0 }.hours::<3, 1>(|_| Ok([0; 3]));
        assert_eq!(hours, Err(LoadError::Damaged("a level")));
    }
}
