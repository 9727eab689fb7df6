//! Data, permission, and what is going on with a pod.

use std::sync::Arc;

use jiff::SignedDuration;
use supple_decide::check::Check;
use supple_decide::code::Code;
use supple_decide::facts::{Fixed, Phase};
use supple_decide::policy::{ContainerPolicy, Layer, Mode, Pause, Window};
use supple_decide::progress::Progress;
use supple_decide::refused::Refused;
use supple_resize::predict::Change;

use crate::stage::*;

/// A pod that wants half, and what is changed about it first.
#[track_caller]
fn lowers(change: impl FnOnce(&mut Stage), code: Code, expect: &str) {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.pod("web", "web-1", "n1", "1");
    change(&mut stage);
    check(&stage.decide(), "web-1", code, expect);
}

/// A pod that wants more, and what is changed about it first.
#[track_caller]
fn raises(change: impl FnOnce(&mut Stage), code: Code, expect: &str) {
    let mut stage = Stage::new();
    stage.workload("web", "2");
    stage.pod("web", "web-1", "n1", "1");
    change(&mut stage);
    check(&stage.decide(), "web-1", code, expect);
}

/// A pod that cannot wait for more, and what is changed about it first.
#[track_caller]
fn hastens(change: impl FnOnce(&mut Stage), code: Code, expect: &str) {
    let mut stage = Stage::new();
    stage.workload("web", "1 2Gi").needs.get_mut("app").unwrap().memory.as_mut().unwrap().urgent = true;
    stage.pod("web", "web-1", "n1", "1 1Gi");
    stage.used("web-1").memory = Some(supple_quantity::Bytes(1000 * MIB));
    change(&mut stage);
    check(&stage.decide(), "web-1", code, expect);
}

fn need(stage: &mut Stage) -> &mut supple_decide::need::Need {
    stage.subject("web").needs.get_mut("app").unwrap()
}

#[test]
fn little_or_old_data_raises_and_never_lowers() {
    let ignorant = |stage: &mut Stage| stage.subject("web").needs.clear();
    lowers(ignorant, Code::NoData, "nothing");
    lowers(|it| need(it).hours = 3, Code::Learning, "nothing");
    raises(|it| need(it).hours = 0, Code::Resize, "2");
    lowers(|it| need(it).cpu.as_mut().unwrap().confidence_permille = 400, Code::LowConfidence, "nothing");
    raises(|it| need(it).cpu.as_mut().unwrap().confidence_permille = 0, Code::Resize, "2");
    let old = |stage: &mut Stage| stage.used("web-1").at = stage.ago(11);
    lowers(old, Code::StaleData, "nothing");
    raises(old, Code::Resize, "2");
    let unseen = |stage: &mut Stage| stage.scene.uses.clear();
    lowers(unseen, Code::StaleData, "nothing");
    raises(unseen, Code::Resize, "2");
}

#[test]
fn what_somebody_said_comes_before_what_has_to_be_waited_for() {
    let learns = |code, expect, change: &dyn Fn(&mut Stage)| {
        let learning = |stage: &mut Stage| {
            need(stage).hours = 3;
            change(stage);
        };
        lowers(learning, code, expect);
    };
    learns(Code::Stopped, "nothing", &|it| it.scene.cluster.stopped = Some("peace".into()));
    let pause = Some(Pause { until: None, why: "stocktaking".into() });
    learns(Code::Paused, "nothing", &|it| it.policy("web", |it| it.pause.value = pause.clone()));
    learns(Code::ModeOff, "nothing", &|it| it.policy("web", |it| it.mode.value = Mode::Off));
    learns(Code::OtherVertical, "nothing", &|it| it.subject("web").facts.other_vertical.push("web".into()));
    // What was said is said beside, and what is not known yet too.
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.pod("web", "web-1", "n1", "1");
    need(&mut stage).hours = 3;
    stage.policy("web", |it| it.mode.value = Mode::Off);
    assert_eq!(codes(&stage.decide(), "web-1"), [Code::ModeOff, Code::Learning]);
    // Of what has not been measured at all nothing is wanted that could be permitted.
    need(&mut stage).cpu = None;
    check(&stage.decide(), "web-1", Code::NoData, "nothing");
}

#[test]
fn a_veto_and_throttling_forbid_to_lower() {
    lowers(|it| need(it).cpu.as_mut().unwrap().veto = true, Code::UnderPressure, "nothing");
    raises(|it| need(it).cpu.as_mut().unwrap().veto = true, Code::Resize, "2");
    lowers(|it| it.used("web-1").throttled_permille = Some(60), Code::UnderPressure, "nothing");
    lowers(|it| it.used("web-1").throttled_permille = Some(40), Code::Resize, "500m");
}

#[test]
fn modes() {
    for (mode, code, expect) in [
        (Mode::Off, Code::ModeOff, "nothing"),
        (Mode::Initial, Code::ModeInitial, "nothing"),
        (Mode::InPlace, Code::Resize, "500m"),
        (Mode::InPlaceOrRecreate, Code::Resize, "500m"),
    ] {
        lowers(|it| it.policy("web", |it| it.mode.value = mode), code, expect);
    }
    // The pod's own word wins.
    lowers(
        |it| drop(it.at("web-1").words.insert("supple.dev/mode".into(), "recommend".into())),
        Code::ModeOff,
        "nothing",
    );
}

/// What one word of the pod's own comes to under a policy of this mode: the code, the setting named with it.
#[track_caller]
fn says(mode: Mode, word: &str, expect: (Code, Option<&str>)) {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.pod("web", "web-1", "n1", "1");
    stage.policy("web", |it| it.mode.value = mode);
    stage.at("web-1").words.insert("supple.dev/mode".into(), word.into());
    let round = stage.decide();
    let decision = decision(&round, "web-1");
    let setting = decision.findings.iter().find(|it| it.check == Check::Permission).and_then(|it| it.setting.clone());
    assert_eq!((decision.code, setting.as_deref()), expect, "{word:?}: {decision:#?}");
}

#[test]
fn a_word_of_the_pods_own_is_its_own_and_one_that_nobody_knows_is_off() {
    const OWN: Option<&str> = Some("updateMode (label or annotation of the pod)");
    for mode in [Mode::Off, Mode::InPlace] {
        says(mode, "in-place", (Code::Resize, None));
        says(mode, " InPlace ", (Code::Resize, None));
        says(mode, "Initial", (Code::ModeInitial, OWN));
        for word in ["recommend", "Off", "off", "none", ""] {
            says(mode, word, (Code::ModeOff, OWN));
        }
    }
    let unknown = |it: &mut Stage| drop(it.at("web-1").words.insert("supple.dev/mode".into(), "off".into()));
    let round = decided("1", "500m", unknown);
    let said = &decision(&round, "web-1").message;
    assert!(said.contains("\"off\" is not a mode") && said.contains("InPlaceOrRecreate"), "{said}");
}

#[test]
fn nobodys_word_opens_a_protected_namespace() {
    let protected = |it: &mut Stage| {
        it.scene.cluster.own_namespace = Some(NAMESPACE.into());
        it.sizes_new_pods();
    };
    for word in ["in-place", "InPlaceOrRecreate", "Recreate"] {
        let opened = |it: &mut Stage| {
            protected(it);
            it.policy("web", |it| it.mode.value = Mode::of_word(word).unwrap());
            it.at("web-1").words.insert("supple.dev/mode".into(), word.into());
        };
        lowers(opened, Code::ProtectedNamespace, "nothing");
        raises(opened, Code::ProtectedNamespace, "nothing");
        hastens(opened, Code::ProtectedNamespace, "nothing");
        // Nor is what was done there before taken back: that would be one more deed.
        let harmed = |it: &mut Stage| {
            opened(it);
            it.resized("web-1", "2", 2);
            it.at("web-1").ready = None;
            it.at("web-1").unready = Some(it.ago(1).into());
        };
        lowers(harmed, Code::ProtectedNamespace, "nothing");
    }
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    protected(&mut stage);
    let barred = stage.scene.barred(&stage.scene.workloads[&workload("web")], stage.now);
    assert_eq!(barred.map(|it| it.0), Some(Code::ProtectedNamespace));
    let cluster = &stage.scene.cluster;
    let names = ["kube-system", NAMESPACE, "kube-public", "kube-system-2", ""];
    assert_eq!(names.map(|it| cluster.is_protected(it)), [true, true, false, false, false]);
}

#[test]
fn what_fits_says_so_in_any_mode() {
    let fits = |stage: &mut Stage| {
        stage.policy("web", |it| it.mode.value = Mode::Off);
        need(stage).cpu = Some(wanted(supple_quantity::MilliCpu(1000)));
    };
    lowers(fits, Code::Fits, "nothing");
}

#[test]
fn the_switch_and_a_pause_stop_everything() {
    let stopped = |stage: &mut Stage| stage.scene.cluster.stopped = Some("incident 7".into());
    lowers(stopped, Code::Stopped, "nothing");
    hastens(stopped, Code::Stopped, "nothing");
    let paused = |until| {
        move |stage: &mut Stage| stage.policy("web", |it| it.pause.value = Some(Pause { until, why: "ada".into() }))
    };
    let now = Stage::new().now;
    hastens(paused(None), Code::Paused, "nothing");
    lowers(paused(Some(now + SignedDuration::from_hours(1))), Code::Paused, "nothing");
    lowers(paused(Some(now)), Code::Resize, "500m");
    let word = |text: &'static str| {
        move |stage: &mut Stage| drop(stage.at("web-1").words.insert("supple.dev/paused".into(), text.into()))
    };
    lowers(word("true load test"), Code::Paused, "nothing");
    lowers(word("2026-03-01T13:00:00Z load test"), Code::Paused, "nothing");
    lowers(word("2026-03-01T11:00:00Z load test"), Code::Resize, "500m");
    lowers(word("false"), Code::Resize, "500m");
    lowers(word("please do not"), Code::Paused, "nothing");
}

#[test]
fn what_was_not_asked_is_not_among_what_passed() {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.pod("web", "web-1", "n1", "500m");
    stage.pod("web", "web-2", "n1", "1");
    stage.scene.cluster.stopped = Some("incident 7".into());
    let round = stage.decide();
    // Nothing is to change in the first, so that nobody has asked whether it may.
    for (name, permission, place) in [("web-1", false, false), ("web-2", true, true)] {
        let asked = decision(&round, name).asked;
        let was = [Check::Permission, Check::Data, Check::Budget].map(|it| asked.contains(it));
        assert_eq!(was, [permission, true, place], "{name}");
    }
}

#[test]
fn windows_hold_what_can_wait() {
    let window = |allow: bool, from: i64, until: i64| {
        move |stage: &mut Stage| {
            let spans = vec![(stage.ago(-from), stage.ago(-until))];
            let window = Window { allow, spans, text: "0 12 * * * for 1h UTC".into() };
            stage.policy("web", |it| it.windows.value.push(window));
        }
    };
    lowers(window(true, -10, 10), Code::Resize, "500m");
    lowers(window(true, 10, 20), Code::OutsideWindow, "nothing");
    lowers(window(false, -10, 10), Code::OutsideWindow, "nothing");
    lowers(window(false, 10, 20), Code::Resize, "500m");
    hastens(window(true, 10, 20), Code::Resize, "2Gi");
    hastens(window(false, -10, 10), Code::Resize, "2Gi");
    // Denied wins over allowed, and it is said when that ends.
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.pod("web", "web-1", "n1", "1");
    window(true, -10, 30)(&mut stage);
    window(false, -10, 20)(&mut stage);
    let round = stage.decide();
    check(&round, "web-1", Code::OutsideWindow, "nothing");
    assert_eq!(decision(&round, "web-1").again, Some(stage.ago(-20)));
}

#[test]
fn pods_that_are_no_longer_or_not_yet() {
    lowers(|it| it.at("web-1").phase = Phase::Pending, Code::NotRunning, "nothing");
    lowers(|it| it.at("web-1").phase = Phase::Ended, Code::NotRunning, "nothing");
    lowers(|it| it.at("web-1").deleting = true, Code::NotRunning, "nothing");
    lowers(|it| it.scene.namespaces.get_mut(NAMESPACE).unwrap().deleting = true, Code::NotRunning, "nothing");
    lowers(|it| it.at("web-1").fixed = Some(Fixed::StaticPod), Code::NotResizable, "nothing");
    lowers(|it| it.says_nothing_of_sizes("web-1"), Code::NodeUnsupported, "nothing");
    lowers(|it| it.scene.cluster.minor_version = Some(32), Code::NodeUnsupported, "nothing");
}

#[test]
fn one_thing_at_a_time() {
    lowers(|it| it.at("web-1").progress = Progress::Underway, Code::InProgress, "nothing");
    lowers(|it| drop(it.scene.acting.insert(key("web-1"), Default::default())), Code::InProgress, "nothing");
    lowers(|it| it.at("web-1").progress = Progress::Failing("why".into()), Code::NodeFailing, "nothing");
    hastens(|it| it.at("web-1").progress = Progress::Failing("why".into()), Code::Resize, "2Gi");
    lowers(|it| it.at("web-1").progress = Progress::Deferred("why".into()), Code::Deferred, "nothing");
    lowers(|it| it.at("web-1").progress = Progress::Infeasible("why".into()), Code::Infeasible, "nothing");
    lowers(|it| it.subject("web").facts.rolling = true, Code::RollingOut, "nothing");
    hastens(|it| it.subject("web").facts.rolling = true, Code::Resize, "2Gi");
    lowers(|it| it.at("web-1").containers[0].running_since = None, Code::Restarting, "nothing");
}

#[test]
fn a_pod_that_starts_is_left_to_start() {
    let started = |stage: &mut Stage| {
        stage.at("web-1").started = Some("2026-03-01T11:55:00Z".parse::<jiff::Timestamp>().unwrap().into())
    };
    lowers(started, Code::StartingUp, "nothing");
    raises(started, Code::StartingUp, "nothing");
    hastens(started, Code::Resize, "2Gi");
    let restarted = |stage: &mut Stage| stage.at("web-1").containers[0].running_since = Some(stage.ago(2).into());
    lowers(restarted, Code::StartingUp, "nothing");
}

#[test]
fn cool_down_by_direction_and_back_off() {
    let resized = |ago| move |stage: &mut Stage| stage.resized("web-1", "1500m", ago);
    lowers(resized(30), Code::CoolDown, "nothing");
    lowers(resized(61), Code::Resize, "500m");
    raises(resized(2), Code::Settling, "nothing");
    raises(resized(6), Code::Resize, "2");
    let set_back = |stage: &mut Stage| {
        let (now, policy) = (stage.now, stage.subject("web").policy.clone());
        Arc::make_mut(&mut stage.subject("web").record).set_back(now, &policy);
    };
    lowers(set_back, Code::BackOff, "nothing");
    hastens(set_back, Code::Resize, "2Gi");
}

/// A refusal a moment ago of these sizes of the container `app`; of none: that the pod is recreated.
fn refused(sizes: &'static str) -> impl FnOnce(&mut Stage) {
    move |stage| {
        let sizes = numbers(sizes).beyond(&Default::default());
        let change = if sizes.is_empty() { Default::default() } else { Change::of_container("app", sizes) };
        let (until, message) = (stage.now + minutes(1), "it was refused at noon: no".to_owned());
        let refused = Refused { change, times: 0, until, code: Code::Refused, message };
        stage.scene.refused.insert(key("web-1"), refused);
    }
}

#[test]
fn what_was_refused_is_not_asked_for_again_at_once_however_urgent_it_is() {
    // The same, more than that, and less by what would not be worth a resize.
    for same in [" 2Gi", " 1900Mi", " 2200Mi"] {
        hastens(refused(same), Code::Refused, "nothing");
    }
    // Less than was refused may be taken; and so may something else, and what was refused before the pod had more.
    for other in [" 3Gi", "2", "2 2Gi", " 512Mi", ""] {
        hastens(refused(other), Code::Resize, "2Gi");
    }
    hastens(
        |it| {
            refused(" 2Gi")(it);
            it.now += minutes(1);
        },
        Code::Resize,
        "2Gi",
    );
    lowers(refused("500m"), Code::Refused, "nothing");
    lowers(refused("700m"), Code::Refused, "nothing");
    lowers(refused("300m"), Code::Resize, "500m");
    // What was done to be refused is said by what waits longer, where that is so.
    let both = |stage: &mut Stage| {
        refused("500m")(stage);
        let (now, policy) = (stage.now, stage.subject("web").policy.clone());
        Arc::make_mut(&mut stage.subject("web").record).set_back(now, &policy);
    };
    lowers(both, Code::BackOff, "nothing");
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.pod("web", "web-1", "n1", "1");
    refused("500m")(&mut stage);
    let (until, round) = (stage.now + minutes(1), stage.decide());
    let decided = decision(&round, "web-1");
    assert_eq!(decided.message, "it was refused at noon: no; it is tried again at 2026-03-01T12:01:00Z");
    assert_eq!(decided.again, Some(until));
}

#[test]
fn a_recreation_that_was_refused_is_tried_again_later() {
    let recreates = |change: &dyn Fn(&mut Stage), code, expect| {
        let mode = |it: &mut Stage| {
            it.policy("web", |it| it.mode.value = Mode::Recreate);
            it.pod("web", "web-2", "n1", "1");
            it.subject("web").facts.sized_at_creation = true;
            change(it);
        };
        lowers(mode, code, expect);
    };
    recreates(&|_| (), Code::Evict, "evict");
    recreates(&|it| refused("")(it), Code::Refused, "nothing");
}

#[test]
fn what_the_server_failed_at_for_one_pod_is_not_asked_of_it_for_the_next() {
    let decided = |of: &str, code: Code, minutes: i64| {
        let mut stage = Stage::new();
        for (name, pods) in [("web", 3), ("other", 1)] {
            stage.workload(name, "500m");
            stage.policy(name, |it| it.mode.value = Mode::Recreate);
            for index in 0..pods {
                stage.pod(name, &format!("{name}-{index}"), "n1", "1");
            }
        }
        stage.sizes_new_pods();
        let until = stage.ago(-minutes);
        let message = "the API server did not evict it: two budgets".to_owned();
        let refused = Refused { change: Change::default(), times: 0, until, code, message };
        stage.scene.refused.insert(key(of), refused);
        stage.decide()
    };
    let round = decided("web-0", Code::NoAnswer, 1);
    for pod in ["web-0", "web-1", "web-2"] {
        check(&round, pod, Code::NoAnswer, "nothing");
        assert_eq!(decision(&round, pod).again, Some(Stage::new().ago(-1)));
    }
    check(&decided("web-0", Code::NoAnswer, 0), "web-0", Code::Evict, "evict");
    check(&decided("other-0", Code::NoAnswer, 1), "web-0", Code::Evict, "evict");
    // What was refused of one is refused for what it is; the next one may go.
    check(&decided("web-0", Code::Refused, 1), "web-1", Code::Evict, "evict");
}

#[test]
fn everything_that_stands_in_the_way_is_said_the_first_decides() {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.pod("web", "web-1", "n1", "1");
    stage.policy("web", |it| *it = it.clone().under(Layer { mode: Some(Mode::Off), ..Layer::default() }));
    stage.subject("web").facts.rolling = true;
    stage.at("web-1").started = Some(stage.now.into());
    let round = stage.decide();
    check(&round, "web-1", Code::ModeOff, "nothing");
    assert_eq!(codes(&round, "web-1"), [Code::ModeOff, Code::RollingOut, Code::StartingUp]);
    let setting = decision(&round, "web-1").findings[0].setting.clone();
    assert_eq!(setting.as_deref(), Some("updateMode (built in)"));
}

#[test]
fn what_is_not_ours_to_size_does_not_hide_why_the_rest_waits() {
    let mut stage = Stage::new();
    stage.workload("web", "500m 512Mi");
    stage.pod("web", "web-1", "n1", "1 1Gi");
    let cpu_alone = ContainerPolicy { controlled: Some((true, false)), ..ContainerPolicy::default() };
    let containers = [("*".into(), cpu_alone)].into_iter().collect();
    stage.policy("web", |it| *it = it.clone().under(Layer { containers, ..Layer::default() }));
    stage.at("web-1").started = Some(stage.now.into());
    let round = stage.decide();
    assert_eq!(decision(&round, "web-1").code, Code::StartingUp);
    assert_eq!(codes(&round, "web-1")[..2], [Code::NotControlled, Code::StartingUp]);
}
