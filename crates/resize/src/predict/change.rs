//! A change of sizes: what somebody wants a pod's containers to have, and the request that asks for it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use supple_quantity::Quantity;

use crate::amounts::{Requirement, Resource, containers};
use crate::resources::{WireList, wire_quantity};

/// The sizes to set; what is `None` stays as it is (the API lets nothing be removed).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Sizes {
    /// `requests.cpu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<Quantity>,
    /// `limits.cpu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<Quantity>,
    /// `requests.memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_request: Option<Quantity>,
    /// `limits.memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Quantity>,
}

impl Sizes {
    /// Whether nothing is to be set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One of the four.
    #[must_use]
    pub const fn get(&self, resource: Resource, requirement: Requirement) -> Option<&Quantity> {
        match (resource, requirement) {
            (Resource::Cpu, Requirement::Request) => self.cpu_request.as_ref(),
            (Resource::Cpu, Requirement::Limit) => self.cpu_limit.as_ref(),
            (Resource::Memory, Requirement::Request) => self.memory_request.as_ref(),
            (Resource::Memory, Requirement::Limit) => self.memory_limit.as_ref(),
        }
    }

    /// Set one of the four.
    pub fn set(&mut self, resource: Resource, requirement: Requirement, amount: Option<Quantity>) {
        match (resource, requirement) {
            (Resource::Cpu, Requirement::Request) => self.cpu_request = amount,
            (Resource::Cpu, Requirement::Limit) => self.cpu_limit = amount,
            (Resource::Memory, Requirement::Request) => self.memory_request = amount,
            (Resource::Memory, Requirement::Limit) => self.memory_limit = amount,
        }
    }

    /// The sizes a spec states.
    #[must_use]
    pub fn of(requirements: Option<&ResourceRequirements>) -> Self {
        let mut sizes = Self::default();
        for (resource, requirement) in FOUR {
            let list = requirements.and_then(|it| side(it, requirement).as_ref());
            sizes.set(resource, requirement, list.and_then(|it| it.get(resource.as_str())).map(wire_quantity));
        }
        sizes
    }

    /// What of these sizes `other` does not have, by value.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        let mut differing = Self::default();
        for (resource, requirement) in FOUR {
            let wanted = self.get(resource, requirement);
            if wanted.is_some() && wanted != other.get(resource, requirement) {
                differing.set(resource, requirement, wanted.cloned());
            }
        }
        differing
    }

    fn write(&self, requirements: &mut ResourceRequirements) {
        for (resource, requirement) in FOUR {
            if let Some(amount) = self.get(resource, requirement) {
                let list = match requirement {
                    Requirement::Request => &mut requirements.requests,
                    Requirement::Limit => &mut requirements.limits,
                };
                list.get_or_insert_default().insert(resource.as_str().to_owned(), WireQuantity(amount.to_string()));
            }
        }
    }

    /// `{"requests": {…}, "limits": {…}}`, without what is not to be set.
    fn to_json(&self) -> Value {
        let mut lists = Map::new();
        for (resource, requirement) in FOUR {
            if let Some(amount) = self.get(resource, requirement) {
                let key = match requirement {
                    Requirement::Request => "requests",
                    Requirement::Limit => "limits",
                };
                let list = lists.entry(key).or_insert_with(|| json!({}));
                list[resource.as_str()] = json!(amount.to_string());
            }
        }
        Value::Object(lists)
    }
}

const FOUR: [(Resource, Requirement); 4] = [
    (Resource::Cpu, Requirement::Request),
    (Resource::Cpu, Requirement::Limit),
    (Resource::Memory, Requirement::Request),
    (Resource::Memory, Requirement::Limit),
];

const fn side(requirements: &ResourceRequirements, requirement: Requirement) -> &Option<WireList> {
    match requirement {
        Requirement::Request => &requirements.requests,
        Requirement::Limit => &requirements.limits,
    }
}

/// What a pod's containers, and the pod as a whole, are to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Change {
    /// By container name; regular containers, sidecars and init containers alike.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub containers: BTreeMap<String, Sizes>,
    /// Pod-level `spec.resources`.
    #[serde(skip_serializing_if = "Sizes::is_empty")]
    pub pod: Sizes,
}

/// A container that the pod does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pod has no container {container:?}; it has {}", has.join(", "))]
pub struct NoSuchContainer {
    /// The name asked for.
    pub container: String,
    /// The names there are, init containers first.
    pub has: Vec<String>,
}

impl Change {
    /// A change of one container.
    #[must_use]
    pub fn of_container(container: impl Into<String>, sizes: Sizes) -> Self {
        Self { containers: BTreeMap::from([(container.into(), sizes)]), pod: Sizes::default() }
    }

    /// What would have to be set in `from` to have the sizes of `to`: for putting back what a resize changed. Sizes that
    /// only `from` has are not in it, because nothing can be removed.
    #[must_use]
    pub fn between(from: &Pod, to: &Pod) -> Self {
        let level = |pod: &Pod| Sizes::of(pod.spec.as_ref().and_then(|it| it.resources.as_ref()));
        let of = |it: &Container| Sizes::of(it.resources.as_ref());
        let changed = containers(to).filter_map(|wanted| {
            let has = containers(from).find(|it| it.name == wanted.name)?;
            Some((wanted.name.clone(), of(wanted).beyond(&of(has)))).filter(|(_, sizes)| !sizes.is_empty())
        });
        Self { containers: changed.collect(), pod: level(to).beyond(&level(from)) }
    }

    /// Whether nothing is to be set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pod.is_empty() && self.containers.values().all(Sizes::is_empty)
    }

    /// The pod with the change in its spec: what a request would be merged to, before any defaulting.
    ///
    /// # Errors
    /// A container that the pod does not have.
    pub fn applied_to(&self, pod: &Pod) -> Result<Pod, NoSuchContainer> {
        self.known(pod)?;
        let mut pod = pod.clone();
        if let Some(spec) = &mut pod.spec {
            for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
                if let Some(sizes) = self.containers.get(&container.name).filter(|it| !it.is_empty()) {
                    sizes.write(container.resources.get_or_insert_default());
                }
            }
            if !self.pod.is_empty() {
                self.pod.write(spec.resources.get_or_insert_default());
            }
        }
        Ok(pod)
    }

    /// The body of a strategic merge patch to `/resize`. `pod` says which of its lists a container stands in.
    ///
    /// # Errors
    /// A container that the pod does not have.
    pub fn to_patch(&self, pod: &Pod) -> Result<Value, NoSuchContainer> {
        self.known(pod)?;
        let list = |of: &[Container]| {
            let changed = of.iter().filter_map(|it| {
                let sizes = self.containers.get(&it.name).filter(|it| !it.is_empty())?;
                Some(json!({"name": it.name, "resources": sizes.to_json()}))
            });
            changed.collect::<Vec<_>>()
        };
        let mut spec = Map::new();
        if let Some(own) = &pod.spec {
            let lists = [
                ("initContainers", list(own.init_containers.as_deref().unwrap_or_default())),
                ("containers", list(&own.containers)),
            ];
            for (key, entries) in lists {
                if !entries.is_empty() {
                    spec.insert(key.to_owned(), Value::Array(entries));
                }
            }
        }
        if !self.pod.is_empty() {
            spec.insert("resources".to_owned(), self.pod.to_json());
        }
        Ok(json!({"spec": spec}))
    }

    fn known(&self, pod: &Pod) -> Result<(), NoSuchContainer> {
        let has = || containers(pod).map(|it| it.name.clone());
        match self.containers.keys().find(|name| has().all(|it| it != **name)) {
            None => Ok(()),
            Some(unknown) => Err(NoSuchContainer { container: unknown.clone(), has: has().collect() }),
        }
    }
}
