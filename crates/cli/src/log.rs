//! The log: to stderr, or, while a table stands on the terminal, to whoever draws it.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::exit::Failure;

/// The time as somebody who sits before the terminal needs it; a log that is kept gets the whole date.
struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        write!(out, "{}", jiff::Zoned::now().strftime("%H:%M:%S"))
    }
}

/// Where log lines go.
#[derive(Clone, Default)]
pub struct LogLines(Arc<Mutex<Option<mpsc::UnboundedSender<Vec<u8>>>>>);

impl LogLines {
    /// Log what `directives` ask for, from now on.
    pub fn init(directives: &str) -> Result<Self, Failure> {
        let filter = EnvFilter::try_new(directives)
            .map_err(|error| Failure::Usage(format!("--log {directives:?} is not a level or directive: {error}")))?;
        let lines = Self::default();
        let terminal = io::stderr().is_terminal();
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(lines.clone())
            .with_target(false)
            .with_ansi(terminal && std::env::var_os("NO_COLOR").is_none());
        if terminal {
            log.with_timer(TimeOfDay).init()
        } else {
            log.init()
        }
        Ok(lines)
    }

    /// From now on, hand the lines over instead of writing them.
    pub fn divert(&self) -> mpsc::UnboundedReceiver<Vec<u8>> {
        // Unbounded, because a log call must not wait for a terminal; the drawer empties it with every frame.
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Write them to stderr again.
    pub fn restore(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl io::Write for LogLines {
    /// The subscriber calls this once a line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let diverted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match diverted.as_ref().map(|it| it.send(line.to_vec())) {
            Some(Ok(())) => Ok(line.len()),
            _ => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
