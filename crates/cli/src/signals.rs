//! Being asked to stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// Cancelled by the first SIGINT, SIGTERM or SIGHUP. The second one ends the process on the spot, for whoever does not
/// want to wait for the clean-up; the next start cleans up then.
pub fn stop_token() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let listen = |kind| signal(kind).map_err(|error| Failure::refused(format!("cannot listen for signals: {error}")));
    let (mut int, mut term, mut hup) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    let first = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                _ = hup.recv() => {}
            }
            if first.is_cancelled() {
                std::process::exit(130);
            }
            first.cancel();
        }
    });
    Ok(stop)
}
