//! What nobody deletes by hand: old events, pods of a node that is gone, and finished pods beyond count.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use crate::{ClusterClock, scheduler};

/// How often the garbage is looked for. The first round comes at once, for what an earlier start left behind.
const EVERY: Duration = Duration::from_secs(10);

/// How long an event is kept, as in the reference (`--event-ttl`).
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// How many finished pods are kept, as in the reference (`--terminated-pod-gc-threshold`).
const FINISHED_PODS: usize = 12_500;

/// Collect until told to stop.
pub(crate) async fn run(client: Client, clock: ClusterClock, stop: CancellationToken) {
    loop {
        if let Err(error) = round(&client, clock()).await {
            tracing::debug!(%error, "collect garbage; tried again in the next round");
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

async fn round(client: &Client, now: Timestamp) -> Result<(), kube::Error> {
    let events = Api::<Event>::all(client.clone()).list(&ListParams::default()).await?;
    for event in events.iter().filter(|it| is_old(it, now)) {
        let api = Api::<Event>::namespaced(client.clone(), &event.namespace().unwrap_or_default());
        gone_is_fine(api.delete(&event.name_any(), &DeleteParams::default()).await)?;
    }
    for pod in scheduler::orphans(client).await? {
        tracing::info!(pod = pod.name_any(), "delete a pod whose node is gone");
        delete_now(client, &pod).await?;
    }
    let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?.items;
    for pod in excess(pods, FINISHED_PODS) {
        delete_now(client, &pod).await?;
    }
    Ok(())
}

fn is_old(event: &Event, now: Timestamp) -> bool {
    let last = event
        .last_timestamp
        .as_ref()
        .map(|it| it.0)
        .or_else(|| event.series.as_ref()?.last_observed_time.as_ref().map(|it| it.0))
        .or_else(|| event.event_time.as_ref().map(|it| it.0))
        .or_else(|| event.creation_timestamp().map(|it| it.0));
    last.is_some_and(|last| now.duration_since(last).unsigned_abs() > EVENT_TTL && last < now)
}

/// The oldest of the finished pods, as many as there are above `keep`.
fn excess(pods: Vec<Pod>, keep: usize) -> Vec<Pod> {
    let finished =
        |pod: &Pod| matches!(pod.status.as_ref().and_then(|it| it.phase.as_deref()), Some("Succeeded" | "Failed"));
    let mut pods: Vec<Pod> = pods.into_iter().filter(finished).collect();
    pods.sort_by_key(kube::ResourceExt::creation_timestamp);
    let count = pods.len().saturating_sub(keep);
    pods.truncate(count);
    pods
}

/// Delete without waiting for a node, and only this very pod: one of the same name may have come since.
async fn delete_now(client: &Client, pod: &Pod) -> Result<(), kube::Error> {
    let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default().grace_period(0) };
    let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    gone_is_fine(api.delete(&pod.name_any(), &params).await)
}

fn gone_is_fine<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_old(event: serde_json::Value, expect: bool) {
        let mut event = event;
        event.as_object_mut().unwrap().insert("involvedObject".to_owned(), json!({}));
        event.as_object_mut().unwrap().entry("metadata").or_insert_with(|| json!({}));
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        assert_eq!(is_old(&serde_json::from_value(event).unwrap(), now), expect);
    }

    #[test]
    fn events_live_for_an_hour() {
        check_old(json!({"lastTimestamp": "2026-01-01T10:59:59Z"}), true);
        check_old(json!({"lastTimestamp": "2026-01-01T11:00:01Z"}), false);
        check_old(json!({"lastTimestamp": "2026-01-01T14:00:00Z"}), false);
        check_old(json!({"eventTime": "2026-01-01T10:00:00.000000Z"}), true);
        check_old(json!({"metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"}}), true);
        check_old(json!({}), false);
    }

    #[test]
    fn the_oldest_finished_pods_go() {
        let pod = |name: &str, phase: &str, created: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": name, "creationTimestamp": created}, "status": {"phase": phase},
            }))
            .unwrap()
        };
        let pods = vec![
            pod("new", "Failed", "2026-01-03T00:00:00Z"),
            pod("running", "Running", "2026-01-01T00:00:00Z"),
            pod("old", "Succeeded", "2026-01-01T00:00:00Z"),
        ];
        let names = |keep| excess(pods.clone(), keep).iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>();
        assert_eq!(names(1), ["old"]);
        assert_eq!(names(2), Vec::<String>::new());
    }
}
