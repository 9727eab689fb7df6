//! The note a resize leaves on its pod, `supple.dev/last-resize`: what was before, so that it can be undone, and what
//! was set, so that a change by somebody else can be noticed, also by a controller that was started afterwards. It is where a resize under
//! way is remembered: on the pod itself, so that no crash forgets it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::predict::{Change, Sizes};

use crate::numbers::sizes_of;

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
    /// The loop, taking back a resize that did harm.
    RollBack,
}

impl Author {
    /// Whether nobody but the loop was at it.
    #[must_use]
    pub const fn is_loop(self) -> bool {
        matches!(self, Self::Controller | Self::RollBack)
    }
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
    pub before: BTreeMap<String, Sizes>,
    /// The changed numbers as they were set.
    pub after: BTreeMap<String, Sizes>,
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
            let mut before = sizes_of(pod, name);
            for (resource, requirement) in NUMBERS {
                if new.get(resource, requirement).is_none() {
                    before.set(resource, requirement, None);
                }
            }
            note.before.insert(name.clone(), before);
            note.after.insert(name.clone(), new.clone());
        }
        note
    }

    /// The note on the pod. One that cannot be read counts as none: it is only an annotation, anybody may write it.
    pub fn read(pod: &Pod) -> Option<Self> {
        serde_json::from_str(pod.metadata.annotations.as_ref()?.get(ANNOTATION)?).ok()
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
        if matches!(note.by, Author::Undo | Author::RollBack) {
            return Err(UndoError::AlreadyUndone);
        }
        match note.standing(pod) {
            Standing::AsSet => {}
            Standing::AsBefore => return Err(UndoError::NotInEffect),
            Standing::Changed => return Err(UndoError::ChangedSince),
        }
        for (name, after) in &note.after {
            let before = note.before.get(name).cloned().unwrap_or_default();
            for (resource, requirement) in NUMBERS {
                if after.get(resource, requirement).is_some() && before.get(resource, requirement).is_none() {
                    let list = match requirement {
                        Requirement::Request => "requests",
                        Requirement::Limit => "limits",
                    };
                    let what = format!("{list}.{} to container {name:?}", resource.as_str());
                    return Err(UndoError::CannotRemove(what));
                }
            }
        }
        Ok(Change { containers: note.before, pod: Sizes::default() })
    }
}

/// The numbers a note speaks of.
const NUMBERS: [(Resource, Requirement); 4] = [
    (Resource::Cpu, Requirement::Request),
    (Resource::Cpu, Requirement::Limit),
    (Resource::Memory, Requirement::Request),
    (Resource::Memory, Requirement::Limit),
];

fn holds(pod: &Pod, wanted: &BTreeMap<String, Sizes>) -> bool {
    wanted.iter().all(|(name, wanted)| wanted.beyond(&sizes_of(pod, name)).is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let change = Change::of_container("c", Sizes { cpu_request: "250m".parse().ok(), ..Sizes::default() });
        LastResize::of(&pod("100m", None), &change, by, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_note_is_compact_and_readable() {
        let text = serde_json::to_string(&note(Author::Controller)).unwrap();
        let expect = r#"{"by":"controller","at":"1970-01-01T00:00:00Z","generation":1,"before":{"c":{"cpuRequest":"100m"}},"after":{"c":{"cpuRequest":"250m"}}}"#;
        assert_eq!(text, expect);
        assert_eq!(LastResize::read(&pod("250m", Some(&note(Author::Undo)))), Some(note(Author::Undo)));
    }

    #[track_caller]
    fn check_undo(pod: &Pod, expect: Result<&str, &str>) {
        match (LastResize::undo(pod), expect) {
            (Ok(change), Ok(cpu)) => {
                assert_eq!(change.containers["c"].cpu_request, cpu.parse().ok());
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
        let change = Change::of_container("c", Sizes { memory_limit: "1Mi".parse().ok(), ..Sizes::default() });
        let note = LastResize::of(&pod("100m", None), &change, Author::Resize, Timestamp::UNIX_EPOCH);
        let mut after = change.applied_to(&pod("100m", None)).unwrap();
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
