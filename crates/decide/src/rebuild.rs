//! A pod made again from its facts, with all that the rules of a resize read of it and nothing else, so that a forecast
//! needs no cache of whole pods.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerResizePolicy, ContainerState, ContainerStateRunning, ContainerStatus,
    NodeAllocatableResourceClaimStatus, Pod, PodCondition, PodOS, PodSpec, PodStatus, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use supple_quantity::Quantity;
use supple_resize::condition::{POD_RESIZE_IN_PROGRESS, POD_RESIZE_PENDING, PendingReason, REASON_ERROR};
use supple_resize::defaults;
use supple_resize::resources::{CPU, ContainerKind, MEMORY, WireList};

use crate::facts::{ContainerFacts, Fixed, Phase, PodFacts};
use crate::numbers::Numbers;
use crate::progress::Progress;

impl PodFacts {
    /// The least pod for which the rules of `supple-resize` say what they would say of the real one.
    #[must_use]
    pub fn to_pod(&self) -> Pod {
        let of_kind = |regular: bool| {
            let it = self.containers.iter().filter(move |it| (it.kind == ContainerKind::Regular) == regular);
            it.collect::<Vec<_>>()
        };
        let (init, regular) = (of_kind(false), of_kind(true));
        let specs = |of: &[&ContainerFacts]| of.iter().map(|it| it.to_spec()).collect::<Vec<_>>();
        let statuses = |of: &[&ContainerFacts]| of.iter().filter_map(|it| it.to_status()).collect::<Vec<_>>();
        let some = |it: Vec<ContainerStatus>| (!it.is_empty()).then_some(it);
        let mirror = (self.fixed == Some(Fixed::StaticPod))
            .then(|| BTreeMap::from([("kubernetes.io/config.mirror".to_owned(), String::new())]));
        let claims =
            (self.fixed == Some(Fixed::ResourceClaims)).then(|| vec![NodeAllocatableResourceClaimStatus::default()]);
        let level = self.pod_level_held.as_deref().copied().unwrap_or_default();
        let mut pod = Pod {
            metadata: ObjectMeta {
                name: Some(self.key.name.to_string()),
                namespace: Some(self.key.namespace.to_string()),
                uid: Some(self.key.uid.to_string()),
                generation: Some(self.generation),
                annotations: mirror,
                deletion_timestamp: self.deleting.then(|| Time(self.started.map(Timestamp::from).unwrap_or_default())),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                containers: specs(&regular),
                init_containers: Some(specs(&init)).filter(|it| !it.is_empty()),
                node_name: self.node.as_deref().map(str::to_owned),
                overhead: list(&self.overhead, false),
                priority: Some(self.priority),
                priority_class_name: self.priority_class.as_deref().map(str::to_owned),
                active_deadline_seconds: self.has_deadline.then_some(1),
                restart_policy: Some(if self.never_restarts { "Never" } else { "Always" }.to_owned()),
                os: (self.fixed == Some(Fixed::Windows)).then(|| PodOS { name: "windows".to_owned() }),
                resources: requirements(&self.pod_level)
                    .or_else(|| self.pod_level_held.as_ref().map(|_| ResourceRequirements::default())),
                ..PodSpec::default()
            }),
            status: None,
        };
        defaults::apply(&mut pod);
        pod.status = Some(PodStatus {
            phase: Some(
                match self.phase {
                    Phase::Pending => "Pending",
                    Phase::Running => "Running",
                    Phase::Ended => "Succeeded",
                    Phase::Unknown => "Unknown",
                }
                .to_owned(),
            ),
            qos_class: Some(self.qos.as_str().to_owned()),
            conditions: self.resize_condition().map(|it| vec![it]),
            container_statuses: some(statuses(&regular)),
            init_container_statuses: some(statuses(&init)),
            allocated_resources: level.allocated.and_then(|it| list(&it, false)),
            resources: level.actual.map(|it| requirements(&it).unwrap_or_default()),
            node_allocatable_resource_claim_statuses: claims,
            ..PodStatus::default()
        });
        pod
    }

    fn resize_condition(&self) -> Option<PodCondition> {
        let condition = |kind: &str, reason: &str, message: &str| PodCondition {
            type_: kind.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            ..PodCondition::default()
        };
        match &self.progress {
            Progress::Deferred(why) => Some(condition(POD_RESIZE_PENDING, PendingReason::Deferred.as_str(), why)),
            Progress::Infeasible(why) => Some(condition(POD_RESIZE_PENDING, PendingReason::Infeasible.as_str(), why)),
            Progress::Failing(why) => Some(condition(POD_RESIZE_IN_PROGRESS, REASON_ERROR, why)),
            Progress::Underway => Some(condition(POD_RESIZE_IN_PROGRESS, "", "")),
            Progress::Settled | Progress::Ended => None,
        }
    }
}

impl ContainerFacts {
    fn to_spec(&self) -> Container {
        let policy = |resource: &str, restarts: bool| ContainerResizePolicy {
            resource_name: resource.to_owned(),
            restart_policy: if restarts { "RestartContainer" } else { "NotRequired" }.to_owned(),
        };
        let mut stated = requirements(&self.asked);
        if let Some(others) = &self.others {
            let own = stated.get_or_insert_default();
            own.claims.clone_from(&others.claims);
            for (list, more) in [(&mut own.requests, &others.requests), (&mut own.limits, &others.limits)] {
                if let Some(more) = more {
                    list.get_or_insert_default().extend(more.clone());
                }
            }
        }
        Container {
            name: self.name.to_string(),
            image: Some("image".to_owned()),
            resources: stated,
            restart_policy: (self.kind == ContainerKind::Sidecar).then(|| "Always".to_owned()),
            resize_policy: Some(vec![policy(CPU, self.restarts_for_cpu), policy(MEMORY, self.restarts_for_memory)]),
            ..Container::default()
        }
    }

    fn to_status(&self) -> Option<ContainerStatus> {
        let running = self.running_since.map(|it| ContainerStateRunning { started_at: Some(Time(it.into())) });
        if running.is_none() && self.allocated.is_none() && self.actual.is_none() {
            return None; // never started
        }
        Some(ContainerStatus {
            name: self.name.to_string(),
            ready: self.ready,
            restart_count: i32::try_from(self.restarts).unwrap_or(i32::MAX),
            state: running.map(|it| ContainerState { running: Some(it), ..ContainerState::default() }),
            allocated_resources: self.allocated.map(|it| list(&it, false).unwrap_or_default()),
            resources: self.actual.map(|it| requirements(&it).unwrap_or_default()),
            ..ContainerStatus::default()
        })
    }
}

/// Requests, or limits, as they stand in an object; `None` where there are none.
fn list(numbers: &Numbers, limits: bool) -> Option<WireList> {
    let (cpu, memory) = match limits {
        false => (numbers.cpu_request, numbers.memory_request),
        true => (numbers.cpu_limit, numbers.memory_limit),
    };
    let cpu = cpu.map(|it| (CPU.to_owned(), WireQuantity(Quantity::from(it).to_string())));
    let memory = memory.map(|it| (MEMORY.to_owned(), WireQuantity(Quantity::from(it).to_string())));
    Some(cpu.into_iter().chain(memory).collect::<WireList>()).filter(|it| !it.is_empty())
}

fn requirements(numbers: &Numbers) -> Option<ResourceRequirements> {
    let (requests, limits) = (list(numbers, false), list(numbers, true));
    (requests.is_some() || limits.is_some()).then_some(ResourceRequirements { requests, limits, claims: None })
}
