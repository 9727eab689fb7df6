//! Comma separated values: `time,namespace,workload,pod,container,cpu_cores,memory_bytes[,cpu_limit,memory_limit,restarts]`.
//!
//! Thirty days of a thousand containers at a minute are forty million lines, so a line is read where it lies in the buffer,
//! and plain numbers (digits, a point, digits) are read without a general parser. Whatever is not plain goes the long way,
//! which also knows what to say about it.

use std::io::BufRead;

use memchr::memchr;
use supple_recommend::sample::Sample;

use crate::names::{Names, Place};
use crate::row::{self, InputError, Sink, cpu_limit, memory_limit, sample, shown};

const NEEDED: [&str; 7] = ["time", "namespace", "workload", "pod", "container", "cpu_cores", "memory_bytes"];
const OPTIONAL: [&str; 3] = ["cpu_limit", "memory_limit", "restarts"];

/// Gives all rows of a file, and what is wrong with others, to `sink`.
pub fn read(file: &str, input: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<(), InputError> {
    let mut lines = Lines { number: 0, columns: None };
    let mut carried = Vec::new();
    loop {
        let block = match input.fill_buf() {
            Ok(block) => block,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(InputError::Read { file: file.to_owned(), source }),
        };
        if block.is_empty() {
            if !carried.is_empty() {
                lines.take(file, &carried, sink)?;
            }
            break;
        }
        let mut rest = block;
        let mut goes_on = true;
        while goes_on {
            if carried.is_empty()
                && let Some((place, sample, after)) = lines.next_plain(rest, sink.names())
            {
                rest = after;
                goes_on = sink.row(place, sample, lines.number)?;
                continue;
            }
            let Some(end) = memchr(b'\n', rest) else { break };
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            goes_on = if carried.is_empty() {
                lines.take(file, line, sink)?
            } else {
                carried.extend_from_slice(line);
                let goes_on = lines.take(file, &carried, sink)?;
                carried.clear();
                goes_on
            };
        }
        if !goes_on {
            return Ok(());
        }
        carried.extend_from_slice(rest);
        let count = block.len();
        input.consume(count);
    }
    if lines.columns.is_none() {
        return Err(InputError::File {
            file: file.to_owned(),
            what: "the file is empty; expected a header line".to_owned(),
        });
    }
    Ok(())
}

struct Lines {
    number: u64,
    /// How many of the optional columns there are, once the header was read.
    columns: Option<usize>,
}

impl Lines {
    /// The line at the beginning and what follows it, where it is plain, of the series that was guessed, and ends within the text.
    /// Nearly all lines are that, and where they end need not be looked for beforehand.
    fn next_plain<'a>(&mut self, text: &'a [u8], names: &mut Names) -> Option<(Place, Sample, &'a [u8])> {
        if self.columns != Some(0) {
            return None;
        }
        let (place, sample, rest) = values(text, |rest| names.guessed(rest))?;
        let rest = rest.strip_prefix(b"\r").unwrap_or(rest).strip_prefix(b"\n")?;
        names.follow();
        self.number += 1;
        Some((place, sample, rest))
    }

    fn take(&mut self, file: &str, line: &[u8], sink: &mut dyn Sink) -> Result<bool, InputError> {
        self.number += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(true);
        }
        let Some(optional) = self.columns else {
            let text = String::from_utf8_lossy(line);
            self.columns = Some(header(&text).map_err(|what| InputError::File { file: file.to_owned(), what })?);
            return Ok(true);
        };
        let parsed = match plain(line, sink.names()).filter(|_| optional == 0) {
            Some(parsed) => Ok(parsed),
            None => parse(line, optional, sink.names()),
        };
        match parsed {
            Ok((place, sample)) => sink.row(place, sample, self.number),
            Err(what) => {
                let place = format!("line {}", self.number);
                sink.wrong(InputError::Wrong { file: file.to_owned(), place, what })?;
                Ok(true)
            }
        }
    }
}

/// How many of the optional columns there are.
fn header(text: &str) -> Result<usize, String> {
    let names: Vec<&str> = text.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
    let wanted: Vec<&str> = NEEDED.iter().chain(&OPTIONAL).copied().collect();
    if names.len() < NEEDED.len() || names.len() > wanted.len() || names[..] != wanted[..names.len()] {
        return Err(format!(
            "the first line is {}; expected the header {}[,{}]",
            shown(text),
            NEEDED.join(","),
            OPTIONAL.join(",")
        ));
    }
    Ok(names.len() - NEEDED.len())
}

/// A line without optional columns whose numbers are plain; `None` where it takes the long way.
fn plain(line: &[u8], names: &mut Names) -> Option<(Place, Sample)> {
    let (place, sample, rest) = values(line, |rest| names.find(rest).ok())?;
    rest.is_empty().then_some((place, sample))
}

/// The values of a line of plain numbers at the beginning, and what follows them. `find` knows the series and how many bytes it takes.
fn values(text: &[u8], find: impl FnOnce(&[u8]) -> Option<(Place, usize)>) -> Option<(Place, Sample, &[u8])> {
    let (time, rest) = digits(text).filter(|it| row::time(it.0).is_some())?;
    let rest = rest.strip_prefix(b",")?;
    let (place, length) = find(rest)?;
    let (cpu, rest) = decimal(&rest[length..])?;
    let (memory, rest) = decimal(rest.strip_prefix(b",")?)?;
    Some((place, sample(time, cpu, memory), rest))
}

/// A whole number of at most 15 digits at the beginning, and what follows it.
fn digits(text: &[u8]) -> Option<(i64, &[u8])> {
    let (value, count) = number_of(text);
    (1..=MOST_DIGITS).contains(&count).then(|| (value.cast_signed(), &text[count..]))
}

/// So many digits a float holds exactly, whatever they are: below 2^53.
const MOST_DIGITS: usize = 15;

/// Powers of ten.
const TENS: [u64; MOST_DIGITS + 1] = {
    let mut tens = [1; MOST_DIGITS + 1];
    let mut at = 1;
    while at < tens.len() {
        tens[at] = tens[at - 1] * 10;
        at += 1;
    }
    tens
};

/// A number written as digits, or digits, a point and digits, of at most 15 digits altogether, and what follows it; nothing is
/// a value that was not recorded. Both the digits and the power of ten are exact, so that one division rounds as a general parser
/// would.
fn decimal(text: &[u8]) -> Option<(Option<f64>, &[u8])> {
    if text.first().is_none_or(|it| *it == b',') {
        return Some((None, text));
    }
    let (mut value, whole) = number_of(text);
    let (mut rest, mut fraction) = (&text[whole..], 0);
    if let Some(after) = rest.strip_prefix(b".") {
        let (more, count) = number_of(after);
        if count == 0 || whole + count > MOST_DIGITS {
            return None;
        }
        (value, rest, fraction) = (value * TENS[count] + more, &after[count..], count);
    }
    if whole == 0 || whole > MOST_DIGITS {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 15 digits are exact")]
    let (value, ten) = (value as f64, TENS[fraction] as f64);
    Some((Some(value / ten), rest))
}

/// The number that the digits at the beginning make, and how many they are: of more than 15 only that they are more.
fn number_of(text: &[u8]) -> (u64, usize) {
    let (high, count) = up_to_eight(text);
    if count < 8 {
        return (high, count);
    }
    let (low, more) = up_to_eight(&text[8..]);
    (high * TENS[more] + low, 8 + more)
}

/// The same of at most eight digits, all at once where the line is long enough: a digit a byte, the first one the lowest byte.
fn up_to_eight(text: &[u8]) -> (u64, usize) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let Some(eight) = text.first_chunk::<8>() else {
        let digits = text.iter().map(|it| it.wrapping_sub(b'0')).take_while(|it| *it <= 9);
        return digits.fold((0, 0), |(value, count), it| (value * 10 + u64::from(it), count + 1));
    };
    // Digits become 0 to 9 and everything else more; to that is added what takes 10 and more beyond seven bits. What is carried
    // over goes to later bytes, and only the first that is no digit counts.
    let word = u64::from_le_bytes(*eight) ^ (EACH * 0x30);
    let others = (word.wrapping_add(EACH * 0x76) | word) & (EACH * 0x80);
    let count = if others == 0 { 8 } else { others.trailing_zeros() / 8 };
    if count == 0 {
        return (0, 0);
    }
    // Zeros come in front, so that there always are eight; then neighbours become one number, thrice.
    let digits = word << (64 - 8 * count);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let (odd, even) = (pairs & 0x0000_00FF_0000_00FF, (pairs >> 16) & 0x0000_00FF_0000_00FF);
    let value = odd.wrapping_mul(0x000F_4240_0000_0064).wrapping_add(even.wrapping_mul(0x0000_2710_0000_0001)) >> 32;
    (value, usize::try_from(count).unwrap_or(8))
}

/// Any line, the long way.
fn parse(line: &[u8], optional: usize, names: &mut Names) -> Result<(Place, Sample), String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8")?;
    if text.contains('"') {
        return Err("quoted values are not understood; names have no commas".to_owned());
    }
    let (time, rest) = text.split_once(',').ok_or("there is only one value")?;
    if rest.bytes().filter(|byte| *byte == b',').count() < 4 {
        return Err("there are too few values".to_owned());
    }
    let time = whole(time)?;
    // The series is known from its first good row on, so the numbers are looked at before it is.
    let length = rest.bytes().enumerate().filter(|(_, byte)| *byte == b',').nth(3).map_or(0, |(at, _)| at + 1);
    let mut values = rest[length..].split(',');
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
    let (place, _) = names.find(rest.as_bytes())?;
    Ok((place, sample))
}

fn whole(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let seconds = match text.parse() {
        Ok(seconds) => row::time(seconds),
        Err(_) => row::time_of(text.parse().map_err(|_| format!("time {} is not a number of seconds", shown(text)))?),
    };
    seconds.ok_or_else(|| format!("time {} is not Unix time in seconds (the years -9999 to 9999)", shown(text)))
}

/// An empty value was not recorded; anything else must be a finite number that is not negative.
fn number(name: &str, text: &str) -> Result<Option<f64>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let value: f64 = text.parse().map_err(|_| format!("{name} {} is not a number", shown(text)))?;
    if !value.is_finite() {
        return Err(format!("{name} {} is not finite", shown(text)));
    }
    if value < 0.0 {
        return Err(format!("{name} {} is negative", shown(text)));
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Rows = Vec<(String, Sample)>;

    #[derive(Default)]
    struct Kept {
        names: Names,
        rows: Rows,
        wrongs: Vec<String>,
    }

    impl Sink for Kept {
        fn names(&mut self) -> &mut Names {
            &mut self.names
        }

        fn row(&mut self, place: Place, sample: Sample, _: u64) -> Result<bool, InputError> {
            let lane = &self.names.lanes()[place.lane];
            let (name, pod) = (&lane.name, &lane.pods[usize::try_from(place.pod).unwrap()]);
            self.rows.push((format!("{},{},{pod},{}", name.namespace, name.workload, name.container), sample));
            Ok(true)
        }

        fn half(&mut self, _: Place, _: Sample) -> Result<(), InputError> {
            Ok(())
        }

        fn wrong(&mut self, error: InputError) -> Result<(), InputError> {
            self.wrongs.push(error.to_string());
            Ok(())
        }
    }

    fn all(text: &[u8], buffer: usize) -> (Rows, Vec<String>, Option<String>) {
        let mut kept = Kept::default();
        let ended = read("x.csv", &mut std::io::BufReader::with_capacity(buffer, text), &mut kept);
        (kept.rows, kept.wrongs, ended.err().map(|it| it.to_string()))
    }

    const HEADER: &str = "time,namespace,workload,pod,container,cpu_cores,memory_bytes";

    #[test]
    fn rows_are_read() {
        let text =
            format!("{HEADER},cpu_limit,memory_limit,restarts\n60,a,b,c,d,0.5,100,1,200,3\n120.9,a,b,c,d,,,,,\r\n");
        let (rows, wrongs, ended) = all(text.as_bytes(), 4096);
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
            ("9223372036854775807,a,b,c,d,1,1", "is not Unix time in seconds"),
            ("999999999999999,a,b,c,d,1,1", "is not Unix time in seconds"),
            ("-1e300,a,b,c,d,1,1", "is not Unix time in seconds"),
            ("1,a,b,c,d,-1,1", "cpu_cores \"-1\" is negative"),
            ("1,a,b,c,d,1,NaN", "memory_bytes \"NaN\" is not finite"),
            ("1,a,b,c", "too few values"),
            ("1,a,b,c,d,1", "memory_bytes is missing"),
            ("1,a,b,c,d,1,1,1", "more values than the header names"),
            ("1,\"a\",b,c,d,1,1", "quoted"),
            ("1,a,\"b\",c,d,x,1", "quoted"),
            ("1", "only one value"),
        ] {
            let (rows, wrongs, _) = all(format!("{HEADER}\n{line}\n").as_bytes(), 4096);
            assert!(
                rows.is_empty() && wrongs.len() == 1 && wrongs[0].contains("x.csv: line 2") && wrongs[0].contains(part),
                "{line}: {wrongs:?}"
            );
        }
        assert!(all(b"", 64).2.is_some_and(|it| it.contains("empty")));
        assert!(all(b"a,b\n", 64).2.is_some_and(|it| it.contains("expected the header")));
    }

    proptest! {
        #[test]
        fn plain_numbers_are_what_a_parser_makes_of_them(
            whole in "[0-9]{1,9}",
            fraction in "(\\.[0-9]{1,6})?",
            after in "([,./:\\n\\x00\\x7fé-][ -~é]{0,12})?",
        ) {
            let text = format!("{whole}{fraction}{after}");
            let (number, rest) = (format!("{whole}{fraction}"), after.as_bytes());
            prop_assume!(!(fraction.is_empty() && after.starts_with('.')));
            prop_assert_eq!(decimal(text.as_bytes()), Some((Some(number.parse::<f64>().unwrap()), rest)));
        }

        #[test]
        fn digits_are_counted_and_more_than_fifteen_are_not_plain(number in "[0-9]{1,24}", after in "(,[0-9]{0,9})?") {
            let text = format!("{number}{after}");
            let plain = number.parse::<i64>().ok().filter(|_| number.len() <= MOST_DIGITS).map(|it| (it, after.as_bytes()));
            prop_assert_eq!(digits(text.as_bytes()), plain);
            prop_assert_eq!(decimal(text.as_bytes()).is_some(), plain.is_some());
        }

        #[test]
        fn where_the_buffer_ends_does_not_matter(
            lines in prop::collection::vec("([0-9]{1,3},[ab],[c\"],d,e,)?[0-9.x,-]{0,8}\r?", 0..20),
            buffer in 1usize..90,
        ) {
            let text = format!("{HEADER}\n{}", lines.join("\n"));
            prop_assert_eq!(all(text.as_bytes(), buffer), all(text.as_bytes(), 1 << 16));
        }

        #[test]
        fn no_bytes_break_it(body in prop::collection::vec(any::<u8>(), 0..300), headed in any::<bool>()) {
            let mut text = if headed { format!("{HEADER}\n").into_bytes() } else { Vec::new() };
            text.extend(body);
            all(&text, 64);
        }

        #[test]
        fn the_short_way_and_the_long_way_agree(line in "[0-9]{1,4},[ab],b,c,d,[0-9.e]{0,7},[0-9.]{0,7}") {
            let mut names = Names::default();
            let long = parse(line.as_bytes(), 0, &mut names);
            if let Some(short) = plain(line.as_bytes(), &mut names) {
                prop_assert_eq!(Ok(short), long);
            }
        }
    }
}
