//! What a person may say about judgement: what an incident may cost or how often it may happen, and within what bounds.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::forecast::Beliefs;
use crate::resource::Resource;

/// How judgement is exercised. The default needs no thought: prices as in the docs, no bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// For CPU.
    pub cpu: Terms,
    /// For memory.
    pub memory: Terms,
    /// Seconds after a start during which CPU use is the start's and not the service's.
    pub startup: i64,
    /// Seconds for which a size raised in haste is held.
    pub hold: i64,
    /// Seconds between two looks at an undisturbed container.
    pub every: i64,
    /// Whether the fast path acts. Turned off to measure what it saves, not to run without.
    pub reflexes: bool,
}

/// The terms of one resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Price of an incident, in hours of the container's mean use: a kill for memory, a sample over for CPU.
    pub incident: f64,
    /// Price of a resize, in the same hours.
    pub resize: f64,
    /// How often an incident may happen. Where set, the price is found from it; the replay says whether it held.
    pub risk: Option<Risk>,
    /// Never less than this: thousandths of a core, bytes.
    pub least: i64,
    /// Never more than this.
    pub most: i64,
    /// Whether a limit is set (at the request). Memory: yes. CPU: no, for a limit costs more latency than it saves.
    pub limit: bool,
    /// What is believed about the past's worth.
    pub beliefs: Beliefs,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            cpu: Terms {
                incident: 1.0,
                resize: 1.0,
                risk: None,
                least: 1,
                most: i64::MAX,
                limit: false,
                beliefs: Beliefs {
                    fade: 1.5,
                    blur: (0.0, 0.15),
                    jump: (0.05, 10.0),
                    climb: 0.0,
                    usual: 4.4,
                    margin: 1.0,
                },
            },
            memory: Terms {
                incident: 24.0,
                resize: 1.0,
                risk: None,
                least: 1_048_576,
                most: i64::MAX,
                limit: true,
                beliefs: Beliefs {
                    fade: 1.5,
                    blur: (1.5, 0.3),
                    jump: (0.004, 10.0),
                    climb: 1.5,
                    usual: 2.2,
                    margin: 1.0,
                },
            },
            startup: 120,
            hold: 2 * 3600,
            every: 900,
            reflexes: true,
        }
    }
}

impl Policy {
    /// The terms of a resource.
    pub const fn terms(&self, resource: Resource) -> &Terms {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
        }
    }
}

/// How often an incident may happen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Risk {
    /// So many in so many seconds.
    Rate {
        /// How many.
        count: f64,
        /// In how many seconds.
        seconds: f64,
    },
    /// A share of the time, 0 to 1.
    Share(f64),
}

/// Incidents a day the default price of a kill comes to on the recordings it was tuned on: where a stated rate starts from.
const USUAL_KILLS_A_DAY: f64 = 0.15;

/// Share of samples over the default price of CPU comes to there.
const USUAL_SHARE_OVER: f64 = 0.01;

impl Risk {
    /// Reads how often an incident of a resource may happen.
    ///
    /// # Errors
    ///
    /// The text says nothing of the kind, or it counts what lasts, or measures what is counted.
    pub fn of(resource: Resource, text: &str) -> Result<Self, RiskError> {
        let risk: Self = text.parse()?;
        let text = || text.to_owned();
        match resource {
            _ if risk.fits(resource) => Ok(risk),
            Resource::Cpu => Err(RiskError::Counted { text: text() }),
            Resource::Memory => Err(RiskError::Measured { text: text() }),
        }
    }

    /// Whether it can be said of a resource: kills are counted, being over lasts.
    pub const fn fits(self, resource: Resource) -> bool {
        match resource {
            Resource::Cpu => matches!(self, Self::Share(_)),
            Resource::Memory => matches!(self, Self::Rate { .. }),
        }
    }

    /// The price, in terms of the default one, at which to start: half the risk, twice the price. What cannot be said of the resource says
    /// nothing.
    pub fn price_factor(self, resource: Resource) -> f64 {
        if !self.fits(resource) {
            return 1.0;
        }
        let usual = match resource {
            Resource::Cpu => USUAL_SHARE_OVER,
            Resource::Memory => USUAL_KILLS_A_DAY / 24.0,
        };
        (usual / self.per_hour().max(1e-9)).clamp(0.05, 200.0)
    }

    /// Of a rate the incidents an hour, of a share that share: what is compared with one of them is never compared with the other.
    pub fn per_hour(self) -> f64 {
        match self {
            Self::Rate { count, seconds } => count / (seconds / 3600.0),
            Self::Share(share) => share,
        }
    }
}

/// Why a risk was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RiskError {
    /// Nothing of the kind.
    #[error(
        "cannot read the risk {text:?}: say how often, as in \"1 per 30 days\" for memory, or how much of the time, as in \"0.5 % of time\" for cpu"
    )]
    Unread {
        /// What was said.
        text: String,
    },
    /// A count, of CPU.
    #[error(
        "the risk {text:?} does not fit cpu, whose shortage is measured and not counted: say how much of the time, as in \"0.5 % of time\""
    )]
    Counted {
        /// What was said.
        text: String,
    },
    /// A share of the time, of memory.
    #[error(
        "the risk {text:?} does not fit memory, whose OOM kills are counted: say how often, as in \"1 per 30 days\""
    )]
    Measured {
        /// What was said.
        text: String,
    },
}

impl FromStr for Risk {
    type Err = RiskError;

    fn from_str(text: &str) -> Result<Self, RiskError> {
        let wrong = || RiskError::Unread { text: text.to_owned() };
        let positive = |it: &str| it.trim().parse::<f64>().ok().filter(|it| it.is_finite() && *it > 0.0);
        if let Some((share, of)) = text.split_once('%') {
            let share = positive(share).filter(|it| *it < 100.0).ok_or_else(wrong)?;
            return if matches!(of.trim(), "" | "of time" | "of the time") {
                Ok(Self::Share(share / 100.0))
            } else {
                Err(wrong())
            };
        }
        let (count, time) = text.split_once(" per ").ok_or_else(wrong)?;
        let count = positive(count).ok_or_else(wrong)?;
        let mut words = time.split_whitespace();
        let first = words.next().ok_or_else(wrong)?;
        let (many, unit) = match positive(first) {
            Some(many) => (many, words.next().ok_or_else(wrong)?),
            None => (1.0, first),
        };
        let unit = match unit.trim_end_matches('s') {
            "hour" => 3600.0,
            "day" => 86_400.0,
            "week" => 7.0 * 86_400.0,
            "month" => 30.0 * 86_400.0,
            "year" => 365.0 * 86_400.0,
            _ => return Err(wrong()),
        };
        if words.next().is_some() { Err(wrong()) } else { Ok(Self::Rate { count, seconds: many * unit }) }
    }
}

impl TryFrom<String> for Risk {
    type Error = RiskError;

    fn try_from(text: String) -> Result<Self, RiskError> {
        text.parse()
    }
}

impl From<Risk> for String {
    fn from(risk: Risk) -> Self {
        match risk {
            Risk::Rate { count, seconds } => format!("{count} per {} days", seconds / 86_400.0),
            Risk::Share(share) => format!("{} % of time", share * 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: Option<Risk>) {
        assert_eq!(text.parse::<Risk>().ok(), wanted, "{text}");
    }

    #[test]
    fn risks_are_said_in_words() {
        let days = |count, days| Some(Risk::Rate { count, seconds: days * 86_400.0 });
        check("1 per 30 days", days(1.0, 30.0));
        check("1 per month", days(1.0, 30.0));
        check("2 per week", days(2.0, 7.0));
        check("0.5 per 1 day", days(0.5, 1.0));
        check("0.5 % of time", Some(Risk::Share(0.005)));
        check("0.5%", Some(Risk::Share(0.005)));
        for wrong in [
            "",
            "often",
            "1 per",
            "1 per 30",
            "1 per 30 moons",
            "-1 per day",
            "0 per day",
            "100 % of time",
            "1 per day and night",
            "NaN per day",
            "5 % of cats",
        ] {
            check(wrong, None);
        }
    }

    #[track_caller]
    fn check_of(resource: Resource, text: &str, wanted: Result<(), &str>) {
        match (Risk::of(resource, text), wanted) {
            (Ok(risk), Ok(())) => assert!(risk.price_factor(resource) != 1.0, "{text}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (read, wanted) => panic!("{resource:?} {text}: {read:?} and not {wanted:?}"),
        }
    }

    #[test]
    fn kills_are_counted_and_being_over_is_measured() {
        check_of(Resource::Memory, "1 per 30 days", Ok(()));
        check_of(Resource::Cpu, "0.5 % of time", Ok(()));
        check_of(Resource::Cpu, "1 per day", Err("how much of the time, as in \"0.5 % of time\""));
        check_of(Resource::Memory, "0.5 % of time", Err("how often, as in \"1 per 30 days\""));
        check_of(Resource::Memory, "often", Err("cannot read the risk \"often\""));
        assert_eq!(Risk::Share(0.001).price_factor(Resource::Memory), 1.0);
    }

    #[test]
    fn less_risk_has_a_higher_price() {
        let price = |text: &str, resource| Risk::of(resource, text).unwrap().price_factor(resource);
        assert!(price("1 per 30 days", Resource::Memory) > price("1 per 3 days", Resource::Memory));
        assert!(price("0.1 % of time", Resource::Cpu) > price("1 % of time", Resource::Cpu));
    }
}
