//! What the scenarios are played on: processes of this machine, or containers of a containerd of the test's own.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use supple_node::runtime::cri::{CriOptions, CriRequest, CriRuntime};
use supple_node::runtime::process::{ProcessOptions, ProcessRuntime};
use supple_node::runtime::{Images, Runtime};

use crate::containerd::Containerd;

/// One of the runtimes that have cgroups.
pub enum Ground {
    /// `--runtime process`.
    Process,
    /// `--runtime cri=…`.
    Cri(Containerd),
}

impl Ground {
    /// Whether processes can be run in cgroups here. Tried for real, and taken back: a runtime makes its root at once.
    pub async fn process() -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let runtime = ProcessRuntime::new(options(dir.path())).map_err(|error| error.to_string())?;
        runtime.shutdown().await.map_err(|error| error.to_string())?;
        Ok(Self::Process)
    }

    /// Whether containers can be run here; tried likewise.
    pub async fn cri() -> Result<Self, String> {
        let containerd = Containerd::start()?;
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let runtime = CriRuntime::connect(cri_options(&containerd, dir.path())).await;
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.shutdown().await.map_err(|error| error.to_string())?;
        Ok(Self::Cri(containerd))
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Cri(_) => "cri",
        }
    }

    /// One of its own, for one scenario.
    pub async fn runtime(&self, dir: &Path) -> Arc<dyn Runtime> {
        match self {
            Self::Process => Arc::new(ProcessRuntime::new(options(dir)).expect("cgroups can be written")),
            Self::Cri(containerd) => {
                let runtime = CriRuntime::connect(cri_options(containerd, dir)).await;
                Arc::new(runtime.expect("containerd answers"))
            }
        }
    }
}

fn options(dir: &Path) -> ProcessOptions {
    let mut options = ProcessOptions::new(dir);
    options.images = Images::Only(BTreeSet::from(["busybox:1.35".to_owned()]));
    options
}

fn cri_options(containerd: &Containerd, dir: &Path) -> CriOptions {
    CriOptions::new(CriRequest::new(containerd.socket()), dir)
}
