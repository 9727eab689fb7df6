//! `cargo xtask tables`: measures the recommender on the shared recordings, and its speed, and puts what comes of it into the pages.
//!
//! What is between the tables argues about them and was written by a person: it is left as it is, and to be read again.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Where the tables are.
const PAGES: [&str; 2] = ["docs/recommender.md", "docs/replay.md"];

/// Measure and write: the quality, the speed, or with neither named both.
pub fn run(root: &Path, which: Option<&str>) -> Result<Vec<String>> {
    let mut printed = String::new();
    if which != Some("speed") {
        printed += &measured(root, &["run", "--release", "--quiet", "-p", "supple-replay", "--example", "quality"])?;
    }
    if which != Some("quality") {
        measured(root, &["build", "--profile", "dist", "--quiet", "-p", "supple"])?;
        let of = [
            "run",
            "--release",
            "--quiet",
            "-p",
            "supple-replay",
            "--example",
            "speed",
            "--",
            "target/dist/supple",
            "30",
        ];
        printed += &measured(root, &of)?;
    }
    let mut missing = tables(&printed);
    for page in PAGES {
        let path = root.join(page);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {page}"))?;
        let (new, found) = renewed(&text, &printed);
        missing.retain(|(heading, _)| !found.contains(heading));
        if new != text {
            std::fs::write(&path, new).with_context(|| format!("cannot write {page}"))?;
            println!("written: {page}");
        }
    }
    let told = |(heading, _): &(&str, Vec<&str>)| format!("no page has a heading {heading:?} with a table under it");
    Ok(missing.iter().map(told).collect())
}

/// What cargo printed.
fn measured(root: &Path, arguments: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(root).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run cargo {}", arguments.join(" ")))?;
    ensure!(output.status.success(), "cargo {} failed; the pages are as they were", arguments.join(" "));
    String::from_utf8(output.stdout).context("what was printed is not text")
}

/// The text of a heading.
fn heading(line: &str) -> Option<&str> {
    line.strip_prefix('#').map(|it| it.trim_start_matches('#').trim())
}

/// The first table under each heading that has one.
fn tables(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut is_over = true;
    for line in text.lines() {
        if let Some(heading) = heading(line) {
            all.push((heading, Vec::new()));
            is_over = false;
        } else if let Some((_, table)) = all.last_mut().filter(|_| !is_over) {
            if line.starts_with('|') {
                table.push(line);
            } else {
                is_over = !table.is_empty();
            }
        }
    }
    all.retain(|(_, table)| !table.is_empty());
    all
}

/// A page with the tables that were printed under headings of the same text, and these headings.
fn renewed<'a>(page: &str, printed: &'a str) -> (String, Vec<&'a str>) {
    let printed = tables(printed);
    let (mut out, mut found) = (String::new(), Vec::new());
    // Of the heading that was passed last: its table, until it is written.
    let mut next: Option<&(&str, Vec<&str>)> = None;
    let mut is_within = false;
    for line in page.lines() {
        if let Some(heading) = heading(line) {
            next = printed.iter().find(|it| it.0 == heading);
        }
        let is_row = line.starts_with('|');
        if let Some((heading, table)) = next.filter(|_| is_row) {
            table.iter().for_each(|row| out.extend([row, "\n"]));
            found.push(*heading);
            (next, is_within) = (None, true);
        }
        is_within &= is_row;
        if !is_within {
            out.extend([line, "\n"]);
        }
    }
    (out, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_renewed_and_nothing_else_is() {
        let printed =
            "\n### One\n\nHow it is read.\n\n| a |\n|---|\n| 2 |\n| 3 |\n\n### Nowhere\n\n| b |\n### No table\n";
        let page =
            "# Page\n\n| a |\n\n#### One\n\nText.\n\n| a |\n|---|\n| 1 |\n\n| another |\n\n#### Two\n\n| a |\nEnd.\n";
        let (new, found) = renewed(page, printed);
        assert_eq!(new, page.replace("|---|\n| 1 |", "|---|\n| 2 |\n| 3 |"));
        assert_eq!(found, ["One"]);
        assert_eq!(renewed(&new, printed).0, new, "the same once more");
        let headings: Vec<&str> = tables(printed).into_iter().map(|it| it.0).collect();
        assert_eq!(headings, ["One", "Nowhere"]);
    }

    /// The pages have a place for all that is printed: what the examples head their tables with stands in them.
    #[test]
    fn every_table_of_the_examples_has_a_page() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("it is in the repository");
        let pages = PAGES.map(read).concat();
        let places = tables(&pages);
        let mut headings = 0;
        for file in
            ["quality/main", "quality/pooled", "quality/risk", "quality/unforeseen", "quality/sampling", "speed/main"]
        {
            let source = read(&format!("crates/replay/examples/{file}.rs"));
            for part in source.split("### ").skip(1) {
                let heading = part.split("\\n").next().unwrap_or_default();
                // Where a part of it is filled in, what is before that.
                let known = heading.split('{').next().unwrap_or_default();
                assert!(places.iter().any(|it| it.0.starts_with(known)), "{file}: {heading}");
                headings += 1;
            }
        }
        assert!(headings >= 8, "{headings} headings");
    }
}
