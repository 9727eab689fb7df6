//! The type itself: what a quantity is, its order, sums and 64-bit views.

use std::cmp::Ordering;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use crate::amount::Amount;

/// How a quantity was written, and so how it prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `12e6`.
    DecimalExponent,
    /// `12Mi`: powers of 1024.
    BinarySI,
    /// `12M`, `12`, `12m`: powers of 1000.
    #[default]
    DecimalSI,
}

/// An exact amount of a resource, as Kubernetes writes them: `100m`, `1.5Gi`, `2e3`.
///
/// Equality and order are by value (`1000m` equals `1`, `1Gi` equals `1024Mi`); printing keeps the [`Format`].
#[derive(Clone, Debug)]
pub struct Quantity {
    pub(crate) amount: Amount,
    pub(crate) format: Format,
    /// The text it was parsed from, only where the reference would print that and it is not the canonical one
    /// (`+1`, `5.`, `1.500`, `1E3`). Dropped by every change.
    pub(crate) text: Option<Box<str>>,
}

impl Quantity {
    /// Zero, in decimal.
    pub const ZERO: Self = Self { amount: Amount::ZERO, format: Format::DecimalSI, text: None };

    /// `value` whole units, printed in decimal (`2000` as `2k`).
    #[must_use]
    pub const fn units(value: i64) -> Self {
        Self { amount: Amount::Small { value, exponent: 0 }, format: Format::DecimalSI, text: None }
    }

    /// `value` whole units, printed in powers of 1024 where that is exact (`2048` as `2Ki`).
    #[must_use]
    pub const fn binary(value: i64) -> Self {
        Self { amount: Amount::Small { value, exponent: 0 }, format: Format::BinarySI, text: None }
    }

    /// `value` thousandths (`250` as `250m`).
    #[must_use]
    pub const fn milli_units(value: i64) -> Self {
        Self { amount: Amount::Small { value, exponent: -3 }, format: Format::DecimalSI, text: None }
    }

    /// How it was written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Whole units as the reference's 64-bit view has them: rounded away from zero; beyond 64 bits 0 or the low 64
    /// bits, depending on how it was written. For decisions about sizes use [`Bytes`](crate::Bytes), which saturates.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.amount.recorded_view(0)
    }

    /// Thousandths as the reference's 64-bit view has them; see [`value`](Self::value). For decisions use
    /// [`MilliCpu`](crate::MilliCpu).
    #[must_use]
    pub fn milli(&self) -> i64 {
        self.amount.recorded_view(-3)
    }

    /// Billionths, rounded up, clamped to 128 bits: as fine as a quantity can be written, for numbers that are no sizes.
    #[must_use]
    pub fn billionths(&self) -> i128 {
        self.amount.billionths()
    }

    /// In units of `10^unit`, rounded up, clamped to 64 bits.
    pub(crate) fn ceiling(&self, unit: i32) -> i64 {
        self.amount.ceiling(unit)
    }

    /// -1, 0 or 1.
    #[must_use]
    pub fn sign(&self) -> i32 {
        self.amount.sign()
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.sign() == 0
    }

    /// Rounds away from zero to a thousandth, which the API does to every value of a resource list it defaults.
    pub fn round_up_to_milli(&mut self) {
        const MILLI: i32 = -3;
        match self.amount {
            // Already a multiple: the text it was written in is kept too.
            Amount::Small { exponent, .. } if exponent >= MILLI => {}
            _ => {
                self.amount = self.amount.round_away(MILLI).0;
                self.text = None;
            }
        }
    }

    /// Takes the other's format if this one is zero: a sum that starts from nothing looks like what was added.
    fn adopt_format(&mut self, other: &Self) {
        if self.is_zero() {
            self.format = other.format;
        }
    }
}

impl Default for Quantity {
    fn default() -> Self {
        Self::ZERO
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.amount.compare(&other.amount)
    }
}

impl AddAssign<&Quantity> for Quantity {
    fn add_assign(&mut self, other: &Quantity) {
        self.adopt_format(other);
        self.amount = self.amount.plus(&other.amount);
        self.text = None;
    }
}

impl SubAssign<&Quantity> for Quantity {
    fn sub_assign(&mut self, other: &Quantity) {
        self.adopt_format(other);
        self.amount = self.amount.plus(&other.amount.negated());
        self.text = None;
    }
}

impl Add<&Quantity> for Quantity {
    type Output = Quantity;

    fn add(mut self, other: &Quantity) -> Quantity {
        self += other;
        self
    }
}

impl Sub<&Quantity> for Quantity {
    type Output = Quantity;

    fn sub(mut self, other: &Quantity) -> Quantity {
        self -= other;
        self
    }
}

impl Neg for Quantity {
    type Output = Quantity;

    fn neg(self) -> Quantity {
        Quantity { amount: self.amount.negated(), format: self.format, text: None }
    }
}

impl<'a> std::iter::Sum<&'a Quantity> for Quantity {
    fn sum<I: Iterator<Item = &'a Quantity>>(quantities: I) -> Self {
        quantities.fold(Quantity::ZERO, |sum, quantity| sum + quantity)
    }
}
