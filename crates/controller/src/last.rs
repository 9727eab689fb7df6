//! The note a resize leaves on its pod, `supple.dev/last-resize`: what was before, so that it can be undone, and what
//! was set, so that a change by somebody else can be noticed, also by a controller that was started afterwards.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use crate::change::{Change, find, same};

/// The annotation's name.
pub const ANNOTATION: &str = "supple.dev/last-resize";

/// Who resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Author {
    /// The loop.
    Controller,
    /// A person with `supple resize`.
    Resize,
    /// A person with `supple undo`.
    Undo,
}

/// The note.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastResize {
    /// Who.
    pub by: Author,
    /// When.
    pub at: Timestamp,
    /// The pod's generation before the change: while it is still that, the change has not been made.
    pub generation: i64,
    /// The changed numbers as they were; what was not set is absent.
    pub before: BTreeMap<String, Numbers>,
    /// The changed numbers as they were set.
    pub after: BTreeMap<String, Numbers>,
}

/// Numbers of one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// `requests`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, ApiQuantity>,
    /// `limits`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, ApiQuantity>,
}

/// What the pod's numbers are, compared with the note on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As the last resize set them.
    AsSet,
    /// As they were before it.
    AsBefore,
    /// Neither: somebody else changed them.
    Changed,
}

/// Why a note cannot be undone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// No note, or it cannot be read.
    #[error("no resize by supple is noted on it")]
    NoNote,
    /// The last one was an undo.
    #[error("its last resize has been undone already")]
    AlreadyUndone,
    /// It never took effect, or was put back by hand.
    #[error("its last resize is not in effect: the numbers are those from before it")]
    NotInEffect,
    /// Somebody changed the numbers since.
    #[error("its resources have been changed by somebody else since the last resize by supple")]
    ChangedSince,
    /// The resize added a number; Kubernetes has no way to take one away.
    #[error("its last resize added {0}, and a number that was added cannot be removed from a running pod")]
    CannotRemove(String),
}

impl LastResize {
    /// The note for `change`, which is about to be made to `pod`.
    pub fn of(pod: &Pod, change: &Change, by: Author, at: Timestamp) -> Self {
        let mut note = Self {
            by,
            at,
            generation: pod.metadata.generation.unwrap_or_default(),
            before: BTreeMap::new(),
            after: BTreeMap::new(),
        };
        for (name, new) in &change.containers {
            let now = find(pod, name).and_then(|(_, it)| it.resources.as_ref());
            let after = Numbers::of(Some(new));
            let mut before = Numbers::of(now);
            before.requests.retain(|key, _| after.requests.contains_key(key));
            before.limits.retain(|key, _| after.limits.contains_key(key));
            note.before.insert(name.clone(), before);
            note.after.insert(name.clone(), after);
        }
        note
    }

    /// The note on the pod. One that cannot be read counts as none: it is only an annotation, anybody may write it.
    pub fn read(pod: &Pod) -> Option<Self> {
        serde_json::from_str(pod.annotations().get(ANNOTATION)?).ok()
    }

    /// How the pod stands to it.
    pub fn standing(&self, pod: &Pod) -> Standing {
        if holds(pod, &self.after) {
            Standing::AsSet
        } else if holds(pod, &self.before) {
            Standing::AsBefore
        } else {
            Standing::Changed
        }
    }

    /// The change that undoes it.
    ///
    /// # Errors
    /// [`UndoError`] says why it cannot be undone.
    pub fn undo(pod: &Pod) -> Result<Change, UndoError> {
        let note = Self::read(pod).ok_or(UndoError::NoNote)?;
        if note.by == Author::Undo {
            return Err(UndoError::AlreadyUndone);
        }
        match note.standing(pod) {
            Standing::AsSet => {}
            Standing::AsBefore => return Err(UndoError::NotInEffect),
            Standing::Changed => return Err(UndoError::ChangedSince),
        }
        for (name, after) in &note.after {
            let before = note.before.get(name).cloned().unwrap_or_default();
            for (list, after, before) in
                [("requests", &after.requests, &before.requests), ("limits", &after.limits, &before.limits)]
            {
                if let Some(key) = after.keys().find(|it| !before.contains_key(*it)) {
                    return Err(UndoError::CannotRemove(format!("{list}.{key} to container {name:?}")));
                }
            }
        }
        let containers = note.before.into_iter().map(|(name, it)| (name, it.into())).collect();
        Ok(Change { containers })
    }
}

impl Numbers {
    fn of(resources: Option<&ResourceRequirements>) -> Self {
        Self {
            requests: resources.and_then(|it| it.requests.clone()).unwrap_or_default(),
            limits: resources.and_then(|it| it.limits.clone()).unwrap_or_default(),
        }
    }
}

impl From<Numbers> for ResourceRequirements {
    fn from(numbers: Numbers) -> Self {
        let list = |it: BTreeMap<String, ApiQuantity>| Some(it).filter(|it| !it.is_empty());
        Self { requests: list(numbers.requests), limits: list(numbers.limits), ..Self::default() }
    }
}

fn holds(pod: &Pod, wanted: &BTreeMap<String, Numbers>) -> bool {
    wanted.iter().all(|(name, wanted)| {
        let now = Numbers::of(find(pod, name).and_then(|(_, it)| it.resources.as_ref()));
        let list = |wanted: &BTreeMap<String, ApiQuantity>, now: &BTreeMap<String, ApiQuantity>| {
            wanted.iter().all(|(key, value)| now.get(key).is_some_and(|it| same(it, value)))
        };
        list(&wanted.requests, &now.requests) && list(&wanted.limits, &now.limits)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use supple_quantity::Quantity;

    use super::*;

    fn pod(cpu: &str, note: Option<&LastResize>) -> Pod {
        let annotations = note.map(|it| json!({ANNOTATION: serde_json::to_string(it).unwrap()}));
        serde_json::from_value(json!({
            "metadata": {"name": "p", "generation": 1, "annotations": annotations},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        }))
        .unwrap()
    }

    fn note(by: Author) -> LastResize {
        let mut change = Change::default();
        change.set("c", "cpu", false, &Quantity::milli_units(250));
        LastResize::of(&pod("100m", None), &change, by, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_note_is_compact_and_readable() {
        let text = serde_json::to_string(&note(Author::Controller)).unwrap();
        let expect = r#"{"by":"controller","at":"1970-01-01T00:00:00Z","generation":1,"before":{"c":{"requests":{"cpu":"100m"}}},"after":{"c":{"requests":{"cpu":"250m"}}}}"#;
        assert_eq!(text, expect);
        assert_eq!(LastResize::read(&pod("250m", Some(&note(Author::Undo)))), Some(note(Author::Undo)));
    }

    #[track_caller]
    fn check_undo(pod: &Pod, expect: Result<&str, &str>) {
        match (LastResize::undo(pod), expect) {
            (Ok(change), Ok(cpu)) => {
                assert_eq!(change.containers["c"].requests.as_ref().unwrap()["cpu"].0, cpu);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, expect) => panic!("{got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn undo_puts_back_only_what_it_set() {
        check_undo(&pod("250m", Some(&note(Author::Resize))), Ok("100m"));
        check_undo(&pod("0.25", Some(&note(Author::Controller))), Ok("100m"));
        check_undo(&pod("250m", None), Err("no resize by supple is noted"));
        check_undo(&pod("250m", Some(&note(Author::Undo))), Err("undone already"));
        check_undo(&pod("100m", Some(&note(Author::Resize))), Err("not in effect"));
        check_undo(&pod("300m", Some(&note(Author::Resize))), Err("changed by somebody else"));
    }

    #[test]
    fn what_was_added_cannot_be_undone() {
        let mut change = Change::default();
        change.set("c", "memory", true, &Quantity::binary(1 << 20));
        let note = LastResize::of(&pod("100m", None), &change, Author::Resize, Timestamp::UNIX_EPOCH);
        let mut after = change.applied_to(&pod("100m", None));
        after.metadata.annotations =
            Some([(ANNOTATION.to_owned(), serde_json::to_string(&note).unwrap())].into_iter().collect());
        check_undo(&after, Err("added limits.memory to container \"c\""));
    }

    #[test]
    fn rubbish_in_the_annotation_is_no_note() {
        let mut pod = pod("1", None);
        pod.metadata.annotations = Some([(ANNOTATION.to_owned(), "{]".to_owned())].into_iter().collect());
        assert_eq!(LastResize::read(&pod), None);
    }
}
