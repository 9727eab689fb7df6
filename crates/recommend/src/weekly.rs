//! What a week adds to the usual course of the day: on which days the hours of a CPU lie beside what earlier days say of them, and
//! by how much.
//!
//! Weeks of hours are too much to keep: two numbers a day are kept, for its quiet hours and for its busy ones. Each is a median that
//! is looked for in steps: an hour that lies above takes it up by one, an hour below takes it down. The course of the day follows
//! whatever days do, so what stands here is a Saturday's fall and a Monday's rise.

use crate::course::{BUSY, Course, DAY, Hour, RANKED};
use crate::past::{Misses, UNKNOWN, place};
use crate::resource::TOP;

/// Days of a week.
pub const WEEKDAYS: usize = 7;

/// Quiet hours, and busy ones.
pub const HALVES: usize = 2;

/// Levels of one step: a sixth more or less.
const STEP: i32 = 24;

/// The furthest a day can lie beside the others, in steps: eleven times as much, or as little.
pub const MOST: i8 = 15;

/// From how many steps on the median is looked for three times as fast.
const FAR: i32 = 4;

/// How days of the week lie beside what earlier days say of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weekly {
    /// Of hours of which the week says something else than the day alone.
    pub misses: Misses,
    /// By day of the week, in steps: quiet hours, busy hours.
    pub beside: [[i8; HALVES]; WEEKDAYS],
    /// Of the running day, as earlier weeks left it: what it has taught itself is no week's.
    pub today: [i8; HALVES],
}

impl Weekly {
    /// Takes in an hour that reached a level, held against what the course of the day said of it.
    pub fn learn(&mut self, hour: i64, level: u16, daily: &Course) {
        let usual = daily.at(hour)[BUSY];
        if usual == UNKNOWN {
            return;
        }
        let half = usize::from(usual >= middle(daily));
        let off = i32::from(level) - i32::from(usual);
        let told = i32::from(self.today[half]) * STEP;
        if told != 0 {
            let miss = |levels: i32| u16::try_from(levels.unsigned_abs()).unwrap_or(u16::MAX);
            self.misses.count(miss(off), miss(off - told), Misses::LARGEST);
        }
        let beside = &mut self.beside[weekday(hour)][half];
        let left = (off - i32::from(*beside) * STEP) / STEP;
        let step = left.signum() * if left.abs() > FAR { 3 } else { 1 };
        let moved = (i32::from(*beside) + step).clamp(-i32::from(MOST), i32::from(MOST));
        *beside = i8::try_from(moved).unwrap_or_default();
    }

    /// The running hour is this one now.
    pub fn turn(&mut self, from: i64, to: i64) {
        if !is_same_day(from, to) {
            self.today = self.beside[weekday(to)];
        }
    }

    /// How far weeks are more regular than days, 0 to 1: wholly where they miss by a quarter, not at all where by half.
    fn trust(&self) -> f64 {
        self.misses.week_by_day().map_or(0.0, |it| (2.0 - 4.0 * it).clamp(0.0, 1.0))
    }

    /// What it adds to the course of the day, from within the hour `now`. `None`: nothing that can be relied on.
    pub fn told(&self, now: i64, daily: &Course) -> Option<Told<'_>> {
        let trust = self.trust();
        (trust > 0.0).then(|| Told { weekly: self, trust, now, middle: middle(daily) })
    }

    /// Of two pasts the one that knows more: of which the week has said more, or has more to say.
    pub fn merge(&mut self, other: &Self) {
        let says =
            |it: &Self| it.beside.as_flattened().iter().map(|steps| u16::from(steps.unsigned_abs())).sum::<u16>();
        let knows = |it: &Self| (it.misses.day, says(it), *it);
        if knows(other) > knows(self) {
            *self = *other;
        }
    }
}

/// What a week adds, as far as it can be relied on.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    weekly: &'a Weekly,
    trust: f64,
    now: i64,
    middle: u16,
}

impl Told<'_> {
    /// What is to be expected of an hour ahead of which the course of the day says `usual`. `None`: it is over, and what it was like
    /// is in the course of the day already.
    pub fn of(&self, hour: i64, usual: Hour) -> Option<Hour> {
        if hour < self.now {
            return None;
        }
        let Weekly { beside, today, .. } = self.weekly;
        let day = if is_same_day(self.now, hour) { today } else { &beside[weekday(hour)] };
        let steps = day[usize::from(usual[BUSY] >= self.middle)];
        let by = self.levels(steps);
        let mut moved = moved(usual, by);
        // What was seen at the top of a busier day may still be there.
        if by > 0 {
            moved[RANKED - 1] = usual[RANKED - 1].max(moved[RANKED - 2]);
        }
        Some(moved)
    }

    /// By how many levels the running hour, which reached `level`, lies beside the usual one because of its day of the week. Nothing
    /// where that is no better told without the week.
    pub fn explains(&self, level: u16, usual: Hour) -> i32 {
        let off = i32::from(level) - i32::from(usual[BUSY]);
        let by = self.levels(self.weekly.today[usize::from(usual[BUSY] >= self.middle)]);
        if usual[0] != UNKNOWN && (off - by).abs() < off.abs() { by } else { 0 }
    }

    /// So many steps, as far as they can be relied on, in levels.
    fn levels(&self, steps: i8) -> i32 {
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates; a level is small")]
        let levels = (f64::from(i32::from(steps) * STEP) * self.trust).round() as i32;
        levels
    }
}

/// An hour so many levels higher.
fn moved(hour: Hour, by: i32) -> Hour {
    hour.map(|level| u16::try_from(i32::from(level) + by).unwrap_or(0).min(TOP))
}

/// Which day of the week an hour is of: a number, whatever its name.
fn weekday(hour: i64) -> usize {
    place(hour, WEEKDAYS * DAY) / DAY
}

fn is_same_day(one: i64, other: i64) -> bool {
    let day = |hour: i64| hour.div_euclid(DAY as i64);
    day(one) == day(other)
}

/// What lies between the quietest and the busiest hour of the day.
fn middle(daily: &Course) -> u16 {
    let known = || daily.known().map(|it| it[BUSY]);
    let (low, high) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
    low.midpoint(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_that_knows_something_is_kept_beside_one_that_knows_nothing() {
        let mut learned = Weekly::default();
        learned.beside[2] = [0, -9];
        for (mut one, other) in [(learned, Weekly::default()), (Weekly::default(), learned)] {
            one.merge(&other);
            assert_eq!(one, learned);
        }
        // Who was held against days for longer is believed.
        let mut tried = Weekly { misses: Misses { day: 300, week: 20 }, ..Weekly::default() };
        tried.beside[2] = [0, -3];
        learned.merge(&tried);
        assert_eq!(learned, tried);
    }
}
