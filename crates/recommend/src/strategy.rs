//! The seam between whoever has usage and whoever decides a size from it: ours and the baselines behind one trait.

use crate::explain::Explanation;
use crate::sample::{OutOfMemory, Sample, Size};

/// A container of one pod of the workload, numbered by the caller in the order in which they were first seen.
pub type Pod = u32;

/// Learns from the samples of all pods of one (workload, container) and says which size a pod should have.
///
/// Samples of one pod come in the order of time; between pods they may interleave. Implementations read no clock.
pub trait Strategy {
    /// A sample was measured.
    fn observe(&mut self, pod: Pod, sample: &Sample);

    /// The container was killed for want of memory.
    fn out_of_memory(&mut self, pod: Pod, kill: &OutOfMemory);

    /// The size the pod should have from `now` on. Returning what is in force is "leave it".
    fn size(&mut self, pod: Pod, now: i64, in_force: &Size) -> Size;

    /// Why, where the strategy can say so.
    fn explain(&self) -> Option<&Explanation> {
        None
    }
}
