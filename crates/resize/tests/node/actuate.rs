//! Which containers restart and what is written in which order (reference §5.1-5.3, tables of §5.9).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use supple_resize::actuate::{
    Actuated, Plan, Situation, Step, Target, container_amounts, in_progress, plan, pod_amounts,
};
use supple_resize::amounts::{Amounts, Resource};
use supple_resize::kernel::{CgroupResources, DEFAULT_PERIOD_US};
use supple_resize::resources::containers;

use crate::support::{amounts, pod};

/// A pod as it is after everything of `line` was actuated.
pub struct Settled {
    pub actuated: Actuated,
    pub cgroup: CgroupResources,
    pub running: BTreeMap<String, CgroupResources>,
}

/// All containers of the pod run (init containers too, as while one of them runs).
pub fn settled(line: &str) -> Settled {
    let pod = pod(line);
    let mut actuated = Actuated::default();
    actuated.pod_created(pod_amounts(&pod));
    let mut running = BTreeMap::new();
    for container in containers(&pod).map(|it| it.container) {
        let amounts = container_amounts(&pod, &container.name).expect("its own");
        actuated.container_starting(&container.name, amounts);
        running.insert(container.name.clone(), CgroupResources::of(&amounts, DEFAULT_PERIOD_US));
    }
    let cgroup = CgroupResources::of(&pod_amounts(&pod), DEFAULT_PERIOD_US);
    Settled { actuated, cgroup, running }
}

pub fn plan_for(pod: &Pod, from: &Settled) -> Plan {
    plan(&Situation {
        pod,
        actuated: &from.actuated,
        running: &from.running,
        cgroup: from.cgroup,
        period_us: DEFAULT_PERIOD_US,
    })
}

/// `pod cpu limit=20000/100000`, `c memory limit=-1`, `pod cpu shares=102`; `-` where nothing is written.
fn shown(step: &Step) -> String {
    let target = match &step.target {
        Target::Pod => "pod",
        Target::Container(name) => name,
    };
    let CgroupResources { cpu_shares, cpu_quota_us, cpu_period_us, memory_limit_bytes, tiers } = step.write;
    assert!(tiers.is_empty(), "a plan knows nothing of memory QoS");
    assert_eq!(cpu_quota_us.is_some(), cpu_period_us.is_some(), "quota and period are one value");
    let mut written = Vec::new();
    written.extend(cpu_quota_us.map(|it| format!("quota={it}")));
    written.extend(cpu_shares.map(|it| format!("shares={it}")));
    written.extend(memory_limit_bytes.map(|it| format!("limit={it}")));
    let written = if written.is_empty() { "-".to_owned() } else { written.join(" ") };
    format!("{target} {} {written}", step.resource.as_str())
}

/// From one settled pod to the next: the restarts, and the steps.
#[track_caller]
fn check(old: &str, new: &str, restart: &[&str], steps: &[&str]) {
    let plan = plan_for(&pod(new), &settled(old));
    assert_eq!(plan.restart, restart);
    let shown: Vec<String> = plan.steps.iter().map(shown).collect();
    assert_eq!(shown, steps);
}

#[test]
fn equal_means_nothing() {
    check("c:", "c:", &[], &[]);
    let line = "c: R{cpu=100m,mem=64Mi} L{cpu=200m,mem=128Mi}";
    check(line, line, &[], &[]);
    check(line, "c: R{cpu=0.1,mem=65536Ki} L{cpu=200000u,mem=128Mi}", &[], &[]);
}

#[test]
fn up_the_pod_goes_first_down_it_goes_last() {
    let small = "c: R{cpu=100m,mem=100} L{cpu=100m,mem=100}";
    let large = "c: R{cpu=200m,mem=200} L{cpu=200m,mem=200}";
    let up = [
        "pod memory limit=200",
        "c memory limit=200",
        "pod memory -",
        "pod cpu quota=20000",
        "pod cpu shares=204",
        "c cpu quota=20000 shares=204",
    ];
    check(small, large, &[], &up);
    let down = [
        "c memory limit=100",
        "pod memory -",
        "pod memory limit=100",
        "c cpu quota=10000 shares=102",
        "pod cpu shares=102",
        "pod cpu quota=10000",
    ];
    check(large, small, &[], &down);
}

#[test]
fn decreases_go_before_increases() {
    check(
        "a: R{cpu=100m} L{cpu=200m,mem=128Mi}; b: R{cpu=100m} L{cpu=200m,mem=128Mi}; c: R{cpu=50m} L{cpu=200m,mem=128Mi}",
        "a: R{cpu=150m} L{cpu=300m,mem=192Mi}; b: R{cpu=50m} L{cpu=100m,mem=64Mi}; c: R{cpu=20m} L{cpu=200m,mem=128Mi}",
        &[],
        &[
            "b memory limit=67108864",
            "a memory limit=201326592",
            "b cpu quota=10000 shares=51",
            "c cpu quota=20000 shares=20",
            "a cpu quota=30000 shares=153",
            "pod cpu shares=225",
        ],
    );
}

/// How often the pod's own cgroup is written (reference `TestDoPodResizeAction`).
#[test]
fn writes_of_the_pod_cgroup() {
    #[track_caller]
    fn check(old: &str, new: &str, writes: usize) {
        let plan = plan_for(&pod(new), &settled(old));
        let pod_writes = plan.steps.iter().filter(|it| it.target == Target::Pod && !it.write.is_empty());
        assert_eq!(pod_writes.count(), writes);
        assert!(plan.restart.is_empty());
    }
    let limited = "; d: R{cpu=1m,mem=1} L{cpu=10m,mem=10}";
    let unlimited = "; d: R{cpu=1m,mem=1}";
    let all = |n: i32| format!("c: R{{cpu={n}m,mem={n}}} L{{cpu={n}m,mem={n}}}");
    check(&(all(100) + limited), &(all(200) + limited), 3);
    check(&(all(100) + unlimited), &(all(200) + unlimited), 1);
    let requests = |n: i32| format!("c: R{{cpu={n}m,mem={n}}} L{{cpu=200m,mem=200}}");
    check(&requests(100), &requests(150), 1);
    check("c: R{cpu=100m,mem=100} L{cpu=200m,mem=200}", "c: R{cpu=100m,mem=150} L{cpu=200m,mem=200}", 0);
    check("c: R{cpu=100m}", "c: R{cpu=200m}", 1);
    let added = "c: R{cpu=100m,mem=100} L{cpu=100m,mem=100}";
    check(&format!("c: R{{cpu=100m,mem=100}}{unlimited}"), &format!("{added}{unlimited}"), 0);
    check(&format!("c: R{{cpu=100m,mem=100}}{limited}"), &format!("{added}{limited}"), 2);
    let level = |cpu: &str, mem: i32| format!("pod: R{{cpu=100m,mem={mem}}} L{{cpu={cpu},mem=500}}; c: R{{cpu=10m}}");
    check(&level("500m", 100), &level("500m", 200), 0);
    check(&level("500m", 100), &level("600m", 100), 1);
    let level = "pod: R{cpu=100m,mem=100} L{cpu=500m,mem=500}; c: L{cpu=10m,mem=10}";
    check(level, "pod: R{cpu=100m,mem=100} L{cpu=500m,mem=600}; c: L{cpu=10m,mem=10}", 1);
    check(level, "pod: R{cpu=200m,mem=100} L{cpu=500m,mem=500}; c: L{cpu=10m,mem=10}", 1);
    check(level, "pod: R{cpu=100m,mem=100} L{cpu=600m,mem=500}; c: L{cpu=20m,mem=10}", 1);
    check(level, "pod: R{cpu=200m,mem=100} L{cpu=500m,mem=500}; c: R{cpu=20m} L{cpu=10m,mem=10}", 1);
}

/// Reference `TestComputePodActionsForPodResize`: which containers restart, which are updated for which resource.
#[test]
fn what_happens_to_each_container() {
    #[track_caller]
    fn check(old: &str, new: &str, restart: &[&str], memory: &[&str], cpu: &[&str]) {
        let plan = plan_for(&pod(new), &settled(old));
        let updated = |resource: Resource| {
            let steps = plan.steps.iter().filter(move |it| it.resource == resource);
            steps.filter_map(|it| match &it.target {
                Target::Container(name) => Some(name.as_str()),
                Target::Pod => None,
            })
        };
        assert_eq!(plan.restart, restart, "restart");
        assert_eq!(updated(Resource::Memory).collect::<Vec<_>>(), memory, "memory");
        assert_eq!(updated(Resource::Cpu).collect::<Vec<_>>(), cpu, "cpu");
    }
    let fixed = "R{cpu=10m,mem=10} L{cpu=10m,mem=10}";
    let level = |n: i32| format!("pod: L{{cpu={n}m,mem={n}}}");
    check(&format!("{}; c: {fixed}", level(100)), &format!("{}; c: {fixed}", level(200)), &[], &[], &[]);
    let three = |amounts: &str| format!("c0: {fixed}; c1: {amounts}; c2: {fixed}");
    let both = |n: i32| format!("R{{cpu={n}m,mem={n}}} L{{cpu={n}m,mem={n}}}");
    check(&three(&both(200)), &three(&both(100)), &[], &["c1"], &["c1"]);
    let with = |n: i32, amounts: &str| format!("{}; {}", level(n), three(amounts));
    check(&with(300, &both(100)), &with(600, &both(200)), &[], &["c1"], &["c1"]);
    check(&with(300, ""), &with(600, ""), &[], &["c1"], &["c1"]);
    check(&with(300, "rp[cpu Restart]"), &with(600, "rp[cpu Restart]"), &["c1"], &[], &[]);
    check(&three(&both(200)), &three("R{cpu=100m,mem=200} L{cpu=100m,mem=200}"), &[], &[], &["c1"]);
    check(&three(&both(200)), &three("R{cpu=200m,mem=100} L{cpu=200m,mem=100}"), &[], &["c1"], &[]);
    let old = "c0:; c1: L{cpu=10m}; c2:";
    let new = "pod: L{cpu=100m,mem=100}; c0:; c1: L{cpu=10m}; c2:";
    check(old, new, &[], &["c0", "c1", "c2"], &["c0", "c2"]);

    let policy = |amounts: String, policy: &str| format!("c: {amounts} rp[{policy}]");
    for resource in ["cpu Restart", "mem Restart", "cpu Restart, mem Restart", "cpu Not, mem Restart"] {
        check(&policy(both(100), resource), &policy(both(200), resource), &["c"], &[], &[]);
    }
    let cpu_only = "R{cpu=200m,mem=100} L{cpu=200m,mem=100}".to_owned();
    let memory_only = "R{cpu=100m,mem=200} L{cpu=100m,mem=200}".to_owned();
    check(&policy(both(100), "cpu Restart"), &policy(memory_only.clone(), "cpu Restart"), &[], &["c"], &[]);
    check(&policy(both(100), "mem Restart"), &policy(cpu_only, "mem Restart"), &[], &[], &["c"]);
    let request_only = "R{cpu=100m,mem=50} L{cpu=100m,mem=100}".to_owned();
    check(&policy(both(100), "mem Restart"), &policy(request_only.clone(), "mem Restart"), &["c"], &[], &[]);
    check(&policy(both(100), "mem Not"), &policy(request_only, "mem Not"), &[], &["c"], &[]);
    check("side s: R{cpu=1} rp[cpu Restart]; c:", "side s: R{cpu=2} rp[cpu Restart]; c:", &["s"], &[], &[]);
    check("init i: R{cpu=1}; c:", "init i: R{cpu=2}; c:", &[], &[], &["i"]);
}

#[test]
fn a_container_that_does_not_run_grows_its_pod_first() {
    let old = "c: R{cpu=100m,mem=20Mi} L{cpu=500m,mem=20Mi}";
    let new = "c: R{cpu=100m,mem=20Mi} L{cpu=500m,mem=400Mi}";
    let mut from = settled(old);
    from.running.clear(); // OOM-killed, waiting for its next start
    let plan = plan_for(&pod(new), &from);
    let steps: Vec<String> = plan.steps.iter().map(shown).collect();
    assert_eq!(steps, ["pod memory limit=419430400"]);
    assert!(in_progress(&pod(new), &from.actuated, |_| false));
    for step in &plan.steps {
        from.actuated.record(step);
    }
    assert!(!in_progress(&pod(new), &from.actuated, |_| false));
}

#[test]
fn a_restarting_container_finds_its_pod_grown() {
    check(
        "a: R{mem=10} L{mem=10} rp[mem Restart]; b: R{mem=10} L{mem=10}",
        "a: R{mem=20} L{mem=20} rp[mem Restart]; b: R{mem=10} L{mem=10}",
        &["a"],
        &["pod memory limit=30", "pod memory -"],
    );
}

#[test]
fn a_pod_limit_that_is_added_comes_after_the_containers() {
    let (old, new) = ("c: R{cpu=100m,mem=10}", "c: R{cpu=100m,mem=10} L{cpu=200m,mem=20}");
    let steps = ["c memory limit=20", "pod memory limit=20", "c cpu quota=20000 shares=102", "pod cpu quota=20000"];
    check(old, new, &[], &steps);
    let decreases = plan_for(&pod(new), &settled(old)).decreases;
    let lowered: Vec<_> = decreases.iter().map(|it| (&it.target, it.to.0)).collect();
    assert_eq!(lowered, [(&Target::Pod, 20), (&Target::Container("c".to_owned()), 20)]);
}

#[test]
fn a_limit_below_what_the_cgroup_really_has_is_a_decrease() {
    let mut from = settled("c: L{mem=100}; d:");
    from.running
        .insert("c".to_owned(), CgroupResources { memory_limit_bytes: Some(200), ..CgroupResources::default() });
    let decreases = plan_for(&pod("c: L{mem=150}; d:"), &from).decreases;
    assert_eq!(decreases.len(), 1, "the record says 100, but 200 was written before a crash");
}

#[test]
fn a_pod_on_cgroup_v2_is_not_rewritten_for_its_rounding() {
    let mut from = settled("c: R{cpu=100m}; d: R{cpu=100m}");
    from.cgroup.cpu_shares = Some(185); // of weight 8, of shares 204
    let plan = plan_for(&pod("c: R{cpu=50m}; d: R{cpu=150m}"), &from);
    let steps: Vec<String> = plan.steps.iter().map(shown).collect();
    assert_eq!(steps, ["c cpu quota=-1 shares=51", "d cpu quota=-1 shares=153"]);
}

#[test]
fn a_limit_that_the_kernel_has_rounded_is_the_one_that_was_set() {
    let line = "c: L{mem=10000000}";
    let mut from = settled(line);
    from.cgroup.memory_limit_bytes = Some(9_998_336);
    assert!(plan_for(&pod(line), &from).is_empty());
    let up = plan_for(&pod("c: L{mem=10000001}"), &from);
    assert_eq!(up.steps[0].target, Target::Pod, "by a byte, and still the pod first");
}

#[test]
fn an_interrupted_write_is_found_by_adopting() {
    let mut actuated = settled("c: R{cpu=100m} L{cpu=200m,mem=100Mi}").actuated;
    let written =
        CgroupResources { cpu_quota_us: Some(40_000), memory_limit_bytes: Some(100 << 20), ..Default::default() };
    let c = Target::Container("c".to_owned());
    actuated.adopt(&pod("c: rp[cpu Restart]"), &c, &written);
    assert_eq!(actuated.containers["c"], amounts("R{cpu=100m} L{cpu=200m,mem=100Mi}"), "no reason to restart");
    actuated.adopt(&pod("c: rp[mem Restart]"), &c, &written);
    assert_eq!(actuated.containers["c"], amounts("R{cpu=100m} L{cpu=400m,mem=100Mi}"));
    actuated.adopt(&pod("c:"), &Target::Pod, &CgroupResources { memory_limit_bytes: Some(-1), ..Default::default() });
    assert_eq!(actuated.pod, Some(amounts("R{cpu=100m} L{cpu=200m}")));
    actuated.adopt(&pod("c:; new:"), &Target::Container("new".to_owned()), &written);
    assert_eq!(actuated.containers["new"], amounts("L{cpu=400m,mem=100Mi}"));
}

/// Reference `TestIsPodResizeInProgress`: allocated against actuated.
#[test]
fn when_a_resize_is_in_progress() {
    #[track_caller]
    fn check(allocated: &str, actuated: &str, running: &[&str], expected: bool) {
        let is = in_progress(&pod(allocated), &settled(actuated).actuated, |it| running.contains(&it));
        assert_eq!(is, expected);
    }
    let base = "c: R{cpu=100m,mem=100} L{cpu=200m,mem=200}; d: R{cpu=1} L{cpu=1}";
    check(base, base, &["c", "d"], false);
    check(base, base, &[], false);
    for different in [
        "c: R{cpu=101m,mem=100} L{cpu=200m,mem=200}; d: R{cpu=1} L{cpu=1}",
        "c: R{cpu=100m,mem=101} L{cpu=200m,mem=200}; d: R{cpu=1} L{cpu=1}",
        "c: R{cpu=100m,mem=100} L{cpu=201m,mem=200}; d: R{cpu=1} L{cpu=1}",
        "c: R{cpu=100m,mem=100} L{cpu=200m,mem=201}; d: R{cpu=1} L{cpu=1}",
    ] {
        check(base, different, &["c", "d"], true);
    }
    check("init i: R{cpu=1}; c:", "init i: R{cpu=2}; c:", &["c", "i"], true);
    check("side s: R{cpu=1}; c:", "side s: R{cpu=1}; c:", &["c", "s"], false);
    check("side s: R{cpu=1}; c:", "side s: R{cpu=2}; c:", &["c", "s"], true);
    check("c:", "c:", &["c"], false);
    check("pod: R{cpu=1}; c:", "pod: R{cpu=2}; c:", &["c"], true);
    check("pod: R{mem=1}; c:", "pod: R{mem=2}; c:", &["c"], true);
    check("pod: R{cpu=2}; c: R{cpu=1}", "pod: R{cpu=2}; c: R{cpu=2}", &["c"], true);
    check("pod: R{cpu=2}; c: R{cpu=1}", "pod: R{cpu=2}; c: R{cpu=2}", &[], false); // it will start so
    assert!(!in_progress(&pod("pod: R{cpu=2}; c:"), &Actuated::default(), |_| false), "not created yet");
}

#[test]
fn what_the_pod_cgroup_is_to_have() {
    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(pod_amounts(&pod(line)), amounts(expected));
    }
    check("c:", "");
    check("c: R{cpu=1,mem=1} L{cpu=2,mem=2}; d: R{cpu=1} L{cpu=3,mem=3}", "R{cpu=2,mem=1} L{cpu=5,mem=5}");
    check("c: R{cpu=1} L{cpu=2}; d: L{mem=3}", "R{cpu=1}");
    check("init i: R{cpu=5}; c: R{cpu=1} L{cpu=2}", "R{cpu=5}"); // an init container without a limit
    check("init i: L{cpu=5}; side s: L{cpu=1}; c: L{cpu=2}", "L{cpu=5}");
    check("side s: L{cpu=1}; init i: L{cpu=5}; c: L{cpu=2}", "L{cpu=6}");
    check("side s: L{cpu=1}; side t: L{cpu=1}; c: L{cpu=2}", "L{cpu=4}");
    check("pod: R{cpu=4} L{mem=9}; c: R{cpu=1} L{cpu=2}; d:", "R{cpu=4} L{mem=9}");
    check("over: R{cpu=100m,mem=7}; c: R{cpu=1} L{mem=2}", "R{cpu=1100m,mem=7} L{mem=9}");
}

#[test]
fn a_container_without_a_limit_has_its_pods() {
    let pod = pod("pod: R{cpu=4} L{cpu=5,mem=9}; side s: L{cpu=1}; c: R{mem=1}");
    assert_eq!(container_amounts(&pod, "s"), Some(amounts("L{cpu=1,mem=9}")));
    assert_eq!(container_amounts(&pod, "c"), Some(amounts("R{mem=1} L{cpu=5,mem=9}")));
    assert_eq!(container_amounts(&pod, "x"), None::<Amounts>);
}

#[test]
fn records_and_plans_are_plain_data() {
    let from = settled("c: R{cpu=100m} L{cpu=200m,mem=1Mi}");
    let text = serde_json::to_string(&from.actuated).expect("plain data");
    assert_eq!(serde_json::from_str::<Actuated>(&text).expect("what was written"), from.actuated);
    let plan = plan_for(&pod("c: R{cpu=200m} L{cpu=300m,mem=2Mi}"), &from);
    let text = serde_json::to_string(&plan).expect("plain data");
    assert_eq!(serde_json::from_str::<Plan>(&text).expect("what was written"), plan);
}
