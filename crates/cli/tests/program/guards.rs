//! The guards of the example policies against a real Prometheus, asked as the controller asks them: of a watched pod, by its own
//! names, on series of the shape that cAdvisor and the field's HTTP libraries give. Each answers with one number.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use jiff::Timestamp;
use serde_json::Value;
use supple_controller::source::prometheus::client::{Options, Prometheus as Asker};
use supple_controller::source::prometheus::guards::{Asked, Watched, ask};
use supple_decide::guard::{Billionths, Guard};
use supple_decide::key::WorkloadKey;

use super::cluster::eventually;
use super::monitoring::Prometheus;

/// The policies in `examples/` that have guards.
const EXAMPLES: [&str; 2] = [
    include_str!("../../../../examples/policies/guarded.yaml"),
    include_str!("../../../../examples/policies/everything.yaml"),
];

/// What the watched pod and one that must not be mistaken for it tell, after so many scrapes: each has served ten requests a scrape,
/// of which the watched one failed in one, and was throttled in a tenth of its periods.
fn exposition(scrapes: u32) -> String {
    let mut text = String::new();
    for (pod, failed) in [("checkout-7d9c8f-abcde", 1), ("checkout-7d9c8f-other", 9)] {
        let app = format!(r#"namespace="shop",pod="{pod}""#);
        let cgroup = format!(r#"{app},container="app",id="/kubepods/{pod}/app",image="i",name="n""#);
        let mut counter = |name: &str, labels: &str, each: u32| {
            let _ = writeln!(text, "{name}{{{labels}}} {}", each * scrapes); // a string takes all that is written
        };
        counter("http_requests_total", &format!(r#"{app},code="500""#), failed);
        counter("http_requests_total", &format!(r#"{app},code="200""#), 10 - failed);
        counter("errors_total", &app, failed);
        for (le, each) in [("0.1", 5), ("0.5", 10), ("+Inf", 10)] {
            counter("http_request_duration_seconds_bucket", &format!(r#"{app},le="{le}""#), each);
        }
        counter("container_cpu_cfs_periods_total", &cgroup, 10);
        counter("container_cpu_cfs_throttled_periods_total", &cgroup, failed);
    }
    text
}

/// Answers every scrape for as long as the process lives; its port.
fn exporter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let scraped = |mut stream: TcpStream, scrapes: u32| {
        let _ = stream.read(&mut [0; 4096])?;
        let body = exposition(scrapes);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    std::thread::spawn(move || {
        for (stream, scrapes) in listener.incoming().zip(1..) {
            let _ = stream.and_then(|it| scraped(it, scrapes)); // whoever hung up comes again
        }
    });
    port
}

/// The guards of a policy, as written.
fn guards(policy: &str) -> Vec<Guard> {
    let policy: Value = serde_saphyr::from_str(policy).unwrap();
    let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    let guards = policy["spec"]["guards"].as_array().unwrap().iter();
    let guard = |it: &Value| Guard { name: text(it, "name"), query: text(it, "query"), above: None, below: None };
    guards.map(guard).collect()
}

#[test]
fn every_guard_of_the_examples_answers_with_a_number_of_the_watched_pod() {
    let guards: Vec<Guard> = EXAMPLES.iter().flat_map(|it| guards(it)).collect();
    assert!(guards.len() > 3, "{guards:?}");
    let Some(prometheus) = Prometheus::start(exporter()) else { return };
    let asker = Asker::new(Options::new(&format!("http://127.0.0.1:{}", prometheus.port))).unwrap();
    let workload = WorkloadKey { namespace: "shop".into(), kind: "Deployment".into(), name: "checkout".into() };
    let watched = [Watched { pod: "checkout-7d9c8f-abcde".into(), containers: vec!["app".into()], since: None }];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answers = eventually("every guard is read, and sees what happens", || {
        let now = Timestamp::now();
        let Asked { readings, unread, .. } = runtime.block_on(ask(Some(&asker), &workload, &watched, &guards, now));
        // Before two scrapes nothing has a rate.
        (unread.is_empty() && readings.iter().all(|it| it.value > Billionths(0))).then_some(readings)
    });
    assert_eq!(answers.len(), guards.len());
    for answer in &answers {
        assert_eq!(answer.pod.as_deref(), Some("checkout-7d9c8f-abcde"), "{answer:?}");
    }
    let value = |name: &str| answers.iter().find(|it| it.name == name).unwrap().value;
    assert_eq!(value("throttled"), Billionths::of(0.1), "of this pod alone: the other one is throttled in nine tenths");
    let latency = Billionths::of(0.4)..=Billionths::of(0.5);
    assert!(latency.contains(&value("latency")), "{answers:?}");
}
