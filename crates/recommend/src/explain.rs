//! Why a size is what it is, as data: which rule bound, which view of the past, which peak, which incident.

use serde::Serialize;

/// What settled the size in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The plan over the forecast: least expected cost of slack, incidents and resizes.
    Plan,
    /// The plan found that a change would not earn back its price: the size in force stays.
    Stay,
    /// Use came near the limit: raised at once.
    Raise,
    /// A raise in haste is being held.
    Hold,
    /// A decrease was due, and pressure or throttling forbids it.
    Veto,
    /// A burst that comes back nearly every hour, however cheap it would be to suffer it.
    Habit,
    /// The policy's least.
    Least,
    /// The policy's most.
    Most,
}

impl Rule {
    /// Every one.
    pub const ALL: [Self; 8] =
        [Self::Plan, Self::Stay, Self::Raise, Self::Hold, Self::Veto, Self::Habit, Self::Least, Self::Most];

    /// As it is written everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Stay => "stay",
            Self::Raise => "raise",
            Self::Hold => "hold",
            Self::Veto => "veto",
            Self::Habit => "habit",
            Self::Least => "least",
            Self::Most => "most",
        }
    }
}

/// Why so sure, or so unsure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// None to speak of.
    None,
    /// Less than a day is known.
    ShortHistory,
    /// The program changed its ways within the last day.
    Changed,
    /// Use is cut by a limit much of the time: demand is guessed.
    Cut,
    /// Memory climbs and did not yet say where to.
    Climbing,
    /// Killed within the last day.
    Killed,
}

impl Doubt {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::None, Self::ShortHistory, Self::Changed, Self::Cut, Self::Climbing, Self::Killed];

    /// As it is written everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ShortHistory => "short-history",
            Self::Changed => "changed",
            Self::Cut => "cut",
            Self::Climbing => "climbing",
            Self::Killed => "killed",
        }
    }
}

/// How sure, from 0 to 1, and what speaks against more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Confidence {
    /// 0 to 1.
    pub value: f64,
    /// The strongest reason for less than 1.
    pub doubt: Doubt,
}

/// A steady climb of memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Climb {
    /// Bytes an hour.
    pub per_hour: f64,
    /// Bytes, at the newest hour that is known.
    pub reached: f64,
    /// Hours until the limit in force is reached, where one is.
    pub hours_to_limit: Option<f64>,
}

impl Climb {
    /// The same, with the time left to a limit in bytes; none is left where it is reached.
    #[must_use]
    pub fn until(self, limit: Option<f64>) -> Self {
        let hours_to_limit = limit.map(|limit| ((limit - self.reached) / self.per_hour).max(0.0));
        Self { hours_to_limit, ..self }
    }
}

/// The account of one resource's size. Amounts are thousandths of a core or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// What settled it.
    pub rule: Rule,
    /// The way to read the past that was listened to.
    pub way: &'static str,
    /// Mean use, lately.
    pub average: f64,
    /// The highest use of the hours remembered.
    pub peak: f64,
    /// Hours of history.
    pub hours: u16,
    /// Expected slack at this size, in units of mean use.
    pub slack: f64,
    /// Expected chance, per hour, of being over (memory), or share of time over (CPU).
    pub over: f64,
    /// The price of an incident that was reckoned with, in hours of mean use.
    pub price: f64,
    /// What the plan would have taken.
    pub plan: f64,
    /// Cost over the hours ahead of the plan and of staying, in hours of mean use.
    pub cost: (f64, f64),
    /// A climb, where there is one.
    pub climb: Option<Climb>,
    /// Hours since the last kill, where there was one.
    pub killed_hours_ago: Option<i64>,
    /// Hours since the program changed its ways.
    pub changed_hours_ago: Option<i64>,
}

/// The accounts of both resources at the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Explanation {
    /// CPU.
    pub cpu: Option<Account>,
    /// Memory.
    pub memory: Option<Account>,
}
