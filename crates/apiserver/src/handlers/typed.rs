//! The two writes that a cluster sees more often than all others together, on pods as they are in memory: a resize of CPU and
//! memory, and what a node of this process says of a pod. Neither is made into a tree, and of the text only what is another
//! is written anew. The rules are those of every write ([`Passage`]); whatever is not usual, and whatever is to be refused,
//! is left to the next more general way ([`super::usual`], [`super::write`]).

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use serde::{Deserialize, Deserializer};
use supple_quantity::Quantity;
use supple_resize::status::fields::{as_written, take};

use super::Api;
use super::differing;
use super::ownership::Author;
use crate::apply::Comparison;
use crate::errors::ApiError;
use crate::kinds;
use crate::options::WriteOptions;
use crate::patch::PatchType;
use crate::route::Target;
use crate::store::{Draft, Expect, Object, Replaced, Write};
use crate::strategy::{Part, Passage};

/// Who writes what the cluster's own parts write, as their requests name it.
const OWN: &str = "supple";

/// Fields of a status that selectors ask for.
const SELECTABLE: [&str; 3] = ["nominatedNodeName", "phase", "podIP"];

/// A resize of the usual form: amounts of named containers, and nothing else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sizes<'a> {
    #[serde(borrow)]
    spec: Spec<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec<'a> {
    #[serde(borrow)]
    containers: Vec<Container<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Container<'a> {
    name: &'a str,
    #[serde(borrow)]
    resources: Resources<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resources<'a> {
    #[serde(borrow, default)]
    limits: Amounts<'a>,
    #[serde(borrow, default)]
    requests: Amounts<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Amounts<'a> {
    #[serde(borrow, default)]
    cpu: Given<'a>,
    #[serde(borrow, default)]
    memory: Given<'a>,
}

/// An amount, if there is one. A null, which would take it away, is none.
#[derive(Debug, Default)]
struct Given<'a>(Option<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Given<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <&str>::deserialize(from).map(|text| Self(Some(text)))
    }
}

impl<'a> Sizes<'a> {
    /// The patch, if it is one.
    pub(super) fn of(part: Part, patch_type: PatchType, options: &WriteOptions, body: &'a [u8]) -> Option<Self> {
        if part != Part::Resize || patch_type != PatchType::Strategic || options.dry_run {
            return None;
        }
        serde_json::from_slice(body).ok()
    }

    /// Makes it so. `None`: that has to be looked at more closely.
    fn apply_to(&self, pod: &mut Pod) -> Option<()> {
        let spec = pod.spec.as_mut()?;
        for (index, Container { name, resources }) in self.spec.containers.iter().enumerate() {
            if self.spec.containers[..index].iter().any(|it| it.name == *name) {
                return None;
            }
            let container = spec.containers.iter_mut().find(|it| it.name == *name)?;
            let own = container.resources.get_or_insert_default();
            for (given, list) in [(&resources.limits, &mut own.limits), (&resources.requests, &mut own.requests)] {
                for (name, amount) in [("cpu", &given.cpu), ("memory", &given.memory)] {
                    let Given(Some(text)) = amount else { continue };
                    let mut amount: Quantity = text.trim().parse().ok()?;
                    amount.round_up_to_milli();
                    list.get_or_insert_default().insert(name.to_owned(), ApiQuantity(amount.to_string()));
                }
            }
        }
        Some(())
    }
}

/// What a node says of a pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    /// Of which namespace the pod is.
    pub(crate) namespace: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
    /// Its UID: a new pod of the same name must not get the old one's status.
    pub(crate) uid: &'a str,
    /// The status.
    pub(crate) status: &'a PodStatus,
    /// The fields of it that are said; the others stay as they are stored.
    pub(crate) fields: &'a [&'a str],
}

/// A write of one part of a pod.
struct Step<'a> {
    target: &'a Target,
    author: &'a Author,
    part: Part,
    /// What is replaced, and the pod that it is.
    old: &'a Object,
    before: Arc<Pod>,
}

impl Api {
    /// What a resize makes of this state of a pod, and what must be written with it; `None` where that has to be worked out
    /// in a more general way.
    pub(super) fn resized(
        &self,
        target: &Target,
        author: &Author,
        old: &Object,
        wanted: &Sizes<'_>,
    ) -> Option<(Write, Vec<Write>)> {
        let before = self.undisturbed(old)?;
        let mut pod = Pod::clone(&before);
        wanted.apply_to(&mut pod)?;
        let (stored, asked) = differing::sizes(&before, &pod)?;
        let changes = author.changes(&stored, &asked);
        let step = Step { target, author, part: Part::Resize, old, before };
        self.stepped(step, pod, |before, pod| {
            let (stored, made) = differing::sizes(before, pod)?;
            // Nearly always what was asked for is what comes of it.
            Some(if made == asked { changes } else { changes.then(author.changes(&stored, &made)) })
        })
    }

    /// Writes down what a node of this process says of a pod, as a patch of its status would. `false`: it is not of the usual
    /// kind, and has to be sent as one.
    ///
    /// # Errors
    /// 500 when it cannot be stored.
    pub(crate) async fn report(&self, word: Word<'_>) -> Result<bool, ApiError> {
        let Some(resource) = kinds::find("", "v1", "pods") else { return Ok(false) };
        let (namespace, name) = (word.namespace.to_owned(), word.name.to_owned());
        let target = Target { resource, namespace, name, subresource: resource.subresource("status") };
        let author = Author::named(&target, OWN);
        let written = self.attempt(&target, |old| self.reported(&target, &author, old, word)).await?;
        Ok(written.is_some())
    }

    fn reported(&self, target: &Target, author: &Author, old: &Object, word: Word<'_>) -> Option<(Write, Vec<Write>)> {
        let before = self.undisturbed(old)?;
        if before.metadata.uid.as_deref() != Some(word.uid) || word.fields.iter().any(|it| SELECTABLE.contains(it)) {
            return None;
        }
        let mut pod = Pod::clone(&before);
        let status = pod.status.get_or_insert_default();
        for name in word.fields {
            take(name, status, word.status)?;
        }
        as_written(status);
        let step = Step { target, author, part: Part::Status, old, before };
        self.stepped(step, pod, |before, pod| {
            let (stored, made) = differing::statuses(before, pod, word.fields)?;
            Some(author.changes(&stored, &made))
        })
        .filter(|(write, _)| !write.draft.is_unchanged_from(old))
    }

    /// The pod that this object is, unless others are asked about writes or it is on its way out.
    fn undisturbed(&self, old: &Object) -> Option<Arc<Pod>> {
        let pod = old.pod().ok()?;
        (pod.metadata.deletion_timestamp.is_none() && !self.webhooks.any()).then_some(pod)
    }

    /// The write of what becomes of this pod; `changes` says what its author has changed.
    fn stepped(
        &self,
        step: Step<'_>,
        pod: Pod,
        changes: impl FnOnce(&Pod, &Pod) -> Option<Comparison>,
    ) -> Option<(Write, Vec<Write>)> {
        let Step { target, author, part, old, before } = step;
        let mut passage = Passage::update_pod(&self.store, target, part, pod, Arc::clone(&before)).ok()?;
        passage.prepare();
        passage.validate().ok()?;
        passage.admit().ok()?;
        let (mut pod, also) = passage.charge_pod()?;
        let generation = std::mem::replace(&mut pod.metadata.generation, before.metadata.generation);
        if pod.metadata != before.metadata {
            return None;
        }
        pod.metadata.generation = generation;
        let (name, json) = match part {
            Part::Status => ("status", serde_json::to_vec(pod.status.as_ref()?)),
            _ => ("spec", serde_json::to_vec(pod.spec.as_ref()?)),
        };
        let now = self.clock.now();
        let managed = author.recorded(&changes(&before, &pod)?, &old.managed()?, now)??;
        let replaced = Replaced { generation: generation?, managed: &managed, part: name, json: &json.ok()? };
        let draft = Draft::again(old, replaced)?;
        let expect = Expect::Revision(old.revision);
        Some((Write { key: old.key.clone(), expect, draft: draft.known(Some(pod)), remove: false }, also))
    }
}
