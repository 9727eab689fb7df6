//! Whose record of a workload counts. Who leads has the last word, and writes it down; all others follow what is written. Only what
//! was remembered here by one that led, and has not been seen to stand in the cluster, is put together with it: once, because what is written
//! after that is by one who has led since. For how long pods have waited for room is only ever what is written: a wait that ended while
//! another led would go on, and after days of waiting a pod is evicted.

use std::collections::BTreeMap;
use std::sync::Arc;

use supple_decide::key::WorkloadKey;
use supple_decide::record::Record;

use super::World;

/// What was remembered here and does not stand in the cluster yet, as far as we have seen.
#[derive(Debug, Default)]
pub(super) struct Unseen(BTreeMap<WorkloadKey, Missing>);

/// Where what was remembered of a workload is.
#[derive(Debug)]
enum Missing {
    /// It has not been sent.
    Remembered,
    /// It was sent last in these words.
    Sent(Record),
    /// It has been put together with this, which is another's.
    Beside(Arc<Record>),
}

impl Unseen {
    /// Something new is remembered: how it was sent before is no longer all of it.
    fn remembered(&mut self, workload: &WorkloadKey) {
        self.0.insert(workload.clone(), Missing::Remembered);
    }

    /// What is remembered is sent, in these words.
    pub(super) fn sent(&mut self, workload: &WorkloadKey, record: impl FnOnce() -> Record) {
        if let Some(missing) = self.0.get_mut(workload) {
            *missing = Missing::Sent(record());
        }
    }

    /// This stands in the cluster; whether something of ours is still missing there. An answer is not waited for: a watch may be behind it,
    /// and what it then tells is older than what we wrote.
    pub(super) fn is_missing_in(&mut self, workload: &WorkloadKey, written: &Record) -> bool {
        let is_there = |it: &Missing| match it {
            Missing::Remembered => false,
            Missing::Sent(sent) => sent == written,
            Missing::Beside(other) => **other != *written,
        };
        if self.0.get(workload).is_some_and(is_there) {
            self.0.remove(workload);
        }
        self.0.contains_key(workload)
    }

    /// What is missing has been put together with this.
    fn put_beside(&mut self, workload: &WorkloadKey, written: &Arc<Record>) {
        if let Some(missing) = self.0.get_mut(workload) {
            *missing = Missing::Beside(written.clone());
        }
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
                    Some(own) => together(written, own),
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
        let own = self.records.get(workload);
        if self.leading || own.is_some_and(|it| it == written) || !self.kept.has_seen(workload) {
            return;
        }
        let record = match own.filter(|_| is_missing) {
            Some(own) => together(written, own.clone()),
            None => written.clone(),
        };
        self.unseen.put_beside(workload, written);
        self.take_record(workload, record);
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

/// What is written, and what is missing there of what was remembered here.
fn together(written: &Arc<Record>, own: Arc<Record>) -> Arc<Record> {
    let own = Record { no_room_since: None, ..Arc::unwrap_or_clone(own) };
    Arc::new(Record::clone(written).merged(own))
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
    fn who_could_not_write_follows_the_next_leader_and_waits_for_room_only_as_long_as_is_written() {
        let mut stage = standby(&record(0, false));
        stage.tell(Event::Leading(true));
        stage.round();
        let workload = workload(&stage);
        stage.world.take_over_record(&workload, record(2, true));
        stage.tell(Event::Leading(false));
        stands(&mut stage, &record(1, false));
        assert_eq!(known(&stage), (2, false), "what the next leader does not know is put beside what it wrote");
        stands(&mut stage, &record(1, false));
        assert_eq!(known(&stage), (2, false), "told again");
        stands(&mut stage, &record(0, true));
        assert_eq!(known(&stage), (0, true), "it has led since");
        stands(&mut stage, &record(0, false));
        stage.tell(Event::Leading(true));
        stage.round();
        assert_eq!(known(&stage), (0, false), "weeks later");
    }

    #[test]
    fn what_could_not_be_written_is_not_forgotten_and_what_was_is_the_next_leaders() {
        check(Ok(()), true, (0, false));
        check(Err("no answer".to_owned()), true, (0, false)); // it was done all the same
        check(Err("another replica leads".to_owned()), false, (2, false)); // but for the wait, which may be over
        check(Ok(()), false, (2, false)); // it is not seen yet: what is told may be older
    }
}
