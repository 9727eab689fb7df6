//! What is written to the cluster about each workload, and when: first what must not be forgotten, by and by what may come later,
//! and never more in a second than the API server was promised, but for the last words before an end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use supple_api::Rightsizing;
use supple_api::record::MOST_BYTES;
use supple_api::rightsizing::{Decision as Decided, PodCounts, RecordStatus, RightsizingStatus, Sizes};
use supple_decide::code::Code;
use supple_decide::few::Few;
use supple_decide::key::WorkloadKey;
use supple_decide::need::Need;
use supple_decide::progress::Progress;
use supple_decide::record::Record;
use supple_decide::round::Decision;
use supple_decide::scene::Subject;

use super::World;
use super::conditions::conditions;
use crate::event::{Effect, Told, Written};

/// What was learned is saved at least this often; a process that is killed forgets no more than that.
const SAVE_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// A recommendation that moved by less than this share, in percent, is not worth a write of its own.
const WORTH_WRITING_PERCENT: i64 = 5;

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// First: something was done or remembered that a successor must know.
    urgent: BTreeSet<WorkloadKey>,
    /// Soon: what people read has changed.
    changed: BTreeSet<WorkloadKey>,
    /// On its way; not sent again before it is answered.
    sent: BTreeSet<WorkloadKey>,
    /// When each was last written.
    written: BTreeMap<WorkloadKey, Timestamp>,
    /// The code that each had when last decided, and since when.
    codes: BTreeMap<WorkloadKey, (Code, Timestamp)>,
    /// What each was barred by then.
    barred: BTreeMap<WorkloadKey, Code>,
    /// Decided while another led, whose audit file is not ours.
    untold: BTreeSet<WorkloadKey>,
    /// Calls that may be made, in thousandths, as of a moment.
    allowed: Option<(Timestamp, i128)>,
}

impl Outbox {
    pub(super) fn remembered(&mut self, workload: &WorkloadKey) {
        self.urgent.insert(workload.clone());
    }

    /// What its containers need is otherwise than it was.
    pub(super) fn needed(&mut self, workload: &WorkloadKey, before: &Few<Arc<str>, Need>, now: &Few<Arc<str>, Need>) {
        let differs = now.iter().any(|(name, now)| {
            let Some(before) = before.get(name) else { return true };
            let cpu = |it: &Need| it.cpu.as_ref().map(|it| it.target.0);
            let memory = |it: &Need| it.memory.as_ref().map(|it| it.target.0);
            moved(cpu(before), cpu(now)) || moved(memory(before), memory(now))
        });
        if differs {
            self.changed.insert(workload.clone());
        }
    }

    /// What was decided about it and bars it, which people read.
    pub(super) fn decided(&mut self, workload: &WorkloadKey, code: Code, barred: Option<Code>, now: Timestamp) {
        let before = match barred {
            Some(code) if self.barred.get(workload) == Some(&code) => barred,
            Some(code) => self.barred.insert(workload.clone(), code),
            None => self.barred.remove(workload),
        };
        if before != barred {
            self.changed.insert(workload.clone());
        }
        if self.codes.get(workload).is_none_or(|(before, _)| *before != code) {
            self.codes.insert(workload.clone(), (code, now));
            self.changed.insert(workload.clone());
        }
    }

    /// What goes on unchanged when we begin to lead is news to our audit file.
    pub(super) fn lead(&mut self) {
        self.untold = self.codes.keys().cloned().collect();
    }

    /// What is urgent and not on its way.
    fn unsent(&self) -> Vec<WorkloadKey> {
        self.urgent.iter().filter(|it| !self.sent.contains(*it)).cloned().collect()
    }

    fn forget(&mut self, is_there: impl Fn(&WorkloadKey) -> bool) {
        self.urgent.retain(|it| is_there(it));
        self.changed.retain(|it| is_there(it));
        self.written.retain(|it, _| is_there(it));
        self.codes.retain(|it, _| is_there(it));
        self.barred.retain(|it, _| is_there(it));
        self.untold.retain(|it| is_there(it));
    }

    /// How many calls may be made now. What is not used is not saved up for more than a few seconds.
    fn allowance(&mut self, now: Timestamp, per_second: u32) -> usize {
        const SAVED_UP: i128 = 15_000;
        let per_second = i128::from(per_second);
        let (at, left) = self.allowed.unwrap_or((now, 1000 * per_second));
        let since = now.duration_since(at).as_millis().clamp(0, SAVED_UP);
        let left = (left + since * per_second).min(SAVED_UP * per_second);
        self.allowed = Some((now, left));
        usize::try_from(left / 1000).unwrap_or_default()
    }

    /// So many are made. What is sent together may be a call or two more than there was room for; it is missing then.
    fn spend(&mut self, calls: usize) {
        if let Some((_, left)) = &mut self.allowed {
            *left -= i128::try_from(calls).unwrap_or(i128::MAX / 1000) * 1000;
        }
    }
}

/// How many calls a write is: the object, where it has to be made first, and its status.
const fn calls_of(effect: &Effect) -> usize {
    match effect {
        Effect::Write(written) if written.create => 2,
        Effect::Write(_) | Effect::WriteVpa(_) | Effect::WritePolicy(_) => 1,
        _ => 0,
    }
}

fn moved(before: Option<i64>, now: Option<i64>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => {
            let difference = (i128::from(now) - i128::from(before)).abs();
            difference * 100 > i128::from(before.abs()) * i128::from(WORTH_WRITING_PERCENT)
        }
        (before, now) => before != now,
    }
}

impl World {
    /// What may be written now, the most important first.
    pub(super) fn writes(&mut self, now: Timestamp) -> Vec<Effect> {
        if !self.leading || !self.is_complete() {
            return Vec::new();
        }
        let mut allowance = self.outbox.allowance(now, self.settings.writes_per_second);
        // Policies are few, and whoever has just written one looks at it; still they must not crowd out what was learned.
        let policies = self.policy_writes(now, allowance.div_ceil(4));
        allowance = allowance.saturating_sub(policies.len());
        let autoscalers = self.unheard_autoscalers(now, allowance.div_ceil(4));
        allowance = allowance.saturating_sub(autoscalers.len());
        let there = &self.view.scene.workloads;
        self.outbox.forget(|it| there.contains_key(it));
        self.unseen.retain(|it| there.contains_key(it));
        let is_due = |it: &&WorkloadKey| {
            self.outbox.written.get(*it).is_none_or(|at| now.duration_since(*at).abs() >= SAVE_EVERY)
        };
        let unsaved = self.history.unsaved().filter(is_due);
        let candidates = self.outbox.urgent.iter().chain(&self.outbox.changed).chain(unsaved);
        let mut chosen: Vec<WorkloadKey> = Vec::new();
        let (mut seen, mut calls) = (BTreeSet::new(), 0);
        for workload in candidates {
            if calls >= allowance {
                break;
            }
            if !self.outbox.sent.contains(workload) && there.contains_key(workload) && seen.insert(workload) {
                chosen.push(workload.clone());
                // The object, where it has to be made first, and its status.
                calls += if self.is_made(workload) { 1 } else { 2 };
            }
        }
        let workloads: Vec<Effect> = chosen.into_iter().flat_map(|it| self.write(&it, now)).collect();
        let effects: Vec<Effect> = policies.into_iter().chain(autoscalers).chain(workloads).collect();
        self.outbox.spend(effects.iter().map(calls_of).sum());
        effects
    }

    /// For the audit file: what is made of a workload, where that is another thing than before and is told nobody else. What is
    /// done is told when it has been answered.
    pub(super) fn audit(&mut self, workload: &WorkloadKey, now: Timestamp) -> Option<Effect> {
        if !self.leading || !self.settings.audits {
            return None;
        }
        let is_untold = self.outbox.untold.remove(workload);
        let decision = self.decision_of(workload)?;
        let (code, message) = (&decision.code, &decision.message);
        let is_news = is_untold || self.outbox.codes.get(workload).is_none_or(|(before, _)| before != code);
        let is_told = self.told.get(&(workload.clone(), *code)) == Some(&now);
        let is_done = matches!(code, Code::Resize | Code::RollBack | Code::Evict | Code::RollOut | Code::AdjustScaler);
        (is_news && !is_told && !is_done).then(|| {
            Effect::Audit(Told {
                at: now,
                code: *code,
                pod: None,
                workload: workload.clone(),
                message: message.clone(),
                gist: None,
            })
        })
    }

    /// What need not wait for the next tick: records, as many as may be; the rest is for the next round, or the next tick.
    pub(super) fn urgent_writes(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut left = self.outbox.allowance(now, self.settings.writes_per_second);
        let mut effects = Vec::new();
        for workload in self.outbox.unsent() {
            if left == 0 {
                break;
            }
            let written = self.write(&workload, now);
            let made = written.iter().map(calls_of).sum();
            left = left.saturating_sub(made);
            self.outbox.spend(made);
            effects.extend(written);
        }
        effects
    }

    /// What a successor must know, all of it: there is no next second in which it could be written.
    pub(super) fn last_writes(&mut self, now: Timestamp) -> Vec<Effect> {
        self.outbox.unsent().into_iter().flat_map(|it| self.write(&it, now)).collect()
    }

    pub(super) fn wrote(&mut self, workload: &WorkloadKey, result: Result<(), String>) {
        self.outbox.sent.remove(workload);
        if let Err(why) = result {
            tracing::debug!(%workload, why, "cannot write its Rightsizing; will retry");
            self.outbox.written.remove(workload);
            self.outbox.changed.insert(workload.clone());
        }
    }

    fn write(&mut self, workload: &WorkloadKey, now: Timestamp) -> Vec<Effect> {
        self.outbox.urgent.remove(workload);
        self.outbox.changed.remove(workload);
        self.outbox.written.insert(workload.clone(), now);
        let Some(subject) = self.view.scene.workloads.get(workload) else { return Vec::new() };
        let mut effects = Vec::new();
        // Made anew for a workload that is on its way out it would stand there for ever: its owner may be gone already.
        let ends = || self.pods_of(workload).all(|it| it.deleting);
        if self.rules.available().ours && (self.rules.is_written(workload) || !ends()) {
            let history = self.history.save(workload);
            let generation = self.rules.generation(workload);
            let conditions = conditions(
                self.decision_of(workload),
                self.view.scene.barred(subject, now),
                &self.rules.since(workload),
                generation,
                now,
            );
            let engine = base64::engine::general_purpose::STANDARD;
            let mut status = RightsizingStatus {
                observed_generation: generation,
                recommendation: RightsizingStatus::recommendation_of(&subject.needs),
                decision: self.decided(workload, subject, now),
                sizes: self.sizes(workload),
                pods: Some(self.counts(workload)),
                record: Some(RecordStatus::from(&*subject.record)),
                history: history.iter().map(|(name, it)| (name.to_string(), engine.encode(it))).collect(),
                conditions,
            };
            status.shed(MOST_BYTES);
            let mut object = Rightsizing::of_workload(&subject.facts);
            if let Some(version) = self.rules.unowned(workload) {
                version.clone_into(&mut object.spec.workload_ref.api_version); // what it is about cannot be written otherwise
            }
            self.unseen.sent(workload, || status.record.as_ref().map(Record::from).unwrap_or_default());
            self.outbox.sent.insert(workload.clone());
            effects.push(Effect::Write(Box::new(Written {
                workload: workload.clone(),
                object,
                status,
                create: !self.is_made(workload),
            })));
        }
        effects.extend(self.write_autoscaler(workload, now));
        effects
    }

    /// Whether its `Rightsizing` is there, with the owner that it is to go with: one that was made before its owner was known has none.
    fn is_made(&self, workload: &WorkloadKey) -> bool {
        let has_owner = || self.view.scene.workloads.get(workload).is_some_and(|it| !it.facts.uid.is_empty());
        self.rules.is_written(workload) && (self.rules.unowned(workload).is_none() || !has_owner())
    }

    /// One decision for the workload: of its pods, the one that somebody would have to do something about; else the first.
    pub(super) fn decision_of(&self, workload: &WorkloadKey) -> Option<&Decision> {
        let decisions = self.view.members(workload).filter_map(|it| self.decisions.get(it));
        decisions.max_by_key(|it| (rank(it.code), std::cmp::Reverse(&it.pod)))
    }

    fn decided(&self, workload: &WorkloadKey, subject: &Subject, now: Timestamp) -> Option<Decided> {
        let decision = self.decision_of(workload)?;
        let message = match decision.code {
            Code::BackOff => decision.message.clone(),
            _ => self.paused(workload, decision.message.clone(), now),
        };
        let since = self.outbox.codes.get(workload).map_or(now, |(_, since)| *since);
        Some(Decided {
            code: decision.code.as_str().to_owned(),
            message,
            mode: format!("{:?}", subject.policy.mode.value),
            again: decision.again,
            since: Some(since),
        })
    }

    /// A sentence about a workload, and behind it until when nothing that can wait is tried after setbacks, where that is so.
    pub(super) fn paused(&self, workload: &WorkloadKey, said: String, now: Timestamp) -> String {
        match self.records.get(workload).and_then(|it| it.pause(now)) {
            Some((_, pause)) => format!("{said}; {pause}"),
            None => said,
        }
    }

    fn counts(&self, workload: &WorkloadKey) -> PodCounts {
        let mut counts = PodCounts::default();
        for key in self.view.members(workload) {
            let Some(pod) = self.view.scene.pods.get(key) else { continue };
            counts.total += 1;
            match &pod.progress {
                Progress::Underway | Progress::Failing(_) => counts.under_way += 1,
                Progress::Deferred(_) => counts.deferred += 1,
                Progress::Infeasible(_) => counts.infeasible += 1,
                Progress::Settled | Progress::Ended => {}
            }
            let fits = |it: &Decision| it.containers.iter().all(|it| it.next == it.now);
            counts.fitting += i32::from(self.decisions.get(key).is_some_and(fits));
        }
        counts
    }

    /// What a pod asks for and is to ask for, of the first pod of which that differs.
    fn sizes(&self, workload: &WorkloadKey) -> Option<Sizes> {
        let mut decisions = self.view.members(workload).filter_map(|it| self.decisions.get(it)).peekable();
        let first = *decisions.peek()?;
        let decision = decisions.find(|it| it.containers.iter().any(|it| it.next != it.now)).unwrap_or(first);
        let (now, next): (Vec<_>, Vec<_>) = decision.containers.iter().map(|it| (it.now, it.next)).unzip();
        Some(Sizes::of(&now, &next))
    }
}

/// What a person should be shown first of several pods.
fn rank(code: Code) -> u8 {
    match code {
        Code::Fits => 0,
        Code::ModeOff | Code::ModeInitial | Code::ProtectedNamespace | Code::NotWorthIt => 1,
        Code::Resize | Code::Resized | Code::InProgress | Code::Settling | Code::CanarySettling | Code::CoolDown => 2,
        _ => 3,
    }
}
