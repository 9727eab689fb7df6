//! What is said to bad input: one sentence that names it and what was expected, the right code, and nothing changed.

use std::process::Command;

use super::cluster::{SUPPLE, bad, good, text};

/// `supple ARGS` without any cluster in sight.
fn supple(home: &std::path::Path, args: &[&str]) -> std::process::Output {
    Command::new(SUPPLE)
        .args(args)
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(home)
        .output()
        .unwrap()
}

#[track_caller]
fn check(args: &[&str], code: i32, expect: &[&str]) {
    let home = tempfile::tempdir().unwrap();
    let said = bad(&supple(home.path(), args), code);
    for part in expect {
        assert!(said.contains(part), "{args:?}: {part:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "{args:?} left something behind");
}

#[test]
fn wrong_usage_is_2() {
    check(&["up", "--listen", "nowhere"], 2, &["\"nowhere\" is not ADDR:PORT", "127.0.0.1:6443"]);
    check(&["up", "--node-capacity", "cpu=x"], 2, &["\"x\" is not a quantity", "cpu=4,memory=16Gi,pods=110"]);
    check(&["up", "--node-name", "Not_A_Name"], 2, &["\"Not_A_Name\" is not a node name"]);
    check(&["up", "--runtime", "docker"], 2, &["expected auto, process, simulated or cri=unix://"]);
    check(&["up", "--runtime", "simulated", "--pod-network", "cni"], 2, &["--pod-network", "--runtime cri=…"]);
    check(
        &["up", "--runtime", "cri=unix:///nonexistent/a.sock", "--demo"],
        2,
        &["the demo runs this program, which is in no image"],
    );
    check(&["up", "--simulate", "nodes=two,pods=1"], 2, &["\"two\" is not a number of nodes", "nodes=500,pods=20000"]);
    check(&["up", "--simulate", "nodes=2"], 2, &["--simulate needs pods=NUMBER, unless --usage names a recording"]);
    check(&["up", "--simulate", "nodes=2,pods=500"], 2, &["500 pods do not fit on 2 nodes", "at least nodes=5"]);
    check(&["up", "--simulate", "nodes=2,pods=5", "--runtime", "process"], 2, &["cannot be used with"]);
    check(&["up", "--simulate", "nodes=2,pods=5", "--speed", "fast"], 2, &["\"fast\" is not a whole number from 1"]);
    check(&["up", "--usage", "usage.csv"], 2, &["--simulate"]);
    check(&["resize", "pod/a"], 2, &["--cpu"]);
    check(&["resize", "job/a", "--cpu", "1"], 2, &["only pods can", "pod/NAME"]);
    check(&["resize", "pod/a", "--cpu", "1 core"], 2, &["\"1 core\" is not a quantity", "300m:500m"]);
    check(&["resize", "pod/a", "--cpu", "2:1"], 2, &["the request 2 is greater than the limit 1"]);
    check(&["frobnicate"], 2, &["unrecognized subcommand 'frobnicate'"]);
    check(&["--log", "=,=", "undo", "pod/a"], 2, &["--log"]);
}

#[test]
fn nothing_to_reach_is_3() {
    check(&["resize", "pod/a", "--cpu", "1"], 3, &["no cluster is configured", "--kubeconfig", "supple up"]);
    check(
        &["up", "--simulate", "nodes=1", "--usage", "/nonexistent/usage.csv"],
        3,
        &["cannot read /nonexistent/usage.csv: No such file"],
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = elsewhere.path().to_str().unwrap();
    check(
        &["up", "--runtime", "cri=unix:///nonexistent/a.sock", "--data-dir", dir],
        3,
        &["no container runtime listens at /nonexistent/a.sock"],
    );
    check(&["undo", "pod/a", "--kubeconfig", "/nonexistent"], 3, &["cannot use kubeconfig /nonexistent"]);
    check(&["controller", "--kubeconfig", "/nonexistent"], 3, &["cannot use kubeconfig /nonexistent"]);
}

#[test]
fn a_malformed_kubeconfig_is_named() {
    for (content, part) in [
        ("not: [yaml", "cannot use"),
        ("apiVersion: v1\nkind: Config\ncurrent-context: x\n", "cannot use"),
        (
            "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {server: 'https://127.0.0.1:1'}\nusers:\n- name: u\n  user: {token: t}\ncontexts:\n- name: x\n  context: {cluster: c, user: u}\ncurrent-context: x\n",
            "cannot reach the cluster",
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config"), content).unwrap();
        let said = bad(&supple(home.path(), &["undo", "pod/a", "--kubeconfig", "config"]), 3);
        assert!(said.contains(part) && said.lines().count() == 1, "{said}");
    }
}

/// Verbs that look at a whole cluster say what a single request says, once, and do not watch for half a minute first.
#[test]
fn a_cluster_that_is_not_there_or_does_not_let_in_is_named_by_every_verb_that_looks() {
    let up = super::cluster::Up::new("simulated");
    let config = std::fs::read_to_string(up.kubeconfig()).unwrap();
    let token = config.lines().find_map(|it| it.trim().strip_prefix("token: ")).unwrap();
    let expired = config.replace(token, "expired");
    let server = config.lines().find_map(|it| it.trim().trim_start_matches("- ").strip_prefix("server: ")).unwrap();
    let nowhere = config.replace(server, "https://127.0.0.1:1");
    for (config, part) in [(expired, "does not accept these credentials"), (nowhere, "cannot reach the cluster")] {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config"), config).unwrap();
        for verb in
            [&["plan", "-A"][..], &["explain", "pod/a"], &["doctor"], &["uninstall"], &["uninstall", "--restore"]]
        {
            let args = [verb, &["--kubeconfig", "config"]].concat();
            let said = bad(&supple(home.path(), &args), 3);
            assert!(said.contains(part) && said.lines().count() == 1, "{verb:?}: {said}");
        }
    }
}

#[test]
fn a_malformed_manifest_changes_nothing() {
    for (content, parts) in [
        ("a: [", &["m.yaml is not YAML"][..]),
        ("apiVersion: v1\nkind: Pod\n", &["m.yaml, document 1", "metadata.name"]),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\nkind: Pod\nmetadata: {name: b}\n",
            &["m.yaml, document 2", "apiVersion"],
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("m.yaml"), content).unwrap();
        let said =
            bad(&supple(home.path(), &["up", "--runtime", "simulated", "--listen", "127.0.0.1:0", "-f", "m.yaml"]), 1);
        for part in parts {
            assert!(said.contains(part), "{part:?} is not in: {said}");
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "no data directory was made");
    }
}

#[test]
fn a_manifest_the_cluster_refuses_is_named_with_its_field() {
    for (content, parts) in [
        (
            "apiVersion: v1\nkind: Gadget\nmetadata: {name: a}\n",
            &["m.yaml, document 1", "no kind \"Gadget\" in \"v1\""][..],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c}]}\n",
            &["m.yaml, document 1", "spec.containers[0].image"],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {container: []}\n",
            &["m.yaml, document 1", "unknown field \"spec.container\""],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: i, resources: {requests: {cpu: lots}}}]}\n",
            &["m.yaml, document 1", "quantities must match"],
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("m.yaml"), content).unwrap();
        let up = supple(
            home.path(),
            &["up", "--runtime", "simulated", "--listen", "127.0.0.1:0", "--no-loop", "-f", "m.yaml"],
        );
        let said = bad(&up, 1);
        for part in parts {
            assert!(said.contains(part), "{part:?} is not in: {said}");
        }
    }
}

#[test]
fn a_data_directory_that_is_none_is_named() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), "").unwrap();
    let said = bad(&supple(home.path(), &["up", "--runtime", "simulated", "--data-dir", "file"]), 3);
    assert!(said.contains("file") && said.contains("--data-dir"), "{said}");
}

#[test]
fn a_damaged_data_file_is_named_and_kept() {
    for name in ["store.redb", "tls/ca.key", "tls/ca.crt"] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "this is something else").unwrap();
        if name == "tls/ca.crt" {
            // A certificate without its key is made anew, one with it must fit.
            continue;
        }
        let output =
            supple(home.path(), &["up", "--runtime", "simulated", "--listen", "127.0.0.1:0", "--data-dir", "."]);
        let said = bad(&output, 1);
        assert!(said.contains(name), "{name}: {said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "this is something else");
    }
}

#[test]
fn help_version_and_completions() {
    let home = tempfile::tempdir().unwrap();
    let help = good(&supple(home.path(), &["--help"]));
    for verb in ["up", "controller", "resize", "undo", "completions", "version"] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb} is not in: {help}");
    }
    for hidden in ["shim", "workload"] {
        assert!(!help.contains(&format!("\n  {hidden}")), "{hidden} is in: {help}");
    }
    assert!(good(&supple(home.path(), &["version"])).starts_with("supple 0."));
    let json: serde_json::Value =
        serde_json::from_str(&good(&supple(home.path(), &["version", "-o", "json"]))).unwrap();
    assert_eq!(json["kubernetes"], "v1.36.2");
    for shell in ["bash", "zsh", "fish"] {
        assert!(good(&supple(home.path(), &["completions", shell])).contains("supple"));
    }
}

#[test]
fn as_a_plugin_it_is_called_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("kubectl-supple");
    std::os::unix::fs::symlink(SUPPLE, &plugin).unwrap();
    let help = good(&Command::new(&plugin).arg("--help").output().unwrap());
    assert!(help.contains("Usage: kubectl supple"), "{help}");
    let Some(kubectl) = super::cluster::kubectl_program() else { return };
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new(kubectl).args(["supple", "version"]).env("PATH", path).output().unwrap();
    assert!(text(&output.stdout).starts_with("supple 0."), "{output:?}");
}
