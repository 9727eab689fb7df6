//! The clairvoyant bound: the least any choice of sizes could have cost, had the whole future been known.
//!
//! Over a grid of sizes the cost of a sample at size L is `L - u` where the use u fits and a fixed price where it does
//! not, and a change of size costs the same from anywhere to anywhere. Then
//!
//! ```text
//! V_t(L) = c_t(L) + min( V_{t-1}(L), resize + min over L' of V_{t-1}(L') )
//! ```
//!
//! is exact on the grid, because the best way to be at L at time t was at L already, or came from wherever it was cheapest to be:
//! one minimum serves all sizes, so a sample costs O(sizes) and not O(sizes²). The proof is in `docs/recommender.md`. What the best
//! way reserved, exceeded and changed is carried along with every V, so that memory does not grow with time.
//!
//! Most sizes are *idle*: whoever was there would rather come anew from the best one, so their V is `resize + min V`, whatever they
//! cost before. A sample can wake only those that cost less than the minimum grows: a window around the best, exact all the same.
//!
//! And most samples fit the best size. Then the sizes above it can wait: each costs more than the best does, so none becomes the best,
//! and one that is idle stays so. Those below it can wait as long as none can have caught up with the best, which takes hours. So such
//! samples are kept, and charged when one comes that does not fit, or when the time is up: sample by sample, but one size after
//! another, and only what counts. Of a size that was passed, that is what came after the last time it was: it was idle then.

mod trail;

use crate::figures::{Figures, Prices};
use supple_recommend::sample::{amount, whole};
use trail::Trail;
use wide::f64x4;

/// Sizes on the grid at most.
pub const SIZES: usize = 256;

/// Samples kept at most for the sizes that wait.
const KEPT: usize = 128;

/// By this share less time than it takes must pass for what is said to happen not to have happened, whatever rounding did.
const SURELY: f64 = 1.0 - 1e-3;

/// What has to be known beforehand: the range and the mean of the use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Lowest use.
    pub low: f64,
    /// Highest use.
    pub high: f64,
    /// Use summed over hours.
    pub used: f64,
    /// Hours.
    pub hours: f64,
}

impl Default for Range {
    fn default() -> Self {
        Self { low: f64::INFINITY, high: 0.0, used: 0.0, hours: 0.0 }
    }
}

impl Range {
    /// Takes in a sample standing for so many hours.
    pub fn put(&mut self, used: f64, hours: f64) {
        self.low = self.low.min(used);
        self.high = self.high.max(used);
        self.used += used * hours;
        self.hours += hours;
    }
}

/// What the best way to be at each size came to: most samples change V alone, and the rest follows from when it came there.
#[derive(Clone, Debug)]
struct Ways {
    came: Vec<Came>,
    counts: Vec<Counts>,
}

/// When the best way to be at a size came there.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    /// What it had reserved by then.
    reserved: f64,
    /// Hours that were over.
    hours: f64,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    over: u32,
    events: u32,
    resizes: u32,
    /// The lowest and the highest size that were in force, as they stand on the grid.
    range: (u16, u16),
}

impl Ways {
    fn new(sizes: usize) -> Self {
        let at = |size| Counts { over: 0, events: 0, resizes: 0, range: (size, size) };
        Self { came: vec![Came::default(); sizes], counts: (0..=u16::MAX).take(sizes).map(at).collect() }
    }
}

/// What is not yet charged to the sizes that wait.
#[derive(Clone, Debug, Default)]
struct Waiting {
    samples: Vec<Kept>,
    /// Of sizes above the best one, the highest first: from which size on (to where the part before begins), and from which sample on.
    parts: Vec<(usize, usize)>,
    /// From which sample on the sizes below the best one wait.
    below: usize,
    /// Hours they have waited, hours they may, and the lowest use meanwhile.
    hours: f64,
    most: f64,
    lowest: f64,
}

/// A sample that was charged to the best size alone.
#[derive(Clone, Copy, Debug)]
struct Kept {
    time: i64,
    used: f64,
    hours: f64,
    /// What the best way cost before it, and the hours before it.
    before: (f64, f64),
}

/// The programme, fed one sample at a time.
#[derive(Clone, Debug)]
pub struct Bound {
    sizes: Vec<i64>,
    amounts: Vec<f64>,
    /// By [`stretch`] of the use, from that of the lowest size on: the first size that may fit it.
    stretches: Vec<u16>,
    /// V; of an idle size infinite, which is cut to what coming anew costs when it is next looked at.
    values: Vec<f64>,
    ways: Ways,
    best: usize,
    /// The first and the last size that may not be idle.
    window: (usize, usize),
    /// The last size that is reckoned with every sample.
    near: usize,
    waiting: Waiting,
    /// The first size the last sample fitted.
    fits: usize,
    started: bool,
    /// No less than any V within the window.
    most: f64,
    /// Price of a sample over and of a resize, in amount-hours.
    over: f64,
    resize: f64,
    total: Figures,
    /// Where it is wished for.
    trail: Option<Trail>,
}

impl Bound {
    /// For use within a range, with the prices of **J** (a kill is priced by the sample, as the reference tables do).
    pub fn new(range: &Range, prices: &Prices, least: f64) -> Self {
        let mean = if range.hours > 0.0 { (range.used / range.hours).max(least) } else { least };
        Self::on(grid(range.low.max(least), range.high.max(least)), prices.event * mean, prices.resize * mean)
    }

    /// On these sizes (ascending, the first 65,536), with prices in amount-hours.
    pub fn on(mut sizes: Vec<i64>, over: f64, resize: f64) -> Self {
        sizes.truncate(usize::from(u16::MAX) + 1);
        let amounts: Vec<f64> = sizes.iter().map(|it| amount(*it)).collect();
        let values = vec![0.0; sizes.len()];
        let ways = Ways::new(sizes.len());
        let window = (0, sizes.len().saturating_sub(1));
        let (total, stretches) = (Figures::default(), stretches(&amounts));
        Self {
            sizes,
            amounts,
            stretches,
            values,
            ways,
            best: 0,
            near: window.1,
            window,
            waiting: Waiting::default(),
            fits: 0,
            started: false,
            most: 0.0,
            over,
            resize,
            total,
            trail: None,
        }
    }

    /// Remembers its changes of size from now on, for [`Bound::changes`]: as much memory as they are many.
    pub fn with_changes(mut self) -> Self {
        self.trail = Some(Trail::new(self.sizes.len()));
        self
    }

    /// A sample of a time, in seconds, standing for so many hours.
    pub fn put(&mut self, time: i64, used: f64, hours: f64) {
        let so_far = self.total.hours;
        self.total.samples += 1;
        self.total.hours += hours;
        self.total.used += used * hours;
        if self.sizes.is_empty() {
            return;
        }
        if let Some(trail) = &mut self.trail {
            let values = &self.values;
            trail.at(time, |size| values[size].is_finite());
        }
        if self.keep(time, used, hours, so_far) {
            return;
        }
        self.settle_below();
        let before = self.fits;
        let fits = self.first_fit(used);
        self.fits = fits;
        if fits > self.best || self.waiting.samples.len() == KEPT {
            self.catch_up();
        }
        let (low, high) = self.awake(fits, used, hours);
        if self.started {
            self.come_anew(time, (low, high), (before, fits), so_far);
        }
        // From `low` the sizes that the sample is over, from `fits` those that it fits.
        let end = high + 1;
        let fits = fits.clamp(low, end);
        self.ways.counts[low..fits].iter_mut().for_each(|it| it.over += 1);
        self.ways.counts[before.clamp(low, fits)..fits].iter_mut().for_each(|it| it.events += 1);
        let under = raise(&mut self.values[low..fits], &self.amounts[low..fits], |_| f64x4::splat(self.over));
        let (less, span) = (f64x4::splat(used), f64x4::splat(hours));
        let over = raise(&mut self.values[fits..end], &self.amounts[fits..end], |size| (size - less) * span);
        let least = under.0.min(over.0);
        self.best = low + first(&self.values[low..end], least);
        self.started = true;
        if !self.waiting.parts.is_empty() {
            // Only those above wait for this one.
            self.waiting.samples.push(Kept { time, used, hours, before: (least, so_far) });
        }
        self.doze((low, high), least + self.resize);
        self.wait();
        // What a sample is over is idle most often then, and its V no longer asked for.
        self.most = if self.window.0 < fits { under.1.max(over.1) } else { over.1 };
    }

    /// Tells the sizes above the best one to wait, and those below it for so long as none of them can become the best.
    fn wait(&mut self) {
        if self.waiting.parts.is_empty() || self.near > self.best {
            self.waiting.parts.push((self.best + 1, self.waiting.samples.len()));
            self.near = self.best;
        }
        let (best, size) = (self.cost(), self.amounts[self.best]);
        let sizes = self.window.0..self.best;
        let caught_up = self.values[sizes.clone()].iter().zip(&self.amounts[sizes]);
        let most = caught_up.map(|(value, it)| (value - best) / (size - it)).fold(f64::INFINITY, f64::min);
        let most = if self.over < self.resize { 0.0 } else { most * SURELY };
        let waiting = &mut self.waiting;
        (waiting.below, waiting.hours, waiting.most, waiting.lowest) =
            (waiting.samples.len(), 0.0, most, f64::INFINITY);
    }

    /// Keeps a sample for all sizes but the best one, where they can wait for it.
    fn keep(&mut self, time: i64, used: f64, hours: f64, so_far: f64) -> bool {
        let waiting = &mut self.waiting;
        let size = self.amounts[self.best];
        if waiting.parts.is_empty() || used > size || waiting.samples.len() == KEPT {
            return false;
        }
        // Who comes anew from the best size has not caught up with it before the price of that is saved.
        let (all, lowest) = (waiting.hours + hours, waiting.lowest.min(used));
        if hours <= 0.0 || all >= waiting.most || all * (size - lowest) >= self.resize * SURELY {
            return false;
        }
        (waiting.hours, waiting.lowest) = (all, lowest);
        let value = &mut self.values[self.best];
        waiting.samples.push(Kept { time, used, hours, before: (*value, so_far) });
        *value += (size - used) * hours;
        true
    }

    /// Charges what was kept to the sizes below the best one.
    fn settle_below(&mut self) {
        let samples = std::mem::take(&mut self.waiting.samples);
        let kept = &samples[self.waiting.below..];
        // Backwards: which sizes a sample passes that none after it did. The lowest size fits what is lower, too.
        let (mut highest, mut from) = (self.amounts[0], 0);
        for (at, sample) in kept.iter().enumerate().rev() {
            if sample.used <= highest {
                continue;
            }
            highest = sample.used;
            let to = self.first_fit(highest);
            if at + 1 == kept.len() {
                // What the last one passed is idle.
                self.values[self.window.0.min(to)..to].fill(f64::INFINITY);
            } else {
                self.charge_below(from..to, &kept[at + 1..], true);
            }
            from = to;
        }
        if let Some(last) = kept.last() {
            self.charge_below(from..self.best, kept, false);
            self.fits = self.first_fit(last.used);
            self.window.0 = self.fits;
            self.most = self.cost() + self.resize; // none of these is idle
        }
        self.waiting.samples = samples;
        self.waiting.below = self.waiting.samples.len();
    }

    /// Charges samples that all fit to sizes below the best one. Before the first, all come anew (`passed`), or those that are idle.
    fn charge_below(&mut self, sizes: std::ops::Range<usize>, samples: &[Kept], passed: bool) {
        let Some(Kept { time, before: (cost, hours), .. }) = samples.first().copied() else { return };
        let changed = cost + self.resize;
        let change = self.trail.as_mut().map(|it| it.change(time, self.best));
        let came = Came { reserved: self.reserved(self.best, hours), hours };
        let mut counts = self.ways.counts[self.best];
        counts.resizes += 1;
        let (lowest, highest) = counts.range;
        for to in sizes.clone() {
            if passed || changed < self.values[to] {
                self.values[to] = changed;
                self.ways.came[to] = came;
                let size = u16::try_from(to).unwrap_or(u16::MAX);
                self.ways.counts[to] = Counts { range: (lowest.min(size), highest.max(size)), ..counts };
                lead(&mut self.trail, to, change);
            }
        }
        charge(&mut self.values[sizes.clone()], &self.amounts[sizes], samples, f64::INFINITY);
    }

    /// Charges what was kept to the sizes that waited. Those idle by now are let go.
    fn catch_up(&mut self) {
        if self.waiting.parts.is_empty() {
            return;
        }
        self.settle_below();
        let idle = self.cost() + self.resize;
        let mut end = self.window.1 + 1;
        for (from, since) in &self.waiting.parts {
            let samples = &self.waiting.samples[*since..];
            charge(&mut self.values[*from..end], &self.amounts[*from..end], samples, idle);
            end = *from;
        }
        self.waiting.parts.clear();
        self.waiting.samples.clear();
        self.waiting.below = 0;
        self.near = self.window.1;
        self.most = f64::INFINITY;
        self.doze((self.window.0, self.near), idle);
    }

    /// The first size that fits a use. A search by halves is a fifth of all work, so the use's own digits say where to look.
    fn first_fit(&self, used: f64) -> usize {
        let lowest = self.amounts[0];
        if used > lowest {
            let at = usize::try_from(stretch(used) - stretch(lowest)).unwrap_or(usize::MAX);
            let from = self.stretches.get(at).map_or(self.amounts.len(), |it| usize::from(*it));
            (from..self.amounts.len()).find(|it| self.amounts[*it] >= used).unwrap_or(self.amounts.len())
        } else {
            0
        }
    }

    /// Lets sizes within `low..=high` be come to from the best one where that is cheaper than what they cost so far: the idle ones and
    /// those that became dear. `fits` are the first size the last sample fitted and the first this one fits, after so many `hours`.
    fn come_anew(&mut self, time: i64, (low, high): (usize, usize), fits: (usize, usize), hours: f64) {
        let (first, last) = (self.window.0, self.near);
        let from = (self.best, self.cost() + self.resize);
        let came = Came { reserved: self.reserved(self.best, hours), hours };
        let came = (came, self.trail.as_mut().map(|it| it.change(time, self.best)));
        self.come_within(low..first, from, fits, came);
        if from.1 < self.most {
            self.come_within(first..last + 1, from, fits, came);
        }
        self.come_within(last + 1..high + 1, from, fits, came);
    }

    fn come_within(
        &mut self,
        sizes: std::ops::Range<usize>,
        (from, changed): (usize, f64),
        (before, fits): (usize, usize),
        (came, change): (Came, Option<trail::Place>),
    ) {
        let mut counts = self.ways.counts[from];
        counts.resizes += 1;
        let (lowest, highest) = counts.range;
        // The sample will be counted as the beginning of an event where the last one fitted; it is one if it fitted what was in force.
        let began = if from < before { 0..0 } else { 0..fits };
        let counted = before..fits;
        for to in sizes {
            if changed < self.values[to] {
                self.values[to] = changed;
                self.ways.came[to] = came;
                let size = u16::try_from(to).unwrap_or(u16::MAX);
                let events = counts.events + u32::from(began.contains(&to)) - u32::from(counted.contains(&to));
                self.ways.counts[to] = Counts { events, range: (lowest.min(size), highest.max(size)), ..counts };
                lead(&mut self.trail, to, change);
            }
        }
    }

    /// What the best way that ends at a size has reserved when so many hours are over.
    fn reserved(&self, at: usize, hours: f64) -> f64 {
        let came = self.ways.came[at];
        came.reserved + self.amounts[at] * (hours - came.hours)
    }

    /// The sizes to be reckoned: those neither idle nor waiting, and those the sample may wake.
    fn awake(&self, fits: usize, used: f64, hours: f64) -> (usize, usize) {
        let (low, high) = (self.window.0, self.near);
        if !self.started {
            return (low, high);
        }
        let cost = |at: usize| match self.amounts.get(at) {
            Some(size) if at >= fits => (size - used) * hours,
            _ => self.over,
        };
        let cheapest = if fits == 0 { cost(0) } else { cost(fits).min(self.over) };
        // The minimum grows by no more than staying costs, and by no more than going where the sample is cheapest.
        let growth = cost(self.best).min(self.resize + cheapest);
        let first = if self.over < growth { 0 } else { fits };
        let mut high = high;
        if !self.waiting.parts.is_empty() {
            // The sample fits the best size, so that it cannot wake those above.
            return (low.min(first), high);
        }
        // Those that cost less, and one more, so that rounding cannot leave one out.
        while high + 1 < self.sizes.len() && (high < fits || cost(high) < growth) {
            high += 1;
        }
        (low.min(first), high)
    }

    /// Lets go of the sizes at both ends of what was reckoned that are idle now: at least `idle`.
    fn doze(&mut self, (mut low, mut high): (usize, usize), idle: f64) {
        while low < self.best && self.values[low] >= idle {
            self.values[low] = f64::INFINITY;
            low += 1;
        }
        self.window.0 = low;
        if self.waiting.parts.is_empty() {
            while high > self.best && self.values[high] >= idle {
                self.values[high] = f64::INFINITY;
                high -= 1;
            }
            (self.window.1, self.near) = (high, high);
        }
    }

    /// The least cost, in amount-hours.
    pub fn cost(&self) -> f64 {
        self.values.get(self.best).copied().unwrap_or(0.0)
    }

    /// The best way itself: from when on which size was in force. Empty unless it was told to remember that.
    pub fn changes(&self) -> Vec<(i64, i64)> {
        let changes = self.trail.as_ref().map(|it| it.changes(self.best)).unwrap_or_default();
        changes.into_iter().map(|(time, size)| (time, self.sizes[size])).collect()
    }

    /// What the best way came to.
    pub fn figures(&self) -> Figures {
        if !self.started {
            return self.total;
        }
        let (ways, best) = (&self.ways, self.best);
        let Counts { over, events, resizes, range: (lowest, highest) } = ways.counts[best];
        Figures {
            reserved: self.reserved(best, self.total.hours),
            // What the way cost is this and the prices of what befell it.
            slack: (self.cost() - self.over * f64::from(over) - self.resize * f64::from(resizes)).max(0.0),
            over: u64::from(over),
            events: u64::from(events),
            resizes: u64::from(resizes),
            range: Some((self.sizes[usize::from(lowest)], self.sizes[usize::from(highest)])),
            ..self.total
        }
    }
}

/// Notes that the best way to a size came there by a change.
fn lead(trail: &mut Option<Trail>, to: usize, change: Option<trail::Place>) {
    if let Some((trail, change)) = trail.as_mut().zip(change) {
        trail.lead(to, change);
    }
}

/// Adds to every value what its size costs, four at a time; the least and the most of them then.
fn raise(values: &mut [f64], sizes: &[f64], cost: impl Fn(f64x4) -> f64x4) -> (f64, f64) {
    let (mut least, mut most) = (f64x4::splat(f64::INFINITY), f64x4::splat(f64::NEG_INFINITY));
    let ((values, rest), (sizes, sizes_rest)) = (values.as_chunks_mut::<4>(), sizes.as_chunks::<4>());
    for (values, sizes) in values.iter_mut().zip(sizes) {
        let value = f64x4::new(*values) + cost(f64x4::new(*sizes));
        *values = value.to_array();
        (least, most) = (value.fast_min(least), value.fast_max(most));
    }
    let all = |lanes: [f64; 4], to: fn(f64, f64) -> f64| to(to(lanes[0], lanes[1]), to(lanes[2], lanes[3]));
    let (mut least, mut most) = (all(least.to_array(), f64::min), all(most.to_array(), f64::max));
    for (value, size) in rest.iter_mut().zip(sizes_rest) {
        *value += cost(f64x4::splat(*size)).to_array()[0];
        (least, most) = (least.min(*value), most.max(*value));
    }
    (least, most)
}

/// Adds to every value what its size costs over all the samples, which fit it. Those that are surely at least `idle` become infinite.
fn charge(values: &mut [f64], sizes: &[f64], samples: &[Kept], idle: f64) {
    let sum = |(used, hours): (f64, f64), it: &Kept| (used + it.used * it.hours, hours + it.hours);
    let (used, hours) = samples.iter().fold((0.0, 0.0), sum);
    // What summing up otherwise can have made of it is far less.
    let surely = |value: f64, size: f64| (value + size * hours) * (1.0 - 1e-9) - used > idle;
    let ((values, rest), (sizes, sizes_rest)) = (values.as_chunks_mut::<8>(), sizes.as_chunks::<8>());
    for (values, sizes) in values.iter_mut().zip(sizes) {
        if values.iter().zip(sizes).all(|(value, size)| surely(*value, *size)) {
            *values = [f64::INFINITY; 8];
            continue;
        }
        let ((values, _), (sizes, _)) = (values.as_chunks_mut::<4>(), sizes.as_chunks::<4>());
        let ([low, high], [smaller, larger]) =
            ([values[0], values[1]].map(f64x4::new), [sizes[0], sizes[1]].map(f64x4::new));
        let sum = samples.iter().fold((low, high), |(low, high), it| {
            let (used, hours) = (f64x4::splat(it.used), f64x4::splat(it.hours));
            (low + (smaller - used) * hours, high + (larger - used) * hours)
        });
        (values[0], values[1]) = (sum.0.to_array(), sum.1.to_array());
    }
    for (value, size) in rest.iter_mut().zip(sizes_rest) {
        if surely(*value, *size) {
            *value = f64::INFINITY;
        } else {
            *value = samples.iter().fold(*value, |value, it| value + (size - it.used) * it.hours);
        }
    }
}

/// The first of the values that is no more than the least of them.
fn first(values: &[f64], least: f64) -> usize {
    let (chunks, _) = values.as_chunks::<4>();
    let more = |it: &&[f64; 4]| !f64x4::new(**it).simd_le(f64x4::splat(least)).any();
    let before = 4 * chunks.iter().take_while(more).count();
    before + values[before..].iter().position(|it| *it <= least).unwrap_or(0)
}

/// In which 64th of its octave a positive number lies, counted from the smallest number on: its first digits as they are kept.
const fn stretch(amount: f64) -> u64 {
    amount.to_bits() >> 46
}

/// The first size that is in each stretch from the lowest size's on to the highest's, or after it.
fn stretches(amounts: &[f64]) -> Vec<u16> {
    let (Some(low), Some(high)) = (amounts.first(), amounts.last()) else { return Vec::new() };
    let first = |from: u64| u16::try_from(amounts.partition_point(|it| stretch(*it) < from)).unwrap_or(u16::MAX);
    (stretch(*low)..=stretch(*high)).map(first).collect()
}

/// Whole sizes from the lowest to the highest use, 1 % apart where that makes at most [`SIZES`].
fn grid(low: f64, high: f64) -> Vec<i64> {
    let steps = ((high / low).ln() / 0.01_f64.ln_1p()).ceil().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
    let steps = steps.min(crate::figures::count(SIZES as u64) - 1.0) as u32;
    let mut sizes: Vec<i64> =
        (0..=steps).map(|i| whole(low * (high / low).powf(f64::from(i) / f64::from(steps)))).collect();
    sizes.dedup();
    sizes
}

#[cfg(test)]
mod tests;
