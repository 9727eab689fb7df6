//! The two ways to write: an update owns what it changes; an apply owns what it names, is refused where that would change
//! what others own, and removes what it named before and names no longer.

use serde_json::Value;

use super::codec::{self, Cover};
use super::compare::Comparison;
use super::conflict::Conflicts;
use super::last_applied;
use super::managers::{Entry, Managers, Operation, Writer};
use super::merge::merge;
use super::owned;
use super::place::Place;
use super::remove::{with_named, without};
use super::scope::Scope;
use super::set::FieldSet;
use crate::schema::{Shape, ShapeId, types};

/// The manager of everything that was there when an object was applied for the first time.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes what kind of object, by which way and when.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    /// The object's type; `None`: without a schema.
    pub shape: Option<ShapeId>,
    /// Who.
    pub by: Writer<'a>,
    /// What can be owned by this way.
    pub scope: Scope,
    /// The time, as the API writes it.
    pub now: &'a str,
}

/// Why a configuration was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The configuration is no object of its type.
    #[error("{0}")]
    Mistake(String),
    /// The entries of the stored object cannot be read.
    #[error("failed to decode managed fields: {0}")]
    Managers(String),
    /// Others own what it would change.
    #[error("{0}")]
    Conflicts(Conflicts),
}

/// An object after an apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object, without `managedFields`; not yet defaulted, and with nulls where parts were removed.
    pub object: Value,
    /// `managedFields`; null for none.
    pub managed: Value,
}

/// What a plain write that made `new` of `old` (`None`: a creation) changed of what can be owned.
pub fn changes(edit: Edit<'_>, old: Option<&Value>, new: &Value) -> Comparison {
    let place = Place::root(edit.shape);
    edit.scope.of_changes(&match old {
        Some(old) => Comparison::of(place, old, new),
        None => Comparison::of(place, &blank(edit.shape), new),
    })
}

/// The `managedFields` after a plain write that changed this; `managed` are those before.
pub fn record(edit: Edit<'_>, changes: &Comparison, managed: Value) -> Value {
    if changes.is_empty() {
        return managed;
    }
    match steady(edit, changes, managed) {
        Ok(managed) => managed,
        Err(managed) => {
            let mut managers = Managers::decode(&managed).unwrap_or_default();
            write_down(edit, changes, &mut managers);
            managers.encode()
        }
    }
}

/// Whether a client that sends these `managedFields` wants them to count: they can be read and own something.
pub fn is_list(managed: &Value) -> bool {
    Managers::decode(managed).is_ok_and(|managers| !managers.0.is_empty())
}

/// Whether a client that sends these `managedFields` wants nobody to own anything: one empty entry, `[{}]`.
pub fn is_reset(managed: &Value) -> bool {
    matches!(entries(managed), [Value::Object(entry)] if entry.is_empty())
}

/// The usual write changes only what its writer owns already: then nothing but the time is another, and no entry is
/// decoded. `Err` gives the list back where it is not so.
fn steady(edit: Edit<'_>, changes: &Comparison, mut managed: Value) -> Result<Value, Value> {
    let own = entries(&managed).iter().position(|entry| is_of(entry, edit.by));
    let covers = |entry: &Value, set: &FieldSet, wanted| {
        entry.get("fieldsV1").is_some_and(|fields| codec::covers(fields, set, wanted))
    };
    let written = [&changes.added, &changes.modified];
    let fits = entries(&managed).iter().enumerate().all(|(at, entry)| {
        let wanted = if Some(at) == own { Cover::All } else { Cover::None };
        covers(entry, &changes.removed, Cover::None) && written.iter().all(|set| covers(entry, set, wanted))
    });
    let writes = written.iter().any(|set| !set.is_empty());
    match (fits, own) {
        (true, _) if !writes => Ok(managed),
        (true, Some(own)) => {
            let list = managed.as_array_mut().expect("it has the entry that was found");
            let entry = &mut list[own];
            if entry.get("time").and_then(Value::as_str) != Some(edit.now) {
                entry["time"] = edit.now.into();
                list.sort_by(|a, b| order(a).cmp(&order(b)));
            }
            Ok(managed)
        }
        _ => Err(managed),
    }
}

fn entries(managed: &Value) -> &[Value] {
    managed.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn is_of(entry: &Value, by: Writer<'_>) -> bool {
    text(entry, "manager") == by.manager
        && text(entry, "operation") == "Update"
        && text(entry, "apiVersion") == by.api_version
        && text(entry, "subresource") == by.subresource
}

fn order(entry: &Value) -> [&str; 5] {
    ["operation", "time", "manager", "apiVersion", "subresource"].map(|name| text(entry, name))
}

/// Moves what was written to its writer, and what is gone away from everybody.
fn write_down(edit: Edit<'_>, changes: &Comparison, managers: &mut Managers) {
    let written = changes.written();
    for entry in &mut managers.0 {
        entry.fields = entry.fields.difference(&written).difference(&changes.removed);
    }
    if !written.is_empty() {
        match managers.find(edit.by, Operation::Update) {
            Some(own) => {
                managers.0[own].fields.add(written);
                edit.now.clone_into(&mut managers.0[own].time);
            }
            None => managers.0.push(Entry::new(edit.by, Operation::Update, edit.now, written)),
        }
    }
    managers.0.retain(|entry| !entry.fields.is_empty());
    managers.cap();
}

/// Applies `config` to `live` (`None`: it is created), both without `managedFields`.
///
/// # Errors
/// [`ApplyError`]; nothing is taken then.
pub fn apply(
    edit: Edit<'_>,
    live: Option<&Value>,
    config: &Value,
    managed: &Value,
    force: bool,
) -> Result<Applied, ApplyError> {
    let place = Place::root(edit.shape);
    let blank = blank(edit.shape);
    let before = live.unwrap_or(&blank);
    let configured = owned::configured(place, config).map_err(ApplyError::Mistake)?;
    let wanted = edit.scope.of(&configured);
    let mut managers = Managers::decode(managed).map_err(ApplyError::Managers)?;
    if managers.0.is_empty()
        && let Some(live) = live
    {
        let by = Writer { manager: BEFORE_FIRST_APPLY, ..edit.by };
        let changes = edit.scope.of_changes(&Comparison::of(place, &blank, live));
        write_down(Edit { by, ..edit }, &changes, &mut managers);
    }
    let merged = merge(place, before, config);
    let own = managers.find(edit.by, Operation::Apply);
    let last = own.map(|own| managers.0.remove(own));
    let mut object = match &last {
        Some(last) => {
            // What cannot be owned counts as owned here: else it would go with the last field beside it.
            let owners = managers.0.iter().map(|entry| &entry.fields).chain([&configured]);
            prune(place, merged, owners, &last.fields)
        }
        None => merged,
    };
    let changes = edit.scope.of_changes(&Comparison::of(place, before, &object));
    let written = changes.written();
    if !force {
        let mut conflicts: Vec<_> =
            managers.0.iter().map(|entry| (entry, entry.fields.intersection(&written))).collect();
        if edit.by.manager == last_applied::MANAGER
            && let Some(theirs) = live.and_then(|live| last_applied::owned_by_annotation(place, live))
        {
            conflicts.iter_mut().for_each(|(_, fields)| *fields = fields.difference(&theirs));
        }
        conflicts.retain(|(_, fields)| !fields.is_empty());
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(Conflicts::of(conflicts)));
        }
    }
    for entry in &mut managers.0 {
        entry.fields = entry.fields.difference(&written).difference(&changes.removed);
    }
    managers.0.retain(|entry| !entry.fields.is_empty());
    let time = match &last {
        Some(last) if changes.is_empty() && last.fields == wanted => last.time.clone(),
        _ => edit.now.to_owned(),
    };
    managers.0.push(Entry::new(edit.by, Operation::Apply, &time, wanted));
    managers.cap();
    if edit.by.manager == last_applied::MANAGER {
        last_applied::refresh(&mut object, config);
    }
    Ok(Applied { object, managed: managers.encode() })
}

/// Takes away what the applier owned at its last apply and nobody owns now.
fn prune<'a>(place: Place, merged: Value, owners: impl Iterator<Item = &'a FieldSet>, last: &FieldSet) -> Value {
    if last.is_empty() {
        return merged;
    }
    let named = |set: &FieldSet, value: &Value| with_named(place, set, value);
    let last = named(last, &merged);
    let all = named(&owned::fields(place, &merged), &merged);
    let mut kept = FieldSet::default();
    owners.for_each(|set| kept.add(set.clone()));
    let kept = named(&kept, &merged);
    // Everything that was named goes, and with it what stands below; what others own comes back; what then is still gone
    // without having been named itself (it only stood below something that was) comes back too.
    let pruned = without(place, &merged, &last);
    let left = named(&owned::fields(place, &pruned), &pruned);
    let pruned = without(place, &merged, &all.difference(&left.union(&kept)));
    let left = named(&owned::fields(place, &pruned), &pruned);
    without(place, &merged, &all.difference(&left).intersection(&last))
}

/// An object of a type before anything has been said: the parts that are always there in the reference's types, so that
/// a creation does not own them for themselves.
fn blank(shape: Option<ShapeId>) -> Value {
    const ALWAYS: [&str; 5] = ["metadata", "spec", "status", "strategy", "updateStrategy"];
    let mut object = serde_json::Map::new();
    if let Some(Shape::Struct(of)) = shape.map(|id| types().get(id)) {
        for (name, field) in &of.fields {
            match types().get(field.shape) {
                Shape::Struct(_) if field.required || ALWAYS.contains(&name.as_str()) => {
                    object.insert(name.clone(), blank(Some(field.shape)));
                }
                Shape::List(_) if field.required => {
                    object.insert(name.clone(), Value::Null);
                }
                _ => {}
            }
        }
    }
    Value::Object(object)
}
