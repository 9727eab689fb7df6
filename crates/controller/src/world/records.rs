//! Whose record of a workload counts. Who leads has the last word, and writes it down; all others follow what is written. Only what
//! was remembered here by one that led, and has not been seen to stand in the cluster, is put together with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use supple_decide::key::WorkloadKey;
use supple_decide::record::Record;

use super::World;

/// What was remembered here and does not stand in the cluster yet, as far as we have seen; with it, how it was sent last.
#[derive(Debug, Default)]
pub(super) struct Unseen(BTreeMap<WorkloadKey, Option<Record>>);

impl Unseen {
    /// Something new is remembered: how it was sent before is no longer all of it.
    fn remembered(&mut self, workload: &WorkloadKey) {
        self.0.insert(workload.clone(), None);
    }

    /// What is remembered is sent, in these words.
    pub(super) fn sent(&mut self, workload: &WorkloadKey, record: impl FnOnce() -> Record) {
        if let Some(sent) = self.0.get_mut(workload) {
            *sent = Some(record());
        }
    }

    /// This stands in the cluster; whether something of ours is still missing there. An answer is not waited for: a watch may be behind it,
    /// and what it then tells is older than what we wrote.
    pub(super) fn is_missing_in(&mut self, workload: &WorkloadKey, written: &Record) -> bool {
        if self.0.get(workload).is_some_and(|it| it.as_ref() == Some(written)) {
            self.0.remove(workload);
        }
        self.0.contains_key(workload)
    }

    /// Workloads that are gone take it along.
    pub(super) fn retain(&mut self, is_there: impl Fn(&WorkloadKey) -> bool) {
        self.0.retain(|it, _| is_there(it));
    }
}

impl World {
    /// Who begins to lead goes on from what the one before wrote down.
    pub(super) fn lead(&mut self, leading: bool) {
        if leading && !self.leading {
            for (workload, written) in self.rules.records() {
                let is_missing = self.unseen.is_missing_in(workload, written);
                let own = self.records.remove(workload).filter(|_| is_missing);
                let record = match own {
                    Some(own) => Arc::new(Record::clone(written).merged(Arc::unwrap_or_clone(own))),
                    None => written.clone(),
                };
                self.records.insert(workload.clone(), record);
            }
            self.view.all_dirty();
            self.heard.again();
            self.outbox.lead();
        }
        self.leading = leading;
    }

    /// This is written of a workload. Who does not lead takes it as it is: what is decided here meanwhile, of new pods above all, rests
    /// on what the leader knows.
    pub(super) fn follow(&mut self, workload: &WorkloadKey, written: &Arc<Record>) {
        let is_missing = self.unseen.is_missing_in(workload, written);
        let is_known = self.records.get(workload).is_some_and(|it| it == written);
        if !self.leading && !is_missing && !is_known && self.kept.has_seen(workload) {
            self.take_record(workload, written.clone());
        }
    }

    /// What is remembered from now on, and is to be written down.
    pub(super) fn take_over_record(&mut self, workload: &WorkloadKey, record: Record) {
        self.take_record(workload, Arc::new(record));
        self.unseen.remembered(workload);
        self.outbox.remembered(workload);
    }

    fn take_record(&mut self, workload: &WorkloadKey, record: Arc<Record>) {
        if let Some(subject) = self.view.scene.workloads.get_mut(workload) {
            subject.record = record.clone();
        }
        self.records.insert(workload.clone(), record);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use kube::runtime::watcher;
    use supple_api::Rightsizing;
    use supple_api::rightsizing::{RecordStatus, RightsizingStatus};

    use super::*;
    use crate::event::{Effect, Event};
    use crate::rules::RuleNews;
    use crate::world::tests::Stage;

    const WAITED: &str = "2026-01-19T00:00:00Z";

    /// What stands in the cluster: so many setbacks, and whether it has waited for room for days.
    fn record(setbacks: u32, waits: bool) -> Record {
        let no_room_since: Option<Timestamp> = waits.then(|| WAITED.parse().unwrap());
        Record { setbacks, no_room_since, ..Record::default() }
    }

    fn workload(stage: &Stage) -> WorkloadKey {
        stage.world.scene().workloads.keys().next().unwrap().clone()
    }

    fn stands(stage: &mut Stage, record: &Record) {
        let mut object = Rightsizing::of_workload(&stage.world.scene().workloads.values().next().unwrap().facts);
        object.status = Some(RightsizingStatus { record: Some(RecordStatus::from(record)), ..Default::default() });
        stage.tell(Event::Rules(Box::new(RuleNews::Rightsizing(watcher::Event::Apply(object)))));
    }

    fn known(stage: &Stage) -> (u32, bool) {
        let workload = workload(stage);
        let record = &stage.world.records[&workload];
        assert_eq!(stage.world.scene().workloads[&workload].record, *record, "and so it is decided");
        (record.setbacks, record.no_room_since.is_some())
    }

    /// One that stands by, and saw this when it began.
    fn standby(first: &Record) -> Stage {
        let mut stage = Stage::at_work();
        stage.tell(Event::Leading(false));
        stage.round();
        stands(&mut stage, first);
        stage.round();
        stage
    }

    #[test]
    fn who_takes_over_goes_on_from_what_was_written_last_and_not_from_what_it_saw_when_it_began() {
        let mut stage = standby(&record(3, true));
        assert_eq!(known(&stage), (3, true));
        stands(&mut stage, &record(0, false));
        assert_eq!(known(&stage), (0, false), "it follows while it stands by");
        stage.tell(Event::Leading(true));
        stage.round();
        assert_eq!(known(&stage), (0, false), "the leader's wait was over days ago");
    }

    /// Sent, answered like this, and seen in the cluster or not, before another led who had forgotten all of it.
    #[track_caller]
    fn check(answered: Result<(), String>, seen: bool, expect: (u32, bool)) {
        let mut stage = standby(&record(0, false));
        stage.tell(Event::Leading(true));
        stage.round();
        let workload = workload(&stage);
        stage.tell(Event::Wrote(workload.clone(), Ok(())));
        stage.world.take_over_record(&workload, record(2, true));
        let sent = stage.tell(Event::Tick).into_iter().find_map(|it| match it {
            Effect::Write(written) => Some(written),
            _ => None,
        });
        let sent = Record::from(sent.unwrap().status.record.as_ref().unwrap());
        assert_eq!(sent.setbacks, 2);
        stage.tell(Event::Wrote(workload.clone(), answered));
        if seen {
            stands(&mut stage, &sent);
        }
        stage.tell(Event::Leading(false));
        stands(&mut stage, &record(0, false));
        stage.tell(Event::Leading(true));
        let record = &stage.world.records[&workload];
        assert_eq!((record.setbacks, record.no_room_since.is_some()), expect);
    }

    #[test]
    fn what_could_not_be_written_is_not_forgotten_and_what_was_is_the_next_leaders() {
        check(Ok(()), true, (0, false));
        check(Err("no answer".to_owned()), true, (0, false)); // it was done all the same
        check(Err("another replica leads".to_owned()), false, (2, true));
        check(Ok(()), false, (2, true)); // it is not seen yet: what is told may be older
    }
}
