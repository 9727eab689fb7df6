//! How much a simulated container uses at which age: shapes of CPU and memory over time, as text and as numbers. Pure,
//! and integers throughout, so that two machines compute the same bits.
//!
//! ```text
//!   cpu=wave(50m,400m,5m) memory=ramp(64Mi,512Mi,10m) noise=5 exit=1@90s
//! ```
//!
//! `cpu` and `memory` take a quantity (`200m`: always that) or one of `ramp(from,to,over)` (then stays), `wave(low,high,
//! period)` (up and down in straight lines), `saw(from,to,period)` (up, then falls back), `burst(base,peak,every,
//! lasting)`. `noise` is a percentage around the CPU figure. `phase=AGE`: both shapes are as if the container had begun so
//! much earlier. `exit=CODE@AGE` ends the container. Several containers of
//! one pod are told apart by `name:` before a pattern and `|` between patterns; one without a name is for all others.

use std::str::FromStr;
use std::time::Duration;

use supple_quantity::Quantity;

/// The annotation of a pod whose value is read here.
pub const ANNOTATION: &str = "supple.dev/usage-pattern";

/// A course over time. Amounts are thousandths of a core or bytes, times nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Always the same.
    Steady(u64),
    /// From one amount to another in this time, and there it stays.
    Ramp(u64, u64, u64),
    /// Low, high, and low again within a period.
    Wave(u64, u64, u64),
    /// From one amount to another within a period, then anew.
    Saw(u64, u64, u64),
    /// A base, and at the end of each period a peak of this length.
    Burst(u64, u64, u64, u64),
}

impl Shape {
    /// The most it ever is.
    pub fn most(&self) -> u64 {
        match *self {
            Self::Steady(amount) => amount,
            Self::Ramp(a, b, _) | Self::Wave(a, b, _) | Self::Saw(a, b, _) | Self::Burst(a, b, _, _) => a.max(b),
        }
    }

    /// The amount at this age.
    pub fn at(&self, age: Duration) -> u64 {
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        match *self {
            Self::Steady(amount) => amount,
            Self::Ramp(from, to, over) => between(from, to, age.min(over), over),
            Self::Wave(low, high, period) => {
                let (at, half) = (age % period.max(1), (period / 2).max(1));
                if at <= half { between(low, high, at, half) } else { between(high, low, (at - half).min(half), half) }
            }
            Self::Saw(from, to, period) => between(from, to, age % period.max(1), period),
            Self::Burst(base, peak, every, lasting) => {
                if age % every.max(1) >= every.saturating_sub(lasting) {
                    peak
                } else {
                    base
                }
            }
        }
    }
}

/// The amount after `part` of `whole` on the straight way from one to another.
fn between(from: u64, to: u64, part: u64, whole: u64) -> u64 {
    let (part, whole) = (u128::from(part), u128::from(whole.max(1)));
    // Two factors below 2^64 each: no product overflows, and the sum of the weights is one whole.
    let amount = (u128::from(from) * whole.saturating_sub(part) + u128::from(to) * part) / whole;
    u64::try_from(amount).unwrap_or(u64::MAX)
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// CPU it would use, thousandths of a core.
    pub cpu: Shape,
    /// Memory it holds, bytes.
    pub memory: Shape,
    /// Percent by which its CPU strays.
    pub noise: u8,
    /// How much older it is than its container.
    pub phase: Duration,
    /// When it ends by itself, and with which code.
    pub exit: Option<(Duration, i32)>,
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "usage pattern {text:?}: {what}; expected for example \"cpu=wave(50m,400m,5m) memory=ramp(64Mi,512Mi,10m) noise=5 exit=1@90s\""
)]
pub struct PatternError {
    text: String,
    what: String,
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |what: String| PatternError { text: text.chars().take(200).collect(), what };
        let mut pattern = Self::steady(1, 1 << 20);
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(|| wrong(format!("{word:?} has no \"=\"")))?;
            let bad = || wrong(format!("{value:?} is no value of {key:?}"));
            match key {
                "cpu" => pattern.cpu = shape(value, milli).ok_or_else(bad)?,
                "memory" => pattern.memory = shape(value, bytes).ok_or_else(bad)?,
                "noise" => pattern.noise = value.parse().ok().filter(|it| *it <= 100).ok_or_else(bad)?,
                "phase" => pattern.phase = Duration::from_nanos(nanos(value).ok_or_else(bad)?),
                "exit" => {
                    let (code, age) = value.split_once('@').ok_or_else(bad)?;
                    let code = code.parse().ok().filter(|it| (0..256).contains(it)).ok_or_else(bad)?;
                    pattern.exit = Some((Duration::from_nanos(nanos(age).ok_or_else(bad)?), code));
                }
                other => return Err(wrong(format!("{other:?} is unknown"))),
            }
        }
        Ok(pattern)
    }
}

impl Pattern {
    /// Always the same, without noise and without end.
    pub const fn steady(cpu: u64, memory: u64) -> Self {
        Self { cpu: Shape::Steady(cpu), memory: Shape::Steady(memory), noise: 0, phase: Duration::ZERO, exit: None }
    }

    /// The pattern of `container` in the value of the annotation; `None` where it says nothing of this container.
    ///
    /// # Errors
    /// [`PatternError`] for the part that concerns this container.
    pub fn of_container(annotation: &str, container: &str) -> Result<Option<Self>, PatternError> {
        let mut for_all = None;
        for part in annotation.split('|').map(str::trim) {
            match part.split_once(':') {
                Some((name, pattern)) if name.trim() == container => return pattern.parse().map(Some),
                Some(_) => {}
                None if part.is_empty() => {}
                None => for_all = Some(part),
            }
        }
        for_all.map(str::parse).transpose()
    }

    /// What a command is likely to do, where it says so itself: the demonstration's workloads and scripts that only end.
    pub fn of_command(command: &[String]) -> Option<Self> {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let text = match words.as_slice() {
            [_, "workload", kind, ..] => match *kind {
                "steady" => "cpu=100m memory=76Mi noise=5",
                "growing" => "cpu=20m memory=ramp(4Mi,260Mi,256s) noise=10",
                "bursts" => "cpu=burst(20m,700m,35s,20s) memory=12Mi noise=5",
                "idle" | "stand-in" => "cpu=1m memory=4Mi",
                _ => return None,
            },
            ["true"] => "exit=0@0s",
            ["false"] => "exit=1@0s",
            ["sh" | "/bin/sh", "-c", script] => {
                let code = script.trim().strip_prefix("exit ")?.trim();
                return format!("exit={code}@0s").parse().ok();
            }
            _ => return None,
        };
        text.parse().ok()
    }

    /// CPU at this age with its noise, thousandths of a core; `draw` is any number, and the same one gives the same.
    pub fn cpu_at(&self, age: Duration, draw: u64) -> u64 {
        let age = age.saturating_add(self.phase);
        let (base, noise) = (self.cpu.at(age), u64::from(self.noise.min(100)));
        let percent = 100 - noise + draw % (2 * noise + 1);
        base.saturating_mul(percent) / 100
    }

    /// Memory at this age, bytes.
    pub fn memory_at(&self, age: Duration) -> u64 {
        self.memory.at(age.saturating_add(self.phase))
    }
}

fn shape(text: &str, amount: fn(&str) -> Option<u64>) -> Option<Shape> {
    let Some((name, arguments)) = text.split_once('(') else { return amount(text).map(Shape::Steady) };
    let arguments: Vec<&str> = arguments.strip_suffix(')')?.split(',').collect();
    let period = |text| nanos(text).filter(|it| *it > 0);
    Some(match (name, arguments.as_slice()) {
        ("steady", [it]) => Shape::Steady(amount(it)?),
        ("ramp", [from, to, over]) => Shape::Ramp(amount(from)?, amount(to)?, period(over)?),
        ("wave", [low, high, every]) => Shape::Wave(amount(low)?, amount(high)?, period(every)?),
        ("saw", [from, to, every]) => Shape::Saw(amount(from)?, amount(to)?, period(every)?),
        ("burst", [base, peak, every, lasting]) => {
            Shape::Burst(amount(base)?, amount(peak)?, period(every)?, nanos(lasting)?)
        }
        _ => return None,
    })
}

fn milli(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<Quantity>().ok()?.milli()).ok()
}

fn bytes(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<Quantity>().ok()?.value()).ok()
}

/// A whole number of `ms`, `s`, `m` or `h`.
fn nanos(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..)? {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, seconds: u64, cpu_and_memory: (u64, u64)) {
        let pattern: Pattern = text.parse().unwrap();
        let age = Duration::from_secs(seconds);
        assert_eq!((pattern.cpu_at(age, 0), pattern.memory_at(age)), cpu_and_memory, "{text} at {seconds} s");
    }

    #[test]
    fn shapes() {
        check("cpu=200m memory=1Ki", 7, (200, 1024));
        check("cpu=ramp(0,1,10s) memory=steady(1k)", 5, (500, 1000));
        check("cpu=ramp(0,1,10s) memory=0", 50, (1000, 0));
        check("cpu=wave(100m,300m,10s) memory=saw(10,20,10s)", 5, (300, 15));
        check("cpu=wave(100m,300m,10s) memory=saw(10,20,10s)", 10, (100, 10));
        check("cpu=burst(1m,9m,10s,2s) memory=0", 7, (1, 0));
        check("cpu=burst(1m,9m,10s,2s) memory=0", 8, (9, 0));
        check("cpu=100m memory=0 noise=20", 0, (80, 0));
        check("cpu=wave(100m,300m,10s) memory=ramp(10,20,10s) phase=4s", 1, (300, 15));
    }

    #[test]
    fn containers_of_one_annotation() {
        let text = "app: cpu=1 memory=1 | cpu=2";
        let cpu = |name| Pattern::of_container(text, name).unwrap().map(|it| it.cpu);
        assert_eq!(cpu("app"), Some(Shape::Steady(1000)));
        assert_eq!(cpu("sidecar"), Some(Shape::Steady(2000)));
        assert_eq!(Pattern::of_container("app: cpu=1", "sidecar"), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        #[track_caller]
        fn check(text: &str, what: &str) {
            let error = text.parse::<Pattern>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("usage pattern {text:?}: {what}; expected")), "{error}");
        }
        check("cpu", r#""cpu" has no "=""#);
        check("cpu=fast", r#""fast" is no value of "cpu""#);
        check("cpu=ramp(1,2)", r#""ramp(1,2)" is no value of "cpu""#);
        check("cpu=wave(1,2,0s)", r#""wave(1,2,0s)" is no value of "cpu""#);
        check("memory=-1", r#""-1" is no value of "memory""#);
        check("disk=1", r#""disk" is unknown"#);
        check("phase=soon", r#""soon" is no value of "phase""#);
        check("exit=300@1s", r#""300@1s" is no value of "exit""#);
    }

    #[test]
    fn commands_that_say_what_they_do() {
        let of = |words: &[&str]| Pattern::of_command(&words.iter().map(|&it| it.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["sh", "-c", "exit 3"]).and_then(|it| it.exit), Some((Duration::ZERO, 3)));
        assert_eq!(of(&["/bin/supple", "workload", "idle"]).map(|it| it.cpu), Some(Shape::Steady(1)));
        assert_eq!(of(&["sh", "-c", "sleep 1; exit 3"]), None);
        assert_eq!(of(&[]), None);
    }

    proptest! {
        #[test]
        fn no_text_and_no_age_panics(
            text in r"(cpu=|memory=|noise=|phase=|exit=|wave|saw|ramp|burst|\(|\)|,|[0-9]{1,20}|Gi|m|s|ms|h|@| |\||:|x){0,24}",
            age: u64, draw: u64,
        ) {
            let _ = Pattern::of_container(&text, "x");
            if let Ok(pattern) = text.parse::<Pattern>() {
                let age = Duration::from_nanos(age);
                let _ = (pattern.cpu_at(age, draw), pattern.memory_at(age));
            }
        }

        #[test]
        fn a_shape_stays_between_its_amounts(low in 0_u64..1 << 50, more in 0_u64..1 << 50, period in 1_u64..1 << 50, age: u64) {
            let (high, age) = (low + more, Duration::from_nanos(age));
            for shape in [Shape::Ramp(low, high, period), Shape::Wave(low, high, period), Shape::Saw(low, high, period)] {
                prop_assert!((low..=high).contains(&shape.at(age)), "{shape:?}");
                prop_assert!(shape.at(age) <= shape.most(), "{shape:?}");
            }
        }
    }
}
