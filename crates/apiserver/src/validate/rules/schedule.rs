//! The form of a cron job's schedule: five fields of numbers, names, ranges, steps and lists, or a word for a common one.

/// A field: its least and greatest value, and the names its values may have.
struct Bounds {
    least: u32,
    greatest: u32,
    names: &'static [&'static str],
}

const FIELDS: [Bounds; 5] = [
    Bounds { least: 0, greatest: 59, names: &[] },
    Bounds { least: 0, greatest: 23, names: &[] },
    Bounds { least: 1, greatest: 31, names: &[] },
    Bounds {
        least: 1,
        greatest: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Bounds { least: 0, greatest: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

const WORDS: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Whether `schedule` is one; the error is the sentence of the reference's parser (github.com/robfig/cron).
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if schedule.starts_with('@') {
        let every = schedule.strip_prefix("@every ");
        return match every {
            _ if WORDS.contains(&schedule) => Ok(()),
            Some(duration) if is_duration(duration) => Ok(()),
            Some(_) => Err(format!("failed to parse duration {schedule}")),
            None => Err(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    fields.iter().zip(&FIELDS).try_for_each(|(field, bounds)| {
        field.split(',').filter(|it| !it.is_empty()).try_for_each(|range| check_range(range, bounds))
    })
}

/// `*`, `3`, `3-5`, each with `/step`.
fn check_range(text: &str, bounds: &Bounds) -> Result<(), String> {
    let mut halves = text.split('/');
    let range = halves.next().unwrap_or_default();
    let step = halves.next();
    if halves.next().is_some() {
        return Err(format!("too many slashes: {text}"));
    }
    let ends: Vec<&str> = range.split('-').collect();
    let (start, end) = match ends.as_slice() {
        ["*" | "?"] => (bounds.least, bounds.greatest),
        [one] => {
            let start = value(one, bounds)?;
            (start, if step.is_some() { bounds.greatest } else { start })
        }
        [first, last] => (value(first, bounds)?, value(last, bounds)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    let step = step.map_or(Ok(1), natural)?;
    if start < bounds.least {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.least));
    }
    if end > bounds.greatest {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.greatest));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok(())
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let named = bounds.names.iter().position(|it| it.eq_ignore_ascii_case(text));
    match named.and_then(|it| u32::try_from(it).ok()) {
        Some(index) => Ok(bounds.least + index),
        None => natural(text),
    }
}

fn natural(text: &str) -> Result<u32, String> {
    text.parse::<u32>()
        .map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
}

/// `1h30m`: numbers with units.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.trim_start_matches(|it: char| it.is_ascii_digit() || it == '.');
        let unit = digits.trim_start_matches(|it: char| it.is_ascii_alphabetic() || it == 'µ');
        let unit_text = &digits[..digits.len() - unit.len()];
        if digits.len() == rest.len() || !["ns", "us", "µs", "ms", "s", "m", "h"].contains(&unit_text) {
            return false;
        }
        rest = unit;
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_error(schedule: &str, expected: &str) {
        assert_eq!(check(schedule).unwrap_err(), expected);
    }

    #[test]
    fn schedules_have_a_form() {
        for good in [
            "* * * * *",
            "*/5 0 1,15 jan-MAR mon-fri",
            "0 0 31 12 6",
            "5/10 * * * *",
            "@daily",
            "@every 1h30m",
            "? * * * ?",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        check_error("* * *", "expected exactly 5 fields, found 3: [* * *]");
        check_error("60 * * * *", "end of range (60) above maximum (59): 60");
        check_error("* * 0 * *", "beginning of range (0) below minimum (1): 0");
        check_error("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3");
        check_error("*/0 * * * *", "step of range should be a positive number: */0");
        check_error("1-2-3 * * * *", "too many hyphens: 1-2-3");
        check_error("*/1/2 * * * *", "too many slashes: */1/2");
        check_error("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax");
        check_error("@often", "unrecognized descriptor: @often");
        check_error("@every x", "failed to parse duration @every x");
    }
}
