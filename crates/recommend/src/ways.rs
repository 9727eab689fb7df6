//! The experts: ways to read the same past, and which of them has cost this container the least.
//!
//! Every way has a size in the mind: the one that would be in force if it alone had had its say. When an hour ends, each is
//! charged what its size would really have cost in that hour: slack, incidents, and the changes it made. The charges
//! fade, and the way with the least is listened to; another one has to be better by the price of a change and more before
//! it takes over, so that luck is not taken for wisdom.

use crate::digest::Digest;
use crate::resource::Resource;

/// One way to read the past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// For people.
    pub name: &'static str,
    /// Weights of the views: last hours, last day, everything, same hour of earlier days.
    pub weights: [f32; 4],
    /// What an incident is taken to cost, in parts of what it costs: fear and boldness.
    pub fear: f64,
}

/// Ways for CPU. The first is listened to while nothing speaks for another.
pub const CPU: [Way; WAYS] = [
    Way { name: "balanced", weights: [4.0, 1.0, 0.3, 4.0], fear: 1.0 },
    Way { name: "bold", weights: [4.0, 1.0, 0.3, 4.0], fear: 0.4 },
    Way { name: "careful", weights: [4.0, 1.0, 0.3, 4.0], fear: 2.0 },
    Way { name: "daily", weights: [1.0, 0.2, 0.0, 10.0], fear: 1.0 },
    Way { name: "steady", weights: [0.0, 0.0, 1.0, 0.0], fear: 1.0 },
];

/// The way for memory. Kills are too rare for what they cost to tell a wise way from a lucky one.
pub const MEMORY: Way = Way { name: "balanced", weights: [8.0, 1.0, 0.3, 4.0], fear: 0.7 };

/// Ways there are.
pub const WAYS: usize = 5;

/// The way for beginners, and for how many hours.
const BOLD: usize = 1;
const KNOWN: u16 = 24;

/// After an hour so much is left of a charge: half after two days.
const FADE: f32 = 0.985_66;

/// By how much another way must be better, in hours of mean use.
const BETTER: f32 = 1.5;

/// By how much a way other than the first must be better before it is listened to at all.
const PRIOR: f32 = 1.5;

/// Charges are kept in these parts of an hour.
pub const PARTS: f32 = 32.0;

/// The sizes in the mind and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rehearsal {
    /// Level of each way; 0 before the first rehearsal.
    pub sizes: [u16; WAYS],
    /// Charged so far above the least, in so many parts of an hour of mean use: [`PARTS`].
    pub charges: [u16; WAYS],
    /// The way that is listened to.
    pub leader: u8,
    /// What a sample over was taken to cost at the last rehearsal.
    pub price: f32,
    /// Rehearsed within the running hour.
    pub done: bool,
}

impl Rehearsal {
    /// Charges every way for the hour that just ended. `seen` are its samples.
    pub fn charge<const N: usize>(&mut self, resource: Resource, seen: &Digest<N>, average: f64) {
        self.done = false;
        let total = f64::from(seen.total());
        if total == 0.0 || self.sizes[0] == 0 {
            return;
        }
        for (size, charge) in self.sizes.iter().zip(&mut self.charges) {
            let amount = resource.amount(*size);
            let (mut slack, mut over) = (0.0, 0.0);
            for (level, weight) in seen.entries() {
                if level > *size {
                    over += f64::from(weight);
                } else {
                    slack += f64::from(weight) * (amount - resource.amount(level));
                }
            }
            #[expect(clippy::cast_possible_truncation, reason = "a charge: its further digits are noise")]
            let cost = (slack / total / average + f64::from(self.price) * over) as f32;
            *charge = parts(f32::from(*charge) * FADE / PARTS + cost);
        }
        self.choose();
    }

    /// Moves the sizes in the mind: `plan` says where to, from where a way stands.
    pub fn rehearse(&mut self, price: f64, resize: f64, mut plan: impl FnMut(&Way, Option<u16>) -> u16) {
        for (way, (size, charge)) in CPU.iter().zip(self.sizes.iter_mut().zip(&mut self.charges)) {
            let known = (*size > 0).then_some(*size);
            let to = plan(way, known);
            #[expect(clippy::cast_possible_truncation, reason = "a price")]
            if known.is_some_and(|it| it != to) {
                *charge = charge.saturating_add(parts(resize as f32));
            }
            *size = to.max(1);
        }
        #[expect(clippy::cast_possible_truncation, reason = "a price")]
        {
            self.price = price as f32;
        }
        self.done = true;
        self.choose();
    }

    /// Adds what the same ways cost elsewhere.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.charges.iter_mut().zip(other.charges) {
            *mine = mine.saturating_add(theirs);
        }
        for (mine, theirs) in self.sizes.iter_mut().zip(other.sizes) {
            *mine = (*mine).max(theirs);
        }
        self.price = self.price.max(other.price);
        self.done &= other.done;
        self.choose();
    }

    /// The way that is listened to, where so many hours are known.
    ///
    /// Not before a day is known: what was seen by then is a start for the most part, and its spikes do not come back. So
    /// the bold one speaks first.
    pub fn way(&self, hours: u16) -> &'static Way {
        if hours < KNOWN { &CPU[BOLD] } else { &CPU[usize::from(self.leader).min(WAYS - 1)] }
    }

    fn choose(&mut self) {
        let least = self.charges.iter().copied().min().unwrap_or(0);
        self.charges.iter_mut().for_each(|it| *it -= least);
        let stand = |way: usize| f32::from(self.charges[way]) / PARTS + if way == 0 { 0.0 } else { PRIOR };
        let best = (0..WAYS).min_by(|a, b| stand(*a).total_cmp(&stand(*b))).unwrap_or(0);
        if stand(best) + BETTER < stand(usize::from(self.leader).min(WAYS - 1)) {
            self.leader = u8::try_from(best).unwrap_or(0);
        }
    }
}

/// Hours in parts, as they are kept.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is what is wanted")]
fn parts(hours: f32) -> u16 {
    (hours * PARTS).round() as u16
}
