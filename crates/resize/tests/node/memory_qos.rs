//! Memory QoS: what each class gets, the formula of `memory.high`, and what a plan's steps write with it.

use supple_quantity::Bytes;
use supple_resize::amounts::Amounts;
use supple_resize::kernel::UNLIMITED;
use supple_resize::memory_qos::{MemoryQos, MemoryTiers, Reservation};
use supple_resize::qos::QosClass;

const MIB: i64 = 1 << 20;
const NODE: Bytes = Bytes(8 << 30);

const THROTTLED: MemoryQos = MemoryQos { throttling_permille: Some(900), reservation: Reservation::None };
const TIERED: MemoryQos = MemoryQos { throttling_permille: Some(900), reservation: Reservation::Tiered };

fn amounts(request: i64, limit: i64) -> Amounts {
    Amounts { memory_request: Bytes(request), memory_limit: Bytes(limit), ..Amounts::default() }
}

#[test]
fn memory_high_is_a_part_of_the_way_to_the_limit() {
    #[track_caller]
    fn check(permille: u16, request: i64, limit: i64, expect: i64) {
        let qos = MemoryQos { throttling_permille: Some(permille), ..MemoryQos::default() };
        let tiers = qos.of_container(QosClass::Burstable, &amounts(request, limit), NODE);
        assert_eq!(tiers.high_bytes, Some(expect), "{permille} of {request} to {limit}");
    }
    // request + 0.9 × (limit - request), down to a whole page: KEP-2570's own example.
    check(900, 50 * MIB, 100 * MIB, 95 * MIB);
    check(900, 64 * MIB, 128 * MIB, 127_504_384); // 127 506 841.6
    check(500, 0, 100 * MIB, 50 * MIB);
    check(1000, 50 * MIB, 100 * MIB, 100 * MIB);
    // Without a limit of its own a container is measured by the node.
    check(900, 1 << 30, 0, 7_838_314_496);
    // Request and limit the same: its memory is its own. And what would not be above the request is none.
    check(900, 100 * MIB, 100 * MIB, UNLIMITED);
    check(1, 100 * MIB, 100 * MIB + 4096, UNLIMITED);
    check(900, 16 << 30, 0, UNLIMITED);
    check(900, i64::MAX - 1, i64::MAX, UNLIMITED);
}

#[test]
fn a_class_is_protected_as_it_asks() {
    #[track_caller]
    fn check(qos: MemoryQos, class: QosClass, pod: [Option<i64>; 3], container: [Option<i64>; 3]) {
        let amounts = amounts(64 * MIB, if class == QosClass::Guaranteed { 64 * MIB } else { 0 });
        let listed = |it: MemoryTiers| [it.min_bytes, it.low_bytes, it.high_bytes].map(|it| it.map(|it| it / MIB));
        assert_eq!(listed(qos.of_pod(class, &amounts)), pod, "the pod, {class}");
        assert_eq!(listed(qos.of_container(class, &amounts, NODE)), container, "the container, {class}");
    }
    let high = Some(7379);
    check(MemoryQos::default(), QosClass::Guaranteed, [None; 3], [None; 3]);
    check(TIERED, QosClass::Guaranteed, [Some(64), Some(0), None], [Some(64), Some(0), Some(0)]);
    check(TIERED, QosClass::Burstable, [Some(0), Some(64), None], [Some(0), Some(64), high]);
    check(TIERED, QosClass::BestEffort, [Some(0), Some(0), None], [Some(0), Some(0), high]);
    check(THROTTLED, QosClass::Burstable, [Some(0), Some(0), None], [Some(0), Some(0), high]);
}

#[test]
fn only_what_differs_is_written_again() {
    let reading = MemoryTiers { min_bytes: Some(0), low_bytes: Some(4096), high_bytes: None };
    let wanted = MemoryTiers { min_bytes: Some(4097), low_bytes: Some(5000), high_bytes: Some(UNLIMITED) };
    // 5000 is 4096 in whole pages, and what cannot be read is not there to be written.
    let expect = MemoryTiers { min_bytes: Some(4097), ..MemoryTiers::default() };
    assert_eq!(reading.missing_from(&wanted), expect);
    assert_eq!(MemoryTiers::NONE.missing_from(&MemoryTiers::NONE), MemoryTiers::default());
    assert_eq!(MemoryTiers::NONE.with(&wanted), wanted);
}
