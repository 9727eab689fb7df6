//! How quantities come out of documents, and the integers a node counts in.

use supple_quantity::{Bytes, MilliCpu, Quantity};

/// A value of a JSON document read as a quantity: its text, or the error's.
#[track_caller]
fn check_json(json: &str, expected: Result<&str, &str>) {
    let got = serde_json::from_str::<Quantity>(json);
    let got = got.map(|quantity| quantity.to_string()).map_err(|error| error.to_string());
    match (&got, expected) {
        (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{json}"),
        (Err(got), Err(expected)) => assert!(got.starts_with(expected), "{json}: {got}"),
        _ => panic!("{json}: {got:?}"),
    }
}

#[test]
fn documents() {
    const MALFORMED: &str = "quantities must match the regular expression";
    check_json("\"100m\"", Ok("100m"));
    check_json("\" 1Gi \"", Ok("1Gi"));
    check_json("2", Ok("2"));
    check_json("-2", Ok("-2"));
    check_json("1.5", Ok("1500m"));
    check_json("18446744073709551615", Ok("18446744073709551615"));
    check_json("null", Ok("0"));
    check_json("true", Err(MALFORMED));
    check_json("\"\"", Err(MALFORMED));
    check_json("\"1 Gi\"", Err(MALFORMED));
    check_json("[]", Err("invalid type: sequence, expected a quantity such as 100m or 1Gi"));
}

#[track_caller]
fn check_units(text: &str, bytes: i64, milli: i64) {
    let quantity: Quantity = text.parse().expect("a quantity");
    assert_eq!((Bytes::from(&quantity), MilliCpu::from(&quantity)), (Bytes(bytes), MilliCpu(milli)), "{text}");
}

#[test]
fn integers_round_up_and_saturate() {
    check_units("1500m", 2, 1500);
    check_units("100u", 1, 1);
    check_units("-1500m", -1, -1500);
    check_units("-100u", 0, 0);
    check_units("1Gi", 1 << 30, 1000 << 30);
    check_units("1E", 1_000_000_000_000_000_000, i64::MAX);
    check_units("-1E", -1_000_000_000_000_000_000, i64::MIN);
    check_units("1e100", i64::MAX, i64::MAX);
    check_units("0", 0, 0);
}

#[track_caller]
fn check_billionths(text: &str, expect: i128) {
    assert_eq!(text.parse::<Quantity>().expect("a quantity").billionths(), expect, "{text}");
}

#[test]
fn billionths_are_exact_up_and_down() {
    check_billionths("0.0005", 500_000);
    check_billionths("1n", 1);
    check_billionths("-20u", -20_000);
    check_billionths("0", 0);
    check_billionths("10Gi", (10 << 30) * 1_000_000_000);
    check_billionths("1e28", i128::pow(10, 37));
    check_billionths("1e100", i128::MAX);
    check_billionths("-1e100", i128::MIN);
}

#[test]
fn integers_print_as_quantities() {
    assert_eq!(Bytes(128 << 20).to_string(), "128Mi");
    assert_eq!(Bytes(1000).to_string(), "1k");
    assert_eq!(Bytes(1025).to_string(), "1025");
    assert_eq!(MilliCpu(1500).to_string(), "1500m");
    assert_eq!(MilliCpu(2000).to_string(), "2");
    // Width and fill as for any text.
    assert_eq!(format!("{:>6}|{:<6}|", MilliCpu(50), Bytes(1 << 30)), "   50m|1Gi   |");
}
