//! Answers of Prometheus' query API, read one series at a time: a matrix of a month need never be in memory twice.
//!
//! Also what `supple replay` reads from files: several answers may stand one after another.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One series of an answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Series {
    /// Its labels; the name of its metric is one.
    #[serde(default)]
    pub metric: BTreeMap<String, String>,
    /// Of a matrix: moments in seconds since 1970, and values as they are written.
    #[serde(default)]
    pub values: Vec<(f64, String)>,
    /// Of a vector.
    pub value: Option<(f64, String)>,
}

/// What an answer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of a range query.
    Matrix,
    /// Of an instant query.
    Vector,
    /// Of an instant query for a number.
    Scalar,
}

/// What came with an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// What the server wants to be known: of Thanos and its like, that the answer is not whole.
    pub warnings: Vec<String>,
    /// How many series were in it.
    pub series: usize,
}

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError<E> {
    /// It is none, or not the one that was asked for.
    #[error("it is not an answer of Prometheus: {0}")]
    Wrong(serde_json::Error),
    /// Whoever took the series wanted no more.
    #[error("the reading was ended")]
    Ended(E),
}

/// Most warnings that are kept, and most characters of each.
const WARNINGS: (usize, usize) = (10, 300);

/// Give the series of one answer to `take`, one after another.
///
/// # Errors
/// [`AnswerError`]; the series before it were taken.
pub fn read<E>(
    input: impl BufRead,
    kinds: &[Kind],
    take: &mut dyn FnMut(Series) -> Result<(), E>,
) -> Result<About, AnswerError<E>> {
    let mut answer = Answer { kinds, take, about: About::default(), ended: None };
    match answer.deserialize(&mut serde_json::Deserializer::from_reader(input)) {
        Ok(()) => Ok(answer.about),
        Err(error) => Err(answer.ended.map_or(AnswerError::Wrong(error), AnswerError::Ended)),
    }
}

/// Give the series of all answers that stand in `input` one after another to `take`.
///
/// # Errors
/// As [`read`]; also for an input without any answer.
pub fn read_all<E: From<std::io::Error>>(
    input: &mut dyn BufRead,
    kinds: &[Kind],
    take: &mut dyn FnMut(Series) -> Result<(), E>,
) -> Result<(), AnswerError<E>> {
    let mut found = false;
    loop {
        let block = input.fill_buf().map_err(|error| AnswerError::Ended(error.into()))?;
        match block.iter().position(|it| !it.is_ascii_whitespace()) {
            _ if block.is_empty() && found => return Ok(()),
            None if !block.is_empty() => {
                let blank = block.len();
                input.consume(blank);
                continue;
            }
            blank => input.consume(blank.unwrap_or(0)),
        }
        read(&mut *input, kinds, take)?;
        found = true;
    }
}

/// One answer, taken in series by series.
struct Answer<'a, E> {
    kinds: &'a [Kind],
    take: &'a mut dyn FnMut(Series) -> Result<(), E>,
    about: About,
    /// What whoever takes the series said where it ended the reading.
    ended: Option<E>,
}

/// `data` of an answer.
struct Data<'a, 'b, E>(&'a mut Answer<'b, E>);

/// `data.result` of an answer.
struct Results<'a, 'b, E>(&'a mut Answer<'b, E>);

impl<'de, E> DeserializeSeed<'de> for &mut Answer<'_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, E> Visitor<'de> for &mut Answer<'_, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with status and data")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let (mut status, mut error, mut data) = (None, None, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "status" => status = Some(map.next_value::<String>()?),
                "error" => error = Some(map.next_value::<String>()?),
                "warnings" => self.warned(map.next_value::<Option<Vec<String>>>()?.unwrap_or_default()),
                "data" => {
                    map.next_value_seed(Data(&mut *self))?;
                    data = true;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match status.as_deref() {
            Some("success") if data => Ok(()),
            Some("success") => Err(Error::missing_field("data")),
            Some(status) => {
                Err(Error::custom(format_args!("Prometheus answered {status}: {}", error.unwrap_or_default())))
            }
            None => Err(Error::missing_field("status")),
        }
    }
}

impl<E> Answer<'_, E> {
    fn warned(&mut self, texts: Vec<String>) {
        let (most, longest) = WARNINGS;
        self.about.warnings.extend(texts.into_iter().take(most).map(|it| it.chars().take(longest).collect::<String>()));
        self.about.warnings.truncate(most);
    }

    fn series(&mut self, series: Series) -> Result<(), ()> {
        self.about.series += 1;
        (self.take)(series).map_err(|error| self.ended = Some(error))
    }
}

impl<'de, E> DeserializeSeed<'de> for Data<'_, '_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de, E> Visitor<'de> for Data<'_, '_, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with resultType and result")
    }

    /// Beside an error some servers write `"data": null`; the status says what is wrong.
    fn visit_none<X: Error>(self) -> Result<(), X> {
        Ok(())
    }

    fn visit_unit<X: Error>(self) -> Result<(), X> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "resultType" => {
                    let kind = map.next_value::<String>()?;
                    if !self.0.kinds.iter().any(|it| it.as_str() == kind) {
                        return Err(Error::custom(format_args!("the result is a {kind}; {}", wanted(self.0.kinds))));
                    }
                }
                "result" => map.next_value_seed(Results(&mut *self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Matrix => "matrix",
            Self::Vector => "vector",
            Self::Scalar => "scalar",
        }
    }
}

fn wanted(kinds: &[Kind]) -> &'static str {
    if kinds.contains(&Kind::Matrix) {
        "a range query answers with a matrix"
    } else {
        "an instant query for a number answers with a vector or a scalar"
    }
}

impl<'de, E> DeserializeSeed<'de> for Results<'_, '_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

/// An element of a result: a series, or one half of a scalar.
enum Element {
    Series(Series),
    Moment(f64),
    Value(String),
}

impl<'de, E> Visitor<'de> for Results<'_, '_, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of series")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        let mut at = None;
        while let Some(element) = list.next_element::<Element>()? {
            let series = match (element, at) {
                (Element::Series(series), _) => series,
                (Element::Moment(moment), None) => {
                    at = Some(moment);
                    continue;
                }
                (Element::Value(value), Some(at)) => Series { value: Some((at, value)), ..Series::default() },
                _ => return Err(Error::custom("neither a series nor a moment and its value")),
            };
            self.0.series(series).map_err(|()| Error::custom("ended"))?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a series")
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Element, M::Error> {
                Series::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Element::Series)
            }

            fn visit_f64<X: Error>(self, value: f64) -> Result<Element, X> {
                Ok(Element::Moment(value))
            }

            fn visit_u64<X: Error>(self, value: u64) -> Result<Element, X> {
                #[expect(clippy::cast_precision_loss, reason = "a moment in seconds is far below 2^53")]
                Ok(Element::Moment(value as f64))
            }

            fn visit_str<X: Error>(self, value: &str) -> Result<Element, X> {
                Ok(Element::Value(value.to_owned()))
            }
        }
        json.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(kinds: &[Kind], text: &str, expect: Result<&[(usize, Option<&str>)], &str>) {
        let mut found = Vec::new();
        let told = read(text.as_bytes(), kinds, &mut |it: Series| {
            found.push(it);
            Ok::<(), ()>(())
        });
        match (told, expect) {
            (Ok(about), Ok(expect)) => {
                let shown: Vec<_> =
                    found.iter().map(|it| (it.values.len(), it.value.as_ref().map(|(_, it)| it.as_str()))).collect();
                assert_eq!((about.series, shown.as_slice()), (expect.len(), expect), "{text}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
            (told, expect) => panic!("{text}: {told:?}, not {expect:?}"),
        }
    }

    #[test]
    fn each_kind_of_answer() {
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"pod":"a"},"values":[[1,"2"],[3.5,"4"]]},{"metric":{}}]}}"#;
        check(&[Kind::Matrix], matrix, Ok(&[(2, None), (0, None)]));
        check(&[Kind::Vector], matrix, Err("the result is a matrix; an instant query"));
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"2"]}]}}"#;
        check(&[Kind::Vector, Kind::Scalar], vector, Ok(&[(0, Some("2"))]));
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"7"]}}"#;
        check(&[Kind::Vector, Kind::Scalar], scalar, Ok(&[(0, Some("7"))]));
        check(&[Kind::Matrix], scalar, Err("the result is a scalar; a range query"));
    }

    #[test]
    fn what_is_no_answer_is_said() {
        let failed = r#"{"status":"error","errorType":"timeout","error":"too slow","data":null}"#;
        check(&[Kind::Vector], failed, Err("Prometheus answered error: too slow"));
        let odd = r#"{"status":"success","data":{"resultType":"vector","result":["7",1]}}"#;
        check(&[Kind::Vector], odd, Err("neither a series nor"));
        for text in ["", "<html>", "[1]", r#"{"status":"success"}"#, r#"{"data":{}}"#] {
            check(&[Kind::Vector], text, Err("not an answer"));
        }
    }

    #[test]
    fn warnings_are_kept_in_bounds() {
        let long = "x".repeat(1000);
        let text = format!(
            r#"{{"status":"success","warnings":["{long}","b","c","d","e","f","g","h","i","j","k"],
            "data":{{"resultType":"vector","result":[]}}}}"#
        );
        let about = read(text.as_bytes(), &[Kind::Vector], &mut |_| Ok::<(), ()>(())).unwrap();
        assert_eq!((about.warnings.len(), about.warnings[0].len()), (10, 300));
    }

    #[test]
    fn the_reading_can_be_ended() {
        let text = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{}},{"metric":{}}]}}"#;
        let told = read(text.as_bytes(), &[Kind::Vector], &mut |_| Err("enough"));
        assert!(matches!(told, Err(AnswerError::Ended("enough"))));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(body in prop::collection::vec(any::<u8>(), 0..200), headed in any::<bool>()) {
            let mut text = if headed { br#"{"status":"success","data":{"result":["#.to_vec() } else { Vec::new() };
            text.extend(body);
            let _ = read(&text[..], &[Kind::Matrix], &mut |_| Ok::<(), ()>(()));
        }
    }
}
