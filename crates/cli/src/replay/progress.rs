//! A bar on stderr for runs that take long, and nothing where nobody looks.

use std::io::IsTerminal as _;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};

/// The bar.
pub struct Progress(ProgressBar);

impl Progress {
    /// Hidden where stderr is not a terminal.
    pub fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template(
            "{spinner} {msg} {human_pos} samples, {rate} per \
                                                         second{prefix}",
        ) {
            let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
                let whole = state.per_sec() as u64;
                let _ = write!(out, "{}", HumanCount(whole));
            };
            bar.set_style(style.with_key("rate", rate));
        }
        bar.set_message("replaying");
        Self(bar)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl supple_recordings::Progress for Progress {
    fn advance(&self, samples: u64) {
        self.0.inc(samples);
    }

    fn read(&self, bytes: u64, of: u64) {
        let percent = bytes.min(of) * 100 / of.max(1);
        self.0.set_prefix(format!(", {percent} % of {} read", HumanBytes(of)));
    }

    fn restart(&self, what: &str) {
        self.0.set_prefix("");
        self.0.set_message(what.to_owned());
        self.0.set_position(0);
    }
}
