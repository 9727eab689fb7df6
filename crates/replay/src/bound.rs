//! The clairvoyant bound: the least any choice of sizes could have cost, had the whole future been known.
//!
//! Over a grid of sizes the cost of a sample at size L is `L - u` where the use u fits and a fixed price where it does
//! not, and a change of size costs the same from anywhere to anywhere. Then
//!
//! ```text
//! V_t(L) = c_t(L) + min( V_{t-1}(L), resize + min over L' of V_{t-1}(L') )
//! ```
//!
//! is exact on the grid, because the best way to be at L at time t either was at L already, or came from wherever it was
//! cheapest to be, and both are known: one minimum serves all sizes, so a sample costs O(sizes) and not O(sizes²). The
//! proof by induction is in `docs/recommender.md`. What the best way reserved, how often it was over and how often it
//! changed is carried along with every V, so nothing has to be remembered of the path, and memory does not grow with time.
//!
//! Most sizes are *idle* most of the time: nobody who was there would not rather come anew from the best one, so their V is
//! `resize + min V`, whatever they cost before. Idle sizes need no reckoning, and a sample can wake only those that cost less
//! than the minimum grows. What is reckoned is a window of sizes around the best, exact all the same.

use crate::figures::{Figures, Prices};
use supple_recommend::sample::{amount, whole};

/// Sizes on the grid at most.
pub const SIZES: usize = 256;

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

/// What the best way to be at each size came to. What most samples change of it is V alone; the rest follows from that and from
/// when it came there.
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
    /// The first size the last sample fitted.
    fits: usize,
    started: bool,
    /// No less than any V within the window.
    most: f64,
    /// Price of a sample over and of a resize, in amount-hours.
    over: f64,
    resize: f64,
    total: Figures,
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
            window,
            fits: 0,
            started: false,
            most: 0.0,
            over,
            resize,
            total,
        }
    }

    /// A sample standing for so many hours.
    pub fn put(&mut self, used: f64, hours: f64) {
        let so_far = self.total.hours;
        self.total.samples += 1;
        self.total.hours += hours;
        self.total.used += used * hours;
        if self.sizes.is_empty() {
            return;
        }
        let before = self.fits;
        let fits = self.first_fit(used);
        self.fits = fits;
        let (low, high) = self.awake(fits, used, hours);
        if self.started {
            self.come_anew((low, high), (before, fits), so_far);
        }
        // From `low` the sizes that the sample is over, from `fits` those that it fits.
        let end = high + 1;
        let fits = fits.clamp(low, end);
        self.ways.counts[low..fits].iter_mut().for_each(|it| it.over += 1);
        self.ways.counts[before.clamp(low, fits)..fits].iter_mut().for_each(|it| it.events += 1);
        let under = raise(&mut self.values[low..fits], &self.amounts[low..fits], |_| self.over);
        let over = raise(&mut self.values[fits..end], &self.amounts[fits..end], |size| (size - used) * hours);
        let least = under.0.min(over.0);
        self.best = low + first(&self.values[low..end], |it| it <= least).unwrap_or(0);
        self.started = true;
        self.doze((low, high), least + self.resize);
        // What a sample is over is idle most often then, and its V no longer asked for.
        self.most = if self.window.0 < fits { under.1.max(over.1) } else { over.1 };
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

    /// Lets sizes within `low..=high` be come to from the best one where that is cheaper than what they cost so far: those that
    /// were idle, and of the others those that became dear. `before` and `fits` are the first size that the last sample fitted, and
    /// the first that this one fits; so many `hours` were before this one.
    fn come_anew(&mut self, (low, high): (usize, usize), fits: (usize, usize), hours: f64) {
        let (first, last) = self.window;
        let from = (self.best, self.cost() + self.resize);
        let came = Came { reserved: self.reserved(self.best, hours), hours };
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
        came: Came,
    ) {
        let mut counts = self.ways.counts[from];
        counts.resizes += 1;
        let (lowest, highest) = counts.range;
        // The sample is going to be counted as the beginning of an event at sizes that the last one fitted. It is one where the
        // last one fitted the size that was in force.
        let began = if from < before { 0..0 } else { 0..fits };
        let counted = before..fits;
        for to in sizes {
            if changed < self.values[to] {
                self.values[to] = changed;
                self.ways.came[to] = came;
                let size = u16::try_from(to).unwrap_or(u16::MAX);
                let events = counts.events + u32::from(began.contains(&to)) - u32::from(counted.contains(&to));
                self.ways.counts[to] = Counts { events, range: (lowest.min(size), highest.max(size)), ..counts };
            }
        }
    }

    /// What the best way that ends at a size has reserved when so many hours are over.
    fn reserved(&self, at: usize, hours: f64) -> f64 {
        let came = self.ways.came[at];
        came.reserved + self.amounts[at] * (hours - came.hours)
    }

    /// The sizes to be reckoned: those not idle, and those the sample may wake.
    fn awake(&self, fits: usize, used: f64, hours: f64) -> (usize, usize) {
        let (low, high) = self.window;
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
        // Those that cost less, and one more, so that rounding cannot leave one out.
        let mut high = high;
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
        while high > self.best && self.values[high] >= idle {
            self.values[high] = f64::INFINITY;
            high -= 1;
        }
        self.window = (low, high);
    }

    /// The least cost, in amount-hours.
    pub fn cost(&self) -> f64 {
        self.values.get(self.best).copied().unwrap_or(0.0)
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

/// The best way itself, a size for every sample: for drawing. Remembers a bit a sample and size, unlike [`Bound`].
pub fn path(used: &[(f64, f64)], prices: &Prices, least: f64) -> Vec<i64> {
    let mut range = Range::default();
    for (used, hours) in used {
        range.put(*used, *hours);
    }
    let mut bound = Bound::new(&range, prices, least);
    let words = bound.sizes.len().div_ceil(64);
    let mut came = vec![0_u64; words * used.len()];
    let mut from = Vec::with_capacity(used.len());
    for (at, (used, hours)) in used.iter().enumerate() {
        let changed = bound.cost() + bound.resize;
        from.push(bound.best);
        for (i, value) in bound.values.iter().enumerate() {
            if bound.started && changed < *value {
                came[at * words + i / 64] |= 1 << (i % 64);
            }
        }
        bound.put(*used, *hours);
    }
    let mut here = bound.best;
    let mut sizes = vec![0; used.len()];
    for at in (0..used.len()).rev() {
        sizes[at] = bound.sizes[here];
        if came[at * words + here / 64] >> (here % 64) & 1 == 1 {
            here = from[at];
        }
    }
    sizes
}

/// Adds to every value what its size costs, four at a time; the least and the most of them then.
fn raise(values: &mut [f64], sizes: &[f64], cost: impl Fn(f64) -> f64) -> (f64, f64) {
    let (mut least, mut most) = ([f64::INFINITY; 4], [f64::NEG_INFINITY; 4]);
    let ((values, rest), (sizes, sizes_rest)) = (values.as_chunks_mut::<4>(), sizes.as_chunks::<4>());
    for (values, sizes) in values.iter_mut().zip(sizes) {
        for lane in 0..4 {
            let value = values[lane] + cost(sizes[lane]);
            values[lane] = value;
            least[lane] = if value < least[lane] { value } else { least[lane] };
            most[lane] = if value > most[lane] { value } else { most[lane] };
        }
    }
    let all = |lanes: [f64; 4], to: fn(f64, f64) -> f64| to(to(lanes[0], lanes[1]), to(lanes[2], lanes[3]));
    let (mut least, mut most) = (all(least, f64::min), all(most, f64::max));
    for (value, size) in rest.iter_mut().zip(sizes_rest) {
        *value += cost(*size);
        (least, most) = (least.min(*value), most.max(*value));
    }
    (least, most)
}

/// The first of the values that is as wished, eight looked at at a time.
fn first(values: &[f64], wished: impl Fn(f64) -> bool) -> Option<usize> {
    let (chunks, _) = values.as_chunks::<8>();
    let before = 8 * chunks.iter().take_while(|it| !it.iter().fold(false, |any, it| any | wished(*it))).count();
    values[before..].iter().position(|it| wished(*it)).map(|at| before + at)
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: every way to choose a size for every sample.
    fn brute_force(used: &[f64], sizes: &[i64], over: f64, resize: f64) -> f64 {
        let ways = sizes.len().pow(u32::try_from(used.len()).unwrap());
        (0..ways)
            .map(|way| {
                let mut way = way;
                let mut cost = 0.0;
                let mut before = None;
                for used in used {
                    let size = sizes[way % sizes.len()];
                    way /= sizes.len();
                    let size_now = amount(size);
                    cost += if *used > size_now { over } else { size_now - used };
                    cost += if before.is_some_and(|it| it != size) { resize } else { 0.0 };
                    before = Some(size);
                }
                cost
            })
            .fold(f64::INFINITY, f64::min)
    }

    /// The recurrence as it is written, over all sizes.
    fn plain(used: &[f64], sizes: &[i64], over: f64, resize: f64) -> f64 {
        let cost = |size: i64, used: f64| if used > amount(size) { over } else { amount(size) - used };
        let mut values: Vec<f64> = sizes.iter().map(|it| cost(*it, used[0])).collect();
        for used in &used[1..] {
            let changed = values.iter().copied().fold(f64::INFINITY, f64::min) + resize;
            values = values.iter().zip(sizes).map(|(value, size)| value.min(changed) + cost(*size, *used)).collect();
        }
        values.into_iter().fold(f64::INFINITY, f64::min)
    }

    proptest! {
        #[test]
        fn leaving_idle_sizes_out_changes_nothing(
            used in prop::collection::vec(prop_oneof![0.0f64..120.0, 40.0f64..50.0], 1..200),
            sizes in prop::collection::btree_set(1i64..120, 1..60),
            over in 0.0f64..80.0,
            resize in 0.0f64..40.0,
        ) {
            let sizes: Vec<i64> = sizes.into_iter().collect();
            let mut bound = Bound::on(sizes.clone(), over, resize);
            used.iter().for_each(|it| bound.put(*it, 1.0));
            let exact = plain(&used, &sizes, over, resize);
            prop_assert!((bound.cost() - exact).abs() < 1e-7, "{} is not {}", bound.cost(), exact);
        }

        #[test]
        fn nothing_is_cheaper(
            used in prop::collection::vec(0.0f64..12.0, 1..7),
            sizes in prop::collection::btree_set(1i64..12, 1..5),
            over in 0.0f64..20.0,
            resize in 0.0f64..10.0,
        ) {
            let sizes: Vec<i64> = sizes.into_iter().collect();
            let mut bound = Bound::on(sizes.clone(), over, resize);
            for it in &used {
                bound.put(*it, 1.0);
            }
            let exact = brute_force(&used, &sizes, over, resize);
            prop_assert!((bound.cost() - exact).abs() < 1e-9, "{} is not {}", bound.cost(), exact);
        }

        #[test]
        fn the_figures_are_those_of_the_cost(used in prop::collection::vec(1.0f64..100.0, 1..60), over in 0.0f64..50.0, resize in 0.0f64..50.0) {
            let mut bound = Bound::on((1..=100).step_by(7).collect(), over, resize);
            for it in &used {
                bound.put(*it, 1.0);
            }
            let it = bound.figures();
            let sum = it.slack + over * crate::figures::count(it.over) + resize * crate::figures::count(it.resizes);
            prop_assert!((sum - bound.cost()).abs() < 1e-6);
            prop_assert!(it.events <= it.over);
        }
    }

    #[test]
    fn the_path_is_the_cost() {
        let used: Vec<(f64, f64)> = [1.0, 1.0, 9.0, 9.0, 9.0, 2.0, 1.0, 30.0, 1.0].map(|it| (it, 1.0)).to_vec();
        let sizes = path(&used, &Prices::MEMORY, 1.0);
        let mut figures = Figures::default();
        for (i, (used, hours)) in used.iter().enumerate() {
            figures.judge(*used, sizes[i], *hours);
            figures.resizes += u64::from(i > 0 && sizes[i] != sizes[i - 1]);
        }
        let mut range = Range::default();
        used.iter().for_each(|(used, hours)| range.put(*used, *hours));
        let mut bound = Bound::new(&range, &Prices::MEMORY, 1.0);
        used.iter().for_each(|(used, hours)| bound.put(*used, *hours));
        let best = bound.figures();
        assert_eq!((figures.resizes, figures.over), (best.resizes, best.over));
        assert!((figures.reserved - best.reserved).abs() < 1e-9);
    }

    #[test]
    fn a_dear_resize_is_made_once() {
        let mut bound = Bound::on(vec![1, 2, 10], 1000.0, 5.0);
        for used in [1.0, 1.0, 1.0, 10.0, 10.0, 1.0] {
            bound.put(used, 1.0);
        }
        let it = bound.figures();
        assert_eq!((it.resizes, it.over), (2, 0), "up, and down again for 5 instead of 9 of slack");
        assert_eq!(it.range, Some((1, 10)));
    }
}
