//! A panic as an answer: whoever waits for one that was lost would wait for ever, and nobody else would know.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

/// What comes of it; where it panics, the sentence that says so. What it was in the middle of is dropped with it.
///
/// # Errors
/// It panicked.
pub async fn caught<T>(what: &str, work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| {
        let why = format!("{what} failed because of a bug in Supple: the log above says where");
        tracing::error!("{why}");
        why
    })
}
