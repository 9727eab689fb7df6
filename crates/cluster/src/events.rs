//! Events of the cluster's own controllers, written as the core/v1 events `kubectl describe` shows.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

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
    /// Whether and how it recurs.
    pub series: Series<'a>,
}

/// Whether a note is told once or again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series<'a> {
    /// Each time is an event of its own. The reference's newer recorder tells what was done with it.
    Once {
        /// `action`.
        action: &'a str,
    },
    /// Notes about one object with the same reason and this are one event that counts them, with the last sentence.
    Counted(&'a str),
}

/// Write it. An event that cannot be written is logged and forgotten: it reports work, it is not the work.
pub(crate) async fn note(client: &Client, clock: &ClusterClock, note: Note<'_>) {
    let Note { component, regarding, kind, reason, text, series } = note;
    let now = clock();
    let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let name = regarding.name.clone().unwrap_or_default();
    let (fixed, action, event_time) = match series {
        Series::Once { action } => (None, Some(action.to_owned()), Some(MicroTime(now))),
        Series::Counted(key) => {
            let mut hasher = DefaultHasher::new();
            (&regarding.uid, component, reason, key).hash(&mut hasher);
            (Some(format!("{name}.{:016x}", hasher.finish())), None, None)
        }
    };
    let event = Event {
        metadata: ObjectMeta {
            generate_name: fixed.is_none().then(|| format!("{name}-")),
            name: fixed.clone(),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: regarding,
        type_: Some(kind.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(text.to_owned()),
        action,
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        event_time,
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(component.to_owned()),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        ..Event::default()
    };
    let api = Api::<Event>::namespaced(client.clone(), &namespace);
    let written = match (api.create(&PostParams::default(), &event).await, fixed) {
        (Err(kube::Error::Api(status)), Some(fixed)) if status.is_already_exists() => {
            count(&api, &fixed, text, Time(now)).await
        }
        (written, _) => written.map(drop),
    };
    if let Err(error) = written {
        tracing::debug!(%error, object = name, reason, "write an event");
    }
}

/// Once more.
async fn count(api: &Api<Event>, name: &str, text: &str, now: Time) -> Result<(), kube::Error> {
    let times = api.get(name).await?.count.unwrap_or(1).saturating_add(1);
    let patch = json!({"count": times, "lastTimestamp": now, "message": text});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}
