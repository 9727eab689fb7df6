//! The order of waiting resizes (reference §4.2, §4.8).

use proptest::prelude::*;
use supple_resize::allocate::Allocation;
use supple_resize::queue::{Waiting, is_increasing};

use crate::support::{at, pod};

fn waiting(uid: &str) -> Waiting {
    Waiting { uid: uid.to_owned(), increasing: true, priority: 0, guaranteed: false, since: None }
}

#[test]
fn the_order_of_the_reference_from_any_push_order() {
    let expected = [
        Waiting { increasing: false, ..waiting("pod-level-decrease") },
        Waiting { increasing: false, ..waiting("z-container-decrease") },
        Waiting { priority: 100, ..waiting("high-priority") },
        Waiting { guaranteed: true, ..waiting("guaranteed") },
        Waiting { since: Some(at(0)), ..waiting("deferred-longer") },
        Waiting { since: Some(at(60)), ..waiting("deferred-shorter") },
        waiting("a-no-condition"),
    ];
    let mut reversed = expected.to_vec();
    reversed.reverse();
    reversed.sort();
    assert_eq!(reversed, expected);
    let mut rotated = expected.to_vec();
    rotated.rotate_left(3);
    rotated.sort();
    assert_eq!(rotated, expected);
}

#[test]
fn whether_a_resize_asks_for_more() {
    #[track_caller]
    fn check(old: &str, new: &str, expected: bool) {
        assert_eq!(is_increasing(&pod(new), &Allocation::of(&pod(old))), expected, "{new}");
    }
    let base = "a: R{cpu=1,mem=1Gi}; b: R{cpu=1,mem=1Gi}; c: R{}; d:";
    check(base, base, false);
    check(base, "a: R{cpu=1500m,mem=1Gi}; b: R{cpu=1,mem=1Gi}; c: R{}; d:", true);
    check(base, "a: R{cpu=500m,mem=1Gi}; b: R{cpu=1,mem=1Gi}; c: R{}; d:", false);
    check(base, "a: R{cpu=1500m,mem=500Mi}; b: R{cpu=1,mem=1Gi}; c: R{}; d:", true);
    check(base, "a: R{cpu=500m,mem=1500Mi}; b: R{cpu=1,mem=1Gi}; c: R{}; d:", true);
    check(base, "a: R{cpu=1500m,mem=1Gi}; b: R{cpu=500m,mem=1Gi}; c: R{}; d:", false);
    check(base, "a: R{cpu=500m,mem=1Gi}; b: R{cpu=500m,mem=1Gi}; c: R{}; d:", false);
    check(base, "a: R{}; b:; c: R{}; d:", false);
    check(base, "a: R{cpu=1,mem=1Gi}; b: R{cpu=1,mem=1Gi}; c: R{cpu=1m}; d:", true);
    check(base, "a: R{cpu=1,mem=1Gi}; b: R{cpu=1,mem=1Gi}; c: R{}; d: R{mem=1Mi}", true);
    let base = "pod: R{cpu=2500m,mem=2500Mi}; a: R{cpu=1,mem=1Gi}; b:";
    check(base, "pod: R{cpu=3,mem=2500Mi}; a: R{cpu=1,mem=1Gi}; b:", true);
    check(base, "pod: R{cpu=2500m,mem=2Gi}; a: R{cpu=1,mem=1Gi}; b:", false);
    check(base, "pod: R{cpu=3,mem=2Gi}; a: R{cpu=1,mem=1Gi}; b:", true);
    check(base, "pod: R{cpu=2500m,mem=2500Mi}; a: R{cpu=2,mem=1Gi}; b:", false);
    check(base, "pod: R{cpu=2500m,mem=2500Mi}; a: R{cpu=500m,mem=1Gi}; b:", false);
    check(base, "pod: R{cpu=3,mem=3Gi}; a: R{cpu=2,mem=2Gi}; b:", true);
    check(base, "pod: R{cpu=2,mem=2Gi}; a: R{cpu=500m,mem=512Mi}; b:", false);
}

fn any_waiting() -> impl Strategy<Value = Waiting> {
    (0..20_u8, any::<bool>(), -1..2_i32, any::<bool>(), proptest::option::of(0..3_i64)).prop_map(
        |(uid, increasing, priority, guaranteed, since)| Waiting {
            uid: format!("uid-{uid}"),
            increasing,
            priority,
            guaranteed,
            since: since.map(at),
        },
    )
}

proptest! {
    #[test]
    fn sorting_forgets_the_push_order(mut list in proptest::collection::vec(any_waiting(), 0..12), turn in 0..12_usize) {
        let mut turned = list.clone();
        turned.rotate_left(turn.min(list.len()));
        turned.reverse();
        turned.sort();
        list.sort();
        prop_assert_eq!(list, turned);
    }

    #[test]
    fn the_order_is_total(a in any_waiting(), b in any_waiting(), c in any_waiting()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a.cmp(&b).is_eq(), a == b);
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }
}
