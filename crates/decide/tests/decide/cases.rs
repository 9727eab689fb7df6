//! Random scenes: workloads of all modes with pods in all states, on nodes with much room and with none, in namespaces that say this and that.

#![allow(dead_code, reason = "each test program takes from it what it needs")]

use std::sync::Arc;

use k8s_openapi::api::core::v1::ResourceQuotaStatus;
use proptest::prelude::*;
use serde_json::{Value, json};
use supple_decide::numbers::Numbers;
use supple_decide::policy::{Limits, Mode, StepCaps, WithScaler};
use supple_decide::progress::Progress;
use supple_decide::scaler::Anchor;
use supple_quantity::Bytes;
use supple_resize::admission::quota;

use super::stage::*;

#[derive(Clone, Debug)]
pub struct PodCase {
    pub node: usize,
    pub sizes: String,
    pub second: Option<String>,
    pub used_mib: i64,
    pub charged_mib: i64,
    pub throttled: u16,
    pub restarts: (bool, bool),
    pub progress: u8,
    pub age_minutes: i64,
    pub priority: i32,
}

#[derive(Clone, Debug)]
pub struct WorkloadCase {
    pub needs: String,
    pub urgent: (bool, bool),
    pub mode: Mode,
    pub limits: Limits,
    pub steps: bool,
    pub scaler: Option<(u32, bool)>,
    pub pods: Vec<PodCase>,
    pub hours: u32,
}

fn random_sizes() -> impl Strategy<Value = String> {
    let cpu = (1_i64..20, 0_i64..3).prop_map(|(request, factor)| match factor {
        0 => format!("{}m", request * 100),
        _ => format!("{}m:{}m", request * 100, request * 100 * factor),
    });
    let memory = (1_i64..20, 0_i64..3).prop_map(|(request, factor)| match factor {
        0 => format!("{}Mi", request * 100),
        _ => format!("{}Mi:{}Mi", request * 100, request * 100 * factor),
    });
    prop_oneof![
        8 => (cpu.clone(), memory).prop_map(|(cpu, memory)| format!("{cpu} {memory}")),
        1 => cpu,
        1 => Just(String::new()),
    ]
}

fn pod() -> impl Strategy<Value = PodCase> {
    (
        (0_usize..3, random_sizes(), prop::option::weighted(0.3, random_sizes())),
        (1_i64..1500, 0_i64..1500, 0_u16..200),
        (prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
        prop::sample::select(vec![0_u8, 0, 0, 0, 0, 0, 1, 2]),
        prop::sample::select(vec![5_i64, 4000, 4000, 4000]),
        0_i32..2,
    )
        .prop_map(
            |((node, sizes, second), (used_mib, charged_mib, throttled), restarts, progress, age_minutes, priority)| {
                PodCase {
                    node,
                    sizes,
                    second,
                    used_mib,
                    charged_mib,
                    throttled,
                    restarts,
                    progress,
                    age_minutes,
                    priority,
                }
            },
        )
}

pub fn workload_case() -> impl Strategy<Value = WorkloadCase> {
    let needs = (1_i64..40, 1_i64..40).prop_map(|(cpu, memory)| format!("{}m {}Mi", cpu * 70, memory * 70));
    (
        needs,
        (prop::bool::weighted(0.2), prop::bool::weighted(0.2)),
        prop::sample::select(vec![Mode::InPlace, Mode::InPlace, Mode::InPlaceOrRecreate, Mode::Recreate, Mode::Off]),
        prop::sample::select(vec![Limits::Ratio, Limits::Ratio, Limits::Keep, Limits::Equal, Limits::None]),
        any::<bool>(),
        prop::option::weighted(0.2, (20_u32..90, any::<bool>())),
        prop::collection::vec(pod(), 1..4),
        prop::sample::select(vec![0_u32, 1000, 1000]),
    )
        .prop_map(|(needs, urgent, mode, limits, steps, scaler, pods, hours)| WorkloadCase {
            needs,
            urgent,
            mode,
            limits,
            steps,
            scaler,
            pods,
            hours,
        })
}

pub fn build(cases: &[WorkloadCase], webhook: bool) -> Stage {
    let mut stage = Stage::new();
    stage.scene.nodes.clear();
    for (name, case) in ["a", "b", "c", "d"].iter().zip(cases) {
        let subject = stage.workload(name, &case.needs);
        subject.facts.sized_at_creation = webhook;
        let need = subject.needs.get_mut("app").unwrap();
        need.hours = case.hours;
        need.cpu.as_mut().unwrap().urgent = case.urgent.0;
        need.memory.as_mut().unwrap().urgent = case.urgent.1;
        let other = need.clone();
        subject.needs.insert(Arc::from("side"), other);
        if let Some((percent, _)) = case.scaler {
            subject.facts.scalers.push(supple_decide::facts::Scaler {
                name: (*name).into(),
                kind: "HorizontalPodAutoscaler".into(),
                metrics: vec![supple_decide::facts::Metric {
                    resource: supple_resize::amounts::Resource::Cpu,
                    percent,
                    container: None,
                }],
                min_replicas: 1,
                max_replicas: 9,
                current_replicas: 2,
                anchor: (percent % 2 == 0).then_some(Anchor { percent: 50, milli_cpu: 700, pods: 2, to: percent }),
                set_by: None,
                through: None,
            });
        }
        stage.policy(name, |it| {
            it.mode.value = case.mode;
            it.limits.value = case.limits;
            if case.steps {
                it.steps.value = StepCaps::default();
            }
            if case.scaler.is_some_and(|it| it.1) {
                it.with_scaler.value = WithScaler::Adjust;
            }
        });
        for (index, pod) in case.pods.iter().enumerate() {
            let pod_name = format!("{name}-{index}");
            let started = stage.ago(pod.age_minutes);
            let second = pod.second.as_ref().map(|it| stage.container("side", it));
            let facts = stage.pod(name, &pod_name, &format!("n{}", pod.node), &pod.sizes);
            facts.containers.extend(second);
            facts.qos = class(&facts.containers);
            (facts.made, facts.started) = (Some(started.into()), Some(started.into()));
            facts.priority = pod.priority;
            let container = &mut facts.containers[0];
            (container.restarts_for_cpu, container.restarts_for_memory) = pod.restarts;
            match pod.progress {
                1 => facts.progress = Progress::Underway,
                2 => {
                    // It waits for twice of what it has been promised.
                    facts.progress = Progress::Deferred("no room".into());
                    let half = |it: Option<Bytes>| it.map(|it| Bytes(it.0 / 2));
                    let asked = container.asked;
                    let promised = Numbers { memory_request: half(asked.memory_request), ..asked };
                    container.allocated = Some(Numbers { cpu_limit: None, memory_limit: None, ..promised });
                    container.actual = Some(promised);
                }
                _ => {}
            }
            let (charged, throttled) = (pod.used_mib.max(pod.charged_mib), pod.throttled);
            let used_mib = pod.used_mib;
            let used = stage.used(&pod_name);
            used.memory = Some(Bytes(used_mib * MIB));
            used.memory_peak = used.memory;
            used.memory_charged = Some(Bytes(charged * MIB));
            used.throttled_permille = Some(throttled);
            let side = *used;
            stage.scene.uses.get_mut(&key(&pod_name)).unwrap().insert("side".into(), side);
        }
    }
    // Nodes that hold what is on them, some with much room and some with none.
    for index in 0..3_i64 {
        let name = format!("n{index}");
        let held = stage.scene.pods.values().filter(|it| it.node.as_deref() == Some(&name)).map(|it| it.held());
        let (cpu, memory) = held.fold((0, 0), |sum, it| (sum.0 + it.cpu_request.0, sum.1 + it.memory_request.0));
        let free = 1 + index * 1500;
        stage.node(&name, &format!("{}m", cpu + free), &format!("{}", memory + free * MIB));
    }
    stage
}

pub fn cases() -> impl Strategy<Value = Vec<WorkloadCase>> {
    prop::collection::vec(workload_case(), 1..4)
}

/// What the namespace says: ranges as they are written, and quotas as the names they limit and how much room they leave.
#[derive(Clone, Debug)]
pub struct NamespaceCase {
    pub ranges: Vec<Value>,
    pub quotas: Vec<(Vec<&'static str>, i64)>,
}

pub fn namespace() -> impl Strategy<Value = NamespaceCase> {
    let range = (
        prop::option::weighted(0.6, (1_i64..6, 1_i64..6)),
        prop::option::weighted(0.2, (10_i64..30, 10_i64..30)),
        prop::option::weighted(0.4, 1000_i64..5000),
    );
    let range = range.prop_map(|(min, max, ratio)| {
        let list = |it: (i64, i64)| json!({"cpu": format!("{}m", it.0 * 100), "memory": format!("{}Mi", it.1 * 100)});
        let mut item = json!({"type": "Container"});
        if let Some(min) = min {
            item["min"] = list(min);
        }
        if let Some(max) = max {
            item["max"] = list(max);
        }
        if let Some(ratio) = ratio {
            let ratio = format!("{}.{:03}", ratio / 1000, ratio % 1000);
            item["maxLimitRequestRatio"] = json!({"cpu": ratio, "memory": ratio});
        }
        item
    });
    let names = vec!["requests.cpu", "requests.memory", "limits.cpu", "limits.memory", "pods"];
    let quota = (prop::sample::subsequence(names, 1..3), 0_i64..1500);
    (prop::collection::vec(range, 0..3), prop::collection::vec(quota, 0..3))
        .prop_map(|(ranges, quotas)| NamespaceCase { ranges, quotas })
}

/// The stage with what its namespace says.
pub fn build_in(namespace: &NamespaceCase, cases: &[WorkloadCase], webhook: bool) -> Stage {
    let mut stage = build(cases, webhook);
    for range in &namespace.ranges {
        stage.limit_range(range.clone());
    }
    for (index, (names, more)) in namespace.quotas.iter().enumerate() {
        let nothing: serde_json::Map<String, Value> = names.iter().map(|it| ((*it).to_owned(), json!("0"))).collect();
        stage.quota(nothing.clone().into(), nothing.into());
        let pods: Vec<_> = stage.scene.pods.values().map(|it| it.to_pod()).collect();
        let quota = stage.scene.namespaces.get_mut(NAMESPACE).unwrap().quotas.last_mut().unwrap();
        quota.metadata.name = Some(format!("quota-{index}"));
        let used = quota::used(quota, &pods);
        let hard = names.iter().map(|name| {
            let more = if name.ends_with("memory") { format!("{more}Mi") } else { format!("{more}m") };
            let more: supple_quantity::Quantity = more.parse().unwrap();
            let sum = used.get(name).unwrap().clone() + &more;
            ((*name).to_owned(), quantity(sum))
        });
        quota.spec.as_mut().unwrap().hard = Some(hard.collect());
    }
    count(&mut stage);
    stage
}

/// What the controller of quotas does: count anew.
pub fn count(stage: &mut Stage) {
    let pods: Vec<_> = stage.scene.pods.values().map(|it| it.to_pod()).collect();
    for it in &mut stage.scene.namespaces.get_mut(NAMESPACE).unwrap().quotas {
        let hard = it.spec.as_ref().unwrap().hard.clone();
        let used = Some(quota::used(it, &pods).to_wire());
        it.status = Some(ResourceQuotaStatus { hard, used });
    }
}

pub fn quantity(it: supple_quantity::Quantity) -> k8s_openapi::apimachinery::pkg::api::resource::Quantity {
    k8s_openapi::apimachinery::pkg::api::resource::Quantity(it.to_string())
}
