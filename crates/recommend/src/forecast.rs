//! What the next hours may bring, as curves of cost: for every candidate size the expected cost of an hour at that size.
//!
//! Four views of the past are mixed: the last hours, the last day, everything, and the same hour of earlier days. The
//! nearer the hour looked at, the more the last hours count. A view is a set of atoms (level, mass); a one-sided
//! exponential blur, as wide as the container's peaks are restless, stands for what was never seen yet. All curves of a
//! view follow from two prefix sums, and a mixture of views is the same mixture of their curves. So the views are worked
//! out once, and several ways to weigh them ([`crate::ways`]) cost little more than one.

use wide::f32x4;

use crate::atoms::{Atoms, CANDIDATES, Curve, DAY, EVER, Grid, LATELY, SAME, STRETCHES, VIEWS};
use crate::past::Past;
use crate::ways::Way;

/// Where nothing is told.
const NO_CURVE: Curve = [f32x4::ZERO; CANDIDATES / 4];

/// Hours looked ahead.
const HORIZON: f32 = 18.0;

/// What is believed about the past's worth for the future. The defaults are tuned on half of the shared recordings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beliefs {
    /// Hours ahead after which the last hours count 1/e of what they count now.
    pub fade: f64,
    /// Width of the blur in steps, and how much of the container's own restlessness is added to it.
    pub blur: (f64, f64),
    /// The share of the blur that is a jump, and the width of that part in steps: rare, and not told by how restless it was.
    pub jump: (f64, f64),
    /// Of memory that has climbed for hours: for how many hours the climb is believed to go on.
    pub climb: f64,
    /// How many steps an hourly peak is believed to move while nothing is known.
    pub usual: f64,
    /// Multiplier on all sizes.
    pub margin: f64,
}

/// What being wrong costs, in hours of the container's mean use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// An incident for certain during the whole of an hour: a kill for memory, an hour over for CPU.
    pub incident: f64,
    /// A resize.
    pub resize: f64,
    /// An incident happens once, and the size is chosen anew after it: a kill. Otherwise it lasts.
    pub once: bool,
}

/// All views of a past, over one grid. Ten kilobytes: whoever looks has the room for them, and they are read into it.
#[derive(Clone, Debug)]
pub struct Views {
    count: usize,
    /// The highest level seen in a candidate's stretch of levels, as an amount: who has it, has the candidate.
    needs: [f64; CANDIDATES],
    /// What a candidate would be as a size.
    amounts: [f64; CANDIDATES],
    /// The average use.
    pub average: f64,
    /// The highest level remembered.
    pub highest: u16,
    /// By view: expected slack (in units of mean use) and chance of being over, per candidate and hour.
    slack: [Curve; VIEWS],
    over: [Curve; VIEWS],
    known: [bool; VIEWS],
    faded: [f32; STRETCHES.len()],
}

impl Default for Views {
    fn default() -> Self {
        Self {
            count: 0,
            needs: [0.0; CANDIDATES],
            amounts: [0.0; CANDIDATES],
            average: 0.0,
            highest: 0,
            slack: [NO_CURVE; VIEWS],
            over: [NO_CURVE; VIEWS],
            known: [false; VIEWS],
            faded: [0.0; STRETCHES.len()],
        }
    }
}

/// What the next hours may bring and what to do about it.
#[derive(Clone, Copy, Debug)]
pub struct Outlook<'a> {
    views: &'a Views,
    /// Whose outlook this is, ...
    pub way: &'a Way,
    /// ... and the price of an incident as it sees it.
    incident: f64,
    /// The candidate the plan would take now.
    best: usize,
    /// Cost over the hours ahead, of taking it and of staying at the size in force, in hours of mean use.
    pub cost: f64,
    /// See `cost`; infinite where no size is in force.
    pub stay: f64,
}

/// Means over the hours ahead, of every candidate.
#[derive(Clone, Debug)]
pub struct Means<'a> {
    views: &'a Views,
    incident: f64,
    slack: Curve,
    over: Curve,
}

impl<'a> Outlook<'a> {
    /// The size the plan would take.
    pub fn best(&self) -> f64 {
        self.views.amounts[self.best]
    }

    /// The means over the hours ahead.
    pub fn means(&self) -> Means<'a> {
        let views = self.views;
        let (mut slack, mut over) = (NO_CURVE, NO_CURVE);
        for (stretch, hours, weights) in views.stretches(self.way) {
            let (free, beyond) = (views.of_view(&views.slack, stretch), views.of_view(&views.over, stretch));
            let (weights, hours) = (weights.map(f32x4::splat), f32x4::splat(hours));
            for at in 0..views.count.div_ceil(4) {
                slack[at] += mix(free.map(|it| it[at]), weights) * hours;
                over[at] += mix(beyond.map(|it| it[at]), weights) * hours;
            }
        }
        slack.iter_mut().chain(&mut over).for_each(|it| *it /= f32x4::splat(HORIZON));
        Means { views, incident: self.incident, slack, over }
    }

    /// Expected slack at this size (in units of mean use) and the chance of an hour over.
    pub fn expect(&self, size: f64) -> (f64, f64) {
        let views = self.views;
        let Some((c, more)) = views.at(size) else { return (0.0, 1.0) };
        let (mut slack, mut over) = (0.0, 0.0);
        for (stretch, hours, weights) in views.stretches(self.way) {
            slack += mix(views.of_view(&views.slack, stretch).map(|it| of(it, c)), weights) * hours;
            over += mix(views.of_view(&views.over, stretch).map(|it| of(it, c)), weights) * hours;
        }
        let (slack, over) = (f64::from(slack / HORIZON), f64::from(over / HORIZON));
        (slack + f64::from(more) * (1.0 - over), over)
    }
}

impl Means<'_> {
    /// The size that would be best were it never changed and were an incident to cost so many times what it does. The
    /// dearer, the larger: what a size is over can only fall with the size.
    pub fn best_for_ever(&self, times: f64) -> f64 {
        let price = self.incident * times;
        let each = |of: &'_ Curve| of.map(f32x4::to_array);
        let (slack, over) = (each(&self.slack), each(&self.over));
        let curves = slack.as_flattened()[..self.views.count].iter().zip(over.as_flattened());
        self.views.amounts[argmin(curves.map(|(slack, over)| f64::from(*slack) + price * f64::from(*over)))]
    }
}

impl Views {
    /// Reads a past, from a moment within `hour`. Nothing where nothing was seen.
    pub fn read<P: Past>(&mut self, past: &P, hour: i64, beliefs: &Beliefs) -> Option<()> {
        let range = past.range(hour)?;
        let blur = beliefs.blur.0 + beliefs.blur.1 * past.restlessness(hour, beliefs.usual);
        let grid = Grid::new(range, blur);
        let mut atoms = Atoms::new(grid);
        past.tell(hour, beliefs.climb, &mut atoms);
        self.count = grid.count;
        self.average = past.tally().average(P::RESOURCE);
        self.highest = range.1;
        self.faded = faded(beliefs.fade);
        atoms.sizes(P::RESOURCE, blur, beliefs.margin, (&mut self.needs, &mut self.amounts));
        let blurs = (blur, beliefs.jump);
        self.known = atoms.curves(&self.amounts, self.average, blurs, (&mut self.slack, &mut self.over));
        Some(())
    }

    /// The stretches ahead, the furthest first, of which something is known: number, hours, and weights of the views.
    fn stretches(&self, way: &Way) -> impl Iterator<Item = (usize, f32, [f32; 4])> {
        let hours = STRETCHES.iter().enumerate().rev();
        hours.filter_map(move |(stretch, hours)| Some((stretch, *hours as f32, self.weights(way, stretch)?)))
    }

    /// The curves of the four views of a stretch.
    fn of_view<'a>(&self, of: &'a [Curve; VIEWS], stretch: usize) -> [&'a [f32x4]; 4] {
        [LATELY, DAY, EVER, SAME + stretch].map(|view| &of[view][..self.count.div_ceil(4)])
    }

    /// The clairvoyant's programme, run backwards over the forecast: `values[c]` is the least cost from a stretch to the
    /// horizon's end when it begins at candidate c. A change costs the same from anywhere, so one minimum serves all.
    pub fn plan<'a>(&'a self, way: &'a Way, in_force: Option<f64>, price: &Price) -> Outlook<'a> {
        if price.once {
            self.planned::<true>(way, in_force, price)
        } else {
            self.planned::<false>(way, in_force, price)
        }
    }

    fn planned<'a, const ONCE: bool>(&'a self, way: &'a Way, in_force: Option<f64>, price: &Price) -> Outlook<'a> {
        let groups = self.count.div_ceil(4);
        #[expect(clippy::cast_possible_truncation, reason = "prices")]
        let (incident, resize) = ((price.incident * way.fear) as f32, price.resize as f32);
        let here = in_force.map(|size| self.at(size));
        let mut values = NO_CURVE;
        let values = &mut values[..groups];
        let mut stay = 0.0_f32;
        for (stretch, hours, weights) in self.stretches(way) {
            let changed = least(values) + resize;
            // After a kill the size is chosen anew; after a sample over nothing is.
            let cost = |slack: f32, over: f32, later: f32| {
                if ONCE {
                    hours * slack + (hours * over).min(1.0) * (incident + changed - later) + later
                } else {
                    hours * (slack + over * incident) + later
                }
            };
            let (free, beyond) = (self.of_view(&self.slack, stretch), self.of_view(&self.over, stretch));
            if let Some(here) = here {
                let (slack, over) = here.map_or((0.0, 1.0), |(c, more)| {
                    let over = mix(beyond.map(|it| of(it, c)), weights);
                    (mix(free.map(|it| of(it, c)), weights) + more * (1.0 - over), over)
                });
                stay = cost(slack, over, stay.min(changed));
            }
            let [hours, incident, changed] = [hours, incident, changed].map(f32x4::splat);
            let anew = incident + changed;
            let costs = |slack: f32x4, over: f32x4, later: f32x4| {
                if ONCE {
                    hours * slack + (hours * over).fast_min(f32x4::ONE) * (anew - later) + later
                } else {
                    hours * (slack + over * incident) + later
                }
            };
            let weights = weights.map(f32x4::splat);
            // Slices by themselves: of an array of slices the loop below would not know that all are as long.
            let ([a, b, d, e], [i, j, k, l]) = (free, beyond);
            for at in 0..groups {
                let slack = mix([a[at], b[at], d[at], e[at]], weights);
                let over = mix([i[at], j[at], k[at], l[at]], weights);
                values[at] = costs(slack, over, values[at].fast_min(changed));
            }
        }
        let cost = least(values);
        let first = |it: &f32x4| it.simd_le(f32x4::splat(cost)).to_bitmask().trailing_zeros();
        let best = values.iter().map(first).zip(0..).find(|it| it.0 < 4);
        let best = best.map_or(0, |(at, group)| 4 * group + usize::try_from(at).unwrap_or(0));
        let stay = if in_force.is_some() { f64::from(stay) } else { f64::INFINITY };
        Outlook { views: self, way, incident: price.incident * way.fear, best, cost: f64::from(of(values, best)), stay }
    }

    /// How a way weighs the views that know something of a stretch. A way that asks only for what is not known yet is
    /// answered with what is, all alike.
    fn weights(&self, way: &Way, stretch: usize) -> Option<[f32; 4]> {
        let sources = [LATELY, DAY, EVER, SAME + stretch];
        let wished = [way.weights[0] * self.faded[stretch], way.weights[1], way.weights[2], way.weights[3]];
        let known = |weights: [f32; 4]| -> [f32; 4] {
            std::array::from_fn(|it| if self.known[sources[it]] { weights[it] } else { 0.0 })
        };
        let all = [wished, [1.0; 4]].map(known).into_iter().find(|it| it.iter().sum::<f32>() > 0.0)?;
        let sum = all.iter().sum::<f32>();
        Some(all.map(|it| it / sum))
    }

    /// The highest candidate a size is as good as, and what the size is more than it, in units of mean use: that is slack
    /// wherever the candidate fits.
    fn at(&self, size: f64) -> Option<(usize, f32)> {
        let needs = &self.needs[..self.count];
        let c = needs.partition_point(|it| *it <= size * (1.0 + 1e-9)).checked_sub(1)?;
        #[expect(clippy::cast_possible_truncation, reason = "a share")]
        Some((c, ((size - self.amounts[c]) / self.average) as f32))
    }
}

/// Four views as one.
fn mix<T: Copy + std::ops::Mul<Output = T> + std::ops::Add<Output = T>>(parts: [T; 4], weights: [T; 4]) -> T {
    parts[0] * weights[0] + parts[1] * weights[1] + parts[2] * weights[2] + parts[3] * weights[3]
}

/// What a curve says of a candidate.
const fn of(curve: &[f32x4], candidate: usize) -> f32 {
    curve[candidate / 4].as_array()[candidate % 4]
}

/// How much the last hours still count at each stretch.
fn faded(fade: f64) -> [f32; STRETCHES.len()] {
    let mut ahead = 0;
    STRETCHES.map(|hours| {
        let middle = ahead as f64 + (hours as f64 - 1.0) / 2.0;
        ahead += hours;
        #[expect(clippy::cast_possible_truncation, reason = "a weight")]
        let weight = (-middle / fade).exp() as f32;
        weight
    })
}

/// The least of some costs.
fn least(costs: &[f32x4]) -> f32 {
    let [a, b, c, d] = costs.iter().fold(f32x4::splat(f32::INFINITY), |least, it| it.fast_min(least)).to_array();
    a.min(b).min(c.min(d))
}

/// The first of the candidates with the least cost.
fn argmin(costs: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::INFINITY);
    for (c, cost) in costs.enumerate() {
        if cost < best.1 {
            best = (c, cost);
        }
    }
    best.0
}
