//! Who of several leads: one `Lease` object, and everybody's own clock.
//!
//! [`candidate`] decides, purely; its tests walk through every state that a few candidates, lost answers and slow clocks can
//! get into. [`elect`] carries requests; [`mandate`] is asked before each write.
//!
//! Nobody's clock is compared with another's. A candidate counts from when *it* saw the lease change, and may take it when
//! nothing has changed for as long as the holder promised; the holder stops by itself, earlier, counting from when it *sent*
//! its last renewal. So two never lead at once unless one clock runs faster than another by the share that lies between
//! the two times, which is half as fast again.

pub mod candidate;
pub mod elect;
pub mod mandate;
#[cfg(test)]
mod model;
