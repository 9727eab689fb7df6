//! The state machine of the two conditions (reference §4.4, §4.5, §4.8).

use supple_resize::condition::{PendingReason, ResizeConditions};

use crate::support::at;

/// `Pending(reason, generation, since) InProgress(error, generation, since)`, since in seconds.
fn shown(conditions: &ResizeConditions) -> String {
    let since = |it: jiff::Timestamp| it.as_second() - at(0).as_second();
    let generation = |it: Option<i64>| it.map_or("-".to_owned(), |it| it.to_string());
    let pending = conditions.pending.as_ref();
    let pending = pending.map(|it| {
        format!("{}({} og={} {})", it.reason.as_str(), it.message, generation(it.generation), since(it.since))
    });
    let in_progress = conditions.in_progress.as_ref();
    let in_progress = in_progress.map(|it| {
        let error = it.error.as_deref().unwrap_or("ok");
        format!("InProgress({error} og={} {})", generation(it.generation), since(it.since))
    });
    [pending, in_progress].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(conditions: &ResizeConditions, expected: &str) {
    assert_eq!(shown(conditions), expected);
    // What the status says can be read back, and the checkpoint too.
    assert_eq!(&ResizeConditions::read(&conditions.to_conditions()), conditions);
    let text = serde_json::to_string(conditions).expect("plain data");
    assert_eq!(&serde_json::from_str::<ResizeConditions>(&text).expect("what was written"), conditions);
}

fn refused(conditions: &mut ResizeConditions, generation: i64, second: i64) -> bool {
    conditions.refuse(PendingReason::Deferred, "cpu".to_owned(), Some(generation), at(second))
}

#[test]
fn the_reference_table_of_several_conditions() {
    let mut it = ResizeConditions::default();
    it.allocate(Some(1), at(1));
    check(&it, "InProgress(ok og=1 1)");
    assert!(refused(&mut it, 2, 2), "an event for the new refusal");
    check(&it, "Deferred(cpu og=2 2) InProgress(ok og=1 1)");
    assert!(!refused(&mut it, 2, 3), "none for the same again");
    check(&it, "Deferred(cpu og=2 2) InProgress(ok og=1 1)");
    assert!(it.settle(), "the spec went back to what is allocated");
    check(&it, "InProgress(ok og=1 1)");
    assert!(!it.settle());
    it.allocate(Some(5), at(6));
    check(&it, "InProgress(ok og=5 6)");
    assert_eq!(it.complete(), Some(Some(5)));
    check(&it, "");
    assert_eq!(it.complete(), None, "completed once");
}

#[test]
fn age_counts_from_the_first_refusal_for_the_same_reason() {
    let mut it = ResizeConditions::default();
    refused(&mut it, 2, 10);
    assert!(refused(&mut it, 3, 20), "another generation is another event");
    check(&it, "Deferred(cpu og=3 10)");
    assert!(it.refuse(PendingReason::Infeasible, "never".to_owned(), Some(3), at(30)));
    check(&it, "Infeasible(never og=3 30)");
    it.allocate(Some(4), at(40));
    check(&it, "InProgress(ok og=4 40)");
}

#[test]
fn errors_are_kept_until_something_is_allocated_or_completed() {
    let mut it = ResizeConditions::default();
    it.allocate(Some(2), at(1));
    assert!(it.fail("no".to_owned(), Some(9), at(2)));
    check(&it, "InProgress(no og=2 2)");
    assert!(!it.fail("no".to_owned(), Some(9), at(3)), "the same again");
    check(&it, "InProgress(no og=2 2)");
    it.proceed(Some(9), at(4));
    check(&it, "InProgress(no og=2 2)");
    assert!(it.fail("still no".to_owned(), Some(9), at(5)));
    check(&it, "InProgress(still no og=2 2)");
    it.allocate(Some(3), at(6));
    check(&it, "InProgress(ok og=3 6)");
    it.fail("no".to_owned(), Some(9), at(7));
    assert_eq!(it.complete(), Some(Some(3)));
    check(&it, "");
}

#[test]
fn a_node_without_a_record_begins_anew() {
    let mut it = ResizeConditions::default();
    it.proceed(Some(7), at(1));
    check(&it, "InProgress(ok og=7 1)");
    it.clear();
    check(&it, "");
    let mut it = ResizeConditions::default();
    assert!(it.fail("no".to_owned(), Some(7), at(1)));
    check(&it, "InProgress(no og=7 1)");
}

#[test]
fn as_the_status_has_them() {
    let mut it = ResizeConditions::default();
    it.allocate(Some(1), at(0));
    it.fail("no".to_owned(), None, at(1));
    refused(&mut it, 2, 2);
    let json = serde_json::to_value(it.to_conditions()).expect("plain data");
    let expected = serde_json::json!([
        {"type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "cpu", "observedGeneration": 2,
         "lastTransitionTime": "2027-01-15T08:00:02Z", "lastProbeTime": "2027-01-15T08:00:02Z"},
        {"type": "PodResizeInProgress", "status": "True", "reason": "Error", "message": "no", "observedGeneration": 1,
         "lastTransitionTime": "2027-01-15T08:00:01Z", "lastProbeTime": "2027-01-15T08:00:01Z"},
    ]);
    assert_eq!(json, expected);
}

#[test]
fn what_others_write_is_passed_over() {
    let conditions = serde_json::json!([
        {"type": "Ready", "status": "True"},
        {"type": "PodResizePending", "status": "True", "reason": "Whatever"},
    ]);
    let conditions: Vec<_> = serde_json::from_value(conditions).expect("conditions");
    assert_eq!(ResizeConditions::read(&conditions), ResizeConditions::default());
}

#[test]
fn times_and_generations_alone_are_no_news() {
    let mut a = ResizeConditions::default();
    a.allocate(Some(1), at(0));
    let mut b = ResizeConditions::default();
    b.allocate(Some(2), at(5));
    assert!(a.same_to_readers(&b));
    b.fail("no".to_owned(), None, at(6));
    assert!(!a.same_to_readers(&b));
    refused(&mut a, 1, 7);
    assert!(!a.same_to_readers(&b));
}
