//! The closed loop, seen from outside: sizes have effects, and the node has the last word.

use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::policy::Policy;
use supple_recommend::sample::{OutOfMemory, Sample, Size, amount};
use supple_recommend::strategy::{Pod, Strategy};
use supple_recommend::supple::Supple;
use supple_replay::closed::{Closed, Lived, NodeSize};
use supple_replay::decide::Decide;

const MIB: i64 = 1 << 20;
const MINUTE: i64 = 60;

/// Wants these sizes from these times on.
struct Script(Vec<(i64, Size)>);

impl Strategy for Script {
    fn observe(&mut self, _: Pod, _: &Sample) {}

    fn out_of_memory(&mut self, _: Pod, _: &OutOfMemory) {}

    fn size(&mut self, _: Pod, now: i64, in_force: &Size) -> Size {
        self.0.iter().rfind(|(from, _)| *from <= now).map_or(*in_force, |(_, size)| *size)
    }
}

fn size(cpu: i64, memory: i64) -> Size {
    Size {
        cpu_request: Some(MilliCpu(cpu)),
        cpu_limit: None,
        memory_request: Some(Bytes(memory * MIB)),
        memory_limit: Some(Bytes(memory * MIB)),
    }
}

fn sample(minute: i64, cpu: f64, mebibytes: f64) -> Sample {
    Sample { time: minute * MINUTE, cpu: Some(cpu), memory: Some(mebibytes * amount(MIB)), ..Sample::default() }
}

/// Each script is a workload of one pod; `used` gives pod and minute their CPU and MiB.
fn run(
    node: NodeSize,
    decide: Decide,
    scripts: Vec<Vec<(i64, Size)>>,
    minutes: i64,
    used: impl Fn(usize, i64) -> (f64, f64),
) -> Vec<Lived> {
    let mut closed = Closed::new(node);
    let pods: Vec<usize> = scripts
        .into_iter()
        .map(|script| {
            let lane = closed.lane(Box::new(Script(script)), decide);
            closed.pod(lane)
        })
        .collect();
    for minute in 0..minutes {
        for pod in &pods {
            let (cpu, memory) = used(*pod, minute);
            closed.put(*pod, &sample(minute, cpu, memory), [1.0 / 60.0; 2], true);
        }
    }
    closed.lived().copied().collect()
}

#[test]
fn a_leak_is_killed_and_begins_again() {
    // Grows by a MiB a minute from 100 MiB; 200 MiB are reached every 101 minutes.
    let lived = run(NodeSize::default(), Decide::default(), vec![vec![(0, size(100, 200))]], 1000, |_, minute| {
        (50.0, 100.0 + amount(minute))
    });
    assert!((8..=11).contains(&lived[0].kills), "{} kills in 1000 minutes", lived[0].kills);
    assert_eq!((lived[0].restarts, lived[0].figures[1].events), (lived[0].kills, lived[0].kills));
    let free = Size { memory_limit: None, ..size(100, 200) };
    let lived = run(NodeSize::default(), Decide::default(), vec![vec![(0, free)]], 1000, |_, minute| {
        (50.0, 100.0 + amount(minute))
    });
    assert_eq!(lived[0].kills, 0, "without a limit nothing is killed");
}

#[test]
fn throttled_work_is_done_later() {
    let limited = Size { cpu_limit: Some(MilliCpu(1000)), ..size(1000, 200) };
    // Ten minutes in each hour want two cores, the rest a half: on average 750m.
    let used = |_, minute: i64| (if minute % 60 < 10 { 2000.0 } else { 500.0 }, 100.0);
    let lived = run(NodeSize::default(), Decide::default(), vec![vec![(0, limited)]], 600, used);
    let it = &lived[0];
    assert!(it.late > 0.0 && it.figures[0].over > 100, "{it:?}");
    let mean = it.figures[0].used / it.figures[0].hours;
    assert!((735.0..=751.0).contains(&mean), "all but the last of the work is done: {mean}");
    assert!(it.figures[0].footprint().unwrap() > 1.0);
}

#[test]
fn a_full_node_puts_a_resize_off_until_another_pod_shrinks() {
    let node = NodeSize { cpu: Some(MilliCpu(2000)), memory: Some(Bytes(2048 * MIB)), pods: Some(10) };
    let grows = vec![(0, size(1000, 512)), (10 * MINUTE, size(1500, 512))];
    let shrinks = vec![(0, size(1000, 512)), (70 * MINUTE, size(500, 512))];
    let lived = run(node, Decide::default(), vec![grows, shrinks], 100, |_, _| (100.0, 100.0));
    let of = |at: usize| {
        let [cpu, memory] = &lived[at].figures;
        (cpu.resizes, cpu.deferred, memory.resizes)
    };
    assert_eq!((of(0), of(1)), ((1, 1, 0), (1, 0, 0)));
    assert!((0.99..=1.01).contains(&lived[0].waited), "it waited an hour: {}", lived[0].waited);
}

#[test]
fn a_resize_can_be_infeasible_restart_the_container_or_wait_for_memory() {
    let node = NodeSize { cpu: Some(MilliCpu(2000)), memory: Some(Bytes(2048 * MIB)), pods: Some(10) };
    let too_much = vec![(0, size(1000, 512)), (10 * MINUTE, size(3000, 512))];
    let lived = run(node, Decide::default(), vec![too_much], 100, |_, _| (100.0, 100.0));
    assert_eq!((lived[0].figures[0].infeasible, lived[0].figures[0].resizes), (1, 0), "asked once, not every minute");

    let restarts = Decide { restarts: [false, true], ..Decide::default() };
    let grows = vec![(0, size(1000, 512)), (10 * MINUTE, size(1000, 600))];
    let lived = run(node, restarts, vec![grows], 100, |_, _| (100.0, 100.0));
    assert_eq!((lived[0].figures[1].resizes, lived[0].figures[1].restarts, lived[0].restarts), (1, 1, 1));

    let falls = vec![(0, size(1000, 512)), (10 * MINUTE, size(1000, 300))];
    let lived =
        run(node, Decide::default(), vec![falls], 100, |_, minute| (100.0, if minute < 50 { 400.0 } else { 200.0 }));
    assert_eq!((lived[0].figures[1].resizes, lived[0].figures[1].deferred, lived[0].kills), (1, 1, 0));
}

#[test]
fn pods_that_fit_nowhere_are_counted_and_others_get_nodes_of_their_own() {
    let node = NodeSize { cpu: Some(MilliCpu(2000)), ..NodeSize::default() };
    let mut closed = Closed::new(node);
    for cpu in [1500, 1500, 2500] {
        let lane = closed.lane(Box::new(Script(vec![(0, size(cpu, 100))])), Decide::default());
        let pod = closed.pod(lane);
        (0..10).for_each(|minute| closed.put(pod, &sample(minute, 100.0, 50.0), [1.0 / 60.0; 2], true));
    }
    let unplaced: Vec<u64> = closed.lived().map(|it| it.unplaced).collect();
    assert_eq!((closed.nodes(), unplaced), (2, vec![0, 0, 1]));
}

/// What becomes of two pods on nodes of two cores when figures begin at a minute: one grows after ten minutes by a restart, once the other
/// shrinks in the 70th; and of one that fits nowhere.
fn lived_from(first_that_counts: i64) -> Vec<Lived> {
    let node = NodeSize { cpu: Some(MilliCpu(2000)), ..NodeSize::default() };
    let restarts = Decide { restarts: [true, false], ..Decide::default() };
    let mut closed = Closed::new(node);
    let scripts = [
        vec![(0, size(1000, 512)), (10 * MINUTE, size(1500, 512))],
        vec![(0, size(1000, 512)), (70 * MINUTE, size(500, 512))],
        vec![(0, size(2500, 512))],
    ];
    let pods = scripts.map(|script| {
        let lane = closed.lane(Box::new(Script(script)), restarts);
        closed.pod(lane)
    });
    for minute in 0..100 {
        for pod in pods {
            closed.put(pod, &sample(minute, 100.0, 50.0), [1.0 / 60.0; 2], minute >= first_that_counts);
        }
    }
    closed.lived().copied().collect()
}

#[test]
fn what_happens_while_learning_is_in_no_figure() {
    let counted = |from| {
        let lived = lived_from(from);
        let hours = supple_recommend::sample::whole(lived[0].waited * 60.0);
        ([lived[0].restarts, lived[1].restarts, lived[2].unplaced], hours)
    };
    assert_eq!(counted(0), ([1, 1, 1], 60));
    assert_eq!(
        counted(40),
        ([1, 1, 1], 30),
        "of the hour it waited only what counts; what fits nowhere still does not"
    );
    assert_eq!(counted(90), ([0, 0, 1], 1), "`whole` of nothing is 1");
    assert_eq!(lived_from(90)[0].waited, 0.0);
    assert_eq!(lived_from(200), [Lived::default(); 3]);
}

#[test]
fn our_own_judgement_survives_its_own_effects_and_repeats_itself() {
    let once = || {
        let mut closed = Closed::new(NodeSize { memory: Some(Bytes(4096 * MIB)), ..NodeSize::default() });
        let pods: Vec<usize> = (0..4)
            .map(|_| {
                let lane = closed.lane(Box::new(Supple::new(Policy::default())), Decide::default());
                closed.pod(lane)
            })
            .collect();
        for minute in 0..3 * 1440 {
            for pod in &pods {
                let swing = (amount(minute) * std::f64::consts::TAU / 1440.0).sin();
                let memory = 300.0 + 50.0 * swing + amount((minute * 7919 + i64::try_from(*pod).unwrap()) % 23);
                closed.put(*pod, &sample(minute, 500.0 + 200.0 * swing, memory), [1.0 / 60.0; 2], true);
            }
        }
        closed.lived().copied().collect::<Vec<_>>()
    };
    let lived = once();
    assert_eq!(lived, once());
    for it in &lived {
        assert!(it.kills <= 5 && it.figures[1].resizes > 0, "{it:?}");
        assert!(it.figures[1].footprint().is_some_and(|it| it < 1.6), "{it:?}");
    }
}
