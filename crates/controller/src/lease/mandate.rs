//! The leave to write, held by whoever carries something out: asked again at every step, because what was decided by a leader may be
//! carried out much later. A request waits for its turn, for an answer, for a program that was stopped meanwhile.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::elect::{Leadership, alone};

/// Why nothing was sent.
pub const LOST: &str = "another replica leads";

/// Whether we lead, whenever it is asked; cheap to clone.
#[derive(Clone, Debug)]
pub struct Mandate(watch::Receiver<Leadership>);

impl Mandate {
    /// As long as this says so.
    pub const fn of(leadership: watch::Receiver<Leadership>) -> Self {
        Self(leadership)
    }

    /// For good: of a program that runs once, for a person.
    pub fn alone() -> Self {
        Self(alone())
    }

    /// Whether something may be sent now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.borrow().may_act(Instant::now())
    }

    /// What comes of it, if we lead for so long; it is dropped where we do not. What it has sent until then may still be done: who leads
    /// next has waited as long as a lease beyond ours, and has to see it on the objects.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut leadership = self.0.clone();
        loop {
            let until = match *leadership.borrow_and_update() {
                Leadership::Leads { until } if Instant::now() < until => until,
                _ => return None,
            };
            // Looked at each time, and not only when a timer says so: a program that was stopped for a while wakes up with an answer
            // in its hands, and would go on with the next request.
            let done =
                poll_fn(
                    |context| {
                        if Instant::now() < until { work.as_mut().poll(context).map(Some) } else { Poll::Ready(None) }
                    },
                );
            tokio::select! {
                biased;
                () = sleep_until(until) => {}
                Ok(()) = leadership.changed() => {} // where nobody elects any more, it runs out
                done = done => if done.is_some() { return done },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_dropped_when_the_lease_is_lost_and_goes_on_when_it_is_renewed() {
        let leads = |seconds| Leadership::Leads { until: Instant::now() + Duration::from_secs(seconds) };
        let (elected, leadership) = watch::channel(leads(10));
        let mandate = Mandate::of(leadership);
        let takes = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        assert_eq!(mandate.during(takes(9)).await, Some(()));
        assert_eq!((mandate.during(takes(2)).await, mandate.holds()), (None, false), "it has run out");
        assert_eq!(mandate.during(async { panic!("it is not even begun") }).await, None);
        elected.send(leads(10)).unwrap();
        let renews = async {
            takes(8).await;
            elected.send(leads(10)).unwrap();
            takes(20).await
        };
        assert_eq!(tokio::join!(mandate.during(takes(15)), renews).0, Some(()), "renewed in time");
        elected.send(leads(10)).unwrap();
        let begun = Instant::now();
        let loses = async {
            takes(3).await;
            elected.send(Leadership::Follows { leader: None }).unwrap();
        };
        assert_eq!(tokio::join!(mandate.during(pending::<()>()), loses).0, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(3), "at once");
        assert!(Mandate::alone().during(async {}).now_or_never().flatten().is_some());
    }
}
