//! What the next hours may bring, as curves of cost: for every candidate size the expected cost of an hour at that size.
//!
//! Four views of the past are mixed: the last hours, the last day, everything, and the same hour of earlier days. The
//! nearer the hour looked at, the more the last hours count. A view is a set of atoms (level, mass); a one-sided
//! exponential blur, as wide as the container's peaks are restless, stands for what was never seen yet. All curves of a
//! view follow from two prefix sums, and a mixture of views is the same mixture of their curves. So the views are worked
//! out once, and several ways to weigh them ([`crate::ways`]) cost little more than one.

use crate::past::Past;
use crate::resource::Resource;
use crate::sample::{amount, whole};
use crate::ways::Way;

/// Candidate sizes at most.
pub const CANDIDATES: usize = 96;

/// The hours ahead, in stretches within which nothing is changed: 18 hours.
const STRETCHES: [usize; 7] = [1, 1, 2, 2, 3, 3, 6];

/// Hours looked ahead.
const HORIZON: f32 = 18.0;

/// What is believed about the past's worth for the future. The defaults are tuned on half of the shared recordings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beliefs {
    /// Hours ahead after which the last hours count 1/e of what they count now.
    pub fade: f64,
    /// Width of the blur in steps, and how much of the container's own restlessness is added to it.
    pub blur: (f64, f64),
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

/// Per candidate.
type Curve = [f32; CANDIDATES];

/// One view of the past: expected slack (in units of mean use) and chance of being over, per candidate and hour.
#[derive(Clone, Copy, Debug)]
struct View {
    slack: Curve,
    over: Curve,
}

/// The candidate sizes: every `stride`-th level from `lowest` on. Both are kept to multiples, so that the size chosen an
/// hour ago is among the candidates again.
#[derive(Clone, Copy, Debug)]
struct Grid {
    lowest: u16,
    stride: u16,
    /// 2^32 by the stride, rounded up.
    inverse: u64,
    count: usize,
}

/// All views of a past, over one grid.
#[derive(Clone, Debug)]
pub struct Views {
    grid: Grid,
    /// The highest level seen in a candidate's stretch of levels, as an amount: who has it, has the candidate.
    needs: [f64; CANDIDATES],
    /// What a candidate would be as a size.
    amounts: [f64; CANDIDATES],
    average: f64,
    lately: Option<View>,
    day: Option<View>,
    ever: Option<View>,
    same: [Option<View>; STRETCHES.len()],
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
        let cost = |c: usize| f64::from(self.slack[c]) + self.incident * times * f64::from(self.over[c]);
        self.views.amounts[argmin(self.views.grid.count, cost)]
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
        let grid = grid(past, hour, blur)?;
        let mut lens = Lens { grid, resource: P::RESOURCE, reach: [0; CANDIDATES] };
        let (mut lately, mut day, mut ever) = (Atoms::default(), Atoms::default(), Atoms::default());
        past.lately(hour, |level, mass| lens.sort(&mut lately, level, mass));
        past.day(hour, |level, mass| lens.sort(&mut day, level, mass));
        past.ever(hour, |level, mass| lens.sort(&mut ever, level, mass));
        let mut ahead = 0;
        let mut faded = [0.0; STRETCHES.len()];
        let same: [Atoms; STRETCHES.len()] = std::array::from_fn(|stretch| {
            let hours = STRETCHES[stretch];
            let middle = ahead as f64 + (hours as f64 - 1.0) / 2.0;
            #[expect(clippy::cast_possible_truncation, reason = "a weight")]
            let weight = (-middle / beliefs.fade).exp() as f32;
            faded[stretch] = weight;
            let mut atoms = Atoms::default();
            for step in ahead..ahead + hours {
                let step = i64::try_from(step).unwrap_or(0);
                past.same_hour(hour, step, |level, mass| lens.sort(&mut atoms, level, mass));
            }
            ahead += hours;
            atoms
        });
        let average = past.tally().average(P::RESOURCE);
        let (needs, amounts) = lens.sizes(blur, beliefs.margin);
        let view = |atoms: &Atoms| atoms.view(grid, &amounts, average, blur);
        let same = std::array::from_fn(|stretch| view(&same[stretch]));
        Some(Self {
            grid,
            average,
            lately: view(&lately),
            day: view(&day),
            ever: view(&ever),
            same,
            faded,
            needs,
            amounts,
        })
    }

    /// The clairvoyant's programme, run backwards over the forecast: `values[c]` is the least cost from a stretch to the
    /// horizon's end when it begins at candidate c. A change costs the same from anywhere, so one minimum serves all.
    pub fn plan(&self, way: &Way, in_force: Option<f64>, price: &Price) -> Outlook<'_> {
        let count = self.grid.count;
        #[expect(clippy::cast_possible_truncation, reason = "prices")]
        let (incident, resize) = ((price.incident * way.fear) as f32, price.resize as f32);
        let here = in_force.map(|size| self.at(size));
        let (mut slack, mut over) = ([0.0; CANDIDATES], [0.0; CANDIDATES]);
        let mut values: Curve = [0.0; CANDIDATES];
        let mut stay = 0.0_f32;
        for (stretch, hours) in STRETCHES.iter().enumerate().rev() {
            let hours = *hours as f32;
            let parts = [
                (way.weights[0] * self.faded[stretch], &self.lately),
                (way.weights[1], &self.day),
                (way.weights[2], &self.ever),
                (way.weights[3], &self.same[stretch]),
            ];
            let Some(view) = mix(count, &parts) else { continue };
            let best_later = values[..count].iter().copied().fold(f32::INFINITY, f32::min);
            let changed = best_later + resize;
            // After a kill the size is chosen anew; after a sample over nothing is.
            let cost = |slack: f32, over: f32, later: f32| {
                if price.once {
                    hours * slack + (hours * over).min(1.0) * (incident + changed - later) + later
                } else {
                    hours * (slack + over * incident) + later
                }
            };
            if let Some(here) = here {
                let (slack, over) =
                    here.map_or((0.0, 1.0), |(c, more)| (view.slack[c] + more * (1.0 - view.over[c]), view.over[c]));
                stay = cost(slack, over, stay.min(changed));
            }
            for c in 0..count {
                values[c] = cost(view.slack[c], view.over[c], values[c].min(changed));
                slack[c] += view.slack[c] * hours;
                over[c] += view.over[c] * hours;
            }
        }
        for c in 0..count {
            slack[c] /= HORIZON;
            over[c] /= HORIZON;
        }
        let best = argmin(count, |c| f64::from(values[c]));
        let stay = if in_force.is_some() { f64::from(stay) } else { f64::INFINITY };
        let incident = price.incident * way.fear;
        Outlook { views: self, slack, over, way: way.name, incident, best, cost: f64::from(values[best]), stay }
    }

    /// The highest candidate a size is as good as, and what the size is more than it, in units of mean use: that is slack
    /// wherever the candidate fits.
    fn at(&self, size: f64) -> Option<(usize, f32)> {
        let needs = &self.needs[..self.grid.count];
        let c = needs.partition_point(|it| *it <= size * (1.0 + 1e-9)).checked_sub(1)?;
        #[expect(clippy::cast_possible_truncation, reason = "a share")]
        Some((c, ((size - self.amounts[c]) / self.average) as f32))
    }
}

impl Grid {
    fn level(self, candidate: usize) -> u16 {
        u16::try_from(candidate).unwrap_or(u16::MAX).saturating_mul(self.stride).saturating_add(self.lowest)
    }

    fn candidate(self, level: u16) -> usize {
        // Rounded up; a multiplication in place of a division, for this is done for every atom. Exact: levels are small.
        let steps = u64::from(level.saturating_sub(self.lowest)) + u64::from(self.stride) - 1;
        usize::try_from((steps * self.inverse) >> 32).unwrap_or(usize::MAX).min(self.count - 1)
    }
}

/// A mixture of the views that know something.
fn mix(count: usize, parts: &[(f32, &Option<View>)]) -> Option<View> {
    let known: f32 = parts.iter().filter(|(_, view)| view.is_some()).map(|(weight, _)| weight).sum();
    // A way that asks only for what is not known yet is answered with what is.
    let even = known <= 0.0;
    let known = if even { parts.iter().filter(|(_, view)| view.is_some()).count() as f32 } else { known };
    let mut mixed: Option<View> = None;
    for (weight, view) in parts.iter().filter_map(|(weight, view)| Some((*weight, view.as_ref()?))) {
        let weight = if even { 1.0 } else { weight } / known;
        if weight == 0.0 {
            continue;
        }
        let mixed = mixed.get_or_insert(View { slack: [0.0; CANDIDATES], over: [0.0; CANDIDATES] });
        for (to, from) in mixed.slack[..count].iter_mut().zip(&view.slack) {
            *to += weight * from;
        }
        for (to, from) in mixed.over[..count].iter_mut().zip(&view.over) {
            *to += weight * from;
        }
    }
    mixed
}

/// Candidates from the lowest level worth having to a blur's reach above the highest.
fn grid<P: Past>(past: &P, hour: i64, blur: f64) -> Option<Grid> {
    let (lowest, highest) = past.range(hour)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let highest = highest.saturating_add((blur * 6.0).ceil() as u16);
    let mut stride = 1;
    while usize::from((highest - lowest / stride * stride).div_ceil(stride)) + 1 > CANDIDATES {
        stride += if stride < 4 { 1 } else { stride / 2 };
    }
    let lowest = lowest / stride * stride;
    let inverse = (1_u64 << 32).div_ceil(u64::from(stride));
    Some(Grid { lowest, stride, inverse, count: usize::from((highest - lowest).div_ceil(stride)) + 1 })
}

/// The mass of a view in each candidate's stretch of levels.
struct Atoms {
    mass: [f64; CANDIDATES],
    total: f64,
}

/// What sorts atoms into candidates.
struct Lens {
    grid: Grid,
    resource: Resource,
    /// The highest level that was sorted into each.
    reach: [u16; CANDIDATES],
}

impl Lens {
    fn sort(&mut self, atoms: &mut Atoms, level: u16, mass: f64) {
        let c = self.grid.candidate(level);
        atoms.mass[c] += mass;
        atoms.total += mass;
        self.reach[c] = self.reach[c].max(level);
    }

    /// What each candidate needs and what it would be as a size: no more than what was seen there and the blur ask for.
    fn sizes(&self, blur: f64, margin: f64) -> ([f64; CANDIDATES], [f64; CANDIDATES]) {
        let (mut needs, mut amounts) = ([0.0; CANDIDATES], [0.0; CANDIDATES]);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let more = blur.ceil() as u16;
        for c in 0..self.grid.count {
            let level = self.grid.level(c);
            let reach = self.reach[c];
            let (need, size) =
                if reach == 0 { (level, level) } else { (reach.min(level), reach.saturating_add(more).min(level)) };
            needs[c] = amount(whole(self.resource.amount(need) * margin));
            amounts[c] = (self.resource.amount(size) * margin).floor().max(needs[c]);
        }
        (needs, amounts)
    }
}

impl Default for Atoms {
    fn default() -> Self {
        Self { mass: [0.0; CANDIDATES], total: 0.0 }
    }
}

impl Atoms {
    #[expect(clippy::cast_possible_truncation, reason = "shares and multiples of the mean")]
    fn view(&self, grid: Grid, amounts: &[f64; CANDIDATES], average: f64, blur: f64) -> Option<View> {
        if self.total <= 0.0 {
            return None;
        }
        let stay = if blur > 0.0 { (-f64::from(grid.stride) / blur).exp() } else { 0.0 };
        let scale = (1.0 - stay) / self.total;
        let mut view = View { slack: [0.0; CANDIDATES], over: [0.0; CANDIDATES] };
        let (mut carried, mut under, mut used) = (0.0, 0.0, 0.0);
        for (c, mass) in self.mass.iter().enumerate().take(grid.count) {
            carried = stay * carried + scale * mass;
            under += carried;
            used += carried * amounts[c];
            view.slack[c] = ((amounts[c] * under - used) / average) as f32;
            view.over[c] = (1.0 - under).max(0.0) as f32;
        }
        Some(view)
    }
}

/// The lowest of the candidates with the least cost.
fn argmin(count: usize, cost: impl Fn(usize) -> f64) -> usize {
    (0..count).min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(0)
}
