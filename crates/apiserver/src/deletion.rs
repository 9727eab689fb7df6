//! What a DELETE does to an object: goes it at once, is it marked and waited for, or is there nothing to do. Pure.

use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use crate::custom::{definition, naming};
use crate::errors::ApiError;
use crate::kinds::{Resource, Strategy};
use crate::metadata::{self, subject};
use crate::options::{DeleteOptions, Propagation};
use crate::store::Object;

/// Seconds a pod is given when it does not say itself.
const DEFAULT_GRACE: i64 = 30;

/// Namespaces that the cluster cannot do without.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// The finalizer of what waits for the objects it owns.
const FOREGROUND: &str = "foregroundDeletion";

/// The finalizer of what leaves the objects it owns behind.
const ORPHAN: &str = "orphan";

/// Kinds that leave what they own behind unless told otherwise: as they were before there was a garbage collector.
const LEAVE_DEPENDENTS: [(&str, &str); 1] = [("batch", "jobs")];

/// What becomes of an object that is to be deleted.
#[derive(Clone, Debug, PartialEq)]
pub enum Removal {
    /// It goes now; this is its last state.
    Now(Value),
    /// It stays, marked, until its grace period or its finalizers are over.
    Marked(Value),
    /// It was marked before and this changes nothing.
    Pending,
}

/// Decides what a DELETE does.
///
/// # Errors
/// 409 when a precondition does not hold; 403 for what may not be deleted.
pub fn decide(
    resource: &Resource,
    stored: &Object,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Removal, ApiError> {
    let name = stored.key.name();
    let mut object = stored.value();
    let uid = metadata::text(&object, "uid");
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been \
             deleted and then recreated"
        );
        return Err(ApiError::conflict(subject(resource, name), &why));
    }
    let revision = stored.revision.to_string();
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| *wanted != revision) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({revision}). The object might have been modified"
        );
        return Err(ApiError::conflict(subject(resource, name), &why));
    }
    let is_namespace = resource.kind == "Namespace";
    if is_namespace && IMMORTAL.contains(&name) {
        return Err(ApiError::forbidden(subject(resource, name), "this namespace may not be deleted"));
    }

    let grace = match resource.strategy {
        Strategy::Pod => Some(pod_grace(&object, options.grace_period)),
        Strategy::Rules(_) | Strategy::Custom(_) => None,
    };
    if metadata::is_deleting(&object) {
        // A pod on its way out keeps what was said first; of anything else the last word counts.
        if grace.is_none() && !is_namespace && say_what_of_dependents(resource, &mut object, options.propagation) {
            return Ok(if metadata::is_finished(&object) { Removal::Now(object) } else { Removal::Marked(object) });
        }
        return Ok(again(object, grace.filter(|_| options.grace_period.is_some())));
    }
    if !is_namespace {
        say_what_of_dependents(resource, &mut object, options.propagation);
    }
    if let Some(grace) = grace {
        mark(&mut object, now, grace);
        let stays = grace > 0 || metadata::has_finalizers(&object);
        return Ok(if stays { Removal::Marked(object) } else { Removal::Now(object) });
    }
    if resource.kind == "CustomResourceDefinition" {
        hold(&mut object, now);
    }
    if !metadata::has_finalizers(&object) {
        return Ok(Removal::Now(object));
    }
    mark(&mut object, now, 0);
    if is_namespace {
        metadata::of(&mut object).remove("deletionGracePeriodSeconds");
        object["status"]["phase"] = "Terminating".into();
    }
    Ok(Removal::Marked(object))
}

/// Whether a removal that says nothing of dependents leaves them behind.
pub fn leaves_dependents(resource: &Resource) -> bool {
    LEAVE_DEPENDENTS.contains(&(resource.group, resource.plural))
}

/// Sets the finalizer by which the garbage collector knows what becomes of dependents; whether that is news. What the
/// removal says counts, then what the object already carries, then its kind (registry/generic/registry/store.go
/// `deletionFinalizersForGarbageCollection`).
fn say_what_of_dependents(resource: &Resource, object: &mut Value, said: Option<Propagation>) -> bool {
    let old: Vec<String> = metadata::of(object)
        .get("finalizers")
        .and_then(Value::as_array)
        .map(|it| it.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect())
        .unwrap_or_default();
    let carries = |finalizer: &str| old.iter().any(|it| it == finalizer);
    let propagation = said.unwrap_or_else(|| {
        if carries(ORPHAN) {
            Propagation::Orphan
        } else if carries(FOREGROUND) {
            Propagation::Foreground
        } else if leaves_dependents(resource) {
            Propagation::Orphan
        } else {
            Propagation::Background
        }
    });
    let finalizer = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let kept = old.iter().map(String::as_str).filter(|it| ![FOREGROUND, ORPHAN].contains(it) || finalizer == Some(*it));
    let mut new: Vec<&str> = kept.collect();
    new.extend(finalizer.filter(|it| !carries(it)));
    if new.iter().eq(old.iter()) {
        return false;
    }
    let fields = metadata::of(object);
    if new.is_empty() {
        fields.remove("finalizers");
    } else {
        fields.insert("finalizers".to_owned(), new.into());
    }
    true
}

/// A definition waits for its objects to go first.
fn hold(object: &mut Value, now: Timestamp) {
    let finalizers = metadata::of(object).entry("finalizers").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(finalizers) = finalizers.as_array_mut().filter(|it| !it.iter().any(|it| it == definition::FINALIZER)) {
        finalizers.push(definition::FINALIZER.into());
    }
    naming::terminating(object, &metadata::moment(now));
}

/// A DELETE of an object that is being deleted already: it may only shorten the grace period.
fn again(mut object: Value, grace: Option<i64>) -> Removal {
    if !metadata::has_finalizers(&object) && grace.is_none_or(|grace| grace == 0) && metadata::is_finished(&object) {
        return Removal::Now(object);
    }
    let current = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    let Some(grace) = grace.filter(|grace| *grace < current) else { return Removal::Pending };
    let marked: Option<Timestamp> = metadata::text(&object, "deletionTimestamp").parse().ok();
    let fields = metadata::of(&mut object);
    fields.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    if let Some(earlier) = marked.and_then(|at| at.checked_sub((current - grace).seconds()).ok()) {
        fields.insert("deletionTimestamp".to_owned(), metadata::time(earlier));
    }
    if grace == 0 && !metadata::has_finalizers(&object) { Removal::Now(object) } else { Removal::Marked(object) }
}

fn mark(object: &mut Value, now: Timestamp, grace: i64) {
    let fields = metadata::of(object);
    // A grace period beyond the end of time is the end of time.
    let at = now.checked_add(grace.seconds()).unwrap_or(Timestamp::MAX);
    fields.insert("deletionTimestamp".to_owned(), metadata::time(at));
    fields.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    if let Some(generation) = fields.get("generation").and_then(Value::as_i64).filter(|generation| *generation > 0) {
        fields.insert("generation".to_owned(), (generation + 1).into());
    }
}

/// How long a pod is given: nothing to wait for if it was never placed or has ended (pkg/registry/core/pod/strategy.go
/// CheckGracefulDelete).
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let spec = |field: &str| pod.get("spec").and_then(|spec| spec.get(field));
    let unplaced = spec("nodeName").and_then(Value::as_str).unwrap_or_default().is_empty();
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    if unplaced || matches!(phase, "Succeeded" | "Failed") {
        return 0;
    }
    let period =
        asked.or_else(|| spec("terminationGracePeriodSeconds").and_then(Value::as_i64)).unwrap_or(DEFAULT_GRACE);
    // Below zero means at once, but through the node: the reference makes it one second. Bounded, so that it can be
    // added to a time.
    if period < 0 { 1 } else { period.min(i64::from(u32::MAX)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds;
    use crate::store::{Draft, Key};

    #[track_caller]
    fn check(plural: &str, object: Value, options: DeleteOptions, expected: &str) {
        let resource = kinds::find("", "v1", plural).unwrap();
        let key = Key::new(plural, "n", object["metadata"]["name"].as_str().unwrap());
        let stored = Draft::new(plural, &object, |_, _| Value::Null).seal(key, 7);
        let now = "2030-01-01T00:00:00Z".parse().unwrap();
        let found = match decide(resource, &stored, &options, now) {
            Ok(Removal::Now(_)) => "now".to_owned(),
            Ok(Removal::Pending) => "pending".to_owned(),
            Ok(Removal::Marked(object)) => format!(
                "{} {} generation {}",
                object["metadata"]["deletionTimestamp"].as_str().unwrap(),
                object["metadata"]["deletionGracePeriodSeconds"],
                object["metadata"]["generation"]
            ),
            Err(error) => error.code.as_u16().to_string(),
        };
        assert_eq!(found, expected);
    }

    fn grace(seconds: i64) -> DeleteOptions {
        DeleteOptions { grace_period: Some(seconds), ..DeleteOptions::default() }
    }

    #[test]
    fn pods_go_gracefully() {
        let pod = |metadata: Value, node: &str, phase: &str| {
            let mut pod = json!({"metadata": {"name": "p", "uid": "u", "generation": 1}, "spec": {"nodeName": node, "terminationGracePeriodSeconds": 20}, "status": {"phase": phase}});
            for (key, value) in metadata.as_object().unwrap() {
                pod["metadata"][key] = value.clone();
            }
            pod
        };
        let plain = DeleteOptions::default;
        check("pods", pod(json!({}), "lab", "Running"), plain(), "2030-01-01T00:00:20Z 20 generation 2");
        check("pods", pod(json!({}), "lab", "Running"), grace(5), "2030-01-01T00:00:05Z 5 generation 2");
        check("pods", pod(json!({}), "lab", "Running"), grace(-4), "2030-01-01T00:00:01Z 1 generation 2");
        check("pods", pod(json!({}), "lab", "Running"), grace(0), "now");
        check("pods", pod(json!({}), "", "Pending"), plain(), "now");
        check("pods", pod(json!({}), "lab", "Failed"), plain(), "now");
        check(
            "pods",
            pod(json!({"finalizers": ["a/b"]}), "", "Pending"),
            plain(),
            "2030-01-01T00:00:00Z 0 generation 2",
        );
        let marked = json!({"deletionTimestamp": "2030-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30});
        check("pods", pod(marked.clone(), "lab", "Running"), plain(), "pending");
        check("pods", pod(marked.clone(), "lab", "Running"), grace(60), "pending");
        check("pods", pod(marked.clone(), "lab", "Running"), grace(10), "2030-01-01T00:00:10Z 10 generation 1");
        check("pods", pod(marked, "lab", "Running"), grace(0), "now");
        check("pods", pod(json!({}), "lab", "Running"), DeleteOptions { uid: Some("v".into()), ..plain() }, "409");
        check(
            "pods",
            pod(json!({}), "", ""),
            DeleteOptions { uid: Some("u".into()), resource_version: Some("7".into()), ..plain() },
            "now",
        );
        check("pods", pod(json!({}), "", ""), DeleteOptions { resource_version: Some("6".into()), ..plain() }, "409");
    }

    /// The finalizers after a removal, of an object that is marked (`*`) or goes (`-`).
    #[track_caller]
    fn check_dependents(group: &str, plural: &str, metadata: Value, said: Option<Propagation>, expected: &str) {
        let resource = kinds::find(group, "v1", plural).unwrap();
        let mut object = json!({"metadata": {"name": "o"}});
        object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        let stored = Draft::new(plural, &object, |_, _| Value::Null).seal(Key::new(plural, "n", "o"), 7);
        let options = DeleteOptions { propagation: said, ..DeleteOptions::default() };
        let (mark, object) = match decide(resource, &stored, &options, "2030-01-01T00:00:00Z".parse().unwrap()) {
            Ok(Removal::Now(object)) => ("-", object),
            Ok(Removal::Marked(object)) => ("*", object),
            Ok(Removal::Pending) => ("=", object),
            Err(error) => panic!("{error:?}"),
        };
        let finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let names: Vec<&str> = finalizers.iter().filter_map(Value::as_str).collect();
        assert_eq!(format!("{mark}{}", names.join(" ")), expected);
    }

    #[test]
    fn a_removal_says_what_becomes_of_dependents() {
        use Propagation::{Background, Foreground, Orphan};
        let plain = || json!({});
        let held = |finalizers: &[&str]| json!({"finalizers": finalizers});
        let going = |finalizers: &[&str]| json!({"finalizers": finalizers, "deletionTimestamp": "2030-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0});
        check_dependents("", "configmaps", plain(), None, "-");
        check_dependents("", "configmaps", plain(), Some(Background), "-");
        check_dependents("", "configmaps", plain(), Some(Foreground), "*foregroundDeletion");
        check_dependents("", "configmaps", plain(), Some(Orphan), "*orphan");
        check_dependents("", "configmaps", held(&["a/b"]), Some(Orphan), "*a/b orphan");
        check_dependents("", "configmaps", held(&["orphan"]), None, "*orphan");
        check_dependents("", "configmaps", held(&["orphan"]), Some(Background), "-");
        check_dependents("", "configmaps", held(&["orphan"]), Some(Foreground), "*foregroundDeletion");
        check_dependents("batch", "jobs", plain(), None, "*orphan");
        check_dependents("batch", "jobs", plain(), Some(Background), "-");
        check_dependents("", "configmaps", going(&["foregroundDeletion"]), None, "=foregroundDeletion");
        check_dependents("", "configmaps", going(&["foregroundDeletion"]), Some(Background), "-");
        check_dependents("", "configmaps", going(&["a/b", "foregroundDeletion"]), Some(Orphan), "*a/b orphan");
    }

    #[test]
    fn the_rest_goes_at_once_unless_held() {
        let plain = DeleteOptions::default;
        check("configmaps", json!({"metadata": {"name": "c"}}), plain(), "now");
        check(
            "configmaps",
            json!({"metadata": {"name": "c", "finalizers": ["a/b"]}}),
            plain(),
            "2030-01-01T00:00:00Z 0 generation null",
        );
        check("namespaces", json!({"kind": "Namespace", "metadata": {"name": "default"}}), plain(), "403");
        check(
            "namespaces",
            json!({"kind": "Namespace", "metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}}),
            plain(),
            "2030-01-01T00:00:00Z null generation null",
        );
        check("namespaces", json!({"kind": "Namespace", "metadata": {"name": "a"}, "spec": {}}), plain(), "now");
    }
}
