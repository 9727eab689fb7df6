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
