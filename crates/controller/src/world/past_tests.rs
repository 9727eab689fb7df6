//! The past that a Prometheus tells, as it comes: a few pods at a time.

use supple_quantity::Bytes;
use tokio::sync::oneshot;

use super::pressing_tests::{at, three};
use super::*;
use crate::source::prometheus::answer::Series;
use crate::source::prometheus::past::{Gather, Limits, Of};

const MIB: i64 = 1 << 20;

/// Half a day of a pod of the set, which used this much memory, up to our beginning.
fn past(number: usize, mebibytes: i64) -> (Event, oneshot::Receiver<()>) {
    let name = format!("db-{number}");
    let wanted = [(Arc::from("shop"), Arc::from(&*name))].into();
    let mut gather = Gather::new(&wanted, Limits::default());
    let begin = at(0).as_second() - 12 * 3600;
    let labels = [("namespace", "shop"), ("pod", &*name), ("container", "app")];
    let series = Series {
        metric: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        values: (0..144).map(|it| ((begin + 300 * it) as f64, (mebibytes * MIB).to_string())).collect(),
        value: None,
    };
    gather.take(Of::Memory, &series).unwrap();
    let (token, taken) = oneshot::channel();
    (Event::Past(gather.finish(), Extent::Whole, token), taken)
}

#[test]
fn a_workload_learns_from_its_pods_one_after_the_other_and_each_part_makes_room_for_the_next() {
    let mut world = three();
    assert_eq!(world.without_past().len(), 4, "its three, and one that stands alone");
    for (number, mebibytes) in [(0, 90), (1, 150)] {
        let (event, mut taken) = past(number, mebibytes);
        assert_eq!(taken.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        world.apply(event, at(1));
        assert_eq!(taken.try_recv(), Err(oneshot::error::TryRecvError::Closed), "nothing of it is held any more");
    }
    world.apply(Event::Usage(Ok(Vec::new())), at(15));
    let workload = world.scene().pods.values().find(|it| &*it.key.name == "db-0").unwrap().workload.clone();
    let memory = world.scene().workloads[&workload].needs["app"].memory.as_ref().unwrap().target;
    assert!(memory >= Bytes(150 * MIB), "{memory:?}");
}

#[test]
fn what_was_remembered_elsewhere_is_not_asked_for() {
    let mut world = three();
    let workload = world.scene().pods.values().find(|it| &*it.key.name == "db-0").unwrap().workload.clone();
    let mut saved = three();
    let (event, _taken) = past(0, 90);
    saved.apply(event, at(1));
    for (container, bytes) in saved.history.save(&workload) {
        world.history.restore(&workload, &container, &bytes, None, &Policy::default()).unwrap();
    }
    let wanted: Vec<_> = world.without_past().into_iter().map(|((_, pod), _)| pod).collect();
    assert_eq!(wanted, [Arc::from("other")]);
}
