//! How long ago, as kubectl's columns say it: `45s`, `5m41s`, `3h`, `2d4h`.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// Printed where no moment is known.
pub(super) const UNKNOWN: &str = "<unknown>";

/// A duration in at most two units, the second only while it matters.
pub fn human_duration(seconds: i64) -> String {
    // A clock that is a little ahead is no error.
    let two = |large: i64, unit: char, small: i64, second: char| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{second}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds / MINUTE, 'm', seconds % MINUTE, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds / HOUR, 'h', seconds % HOUR / MINUTE, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds / DAY, 'd', seconds % DAY / HOUR, 'h'),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds / YEAR, 'y', seconds % YEAR / DAY, 'd'),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// How long before `now` the moment in `timestamp` (RFC 3339) was.
pub(crate) fn since(timestamp: &str, now: Timestamp) -> String {
    match timestamp.parse::<Timestamp>() {
        Ok(moment) => human_duration(now.as_second().saturating_sub(moment.as_second())),
        Err(_) => UNKNOWN.to_owned(),
    }
}
