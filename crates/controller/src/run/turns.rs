//! Whose turn it is to ask the API server: what cannot wait has places of its own, and everybody else gives way meanwhile. Nothing
//! gives way for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// Raises that cannot wait and roll-backs, under way at once.
const HURRYING: usize = 16;

/// Other requests that change pods, under way at once. Each that is under way holds a connection, and a connection some hundred
/// thousand bytes: with these few, fifty calls a second may take half a second each.
const CARRYING: usize = 16;

/// Requests that write down what is known, under way at once.
const WRITING: usize = 4;

/// Events that are told, under way at once.
const TELLING: usize = 4;

/// For so long at most somebody gives way who has a place.
const GIVE_WAY: Duration = Duration::from_secs(2);

/// What can wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Errand {
    /// To change a pod.
    Carry,
    /// To write down what is known.
    Write,
    /// To tell somebody.
    Tell,
}

/// The places; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    /// How many cannot wait, those included that have no place yet.
    hurried: Arc<watch::Sender<usize>>,
    hurrying: Arc<Semaphore>,
    carrying: Arc<Semaphore>,
    writing: Arc<Semaphore>,
    telling: Arc<Semaphore>,
}

/// Somebody who cannot wait: others give way while it is there.
#[derive(Debug)]
pub(super) struct Hurry {
    hurried: Arc<watch::Sender<usize>>,
    places: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        let places = |number| Arc::new(Semaphore::new(number));
        Self {
            hurried: Arc::new(watch::Sender::new(0)),
            hurrying: places(HURRYING),
            carrying: places(CARRYING),
            writing: places(WRITING),
            telling: places(TELLING),
        }
    }
}

impl Turns {
    /// Somebody cannot wait, from now on.
    pub(super) fn hurry(&self) -> Hurry {
        self.hurried.send_modify(|it| *it += 1);
        Hurry { hurried: self.hurried.clone(), places: self.hurrying.clone() }
    }

    /// A place for something that can wait; it is given back when it is dropped.
    pub(super) async fn turn(&self, errand: Errand) -> Option<OwnedSemaphorePermit> {
        let places = match errand {
            Errand::Carry => &self.carrying,
            Errand::Write => &self.writing,
            Errand::Tell => &self.telling,
        };
        let place = places.clone().acquire_owned().await;
        let mut hurried = self.hurried.subscribe();
        let _ = timeout(GIVE_WAY, hurried.wait_for(|it| *it == 0)).await; // then it is our turn all the same
        place.ok()
    }
}

impl Hurry {
    /// A place; it is given back when it is dropped.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        self.hurried.send_modify(|it| *it = it.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_can_wait_gives_way_to_all_that_cannot_but_not_for_ever() {
        let turns = Turns::default();
        for errand in [Errand::Carry, Errand::Write, Errand::Tell] {
            assert!(turns.turn(errand).now_or_never().is_some(), "nobody is in a hurry: {errand:?}");
            let hurries: Vec<Hurry> = (0..HURRYING + 1).map(|_| turns.hurry()).collect();
            let mut waiting = Box::pin(turns.turn(errand));
            assert!(waiting.as_mut().now_or_never().is_none(), "{errand:?}");
            let mut places: Vec<_> = hurries.iter().map(|it| it.turn().now_or_never()).collect();
            assert_eq!(places.iter().filter(|it| it.is_some()).count(), HURRYING, "as many as there are places");
            places.clear();
            assert!(waiting.as_mut().now_or_never().is_none(), "they are still at it: {errand:?}");
            drop(hurries);
            assert!(waiting.now_or_never().is_some(), "{errand:?}");
            let _hurry = turns.hurry();
            let began = tokio::time::Instant::now();
            assert!(turns.turn(errand).await.is_some());
            assert_eq!(began.elapsed(), GIVE_WAY, "{errand:?}");
        }
    }
}
