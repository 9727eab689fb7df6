//! Amounts that no machine has and no server lets in, through everything a node or a forecast computes: answers may be
//! useless, but there are answers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use proptest::prelude::*;
use supple_quantity::{Bytes, MilliCpu};
use supple_resize::actuate::{self, Actuated, Situation, Target};
use supple_resize::allocate::{Allocation, Capacity, NodeView, Used, decide, held};
use supple_resize::condition::ResizeConditions;
use supple_resize::guard::{self, MemoryUsage};
use supple_resize::kernel::{self, CgroupResources};
use supple_resize::predict::{Change, NamespaceSight, NodeSight, predict};
use supple_resize::queue::is_increasing;
use supple_resize::resources::containers;
use supple_resize::status::{self, Observed};

use crate::support::at;

fn any_quantity() -> impl Strategy<Value = Quantity> {
    let extremes =
        ["", "x", "0", "-1", "1n", "-9223372036854775808", "9223372036854775807", "9E", "-9E", "1e300", "8Ei"];
    let written = proptest::sample::select(extremes.to_vec()).prop_map(str::to_owned);
    prop_oneof![written, any::<i64>().prop_map(|it| it.to_string()), any::<i64>().prop_map(|it| format!("{it}m"))]
        .prop_map(Quantity)
}

fn any_list() -> impl Strategy<Value = Option<BTreeMap<String, Quantity>>> {
    let key = proptest::sample::select(vec!["cpu", "memory", "pods", "hugepages-2Mi"]).prop_map(str::to_owned);
    proptest::option::of(proptest::collection::btree_map(key, any_quantity(), 0..4))
}

fn any_requirements() -> impl Strategy<Value = Option<ResourceRequirements>> {
    let both = (any_list(), any_list());
    proptest::option::of(both.prop_map(|(requests, limits)| ResourceRequirements { requests, limits, claims: None }))
}

fn any_container() -> impl Strategy<Value = (Container, ContainerStatus)> {
    (0..3_u8, any_requirements(), any::<bool>(), any_requirements(), any_list()).prop_map(
        |(name, resources, sidecar, reported, allocated_resources)| {
            let name = format!("c{name}");
            let restart_policy = sidecar.then(|| "Always".to_owned());
            let status = ContainerStatus {
                name: name.clone(),
                resources: reported,
                allocated_resources,
                ..ContainerStatus::default()
            };
            (Container { name, resources, restart_policy, ..Container::default() }, status)
        },
    )
}

fn any_pod() -> impl Strategy<Value = Pod> {
    let list = || proptest::collection::vec(any_container(), 0..3);
    let level = || (any_requirements(), any_requirements(), any_list(), any_list());
    (list(), list(), level(), any::<bool>()).prop_map(
        |(init, regular, (resources, reported, promised, overhead), bound)| {
            let (init, init_statuses): (Vec<_>, Vec<_>) = init.into_iter().unzip();
            let (regular, statuses): (Vec<_>, Vec<_>) = regular.into_iter().unzip();
            let spec = PodSpec {
                init_containers: Some(init),
                containers: regular,
                resources,
                overhead,
                node_name: bound.then(|| "n".to_owned()),
                ..PodSpec::default()
            };
            let status = PodStatus {
                init_container_statuses: Some(init_statuses),
                container_statuses: Some(statuses),
                resources: reported,
                allocated_resources: promised,
                ..PodStatus::default()
            };
            Pod { spec: Some(spec), status: Some(status), ..Pod::default() }
        },
    )
}

fn any_reading() -> impl Strategy<Value = CgroupResources> {
    let number = || prop_oneof![Just(None), Just(Some(i64::MIN)), Just(Some(i64::MAX)), any::<Option<i64>>()];
    let count = || prop_oneof![Just(Some(0)), Just(Some(u64::MAX)), any::<Option<u64>>()];
    (count(), number(), count(), number()).prop_map(|(cpu_shares, cpu_quota_us, cpu_period_us, memory_limit_bytes)| {
        CgroupResources { cpu_shares, cpu_quota_us, cpu_period_us, memory_limit_bytes, ..CgroupResources::default() }
    })
}

proptest! {
    #[test]
    fn nothing_panics(old in any_pod(), new in any_pod(), reading in any_reading(), number: i64, period: u64) {
        let allocation = Allocation::of(&old);
        prop_assert!(allocation.same_as(&allocation));
        let allocatable = Capacity { cpu: MilliCpu(number), memory: Bytes(number), pods: 1 };
        let node = NodeView { allocatable, static_cpu_manager: true, static_memory_manager: true, limited_swap: true };
        let mut others = Used { cpu: MilliCpu(number), memory: Bytes(number), pods: u32::MAX };
        others.add(&old, &allocation);
        let _ = (held(&new, &Allocation::reported(&new)), is_increasing(&new, &allocation));
        let _ = decide(&new, &allocation, &node, &others);

        let mut actuated = Actuated::default();
        actuated.pod_created(actuate::pod_amounts(&old));
        let mut running = BTreeMap::new();
        for container in containers(&old).map(|it| it.container) {
            actuated.container_starting(&container.name, actuate::container_amounts(&old, &container.name).expect("its own"));
            running.insert(container.name.clone(), reading);
            let _ = kernel::oom_score_adj(&old, container, Bytes(number));
        }
        actuated.adopt(&new, &Target::Pod, &reading);
        let plan = actuate::plan(&Situation { pod: &new, actuated: &actuated, running: &running, cgroup: reading, period_us: period });
        let usage = MemoryUsage { pod: Some(Bytes(number)), containers: running.keys().map(|it| (it.clone(), Bytes(number))).collect() };
        let _ = guard::check(&plan, &usage);
        for step in &plan.steps {
            let _ = guard::check_step(&plan, step, &usage);
            actuated.record(step);
        }
        for requirements in allocation.containers.values() {
            let amounts = actuated.containers.values().next();
            let observed = Observed::Running { actuated: amounts, cgroup: Some(&reading), previous: Some(requirements) };
            let _ = status::container(requirements, observed);
        }
        let _ = status::pod(&new, &actuated, true);
        let mut conditions = ResizeConditions::default();
        conditions.allocate(Some(number), at(0));
        let _ = ResizeConditions::read(&conditions.to_conditions());

        let change = Change::between(&old, &new);
        let sight = NodeSight { view: node, others: Some(others), ..NodeSight::default() };
        let _ = predict(&old, &change, &sight, &NamespaceSight::default(), Some(&usage));
    }
}
