//! Workloads that have no pods now, judged all the same for whoever asks: a pod that its template would make, not begun yet, stands in for
//! all of them. For one look only: in the loop nothing is decided about what is not there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::runtime::watcher::Event as Seen;
use supple_decide::facts::{PodFacts, WorkloadFacts};
use supple_decide::numbers::Numbers;

use super::World;
use crate::view::News;

/// The name of a pod that stands in: no pod of a cluster can be called so. It is its UID too.
const STAND_IN: &str = "(none)";

/// Whether it only stands in for the pods of its workload.
pub(crate) fn stands_in(pod: &PodFacts) -> bool {
    &*pod.key.uid == STAND_IN
}

impl World {
    /// Judge the workloads without pods too.
    pub fn judge_those_without_pods(&mut self, now: Timestamp) {
        let without = self.view.without_pods();
        for workload in &without {
            self.recall(workload);
            let facts = self.view.facts_of(workload);
            // A template does not say here which of its containers end before the others begin; of those nothing is learned.
            let known = self.history.knows(workload);
            let containers = facts.template.iter().filter(|(name, _)| !known || self.history.knows_of(workload, name));
            let containers = containers.map(|(name, asked)| container(name, asked)).collect();
            self.view.see(News::Pod(Seen::Apply(stand_in(&facts, containers))));
        }
        if !without.is_empty() {
            self.round(now, None); // it does not lead: nothing comes of it but what is to be shown
        }
    }
}

fn stand_in(facts: &WorkloadFacts, containers: Vec<Container>) -> Pod {
    let owner = OwnerReference {
        api_version: facts.api_version.to_string(),
        kind: facts.key.kind.to_string(),
        name: facts.key.name.to_string(),
        controller: Some(true),
        ..OwnerReference::default()
    };
    Pod {
        metadata: ObjectMeta {
            namespace: Some(facts.key.namespace.to_string()),
            name: Some(format!("{} {STAND_IN}", facts.key)),
            uid: Some(STAND_IN.to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec { containers, ..PodSpec::default() }),
        status: None,
    }
}

fn container(name: &str, asked: &Numbers) -> Container {
    let list = |cpu: Option<String>, memory: Option<String>| -> BTreeMap<String, Quantity> {
        let all = [("cpu", cpu), ("memory", memory)].into_iter();
        all.filter_map(|(resource, amount)| Some((resource.to_owned(), Quantity(amount?)))).collect()
    };
    let Numbers { cpu_request, cpu_limit, memory_request, memory_limit } = asked;
    let resources = ResourceRequirements {
        requests: Some(list(cpu_request.map(|it| it.to_string()), memory_request.map(|it| it.to_string()))),
        limits: Some(list(cpu_limit.map(|it| it.to_string()), memory_limit.map(|it| it.to_string()))),
        ..ResourceRequirements::default()
    };
    Container { name: name.to_owned(), resources: Some(resources), ..Container::default() }
}
