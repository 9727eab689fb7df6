//! Two candidates for one lease on the embedded cluster.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use supple_controller::lease::candidate::Times;
use supple_controller::lease::elect::{Election, Leadership, Options, elect};
use supple_controller::run::{Broken, Clock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lab::Lab;

struct One {
    election: Election,
    stop: CancellationToken,
}

impl One {
    fn new(lab: &Lab, identity: &str) -> Self {
        let options = Options {
            namespace: "supple-system".to_owned(),
            name: "supple-controller".to_owned(),
            identity: identity.to_owned(),
            times: Times::default(),
        };
        let stop = CancellationToken::new();
        Self { election: elect(lab.client.clone(), options, lab.clock.clone(), stop.clone()), stop }
    }

    fn acts(&self) -> bool {
        self.election.leadership.borrow().may_act(Instant::now())
    }

    async fn leads(&mut self) {
        self.election.leadership.wait_for(|it| it.may_act(Instant::now())).await.unwrap();
    }

    async fn end(self) {
        self.stop.cancel();
        self.election.ended.await.unwrap();
    }
}

async fn lab() -> (Lab, Api<Lease>) {
    let lab = Lab::new().await;
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "supple-system"}})).unwrap();
    Api::all(lab.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    let leases = Api::namespaced(lab.client.clone(), "supple-system");
    (lab, leases)
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_hands_over_at_once() {
    let (lab, leases) = lab().await;
    let mut first = One::new(&lab, "first");
    first.leads().await;
    let mut second = One::new(&lab, "second");
    tokio::time::sleep(Duration::from_secs(300)).await; // virtual
    assert!(first.acts() && !second.acts());
    let spec = leases.get("supple-controller").await.unwrap().spec.unwrap();
    assert!(spec.holder_identity.as_ref().unwrap().starts_with("first_"), "{spec:?}");
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(0)));
    assert!(matches!(&*second.election.leadership.borrow(),
        Leadership::Follows { leader: Some(leader) } if leader.starts_with("first_")));

    let before = Instant::now();
    first.end().await;
    second.leads().await;
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "it need not wait until the lease runs out: {:?}",
        before.elapsed()
    );
    let spec = leases.get("supple-controller").await.unwrap().spec.unwrap();
    assert_eq!(spec.lease_transitions, Some(1));
    second.end().await;
    let spec = leases.get("supple-controller").await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some(""));
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_dies_is_followed_when_its_lease_has_run_out() {
    let (lab, _) = lab().await;
    let mut first = One::new(&lab, "first");
    first.leads().await;
    let mut second = One::new(&lab, "second");
    tokio::time::sleep(Duration::from_secs(60)).await;
    first.election.ended.abort();
    let died = Instant::now();
    second.leads().await;
    assert!(!first.acts(), "it stops before the other begins, though nobody told it");
    let waited = died.elapsed();
    assert!((Duration::from_secs(13)..Duration::from_secs(20)).contains(&waited), "{waited:?}");
    second.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_loses_the_lease_to_a_strange_hand_stops() {
    let (lab, leases) = lab().await;
    let mut first = One::new(&lab, "first");
    first.leads().await;
    let patch = json!({"spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 60}});
    leases.patch("supple-controller", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    first.election.leadership.wait_for(|it| matches!(it, Leadership::Follows { .. })).await.unwrap();
    assert_eq!(first.election.leadership.borrow().to_string(), "somebody leads");
    let before = Instant::now();
    first.leads().await;
    assert!(before.elapsed() >= Duration::from_secs(58), "{:?}", before.elapsed());
    first.end().await;
    lab.cluster.stop().await;
}

/// A loop that is told by nobody any more whether it leads would never act again, and nobody would know why.
#[tokio::test(start_paused = true)]
async fn a_defect_in_the_election_ends_the_loop() {
    let (lab, _) = lab().await;
    let options = Options {
        namespace: "supple-system".to_owned(),
        name: "supple-controller".to_owned(),
        identity: "first".to_owned(),
        times: Times::default(),
    };
    let broken: Clock = Arc::new(|| panic!("a defect"));
    let Election { leadership, ended } = elect(lab.client.clone(), options, broken, CancellationToken::new());
    let work = lab.begin_with(lab.client.clone(), leadership);
    assert!(ended.await.unwrap_err().is_panic());
    let why = work.broken().await;
    assert!(matches!(why, Broken::Election) && why.to_string().contains("restart it"), "{why}");
    lab.cluster.stop().await;
}
