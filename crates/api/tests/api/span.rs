//! When a schedule is: weekdays, long windows, the nights in which clocks are changed, and what is no schedule.

use jiff::{SignedDuration, Timestamp};
use supple_api::span::{AHEAD, BEHIND, SpanError, always, duration, spans, zone};

const BERLIN: &str = "Europe/Berlin";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The spans around noon of a day, as `from/until` in UTC.
#[track_caller]
fn check(schedule: &str, lasting: &str, zone: &str, now: &str, expect: &[&str]) {
    let found = spans(schedule, lasting, Some(zone), at(now)).unwrap();
    let shown: Vec<String> = found.iter().map(|(from, until)| format!("{from}/{until}")).collect();
    assert_eq!(shown, expect, "{schedule} for {lasting} {zone}");
}

#[test]
fn a_day_behind_and_a_week_ahead() {
    check(
        "0 22 * * 5",
        "8h",
        "UTC",
        "2026-11-28T12:00:00Z",
        &["2026-11-27T22:00:00Z/2026-11-28T06:00:00Z", "2026-12-04T22:00:00Z/2026-12-05T06:00:00Z"],
    );
    // It ended before the time that is looked at.
    check("0 1 27 11 *", "1h", "UTC", "2026-11-28T12:00:00Z", &[]);
    // It began long before, and is open still.
    check("0 0 22 11 *", "168h", "UTC", "2026-11-28T12:00:00Z", &["2026-11-22T00:00:00Z/2026-11-29T00:00:00Z"]);
    check("0 0 30 2 *", "1h", "UTC", "2026-11-28T12:00:00Z", &[]);
}

#[test]
fn fields_mean_what_cron_means_by_them() {
    let beginnings = |schedule: &str| {
        let found = spans(schedule, "1m", None, at("2026-11-28T12:00:00Z")).unwrap();
        found.iter().map(|it| it.0.to_string()).collect::<Vec<_>>()
    };
    // The 1st of the month or a Monday: one of the two is enough.
    assert_eq!(beginnings("0 3 1 * 1"), ["2026-11-30T03:00:00Z", "2026-12-01T03:00:00Z"]);
    assert_eq!(beginnings("0 3 * * sun"), beginnings("0 3 * * 0"));
    assert_eq!(beginnings("0 3 * * 7"), beginnings("0 3 * * 0"));
    assert_eq!(beginnings("30 3 1 dec *"), ["2026-12-01T03:30:00Z"]);
    assert_eq!(beginnings("0 0 L * *"), ["2026-11-30T00:00:00Z"], "the last day of the month");
    assert_eq!(beginnings("15,45 3-4 1 12 *").len(), 4);
    assert_eq!(beginnings("*/20 3 1 12 *").len(), 3);
}

#[test]
fn what_touches_is_one_span() {
    check("0 * * * *", "1h", "UTC", "2026-11-28T12:30:00Z", &["2026-11-27T10:00:00Z/2026-12-06T13:00:00Z"]);
    let found = spans("* * * * *", "30s", None, at("2026-11-28T12:00:00Z")).unwrap();
    let minutes = (AHEAD + BEHIND).as_mins();
    assert_eq!(i64::try_from(found.len()).unwrap(), minutes);
}

/// 29 March 2026: at 02:00 clocks go to 03:00.
#[test]
fn the_night_an_hour_short() {
    let now = "2026-03-28T20:00:00Z";
    let night = |schedule, lasting| spans(schedule, lasting, Some(BERLIN), at(now)).unwrap();
    // 22:00 on the 28th is 21:00Z; eight hours later it is 07:00 on the wall.
    assert_eq!(night("0 22 28 3 *", "8h"), [(at("2026-03-28T21:00:00Z"), at("2026-03-29T05:00:00Z"))]);
    // 02:30 is left out: it begins when the clock jumps.
    assert_eq!(night("30 2 29 3 *", "1h"), [(at("2026-03-29T01:00:00Z"), at("2026-03-29T02:00:00Z"))]);
    // The day after it is summer.
    assert_eq!(night("30 2 30 3 *", "1h"), [(at("2026-03-30T00:30:00Z"), at("2026-03-30T01:30:00Z"))]);
    assert_eq!(night("0 * 29 3 *", "1h"), [(at("2026-03-28T23:00:00Z"), at("2026-03-29T22:00:00Z"))]);
}

/// 25 October 2026: at 03:00 clocks go back to 02:00.
#[test]
fn the_night_an_hour_long() {
    let now = "2026-10-24T20:00:00Z";
    let night = |schedule, lasting| spans(schedule, lasting, Some(BERLIN), at(now)).unwrap();
    assert_eq!(night("0 22 24 10 *", "8h"), [(at("2026-10-24T20:00:00Z"), at("2026-10-25T04:00:00Z"))]);
    // 02:30 comes twice: the first of the two.
    assert_eq!(night("30 2 25 10 *", "30m"), [(at("2026-10-25T00:30:00Z"), at("2026-10-25T01:00:00Z"))]);
    // Every hour is every hour, also the one that comes again.
    assert_eq!(night("0 * 25 10 *", "1h"), [(at("2026-10-24T22:00:00Z"), at("2026-10-25T23:00:00Z"))]);
}

#[test]
fn zones_come_with_the_program() {
    for name in ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC", "utc", "Etc/UTC"] {
        assert!(zone(name).is_some(), "{name}");
    }
    assert!(zone("Mars/Olympus").is_none());
    check("0 0 29 11 *", "1h", "Asia/Kolkata", "2026-11-28T12:00:00Z", &["2026-11-28T18:30:00Z/2026-11-28T19:30:00Z"]);
}

#[test]
fn what_cannot_be_read_says_what_to_write() {
    let now = at("2026-11-28T12:00:00Z");
    let errors = |schedule: &str, lasting: &str, zone: &str| spans(schedule, lasting, Some(zone), now).unwrap_err();
    let says = |schedule: &str, lasting: &str, zone: &str| {
        let errors = errors(schedule, lasting, zone);
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors.into_iter().next().unwrap()
    };
    for schedule in ["", "@daily", "0 22 * *", "0 22 * * * *"] {
        assert!(matches!(says(schedule, "1h", "UTC"), SpanError::Schedule(_)), "{schedule}");
    }
    for (schedule, field) in [
        ("99 22 * * *", "its minute is \"99\"; write 0 to 59"),
        ("0 24 * * *", "its hour is \"24\"; write 0 to 23"),
        ("0 0 32 * *", "its day of the month is \"32\"; write 1 to 31"),
        ("0 0 * 13 *", "its month is \"13\"; write 1 to 12 or JAN to DEC"),
        ("0 0 * * 8", "its day of the week is \"8\"; write 0 to 7 or SUN to SAT"),
    ] {
        let told = says(schedule, "1h", "UTC").to_string();
        assert_eq!(told, format!("cannot parse the schedule {schedule:?}: {field}"));
    }
    for lasting in ["", "8", "0s", "-1h", "1d", "169h", "99999999999999999999h"] {
        assert!(matches!(says("0 0 * * *", lasting, "UTC"), SpanError::Duration(_)), "{lasting}");
    }
    let error = says("0 0 * * *", "1h", "Berlin");
    assert_eq!((error.field(), error.to_string().contains("Europe/Berlin")), ("timeZone", true));
    // All of it is said at once.
    let fields: Vec<&str> = errors("99 25 * * *", "8", "Mars/Base").iter().map(SpanError::field).collect();
    assert_eq!(fields, ["schedule", "schedule", "duration", "timeZone"]);
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    for now in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
        assert!(spans("0 * * * *", "1h", Some(BERLIN), now).is_ok());
        assert_eq!(always(now).len(), 1);
    }
}

#[test]
fn durations_are_those_of_go() {
    assert_eq!(duration("1h30m15s"), Some(SignedDuration::from_secs(5415)));
    for wrong in ["", "h", "5", "5d", "1.5h", "1h-30m", "1h 30m", "ü"] {
        assert_eq!(duration(wrong), None, "{wrong}");
    }
}
