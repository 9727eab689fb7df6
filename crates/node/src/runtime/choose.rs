//! Which runtime a node gets: what was asked for, what the machine allows, and the sentence that says why.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Runtime;
use super::process::{NewError, ProcessOptions, ProcessRuntime};
use super::simulated::{SimulatedOptions, SimulatedRuntime};

/// What `--runtime` said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requested {
    /// `process` where cgroups can be written, else `simulated`.
    #[default]
    Auto,
    /// Real processes in real cgroups, or an error.
    Process,
    /// No processes at all.
    Simulated,
}

/// A `--runtime` that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("runtime {0:?} is unknown; expected auto, process or simulated")]
pub struct UnknownRuntime(pub String);

impl FromStr for Requested {
    type Err = UnknownRuntime;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "auto" => Ok(Self::Auto),
            "process" => Ok(Self::Process),
            "simulated" => Ok(Self::Simulated),
            other => Err(UnknownRuntime(other.to_owned())),
        }
    }
}

impl fmt::Display for Requested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Process => "process",
            Self::Simulated => "simulated",
        })
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
}

/// Take a runtime. `Auto` never fails: where the process runtime cannot run, the simulated one is taken and `why` says
/// what was in the way.
///
/// # Errors
/// Only for [`Requested::Process`]: [`ChooseError::Process`] with what is missing on this machine.
pub fn choose(
    requested: Requested,
    process: ProcessOptions,
    simulated: SimulatedOptions,
) -> Result<Chosen, ChooseError> {
    let asked =
        |options| Chosen { runtime: Arc::new(SimulatedRuntime::new(options)), why: "it was asked for".to_owned() };
    match requested {
        Requested::Simulated => Ok(asked(simulated)),
        Requested::Process => Ok(real(ProcessRuntime::new(process)?)),
        Requested::Auto => Ok(match ProcessRuntime::new(process) {
            Ok(runtime) => real(runtime),
            Err(error) => Chosen {
                runtime: Arc::new(SimulatedRuntime::new(simulated)),
                why: format!("processes cannot be run here: {error}"),
            },
        }),
    }
}

fn real(runtime: ProcessRuntime) -> Chosen {
    let why = runtime.describe();
    Chosen { runtime: Arc::new(runtime), why }
}
