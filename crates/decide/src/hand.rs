//! Whose hand a pod is in: a pod is resized by one hand only, and where that is not ours, the loop stands back.

use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use crate::note::{Author, LastResize, Standing};

/// The manager name of every write of ours.
pub const MANAGER: &str = "supple";

/// The subresource through which pods are resized, as managed fields name it.
pub const RESIZE: &str = "resize";

/// What VPA's updater notes on a pod that it has resized in place.
const VPA_RESIZED: &str = "vpaInPlaceUpdated";

/// The managers that it may be: the server takes the name of its program, which some packages rename.
const VPA_UPDATERS: [&str; 2] = ["updater", "vpa-updater"];

/// Who sets the pod's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hand {
    /// Nobody has resized it.
    Free,
    /// VPA's updater has, before us, and nobody else. Its entry in `managedFields` outlives it, and says nothing of who acts now: that does
    /// the `VerticalPodAutoscaler` ([`other_vertical`](crate::facts::WorkloadFacts::other_vertical)). Where none but ours speaks of the
    /// workload, the pod is ours to go on with. If the updater acts on it once more after us, it is another hand.
    Inherited,
    /// We did, last.
    Ours,
    /// Somebody else did.
    Theirs(Other),
}

/// Who the other is, as far as the pod tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Other {
    /// A person, with `supple resize`, `supple undo` or `supple uninstall`.
    Person(Author),
    /// The field manager of another program.
    Manager(String),
    /// Not known: the numbers are not what we set, and no manager is noted.
    Unknown,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(Author::Undo) => f.write_str("a person undid a resize"),
            Self::Person(Author::Restore) => f.write_str("`supple uninstall` restored its original sizes"),
            Self::Person(_) => f.write_str("a person resized it"),
            Self::Manager(name) => write!(f, "{name} set its resources"),
            Self::Unknown => f.write_str("someone else set its resources"),
        }
    }
}

/// Read it off the pod itself, so that a controller started a moment ago sees what its predecessor saw. The note says
/// what we set; `managedFields`, where the server keeps them, name the other one.
///
/// To give a pod back to the loop, remove the annotation and the managed fields, which the server begins anew, and let nobody else
/// resize it.
pub fn hand(pod: &Pod) -> Hand {
    let manager = other_manager(pod);
    let Some(note) = LastResize::read(pod) else {
        return match manager {
            None => Hand::Free,
            Some(_) if is_of_vpa_alone(pod) => Hand::Inherited,
            Some(it) => Hand::Theirs(Other::Manager(it)),
        };
    };
    if !note.by.is_loop() {
        return Hand::Theirs(Other::Person(note.by));
    }
    // The pod was never written after the note: the write was refused or interrupted, and the numbers are still those
    // we started from.
    let never_made = pod.metadata.generation.unwrap_or_default() <= note.generation;
    match note.standing(pod) {
        Standing::AsSet => Hand::Ours,
        Standing::AsBefore if never_made => Hand::Ours,
        Standing::AsBefore | Standing::Changed => Hand::Theirs(manager.map_or(Other::Unknown, Other::Manager)),
    }
}

/// The latest manager but us that wrote through `/resize`.
fn other_manager(pod: &Pod) -> Option<String> {
    others(pod).max_by_key(|it| it.time.as_ref().map(|it| it.0))?.manager.clone()
}

/// Whether nobody but us and VPA's updater wrote through `/resize`. Its name alone would be anybody's.
fn is_of_vpa_alone(pod: &Pod) -> bool {
    let noted = pod.metadata.annotations.as_ref().is_some_and(|it| it.contains_key(VPA_RESIZED));
    noted && others(pod).all(|it| it.manager.as_deref().is_some_and(|it| VPA_UPDATERS.contains(&it)))
}

fn others(pod: &Pod) -> impl Iterator<Item = &ManagedFieldsEntry> {
    let writes = pod.metadata.managed_fields.iter().flatten();
    writes.filter(|it| it.subresource.as_deref() == Some(RESIZE) && it.manager.as_deref() != Some(MANAGER))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use supple_resize::predict::{Change, Sizes};

    use super::*;
    use crate::names::LAST_RESIZE;

    fn pod(cpu: &str, generation: i64, by: Option<Author>, managers: Value) -> Pod {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "generation": 1, "managedFields": managers},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
        }))
        .unwrap();
        if let Some(by) = by {
            let change = cpu_request("250m");
            let note = serde_json::to_string(&LastResize::of(&pod, &change, by, Timestamp::UNIX_EPOCH)).unwrap();
            pod.metadata.annotations = Some([(LAST_RESIZE.to_owned(), note)].into_iter().collect());
        }
        pod.metadata.generation = Some(generation);
        cpu_request(cpu).applied_to(&pod).unwrap()
    }

    fn cpu_request(cpu: &str) -> Change {
        Change::of_container("c", Sizes { cpu_request: cpu.parse().ok(), ..Sizes::default() })
    }

    fn managers(name: &str) -> Value {
        json!([
            {"manager": "kubectl-create", "operation": "Update"},
            {"manager": MANAGER, "operation": "Update", "subresource": "resize", "time": "2026-01-01T00:00:00Z"},
            {"manager": name, "operation": "Update", "subresource": "resize", "time": "2026-01-02T00:00:00Z"},
        ])
    }

    #[track_caller]
    fn check(pod: &Pod, expect: Hand) {
        assert_eq!(hand(pod), expect);
    }

    #[test]
    fn nobody_or_us() {
        check(&pod("100m", 1, None, json!([])), Hand::Free);
        check(&pod("250m", 2, Some(Author::Controller), json!([])), Hand::Ours);
        check(&pod("100m", 1, Some(Author::Controller), json!([])), Hand::Ours);
    }

    #[test]
    fn somebody_else() {
        let unknown = || Hand::Theirs(Other::Unknown);
        check(&pod("300m", 3, Some(Author::Controller), json!([])), unknown());
        check(&pod("100m", 3, Some(Author::Controller), json!([])), unknown());
        let named = Hand::Theirs(Other::Manager("vpa-updater".into()));
        check(&pod("300m", 3, Some(Author::Controller), managers("vpa-updater")), named.clone());
        check(&pod("300m", 3, None, managers("vpa-updater")), named);
    }

    #[test]
    fn what_vpa_s_updater_left_is_nobody_s() {
        let of = |note: Option<Author>, managers: Value| {
            let mut pod = pod("300m", 3, note, managers);
            pod.metadata.annotations.get_or_insert_default().insert(VPA_RESIZED.to_owned(), "true".to_owned());
            pod
        };
        check(&of(None, managers("updater")), Hand::Inherited);
        check(&of(None, managers("vpa-updater")), Hand::Inherited);
        check(&of(None, json!([])), Hand::Free);
        let theirs = |name: &str| Hand::Theirs(Other::Manager(name.into()));
        check(&pod("300m", 3, None, managers("updater")), theirs("updater")); // which may be anybody's
        check(&of(None, managers("kubectl")), theirs("kubectl"));
        let mut both = managers("updater");
        let earlier = json!({"manager": "kubectl", "subresource": "resize", "time": "2025-12-31T00:00:00Z"});
        both.as_array_mut().unwrap().push(earlier);
        check(&of(None, both), theirs("updater"));
        // It has acted again after us: two would go on for ever.
        check(&of(Some(Author::Controller), managers("updater")), theirs("updater"));
        check(&of(Some(Author::Resize), managers("updater")), Hand::Theirs(Other::Person(Author::Resize)));
    }

    #[test]
    fn a_person() {
        for by in [Author::Resize, Author::Undo, Author::Restore] {
            check(&pod("250m", 2, Some(by), json!([])), Hand::Theirs(Other::Person(by)));
        }
    }
}
