//! What is remembered of what was asked for and came to nothing: what was refused, a pause after it, and no recreation where there was
//! none.

use jiff::{SignedDuration, Timestamp};
use supple_decide::code::Code;
use supple_decide::key::WorkloadKey;
use supple_decide::record::Record;
use supple_decide::refused::Refused;
use supple_decide::round::What;
use supple_resize::predict::Change;

use super::World;
use crate::carry::Order;

/// What was refused once is not asked for again before, and for twice as long each time.
const ASKED_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// A server that has too much to do is left alone for so long: it asks for a second as a rule, and a round is fifteen.
const ASKED_WHEN_BUSY: SignedDuration = SignedDuration::from_secs(10);

/// However often it was refused: whoever mends what was in the way need not wait longer.
const ASKED_AGAIN_AT_LAST: SignedDuration = SignedDuration::from_hours(1);

impl World {
    /// A refusal. What could have waited is not tried again for longer and longer, and what cannot wait is neither, as long as it is
    /// the same. The workload is set back once for it: nothing is learned by asking for the same again, nor while it waits already.
    pub(super) fn refused(&mut self, order: &Order, why: &str, now: Timestamp) {
        let Order { action, .. } = order;
        let change = action.what.change().cloned().unwrap_or_default();
        let threshold = self.policy_of(&action.workload).threshold_percent.value;
        let scene = &mut self.view.scene;
        let before = scene.refused.get(&action.pod).filter(|it| it.code == Code::Refused);
        let same =
            before.filter(|it| scene.pods.get(&action.pod).is_some_and(|pod| it.covers(pod, &change, threshold)));
        let times = same.map_or(0, |it| it.times.saturating_add(1));
        let until = again(times, now);
        let message = format!("the API server refused it at {now:.0}: {why}");
        if !matches!(action.what, What::SettleScaler(_)) {
            scene.refused.insert(action.pod.clone(), Refused { change, times, until, code: Code::Refused, message });
        }
        let waits = self.records.get(&action.workload).is_some_and(|it| it.pause(now).is_some());
        if (times == 0 || !action.cannot_wait) && !waits {
            self.set_back(&action.workload, now);
        }
    }

    /// A disruption budget allows it only later: it is nobody's fault, and nothing is set back.
    pub(super) fn blocked(&mut self, order: &Order, why: &str, now: Timestamp) {
        let change = order.action.what.change().cloned().unwrap_or_default();
        let until = now.checked_add(ASKED_AGAIN).unwrap_or(Timestamp::MAX);
        let refused = Refused { change, times: 0, until, code: Code::DisruptionBudget, message: why.to_owned() };
        self.view.scene.refused.insert(order.action.pod.clone(), refused);
    }

    /// The server has too much to do, and has not looked at it: nobody's fault, and soon over. How often it failed before is no less for it.
    pub(super) fn busy(&mut self, order: &Order, why: &str, now: Timestamp) {
        let Order { action, .. } = order;
        if matches!(action.what, What::SettleScaler(_)) {
            return;
        }
        let change = action.what.change().cloned().unwrap_or_default();
        let refused = &mut self.view.scene.refused;
        let times = refused.get(&action.pod).filter(|it| it.code == Code::NoAnswer).map_or(0, |it| it.times);
        let until = now.checked_add(ASKED_WHEN_BUSY).unwrap_or(Timestamp::MAX);
        let message = format!("the API server had too much to do at {now:.0}: {}", why.trim_end());
        refused.insert(action.pod.clone(), Refused { change, times, until, code: Code::NoAnswer, message });
    }

    /// There was no answer to a recreation, or the server failed at it. It may pass by itself, so that nothing is set back; but where it does
    /// not, as with a webhook that is down, it is asked for less and less often, and told by the next round, once an hour. What is sent for
    /// sizes is found again on the pod, and may be needed at once: that is sent again as before.
    pub(super) fn unanswered(&mut self, order: &Order, why: &str, now: Timestamp) {
        let Order { action, .. } = order;
        if !matches!(action.what, What::Evict | What::RollOut) {
            return;
        }
        let refused = &mut self.view.scene.refused;
        let before = refused.get(&action.pod).filter(|it| it.code == Code::NoAnswer);
        let times = before.map_or(0, |it| it.times.saturating_add(1));
        let what = match action.what {
            What::Evict => format!("evict {}", action.pod.name),
            _ => "restart the workload".to_owned(),
        };
        let message = format!("the API server did not {what} at {now:.0}: {why}");
        let (change, until, code) = (Change::default(), again(times, now), Code::NoAnswer);
        refused.insert(action.pod.clone(), Refused { change, times, until, code, message });
    }

    /// Longer and longer pauses before the workload is tried again.
    fn set_back(&mut self, workload: &WorkloadKey, now: Timestamp) {
        let policy = self.policy_of(workload);
        let mut record = self.records.get(workload).map(|it| Record::clone(it)).unwrap_or_default();
        record.set_back(now, &policy);
        self.take_over_record(workload, record);
    }

    /// A recreation that was not begun: the last one is the one before it, with what came of that, and it has waited for room as
    /// long as before.
    pub(super) fn not_recreated(&mut self, order: &Order) {
        let Order { action, recreated, no_room_since, .. } = order;
        let recreates = matches!(action.what, What::Evict | What::RollOut);
        let Some(record) = self.records.get(&action.workload).filter(|it| recreates && it.recreated != *recreated)
        else {
            return;
        };
        let record = Record { recreated: recreated.clone(), no_room_since: *no_room_since, ..Record::clone(record) };
        self.take_over_record(&action.workload, record);
    }
}

/// When something is asked for again that was refused so often before.
fn again(times: u32, now: Timestamp) -> Timestamp {
    let wait = ASKED_AGAIN.as_secs().saturating_mul(1 << times.min(16));
    now.checked_add(SignedDuration::from_secs(wait).min(ASKED_AGAIN_AT_LAST)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use supple_decide::code::Code;
    use supple_decide::recreated::Recreated;
    use supple_decide::round::{Action, Decision, Verdict};
    use supple_resize::predict::Sizes;

    use super::*;
    use crate::carry::Answer;
    use crate::event::Event;
    use crate::world::tests::Stage;

    /// What is remembered of recreations after one was decided, sent and answered like this.
    fn remembered(what: What, before: Option<Recreated>, answer: Answer) -> Option<Recreated> {
        let mut stage = Stage::at_work();
        stage.round();
        let (pod, workload) = {
            let pod = stage.world.scene().pods.values().next().unwrap();
            (pod.key.clone(), pod.workload.clone())
        };
        let waits = Some("2026-01-19T00:00:00Z".parse().unwrap());
        let known = Record { recreated: before, no_room_since: waits, ..Record::default() };
        stage.world.take_over_record(&workload, known);
        let action = Action {
            pod,
            workload: workload.clone(),
            what,
            code: Code::Evict,
            why: "it wants more".to_owned(),
            cannot_wait: false,
        };
        let Some(crate::event::Effect::Carry(order)) = stage.world.send(action) else { panic!("it is sent") };
        let decided = Recreated { at: stage.now, sizes: [].into(), otherwise: None };
        let now = Some(stage.now);
        let known = Record { recreated: Some(decided), no_room_since: now, ..Record::default() };
        stage.world.take_over_record(&workload, known);
        let is_undone = !matches!(answer, Answer::Accepted { .. } | Answer::Failed(_));
        stage.tell(Event::Answered(order, answer));
        let record = &stage.world.records[&workload];
        assert_eq!(record.no_room_since, if is_undone { waits } else { now }, "it goes on waiting for room");
        record.recreated.clone()
    }

    #[test]
    fn a_recreation_that_was_refused_was_none() {
        let at = "2026-01-20T00:00:00Z".parse().unwrap();
        let before = || Some(Recreated { at, sizes: [].into(), otherwise: Some(false) });
        let no = || "no".to_owned();
        for what in [What::Evict, What::RollOut] {
            for before in [None, before()] {
                for not_made in [Answer::Refused, Answer::Overtaken, Answer::Blocked, Answer::Busy] {
                    assert_eq!(remembered(what.clone(), before.clone(), not_made(no())), before);
                }
                // One that was taken stands; and where an answer was lost, it may have been.
                for made in [Answer::Accepted { generation: None }, Answer::Failed(no())] {
                    assert_eq!(remembered(what.clone(), before.clone(), made).unwrap().otherwise, None);
                }
            }
        }
    }

    /// A stage at work, and a raise of memory to so many mebibytes that cannot wait, as it is sent.
    fn raise(stage: &mut Stage, mib: i64) -> Box<Order> {
        let pod = stage.world.scene().pods.values().next().unwrap();
        let memory_request = format!("{mib}Mi").parse().ok();
        let action = Action {
            pod: pod.key.clone(),
            workload: pod.workload.clone(),
            what: What::Resize(Change::of_container("app", Sizes { memory_request, ..Sizes::default() })),
            code: Code::Resize,
            why: "it cannot wait".to_owned(),
            cannot_wait: true,
        };
        let Some(crate::event::Effect::Carry(order)) = stage.world.send(action) else { panic!("it is sent") };
        order
    }

    #[test]
    fn a_refusal_is_waited_for_longer_each_time_and_sets_back_once() {
        let mut stage = Stage::at_work();
        stage.round();
        let workload = stage.world.scene().workloads.keys().next().unwrap().clone();
        let refuse = |stage: &mut Stage, mib| {
            let order = raise(stage, mib);
            let pod = order.action.pod.clone();
            let told = stage.tell(Event::Answered(order, Answer::Refused("no".to_owned())));
            let gist = told.iter().find_map(|it| match it {
                crate::event::Effect::Tell(told, _) => Some(told.gist.clone()),
                _ => None,
            });
            let wait = stage.world.scene().refused[&pod].until.duration_since(stage.now).as_mins();
            let record = &stage.world.records[&workload];
            (wait, record.setbacks, gist.flatten())
        };
        let gist = || Some("no (memory by plan)".to_owned());
        // The pod has one gibibyte. What asks for more, or hardly less, is the same; the words do not change with the hour.
        for (mib, wait) in [(2048, 1), (2048, 2), (2200, 4), (2000, 8), (3000, 16), (3000, 32), (3000, 60), (3000, 60)]
        {
            assert_eq!(refuse(&mut stage, mib), (wait, 1, gist()), "{mib}");
            stage.now += SignedDuration::from_mins(2);
        }
        assert_eq!(refuse(&mut stage, 1500), (1, 1, gist()), "it is another, while it is set back already");
        stage.now += SignedDuration::from_hours(25);
        assert_eq!(refuse(&mut stage, 1500), (2, 1, None), "the same, though later");
        assert_eq!(refuse(&mut stage, 1200), (1, 2, gist()), "another");
        let accepted = Event::Answered(raise(&mut stage, 1100), Answer::Accepted { generation: Some(2) });
        stage.tell(accepted);
        assert!(stage.world.scene().refused.is_empty());
    }

    #[test]
    fn a_recreation_that_the_server_fails_at_is_asked_for_less_and_less_often_and_told_once_an_hour() {
        for (what, said) in [(What::Evict, "did not evict web at"), (What::RollOut, "did not restart the workload at")]
        {
            let mut stage = Stage::at_work();
            stage.round();
            let mut order = raise(&mut stage, 2048);
            let (pod, workload) = (order.action.pod.clone(), order.action.workload.clone());
            let fail = |stage: &mut Stage, order: &Order| {
                let told =
                    stage.tell(Event::Answered(Box::new(order.clone()), Answer::Failed("two budgets".to_owned())));
                assert!(told.is_empty(), "{told:?}");
                stage.world.scene().refused.get(&pod).map(|it| (it.code, it.until.duration_since(stage.now).as_mins()))
            };
            assert_eq!(fail(&mut stage, &order), None, "sizes are found again on the pod");
            order.action.what = what;
            for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
                assert_eq!(fail(&mut stage, &order), Some((Code::NoAnswer, wait)));
            }
            assert!(stage.world.records.get(&workload).is_none_or(|it| it.setbacks == 0), "it may pass by itself");
            let message = stage.world.scene().refused[&pod].message.clone();
            assert!(message.contains(said) && message.ends_with(": two budgets"), "{message}");
            // As the next round decides, and the ones after it.
            let Decision { verdict, .. } = stage.world.decisions().values().next().unwrap().clone();
            let verdict = Verdict { code: Code::NoAnswer, message: message.clone(), ..Verdict::clone(&verdict) };
            let decision = Decision { pod: pod.clone(), verdict: Arc::new(verdict) };
            let now = stage.now;
            let mut told =
                |minutes| match stage.world.tell_obstacle(&decision, now + SignedDuration::from_mins(minutes)) {
                    Some(crate::event::Effect::Tell(told, _)) => Some((told.code, told.message)),
                    Some(other) => panic!("{other:?}"),
                    None => None,
                };
            assert_eq!((told(0), told(1), told(59)), (Some((Code::NoAnswer, message.clone())), None, None));
            assert_eq!(told(60), Some((Code::NoAnswer, message)));
        }
    }

    #[test]
    fn what_a_disruption_budget_blocks_sets_nothing_back_and_is_tried_again_soon() {
        let mut stage = Stage::at_work();
        stage.round();
        let order = raise(&mut stage, 2048);
        let (pod, workload) = (order.action.pod.clone(), order.action.workload.clone());
        for _ in 0..3 {
            let told = stage.tell(Event::Answered(order.clone(), Answer::Blocked("later".to_owned())));
            assert!(told.is_empty(), "{told:?}");
            let blocked = &stage.world.scene().refused[&pod];
            assert_eq!((blocked.code, blocked.until), (Code::DisruptionBudget, stage.now + ASKED_AGAIN));
        }
        assert!(stage.world.records.get(&workload).is_none_or(|it| it.setbacks == 0));
    }
}
