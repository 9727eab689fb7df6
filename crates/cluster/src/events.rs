//! Events of the cluster's own controllers, written as the core/v1 events `kubectl describe` shows.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::ClusterClock;

/// One thing to tell.
pub(crate) struct Note<'a> {
    /// Who tells it.
    pub component: &'a str,
    /// About what.
    pub regarding: ObjectReference,
    /// `Normal` or `Warning`.
    pub kind: &'a str,
    /// Stable, CamelCase.
    pub reason: &'a str,
    /// The sentence.
    pub text: &'a str,
}

/// Write it. An event that cannot be written is logged and forgotten: it reports work, it is not the work.
pub(crate) async fn note(client: &Client, clock: &ClusterClock, note: Note<'_>) {
    let Note { component, regarding, kind, reason, text } = note;
    let now = clock();
    let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let name = regarding.name.clone().unwrap_or_default();
    let event = Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: regarding,
        type_: Some(kind.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(text.to_owned()),
        action: Some("Scheduling".to_owned()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        event_time: Some(MicroTime(now)),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(component.to_owned()),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        ..Event::default()
    };
    if let Err(error) =
        Api::<Event>::namespaced(client.clone(), &namespace).create(&PostParams::default(), &event).await
    {
        tracing::debug!(%error, object = name, reason, "write an event");
    }
}
