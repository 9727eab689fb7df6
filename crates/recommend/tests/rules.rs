//! Every rule that an account can name comes to pass, and does what it says.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeMap;

use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::explain::Rule;
use supple_recommend::policy::Policy;
use supple_recommend::sample::{Sample, Size, amount};
use supple_recommend::state::{Cursor, State, Taken};
use supple_recommend::strategy::Strategy;
use supple_recommend::supple::Supple;

const MEBI: i64 = 1_048_576;
const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

/// A container at work under its own sizes, a sample a minute.
struct Life {
    strategy: Supple,
    minute: i64,
    size: Size,
    /// Minutes after which an account named a rule, the first of each.
    rules: BTreeMap<String, i64>,
}

impl Life {
    fn new(policy: Policy) -> Self {
        Self { strategy: Supple::new(policy), minute: 0, size: Size::default(), rules: BTreeMap::new() }
    }

    /// A minute of so much CPU (thousandths) and memory (MiB), and what else is measured.
    fn minute(&mut self, cpu: f64, memory: f64, more: Sample) {
        let time = self.minute * 60;
        let sample = Sample { time, cpu: Some(cpu), memory: Some(memory * amount(MEBI)), ..more };
        Strategy::observe(&mut self.strategy, 0, &sample);
        self.size = self.strategy.size(0, time, &self.size);
        let told = *self.strategy.explanation();
        for account in [told.cpu, told.memory].into_iter().flatten() {
            self.rules.entry(format!("{:?}", account.rule)).or_insert(self.minute);
        }
        self.minute += 1;
    }

    fn minutes(mut self, count: i64, cpu: impl Fn(i64) -> f64, memory: f64) -> Self {
        for _ in 0..count {
            let cpu = cpu(self.minute);
            self.minute(cpu, memory, Sample::default());
        }
        self
    }

    fn memory(&self) -> f64 {
        amount(self.size.memory_limit.map_or(0, |it| it.0)) / amount(MEBI)
    }

    fn memory_rule(&self) -> Option<Rule> {
        self.strategy.explanation().memory.map(|it| it.rule)
    }
}

/// Steady for a day: 100m and 300 MiB.
fn steady() -> Life {
    Life::new(Policy::default()).minutes(DAY, |_| 100.0, 300.0)
}

/// Steady for a day, and then a minute near the limit.
fn raised() -> Life {
    let mut life = steady();
    let near = 0.985 * life.memory();
    life.minute(100.0, near, Sample::default());
    life
}

fn within(least: i64, most: i64) -> Policy {
    let mut policy = Policy::default();
    (policy.memory.least, policy.memory.most) = (least * MEBI, most * MEBI);
    policy
}

#[test]
fn every_rule_comes_to_pass() {
    use Rule::{Habit, Hold, Least, Most, Plan, Raise, Stay, Veto};
    let burst = |minute: i64| if minute % HOUR < 5 { 2000.0 } else { 50.0 };
    for rule in [Plan, Stay, Raise, Hold, Veto, Habit, Least, Most] {
        // Whoever adds a rule is sent here by the compiler.
        let life = match rule {
            Plan | Stay => steady(),
            Raise => raised(),
            Hold => raised().minutes(HOUR, |_| 100.0, 300.0),
            Veto => {
                let mut life = Life::new(Policy::default()).minutes(DAY, |_| 1000.0, 300.0);
                let throttled = Sample { throttled: Some(0.06), ..Sample::default() };
                (0..2 * DAY).for_each(|_| life.minute(100.0, 300.0, throttled));
                life
            }
            Habit => Life::new(Policy::default()).minutes(3 * DAY, burst, 300.0),
            Least => Life::new(within(512, 1024)).minutes(1, |_| 100.0, 300.0),
            Most => Life::new(within(64, 128)).minutes(1, |_| 100.0, 300.0),
        };
        assert!(life.rules.contains_key(&format!("{rule:?}")), "{rule:?} is not among {:?}", life.rules);
    }
}

#[test]
fn what_was_raised_in_haste_is_held_for_two_hours_and_then_given_back() {
    let before = steady().memory();
    let mut life = raised();
    let high = life.memory();
    assert!((high - 0.985 * before * 1.2).abs() < 0.001, "a fifth above the use: {before} became {high}");
    assert_eq!(life.memory_rule(), Some(Rule::Raise));
    let mut held = 0_i64;
    while life.minute < DAY + 2 * HOUR {
        life.minute(100.0, 300.0, Sample::default());
        assert_eq!(life.memory(), high, "minute {}", life.minute);
        held += i64::from(life.memory_rule() == Some(Rule::Hold));
    }
    // The plan looked, and had wanted it back all the while.
    assert!(held > HOUR, "held is told for {held} minutes");
    while life.memory() == high && life.minute < DAY + 3 * HOUR {
        life.minute(100.0, 300.0, Sample::default());
    }
    assert!(life.memory() < high, "an hour later it is still {high}");
    assert_eq!(life.memory_rule(), Some(Rule::Plan));
}

/// What the slow path says of memory at 4 GiB where a tenth of that is used, after a minute that measured this.
#[track_caller]
fn check_slow_path(latest: Sample, rule: Rule) {
    let mut life = steady();
    let four = Some(Bytes(4096 * MEBI));
    life.size = Size { memory_request: four, memory_limit: four, ..life.size };
    let time = life.minute * 60;
    let (cpu, memory) = (Some(100.0), Some(300.0 * amount(MEBI)));
    let _ = life.strategy.observe(0, &Sample { time, cpu, memory, ..latest });
    let part = life.strategy.advise(0, time, &life.size).memory.unwrap();
    assert_eq!(part.account.rule, rule, "{part:?}");
    let kept = part.request == 4096 * MEBI;
    assert_eq!(kept, rule == Rule::Veto, "{part:?}");
    assert!(part.lower <= part.request && part.request <= part.upper && part.limit == Some(part.request), "{part:?}");
}

#[test]
fn a_decrease_is_vetoed_under_pressure() {
    check_slow_path(Sample::default(), Rule::Plan);
    check_slow_path(Sample { memory_pressure: Some(0.05), ..Sample::default() }, Rule::Plan);
    check_slow_path(Sample { memory_pressure: Some(0.2), ..Sample::default() }, Rule::Veto);
    check_slow_path(Sample { memory_breached: true, ..Sample::default() }, Rule::Veto);
}

#[test]
fn cpu_is_not_lowered_while_tasks_wait_for_one() {
    let rule = |cpu_pressure| {
        let mut life = steady();
        let time = life.minute * 60;
        let _ = life.strategy.observe(0, &Sample { time, cpu: Some(100.0), cpu_pressure, ..Sample::default() });
        let size = Size { cpu_request: Some(MilliCpu(4000)), ..life.size };
        life.strategy.advise(0, time, &size).cpu.unwrap().account.rule
    };
    assert_eq!((rule(None), rule(Some(0.2)), rule(Some(0.3))), (Rule::Plan, Rule::Plan, Rule::Veto));
}

/// Pressure and `memory.events` raise by a fifth at once. The reading that told of them is there for a while after the raise that
/// answered it, so for five minutes they say nothing new.
#[test]
fn pressure_raises_once_and_not_with_every_sample_that_tells_of_it() {
    for latest in [
        Sample { memory_pressure: Some(0.2), ..Sample::default() },
        Sample { memory_breached: true, ..Sample::default() },
    ] {
        let mut life = steady();
        let before = life.memory();
        life.minute(100.0, 300.0, latest);
        let raised = life.memory();
        assert!((raised - before * 1.2).abs() < 0.001, "{before} became {raised}");
        (0..4).for_each(|_| life.minute(100.0, 300.0, latest));
        assert_eq!(life.memory(), raised);
        // Still there after that: it was not enough.
        life.minute(100.0, 300.0, latest);
        assert!((life.memory() - raised * 1.2).abs() < 0.001, "{raised} became {}", life.memory());
    }
    // A limit that is met though the working set is far from it is met by page cache.
    for (limit, raises) in [(340, true), (400, false)] {
        let mut life = steady();
        let before = life.memory();
        let latest = Sample { memory_breached: true, memory_limit: Some(Bytes(limit * MEBI)), ..Sample::default() };
        life.minute(100.0, 300.0, latest);
        assert_eq!(life.memory() > before, raises, "300 of {limit} MiB");
    }
    // Use near the limit does not wait.
    let mut life = raised();
    let high = life.memory();
    life.minute(100.0, 0.985 * high, Sample::default());
    assert!(life.memory() > high * 1.18);
}

#[test]
fn throttling_raises_at_once() {
    let mut life = steady();
    let before = life.size.cpu_request.unwrap();
    life.minute(100.0, 300.0, Sample { throttled: Some(0.2), ..Sample::default() });
    // A quarter more, rounded up.
    assert_eq!(life.size.cpu_request, Some(MilliCpu((before.0 * 5 + 3) / 4)));
    assert_eq!(life.strategy.explanation().cpu.map(|it| it.rule), Some(Rule::Raise));
}

/// Hours that count after one sample an hour in those of the given hours that `runs` is true of.
fn hours(of: std::ops::Range<i64>, memory: bool, runs: impl Fn(i64) -> bool) -> u16 {
    let (mut state, mut cursor) = (State::default(), Cursor::default());
    for hour in of.filter(|it| runs(*it)) {
        let memory = memory.then_some(100.0 * amount(MEBI));
        let sample = Sample { time: hour * 3600, cpu: Some(100.0), memory, ..Sample::default() };
        assert_eq!(state.observe(&mut cursor, &sample, &Policy::default()), Taken::Counted);
    }
    state.hours()
}

#[test]
fn an_hour_that_is_long_gone_is_no_hour_of_history() {
    let away = |from: i64, hours: i64| move |hour: i64| hour < from || from + hours <= hour;
    for memory in [true, false] {
        assert_eq!(hours(0..721, memory, |_| true), 720, "{memory}");
        // At nothing over the holidays: what the peak of a day is has to be learned anew.
        assert_eq!(hours(0..720 + 192 + 1, memory, away(720, 192)), 0, "{memory}");
        assert_eq!(hours(0..720 + 192 + 24, memory, away(720, 192)), 23, "{memory}");
        // Once a day, every day: the week knows as much after each run.
        assert_eq!(hours(0..40 * 24, memory, |hour| hour % 24 == 3), 39, "{memory}");
        assert_eq!(
            hours(0..60 * 24, memory, |hour| hour / 24 % 7 < 5),
            hours(0..60 * 24, false, |hour| hour / 24 % 7 < 5)
        );
    }
    // Of what a day's outage takes, a seventh of what was known; of almost a week's nearly all.
    assert_eq!(hours(0..720 + 24 + 1, true, away(720, 24)), 617);
    assert_eq!(hours(0..720 + 160 + 1, true, away(720, 160)), 34);
    assert_eq!(hours(0..40 + 20 + 1, true, away(40, 20)), 40, "all of them are of the last week");
}
