//! The live table: redrawn in place on a terminal, a line for each piece of news otherwise. Log lines go through here
//! too while a table stands, so that they appear above it and not in it.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use supple_controller::run::Clock;
use supple_controller::snapshot::Snapshot;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::log::LogLines;
use crate::table;

/// How often a standing table is redrawn though nothing happened: it shows ages.
const REDRAW: Duration = Duration::from_secs(1);

/// Show `rows` until told to stop.
///
/// # Errors
/// When stdout cannot be written; a closed pipe is for the caller to recognise.
pub async fn show(
    rows: watch::Receiver<Snapshot>,
    logs: &LogLines,
    clock: &Clock,
    stop: CancellationToken,
) -> io::Result<()> {
    if io::stdout().is_terminal() { standing(rows, logs, clock, stop).await } else { flowing(rows, clock, stop).await }
}

async fn flowing(mut rows: watch::Receiver<Snapshot>, clock: &Clock, stop: CancellationToken) -> io::Result<()> {
    let mut old = Snapshot::default();
    loop {
        let Some(Ok(())) = stop.run_until_cancelled(rows.changed()).await else { return Ok(()) };
        let new = rows.borrow_and_update().clone();
        let at = clock().to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string();
        let mut out = io::stdout().lock();
        for line in table::news(&old, &new) {
            writeln!(out, "{at} {line}")?;
        }
        out.flush()?;
        old = new;
    }
}

async fn standing(
    mut rows: watch::Receiver<Snapshot>,
    logs: &LogLines,
    clock: &Clock,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut lines = logs.divert();
    let mut drawn = 0;
    let mut ticks = tokio::time::interval(REDRAW);
    loop {
        let mut above = Vec::new();
        tokio::select! {
            () = stop.cancelled() => break,
            changed = rows.changed() => if changed.is_err() { break },
            _ = ticks.tick() => {}
            Some(line) = lines.recv() => above.push(line),
        }
        while let Ok(line) = lines.try_recv() {
            above.push(line);
        }
        let (width, height) = size();
        let table = table::table(&rows.borrow_and_update(), clock(), width, height);
        draw(&mut drawn, &above, &table)?;
    }
    logs.restore();
    while let Ok(line) = lines.try_recv() {
        io::stderr().write_all(&line)?;
    }
    Ok(())
}

/// Replace the `drawn` lines of the last table by what is to stand above, and the new table. One write, so that the
/// terminal never shows a half of it.
fn draw(drawn: &mut usize, above: &[Vec<u8>], table: &[String]) -> io::Result<()> {
    let mut frame = Vec::new();
    if *drawn > 0 {
        write!(frame, "\x1b[{drawn}A")?; // up to the first line of the old table
    }
    frame.extend_from_slice(b"\r\x1b[J"); // and clear from there to the end of the screen
    for line in above {
        frame.extend_from_slice(line);
    }
    for line in table {
        writeln!(frame, "{line}")?;
    }
    *drawn = table.len();
    let mut out = io::stdout().lock();
    out.write_all(&frame)?;
    out.flush()
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (usize::from(size.ws_col), usize::from(size.ws_row)),
        _ => (120, 40),
    }
}
