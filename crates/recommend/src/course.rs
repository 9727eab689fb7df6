//! The usual course of the day: for each of its hours, what the same hour of earlier days was like, all of them together.
//!
//! An hour is five order statistics of a mixture of days, in which a day weighs three fifths of the next younger one. A mean of
//! days would say less: that a job ran on two days of five is in the mixture, and in no mean.

use crate::cpu::OPEN;
use crate::digest::Digest;
use crate::past::{UNKNOWN, place};
use crate::resource::TOP;
use crate::sample::amount;

/// Hours of a day.
pub const DAY: usize = 24;

/// Order statistics of an hour.
pub const RANKED: usize = 5;

/// Order statistics of one hour, lowest first. All [`UNKNOWN`] where nothing was measured.
pub type Hour = [u16; RANKED];

/// At which shares of the hour they are taken. The last one is where half of one sample lies above ...
const RANKS: [f64; RANKED - 1] = [0.4, 0.65, 0.85, 0.93];
const BESIDE_TOP: f64 = 0.5;

/// ... and the one before is what five minutes of an hour reach.
pub const BUSY: usize = 3;

/// The weight of the latest day in the mixture.
const LATEST: f64 = 0.4;

/// What lies between the lowest and the highest level of a course is kept in fewer than so many steps.
pub const STEPS: u16 = 250;

/// A step is two to the power of this at most.
pub const COARSEST: u32 = 4;
const _: () = assert!(TOP >> COARSEST < STEPS);

/// The hours of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    hours: [Hour; DAY],
}

impl Default for Course {
    fn default() -> Self {
        Self { hours: [[UNKNOWN; RANKED]; DAY] }
    }
}

impl Course {
    /// Of these hours; `None` where they cannot be a course: levels of an hour descend, or are not whole steps apart.
    pub fn of(hours: [Hour; DAY]) -> Option<Self> {
        let course = Self { hours };
        let fits = |hour: &Hour| *hour == [UNKNOWN; RANKED] || (hour.is_sorted() && hour[RANKED - 1] <= TOP);
        let (lowest, step) = course.steps();
        let whole = |level: u16| (level - lowest).is_multiple_of(1 << step);
        (hours.iter().all(fits) && course.known().flatten().all(|it| whole(*it))).then_some(course)
    }

    /// The hours by number, from midnight.
    pub const fn hours(&self) -> &[Hour; DAY] {
        &self.hours
    }

    /// What is known of an hour; all [`UNKNOWN`] where nothing is.
    pub fn at(&self, hour: i64) -> Hour {
        self.hours[place(hour, DAY)]
    }

    /// The hours of which something is known.
    pub fn known(&self) -> impl Iterator<Item = &Hour> + Clone {
        self.hours.iter().filter(|it| it[0] != UNKNOWN)
    }

    /// The lowest level, and the least step (as a power of two) in which the highest one is not too far from it.
    pub fn steps(&self) -> (u16, u32) {
        let levels = || self.known().flatten().copied();
        let (lowest, highest) = (levels().min().unwrap_or(0), levels().max().unwrap_or(0));
        let step = (0..COARSEST).find(|step| (highest - lowest) >> step < STEPS).unwrap_or(COARSEST);
        (lowest, step)
    }

    /// Takes in what an hour was like that lay so many levels `beside` the usual one for a known reason; it has so many samples.
    pub fn learn(&mut self, hour: i64, seen: &Digest<OPEN>, beside: i32, samples: u16) {
        let at = place(hour, DAY);
        if let Some(next) = mixed(&self.hours[at], seen, beside, &ranks(samples)) {
            self.hours[at] = next;
            self.settle();
        }
    }

    /// Of two courses the higher one, hour by hour.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.hours.iter_mut().zip(&other.hours) {
            *mine = match (mine[0], theirs[0]) {
                (UNKNOWN, _) => *theirs,
                (_, UNKNOWN) => *mine,
                _ => std::array::from_fn(|it| mine[it].max(theirs[it])),
            };
        }
        self.settle();
    }

    /// Levels to whole steps: what is kept is what can be saved. A step is a power of two, so that what was rounded once stays.
    fn settle(&mut self) {
        for step in 0..=COARSEST {
            let mut rounded = *self;
            if step > 0 {
                let nearest = |level: u16| ((level + (1 << step >> 1)) >> step).min(TOP >> step) << step;
                rounded.hours.iter_mut().flatten().filter(|it| **it != UNKNOWN).for_each(|it| *it = nearest(*it));
            }
            if rounded.steps().1 <= step {
                *self = rounded;
                return;
            }
        }
    }
}

/// The shares of an hour of so many samples at which order statistics are taken.
fn ranks(samples: u16) -> [f64; RANKED] {
    let top = 1.0 - BESIDE_TOP / f64::from(samples.max(1));
    let [a, b, c, busy] = RANKS;
    [a, b, c, busy, top.max(busy + 0.001)]
}

/// The share of an hour each order statistic stands for, when the hour has so many samples: half of what lies at either side.
pub fn masses(samples: u16) -> [f64; RANKED] {
    let ranks = ranks(samples);
    std::array::from_fn(|it| {
        let below = if it == 0 { 0.0 } else { ranks[it - 1].midpoint(ranks[it]) };
        let above = ranks.get(it + 1).map_or(1.0, |next| next.midpoint(ranks[it]));
        above - below
    })
}

/// An hour as order statistics, of what earlier days say of it and of what was seen now; between two of them use is taken to lie
/// evenly. Nothing where nothing was seen.
fn mixed(usual: &Hour, seen: &Digest<OPEN>, beside: i32, ranks: &[f64; RANKED]) -> Option<Hour> {
    let without = |level: u16| u16::try_from(i32::from(level) - beside).unwrap_or(0).min(TOP);
    let mut next = [without(seen.top()?); RANKED];
    let known = usual[0] != UNKNOWN;
    let (latest, earlier) = if known { (LATEST, 1.0 - LATEST) } else { (1.0, 0.0) };
    // The levels at which something happens, ascending: between two of them the share below rises evenly.
    let mut levels = [0; OPEN + RANKED];
    let mut count = 0;
    for level in seen.entries().map(|it| without(it.0)).chain(usual.iter().copied().filter(|_| known)) {
        levels[count] = level;
        count += 1;
    }
    levels[..count].sort_unstable();
    let total = f64::from(seen.total());
    let (mut weight, mut entries) = (0.0, seen.entries().peekable());
    let mut wanted = next.iter_mut().zip(ranks).peekable();
    // Up to the level before: the level, and the share at or below it.
    let (mut from, mut below) = (levels[0], 0.0);
    for level in levels[..count].iter().copied() {
        let rising = latest * weight / total + earlier * before(usual, ranks, level);
        while let Some((_, more)) = entries.next_if(|it| without(it.0) <= level) {
            weight += f64::from(more);
        }
        let reached = latest * weight / total + earlier * upto(usual, ranks, level);
        while let Some((at, rank)) = wanted.next_if(|it| *it.1 <= reached + 1e-9) {
            *at = if rising >= *rank && rising > below {
                let steps = amount(i64::from(level - from)) * (rank - below) / (rising - below);
                from.saturating_add(up(steps)).min(level)
            } else {
                level
            };
        }
        (from, below) = (level, reached);
    }
    // What is left for a rounding's sake is at the highest.
    wanted.for_each(|(at, _)| *at = from);
    Some(next)
}

/// The share of an hour that lies at or below a level, by its order statistics.
fn upto(hour: &Hour, ranks: &[f64; RANKED], level: u16) -> f64 {
    match hour.partition_point(|it| *it <= level) {
        0 => 0.0,
        RANKED => 1.0,
        next => between(hour, ranks, next, level),
    }
}

/// And the share below it.
fn before(hour: &Hour, ranks: &[f64; RANKED], level: u16) -> f64 {
    match hour.partition_point(|it| *it < level) {
        0 => 0.0,
        RANKED => 1.0,
        next => between(hour, ranks, next, level),
    }
}

/// Between the order statistic before `next` and `next`, which is higher.
fn between(hour: &Hour, ranks: &[f64; RANKED], next: usize, level: u16) -> f64 {
    let (low, high) = (hour[next - 1], hour[next]);
    let share = f64::from(level.saturating_sub(low)) / f64::from((high - low).max(1));
    ranks[next - 1] + (ranks[next] - ranks[next - 1]) * share
}

/// A number of levels, rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; a level is small")]
fn up(levels: f64) -> u16 {
    levels.ceil() as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(levels: &[u16]) -> Digest<OPEN> {
        let mut seen = Digest::default();
        levels.iter().for_each(|it| seen.put(*it, 1));
        seen
    }

    #[track_caller]
    fn check(days: &[&[u16]], wanted: Hour) {
        let mut course = Course::default();
        for day in days {
            course.learn(7, &seen(day), 0, u16::try_from(day.len()).unwrap());
        }
        assert_eq!(course.at(7), wanted, "{days:?}");
    }

    #[test]
    fn an_hour_of_days() {
        let (quiet, busy) = ([100; 12], [400; 12]);
        check(&[], [UNKNOWN; RANKED]);
        check(&[&[]], [UNKNOWN; RANKED]);
        check(&[&quiet], [100; RANKED]);
        check(&[&quiet, &quiet], [100; RANKED]);
        // Two fifths, then sixteen hundredths: what was seen once is forgotten in days and not at once.
        check(&[&busy, &quiet], [100, 400, 400, 400, 400]);
        check(&[&busy, &quiet, &quiet], [100, 120, 400, 400, 400]);
        // One of twelve for an hour is what lasts for five minutes of it.
        check(&[&[[100; 11].as_slice(), &[400]].concat()], [100, 100, 100, 400, 400]);
    }

    #[test]
    fn far_apart_is_kept_in_coarse_steps() {
        let mut course = Course::default();
        course.learn(0, &seen(&[101; 12]), 0, 12);
        course.learn(1, &seen(&[350; 12]), 0, 12);
        assert_eq!((course.at(0), course.at(1), course.steps()), ([101; RANKED], [350; RANKED], (101, 0)));
        course.learn(2, &seen(&[503; 12]), 0, 12);
        assert_eq!((course.at(0), course.at(1), course.at(2)), ([102; RANKED], [350; RANKED], [504; RANKED]));
        assert_eq!(course.steps(), (102, 1));
        course.learn(3, &seen(&[0, TOP]), 0, 2);
        assert_eq!(course.steps(), (0, COARSEST));
    }

    proptest! {
        #[test]
        fn a_course_is_one_and_is_settled(hours in prop::collection::vec((0i64..24, prop::collection::vec(0u16..=TOP, 0..30)), 0..60), cut in 0usize..60) {
            let (mut one, mut other) = (Course::default(), Course::default());
            for (at, (hour, levels)) in hours.iter().enumerate() {
                let course = if at < cut { &mut one } else { &mut other };
                course.learn(*hour, &seen(levels), 0, u16::try_from(levels.len()).unwrap());
            }
            for it in [one, other, { let mut both = one; both.merge(&other); both }] {
                prop_assert_eq!(Course::of(*it.hours()), Some(it));
                let mut again = it;
                again.settle();
                prop_assert_eq!(again, it, "what was rounded stays");
            }
        }

        #[test]
        fn an_hour_lies_within_what_was_seen(days in prop::collection::vec(prop::collection::vec(0u16..240, 1..30), 1..8)) {
            let mut course = Course::default();
            for day in &days {
                course.learn(3, &seen(day), 0, u16::try_from(day.len()).unwrap());
            }
            let hour = course.at(3);
            let all = || days.iter().flatten().copied();
            prop_assert!(all().min().unwrap() <= hour[0] && hour[RANKED - 1] <= all().max().unwrap(), "{hour:?}");
            let sum: f64 = masses(60).iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-12);
        }
    }
}
