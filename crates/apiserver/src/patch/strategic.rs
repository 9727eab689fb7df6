//! Strategic merge: a patch has the form of the object, lists are merged by the keys of the [types](crate::schema), and
//! directives say the rest: `$patch` (`replace`, `delete`), `$retainKeys`, `$setElementOrder/<list>`,
//! `$deleteFromPrimitiveList/<list>`. Semantics are those of Kubernetes v1.36
//! (apimachinery `strategicpatch`); the merge works on the stored object in place and only reads the patch.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::order;
use crate::fields::go_kind;
use crate::schema::ownership::Ownership;
use crate::schema::{Field, ListMerge, Merge, Shape, ShapeId, types};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// An object's fields.
type Fields = Map<String, Value>;

/// Why a strategic merge is impossible. Texts are the reference's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// `$patch` with a word it does not know.
    #[error("unknown patch type: {word} in map: {map}")]
    UnknownDirective {
        /// The word.
        word: String,
        /// The item, as Go prints it.
        map: String,
    },
    /// `$patch: merge` on an item of a list.
    #[error("merging lists cannot yet be specified in the patch")]
    MergeList,
    /// An item of a list without the field that tells items apart.
    #[error("map: {map} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The item, as Go prints it.
        map: String,
        /// The field.
        key: String,
    },
    /// A list in a list where lists are merged.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// Items of different kinds in one list.
    #[error("list element types are not identical: {0}, {1}")]
    MixedList(&'static str, &'static str),
    /// A `$deleteFromPrimitiveList` that is no list of plain values.
    #[error("invalid patch format of primitive list")]
    BadPrimitiveList,
    /// A `$retainKeys` that is no list, or a patch that sets a key it does not retain.
    #[error("invalid patch format of retainKeys")]
    BadRetainKeys,
    /// A directive on a field that is no list.
    #[error("expected a {expected}, but received a {received}")]
    BadArgument {
        /// What the directive needs.
        expected: &'static str,
        /// What was there.
        received: &'static str,
    },
    /// A patch list whose items are not in the order `$setElementOrder` says.
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    OrderMismatch {
        /// The patch list, as Go prints it.
        patch: String,
        /// The order, as Go prints it.
        order: String,
    },
}

/// Merges `patch` into `object`, an object of the type `shape`.
///
/// # Errors
/// [`MergeError`]; `object` may then be merged in part and is to be thrown away.
pub fn merge(object: &mut Fields, patch: &Fields, shape: Option<ShapeId>) -> Result<(), MergeError> {
    match patch.get(PATCH).map(Value::as_str) {
        None => {}
        Some(Some("replace")) => {
            *object = without_directives(patch);
            return Ok(());
        }
        Some(Some("delete")) => {
            object.clear();
            return Ok(());
        }
        Some(_) => return Err(unknown_directive(patch)),
    }
    retain_keys(object, patch)?;
    let mut ordered = HashSet::new();
    for (key, order) in patch {
        if let Some(list) = key.strip_prefix(SET_ORDER) {
            merge_ordered_list(object, patch, list, order, field(shape, list))?;
            ordered.insert(list);
        }
    }
    for (key, value) in patch {
        if key == RETAIN_KEYS || key.starts_with(SET_ORDER) || ordered.contains(key.as_str()) {
            continue;
        }
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            delete_from_primitives(object, list, value)?;
            continue;
        }
        merge_field(object, key, value, field(shape, key))?;
    }
    Ok(())
}

/// Shape and merge rule of a field; keys of maps have the shape of the map's values.
fn field(shape: Option<ShapeId>, name: &str) -> Option<Field> {
    match types().get(shape?) {
        Shape::Struct(of) => of.fields.get(name).copied(),
        Shape::Map(of) => {
            Some(Field { shape: *of, merge: Merge::DEFAULT, ownership: Ownership::Default, required: false })
        }
        Shape::List(_) | Shape::Scalar(_) => None,
    }
}

fn merge_field(object: &mut Fields, key: &str, patch: &Value, field: Option<Field>) -> Result<(), MergeError> {
    if patch.is_null() {
        object.remove(key);
        return Ok(());
    }
    match (object.get_mut(key), patch) {
        (Some(Value::Object(stored)), Value::Object(patch)) if field.is_some_and(|it| it.merge.whole) => {
            *stored = without_directives(patch);
            Ok(())
        }
        (Some(Value::Object(stored)), Value::Object(patch)) => merge(stored, patch, field.map(|it| it.shape)),
        (Some(Value::Array(stored)), Value::Array(patch)) => merge_list(stored, patch, field),
        (Some(stored), patch) => {
            *stored = taken(patch).unwrap_or(Value::Null);
            Ok(())
        }
        (None, patch) => {
            if let Some(value) = taken(patch) {
                object.insert(key.to_owned(), value);
            }
            Ok(())
        }
    }
}

fn merge_list(stored: &mut Vec<Value>, patch: &[Value], field: Option<Field>) -> Result<(), MergeError> {
    let merge_rule = field.map_or(ListMerge::Replace, |it| it.merge.list);
    if merge_rule == ListMerge::Replace {
        *stored = patch.to_vec();
        return Ok(());
    }
    if stored.is_empty() && patch.is_empty() {
        return Ok(());
    }
    let items = items_of(stored.iter().chain(patch))?;
    match merge_rule {
        ListMerge::ByKey(key) if items == Items::Objects => {
            let shape = field.and_then(|it| match types().get(it.shape) {
                Shape::List(of) => Some(*of),
                _ => None,
            });
            merge_by_key(stored, patch, key, shape)
        }
        _ => {
            let before = stored.clone();
            let mut seen: HashSet<&Value> = HashSet::new();
            *stored = before.iter().chain(patch).filter(|it| seen.insert(it)).cloned().collect();
            order::arrange(stored, &order::identities(patch, None), &before, None);
            Ok(())
        }
    }
}

fn merge_by_key(
    stored: &mut Vec<Value>,
    patch: &[Value],
    key: &'static str,
    shape: Option<ShapeId>,
) -> Result<(), MergeError> {
    // Directives first, wherever in the list they stand.
    let mut replace = false;
    let mut plain = Vec::with_capacity(patch.len());
    for item in patch {
        let Some(fields) = item.as_object() else { continue };
        match fields.get(PATCH).map(Value::as_str) {
            None => plain.push(item),
            Some(Some("delete")) => {
                let value = fields.get(key).ok_or_else(|| no_merge_key(item, key))?;
                stored.retain(|it| it.get(key) != Some(value));
            }
            Some(Some("replace")) => replace = true,
            Some(Some("merge")) => return Err(MergeError::MergeList),
            Some(_) => return Err(unknown_directive(fields)),
        }
    }
    if replace {
        *stored = plain.into_iter().filter_map(taken).collect();
        return Ok(());
    }
    // The usual patch names one stored item: it is merged in place, and the order stays as it is.
    if let [item] = plain[..]
        && let Some(value) = item.get(key)
        && let Some(found) = stored.iter_mut().find(|it| it.get(key) == Some(value))
        && let (Some(found), Some(item)) = (found.as_object_mut(), item.as_object())
    {
        return merge(found, item, shape);
    }
    let before = order::identities(stored, Some(key));
    let mut places = order::places(&before);
    for item in &plain {
        let value = item.get(key).ok_or_else(|| no_merge_key(item, key))?;
        let found = places.get(value).and_then(|place| stored.get_mut(*place)).and_then(Value::as_object_mut);
        match (found, item.as_object()) {
            (Some(found), Some(item)) => merge(found, item, shape)?,
            _ => {
                // Named again further on, it is merged with what is appended here.
                places.insert(value, stored.len());
                stored.extend(taken(item));
            }
        }
    }
    let wanted: Vec<Value> = plain.iter().filter_map(|it| it.get(key)).cloned().collect();
    order::arrange(stored, &wanted, &before, Some(key));
    Ok(())
}

/// `$setElementOrder/<list>`: the list of the patch, if there is one, is merged, and the outcome is put in this order.
fn merge_ordered_list(
    object: &mut Fields,
    patch: &Fields,
    list: &str,
    order: &Value,
    field: Option<Field>,
) -> Result<(), MergeError> {
    let order = as_list(order)?;
    let patch_list = patch.get(list).map(as_list).transpose()?;
    let before = object.get(list).map(as_list).transpose()?.map(<[Value]>::to_vec);
    let key = match field.map(|it| it.merge.list) {
        Some(ListMerge::ByKey(key)) => Some(key),
        _ => None,
    };
    check_order(patch_list.unwrap_or_default(), order, key)?;
    let mut merged = match (&before, patch_list) {
        (None, None) => return Ok(()),
        (Some(before), None) => before.clone(),
        (None, Some(patch)) => patch.iter().filter_map(taken).collect(),
        (Some(before), Some(patch)) => {
            let mut merged = before.clone();
            merge_list(&mut merged, patch, field)?;
            merged
        }
    };
    if let (Some(key), Some(item)) = (key, merged.iter().find(|it| key.is_some_and(|key| it.get(key).is_none()))) {
        return Err(no_merge_key(item, key));
    }
    let before = order::identities(before.as_deref().unwrap_or_default(), key);
    order::arrange(&mut merged, &order::identities(order, key), &before, key);
    object.insert(list.to_owned(), Value::Array(merged));
    Ok(())
}

/// The items of the patch must stand in `order` in the same relative order.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), MergeError> {
    let mut rest = order.iter();
    let in_order = patch
        .iter()
        .filter(|item| key.is_none() || item.get(PATCH).is_none())
        .all(|item| rest.any(|it| order::identity(it, key) == order::identity(item, key)));
    if in_order {
        Ok(())
    } else {
        Err(MergeError::OrderMismatch {
            patch: super::go_print(&Value::Array(patch.to_vec())),
            order: super::go_print(&Value::Array(order.to_vec())),
        })
    }
}

/// `$deleteFromPrimitiveList/<list>`: the values that go.
fn delete_from_primitives(object: &mut Fields, list: &str, values: &Value) -> Result<(), MergeError> {
    if list.is_empty() {
        return Err(MergeError::BadPrimitiveList);
    }
    let Value::Array(values) = values else { return Err(MergeError::BadPrimitiveList) };
    if items_of(values.iter())? == Items::Objects {
        return Err(MergeError::BadPrimitiveList);
    }
    if let Some(stored) = object.get_mut(list).and_then(Value::as_array_mut) {
        let values: HashSet<&Value> = values.iter().collect();
        stored.retain(|it| !values.contains(it));
    }
    Ok(())
}

/// `$retainKeys`: of the stored object only these keys stay, and the patch may set no other.
fn retain_keys(object: &mut Fields, patch: &Fields) -> Result<(), MergeError> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(MergeError::BadRetainKeys) };
    let keys: HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let retained = |key: &str| keys.contains(key);
    let strays = patch.iter().any(|(key, value)| {
        let directive = key == RETAIN_KEYS || key.starts_with(SET_ORDER) || key.starts_with(DELETE_FROM);
        !directive && !value.is_null() && !retained(key)
    });
    if strays {
        return Err(MergeError::BadRetainKeys);
    }
    object.retain(|key, _| retained(key));
    Ok(())
}

/// A value of the patch where nothing is stored: nulls and directives have nothing to act on and go; an item marked
/// `$patch: delete` goes with them.
fn taken(patch: &Value) -> Option<Value> {
    match patch {
        Value::Object(fields) => {
            let deleted = fields.get(PATCH).is_some_and(|it| it == "delete");
            (!deleted).then(|| Value::Object(without_directives(fields)))
        }
        Value::Array(items) => Some(Value::Array(items.iter().filter_map(taken).collect())),
        other => Some(other.clone()),
    }
}

fn without_directives(fields: &Fields) -> Fields {
    fields
        .iter()
        .filter(|(key, value)| {
            let directive =
                *key == PATCH || *key == RETAIN_KEYS || key.starts_with(SET_ORDER) || key.starts_with(DELETE_FROM);
            !directive && !value.is_null()
        })
        .filter_map(|(key, value)| Some((key.clone(), taken(value)?)))
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Items {
    None,
    Objects,
    Plain,
}

/// What a list holds; all its items must be alike, and none may be a list.
fn items_of<'a>(items: impl Iterator<Item = &'a Value>) -> Result<Items, MergeError> {
    let mut first: Option<&'static str> = None;
    for item in items {
        let kind = go_kind(item);
        if kind == "slice" {
            return Err(MergeError::ListOfLists);
        }
        match first {
            Some(first) if first != kind => return Err(MergeError::MixedList(first, kind)),
            _ => first = Some(kind),
        }
    }
    Ok(match first {
        None => Items::None,
        Some("map") => Items::Objects,
        Some(_) => Items::Plain,
    })
}

fn as_list(value: &Value) -> Result<&[Value], MergeError> {
    value.as_array().map(Vec::as_slice).ok_or(MergeError::BadArgument { expected: "slice", received: go_kind(value) })
}

fn no_merge_key(item: &Value, key: &str) -> MergeError {
    MergeError::NoMergeKey { map: super::go_print(item), key: key.to_owned() }
}

fn unknown_directive(fields: &Fields) -> MergeError {
    let word = fields.get(PATCH).map(super::go_print).unwrap_or_default();
    MergeError::UnknownDirective { word, map: super::go_print(&Value::Object(fields.clone())) }
}
