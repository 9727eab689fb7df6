//! The way to the loop: what happens, each thing with the moment at which it was told. The loop may be busy meanwhile, and how long
//! something took is counted from when it was known, not from when somebody had time for it.

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::event::Event;

/// Nobody listens any more: the loop has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended;

/// Where things are told; cheap to clone.
#[derive(Clone, Debug)]
pub struct Answers(mpsc::Sender<(Instant, Event)>);

impl Answers {
    /// The way, and where it leads to; so many things wait there at most.
    pub fn new(waiting: usize) -> (Self, mpsc::Receiver<(Instant, Event)>) {
        let (sender, receiver) = mpsc::channel(waiting);
        (Self(sender), receiver)
    }

    /// Tell it.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub async fn send(&self, event: Event) -> Result<(), Ended> {
        self.0.send((Instant::now(), event)).await.map_err(|_| Ended)
    }

    /// Tell it, on a thread that may wait.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub fn blocking_send(&self, event: Event) -> Result<(), Ended> {
        self.0.blocking_send((Instant::now(), event)).map_err(|_| Ended)
    }
}
