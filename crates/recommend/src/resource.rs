//! The two resources and the one logarithmic scale on which both are remembered.
//!
//! A level is eleven bits: 2047 steps of 0.68 % from the smallest size worth naming (one thousandth of a core, one
//! mebibyte) to a little over a thousand cores and a tebibyte. Eleven bits, because the whole memory of a container has
//! to fit in a few hundred bytes, and 0.68 %, because a steady heap deserves a margin of two per cent, which a
//! five per cent bucket would swallow.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// What is sized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Processor time. Amounts are thousandths of a core.
    Cpu,
    /// Working set. Amounts are bytes.
    Memory,
}

/// Steps to a doubling.
const STEPS: f64 = 102.0;

/// The highest level there is. One less than eleven bits hold: the last says that nothing is known.
pub const TOP: u16 = 2046;

/// By how much each level is more than the lowest: a plan asks for hundreds of them.
static FACTORS: LazyLock<[f64; TOP as usize + 1]> = LazyLock::new(|| {
    let mut level = 0.0;
    [(); TOP as usize + 1].map(|()| {
        let factor = step_factor(level);
        level += 1.0;
        factor
    })
});

impl Resource {
    /// Both, in the order in which they are printed.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Memory];

    /// The amount of level 0: one thousandth of a core, one mebibyte.
    pub const fn unit(self) -> f64 {
        match self {
            Self::Cpu => 1.0,
            Self::Memory => 1_048_576.0,
        }
    }

    /// The lowest level whose amount is at least `amount` (rounded up: a size is never less than the use it stands for).
    pub fn level(self, amount: f64) -> u16 {
        // The hair under a whole step keeps `level(amount(x)) == x` in spite of rounding.
        let steps = (amount / self.unit()).log2() * STEPS - 1e-9;
        // `as` saturates: NaN and what lies under the unit become 0. Rounded up by hand, for this is done for every sample.
        #[expect(clippy::cast_possible_truncation, reason = "saturating is what is wanted here")]
        let below = steps as i32;
        let level = below.saturating_add(i32::from(f64::from(below) < steps)).clamp(0, i32::from(TOP));
        u16::try_from(level).unwrap_or(TOP)
    }

    /// The amount of a level.
    pub fn amount(self, level: u16) -> f64 {
        let factor = FACTORS.get(usize::from(level)).copied();
        self.unit() * factor.unwrap_or_else(|| step_factor(f64::from(level)))
    }
}

/// By how much an amount grows over so many steps.
pub fn step_factor(steps: f64) -> f64 {
    (steps / STEPS).exp2()
}

/// How many steps lie between an amount and `factor` times it.
pub fn steps_of(factor: f64) -> f64 {
    factor.log2() * STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_its_own_amount() {
        for resource in Resource::ALL {
            for level in 0..=TOP {
                assert_eq!(resource.level(resource.amount(level)), level, "{resource:?} {level}");
            }
        }
    }

    #[test]
    fn amounts_are_rounded_up_by_less_than_a_step() {
        for amount in [1.0, 1.001, 7.0, 100.0, 101.0, 999_000.0] {
            let up = Resource::Cpu.amount(Resource::Cpu.level(amount));
            assert!(up >= amount * 0.999_999 && up <= amount * 1.0069, "{amount} became {up}");
        }
    }

    #[test]
    fn nonsense_is_the_bottom_or_the_top() {
        for amount in [f64::NAN, -1.0, 0.0, f64::NEG_INFINITY, 0.5] {
            assert_eq!(Resource::Cpu.level(amount), 0, "{amount}");
        }
        assert_eq!(Resource::Memory.level(f64::INFINITY), TOP);
    }
}
