//! Answers of Prometheus to a range query: matrices of CPU rates and of working sets.
//!
//! A matrix says which it is by its metric's name; a rate has none, so a matrix without a name is CPU. A matrix is read as a
//! whole (Prometheus answers with at most 11,000 points a series), and the two are joined by series and time.

use std::collections::BTreeMap;
use std::io::BufRead;

use serde::Deserialize;
use supple_recommend::sample::Sample;

use super::row::{InputError, Series, milli};

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Matrix>,
}

#[derive(Deserialize)]
struct Matrix {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// All samples by series and time.
pub type Joined = BTreeMap<Series, BTreeMap<i64, Sample>>;

/// Adds a file's answers (one, or several after one another) to what is joined already.
pub fn read(
    file: &str,
    input: &mut dyn BufRead,
    into: &mut Joined,
    wrong: &mut dyn FnMut(InputError) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let whole = |what: String| InputError::File { file: file.to_owned(), what };
    for answer in serde_json::Deserializer::from_reader(input).into_iter::<Answer>() {
        let answer = answer.map_err(|error| whole(format!("it is not an answer of Prometheus: {error}")))?;
        if answer.status != "success" {
            return Err(whole(format!("Prometheus answered {}: {}", answer.status, answer.error.unwrap_or_default())));
        }
        let data = answer.data.ok_or_else(|| whole("the answer has no data".to_owned()))?;
        if data.result_type != "matrix" {
            return Err(whole(format!("the answer is a {}; a range query answers with a matrix", data.result_type)));
        }
        for matrix in data.result {
            if let Err(what) = join(&matrix, into) {
                let place = format!("series {:?}", matrix.metric);
                wrong(InputError::Wrong { file: file.to_owned(), place, what })?;
            }
        }
    }
    Ok(())
}

fn join(matrix: &Matrix, into: &mut Joined) -> Result<(), String> {
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
    let samples = into.entry(series).or_default();
    for (time, value) in &matrix.values {
        let value: f64 = value.parse().map_err(|_| format!("{value:?} at {time} is not a number"))?;
        if !value.is_finite() || value < 0.0 {
            continue; // Prometheus writes NaN for staleness, and a rate over a reset may be negative
        }
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let time = time.floor() as i64;
        let sample = samples.entry(time).or_insert(Sample { time, ..Sample::default() });
        if memory {
            sample.memory = Some(value);
        } else {
            sample.cpu = Some(milli(value));
        }
    }
    Ok(())
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

    #[test]
    fn two_matrices_become_one_series() {
        let cpu = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"namespace":"a","pod":"web-0","container":"c"},"values":[[60,"0.5"],[120,"NaN"]]}]}}"#;
        let memory = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"container_memory_working_set_bytes","namespace":"a","pod":"web-0","container":"c"},"values":[[60,"100"]]}]}}"#;
        let mut joined = Joined::new();
        let both = format!("{cpu}\n{memory}");
        read("x.json", &mut both.as_bytes(), &mut joined, &mut |error| Err(error)).unwrap();
        assert_eq!(joined.len(), 1);
        let samples: Vec<&Sample> = joined.values().flat_map(BTreeMap::values).collect();
        assert_eq!(samples.len(), 1);
        assert_eq!((samples[0].cpu, samples[0].memory), (Some(500.0), Some(100.0)));
    }

    #[test]
    fn wrong_answers_are_told() {
        for (text, part) in [
            ("{}", "not an answer"),
            (r#"{"status":"error","error":"boom"}"#, "boom"),
            (r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, "vector"),
            (
                r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"namespace":"a"}}]}}"#,
                "no label pod",
            ),
        ] {
            let error = read("x.json", &mut text.as_bytes(), &mut Joined::new(), &mut |error| Err(error)).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
