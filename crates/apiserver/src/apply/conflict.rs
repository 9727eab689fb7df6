//! A refusal to apply: other managers own fields that the configuration would change.

use std::fmt;

use super::managers::{Entry, Operation};
use super::set::FieldSet;

/// One field and one of its owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner, as messages name it: `"x" with subresource "resize" using v1`.
    pub manager: String,
    /// The field: `.spec.containers[name="c1"].resources.requests.cpu`.
    pub path: String,
}

/// All conflicts of one apply, by manager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl Conflicts {
    /// The conflicts with these owners over these fields.
    pub fn of<'a>(owners: impl IntoIterator<Item = (&'a Entry, FieldSet)>) -> Self {
        let mut owners: Vec<_> = owners.into_iter().collect();
        owners.sort_by_key(|(entry, _)| (&entry.manager, entry.operation, &entry.api_version, &entry.subresource));
        let of_one = |(entry, fields): &(&Entry, FieldSet)| {
            let manager = named(entry);
            fields.paths().into_iter().map(move |path| Conflict { manager: manager.clone(), path }).collect::<Vec<_>>()
        };
        Self(owners.iter().flat_map(of_one).collect())
    }
}

fn named(entry: &Entry) -> String {
    let mut name = format!("{:?}", entry.manager);
    if !entry.subresource.is_empty() {
        name += &format!(" with subresource {:?}", entry.subresource);
    }
    if entry.operation == Operation::Update {
        name += &format!(" using {}", entry.api_version);
    }
    name
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: conflict with {}: {}", only.manager, only.path);
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut before: Option<&str> = None;
        for conflict in &self.0 {
            if before != Some(&conflict.manager) {
                let line = if before.is_some() { "\n" } else { "" };
                write!(f, "{line}conflicts with {}:", conflict.manager)?;
                before = Some(&conflict.manager);
            }
            write!(f, "\n- {}", conflict.path)?;
        }
        Ok(())
    }
}
