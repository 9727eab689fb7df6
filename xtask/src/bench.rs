//! `cargo xtask bench`: builds what is shipped, has it measured, and writes the page of what was found.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Where the page is.
const PAGE: &str = "docs/benchmarks.md";

/// Measure and write; `arguments` go to the measuring program.
pub fn run(root: &Path, arguments: &[&str]) -> Result<Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["bench", "--profile", "dist", "--quiet", "-p", "supple", "--bench", "page", "--"])
        .args(arguments)
        .current_dir(root)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot run cargo bench")?;
    if !output.status.success() {
        return Ok(vec![format!("the measuring program failed; {PAGE} is as it was")]);
    }
    let page = String::from_utf8(output.stdout).context("the page is not text")?;
    std::fs::write(root.join(PAGE), page).with_context(|| format!("cannot write {PAGE}"))?;
    println!("written: {PAGE}");
    Ok(Vec::new())
}
