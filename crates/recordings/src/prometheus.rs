//! Answers of Prometheus to a range query: matrices of CPU, as rates or as the counter itself, and of working sets.
//!
//! A matrix says which it is by its metric's name. `rate()` takes the name away, so a matrix without one is a rate of CPU, and one
//! that is still named as the counter is the counter: seconds used since the container began. One matrix is in memory at a time (Prometheus answers with at most 11,000 points a series); CPU and memory are joined by whoever sorts the rows.

use std::io::{self, BufRead};

use supple_controller::source::prometheus::answer::{AnswerError, Kind, Series as Matrix, read_all};
use supple_recommend::sample::Sample;

use crate::row::{self, InputError, Series, Sink, milli, shortened, shown};

/// The counter of CPU, and what it is called where only a part of a cluster is measured.
const COUNTER: &str = "cpu_usage_seconds_total";

/// A step of more than so many usual ones is a gap.
const GAP: f64 = 3.0;

/// Why the reading of a file ended.
enum Ended {
    /// It cannot be read.
    Read(io::Error),
    /// The sink wanted no more.
    Sink(InputError),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Gives what a file's answers say (one, or several after one another) to `sink`.
pub fn read(file: &str, input: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<(), InputError> {
    let told = read_all(input, &[Kind::Matrix], &mut |matrix| take(file, &matrix, sink).map_err(Ended::Sink));
    told.map_err(|error| match error {
        AnswerError::Ended(Ended::Read(source)) => InputError::Read { file: file.to_owned(), source },
        AnswerError::Ended(Ended::Sink(error)) => error,
        wrong @ AnswerError::Wrong(_) => {
            InputError::File { file: file.to_owned(), what: shortened(&wrong.to_string()) }
        }
    })
}

fn take(file: &str, matrix: &Matrix, sink: &mut dyn Sink) -> Result<(), InputError> {
    let wrong = |at: &str, what| {
        let labels: Vec<String> = matrix.metric.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let place = format!("series {}{at}", shown(&labels.join(",")));
        InputError::Wrong { file: file.to_owned(), place, what }
    };
    let (series, measure) = match meaning(matrix) {
        Ok(meaning) => meaning,
        Err(what) => return sink.wrong(wrong("", what)),
    };
    let mut points = Vec::with_capacity(matrix.values.len());
    for (time, text) in &matrix.values {
        if row::time_of(*time).is_none() {
            sink.wrong(wrong(&format!(" at {time}"), "expected Unix time in seconds".to_owned()))?;
            continue;
        }
        match value(text, measure) {
            Ok(Some(value)) => points.push((*time, value)),
            Ok(None) => {}
            Err(what) => sink.wrong(wrong(&format!(" at {time}"), what))?,
        }
    }
    if measure == Measure::Counter {
        points = rates(points);
    }
    let place = sink.names().place(&series);
    for (time, value) in points {
        let Some(time) = row::time_of(time) else { continue };
        let sample = Sample { time, ..Sample::default() };
        let sample = match measure {
            Measure::Memory => Sample { memory: Some(value), ..sample },
            Measure::Rate | Measure::Counter => Sample { cpu: Some(milli(value)), ..sample },
        };
        sink.half(place, sample)?;
    }
    Ok(())
}

/// What the values of a matrix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// Cores.
    Rate,
    /// Seconds of a core since the container began.
    Counter,
    /// Bytes.
    Memory,
}

/// Whose values a matrix holds, and what they are.
fn meaning(matrix: &Matrix) -> Result<(Series, Measure), String> {
    let label = |names: &[&str]| names.iter().find_map(|name| matrix.metric.get(*name)).cloned();
    let measure = match label(&["__name__"]).as_deref() {
        None => Measure::Rate,
        Some(name) if name.ends_with(COUNTER) => Measure::Counter,
        // A rule that records a rate is named after the counter too, but not by it alone.
        Some(name) if name.contains("cpu") && !name.ends_with("_total") => Measure::Rate,
        Some(name) if name.contains("memory") && !name.ends_with("_total") => Measure::Memory,
        Some(other) => return Err(format!("{} is neither CPU nor memory usage", shown(other))),
    };
    let pod = label(&["pod", "pod_name"]).ok_or("the label pod is missing")?;
    let series = Series {
        namespace: label(&["namespace"]).ok_or("the label namespace is missing")?,
        workload: label(&["workload"]).unwrap_or_else(|| workload_of(&pod).to_owned()),
        container: label(&["container", "container_name"])
            .filter(|it| !it.is_empty() && it != "POD")
            .ok_or("the label container is missing")?,
        pod,
    };
    Ok((series, measure))
}

/// A value as it is written; `None` for what Prometheus writes where there is none.
fn value(text: &str, measure: Measure) -> Result<Option<f64>, String> {
    let value: f64 = text.parse().map_err(|_| format!("{} is not a number", shown(text)))?;
    if value.is_nan() || (value < 0.0 && measure == Measure::Rate) {
        return Ok(None); // NaN is staleness, and a rate reckoned over a reset may be negative
    }
    if value.is_finite() && value >= 0.0 {
        Ok(Some(value))
    } else {
        Err(format!("{} is not a finite number of at least 0", shown(text)))
    }
}

/// What a counter of seconds rose by, in cores, at the end of each step. Where it fell it began anew, at nothing. The first point
/// and the first after a gap have none before them: what was used meanwhile is not known of any one moment.
fn rates(mut counted: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    counted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut steps: Vec<f64> = counted.windows(2).map(|pair| pair[1].0 - pair[0].0).filter(|it| *it > 0.0).collect();
    steps.sort_by(f64::total_cmp);
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(0.0);
    let rate = |pair: &[(f64, f64)]| {
        let ((then, before), (now, after)) = (pair[0], pair[1]);
        let step = now - then;
        let used = if after < before { after } else { after - before };
        (step > 0.0 && step <= usual * GAP).then(|| (now, used / step))
    };
    counted.windows(2).filter_map(rate).collect()
}

/// The workload a pod's name speaks of: without the hash of a ReplicaSet and the five letters of a pod, or the number of a
/// StatefulSet's.
fn workload_of(pod: &str) -> &str {
    let Some((rest, last)) = pod.rsplit_once('-') else {
        return pod;
    };
    if last.bytes().all(|it| it.is_ascii_digit()) && !last.is_empty() {
        return rest;
    }
    if last.len() != 5 {
        return pod;
    }
    match rest.rsplit_once('-') {
        Some((workload, hash)) if (5..=10).contains(&hash.len()) && hash.bytes().any(|it| it.is_ascii_digit()) => {
            workload
        }
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Names, Place};
    use proptest::prelude::*;

    #[track_caller]
    fn check_workload(pod: &str, wanted: &str) {
        assert_eq!(workload_of(pod), wanted, "{pod}");
    }

    #[test]
    fn workloads_by_the_names_of_their_pods() {
        check_workload("web-7d4b9c6f5d-x2x9z", "web");
        check_workload("my-web-5f6585d649-fnmft", "my-web");
        check_workload("db-0", "db");
        check_workload("agent-x7k2p", "agent");
        check_workload("single", "single");
    }

    #[derive(Default)]
    struct Kept {
        names: Names,
        halves: Vec<(Place, Sample)>,
        wrongs: Vec<String>,
        lenient: bool,
    }

    impl Sink for Kept {
        fn names(&mut self) -> &mut Names {
            &mut self.names
        }

        fn row(&mut self, _: Place, _: Sample, _: u64) -> Result<bool, InputError> {
            Ok(true)
        }

        fn half(&mut self, place: Place, sample: Sample) -> Result<(), InputError> {
            self.halves.push((place, sample));
            Ok(())
        }

        fn wrong(&mut self, error: InputError) -> Result<(), InputError> {
            self.wrongs.push(error.to_string());
            if self.lenient { Ok(()) } else { Err(error) }
        }
    }

    fn matrix(name: &str, values: &str) -> String {
        format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{{name}"namespace":"a","pod":"web-0","container":"c"}},"values":[{values}]}}]}}}}"#
        )
    }

    #[track_caller]
    fn check_cpu(name: &str, values: &str, expect: &[(i64, f64)]) {
        let name = if name.is_empty() { String::new() } else { format!(r#""__name__":"{name}","#) };
        let mut kept = Kept::default();
        read("x.json", &mut matrix(&name, values).as_bytes(), &mut kept).unwrap();
        let told: Vec<_> = kept.halves.iter().filter_map(|(_, it)| Some((it.time, it.cpu?))).collect();
        assert_eq!(told, expect, "{name}{values}");
    }

    #[test]
    fn a_named_counter_is_differentiated_and_a_rate_is_taken_as_it_is() {
        let counter = "container_cpu_usage_seconds_total";
        check_cpu("", r#"[60,"0.5"],[120,"0.25"]"#, &[(60, 500.0), (120, 250.0)]);
        check_cpu(&format!("node:{counter}:sum_irate"), r#"[60,"0.5"]"#, &[(60, 500.0)]);
        check_cpu(counter, r#"[60,"900"],[120,"930"],[180,"930"]"#, &[(120, 500.0), (180, 0.0)]);
        // The container began anew, after which it used 15 s.
        check_cpu(
            counter,
            r#"[60,"900"],[120,"930"],[180,"15"],[240,"45"]"#,
            &[(120, 500.0), (180, 250.0), (240, 500.0)],
        );
        // Nothing is said of the hour without points, and staleness is no point.
        check_cpu(
            counter,
            r#"[60,"900"],[120,"930"],[180,"NaN"],[240,"990"],[3840,"1000"],[3900,"1030"]"#,
            &[(120, 500.0), (240, 500.0), (3900, 500.0)],
        );
        check_cpu(counter, r#"[60,"900"]"#, &[]);
        check_cpu(counter, r#"[60,"900"],[60,"930"]"#, &[]);
    }

    #[test]
    fn a_wrong_point_is_skipped_alone() {
        let text = matrix("", r#"[60,"0.5"],[120,"many"],[180,"+Inf"],[240,"0.25"]"#);
        let mut kept = Kept { lenient: true, ..Kept::default() };
        read("x.json", &mut text.as_bytes(), &mut kept).unwrap();
        assert_eq!(kept.halves.iter().map(|it| it.1.time).collect::<Vec<_>>(), [60, 240]);
        assert_eq!(kept.wrongs.len(), 2);
        assert!(kept.wrongs[0].contains("at 120: \"many\" is not a number"), "{:?}", kept.wrongs);
        assert!(read("x.json", &mut text.as_bytes(), &mut Kept::default()).is_err());
    }

    #[test]
    fn two_matrices_are_two_halves_of_one_series() {
        let cpu = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"namespace":"a","pod":"web-0","container":"c"},"values":[[60,"0.5"],[120,"NaN"]]}]}}"#;
        let memory = r#"{"status":"success","warnings":[],"data":{"resultType":"matrix","result":[{"metric":{"__name__":"container_memory_working_set_bytes","namespace":"a","pod":"web-0","container":"c"},"values":[[60.9,"100"]]}]}}"#;
        let mut kept = Kept::default();
        read("x.json", &mut format!(" {cpu}\n{memory}\n").as_bytes(), &mut kept).unwrap();
        assert_eq!(kept.names.lanes().len(), 1);
        let told: Vec<_> = kept.halves.iter().map(|(_, it)| (it.time, it.cpu, it.memory)).collect();
        assert_eq!(told, [(60, Some(500.0), None), (60, None, Some(100.0))]);
        assert_eq!(kept.halves[0].0, kept.halves[1].0);
    }

    #[test]
    fn wrong_answers_are_told() {
        for (text, part) in [
            ("", "not an answer"),
            ("{}", "status"),
            ("[1]", "not an answer"),
            (r#"{"status":"error","error":"boom"}"#, "boom"),
            (r#"{"status":"success"}"#, "data"),
            (r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, "vector"),
            (
                r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"namespace":"a"}}]}}"#,
                "label pod is missing",
            ),
            (
                matrix(r#""__name__":"container_cpu_cfs_periods_total","#, "").as_str(),
                "is neither CPU nor memory usage",
            ),
        ] {
            let error = read("x.json", &mut text.as_bytes(), &mut Kept::default()).unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(body in prop::collection::vec(any::<u8>(), 0..200), headed in any::<bool>()) {
            let mut text = if headed { br#"{"status":"success","data":{"result":["#.to_vec() } else { Vec::new() };
            text.extend(body);
            let _ = read("x.json", &mut &text[..], &mut Kept::default());
        }
    }
}
