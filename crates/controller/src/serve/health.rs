//! Whether the program is alive and ready, as a value: whoever knows says so, and the probes read it.
//!
//! Alive is who comes round: a loop that is stuck is to be restarted. Ready is who can do its work; what is not ready says why,
//! and is not restarted for it. A replica that does not lead is ready too: it can answer the webhook.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    longest_silence: Duration,
    beaten: Instant,
    parts: BTreeMap<&'static str, Result<(), String>>,
}

impl Health {
    /// Alive from now on, and as long as it is not silent for longer than this; ready, but for these parts, until they say so.
    #[must_use]
    pub fn new(longest_silence: Duration, parts: &[&'static str]) -> Self {
        let parts = parts.iter().map(|it| (*it, Err("not yet".to_owned()))).collect();
        Self(Arc::new(Mutex::new(Inner { longest_silence, beaten: Instant::now(), parts })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole in itself: a panic elsewhere cannot leave one half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop has come round.
    pub fn beat(&self) {
        self.inner().beaten = Instant::now();
    }

    /// A part is ready, or why it is not.
    pub fn set(&self, part: &'static str, state: Result<(), String>) {
        self.inner().parts.insert(part, state);
    }

    /// Whether it is alive; if not, why.
    ///
    /// # Errors
    /// A sentence.
    pub fn live(&self) -> Result<(), String> {
        let inner = self.inner();
        let silent = inner.beaten.elapsed();
        if silent <= inner.longest_silence {
            return Ok(());
        }
        Err(format!(
            "the loop has not finished a round for {} s (limit {} s)",
            silent.as_secs(),
            inner.longest_silence.as_secs()
        ))
    }

    /// The parts and what they say, by name.
    #[must_use]
    pub fn parts(&self) -> Vec<(&'static str, Result<(), String>)> {
        self.inner().parts.iter().map(|(part, state)| (*part, state.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_noticed_and_a_beat_ends_it() {
        let health = Health::new(Duration::from_secs(60), &["usage"]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(health.live(), Ok(()));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(health.live(), Err("the loop has not finished a round for 65 s (limit 60 s)".to_owned()));
        health.beat();
        assert_eq!(health.live(), Ok(()));
    }

    #[test]
    fn parts_say_when_they_are_ready() {
        let health = Health::new(Duration::from_secs(60), &["usage", "pods"]);
        health.set("usage", Ok(()));
        assert_eq!(health.parts(), [("pods", Err("not yet".to_owned())), ("usage", Ok(()))]);
    }
}
