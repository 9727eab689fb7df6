//! Which of the fields that a request names can be owned by it at all: not what the server keeps for itself, and not
//! what the path it came by does not write.

use super::compare::Comparison;
use super::set::{Element, FieldSet};

/// What a path of the API writes, by paths of field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Everything but what is at or below these.
    Without(&'static [&'static [&'static str]]),
}

/// What nobody owns of `metadata`: the server fills it in.
const SERVERS_OWN: [&str; 9] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

impl Scope {
    /// The members of `set` that can be owned.
    #[must_use]
    pub fn of(self, set: &FieldSet) -> FieldSet {
        if set.is_empty() {
            return FieldSet::default();
        }
        let kept = set.filtered(&|path| self.keeps(path));
        without_marks(kept)
    }

    /// [`Scope::of`] for each part.
    #[must_use]
    pub fn of_changes(self, changes: &Comparison) -> Comparison {
        Comparison {
            added: self.of(&changes.added),
            modified: self.of(&changes.modified),
            removed: self.of(&changes.removed),
        }
    }

    fn keeps(self, path: &[&Element]) -> bool {
        match path {
            [only] if matches!(only.as_field(), Some("apiVersion" | "kind")) => return false,
            [first, second]
                if first.as_field() == Some("metadata")
                    && second.as_field().is_some_and(|name| SERVERS_OWN.contains(&name)) =>
            {
                return false;
            }
            _ => {}
        }
        let agrees =
            |pattern: &[&str]| pattern.iter().zip(path).all(|(step, element)| element.as_field() == Some(*step));
        match self {
            Self::All => true,
            Self::Without(patterns) => !patterns.iter().any(|it| path.len() >= it.len() && agrees(it)),
        }
    }
}

/// The object itself and `metadata` are nobody's.
fn without_marks(mut set: FieldSet) -> FieldSet {
    set.here = false;
    let metadata = Element::field("metadata");
    match set.at(&metadata) {
        Some(below) if below.here => {
            let mut mark = FieldSet::default();
            mark.put(metadata, FieldSet::leaf());
            set.difference(&mark)
        }
        _ => set,
    }
}
