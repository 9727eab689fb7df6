//! What people type after a flag, and the sentence they get when it is not what was expected.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use supple_cluster::Reservation;
use supple_quantity::{Bytes, MilliCpu, Quantity};

/// `REQUEST[:LIMIT]` of `--cpu` and `--memory`; `:LIMIT` changes the limit alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// The new request.
    pub request: Option<Quantity>,
    /// The new limit.
    pub limit: Option<Quantity>,
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected REQUEST[:LIMIT], for example 300m:500m for CPU or 256Mi:512Mi for memory";
        let quantity = |part: &str| -> Result<Option<Quantity>, String> {
            if part.is_empty() {
                return Ok(None);
            }
            let quantity: Quantity = part.parse().map_err(|_| format!("{part:?} is not a quantity; {expected}"))?;
            if quantity.sign() < 0 {
                return Err(format!("{part:?} is negative; {expected}"));
            }
            Ok(Some(quantity))
        };
        let (request, limit) = text.split_once(':').unwrap_or((text, ""));
        if limit.contains(':') {
            return Err(format!("{text:?} has more than one colon; {expected}"));
        }
        let amount = Self { request: quantity(request)?, limit: quantity(limit)? };
        match (&amount.request, &amount.limit) {
            (None, None) => Err(format!("{text:?} has no quantity; {expected}")),
            (Some(request), Some(limit)) if request > limit => {
                Err(format!("the request {request} is greater than the limit {limit}; {expected}"))
            }
            _ => Ok(amount),
        }
    }
}

/// The pod a verb acts on: `pod/NAME` (`pods/`, `po/`), or the bare name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName(pub String);

impl FromStr for PodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = match text.split_once('/') {
            None => text,
            Some(("pod" | "pods" | "po", name)) => name,
            Some((kind, _)) => {
                return Err(format!("{kind:?} cannot be resized in place, only pods can; expected pod/NAME"));
            }
        };
        let fits = !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-' || it == b'.');
        if fits { Ok(Self(name.to_owned())) } else { Err(format!("{name:?} is not a pod name; expected pod/NAME")) }
    }
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Not at all.
    None,
    /// There.
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self::None) } else { listen_address(text).map(Self::At) }
    }
}

/// `NAME=VALUE`
pub fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}

/// `NAMESPACE/NAME`
pub fn namespaced(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(format!("{text:?} is not NAMESPACE/NAME")),
    }
}

/// A length of time as Kubernetes writes it: `90s`, `1m30s`, `500ms`, `2h`; and in days of 24 hours and weeks: `1d12h`, `2w`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is not a duration; expected for example 60s, 1m30s, 500ms or 2d");
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return Err(expected());
    }
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit()).ok_or_else(expected)?;
        let number: u64 = rest[..digits].parse().map_err(|_| expected())?;
        rest = &rest[digits..];
        let unit = rest.find(|it: char| it.is_ascii_digit()).unwrap_or(rest.len());
        let part = match &rest[..unit] {
            "w" => number.checked_mul(7 * 86_400).map(Duration::from_secs),
            "d" => number.checked_mul(86_400).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "s" => Some(Duration::from_secs(number)),
            "ms" => Some(Duration::from_millis(number)),
            _ => None,
        };
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(expected)?;
        rest = &rest[unit..];
    }
    Ok(total)
}

/// A length of time as [`duration`] reads it, in the greatest units: `1d12h`.
pub fn shown(time: Duration) -> String {
    let mut left = time.as_secs();
    let mut out = String::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if left >= seconds {
            let _ = write!(out, "{}{unit}", left / seconds);
            left %= seconds;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// A length of time at which something is repeated.
pub fn interval(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(1), Duration::from_secs(3600))
}

/// How long to wait for something.
pub fn patience(text: &str) -> Result<Duration, String> {
    between(text, Duration::ZERO, Duration::from_secs(365 * 86_400))
}

/// Within bounds: what is beyond them nobody means, and no clock can add it to a moment.
fn between(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    match duration(text)? {
        it if it < least => Err(format!("{text:?} is too short; expected at least {}", shown(least))),
        it if it > most => Err(format!("{text:?} is too long; expected at most {}", shown(most))),
        it => Ok(it),
    }
}

/// What `--node-capacity` says; what it leaves out is taken from the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapacityFlag {
    /// `cpu=4`
    pub cpu: Option<MilliCpu>,
    /// `memory=16Gi`
    pub memory: Option<Bytes>,
    /// `pods=110`
    pub pods: Option<u32>,
}

impl FromStr for CapacityFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected cpu=QUANTITY,memory=QUANTITY,pods=NUMBER, each at most once, for example \
                        cpu=4,memory=16Gi,pods=110";
        let mut flag = Self::default();
        for part in text.split(',') {
            let Some((name, value)) = part.split_once('=') else {
                return Err(format!("{part:?} has no value; {expected}"));
            };
            let positive = || {
                let quantity: Quantity =
                    value.parse().map_err(|_| format!("{value:?} is not a quantity; {expected}"))?;
                if quantity.sign() > 0 { Ok(quantity) } else { Err(format!("{part:?} is not above zero; {expected}")) }
            };
            let taken = match name {
                "cpu" => flag.cpu.replace(MilliCpu::from(&positive()?)).is_some(),
                "memory" => flag.memory.replace(Bytes::from(&positive()?)).is_some(),
                "pods" => {
                    let pods = value.parse().ok().filter(|it| *it > 0);
                    flag.pods.replace(pods.ok_or(format!("{value:?} is not a number of pods; {expected}"))?).is_some()
                }
                _ => return Err(format!("{name:?} is not a capacity; {expected}")),
            };
            if taken {
                return Err(format!("{name:?} is given twice; {expected}"));
            }
        }
        Ok(flag)
    }
}

/// `ADDR:PORT` of `--listen`; port 0 lets the system choose.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let text =
        if let Some(port) = text.strip_prefix("localhost:") { format!("127.0.0.1:{port}") } else { text.to_owned() };
    text.parse()
        .map_err(|_| format!("{text:?} is not ADDR:PORT; expected for example 127.0.0.1:6443, or port 0 for any"))
}

/// A part of one, as in 0.9, in thousandths.
pub fn permille(text: &str) -> Result<u16, String> {
    let expected = "expected a fraction above 0 and up to 1 with at most three decimals, such as 0.9";
    let milli = text.parse::<Quantity>().ok().map(|it| (MilliCpu::from(&it).0, it));
    match milli {
        // Thousandths are exact, or they would be rounded up unseen.
        Some((milli @ 1..=1000, quantity)) if quantity == Quantity::milli_units(milli) => {
            u16::try_from(milli).map_err(|_| expected.to_owned())
        }
        _ => Err(format!("{text:?} is not a factor; {expected}")),
    }
}

/// `--memory-reservation`.
pub fn reservation(text: &str) -> Result<Reservation, String> {
    match text {
        "none" => Ok(Reservation::None),
        "tiered" => Ok(Reservation::Tiered),
        _ => Err(format!("{text:?} is not a reservation policy; expected none or tiered")),
    }
}

/// A node's name: a DNS subdomain, as the API server will demand.
pub fn node_name(text: &str) -> Result<String, String> {
    let label = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a node name; expected lower-case letters, digits, '-' and '.', as in node-1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_amount(text: &str, expect: Result<(Option<&str>, Option<&str>), &str>) {
        let shown = |it: Option<Quantity>| it.map(|it| it.to_string());
        match (text.parse::<Amount>(), expect) {
            (Ok(amount), Ok((request, limit))) => {
                assert_eq!((shown(amount.request).as_deref(), shown(amount.limit).as_deref()), (request, limit));
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, expect) => panic!("{text}: {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn factors() {
        #[track_caller]
        fn check(text: &str, expect: Option<u16>) {
            assert_eq!(permille(text).ok(), expect, "{text}");
        }
        check("0.9", Some(900));
        check("1", Some(1000));
        check("0.001", Some(1));
        check("0", None);
        check("1.1", None);
        check("0.0005", None);
        check("-0.5", None);
        check("most", None);
        assert!(permille("2").unwrap_err().contains("such as 0.9"));
        assert_eq!(reservation("tiered"), Ok(Reservation::Tiered));
        assert!(reservation("hard").is_err());
    }

    #[test]
    fn amounts() {
        check_amount("300m", Ok((Some("300m"), None)));
        check_amount("300m:500m", Ok((Some("300m"), Some("500m"))));
        check_amount(":512Mi", Ok((None, Some("512Mi"))));
        check_amount("0", Ok((Some("0"), None)));
        check_amount("500m:300m", Err("the request 500m is greater than the limit 300m"));
        check_amount("lots", Err("\"lots\" is not a quantity; expected REQUEST[:LIMIT]"));
        check_amount("1:2:3", Err("more than one colon"));
        check_amount(":", Err("has no quantity"));
        check_amount("", Err("has no quantity"));
        check_amount("-1", Err("negative"));
    }

    #[track_caller]
    fn check_pod(text: &str, expect: Result<&str, &str>) {
        match (text.parse::<PodName>(), expect) {
            (Ok(PodName(name)), Ok(expect)) => assert_eq!(name, expect),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, expect) => panic!("{text}: {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn pods() {
        check_pod("pod/web-0", Ok("web-0"));
        check_pod("pods/web-0", Ok("web-0"));
        check_pod("po/a.b", Ok("a.b"));
        check_pod("web-0", Ok("web-0"));
        check_pod("deployment/web", Err("\"deployment\" cannot be resized in place, only pods can"));
        check_pod("pod/", Err("is not a pod name"));
        check_pod("pod/Web", Err("is not a pod name"));
        check_pod("pod/a/b", Err("is not a pod name"));
    }

    #[track_caller]
    fn check_duration(text: &str, expect: Option<u64>) {
        assert_eq!(duration(text).ok(), expect.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn durations() {
        check_duration("60s", Some(60_000));
        check_duration("1m30s", Some(90_000));
        check_duration("2h", Some(7_200_000));
        check_duration("500ms", Some(500));
        check_duration("0s", Some(0));
        check_duration("400d", Some(34_560_000_000));
        check_duration("1d12h", Some(129_600_000));
        check_duration("2w", Some(1_209_600_000));
        assert_eq!(shown(Duration::from_secs(129_661)), "1d12h1m1s");
        for bad in ["", "60", "s", "1.5s", "-1s", "60x", "99999999999999999999s", "18446744073709551615h"] {
            check_duration(bad, None);
        }
    }

    #[track_caller]
    fn check_capacity(text: &str, expect: Result<CapacityFlag, &str>) {
        match (text.parse::<CapacityFlag>(), expect) {
            (Ok(got), Ok(expect)) => assert_eq!(got, expect),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, expect) => panic!("{text}: {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn capacities() {
        let (cpu, memory) = (Some(MilliCpu(4000)), Some(Bytes(16 << 30)));
        check_capacity("cpu=4,memory=16Gi,pods=110", Ok(CapacityFlag { cpu, memory, pods: Some(110) }));
        check_capacity("cpu=4", Ok(CapacityFlag { cpu, ..CapacityFlag::default() }));
        check_capacity("cpu=4,cpu=5", Err("\"cpu\" is given twice"));
        check_capacity("disk=4", Err("\"disk\" is not a capacity; expected cpu=QUANTITY"));
        check_capacity("cpu", Err("\"cpu\" has no value"));
        check_capacity("cpu=0", Err("\"cpu=0\" is not above zero"));
        check_capacity("pods=-1", Err("\"-1\" is not a number of pods"));
        check_capacity("memory=much", Err("\"much\" is not a quantity"));
        check_capacity("", Err("\"\" has no value"));
    }

    #[test]
    fn addresses_and_names() {
        assert_eq!(listen_address("localhost:0").unwrap(), "127.0.0.1:0".parse().unwrap());
        assert!(listen_address("6443").unwrap_err().contains("is not ADDR:PORT"));
        assert!(listen_address("127.0.0.1:99999").is_err());
        assert_eq!(node_name("node-1.lab").unwrap(), "node-1.lab");
        for bad in ["", "Node", "a_b", "-a", "a-", "a..b"] {
            assert!(node_name(bad).is_err(), "{bad}");
        }
    }
}
