//! The past of CPU: three histograms that forget at different speeds, and the usual course of the day.
//!
//! ```text
//! sample ──▶ open (the running hour) ──hour ends──┬──▶ lately   half forgotten after an hour
//!                                                 ├──▶ day      half forgotten after a day
//!                                                 ├──▶ long     half forgotten after 200 hours
//!                                                 ├──▶ daily    the same hour of earlier days: course.rs
//!                                                 └──▶ weekly   how days of the week lie beside that
//! ```
//!
//! Unlike memory, it counts here how long a use lasted. When weights are halved is told by the clock and not by when the
//! recording began, so that two pasts of the same hour can be added.

use crate::atoms::{self, Atoms, SAME, STRETCHES, VIEWS, row};
use crate::course::{BUSY, Course, DAY, RANKED, masses};
use crate::digest::Digest;
use crate::past::{Past, Tally, UNKNOWN, place};
use crate::resource::{Resource, TOP};
use crate::sample::{amount, whole};
use crate::weekly::Weekly;

/// Entries of the histograms: of the running hour, of the hours just past, of the last days, of everything.
pub const OPEN: usize = 11;
/// See [`OPEN`].
pub const LATELY: usize = 9;
/// See [`OPEN`].
pub const DAYS: usize = 13;
/// See [`OPEN`].
pub const LONG: usize = 18;

/// Hours that are told of as the same hours of earlier days: those ahead, and one at either end.
const AROUND: usize = {
    let (mut hours, mut at) = (2, 0);
    while at < STRETCHES.len() {
        hours += STRETCHES[at];
        at += 1;
    }
    hours
};

/// At which shares of the running hour its summary is taken: half of it, what five minutes of it reach, and its peak.
const RANKS: [f64; 3] = [0.5, 0.93, 1.0];

/// Samples of an hour that are all sorted in: those of a hundred pods, one a minute.
const FULL: u32 = 3 << 11;

/// Weight of a new hour, before growth, and after how many hours it has halved: of the last day, of everything. The last
/// hours are halved every hour.
const LATELY_WEIGHT: f64 = 512.0;
const DAYS_WEIGHT: (f64, i64) = (32.0, 24);
const LONG_WEIGHT: (f64, i64) = (24.0, 200);

/// Hours a new level must have lasted before it is a new way of the program and not a mood.
pub const SHIFT_HOURS: u8 = 12;

/// By how many steps (a third) the new level must lie outside of what was before it.
const SHIFT_STEPS: u16 = 60;

/// Hours that must be known in all.
pub const SHIFT_KNOWN: u16 = 30;

/// Hours that must be known before a day is.
const REGULAR: u16 = 22;

/// Hours of a day that may do without a burst, and it is a habit still.
const NOT_HABIT: usize = 4;

/// Hours in a row that lie well outside of all that was before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Away {
    /// How many.
    pub hours: u8,
    /// The lowest of what they were at for half of an hour.
    pub low: u16,
    /// The highest they reached.
    pub high: u16,
}

/// What is remembered of CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuPast {
    /// The running hour.
    pub open: Digest<OPEN>,
    /// The hours just past.
    pub lately: Digest<LATELY>,
    /// The last day or two.
    pub day: Digest<DAYS>,
    /// Everything.
    pub long: Digest<LONG>,
    /// The usual course of the day.
    pub daily: Course,
    /// What the week adds to that.
    pub weekly: Weekly,
    /// Whether another program seems to run now.
    pub away: Away,
    /// Averages.
    pub tally: Tally,
}

impl CpuPast {
    /// Adds a sample of a pod to the running hour, as [`Tally::put`] does; true where all that was counted in it was halved.
    ///
    /// Of many samples every so many-th is sorted in, or the weights would be halved, and the beginning of the hour forgotten, as
    /// often as it has samples. What is higher than all before it always is: no peak is missed.
    pub fn put(&mut self, amount: f64, of_pod: &mut u16) -> bool {
        let amount = Resource::Cpu.within(amount);
        let halved = self.tally.put(amount, of_pod);
        let level = Resource::Cpu.level(amount);
        let count = self.tally.sum.1;
        if count < FULL {
            self.open.put(level, 1); // nearly always
            return halved;
        }
        if count.is_multiple_of(FULL) && (count / FULL).is_power_of_two() {
            self.open.halve_up();
        }
        if is_chosen(count) || self.open.top().is_none_or(|top| level > top) {
            self.open.put(level, 1);
        }
        halved
    }

    /// Ends the running hour, number `hour`, and the `gap` unseen ones after it. True where the program turned out to be
    /// another one.
    pub fn close(&mut self, hour: i64, gap: i64) -> bool {
        let summary = self.summary();
        if let Some(summary) = summary {
            self.remember(hour);
            // What the day of the week explains is not the usual course's: a Saturday goes into it as the weekday it would have been.
            let explained =
                self.weekly.told(hour, &self.daily).map_or(0, |it| it.explains(summary[1], self.daily.at(hour)));
            self.weekly.learn(hour, summary[1], &self.daily);
            self.daily.learn(hour, &self.open, explained, self.tally.samples());
        }
        self.tally.close(summary.map(|it| it[2]), gap);
        self.open = Digest::default();
        let shifted = summary.is_some_and(|it| self.shifted(hour, it)) && gap == 0;
        let hours = gap.saturating_add(1);
        self.weekly.turn(hour, hour.saturating_add(hours));
        self.age(hour, hours);
        shifted
    }

    /// As if the `hours` before `hour` had been like this: amounts with their shares of the time.
    pub fn make(&mut self, hour: i64, hours: i64, per_hour: u16, amounts: &[(f64, f64)]) {
        let sum = |half_life: i64| {
            let half_life = amount(half_life);
            (1..=hours).map(|age| (-amount(age) / half_life).exp2()).sum::<f64>()
        };
        let day = DAYS_WEIGHT.0 * growth(hour, DAYS_WEIGHT.1) * sum(DAYS_WEIGHT.1);
        let long = LONG_WEIGHT.0 * growth(hour, LONG_WEIGHT.1) * sum(LONG_WEIGHT.1);
        for (amount, share) in amounts {
            let level = Resource::Cpu.level(*amount);
            self.day.put(level, rounded(day * share));
            self.long.put(level, rounded(long * share).max(1));
        }
        self.tally.make(hours, per_hour, amounts.iter().map(|(amount, share)| amount * share).sum());
    }

    /// The running hour: what half of it reaches, what five minutes of it do, and its peak.
    pub fn summary(&self) -> Option<[u16; 3]> {
        self.open.top()?;
        Some(RANKS.map(|rank| self.open.quantile(rank).unwrap_or(TOP)))
    }

    /// What nearly every hour of the day reaches for five of its minutes, and the last hours did, where that is more than a size. At
    /// the default price such bursts are dearer to cover than to suffer, and yet nobody wants them to vanish.
    pub fn habit_over(&self, size: i64) -> Option<i64> {
        let over = |level: u16| Some(whole(Resource::Cpu.amount(level))).filter(|it| *it > size);
        // Most often the last hours say already that there is none.
        let lately = self.lately.quantile(RANKS[1]).filter(|it| over(*it).is_some())?;
        let mut reached: [u16; DAY] = self.daily.hours().map(|hour| hour[BUSY]);
        if reached.contains(&UNKNOWN) {
            return None;
        }
        reached.sort_unstable();
        over(reached[NOT_HABIT].min(lately))
    }

    /// Takes over another past at the same running hour.
    pub fn merge(&mut self, other: &Self) {
        let mut open = other.open;
        let together = thinned(self.tally.sum.1.saturating_add(other.tally.sum.1));
        for (open, count) in [(&mut self.open, self.tally.sum.1), (&mut open, other.tally.sum.1)] {
            (thinned(count)..together).for_each(|_| open.halve_up());
        }
        self.open.merge(&open);
        self.lately.merge(&other.lately);
        self.day.merge(&other.day);
        self.long.merge(&other.long);
        self.daily.merge(&other.daily);
        self.weekly.merge(&other.weekly);
        self.away = Away::default();
        self.tally.merge(&other.tally);
    }

    /// True when the hours up to this one lie well outside of everything before them: another program runs now, and what
    /// was before is forgotten.
    ///
    /// The long memory holds these hours too. So: what it holds at their side of the gap must be no more than what they
    /// put there themselves. A night is no shift, for earlier nights lie on its side.
    fn shifted(&mut self, hour: i64, summary: [u16; 3]) -> bool {
        let here = Away { hours: 1, low: summary[0], high: summary[2] };
        let longer = match self.away.hours {
            0 => here,
            hours => Away {
                hours: hours.saturating_add(1),
                low: self.away.low.min(here.low),
                high: self.away.high.max(here.high),
            },
        };
        for run in [longer, here] {
            let own = (f64::from(run.hours) * 1.25 + 1.0) * LONG_WEIGHT.0 * growth(hour, LONG_WEIGHT.1);
            let below = (0, run.high.saturating_add(SHIFT_STEPS));
            let above = (run.low.saturating_sub(SHIFT_STEPS), TOP);
            // Something must lie beyond the gap: what has always been so is no change.
            let other = f64::from(SHIFT_HOURS) * LONG_WEIGHT.0 / 2.0;
            let side = [below, above].into_iter().find(|(from, to)| {
                let within = self.long.within(*from, *to);
                f64::from(within) <= own && f64::from(self.long.total() - within) >= other
            });
            let Some((from, to)) = side else { continue };
            self.away = run;
            if run.hours < SHIFT_HOURS || self.tally.hours < SHIFT_KNOWN {
                return false;
            }
            self.long.keep(from, to);
            self.day.keep(from, to);
            self.lately.keep(from, to);
            self.daily = Course::default();
            self.weekly = Weekly::default();
            self.away = Away::default();
            return true;
        }
        self.away = Away::default();
        false
    }

    /// The ended hour goes into the three histograms.
    fn remember(&mut self, hour: i64) {
        let total = f64::from(self.open.total());
        let (day, long) = (DAYS_WEIGHT.0 * growth(hour, DAYS_WEIGHT.1), LONG_WEIGHT.0 * growth(hour, LONG_WEIGHT.1));
        let open = self.open;
        for (level, weight) in open.entries() {
            let share = f64::from(weight) / total;
            self.lately.put(level, rounded(LATELY_WEIGHT * share));
            self.day.put(level, rounded(day * share));
            self.long.put(level, rounded(long * share).max(1));
        }
    }

    /// Lets hours pass for the histograms.
    fn age(&mut self, hour: i64, hours: i64) {
        let crossed = |every: i64| hour.saturating_add(hours).div_euclid(every) - hour.div_euclid(every);
        for _ in 0..crossed(1).min(16) {
            self.lately.halve();
        }
        for _ in 0..crossed(DAYS_WEIGHT.1).min(16) {
            self.day.halve();
        }
        for _ in 0..crossed(LONG_WEIGHT.1).min(16) {
            self.long.halve();
        }
    }
}

impl Past for CpuPast {
    const RESOURCE: Resource = Resource::Cpu;

    fn tell(&self, hour: i64, _: f64, atoms: &mut Atoms) {
        // The running hour counts as far as it was seen, beside whole hours of the weight they have in each view.
        let day = DAYS_WEIGHT.0 * growth(hour, DAYS_WEIGHT.1);
        let ever = LONG_WEIGHT.0 * growth(hour, LONG_WEIGHT.1);
        let seen = self.tally.seen() / f64::from(self.open.total().max(1));
        for (level, weight) in self.open.entries() {
            let share = f64::from(weight) * seen;
            let mut masses = [0.0; VIEWS];
            (masses[atoms::LATELY], masses[atoms::DAY], masses[atoms::EVER]) =
                (share * LATELY_WEIGHT, share * day, share * ever);
            atoms.put_all(level, &row(&masses));
        }
        self.lately.entries().for_each(|(level, weight)| atoms.put(atoms::LATELY, level, f64::from(weight)));
        self.day.entries().for_each(|(level, weight)| atoms.put(atoms::DAY, level, f64::from(weight)));
        let regular = self.tally.hours >= REGULAR;
        let masses = masses(self.tally.per_hour);
        // Every hour of the day alike says of everything what the histogram does, and finer.
        if regular && self.daily.known().count() >= usize::from(REGULAR) {
            for (level, mass) in self.daily.known().flat_map(|hour| hour.iter().zip(masses)) {
                atoms.put(atoms::EVER, *level, mass * ever);
            }
        } else {
            self.long.entries().for_each(|(level, weight)| atoms.put(atoms::EVER, level, f64::from(weight)));
        }
        if !regular {
            return;
        }
        let little = masses.map(|mass| mass * 0.25);
        // An hour is told of as itself and as the one beside two others, so it is sorted in once. From the hour before this one on.
        let begin = place(hour - 1, DAY);
        let week = self.weekly.told(hour, &self.daily);
        let mut hours = [None; AROUND];
        for ((ahead, sorted), number) in hours.iter_mut().enumerate().zip(hour - 1..) {
            let at = begin + ahead;
            let known = self.daily.hours()[if at < DAY { at } else { at - DAY }];
            if known[0] != UNKNOWN {
                let known = week.map_or(Some(known), |it| it.of(number, known));
                *sorted = known.map(|known| known.map(|level| atoms.candidate(level)));
            }
        }
        let mut around = hours.windows(3);
        for (stretch, length) in STRETCHES.iter().enumerate() {
            for around in around.by_ref().take(*length) {
                // The hours beside it count a little: nobody's jobs start on the second.
                for (sorted, masses) in [(&around[1], &masses), (&around[0], &little), (&around[2], &little)] {
                    if let Some(candidates) = sorted {
                        for (candidate, mass) in candidates.iter().zip(masses) {
                            atoms.add(SAME + stretch, *candidate, *mass);
                        }
                    }
                }
            }
        }
    }

    fn range(&self, hour: i64) -> Option<(u16, u16)> {
        let seen = [self.open.top(), self.lately.top(), self.day.top(), self.long.top()];
        let days = || self.daily.known().copied();
        let mut ahead = None;
        if let Some(week) = self.weekly.told(hour, &self.daily) {
            // Of every hour as today's and as tomorrow's.
            let hours =
                days().flat_map(|it| [hour, hour + DAY as i64].into_iter().filter_map(move |hour| week.of(hour, it)));
            ahead = hours.map(|it| (it[0], it[RANKED - 1])).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        }
        let highest = days().map(|it| it[RANKED - 1]).chain(ahead.map(|it| it.1));
        let high = seen.into_iter().flatten().chain(highest).max()?;
        // Sizes that most of every view is over cost more than they can save: the candidates begin above.
        let middles =
            [self.open.quantile(0.3), self.lately.quantile(0.3), self.day.quantile(0.3), self.long.quantile(0.3)];
        let lowest = days().map(|it| it[0]).chain(ahead.map(|it| it.0));
        let low = middles.into_iter().flatten().chain(lowest).min()?;
        Some((low, high))
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// How often the weights of an hour of so many samples were halved: one in two to the power of that is sorted in.
const fn thinned(count: u32) -> u32 {
    match (count / FULL).checked_ilog2() {
        Some(doublings) => doublings + 1,
        None => 0,
    }
}

/// Whether this sample is the one of its group that is sorted in. Not always the first: pods are told of in the same order each time,
/// and then it would always be the same pods.
const fn is_chosen(count: u32) -> bool {
    let (group, size) = (count >> thinned(count), 1 << thinned(count));
    (count ^ (group.wrapping_mul(0x9E37_79B9) >> 16)) & (size - 1) == 0
}

/// How much a new hour weighs more than one at the last halving.
fn growth(hour: i64, half_life: i64) -> f64 {
    (hour.rem_euclid(half_life) as f64 / half_life as f64).exp2()
}

/// A weight as it is kept.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; a weight is small")]
fn rounded(weight: f64) -> u16 {
    weight.round() as u16
}
