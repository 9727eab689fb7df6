//! Guards: PromQL expressions that are watched after a resize. What of an answer is harm, and what of that the resize did.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use supple_quantity::Quantity;

use crate::check::sight::after;
pub use crate::settle::guarded_since;

/// A guard: a PromQL expression that is watched after a resize.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Its name, for people.
    pub name: String,
    /// The expression; its answer is one number.
    pub query: String,
    /// Harm is what lies above this; `None`: nothing above is harm.
    pub above: Option<Billionths>,
    /// Harm is what lies below this.
    pub below: Option<Billionths>,
}

/// A number of a guard, in billionths, as fine as a quantity can be: a share of errors is often far below a thousandth, and a size
/// in bytes far above what 64 bits hold of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Billionths(pub i128);

impl Billionths {
    /// An answer, rounded.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, and what lies beyond that is crossed all the same"
    )]
    pub fn of(value: f64) -> Self {
        Self((value * 1e9).round() as i128)
    }
}

impl From<&Quantity> for Billionths {
    fn from(quantity: &Quantity) -> Self {
        Self(quantity.billionths())
    }
}

impl fmt::Display for Billionths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ONE: u128 = 1_000_000_000;
        let (sign, size) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let text = format!("{sign}{}.{:09}", size / ONE, size % ONE);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// What the expression of a guard came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardReading {
    /// The guard's name.
    pub name: String,
    /// Of which pod; `None`: its query names none, and it speaks of the whole workload.
    pub pod: Option<Arc<str>>,
    /// Of which container; `None`: its query names none.
    pub container: Option<Arc<str>>,
    /// When it was evaluated.
    pub at: Timestamp,
    /// The answer.
    pub value: Billionths,
    /// Where the answer is harm: what the same query came to at the moments of the resizes that are watched; `None`: nothing then.
    /// What a resize did is only what was not so before it.
    pub before: Vec<(Timestamp, Option<Billionths>)>,
    /// When it was last seen without harm, as far as this process has asked.
    pub well: Option<Timestamp>,
}

/// What `$step` stands for in the query of a guard, in seconds.
pub const STEP_SECONDS: u32 = 60;

/// A resize is done and seen in what is measured after this much time: nodes need seconds, and what is measured comes from every
/// half minute or so.
pub(crate) const LEAST_DELAY: SignedDuration = SignedDuration::from_mins(1);

impl Guard {
    /// Whether a value is harm, and why, in words.
    #[must_use]
    pub fn crossed(&self, value: Billionths) -> Option<String> {
        match (self.above, self.below) {
            (Some(bound), _) if value > bound => Some(format!("above {bound}")),
            (_, Some(bound)) if value < bound => Some(format!("below {bound}")),
            _ => None,
        }
    }

    /// How long after a resize its answers begin to count: when none of the time that its query looks back over is before the
    /// resize, as far as the query says; at the latest, when half of the time in which the resize is watched is over, or a guard
    /// that looks back further would guard nothing. Against what even then is from before, there is what it read at the resize.
    pub(crate) fn delay(&self, settle: SignedDuration) -> SignedDuration {
        let looks_back = looks_back(&self.query).unwrap_or(SignedDuration::MAX);
        looks_back.max(LEAST_DELAY).min(settle / 2)
    }

    /// Whether the harm that was read is one that a resize did: it counts by the time it was read, and at the resize there was none, or
    /// it has been seen gone since. `since` is when what is to blame was done; `last` is the newest resize of the pod.
    pub(crate) fn blames(
        &self,
        reading: &GuardReading,
        since: Timestamp,
        last: Timestamp,
        settle: SignedDuration,
    ) -> bool {
        let from = after(last, self.delay(settle));
        let was_well_at_first = || {
            let before = reading.before.iter().find(|it| it.0 == baseline(since));
            // Not asked yet is not known, and waits for the next reading; nothing to be read is no harm.
            before.is_some_and(|(_, value)| value.is_none_or(|it| self.crossed(it).is_none()))
        };
        reading.at >= from && (reading.well.is_some_and(|it| it >= from) || was_well_at_first())
    }
}

/// The moment at which a guard is asked for what was before a resize: its second has begun, so that resizes of one round share one
/// question.
#[must_use]
pub fn baseline(resized: Timestamp) -> Timestamp {
    Timestamp::from_second(resized.as_second()).unwrap_or(resized)
}

/// Over how much time a query looks back by what stands in it: the longest range, and every subquery around it. `None`: a range cannot
/// be read. What a recording rule looks back over does not stand there.
fn looks_back(query: &str) -> Option<SignedDuration> {
    let (mut range, mut around) = (SignedDuration::ZERO, SignedDuration::ZERO);
    let mut rest = query.chars();
    while let Some(one) = rest.next() {
        match one {
            '"' | '\'' | '`' => {
                while rest
                    .next()
                    .filter(|it| *it != one)
                    .is_some_and(|it| it != '\\' || one == '`' || rest.next().is_some())
                {}
            }
            '#' => drop(rest.by_ref().find(|it| *it == '\n')),
            '[' => {
                let said: String = rest.by_ref().take_while(|it| *it != ']').collect();
                match said.split_once(':') {
                    Some((said, _)) => around = around.checked_add(duration(said)?)?,
                    None => range = range.max(duration(&said)?),
                }
            }
            _ => {}
        }
    }
    range.checked_add(around)
}

/// A duration as PromQL writes it: `1h30m`, `90` in seconds.
fn duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text.trim();
    if rest == "$step" || rest == "${step}" {
        return Some(SignedDuration::from_secs(i64::from(STEP_SECONDS)));
    }
    if let Ok(seconds) = rest.parse() {
        return Some(SignedDuration::from_secs(seconds));
    }
    let mut millis = 0_i64;
    while !rest.is_empty() {
        let (amount, unit) = rest.split_at(rest.find(|it: char| !it.is_ascii_digit())?);
        let (name, left) = unit.split_at(unit.find(|it: char| it.is_ascii_digit()).unwrap_or(unit.len()));
        let of_unit = match name {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return None,
        };
        millis = millis.checked_add(amount.parse::<i64>().ok()?.checked_mul(of_unit)?)?;
        rest = left;
    }
    (!text.trim().is_empty()).then(|| SignedDuration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_back(query: &str, seconds: Option<i64>) {
        assert_eq!(looks_back(query).map(|it| it.as_secs()), seconds, "{query}");
    }

    #[test]
    fn how_far_a_query_looks_back_is_read_off_it() {
        check_back("up", Some(0));
        check_back("rate(errors[2m])", Some(120));
        check_back("rate(errors[ 90s ]) / rate(all[1h30m])", Some(5400));
        check_back("rate(errors[$step]) + rate(errors[${step}])", Some(60));
        check_back("rate(errors[300])", Some(300));
        check_back("max_over_time(rate(errors[2m])[10m:1m])", Some(720));
        check_back("max_over_time(rate(errors[2m])[10m:])", Some(720));
        check_back(r#"rate(errors{code=~"[45]..",path!~'\'[9d]',q=`\`}[2m]) # [3h]"#, Some(120));
        for unread in ["rate(errors[2 minutes])", "rate(errors[])", "x[", "x[m]", "x[99999999999999999y]", "x[1.5h]"] {
            check_back(unread, None);
        }
        check_back("\"", Some(0));
        check_back("\"\\", Some(0));
    }

    #[track_caller]
    fn check_delay(query: &str, settle: i64, seconds: i64) {
        let guard = Guard { name: String::new(), query: query.to_owned(), above: None, below: None };
        assert_eq!(guard.delay(SignedDuration::from_secs(settle)).as_secs(), seconds, "{query} within {settle} s");
    }

    #[test]
    fn a_guard_counts_once_what_it_looks_back_over_is_after_the_resize_and_never_too_late_to_count() {
        check_delay("rate(errors[2m])", 600, 120);
        check_delay("up", 300, 60);
        check_delay("rate(errors[30s])", 300, 60);
        check_delay("rate(errors[10m])", 300, 150);
        check_delay("rate(errors[1.5h])", 300, 150);
        check_delay("up", 20, 10);
        check_delay("up", 0, 0);
    }

    #[track_caller]
    fn check_text(value: Billionths, text: &str) {
        assert_eq!(value.to_string(), text);
    }

    #[test]
    fn numbers_keep_what_they_were_written_with() {
        for text in ["0.0005", "-0.25", "0.000000001", "12", "0", "10737418240.5", "-3"] {
            check_text(Billionths::from(&text.parse::<Quantity>().unwrap()), text);
        }
        check_text(Billionths::from(&"10Gi".parse::<Quantity>().unwrap()), "10737418240");
        check_text(Billionths::from(&"250m".parse::<Quantity>().unwrap()), "0.25");
        check_text(Billionths::of(0.000_499_9), "0.0004999");
        check_text(Billionths::of(-0.1), "-0.1");
        assert_eq!(Billionths::of(f64::MAX).0, i128::MAX);
        assert!(Billionths(i128::MIN).to_string().starts_with('-'));
    }
}
