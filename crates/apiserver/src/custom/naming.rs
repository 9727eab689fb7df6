//! Which names a definition may have beside the others, and what its status says about it: accepted, established,
//! terminating.

use serde_json::{Map, Value, json};

use super::definition::condition;
use crate::kinds::TABLE;
use crate::tree::{at, items, text};

/// Names that are taken in a group.
#[derive(Debug, Default)]
pub struct Taken {
    resources: Vec<String>,
    kinds: Vec<String>,
}

impl Taken {
    /// What the server's own kinds and the accepted names of other definitions take of the group of `definition`.
    pub fn beside<'a>(definition: &Value, others: impl Iterator<Item = &'a Value>) -> Self {
        let group = text(definition, "spec.group");
        let mut taken = Self::default();
        for row in TABLE.iter().filter(|it| it.group == group) {
            taken.resources.extend([row.plural, row.singular].map(str::to_owned));
            taken.resources.extend(row.short_names.iter().map(|it| (*it).to_owned()));
            taken.kinds.extend([row.kind, row.list_kind].map(str::to_owned));
        }
        for other in others {
            let is_itself = text(other, "metadata.name") == text(definition, "metadata.name");
            if is_itself || text(other, "spec.group") != group {
                continue;
            }
            let names = at(other, "status.acceptedNames");
            taken.resources.extend(["plural", "singular"].map(|it| text(names, it).to_owned()));
            taken.resources.extend(items(names, "shortNames").iter().filter_map(|it| Some(it.as_str()?.to_owned())));
            taken.kinds.extend(["kind", "listKind"].map(|it| text(names, it).to_owned()));
        }
        taken
    }
}

/// The status that a definition should have; `now` is the time of conditions that change.
pub fn status(definition: &Value, taken: &Taken, now: &str) -> Value {
    let mut accepted = Map::new();
    let mut refused: Option<(&str, &str)> = None;
    let before = at(definition, "status.acceptedNames");
    let wanted = at(definition, "spec.names");
    for (field, among, reason) in [
        ("plural", &taken.resources, "PluralConflict"),
        ("singular", &taken.resources, "SingularConflict"),
        ("kind", &taken.kinds, "KindConflict"),
        ("listKind", &taken.kinds, "ListKindConflict"),
    ] {
        let name = text(wanted, field);
        if among.iter().any(|it| it == name) && !name.is_empty() {
            refused.get_or_insert((reason, name));
            accepted.insert(field.to_owned(), text(before, field).into());
        } else if !name.is_empty() {
            accepted.insert(field.to_owned(), name.into());
        }
    }
    let short = items(wanted, "shortNames");
    match short.iter().filter_map(Value::as_str).find(|name| taken.resources.iter().any(|it| it == name)) {
        Some(name) => drop(refused.get_or_insert(("ShortNamesConflict", name))),
        None if !short.is_empty() => drop(accepted.insert("shortNames".to_owned(), short.into())),
        None => {}
    }
    let categories = items(wanted, "categories");
    if !categories.is_empty() {
        accepted.insert("categories".to_owned(), categories.into());
    }
    let is_established = condition(definition, "Established").is_some_and(|it| it["status"] == "True");
    let named = match refused {
        None => ("NamesAccepted", "True", "NoConflicts", "no conflicts found".to_owned()),
        Some((reason, name)) => ("NamesAccepted", "False", reason, format!("{name:?} is already in use")),
    };
    let established = if refused.is_none() || is_established {
        ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted".to_owned())
    } else {
        ("Established", "False", "NotAccepted", "not all names are accepted".to_owned())
    };
    let mut status = at(definition, "status").clone();
    if !status.is_object() {
        status = json!({});
    }
    status["acceptedNames"] = accepted.into();
    let mut conditions = items(definition, "status.conditions").to_vec();
    put(&mut conditions, named, now);
    put(&mut conditions, established, now);
    status["conditions"] = conditions.into();
    status
}

/// Sets a condition; its time changes with its status.
fn put(conditions: &mut Vec<Value>, (kind, status, reason, message): (&str, &str, &str, String), now: &str) {
    let mut next = json!({
        "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now,
    });
    match conditions.iter_mut().find(|it| text(it, "type") == kind) {
        Some(found) => {
            if text(found, "status") == status {
                next["lastTransitionTime"] = found["lastTransitionTime"].clone();
            }
            *found = next;
        }
        None => conditions.push(next),
    }
}

/// Marks a definition that is being deleted: its objects go next.
pub fn terminating(definition: &mut Value, now: &str) {
    let mut conditions = items(definition, "status.conditions").to_vec();
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon".to_owned();
    put(&mut conditions, ("Terminating", "True", "InstanceDeletionPending", message), now);
    definition["status"]["conditions"] = conditions.into();
}

/// Whether objects of the definition are served.
pub fn is_served(definition: &Value) -> bool {
    condition(definition, "Established").is_some_and(|it| it["status"] == "True")
}
