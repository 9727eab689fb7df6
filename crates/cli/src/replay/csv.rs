//! Comma separated values: `time,namespace,workload,pod,container,cpu_cores,memory_bytes[,cpu_limit,memory_limit,restarts]`.
//!
//! Thirty days of a thousand containers at a minute are forty million lines, so a line is cut where it lies in the
//! buffer and nothing is allocated for it.

use std::io::BufRead;

use supple_recommend::sample::Sample;

use super::row::{InputError, cpu_limit, memory_limit, sample};

const NEEDED: [&str; 7] = ["time", "namespace", "workload", "pod", "container", "cpu_cores", "memory_bytes"];
const OPTIONAL: [&str; 3] = ["cpu_limit", "memory_limit", "restarts"];

/// Gives every row's key (`namespace,workload,pod,container` as written) and sample to `row`, and what is wrong to `wrong`;
/// either may end the reading with an error.
pub fn read(
    file: &str,
    input: &mut dyn BufRead,
    row: &mut dyn FnMut(&str, Sample, u64) -> Result<(), InputError>,
    wrong: &mut dyn FnMut(InputError) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let mut line = Vec::new();
    let mut number = 0_u64;
    let mut columns = None;
    loop {
        line.clear();
        let count =
            input.read_until(b'\n', &mut line).map_err(|source| InputError::Read { file: file.to_owned(), source })?;
        if count == 0 {
            break;
        }
        number += 1;
        let at = |what: String| InputError::Wrong { file: file.to_owned(), place: format!("line {number}"), what };
        let Ok(text) = std::str::from_utf8(&line) else {
            wrong(at("it is not UTF-8".to_owned()))?;
            continue;
        };
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            continue;
        }
        let Some(optional) = columns else {
            columns = Some(header(text).map_err(|what| InputError::File { file: file.to_owned(), what })?);
            continue;
        };
        match parse(text, optional) {
            Ok((key, sample)) => row(key, sample, number)?,
            Err(what) => wrong(at(what))?,
        }
    }
    if columns.is_none() {
        return Err(InputError::File {
            file: file.to_owned(),
            what: "it is empty; a header line is expected".to_owned(),
        });
    }
    Ok(())
}

/// How many of the optional columns there are.
fn header(text: &str) -> Result<usize, String> {
    let names: Vec<&str> = text.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
    let wanted: Vec<&str> = NEEDED.iter().chain(&OPTIONAL).copied().collect();
    if names.len() < NEEDED.len() || names.len() > wanted.len() || names[..] != wanted[..names.len()] {
        return Err(format!(
            "its first line is {text:?}; expected the header {}[,{}]",
            NEEDED.join(","),
            OPTIONAL.join(",")
        ));
    }
    Ok(names.len() - NEEDED.len())
}

fn parse(text: &str, optional: usize) -> Result<(&str, Sample), String> {
    if text.contains('"') {
        return Err("quoted values are not understood; names have no commas".to_owned());
    }
    let (time, rest) = text.split_once(',').ok_or("there is only one value")?;
    let mut commas = rest.bytes().enumerate().filter(|(_, byte)| *byte == b',').map(|(at, _)| at);
    let key = commas.nth(3).ok_or("there are too few values")?;
    let (key, rest) = (&rest[..key], &rest[key + 1..]);
    let time = whole(time)?;
    let mut values = rest.split(',');
    let mut next = |name: &str| match values.next() {
        None => Err(format!("{name} is missing")),
        Some(text) => number(name, text),
    };
    let cpu = next("cpu_cores")?;
    let memory = next("memory_bytes")?;
    let mut sample = sample(time, cpu, memory);
    if optional > 0 {
        sample.cpu_limit = next("cpu_limit")?.and_then(cpu_limit);
    }
    if optional > 1 {
        sample.memory_limit = next("memory_limit")?.and_then(memory_limit);
    }
    if optional > 2 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; a count is small")]
        let restarts = next("restarts")?.map(|it| it as u32);
        sample.restarts = restarts;
    }
    if values.next().is_some() {
        return Err("there are more values than the header names".to_owned());
    }
    Ok((key, sample))
}

fn whole(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let time: f64 = text.parse().map_err(|_| format!("time {text:?} is not a number of seconds"))?;
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates; checked to be finite")]
    let seconds = time.floor() as i64;
    if time.is_finite() { Ok(seconds) } else { Err(format!("time {text:?} is not a number of seconds")) }
}

/// An empty value was not recorded; anything else must be a finite number that is not negative.
fn number(name: &str, text: &str) -> Result<Option<f64>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let value: f64 = text.parse().map_err(|_| format!("{name} {text:?} is not a number"))?;
    if !value.is_finite() {
        return Err(format!("{name} {text:?} is not finite"));
    }
    if value < 0.0 {
        return Err(format!("{name} {text:?} is negative"));
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> (Vec<(String, Sample)>, Vec<String>, Option<String>) {
        let (mut rows, mut wrongs) = (Vec::new(), Vec::new());
        let ended = read(
            "x.csv",
            &mut text.as_bytes(),
            &mut |key, sample, _| {
                rows.push((key.to_owned(), sample));
                Ok(())
            },
            &mut |error| {
                wrongs.push(error.to_string());
                Ok(())
            },
        );
        (rows, wrongs, ended.err().map(|it| it.to_string()))
    }

    const HEADER: &str = "time,namespace,workload,pod,container,cpu_cores,memory_bytes";

    #[test]
    fn rows_are_read() {
        let (rows, wrongs, ended) = all(&format!(
            "{HEADER},cpu_limit,memory_limit,restarts\n60,a,b,c,d,0.5,100,1,200,3\n120.9,a,b,c,d,,,,,\r\n"
        ));
        assert_eq!((wrongs, ended), (vec![], None));
        assert_eq!(rows[0].0, "a,b,c,d");
        let it = rows[0].1;
        assert_eq!((it.time, it.cpu, it.memory, it.restarts), (60, Some(500.0), Some(100.0), Some(3)));
        assert_eq!((it.cpu_limit.map(|it| it.0), it.memory_limit.map(|it| it.0)), (Some(1000), Some(200)));
        assert_eq!((rows[1].1.time, rows[1].1.cpu), (120, None));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (line, part) in [
            ("x,a,b,c,d,1,1", "time \"x\" is not a number of seconds"),
            ("1,a,b,c,d,-1,1", "cpu_cores \"-1\" is negative"),
            ("1,a,b,c,d,1,NaN", "memory_bytes \"NaN\" is not finite"),
            ("1,a,b,c", "too few values"),
            ("1,a,b,c,d,1", "memory_bytes is missing"),
            ("1,a,b,c,d,1,1,1", "more values than the header names"),
            ("1,\"a\",b,c,d,1,1", "quoted"),
        ] {
            let (rows, wrongs, _) = all(&format!("{HEADER}\n{line}\n"));
            assert!(
                rows.is_empty() && wrongs.len() == 1 && wrongs[0].contains("x.csv: line 2") && wrongs[0].contains(part),
                "{line}: {wrongs:?}"
            );
        }
        assert!(all("").2.is_some_and(|it| it.contains("empty")));
        assert!(all("a,b\n").2.is_some_and(|it| it.contains("expected the header")));
    }
}
