//! The bound against what it is defined as.

use super::*;
use proptest::prelude::*;

fn seconds(at: usize) -> i64 {
    i64::try_from(at).unwrap()
}

/// A sample each hour, numbered.
fn hourly(bound: &mut Bound, used: &[f64]) {
    used.iter().enumerate().for_each(|(at, it)| bound.put(seconds(at), *it, 1.0));
}

/// Use that stays at each of these levels, with so much noise upon it, for so many samples.
fn noisy(parts: &[(f64, f64, usize)], noise: &[f64]) -> Vec<f64> {
    let part = |(level, width, many): &(f64, f64, usize)| -> Vec<f64> {
        noise.iter().cycle().skip(*many * 7).take(*many).map(|it| level + width * it).collect()
    };
    parts.iter().flat_map(part).collect()
}

/// The definition: every way to choose a size for every sample.
fn brute_force(used: &[f64], sizes: &[i64], over: f64, resize: f64) -> f64 {
    let ways = sizes.len().pow(u32::try_from(used.len()).unwrap());
    (0..ways)
        .map(|way| {
            let mut way = way;
            let mut cost = 0.0;
            let mut before = None;
            for used in used {
                let size = sizes[way % sizes.len()];
                way /= sizes.len();
                let size_now = amount(size);
                cost += if *used > size_now { over } else { size_now - used };
                cost += if before.is_some_and(|it| it != size) { resize } else { 0.0 };
                before = Some(size);
            }
            cost
        })
        .fold(f64::INFINITY, f64::min)
}

/// The recurrence as it is written, over all sizes.
fn plain(used: &[f64], sizes: &[i64], hours: f64, (over, resize): (f64, f64)) -> f64 {
    let cost = |size: i64, used: f64| if used > amount(size) { over } else { (amount(size) - used) * hours };
    let mut values: Vec<f64> = sizes.iter().map(|it| cost(*it, used[0])).collect();
    for used in &used[1..] {
        let changed = values.iter().copied().fold(f64::INFINITY, f64::min) + resize;
        values = values.iter().zip(sizes).map(|(value, size)| value.min(changed) + cost(*size, *used)).collect();
    }
    values.into_iter().fold(f64::INFINITY, f64::min)
}

proptest! {
    #[test]
    fn leaving_idle_sizes_out_changes_nothing(
        used in prop::collection::vec(prop_oneof![0.0f64..120.0, 40.0f64..50.0], 1..200),
        sizes in prop::collection::btree_set(1i64..120, 1..60),
        over in 0.0f64..80.0,
        resize in 0.0f64..40.0,
    ) {
        let sizes: Vec<i64> = sizes.into_iter().collect();
        let mut bound = Bound::on(sizes.clone(), over, resize);
        hourly(&mut bound, &used);
        let exact = plain(&used, &sizes, 1.0, (over, resize));
        prop_assert!((bound.cost() - exact).abs() < 1e-7, "{} is not {}", bound.cost(), exact);
    }

    #[test]
    fn sizes_that_waited_cost_what_they_would_have(
        parts in prop::collection::vec((20.0f64..400.0, 0.5f64..60.0, 1usize..300), 1..8),
        noise in prop::collection::vec(0.0f64..1.0, 400),
        minutes in 1u32..10,
        over in 0.5f64..80.0,
        resize in 0.0f64..60.0,
    ) {
        let used = noisy(&parts, &noise);
        let (hours, sizes) = (f64::from(minutes) / 60.0, grid(20.0, 460.0));
        let mut bound = Bound::on(sizes.clone(), over, resize);
        for (at, it) in used.iter().enumerate() {
            bound.put(seconds(at), *it, hours);
            if at % 97 == 0 || at + 1 == used.len() {
                let exact = plain(&used[..=at], &sizes, hours, (over, resize));
                prop_assert!((bound.cost() - exact).abs() < 1e-7, "{} is not {} after {}", bound.cost(), exact, at);
            }
        }
        let it = bound.figures();
        let sum = it.slack + over * crate::figures::count(it.over) + resize * crate::figures::count(it.resizes);
        prop_assert!((sum - bound.cost()).abs() < 1e-6);
        let slack = it.reserved - it.used;
        prop_assert!(it.over > 0 || (slack - it.slack).abs() < 1e-6, "{} is not {}", slack, it.slack);
        prop_assert!(it.events <= it.over);
    }

    #[test]
    fn nothing_is_cheaper(
        used in prop::collection::vec(0.0f64..12.0, 1..7),
        sizes in prop::collection::btree_set(1i64..12, 1..5),
        over in 0.0f64..20.0,
        resize in 0.0f64..10.0,
    ) {
        let sizes: Vec<i64> = sizes.into_iter().collect();
        let mut bound = Bound::on(sizes.clone(), over, resize);
        hourly(&mut bound, &used);
        let exact = brute_force(&used, &sizes, over, resize);
        prop_assert!((bound.cost() - exact).abs() < 1e-9, "{} is not {}", bound.cost(), exact);
    }

    #[test]
    fn the_figures_are_those_of_the_cost(used in prop::collection::vec(1.0f64..100.0, 1..60), over in 0.0f64..50.0, resize in 0.0f64..50.0) {
        let mut bound = Bound::on((1..=100).step_by(7).collect(), over, resize);
        hourly(&mut bound, &used);
        let it = bound.figures();
        let sum = it.slack + over * crate::figures::count(it.over) + resize * crate::figures::count(it.resizes);
        prop_assert!((sum - bound.cost()).abs() < 1e-6);
        prop_assert!(it.events <= it.over);
    }
}

/// What it costs to go through the samples by these changes, and how many there are.
fn cost_of(changes: &[(i64, i64)], used: &[f64], hours: f64, (over, resize): (f64, f64)) -> f64 {
    let size_at = |at: usize| amount(changes.iter().rfind(|it| it.0 <= seconds(at)).unwrap().1);
    let samples: f64 =
        (0..used.len()).map(|at| if used[at] > size_at(at) { over } else { (size_at(at) - used[at]) * hours }).sum();
    samples + resize * crate::figures::count(changes.len() as u64 - 1)
}

proptest! {
    /// Also of those that wait for one another, and when much was forgotten.
    #[test]
    fn the_changes_cost_what_the_best_way_does(
        parts in prop::collection::vec((20.0f64..400.0, 0.5f64..60.0, 1usize..900), 1..8),
        noise in prop::collection::vec(0.0f64..1.0, 400),
        minutes in 1u32..10,
        over in 0.5f64..80.0,
        resize in 0.1f64..60.0,
    ) {
        let used = noisy(&parts, &noise);
        let hours = f64::from(minutes) / 60.0;
        let mut bound = Bound::on(grid(20.0, 460.0), over, resize).with_changes();
        used.iter().enumerate().for_each(|(at, it)| bound.put(seconds(at), *it, hours));
        let changes = bound.changes();
        prop_assert_eq!(changes.len() as u64 - 1, bound.figures().resizes);
        let cost = cost_of(&changes, &used, hours, (over, resize));
        prop_assert!((cost - bound.cost()).abs() < 1e-6, "{} is not {}", cost, bound.cost());
    }
}

#[test]
fn only_changes_that_may_count_are_remembered() {
    let used: Vec<f64> =
        (0..50_000).map(|at| if at % 5000 < 900 { 90.0 } else { f64::from(10 + at * 7919 % 13) }).collect();
    let mut bound = Bound::on((5..=100).collect(), 30.0, 20.0).with_changes();
    hourly(&mut bound, &used);
    let changes = bound.changes();
    assert!((10..1000).contains(&changes.len()), "{}", changes.len());
    let cost = cost_of(&changes, &used, 1.0, (30.0, 20.0));
    assert!((cost - bound.cost()).abs() < 1e-6, "{cost} is not {}", bound.cost());
    let remembered = bound.trail.as_ref().unwrap().len();
    assert!(remembered < 2 * (changes.len() + 1024) + 100, "{remembered} for {}", changes.len());
}

#[test]
fn a_dear_resize_is_made_once() {
    let mut bound = Bound::on(vec![1, 2, 10], 1000.0, 5.0);
    hourly(&mut bound, &[1.0, 1.0, 1.0, 10.0, 10.0, 1.0]);
    let it = bound.figures();
    assert_eq!((it.resizes, it.over), (2, 0), "up, and down again for 5 instead of 9 of slack");
    assert_eq!(it.range, Some((1, 10)));
}
