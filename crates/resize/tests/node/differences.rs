//! A proof of ours for every deliberate difference.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use supple_quantity::{Bytes, MilliCpu, Quantity};
use supple_resize::actuate::{Actuated, Decrease, Plan, Target, in_progress, pod_amounts};
use supple_resize::allocate::{Allocation, Capacity, Decision, NodeView, Used, decide};
use supple_resize::condition::{PendingReason, ResizeConditions};
use supple_resize::defaults;
use supple_resize::differences::{CHAPTER, DIFFERENCES, to_markdown};
use supple_resize::guard::{self, MemoryUsage};
use supple_resize::kernel::{self, CgroupResources};
use supple_resize::queue::Waiting;
use supple_resize::status;
use supple_resize::validate;

use crate::actuate::{plan_for, settled};
use crate::support::{amounts, at, milli, pod, requirements};

#[test]
fn every_difference_has_a_proof() {
    let ids: BTreeSet<&str> = DIFFERENCES.iter().map(|it| it.id).collect();
    assert_eq!(ids.len(), DIFFERENCES.len(), "an id stands for one difference");
    let page = to_markdown(&[CHAPTER]);
    for difference in DIFFERENCES {
        let id = difference.id;
        let (_, proof) = PROOFS.iter().find(|(it, _)| *it == id).unwrap_or_else(|| panic!("no proof of {id}"));
        println!("{id}");
        proof();
        assert!(page.contains(&format!("\n### {id}\n")));
        let words = [difference.reference, difference.ours, difference.why, difference.source];
        assert!(words.iter().all(|it| !it.is_empty() && !it.contains("  ")), "{id}");
    }
    assert_eq!(PROOFS.len(), DIFFERENCES.len(), "a proof of nothing");
}

type Proof = (&'static str, fn());

const PROOFS: &[Proof] = &[
    ("amounts-do-not-wrap", || {
        let huge: Quantity = "9223372036854775807".parse().expect("an amount");
        assert_eq!((huge.milli(), MilliCpu::from(&huge)), (-1000, MilliCpu(i64::MAX)));
    }),
    ("amounts-beyond-exa-keep-their-size", || {
        let huge: Quantity = "1000E".parse().expect("an amount");
        assert_eq!(huge.to_string().parse(), Ok(huge));
    }),
    ("amounts-are-bounded", || {
        assert!("1e4095".parse::<Quantity>().is_ok());
        assert!("1e4096".parse::<Quantity>().is_err());
        assert!("1".repeat(4097).parse::<Quantity>().is_err());
    }),
    ("refused-update-has-no-diff", || {
        let pod = |hostname: &str| -> Pod {
            let spec = serde_json::json!({"hostname": hostname, "containers": [{"name": "app", "image": "i"}]});
            let mut pod =
                serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod");
            defaults::apply(&mut pod);
            pod
        };
        let errors = validate::update(&pod("new"), &pod("old"));
        assert_eq!(errors.len(), 1);
        assert!(errors[0].message().ends_with("negative)\n"));
    }),
    ("queue-age-survives-restart", || {
        let mut conditions = ResizeConditions::default();
        conditions.refuse(PendingReason::Deferred, String::new(), Some(2), at(7));
        let checkpoint = serde_json::to_string(&conditions).expect("plain data");
        let mut again: ResizeConditions = serde_json::from_str(&checkpoint).expect("what was written");
        again.refuse(PendingReason::Deferred, String::new(), Some(2), at(900));
        assert_eq!(again.pending.map(|it| it.since), Some(at(7)));
        let mut again = ResizeConditions::read(&conditions.to_conditions());
        again.refuse(PendingReason::Deferred, String::new(), Some(2), at(900));
        assert_eq!(again.pending.map(|it| it.since), Some(at(7)));
    }),
    ("queue-is-a-total-order", || {
        let shrinking = |uid: &str, priority| Waiting {
            uid: uid.to_owned(),
            increasing: false,
            priority,
            guaranteed: false,
            since: None,
        };
        let (low, high, equal) = (shrinking("a", 0), shrinking("b", 1), shrinking("c", 0));
        let mut forwards = [low.clone(), high.clone(), equal.clone()];
        let mut backwards = [equal.clone(), high.clone(), low.clone()];
        forwards.sort();
        backwards.sort();
        assert_eq!((&forwards, &backwards), (&[high.clone(), low.clone(), equal.clone()], &[high, low, equal]));
    }),
    ("shrink-is-never-deferred", || {
        let allocatable = Capacity { cpu: milli(100), memory: Bytes(1), pods: 1 };
        let node = NodeView { allocatable, ..NodeView::default() };
        let others = Used { cpu: milli(500), memory: Bytes(1 << 30), pods: 3 };
        let old = Allocation::of(&pod("c: R{cpu=2,mem=2Gi}"));
        let decision = decide(&pod("c: R{cpu=1,mem=2Gi}"), &old, &node, &others);
        assert!(matches!(decision, Decision::Allocate(_)), "{decision:?}");
    }),
    ("crashed-container-finds-room", || {
        let mut from = settled("c: R{mem=20Mi} L{mem=20Mi}");
        from.running.clear();
        let steps = plan_for(&pod("c: R{mem=20Mi} L{mem=400Mi}"), &from).steps;
        assert_eq!(steps.first().and_then(|it| it.write.memory_limit_bytes), Some(400 << 20));
    }),
    ("restarted-sidecar-finds-room", || {
        let plan = plan_for(
            &pod("side s: R{mem=2Mi} L{mem=2Mi} rp[mem Restart]; c: L{mem=1Mi}"),
            &settled("side s: R{mem=1Mi} L{mem=1Mi} rp[mem Restart]; c: L{mem=1Mi}"),
        );
        // Started after the steps, of which the first gives the pod room.
        assert_eq!(plan.restart, ["s"]);
        assert_eq!(plan.steps[0].target, Target::Pod);
        assert_eq!(plan.steps[0].write.memory_limit_bytes, Some(3 << 20));
    }),
    ("added-pod-limit-comes-last", || {
        let steps = plan_for(&pod("c: R{cpu=1} L{cpu=2}"), &settled("c: R{cpu=1}")).steps;
        let targets: Vec<&Target> = steps.iter().map(|it| &it.target).collect();
        assert_eq!(targets, [&Target::Container("c".to_owned()), &Target::Pod]);
    }),
    ("init-container-is-in-progress", || {
        let actuated = settled("init i: R{cpu=1}; c:").actuated;
        assert!(in_progress(&pod("init i: R{cpu=2}; c: R{cpu=0}"), &actuated, |it| it == "i"));
    }),
    ("completion-is-of-what-began", || {
        let actuated = settled("c: R{mem=128Mi}").actuated;
        let mut conditions = ResizeConditions::default();
        conditions.allocate(Some(2), at(0));
        let allocated = pod("c: R{mem=256Mi}");
        assert!(in_progress(&allocated, &actuated, |_| true), "the old size being in force completes nothing");
        assert_eq!(conditions.complete(), Some(Some(2)));
        assert_eq!(conditions.complete(), None, "and completion is told once");
    }),
    ("interrupted-write-is-found", || {
        let mut from = settled("c: L{mem=100Mi}; d: L{mem=100Mi}");
        let written = CgroupResources { memory_limit_bytes: Some(200 << 20), ..CgroupResources::default() };
        from.running.insert("c".to_owned(), from.running["c"].with(&written));
        assert!(plan_for(&pod("c: L{mem=100Mi}; d: L{mem=100Mi}"), &from).is_empty(), "the record knows nothing of it");
        from.actuated.adopt(&pod("c:; d:"), &Target::Container("c".to_owned()), &from.running["c"]);
        let plan = plan_for(&pod("c: L{mem=100Mi}; d: L{mem=100Mi}"), &from);
        assert_eq!(plan.steps[0].write.memory_limit_bytes, Some(100 << 20));
    }),
    ("guard-names-the-containers-usage", || {
        let decreases = vec![Decrease { target: Target::Container("c".to_owned()), to: Bytes(10) }];
        let containers = BTreeMap::from([("c".to_owned(), Bytes(60))]);
        let usage = MemoryUsage { pod: Some(Bytes(80)), containers };
        let refusal = guard::check(&Plan { decreases, ..Plan::default() }, &usage).expect_err("below usage");
        assert!(refusal.to_string().ends_with("container \"c\" memory limit (10) below current usage (60)"));
    }),
    ("guard-comes-before-the-kill", || {
        let from = settled("c: L{mem=100Mi} rp[mem Restart]; d: L{mem=100Mi}");
        let plan = plan_for(&pod("c: L{mem=50Mi} rp[mem Restart]; d: L{mem=50Mi}"), &from);
        assert_eq!(plan.restart, ["c"]);
        let used = |c: i64, d: i64| MemoryUsage {
            pod: Some(Bytes((c + d) << 20)),
            containers: BTreeMap::from([("c".to_owned(), Bytes(c << 20)), ("d".to_owned(), Bytes(d << 20))]),
        };
        assert!(guard::check(&plan, &used(90, 60)).is_err(), "refused with c alive");
        assert_eq!(guard::check(&plan, &used(90, 40)), Ok(()), "c gives back what it uses");
    }),
    ("unknown-usage-refuses", || {
        let plan = plan_for(&pod("c: L{mem=50Mi}; d:"), &settled("c: L{mem=100Mi}; d:"));
        let refusal = guard::check(&plan, &MemoryUsage { pod: Some(Bytes(1)), containers: BTreeMap::new() });
        let words = refusal.expect_err("not listed").to_string();
        assert_eq!(words, "cannot decrease memory limits: missing container \"c\" memory usage");
    }),
    ("pod-memory-request-follows", || {
        let resized = pod("c: R{mem=256Mi}");
        let actuated = Actuated { pod: Some(pod_amounts(&resized)), ..Actuated::default() };
        let reported = status::pod(&resized, &actuated, true).resources;
        assert_eq!(Some(reported), requirements("R{mem=256Mi}"));
    }),
    ("pod-status-is-not-rounded", || {
        let allocated = pod("c: R{cpu=100m}");
        let rounded = kernel::shares_from_pod_weight(kernel::pod_weight(kernel::shares(milli(100))));
        assert_eq!(kernel::milli_from_shares(rounded), milli(79));
        let mut actuated = Actuated { pod: Some(amounts("R{cpu=100m}")), ..Actuated::default() };
        actuated.adopt(
            &allocated,
            &Target::Pod,
            &CgroupResources { cpu_shares: Some(rounded), ..CgroupResources::default() },
        );
        assert_eq!(Some(status::pod(&allocated, &actuated, true).resources), requirements("R{cpu=100m}"));
    }),
    ("no-limit-is-not-a-number", || {
        let allocated = pod("c: R{mem=64Mi}");
        let mut actuated = Actuated { pod: Some(amounts("R{mem=64Mi}")), ..Actuated::default() };
        let reading = CgroupResources { memory_limit_bytes: Some(kernel::V1_MEMORY_UNLIMITED), ..Default::default() };
        actuated.adopt(&allocated, &Target::Pod, &reading);
        assert_eq!(Some(status::pod(&allocated, &actuated, true).resources), requirements("R{mem=64Mi}"));
    }),
];
