//! The workloads of a simulated cluster, as values, and the manifests they are. Pure.

use serde_json::{Map, Value, json};
use supple_node::runtime::simulated::pattern::ANNOTATION;
use supple_quantity::{Bytes, MilliCpu};

use super::dice::Dice;
use super::lives::{self, BEHAVIOUR};
use crate::manifest::Manifest;

/// A namespace with this label lets its pods be resized by the loop.
const MODE: &str = "supple.dev/mode";

/// What teams call their namespaces; there are as many namespaces as the pods need, beginning here.
const TEAMS: [&str; 12] = [
    "checkout", "catalog", "search", "accounts", "payments", "media", "ads", "ledger", "mail", "reports", "gateway",
    "ml",
];

/// What they call what they run.
const SERVICES: [&str; 16] = [
    "api", "web", "worker", "cache", "queue", "index", "sync", "auth", "feed", "export", "import", "render", "proxy",
    "store", "stats", "notify",
];

/// How many pods a namespace has, about.
const PER_NAMESPACE: u32 = 600;

/// What makes the pods of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A deployment.
    Deployment,
    /// A stateful set: its pods have names that can be foretold.
    StatefulSet,
    /// Nothing: one pod by itself.
    Pod,
}

/// What a container asks for: millicores and MiB. Zero is "not set".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// CPU request, millicores.
    pub cpu_request: u64,
    /// CPU limit, millicores.
    pub cpu_limit: u64,
    /// Memory request, MiB.
    pub memory_request: u64,
    /// Memory limit, MiB.
    pub memory_limit: u64,
}

/// A container of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub size: Size,
    /// What it uses; `None`: what was recorded of it.
    pub pattern: Option<String>,
}

/// Pods of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What makes its pods.
    pub kind: Kind,
    /// How many pods; of [`Kind::Pod`] one.
    pub replicas: u32,
    /// The value of [`BEHAVIOUR`].
    pub behaviour: &'static str,
    /// Its containers.
    pub parts: Vec<Part>,
}

/// Everything that runs in a simulated cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Population {
    /// In the order in which they are made.
    pub workloads: Vec<Workload>,
}

/// So many pods, in workloads of every size and behaviour. Same seed, same population.
pub fn population(pods: u32, seed: u64) -> Population {
    let mut dice = Dice::new(seed);
    let namespaces = pods.div_ceil(PER_NAMESPACE).max(pods.min(3));
    // A few large workloads and many small ones, as everywhere; of few pods no workload has more than its part.
    let sizes: &[u32] = &[1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6, 8, 10, 15, 25, 60];
    let largest = (pods / 12).max(1);
    let (mut left, mut workloads) = (pods, Vec::new());
    while left > 0 {
        let number = u32::try_from(workloads.len()).unwrap_or(u32::MAX);
        let kind = match dice.between(0, 99) {
            0..70 => Kind::Deployment,
            70..90 => Kind::StatefulSet,
            _ => Kind::Pod,
        };
        let replicas = if kind == Kind::Pod { 1 } else { (*dice.one_of(sizes)).min(largest).min(left) };
        let life = lives::draw(&mut dice);
        let mut parts = vec![(life.make)(&mut dice)];
        if dice.percent(15) {
            parts.push(sidecar(&mut dice));
        }
        workloads.push(Workload {
            namespace: named(&TEAMS, number % namespaces, ""),
            name: named(&SERVICES, number / namespaces, "v"),
            kind,
            replicas,
            behaviour: life.name,
            parts,
        });
        left -= replicas;
    }
    Population { workloads }
}

/// The words by turns; from the second turn on with its number, after this. `api-2` may be a pod of `api`; `api-v2` is not.
fn named(words: &[&str], number: u32, before: &str) -> String {
    let count = u32::try_from(words.len()).unwrap_or(1);
    let word = words.get(usize::try_from(number % count).unwrap_or(0)).copied().unwrap_or_default();
    match number / count {
        0 => word.to_owned(),
        turn => format!("{word}-{before}{}", turn + 1),
    }
}

/// The proxy beside the service.
fn sidecar(dice: &mut Dice) -> Part {
    let (cpu, memory) = (dice.between(2, 15), dice.between(20, 60));
    let size = Size { cpu_request: 100, cpu_limit: 2000, memory_request: 128, memory_limit: 1024 };
    Part { name: "proxy".to_owned(), size, pattern: Some(format!("cpu={cpu}m memory={memory}Mi noise=20")) }
}

impl Population {
    /// How many pods there are.
    pub fn pods(&self) -> u32 {
        self.workloads.iter().map(|it| it.replicas).fold(0, u32::saturating_add)
    }

    /// What all pods ask for together.
    pub fn demand(&self) -> (MilliCpu, Bytes) {
        let (mut cpu, mut memory) = (0_u64, 0_u64);
        for workload in &self.workloads {
            for Part { size, .. } in &workload.parts {
                cpu = cpu.saturating_add(size.cpu_request.saturating_mul(u64::from(workload.replicas)));
                memory = memory.saturating_add(size.memory_request.saturating_mul(u64::from(workload.replicas)));
            }
        }
        let memory = memory.saturating_mul(1 << 20);
        (MilliCpu(i64::try_from(cpu).unwrap_or(i64::MAX)), Bytes(i64::try_from(memory).unwrap_or(i64::MAX)))
    }

    /// Its namespaces, in the order in which they are made.
    pub fn namespaces(&self) -> Vec<&str> {
        let mut seen = std::collections::BTreeSet::new();
        self.workloads.iter().map(|it| it.namespace.as_str()).filter(|it| seen.insert(*it)).collect()
    }

    /// Namespaces and workloads, to be applied in this order. The namespaces have opted in.
    pub fn manifests(&self) -> Vec<Manifest> {
        let namespaces = self.namespaces().into_iter().map(|name| {
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {MODE: "in-place"}}})
        });
        let objects = namespaces.chain(self.workloads.iter().map(Workload::object));
        objects.map(|object| Manifest { place: "the simulation".to_owned(), object }).collect()
    }
}

impl Workload {
    fn object(&self) -> Value {
        let Self { namespace, name, kind, replicas, behaviour, parts } = self;
        let labels = json!({"app": name, BEHAVIOUR: behaviour});
        let patterns: Vec<String> =
            parts.iter().filter_map(|it| Some(format!("{}: {}", it.name, it.pattern.as_ref()?))).collect();
        let annotations = (!patterns.is_empty()).then(|| json!({ANNOTATION: patterns.join(" | ")}));
        let containers: Vec<Value> = parts.iter().map(Part::container).collect();
        let spec = json!({"terminationGracePeriodSeconds": 5, "containers": containers});
        let mut template = json!({"metadata": {"labels": labels}, "spec": spec});
        if let Some(annotations) = annotations {
            template["metadata"]["annotations"] = annotations;
        }
        let selector = json!({"matchLabels": {"app": name}});
        let mut object = match kind {
            Kind::Pod => {
                template["apiVersion"] = "v1".into();
                template["kind"] = "Pod".into();
                template
            }
            Kind::Deployment => json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": labels},
                "spec": {"replicas": replicas, "selector": selector, "template": template},
            }),
            Kind::StatefulSet => json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"labels": labels},
                "spec": {"replicas": replicas, "selector": selector, "template": template,
                         "serviceName": name, "podManagementPolicy": "Parallel"},
            }),
        };
        object["metadata"]["name"] = name.as_str().into();
        object["metadata"]["namespace"] = namespace.as_str().into();
        object
    }
}

impl Part {
    fn container(&self) -> Value {
        let Size { cpu_request, cpu_limit, memory_request, memory_limit } = self.size;
        let amounts = |cpu: u64, memory: u64| {
            let mut amounts = Map::new();
            if cpu > 0 {
                amounts.insert("cpu".to_owned(), format!("{cpu}m").into());
            }
            if memory > 0 {
                amounts.insert("memory".to_owned(), format!("{memory}Mi").into());
            }
            Value::Object(amounts)
        };
        json!({
            "name": self.name,
            "image": "supple.dev/simulated",
            "resources": {"requests": amounts(cpu_request, memory_request), "limits": amounts(cpu_limit, memory_limit)},
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_as_many_pods_as_asked_for_and_each_workload_has_a_name_of_its_own() {
        for pods in [0, 1, 2, 7, 60, 1000, 20_000] {
            let population = population(pods, 1);
            assert_eq!(population.pods(), pods);
            let names: BTreeSet<_> = population.workloads.iter().map(|it| (&it.namespace, &it.name)).collect();
            assert_eq!(names.len(), population.workloads.len());
        }
    }

    #[test]
    fn no_pod_has_the_name_of_another() {
        let population = population(20_000, 1);
        let mut names = BTreeSet::new();
        for Workload { namespace, name, kind, replicas, .. } in &population.workloads {
            match kind {
                Kind::Pod => assert!(names.insert(format!("{namespace}/{name}"))),
                Kind::StatefulSet => {
                    assert!((0..*replicas).all(|it| names.insert(format!("{namespace}/{name}-{it}"))), "{name}");
                }
                Kind::Deployment => {}
            }
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(population(500, 1), population(500, 1));
        assert_ne!(population(500, 1), population(500, 2));
    }

    #[test]
    fn every_behaviour_and_kind_is_there() {
        let population = population(500, 1);
        let behaviours: BTreeSet<_> = population.workloads.iter().map(|it| it.behaviour).collect();
        assert_eq!(behaviours.len(), lives::LIVES.len());
        for kind in [Kind::Deployment, Kind::StatefulSet, Kind::Pod] {
            assert!(population.workloads.iter().any(|it| it.kind == kind), "{kind:?}");
        }
    }

    #[test]
    fn a_workload_is_a_manifest() {
        let size = Size { cpu_request: 100, memory_request: 64, ..Size::default() };
        let parts = vec![
            Part { name: "app".to_owned(), size, pattern: Some("cpu=1".to_owned()) },
            Part { name: "proxy".to_owned(), size, pattern: Some("cpu=2".to_owned()) },
        ];
        let workload = Workload {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            kind: Kind::StatefulSet,
            replicas: 3,
            behaviour: "steady",
            parts,
        };
        let population = Population { workloads: vec![workload] };
        assert_eq!(population.demand(), (MilliCpu(600), Bytes(384 << 20)));
        let manifests = population.manifests();
        let at = |number: usize, pointer: &str| manifests[number].object.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at(0, "/metadata/labels/supple.dev~1mode"), "in-place");
        assert_eq!((at(1, "/kind"), at(1, "/spec/replicas")), (json!("StatefulSet"), json!(3)));
        let pattern = at(1, "/spec/template/metadata/annotations/supple.dev~1usage-pattern");
        assert_eq!(pattern, "app: cpu=1 | proxy: cpu=2");
        let resources = at(1, "/spec/template/spec/containers/0/resources");
        assert_eq!(resources, json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {}}));
    }
}
