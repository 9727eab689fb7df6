//! What the next hours may bring, as curves of cost: for every candidate size the expected cost of an hour at that size.
//!
//! Four views of the past are mixed: the last hours, the last day, everything, and the same hour of earlier days. The
//! nearer the hour looked at, the more the last hours count. A view is a set of atoms (level, mass); a one-sided
//! exponential blur, as wide as the container's peaks are restless, stands for what was never seen yet. All curves of a
//! view follow from two prefix sums, and a mixture of views is the same mixture of their curves, so nothing is
//! computed twice for the hours ahead.

use crate::past::Past;

/// Candidate sizes at most.
pub const CANDIDATES: usize = 96;

/// What is believed about the past's worth for the future. The defaults are tuned on half of the shared recordings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beliefs {
    /// Half-life of the view of the last hours, in hours.
    pub recent_half_life: f64,
    /// Half-life of the view of the last day, in hours.
    pub day_half_life: f64,
    /// Weights of the views: last hours, last day, everything, same hour.
    pub weights: [f64; 4],
    /// Hours ahead after which the last hours count 1/e of what they count now.
    pub fade: f64,
    /// Width of the blur in steps, and how much of the container's own restlessness is added to it.
    pub blur: (f64, f64),
    /// How many steps an hourly peak is believed to move while nothing is known.
    pub usual: f64,
    /// Hours looked ahead.
    pub horizon: usize,
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
}

/// Per candidate.
type Curve = [f64; CANDIDATES];

/// One view of the past: expected slack (in units of mean use) and chance of being over, per candidate and hour.
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
    count: usize,
}

/// What the next hours may bring and what to do about it.
#[derive(Clone, Debug)]
pub struct Outlook {
    grid: Grid,
    amounts: Curve,
    average: f64,
    /// Means over the hours ahead.
    slack: Curve,
    over: Curve,
    /// The candidate the plan would take now.
    best: usize,
    /// Cost over the hours ahead, of taking it and of staying at the size in force, in hours of mean use.
    pub cost: f64,
    /// See `cost`; infinite where no size is in force.
    pub stay: f64,
}

impl Outlook {
    /// The size the plan would take.
    pub fn best(&self) -> f64 {
        self.amounts[self.best]
    }

    /// The size that would be best for ever, were an incident to cost this.
    pub fn best_at(&self, incident: f64) -> f64 {
        let cost = |c: usize| self.slack[c] + incident * self.over[c];
        self.amounts[argmin(self.grid.count, cost)]
    }

    /// Expected slack at this size (in units of mean use) and the chance of an hour over.
    pub fn expect(&self, size: f64) -> (f64, f64) {
        match self.at(size) {
            Some(c) => (self.slack_at(size, c, &self.slack, &self.over), self.over[c]),
            None => (0.0, 1.0),
        }
    }

    /// The slack at a size at or above candidate `c`: what it is more than the candidate is slack wherever that fits.
    fn slack_at(&self, size: f64, c: usize, slack: &Curve, over: &Curve) -> f64 {
        slack[c] + (size - self.amounts[c]) / self.average * (1.0 - over[c])
    }

    /// The highest candidate not above this size.
    fn at(&self, size: f64) -> Option<usize> {
        self.amounts[..self.grid.count].partition_point(|it| *it <= size * (1.0 + 1e-9)).checked_sub(1)
    }
}

/// Looks ahead from a moment within `hour`. Nothing to say where nothing was seen.
pub fn look_ahead<P: Past>(
    past: &P,
    hour: i64,
    in_force: Option<f64>,
    beliefs: &Beliefs,
    price: &Price,
) -> Option<Outlook> {
    let blur = beliefs.blur.0 + beliefs.blur.1 * past.tally().restlessness(beliefs.usual);
    let grid = grid(past, hour, blur)?;
    let mut outlook = Outlook {
        grid,
        amounts: [0.0; CANDIDATES],
        average: past.tally().average(P::RESOURCE),
        slack: [0.0; CANDIDATES],
        over: [0.0; CANDIDATES],
        best: 0,
        cost: 0.0,
        stay: 0.0,
    };
    for (c, amount) in outlook.amounts[..grid.count].iter_mut().enumerate() {
        *amount = P::RESOURCE.amount(grid.level(c)) * beliefs.margin;
    }
    let lens = Lens { grid, amounts: &outlook.amounts, margin: beliefs.margin, average: outlook.average, blur };

    let fading = lens.view(|visit| past.lately(hour, beliefs.recent_half_life, visit));
    let day = lens.view(|visit| past.lately(hour, beliefs.day_half_life, visit));
    let long = lens.view(|visit| past.ever(hour, visit));
    // What does not change from hour to hour is mixed once.
    let other = 1.0 - past.regularity() * 0.95;
    let steady = mix(grid.count, &[(beliefs.weights[1] * other, &day), (beliefs.weights[2] * other, &long)]);

    // The clairvoyant's programme, run backwards over the forecast: `values[c]` is the least cost from an hour to the horizon's
    // end when the hour begins at candidate c. A change costs the same from anywhere, so one minimum serves all.
    let here = in_force.map(|size| (size, outlook.at(size)));
    let mut values = [0.0; CANDIDATES];
    let mut stay = 0.0_f64;
    for ahead in (0..beliefs.horizon).rev() {
        let step = i64::try_from(ahead).unwrap_or(0);
        let faded = beliefs.weights[0] * (-(ahead as f64) / beliefs.fade).exp();
        let same_hour = lens.view(|visit| past.same_hour(hour, step, visit));
        let parts = [(faded, &fading), (steady.0, &steady.1), (beliefs.weights[3], &same_hour)];
        let (_, Some(View { slack, over })) = mix(grid.count, &parts) else {
            continue; // no view knows this hour, which cannot be where a range is known
        };
        let best_later = values[..grid.count].iter().copied().fold(f64::INFINITY, f64::min);
        let changed = best_later + price.resize;
        stay = stay.min(changed)
            + match here {
                Some((size, Some(c))) => outlook.slack_at(size, c, &slack, &over) + price.incident * over[c],
                Some((_, None)) => price.incident, // under all candidates: over for certain
                None => 0.0,
            };
        for c in 0..grid.count {
            values[c] = slack[c] + price.incident * over[c] + values[c].min(changed);
            outlook.slack[c] += slack[c];
            outlook.over[c] += over[c];
        }
    }
    let hours = beliefs.horizon.max(1) as f64;
    for c in 0..grid.count {
        outlook.slack[c] /= hours;
        outlook.over[c] /= hours;
    }
    outlook.best = argmin(grid.count, |c| values[c]);
    outlook.cost = values[outlook.best];
    outlook.stay = if in_force.is_some() { stay } else { f64::INFINITY };
    Some(outlook)
}

impl Grid {
    fn level(self, candidate: usize) -> u16 {
        u16::try_from(candidate).unwrap_or(u16::MAX).saturating_mul(self.stride).saturating_add(self.lowest)
    }

    fn candidate(self, level: u16) -> usize {
        usize::from(level.saturating_sub(self.lowest).div_ceil(self.stride)).min(self.count - 1)
    }
}

/// A mixture of the views that know something, with the weight they have together.
fn mix(count: usize, parts: &[(f64, &Option<View>)]) -> (f64, Option<View>) {
    let known: f64 = parts.iter().filter(|(_, view)| view.is_some()).map(|(weight, _)| weight).sum();
    if known <= 0.0 {
        return (0.0, None);
    }
    let mut mixed = View { slack: [0.0; CANDIDATES], over: [0.0; CANDIDATES] };
    for (weight, view) in parts.iter().filter_map(|(weight, view)| Some((weight / known, view.as_ref()?))) {
        for (to, from) in mixed.slack[..count].iter_mut().zip(&view.slack) {
            *to += weight * from;
        }
        for (to, from) in mixed.over[..count].iter_mut().zip(&view.over) {
            *to += weight * from;
        }
    }
    (known, Some(mixed))
}

/// Candidates from the lowest level remembered to a blur's reach above the highest.
fn grid<P: Past>(past: &P, hour: i64, blur: f64) -> Option<Grid> {
    let (lowest, highest) = past.range(hour)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let highest = highest.saturating_add((blur * 6.0).ceil() as u16);
    let mut stride = 1;
    while usize::from((highest - lowest / stride * stride).div_ceil(stride)) + 1 > CANDIDATES {
        stride *= 2;
    }
    let lowest = lowest / stride * stride;
    Some(Grid { lowest, stride, count: usize::from((highest - lowest).div_ceil(stride)) + 1 })
}

/// What turns atoms into curves.
struct Lens<'a> {
    grid: Grid,
    amounts: &'a Curve,
    margin: f64,
    average: f64,
    blur: f64,
}

impl Lens<'_> {
    fn view(&self, atoms: impl FnOnce(&mut dyn FnMut(u16, f64))) -> Option<View> {
        let mut mass = [0.0; CANDIDATES];
        let mut total = 0.0;
        atoms(&mut |level, weight| {
            mass[self.grid.candidate(level)] += weight;
            total += weight;
        });
        if total <= 0.0 {
            return None;
        }
        let stay = if self.blur > 0.0 { (-f64::from(self.grid.stride) / self.blur).exp() } else { 0.0 };
        let scale = (1.0 - stay) / total;
        let mut view = View { slack: [0.0; CANDIDATES], over: [0.0; CANDIDATES] };
        let (mut carried, mut under, mut used) = (0.0, 0.0, 0.0);
        for (c, mass) in mass.iter().enumerate().take(self.grid.count) {
            carried = stay * carried + scale * mass;
            under += carried;
            used += carried * self.amounts[c] / self.margin;
            view.slack[c] = (self.amounts[c] * under - used) / self.average;
            view.over[c] = (1.0 - under).max(0.0);
        }
        Some(view)
    }
}

/// The lowest of the candidates with the least cost.
fn argmin(count: usize, cost: impl Fn(usize) -> f64) -> usize {
    (0..count).min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(0)
}
