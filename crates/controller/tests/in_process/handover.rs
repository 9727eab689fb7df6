//! Two replicas on one cluster, while the lease goes from one to the other and back, and requests take as long on their way as they may:
//! whatever reaches the cluster was sent by the one that led when it arrived.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body as Answer;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use supple_controller::lease::candidate::Times;
use supple_controller::lease::elect::Leadership;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tower::{BoxError, service_fn};

use super::broken::Dice;
use super::lab::{Lab, Loop};

/// Lives that are played; each is an hour of a cluster.
const SEEDS: u64 = 3;

/// What reached the cluster from one replica.
#[derive(Default)]
struct Arrived {
    /// Sent by one that led then.
    rightly: AtomicU32,
    /// Not so: what.
    wrongly: Mutex<Vec<String>>,
    /// Given up on the way.
    dropped: AtomicU32,
}

/// One of two, as its election tells it.
struct Replica {
    elected: watch::Sender<Leadership>,
    arrived: Arc<Arrived>,
    work: Loop,
}

/// Counts what is given up before it has arrived.
struct Underway(Arc<Arrived>, AtomicBool);

impl Drop for Underway {
    fn drop(&mut self) {
        if !self.1.load(Ordering::Relaxed) {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn changes_something(request: &Request<Body>) -> bool {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    *request.method() != Method::GET && !query.contains("dryRun") && !path.contains("/events")
}

impl Replica {
    fn begin(lab: &Lab, dice: &Dice) -> Self {
        let (elected, leadership) = watch::channel(Leadership::Follows { leader: None });
        let arrived = Arc::<Arrived>::default();
        let (inner, dice, count, sees) = (lab.client.clone(), dice.clone(), arrived.clone(), leadership.clone());
        let service = service_fn(move |request: Request<Body>| {
            let (inner, count, sees) = (inner.clone(), count.clone(), sees.clone());
            // One in four is slow, as in the queue of a server that has too much to do.
            let slow = if dice.throw(4) == 0 { dice.throw(30) } else { 0 };
            async move {
                if changes_something(&request) {
                    let underway = Underway(count.clone(), AtomicBool::new(false));
                    sleep(Duration::from_secs(slow)).await;
                    underway.1.store(true, Ordering::Relaxed);
                    if sees.borrow().may_act(Instant::now()) {
                        count.rightly.fetch_add(1, Ordering::Relaxed);
                    } else {
                        count.wrongly.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
                    }
                }
                Ok::<Response<Answer>, BoxError>(inner.send(request).await?.map(Answer::new))
            }
        });
        let work = lab.begin_as(Client::new(service, "default"), leadership, lab.clock.clone(), None);
        Self { elected, arrived, work }
    }
}

async fn life(seed: u64) -> u32 {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    for (name, usage) in [
        ("a", "cpu=wave(50m,600m,10m) memory=250Mi"),
        ("b", "cpu=wave(50m,500m,7m) memory=ramp(250Mi,600Mi,1h)"),
        ("c", "cpu=wave(20m,400m,5m) memory=250Mi"),
    ] {
        lab.pod(name, "500m/1Gi", "1/2Gi", usage).await;
    }
    let dice = Dice::new(seed);
    let replicas = [Replica::begin(&lab, &dice), Replica::begin(&lab, &dice)];
    let times = Times::default();
    let begun = Instant::now();
    let mut leader = 0;
    while begun.elapsed() < Duration::from_secs(3600) {
        // Renewed for a while, and then not: the other waits until the lease has run out.
        for _ in 0..dice.throw(60) {
            let until = Instant::now() + times.renew_deadline;
            replicas[leader].elected.send(Leadership::Leads { until }).unwrap();
            sleep(times.retry).await;
        }
        if dice.throw(2) == 0 {
            sleep(times.renew_deadline).await; // it is told by nobody, and stops by itself
        }
        replicas[leader].elected.send(Leadership::Follows { leader: None }).unwrap();
        sleep(times.lease.saturating_sub(times.renew_deadline)).await;
        leader = 1 - leader;
    }
    let mut dropped = 0;
    for Replica { arrived, work, .. } in replicas {
        let wrongly = arrived.wrongly.lock().unwrap().clone();
        assert!(wrongly.is_empty(), "seed {seed}: {} of one that did not lead: {wrongly:#?}", wrongly.len());
        assert!(arrived.rightly.load(Ordering::Relaxed) > 20, "seed {seed}: either has led, and done its work");
        dropped += arrived.dropped.load(Ordering::Relaxed);
        work.end().await;
    }
    lab.cluster.stop().await;
    dropped
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_by_one_that_does_not_lead() {
    let mut dropped = 0;
    for seed in 0..SEEDS {
        dropped += life(seed).await;
    }
    assert!(dropped > 0, "some were on their way when the lease was lost");
}
