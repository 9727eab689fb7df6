//! What the status reports (reference §6, table of §6.1).

use k8s_openapi::api::core::v1::ResourceRequirements;
use supple_resize::actuate::{Actuated, pod_amounts};
use supple_resize::kernel::{self, CgroupResources};
use supple_resize::status::{self, Observed};

use crate::support::{amounts, pod, requirements};

fn read(text: &str) -> ResourceRequirements {
    requirements(text).unwrap_or_default()
}

/// A running container: its allocation, what was actuated, and the status. The cgroup has what was actuated.
#[track_caller]
fn check(allocated: &str, actuated: &str, expected: &str) {
    let actuated = amounts(actuated);
    let v1 = CgroupResources::of(&actuated, 100_000);
    let weight = kernel::container_weight(kernel::shares(actuated.cpu_request));
    let v2 = CgroupResources { cpu_shares: Some(kernel::shares_from_container_weight(weight)), ..v1 };
    for cgroup in [Some(&v1), Some(&v2), None] {
        let observed = Observed::Running { actuated: Some(&actuated), cgroup, previous: None };
        let reported = status::container(&read(allocated), observed);
        assert_eq!(reported.resources, read(expected), "{cgroup:?}");
        assert_eq!(reported.allocated_resources, read(allocated).requests);
    }
}

#[test]
fn a_running_container_reports_what_is_in_force() {
    let guaranteed = "R{cpu=1,mem=1Gi} L{cpu=1,mem=1Gi}";
    check(guaranteed, guaranteed, guaranteed);
    let burstable = "R{cpu=100m,mem=64Mi} L{cpu=200m,mem=128Mi}";
    check(burstable, burstable, burstable);
    check("R{mem=64Mi} L{mem=128Mi}", "R{mem=64Mi} L{mem=128Mi}", "R{mem=64Mi} L{mem=128Mi}");
    check("R{cpu=1m} L{cpu=5m}", "R{cpu=1m} L{cpu=5m}", "R{cpu=1m} L{cpu=5m}");
    check("R{cpu=1m} L{cpu=5m}", "R{cpu=2m} L{cpu=10m}", "R{cpu=1m} L{cpu=5m}"); // alike to the kernel
    check("R{cpu=1m} L{cpu=5m}", "R{cpu=20m} L{cpu=30m}", "R{cpu=20m} L{cpu=30m}");
    check("R{cpu=1,eph=1Gi,x.io/y=2}", "R{cpu=1}", "R{cpu=1,eph=1Gi,x.io/y=2}");
    check("R{cpu=2,mem=2Gi} L{cpu=2,mem=2Gi}", guaranteed, guaranteed); // being resized
    check("R{cpu=0.5,mem=128M}", "R{cpu=500m,mem=128M}", "R{cpu=0.5,mem=128M}"); // as written, where equal
    check("R{cpu=100m} L{cpu=300m}", "R{cpu=100m} L{cpu=300m,mem=512Mi}", "R{cpu=100m} L{cpu=300m,mem=512Mi}");
    check("R{cpu=100m}", "R{cpu=100m} L{cpu=300m,mem=512Mi}", "R{cpu=100m}"); // no list is invented
    check("", "", "");
    check("", "L{cpu=300m}", "");
}

#[test]
fn drift_is_reported() {
    let allocated = read("R{cpu=100m,mem=64Mi} L{cpu=200m,mem=128Mi}");
    let actuated = amounts("R{cpu=100m,mem=64Mi} L{cpu=200m,mem=128Mi}");
    let drifted = CgroupResources {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(64 << 20),
        ..CgroupResources::default()
    };
    let observed = Observed::Running { actuated: Some(&actuated), cgroup: Some(&drifted), previous: None };
    let reported = status::container(&allocated, observed);
    assert_eq!(reported.resources, read("R{cpu=500m,mem=64Mi} L{cpu=500m,mem=64Mi}"));
}

#[test]
fn shares_that_follow_a_limit_are_reported_as_they_are() {
    let started = CgroupResources::at_start(&amounts("R{mem=1Mi} L{cpu=500m}"), 100_000);
    let actuated = amounts("R{mem=1Mi} L{cpu=500m}");
    let observed = Observed::Running { actuated: Some(&actuated), cgroup: Some(&started), previous: None };
    assert_eq!(status::container(&read("R{mem=1Mi}"), observed).resources, read("R{mem=1Mi,cpu=500m}"));
}

#[test]
fn what_is_not_known_is_as_it_was() {
    let allocated = read("R{cpu=2,mem=2Gi} L{cpu=2}");
    let previous = read("R{cpu=1,mem=1Gi} L{cpu=1}");
    let with = |previous| {
        let observed = Observed::Running { actuated: None, cgroup: None, previous };
        status::container(&allocated, observed).resources
    };
    assert_eq!(with(Some(&previous)), previous);
    assert_eq!(with(None), allocated);
}

#[test]
fn a_stopped_container_reports_its_allocation() {
    let allocated = read("R{cpu=2,mem=2Gi} L{cpu=2}");
    let reported = status::container(&allocated, Observed::Stopped);
    assert_eq!((&reported.resources, &reported.allocated_resources), (&allocated, &allocated.requests));
    let reported = status::container(&read("R{} L{}"), Observed::Stopped);
    assert_eq!((reported.resources, reported.allocated_resources), (ResourceRequirements::default(), None));
}

#[test]
fn the_pod_reports_its_effective_amounts() {
    /// Allocated, actuated, and `resources` of a running pod; the second expectation is of one that is not running.
    #[track_caller]
    fn check(allocated: &str, actuated: &str, running: &str, waiting: &str) {
        let (allocated, before) = (pod(allocated), pod(actuated));
        let actuated = Actuated { pod: Some(pod_amounts(&before)), ..Actuated::default() };
        assert_eq!(status::pod(&allocated, &actuated, true).resources, read(running));
        assert_eq!(status::pod(&allocated, &actuated, false).resources, read(waiting));
        let expected = read(waiting).requests.filter(|it| !it.is_empty());
        assert_eq!(status::pod(&allocated, &actuated, true).allocated_resources, expected);
    }
    let two = "c: R{cpu=100m,mem=64Mi} L{cpu=200m,mem=128Mi}; d: R{cpu=100m,mem=64Mi} L{cpu=200m,mem=128Mi}";
    let sum = "R{cpu=200m,mem=128Mi} L{cpu=400m,mem=256Mi}";
    check(two, two, sum, sum);
    let one = "c: R{cpu=150m,mem=64Mi} L{cpu=300m,mem=256Mi}";
    let before = "c: R{cpu=100m,mem=32Mi} L{cpu=200m,mem=128Mi}";
    check(one, before, "R{cpu=100m,mem=32Mi} L{cpu=200m,mem=128Mi}", "R{cpu=150m,mem=64Mi} L{cpu=300m,mem=256Mi}");
    check("c: R{cpu=100m,mem=64Mi}", "c: R{cpu=100m,mem=64Mi}", "R{cpu=100m,mem=64Mi}", "R{cpu=100m,mem=64Mi}");
    // Half of the containers limited: no limit binds the pod, though the specs have a sum, which is what is recorded.
    let half = "c: R{cpu=1} L{cpu=2}; d: R{cpu=1}";
    check(half, half, "R{cpu=2} L{cpu=2}", "R{cpu=2} L{cpu=2}");
    let level = "pod: R{cpu=300m,mem=128M} L{cpu=500m,mem=256M}; c: R{cpu=100m,eph=1Gi}";
    check(
        level,
        level,
        "R{cpu=300m,mem=128M,eph=1Gi} L{cpu=500m,mem=256M}",
        "R{cpu=300m,mem=128M,eph=1Gi} L{cpu=500m,mem=256M}",
    );
    check("over: R{cpu=50m}; c: R{cpu=100m}", "over: R{cpu=50m}; c: R{cpu=100m}", "R{cpu=150m}", "R{cpu=150m}");
    check("c:", "c:", "", "");
}
