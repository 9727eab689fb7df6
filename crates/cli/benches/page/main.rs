//! The page of benchmarks: everything that [docs/benchmarks.md](../../../docs/benchmarks.md) says, measured in one run of the
//! program over its socket, and printed as that page. `cargo xtask bench` runs it and writes the page.
//!
//! `cargo bench --profile dist -p supple --bench page [-- --pods 10000 --seconds 10 --simulate nodes=500,pods=20000 --rounds 40
//! --only loop]`

#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made is a failure")]

mod load;
mod looping;
mod program;
mod report;
#[path = "../../../controller/benches/reviews/mod.rs"]
mod reviews;
mod wire;

use std::path::Path;
use std::time::Duration;

use load::{Rate, median};
use looping::Loop;
use program::{Program, SUPPLE};
use report::{Aim, Page};
use reviews::Review;

/// Connections over which requests are made at once.
const CONNECTIONS: usize = 64;

/// Connections for resizes: more of them wait together for each flush.
const RESIZERS: usize = 128;

/// How often what is short is measured.
const TIMES: usize = 15;

/// How often the webhook is asked.
const REVIEWS: usize = 300;

/// How long nothing is told of pods when nothing is left to do.
const SETTLED: Duration = Duration::from_secs(1);

/// How long the program is left alone before it counts as idle.
const REST: Duration = Duration::from_secs(10);

/// What can be asked of it, each with a value.
const FLAGS: [&str; 5] = ["--pods", "--seconds", "--simulate", "--rounds", "--only"];

fn main() {
    // `--bench` is what cargo says to every one.
    let args: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    if let Some(wrong) = args.chunks(2).find(|it| it.len() < 2 || !FLAGS.contains(&it[0].as_str())) {
        eprintln!("{:?} is not understood; each of {} takes a value", wrong[0], FLAGS.join(", "));
        std::process::exit(2);
    }
    let value = |flag: &str| args.iter().position(|it| it == flag).and_then(|at| args.get(at + 1)).cloned();
    let number = |flag: &str, usual: usize| {
        value(flag).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{flag} takes a number, not {text:?}")))
    };
    let pods = number("--pods", 10_000);
    let seconds = Duration::from_secs(number("--seconds", 10) as u64);
    let rounds = number("--rounds", 40);
    let simulate = value("--simulate").unwrap_or_else(|| "nodes=500,pods=20000".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let page = runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mut page = Page::new(&report::machine(dir.path()));
        let asked = |part: &str| value("--only").is_none_or(|it| it == part);
        if asked("program") {
            small(&mut page, dir.path()).await;
        }
        if asked("requests") {
            loaded(&mut page, dir.path(), pods, seconds).await;
        }
        if asked("simulated") {
            simulated(&mut page, dir.path(), &simulate).await;
        }
        if asked("loop") {
            looped(&mut page, dir.path(), &simulate, rounds).await;
        }
        if asked("webhook") {
            reviewed(&mut page).await;
        }
        page
    });
    print!("{}", page.text());
}

/// Size, start, and a program with nothing to do.
async fn small(page: &mut Page, dir: &Path) {
    page.part(
        "The program",
        "`supple up --no-loop --runtime simulated`: API server, store on disk, controllers and one node.",
    );
    let size = std::fs::metadata(&*SUPPLE).unwrap().len();
    page.row(
        "size of the binary",
        &format!("{:.1} MiB", mebibytes(size)),
        Aim::AtMost(30.0, mebibytes(size), "MiB"),
        "the profile `dist`, stripped: `target/dist/supple`",
    );
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for time in 0..TIMES {
        let data = dir.join(format!("start-{time}"));
        for kept in [&mut first, &mut again] {
            let program = Program::start(&data, &["--no-loop", "--runtime", "simulated"]);
            kept.push(program.started_in);
            program.connect().await.get("/readyz").await;
            program.stop();
        }
    }
    for (what, times) in [("start to ready, first time", first), ("start to ready, again", again)] {
        let (middle, longest) = median(times);
        let told = format!("{:.0} ms (longest {:.0} ms)", ms(middle), ms(longest));
        page.row(
            what,
            &told,
            Aim::AtMost(300.0, ms(middle), "ms"),
            &format!("median of {TIMES}, from exec until it announces that the API answers and the node is registered"),
        );
    }
    for (what, flags) in [
        ("idle memory, cluster alone", &["--no-loop", "--runtime", "simulated"][..]),
        ("idle memory, with the loop", &["--runtime", "simulated"][..]),
        ("idle memory, with the loop and its webhook", &["--runtime", "simulated", "--webhook"][..]),
    ] {
        let program = Program::start(&dir.join("idle"), flags);
        tokio::time::sleep(REST).await;
        let memory = program.figures().memory();
        page.row(what, &format!("{memory:.1} MiB"), Aim::AtMost(40.0, memory, "MiB"), "resident, 10 s after the start");
        program.stop();
    }
}

/// Thousands of pods on one node, everything durable, over the socket.
async fn loaded(page: &mut Page, dir: &Path, pods: usize, seconds: Duration) {
    let told = format!(
        "{pods} running pods on one simulated node, store and checkpoints on disk, nothing resized by itself. Requests come \
         over TLS on {CONNECTIONS} connections (resizes: {RESIZERS}), one at a time on each, from a client on the same \
         machine."
    );
    page.part("Requests", &told);
    let program = Program::start(
        &dir.join("loaded"),
        &[
            "--no-loop",
            "--runtime",
            "simulated",
            "--node-name",
            "bench",
            "--node-capacity",
            "cpu=10000,memory=10Ti,pods=100000",
        ],
    );
    let created = load::create(&program, pods, CONNECTIONS).await;
    page.row(
        "creates",
        &told_rate(&created),
        Aim::None,
        "POST of a pod, answered after its flush, while those before it are scheduled and started",
    );
    program.all_run(pods).await;
    tokio::time::sleep(REST).await;
    page.row(
        &format!("memory with {pods} pods"),
        &format!("{:.0} MiB", program.figures().memory()),
        Aim::None,
        "resident, API server, controllers and node together",
    );
    let gets = load::gets(&program, pods, CONNECTIONS, seconds).await;
    page.row("gets", &told_rate(&gets), Aim::AtLeast(10_000.0, gets.rate, "a second"), "GET of single pods");
    let (middle, longest, length) = load::list(&program, TIMES).await;
    page.row(
        &format!("list of {pods} pods"),
        &format!("{:.0} ms (longest {:.0} ms)", ms(middle), ms(longest)),
        Aim::None,
        &format!("one answer of {length:.0} MiB, median of {TIMES}"),
    );
    let (took, seen) = load::watch(&program, 4, pods).await;
    page.row(
        &format!("4 watches begin with {pods} pods"),
        &format!("{:.0} ms", ms(took)),
        Aim::None,
        "until each has every pod",
    );
    let memory = program.figures().most_memory();
    page.row(
        "most memory so far",
        &format!("{memory:.0} MiB"),
        Aim::AtMost(200.0, memory, "MiB"),
        "peak resident, lists and watches included",
    );
    for (connections, from) in [(1, 210), (RESIZERS, 310)] {
        let told = || seen.load(std::sync::atomic::Ordering::Relaxed);
        let (before, burnt) = (told(), program.figures().cpu_time());
        let resized = load::resizes(&program, pods, connections, from, seconds).await;
        let events = told() - before;
        // The node is done when nothing more is told.
        let mut last = 0;
        while std::mem::replace(&mut last, told()) != last {
            tokio::time::sleep(SETTLED).await;
        }
        let settled = (program.figures().cpu_time() - burnt) / resized.count();
        let aim = if connections == 1 { Aim::None } else { Aim::AtLeast(3_000.0, resized.rate, "a second") };
        let what = if connections == 1 {
            "resizes, one at a time".to_owned()
        } else {
            format!("resizes, {connections} at a time")
        };
        let how = format!(
            "PATCH of `pods/resize`, answered after its flush; meanwhile the node allocates, checkpoints and actuates them, and 4 \
             watches were told {events} times; {} µs of the server's CPU each until all was settled, {} times told",
            settled.as_micros(),
            told() - before
        );
        page.row(&what, &told_rate(&resized), aim, &how);
    }
    program.stop();
}

/// A cluster that is only computed.
async fn simulated(page: &mut Page, dir: &Path, flag: &str) {
    page.part(
        "A simulated cluster",
        &format!("`supple up --simulate {flag} --no-loop`: see [simulation.md](simulation.md)."),
    );
    let pods = flag.split(',').find_map(|it| it.strip_prefix("pods=")?.parse().ok()).expect("it says how many pods");
    let began = std::time::Instant::now();
    let program = Program::start(&dir.join("simulated"), &["--simulate", flag, "--no-loop"]);
    page.row(
        "nodes registered",
        &format!("{:.1} s", program.started_in.as_secs_f64()),
        Aim::None,
        "from exec until it announces itself",
    );
    program.all_run(pods).await;
    page.row(
        "all pods run",
        &format!("{:.1} s", began.elapsed().as_secs_f64()),
        Aim::None,
        "from exec: deployments and stateful sets, their pods, scheduling, start, status",
    );
    tokio::time::sleep(REST).await;
    let memory = program.figures().memory();
    page.row("memory", &format!("{memory:.0} MiB"), Aim::AtMost(2048.0, memory, "MiB"), "resident");
    let idle = program.idle_cpu(3 * REST).await;
    page.row("idle CPU", &format!("{idle:.1} % of a core"), Aim::None, "leases of all nodes, and nobody asking");
    let (middle, longest, length) = load::list(&program, 5).await;
    page.row(
        "list of all pods",
        &format!("{:.0} ms (longest {:.0} ms)", ms(middle), ms(longest)),
        Aim::None,
        &format!("one answer of {length:.0} MiB, median of 5"),
    );
    let mut connection = program.connect().await;
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = std::time::Instant::now();
        connection.get("/apis/metrics.k8s.io/v1beta1/pods").await;
        times.push(began.elapsed());
    }
    let (middle, longest) = median(times);
    page.row(
        "usage of all pods",
        &format!("{:.0} ms (longest {:.0} ms)", ms(middle), ms(longest)),
        Aim::None,
        "metrics.k8s.io, all namespaces, median of 5",
    );
    page.row(
        "most memory",
        &format!("{:.0} MiB", program.figures().most_memory()),
        Aim::AtMost(2048.0, program.figures().most_memory(), "MiB"),
        "peak resident, all of the above included",
    );
    drop(connection);
    program.stop();
}

/// The loop on such a cluster, as a process of its own.
async fn looped(page: &mut Page, dir: &Path, flag: &str, rounds: usize) {
    page.part(
        "The loop",
        &format!(
            "`supple controller` (rounds 15 s apart, kubelets asked too) beside `supple up --simulate {flag} --no-loop`, whose namespaces are labelled \
             `in-place`, with a policy that lets it act on what little it has seen (`learn: 0h`, `minConfidence: 0`, `startup: 0s`): it measures, \
             judges, resizes and watches what comes of it. {rounds} rounds, the first ones with everything to do."
        ),
    );
    let data = dir.join("looped");
    let program = Program::start(&data, &["--simulate", flag, "--no-loop"]);
    let pods = flag.split(',').find_map(|it| it.strip_prefix("pods=")?.parse().ok()).expect("it says how many pods");
    program.all_run(pods).await;
    looping::act_at_once(&program).await;
    tokio::time::sleep(REST).await;
    let kubeconfig = data.join("kubeconfig");
    let first = Loop::start(&kubeconfig, "15s");
    let ready = first.ready().await;
    page.row(
        "start to ready",
        &format!("{:.1} s", ready.as_secs_f64()),
        Aim::None,
        "until all is read and the first round is over",
    );
    let of =
        |metrics: &std::collections::BTreeMap<String, f64>, name: &str| metrics.get(name).copied().unwrap_or_default();
    let (began, spent) = (std::time::Instant::now(), first.figures().cpu_time());
    let before = first.metrics().await;
    let done = |metrics: &std::collections::BTreeMap<String, f64>| {
        of(metrics, "supple_round_duration_seconds_count") - of(&before, "supple_round_duration_seconds_count")
    };
    let mut after = before.clone();
    #[expect(clippy::cast_precision_loss, reason = "a few rounds")]
    while done(&after) < rounds as f64 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        after = first.metrics().await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let grown = |name: &str| of(&after, name) - of(&before, name);
    let round = grown("supple_round_duration_seconds_sum") / done(&after);
    page.row(
        "a round",
        &format!("{:.0} ms", round * 1000.0),
        Aim::AtMost(1.0, round, "s"),
        "mean; from the usage of all pods to what is to be done, on one thread",
    );
    let cpu = (first.figures().cpu_time() - spent).as_secs_f64() / done(&after);
    page.row(
        "CPU for each round, all in all",
        &format!("{cpu:.2} s"),
        Aim::None,
        "CPU time of the process over the number of rounds: watches, TLS, reading answers, kubelets, resizes, writing down",
    );
    let memory = first.figures().most_memory();
    page.row(
        "most memory",
        &format!("{memory:.0} MiB"),
        Aim::AtMost(100.0, memory, "MiB"),
        "peak resident, from its start",
    );
    let calls = grown("supple_api_requests_total") / seconds;
    page.row(
        "calls to the API server",
        &format!("{calls:.1} a second"),
        Aim::AtMost(50.0, calls, "a second"),
        "watches not counted again",
    );
    page.row(
        "resizes that ended",
        &format!("{:.0}", grown("supple_resizes_total")),
        Aim::None,
        "of pods whose containers are only computed, each watched for 5 minutes for harm",
    );
    let raises = of(&after, "supple_raise_duration_seconds_count");
    let mean = of(&after, "supple_raise_duration_seconds_sum") / raises.max(1.0);
    let late = raises - of(&after, "supple_raise_duration_seconds_bucket");
    page.row(
        "raises that could not wait",
        &format!("{:.0} ms ({raises:.0} since its start; {late:.0} of them took more than a second)", mean * 1000.0),
        Aim::AtMost(1.0, mean, "s"),
        "mean; from a measurement near a limit, as it comes in, to the API server's answer to the PATCH, the dry run before it included",
    );
    let most = looping::ninety_nine(&after);
    page.row(
        "99 of 100 of them",
        &format!("within {most} s"),
        Aim::AtMost(1.0, most, "s"),
        "the bucket of `supple_raise_duration_seconds` in which the hundredth part begins",
    );
    let on_a_node = |haste: &str| of(&after, &format!("supple_node_most_in_flight_pods{{haste=\"{haste}\"}}"));
    page.row(
        "resizes on one node at once",
        &format!("{:.0} (with raises that cannot wait: {:.0})", on_a_node("can-wait"), on_a_node("cannot-wait")),
        Aim::AtMost(1.0, on_a_node("can-wait"), "that can wait"),
        "the most there ever were on any node, from the request until the node was done; what cannot wait waits for nobody",
    );
    first.kill();
    let second = Loop::start(&kubeconfig, "15s");
    let again = second.ready().await;
    page.row(
        "killed, to ready again",
        &format!("{:.1} s", again.as_secs_f64()),
        Aim::AtMost(5.0, again.as_secs_f64(), "s"),
        "kill -9, and started anew: all objects read, a round over; what was learned and done stands in `Rightsizing` objects",
    );
    second.kill();
    program.stop();
}

/// What the webhook takes to answer.
async fn reviewed(page: &mut Page) {
    page.part(
        "The webhook",
        "Its router in the process of the benchmark, asked about a pod of ten containers with a hundred variables each; TLS and what \
         the API server adds are not in it.",
    );
    let router = reviews::router();
    for (what, review) in [("a resize", Review::of_a_resize()), ("a new pod", Review::of_a_new_pod())] {
        let mut times = Vec::new();
        for _ in 0..REVIEWS {
            let began = std::time::Instant::now();
            review.put(&router).await;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        let at = |percent: usize| ms(times[times.len() * percent / 100]);
        page.row(
            &format!("{what}, answered"),
            &format!("p50 {:.1} ms, p99 {:.1} ms", at(50), at(99)),
            Aim::AtMost(50.0, at(99), "ms"),
            &format!("{REVIEWS} reviews of {} KB; p99 is what is aimed at", review.body.len() / 1000),
        );
    }
}

fn told_rate(rate: &Rate) -> String {
    format!(
        "{:.0}/s (p50 {:.2} ms, p99 {:.2} ms; {} µs of the server's CPU each)",
        rate.rate,
        rate.at(50),
        rate.at(99),
        rate.cpu_each.as_micros()
    )
}

fn ms(it: Duration) -> f64 {
    it.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a file's size, for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
