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

/// Where a doubling has so many parts, the steps that bring a part's amounts to their level; [`UNTOLD`] where a level ends within.
static STEPS_BY_DIGITS: LazyLock<[u8; 1 << DIGITS]> = LazyLock::new(|| {
    let mut part = 1023 << DIGITS; // one, and then on
    [(); 1 << DIGITS].map(|()| {
        let first = f64::from_bits(part << (52 - DIGITS));
        part += 1;
        let last = f64::from_bits((part << (52 - DIGITS)) - 1);
        let steps = by_logarithm(first);
        if steps == by_logarithm(last) { u8::try_from(steps).unwrap_or(UNTOLD) } else { UNTOLD }
    })
});

/// Digits of a number, after the first, that are looked at in [`STEPS_BY_DIGITS`].
const DIGITS: u64 = 11;

/// See [`STEPS_BY_DIGITS`].
const UNTOLD: u8 = u8::MAX;

/// The level of an amount in units.
fn by_logarithm(units: f64) -> u16 {
    // The hair under a whole step keeps `level(amount(x)) == x` in spite of rounding.
    let steps = units.log2() * STEPS - 1e-9;
    // `as` saturates: NaN and what lies under the unit become 0. Rounded up by hand, for this is done for every sample.
    #[expect(clippy::cast_possible_truncation, reason = "saturating is what is wanted here")]
    let below = steps as i32;
    let level = below.saturating_add(i32::from(f64::from(below) < steps)).clamp(0, i32::from(TOP));
    u16::try_from(level).unwrap_or(TOP)
}

/// The same without a logarithm, where the first digits tell.
fn by_digits(units: f64) -> Option<u16> {
    let digits = (units.to_bits() >> (52 - DIGITS)).checked_sub(1023 << DIGITS)?;
    let doublings = u16::try_from(digits >> DIGITS).ok().filter(|it| *it < 20)?;
    let steps = STEPS_BY_DIGITS[usize::try_from(digits).unwrap_or(0) & ((1 << DIGITS) - 1)];
    (steps != UNTOLD).then(|| doublings * 102 + u16::from(steps))
}

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
        let units = amount / self.unit();
        by_digits(units).unwrap_or_else(|| by_logarithm(units))
    }

    /// An amount, not less than nothing and no more than the highest level stands for: beyond it nothing is told apart, so nothing is
    /// made of it either.
    pub fn within(self, amount: f64) -> f64 {
        amount.clamp(0.0, self.amount(TOP))
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
    fn digits_tell_what_the_logarithm_does() {
        let mut told = 0;
        // Levels rise with amounts, so the ends of every part tell of all within.
        for part in 1023_u64 << DIGITS..1044 << DIGITS {
            let ends = [part << (52 - DIGITS), ((part + 1) << (52 - DIGITS)) - 1].map(f64::from_bits);
            for units in ends {
                let level = by_digits(units);
                assert!(level.is_none_or(|it| it == by_logarithm(units)), "{units}: {level:?}");
                told += u32::from(level.is_some());
            }
        }
        assert!(told > 20 * 2 * 1900, "{told}");
        for units in [0.0, -0.0, -5.0, 0.999, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(by_digits(units), None, "{units}");
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
