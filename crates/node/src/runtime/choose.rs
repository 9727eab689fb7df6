//! Which runtime a node gets: what was asked for, what the machine allows, and the sentence that says why.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Runtime;
use super::cri::{CriOptions, CriRequest, CriRuntime};
use super::process::{NewError, ProcessOptions, ProcessRuntime};
use super::simulated::{SimulatedOptions, SimulatedRuntime};

/// What `--runtime` said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Requested {
    /// `process` where cgroups can be written, else `simulated`.
    #[default]
    Auto,
    /// Real processes in real cgroups, or an error.
    Process,
    /// No processes at all.
    Simulated,
    /// Real containers, run by the container runtime behind this socket, or an error.
    Cri(CriRequest),
}

/// A `--runtime` that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownRuntime {
    /// No such word.
    #[error("runtime {0:?} is unknown; expected auto, process, simulated or cri=unix:///PATH/OF/ITS.sock")]
    Word(String),
    /// `cri=` something that is no address.
    #[error("{0}")]
    Address(String),
}

impl FromStr for Requested {
    type Err = UnknownRuntime;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "auto" => Ok(Self::Auto),
            "process" => Ok(Self::Process),
            "simulated" => Ok(Self::Simulated),
            other => match other.strip_prefix("cri=") {
                Some(address) => address.parse().map(Self::Cri).map_err(UnknownRuntime::Address),
                None => Err(UnknownRuntime::Word(other.to_owned())),
            },
        }
    }
}

impl fmt::Display for Requested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Process => f.write_str("process"),
            Self::Simulated => f.write_str("simulated"),
            Self::Cri(request) => request.fmt(f),
        }
    }
}

/// The runtime that was taken.
#[derive(Clone)]
pub struct Chosen {
    /// It.
    pub runtime: Arc<dyn Runtime>,
    /// Why this one, as one sentence without a full stop: "cgroup v1 cpu and memory hierarchies at … are writable".
    pub why: String,
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chosen").field("runtime", &self.runtime.name()).field("why", &self.why).finish()
    }
}

/// The runtime that was asked for cannot work here.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// `--runtime process`, and the machine does not allow it.
    #[error("runtime \"process\" cannot run here: {0}; use --runtime simulated, or run where cgroups can be written")]
    Process(#[from] NewError),
    /// `--runtime cri=…`, and the container runtime or the machine does not allow it.
    #[error("runtime \"cri\" cannot run here: {0}")]
    Cri(#[from] super::cri::NewError),
}

/// Take a runtime; `cri` is asked for options when it is the one. `Auto` never fails: where the process runtime cannot
/// run, the simulated one is taken and `why` says what was in the way.
///
/// # Errors
/// For [`Requested::Process`] and [`Requested::Cri`]: what is missing on this machine.
pub async fn choose(
    requested: Requested,
    process: ProcessOptions,
    simulated: SimulatedOptions,
    cri: impl FnOnce(CriRequest) -> CriOptions,
) -> Result<Chosen, ChooseError> {
    let asked =
        |options| Chosen { runtime: Arc::new(SimulatedRuntime::new(options)), why: "it was requested".to_owned() };
    match requested {
        Requested::Simulated => Ok(asked(simulated)),
        Requested::Process => Ok(real(ProcessRuntime::new(process)?)),
        Requested::Cri(request) => {
            let runtime = CriRuntime::connect(cri(request)).await?;
            let why = runtime.describe();
            Ok(Chosen { runtime: Arc::new(runtime), why })
        }
        Requested::Auto => Ok(match ProcessRuntime::new(process) {
            Ok(runtime) => real(runtime),
            Err(error) => Chosen {
                runtime: Arc::new(SimulatedRuntime::new(simulated)),
                why: format!("cannot run processes here: {error}"),
            },
        }),
    }
}

fn real(runtime: ProcessRuntime) -> Chosen {
    let why = runtime.describe();
    Chosen { runtime: Arc::new(runtime), why }
}
