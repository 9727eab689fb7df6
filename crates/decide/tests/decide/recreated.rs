//! What the pods that were made anew came with, and what follows from it.

use std::sync::Arc;

use supple_decide::code::Code;
use supple_decide::policy::Mode;
use supple_decide::round::What;

use crate::budgets::herd;
use crate::stage::*;

/// Three pods that are recreated for their sizes.
fn recreates() -> Stage {
    let mut stage = herd(3);
    stage.sizes_new_pods();
    stage.policy("web", |it| (it.mode.value, it.startup.value) = (Mode::Recreate, minutes(0)));
    stage
}

/// Another pod, made and ready so many minutes ago.
fn comes(stage: &mut Stage, name: &str, cpu: &str, minutes_ago: i64) {
    let made = stage.ago(minutes_ago);
    let pod = stage.pod("web", name, "n1", cpu);
    (pod.made, pod.started, pod.ready) = (Some(made.into()), Some(made.into()), Some(made.into()));
}

#[test]
fn a_pod_that_came_back_otherwise_is_the_last() {
    let mut stage = recreates();
    let round = stage.decide();
    check(&round, "web-1", Code::Evict, "evict");
    stage.carry_out(&round);
    let asked = stage.at("web-1").containers[0].asked;
    stage.let_settle();
    stage.pass(10);
    comes(&mut stage, "web-4", &show(&asked), 5);
    stage.pass(1);
    // One that waited for room and begins only now was made before, and says nothing.
    let mut waited = Stage { scene: stage.scene.clone(), now: stage.now };
    let made = waited.ago(60);
    waited.at("web-4").made = Some(made.into());
    check(&waited.decide(), "web-2", Code::Evict, "evict");
    let round = stage.decide();
    check(&round, "web-2", Code::ComesBackSame, "nothing");
    let said = decision(&round, "web-2").message.clone();
    assert!(said.contains("came back with other sizes"), "{said}");
    assert_eq!(round.records[&workload("web")].recreated.as_ref().unwrap().otherwise, Some(true));
    // What shows once is remembered when it does not show any more.
    stage.carry_out(&round);
    stage.at("web-4").made = None;
    check(&stage.decide(), "web-2", Code::ComesBackSame, "nothing");
    // One that comes with what it needs shows that new ones do; and what is a week old is forgotten.
    let mut mended = Stage { scene: stage.scene.clone(), now: stage.now };
    comes(&mut mended, "web-5", "500m", 5);
    mended.pass(1);
    check(&mended.decide(), "web-2", Code::Evict, "evict");
    stage.pass(60 * 24 * 7);
    check(&stage.decide(), "web-2", Code::Evict, "evict");
}

#[test]
fn a_pod_that_came_back_otherwise_itself_is_not_recreated_once_more() {
    // Of those that a rollout made a quota had room for one at its sizes. That one shows that new pods come with them; the other one
    // would come back as it is.
    let mut stage = recreates();
    let round = stage.decide();
    stage.carry_out(&round);
    let asked = stage.at("web-1").containers[0].asked;
    stage.let_settle();
    stage.scene.pods.clear();
    stage.pass(10);
    comes(&mut stage, "web-4", &show(&asked), 6);
    comes(&mut stage, "web-5", "500m", 5);
    comes(&mut stage, "web-6", "500m", 5);
    stage.subject("web").facts.replicas = 3;
    check(&stage.decide(), "web-4", Code::ComesBackSame, "nothing");
    // What is made much later is made for other needs.
    let mut later = Stage { scene: stage.scene.clone(), now: stage.now };
    later.pass(60 * 24);
    for (name, minutes_ago) in [("web-4", 60), ("web-5", 50)] {
        let made = later.ago(minutes_ago);
        later.at(name).made = Some(made.into());
    }
    check(&later.decide(), "web-4", Code::Evict, "evict");
}

#[test]
fn one_that_came_back_as_it_was_to_is_not_judged_by_later_needs() {
    let mut stage = recreates();
    let round = stage.decide();
    stage.carry_out(&round);
    stage.let_settle();
    stage.pass(10);
    let started = stage.ago(5);
    let pod = stage.pod("web", "web-4", "n1", "500m");
    (pod.made, pod.started) = (Some(started.into()), Some(started.into()));
    let round = stage.decide();
    assert!(round.actions.iter().any(|it| it.what == What::Evict), "the next one follows");
    let mut record = round.records[&workload("web")].clone();
    record.recreated.as_mut().unwrap().otherwise = Some(false);
    stage.subject("web").record = Arc::new(record);
    // A release: its pods need more, and are made with it.
    stage.subject("web").needs.insert("app".into(), need("1500m"));
    let now = stage.now;
    let pod = stage.pod("web", "web-5", "n1", "1500m");
    (pod.made, pod.started) = (Some(now.into()), Some(now.into()));
    assert!(stage.decide().actions.iter().any(|it| it.what == What::Evict));
}
