//! What the server does to `metadata` of every object, whatever its kind: what it fills in, what a client may not set,
//! when an update clashes, when an object that is being deleted is gone.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::errors::{ApiError, Subject};
use crate::kinds::Resource;
use crate::route::Target;
use crate::strategy::Stored;

/// Length of what is appended to `generateName`.
const SUFFIX: usize = 5;
/// No vowels, so that no words arise; no digits that look like letters.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// The reference cuts `generateName` so that the name is a label.
const LONGEST_PREFIX: usize = 63 - SUFFIX;

/// The object's `metadata`, made if it is absent.
pub fn of(object: &mut Value) -> &mut Map<String, Value> {
    fields(fields(object).entry("metadata").or_insert(Value::Null))
}

/// The fields of a value, which becomes an object if it is none.
pub fn fields(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it is an object, or was made one just above")
}

/// A string of `metadata`; empty if absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.deletionTimestamp` is set.
pub fn is_deleting(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// Whether `metadata` or (for namespaces) `spec` still names finalizers.
pub fn has_finalizers(object: &Value) -> bool {
    let named = |part: &str| {
        let finalizers = object.get(part).and_then(|part| part.get("finalizers")).and_then(Value::as_array);
        finalizers.is_some_and(|finalizers| !finalizers.is_empty())
    };
    named("metadata") || (object.get("kind").and_then(Value::as_str) == Some("Namespace") && named("spec"))
}

/// A timestamp as the API writes it: whole seconds.
pub fn time(at: Timestamp) -> Value {
    moment(at).into()
}

/// [`time`] as text.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What an error about this target names.
pub fn subject<'a>(resource: &'a Resource, name: &'a str) -> Subject<'a> {
    Subject { name, group: resource.group, kind: resource.plural }
}

/// Checks that the body is for the place it was sent to, and fills in name and namespace.
///
/// # Errors
/// 400 when they differ.
pub fn place(target: &Target, object: &mut Value) -> Result<(), ApiError> {
    let (name, namespace) = (text(object, "name").to_owned(), text(object, "namespace").to_owned());
    if !target.name.is_empty() && !name.is_empty() && name != target.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    if target.resource.namespaced() && !namespace.is_empty() && namespace != target.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let metadata = of(object);
    if !target.name.is_empty() {
        metadata.insert("name".to_owned(), target.name.as_str().into());
    }
    if target.resource.namespaced() {
        metadata.insert("namespace".to_owned(), target.namespace.as_str().into());
    }
    Ok(())
}

/// Fills in what a new object gets from the server and drops what a client may not set.
pub fn create(object: &mut Value, now: Timestamp, unique: uuid::Uuid) {
    let metadata = of(object);
    for field in [
        "resourceVersion",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "generation",
    ] {
        metadata.remove(field);
    }
    metadata.insert("uid".to_owned(), unique.to_string().into());
    metadata.insert("creationTimestamp".to_owned(), time(now));
}

/// Takes away what [`create`] has filled in and, if it was generated, the name: who is asked about a creation beforehand
/// sees what was sent.
pub fn hide(object: &mut Value, generated: bool) {
    let metadata = of(object);
    for field in ["uid", "creationTimestamp"].into_iter().chain(generated.then_some("name")) {
        metadata.remove(field);
    }
}

/// The name made from `generateName`, if the object has no name of its own.
pub fn generate_name(object: &mut Value, unique: uuid::Uuid) -> bool {
    let prefix = text(object, "generateName");
    if !text(object, "name").is_empty() || prefix.is_empty() {
        return false;
    }
    let cut =
        prefix.char_indices().map(|(at, _)| at).chain([prefix.len()]).take_while(|at| *at <= LONGEST_PREFIX).last();
    let mut name = prefix[..cut.unwrap_or(0)].to_owned();
    // 16 random bytes against 27 letters: the bias of the remainder does not matter for a name.
    let letters = unique.as_bytes().iter().take(SUFFIX);
    name.extend(letters.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])));
    of(object).insert("name".to_owned(), name.into());
    true
}

/// Checks an update's identity against the stored object and carries over what an update cannot change.
///
/// # Errors
/// 409 for another UID or an old revision, in the reference's words.
pub fn update(resource: &Resource, new: &mut Value, stored: Stored<'_>) -> Result<(), ApiError> {
    let Stored { object: old, value: old_value } = stored;
    let name = old.key.name();
    let (given, stored) = (text(new, "uid"), text(old_value, "uid"));
    if !given.is_empty() && given != stored {
        let place = match old.key.namespace() {
            "" => format!("{}/{name}", resource.plural),
            namespace => format!("{}/{namespace}/{name}", resource.plural),
        };
        return Err(ApiError::conflict(
            subject(resource, name),
            &format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{place}, ResourceVersion: 0, \
                 AdditionalErrorMsg: Precondition failed: UID in precondition: {given}, UID in object meta: {stored}"
            ),
        ));
    }
    let version = text(new, "resourceVersion");
    if version.is_empty() && !resource.unconditional_update {
        let detail = "Invalid value: 0: must be specified for an update";
        let message = format!("{} {name:?} is invalid: metadata.resourceVersion: {detail}", resource.qualified_kind());
        let cause =
            serde_json::json!({"reason": "FieldValueInvalid", "message": detail, "field": "metadata.resourceVersion"});
        return Err(ApiError::invalid(
            Subject { name, group: resource.group, kind: resource.kind },
            message,
            vec![cause],
        ));
    }
    if !version.is_empty() && version != "0" && version.parse() != Ok(old.revision) {
        return Err(ApiError::modified(subject(resource, name)));
    }
    let metadata = of(new);
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        carry(metadata, old_value, field);
    }
    Ok(())
}

fn carry(metadata: &mut Map<String, Value>, from: &Value, field: &str) {
    match from.get("metadata").and_then(|old| old.get(field)) {
        Some(value) => metadata.insert(field.to_owned(), value.clone()),
        None => metadata.remove(field),
    };
}

/// Whether an object that was just updated has nothing left to wait for and goes: it is being deleted, its last
/// finalizer has been removed, and no grace period runs.
pub fn is_finished(object: &Value) -> bool {
    let grace = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    is_deleting(object) && grace == 0 && !has_finalizers(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn generated_names_keep_their_prefix_and_fit() {
        let unique = uuid::Uuid::from_bytes([27; 16]);
        let mut object = json!({"metadata": {"generateName": "web-"}});
        assert!(generate_name(&mut object, unique));
        assert_eq!(text(&object, "name"), "web-bbbbb");
        let mut long = json!({"metadata": {"generateName": "é".repeat(60)}});
        assert!(generate_name(&mut long, unique) && text(&long, "name").len() <= 63);
        let mut named = json!({"metadata": {"generateName": "web-", "name": "x"}});
        assert!(!generate_name(&mut named, unique));
    }

    #[test]
    fn an_object_goes_when_nothing_holds_it() {
        let check = |metadata: Value, expected: bool| assert_eq!(is_finished(&json!({"metadata": metadata})), expected);
        check(json!({}), false);
        check(json!({"deletionTimestamp": "t"}), true);
        check(json!({"deletionTimestamp": "t", "deletionGracePeriodSeconds": 0}), true);
        check(json!({"deletionTimestamp": "t", "deletionGracePeriodSeconds": 30}), false);
        check(json!({"deletionTimestamp": "t", "finalizers": ["a/b"]}), false);
        let namespace = json!({"kind": "Namespace", "metadata": {"deletionTimestamp": "t"}, "spec": {"finalizers": ["kubernetes"]}});
        assert!(!is_finished(&namespace));
    }
}
