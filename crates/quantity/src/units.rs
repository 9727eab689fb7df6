//! The two integers a node counts in: thousandths of a core and bytes.

use crate::Quantity;

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Bytes(pub i64);

/// CPU in thousandths of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct MilliCpu(pub i64);

impl From<&Quantity> for Bytes {
    /// Rounded up to a whole byte; beyond 64 bits the largest value of that sign (not the reference's wrapped one,
    /// which would turn the largest request into a negative one).
    fn from(quantity: &Quantity) -> Self {
        Self(quantity.ceiling(0))
    }
}

impl From<&Quantity> for MilliCpu {
    /// Rounded up to a whole thousandth; beyond 64 bits the largest value of that sign.
    fn from(quantity: &Quantity) -> Self {
        Self(quantity.ceiling(-3))
    }
}

impl From<Bytes> for Quantity {
    /// A binary quantity: `134217728` bytes print as `128Mi`.
    fn from(bytes: Bytes) -> Self {
        Self::binary(bytes.0)
    }
}

impl From<MilliCpu> for Quantity {
    /// A decimal quantity: `1500` thousandths print as `1500m`, `2000` as `2`.
    fn from(cpu: MilliCpu) -> Self {
        Self::milli_units(cpu.0)
    }
}

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Quantity::from(*self).fmt(f)
    }
}

impl std::fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Quantity::from(*self).fmt(f)
    }
}
