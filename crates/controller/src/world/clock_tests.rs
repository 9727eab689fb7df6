//! What is told by the clocks of nodes that are ahead of ours.

use serde_json::json;
use supple_quantity::{Bytes, MilliCpu};

use super::pressing_tests::{at, db, three};
use super::*;
use crate::view::News;
use kube::runtime::watcher;

const DAY: i64 = 86_400;

/// They are measured now, by these clocks, and when that was to be is how it stands in the books.
#[track_caller]
fn check(world: &mut World, now: i64, clocks: [i64; 3]) {
    let measured = clocks.iter().enumerate().map(|(number, clock)| PodUse {
        namespace: "shop".into(),
        name: format!("db-{number}"),
        containers: [(
            "app".into(),
            Use { cpu: Some(MilliCpu(50)), memory: Some(Bytes(90 << 20)), ..Use::at(at(now + clock)) },
        )]
        .into_iter()
        .collect(),
    });
    world.apply(Event::Usage(Ok(measured.collect())), at(now));
    for number in 0..3 {
        let (_, uses) = world.scene().uses.iter().find(|it| *it.0.name == *format!("db-{number}")).unwrap();
        assert_eq!(uses.get("app").map(|it| it.at), Some(at(now)), "db-{number} of {clocks:?}");
    }
}

#[test]
fn one_that_is_ahead_makes_no_other_late_and_is_believed_again_when_it_is_right() {
    let mut world = three();
    check(&mut world, 15, [DAY, 0, 0]);
    check(&mut world, 30, [DAY, 0, 0]);
    check(&mut world, 45, [0, 0, 0]);
}

#[test]
fn a_kill_by_one_that_is_ahead_makes_no_other_late() {
    let mut world = three();
    check(&mut world, 15, [0, 0, 0]);
    let mut killed = db(0);
    let status = &mut killed.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0];
    status.restart_count = 1;
    let end = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": at(DAY)}});
    status.last_state = serde_json::from_value(end).unwrap();
    let effects = world.apply(Event::News(Box::new(News::Pod(watcher::Event::Apply(killed)))), at(20));
    assert!(effects.iter().any(|it| matches!(it, Effect::Count(Incident::OutOfMemory(..)))), "{effects:?}");
    check(&mut world, 30, [0, 0, 0]);
}
