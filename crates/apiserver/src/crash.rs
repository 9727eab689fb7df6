//! Named points at which a crash test may end the process: one before and after every durable step.

use std::sync::Arc;

/// Called with a point's name each time execution passes it. A clone is the same observer.
#[derive(Clone, Default)]
pub struct CrashPoints(Option<Arc<dyn Fn(&'static str) + Send + Sync>>);

impl CrashPoints {
    /// Does nothing: what runs in production.
    pub fn none() -> Self {
        Self(None)
    }

    /// Calls `observer` at each point; it may not return (that is what it is for).
    pub fn new(observer: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    /// Passes the point `name`.
    pub fn pass(&self, name: &'static str) {
        if let Some(observer) = &self.0 {
            observer(name);
        }
    }
}

impl std::fmt::Debug for CrashPoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "CrashPoints(armed)" } else { "CrashPoints(none)" })
    }
}
