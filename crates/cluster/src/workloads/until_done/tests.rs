//! Jobs in a simulated cluster.

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::pods;
use super::super::simulated::{Fate, World};
use super::super::view::Key;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn job(more: Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"uid": "j"}}, "parallelism": 1, "completions": 1, "backoffLimit": 6,
        "template": {"metadata": {"labels": {"uid": "j"}}, "spec": {
            "restartPolicy": "Never", "containers": [{"name": "app", "image": "i"}],
        }},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {"namespace": "n", "name": "j"}, "spec": spec})
}

fn put(world: &mut World, more: Value) {
    world.put::<Job>(job(more));
}

fn running(world: &World) -> Vec<Key> {
    let of = |it: &&std::sync::Arc<_>| pods::is_active(it) && pods::phase(it) == "Running";
    world.truth.pods.iter().filter(of).map(|it| Key::of(&it.metadata)).collect()
}

/// Everything up to where pods run.
fn up(world: &mut World) {
    while world.see(0) || world.act(0, Fate::Whole) || world.kubelet(0) {}
}

/// The first pod that runs ends.
fn end(world: &mut World, phase: &str) {
    let key = running(world).into_iter().next().unwrap();
    world.set_pod(&key, phase, false);
    up(world);
}

fn conditions(world: &World) -> Vec<String> {
    let status = world.status::<Job>("j");
    let of = |it: &Value| {
        format!(
            "{} {} {}",
            it["type"].as_str().unwrap(),
            it["status"].as_str().unwrap(),
            it["reason"].as_str().unwrap()
        )
    };
    status["conditions"].as_array().map(|it| it.iter().map(of).collect()).unwrap_or_default()
}

#[track_caller]
fn check_counts(world: &World, active: i64, succeeded: i64, failed: i64) {
    let status = world.status::<Job>("j");
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    assert_eq!((count("active"), count("succeeded"), count("failed")), (active, succeeded, failed), "{status:#}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each pod that ends is counted once, never more run than may, and all that was wanted succeeds: whatever has not
    /// been seen yet, and wherever the program is killed.
    #[test]
    fn every_end_is_counted_once(
        completions in 1..6_i32,
        parallelism in 1..4_i32,
        indexed in any::<bool>(),
        schedule in prop::collection::vec(any::<u8>(), 0..400),
        kills in any::<bool>(),
    ) {
        let mut world = World::new();
        let mode = if indexed { "Indexed" } else { "NonIndexed" };
        put(&mut world, json!({
            "completions": completions, "parallelism": parallelism, "backoffLimit": 1000, "completionMode": mode,
        }));
        let (mut well, mut ill) = (0, 0);
        let mut end = |world: &mut World, choice: usize, all_well: bool| {
            let running = running(world);
            let Some(key) = running.get(choice % running.len().max(1)) else { return false };
            let is_well = all_well || !choice.is_multiple_of(3);
            if is_well { well += 1 } else { ill += 1 }
            world.set_pod(key, if is_well { "Succeeded" } else { "Failed" }, false);
            true
        };
        for choice in schedule {
            if choice % 16 == 15 {
                end(&mut world, usize::from(choice / 16), false);
            } else {
                world.step(choice, kills);
            }
            let active = world.active();
            prop_assert!(active <= usize::try_from(parallelism).unwrap(), "{active} run");
        }
        for _ in 0..100 {
            world.settle(HOUR);
            if !end(&mut world, 1, true) {
                break;
            }
        }
        prop_assert_eq!(conditions(&world), ["SuccessCriteriaMet True CompletionsReached", "Complete True CompletionsReached"]);
        let status = world.status::<Job>("j");
        prop_assert_eq!(&status["succeeded"], &json!(completions));
        prop_assert!(well >= completions, "{} of {}", well, completions);
        prop_assert_eq!(status["failed"].as_i64().unwrap_or(0), ill);
        prop_assert_eq!(&status["uncountedTerminatedPods"], &json!({}));
        prop_assert!(world.truth.pods.iter().all(|it| it.metadata.finalizers.iter().flatten().next().is_none()));
    }
}

#[test]
fn so_many_at_once_until_so_many_have_succeeded() {
    let mut world = World::new();
    put(&mut world, json!({"completions": 3, "parallelism": 2}));
    up(&mut world);
    check_counts(&world, 2, 0, 0);
    end(&mut world, "Succeeded");
    check_counts(&world, 2, 1, 0);
    end(&mut world, "Succeeded");
    check_counts(&world, 1, 2, 0);
    end(&mut world, "Succeeded");
    check_counts(&world, 0, 3, 0);
    assert_eq!(conditions(&world), ["SuccessCriteriaMet True CompletionsReached", "Complete True CompletionsReached"]);
    assert!(world.status::<Job>("j")["completionTime"].is_string());
    assert_eq!(world.told.last().map(String::as_str), Some("Completed: Job completed"));
}

#[test]
fn failures_are_tried_again_later_and_later_and_then_given_up() {
    let mut world = World::new();
    put(&mut world, json!({"backoffLimit": 2}));
    up(&mut world);
    for (failed, wait) in [(1, 10), (2, 20)] {
        end(&mut world, "Failed");
        check_counts(&world, 0, 0, failed);
        world.pass(SignedDuration::from_secs(wait - 1));
        up(&mut world);
        check_counts(&world, 0, 0, failed);
        world.pass(SignedDuration::from_secs(1));
        up(&mut world);
        check_counts(&world, 1, 0, failed);
    }
    end(&mut world, "Failed");
    assert_eq!(conditions(&world), ["FailureTarget True BackoffLimitExceeded", "Failed True BackoffLimitExceeded"]);
    check_counts(&world, 0, 0, 3);
    assert_eq!(
        world.told.last().map(String::as_str),
        Some("BackoffLimitExceeded: Job has reached the specified backoff limit")
    );
}

#[test]
fn it_ends_at_its_deadline_and_goes_after_its_time() {
    let mut world = World::new();
    put(&mut world, json!({"activeDeadlineSeconds": 30, "ttlSecondsAfterFinished": 60}));
    up(&mut world);
    world.pass(SignedDuration::from_secs(31));
    up(&mut world);
    assert_eq!(conditions(&world), ["FailureTarget True DeadlineExceeded", "Failed True DeadlineExceeded"]);
    assert_eq!(world.active(), 0);
    world.pass(SignedDuration::from_secs(59));
    up(&mut world);
    assert!(world.truth.jobs.iter().next().is_some());
    world.pass(SignedDuration::from_secs(2));
    up(&mut world);
    assert!(world.truth.jobs.iter().next().is_none());
}

#[test]
fn suspended_nothing_runs_and_the_deadline_begins_anew() {
    let mut world = World::new();
    put(&mut world, json!({"suspend": true, "parallelism": 2, "completions": 2}));
    up(&mut world);
    check_counts(&world, 0, 0, 0);
    assert_eq!(conditions(&world), ["Suspended True JobSuspended"]);
    assert!(world.status::<Job>("j")["startTime"].is_null());
    put(&mut world, json!({"suspend": false, "parallelism": 2, "completions": 2}));
    up(&mut world);
    check_counts(&world, 2, 0, 0);
    assert_eq!(conditions(&world), ["Suspended False JobResumed"]);
    put(&mut world, json!({"suspend": true, "parallelism": 2, "completions": 2}));
    up(&mut world);
    assert_eq!(world.active(), 0);
}

#[test]
fn indexes_are_given_out_in_order_and_kept_as_ranges() {
    let mut world = World::new();
    put(&mut world, json!({"completionMode": "Indexed", "completions": 5, "parallelism": 5}));
    up(&mut world);
    let index = |world: &World, key: &Key| super::indexes::of(world.truth.pods.get(key).unwrap()).unwrap();
    let well: Vec<Key> = running(&world).into_iter().filter(|it| index(&world, it) != 1).collect();
    for key in well {
        world.set_pod(&key, "Succeeded", false);
    }
    world.pass(SignedDuration::from_secs(1));
    end(&mut world, "Failed");
    assert_eq!(world.status::<Job>("j")["completedIndexes"], "0,2-4");
    check_counts(&world, 0, 4, 1);
    world.pass(SignedDuration::from_secs(10));
    up(&mut world);
    let left = running(&world);
    assert_eq!(left.iter().map(|it| index(&world, it)).collect::<Vec<_>>(), [1]);
    let pod = serde_json::to_value(world.truth.pods.get(&left[0]).unwrap().as_ref()).unwrap();
    assert_eq!(pod["spec"]["containers"][0]["env"], json!([{"name": "JOB_COMPLETION_INDEX", "value": "1"}]));
    assert_eq!(pod["spec"]["hostname"], "j-1");
    end(&mut world, "Succeeded");
    assert_eq!(world.status::<Job>("j")["completedIndexes"], "0-4");
    assert_eq!(conditions(&world).last().map(String::as_str), Some("Complete True CompletionsReached"));
}

#[test]
fn without_completions_one_success_ends_it_when_the_others_have() {
    let mut world = World::new();
    let spec = json!({"completions": null, "parallelism": 2});
    put(&mut world, spec);
    up(&mut world);
    check_counts(&world, 2, 0, 0);
    end(&mut world, "Succeeded");
    check_counts(&world, 1, 1, 0);
    assert!(conditions(&world).is_empty());
    end(&mut world, "Failed");
    assert_eq!(conditions(&world).last().map(String::as_str), Some("Complete True CompletionsReached"));
}

/// The pod's container ends with this code, and with these conditions.
fn fail(world: &mut World, key: &Key, code: i32, conditions: &Value) {
    let mut pod = serde_json::to_value(world.truth.pods.get(key).unwrap().as_ref()).unwrap();
    let terminated = json!({"exitCode": code, "finishedAt": world.now});
    pod["status"]["containerStatuses"] = json!([{"name": "app", "image": "i", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"terminated": terminated}}]);
    pod["status"]["conditions"] = conditions.clone();
    pod["status"]["phase"] = "Failed".into();
    world.put::<k8s_openapi::api::core::v1::Pod>(pod);
    up(world);
}

/// The outcome of one failure under a policy of these rules, and how many count.
#[track_caller]
fn check_policy(rules: Value, code: i32, failed: i64, ends: Option<&str>) {
    let mut world = World::new();
    put(&mut world, json!({"podReplacementPolicy": "Failed", "podFailurePolicy": {"rules": rules}}));
    up(&mut world);
    let key = running(&world).remove(0);
    let target = json!([{"type": "DisruptionTarget", "status": "True"}]);
    fail(&mut world, &key, code, if code == 137 { &target } else { &Value::Null });
    check_counts(&world, 0, 0, failed);
    let status = world.status::<Job>("j");
    let message = status["conditions"][1]["message"].as_str().map(|it| it.replace(&key.name, "POD"));
    assert_eq!(message.as_deref(), ends, "{rules}: {status:#}");
    if ends.is_some() {
        let reasons = ["FailureTarget True PodFailurePolicy", "Failed True PodFailurePolicy"];
        assert_eq!(conditions(&world), reasons);
    }
}

#[test]
fn a_policy_says_what_a_failure_is_worth() {
    let codes = |action: &str, operator: &str, values: &[i32]| json!({"action": action, "onExitCodes": {"operator": operator, "values": values}});
    let condition = json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
    let end = "Container app for pod n/POD failed with exit code 42 matching FailJob rule at index 0";
    check_policy(json!([codes("FailJob", "In", &[42])]), 42, 1, Some(end));
    check_policy(json!([codes("FailJob", "In", &[42])]), 1, 1, None);
    check_policy(json!([codes("FailJob", "NotIn", &[1])]), 42, 1, Some(end));
    check_policy(json!([codes("FailJob", "NotIn", &[42])]), 42, 1, None);
    check_policy(json!([codes("Ignore", "In", &[42])]), 42, 0, None);
    check_policy(json!([codes("Count", "In", &[42]), codes("FailJob", "In", &[42])]), 42, 1, None);
    check_policy(json!([condition]), 137, 0, None);
    check_policy(json!([condition, codes("FailJob", "In", &[42])]), 1, 1, None);
    let mut other = codes("FailJob", "In", &[42]);
    other["onExitCodes"]["containerName"] = "other".into();
    check_policy(json!([other]), 42, 1, None);
    let end = "Pod n/POD has condition DisruptionTarget matching FailJob rule at index 0";
    let mut fatal = condition.clone();
    fatal["action"] = "FailJob".into();
    check_policy(json!([fatal]), 137, 1, Some(end));
}

#[test]
fn a_failure_that_does_not_count_is_tried_again_without_end() {
    let mut world = World::new();
    let rule = json!({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}});
    let policy = json!({"backoffLimit": 0, "podReplacementPolicy": "Failed", "podFailurePolicy": {"rules": [rule]}});
    put(&mut world, policy);
    for _ in 0..5 {
        up(&mut world);
        let key = running(&world).remove(0);
        fail(&mut world, &key, 42, &Value::Null);
        check_counts(&world, 0, 0, 0);
        world.pass(HOUR);
    }
    up(&mut world);
    end(&mut world, "Succeeded");
    assert_eq!(conditions(&world).last().map(String::as_str), Some("Complete True CompletionsReached"));
}

/// Indexes 0 and 1 of three succeed: whether that is enough.
#[track_caller]
fn check_success(rule: Value, is_enough: bool) {
    let mut world = World::new();
    put(
        &mut world,
        json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "successPolicy": {"rules": [rule]}}),
    );
    up(&mut world);
    let index = |world: &World, key: &Key| super::indexes::of(world.truth.pods.get(key).unwrap()).unwrap();
    for key in running(&world).into_iter().filter(|it| index(&world, it) < 2).collect::<Vec<_>>() {
        world.set_pod(&key, "Succeeded", false);
    }
    up(&mut world);
    let reasons = ["SuccessCriteriaMet True SuccessPolicy", "Complete True SuccessPolicy"];
    let expected = if is_enough { reasons.to_vec() } else { Vec::new() };
    assert_eq!(conditions(&world), expected, "{rule}");
    assert_eq!(world.active(), usize::from(!is_enough), "{rule}: the rest is ended");
    if is_enough {
        assert_eq!(world.status::<Job>("j")["conditions"][1]["message"], "Matched rules at index 0");
    }
}

#[test]
fn enough_may_be_less_than_all() {
    check_success(json!({"succeededIndexes": "0,1"}), true);
    check_success(json!({"succeededIndexes": "0,2"}), false);
    check_success(json!({"succeededIndexes": "1-2", "succeededCount": 1}), true);
    check_success(json!({"succeededIndexes": "1-2", "succeededCount": 2}), false);
    check_success(json!({"succeededCount": 2}), true);
    check_success(json!({"succeededCount": 3}), false);
}
