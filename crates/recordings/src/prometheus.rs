//! Answers of Prometheus to a range query: matrices of CPU rates and of working sets.
//!
//! A matrix says which it is by its metric's name; a rate has none, so a matrix without a name is CPU. One matrix is in memory
//! at a time (Prometheus answers with at most 11,000 points a series); CPU and memory are joined by whoever sorts the rows.

use std::io::{self, BufRead};

use supple_controller::source::prometheus::answer::{AnswerError, Kind, Series as Matrix, read_all};
use supple_recommend::sample::Sample;

use crate::row::{InputError, Series, Sink, milli};

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
        wrong @ AnswerError::Wrong(_) => InputError::File { file: file.to_owned(), what: wrong.to_string() },
    })
}

fn take(file: &str, matrix: &Matrix, sink: &mut dyn Sink) -> Result<(), InputError> {
    match samples(matrix) {
        Ok((series, samples)) => {
            let place = sink.names().place(&series);
            samples.into_iter().try_for_each(|sample| sink.half(place, sample))
        }
        Err(what) => {
            let place = format!("series {:?}", matrix.metric);
            sink.wrong(InputError::Wrong { file: file.to_owned(), place, what })
        }
    }
}

/// What a matrix says: of one resource, at each of its times.
fn samples(matrix: &Matrix) -> Result<(Series, Vec<Sample>), String> {
    let label = |names: &[&str]| names.iter().find_map(|name| matrix.metric.get(*name)).cloned();
    let memory = match label(&["__name__"]).as_deref() {
        None | Some("container_cpu_usage_seconds_total") => false,
        Some("container_memory_working_set_bytes") => true,
        Some(other) if other.contains("cpu") => false,
        Some(other) if other.contains("memory") => true,
        Some(other) => return Err(format!("{other} is neither CPU nor memory")),
    };
    let pod = label(&["pod", "pod_name"]).ok_or("it has no label pod")?;
    let series = Series {
        namespace: label(&["namespace"]).ok_or("it has no label namespace")?,
        workload: label(&["workload"]).unwrap_or_else(|| workload_of(&pod).to_owned()),
        container: label(&["container", "container_name"])
            .filter(|it| !it.is_empty() && it != "POD")
            .ok_or("it has no label container")?,
        pod,
    };
    let mut samples = Vec::with_capacity(matrix.values.len());
    for (time, value) in &matrix.values {
        let value: f64 = value.parse().map_err(|_| format!("{value:?} at {time} is not a number"))?;
        if !value.is_finite() || value < 0.0 {
            continue; // Prometheus writes NaN for staleness, and a rate over a reset may be negative
        }
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let time = time.floor() as i64;
        let sample = Sample { time, ..Sample::default() };
        samples.push(if memory {
            Sample { memory: Some(value), ..sample }
        } else {
            Sample { cpu: Some(milli(value)), ..sample }
        });
    }
    Ok((series, samples))
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
            Err(error)
        }
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
                "no label pod",
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
