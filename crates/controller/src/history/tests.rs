//! Where a recommender forgets or is misled: what a restart and a first sample of nothing do to what a container needs.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::*;

const MIB: i64 = 1 << 20;

fn at(minute: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

fn pod() -> PodFacts {
    let sizes = json!({"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}});
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"namespace": "n", "name": "p", "uid": "u"},
        "spec": {"containers": [{"name": "c", "resources": sizes}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true,
            "restartCount": 0, "state": {"running": {"startedAt": "2025-12-31T00:00:00Z"}}, "resources": sizes}]},
    }))
    .unwrap();
    PodFacts::of(&pod, WorkloadKey { namespace: "n".into(), kind: "Pod".into(), name: "p".into() })
}

/// What is known after these minutes, in each of which so many MiB are used.
fn learned(pod: &PodFacts, minutes: std::ops::Range<i64>, mebibytes: impl Fn(i64) -> i64) -> History {
    let mut history = History::default();
    learn(&mut history, pod, minutes, mebibytes);
    history
}

fn learn(history: &mut History, pod: &PodFacts, minutes: std::ops::Range<i64>, mebibytes: impl Fn(i64) -> i64) {
    for minute in minutes {
        let memory = Some(Bytes(mebibytes(minute) * MIB));
        let used = Use { cpu: Some(MilliCpu(50)), memory, ..Use::at(at(minute)) };
        history.observe(pod, &pod.containers[0], &used, false, &Policy::default());
    }
}

/// The memory it is said to need, in MiB.
fn needed(history: &mut History, pod: &PodFacts, minute: i64) -> i64 {
    let needs = history.needs(&pod.workload, at(minute), |_| Some((pod.key.clone(), pod.containers[0].asked)));
    needs.get("c").and_then(|it| it.memory.as_ref()).map_or(0, |it| it.target.0 / MIB)
}

/// Defect D6 of VPA's: the window of memory that is still open is lost when its recommender restarts.
#[test]
fn a_window_that_is_still_open_survives_a_restart() {
    let pod = pod();
    // Quiet for hours, and in the hour that has not ended the most there was.
    let mut before = learned(&pod, 0..330, |minute| if minute < 310 { 100 } else { 700 });
    let known = needed(&mut before, &pod, 330);
    assert!(known >= 700, "{known}");
    let mut after = History::default();
    for (container, bytes) in before.save(&pod.workload) {
        after.restore(&pod.workload, &container, &bytes, Some(at(329)), &Policy::default()).unwrap();
    }
    assert_eq!(needed(&mut after, &pod, 330), known);
}

/// Defect D7 of VPA's: a first sample of no bytes at all makes its recommender deaf to memory for a day.
#[test]
fn a_first_sample_of_nothing_makes_deaf_to_nothing() {
    let pod = pod();
    let mut history = learned(&pod, 0..120, |minute| if minute == 0 { 0 } else { 700 });
    let needed = needed(&mut history, &pod, 120);
    assert!(needed >= 700, "{needed}");
}

/// A node that was short of memory threw the pod out for what it used beyond its request: that much it is known to want.
#[test]
fn an_eviction_for_memory_is_learned_from_and_one_within_the_request_is_not() {
    let pod = pod();
    let after = |used: i64| {
        let mut history = learned(&pod, 0..120, |_| 300);
        history.evicted(&pod, &pod.containers[0], Bytes(used * MIB), at(120), &Policy::default());
        learn(&mut history, &pod, 121..200, |_| 300);
        needed(&mut history, &pod, 200)
    };
    let (without, within) = (needed(&mut learned(&pod, 0..200, |_| 300), &pod, 200), after(900));
    assert_eq!(within, without, "it asks for a GiB");
    let beyond = after(1800);
    assert!(beyond >= 1800 && without < 600, "{without} {beyond}");
}

/// A past that may have gaps raises as a whole one does, and is no hour of those that have to be known before anything is lowered.
#[test]
fn a_past_that_may_not_be_whole_is_no_hour_of_watching() {
    let pod = pod();
    let sample = |minute: i64| Sample {
        time: at(minute).as_second(),
        cpu: Some(50.0),
        memory: Some(supple_recommend::sample::amount(1500 * MIB)),
        ..Sample::default()
    };
    let samples: Vec<Sample> = (0..48 * 60).step_by(5).map(sample).collect();
    let [whole, partial] = [Extent::Whole, Extent::Partial].map(|extent| {
        let mut history = learned(&pod, 48 * 60..49 * 60, |_| 100);
        history.observe_past(&pod, "c", samples.iter().copied(), extent, &Policy::default());
        let needs = history.needs(&pod.workload, at(49 * 60), |_| Some((pod.key.clone(), pod.containers[0].asked)));
        let hours = needs["c"].hours;
        let mut again = History::default();
        for (container, bytes) in history.save(&pod.workload) {
            again.restore(&pod.workload, &container, &bytes, None, &Policy::default()).unwrap();
        }
        let needs = again.needs(&pod.workload, at(49 * 60), |_| Some((pod.key.clone(), pod.containers[0].asked)));
        assert_eq!(needs["c"].hours, hours, "{extent:?}: nor after a restart");
        (hours, needed(&mut history, &pod, 49 * 60))
    });
    assert!(whole.0 >= 47 && partial.0 <= 1, "{whole:?} {partial:?}");
    assert!(whole.1 >= 1500 && partial.1 >= 1500, "{whole:?} {partial:?}");
}
