//! What the loop asks for and writes at once is bounded, however slow whoever answers is and however much there is to say.

use std::collections::BTreeSet;

use kube::runtime::watcher;
use serde_json::json;

use super::tests::{Stage, pod};
use super::*;
use crate::view::News;

fn measures(effects: &[Effect]) -> bool {
    effects.iter().any(|it| matches!(it, Effect::Measure))
}

#[test]
fn usage_is_asked_for_once_until_it_is_answered() {
    let mut stage = Stage::at_work();
    for answer in [Ok(Vec::new()), Err("no answer".to_owned())] {
        assert!(measures(&stage.tell(Event::Tick)));
        assert!(!measures(&stage.tell(Event::Tick)));
        stage.tell(Event::Measured(Vec::new()));
        assert!(!measures(&stage.tell(Event::Tick)), "a part of it is not all");
        stage.tell(Event::Usage(answer));
    }
    assert!(measures(&stage.tell(Event::Tick)));
}

/// Calls that these effects are, and what is written by them.
fn written(effects: &[Effect], seen: &mut BTreeSet<WorkloadKey>) -> usize {
    let write = |it: &Effect| {
        if let Effect::Write(it) = it { Some((1 + usize::from(it.create), it.workload.clone())) } else { None }
    };
    let (calls, workloads): (Vec<usize>, Vec<WorkloadKey>) = effects.iter().filter_map(write).unzip();
    for workload in workloads {
        assert!(seen.insert(workload.clone()), "{workload} is written twice, and nobody has answered");
    }
    calls.iter().sum()
}

#[test]
fn what_must_not_be_forgotten_is_written_as_fast_as_was_promised_and_all_of_it_before_an_end() {
    const PODS: usize = 60;
    const PER_SECOND: u32 = 2;
    let stage = || {
        let mut stage = Stage::new(Settings { writes_per_second: PER_SECOND, ..Settings::default() });
        stage.tell(Event::News(Box::new(News::Pod(watcher::Event::Init))));
        for number in 0..PODS {
            let mut pod = pod(1, "1", json!({}));
            pod.metadata.name = Some(format!("web-{number:02}"));
            pod.metadata.uid = Some(format!("u{number}"));
            stage.tell(Event::News(Box::new(News::Pod(watcher::Event::InitApply(pod)))));
        }
        stage.tell(Event::News(Box::new(News::Pod(watcher::Event::InitDone))));
        stage.tell(Event::Leading(true));
        stage.tell(Event::Usage(Ok(Vec::new())));
        let workloads: Vec<WorkloadKey> = stage.world.scene().workloads.keys().cloned().collect();
        assert_eq!(workloads.len(), PODS);
        for workload in workloads {
            stage.world.take_over_record(&workload, Record::default());
        }
        stage
    };
    let mut world = stage();
    let (mut seen, mut seconds, mut calls) = (BTreeSet::new(), 0, 0);
    while seen.len() < PODS {
        seconds += 1;
        assert!(seconds < 120, "{} of {PODS} are written", seen.len());
        world.now += SignedDuration::from_secs(1);
        calls += written(&world.tell(Event::Usage(Ok(Vec::new()))), &mut seen);
        // With what may be made at the beginning, and one more: the object and its status are sent together.
        let most = usize::try_from(PER_SECOND).unwrap() * (seconds + 1) + 1;
        assert!(calls <= most, "{calls} in {seconds} s");
    }
    let mut world = stage();
    let mut seen = BTreeSet::new();
    written(&world.world.last_words(world.now), &mut seen);
    assert_eq!(seen.len(), PODS);
}
