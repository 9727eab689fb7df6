//! Recorded usage in files: read, put in order outside of memory, and replayed on all cores.
//!
//! ```text
//! files ─▶ open ─▶ csv · prometheus ─▶ source ─▶ run · lived ─▶ figures, changes, drawings
//!                         │              │        └ a thread a core: lanes, which supple-replay judges
//!                         │              └ rows out of order are sorted outside of memory
//!                         └ names: series by number
//! ```
//!
//! * [`open`], `zstd`, [`csv`], [`prometheus`], [`row`], [`names`]: what is in a file, row by row.
//! * [`source`]: a recording as often as it is to be read, in an order that can be replayed in bounded memory.
//! * [`run`], [`lane`], [`lived`]: the open and the closed loop of `supple-replay` over all of it; [`change`], [`drawing`]:
//!   what is kept of it beside figures.
//!
//! A crate of its own because all of it runs for every row, forty million times for a month of a thousand containers: it is
//! made for speed, and the program around it for size. Judgement is none here: that stands in `supple-replay`.

use supple_recommend::strategy::Strategy;
use supple_replay::decide::Decide;

pub mod change;
pub mod csv;
pub mod drawing;
mod kept;
pub mod lane;
pub mod lived;
pub mod names;
pub mod open;
pub mod prometheus;
pub mod row;
pub mod run;
pub mod source;
mod spill;
mod zstd;

/// Something to replay under a name.
pub trait Contender: Sync {
    /// Its name in every output.
    fn name(&self) -> &str;
    /// A fresh strategy, knowing nothing, and what decides over its wishes.
    fn make(&self) -> (Box<dyn Strategy + Send>, Decide);
}

/// Who is told how far the work has come.
pub trait Progress {
    /// So many samples more.
    fn advance(&self, samples: u64);
    /// So many bytes of all files are read, where it is known how many there are.
    fn read(&self, bytes: u64, of: u64) {
        let _ = (bytes, of);
    }
    /// Another part of the work begins.
    fn restart(&self, what: &str);
}
