//! What is watched after a resize, and what is made of harm.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use supple_decide::code::Code;
use supple_decide::facts::{LastEnd, NotedLowered};
use supple_decide::guard::{Billionths, Guard, GuardReading, baseline, guarded_since};
use supple_decide::note::Author;
use supple_decide::round::{Round, What};

use crate::stage::*;

/// A pod that was lowered from 1 and 1Gi (limits twice that) to a half three minutes ago, and fits.
pub fn lowered() -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "500m 512Mi");
    stage.pod("web", "web-1", "n1", "500m:1 512Mi:1Gi");
    stage.resized("web-1", "1:2 1Gi:2Gi", 3);
    stage
}

pub fn ended(stage: &mut Stage, minutes_ago: i64, out_of_memory: bool, exit_code: i32) {
    let at = stage.ago(minutes_ago);
    let container = &mut stage.at("web-1").containers[0];
    container.last_end = Some(LastEnd { at, out_of_memory, exit_code });
    container.running_since = Some(at.into());
    container.restarts += 1;
}

#[track_caller]
pub fn taken_back(stage: &Stage, harm: Code, expect: &str) -> Round {
    let round = stage.decide();
    check(&round, "web-1", Code::RollBack, expect);
    assert!(matches!(action(&round, "web-1").unwrap().what, What::RollBack(_)));
    assert!(codes(&round, "web-1").contains(&harm), "{:?}", codes(&round, "web-1"));
    round
}

#[test]
fn what_is_well_stays() {
    let round = lowered().decide();
    check(&round, "web-1", Code::Fits, "nothing");
    assert_eq!(round.records, Default::default());
    let mut later = lowered();
    later.pass(3);
    let round = later.decide();
    let record = &round.records[&workload("web")];
    assert_eq!((record.last.len(), record.last[0].code, record.setbacks), (1, Code::Resized, 0));
    later.carry_out(&round);
    assert_eq!(later.decide().records, Default::default());
}

#[test]
fn in_the_round_that_sees_harm_no_sibling_is_lowered() {
    // What is known of it, and the pause that begins with it, are written down in this round and hold from the next one on.
    let siblings = |harmed: bool| {
        let mut stage = lowered();
        stage.pod("web", "web-2", "n1", "1:2 1Gi:2Gi");
        if harmed {
            ended(&mut stage, 1, true, 137);
        } else {
            stage.pass(60);
        }
        stage.decide()
    };
    let round = siblings(true);
    assert!(action(&round, "web-2").is_none());
    assert!(codes(&round, "web-2").contains(&Code::BackOff), "{:?}", codes(&round, "web-2"));
    assert!(action(&siblings(false), "web-2").is_some());
}

#[test]
fn a_kill_for_memory_takes_it_back_and_is_remembered() {
    let mut stage = lowered();
    ended(&mut stage, 1, true, 137);
    let round = taken_back(&stage, Code::OutOfMemory, "1:2 1Gi:2Gi");
    let record = round.records[&workload("web")].clone();
    assert_eq!(record.setbacks, 1);
    assert_eq!(record.not_before, Some(stage.ago(-120)));
    assert_eq!(record.last[0].code, Code::OutOfMemory);
    assert_eq!(record.too_small.len(), 1);
    assert_eq!(
        (show(&record.too_small[0].size), record.too_small[0].code),
        ("512Mi:1Gi".to_owned(), Code::OutOfMemory)
    );
    stage.carry_out(&round);
    let again = stage.decide();
    assert_eq!((again.actions, again.records), (vec![], Default::default()));
    // A day later it is lowered again, but not to where it hurt.
    stage.let_settle();
    ended(&mut stage, 1, true, 137);
    stage.pass(60 * 25);
    let round = stage.decide();
    check(&round, "web-1", Code::Resize, "500m:1 717Mi:1434Mi");
}

#[test]
fn an_incident_counts_once_though_taking_it_back_may_need_several_tries() {
    let mut stage = lowered();
    ended(&mut stage, 1, true, 137);
    let round = stage.decide();
    stage.scene.workloads.get_mut(&workload("web")).unwrap().record = Arc::new(round.records[&workload("web")].clone());
    let round = taken_back(&stage, Code::OutOfMemory, "1:2 1Gi:2Gi");
    assert_eq!(round.records, Default::default());
}

#[test]
fn a_kill_long_after_is_blamed_on_the_limit_that_was_lowered() {
    let mut stage = lowered();
    stage.pass(60 * 24);
    let round = stage.decide();
    stage.carry_out(&round);
    ended(&mut stage, 1, true, 137);
    taken_back(&stage, Code::OutOfMemory, "1:2 1Gi:2Gi");
}

#[test]
fn what_was_raised_is_not_to_blame() {
    let mut stage = Stage::new();
    stage.workload("web", "500m 1Gi");
    stage.pod("web", "web-1", "n1", "500m:1 1Gi:2Gi");
    stage.resized("web-1", "500m:1 512Mi:1Gi", 3);
    ended(&mut stage, 1, true, 137);
    check(&stage.decide(), "web-1", Code::Fits, "nothing");
}

/// Lowered four minutes ago from 1Gi:2Gi to 256Mi:512Mi, and raised to 512Mi:1Gi by the fast path three minutes ago.
fn lowered_and_raised() -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "500m 512Mi");
    stage.pod("web", "web-1", "n1", "500m:1 512Mi:1Gi");
    stage.resized("web-1", "500m:1 256Mi:512Mi", 3);
    let (at, from) = (stage.ago(4), numbers("500m:1 1Gi:2Gi"));
    let note = stage.at("web-1").note.as_mut().unwrap();
    note.lowered = Some(Box::new(NotedLowered { at, from: [("app".into(), from)].into() }));
    stage
}

#[test]
fn a_decrease_is_to_blame_also_after_it_was_raised_in_haste() {
    let mut stage = lowered_and_raised();
    ended(&mut stage, 1, true, 137);
    let round = taken_back(&stage, Code::OutOfMemory, "1Gi:2Gi");
    let record = &round.records[&workload("web")];
    assert_eq!((show(&record.too_small[0].size), record.setbacks), ("512Mi:1Gi".to_owned(), 1));
    assert_eq!(record.last.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::OutOfMemory]);
    // Killed between the two: what was not known when it was raised counts all the same.
    let mut between = lowered_and_raised();
    let second = between.ago(4).as_second();
    let at = Timestamp::from_second(second).unwrap() + SignedDuration::from_secs(30);
    between.at("web-1").containers[0].last_end = Some(LastEnd { at, out_of_memory: true, exit_code: 137 });
    taken_back(&between, Code::OutOfMemory, "1Gi:2Gi");
    // What is well settles, and is not blamed for a crash long after.
    let mut well = lowered_and_raised();
    well.pass(10);
    well.at("web-1").containers[0].last_end = Some(LastEnd { at: well.ago(1), out_of_memory: false, exit_code: 1 });
    let round = well.decide();
    assert_eq!((round.actions.len(), round.records[&workload("web")].last[0].code), (0, Code::Resized));
}

#[test]
fn what_ended_in_the_second_of_its_resize_ended_by_it() {
    let mut stage = lowered();
    ended(&mut stage, 3, true, 137);
    let at = stage.ago(3);
    stage.at("web-1").note.as_mut().unwrap().at = at + SignedDuration::from_millis(500);
    taken_back(&stage, Code::OutOfMemory, "1:2 1Gi:2Gi");
}

#[test]
fn a_kill_is_never_no_harm() {
    let mut stage = Stage::new();
    stage.workload("web", "500m 1Gi");
    stage.pod("web", "web-1", "n1", "500m:1 1Gi:2Gi");
    stage.resized("web-1", "500m:1 512Mi:1Gi", 3);
    Arc::make_mut(&mut stage.subject("web").record).setbacks = 2;
    ended(&mut stage, 1, true, 137);
    stage.pass(10);
    let round = stage.decide();
    let record = &round.records[&workload("web")];
    let said = &record.last[0].message;
    assert!(said.contains("app was OOM-killed at") && !said.contains("no harm"), "{said}");
    assert_eq!(record.setbacks, 2);
}

#[test]
fn other_harm() {
    let mut restarted = lowered();
    ended(&mut restarted, 1, false, 1);
    taken_back(&restarted, Code::Restarted, "1:2 1Gi:2Gi");
    // One that ends well and is started again does as it is meant to.
    let mut done = lowered();
    ended(&mut done, 1, false, 0);
    check(&done.decide(), "web-1", Code::Fits, "nothing");
    let mut before = lowered();
    ended(&mut before, 10, true, 137);
    check(&before.decide(), "web-1", Code::Fits, "nothing");
    let mut unready = lowered();
    let at = unready.ago(1);
    (unready.at("web-1").ready, unready.at("web-1").unready) = (None, Some(at.into()));
    taken_back(&unready, Code::NotReady, "1:2 1Gi:2Gi");
    let mut throttled = lowered();
    throttled.used("web-1").throttled_permille = Some(200);
    let round = taken_back(&throttled, Code::Throttled, "1:2 1Gi:2Gi");
    assert_eq!(show(&round.records[&workload("web")].too_small[0].size), "500m:1");
}

#[test]
fn a_restart_that_was_asked_for_is_no_harm() {
    let mut stage = lowered();
    stage.at("web-1").containers[0].restarts_for_memory = true;
    ended(&mut stage, 2, false, 143);
    let at = stage.ago(2);
    (stage.at("web-1").ready, stage.at("web-1").unready) = (None, Some(at.into()));
    check(&stage.decide(), "web-1", Code::Fits, "nothing");
    // Nor is it well yet, as long as it may take to start; not to be ready in the end is harm.
    stage.pass(6);
    of_no_account(&stage);
    stage.pass(1);
    taken_back(&stage, Code::NotReady, "1:2 1Gi:2Gi");
}

/// A guard that sees harm above 0.25 and looks back over two minutes, and what it reads, so many seconds after the resize three minutes
/// ago; in thousandths, at the resize too.
pub struct Read {
    pub pod: Option<&'static str>,
    pub seconds: i64,
    pub value: i128,
    pub before: Option<Option<i128>>,
    pub well: Option<i64>,
}

/// Harm that was none before.
pub const NEW: Read = Read { pod: Some("web-1"), seconds: 130, value: 300, before: Some(Some(200)), well: None };

pub fn guarded(mut stage: Stage, read: &Read) -> Stage {
    let milli = |it| Billionths(it * 1_000_000);
    let guard = Guard { name: "p99".into(), query: "rate(slow[2m])".into(), above: Some(milli(250)), below: None };
    stage.policy("web", |it| it.guards.value.push(guard));
    let resized = stage.ago(3);
    let moment = |seconds| resized + SignedDuration::from_secs(seconds);
    let reading = GuardReading {
        name: "p99".into(),
        pod: read.pod.map(Arc::from),
        container: None,
        at: moment(read.seconds),
        value: milli(read.value),
        before: read.before.map(|it| (baseline(resized), it.map(milli))).into_iter().collect(),
        well: read.well.map(moment),
    };
    stage.scene.guards.insert(workload("web"), vec![reading]);
    stage
}

#[test]
fn a_guard_takes_back_what_it_did_not_read_before() {
    taken_back(&guarded(lowered(), &NEW), Code::GuardCrossed, "1:2 1Gi:2Gi");
    taken_back(&guarded(lowered(), &Read { pod: None, ..NEW }), Code::GuardCrossed, "1:2 1Gi:2Gi");
    let said = decision(&guarded(lowered(), &NEW).decide(), "web-1").message.clone();
    assert!(said.starts_with("guard \"p99\" reads 0.3, which is above 0.25: "), "{said}");
    // Where there was nothing to be read, there was no harm.
    taken_back(&guarded(lowered(), &Read { before: Some(None), ..NEW }), Code::GuardCrossed, "1:2 1Gi:2Gi");
}

/// What a guard reads of a decrease is not its doing: nothing is taken back, blamed, or set back.
#[track_caller]
pub fn of_no_account(stage: &Stage) {
    let round = stage.decide();
    assert_eq!((round.actions.len(), &round.records), (0, &Default::default()), "{:#?}", decision(&round, "web-1"));
}

#[test]
fn a_guard_does_not_blame_a_resize_for_what_was_before_it() {
    of_no_account(&guarded(lowered(), &Read { pod: Some("web-2"), ..NEW }));
    of_no_account(&guarded(lowered(), &Read { value: 250, ..NEW }));
    of_no_account(&guarded(lowered(), &Read { seconds: -420, ..NEW }));
    // Crossed already, or not known yet.
    of_no_account(&guarded(lowered(), &Read { before: Some(Some(251)), ..NEW }));
    of_no_account(&guarded(lowered(), &Read { before: None, ..NEW }));
    // It looks back to before the resize, whatever it then read.
    of_no_account(&guarded(lowered(), &Read { seconds: 119, ..NEW }));
    of_no_account(&guarded(lowered(), &Read { seconds: 119, well: Some(110), ..NEW }));
    // Seen well only by what was before it is not seen well.
    of_no_account(&guarded(lowered(), &Read { before: Some(Some(251)), well: Some(119), ..NEW }));
    taken_back(
        &guarded(lowered(), &Read { before: Some(Some(251)), well: Some(121), ..NEW }),
        Code::GuardCrossed,
        "1:2 1Gi:2Gi",
    );
}

/// Raised three minutes ago from these sizes.
fn raised(from: &str, urgent: bool) -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "500m 512Mi");
    stage.pod("web", "web-1", "n1", "500m:1 512Mi:1Gi");
    stage.resized("web-1", from, 3);
    stage.at("web-1").note.as_mut().unwrap().urgent = urgent;
    stage
}

#[test]
fn a_guard_never_takes_the_cure_away() {
    taken_back(&guarded(raised("250m:500m 512Mi:1Gi", false), &NEW), Code::GuardCrossed, "250m:500m");
    of_no_account(&guarded(raised("250m:500m 512Mi:1Gi", true), &NEW));
    // Memory that was given is never taken, and nothing else was changed: that is no setback either.
    of_no_account(&guarded(raised("500m:1 256Mi:512Mi", false), &NEW));
    // What was lowered with it is given back all the same.
    taken_back(&guarded(raised("250m:500m 1Gi:2Gi", true), &NEW), Code::GuardCrossed, "1Gi:2Gi");
}

#[test]
fn a_guard_takes_back_a_decrease_that_was_raised_in_haste_since_and_asks_for_what_was_before_that() {
    let stage = || {
        let mut stage = lowered_and_raised();
        stage.at("web-1").note.as_mut().unwrap().urgent = true;
        stage
    };
    assert_eq!(guarded_since(stage().at("web-1")), Some(baseline(stage().ago(4))));
    of_no_account(&guarded(stage(), &NEW)); // what was then is not known
    let mut known = guarded(stage(), &NEW);
    let at = baseline(known.ago(4));
    known.scene.guards.get_mut(&workload("web")).unwrap()[0].before = vec![(at, None)];
    taken_back(&known, Code::GuardCrossed, "1Gi:2Gi");
    // Nothing can be given back: nothing need be asked.
    assert_eq!(guarded_since(raised("250m:500m 512Mi:1Gi", true).at("web-1")), None);
}

#[test]
fn only_our_own_resize_that_stands_is_taken_back() {
    let mut person = lowered();
    ended(&mut person, 1, true, 137);
    person.at("web-1").note.as_mut().unwrap().by = Author::Resize;
    assert_eq!(person.decide().actions, []);
    let mut changed = lowered();
    ended(&mut changed, 1, true, 137);
    changed.at("web-1").containers[0].asked = numbers("500m:1 600Mi:1Gi");
    assert!(!codes(&changed.decide(), "web-1").contains(&Code::OutOfMemory));
    let mut stopped = lowered();
    ended(&mut stopped, 1, true, 137);
    stopped.scene.cluster.stopped = Some("hands off".into());
    check(&stopped.decide(), "web-1", Code::Stopped, "nothing");
}

#[test]
fn a_roll_back_never_takes_memory_that_was_given() {
    let mut stage = Stage::new();
    stage.workload("web", "500m 2Gi");
    stage.pod("web", "web-1", "n1", "500m:1 2Gi");
    stage.resized("web-1", "1:2 1Gi", 3);
    stage.used("web-1").throttled_permille = Some(400);
    taken_back(&stage, Code::Throttled, "1:2");
}

#[test]
fn a_roll_back_waits_for_room_and_goes_first() {
    let mut stage = lowered();
    ended(&mut stage, 1, true, 137);
    stage.node("n1", "16", "1700Mi");
    stage.workload("other", "1 512Mi");
    stage.pod("other", "other-1", "n1", "1 900Mi");
    let round = stage.decide();
    // The neighbour gives back, and what it gives back is kept for the pod that came to harm.
    let order: Vec<_> = round.actions.iter().map(|it| (&*it.pod.name, it.code)).collect();
    assert_eq!(order, [("other-1", Code::Resize), ("web-1", Code::RollBack)]);
}

#[test]
fn nobody_waits_for_a_clock_that_was_set_back() {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.pod("web", "web-1", "n1", "1");
    stage.resized("web-1", "2", -30);
    // Half an hour ahead may be another replica's clock: within the cool-down it is believed, beyond it is not.
    check(&stage.decide(), "web-1", Code::CoolDown, "nothing");
    stage.resized("web-1", "2", -300);
    Arc::make_mut(&mut stage.subject("web").record).not_before = Some(stage.ago(-60 * 48));
    check(&stage.decide(), "web-1", Code::Resize, "500m");
    assert_eq!(stage.decide().records[&workload("web")].last[0].code, Code::Resized, "its end is said");
}

#[test]
fn the_pause_doubles_with_each_setback_up_to_a_day() {
    let mut stage = lowered();
    let (now, policy) = (stage.now, stage.subject("web").policy.clone());
    let record = Arc::make_mut(&mut stage.subject("web").record);
    let mut hours = Vec::new();
    for _ in 0..6 {
        record.set_back(now, &policy);
        hours.push(record.not_before.unwrap().duration_since(now).as_hours());
    }
    assert_eq!(hours, [2, 4, 8, 16, 24, 24]);
}

#[test]
fn originals_are_remembered_before_the_first_resize_only() {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.pod("web", "web-1", "n1", "2");
    let round = stage.decide();
    assert_eq!(show(&round.records[&workload("web")].originals["app"]), "2");
    stage.carry_out(&round);
    stage.let_settle();
    stage.pass(61);
    let round = stage.decide();
    check(&round, "web-1", Code::Resize, "500m");
    assert_eq!(show(&round.records[&workload("web")].originals["app"]), "2");
}

/// Of what has no template here, nothing else says what a release asks for.
#[test]
fn what_a_newer_pod_was_given_is_what_is_remembered() {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.pod("web", "web-1", "n1", "2");
    let round = stage.decide();
    stage.carry_out(&round);
    let original = |stage: &Stage| show(&stage.decide().records[&workload("web")].originals["app"]);
    let replaced = |stage: &mut Stage, old: &str, new: &str, sizes: &str| {
        stage.scene.pods.remove(&key(old));
        let facts = &mut stage.subject("web").facts;
        (facts.replicas, facts.ready) = (0, 0);
        stage.pod("web", new, "n1", sizes);
        stage.pass(61);
    };
    replaced(&mut stage, "web-1", "web-2", "3");
    assert_eq!(original(&stage), "3");
    // What our webhook gave the next one is nobody's word but ours.
    replaced(&mut stage, "web-2", "web-3", "1");
    stage.at("web-3").sized = Some(Box::new([(Arc::from("app"), numbers("4"))].into()));
    assert_eq!(original(&stage), "4");
}
