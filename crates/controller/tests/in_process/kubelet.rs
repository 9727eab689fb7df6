//! Kubelets asked through the API server of the embedded cluster.

use std::time::Duration;

use supple_controller::source::Source;
use supple_controller::source::kubelet::sweep::Pace;
use supple_controller::source::kubelet::{once, run};
use supple_quantity::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::lab::Lab;

#[tokio::test(start_paused = true)]
async fn nodes_tell_what_their_pods_use() {
    let lab = Lab::new().await;
    lab.pod("web", "100m/64Mi", "200m/128Mi", "cpu=150m memory=40Mi").await;
    let (nodes, watched) = watch::channel(vec!["node".into(), "gone".into()]);
    let (hurry, hurried) = mpsc::channel(1);
    let (sender, mut swept) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(
        lab.client.clone(),
        Pace::default(),
        lab.clock.clone(),
        watched,
        hurried,
        sender,
        stop.clone(),
    ));
    let mut missing = false;
    let read = loop {
        let told = swept.recv().await.unwrap();
        match told.readings {
            Ok(readings) if !readings.is_empty() && readings[0].usage.throttled_permille.is_some() => break readings,
            Ok(_) => assert_eq!((told.node.as_ref(), told.gaps), ("node", Vec::new())),
            Err(error) => {
                assert!(error.to_string().contains("nodes \"gone\" not found"), "{error}");
                missing = true;
                nodes.send_replace(vec!["node".into()]);
                hurry.send("node".into()).await.unwrap();
            }
        }
    };
    assert!(missing);
    assert_eq!((read[0].pod.as_ref(), read[0].container.as_ref(), read[0].source), ("web", "app", Source::Kubelet));
    assert_eq!(read[0].usage.memory, Some(Bytes(40 << 20)));
    assert!(read[0].usage.memory_charged >= read[0].usage.memory);
    assert_eq!(read[0].oom_kills, Some(0));
    let age = (lab.clock)().duration_since(read[0].usage.at);
    assert!(age.unsigned_abs() <= Duration::from_secs(60), "{age}");
    stop.cancel();
    task.await.unwrap();

    let now = once(&lab.client, &"node".into(), (lab.clock)()).await.unwrap();
    assert_eq!((now.len(), now[0].usage.throttled_permille), (1, None), "a rate needs two answers");
    lab.cluster.stop().await;
}
