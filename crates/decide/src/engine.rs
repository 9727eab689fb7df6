//! From a scene to a round.
//!
//! ```text
//! every pod:       numbers ([`crate::size`]) ─▶ checks in order ─▶ draft
//! every workload:  harm, what has settled ([`crate::settle`]); its scaler ([`crate::scaler`])
//! the cluster:     drafts that would act, in order ─▶ quota, room, restart, budget as they stand then ─▶ forecast ─▶ place
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;

use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::{Sight, Team};
use crate::check::{Check, TABLE, When, progress, put, qos, quota, restart, room, settling, valid};
use crate::code::Code;
use crate::facts::{ContainerFacts, PodFacts};
use crate::hand::Hand;
use crate::key::{PodKey, WorkloadKey};
use crate::ledger::{Ledger, Place, Undo};
use crate::numbers::Numbers;
use crate::record::Record;
use crate::round::{Action, Decision, Finding, Outcome, Proposal, Round, Verdict, What};
use crate::scaler::{self, Target};
use crate::scene::{Moment, Scene, Subject};
use crate::{recreated, settle, size};

/// One pod on its way. There are twenty thousand of them, and most are shut before any is given a place.
struct Work<'a> {
    pod: &'a PodFacts,
    team: usize,
    stage: Stage,
}

/// How far one pod has come.
enum Stage {
    /// Something may be done with it; it is drafted again when its turn comes. Of a large cluster nearly every pod that wants something
    /// has to wait in the end, and all their drafts at once were a quarter of what the loop takes.
    Waiting,
    /// Something may be done with it.
    Open(Box<Open>),
    /// Nothing will be.
    Shut {
        verdict: Arc<Verdict>,
        /// It is to have more than it has.
        raises: bool,
        /// It was asked for a place.
        tried: bool,
    },
}

/// A pod with which something may be done.
struct Open {
    draft: Draft,
    what: Option<What>,
    /// It was asked for a place, and which it got.
    tried: bool,
    seat: u32,
}

impl Open {
    fn of(draft: Draft) -> Box<Self> {
        Box::new(Self { draft, what: None, tried: false, seat: 0 })
    }
}

impl Work<'_> {
    fn open(&self) -> Option<&Open> {
        match &self.stage {
            Stage::Open(open) => Some(open),
            Stage::Waiting | Stage::Shut { .. } => None,
        }
    }

    fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.stage {
            Stage::Open(open) => Some(open),
            Stage::Waiting | Stage::Shut { .. } => None,
        }
    }

    /// What is to be done with it, as far as that is known.
    fn what(&self) -> Option<&What> {
        self.open()?.what.as_ref()
    }

    fn acts(&self) -> bool {
        self.open().is_some_and(|it| it.draft.acts())
    }

    /// Nothing more is tried with it in this round: what was found is kept, and what it was found from goes.
    fn shut(&mut self, verdicts: &mut Verdicts) {
        let Stage::Open(open) = &mut self.stage else { return };
        if open.what.is_some() {
            return;
        }
        let tried = open.tried;
        let draft = std::mem::replace(&mut open.draft, Draft::new(Vec::new()));
        let raises = draft.raises();
        self.stage = Stage::Shut { verdict: verdicts.one(describe(self.pod, draft, None)), raises, tried };
    }

    fn is_together(&self) -> bool {
        self.open().is_some_and(|it| it.draft.is_together())
    }
}

/// Verdicts about the pods of one workload: what has been found of one of the last few is not kept a second time.
#[derive(Default)]
struct Verdicts(VecDeque<Arc<Verdict>>);

impl Verdicts {
    /// How many different ones are looked through.
    const MOST: usize = 8;

    fn one(&mut self, verdict: Verdict) -> Arc<Verdict> {
        if let Some(known) = self.0.iter().find(|it| ***it == verdict) {
            return Arc::clone(known);
        }
        let new = Arc::new(verdict);
        self.0.truncate(Self::MOST - 1);
        self.0.push_front(Arc::clone(&new));
        new
    }
}

/// One workload on its way.
struct Group<'a> {
    key: &'a WorkloadKey,
    subject: &'a Subject,
    team: Team<'a>,
    /// What is to be remembered, where that is different.
    record: Option<Record>,
    /// The new target of its scaler: its pods that change do so together.
    target: Option<Target>,
    /// The target its scaler is to have if nothing is done to its pods.
    settled: Option<Target>,
    /// Its pods among all.
    works: Range<usize>,
}

/// Decide. The same scene gives the same round, whatever order it was put together in.
#[must_use]
pub fn decide(scene: &Scene, moment: &Moment<'_>) -> Round {
    let mut pods: BTreeMap<&WorkloadKey, Vec<&PodFacts>> = BTreeMap::new();
    let mut nodes: BTreeSet<&str> = BTreeSet::new();
    for pod in scene.pods.values().filter(|it| moment.only.is_none_or(|only| only.contains(&it.workload))) {
        pods.entry(&pod.workload).or_default().push(pod);
        if moment.only.is_some() {
            nodes.extend(pod.node.as_deref());
        }
    }
    let ledger = Ledger::of(scene, moment.now, moment.only.map(|_| &nodes));
    let judged = scene.workloads.iter().filter(|(key, _)| moment.only.is_none_or(|it| it.contains(*key)));
    // Of a large cluster these are most of what a round takes: they are not grown by doubling.
    let (groups, works) = match moment.only {
        None => (Vec::with_capacity(scene.workloads.len()), Vec::with_capacity(scene.pods.len())),
        Some(_) => (Vec::new(), Vec::new()),
    };
    let mut judging = Judging { scene, now: moment.now, ledger, groups, works, order: Vec::new() };
    for (key, subject) in judged {
        judging.prepare(key, subject, pods.remove(key).unwrap_or_default());
    }
    judging.place();
    judging.conclude()
}

/// A round on its way.
struct Judging<'a> {
    scene: &'a Scene,
    now: Timestamp,
    /// What is left of everything.
    ledger: Ledger<'a>,
    groups: Vec<Group<'a>>,
    works: Vec<Work<'a>>,
    /// The works that would act, and which of them is asked first.
    order: Vec<(Rank<'a>, usize)>,
}

impl<'a> Judging<'a> {
    /// Draft what is to become of each pod of a workload.
    fn prepare(&mut self, key: &'a WorkloadKey, subject: &'a Subject, pods: Vec<&'a PodFacts>) {
        let Self { scene, now, ref ledger, .. } = *self;
        let mut team = Team::of(pods, subject, scene, now);
        let harmed = team.pods.iter().filter_map(|it| Some((&*it.key.name, settle::harm(scene, subject, it, now)?)));
        team.harms = harmed.collect();
        let given_up = team.pods.iter().filter(|it| !team.harms.contains_key(&*it.key.name)).filter_map(|it| {
            let (code, message) = progress::is_given_up(scene, subject, it, now)?;
            Some((*it, code, message))
        });
        let given_up: Vec<_> = given_up.collect();
        let mut record = settle::remember(subject, &team.pods, &team.harms, &given_up, now);
        if let Some(recreated) = recreated::remember(subject, &team.pods, now) {
            record.get_or_insert_with(|| Record::clone(&subject.record)).recreated = recreated;
        }
        let mut drafts: Vec<Draft> = Vec::with_capacity(team.pods.len());
        drafts.extend(team.pods.iter().map(|pod| {
            let uses = scene.uses.get(&pod.key);
            draft(&Sight { scene, subject, team: &team, pod, uses, ledger, now, siblings: None })
        }));
        let target = scaler::adjust(subject, &mut team.pods.iter().copied().zip(&mut drafts).collect::<Vec<_>>());
        let first = self.works.len();
        let mut verdicts = Verdicts::default();
        // What scales them sideways has had its say about all of them together: that is not said again of one.
        let is_alone = subject.facts.scalers.is_empty() && target.is_none();
        for (pod, draft) in team.pods.iter().zip(drafts) {
            if draft.acts() {
                self.order.push((rank(scene, subject, pod, &draft), self.works.len()));
            }
            let stage = if draft.acts() && is_alone {
                Stage::Waiting
            } else if draft.acts() {
                Stage::Open(Open::of(draft))
            } else {
                let raises = draft.raises();
                Stage::Shut { verdict: verdicts.one(describe(pod, draft, None)), raises, tried: false }
            };
            self.works.push(Work { pod, team: self.groups.len(), stage });
        }
        let settled = scaler::settle(scene, subject, &team.pods, now);
        let all = first..self.works.len();
        self.groups.push(Group { key, subject, team, record, target, settled, works: all });
    }

    /// Give places to the drafts that would act, one after the other.
    fn place(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        order.sort_unstable(); // no two are of one pod
        let mut later = Vec::new();
        let mut verdicts: Vec<Verdicts> = Vec::new();
        verdicts.resize_with(self.groups.len(), Verdicts::default);
        let class_of = |it: &(Rank<'_>, usize)| it.0.0;
        let ends = order.iter().rposition(|it| class_of(it) <= Class::Urgent).map_or(0, |it| it + 1);
        let others = order[ends..].iter().position(|it| class_of(it) != Class::Decrease);
        let first_other = others.map_or(order.len(), |it| ends + it);
        for (position, (_, index)) in order.iter().enumerate() {
            if position == first_other {
                // What cannot wait and found no room is tried again with what the decreases gave back, before anything else grows.
                for index in std::mem::take(&mut later) {
                    self.seat(index);
                }
            }
            if matches!(self.works[*index].stage, Stage::Waiting) {
                let Self { scene, now, ref ledger, ref groups, ref works, .. } = *self;
                let Work { pod, team, .. } = works[*index];
                let (group, uses) = (&groups[team], scene.uses.get(&pod.key));
                let subject = group.subject;
                let drafted =
                    draft(&Sight { scene, subject, team: &group.team, pod, uses, ledger, now, siblings: None });
                self.works[*index].stage = Stage::Open(Open::of(drafted));
            }
            let before = self.works[*index].open().filter(|_| position < ends).map(|it| it.draft.clone());
            let seated = self.seat(*index);
            let pod = self.works[*index].pod;
            if let Some((mut before, open)) = before.filter(|_| !seated).zip(self.works[*index].open_mut()) {
                // What its siblings cannot do with it now, it does not do alone either.
                let held = open.draft.findings.iter().rev().find(|it| it.code == Code::HorizontalScaler);
                if let Some(held) = held.filter(|_| before.is_together() && !open.draft.is_together()) {
                    let saying = Saying::delayed(Check::Owner, Code::HorizontalScaler, held.message.clone());
                    scaler::hold(pod, &mut before, &saying);
                }
                open.draft = before;
                later.push(*index);
            } else if !seated && self.groups[self.works[*index].team].target.is_none() {
                let work = &mut self.works[*index];
                work.shut(&mut verdicts[work.team]);
            }
        }
        for index in later {
            self.seat(index);
        }
    }

    /// Give a pod, or all pods that change together with it, its place; whether it got one.
    fn seat(&mut self, index: usize) -> bool {
        if self.works[index].what().is_some() {
            return true; // with its siblings
        }
        let team = self.works[index].team;
        let Some(target) = self.groups[team].target.clone().filter(|_| self.works[index].is_together()) else {
            return self.seat_one(index).is_some();
        };
        let members: Vec<usize> = self.groups[team].works.clone().filter(|it| self.works[*it].is_together()).collect();
        let mut undo = Vec::new();
        let mut short = None;
        for member in &members {
            let Some(before) = self.works[*member].open().map(|it| it.draft.clone()) else { continue };
            let moves = |it: &Draft| {
                it.going()
                    .any(|it| it.next.request != it.now.request && it.resource == supple_resize::amounts::Resource::Cpu)
            };
            let done = self.seat_one(*member);
            let Some(open) = self.works[*member].open_mut() else { continue };
            match done {
                Some(done) => {
                    let kept = moves(&open.draft);
                    undo.push((*member, before, done));
                    if kept {
                        continue;
                    }
                }
                None => open.draft = before,
            }
            short = Some(*member);
            break;
        }
        let Some(short) = short else {
            // Each of them sees to it that the target stands: whichever is carried out first changes it.
            for member in members {
                let Some(open) = self.works[member].open_mut() else { continue };
                if let Some(What::Resize(change)) = open.what.take() {
                    open.what = Some(What::AdjustScaler { target: target.clone(), change });
                }
            }
            return true;
        };
        for (member, before, done) in undo.into_iter().rev() {
            self.ledger.undo(done);
            if let Some(open) = self.works[member].open_mut() {
                (open.draft, open.what) = (before, None);
            }
        }
        let message = format!(
            "{}/{} scales all pods of the workload together, and {} cannot change now: all change together or none",
            target.kind.to_lowercase(),
            target.name,
            self.works[short].pod.key.name
        );
        let saying = Saying::delayed(Check::Owner, Code::HorizontalScaler, message);
        for member in &members {
            let pod = self.works[*member].pod;
            if let Some(open) = self.works[*member].open_mut() {
                scaler::hold(pod, &mut open.draft, &saying);
            }
        }
        // What does not concern the scaler goes on by itself.
        let mut seated = false;
        for member in members {
            let got = self.works[member].acts() && self.seat_one(member).is_some();
            seated |= got && member == index;
        }
        seated
    }

    /// Give one pod its place; what takes it back.
    fn seat_one(&mut self, index: usize) -> Option<Undo<'a>> {
        let Self { scene, now, ref mut ledger, ref groups, ref mut works, .. } = *self;
        let work = &mut works[index];
        let group = &groups[work.team];
        let pod = work.pod;
        let work = work.open_mut()?;
        work.tried = true;
        let uses = scene.uses.get(&pod.key);
        let subject = group.subject;
        let sight = Sight { scene, subject, team: &group.team, pod, uses, ledger, now, siblings: None };
        let asked = |draft: &Draft| {
            let mut draft = draft.clone();
            for (check, when, ask) in TABLE {
                if when == When::Place && draft.acts() {
                    put(check, ask, &sight, &mut draft);
                }
            }
            // What was held after room was looked for may have been what made the room.
            let going = |draft: &Draft| draft.going().count();
            let mut before = usize::MAX;
            while draft.acts() && draft.deed == Deed::Resize && going(&draft) < before {
                before = going(&draft);
                quota::ask(&sight, &mut draft);
                room::ask(&sight, &mut draft);
            }
            draft
        };
        let mut draft = asked(&work.draft);
        let passes = |it: &Draft| (it.only_urgent, it.rationed);
        if passes(&draft) != passes(&work.draft) && work.draft.going().any(|it| it.urgent || it.together) {
            // The budgets let only pass what cannot wait, or changes with all siblings: that need not share the room with the rest.
            (work.draft.only_urgent, work.draft.rationed) = passes(&draft);
            draft = asked(&work.draft);
        }
        // A roll-back is one whole: a part of it would be noted as all of it, and the rest never come about.
        if matches!(draft.deed, Deed::RollBack(_)) && draft.going().count() < draft.parts.len() {
            draft.stopped = true;
        }
        if draft.deed == Deed::Resize {
            size::keep_class(&sight, &mut draft, Draft::goes);
        }
        if draft.acts() && !matches!(draft.deed, Deed::Recreate(_)) {
            valid::foresee(&sight, &mut draft);
        }
        if !draft.acts() {
            draft.stopped = true;
            work.draft = draft;
            return None;
        }
        let recreated = matches!(draft.deed, Deed::Recreate(_));
        let rolls_out = recreated && restart::rolls_out(&sight, draft.deed);
        let disturbs = (recreated && !rolls_out) || draft.going().any(|it| restart::restarts(&sight, it));
        work.what = Some(match draft.deed {
            Deed::Resize => What::Resize(draft.change(pod)),
            Deed::RollBack(_) => What::RollBack(draft.change(pod)),
            Deed::Recreate(_) if rolls_out => What::RollOut,
            Deed::Recreate(_) => What::Evict,
        });
        work.draft = draft;
        let place = Place { resizes: !recreated, disturbs, rolls_out };
        work.seat = ledger.seats;
        Some(ledger.place(scene, pod, &work.draft, place))
    }

    /// Write down what came of it.
    fn conclude(self) -> Round {
        let Self { now: at, ledger, groups, works, .. } = self;
        let mut round = Round::default();
        let mut actions = Vec::new();
        let mut short = vec![false; groups.len()];
        let (mut moved_away, mut unasked) = (vec![false; groups.len()], vec![false; groups.len()]);
        let mut records: Vec<Option<Record>> = Vec::with_capacity(groups.len());
        let mut subjects = Vec::with_capacity(groups.len());
        for group in groups {
            if let Some(action) = settle_scaler(&group, &works) {
                round.actions.push(action);
            }
            records.push(group.record);
            subjects.push((group.key, group.subject));
        }
        round.decisions.reserve(works.len());
        let mut verdicts = (0, Verdicts::default());
        for Work { pod, team, stage } in works {
            let (key, subject) = subjects[team];
            let waits =
                |it: &Finding| matches!(it.code, Code::NoRoom | Code::NodeCapacity) && it.outcome != Outcome::Clamped;
            // While a node is at something, its room may be about to change: nothing follows from it yet.
            let node = pod.node.as_deref().and_then(|it| ledger.node(it));
            let is_quiet = |tried: bool| tried && node.is_none_or(|it| it.under_way == 0);
            let open = match stage {
                Stage::Open(open) => *open,
                Stage::Waiting => continue, // none is left: each had its turn
                Stage::Shut { verdict, raises, tried } => {
                    short[team] |= is_quiet(tried) && verdict.findings.iter().any(waits);
                    unasked[team] |= !is_quiet(tried) && raises;
                    round.decisions.push(Decision { pod: pod.key.clone(), verdict });
                    continue;
                }
            };
            let Open { draft, what, tried, seat } = open;
            let raises = draft.raises();
            let moved = matches!(draft.deed, Deed::Recreate(Code::NoRoom | Code::NodeCapacity)) && what.is_some();
            let cannot_wait = draft.is_urgent();
            let aims = restart::is_for_sizes(draft.deed).then(|| draft.aims(pod)).filter(|_| what.is_some());
            let verdict = describe(pod, draft, what.as_ref());
            short[team] |= is_quiet(tried) && verdict.findings.iter().any(waits);
            unasked[team] |= !is_quiet(tried) && raises;
            moved_away[team] |= moved;
            if let Some(sizes) = aims {
                let record = records[team].get_or_insert_with(|| Record::clone(&subject.record));
                record.recreated = Some(recreated::Recreated { at, sizes, otherwise: None });
            }
            if let Some(what) = what {
                if what.new_change().is_some() {
                    let record = records[team].get_or_insert_with(|| Record::clone(&subject.record));
                    for container in &verdict.containers {
                        let name = &container.container;
                        // What VPA's updater made of it is nobody's original.
                        let template = subject.facts.template.get(name).filter(|_| pod.hand == Hand::Inherited);
                        let original = pod.given(name).or(template.unwrap_or(&container.now)).or(&container.now);
                        if pod.hand == Hand::Free {
                            // It came after those that are remembered: what its creator asked for is the newest word, and of
                            // what has no template here the only one.
                            record.originals.insert(Arc::clone(name), original);
                        } else {
                            record.originals.get_or_insert_with(&**name, || Arc::clone(name), || original);
                        }
                    }
                }
                let harm =
                    verdict.findings.iter().find(|it| it.check == Check::Settling || it.check == Check::Progress);
                let why = match (&what, harm) {
                    // What is put back is told by the action itself.
                    (What::RollBack(_), Some(harm)) => harm.message.clone(),
                    _ => verdict.message.clone(),
                };
                let (pod, workload, code) = (pod.key.clone(), key.clone(), verdict.code);
                let action = Action { pod, workload, what, code, why, cannot_wait };
                actions.push((seat, action));
            }
            if verdicts.0 != team {
                verdicts = (team, Verdicts::default());
            }
            round.decisions.push(Decision { pod: pod.key.clone(), verdict: verdicts.1.one(verdict) });
        }
        actions.sort_by_key(|it| it.0);
        round.actions.extend(actions.into_iter().map(|it| it.1));
        round.decisions.sort_unstable_by(|a, b| a.pod.cmp(&b.pod)); // no two are of one pod
        for (index, record) in records.into_iter().enumerate() {
            let (key, subject) = subjects[index];
            let since = subject.record.no_room_since;
            // One pod has been let go elsewhere: whether that helps has to be seen before the next one is.
            let since_now = if moved_away[index] { at } else { since.unwrap_or(at) };
            // A pod that is busy with something else may be short of room all the same: the clock goes on.
            let now = if short[index] { Some(since_now) } else { since.filter(|_| unasked[index]) };
            let record = match record {
                None if now == since => continue,
                record => Record { no_room_since: now, ..record.unwrap_or_else(|| Record::clone(&subject.record)) },
            };
            if record != *subject.record {
                round.records.insert(key.clone(), record);
            }
        }
        round
    }
}

/// The numbers of a pod, and what every check that needs nobody else has to say.
fn draft(sight: &Sight<'_>) -> Draft {
    let mut draft = size::propose(sight);
    qos::nothing_requested(sight, &mut draft);
    settling::convert(sight, &mut draft);
    progress::convert(sight, &mut draft);
    for (check, when, ask) in TABLE {
        if when == When::Always || (when == When::Change && draft.has_change()) {
            put(check, ask, sight, &mut draft);
        }
    }
    if draft.has_change() && !draft.acts() {
        // It will not act; still it is said what else stands in its way, as things are at the beginning of the round.
        for (check, when, ask) in TABLE {
            if when == When::Place && draft.has_change() {
                put(check, ask, sight, &mut draft);
            }
        }
        draft.stopped = true;
    }
    draft.findings.shrink_to_fit();
    draft
}

/// Which drafts are asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    RollBack,
    Urgent,
    Decrease,
    Increase,
    Recreate,
}

fn class(draft: &Draft) -> Class {
    match draft.deed {
        Deed::RollBack(_) => Class::RollBack,
        Deed::Recreate(_) => Class::Recreate,
        Deed::Resize if draft.is_urgent() => Class::Urgent,
        Deed::Resize if draft.going().any(|it| it.raises()) => Class::Increase,
        Deed::Resize => Class::Decrease,
    }
}

type Rank<'a> = (Class, Reverse<i32>, Reverse<i32>, Reverse<i64>, Reverse<i64>, &'a PodKey);

/// By class, then whose policy says so, then whose pod is more important, then, of what cannot wait, who is nearest to being killed,
/// then how much there is to win, then by name.
fn rank<'a>(scene: &Scene, subject: &Subject, pod: &'a PodFacts, draft: &Draft) -> Rank<'a> {
    let policy = subject.policy.priority.value;
    // A MiB and a thousandth of a core weigh alike, which is about what they cost.
    let size = draft.going().map(|part| {
        let by =
            |now: Option<i64>, next: Option<i64>| next.unwrap_or(0).saturating_sub(now.unwrap_or(0)).saturating_abs();
        let difference = by(part.now.request, part.next.request).max(by(part.now.limit, part.next.limit));
        if part.resource == supple_resize::amounts::Resource::Memory { difference >> 20 } else { difference }
    });
    let size = size.fold(0_i64, i64::saturating_add);
    let class = class(draft);
    let near = if class == Class::Urgent { nearness(scene, pod) } else { 0 };
    (class, Reverse(policy), Reverse(pod.priority), Reverse(near), Reverse(size), &pod.key)
}

/// How much of its memory limit the container of a pod that has used up most of it uses, in thousandths.
fn nearness(scene: &Scene, pod: &PodFacts) -> i64 {
    let Some(uses) = scene.uses.get(&pod.key) else { return 0 };
    let share = |it: &ContainerFacts| {
        let used = uses.get(&it.name)?.memory?.0;
        let limit = it.actual.unwrap_or(it.asked).memory_limit?.0;
        used.saturating_mul(1000).checked_div(limit)
    };
    pod.containers.iter().filter_map(share).max().unwrap_or(0)
}

/// What brings the scaler of a workload to what goes with its pods, unless it is changed together with them in this round. A pod
/// to which nothing is done stands for them.
fn settle_scaler(group: &Group<'_>, works: &[Work<'_>]) -> Option<Action> {
    let target = group.settled.as_ref()?;
    let works = &works[group.works.clone()];
    if works.iter().any(|it| matches!(it.what(), Some(What::AdjustScaler { .. }))) {
        return None;
    }
    let pod = works.iter().find(|it| it.what().is_none())?.pod.key.clone();
    let why = format!(
        "{}/{} targets {} % {}, the same usage with the requests its pods have now",
        target.kind.to_lowercase(),
        target.name,
        target.to,
        if target.anchor.is_none() { "as before Supple".to_owned() } else { format!("instead of {} %", target.from) }
    );
    let (workload, code) = (group.key.clone(), Code::AdjustScaler);
    Some(Action { pod, workload, what: What::SettleScaler(target.clone()), code, why, cannot_wait: false })
}

/// Put what was found about a pod into words. This is kept from round to round: no list has room to grow.
pub(crate) fn describe(pod: &PodFacts, mut draft: Draft, what: Option<&What>) -> Verdict {
    let judged = pod.containers.iter().enumerate();
    let judged = judged.filter(|it| it.1.kind != supple_resize::resources::ContainerKind::Init);
    let mut containers = Vec::with_capacity(judged.clone().count());
    containers.extend(judged.map(|(index, it)| {
        let mut wanted = Numbers::default();
        for part in draft.parts.iter().filter(|it| it.container == index) {
            wanted.set(part.resource, supple_resize::amounts::Requirement::Request, part.wanted);
        }
        let (next, due) = (draft.next(pod, index, |_| true), draft.due(index, it.asked));
        Proposal { container: Arc::clone(&it.name), now: it.asked, wanted, next, due }
    }));
    let told = what.map(|what| (code_of(what, &draft), sentence(what, pod, &draft)));
    let again = if what.is_some() { None } else { draft.again };
    let asked = draft.asked;
    let mut findings = std::mem::take(&mut draft.findings);
    findings.sort_by_key(|it| it.check);
    findings.shrink_to_fit();
    let (code, message) = told.unwrap_or_else(|| {
        // What is not ours to size is no obstacle: nothing is wanted of it.
        let ours = |it: &&Finding| !matches!(it.code, Code::NotControlled | Code::ContainerOff);
        let stop = findings.iter().filter(ours).find(|it| it.outcome != Outcome::Clamped);
        match (stop, findings.iter().find(ours), findings.first()) {
            (Some(finding), _, _) => (finding.code, about(finding)),
            // A number that is held where it is stops nothing: there is nothing to be done.
            (None, Some(held), _) => (Code::Fits, format!("it requests what it may have: {}", about(held))),
            (None, None, Some(other)) => {
                (Code::Fits, format!("what Supple controls is what it needs: {}", about(other)))
            }
            (None, None, None) => (Code::Fits, "it requests what it needs".to_owned()),
        }
    });
    Verdict { workload: pod.workload.clone(), containers, findings, code, message, again, asked }
}

fn about(finding: &Finding) -> String {
    match &finding.container {
        Some(container) => format!("{container}: {}", finding.message),
        None => finding.message.clone(),
    }
}

fn code_of(what: &What, draft: &Draft) -> Code {
    match (what, draft.deed) {
        (What::AdjustScaler { .. }, _) => Code::AdjustScaler,
        (What::RollOut, _) => Code::RollOut,
        (What::Evict, _) => Code::Evict,
        (_, Deed::RollBack(code)) => code,
        _ => Code::Resize,
    }
}

fn sentence(what: &What, pod: &PodFacts, draft: &Draft) -> String {
    let because = |code: Code| {
        let finding = draft.findings.iter().find(|it| it.code == code);
        finding.map_or_else(|| draft.steps(pod), |it| it.message.clone())
    };
    match (what, draft.deed) {
        (What::AdjustScaler { target, .. }, _) => format!(
            "{}; {}/{} targets {} %{}, the same usage",
            draft.steps(pod),
            target.kind.to_lowercase(),
            target.name,
            target.to,
            if target.from == target.to { String::new() } else { format!(" instead of {} %", target.from) },
        ),
        (What::RollBack(_), _) => {
            let finding = draft.findings.iter().find(|it| it.check == Check::Settling || it.check == Check::Progress);
            format!("{}: {}", finding.map_or("", |it| it.message.as_str()), draft.steps(pod))
        }
        (_, Deed::Recreate(code)) => because(code),
        _ => draft.steps(pod),
    }
}
