//! The state as bytes: versioned, exact, and small.
//!
//! Levels of neighbouring hours are near each other, so what is written is the difference, in an Exp-Golomb code: a
//! steady container's week costs a few bits an hour. Recorded containers come to 200-450 bytes; what is not smooth
//! costs more, and nothing is ever rounded to fit.

use crate::cpu::CpuPast;
use crate::digest::Digest;
use crate::memory::{MemoryPast, WEEK};
use crate::past::{Tally, UNKNOWN};
use crate::state::State;

/// Written first. A reader refuses what it does not know.
const VERSION: u8 = 1;

/// Why bytes are not a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Another version wrote them.
    #[error("cannot load the state of a recommender: written as version {0}, this program reads version 1")]
    Version(u8),
    /// They end too early.
    #[error("cannot load the state of a recommender: it ends too early; it was cut")]
    Cut,
    /// They say what no state says.
    #[error("cannot load the state of a recommender: {0} is out of range; it was damaged")]
    Damaged(&'static str),
}

impl State {
    /// As bytes.
    pub fn save(&self) -> Vec<u8> {
        let Self { cpu, memory, hour, start_peak, kill, kills, shift, cut } = self;
        let mut out = Writer { bytes: vec![VERSION], bits: 0, free: 8 };
        out.time(*hour);
        out.time(kill.map(|(hour, _)| hour));
        out.bits(u64::from(kill.map_or(0, |(_, level)| level)), 11);
        out.time(*shift);
        out.number(u32::from(*start_peak));
        out.number(u32::from(*kills));
        out.bits(u64::from(cut.0.to_bits()), 32);
        out.bits(u64::from(cut.1.to_bits()), 32);
        let CpuPast { open, recent, daily, long, grown, course, tally } = cpu;
        out.digest(open);
        out.digest(long);
        out.number(u32::from(*grown));
        out.bits(u64::from(course.0.to_bits()), 32);
        out.bits(u64::from(course.1.to_bits()), 32);
        out.tally(tally);
        out.hours(recent.iter().copied());
        out.hours(daily.iter().copied());
        let MemoryPast { open, week, tally } = memory;
        out.hours(std::iter::once([*open]));
        out.tally(tally);
        out.hours(week.iter().map(|peak| [*peak]));
        out.finish()
    }

    /// From bytes that [`State::save`] wrote.
    pub fn load(bytes: &[u8]) -> Result<Self, LoadError> {
        let version = *bytes.first().ok_or(LoadError::Cut)?;
        if version != VERSION {
            return Err(LoadError::Version(version));
        }
        let mut from = Reader { bytes: &bytes[1..], at: 0 };
        let mut state = Self { hour: from.time()?, ..Self::default() };
        let kill = from.time()?;
        let level = from.level()?;
        state.kill = kill.map(|hour| (hour, level));
        state.shift = from.time()?;
        state.start_peak = from.short("a level")?;
        state.kills = from.short("a count")?;
        state.cut = (from.float()?, from.float()?);
        state.cpu.open = from.digest()?;
        state.cpu.long = from.digest()?;
        state.cpu.grown = from.short("an age")?;
        state.cpu.course = (from.float()?, from.float()?);
        state.cpu.tally = from.tally()?;
        from.hours(state.cpu.recent.iter_mut())?;
        from.hours(state.cpu.daily.iter_mut())?;
        let mut open = [[UNKNOWN]];
        from.hours(open.iter_mut())?;
        state.memory.open = open[0][0];
        state.memory.tally = from.tally()?;
        let mut week = [[UNKNOWN]; WEEK];
        from.hours(week.iter_mut())?;
        state.memory.week = week.map(|[peak]| peak);
        Ok(state)
    }
}

struct Writer {
    bytes: Vec<u8>,
    bits: u8,
    free: u8,
}

impl Writer {
    fn bits(&mut self, value: u64, count: u32) {
        for bit in (0..count).rev() {
            self.bits = (self.bits << 1) | u8::from((value >> bit) & 1 == 1);
            self.free -= 1;
            if self.free == 0 {
                self.bytes.push(self.bits);
                (self.bits, self.free) = (0, 8);
            }
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

    fn time(&mut self, hour: Option<i64>) {
        self.bits(u64::from(hour.is_some()), 1);
        if let Some(hour) = hour {
            self.bits(hour.cast_unsigned(), 64);
        }
    }

    fn digest<const N: usize>(&mut self, digest: &Digest<N>) {
        self.number(u32::try_from(digest.entries().count()).unwrap_or(0));
        let mut before = 0;
        for (level, weight) in digest.entries() {
            self.number(u32::from(level - before));
            self.number(u32::from(weight));
            before = level;
        }
    }

    fn tally(&mut self, tally: &Tally) {
        let Tally { per_hour, hours, mean, sum, restless } = tally;
        self.number(u32::from(*per_hour));
        self.number(u32::from(*hours));
        for it in [mean.0, mean.1, restless.0, restless.1] {
            self.bits(u64::from(it.to_bits()), 32);
        }
        self.bits(sum.0.to_bits(), 64);
        self.number(u32::from(sum.1));
    }

    fn hours<const Q: usize>(&mut self, hours: impl Iterator<Item = [u16; Q]>) {
        let mut before = [0; Q];
        for hour in hours {
            self.bits(u64::from(hour[0] != UNKNOWN), 1);
            if hour[0] == UNKNOWN {
                continue;
            }
            // The lowest against the hour before; the others against what that move alone would have made of them.
            let mut moved = 0;
            for (now, before) in hour.iter().zip(before) {
                let change = i32::from(*now) - i32::from(before);
                self.signed(change - moved);
                moved = change;
            }
            before = hour;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        while self.free != 8 {
            self.bits(0, 1);
        }
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

    fn number(&mut self) -> Result<u32, LoadError> {
        let mut zeros = 0;
        while self.bits(1)? == 0 {
            zeros += 1;
            if zeros > 32 {
                return Err(LoadError::Damaged("a number"));
            }
        }
        let rest = self.bits(zeros + 2)?;
        u32::try_from((1 << (zeros + 2)) + rest - 4).map_err(|_| LoadError::Damaged("a number"))
    }

    fn signed(&mut self) -> Result<i32, LoadError> {
        let number = self.number()?;
        let half = i32::try_from(number.div_ceil(2)).map_err(|_| LoadError::Damaged("a difference"))?;
        Ok(if number % 2 == 1 { -half } else { half })
    }

    fn short(&mut self, what: &'static str) -> Result<u16, LoadError> {
        u16::try_from(self.number()?).map_err(|_| LoadError::Damaged(what))
    }

    fn level(&mut self) -> Result<u16, LoadError> {
        u16::try_from(self.bits(11)?).map_err(|_| LoadError::Damaged("a level"))
    }

    fn float(&mut self) -> Result<f32, LoadError> {
        let bits = u32::try_from(self.bits(32)?).map_err(|_| LoadError::Damaged("an average"))?;
        let value = f32::from_bits(bits);
        if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(LoadError::Damaged("an average")) }
    }

    fn time(&mut self) -> Result<Option<i64>, LoadError> {
        if self.bits(1)? == 0 { Ok(None) } else { Ok(Some(self.bits(64)?.cast_signed())) }
    }

    fn digest<const N: usize>(&mut self) -> Result<Digest<N>, LoadError> {
        let count = self.number()?;
        if usize::try_from(count).unwrap_or(usize::MAX) > N {
            return Err(LoadError::Damaged("a histogram"));
        }
        let mut digest = Digest::default();
        let mut level = 0_u16;
        for _ in 0..count {
            let gap = self.short("a level")?;
            level =
                level.checked_add(gap).filter(|it| *it <= crate::resource::TOP).ok_or(LoadError::Damaged("a level"))?;
            let weight = self.short("a weight")?;
            if weight == 0 || weight > crate::digest::MAX_WEIGHT {
                return Err(LoadError::Damaged("a weight"));
            }
            digest.put(level, weight);
        }
        Ok(digest)
    }

    fn tally(&mut self) -> Result<Tally, LoadError> {
        let (per_hour, hours) = (self.short("a count")?, self.short("a count")?);
        let mean = (self.float()?, self.float()?);
        let restless = (self.float()?, self.float()?);
        let sum = f64::from_bits(self.bits(64)?);
        if !sum.is_finite() || sum < 0.0 {
            return Err(LoadError::Damaged("a sum"));
        }
        Ok(Tally { per_hour, hours, mean, sum: (sum, self.short("a count")?), restless })
    }

    fn hours<'h, const Q: usize>(&mut self, hours: impl Iterator<Item = &'h mut [u16; Q]>) -> Result<(), LoadError> {
        let mut before = [0_u16; Q];
        for hour in hours {
            if self.bits(1)? == 0 {
                *hour = [UNKNOWN; Q];
                continue;
            }
            let mut moved = 0;
            for (now, before) in hour.iter_mut().zip(before) {
                moved += self.signed()?;
                let level = u16::try_from(i32::from(before) + moved).ok();
                *now = level.filter(|it| *it <= crate::resource::TOP).ok_or(LoadError::Damaged("a level"))?;
            }
            before = *hour;
        }
        Ok(())
    }
}
