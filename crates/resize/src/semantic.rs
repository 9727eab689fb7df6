//! Equality as the API means it: amounts by value, absent and empty the same.

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use serde::Serialize;
use serde_json::Value;

use crate::resources::{ResourceList, WireList, init_containers};

/// Whether two parts of an object say the same.
///
/// What is equal field by field, the usual case, is found without building anything.
pub(crate) fn equal<T: PartialEq + Serialize>(a: &T, b: &T) -> bool {
    a == b || matches!((pruned(a), pruned(b)), (Some(a), Some(b)) if a == b)
}

/// Whether two lists state the same amounts.
pub(crate) fn lists_equal(a: Option<&WireList>, b: Option<&WireList>) -> bool {
    a == b || ResourceList::read(a) == ResourceList::read(b)
}

/// Whether requests, limits and claims are the same.
pub(crate) fn requirements_equal(a: Option<&ResourceRequirements>, b: Option<&ResourceRequirements>) -> bool {
    let claims = |it: Option<&ResourceRequirements>| it.and_then(|it| it.claims.clone()).unwrap_or_default();
    a == b
        || lists_equal(a.and_then(|it| it.requests.as_ref()), b.and_then(|it| it.requests.as_ref()))
            && lists_equal(a.and_then(|it| it.limits.as_ref()), b.and_then(|it| it.limits.as_ref()))
            && claims(a) == claims(b)
}

/// Writes `b`'s resources over `a`'s wherever they state the same amounts in other words, so that a comparison of texts
/// finds only what differs.
pub(crate) fn borrow_equal_resources(a: &mut PodSpec, b: &PodSpec) {
    fn borrow(a: &mut Option<ResourceRequirements>, b: &Option<ResourceRequirements>) {
        if requirements_equal(a.as_ref(), b.as_ref()) {
            a.clone_from(b);
        }
    }
    fn containers(a: &mut [Container], b: &[Container]) {
        for (a, b) in a.iter_mut().zip(b) {
            borrow(&mut a.resources, &b.resources);
        }
    }
    borrow(&mut a.resources, &b.resources);
    containers(&mut a.containers, &b.containers);
    containers(a.init_containers.as_deref_mut().unwrap_or_default(), init_containers(b));
    if lists_equal(a.overhead.as_ref(), b.overhead.as_ref()) {
        a.overhead.clone_from(&b.overhead);
    }
}

/// The part as JSON without anything absent or empty. `None` where it cannot be written as JSON, which no API type is.
fn pruned<T: Serialize>(part: &T) -> Option<Value> {
    let mut value = serde_json::to_value(part).ok()?;
    prune(&mut value);
    Some(value)
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| !says_nothing(value));
        }
        Value::Array(entries) => entries.iter_mut().for_each(prune),
        _ => {}
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
