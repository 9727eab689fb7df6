//! One life of the process: from its start until it is killed. What it still does after that has no effect.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Whether the process lives.
#[derive(Default)]
pub struct Life {
    dead: AtomicBool,
    died: Notify,
    /// Points still to be passed before it is killed at one; 0: none is awaited.
    fuse: AtomicU64,
}

impl Life {
    /// Kills the process at the `points`th durable step from now.
    pub fn light(&self, points: u64) {
        self.fuse.store(points, Ordering::Relaxed);
    }

    /// A durable step is passed. Returns whether the process dies of it.
    pub fn burn(&self) -> bool {
        // Whatever comes after the last point runs in a process that is dead.
        let burnt = self.fuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let dies = burnt == Ok(1) && !self.is_dead();
        if dies {
            self.die();
        }
        dies
    }

    /// Kills the process now.
    pub fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.died.notify_waiters();
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Returns at once while the process lives, and never after.
    pub async fn alive(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for the end.
    pub async fn end(&self) {
        let died = self.died.notified();
        if !self.is_dead() {
            died.await;
        }
    }
}
