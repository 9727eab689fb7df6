//! Telling people: one event on the pod and one line in the log, both with the same code.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::event::Told;

/// Who reports, in `kubectl events`.
const CONTROLLER: &str = "supple.dev/controller";

/// The reference's limit for an event's note.
const NOTE_LIMIT: usize = 1024;

/// Tell it. An event that cannot be written is one line in the log more: reporting is not the work.
pub(crate) async fn tell(client: &Client, told: &Told) {
    let Told { pod, reason, message, at: _ } = told;
    if reason.is_success() {
        tracing::info!(reason = reason.code(), namespace = pod.namespace, pod = pod.name, "{message}");
    } else {
        tracing::warn!(reason = reason.code(), namespace = pod.namespace, pod = pod.name, "{message}");
    }
    let event = event(told);
    let api = Api::<Event>::namespaced(client.clone(), &pod.namespace);
    if let Err(error) = api.create(&PostParams::default(), &event).await {
        tracing::debug!(%error, pod = pod.name, "write an event");
    }
}

fn event(told: &Told) -> Event {
    let Told { pod, reason, message, at } = told;
    Event {
        metadata: ObjectMeta {
            // Not the moment in hexadecimal, as others name events: two reporters can meet in one nanosecond of a test.
            generate_name: Some(format!("{}-", pod.name)),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace.clone()),
            name: Some(pod.name.clone()),
            uid: Some(pod.uid.clone()),
            ..ObjectReference::default()
        }),
        type_: Some(if reason.is_success() { "Normal" } else { "Warning" }.to_owned()),
        reason: Some(reason.code().to_owned()),
        action: Some("Resize".to_owned()),
        note: Some(shortened(message)),
        event_time: Some(MicroTime(*at)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(CONTROLLER.to_owned()),
        ..Event::default()
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().find(|(start, it)| start + it.len_utf8() > NOTE_LIMIT) {
        Some((end, _)) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(shortened("→"), "→");
        let long = shortened(&"→".repeat(1000));
        assert_eq!((long.len(), long.chars().count()), (1023, 341));
    }
}
