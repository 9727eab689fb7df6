//! The formats of texts and numbers that a schema can ask for; a format that is not known asks for nothing, as in the
//! reference.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine;
use regex::Regex;
use serde_json::Value;

/// A pattern of our own.
fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("it is one of the few below, all of which the tests compile")
}

static HOSTNAME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$")
});
static UUID: LazyLock<Regex> = LazyLock::new(|| {
    pattern("^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?([0-9a-f])[0-9a-f]{3}-?([0-9a-f])[0-9a-f]{3}-?[0-9a-f]{12}$")
});
static COLOR: LazyLock<Regex> = LazyLock::new(|| pattern("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"));
static RGB: LazyLock<Regex> = LazyLock::new(|| {
    let number = r"(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])";
    pattern(&format!(r"^rgb\(\s*{number}\s*,\s*{number}\s*,\s*{number}\s*\)$"))
});
static MAC: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        "^([0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){7}|([0-9A-Fa-f]{4}\\.){2}[0-9A-Fa-f]{4})$",
    )
});
static SSN: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$"));
static EMAIL: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[^@\s<>]+@[^@\s<>]+$"));
static LABEL: LazyLock<Regex> = LazyLock::new(|| pattern("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"));
static URI: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(/\S*|[a-zA-Z][a-zA-Z0-9+.-]*:\S+)$"));

/// Whether a text is of the format.
pub fn fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => is_moment(text),
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
        "duration" => is_duration(text),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "ip" => text.parse::<IpAddr>().is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "hostname" => text.len() <= 255 && HOSTNAME.is_match(text),
        "uri" => URI.is_match(text),
        "email" => EMAIL.is_match(text),
        "mac" => MAC.is_match(text),
        "uuid" => UUID.is_match(text),
        "uuid3" => uuid_version(text, "3"),
        "uuid4" => uuid_version(text, "4"),
        "uuid5" => uuid_version(text, "5"),
        "hexcolor" => COLOR.is_match(text),
        "rgbcolor" => RGB.is_match(text),
        "ssn" => SSN.is_match(text),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|it| it.is_ascii_hexdigit()),
        "creditcard" => is_card(text),
        "isbn" => is_isbn(text, 10) || is_isbn(text, 13),
        "isbn10" => is_isbn(text, 10),
        "isbn13" => is_isbn(text, 13),
        "k8s-short-name" => LABEL.is_match(text),
        "k8s-long-name" => text.len() <= 253 && text.split('.').all(|it| LABEL.is_match(it)),
        _ => true,
    }
}

/// Whether a number is of the format.
pub fn fits_number(format: &str, value: &Value) -> bool {
    match format {
        "int32" => value.as_f64().is_some_and(|it| (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&it)),
        "int64" => value.is_i64() || value.is_f64(),
        _ => true,
    }
}

fn is_moment(text: &str) -> bool {
    // RFC 3339: a time zone is not left out, as `jiff` would allow of some texts.
    text.len() >= 20 && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_duration(text: &str) -> bool {
    crate::cel::duration(text).is_some()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    match (address.parse::<IpAddr>(), bits.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(bits)) => bits <= 32,
        (Ok(IpAddr::V6(_)), Ok(bits)) => bits <= 128,
        _ => false,
    }
}

fn uuid_version(text: &str, version: &str) -> bool {
    UUID.captures(text).and_then(|it| it.get(1)).is_some_and(|it| it.as_str() == version)
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter(|it| !matches!(it, ' ' | '-')).filter_map(|it| it.to_digit(10)).collect()
}

/// Luhn's check.
fn is_card(text: &str) -> bool {
    let digits = digits(text);
    let doubled = digits.iter().rev().enumerate().map(|(at, digit)| match (at % 2, digit * 2) {
        (0, _) => *digit,
        (_, twice) if twice > 9 => twice - 9,
        (_, twice) => twice,
    });
    (13..=19).contains(&digits.len()) && doubled.sum::<u32>() % 10 == 0
}

fn is_isbn(text: &str, length: usize) -> bool {
    let text: String = text.chars().filter(|it| !matches!(it, ' ' | '-')).collect();
    let mut values = text.chars().enumerate().map(|(at, it)| match it {
        'X' | 'x' if at == 9 => Some(10),
        it => it.to_digit(10),
    });
    let Some(values) = values.by_ref().collect::<Option<Vec<u32>>>().filter(|it| it.len() == length) else {
        return false;
    };
    if length == 10 {
        values.iter().zip((1..=10).rev()).map(|(value, weight)| value * weight).sum::<u32>() % 11 == 0
    } else {
        values.iter().enumerate().map(|(at, value)| value * if at % 2 == 0 { 1 } else { 3 }).sum::<u32>() % 10 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &str, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(fits(format, text), "{format}: {text}");
        }
        for text in bad {
            assert!(!fits(format, text), "{format}: {text}");
        }
    }

    #[test]
    fn formats_know_their_texts() {
        check("date-time", &["2024-01-02T03:04:05Z", "2024-01-02T03:04:05.5+01:00"], &["2024-01-02", "now", ""]);
        check("date", &["2024-02-29"], &["2023-02-29", "2024-1-2"]);
        check("duration", &["1h30m", "5s", "-3ms"], &["1 parsec", "x"]);
        check("byte", &["aGk="], &["%%"]);
        check("ip", &["10.0.0.1", "::1"], &["10.0.0"]);
        check("ipv4", &["10.0.0.1"], &["::1"]);
        check("ipv6", &["::1"], &["10.0.0.1"]);
        check("cidr", &["10.0.0.0/8", "fd00::/8"], &["10.0.0.0", "10.0.0.0/33"]);
        check("hostname", &["a.example", "x"], &["-a", "a b"]);
        check("uri", &["https://a.example/x", "/rooted"], &["a b", "plain"]);
        check("email", &["a@b.example"], &["a"]);
        check("mac", &["01:23:45:67:89:ab"], &["01:23"]);
        check("uuid", &["123e4567-e89b-12d3-a456-426614174000"], &["123"]);
        check("uuid4", &["123e4567-e89b-42d3-a456-426614174000"], &["123e4567-e89b-12d3-a456-426614174000"]);
        check("hexcolor", &["#fff", "aabbcc"], &["#ggg"]);
        check("rgbcolor", &["rgb(1, 2, 255)"], &["rgb(1,2)", "rgb(1,2,256)"]);
        check("ssn", &["123-45-6789"], &["1"]);
        check("bsonobjectid", &["507f1f77bcf86cd799439011"], &["x"]);
        check("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112"]);
        check("isbn", &["0-306-40615-2", "978-0-306-40615-7"], &["978-0-306-40615-8"]);
        check("isbn10", &["080442957X"], &["0804429570"]);
        check("k8s-short-name", &["a-b"], &["A", "a.b"]);
        check("k8s-long-name", &["a-b.c"], &["a..b"]);
        check("never-heard-of", &["anything"], &[]);
    }

    #[test]
    fn numbers_fit_their_width() {
        assert!(fits_number("int32", &1.into()) && !fits_number("int32", &3_000_000_000_u64.into()));
        assert!(fits_number("int64", &i64::MAX.into()) && !fits_number("int64", &u64::MAX.into()));
    }
}
