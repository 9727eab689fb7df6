//! Workloads that have no pods now: a pod that its template would make, not begun yet, stands in for all of them. For one look it is judged
//! like any other, for whoever asks. In the loop nothing is decided about what is not there; what its new pods are to be sized by is
//! kept ready all the same.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::runtime::watcher::Event as Seen;
use supple_decide::create::Siblings;
use supple_decide::facts::{PodFacts, WorkloadFacts, mode_under};
use supple_decide::key::WorkloadKey;
use supple_decide::numbers::Numbers;
use supple_decide::policy::Mode;
use supple_decide::scene::Subject;

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
            let pod = self.stand_in(&self.view.facts_of(workload));
            self.view.see(News::Pod(Seen::Apply(pod)));
        }
        if !without.is_empty() {
            self.round(now, None); // it does not lead: nothing comes of it but what is to be shown
        }
    }

    /// Make ready what the new pods of those are sized by that have none. What was remembered of one is taken in where its new pods may be
    /// sized, and not of all that is switched off in a cluster.
    pub(super) fn look_at_rest(&mut self, now: Timestamp) {
        let mut before = std::mem::take(&mut self.kept.resting);
        for workload in self.view.without_pods() {
            let Some((facts, policy)) = self.at_rest(&workload) else { continue };
            // As for a pod: what its template says wins over its workload's mode.
            if mode_under(self.view.pod_words(&workload), &policy).value == Mode::Off {
                continue;
            }
            self.recall(&workload);
            if !self.history.knows(&workload) {
                continue;
            }
            let is_otherwise =
                |it: &Subject| it.policy.cpu_risk != policy.cpu_risk || it.policy.memory_risk != policy.memory_risk;
            if before.remove(&workload).is_none_or(|it| is_otherwise(&it.0)) {
                self.history.set_policy(&workload, &policy);
            }
            let pod = PodFacts::of(&self.stand_in(&facts), workload.clone());
            let needs = self.history.needs(&workload, now, |name| {
                let asked = pod.containers.iter().find(|it| &*it.name == name)?.asked;
                Some((pod.key.clone(), asked))
            });
            let record = self.records.get(&workload).cloned().unwrap_or_default();
            let subject = Subject { facts, policy, needs, record };
            let siblings = Siblings::of(&self.view.scene, &subject, [&pod], now).at_rest();
            self.kept.resting.insert(workload, Box::new((subject, siblings)));
        }
    }

    /// What the new pods of workloads without pods are sized by.
    pub(super) fn resting(&self) -> impl Iterator<Item = (&WorkloadKey, &(Subject, Siblings))> {
        self.kept.resting.iter().map(|(workload, it)| (workload, &**it))
    }

    /// The pod that stands in for all of a workload.
    fn stand_in(&self, facts: &WorkloadFacts) -> Pod {
        // A template does not say here which of its containers end before the others begin; of those nothing is learned.
        let known = self.history.knows(&facts.key);
        let containers = facts.template.iter().filter(|(name, _)| !known || self.history.knows_of(&facts.key, name));
        let mut pod = stand_in(facts, containers.map(|(name, asked)| container(name, asked)).collect());
        pod.metadata.annotations = Some(self.view.pod_words(&facts.key).clone());
        pod
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
