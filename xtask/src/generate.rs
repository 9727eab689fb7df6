//! Files that are made from the code and committed, so that a reader needs no build and a page cannot rot.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The API server's chapter, by its file: it is data alone, and building the whole server to read it would take minutes.
#[path = "../../crates/apiserver/src/differences.rs"]
mod api_differences;

/// The controller's metrics, likewise by their file.
#[path = "../../crates/controller/src/metrics/table.rs"]
mod metrics;

/// What its commands answer, likewise.
#[path = "../../crates/controller/src/reason.rs"]
mod reason;

/// Every generated file: its path below the root and what it must contain.
fn files() -> Result<Vec<(PathBuf, String)>> {
    let chapters = [supple_resize::differences::CHAPTER, api_differences::CHAPTER];
    let mut files = vec![
        ("docs/differences.md".into(), supple_resize::differences::to_markdown(&chapters)),
        ("docs/metrics.md".into(), metrics::to_markdown()),
        ("docs/reason-codes.md".into(), supple_decide::page::to_markdown() + &reason::to_markdown()),
    ];
    for definition in supple_api::crd::all() {
        let name = supple_api::crd::file_name(&definition);
        let value = serde_json::to_value(&definition).with_context(|| format!("cannot write {name}"))?;
        let yaml = serde_saphyr::to_string(&value).with_context(|| format!("cannot write {name} as YAML"))?;
        let yaml = format!("# Made from crates/api by `cargo xtask generate`.\n{yaml}");
        // Helm installs what lies in the chart; everybody else applies the folder.
        for folder in ["deploy/crds", "charts/supple/crds"] {
            files.push((Path::new(folder).join(&name), yaml.clone()));
        }
    }
    Ok(files)
}

/// Write what differs; the list says which files changed.
pub fn write(root: &Path) -> Result<Vec<String>> {
    for (path, wanted) in files()? {
        let path = root.join(path);
        if std::fs::read_to_string(&path).unwrap_or_default() != wanted {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            }
            std::fs::write(&path, wanted).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{}", path.display());
        }
    }
    Ok(Vec::new())
}

/// A sentence for each file that is not what the code generates.
pub fn check(root: &Path) -> Result<Vec<String>> {
    Ok(files()?
        .into_iter()
        .filter(|(path, wanted)| std::fs::read_to_string(root.join(path)).unwrap_or_default() != *wanted)
        .map(|(path, _)| {
            format!("{} is not what the code generates: run `cargo xtask generate` and commit it", path.display())
        })
        .collect())
}
