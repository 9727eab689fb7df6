//! The experts: ways to read the same past, and which of them has cost this container the least.
//!
//! Every way has a size in the mind: the one that would be in force if it alone had had its say. When an hour ends, each is
//! charged what its size would really have cost in that hour: slack, incidents, and the changes it made. The charges
//! fade, and the way with the least is listened to; another one has to be better by the price of a change and more before
//! it takes over, so that luck is not taken for wisdom.

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

/// Ways that are tried against each other, and how long it takes to believe that one of them is wiser.
#[derive(Debug)]
pub struct Trial<const N: usize> {
    /// The ways. The first is listened to while nothing speaks for another.
    pub ways: [Way; N],
    /// After an hour so much is left of a charge.
    fade: f32,
    /// What the two below are counted in: an hour of mean use, or incidents.
    in_incidents: bool,
    /// By how much another way must be better.
    better: f32,
    /// By how much more before it is listened to at all: the less it looks at, the more.
    prior: [f32; N],
}

/// Ways for CPU: the mixture, two that follow what was lately, one that asks for the hour of the day, one that asks for nothing
/// else, and one that takes all for alike. A charge halves in two days.
pub static CPU: Trial<CPU_WAYS> = Trial {
    ways: [
        Way { name: "balanced", weights: [4.0, 1.0, 0.3, 4.0], fear: 1.0 },
        Way { name: "recent", weights: [8.0, 1.0, 0.0, 0.0], fear: 1.0 },
        Way { name: "nimble", weights: [1.0, 0.0, 0.0, 0.0], fear: 0.4 },
        Way { name: "daily", weights: [1.0, 0.2, 0.0, 10.0], fear: 1.0 },
        Way { name: "clockwork", weights: [0.0, 0.0, 0.0, 1.0], fear: 1.0 },
        Way { name: "steady", weights: [0.0, 0.0, 1.0, 0.0], fear: 1.0 },
    ],
    fade: 0.985_66,
    in_incidents: false,
    better: 1.5,
    prior: [0.0, 1.5, 1.5, 1.5, 2.5, 1.5],
};

/// Ways for memory: the mixture, one that asks for the hour of the day, and the maximum of the last week. Kills are too rare for
/// what they cost to tell a wise way from a lucky one soon, so another has to be better by two kills, and a charge halves in a
/// week.
pub static MEMORY: Trial<MEMORY_WAYS> = Trial {
    ways: [
        Way { name: "balanced", weights: [8.0, 1.0, 0.3, 4.0], fear: 0.7 },
        Way { name: "daily", weights: [1.0, 0.2, 0.0, 10.0], fear: 0.7 },
        Way { name: "maximum", weights: [0.0, 0.0, 1.0, 0.0], fear: 1.05 },
    ],
    fade: 0.995_883,
    in_incidents: true,
    better: 1.0,
    prior: [0.0, 1.0, 1.0],
};

/// The way for CPU before a day is known: what was seen by then is a start for the most part, and its spikes do not come back.
pub static BEGINNER: Way = Way { name: "bold", weights: [4.0, 1.0, 0.3, 4.0], fear: 0.4 };

/// Ways there are for CPU.
pub const CPU_WAYS: usize = 6;

/// And for memory.
pub const MEMORY_WAYS: usize = 3;

/// Charges are kept in these parts of an hour.
pub const PARTS: f32 = 32.0;

/// The sizes in the mind and what they cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rehearsal<const N: usize> {
    /// Level of each way; 0 before the first rehearsal.
    pub sizes: [u16; N],
    /// Charged so far above the least, in so many parts of an hour of mean use: [`PARTS`].
    pub charges: [u16; N],
    /// The way that is listened to.
    pub leader: u8,
    /// What a sample over was taken to cost at the last rehearsal.
    pub price: f32,
    /// Rehearsed within the running hour.
    pub done: bool,
}

impl<const N: usize> Default for Rehearsal<N> {
    fn default() -> Self {
        Self { sizes: [0; N], charges: [0; N], leader: 0, price: 0.0, done: false }
    }
}

impl<const N: usize> Rehearsal<N> {
    /// Charges every way for the hour that just ended. `seen` are its levels and how often each was seen, by all pods, of which one
    /// alone had so many `samples`; of memory its peak, once.
    pub fn charge(
        &mut self,
        trial: &Trial<N>,
        resource: Resource,
        seen: impl Iterator<Item = (u16, u16)> + Clone,
        samples: u16,
        average: f64,
    ) {
        self.done = false;
        let total: f64 = seen.clone().map(|(_, weight)| f64::from(weight)).sum();
        if total == 0.0 || self.sizes[0] == 0 {
            return;
        }
        let price = f64::from(self.price) * (f64::from(samples) / total);
        for (size, charge) in self.sizes.iter().zip(&mut self.charges) {
            let amount = resource.amount(*size);
            let (mut slack, mut over) = (0.0, 0.0);
            for (level, weight) in seen.clone() {
                if level > *size {
                    over += f64::from(weight);
                } else {
                    slack += f64::from(weight) * (amount - resource.amount(level));
                }
            }
            #[expect(clippy::cast_possible_truncation, reason = "a charge: its further digits are noise")]
            let cost = (slack / total / average + price * over) as f32;
            *charge = parts(f32::from(*charge) * trial.fade / PARTS + cost);
        }
        self.choose(trial);
    }

    /// Moves the sizes in the mind: `plan` says where to, from where a way stands.
    pub fn rehearse(
        &mut self,
        trial: &'static Trial<N>,
        (price, resize): (f64, f64),
        mut plan: impl FnMut(&'static Way, Option<u16>) -> u16,
    ) {
        for (way, (size, charge)) in trial.ways.iter().zip(self.sizes.iter_mut().zip(&mut self.charges)) {
            let known = (*size > 0).then_some(*size);
            let to = plan(way, known);
            #[expect(clippy::cast_possible_truncation, reason = "a price")]
            if known.is_some_and(|it| it != to) {
                *charge = charge.saturating_add(parts(resize as f32));
            }
            *size = to.max(1);
        }
        self.price = rounded(price);
        self.done = true;
        self.choose(trial);
    }

    /// Adds what the same ways cost elsewhere.
    pub fn merge(&mut self, trial: &Trial<N>, other: &Self) {
        for (mine, theirs) in self.charges.iter_mut().zip(other.charges) {
            *mine = mine.saturating_add(theirs);
        }
        for (mine, theirs) in self.sizes.iter_mut().zip(other.sizes) {
            *mine = (*mine).max(theirs);
        }
        self.price = self.price.max(other.price);
        self.done &= other.done;
        self.choose(trial);
    }

    /// The way that is listened to.
    pub fn way(&self, trial: &'static Trial<N>) -> &'static Way {
        &trial.ways[self.leader()]
    }

    fn leader(&self) -> usize {
        usize::from(self.leader).min(N - 1)
    }

    fn choose(&mut self, trial: &Trial<N>) {
        let least = self.charges.iter().copied().min().unwrap_or(0);
        self.charges.iter_mut().for_each(|it| *it -= least);
        let unit = if trial.in_incidents { self.price } else { 1.0 };
        let heard = self.leader();
        // Who is heard has shown it: a change that is charged at once, and pays later, is no reason to be heard no more.
        let prior = |way: usize| if way == heard { 0.0 } else { trial.prior[way] * unit };
        let stand = |way: usize| f32::from(self.charges[way]) / PARTS + prior(way);
        let best = (0..N).min_by(|a, b| stand(*a).total_cmp(&stand(*b))).unwrap_or(0);
        if stand(best) + trial.better * unit < stand(self.leader()) {
            self.leader = u8::try_from(best).unwrap_or(0);
        }
    }
}

/// A price as it is kept: to eight digits of two, which is nearer than anybody can name one, and no more than there are numbers for.
#[expect(clippy::cast_possible_truncation, reason = "a price")]
pub fn rounded(price: f64) -> f32 {
    f32::from_bits((price as f32).min(f32::MAX).to_bits() & !0xffff)
}

/// Hours in parts, as they are kept.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is what is wanted")]
fn parts(hours: f32) -> u16 {
    (hours * PARTS).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours after which the second way of a trial is listened to, where each of its hours costs so much less.
    fn hours_until_heard<const N: usize>(trial: &'static Trial<N>, resource: Resource, saved: f64) -> Option<usize> {
        let mut ways = Rehearsal::default();
        let high = resource.level(resource.unit() * 100.0 * (1.0 + saved));
        let low = resource.level(resource.unit() * 100.0);
        (0..1000).find(|_| {
            ways.rehearse(trial, (24.0, 1.0), |way, _| if *way == trial.ways[1] { low } else { high });
            ways.charge(trial, resource, [(low, 1)].into_iter(), 1, resource.unit() * 100.0);
            ways.way(trial) == &trial.ways[1]
        })
    }

    #[test]
    fn another_way_is_heard_when_it_was_better_for_long_enough() {
        // Three hours of mean use at half an hour of it an hour, as far as charges fade; of memory two kills.
        assert_eq!(hours_until_heard(&CPU, Resource::Cpu, 0.5), Some(6));
        assert_eq!(hours_until_heard(&CPU, Resource::Cpu, 0.03), None, "what is saved fades as fast as it comes");
        let memory = hours_until_heard(&MEMORY, Resource::Memory, 0.5);
        assert!(memory.is_some_and(|it| (96..140).contains(&it)), "48 hours at half an hour an hour: {memory:?}");
    }

    #[test]
    fn one_kill_is_luck() {
        let mut ways = Rehearsal::default();
        let (low, high) = (100, 200);
        ways.rehearse(&MEMORY, (24.0, 1.0), |way, _| if *way == MEMORY.ways[1] { high } else { low });
        ways.charge(&MEMORY, Resource::Memory, [(150, 1)].into_iter(), 1, Resource::Memory.amount(100));
        assert_eq!(ways.way(&MEMORY), &MEMORY.ways[0]);
        for _ in 0..2 {
            ways.charge(&MEMORY, Resource::Memory, [(150, 1)].into_iter(), 1, Resource::Memory.amount(100));
        }
        assert_eq!(ways.way(&MEMORY), &MEMORY.ways[1], "three are not");
    }
}
