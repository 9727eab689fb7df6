//! Tables of reference §5.5, both ways.

use supple_quantity::Bytes;
use supple_resize::amounts::Amounts;
use supple_resize::kernel::{self, CgroupResources};
use supple_resize::resources::containers;

use crate::support::{amounts, classed, mi, milli};

#[test]
fn numbers_of_a_cpu_amount() {
    /// The CPU amount, shares, linear weight, shares read back from it, curved weight, quota at 100 ms.
    #[track_caller]
    fn check(cpu: i64, shares: u64, linear: u64, back: u64, curved: u64, quota: i64) {
        assert_eq!(kernel::shares(milli(cpu)), shares, "shares of {cpu}m");
        assert_eq!(kernel::pod_weight(shares), linear, "linear weight of {cpu}m");
        assert_eq!(kernel::shares_from_pod_weight(linear), back, "shares read back of {cpu}m");
        assert_eq!(kernel::container_weight(shares), curved, "curved weight of {cpu}m");
        assert_eq!(kernel::quota_us(milli(cpu), kernel::DEFAULT_PERIOD_US), quota, "quota of {cpu}m");
    }
    check(0, 2, 1, 2, 1, kernel::UNLIMITED);
    check(1, 2, 1, 2, 1, 1000);
    check(2, 2, 1, 2, 1, 1000);
    check(5, 5, 1, 2, 2, 1000);
    check(10, 10, 1, 2, 4, 1000);
    check(15, 15, 1, 2, 5, 1500);
    check(20, 20, 1, 2, 6, 2000);
    check(25, 25, 1, 2, 6, 2500);
    check(50, 51, 2, 28, 11, 5000);
    check(100, 102, 4, 80, 17, 10_000);
    check(200, 204, 8, 185, 29, 20_000);
    check(250, 256, 10, 237, 35, 25_000);
    check(500, 512, 20, 500, 59, 50_000);
    check(1000, 1024, 39, 998, 100, 100_000);
    check(2000, 2048, 79, 2046, 174, 200_000);
    check(4000, 4096, 157, 4091, 303, 400_000);
    check(8000, 8192, 313, 8181, 532, 800_000);
    check(64_000, 65_536, 2500, 65_517, 3023, 6_400_000);
    check(256_000, 262_144, 10_000, 262_144, 10_000, 25_600_000);
}

#[test]
fn amounts_beyond_every_machine_stay_in_bounds() {
    assert_eq!(kernel::shares(milli(i64::MAX)), kernel::MAX_SHARES);
    assert_eq!(kernel::shares(milli(-1)), kernel::MIN_SHARES);
    assert_eq!(kernel::quota_us(milli(i64::MAX), 1_000_000), i64::MAX);
    assert_eq!(kernel::milli_from_shares(u64::MAX), milli(i64::MAX));
    assert_eq!(kernel::milli_from_quota(i64::MAX, 0), milli(0));
    assert_eq!(kernel::shares_from_pod_weight(0), 2);
    assert_eq!(kernel::shares_from_container_weight(u64::MAX), kernel::MAX_SHARES);
}

#[test]
fn amounts_read_back_from_v1_are_exact() {
    for cpu in 3..=256_000 {
        assert_eq!(kernel::milli_from_shares(kernel::shares(milli(cpu))), milli(cpu));
    }
    for cpu in (10..=64_000).step_by(7) {
        assert_eq!(kernel::milli_from_quota(kernel::quota_us(milli(cpu), 100_000), 100_000), milli(cpu));
    }
    assert_eq!(kernel::milli_from_shares(1), milli(0));
    assert_eq!(kernel::milli_from_quota(kernel::UNLIMITED, 100_000), milli(0));
    assert_eq!(kernel::milli_from_quota(50_000, 200_000), milli(250));
}

#[test]
fn every_weight_stands_for_shares_that_give_it_again() {
    for weight in 1..=10_000 {
        let shares = kernel::shares_from_container_weight(weight);
        let again = kernel::container_weight(shares);
        // Below 100 one more share can step over a weight; such a weight is no runtime's.
        assert!(again >= weight && (shares == 2 || kernel::container_weight(shares - 1) < weight), "{weight}: {again}");
    }
    for shares in kernel::MIN_SHARES..=kernel::MAX_SHARES {
        assert!(kernel::is_reading_of(kernel::shares_from_pod_weight(kernel::pod_weight(shares)), shares));
    }
}

#[test]
fn what_a_cgroup_is_given() {
    #[track_caller]
    fn check(text: &str, shares: u64, quota: i64, memory: i64) {
        let expected = CgroupResources {
            cpu_shares: Some(shares),
            cpu_quota_us: Some(quota),
            cpu_period_us: Some(100_000),
            memory_limit_bytes: Some(memory),
            ..CgroupResources::default()
        };
        assert_eq!(CgroupResources::of(&amounts(text), 100_000), expected);
    }
    check("R{cpu=100m,mem=64Mi} L{cpu=200m,mem=128Mi}", 102, 20_000, 128 << 20);
    check("R{cpu=100m}", 102, -1, -1);
    check("", 2, -1, -1);
    check("L{cpu=5m}", 2, 1000, -1);
    // At its start a container without a request gets the shares of its limit, as recorded (`b`: 512 of 500m).
    assert_eq!(CgroupResources::at_start(&amounts("L{cpu=500m}"), 100_000).cpu_shares, Some(512));
    assert_eq!(CgroupResources::at_start(&amounts("R{cpu=100m} L{cpu=500m}"), 100_000).cpu_shares, Some(102));
    assert_eq!(CgroupResources::at_start(&amounts(""), 100_000).cpu_shares, Some(2));
}

#[test]
fn limits_of_a_reading() {
    let read = |quota, period, memory| CgroupResources {
        cpu_quota_us: quota,
        cpu_period_us: period,
        memory_limit_bytes: memory,
        cpu_shares: None,
        ..CgroupResources::default()
    };
    let nothing = read(Some(-1), Some(100_000), Some(-1));
    assert_eq!((nothing.cpu_limit(), nothing.memory_limit()), (None, None));
    let v1 = read(Some(0), None, Some(9_007_199_254_740_988 << 10));
    assert_eq!((v1.cpu_limit(), v1.memory_limit()), (None, None));
    let both = read(Some(25_000), Some(50_000), Some(4096));
    assert_eq!((both.cpu_limit(), both.memory_limit()), (Some(milli(500)), Some(Bytes(4096))));
}

#[test]
fn a_reading_is_believed_unless_it_is_the_record_rounded() {
    const RECORD: &str = "R{cpu=100m,mem=64Mi} L{cpu=200m,mem=128Mi}";
    #[track_caller]
    fn check(reading: CgroupResources, expected: &str) {
        let mut record = amounts(RECORD);
        kernel::adopt(&mut record, &reading);
        assert_eq!(record, amounts(expected));
    }
    let v1 = CgroupResources::of(&amounts(RECORD), 100_000);
    check(v1, RECORD);
    check(CgroupResources::default(), RECORD);
    check(CgroupResources { cpu_shares: Some(80), ..v1 }, RECORD); // a pod's weight 4
    let curved = kernel::shares_from_container_weight(17);
    check(CgroupResources { cpu_shares: Some(curved), ..v1 }, RECORD);
    check(CgroupResources { cpu_shares: Some(204), ..v1 }, "R{cpu=200m,mem=64Mi} L{cpu=200m,mem=128Mi}");
    check(CgroupResources { cpu_quota_us: Some(30_000), ..v1 }, "R{cpu=100m,mem=64Mi} L{cpu=300m,mem=128Mi}");
    check(CgroupResources { cpu_quota_us: Some(-1), ..v1 }, "R{cpu=100m,mem=64Mi} L{mem=128Mi}");
    check(CgroupResources { memory_limit_bytes: Some(64 << 20), ..v1 }, "R{cpu=100m,mem=64Mi} L{cpu=200m,mem=64Mi}");
    check(CgroupResources { memory_limit_bytes: Some(-1), ..v1 }, "R{cpu=100m,mem=64Mi} L{cpu=200m}");
    check(CgroupResources { memory_limit_bytes: Some(32 << 20), ..v1 }, "R{cpu=100m,mem=32Mi} L{cpu=200m,mem=32Mi}");
    // The kernel keeps whole pages.
    let mut odd = Amounts { memory_limit: Bytes(10_000_000), ..Amounts::default() };
    kernel::adopt(&mut odd, &CgroupResources { memory_limit_bytes: Some(9_998_336), ..CgroupResources::default() });
    assert_eq!(odd.memory_limit, Bytes(10_000_000));
}

#[test]
fn oom_score_adj_by_class_and_request() {
    #[track_caller]
    fn check(class: &str, line: &str, expected: &[i32]) {
        let pod = classed(class, line);
        let scores: Vec<i32> = containers(&pod).map(|it| kernel::oom_score_adj(&pod, it.container, mi(1000))).collect();
        assert_eq!(scores, expected);
    }
    check("Guaranteed", "c: R{cpu=1,mem=500Mi} L{cpu=1,mem=500Mi}", &[-997]);
    check("BestEffort", "c:", &[1000]);
    check("Burstable", "c: R{mem=250Mi}", &[750]);
    check("Burstable", "c: R{cpu=1}", &[999]);
    check("Burstable", "c: R{mem=1000Mi}", &[3]);
    // A sidecar (the first in order) ranks no higher than the regular container that asked for least.
    check("Burstable", "side s: R{mem=10Mi}; c: R{mem=250Mi}; d: R{mem=100Mi}", &[900, 750, 900]);
    check("Burstable", "side s: R{mem=300Mi}; c: R{mem=250Mi}", &[700, 750]);
    check("Burstable", "init i: R{mem=10Mi}; c: R{mem=250Mi}", &[990, 750]);
    // 100Mi of the pod's 400Mi are nobody's: 50Mi each.
    check("Burstable", "pod: R{mem=400Mi}; c: R{mem=200Mi}; d: R{mem=100Mi}", &[750, 850]);
}

#[test]
fn a_node_critical_pod_is_killed_last() {
    let mut pod = classed("Burstable", "c: R{mem=10Mi}");
    pod.spec.as_mut().expect("has one").priority_class_name = Some("system-node-critical".to_owned());
    let container = containers(&pod).next().expect("has one").container.clone();
    assert_eq!(kernel::oom_score_adj(&pod, &container, mi(1000)), -997);
    pod.spec.as_mut().expect("has one").priority_class_name = None;
    assert_eq!(kernel::oom_score_adj(&pod, &container, Bytes(0)), 1000, "a node without memory divides by nothing");
}
