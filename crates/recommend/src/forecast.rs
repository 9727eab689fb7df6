//! What the next hours may bring, as curves of cost: for every candidate size the expected cost of an hour at that size.
//!
//! Four views of the past are mixed: the last hours, the last day, everything, and the same hour of earlier days. The
//! nearer the hour looked at, the more the last hours count. A view is a set of atoms (level, mass); a one-sided
//! exponential blur, as wide as the container's peaks are restless, stands for what was never seen yet. All curves of a
//! view follow from two prefix sums, and a mixture of views is the same mixture of their curves. So the views are worked
//! out once, and several ways to weigh them ([`crate::ways`]) cost little more than one.

use crate::atoms::{Atoms, CANDIDATES, Curve, DAY, EVER, Grid, LATELY, SAME, STRETCHES, VIEWS};
use crate::past::Past;
use crate::ways::Way;

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

/// All views of a past, over one grid.
#[derive(Clone, Debug)]
pub struct Views {
    count: usize,
    /// The highest level seen in a candidate's stretch of levels, as an amount: who has it, has the candidate.
    needs: [f64; CANDIDATES],
    /// What a candidate would be as a size.
    amounts: [f64; CANDIDATES],
    average: f64,
    /// By view: expected slack (in units of mean use) and chance of being over, per candidate and hour.
    slack: [Curve; VIEWS],
    over: [Curve; VIEWS],
    known: [bool; VIEWS],
    faded: [f32; STRETCHES.len()],
}

/// What the next hours may bring and what to do about it.
#[derive(Clone, Debug)]
pub struct Outlook<'a> {
    views: &'a Views,
    /// Means over the hours ahead.
    slack: Curve,
    over: Curve,
    /// Whose outlook this is, and the price of an incident as it sees it.
    pub way: &'static str,
    incident: f64,
    /// The candidate the plan would take now.
    best: usize,
    /// Cost over the hours ahead, of taking it and of staying at the size in force, in hours of mean use.
    pub cost: f64,
    /// See `cost`; infinite where no size is in force.
    pub stay: f64,
}

impl Outlook<'_> {
    /// The size the plan would take.
    pub fn best(&self) -> f64 {
        self.views.amounts[self.best]
    }

    /// The size that would be best were it never changed and were an incident to cost so many times what it does. The
    /// dearer, the larger: what a size is over can only fall with the size.
    pub fn best_for_ever(&self, times: f64) -> f64 {
        let price = self.incident * times;
        let curves = self.slack[..self.views.count].iter().zip(&self.over);
        self.views.amounts[argmin(curves.map(|(slack, over)| f64::from(*slack) + price * f64::from(*over)))]
    }

    /// Expected slack at this size (in units of mean use) and the chance of an hour over.
    pub fn expect(&self, size: f64) -> (f64, f64) {
        match self.views.at(size) {
            Some((c, more)) => {
                let over = f64::from(self.over[c]);
                (f64::from(self.slack[c]) + f64::from(more) * (1.0 - over), over)
            }
            None => (0.0, 1.0),
        }
    }
}

impl Views {
    /// Of a past, from a moment within `hour`. Nothing where nothing was seen.
    pub fn of<P: Past>(past: &P, hour: i64, beliefs: &Beliefs) -> Option<Self> {
        let blur = beliefs.blur.0 + beliefs.blur.1 * past.tally().restlessness(beliefs.usual);
        let grid = Grid::new(past.range(hour)?, blur);
        let mut atoms = Atoms::new(grid);
        past.tell(hour, beliefs.climb, &mut atoms);
        let average = past.tally().average(P::RESOURCE);
        let (needs, amounts) = atoms.sizes(P::RESOURCE, blur, beliefs.margin);
        let mut views = Self {
            count: grid.count,
            needs,
            amounts,
            average,
            slack: [[0.0; CANDIDATES]; VIEWS],
            over: [[0.0; CANDIDATES]; VIEWS],
            known: [false; VIEWS],
            faded: faded(beliefs.fade),
        };
        views.known = atoms.curves(&amounts, average, (blur, beliefs.jump), &mut views.slack, &mut views.over);
        Some(views)
    }

    /// The clairvoyant's programme, run backwards over the forecast: `values[c]` is the least cost from a stretch to the
    /// horizon's end when it begins at candidate c. A change costs the same from anywhere, so one minimum serves all.
    pub fn plan(&self, way: &Way, in_force: Option<f64>, price: &Price) -> Outlook<'_> {
        if price.once {
            self.planned::<true>(way, in_force, price)
        } else {
            self.planned::<false>(way, in_force, price)
        }
    }

    fn planned<const ONCE: bool>(&self, way: &Way, in_force: Option<f64>, price: &Price) -> Outlook<'_> {
        let count = self.count;
        #[expect(clippy::cast_possible_truncation, reason = "prices")]
        let (incident, resize) = ((price.incident * way.fear) as f32, price.resize as f32);
        let here = in_force.map(|size| self.at(size));
        let (mut slack, mut over) = ([0.0; CANDIDATES], [0.0; CANDIDATES]);
        let mut values: Curve = [0.0; CANDIDATES];
        let mut stay = 0.0_f32;
        for (stretch, hours) in STRETCHES.iter().enumerate().rev() {
            let hours = *hours as f32;
            let Some(weights) = self.weights(way, stretch) else { continue };
            let changed = least(&values[..count]) + resize;
            // After a kill the size is chosen anew; after a sample over nothing is.
            let cost = |slack: f32, over: f32, later: f32| {
                if ONCE {
                    hours * slack + (hours * over).min(1.0) * (incident + changed - later) + later
                } else {
                    hours * (slack + over * incident) + later
                }
            };
            let sources = [LATELY, DAY, EVER, SAME + stretch];
            let mixed = |of: &[Curve; VIEWS], c: usize| {
                let parts = sources.map(|view| of[view][c]);
                parts[0] * weights[0] + parts[1] * weights[1] + parts[2] * weights[2] + parts[3] * weights[3]
            };
            if let Some(here) = here {
                let (slack, over) = here.map_or((0.0, 1.0), |(c, more)| {
                    let over = mixed(&self.over, c);
                    (mixed(&self.slack, c) + more * (1.0 - over), over)
                });
                stay = cost(slack, over, stay.min(changed));
            }
            let [a, b, d, e] = sources.map(|view| (&self.slack[view][..count], &self.over[view][..count]));
            let (values, slack, over) = (&mut values[..count], &mut slack[..count], &mut over[..count]);
            for c in 0..count {
                let free = a.0[c] * weights[0] + b.0[c] * weights[1] + d.0[c] * weights[2] + e.0[c] * weights[3];
                let beyond = a.1[c] * weights[0] + b.1[c] * weights[1] + d.1[c] * weights[2] + e.1[c] * weights[3];
                let later = if values[c] < changed { values[c] } else { changed };
                values[c] = cost(free, beyond, later);
                slack[c] += free * hours;
                over[c] += beyond * hours;
            }
        }
        for c in 0..count {
            slack[c] /= HORIZON;
            over[c] /= HORIZON;
        }
        let best = argmin(values[..count].iter().map(|it| f64::from(*it)));
        let stay = if in_force.is_some() { f64::from(stay) } else { f64::INFINITY };
        let incident = price.incident * way.fear;
        Outlook { views: self, slack, over, way: way.name, incident, best, cost: f64::from(values[best]), stay }
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

/// The least of some costs, eight at a time.
fn least(costs: &[f32]) -> f32 {
    let mut lanes = [f32::INFINITY; 8];
    let (whole, rest) = costs.as_chunks::<8>();
    for chunk in whole {
        lanes.iter_mut().zip(chunk).for_each(|(least, it)| *least = if *it < *least { *it } else { *least });
    }
    lanes.iter().chain(rest).copied().fold(f32::INFINITY, f32::min)
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
