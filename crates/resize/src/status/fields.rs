//! The fields of a pod's status by their names, for who says or compares some of them, and the form in which a status is the
//! same whether it was made here or read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, PodStatus, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

/// Makes of a status what reading the stored one would: moments are whole seconds there, and what is empty is not there at all.
pub fn as_written(status: &mut PodStatus) {
    fn whole(time: &mut Option<Time>) {
        if let Some(Time(at)) = time {
            *at = Timestamp::from_second(at.as_second()).unwrap_or(*at);
        }
    }
    fn filled<T>(list: &mut Option<Vec<T>>) {
        list.take_if(|it| it.is_empty());
    }
    fn amounts(list: &mut Option<BTreeMap<String, Quantity>>) {
        list.take_if(|it| it.is_empty());
    }
    fn resources(of: &mut Option<ResourceRequirements>) {
        if let Some(ResourceRequirements { claims, limits, requests }) = of {
            filled(claims);
            amounts(limits);
            amounts(requests);
        }
    }
    fn state(of: &mut Option<ContainerState>) {
        let Some(ContainerState { running, terminated, waiting: _ }) = of else { return };
        if let Some(running) = running {
            whole(&mut running.started_at);
        }
        if let Some(terminated) = terminated {
            whole(&mut terminated.started_at);
            whole(&mut terminated.finished_at);
        }
    }
    whole(&mut status.start_time);
    for condition in status.conditions.iter_mut().flatten() {
        whole(&mut condition.last_probe_time);
        whole(&mut condition.last_transition_time);
    }
    let lists =
        [&mut status.container_statuses, &mut status.init_container_statuses, &mut status.ephemeral_container_statuses];
    for list in lists {
        for container in list.iter_mut().flatten() {
            state(&mut container.state);
            state(&mut container.last_state);
            amounts(&mut container.allocated_resources);
            resources(&mut container.resources);
            filled(&mut container.allocated_resources_status);
            filled(&mut container.volume_mounts);
        }
        filled(list);
    }
    filled(&mut status.conditions);
    filled(&mut status.host_ips);
    filled(&mut status.pod_ips);
    amounts(&mut status.allocated_resources);
    resources(&mut status.resources);
}

macro_rules! status_fields {
    ($($name:literal: $field:ident,)*) => {
        /// The names of the fields in which a status is another than the one before, if there was one.
        #[must_use]
        pub fn differing(before: Option<&PodStatus>, now: &PodStatus) -> Vec<&'static str> {
            // A field that is missing here does not compile: what it says would never be written.
            let PodStatus { $($field: _,)* } = now;
            let nothing = PodStatus::default();
            let before = before.unwrap_or(&nothing);
            let mut names = Vec::new();
            $(if before.$field != now.$field { names.push($name); })*
            names
        }

        /// Takes a field of another status over. `None`: there is none of this name.
        pub fn take(name: &str, into: &mut PodStatus, from: &PodStatus) -> Option<()> {
            match name {
                $($name => into.$field.clone_from(&from.$field),)*
                _ => return None,
            }
            Some(())
        }

        /// Whether a field has the same value in both. One that there is not has.
        #[must_use]
        pub fn is_same(name: &str, one: &PodStatus, other: &PodStatus) -> bool {
            match name {
                $($name => one.$field == other.$field,)*
                _ => true,
            }
        }

        /// Whether a field is there.
        #[must_use]
        pub fn has(name: &str, status: &PodStatus) -> bool {
            match name {
                $($name => status.$field.is_some(),)*
                _ => false,
            }
        }

        /// A field as a tree, if it is there.
        ///
        /// # Errors
        /// Those of writing it.
        pub fn member(name: &str, status: &PodStatus) -> serde_json::Result<Option<Value>> {
            match name {
                $($name => status.$field.as_ref().map(serde_json::to_value).transpose(),)*
                _ => Ok(None),
            }
        }
    };
}

status_fields! {
    "allocatedResources": allocated_resources,
    "conditions": conditions,
    "containerStatuses": container_statuses,
    "ephemeralContainerStatuses": ephemeral_container_statuses,
    "extendedResourceClaimStatus": extended_resource_claim_status,
    "hostIP": host_ip,
    "hostIPs": host_ips,
    "initContainerStatuses": init_container_statuses,
    "message": message,
    "nodeAllocatableResourceClaimStatuses": node_allocatable_resource_claim_statuses,
    "nominatedNodeName": nominated_node_name,
    "observedGeneration": observed_generation,
    "phase": phase,
    "podIP": pod_ip,
    "podIPs": pod_ips,
    "qosClass": qos_class,
    "reason": reason,
    "resize": resize,
    "resourceClaimStatuses": resource_claim_statuses,
    "resources": resources,
    "startTime": start_time,
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ContainerStateRunning, ContainerStatus, PodCondition};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_as_written_is_what_reading_it_gives() {
        let made = |moment: &str, empty: bool| {
            let none = || empty.then(BTreeMap::new);
            let moment = || moment.parse::<Timestamp>().map(Time).ok();
            let running = ContainerStateRunning { started_at: moment() };
            PodStatus {
                conditions: Some(vec![PodCondition { last_transition_time: moment(), ..Default::default() }]),
                container_statuses: Some(vec![ContainerStatus {
                    allocated_resources: none(),
                    state: Some(ContainerState { running: Some(running), ..Default::default() }),
                    ..Default::default()
                }]),
                pod_ips: empty.then(Vec::new),
                resources: Some(ResourceRequirements { limits: none(), ..Default::default() }),
                start_time: moment(),
                ..Default::default()
            }
        };
        let mut status = made("2030-01-01T00:00:00.5Z", true);
        as_written(&mut status);
        assert_eq!(status, made("2030-01-01T00:00:00Z", false));
        let read: PodStatus = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
        assert_eq!(status, read);
    }

    #[test]
    fn every_field_has_its_name() {
        let text = |name: &str| json!({name: "x"});
        for (value, name) in [
            (text("message"), "message"),
            (text("podIP"), "podIP"),
            (json!({"podIPs": [{"ip": "10.0.0.1"}]}), "podIPs"),
            (json!({"observedGeneration": 7}), "observedGeneration"),
            (json!({"resources": {}}), "resources"),
            (json!({"resourceClaimStatuses": [{"name": "c"}]}), "resourceClaimStatuses"),
        ] {
            let status: PodStatus = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(differing(None, &status), [name]);
            assert_eq!(differing(Some(&status), &PodStatus::default()), [name], "it is gone");
            assert_eq!(differing(Some(&status), &status), [] as [&str; 0]);
            assert_eq!(member(name, &status).unwrap().as_ref(), value.get(name));
            assert!(has(name, &status) && !is_same(name, &status, &PodStatus::default()));
            let mut other = PodStatus::default();
            assert_eq!(take(name, &mut other, &status), Some(()));
            assert_eq!(other, status);
        }
        assert_eq!(take("none", &mut PodStatus::default(), &PodStatus::default()), None);
    }
}
