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
    assert!(String::from_utf8_lossy(&output.stderr).contains("were cut by the recorded limit"));
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
