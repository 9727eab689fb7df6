//! Being asked to stop.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// One wish to stop may arrive more than once: `timeout` signals its child and then the child's whole group.
const SAME_WISH: Duration = Duration::from_secs(2);

/// Cancelled by the first SIGINT, SIGTERM or SIGHUP. Another one, later, ends the process on the spot, for whoever does
/// not want to wait for the clean-up; the next start cleans up then.
pub fn stop_token() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let listen = |kind| signal(kind).map_err(|error| Failure::refused(format!("cannot listen for signals: {error}")));
    let (mut int, mut term, mut hup) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    let first = stop.clone();
    tokio::spawn(async move {
        let mut since: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                _ = hup.recv() => {}
            }
            if since.get_or_insert_with(Instant::now).elapsed() > SAME_WISH {
                std::process::exit(130);
            }
            first.cancel();
        }
    });
    Ok(stop)
}
