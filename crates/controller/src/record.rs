//! Telling people: an event on the pod and one on its workload, or on a policy, and a line in the log, with the same code.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use supple_api::names;
use tokio::sync::Mutex;

use crate::event::{PolicyTold, Told};

/// The reference's limit for an event's note.
const NOTE_LIMIT: usize = 1024;

/// And for the name of the instance that reports.
const INSTANCE_LIMIT: usize = 128;

/// The same words about the same object are one event within this time.
const SAME: SignedDuration = SignedDuration::from_mins(5);

/// How many words are remembered for that.
const REMEMBERED: usize = 4096;

/// Whom an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct About {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

impl About {
    /// Where its events are: of an object of the cluster, in the namespace in which all look for them.
    fn place(&self) -> &str {
        if self.namespace.is_empty() { "default" } else { &self.namespace }
    }
}

/// What an event says.
struct Says<'a> {
    at: Timestamp,
    reason: &'a str,
    is_warning: bool,
    message: &'a str,
    /// What makes it the same as another.
    gist: &'a str,
    action: &'a str,
}

/// Tells things once.
#[derive(Clone)]
pub struct Teller {
    client: Client,
    /// Which replica this is.
    instance: Arc<str>,
    told: Arc<Mutex<BTreeMap<String, Timestamp>>>,
}

impl Teller {
    /// To this cluster, as this replica.
    pub fn new(client: Client, instance: &str) -> Self {
        Self { client, instance: shortened(instance, INSTANCE_LIMIT).into(), told: Arc::default() }
    }

    /// Tell it. `workload` is the workload's own reference, where it is known. An event that cannot be written is one line in
    /// the log more: reporting is not the work.
    pub async fn tell(&self, told: &Told, workload: Option<(String, String)>) {
        let Told { at, code, pod, workload: key, message, gist } = told;
        let (namespace, of) = (&*key.namespace, key.to_string());
        let name = pod.as_ref().map(|it| &*it.name);
        if told.is_good() {
            tracing::info!(code = code.as_str(), namespace, workload = of, pod = name, "{message}");
        } else {
            tracing::warn!(code = code.as_str(), namespace, workload = of, pod = name, "{message}");
        }
        let mut about = Vec::new();
        if let Some(pod) = pod {
            about.push(About {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                namespace: pod.namespace.to_string(),
                name: pod.name.to_string(),
                uid: pod.uid.to_string(),
            });
        }
        if let Some((api_version, uid)) = workload.filter(|_| &*key.kind != "Pod") {
            about.push(About {
                api_version,
                kind: key.kind.to_string(),
                namespace: key.namespace.to_string(),
                name: key.name.to_string(),
                uid,
            });
        }
        for about in about {
            let (reason, is_warning) = (code.as_str(), !told.is_good());
            let gist = gist.as_deref().unwrap_or(message);
            let says = Says { at: *at, reason, is_warning, message, gist, action: "Rightsize" };
            self.write(&about, &says).await;
        }
    }

    /// Tell whoever wrote a policy.
    pub async fn tell_policy(&self, told: &PolicyTold) {
        let PolicyTold { at, kind, name: (namespace, name), uid, reason, is_warning, message } = told;
        if *is_warning {
            tracing::warn!(reason, kind, namespace = &**namespace, policy = &**name, "{message}");
        } else {
            tracing::info!(reason, kind, namespace = &**namespace, policy = &**name, "{message}");
        }
        let about = About {
            api_version: names::API_VERSION.to_owned(),
            kind: (*kind).to_owned(),
            namespace: namespace.to_string(),
            name: name.to_string(),
            uid: uid.clone().unwrap_or_default(),
        };
        let says = Says { at: *at, reason, is_warning: *is_warning, message, gist: message, action: "ReadPolicy" };
        self.write(&about, &says).await;
    }

    /// Write an event, unless the same has just been written.
    async fn write(&self, about: &About, says: &Says<'_>) {
        if !self.is_new(about, says).await {
            return;
        }
        let event = event(says, about, &self.instance);
        let api = Api::<Event>::namespaced(self.client.clone(), about.place());
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            tracing::debug!(%error, name = about.name, "write an event");
        }
    }

    async fn is_new(&self, about: &About, says: &Says<'_>) -> bool {
        let at = says.at;
        let words = format!("{}/{} {} {}", about.kind, about.uid, says.reason, says.gist);
        let mut known = self.told.lock().await;
        if known.get(&words).is_some_and(|then| at.duration_since(*then) < SAME) {
            return false;
        }
        if known.len() >= REMEMBERED {
            known.retain(|_, then| at.duration_since(*then) < SAME);
        }
        if known.len() < REMEMBERED {
            known.insert(words, at);
        }
        true
    }
}

fn event(says: &Says<'_>, about: &About, instance: &str) -> Event {
    Event {
        metadata: ObjectMeta {
            // Not the moment in hexadecimal, as others name events: two reporters can meet in one nanosecond of a test.
            generate_name: Some(format!("{}-", about.name)),
            namespace: Some(about.place().to_owned()),
            ..ObjectMeta::default()
        },
        regarding: Some(ObjectReference {
            api_version: Some(about.api_version.clone()),
            kind: Some(about.kind.clone()),
            namespace: Some(about.namespace.clone()).filter(|it| !it.is_empty()),
            name: Some(about.name.clone()),
            uid: Some(about.uid.clone()),
            ..ObjectReference::default()
        }),
        type_: Some(if says.is_warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(says.reason.to_owned()),
        action: Some(says.action.to_owned()),
        note: Some(shortened(says.message, NOTE_LIMIT)),
        event_time: Some(MicroTime(says.at)),
        reporting_controller: Some(names::REPORTING_CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().find(|(start, it)| start + it.len_utf8() > limit) {
        Some((end, _)) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_says_only_another_time_is_no_news() {
        let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::convert::Infallible>>()
        });
        let teller = Teller::new(Client::new(nobody, "default"), "replica-1");
        let about = About {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: "n".to_owned(),
            name: "p".to_owned(),
            uid: "u".to_owned(),
        };
        let says = |minute: i64, message: &'static str, gist| Says {
            at: Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute),
            reason: "Refused",
            is_warning: true,
            message,
            gist,
            action: "Rightsize",
        };
        for (minute, message, gist, is_new) in [
            (0, "no; not before 10:00", "no", true),
            (1, "no; not before 12:00", "no", false),
            (2, "no, never", "no, never", true),
            (5, "no; not before 14:00", "no", true),
        ] {
            assert_eq!(teller.is_new(&about, &says(minute, message, gist)).await, is_new, "{message}");
        }
    }

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(shortened("→", NOTE_LIMIT), "→");
        let long = "→".repeat(400);
        let short = shortened(&long, NOTE_LIMIT);
        assert_eq!(short.len(), 1023);
        assert!(long.starts_with(&short));
    }
}
