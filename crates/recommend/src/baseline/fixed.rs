//! The two strategies that never change anything: `static` keeps what was recorded, `none` sets nothing.

use crate::sample::{OutOfMemory, Sample, Size};
use crate::strategy::{Pod, Strategy};

/// The limits as recorded; where none were, nothing.
#[derive(Debug, Default)]
pub struct AsRecorded {
    last: Size,
}

impl Strategy for AsRecorded {
    fn observe(&mut self, _: Pod, sample: &Sample) {
        self.last.cpu_request = sample.cpu_limit.or(self.last.cpu_request);
        self.last.cpu_limit = sample.cpu_limit.or(self.last.cpu_limit);
        self.last.memory_request = sample.memory_limit.or(self.last.memory_request);
        self.last.memory_limit = sample.memory_limit.or(self.last.memory_limit);
    }

    fn out_of_memory(&mut self, _: Pod, _: &OutOfMemory) {}

    fn size(&mut self, _: Pod, _: i64, _: &Size) -> Size {
        self.last
    }
}

/// No requests, no limits.
#[derive(Debug, Default)]
pub struct Nothing;

impl Strategy for Nothing {
    fn observe(&mut self, _: Pod, _: &Sample) {}

    fn out_of_memory(&mut self, _: Pod, _: &OutOfMemory) {}

    fn size(&mut self, _: Pod, _: i64, _: &Size) -> Size {
        Size::default()
    }
}
