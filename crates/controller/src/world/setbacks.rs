//! What is remembered of what was asked for and came to nothing: a pause after a refusal, and no recreation where there was none.

use std::sync::Arc;

use jiff::Timestamp;
use supple_decide::key::WorkloadKey;
use supple_decide::record::Record;
use supple_decide::round::What;

use super::World;
use crate::carry::Order;

impl World {
    /// A refusal: longer and longer pauses before the workload is tried again.
    pub(super) fn set_back(&mut self, workload: &WorkloadKey, now: Timestamp) {
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

    pub(super) fn take_over_record(&mut self, workload: &WorkloadKey, record: Record) {
        let record = Arc::new(record);
        if let Some(subject) = self.view.scene.workloads.get_mut(workload) {
            subject.record = record.clone();
        }
        self.records.insert(workload.clone(), record);
        self.outbox.remembered(workload);
    }
}

#[cfg(test)]
mod tests {
    use supple_decide::code::Code;
    use supple_decide::recreated::Recreated;
    use supple_decide::round::Action;

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
        let is_undone = matches!(answer, Answer::Refused(_) | Answer::Overtaken(_));
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
                assert_eq!(remembered(what.clone(), before.clone(), Answer::Refused(no())), before);
                assert_eq!(remembered(what.clone(), before.clone(), Answer::Overtaken(no())), before);
                // One that was taken stands; and where an answer was lost, it may have been.
                for made in [Answer::Accepted { generation: None }, Answer::Failed(no())] {
                    assert_eq!(remembered(what.clone(), before.clone(), made).unwrap().otherwise, None);
                }
            }
        }
    }
}
