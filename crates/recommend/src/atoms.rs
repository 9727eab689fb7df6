//! The atoms of a past, sorted into the candidate sizes of a plan: view by view, side by side.
//!
//! A view of the past is a set of atoms (level, mass). All views are held side by side per candidate, so that one walk over the
//! candidates makes the curves of all of them, and one walk over the past fills all of them.

use std::sync::LazyLock;

use crate::resource::{Resource, TOP};
use crate::sample::{amount, whole};

/// Candidate sizes at most.
pub const CANDIDATES: usize = 96;

/// The hours ahead, in stretches within which nothing is changed: 18 hours.
pub const STRETCHES: [usize; 7] = [1, 1, 2, 2, 3, 3, 6];

/// Views of a past: the last hours, the last day, everything, and for every stretch the same hours of earlier days.
pub const VIEWS: usize = SAME + STRETCHES.len();

/// As many views as are reckoned side by side: whole vectors of four.
const LANES: usize = VIEWS.next_multiple_of(4);

/// Where in the views the last hours stand, ...
pub const LATELY: usize = 0;
/// ... the last day, ...
pub const DAY: usize = 1;
/// ... everything, ...
pub const EVER: usize = 2;
/// ... and from where on the same hours of earlier days, by stretch.
pub const SAME: usize = 3;

/// The amounts of all levels as sizes, rounded down and up: a look asks for hundreds of them.
static ROUNDED: LazyLock<[Vec<(f64, f64)>; 2]> =
    LazyLock::new(|| Resource::ALL.map(|it| (0..=TOP).map(|level| rounded_both_ways(it.amount(level))).collect()));

/// Rounded down and rounded up.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and no size is as large")]
fn rounded_both_ways(size: f64) -> (f64, f64) {
    (amount(size as i64), amount(whole(size)))
}

/// In single precision: shares and multiples of the mean need no more.
#[expect(clippy::cast_possible_truncation, reason = "a share or a multiple of the mean")]
const fn single(value: f64) -> f32 {
    value as f32
}

/// Per candidate.
pub type Curve = [f32; CANDIDATES];

/// The candidate sizes: every `stride`-th level from `lowest` on. Both are kept to multiples, so that the size chosen an
/// hour ago is among the candidates again.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    lowest: u16,
    stride: u16,
    /// 2^32 by the stride, rounded up.
    inverse: u64,
    /// How many candidates there are.
    pub count: usize,
}

impl Grid {
    /// From the lowest level worth having to a blur's reach above the highest.
    pub fn new((lowest, highest): (u16, u16), blur: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let highest = highest.saturating_add((blur * 6.0).ceil() as u16);
        let mut stride = 1;
        while usize::from((highest - lowest / stride * stride).div_ceil(stride)) + 1 > CANDIDATES {
            stride += if stride < 4 { 1 } else { stride / 2 };
        }
        let lowest = lowest / stride * stride;
        let inverse = (1_u64 << 32).div_ceil(u64::from(stride));
        Self { lowest, stride, inverse, count: usize::from((highest - lowest).div_ceil(stride)) + 1 }
    }

    fn level(self, candidate: usize) -> u16 {
        u16::try_from(candidate).unwrap_or(u16::MAX).saturating_mul(self.stride).saturating_add(self.lowest)
    }

    fn candidate(self, level: u16) -> usize {
        // Rounded up; a multiplication in place of a division, for this is done for every atom. Exact: levels are small.
        let steps = u64::from(level.saturating_sub(self.lowest)) + u64::from(self.stride) - 1;
        usize::try_from((steps * self.inverse) >> 32).unwrap_or(usize::MAX).min(self.count - 1)
    }
}

/// The mass of every view in each candidate's stretch of levels.
pub struct Atoms {
    grid: Grid,
    mass: [[f64; VIEWS]; CANDIDATES],
    /// The highest level that was sorted into each.
    reach: [u16; CANDIDATES],
}

impl Atoms {
    /// None yet.
    pub const fn new(grid: Grid) -> Self {
        Self { grid, mass: [[0.0; VIEWS]; CANDIDATES], reach: [0; CANDIDATES] }
    }

    /// An atom of one view.
    pub fn put(&mut self, view: usize, level: u16, mass: f64) {
        self.place(level)[view] += mass;
    }

    /// An atom of every view, of a mass of its own in each.
    pub fn put_all(&mut self, level: u16, masses: &[f64; VIEWS]) {
        self.place(level).iter_mut().zip(masses).for_each(|(to, mass)| *to += mass);
    }

    /// Multiplies what the views from `view` on hold so far.
    pub fn scale_from(&mut self, view: usize, factor: f64) {
        self.mass[..self.grid.count].iter_mut().flat_map(|it| &mut it[view..]).for_each(|it| *it *= factor);
    }

    fn place(&mut self, level: u16) -> &mut [f64; VIEWS] {
        let c = self.grid.candidate(level);
        self.reach[c] = self.reach[c].max(level);
        &mut self.mass[c]
    }

    /// What each candidate needs and what it would be as a size: no more than what was seen there and the blur ask for.
    pub fn sizes(
        &self,
        resource: Resource,
        blur: f64,
        margin: f64,
        (needs, amounts): (&mut [f64; CANDIDATES], &mut [f64; CANDIDATES]),
    ) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let more = blur.ceil() as u16;
        let sized = |level: u16| {
            let rounded = ROUNDED[usize::from(resource == Resource::Memory)].get(usize::from(level));
            rounded
                .filter(|_| margin == 1.0)
                .copied()
                .unwrap_or_else(|| rounded_both_ways(resource.amount(level) * margin))
        };
        for c in 0..self.grid.count {
            let level = self.grid.level(c);
            let reach = self.reach[c];
            let (need, size) =
                if reach == 0 { (level, level) } else { (reach.min(level), reach.saturating_add(more).min(level)) };
            needs[c] = sized(need).1;
            amounts[c] = sized(size).0.max(needs[c]);
        }
    }

    /// The curves of all views: expected slack (in units of mean use) and chance of being over, per candidate and hour; and
    /// which views know anything. The blur is one-sided and the sum of two exponentials: what restlessness explains, and, for a
    /// small share, jumps.
    pub fn curves(
        &self,
        amounts: &[f64; CANDIDATES],
        average: f64,
        (blur, (share, width)): (f64, (f64, f64)),
        (slack, over): (&mut [Curve; VIEWS], &mut [Curve; VIEWS]),
    ) -> [bool; VIEWS] {
        let fading = |blur: f64| if blur > 0.0 { (-f64::from(self.grid.stride) / blur).exp() } else { 0.0 };
        let (stay, jump) = (fading(blur), fading(width));
        let mut total = [0.0; VIEWS];
        for mass in &self.mass[..self.grid.count] {
            total.iter_mut().zip(mass).for_each(|(total, mass)| *total += mass);
        }
        let known = total.map(|it| it > 0.0);
        let scale = total.map(|it| if it > 0.0 { 1.0 / it } else { 0.0 });
        let [near, far, stay, jump, per_average] =
            [(1.0 - stay) * (1.0 - share), (1.0 - jump) * share, stay, jump, 1.0 / average].map(single);
        let (mut carried, mut jumped) = ([0.0; LANES], [0.0; LANES]);
        let (mut under, mut used) = ([0.0; LANES], [0.0; LANES]);
        for (c, (mass, amount)) in self.mass.iter().zip(amounts).enumerate().take(self.grid.count) {
            let amount = single(*amount) * per_average;
            let (mut free, mut beyond) = ([0.0_f32; LANES], [0.0_f32; LANES]);
            let mut part = [0.0; LANES];
            part.iter_mut().zip(mass).zip(scale).for_each(|((part, mass), scale)| *part = single(scale * mass));
            for v in 0..LANES {
                carried[v] = stay * carried[v] + part[v];
                jumped[v] = jump * jumped[v] + part[v];
                let here = near * carried[v] + far * jumped[v];
                under[v] += here;
                used[v] += here * amount;
                free[v] = amount * under[v] - used[v];
                beyond[v] = 1.0 - under[v];
            }
            for v in 0..VIEWS {
                slack[v][c] = free[v];
                over[v][c] = beyond[v].max(0.0);
            }
        }
        known
    }
}
