//! Numbers that may be absent, in eight bytes each: what is kept of every pod has a dozen of them.

/// A number, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Float(u64);

/// A number, or none. The least of all is taken for none, and no moment or size is that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole(i64);

/// Bits of no number that arithmetic makes: what is not a number is told from what is not there.
const ABSENT: u64 = 0x7ff8_5e55_ab5e_4711;

impl Float {
    /// The number.
    pub(crate) fn get(self) -> Option<f64> {
        (self.0 != ABSENT).then(|| f64::from_bits(self.0))
    }
}

impl Default for Float {
    fn default() -> Self {
        Self(ABSENT)
    }
}

impl From<Option<f64>> for Float {
    fn from(number: Option<f64>) -> Self {
        Self(number.map_or(ABSENT, f64::to_bits))
    }
}

impl Whole {
    /// The number.
    pub(crate) fn get(self) -> Option<i64> {
        (self.0 != i64::MIN).then_some(self.0)
    }
}

impl Default for Whole {
    fn default() -> Self {
        Self(i64::MIN)
    }
}

impl From<Option<i64>> for Whole {
    fn from(number: Option<i64>) -> Self {
        Self(number.unwrap_or(i64::MIN))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(float in any::<Option<f64>>(), whole in any::<Option<i64>>()) {
            prop_assert_eq!(Float::from(float).get().map(f64::to_bits), float.map(f64::to_bits));
            prop_assert_eq!(Whole::from(whole).get(), whole.filter(|it| *it != i64::MIN));
        }
    }

    #[test]
    fn absent_at_first_and_no_number_is_not_absent() {
        assert_eq!((Float::default().get(), Whole::default().get()), (None, None));
        assert!(Float::from(Some(f64::NAN)).get().is_some_and(f64::is_nan));
    }
}
