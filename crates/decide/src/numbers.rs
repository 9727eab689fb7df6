//! The four numbers of a container as decisions count them, in integers, and how they are written for a person. The
//! exact quantities of a change are [`Sizes`]; these are for arithmetic.

use std::fmt::Display;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use serde::{Deserialize, Serialize};
use supple_quantity::{Bytes, MilliCpu, Quantity};
use supple_resize::amounts::{Amounts, Requirement, Resource};
use supple_resize::predict::Sizes;
use supple_resize::resources;

/// What a container asks for. An absent number was not asked for, which is not the same as zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Numbers {
    /// `requests.cpu`
    pub cpu_request: Option<MilliCpu>,
    /// `limits.cpu`
    pub cpu_limit: Option<MilliCpu>,
    /// `requests.memory`
    pub memory_request: Option<Bytes>,
    /// `limits.memory`
    pub memory_limit: Option<Bytes>,
}

impl Numbers {
    /// Of exact sizes, rounded up.
    pub fn of(sizes: &Sizes) -> Self {
        let Sizes { cpu_request, cpu_limit, memory_request, memory_limit } = sizes;
        Self {
            cpu_request: cpu_request.as_ref().map(MilliCpu::from),
            cpu_limit: cpu_limit.as_ref().map(MilliCpu::from),
            memory_request: memory_request.as_ref().map(Bytes::from),
            memory_limit: memory_limit.as_ref().map(Bytes::from),
        }
    }

    /// The exact sizes to set so that these numbers replace `others`: only those that differ, so that a number that
    /// was rounded here is not written back rounded.
    pub fn beyond(&self, others: &Self) -> Sizes {
        fn new<T: PartialEq>(mine: Option<T>, other: Option<T>) -> Option<Quantity>
        where
            Quantity: From<T>,
        {
            if mine == other { None } else { mine.map(Quantity::from) }
        }
        Sizes {
            cpu_request: new(self.cpu_request, others.cpu_request),
            cpu_limit: new(self.cpu_limit, others.cpu_limit),
            memory_request: new(self.memory_request, others.memory_request),
            memory_limit: new(self.memory_limit, others.memory_limit),
        }
    }
}

impl Numbers {
    /// One of the four as a plain integer.
    #[must_use]
    pub const fn get(&self, resource: Resource, requirement: Requirement) -> Option<i64> {
        match (resource, requirement) {
            (Resource::Cpu, Requirement::Request) => match self.cpu_request {
                Some(MilliCpu(amount)) => Some(amount),
                None => None,
            },
            (Resource::Cpu, Requirement::Limit) => match self.cpu_limit {
                Some(MilliCpu(amount)) => Some(amount),
                None => None,
            },
            (Resource::Memory, Requirement::Request) => match self.memory_request {
                Some(Bytes(amount)) => Some(amount),
                None => None,
            },
            (Resource::Memory, Requirement::Limit) => match self.memory_limit {
                Some(Bytes(amount)) => Some(amount),
                None => None,
            },
        }
    }

    /// Set one of the four.
    pub fn set(&mut self, resource: Resource, requirement: Requirement, amount: Option<i64>) {
        match (resource, requirement) {
            (Resource::Cpu, Requirement::Request) => self.cpu_request = amount.map(MilliCpu),
            (Resource::Cpu, Requirement::Limit) => self.cpu_limit = amount.map(MilliCpu),
            (Resource::Memory, Requirement::Request) => self.memory_request = amount.map(Bytes),
            (Resource::Memory, Requirement::Limit) => self.memory_limit = amount.map(Bytes),
        }
    }

    /// Both numbers of one resource taken from the other.
    pub fn take(&mut self, resource: Resource, other: &Self) {
        for requirement in [Requirement::Request, Requirement::Limit] {
            self.set(resource, requirement, other.get(resource, requirement));
        }
    }

    /// Set what the exact sizes set.
    pub fn set_all(&mut self, sizes: &Sizes) {
        let set = Self::of(sizes);
        self.cpu_request = set.cpu_request.or(self.cpu_request);
        self.cpu_limit = set.cpu_limit.or(self.cpu_limit);
        self.memory_request = set.memory_request.or(self.memory_request);
        self.memory_limit = set.memory_limit.or(self.memory_limit);
    }

    /// These, and where one is absent, that of the others.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        Self {
            cpu_request: self.cpu_request.or(others.cpu_request),
            cpu_limit: self.cpu_limit.or(others.cpu_limit),
            memory_request: self.memory_request.or(others.memory_request),
            memory_limit: self.memory_limit.or(others.memory_limit),
        }
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As amounts, in which an absent number is zero.
    #[must_use]
    pub fn amounts(&self) -> Amounts {
        Amounts {
            cpu_request: self.cpu_request.unwrap_or_default(),
            cpu_limit: self.cpu_limit.unwrap_or_default(),
            memory_request: self.memory_request.unwrap_or_default(),
            memory_limit: self.memory_limit.unwrap_or_default(),
        }
    }

    /// Of a spec or a status.
    #[must_use]
    pub fn read(requirements: Option<&ResourceRequirements>) -> Self {
        Self::of(&Sizes::of(requirements))
    }
}

/// `REQUEST:LIMIT`, `REQUEST` or `:LIMIT`.
pub fn pair<T: Display>(request: Option<T>, limit: Option<T>) -> Option<String> {
    match (request, limit) {
        (None, None) => None,
        (Some(request), None) => Some(request.to_string()),
        (None, Some(limit)) => Some(format!(":{limit}")),
        (Some(request), Some(limit)) => Some(format!("{request}:{limit}")),
    }
}

/// The exact quantity of an API object's field.
pub fn parse(quantity: &ApiQuantity) -> Option<Quantity> {
    quantity.0.parse().ok()
}

/// The container of that name, init or not.
pub fn find<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    resources::resizable_containers(pod).map(|it| it.container).find(|it| it.name == name)
}

/// What the container of that name asks for; nothing where there is none.
pub fn sizes_of(pod: &Pod, name: &str) -> Sizes {
    Sizes::of(find(pod, name).and_then(|it| it.resources.as_ref()))
}

/// A measured amount, rounded to whole MiB (to whole KiB below one) because nobody reads `73404416`.
pub fn show_measured_memory(memory: Bytes) -> String {
    if memory.0 < 1 << 20 { format!("{}Ki", memory.0 >> 10) } else { format!("{}Mi", (memory.0 + (1 << 19)) >> 20) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_up_and_absent_stays_absent() {
        let sizes = Sizes { cpu_request: "100u".parse().ok(), memory_limit: "1.5Gi".parse().ok(), ..Sizes::default() };
        let numbers =
            Numbers { cpu_request: Some(MilliCpu(1)), memory_limit: Some(Bytes(3 << 29)), ..Numbers::default() };
        assert_eq!(Numbers::of(&sizes), numbers);
        assert_eq!(Numbers::of(&numbers.beyond(&Numbers::default())), numbers);
        assert!(numbers.beyond(&numbers).is_empty());
    }

    #[test]
    fn pairs() {
        assert_eq!(pair(Some(MilliCpu(250)), Some(MilliCpu(1000))).as_deref(), Some("250m:1"));
        assert_eq!(pair(Some(Bytes(1 << 28)), None).as_deref(), Some("256Mi"));
        assert_eq!(pair(None, Some(MilliCpu(2))).as_deref(), Some(":2m"));
        assert_eq!(pair::<MilliCpu>(None, None), None);
    }

    #[test]
    fn measured_memory_is_rounded() {
        assert_eq!(show_measured_memory(Bytes(73_404_416)), "70Mi");
        assert_eq!(show_measured_memory(Bytes(300 << 10)), "300Ki");
        assert_eq!(show_measured_memory(Bytes(0)), "0Ki");
    }
}
