//! `supple replay`: recordings in, figures out, the same whatever the number of threads, and recomputable from what it emits.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn supple(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_supple")).arg("replay").args(args).output().unwrap()
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../replay/fixtures/google-2011-jobs.csv")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&stdout(&supple(args))).unwrap()
}

#[test]
fn the_figures_of_all_policies_and_the_bound_are_told() {
    let fixture = fixture();
    let file = fixture.to_str().unwrap();
    let told = json(&[file, "--against", "vpa,krr,p95,autopilot,static,none", "--warmup", "24h", "-o", "json"]);
    let names: Vec<&str> = told["policies"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["supple", "vpa", "krr", "p95", "autopilot", "static", "none", "bound"]);
    assert_eq!(told["workloads"].as_array().unwrap().len(), 2);
    let j = |name: &str, resource: &str| {
        let policy = told["policies"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap();
        policy[resource]["j"].as_f64().unwrap()
    };
    for resource in ["cpu", "memory"] {
        for name in ["supple", "vpa", "krr", "p95", "autopilot"] {
            assert!(j("bound", resource) <= j(name, resource), "{name} cannot beat the bound in {resource}");
        }
    }
    let table = stdout(&supple(&[file]));
    assert!(table.contains("FOOTPRINT") && table.contains("bound"), "{table}");
}

#[test]
fn the_same_bytes_whatever_the_threads() {
    let fixture = fixture();
    let file = fixture.to_str().unwrap();
    let one = stdout(&supple(&[file, "-o", "json", "--jobs", "1"]));
    assert_eq!(one, stdout(&supple(&[file, "-o", "json", "--jobs", "3"])));
}

#[test]
fn where_nothing_can_be_kept_the_recording_is_read_again() {
    let fixture = fixture();
    let file = fixture.to_str().unwrap();
    let kept = stdout(&supple(&[file, "-o", "json"]));
    let nowhere = Command::new(env!("CARGO_BIN_EXE_supple"))
        .args(["replay", file, "-o", "json"])
        .env("TMPDIR", "/nonexistent/folder")
        .output()
        .unwrap();
    assert_eq!(kept, stdout(&nowhere));
}

#[test]
fn the_emitted_sizes_give_the_same_footprint() {
    let folder = tempfile::tempdir().unwrap();
    let (fixture, emitted, page) = (fixture(), folder.path().join("sizes.csv"), folder.path().join("report.html"));
    let file = fixture.to_str().unwrap();
    let told = json(&[
        file,
        "-o",
        "json",
        "--no-bound",
        "--emit",
        emitted.to_str().unwrap(),
        "--html",
        page.to_str().unwrap(),
    ]);
    let sizes: Vec<Vec<String>> = std::fs::read_to_string(&emitted)
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect())
        .filter(|row: &Vec<String>| row[0] == "supple")
        .collect();
    let (mut reserved, mut used) = (0.0, 0.0);
    for line in std::fs::read_to_string(&fixture).unwrap().lines().skip(1) {
        let row: Vec<&str> = line.split(',').collect();
        let time: i64 = row[0].parse().unwrap();
        let in_force = sizes.iter().rfind(|it| it[3] == row[3] && it[5].parse::<i64>().unwrap() <= time);
        if let Some(size) = in_force {
            reserved += size[8].parse::<f64>().unwrap();
            used += row[6].parse::<f64>().unwrap();
        }
    }
    let footprint = told["policies"][0]["memory"]["footprint"].as_f64().unwrap();
    assert!((reserved / used - footprint).abs() < 1e-6, "{} is not {footprint}", reserved / used);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && !page.contains("http"), "a report refers to nothing outside");
}

#[test]
fn wrong_input_is_refused_with_its_line_or_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.csv");
    let head = "time,namespace,workload,pod,container,cpu_cores,memory_bytes\n";
    let rows: String = (0..50).map(|i| format!("{},a,b,c,d,0.1,1000000\n", i * 60)).collect();
    std::fs::write(&file, format!("{head}{rows}3000,a,b,c,d,x,1\n3000,a,b,c,d,0.1,1\n3000,a,b,c,d,0.1,1\n")).unwrap();
    let file = file.to_str().unwrap();
    let refused = supple(&[file]);
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("line 52") && error.contains("cpu_cores"), "{error}");
    assert_eq!(json(&[file, "--lenient", "-o", "json"])["skipped"], 2);
    assert_eq!(supple(&["/nonexistent.csv"]).status.code(), Some(3));
}

#[test]
fn pods_written_one_after_another_are_gathered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pods.csv");
    let head = "time,namespace,workload,pod,container,cpu_cores,memory_bytes\n";
    let pod =
        |name: &str| -> String { (0..200).map(|i| format!("{},a,web,{name},app,0.2,50000000\n", i * 60)).collect() };
    std::fs::write(&file, format!("{head}{}{}", pod("web-1"), pod("web-2"))).unwrap();
    let told = json(&[file.to_str().unwrap(), "-o", "json"]);
    assert_eq!((told["workloads"].as_array().unwrap().len(), told["samples"].as_u64()), (1, Some(400)));
}

#[test]
fn a_change_of_policy_is_compared_by_workload() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.yaml"), folder.path().join("new.yaml"));
    std::fs::write(&old, "{}\n").unwrap();
    std::fs::write(&new, "minAllowed: { memory: 64Gi }\n").unwrap();
    let fixture = fixture();
    let output = stdout(&supple(&[
        "--compare",
        old.to_str().unwrap(),
        new.to_str().unwrap(),
        "--no-bound",
        "--",
        fixture.to_str().unwrap(),
    ]));
    assert!(output.starts_with("old → new") && output.contains("worse"), "{output}");
}

/// The rows of a recording, but for their order: `pods` one after another, the last first.
fn shuffled(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().skip(1).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.split(',').nth(3)));
    format!("{}\n{}\n", text.lines().next().unwrap(), lines.join("\n"))
}

#[test]
fn nothing_depends_on_the_order_of_series_and_what_is_emitted_neither() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str| folder.path().join(name);
    // Three pods of one workload that share a state, and another workload between them.
    let head = "time,namespace,workload,pod,container,cpu_cores,memory_bytes\n";
    let mut rows = String::new();
    for minute in 0..1500 {
        for (workload, pod) in [("web", "b"), ("web", "a"), ("db", "d"), ("web", "c")] {
            let wave = (minute * 7 + i64::from(pod.as_bytes()[0]) * 13) % 29;
            rows.push_str(&format!(
                "{},n,{workload},{pod},app,0.{:02},{}\n",
                minute * 60,
                10 + wave,
                50_000_000 + wave * 900_000
            ));
        }
    }
    let text = format!("{head}{rows}");
    let run = |name: &str, text: &str| {
        let (input, sizes) = (made(&format!("{name}.csv")), made(&format!("{name}.sizes")));
        std::fs::write(&input, text).unwrap();
        let args = ["-o", "json", "--closed-loop", "--node", "cpu=2,memory=400Mi", "--emit", sizes.to_str().unwrap()];
        let told = stdout(&supple(&[&args[..], &[input.to_str().unwrap()]].concat()));
        (told, std::fs::read_to_string(sizes).unwrap())
    };
    let straight = run("straight", &text);
    assert_eq!(straight, run("shuffled", &shuffled(&text)));
    let told: serde_json::Value = serde_json::from_str(&straight.0).unwrap();
    let closed = &told["policies"][0]["closed_loop"];
    assert!(closed["nodes"].as_u64() >= Some(1) && closed["memory"]["footprint"].as_f64() > Some(1.0), "{closed}");
}

#[test]
fn recorded_limits_are_replayed_and_missing_ones_are_not_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("limits.csv");
    let head = "time,namespace,workload,pod,container,cpu_cores,memory_bytes,cpu_limit,memory_limit,restarts\n";
    let rows: String = (0..600)
        .map(|i| format!("{},a,w,p,c,{},100000000,1,200000000,0\n", i * 60, if i % 10 == 9 { 1.0 } else { 0.3 }))
        .collect();
    std::fs::write(&file, format!("{head}{rows}")).unwrap();
    let output = supple(&[file.to_str().unwrap(), "--against", "static", "-o", "json"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("the recorded limit cut "));
    let told: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let fixed = &told["policies"][1];
    assert_eq!((fixed["name"].as_str(), fixed["memory"]["footprint"].as_f64()), (Some("static"), Some(2.0)));
    assert_eq!(fixed["cpu"]["censored_ratio"].as_f64(), Some(60.0 / 599.0), "one sample in ten is at its limit");
    let without = fixture();
    let output = supple(&[without.to_str().unwrap(), "--against", "static"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("static is judged on 0.00 %") && error.contains("no memory_limit"), "{error}");
}

#[test]
fn a_policy_that_restarts_says_so_and_answers_of_prometheus_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("restarts.yaml");
    std::fs::write(&policy, "resizePolicy: { memory: RestartContainer }\n").unwrap();
    let matrix = |name: &str, value: &dyn Fn(i64) -> String| {
        let values: Vec<String> = (0..900).map(|i| format!("[{},\"{}\"]", i * 60, value(i))).collect();
        format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"__name__":"{name}","namespace":"n","pod":"db-0","container":"c"}},"values":[{}]}}]}}}}"#,
            values.join(",")
        )
    };
    let cpu = matrix("container_cpu_usage_seconds_total", &|_| "0.25".to_owned());
    let memory = matrix("container_memory_working_set_bytes", &|i| {
        (if i < 450 { 100_000_000 } else { 300_000_000 }).to_string()
    });
    let (one, other) = (folder.path().join("cpu.json"), folder.path().join("memory.json"));
    std::fs::write(&one, cpu).unwrap();
    std::fs::write(&other, memory).unwrap();
    let told = json(&["--policy", policy.to_str().unwrap(), "-o", "json", "--", folder.path().to_str().unwrap()]);
    assert_eq!(told["samples"].as_u64(), Some(900), "two halves are one sample");
    let it = &told["policies"][0]["memory"]["resizes"];
    assert!(it["with_restart_per_day"].as_f64() > Some(0.0) && it["in_place_per_day"].as_f64() == Some(0.0), "{it}");
}

/// A recording of ten hours of one pod, whose memory rises in the last hour; with limits.
fn rising(folder: &Path) -> PathBuf {
    let file = folder.join("rising.csv");
    let head = "time,namespace,workload,pod,container,cpu_cores,memory_bytes,cpu_limit,memory_limit,restarts\n";
    let memory = |minute: i64| if minute < 540 { 100_000_000 } else { 400_000_000 + (minute - 540) * 10_000_000 };
    let rows: String = (0..600).map(|i| format!("{},n,w,p-1,c,0.5,{},1,200000000,0\n", i * 60, memory(i))).collect();
    std::fs::write(&file, format!("{head}{rows}")).unwrap();
    file
}

#[test]
fn lines_for_spreadsheets_have_all_columns_and_quote_what_must_be() {
    let folder = tempfile::tempdir().unwrap();
    let (policy, sizes) = (folder.path().join("p.yaml"), folder.path().join("sizes.csv"));
    std::fs::write(&policy, "name: a,b\nrisk: { memory: 1 per month }\n").unwrap();
    let file = folder.path().join("day.csv");
    let mut rows =
        String::from("time,namespace,workload,pod,container,cpu_cores,memory_bytes,cpu_limit,memory_limit\n");
    for hour in 0..25 {
        let used: i64 = if hour == 20 { 1 << 29 } else { 1 << 27 };
        rows.push_str(&format!("{},n,w,p-1,c,0.5,{used},1,{}\n", hour * 3600, 1 << 28));
    }
    std::fs::write(&file, rows).unwrap();
    let args =
        ["--policy", policy.to_str().unwrap(), "--against", "static", "--no-bound", "--closed-loop", "-o", "csv"];
    let told = stdout(&supple(&[&args[..], &["--emit", sizes.to_str().unwrap(), file.to_str().unwrap()]].concat()));
    let lines: Vec<&str> = told.lines().collect();
    let columns = lines[0].split(',').count();
    assert_eq!(lines.len(), 9, "the head, and two policies and resources, of all and of the one workload: {told}");
    assert!(lines[1].starts_with(",,,\"a,b\",cpu,"), "{told}");
    let of = |name: &str| lines[0].split(',').position(|it| it == name).unwrap();
    for line in lines[1..].iter().map(|line| line.replace("\"a,b\"", "a")) {
        let values: Vec<&str> = line.split(',').collect();
        assert_eq!(values.len(), columns, "{line}");
        assert!(!values[of("closed_nodes")].is_empty() && !values[of("closed_deferred_per_day")].is_empty(), "{line}");
        let stated = values[3] == "a" && values[4] == "memory";
        assert_eq!(values[of("risk_kept")].is_empty(), !stated, "{line}");
    }
    let fixed = lines.iter().find(|it| it.starts_with("n,w,c,static,memory,")).unwrap();
    let open: Vec<&str> = fixed.split(',').take(of("risk_kept")).collect();
    assert_eq!(open.join(","), GOLDEN);
    let sizes = std::fs::read_to_string(sizes).unwrap();
    assert!(sizes.lines().nth(1).unwrap().starts_with("\"a,b\",n,w,p-1,c,"), "{sizes}");
}

/// Of 24 hours in one of which twice the limit was used; the first sample has no size yet.
const GOLDEN: &str = "n,w,c,static,memory,1.7777777777777777,1.7777777777777777,0.041666666666666664,1,0,0,0,1.8518518518518519,,,2.625,268435456,268435456,0.041666666666666664,1,,0,0";

#[test]
fn the_report_draws_the_bound_and_what_went_over_and_says_which_pod() {
    let folder = tempfile::tempdir().unwrap();
    let (file, page) = (rising(folder.path()), folder.path().join("report.html"));
    let args = ["--against", "static,vpa", "--chart", "n/w", "--chart", "nobody", "--html", page.to_str().unwrap()];
    let output = supple(&[&args[..], &[file.to_str().unwrap()]].concat());
    assert!(stdout(&output).contains("CAPTURED: share of the possible saving from vpa"));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("there is no workload \"nobody\""), "{error}");
    let page = std::fs::read_to_string(page).unwrap();
    // Static as recorded is passed by memory, vpa's request by CPU and memory of the first sample.
    assert!(
        page.matches("class=\"over\"").count() > 1 && page.contains("class=\"over\" stroke=\"#c2410c\""),
        "each has its own"
    );
    for part in
        ["stroke-dasharray=\"3 3\"", "class=\"over\"", "pod p-1", "1 of 1 workloads", "from vpa (0) to the bound"]
    {
        assert!(page.contains(part), "{part}");
    }
    for head in ["footprint", "slack<br><small>GiB-hours</small>", "events/day", "J/bound", "captured %"] {
        assert!(page.contains(&format!(">{head}</th>")), "{head}");
    }
}

#[test]
fn answers_of_prometheus_are_known_by_what_is_in_them_and_what_was_skipped_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let answer = |values: &str| {
        format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"namespace":"n","pod":"db-0","container":"c"}},"values":[{values}]}}]}}}}"#
        )
    };
    let points: Vec<String> = (0..100).map(|i| format!("[{},\"0.5\"]", i * 60)).collect();
    let good = folder.path().join("usage.txt");
    std::fs::write(&good, answer(&points.join(","))).unwrap();
    assert_eq!(json(&[good.to_str().unwrap(), "-o", "json"])["samples"].as_u64(), Some(100));
    let piped = Command::new(env!("CARGO_BIN_EXE_supple"))
        .args(["replay", "-", "-o", "json"])
        .stdin(std::fs::File::open(&good).unwrap())
        .output()
        .unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout(&piped)).unwrap()["samples"].as_u64(), Some(100));
    let bad = folder.path().join("bad.json");
    std::fs::write(&bad, answer(r#"[60,"many"]"#)).unwrap();
    let refused = supple(&["--lenient", bad.to_str().unwrap()]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("skipped 1 invalid") && error.contains("\"many\" is not a number"), "{error}");
    let binary = folder.path().join("binary.csv");
    std::fs::write(&binary, vec![0_u8; 100_000]).unwrap();
    let refused = supple(&[binary.to_str().unwrap()]);
    assert!(refused.stderr.len() < 400 && !refused.stderr.contains(&0), "{}", refused.stderr.len());
}

#[test]
fn a_policy_of_a_cluster_is_replayed_and_what_is_wrong_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let applied = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies/everything.yaml");
    let fixture = fixture();
    let output = supple(&["--policy", applied.to_str().unwrap(), "--no-bound", fixture.to_str().unwrap()]);
    assert!(stdout(&output).contains("everything") && stdout(&output).contains("KEPT"), "{}", stdout(&output));
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(notes.contains("guards") && notes.contains("windows") && !notes.contains("risk"), "{notes}");
    let wrong = folder.path().join("wrong.yaml");
    std::fs::write(&wrong, "rsik: {}\n").unwrap();
    let refused = supple(&["--policy", wrong.to_str().unwrap(), fixture.to_str().unwrap()]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), error.matches("rsik").count()), (Some(2), 1), "{error}");
    let late = supple(&["--warmup", "400d", fixture.to_str().unwrap()]);
    let error = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(late.stdout.is_empty() && error.contains("within the learning time (--warmup, 400d)"), "{error}");
}

#[test]
fn a_comparison_names_what_changes_and_counts_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let old = made("old.yaml", "{}\n");
    let new = made("new.yaml", "minAllowed: { memory: 256Mi }\n");
    let prices = made("prices.yaml", "cpu: 0.03\nmemory: 0.004\n");
    let mut rows = String::from("time,namespace,workload,pod,container,cpu_cores,memory_bytes\n");
    for i in 0..600 {
        for (workload, memory) in [("large", 900_000_000), ("middle", 200_000_000), ("small", 20_000_000)] {
            rows.push_str(&format!("{},n,{workload},p,c,0.1,{memory}\n", i * 60));
        }
    }
    let file = made("usage.csv", &rows);
    let args = ["--compare", &old, &new, "--prices", &prices, "--closed-loop", "--no-bound", "--", &file];
    let told = stdout(&supple(&args));
    let at = |part: &str| told.find(part).unwrap_or_else(|| panic!("{part}: {told}"));
    assert!(at("n/small c") < at("n/middle c"), "the greatest change comes first: {told}");
    assert!(!told.contains("n/large") && told.contains("1 of 3 workloads stays the same"), "{told}");
    assert!(at("SLACK") < at("MONEY") && at("MONEY") < at("CLOSED LOOP"), "{told}");
}

#[test]
fn a_policy_has_no_name_of_a_strategy() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = fixture();
    let refused = |file: &str, text: &str| {
        let policy = folder.path().join(file);
        std::fs::write(&policy, text).unwrap();
        let refused = supple(&["--policy", policy.to_str().unwrap(), fixture.to_str().unwrap()]);
        (refused.status.code(), String::from_utf8(refused.stderr).unwrap())
    };
    for (file, text, name, taken) in [
        ("vpa.yaml", "{}\n", "vpa", "a baseline"),
        ("mine.yaml", "name: none\n", "none", "a baseline"),
        ("bound.yaml", "{}\n", "bound", "the clairvoyant bound"),
    ] {
        let (code, error) = refused(file, text);
        let said = format!("a policy cannot be named {name:?}; that is the name of {taken}");
        assert!(code == Some(2) && error.contains(&said), "{error}");
    }
}

#[test]
fn what_is_written_replaces_nothing_until_it_is_whole_and_never_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let head = "time,namespace,workload,pod,container,cpu_cores,memory_bytes\n";
    let rows: String = (0..50).map(|i| format!("{},a,b,c,d,0.1,1000000\n", i * 60)).collect();
    let usage = made("usage.csv", &format!("{head}{rows}"));
    let wrong = made("wrong.csv", &format!("{head}{rows}1,2\n"));
    let policy = made("policy.yaml", "{}\n");
    let (sizes, page) = (made("sizes.csv", "the last\n"), made("page.html", "the last\n"));
    let link = folder.path().join("link.csv");
    std::os::unix::fs::symlink(&usage, &link).unwrap();
    let read = |file: &str| std::fs::read_to_string(file).unwrap();
    let refused = |args: &[&str], code: i32, said: &str| {
        let before = [&usage, &policy, &sizes, &page].map(|it| read(it));
        let refused = supple(args);
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(code) && error.contains(said), "{args:?}: {error}");
        assert_eq!(before, [&usage, &policy, &sizes, &page].map(|it| read(it)), "{args:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6, "{args:?} leaves nothing");
    };
    refused(&["--emit", &usage, &usage], 2, "would replace the input");
    refused(&["--emit", link.to_str().unwrap(), &usage], 2, "would replace the input");
    refused(&["--html", &usage, folder.path().to_str().unwrap()], 2, "would replace the input");
    refused(&["--html", &policy, "--policy", &policy, &usage], 2, "would replace the input");
    refused(&["--html", &page, "--emit", &page, &usage], 2, "the same file");
    refused(&["--emit", &sizes, "--html", &page, &wrong], 1, "line 52");
    refused(&["--emit", folder.path().to_str().unwrap(), &usage], 1, "cannot write");
    refused(&["--emit", folder.path().join("nowhere/sizes.csv").to_str().unwrap(), &usage], 1, "cannot write");
    stdout(&supple(&["--emit", &sizes, "--html", &page, &usage]));
    assert!(read(&sizes).starts_with("policy,") && read(&page).starts_with("<!doctype html>"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6);
    // A device is written to as it is.
    stdout(&supple(&["--emit", "/dev/null", &usage]));
    assert!(!Path::new("/dev/null").is_file());
}

#[test]
fn what_uses_nothing_is_recorded_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (file, page) = (folder.path().join("idle.csv"), folder.path().join("page.html"));
    let head = "time,namespace,workload,pod,container,cpu_cores,memory_bytes\n";
    let rows: String = (0..600).map(|i| format!("{},n,idle,p,c,0,0\n", i * 60)).collect();
    std::fs::write(&file, format!("{head}{rows}")).unwrap();
    let (old, new) = (folder.path().join("old.yaml"), folder.path().join("new.yaml"));
    std::fs::write(&old, "{}\n").unwrap();
    std::fs::write(&new, "minAllowed: { memory: 64Gi }\n").unwrap();
    let [file, page, old, new] = [&file, &page, &old, &new].map(|it| it.to_str().unwrap());
    let output = supple(&["--html", page, file]);
    let told = stdout(&output);
    let lines = told.lines().filter(|it| it.starts_with("supple ")).count();
    assert_eq!(lines, 2, "of CPU and of memory: {told}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("nothing was judged"));
    let page = std::fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<td>n/idle c</td>").count(), 6, "three policies, two resources");
    let told = stdout(&supple(&["--compare", old, new, file]));
    assert!(told.contains("n/idle c") && told.contains("worse"), "{told}");
}
