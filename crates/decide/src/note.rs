//! The note a resize leaves on its pod, `supple.dev/last-resize`: what was before, so that it can be undone, and what
//! was set, so that a change by somebody else can be noticed, also by a controller that was started afterwards. It is where a resize under
//! way is remembered: on the pod itself, so that no crash forgets it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use supple_quantity::Quantity;
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::predict::{Change, Sizes};

use crate::names::{LAST_RESIZE, SIZED_AT_CREATION};
use crate::numbers::sizes_of;

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
    /// `supple uninstall --restore`.
    Restore,
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
    /// What was raised could not wait.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
    /// What earlier resizes of the loop lowered and those since have not given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowered: Option<Lowered>,
    /// What the pod had before the first resize of the loop, of the numbers of which `before` does not say that: it is what puts the
    /// pod back, whatever became of everything else. Absent in a person's note, whose resize nobody takes back but a person, and where
    /// VPA's updater had resized it before: there its template says what it is to have without either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<BTreeMap<String, Sizes>>,
}

/// The last decrease of a pod that was raised since: it is to blame for what befalls the pod for as long as the pod has less than
/// before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lowered {
    /// When.
    pub at: Timestamp,
    /// What the pod had before, of the numbers that are still below it.
    pub from: BTreeMap<String, Sizes>,
}

/// What the webhook leaves on a pod that it sizes as it is created. It is no resize: nothing is watched after it, no cool-down begins, and
/// the pod is in nobody's hand; but who removes us finds what the pod would have had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizedAtCreation {
    /// When.
    pub at: Timestamp,
    /// The changed numbers as its owner set them; what was not set is absent.
    pub before: BTreeMap<String, Sizes>,
    /// The changed numbers as they were set.
    pub after: BTreeMap<String, Sizes>,
}

impl SizedAtCreation {
    /// What stands on a pod. What cannot be read counts as nothing, as a note does.
    #[must_use]
    pub fn read(meta: &ObjectMeta) -> Option<Self> {
        serde_json::from_str(meta.annotations.as_ref()?.get(SIZED_AT_CREATION)?).ok()
    }
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
    #[error("it has no record of a resize by supple")]
    NoNote,
    /// The last one was an undo.
    #[error("its last resize is already undone")]
    AlreadyUndone,
    /// It never took effect, or was put back by hand.
    #[error("its last resize is not in effect: it has the sizes from before it")]
    NotInEffect,
    /// Somebody changed the numbers since.
    #[error("someone else has changed its resources since the last resize by supple")]
    ChangedSince,
    /// The resize added a number; Kubernetes has no way to take one away.
    #[error("its last resize added {0}, and a running pod cannot lose an added value")]
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
            urgent: false,
            lowered: None,
            first: None,
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

    /// The same note, where the one on the pod until now is `earlier`: what the pod had before all of them is carried on; a decrease of
    /// the loop's through its raises, number by number, until they have given it back. `pod` is as the change found it.
    #[must_use]
    pub fn following(mut self, earlier: Option<&Self>, pod: &Pod) -> Self {
        self.first = self.first_after(earlier);
        let of_loop = |it: &Self| it.by == Author::Controller;
        let Some(earlier) = earlier.filter(|it| of_loop(&self) && of_loop(it) && it.standing(pod) == Standing::AsSet)
        else {
            return self;
        };
        let own = self.lowers();
        let mut carried = earlier.lowered.clone().unwrap_or(Lowered { at: earlier.at, from: BTreeMap::new() });
        let newer = earlier.lowers();
        if !newer.is_empty() {
            carried.at = earlier.at;
        }
        for (name, resource, requirement, was) in newer {
            carried.from.entry(name).or_default().set(resource, requirement, Some(was));
        }
        for (name, from) in &mut carried.from {
            let has = sizes_of(pod, name);
            for (resource, requirement) in NUMBERS {
                let new = self.after.get(name).and_then(|it| it.get(resource, requirement));
                let new = new.or(has.get(resource, requirement));
                let is_below = from.get(resource, requirement).zip(new).is_some_and(|(from, new)| new < from);
                // What is lowered anew is judged by that.
                let anew = own.iter().any(|it| it.0 == *name && (it.1, it.2) == (resource, requirement));
                if !is_below || anew {
                    from.set(resource, requirement, None);
                }
            }
        }
        carried.from.retain(|_, from| *from != Sizes::default());
        if !own.is_empty() {
            carried.at = self.at;
        }
        self.lowered = Some(carried).filter(|it| !it.from.is_empty());
        self
    }

    /// What the pod had before the first note of the loop's, as far as this one's `before` does not say it. Whether the earlier ones were
    /// made does not matter: one that was not says what the pod had, too.
    fn first_after(&self, earlier: Option<&Self>) -> Option<BTreeMap<String, Sizes>> {
        if !self.by.is_loop() {
            return None;
        }
        let Some(earlier) = earlier else { return Some(BTreeMap::new()) };
        let mut first = earlier.first.clone()?;
        for (name, before) in &earlier.before {
            let own = first.entry(name.clone()).or_default();
            for (resource, requirement) in NUMBERS {
                let was = own.get(resource, requirement).or(before.get(resource, requirement)).cloned();
                own.set(resource, requirement, was);
            }
        }
        for (name, own) in &mut first {
            *own = self.before.get(name).map_or_else(|| own.clone(), |before| own.beyond(before));
        }
        first.retain(|_, own| !own.is_empty());
        Some(first)
    }

    /// The numbers it lowers, each with what it was before.
    fn lowers(&self) -> Vec<(String, Resource, Requirement, Quantity)> {
        let mut lowers = Vec::new();
        for (name, before) in &self.before {
            let Some(after) = self.after.get(name) else { continue };
            for (resource, requirement) in NUMBERS {
                let both = before.get(resource, requirement).zip(after.get(resource, requirement));
                if let Some((was, _)) = both.filter(|(was, is)| is < was) {
                    lowers.push((name.clone(), resource, requirement, was.clone()));
                }
            }
        }
        lowers
    }

    /// The note on the pod. One that cannot be read counts as none: it is only an annotation, anybody may write it.
    pub fn read(pod: &Pod) -> Option<Self> {
        serde_json::from_str(pod.metadata.annotations.as_ref()?.get(LAST_RESIZE)?).ok()
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
        if matches!(note.by, Author::Undo | Author::RollBack | Author::Restore) {
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
pub(crate) const NUMBERS: [(Resource, Requirement); 4] = [
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
        let annotations = note.map(|it| json!({LAST_RESIZE: serde_json::to_string(it).unwrap()}));
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
        check_undo(&pod("250m", None), Err("no record of a resize by supple"));
        check_undo(&pod("250m", Some(&note(Author::Undo))), Err("already undone"));
        check_undo(&pod("100m", Some(&note(Author::Resize))), Err("not in effect"));
        check_undo(&pod("300m", Some(&note(Author::Resize))), Err("someone else has changed"));
    }

    #[test]
    fn what_was_added_cannot_be_undone() {
        let change = Change::of_container("c", Sizes { memory_limit: "1Mi".parse().ok(), ..Sizes::default() });
        let note = LastResize::of(&pod("100m", None), &change, Author::Resize, Timestamp::UNIX_EPOCH);
        let mut after = change.applied_to(&pod("100m", None)).unwrap();
        after.metadata.annotations =
            Some([(LAST_RESIZE.to_owned(), serde_json::to_string(&note).unwrap())].into_iter().collect());
        check_undo(&after, Err("added limits.memory to container \"c\""));
    }

    /// What is noted as lowered after these memory limits, each set by the loop in its turn; `None` where nothing is.
    #[track_caller]
    fn check_lowered(limits: &[&str], expect: Option<(i64, &str)>) {
        let pod = |limit: &str| -> Pod {
            let resources = json!({"limits": {"memory": limit}});
            serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "resources": resources}]}})).unwrap()
        };
        let mut note: Option<LastResize> = None;
        for (second, two) in (1..).zip(limits.windows(2)) {
            let change = Change::of_container("c", Sizes { memory_limit: two[1].parse().ok(), ..Sizes::default() });
            let at = Timestamp::from_second(second).unwrap();
            let new = LastResize::of(&pod(two[0]), &change, Author::Controller, at);
            note = Some(new.following(note.as_ref(), &pod(two[0])));
        }
        let lowered = note.unwrap().lowered.map(|it| (it.at.as_second(), it.from["c"].memory_limit.clone().unwrap()));
        assert_eq!(lowered, expect.map(|(second, limit)| (second, limit.parse().unwrap())), "{limits:?}");
    }

    #[test]
    fn a_decrease_is_noted_until_it_is_given_back() {
        check_lowered(&["320Mi", "20Mi"], None);
        check_lowered(&["320Mi", "20Mi", "30Mi"], Some((1, "320Mi")));
        check_lowered(&["320Mi", "20Mi", "30Mi", "50Mi"], Some((1, "320Mi")));
        check_lowered(&["320Mi", "20Mi", "30Mi", "320Mi"], None);
        check_lowered(&["320Mi", "20Mi", "30Mi", "25Mi"], None);
        check_lowered(&["320Mi", "20Mi", "30Mi", "25Mi", "27Mi"], Some((3, "30Mi")));
        let text = r#"{"by":"controller","at":"1970-01-01T00:00:02Z","generation":0,"before":{},"after":{},"lowered":{"at":"1970-01-01T00:00:01Z","from":{"c":{"memoryLimit":"320Mi"}}}}"#;
        let note: LastResize = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&note).unwrap(), text);
    }

    /// What is noted as had at first after these CPU and memory requests, each set by this author in its turn.
    #[track_caller]
    fn check_first(steps: &[(Author, &str, &str)], expect: Option<(Option<&str>, Option<&str>)>) {
        let sizes = |cpu: &str, memory: &str| Sizes {
            cpu_request: cpu.parse().ok(),
            memory_request: memory.parse().ok(),
            ..Sizes::default()
        };
        let mut pod: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "c"}]}})).unwrap();
        pod = Change::of_container("c", sizes(steps[0].1, steps[0].2)).applied_to(&pod).unwrap();
        let mut note: Option<LastResize> = None;
        for (by, cpu, memory) in &steps[1..] {
            let wanted = Change::of_container("c", sizes(cpu, memory)).applied_to(&pod).unwrap();
            let change = Change::between(&pod, &wanted);
            let new = LastResize::of(&pod, &change, *by, Timestamp::UNIX_EPOCH);
            note = Some(new.following(note.as_ref(), &pod));
            pod = wanted;
        }
        let first = note.unwrap().first.map(|it| it.get("c").cloned().unwrap_or_default());
        let first = first.map(|it| (it.cpu_request, it.memory_request));
        let read = |it: Option<&str>| it.map(|it| it.parse().unwrap());
        assert_eq!(first, expect.map(|(cpu, memory)| (read(cpu), read(memory))), "{steps:?}");
    }

    #[test]
    fn what_a_pod_had_at_first_is_carried_on_through_all_resizes() {
        use Author::{Controller, Resize, RollBack};
        let begin = (Controller, "2", "1Gi");
        check_first(&[begin, (Controller, "1", "1Gi")], Some((None, None)));
        check_first(&[begin, (Controller, "1", "1Gi"), (Controller, "500m", "1Gi")], Some((Some("2"), None)));
        // A number that the last one left alone, and one that it was the first to change.
        check_first(&[begin, (Controller, "1", "1Gi"), (Controller, "1", "64Mi")], Some((Some("2"), None)));
        let twice = [begin, (Controller, "1", "512Mi"), (Controller, "1", "64Mi"), (Controller, "500m", "64Mi")];
        check_first(&twice, Some((Some("2"), Some("1Gi"))));
        // It went back to where it was, and down once more.
        let again = [begin, (Controller, "1", "1Gi"), (RollBack, "2", "1Gi"), (Controller, "1", "1Gi")];
        check_first(&again, Some((None, None)));
        check_first(&again[..3], Some((Some("2"), None)));
        check_first(&[begin, (Resize, "1", "1Gi")], None);
        check_first(&[begin, (Resize, "1", "1Gi"), (Controller, "500m", "1Gi")], None);
    }

    #[test]
    fn rubbish_in_the_annotation_is_no_note() {
        let mut pod = pod("1", None);
        pod.metadata.annotations = Some([(LAST_RESIZE.to_owned(), "{]".to_owned())].into_iter().collect());
        assert_eq!(LastResize::read(&pod), None);
    }
}
