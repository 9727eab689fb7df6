//! The rules of the house, checked against `cargo metadata` and the sources: which crate may know which, what is pure,
//! and how large a room may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// The crates from the ground up: each may know only those before it.
const ORDER: [&str; 13] = [
    "supple-quantity",
    "supple-resize",
    "supple-recommend",
    "supple-decide",
    "supple-replay",
    "supple-api",
    "supple-listener",
    "supple-apiserver",
    "supple-node",
    "supple-cluster",
    "supple-controller",
    "supple-recordings",
    "supple",
];

/// Walls beside the order: `.0` must not know `.1`, and why.
const WALLS: [(&str, &str, &str); 5] = [
    ("supple-node", "supple-apiserver", "the node talks to the API through kube::Client, as a kubelet does"),
    ("supple-controller", "supple-apiserver", "the loop must not be able to tell an embedded cluster from a real one"),
    ("supple-controller", "supple-node", "the loop must not be able to tell an embedded cluster from a real one"),
    ("supple-controller", "supple-cluster", "only its tests start a cluster"),
    ("supple", "supple-apiserver", "the program starts a cluster, not its parts"),
];

/// Pure crates and everything they may know. What is not here does IO, reads a clock, or has not been looked at.
const PURE: [(&str, &[&str]); 5] = [
    ("supple-quantity", &["num-bigint", "serde", "thiserror"]),
    ("supple-resize", &["supple-quantity", "k8s-openapi", "serde", "serde_json", "jiff", "thiserror"]),
    ("supple-recommend", &["supple-quantity", "serde", "thiserror", "wide"]),
    ("supple-decide", &["supple-quantity", "supple-resize", "k8s-openapi", "serde", "serde_json", "jiff", "thiserror"]),
    (
        "supple-replay",
        &[
            "supple-quantity",
            "supple-resize",
            "supple-recommend",
            "k8s-openapi",
            "serde",
            "serde_json",
            "thiserror",
            "wide",
        ],
    ),
];

/// What a pure crate must not say: clocks, randomness, IO, threads, globals.
const IMPURE: [&str; 12] = [
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "thread_local!",
    "static mut",
    "println!",
];

const MAX_LINES: usize = 700;

/// What our labels, annotations and API versions begin with.
const OURS: &str = "\"supple.dev/";

/// Where such names stand: for whatever knows `supple-decide` or `supple-api` there, and beside that where the embedded
/// cluster, which must know neither, reads or writes one itself.
const NAMES: [&str; 7] = [
    "crates/decide/src/names.rs",
    "crates/api/src/names.rs",
    "crates/apiserver/src/admission/webhook/service.rs",
    "crates/cluster/src/simulate/lives.rs",
    "crates/cluster/src/simulate/population.rs",
    "crates/node/src/runtime/cri/layout.rs",
    "crates/node/src/runtime/simulated/pattern.rs",
];

/// All broken rules, a sentence each.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_string()])
        .exec()
        .context("cannot read the workspace with cargo metadata")?;
    let packages: BTreeMap<&str, &Package> = metadata.packages.iter().map(|p| (p.name.as_str(), p)).collect();

    let mut problems = Vec::new();
    problems.extend(dependencies(&packages));
    for package in packages.values() {
        let folder = package.manifest_path.parent().context("a manifest without a folder")?;
        let pure = PURE.iter().any(|(name, _)| name == &package.name.as_str());
        for file in rust_files(folder.as_std_path())? {
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            problems.extend(room(&shown, &text));
            problems.extend(names(&shown, &text));
            if pure && shown.contains("/src/") {
                problems.extend(purity(&shown, &text));
            }
        }
    }
    Ok(problems)
}

fn dependencies(packages: &BTreeMap<&str, &Package>) -> Vec<String> {
    let mut problems = Vec::new();
    let place = |name: &str| ORDER.iter().position(|it| *it == name);
    for (name, package) in packages {
        let known: BTreeSet<&str> = package
            .dependencies
            .iter()
            .filter(|it| it.kind != DependencyKind::Development)
            .map(|it| it.name.as_str())
            .collect();
        if *name == "xtask" {
            continue; // it looks at everything and nobody looks at it
        }
        let Some(own) = place(name) else {
            problems
                .push(format!("{name}: not in the order of the house; give it its place in ARCHITECTURE.md and xtask"));
            continue;
        };
        for other in &known {
            if place(other).is_some_and(|theirs| theirs >= own) {
                problems.push(format!("{name} knows {other}, which stands after it"));
            }
        }
        for (_, other, why) in WALLS.iter().filter(|(from, other, _)| from == name && known.contains(other)) {
            problems.push(format!("{name} knows {other}: {why}"));
        }
        for (_, allowed) in PURE.iter().filter(|(pure, _)| pure == name) {
            for other in known.iter().filter(|it| !allowed.contains(it)) {
                problems.push(format!("{name} is pure and knows {other}"));
            }
        }
    }
    problems
}

fn room(shown: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        problems.push(format!("{shown}: {lines} lines; a file over {MAX_LINES} is two rooms"));
    }
    if !text.starts_with("//!") {
        problems.push(format!("{shown}: its first line must say what belongs in it (`//! …`)"));
    }
    for (number, line) in text.lines().enumerate() {
        let ignored = ["#[", "ignore"].concat();
        if line.trim_start().starts_with(&ignored) {
            problems.push(format!("{shown}:{}: an ignored test is no test", number + 1));
        }
    }
    problems
}

fn purity(shown: &str, text: &str) -> Vec<String> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            IMPURE
                .iter()
                .filter(move |word| line.contains(*word))
                .map(move |word| format!("{shown}:{}: `{word}` in a pure crate", number + 1))
        })
        .collect()
}

/// Names that are stated where they do not stand. Only a literal that is a name and nothing else counts: a sentence may
/// speak of one. Tests state the wire on purpose: rooms of tests, and what `#[cfg(test)]` begins, up to the brace that ends
/// it at the line's beginning.
fn names(shown: &str, text: &str) -> Vec<String> {
    let is_test = shown.ends_with("/tests.rs") || shown.ends_with("_tests.rs") || shown.contains("/tests/");
    if is_test || !shown.starts_with("crates/") || !shown.contains("/src/") || NAMES.contains(&shown) {
        return Vec::new();
    }
    let (mut problems, mut before, mut within_test) = (Vec::new(), "", false);
    for (number, line) in text.lines().enumerate() {
        within_test = if within_test { line != "}" } else { before == "#[cfg(test)]" && line.ends_with('{') };
        before = line;
        if within_test || line.trim_start().starts_with("//") {
            continue;
        }
        let of_name = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
        for (at, _) in line.match_indices(OURS) {
            let rest = line[at + OURS.len()..].trim_start_matches(of_name);
            if rest.starts_with('"') {
                let name = &line[at..=line.len() - rest.len()];
                problems.push(format!(
                    "{shown}:{}: {name} is stated anew; use (or add) its constant in `names`",
                    number + 1
                ));
            }
        }
    }
    problems
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                pending.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_keeps_its_rules() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let problems = check(root).unwrap();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn a_clock_in_a_pure_crate_is_found() {
        assert_eq!(purity("a.rs", "let now = Timestamp::now();").len(), 1);
        assert!(purity("a.rs", "// Timestamp::now is not for this crate").is_empty());
    }

    #[test]
    fn a_name_stands_in_one_place() {
        let check = |shown: &str, text: &str, expected: &[&str]| assert_eq!(names(shown, text), expected, "{text}");
        let (room, get) = ("crates/controller/src/a.rs", r#"it.get("supple.dev/mode");"#);
        let found =
            r#"crates/controller/src/a.rs:1: "supple.dev/mode" is stated anew; use (or add) its constant in `names`"#;
        check(room, get, &[found]);
        check(room, r#"it.get("supple.dev/mode").or(it.get("supple.dev/mode"))"#, &[found, found]);
        check(room, r#"starts_with("supple.dev/")"#, &[&found.replace("dev/mode", "dev/")]);
        check(room, r#"let api = "supple.dev/v1alpha1";"#, &[&found.replace("mode", "v1alpha1")]);
        check(room, r#"say("supple.dev/stop is set");"#, &[]);
        check(room, r#"// what "supple.dev/mode" says"#, &[]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n    {get}\n}}\n");
        check(room, &tests, &[]);
        // What comes after the tests is no test, nor what follows the tests of another file.
        check(room, &format!("{tests}{get}"), &[&found.replace(":1:", ":5:")]);
        check(room, &format!("#[cfg(test)]\nmod tests;\n{get}"), &[&found.replace(":1:", ":3:")]);
        for elsewhere in
            ["crates/controller/src/a_tests.rs", "crates/controller/src/world/tests.rs", NAMES[0], "xtask/src/a.rs"]
        {
            check(elsewhere, get, &[]);
        }
    }

    #[test]
    fn a_room_says_what_it_holds_and_has_a_size() {
        assert!(room("a.rs", "//! Holds one thing.\n").is_empty());
        assert_eq!(room("a.rs", "use std::fmt;\n").len(), 1);
        assert_eq!(room("a.rs", &"//! x\n".repeat(MAX_LINES + 1)).len(), 1);
        assert_eq!(room("a.rs", &["//! x\n#[", "ignore]\n"].concat()).len(), 1);
    }
}
