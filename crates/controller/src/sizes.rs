//! The four numbers of a container that a resize is about, read from a pod and written for a person.

use std::fmt::Display;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use supple_quantity::{Bytes, MilliCpu, Quantity};

/// What a container asks for. An absent number was not asked for, which is not the same as zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// `requests.cpu`
    pub cpu_request: Option<MilliCpu>,
    /// `limits.cpu`
    pub cpu_limit: Option<MilliCpu>,
    /// `requests.memory`
    pub memory_request: Option<Bytes>,
    /// `limits.memory`
    pub memory_limit: Option<Bytes>,
}

impl Sizes {
    /// Read from a container's (or a pod's) `resources`. A quantity that does not parse cannot come out of an API
    /// server and is read as absent.
    pub fn of(resources: Option<&ResourceRequirements>) -> Self {
        let Some(resources) = resources else { return Self::default() };
        let request = |name| resources.requests.as_ref().and_then(|it| it.get(name)).and_then(parse);
        let limit = |name| resources.limits.as_ref().and_then(|it| it.get(name)).and_then(parse);
        Self {
            cpu_request: request("cpu").as_ref().map(MilliCpu::from),
            cpu_limit: limit("cpu").as_ref().map(MilliCpu::from),
            memory_request: request("memory").as_ref().map(Bytes::from),
            memory_limit: limit("memory").as_ref().map(Bytes::from),
        }
    }

    /// `250m:500m CPU, 256Mi:512Mi`, leaving out what is absent.
    pub fn show(&self) -> String {
        let cpu = pair(self.cpu_request, self.cpu_limit);
        let memory = pair(self.memory_request, self.memory_limit);
        match (cpu, memory) {
            (None, None) => "nothing".to_owned(),
            (Some(cpu), None) => format!("{cpu} CPU"),
            (None, Some(memory)) => format!("{memory} memory"),
            (Some(cpu), Some(memory)) => format!("{cpu} CPU, {memory} memory"),
        }
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

/// A measured amount, rounded to whole MiB (to whole KiB below one) because nobody reads `73404416`.
pub fn show_measured_memory(memory: Bytes) -> String {
    if memory.0 < 1 << 20 { format!("{}Ki", memory.0 >> 10) } else { format!("{}Mi", (memory.0 + (1 << 19)) >> 20) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(requests: &[(&str, &str)], limits: &[(&str, &str)], expect: &str) {
        let list = |entries: &[(&str, &str)]| {
            Some(entries.iter().map(|(k, v)| ((*k).to_owned(), ApiQuantity((*v).to_owned()))).collect())
        };
        let resources =
            ResourceRequirements { requests: list(requests), limits: list(limits), ..ResourceRequirements::default() };
        assert_eq!(Sizes::of(Some(&resources)).show(), expect);
    }

    #[test]
    fn sizes_are_read_and_shown() {
        check(&[], &[], "nothing");
        check(&[("cpu", "0.25"), ("memory", "256Mi")], &[], "250m CPU, 256Mi memory");
        check(&[("cpu", "2")], &[("cpu", "3500m")], "2:3500m CPU");
        check(&[("memory", "1Gi")], &[("memory", "1536Mi")], "1Gi:1536Mi memory");
        check(&[("memory", "1G")], &[("cpu", "1")], ":1 CPU, 1000000000 memory");
        check(&[("cpu", "100u")], &[], "1m CPU");
    }

    #[test]
    fn measured_memory_is_rounded() {
        assert_eq!(show_measured_memory(Bytes(73_404_416)), "70Mi");
        assert_eq!(show_measured_memory(Bytes(300 << 10)), "300Ki");
        assert_eq!(show_measured_memory(Bytes(0)), "0Ki");
    }
}
