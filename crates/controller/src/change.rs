//! A resize as a value: which containers are to get which numbers, and the patch that says so.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use serde_json::{Value, json};
use supple_quantity::Quantity;

use crate::sizes::Sizes;

/// New numbers per container. What is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// By `spec.containers[].name` (or `initContainers[]`).
    pub containers: BTreeMap<String, ResourceRequirements>,
}

/// Which list of the pod a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// `spec.initContainers`
    Init,
    /// `spec.containers`
    Main,
}

impl Change {
    /// Set one number of one container; `list` is `requests` or `limits` by `limit`.
    pub fn set(&mut self, container: &str, resource: &str, limit: bool, quantity: &Quantity) {
        let resources = self.containers.entry(container.to_owned()).or_default();
        let list = if limit { &mut resources.limits } else { &mut resources.requests };
        list.get_or_insert_default().insert(resource.to_owned(), ApiQuantity(quantity.to_string()));
    }

    /// The change that takes a container from `now` to `next`: only numbers that differ.
    pub fn between(container: &str, now: &Sizes, next: &Sizes) -> Self {
        let mut change = Self::default();
        let numbers = [
            ("cpu", false, now.cpu_request.map(Quantity::from), next.cpu_request.map(Quantity::from)),
            ("cpu", true, now.cpu_limit.map(Quantity::from), next.cpu_limit.map(Quantity::from)),
            ("memory", false, now.memory_request.map(Quantity::from), next.memory_request.map(Quantity::from)),
            ("memory", true, now.memory_limit.map(Quantity::from), next.memory_limit.map(Quantity::from)),
        ];
        for (resource, limit, now, next) in numbers {
            if let Some(next) = next.filter(|next| now.as_ref() != Some(next)) {
                change.set(container, resource, limit, &next);
            }
        }
        change
    }

    /// Take in another change; its numbers win.
    pub fn merge(&mut self, other: Self) {
        for (container, resources) in other.containers {
            let mine = self.containers.entry(container).or_default();
            for (mine, theirs) in [(&mut mine.requests, resources.requests), (&mut mine.limits, resources.limits)] {
                if let Some(theirs) = theirs {
                    mine.get_or_insert_default().extend(theirs);
                }
            }
        }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.containers.values().all(|it| {
            it.requests.as_ref().is_none_or(BTreeMap::is_empty) && it.limits.as_ref().is_none_or(BTreeMap::is_empty)
        })
    }

    /// Without the numbers the pod has already.
    pub fn against(mut self, pod: &Pod) -> Self {
        for (name, resources) in &mut self.containers {
            let now = find(pod, name).and_then(|(_, it)| it.resources.as_ref());
            for (new, old) in [
                (&mut resources.requests, now.and_then(|it| it.requests.as_ref())),
                (&mut resources.limits, now.and_then(|it| it.limits.as_ref())),
            ] {
                if let (Some(new), Some(old)) = (new, old) {
                    new.retain(|key, value| old.get(key).is_none_or(|old| !same(old, value)));
                }
            }
        }
        self.containers.retain(|_, it| {
            !it.requests.as_ref().is_none_or(BTreeMap::is_empty) || !it.limits.as_ref().is_none_or(BTreeMap::is_empty)
        });
        self
    }

    /// The strategic merge patch of `/resize` that makes the change; container names are the merge keys.
    pub fn patch(&self, pod: &Pod) -> Value {
        let mut lists: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (name, resources) in &self.containers {
            let list = match find(pod, name) {
                Some((List::Init, _)) => "initContainers",
                _ => "containers",
            };
            lists.entry(list).or_default().push(json!({"name": name, "resources": resources}));
        }
        json!({"spec": lists})
    }

    /// The pod as it would be.
    pub fn applied_to(&self, pod: &Pod) -> Pod {
        let mut pod = pod.clone();
        let Some(spec) = &mut pod.spec else { return pod };
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            let Some(new) = self.containers.get(&container.name) else { continue };
            let resources = container.resources.get_or_insert_default();
            for (old, new) in [(&mut resources.requests, &new.requests), (&mut resources.limits, &new.limits)] {
                if let Some(new) = new {
                    old.get_or_insert_default().extend(new.iter().map(|(key, value)| (key.clone(), value.clone())));
                }
            }
        }
        pod
    }
}

/// Whether two quantities are the same amount, however they are written.
pub fn same(a: &ApiQuantity, b: &ApiQuantity) -> bool {
    match (crate::sizes::parse(a), crate::sizes::parse(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// The container of that name and the list it stands in.
pub fn find<'a>(pod: &'a Pod, name: &str) -> Option<(List, &'a Container)> {
    containers(pod).find(|(_, it)| it.name == name)
}

/// Every container that may be resized: init containers first, as they run.
pub fn containers(pod: &Pod) -> impl Iterator<Item = (List, &Container)> {
    let spec = pod.spec.as_ref();
    let init = spec.into_iter().flat_map(|it| it.init_containers.iter().flatten()).map(|it| (List::Init, it));
    let main = spec.into_iter().flat_map(|it| &it.containers).map(|it| (List::Main, it));
    init.chain(main)
}

#[cfg(test)]
mod tests {
    use supple_quantity::{Bytes, MilliCpu};

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({"spec": {
            "initContainers": [{"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "10m"}}}],
            "containers": [{"name": "app", "resources": {"requests": {"cpu": "0.1", "memory": "64Mi"}}}, {"name": "log"}],
        }}))
        .unwrap()
    }

    #[test]
    fn only_what_differs_is_said() {
        let now = Sizes { cpu_request: Some(MilliCpu(100)), memory_request: Some(Bytes(64 << 20)), ..Sizes::default() };
        let next = Sizes { cpu_request: Some(MilliCpu(250)), ..now };
        let change = Change::between("app", &now, &next);
        let patch = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "250m"}}}]}});
        assert_eq!(change.patch(&pod()), patch);
        assert!(Change::between("app", &now, &now).is_empty());
    }

    #[test]
    fn what_the_pod_has_already_is_left_out() {
        let mut change = Change::default();
        change.set("app", "cpu", false, &Quantity::milli_units(100));
        assert_eq!(change.clone().against(&pod()), Change::default());
        change.set("app", "cpu", true, &Quantity::milli_units(100));
        let left = change.against(&pod());
        assert_eq!(
            left.patch(&pod())["spec"]["containers"][0]["resources"],
            json!({"requests": {}, "limits": {"cpu": "100m"}})
        );
    }

    #[test]
    fn containers_stand_in_their_lists() {
        let mut change = Change::default();
        change.set("side", "cpu", false, &Quantity::milli_units(20));
        change.set("log", "memory", true, &Quantity::binary(1 << 20));
        let spec = &change.patch(&pod())["spec"];
        assert_eq!(
            (&spec["initContainers"][0]["name"], &spec["containers"][0]["name"]),
            (&json!("side"), &json!("log"))
        );
        let after = change.applied_to(&pod());
        let sizes = |name| Sizes::of(find(&after, name).and_then(|(_, it)| it.resources.as_ref())).show();
        assert_eq!(
            (sizes("side"), sizes("log"), sizes("app")),
            ("20m CPU".into(), ":1Mi memory".into(), "100m CPU, 64Mi memory".into())
        );
    }
}
