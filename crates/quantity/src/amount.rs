//! The number inside a quantity: a decimal of any size, held in 64 bits where it fits.

use std::cmp::Ordering;

use num_bigint::{BigInt, Sign};

/// Powers of ten that fit an `i64`.
const POW10: [i64; 19] = {
    let mut table = [1i64; 19];
    let mut i = 1;
    while i < 19 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// `10^exponent`, exactly.
pub(crate) fn pow10(exponent: u32) -> BigInt {
    BigInt::from(10u8).pow(exponent)
}

/// An exact decimal. Which of the two forms a value has is observable (a `Small` beyond 64 bits reads as 0, a `Big` one
/// wraps), so no operation normalises one into the other.
#[derive(Clone, Debug)]
pub(crate) enum Amount {
    /// `value × 10^exponent`, what all usual quantities are.
    Small { value: i64, exponent: i32 },
    /// `value × 10^exponent`; boxed, so that the usual quantity stays small.
    Big(Box<Big>),
}

/// A decimal of any size.
#[derive(Clone, Debug)]
pub(crate) struct Big {
    pub(crate) value: BigInt,
    pub(crate) exponent: i32,
}

impl Amount {
    pub(crate) const ZERO: Self = Self::Small { value: 0, exponent: 0 };

    /// -1, 0 or 1.
    pub(crate) fn sign(&self) -> i32 {
        match self {
            Self::Small { value, .. } => match value.cmp(&0) {
                Ordering::Less => -1,
                Ordering::Equal => 0,
                Ordering::Greater => 1,
            },
            Self::Big(big) => match big.value.sign() {
                Sign::Minus => -1,
                Sign::NoSign => 0,
                Sign::Plus => 1,
            },
        }
    }

    pub(crate) fn to_big(&self) -> Big {
        match self {
            Self::Small { value, exponent } => Big { value: BigInt::from(*value), exponent: *exponent },
            Self::Big(big) => (**big).clone(),
        }
    }

    pub(crate) fn negated(&self) -> Self {
        match self {
            Self::Small { value, exponent } => match value.checked_neg() {
                Some(value) => Self::Small { value, exponent: *exponent },
                None => Self::Big(Box::new(self.to_big().negated())),
            },
            Self::Big(big) => Self::Big(Box::new((**big).clone().negated())),
        }
    }

    /// The sum, in 64 bits while it fits and exact beyond.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        if let (Self::Small { value: a, exponent: ea }, Self::Small { value: b, exponent: eb }) = (self, other) {
            if *b == 0 {
                return self.clone();
            }
            if *a == 0 {
                return other.clone();
            }
            let exponent = *ea.min(eb);
            if let (Some(a), Some(b)) = (scale_up(*a, *ea, exponent), scale_up(*b, *eb, exponent))
                && let Some(value) = a.checked_add(b)
            {
                return Self::Small { value, exponent };
            }
        }
        let (a, b) = (self.to_big(), other.to_big());
        let exponent = a.exponent.min(b.exponent);
        Self::Big(Box::new(Big { value: a.at_exponent(exponent) + b.at_exponent(exponent), exponent }))
    }

    /// Order by value.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Small { value: a, exponent: ea }, Self::Small { value: b, exponent: eb }) => {
                compare_small(*a, *ea, *b, *eb)
            }
            _ => self.to_big().compare(&other.to_big()),
        }
    }

    /// The value in units of `10^unit`, rounded away from zero, as the reference's 64-bit views give it: a `Small`
    /// that does not fit wraps or is 0 (see [`scale_up_recorded`]), a `Big` one is its low 64 bits.
    pub(crate) fn recorded_view(&self, unit: i32) -> i64 {
        match self {
            Self::Small { value, exponent } if *exponent < unit => scale_down(*value, *exponent, unit).0,
            Self::Small { value, exponent } => scale_up_recorded(*value, *exponent, unit),
            Self::Big(big) => big.recorded_view(unit),
        }
    }

    /// The value in units of `10^unit`, rounded up, clamped to 64 bits.
    pub(crate) fn ceiling(&self, unit: i32) -> i64 {
        let saturated = if self.sign() < 0 { i64::MIN } else { i64::MAX };
        match self {
            Self::Small { value, exponent } if *exponent < unit => {
                let (away, exact) = scale_down(*value, *exponent, unit);
                // `scale_down` rounds away from zero; up is towards zero for a negative value.
                if *value < 0 && !exact { away + 1 } else { away }
            }
            Self::Small { value, exponent } => scale_up(*value, *exponent, unit).unwrap_or(saturated),
            Self::Big(big) => i64::try_from(&big.rounded_up(unit)).unwrap_or(saturated),
        }
    }

    /// The value in billionths, rounded up, clamped to 128 bits.
    pub(crate) fn billionths(&self) -> i128 {
        let saturated = if self.sign() < 0 { i128::MIN } else { i128::MAX };
        i128::try_from(&self.to_big().rounded_up(-9)).unwrap_or(saturated)
    }

    /// Rounded away from zero to a multiple of `10^unit`; whether nothing was lost.
    pub(crate) fn round_away(&self, unit: i32) -> (Self, bool) {
        match self {
            Self::Small { exponent, .. } if *exponent >= unit => (self.clone(), true),
            Self::Small { value, exponent } => {
                let (value, exact) = scale_down(*value, *exponent, unit);
                (Self::Small { value, exponent: unit }, exact)
            }
            Self::Big(big) => {
                let (value, exact) = big.rounded_away(unit);
                (Self::Big(Box::new(Big { value, exponent: unit })), exact)
            }
        }
    }
}

impl Big {
    fn negated(self) -> Self {
        Self { value: -self.value, exponent: self.exponent }
    }

    /// The integer that stands before `10^exponent` when the value is written so; `exponent` is not above `self.exponent`.
    fn at_exponent(&self, exponent: i32) -> BigInt {
        match u32::try_from(i64::from(self.exponent) - i64::from(exponent)) {
            Ok(0) | Err(_) => self.value.clone(),
            Ok(shift) => &self.value * pow10(shift),
        }
    }

    /// The value in units of `10^unit`, rounded away from zero; whether nothing was lost.
    pub(crate) fn rounded_away(&self, unit: i32) -> (BigInt, bool) {
        let Ok(shift @ 1..) = u32::try_from(i64::from(unit) - i64::from(self.exponent)) else {
            return (self.at_exponent(unit), true);
        };
        let divisor = pow10(shift);
        let (quotient, remainder) = (&self.value / &divisor, &self.value % &divisor);
        match remainder.sign() {
            Sign::NoSign => (quotient, true),
            Sign::Plus => (quotient + 1, false),
            Sign::Minus => (quotient - 1, false),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let (a, b) = (self.value.sign(), other.value.sign());
        if a != b || a == Sign::NoSign {
            return a.cmp(&b);
        }
        // Exponents are bounded by the parser, so bringing both to one exponent is bounded work.
        let exponent = self.exponent.min(other.exponent);
        self.at_exponent(exponent).cmp(&other.at_exponent(exponent))
    }

    /// The reference computes a quotient in 64 bits whenever the unscaled number is *below* the largest `i64`, which
    /// every negative number is, however long: it then takes the low 64 bits first. Recorded, so reproduced.
    fn recorded_view(&self, unit: i32) -> i64 {
        let Ok(shift @ 1..) = usize::try_from(i64::from(unit) - i64::from(self.exponent)) else {
            return low_64_bits(&self.at_exponent(unit));
        };
        if shift < POW10.len() && self.value < BigInt::from(i64::MAX) {
            let (unscaled, divisor) = (low_64_bits(&self.value), POW10[shift]);
            let rounding = i64::from(unscaled % divisor != 0);
            return unscaled / divisor + rounding;
        }
        low_64_bits(&self.rounded_up(unit))
    }

    /// The value in units of `10^unit`, rounded up.
    fn rounded_up(&self, unit: i32) -> BigInt {
        let (away, exact) = self.rounded_away(unit);
        if !exact && self.value.sign() == Sign::Minus { away + 1 } else { away }
    }
}

/// `value × 10^from` in units of `10^to` (`to` ≤ `from`), if that fits.
pub(crate) fn scale_up(value: i64, from: i32, to: i32) -> Option<i64> {
    if value == 0 {
        return Some(0);
    }
    let shift = usize::try_from(i64::from(from) - i64::from(to)).ok()?;
    value.checked_mul(*POW10.get(shift)?)
}

/// As [`scale_up`], with what the reference returns where it does not fit: the wrapped product for the powers it has
/// a shortcut for, 0 for the others.
fn scale_up_recorded(value: i64, from: i32, to: i32) -> i64 {
    match i64::from(from) - i64::from(to) {
        shift @ (1 | 2 | 3 | 6 | 9) if value != i64::MIN => {
            usize::try_from(shift).map_or(0, |shift| value.wrapping_mul(POW10[shift]))
        }
        _ => scale_up(value, from, to).unwrap_or(0),
    }
}

/// `value × 10^from` in units of `10^to` (`to` > `from`), rounded away from zero; whether nothing was lost.
fn scale_down(value: i64, from: i32, to: i32) -> (i64, bool) {
    let shift = usize::try_from(i64::from(to) - i64::from(from)).unwrap_or(0);
    let Some(divisor) = POW10.get(shift) else {
        return (value.signum(), value == 0);
    };
    match value % divisor {
        0 => (value / divisor, true),
        _ => (value / divisor + value.signum(), false),
    }
}

fn compare_small(a: i64, ea: i32, b: i64, eb: i32) -> Ordering {
    if ea == eb || a == 0 || b == 0 || (a < 0) != (b < 0) {
        return match (ea == eb, a.signum().cmp(&b.signum())) {
            (true, _) => a.cmp(&b),
            (false, by_sign) => by_sign,
        };
    }
    // Same sign, neither zero. The position of the leading digit decides unless it is the same, and then the exponents
    // differ by at most 18, so that a shifted value has at most 19 + 18 digits and fits an i128.
    let leading = |value: i64, exponent: i32| i64::from(value.unsigned_abs().ilog10()) + i64::from(exponent);
    let magnitude = leading(a, ea).cmp(&leading(b, eb)).then_with(|| {
        let exponent = ea.min(eb);
        let shifted = |value: i64, from: i32| {
            let shift = usize::try_from(i64::from(from) - i64::from(exponent)).unwrap_or(0);
            i128::from(value.unsigned_abs()) * i128::from(POW10.get(shift).copied().unwrap_or(1))
        };
        shifted(a, ea).cmp(&shifted(b, eb))
    });
    if a < 0 { magnitude.reverse() } else { magnitude }
}

/// The low 64 bits in two's complement, as a conversion to a fixed-size integer keeps them.
fn low_64_bits(value: &BigInt) -> i64 {
    let magnitude = value.iter_u64_digits().next().unwrap_or(0);
    let bits = if value.sign() == Sign::Minus { magnitude.wrapping_neg() } else { magnitude };
    bits.cast_signed()
}
