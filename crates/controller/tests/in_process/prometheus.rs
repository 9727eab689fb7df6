//! A Prometheus that behaves as they do: well, busy, broken, endless.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};
use supple_controller::source::backoff::Backoff;
use supple_controller::source::prometheus::client::{Again, Options, Prometheus, QueryError};
use supple_controller::source::prometheus::history::{Manner, Pasts, Queries, newest, past};
use supple_controller::source::prometheus::part::{By, Part, PodName, parts};
use supple_controller::source::prometheus::past::{Extent, Limits};

/// An answer: status, headers, body.
type Said = (u16, Vec<(&'static str, &'static str)>, Body);

/// Answers in their order, the last one for ever, and what was asked.
#[derive(Clone, Default)]
struct Server {
    says: Arc<Mutex<VecDeque<Said>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

fn header(request: &Request, name: &str) -> String {
    request.headers().get(name).and_then(|it| it.to_str().ok()).unwrap_or("-").to_owned()
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (tenant, token) = (header(&request, "x-scope-orgid"), header(&request, "authorization"));
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let asked = format!("{method} {uri} {tenant} {token} {}", String::from_utf8_lossy(&body));
    server.asked.lock().unwrap().push(asked);
    let (status, headers, body) = server.says.lock().unwrap().pop_front().unwrap_or((404, Vec::new(), Body::empty()));
    let response =
        headers.into_iter().fold(Response::builder().status(status), |it, (name, value)| it.header(name, value));
    response.body(body).unwrap()
}

impl Server {
    async fn start(says: impl IntoIterator<Item = Said>) -> (Self, SocketAddr) {
        let server = Self { says: Arc::new(Mutex::new(says.into_iter().collect())), ..Self::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (server, address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn said(status: u16, body: impl Into<Body>) -> Said {
    (status, Vec::new(), body.into())
}

fn good(kind: &str, result: Value) -> Said {
    said(200, json!({"status": "success", "data": {"resultType": kind, "result": result}}).to_string())
}

fn series(values: Value) -> Value {
    json!({"metric": {"namespace": "n", "pod": "p", "container": "c"}, "values": values})
}

fn current(value: &str) -> Value {
    json!({"metric": {"namespace": "n", "pod": "p", "container": "c"}, "value": [5000, value]})
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn fast() -> Manner {
    let backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(2) };
    Manner { backoff, between: Duration::ZERO, tries: 3, points: 2, ..Manner::default() }
}

fn two() -> Queries {
    Queries { throttled: None, ..Queries::default() }
}

/// Pods of one container each: namespace and name.
fn pods(pods: &[(&str, &str)]) -> Vec<(PodName, usize)> {
    pods.iter().map(|(namespace, pod)| ((Arc::from(*namespace), Arc::from(*pod)), 1)).collect()
}

/// The one pod that most of these tests are about.
fn one(by: By) -> Part {
    parts(pods(&[("n", "p")]), by, 1).pop_front().unwrap()
}

fn client(address: SocketAddr) -> Prometheus {
    Prometheus::new(Options::new(&format!("http://{address}/prefix/"))).unwrap()
}

#[tokio::test]
async fn the_past_comes_in_pieces_and_is_joined() {
    let says = [
        good("matrix", json!([series(json!([[0, "0.5"], [300, "NaN"]]))])),
        good("matrix", json!([series(json!([[600, "1"]]))])),
        good("matrix", json!([series(json!([[0, "1000"]]))])),
        good("matrix", json!([])),
    ];
    let (server, address) = Server::start(says).await;
    let history = past(&client(address), &two(), &one(By::Pods), (at(0), at(899)), &fast()).await.unwrap();
    let told: Vec<_> = history.past[0].samples().map(|it| (it.time, it.cpu, it.memory)).collect();
    assert_eq!(told, [(0, Some(500.0), Some(1000.0)), (600, Some(1000.0), None)]);
    let asked = server.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked[0].starts_with("GET /prefix/api/v1/query_range?query=max%20by"), "{}", asked[0]);
    assert!(
        asked[0].contains("namespace%3D~%22n%22%2Cpod%3D~%22p%22") && asked[0].contains("&start=0&end=300&step=300"),
        "{}",
        asked[0]
    );
    assert!(asked[1].contains("&start=600&end=600&step=300"), "{}", asked[1]);
}

#[tokio::test]
async fn whoever_is_busy_is_asked_again_and_not_for_ever() {
    let matrix = || good("matrix", json!([series(json!([[0, "1"]]))]));
    let says = [said(503, "busy"), (429, vec![("retry-after", "0")], Body::from("slow down")), matrix(), matrix()];
    let (server, address) = Server::start(says).await;
    let history = past(&client(address), &two(), &one(By::Nothing), (at(0), at(1)), &fast()).await.unwrap();
    assert_eq!((history.past.len(), server.asked().len()), (1, 4));

    let (server, address) = Server::start((0..9).map(|_| said(503, "busy"))).await;
    let error = past(&client(address), &two(), &one(By::Nothing), (at(0), at(1)), &fast()).await.unwrap_err();
    assert_eq!(server.asked().len(), 3);
    assert!(error.to_string().ends_with("503 Service Unavailable: busy"), "{error}");
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_asked_again() {
    let error = json!({"status": "error", "errorType": "bad_data", "error": "invalid parameter \"query\""}).to_string();
    let (server, address) = Server::start([said(400, error)]).await;
    let error = past(&client(address), &two(), &one(By::Nothing), (at(0), at(1)), &fast()).await.unwrap_err();
    assert!(error.to_string().contains("400 Bad Request: invalid parameter"), "{error}");
    assert_eq!((error.again(), server.asked().len()), (Again::Never, 1));
}

#[track_caller]
fn check(error: &QueryError, again: Again, part: &str) {
    assert_eq!(error.again(), again, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_what_to_do() {
    let number = async |says: Said, options: &dyn Fn(Options) -> Options| {
        let (_, address) = Server::start([says]).await;
        let client = Prometheus::new(options(Options::new(&format!("http://{address}")))).unwrap();
        client.number("up", at(1)).await.unwrap_err()
    };
    let plain = |it: Options| it;
    check(&number(said(200, "<html>"), &plain).await, Again::Never, "it is not an answer of Prometheus");
    check(
        &number(said(200, r#"{"status":"success","data":{"resultType":"vector","result":[{"met"#), &plain).await,
        Again::Never,
        "EOF",
    );
    check(&number(said(401, ""), &plain).await, Again::Never, "--prometheus-bearer-file");
    check(&number(said(404, "404 page not found"), &plain).await, Again::Never, "path before /api/v1");
    let moved = (302, vec![("location", "https://login.example/")], Body::empty());
    check(&number(moved, &plain).await, Again::Never, "https://login.example/ (redirects are not followed");
    let asks = (429, vec![("retry-after", "30")], Body::empty());
    check(&number(asks, &plain).await, Again::After(Duration::from_secs(30)), "429");
    let huge = said(200, "x".repeat(2000));
    check(&number(huge, &|it| Options { longest_answer: 1000, ..it }).await, Again::Never, "longer than 1000 bytes");
    let endless = said(200, Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>()));
    let hasty = |it| Options { patience: Duration::from_millis(200), ..it };
    check(&number(endless, &hasty).await, Again::Later, "no answer in");
    let two = good("vector", json!([current("1"), current("2")]));
    check(&number(two, &plain).await, Again::Never, "2 series instead of one number");
    let file = |it| Options { bearer_file: Some("/nowhere/token".into()), ..it };
    check(&number(said(200, ""), &file).await, Again::Later, "read a bearer token for Prometheus from /nowhere/token");

    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check(&client(unused).number("up", at(1)).await.unwrap_err(), Again::Later, "refused");
}

#[tokio::test]
async fn more_than_was_bargained_for_is_left() {
    let (_, address) =
        Server::start([good("matrix", json!([series(json!([[0, "1"], [300, "1"], [600, "1"]]))]))]).await;
    let manner = Manner { limits: Limits { series: 1, samples: 2 }, ..fast() };
    let error = past(&client(address), &two(), &one(By::Nothing), (at(0), at(600)), &manner).await.unwrap_err();
    check(&error, Again::Never, "more than 2 samples");
}

#[tokio::test]
async fn an_answer_that_is_not_whole_says_so() {
    let partial = json!({"status": "success", "warnings": ["a store did not answer"],
        "data": {"resultType": "matrix", "result": [series(json!([[0, "1"]]))]}});
    let (_, address) = Server::start([said(200, partial.to_string()), good("matrix", json!([]))]).await;
    let history = past(&client(address), &two(), &one(By::Nothing), (at(0), at(1)), &fast()).await.unwrap();
    assert_eq!((history.extent(), history.past.len()), (Extent::Partial, 1));
    assert_eq!(history.warnings, ["a store did not answer"]);
}

#[tokio::test]
async fn numbers_for_guards() {
    let says = [
        good("vector", json!([current("0.25")])),
        good("scalar", json!([1, "7"])),
        good("vector", json!([])),
        good("vector", json!([current("NaN")])),
    ];
    let (_, address) = Server::start(says).await;
    let client = client(address);
    for expect in [Some(0.25), Some(7.0), None, None] {
        assert_eq!(client.number("up", at(1)).await.unwrap(), expect);
    }
}

/// The past of these pods, part by part, as it is told: how many containers, or why not; and after which failures.
async fn parts_of(
    server: SocketAddr,
    queries: Queries,
    asked: &[(&str, &str)],
    manner: Manner,
) -> (Vec<String>, Vec<Again>) {
    let mut pasts = Pasts::new(client(server), queries, pods(asked), (at(0), at(1)), manner, fast().backoff);
    let (mut told, mut failures) = (Vec::new(), Vec::new());
    while let Some(part) = pasts.next(|error, _| failures.push(error.again())).await {
        told.push(part.map_or_else(|it| it.to_string(), |it| format!("{} {:?}", it.past.len(), it.extent())));
    }
    (told, failures)
}

fn of_namespace(namespace: &str, samples: usize) -> Said {
    let values: Vec<Value> = (0..samples).map(|it| json!([300 * it, "1"])).collect();
    let metric = json!({"namespace": namespace, "pod": "p", "container": "c"});
    good("matrix", json!([{"metric": metric, "values": values}]))
}

#[tokio::test]
async fn a_server_that_is_down_at_first_is_asked_again_until_it_tells() {
    let matrix = || of_namespace("n", 1);
    let says = [said(503, ""), said(503, ""), said(503, ""), matrix(), matrix()];
    let (server, address) = Server::start(says).await;
    let (told, failures) = parts_of(address, two(), &[("n", "p")], fast()).await;
    assert_eq!((told, server.asked().len()), (vec!["1 Whole".to_owned()], 5));
    assert_eq!(failures, [Again::Later]);
}

#[tokio::test]
async fn each_namespace_is_asked_for_and_told_by_itself_and_one_that_is_too_large_is_given_up() {
    let says = [
        of_namespace("a", 1),
        of_namespace("a", 1),
        of_namespace("b", 3),
        of_namespace("c", 1),
        of_namespace("elsewhere", 1),
    ];
    let (server, address) = Server::start(says).await;
    let manner = Manner { limits: Limits { series: 9, samples: 2 }, ..fast() };
    let (told, failures) = parts_of(address, two(), &[("a", "p"), ("b", "p"), ("c", "p")], manner).await;
    assert_eq!((&*told[0], &*told[2], told.len()), ("1 Whole", "1 Whole", 3));
    assert!(
        told[1].contains("pod p of namespace b is not read") && told[1].contains("more than 2 samples"),
        "{}",
        told[1]
    );
    assert!(told[1].contains("narrow the queries with --prometheus-query"), "{}", told[1]);
    assert!(failures.is_empty(), "nothing is asked for twice that is too much");
    let asked = server.asked();
    assert_eq!(asked.len(), 5);
    assert!(asked[2].contains("namespace%3D~%22b%22") && asked[3].contains("namespace%3D~%22c%22"), "{asked:?}");
}

#[tokio::test]
async fn of_a_large_namespace_a_few_pods_at_a_time_are_asked_for_and_held() {
    let names: Vec<String> = (0..10).map(|it| format!("web-{it}")).collect();
    let all: Vec<Value> = names
        .iter()
        .map(|pod| json!({"metric": {"namespace": "a", "pod": pod, "container": "c"}, "values": [[0, "1"]]}))
        .collect();
    let (server, address) = Server::start((0..9).map(|_| good("matrix", json!(all)))).await;
    let asked: Vec<(&str, &str)> = names.iter().map(|it| ("a", &**it)).collect();
    // Room for fewer samples than there are: what is not of the part that is asked for takes none.
    let manner = Manner { answer: 4, limits: Limits { series: 4, samples: 4 }, ..fast() };
    let (told, _) = parts_of(address, two(), &asked, manner).await;
    assert_eq!(told, ["4 Whole", "4 Whole", "2 Whole"]);
    let asked = server.asked();
    assert_eq!(asked.len(), 6);
    assert!(asked[0].contains("pod%3D~%22web-%280%7C1%7C2%7C3%29%22"), "{}", asked[0]);
    assert!(asked[5].contains("pod%3D~%22web-%288%7C9%29%22"), "{}", asked[5]);
}

#[tokio::test]
async fn what_is_refused_for_good_or_cannot_be_asked_in_parts_is_asked_for_once() {
    let (server, address) = Server::start([said(401, "")]).await;
    let (told, _) = parts_of(address, two(), &[("a", "p"), ("b", "p")], fast()).await;
    assert_eq!((told.len(), server.asked().len()), (1, 1), "{told:?}");
    assert!(told[0].contains("--prometheus-bearer-file") && told[0].contains("next start"), "{}", told[0]);

    let own = Queries { throttled: None, ..Queries::with([("cpu", "mine")]).unwrap() };
    let manner = Manner { limits: Limits { series: 9, samples: 2 }, ..fast() };
    let (server, address) = Server::start([of_namespace("a", 3)]).await;
    let (told, _) = parts_of(address, own, &[("a", "p"), ("b", "p")], manner).await;
    assert_eq!((told.len(), server.asked().len()), (1, 1), "{told:?}");
    assert!(
        told[0].contains("of all containers") && told[0].contains("use $namespace and $pod (with =~) in each"),
        "{}",
        told[0]
    );
}

#[tokio::test]
async fn how_fresh_it_is_is_asked_with_the_query_that_was_given() {
    let says = [good("vector", json!([current("4900.5")])), good("vector", json!([]))];
    let (server, address) = Server::start(says).await;
    let queries = Queries::with([("measured", "then")]).unwrap();
    assert_eq!(newest(&client(address), &queries, at(5000)).await.unwrap(), Some(at(4900)));
    assert!(server.asked()[0].contains("then") && server.asked()[0].contains("query=max"), "{:?}", server.asked());
    assert_eq!(newest(&client(address), &queries, at(5000)).await.unwrap(), None);
}

#[tokio::test]
async fn headers_and_the_token_of_the_day_are_sent_and_long_queries_in_the_body() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let (server, address) = Server::start((0..3).map(|_| good("vector", json!([])))).await;
    let client = Prometheus::new(Options {
        headers: vec![("X-Scope-OrgID".to_owned(), "shop".to_owned())],
        bearer_file: Some(token.clone()),
        ..Options::new(&format!("http://{address}"))
    })
    .unwrap();
    for (text, query) in [("one\n", "up".to_owned()), ("two", "up".to_owned()), ("two", "x".repeat(5000))] {
        std::fs::write(&token, text).unwrap();
        client.number(&query, at(1)).await.unwrap();
    }
    let asked = server.asked();
    assert_eq!(asked[0], "GET /api/v1/query?query=up&time=1 shop Bearer one ");
    assert_eq!(asked[1], "GET /api/v1/query?query=up&time=1 shop Bearer two ");
    assert!(asked[2].starts_with("POST /api/v1/query shop Bearer two query=xxx"), "{}", asked[2]);
}

#[tokio::test]
async fn only_a_certificate_that_is_trusted_is_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, "nothing").unwrap();
    let options = Options { ca_file: Some(ca.clone()), ..Options::new("https://127.0.0.1:1") };
    let client = Prometheus::new(options).unwrap();
    check(&client.number("up", at(1)).await.unwrap_err(), Again::Later, "there is no certificate in PEM form in it");
}
