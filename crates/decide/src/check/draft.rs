//! What is made of one pod while it is asked about: the numbers on their way, what was found, and what is to be done.

use std::sync::Arc;

use jiff::Timestamp;
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::predict::Change;
use supple_resize::resources::ContainerKind;

use crate::check::{Asked, Check};
use crate::code::Code;
use crate::facts::{ContainerFacts, PodFacts};
use crate::numbers::Numbers;
use crate::policy::Setting;
use crate::recreated::Aims;
use crate::round::{Finding, Outcome};

/// Request and limit of one resource, as plain integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// What is asked for.
    pub request: Option<i64>,
    /// What may be used at most.
    pub limit: Option<i64>,
}

impl Pair {
    /// Of one resource.
    pub fn of(numbers: &Numbers, resource: Resource) -> Self {
        Self { request: numbers.get(resource, Requirement::Request), limit: numbers.get(resource, Requirement::Limit) }
    }

    /// Written back.
    pub fn write(self, numbers: &mut Numbers, resource: Resource) {
        numbers.set(resource, Requirement::Request, self.request);
        numbers.set(resource, Requirement::Limit, self.limit);
    }

    fn any(self, other: Self, differs: fn(i64, i64) -> bool) -> bool {
        let each =
            |own: Option<i64>, other: Option<i64>| own.zip(other).is_some_and(|(own, other)| differs(own, other));
        each(self.request, other.request) || each(self.limit, other.limit)
    }

    /// Whether one of the two is less than it is in `now`.
    pub fn lowers(self, now: Self) -> bool {
        self.any(now, |own, now| own < now)
    }

    /// Whether one of the two is more than it is in `now`.
    pub fn raises(self, now: Self) -> bool {
        self.any(now, |own, now| own > now)
    }

    /// Whether the limit is less than it is in `now`.
    pub fn lowers_limit(self, now: Self) -> bool {
        self.limit.zip(now.limit).is_some_and(|(own, now)| own < now)
    }
}

/// One resource of one container.
#[derive(Clone, Debug)]
pub struct Part {
    /// The container's place in the pod's facts.
    pub container: usize,
    /// Which resource.
    pub resource: Resource,
    /// What it has.
    pub now: Pair,
    /// What it is to have.
    pub next: Pair,
    /// What it would have if a step could be of any size: whether a change is worth it is judged by this.
    pub full: Pair,
    /// What the recommender wants.
    pub wanted: Option<i64>,
    /// What it was to have when a check held it.
    pub held: Option<Pair>,
    /// It cannot wait.
    pub urgent: bool,
    /// It has less than is safe: a raise by a hundredth is worth it.
    pub at_risk: bool,
    /// It changes together with the same part of all other pods of its workload or not at all.
    pub together: bool,
}

/// Less CPU than this, in milli-CPU, is no change for its own sake.
const TINY_MILLI_CPU: u64 = 5;

impl Pair {
    /// Whether request or limit differs from what it is now, by so many percent of that at least.
    pub fn is_other_than(self, now: Self, percent: u32) -> bool {
        let by = |now: Option<i64>, next: Option<i64>| {
            now.zip(next).is_some_and(|(now, next)| {
                let difference = (i128::from(next) - i128::from(now)).abs();
                difference > 0 && difference * 100 >= i128::from(now) * i128::from(percent)
            })
        };
        by(now.request, self.request) || by(now.limit, self.limit)
    }

    /// Of the two, what moves from `now` to `next`: a limit that has to stay for what is in use is no reason to move the request by little.
    pub fn of_what_moves(self, now: Self, next: Self) -> Self {
        Self {
            request: self.request.filter(|_| next.request != now.request),
            limit: self.limit.filter(|_| next.limit != now.limit),
        }
    }
}

impl Part {
    /// Whether its change would be worth it, at this threshold in percent, if a step could be of any size.
    pub fn is_worth_it(&self, percent: u32) -> bool {
        let moves = self.full.of_what_moves(self.now, self.held.unwrap_or(self.next));
        self.urgent || (moves.is_other_than(self.now, self.threshold(percent)) && !self.is_tiny(moves))
    }

    /// By how little it changes, where that is not worth it.
    pub fn how_little(&self, percent: u32) -> String {
        let moves = self.full.of_what_moves(self.now, self.held.unwrap_or(self.next));
        if moves.is_other_than(self.now, self.threshold(percent)) {
            format!("{} is a change of less than {TINY_MILLI_CPU}m", self.step())
        } else {
            format!("{} is a change of less than {percent} %", self.step())
        }
    }

    /// Whether it moves by so little CPU that nobody gains anything, however many percent that is: a need of some milli-CPU moves by one
    /// of them from hour to hour.
    fn is_tiny(&self, moves: Pair) -> bool {
        let by = |now: Option<i64>, next: Option<i64>| now.zip(next).map_or(0, |(now, next)| now.abs_diff(next));
        let most = by(self.now.request, moves.request).max(by(self.now.limit, moves.limit));
        self.resource == Resource::Cpu && !self.at_risk && most < TINY_MILLI_CPU
    }

    /// How much of a change is worth it where this is said, in percent: of what has less than is safe a hundredth is. Less than that is
    /// how a recommendation that stays the same moves from hour to hour, and would be followed with a resize each time.
    pub fn threshold(&self, percent: u32) -> u32 {
        if self.urgent || self.at_risk { percent.min(1) } else { percent }
    }

    /// Whether it went from there to what it has now, and is to go further the same way.
    pub fn goes_on_from(&self, was: Pair) -> bool {
        let way = |from: Pair, to: Pair| (to.lowers(from), to.raises(from));
        way(was, self.now) == way(self.now, self.full)
    }

    /// Whether anything would change.
    pub fn changes(&self) -> bool {
        self.next != self.now
    }

    /// Whether request or limit would fall.
    pub fn lowers(&self) -> bool {
        self.next.lowers(self.now)
    }

    /// Whether request or limit would rise.
    pub fn raises(&self) -> bool {
        self.next.raises(self.now)
    }

    /// An amount of this part as a person reads it.
    pub fn show(&self, amount: Option<i64>) -> String {
        show(self.resource, amount.unwrap_or_default())
    }

    /// `memory 512Mi:1Gi -> 256Mi:512Mi`
    pub fn step(&self) -> String {
        let pair = |it: Pair| {
            let show = |amount: i64| show(self.resource, amount);
            crate::numbers::pair(it.request.map(show), it.limit.map(show)).unwrap_or_default()
        };
        format!("{} {} → {}", self.resource.as_str(), pair(self.now), pair(self.next))
    }
}

/// An amount as a person reads it.
pub fn show(resource: Resource, amount: i64) -> String {
    resource.quantity(amount).to_string()
}

/// What is to be done, if nothing stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Give it the numbers of its parts.
    Resize,
    /// Give it its former numbers; why.
    RollBack(Code),
    /// Have it made anew; why.
    Recreate(Code),
}

/// What is said about a part or a pod.
#[derive(Clone, Debug)]
pub struct Saying {
    /// Who says it.
    pub check: Check,
    /// What it comes to.
    pub outcome: Outcome,
    /// Its code.
    pub code: Code,
    /// The sentence.
    pub message: String,
    /// The setting behind it.
    pub setting: Option<String>,
}

impl Saying {
    /// Not as things are.
    pub fn refused(check: Check, code: Code, message: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Refused, code, message: message.into(), setting: None }
    }

    /// Not now.
    pub fn delayed(check: Check, code: Code, message: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Delayed, code, message: message.into(), setting: None }
    }

    /// Other numbers.
    pub fn clamped(check: Check, code: Code, message: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Clamped, code, message: message.into(), setting: None }
    }

    /// Because of this setting.
    pub fn by<T>(mut self, name: &str, setting: &Setting<T>) -> Self {
        self.setting = Some(format!("{name} ({})", setting.origin));
        self
    }

    fn about(self, container: Option<Arc<str>>, resource: Option<Resource>) -> Finding {
        let Self { check, outcome, code, message, setting } = self;
        Finding { check, container, resource, outcome, code, message, setting }
    }
}

/// The draft of one pod's decision.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its numbers.
    pub parts: Vec<Part>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What is to be done.
    pub deed: Deed,
    /// The former numbers, where recreating it would be better and they are second best.
    pub second_best: Option<Vec<Part>>,
    /// Nothing is done with it in this round.
    pub stopped: bool,
    /// Nothing but what is urgent is done with it in this round.
    pub only_urgent: bool,
    /// The budgets are used up: of what can wait nothing is done in this round but what changes together with all siblings.
    pub rationed: bool,
    /// When it may be otherwise by itself.
    pub again: Option<Timestamp>,
    /// The checks that were asked.
    pub asked: Asked,
}

impl Draft {
    /// Of these numbers.
    pub fn new(parts: Vec<Part>) -> Self {
        Self {
            parts,
            findings: Vec::new(),
            deed: Deed::Resize,
            second_best: None,
            stopped: false,
            only_urgent: false,
            rationed: false,
            again: None,
            asked: Asked::default(),
        }
    }

    /// Whether anything is to change, whatever stands in the way.
    pub fn has_change(&self) -> bool {
        matches!(self.deed, Deed::Recreate(_)) || self.parts.iter().any(Part::changes)
    }

    /// Whether it is to have more than it has, whatever stands in the way.
    pub fn raises(&self) -> bool {
        self.parts.iter().any(|it| it.full.raises(it.now))
    }

    /// Whether this part would be carried out.
    pub fn goes(&self, part: &Part) -> bool {
        let has_budget = || part.together || !self.rationed;
        part.changes() && !self.stopped && (part.urgent || (!self.only_urgent && has_budget()))
    }

    /// Whether anything would be done.
    pub fn acts(&self) -> bool {
        match self.deed {
            Deed::Recreate(_) => !self.stopped && !self.only_urgent,
            Deed::Resize | Deed::RollBack(_) => self.parts.iter().any(|it| self.goes(it)),
        }
    }

    /// Whether a part of it changes together with all siblings or not at all.
    pub fn is_together(&self) -> bool {
        self.parts.iter().any(|it| it.together)
    }

    /// The parts that would be carried out.
    pub fn going(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|it| self.goes(it))
    }

    /// Whether a raise that cannot wait would be carried out, or harm made good.
    pub fn is_urgent(&self) -> bool {
        matches!(self.deed, Deed::RollBack(_)) || self.going().any(|it| it.urgent)
    }

    /// Say something about the pod that changes nothing.
    pub fn remark(&mut self, saying: Saying) {
        self.findings.push(saying.about(None, None));
    }

    /// Say something about a part that changes nothing, or what was changed.
    pub fn remark_part(&mut self, pod: &PodFacts, index: usize, saying: Saying) {
        let Some(part) = self.parts.get(index) else { return };
        let container = pod.containers.get(part.container).map(|it| Arc::clone(&it.name));
        self.findings.push(saying.about(container, Some(part.resource)));
    }

    /// Nothing is done with the pod in this round.
    pub fn stop(&mut self, saying: Saying) {
        self.stopped = true;
        self.remark(saying);
    }

    /// As [`Self::stop`], and it may be otherwise at this time.
    pub fn stop_until(&mut self, until: Option<Timestamp>, saying: Saying) {
        self.stop(saying);
        self.again = self.again.max(until);
    }

    /// What is not urgent waits.
    pub fn wait(&mut self, until: Option<Timestamp>, saying: Saying) {
        self.only_urgent = true;
        if !self.parts.iter().any(|it| it.urgent && it.changes()) {
            self.again = self.again.max(until);
        }
        self.remark(saying);
    }

    /// What needs a budget waits.
    pub fn ration(&mut self, saying: Saying) {
        self.rationed = true;
        self.remark(saying);
    }

    /// This part stays as it is.
    pub fn hold(&mut self, pod: &PodFacts, index: usize, saying: Saying) {
        // What is not ours to size, or not worth a resize, was to have nothing else.
        let was_due = !matches!(saying.code, Code::NotControlled | Code::ContainerOff | Code::NotWorthIt);
        self.remark_part(pod, index, saying);
        if let Some(part) = self.parts.get_mut(index) {
            part.held = part.held.or_else(|| Some(part.next).filter(|it| was_due && *it != part.now));
            part.next = part.now;
            part.urgent = false;
        }
    }

    /// Hold every part for which there is something to say.
    pub fn hold_each(&mut self, pod: &PodFacts, say: impl Fn(&Part, &ContainerFacts) -> Option<Saying>) {
        for index in 0..self.parts.len() {
            let part = &self.parts[index];
            if !part.changes() {
                continue;
            }
            let saying = pod.containers.get(part.container).and_then(|it| say(part, it));
            if let Some(saying) = saying {
                self.hold(pod, index, saying);
            }
        }
    }

    /// As [`Self::hold_each`], of what there is not enough of for all of them: where some of them cannot wait, the others give way
    /// first. Whether they did, so that it is to be asked again of what is left.
    pub fn hold_those_that_can_wait(
        &mut self,
        pod: &PodFacts,
        say: impl Fn(&Part, &ContainerFacts) -> Option<Saying>,
    ) -> bool {
        let is_said = |part: &Part| pod.containers.get(part.container).is_some_and(|it| say(part, it).is_some());
        let any = |urgent| self.parts.iter().any(|it| it.changes() && it.urgent == urgent && is_said(it));
        let both = any(true) && any(false);
        self.hold_each(pod, |part, it| if both && part.urgent { None } else { say(part, it) });
        both
    }

    /// What a container is to have, of the parts that pass `which`.
    pub fn next(&self, pod: &PodFacts, container: usize, which: impl Fn(&Part) -> bool) -> Numbers {
        let mut numbers = pod.containers.get(container).map(|it| it.asked).unwrap_or_default();
        for part in self.parts.iter().filter(|it| it.container == container && which(it)) {
            part.next.write(&mut numbers, part.resource);
        }
        numbers
    }

    /// What a container was to have before checks held parts of it.
    pub fn due(&self, container: usize, asked: Numbers) -> Numbers {
        let mut numbers = asked;
        for part in self.parts.iter().filter(|it| it.container == container) {
            part.held.unwrap_or(part.next).write(&mut numbers, part.resource);
        }
        numbers
    }

    /// What each container was to have before checks held parts of it, and what it would have if a step could be of any size.
    pub fn aims(&self, pod: &PodFacts) -> Aims {
        let judged = pod.containers.iter().enumerate().filter(|it| it.1.kind != ContainerKind::Init && !it.1.done);
        let aims = judged.map(|(index, container)| {
            let due = self.due(index, container.asked);
            let mut full = due;
            // A part that is not to change now is not to change as far either, unless it has been asked for in vain.
            let in_vain = self.deed == Deed::Recreate(Code::Infeasible);
            let is_on_its_way = |it: &&Part| in_vain || it.held.unwrap_or(it.next) != it.now;
            for part in self.parts.iter().filter(|it| it.container == index).filter(is_on_its_way) {
                part.full.write(&mut full, part.resource);
            }
            (Arc::clone(&container.name), (due, full))
        });
        aims.collect()
    }

    /// The request that carries it out.
    pub fn change(&self, pod: &PodFacts) -> Change {
        let mut change = Change::default();
        for (index, container) in pod.containers.iter().enumerate() {
            let sizes = self.next(pod, index, |it| self.goes(it)).beyond(&container.asked);
            if !sizes.is_empty() {
                change.containers.insert(container.name.to_string(), sizes);
            }
        }
        change
    }

    /// `app: cpu 1 → 500m, memory 512Mi:1Gi → 256Mi:512Mi`
    pub fn steps(&self, pod: &PodFacts) -> String {
        let mut text = String::new();
        let mut last = None;
        for part in self.going() {
            let name = pod.containers.get(part.container).map_or("", |it| &it.name);
            if last == Some(part.container) {
                text.push_str(", ");
            } else {
                if last.is_some() {
                    text.push_str("; ");
                }
                text.push_str(name);
                text.push_str(": ");
                last = Some(part.container);
            }
            text.push_str(&part.step());
        }
        text
    }
}
