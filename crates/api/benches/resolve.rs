//! What policies cost: reading all of them, and asking for each of 4,000 workloads.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use supple_api::resolve::{Asked, Given, Policies};
use supple_api::{ClusterRightsizePolicy, RightsizePolicy};
use supple_decide::key::WorkloadKey;

fn main() {
    divan::main();
}

/// A hundred namespaces with three policies each, one of them by name and one with windows; ten policies of the cluster.
struct World {
    cluster: Vec<ClusterRightsizePolicy>,
    namespaced: Vec<RightsizePolicy>,
    namespaces: Vec<ObjectMeta>,
    workloads: Vec<(WorkloadKey, BTreeMap<String, String>)>,
}

impl World {
    fn new() -> Self {
        let mut world =
            Self { cluster: Vec::new(), namespaced: Vec::new(), namespaces: Vec::new(), workloads: Vec::new() };
        for index in 0..10 {
            let mut policy = ClusterRightsizePolicy::default();
            policy.metadata.name = Some(format!("c{index}"));
            policy.spec.policy.weight = Some(index);
            policy.spec.policy.settle = Some(format!("{index}m"));
            world.cluster.push(policy);
        }
        let specs = [
            json!({"updatePolicy": {"updateMode": "InPlace"}}),
            json!({"targetRef": {"kind": "Deployment", "name": "w7"}, "settle": "1m"}),
            json!({"selector": {"matchLabels": {"tier": "t3"}}, "windows": [
                {"type": "Allow", "schedule": "0 22 * * 1-5", "duration": "8h", "timeZone": "Europe/Berlin"},
                {"type": "Deny", "schedule": "0 0 24 12 *", "duration": "72h", "timeZone": "Europe/Berlin"}]}),
        ];
        for namespace in 0..100 {
            let namespace = format!("n{namespace}");
            for (index, spec) in specs.iter().enumerate() {
                let mut policy = RightsizePolicy::default();
                policy.metadata.name = Some(format!("p{index}"));
                policy.metadata.namespace = Some(namespace.clone());
                policy.spec = serde_json::from_value(spec.clone()).unwrap_or_default();
                world.namespaced.push(policy);
            }
            world.namespaces.push(ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() });
            for index in 0..40 {
                let key = WorkloadKey {
                    namespace: namespace.as_str().into(),
                    kind: "Deployment".into(),
                    name: format!("w{index}").into(),
                };
                let labels = [("tier".to_owned(), format!("t{}", index % 5))].into_iter().collect();
                world.workloads.push((key, labels));
            }
        }
        world
    }

    fn policies(&self) -> Policies {
        let given = Given {
            cluster: self.cluster.iter().collect(),
            namespaced: self.namespaced.iter().collect(),
            namespaces: self.namespaces.iter().collect(),
            ..Given::default()
        };
        Policies::new(&given, Timestamp::UNIX_EPOCH)
    }

    fn ask(&self, policies: &Policies) -> usize {
        let annotations = BTreeMap::new();
        let asked = self.workloads.iter().map(|(key, labels)| {
            policies.resolve(&Asked { key, api_version: "apps/v1", labels, annotations: &annotations, above: None })
        });
        asked.map(|it| it.layers.len()).sum()
    }
}

#[divan::bench]
fn read_310_policies(bencher: divan::Bencher) {
    let world = World::new();
    bencher.bench(|| divan::black_box(&world).policies());
}

#[divan::bench]
fn ask_for_4000_workloads_first(bencher: divan::Bencher) {
    let world = World::new();
    bencher.with_inputs(|| world.policies()).bench_refs(|policies| world.ask(policies));
}

#[divan::bench]
fn ask_for_4000_workloads_again(bencher: divan::Bencher) {
    let world = World::new();
    let policies = world.policies();
    world.ask(&policies);
    bencher.bench(|| world.ask(divan::black_box(&policies)));
}
