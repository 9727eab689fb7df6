//! The past of CPU: the last day hour by hour, the usual course of the day, and a decaying histogram of everything.
//!
//! ```text
//! sample ──▶ open (digest of the running hour) ──hour ends──▶ Hour (four order statistics)
//!                                                               ├──▶ recent[hour mod 24]   the last day
//!                                                               ├──▶ daily[hour mod 24]    averaged over days
//!                                                               └──▶ long                  decaying histogram
//! ```
//!
//! Unlike memory, it counts here how long a use lasted: an hour is four order statistics and the share of the hour each
//! stands for.

use crate::digest::Digest;
use crate::past::{Past, Tally, UNKNOWN, place};
use crate::resource::{Resource, TOP};

/// Hours of a day.
pub const DAY: usize = 24;

/// Order statistics of one hour, lowest first, the last one the peak. All [`UNKNOWN`] where nothing was measured.
pub type Hour = [u16; 4];

/// At which shares of the hour the order statistics are taken ...
const RANKS: [f64; 4] = [0.4, 0.8, 0.95, 1.0];

/// ... and up to which share each stands for what it is the middle of. The peak stands for one sample.
const EDGES: [f64; 2] = [0.7, 0.9];

/// Hours after which the weight of an old hour in the long memory has halved.
const LONG_HALF_LIFE: u16 = 200;

/// Weight of one hour in the long memory when it is new, before growth.
const HOUR_WEIGHT: f64 = 16.0;

/// Hours a new level must have lasted before it is a new way of the program and not a mood.
pub const SHIFT_HOURS: i64 = 12;

/// By how many steps (a third) the new level must lie outside of what was before it.
const SHIFT_STEPS: u16 = 60;

/// Hours that must be known in all.
const SHIFT_KNOWN: u16 = 30;

/// Hours of a day that may do without a burst, and it is a habit still.
const NOT_HABIT: usize = 4;

/// Steps a day by which the remembered peak of an hour of the day comes down when it is not reached again (8 %).
const DAILY_DECAY: u16 = 12;

/// What is remembered of CPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuPast {
    /// The running hour.
    pub open: Digest<16>,
    /// The last 24 closed hours, at their number modulo 24.
    pub recent: [Hour; DAY],
    /// The usual course of the day.
    pub daily: [Hour; DAY],
    /// Everything, decaying.
    pub long: Digest<20>,
    /// Hours since the weights of `long` were last halved.
    pub grown: u16,
    /// Decayed sums, in steps: how far hours lay from the same hour of earlier days, and from the hour a quarter of a day
    /// before. Their quotient says how regular the days are.
    pub course: (f32, f32),
    /// Averages.
    pub tally: Tally,
}

impl Default for CpuPast {
    fn default() -> Self {
        Self {
            open: Digest::default(),
            recent: [[UNKNOWN; 4]; DAY],
            daily: [[UNKNOWN; 4]; DAY],
            long: Digest::default(),
            grown: 0,
            course: (0.0, 0.0),
            tally: Tally::default(),
        }
    }
}

impl CpuPast {
    /// Adds a sample to the running hour.
    pub fn put(&mut self, amount: f64) {
        self.tally.put(amount);
        self.open.put(Resource::Cpu.level(amount), 1);
    }

    /// Ends the running hour, number `hour`, and the `gap` unseen ones after it.
    pub fn close(&mut self, hour: i64, gap: i64) {
        self.age(gap.saturating_add(1));
        let here = place(hour, DAY);
        let before = self.recent[place(hour - 1, DAY)][3];
        match self.summary() {
            Some(summary) => {
                self.tally.close(summary[3], before);
                self.compare(here, hour, summary);
                self.recent[here] = summary;
                self.remember_day(here, summary);
                self.remember_long(summary);
            }
            None => self.recent[here] = [UNKNOWN; 4],
        }
        for missing in 1..=gap.min(24) {
            self.recent[place(hour + missing, DAY)] = [UNKNOWN; 4];
        }
        self.open = Digest::default();
    }

    /// The running hour as order statistics.
    pub fn summary(&self) -> Option<Hour> {
        self.open.top()?;
        Some(RANKS.map(|rank| self.open.quantile(rank).unwrap_or(TOP)))
    }

    /// What nearly every hour of the last day reached for several of its minutes. At the default price such bursts are
    /// dearer to cover than to suffer, and yet nobody wants them to vanish.
    pub fn habit(&self) -> Option<f64> {
        let mut reached: [u16; DAY] = self.recent.map(|hour| hour[2]);
        if reached.contains(&UNKNOWN) {
            return None;
        }
        reached.sort_unstable();
        Some(Resource::Cpu.amount(reached[NOT_HABIT]))
    }

    /// True when the last hours lie well outside of everything before them: another program runs now.
    ///
    /// The long memory holds these hours too. So: what it holds at their side of the gap must be no more than what they
    /// put there themselves. A night is no shift, for earlier nights lie on its side.
    pub fn shifted(&self, hour: i64) -> bool {
        if self.tally.hours < SHIFT_KNOWN {
            return false;
        }
        let (mut low, mut high) = (u16::MAX, 0);
        for age in 1..=SHIFT_HOURS {
            let known = self.recent[place(hour - age, DAY)];
            if known[0] == UNKNOWN {
                return false;
            }
            low = low.min(known[1]);
            high = high.max(known[3]);
        }
        let share_within = |from: u16, to: u16| {
            let weight: u32 =
                self.long.entries().filter(|(level, _)| (from..=to).contains(level)).map(|(_, w)| u32::from(w)).sum();
            f64::from(weight) / f64::from(self.long.total().max(1))
        };
        // What these hours at the present growth come to, with a third of tolerance for rounding.
        let growth = (f64::from(self.grown) / f64::from(LONG_HALF_LIFE)).exp2();
        let own = 15.0 * HOUR_WEIGHT * growth / f64::from(self.long.total().max(1));
        let down = share_within(0, high.saturating_add(SHIFT_STEPS)) <= own;
        let up = share_within(low.saturating_sub(SHIFT_STEPS), TOP) <= own;
        down || up
    }

    /// Takes over another past at the same running hour.
    pub fn merge(&mut self, other: &Self, hour: i64) {
        self.open.merge(&other.open);
        for age in 1..=24 {
            let here = place(hour - age, DAY);
            self.recent[here] = higher(self.recent[here], other.recent[here]);
            self.daily[here] = higher(self.daily[here], other.daily[here]);
        }
        self.long.merge(&other.long);
        self.grown = self.grown.max(other.grown);
        self.tally.merge(&other.tally);
    }

    /// Forgets everything but the last `keep` hours: the program is another one now.
    pub fn forget(&mut self, hour: i64, keep: i64) {
        self.daily = [[UNKNOWN; 4]; DAY];
        self.long = Digest::default();
        self.grown = 0;
        for age in keep.max(0) + 1..=24 {
            self.recent[place(hour - age, DAY)] = [UNKNOWN; 4];
        }
        for age in 1..=keep.min(24) {
            let known = self.recent[place(hour - age, DAY)];
            if known[0] != UNKNOWN {
                self.remember_long(known);
            }
        }
    }

    /// Notes how well the course of earlier days would have foretold this hour.
    fn compare(&mut self, here: usize, hour: i64, summary: Hour) {
        let (usual, before) = (self.daily[here][2], self.recent[place(hour - 6, DAY)][2]);
        if usual != UNKNOWN && before != UNKNOWN {
            let decay = 0.985_663; // half of it from the last two days
            self.course.0 = self.course.0 * decay + f32::from(summary[2].abs_diff(usual));
            self.course.1 = self.course.1 * decay + f32::from(summary[2].abs_diff(before));
        }
    }

    fn remember_day(&mut self, here: usize, summary: Hour) {
        for (statistic, (usual, now)) in self.daily[here].iter_mut().zip(summary).enumerate() {
            *usual = match *usual {
                UNKNOWN => now,
                peak if statistic == 3 => now.max(peak.saturating_sub(DAILY_DECAY)),
                other => towards(other, now),
            };
        }
    }

    fn remember_long(&mut self, summary: Hour) {
        let growth = (f64::from(self.grown) / f64::from(LONG_HALF_LIFE)).exp2();
        for (level, mass) in summary.iter().zip(masses(self.tally.per_hour)) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 32")]
            let weight = (HOUR_WEIGHT * growth * mass).round() as u16;
            self.long.put(*level, weight.max(1));
        }
    }

    /// Lets hours pass for the long memory: new weight grows, and once it has doubled, everything is halved.
    fn age(&mut self, hours: i64) {
        let mut left = u16::try_from(hours.max(0)).unwrap_or(u16::MAX);
        while left > 0 {
            let step = left.min(LONG_HALF_LIFE - self.grown);
            self.grown += step;
            left -= step;
            if self.grown == LONG_HALF_LIFE {
                self.grown = 0;
                self.long.halve();
            }
        }
    }
}

impl Past for CpuPast {
    const RESOURCE: Resource = Resource::Cpu;

    fn lately(&self, hour: i64, half_life: f64, mut visit: impl FnMut(u16, f64)) {
        if let Some(open) = self.summary() {
            weigh(open, masses(self.tally.sum.1), self.tally.seen(), &mut visit);
        }
        let decay = (-1.0 / half_life).exp2();
        let masses = masses(self.tally.per_hour);
        let mut mass = 1.0;
        for age in 1..=24 {
            mass *= decay;
            let known = self.recent[place(hour - age, DAY)];
            if known[0] != UNKNOWN {
                weigh(known, masses, mass, &mut visit);
            }
        }
    }

    fn ever(&self, _: i64, mut visit: impl FnMut(u16, f64)) {
        for (level, weight) in self.long.entries() {
            visit(level, f64::from(weight));
        }
    }

    fn same_hour(&self, hour: i64, ahead: i64, mut visit: impl FnMut(u16, f64)) {
        let known = self.daily[place(hour + ahead, DAY)];
        if self.tally.hours >= 22 && known[0] != UNKNOWN {
            weigh(known, masses(self.tally.per_hour), 1.0, &mut visit);
        }
    }

    fn regularity(&self) -> f64 {
        // Steps enough to tell a course from noise: a day of hours that move by a fifth.
        if self.course.1 < 600.0 {
            return 0.0;
        }
        (1.0 - 2.0 * f64::from(self.course.0) / f64::from(self.course.1)).clamp(0.0, 1.0)
    }

    fn range(&self, _: i64) -> Option<(u16, u16)> {
        let open = self.open.entries().map(|(level, _)| level);
        let long = self.long.entries().map(|(level, _)| level);
        let hours = self.recent.iter().chain(&self.daily).flatten().copied().filter(|it| *it != UNKNOWN);
        let mut range = None;
        for level in open.chain(long).chain(hours) {
            let (low, high) = range.unwrap_or((level, level));
            range = Some((level.min(low), level.max(high)));
        }
        range
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// The share of an hour each order statistic stands for, when the hour has so many samples.
fn masses(samples: u16) -> [f64; 4] {
    let below_peak = 1.0 - 1.0 / f64::from(samples.max(1));
    let first = EDGES[0].min(below_peak);
    let second = EDGES[1].min(below_peak);
    [first, second - first, below_peak - second, 1.0 - below_peak]
}

fn weigh(hour: Hour, masses: [f64; 4], weight: f64, visit: &mut impl FnMut(u16, f64)) {
    for (level, mass) in hour.into_iter().zip(masses) {
        visit(level, mass * weight);
    }
}

fn higher(a: Hour, b: Hour) -> Hour {
    if a[0] == UNKNOWN {
        return b;
    }
    if b[0] == UNKNOWN {
        return a;
    }
    std::array::from_fn(|i| a[i].max(b[i]))
}

/// Two fifths of the way, rounded so that it arrives.
fn towards(from: u16, to: u16) -> u16 {
    let (from, to) = (i32::from(from), i32::from(to));
    let twice = (to - from) * 2;
    u16::try_from(from + (twice + 4 * twice.signum()) / 5).unwrap_or(0)
}
