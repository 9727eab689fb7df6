//! What objects other than pods count for in resource quotas: each one of its kind, and a few of what they ask for.

use k8s_openapi::api::core::v1::ResourceQuota;
use serde_json::Value;
use supple_quantity::Quantity;

use super::Denial;
use super::quota::{Charge, charge, growth, known};
use crate::resources::ResourceList;

/// Kinds of the core group that quotas may name without `count/`.
const BY_NAME: [&str; 5] = ["configmaps", "persistentvolumeclaims", "resourcequotas", "secrets", "services"];

/// What else of an object quotas count, under these names.
const PARTS: [(&str, &str); 3] = [
    ("requests.storage", "persistentvolumeclaims"),
    ("services.loadbalancers", "services"),
    ("services.nodeports", "services"),
];

/// The group and plural of the objects that quotas of this name count; `None` where they count pods, or nothing.
#[must_use]
pub fn counted_by(name: &str) -> Option<(&str, &str)> {
    if let Some((_, plural)) = PARTS.iter().find(|(it, _)| *it == name) {
        return Some(("", plural));
    }
    match name.strip_prefix("count/") {
        Some("pods") => None,
        Some(counted) => Some(counted.split_once('.').map_or(("", counted), |(plural, group)| (group, plural))),
        None => BY_NAME.contains(&name).then_some(("", name)),
    }
}

/// What an object of this kind counts for.
#[must_use]
pub fn usage(group: &str, plural: &str, object: &Value) -> ResourceList {
    let mut used = ResourceList::default();
    let dot = if group.is_empty() { "" } else { "." };
    used.set(&format!("count/{plural}{dot}{group}"), Quantity::units(1));
    if !group.is_empty() {
        return used;
    }
    if BY_NAME.contains(&plural) {
        used.set(plural, Quantity::units(1));
    }
    match plural {
        "persistentvolumeclaims" => {
            let storage = object.pointer("/spec/resources/requests/storage").and_then(Value::as_str);
            if let Some(storage) = storage.and_then(|it| it.parse().ok()) {
                used.set("requests.storage", storage);
            }
        }
        "services" => {
            let kind = object.pointer("/spec/type").and_then(Value::as_str).unwrap_or_default();
            let ports = object.pointer("/spec/ports").and_then(Value::as_array).map_or(0, Vec::len);
            let ports = i64::try_from(ports).unwrap_or(i64::MAX);
            if kind == "LoadBalancer" {
                used.set("services.loadbalancers", Quantity::units(1));
            }
            if matches!(kind, "LoadBalancer" | "NodePort") {
                used.set("services.nodeports", Quantity::units(ports));
            }
        }
        _ => {}
    }
    used
}

/// Whether every quota of the namespace has room for an object that counts for `new` in place of `old`; what to charge. A
/// quota with scopes counts pods only.
///
/// # Errors
/// A quota that would be exceeded, or that has not been counted yet.
pub fn check(new: &ResourceList, old: &ResourceList, quotas: &[ResourceQuota]) -> Result<Vec<Charge>, Denial> {
    let growth = growth(new, old);
    let mut charges = Vec::new();
    for quota in quotas {
        let spec = quota.spec.as_ref();
        let scoped =
            spec.is_some_and(|it| it.scopes.as_ref().is_some_and(|it| !it.is_empty()) || it.scope_selector.is_some());
        if scoped {
            continue;
        }
        let Some((name, hard, used)) = known(quota, |it| growth.get(it).is_some())? else { continue };
        charges.push(charge(name, &hard, used, &growth)?);
    }
    Ok(charges)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn quota(status: Value) -> ResourceQuota {
        serde_json::from_value(json!({"metadata": {"name": "q"}, "status": status})).expect("a quota")
    }

    #[track_caller]
    fn check_text(object: (&str, &str, Value), quota: &ResourceQuota, expected: Result<&[(&str, &str)], &str>) {
        let (group, plural, object) = object;
        let used = usage(group, plural, &object);
        match (check(&used, &ResourceList::default(), std::slice::from_ref(quota)), expected) {
            (Ok(charges), Ok(expected)) => {
                let found: Vec<(&str, &str)> = charges
                    .iter()
                    .flat_map(|it| it.used.iter().map(|(name, quantity)| (name.as_str(), quantity.0.as_str())))
                    .collect();
                assert_eq!(found, expected);
            }
            (Err(denial), Err(expected)) => assert_eq!(denial.message, expected),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn objects_are_counted_by_their_kind() {
        let two = quota(
            json!({"hard": {"count/deployments.apps": "2", "secrets": "1"}, "used": {"count/deployments.apps": "1", "secrets": "1"}}),
        );
        let deployment = ("apps", "deployments", json!({}));
        check_text(deployment.clone(), &two, Ok(&[("count/deployments.apps", "2"), ("secrets", "1")]));
        check_text(
            ("", "secrets", json!({})),
            &two,
            Err("exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1"),
        );
        check_text(("", "configmaps", json!({})), &two, Ok(&[]));
        let fresh = quota(json!({"hard": {"count/deployments.apps": "2"}}));
        check_text(deployment.clone(), &fresh, Err("status unknown for quota: q, resources: count/deployments.apps"));
        let mut scoped = two.clone();
        scoped.spec = serde_json::from_value(json!({"scopes": ["BestEffort"]})).expect("a spec");
        check_text(deployment, &scoped, Ok(&[]));
        let storage = quota(json!({"hard": {"requests.storage": "5Gi"}, "used": {"requests.storage": "3Gi"}}));
        let claim = json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}});
        check_text(("", "persistentvolumeclaims", claim), &storage, Ok(&[("requests.storage", "4Gi")]));
        let open = quota(json!({"hard": {"services.nodeports": "1"}, "used": {"services.nodeports": "0"}}));
        let service = json!({"spec": {"type": "NodePort", "ports": [{}, {}]}});
        check_text(
            ("", "services", service),
            &open,
            Err(
                "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1",
            ),
        );
    }

    #[test]
    fn a_name_says_what_it_counts() {
        let check = |name: &str, expected: Option<(&str, &str)>| assert_eq!(counted_by(name), expected, "{name}");
        check("configmaps", Some(("", "configmaps")));
        check("count/configmaps", Some(("", "configmaps")));
        check("count/deployments.apps", Some(("apps", "deployments")));
        check("count/leases.coordination.k8s.io", Some(("coordination.k8s.io", "leases")));
        check("requests.storage", Some(("", "persistentvolumeclaims")));
        for pods in ["pods", "count/pods", "requests.cpu", "cpu", "hugepages-2Mi"] {
            check(pods, None);
        }
    }
}
