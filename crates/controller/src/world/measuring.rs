//! When usage is asked for: at every tick, and of one question at a time.

use jiff::Timestamp;

use super::World;
use crate::event::Effect;

impl World {
    /// Usage is asked for, unless it is being told still: who is slow would only be slower if several asked at once.
    pub(super) fn measure(&mut self, now: Timestamp) -> Option<Effect> {
        match &mut self.measuring {
            None => {
                self.measuring = Some((now, false));
                Some(Effect::Measure)
            }
            Some((since, told)) => {
                if !std::mem::replace(told, true) {
                    tracing::warn!(%since, "reading usage takes longer than the interval; the next read waits for it");
                }
                None
            }
        }
    }
}
