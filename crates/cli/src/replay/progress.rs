//! A bar on stderr for runs that take long, and nothing where nobody looks.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// The bar.
pub struct Progress(ProgressBar);

impl Progress {
    /// Hidden where stderr is not a terminal.
    pub fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {human_pos} samples, {per_sec}") {
            bar.set_style(style);
        }
        bar.set_message("replaying");
        Self(bar)
    }

    /// So many samples more.
    pub fn advance(&self, samples: u64) {
        self.0.inc(samples);
    }

    /// Another part of the work begins.
    pub fn restart(&self, what: &str) {
        self.0.set_message(what.to_owned());
        self.0.set_position(0);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
