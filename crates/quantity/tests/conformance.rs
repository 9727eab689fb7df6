//! Every recorded answer of the reference about quantities: parsing, arithmetic, what the API stores.

use std::cmp::Ordering;
use std::path::PathBuf;

use serde::Deserialize;
use supple_quantity::{Format, Quantity};

#[derive(Deserialize)]
struct Recorded {
    parse: Vec<Parse>,
    arithmetic: Vec<Arithmetic>,
    api: Vec<Api>,
}

#[derive(Deserialize)]
struct Parse {
    #[serde(rename = "in")]
    text: String,
    error: Option<String>,
    canonical: Option<String>,
    format: Option<String>,
    value: Option<i64>,
    milli: Option<i64>,
    sign: Option<i32>,
}

#[derive(Deserialize)]
struct Arithmetic {
    a: String,
    b: String,
    add: String,
    sub: String,
    cmp: i32,
}

#[derive(Deserialize)]
struct Api {
    #[serde(rename = "in")]
    text: String,
    code: u16,
    stored: Option<String>,
}

/// The recorded data, or `None` (said so) where the folder is absent; with `SUPPLE_REQUIRE_ALL` its absence fails.
fn recorded() -> Option<Recorded> {
    let folder = std::env::var_os("SUPPLE_CONFORMANCE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance")),
        PathBuf::from,
    );
    let path = folder.join("quantity.json");
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("quantity.json is of the documented form")),
        Err(error) if std::env::var_os("SUPPLE_REQUIRE_ALL").is_some() => panic!("{}: {error}", path.display()),
        Err(error) => {
            println!("skipped: {}: {error}", path.display());
            None
        }
    }
}

/// Collects what differs, so that one run shows every difference.
fn report(differences: &[String], cases: usize) {
    assert!(cases > 0, "no case was read");
    assert!(differences.is_empty(), "{} of {cases} cases differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn parses_and_prints_as_recorded() {
    let Some(recorded) = recorded() else { return };
    let mut differences = Vec::new();
    for case in &recorded.parse {
        let got = match case.text.parse::<Quantity>() {
            Err(error) => format!("error {error}"),
            Ok(q) => format!("{q} {:?} {} {} {}", q.format(), q.value(), q.milli(), q.sign()),
        };
        let expected = match &case.error {
            Some(error) => format!("error {error}"),
            None => format!(
                "{} {} {} {} {}",
                case.canonical.as_deref().unwrap(),
                case.format.as_deref().unwrap(),
                case.value.unwrap(),
                case.milli.unwrap(),
                case.sign.unwrap()
            ),
        };
        if got != expected {
            differences.push(format!("{:?}: got {got}, recorded {expected}", case.text));
        }
    }
    report(&differences, recorded.parse.len());
}

#[test]
fn adds_subtracts_and_orders_as_recorded() {
    let Some(recorded) = recorded() else { return };
    let mut differences = Vec::new();
    for case in &recorded.arithmetic {
        let (a, b): (Quantity, Quantity) = (case.a.parse().unwrap(), case.b.parse().unwrap());
        let order = match a.cmp(&b) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        };
        let got = format!("{} {} {order}", a.clone() + &b, a - &b);
        let expected = format!("{} {} {}", case.add, case.sub, case.cmp);
        if got != expected {
            differences.push(format!("{:?} and {:?}: got {got}, recorded {expected}", case.a, case.b));
        }
    }
    report(&differences, recorded.arithmetic.len());
}

#[test]
fn is_stored_as_recorded() {
    let Some(recorded) = recorded() else { return };
    let mut differences = Vec::new();
    for case in &recorded.api {
        // 400: not decodable. 422: decodable, but negative. Else what a resource list holds after defaulting.
        let got = match serde_json::from_value::<Quantity>(case.text.as_str().into()) {
            Err(_) => (400, None),
            Ok(q) if q.sign() < 0 => (422, None),
            Ok(mut q) => {
                q.round_up_to_milli();
                (201, Some(q.to_string()))
            }
        };
        if got != (case.code, case.stored.clone()) {
            differences.push(format!("{:?}: got {got:?}, recorded {:?}", case.text, (case.code, &case.stored)));
        }
    }
    report(&differences, recorded.api.len());
}

#[track_caller]
fn check(text: &str, expected: Result<(&str, Format), &str>) {
    let got = text.parse::<Quantity>();
    let got = got.as_ref().map(|q| (q.to_string(), q.format())).map_err(ToString::to_string);
    assert_eq!(got, expected.map(|(text, format)| (text.to_owned(), format)).map_err(ToOwned::to_owned), "{text:?}");
}

#[test]
fn odd_texts() {
    const SUFFIX: &str = "unable to parse quantity's suffix";
    const NUMBER: &str = "unable to parse numeric part of quantity";
    check("-", Ok(("0", Format::DecimalSI)));
    check("-0", Ok(("0", Format::DecimalSI)));
    check(".e-20", Err(NUMBER));
    check("0.e-20", Ok(("0", Format::DecimalExponent)));
    check("1e-2000000000", Ok(("1e-9", Format::DecimalExponent)));
    // Bounded here and not by the reference: a few bytes must not ask for gigabytes.
    check("1e2000000000", Err(SUFFIX));
    check("1e99999999999999999999", Err(SUFFIX));
    check("1e4095", Ok(("1e4095", Format::DecimalExponent)));
    // What would be printed in a form that is not read again.
    check("10e4095", Err(SUFFIX));
    check(&format!("1{}e3300", "0".repeat(1_000)), Err(SUFFIX));
    // The reference drops the suffix beyond E; an exact quantity does not.
    check("1000E", Ok(("1000E", Format::DecimalSI)));
}

#[test]
fn longest_text_is_refused_not_computed() {
    let digits = "9".repeat(5000);
    assert!(digits.parse::<Quantity>().is_err());
    assert!("9".repeat(4000).parse::<Quantity>().is_ok());
}
