//! The slow path: from a state to the size of each resource, its bounds, how sure we are, and why.

use crate::explain::{Account, Climb, Confidence, Doubt, Rule};
use crate::forecast::{Outlook, Price, Views};
use crate::past::Past;
use crate::policy::{Policy, Terms};
use crate::resource::Resource;
use crate::sample::{amount, whole};
use crate::state::State;
use crate::ways::{BEGINNER, CPU, MEMORY, Rehearsal, Trial};

/// A change of CPU, of memory has to promise so many times its price: a forecast is surer of its price than of its gain.
const INERTIA: [f64; 2] = [1.5, 1.3];

/// Hours of CPU after which the ways to read it are listened to.
const KNOWN: u16 = 24;

/// What one resource of a container should have. Thousandths of a core or bytes; `lower <= request <= upper`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// To reserve.
    pub request: i64,
    /// To enforce, where the policy wants a limit.
    pub limit: Option<i64>,
    /// Less than this costs more in incidents than it saves, even were they a quarter as dear.
    pub lower: i64,
    /// More than this is waste, even were incidents four times as dear.
    pub upper: i64,
    /// How sure.
    pub confidence: Confidence,
    /// Why.
    pub account: Account,
}

impl Part {
    /// The same, but this size stays for a rule's sake.
    pub(crate) fn staying(mut self, size: i64, rule: Rule) -> Self {
        self.request = size;
        self.limit = self.limit.map(|_| size);
        (self.lower, self.upper) = (self.lower.min(size), self.upper.max(size));
        self.account.rule = rule;
        self
    }
}

/// The size a look comes to, and why: all that is needed where nobody asks for bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) request: i64,
    pub(crate) account: Account,
}

impl Choice {
    /// See [`Part::staying`].
    pub(crate) const fn staying(mut self, size: i64, rule: Rule) -> Self {
        self.request = size;
        self.account.rule = rule;
        self
    }
}

/// Both resources. `None`: nothing was ever measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Advice {
    /// CPU.
    pub cpu: Option<Part>,
    /// Memory.
    pub memory: Option<Part>,
}

/// Samples that an hour is reckoned to have while none is over: as many as metrics-server takes. With the few that there are by then, being
/// over would cost next to nothing, and the first sizes would be raised in haste one after the other.
const AT_FIRST: u16 = 240;

impl State {
    /// The sizes for a container of which these requests (thousandths of a core, bytes) are in force. A limit is not told: whoever knows
    /// it finds out how long a climb has to it by [`Climb::until`].
    pub fn advise(&mut self, policy: &Policy, in_force: (Option<i64>, Option<i64>)) -> Advice {
        Advice { cpu: self.advise_cpu(policy, in_force.0), memory: self.advise_memory(policy, in_force.1) }
    }

    /// CPU alone. The first look of an hour lets every way to read the past say where it would stand now.
    pub fn advise_cpu(&mut self, policy: &Policy, in_force: Option<i64>) -> Option<Part> {
        let mut views = Views::default();
        let (choice, outlook) = self.foresee_cpu(policy, in_force, &mut views)?;
        Some(self.part(choice, Resource::Cpu, &policy.cpu, &outlook))
    }

    /// Memory alone.
    pub fn advise_memory(&mut self, policy: &Policy, in_force: Option<i64>) -> Option<Part> {
        let mut views = Views::default();
        let climb = self.hour.and_then(|hour| self.memory.climb(hour));
        let (choice, outlook) = self.foresee_memory(policy, in_force, climb, &mut views)?;
        Some(self.part(choice, Resource::Memory, &policy.memory, &outlook))
    }

    /// What [`State::advise_cpu`] comes to, without the bounds.
    pub(crate) fn choose_cpu(&mut self, policy: &Policy, in_force: Option<i64>) -> Option<Choice> {
        self.foresee_cpu(policy, in_force, &mut Views::default()).map(|it| it.0)
    }

    /// What [`State::advise_memory`] comes to, without the bounds. The climb is the same all hour long: [`crate::memory::MemoryPast::climb`].
    pub(crate) fn choose_memory(
        &mut self,
        policy: &Policy,
        in_force: Option<i64>,
        climb: Option<Climb>,
    ) -> Option<Choice> {
        self.foresee_memory(policy, in_force, climb, &mut Views::default()).map(|it| it.0)
    }

    fn foresee_cpu<'a>(
        &mut self,
        policy: &Policy,
        in_force: Option<i64>,
        views: &'a mut Views,
    ) -> Option<(Choice, Outlook<'a>)> {
        let hour = self.hour?;
        let price = self.price(Resource::Cpu, &policy.cpu);
        views.read(&self.cpu, hour, &policy.cpu.beliefs)?;
        if !self.ways.done {
            let sample = price.incident / self.samples_an_hour();
            rehearse(&mut self.ways, &CPU, Resource::Cpu, views, &price, sample);
        }
        let way = if self.cpu.tally.hours < KNOWN { &BEGINNER } else { self.ways.way(&CPU) };
        let outlook = views.plan(way, in_force.map(amount), &price);
        let (planned, rule) = planned(in_force, &outlook, &price);
        let habit = self.cpu.habit_over(planned);
        let planned = habit.map_or((planned, rule), |habit| (habit, Rule::Habit));
        let choice = self.choice(&self.cpu, hour, &policy.cpu, planned, (views, &outlook, &price));
        Some((choice, outlook))
    }

    fn foresee_memory<'a>(
        &mut self,
        policy: &Policy,
        in_force: Option<i64>,
        climb: Option<Climb>,
        views: &'a mut Views,
    ) -> Option<(Choice, Outlook<'a>)> {
        let hour = self.hour?;
        let price = self.price(Resource::Memory, &policy.memory);
        views.read(&self.memory, hour, &policy.memory.beliefs)?;
        if !self.memory_ways.done {
            rehearse(&mut self.memory_ways, &MEMORY, Resource::Memory, views, &price, price.incident);
        }
        let outlook = views.plan(self.memory_ways.way(&MEMORY), in_force.map(amount), &price);
        let planned = planned(in_force, &outlook, &price);
        let mut choice = self.choice(&self.memory, hour, &policy.memory, planned, (views, &outlook, &price));
        choice.account.climb = climb;
        Some((choice, outlook))
    }

    /// CPU samples of one pod in an hour: a size is one pod's, and so is what an hour of being over it costs.
    fn samples_an_hour(&self) -> f64 {
        let tally = self.cpu.tally();
        let least = if tally.per_hour == 0 { AT_FIRST } else { 1 };
        f64::from(tally.samples().max(least))
    }

    /// Prices an hour is reckoned with: of a kill in it, of being over during all of its samples.
    fn price(&self, resource: Resource, terms: &Terms) -> Price {
        let factor = terms.risk.map_or(1.0, |risk| risk.price_factor(resource));
        let chances = if resource == Resource::Cpu { self.samples_an_hour() } else { 1.0 };
        Price {
            incident: terms.incident * factor * chances,
            resize: terms.resize * INERTIA[usize::from(resource == Resource::Memory)],
            once: resource == Resource::Memory,
        }
    }

    /// What was planned within what the policy allows, and the account of it.
    fn choice<P: Past>(
        &self,
        past: &P,
        hour: i64,
        terms: &Terms,
        (mut request, mut rule): (i64, Rule),
        (views, outlook, price): (&Views, &Outlook<'_>, &Price),
    ) -> Choice {
        if request < terms.least {
            (request, rule) = (terms.least, Rule::Least);
        }
        if request > terms.most {
            (request, rule) = (terms.most, Rule::Most);
        }
        let (slack, over) = outlook.expect(amount(request));
        let since = |then: i64| hour - then;
        let account = Account {
            rule,
            way: outlook.way.name,
            average: views.average,
            peak: P::RESOURCE.amount(views.highest),
            hours: past.tally().hours,
            slack,
            over,
            price: price.incident,
            plan: outlook.best(),
            cost: (outlook.cost, outlook.stay),
            climb: None,
            killed_hours_ago: self.kill.map(|(then, _)| since(then)).filter(|_| P::RESOURCE == Resource::Memory),
            changed_hours_ago: self.shift.map(since),
        };
        Choice { request, account }
    }

    /// A choice with its bounds.
    fn part(&self, choice: Choice, resource: Resource, terms: &Terms, outlook: &Outlook<'_>) -> Part {
        let Choice { request, account } = choice;
        let means = outlook.means();
        let bound = |factor: f64| whole(means.best_for_ever(factor)).clamp(terms.least, terms.most.max(terms.least));
        Part {
            request,
            limit: terms.limit.then_some(request),
            lower: bound(0.25).min(request),
            upper: bound(4.0).max(request),
            confidence: self.confidence(&account, resource),
            account,
        }
    }

    fn confidence(&self, account: &Account, resource: Resource) -> Confidence {
        let recent = |hours: Option<i64>| hours.filter(|it| *it < 24).map(amount);
        let known = f64::from(account.hours);
        let doubts = [
            (Doubt::ShortHistory, known / (known + 4.0)),
            (Doubt::Changed, recent(account.changed_hours_ago).map_or(1.0, |it| (it + 6.0) / 30.0)),
            (Doubt::Killed, recent(account.killed_hours_ago).map_or(1.0, |it| (it + 12.0) / 36.0)),
            (Doubt::Climbing, if account.climb.is_some() { 0.6 } else { 1.0 }),
            (Doubt::Cut, if resource == Resource::Cpu { 1.0 - self.cut_share() } else { 1.0 }),
        ];
        let value = doubts.iter().map(|(_, it)| it).product();
        let strongest = doubts.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let doubt = strongest.filter(|(_, it)| *it < 0.9).map_or(Doubt::None, |(doubt, _)| doubt);
        Confidence { value, doubt }
    }
}

/// Every way says where it would stand now, an incident at its size to be charged with so much.
fn rehearse<const N: usize>(
    ways: &mut Rehearsal<N>,
    trial: &'static Trial<N>,
    resource: Resource,
    views: &Views,
    price: &Price,
    incident: f64,
) {
    ways.rehearse(trial, (incident, price.resize), |way, from| {
        let outlook = views.plan(way, from.map(|it| resource.amount(it)), price);
        match from {
            Some(level) if outlook.stay - outlook.cost <= price.resize => level,
            Some(_) => resource.level(outlook.best()),
            None => resource.level(outlook.means().best_for_ever(1.0)),
        }
    });
}

/// Where the plan says to go, or to stay.
fn planned(in_force: Option<i64>, outlook: &Outlook<'_>, price: &Price) -> (i64, Rule) {
    match in_force {
        Some(size) if outlook.stay - outlook.cost <= price.resize => (size, Rule::Stay),
        Some(_) => (whole(outlook.best()), Rule::Plan),
        None => (whole(outlook.means().best_for_ever(1.0)), Rule::Plan),
    }
}
