//! The loop around the plans: what the watches say goes into the view, who is touched is planned for, plans are carried
//! out, one at a time for each owner and many at once for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use kube::Client;
use kube::runtime::watcher;
use supple_node::Fed;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::time::{DelayQueue, delay_queue};

use super::backoff::Backoff;
use super::carry::{Hands, Outcome, Stop, carry_out};
use super::expect::Expectations;
use super::plan::Trouble;
use super::row::{self, Id};
use super::view::{self, Change, View};
use crate::{ClusterClock, Speed};

/// How many plans are carried out at once.
const AT_ONCE: usize = 32;

/// No wait is longer: the clock may be set, and what is to happen at a time must then happen.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// All that the loop knows.
struct Runner {
    client: Client,
    clock: ClusterClock,
    speed: Speed,
    view: View,
    /// Who has to be looked at.
    dirty: BTreeSet<Id>,
    /// Whose plan is being carried out.
    busy: BTreeSet<Id>,
    later: DelayQueue<Id>,
    /// Where each owner stands in that queue, which it does at most once.
    timers: BTreeMap<Id, delay_queue::Key>,
    expectations: Expectations,
    troubles: BTreeMap<Id, Trouble>,
    backoff: Backoff,
    hands: JoinSet<(Id, Outcome)>,
}

/// Run every controller of the table until told to stop.
pub(crate) async fn run(
    client: Client,
    pods: Fed,
    clock: ClusterClock,
    speed: Speed,
    seed: u64,
    stop: CancellationToken,
) {
    let mut changes = futures::stream::select_all(view::watches(&client, pods));
    let mut runner = Runner {
        client,
        clock,
        speed,
        view: View::default(),
        dirty: BTreeSet::new(),
        busy: BTreeSet::new(),
        later: DelayQueue::new(),
        timers: BTreeMap::new(),
        expectations: Expectations::default(),
        troubles: BTreeMap::new(),
        backoff: Backoff::new(seed),
        hands: JoinSet::new(),
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(change) = changes.next() => {
                runner.take(change);
                // What has come with it belongs to the same burst.
                while let Some(Some(change)) = changes.next().now_or_never() {
                    runner.take(change);
                }
            }
            Some(due) = runner.later.next() => {
                let id = due.into_inner();
                runner.timers.remove(&id);
                runner.dirty.insert(id);
            }
            Some(done) = runner.hands.join_next() => match done {
                Ok((id, outcome)) => runner.finish(id, outcome),
                Err(error) => tracing::error!(%error, "a controller's hand was lost"),
            },
        }
        runner.plan();
    }
}

impl Runner {
    fn take(&mut self, change: Result<Change, watcher::Error>) {
        match change {
            Ok(change) => {
                for touched in self.view.take(change) {
                    self.dirty.extend(row::woken(&self.view, &touched));
                }
            }
            Err(error) => tracing::debug!(%error, "resuming a watch of the controllers"),
        }
    }

    /// Look at an owner after this time, or earlier.
    fn wake_in(&mut self, id: &Id, wait: Duration) {
        let wait = wait.clamp(Duration::from_millis(1), LONGEST_WAIT);
        let at = tokio::time::Instant::now() + wait;
        match self.timers.get(id) {
            Some(key) if self.later.deadline(key) <= at => {}
            Some(key) => self.later.reset_at(key, at),
            None => {
                let key = self.later.insert_at(id.clone(), at);
                self.timers.insert(id.clone(), key);
            }
        }
    }

    /// Plan for everybody who can be planned for now.
    fn plan(&mut self) {
        if !self.view.is_complete() {
            return;
        }
        let now = (self.clock)();
        let ready: Vec<Id> = self.dirty.iter().filter(|id| !self.busy.contains(*id)).cloned().collect();
        for id in ready {
            if self.hands.len() >= AT_ONCE {
                return;
            }
            if !self.expectations.are_met(&id, &self.view, now) {
                // The change that meets them comes by here again; so does the time after which they are given up.
                self.wake_in(&id, LONGEST_WAIT);
                continue;
            }
            self.dirty.remove(&id);
            self.plan_for(id, now);
        }
    }

    fn plan_for(&mut self, id: Id, now: jiff::Timestamp) {
        let Some(row) = row::of(id.kind) else { return };
        let Some(plan) = (row.plan)(&self.view, &id.key, now, self.troubles.get(&id)) else {
            self.troubles.remove(&id);
            self.backoff.forget(&id);
            return;
        };
        if let Some(again) = plan.again {
            let wait = Duration::try_from(again.duration_since(now)).unwrap_or_default();
            self.wake_in(&id, self.speed.wait(wait));
        }
        if plan.effects.is_empty() {
            self.backoff.forget(&id);
            return;
        }
        let uid = (row.uid)(&self.view, &id.key).unwrap_or_default();
        let hands = Hands {
            client: self.client.clone(),
            clock: self.clock.clone(),
            component: row.component,
            owner: (id.kind, id.key.clone(), uid),
        };
        self.busy.insert(id.clone());
        self.hands.spawn(async move { (id, come_what_may(carry_out(&hands, plan.effects)).await) });
    }

    fn finish(&mut self, id: Id, outcome: Outcome) {
        self.busy.remove(&id);
        let Outcome { awaited, stopped } = outcome;
        if !awaited.is_empty() {
            self.expectations.await_all(&id, awaited, &self.view, (self.clock)());
        }
        match stopped {
            None => {
                self.backoff.forget(&id);
                // Looked at once more, so that the status stops telling of it.
                if self.troubles.remove(&id).is_some() {
                    self.dirty.insert(id);
                }
            }
            Some(stop) => {
                if let Stop::Refused(trouble) = stop {
                    self.troubles.insert(id.clone(), trouble);
                }
                let wait = self.backoff.failed(&id);
                self.wake_in(&id, wait);
            }
        }
    }
}

/// What came of it. A panic is an outcome, too: else its owner would be busy for ever. It is planned for again after a pause.
async fn come_what_may(work: impl Future<Output = Outcome>) -> Outcome {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|_| Outcome { stopped: Some(Stop::Raced), ..Outcome::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_owner_whose_hand_panics_is_not_busy_for_ever() {
        let outcome = come_what_may(async { panic!("on purpose") }).await;
        assert_eq!(outcome.stopped, Some(Stop::Raced));
    }
}
