//! The atoms of a past, sorted into the candidate sizes of a plan: view by view, side by side.
//!
//! A view of the past is a set of atoms (level, mass). All views are held side by side per candidate, so that one walk over the
//! candidates makes the curves of all of them, and one walk over the past fills all of them.
//!
//! Vectors are named and not left to the compiler: a program that is linked as one whole is made as fast as its smallest part is
//! made small, and then no loop becomes a vector by itself.

use std::sync::LazyLock;

use wide::{f32x4, f64x4};

use crate::resource::{Resource, TOP};
use crate::sample::{amount, whole};

/// Candidate sizes at most.
pub const CANDIDATES: usize = 96;

/// The hours ahead, in stretches within which nothing is changed: 18 hours.
pub const STRETCHES: [usize; 7] = [1, 1, 2, 2, 3, 3, 6];

/// Views of a past: the last hours, the last day, everything, and for every stretch the same hours of earlier days.
pub const VIEWS: usize = SAME + STRETCHES.len();

/// Vectors of four that hold them all.
const ROW: usize = VIEWS.div_ceil(4);

/// What every view holds of something.
pub type Row = [f64x4; ROW];

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

/// Per candidate, four side by side.
pub type Curve = [f32x4; CANDIDATES / 4];

/// The slack of a candidate that is none and only stands where four have to: no plan takes it.
const FAR: f32 = 1e30;

/// A row of what is told view by view.
pub fn row(views: &[f64; VIEWS]) -> Row {
    let mut row = [f64x4::ZERO; ROW];
    for (view, value) in views.iter().enumerate() {
        row[view / 4].as_mut_array()[view % 4] = *value;
    }
    row
}

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
    mass: [Row; CANDIDATES],
    /// The highest level that was sorted into each.
    reach: [u16; CANDIDATES],
    /// Whether any was.
    held: [bool; CANDIDATES],
}

impl Atoms {
    /// None yet.
    pub const fn new(grid: Grid) -> Self {
        Self { grid, mass: [[f64x4::ZERO; ROW]; CANDIDATES], reach: [0; CANDIDATES], held: [false; CANDIDATES] }
    }

    /// An atom of one view.
    pub fn put(&mut self, view: usize, level: u16, mass: f64) {
        self.place(level)[view / 4].as_mut_array()[view % 4] += mass;
    }

    /// An atom of every view, of a mass of its own in each.
    pub fn put_all(&mut self, level: u16, masses: &Row) {
        self.place(level).iter_mut().zip(masses).for_each(|(to, mass)| *to += *mass);
    }

    /// Multiplies what the views from `view` on hold so far.
    pub fn scale_from(&mut self, view: usize, factor: f64) {
        let factors = row(&std::array::from_fn(|it| if it < view { 1.0 } else { factor }));
        for (mass, _) in self.mass.iter_mut().zip(self.held).filter(|it| it.1) {
            mass.iter_mut().zip(factors).for_each(|(it, factor)| *it *= factor);
        }
    }

    /// The candidate into whose stretch a level is sorted, for [`Atoms::add`].
    pub fn candidate(&mut self, level: u16) -> usize {
        let c = self.grid.candidate(level);
        self.reach[c] = self.reach[c].max(level);
        self.held[c] = true;
        c
    }

    /// An atom of one view that was sorted in before.
    pub fn add(&mut self, view: usize, candidate: usize, mass: f64) {
        self.mass[candidate][view / 4].as_mut_array()[view % 4] += mass;
    }

    fn place(&mut self, level: u16) -> &mut Row {
        let c = self.candidate(level);
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
        let rounded = &ROUNDED[usize::from(resource == Resource::Memory)];
        let sized = |level: u16| {
            let rounded = rounded.get(usize::from(level)).filter(|_| margin == 1.0).copied();
            rounded.unwrap_or_else(|| rounded_both_ways(resource.amount(level) * margin))
        };
        for c in 0..self.grid.count {
            let level = self.grid.level(c);
            let reach = self.reach[c];
            if reach == 0 {
                let (down, up) = sized(level);
                (needs[c], amounts[c]) = (up, down.max(up));
            } else {
                needs[c] = sized(reach.min(level)).1;
                amounts[c] = sized(reach.saturating_add(more).min(level)).0.max(needs[c]);
            }
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
        let count = self.grid.count;
        let mut total = [f64x4::ZERO; ROW];
        for (mass, _) in self.mass[..count].iter().zip(self.held).filter(|it| it.1) {
            total.iter_mut().zip(mass).for_each(|(total, mass)| *total += *mass);
        }
        let total = |view: usize| total[view / 4].as_array()[view % 4];
        let known = std::array::from_fn(|view| total(view) > 0.0);
        let scale = row(&std::array::from_fn(|view| if known[view] { 1.0 / total(view) } else { 0.0 }));
        let [near, far, stay, jump] =
            [(1.0 - stay) * (1.0 - share), (1.0 - jump) * share, stay, jump].map(|it| f32x4::splat(single(it)));
        let per_average = single(1.0 / average);
        let sizes = amounts.map(|it| single(it) * per_average);
        let ((mass, _), (held, _), (sizes, _)) =
            (self.mass.as_chunks::<4>(), self.held.as_chunks::<4>(), sizes.as_chunks::<4>());
        let groups = count.div_ceil(4);
        for (v, scale) in scale.into_iter().enumerate() {
            let views = 4 * v..VIEWS.min(4 * v + 4);
            if !known[views.clone()].contains(&true) {
                continue; // nobody asks for them
            }
            let (mut carried, mut jumped) = (f32x4::ZERO, f32x4::ZERO);
            let (mut under, mut used) = (f32x4::ZERO, f32x4::ZERO);
            for (group, ((mass, held), sizes)) in mass.iter().zip(held).zip(sizes).take(groups).enumerate() {
                let mut next = |at: usize| {
                    (carried, jumped) = (stay * carried, jump * jumped);
                    if held[at] {
                        let part = f32x4::new((scale * mass[at][v]).to_array().map(single));
                        (carried, jumped) = (carried + part, jumped + part);
                    }
                    let here = near * carried + far * jumped;
                    let size = f32x4::splat(sizes[at]);
                    under += here;
                    used += here * size;
                    (size * under - used, (f32x4::ONE - under).fast_max(f32x4::ZERO))
                };
                let four = [next(0), next(1), next(2), next(3)];
                // From candidates with their views to views with their candidates.
                let (free, beyond) = (f32x4::transpose(four.map(|it| it.0)), f32x4::transpose(four.map(|it| it.1)));
                for (at, view) in views.clone().enumerate() {
                    slack[view][group] = free[at];
                    over[view][group] = beyond[at];
                }
            }
        }
        // What stands behind the last candidate only because four stand together is no candidate.
        for curve in slack.iter_mut() {
            (count..4 * groups).for_each(|c| curve[c / 4].as_mut_array()[c % 4] = FAR);
        }
        known
    }
}
