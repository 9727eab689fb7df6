//! What the CRI runtime is built from: plain data, how it is written on a command line, and why it could not be built.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use supple_resize::kernel::CgroupResources;

use super::call::{CallFaults, Deadlines};
use crate::cgroup::{CgroupError, Mounts};

/// In which network pods are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodNetwork {
    /// The machine's own, as pods with `hostNetwork: true`: works everywhere.
    #[default]
    Host,
    /// One of their own, made by the CNI plugins that the container runtime is configured with.
    Cni,
}

impl FromStr for PodNetwork {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "host" => Ok(Self::Host),
            "cni" => Ok(Self::Cni),
            other => Err(format!("{other:?} is not a pod network; expected host or cni")),
        }
    }
}

/// Which container runtime, and what is left to choose about it: `cri=unix:///run/containerd/containerd.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CriRequest {
    /// Its socket.
    pub socket: PathBuf,
    /// In which network its pods are.
    pub network: PodNetwork,
    /// Name of the cgroup below which all pods are. `None`: one of our own, its name kept in the data directory.
    pub cgroup_root: Option<String>,
}

impl CriRequest {
    /// With everything left as it usually is.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), network: PodNetwork::default(), cgroup_root: None }
    }
}

impl FromStr for CriRequest {
    type Err = String;

    /// An address as the kubelet takes it.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let path = s.strip_prefix("unix://").unwrap_or(s);
        if path.starts_with('/') {
            return Ok(Self::new(path));
        }
        Err(format!(
            "{s:?} is not the address of a container runtime; expected its socket, such as \
             cri=unix:///run/containerd/containerd.sock or cri=unix:///run/crio/crio.sock"
        ))
    }
}

impl fmt::Display for CriRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cri=unix://{}", self.socket.display())
    }
}

/// Everything the CRI runtime is built from. [`CriOptions::new`] fills in what a plain machine needs.
#[derive(Clone, Debug)]
pub struct CriOptions {
    /// Which container runtime.
    pub request: CriRequest,
    /// Where logs and the name of our root cgroup are kept; a runtime built later on the same directory adopts what is
    /// still running.
    pub data_dir: PathBuf,
    /// Where the kernel's cgroup hierarchies are; [`Mounts::of_this_machine`] unless a test says otherwise.
    pub mounts: Mounts,
    /// Values of the cgroup that holds all pods: what the node has to give. What is `None` is left as it is.
    pub allocatable: CgroupResources,
    /// How long calls may take.
    pub deadlines: Deadlines,
    /// How often the containers are listed where the runtime offers no events; with events it is thirty times as long.
    pub relist: Duration,
    /// Over how long CPU use is averaged.
    pub usage_window: Duration,
    /// A log file is rotated when it reaches this size, one older file is kept, in bytes.
    pub log_limit_bytes: u64,
    /// The program that speaks to systemd where it makes the cgroups.
    pub systemctl: PathBuf,
    /// What becomes of calls; for tests.
    pub faults: CallFaults,
}

impl CriOptions {
    /// The usual: this machine's cgroups, containers listed each second, CPU over 10 s, logs up to 2 × 10 MiB.
    pub fn new(request: CriRequest, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            request,
            data_dir: data_dir.into(),
            mounts: Mounts::of_this_machine(),
            allocatable: CgroupResources::default(),
            deadlines: Deadlines::default(),
            relist: Duration::from_secs(1),
            usage_window: Duration::from_secs(10),
            log_limit_bytes: 10 << 20,
            systemctl: "systemctl".into(),
            faults: CallFaults::default(),
        }
    }
}

/// Why containers cannot be run through the CRI here. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// Nobody is there.
    #[error("no container runtime listens at {}: {source}; start it, or set the socket of another", socket.display())]
    Absent {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It does not speak version v1.
    #[error(
        "what listens at {} does not speak CRI v1 ({message}); containerd does from 1.6 on unless its configuration \
         disables the plugin \"cri\" (as Docker's does: take it out of disabled_plugins and restart containerd), CRI-O does from 1.23 on",
        socket.display()
    )]
    NotV1 {
        /// The socket.
        socket: PathBuf,
        /// What it said.
        message: String,
    },
    /// It does not answer, or with an error.
    #[error("ask {} for its {question}: {message}; look into the container runtime's own log", socket.display())]
    Unwell {
        /// The socket.
        socket: PathBuf,
        /// What was asked.
        question: &'static str,
        /// What it said.
        message: String,
    },
    /// It says itself that it is not ready.
    #[error("the container runtime at {} is not ready: {condition} is false ({message})", socket.display())]
    NotReady {
        /// The socket.
        socket: PathBuf,
        /// `RuntimeReady` or `NetworkReady`.
        condition: String,
        /// What it said.
        message: String,
    },
    /// The name of the root cgroup is none.
    #[error(
        "{0:?} cannot be the name of a cgroup: letters, digits, '-', '_' and '.' are allowed, not beginning with '.'"
    )]
    CgroupRoot(String),
    /// This program may not make cgroups where the container runtime does.
    #[error(
        "the container runtime makes cgroups at the top of the hierarchy, {}, which this program may not write: run it as root",
        point.display()
    )]
    NotAtTheTop {
        /// Where that is.
        point: PathBuf,
    },
    /// No usable cgroup hierarchy, or none that may be written.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// systemd did not make our cgroups.
    #[error(transparent)]
    Systemd(#[from] super::systemd::SystemdError),
    /// The data directory cannot be used.
    #[error("{operation} {}: {source}", path.display())]
    DataDir {
        /// What was being done.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<&str, &str>) {
        let got = text.parse::<CriRequest>().map(|it| it.to_string());
        match (&got, expect) {
            (Ok(got), Ok(expect)) => assert_eq!(got, expect, "{text}"),
            (Err(got), Err(part)) => assert!(got.contains(part), "{text}: {got}"),
            _ => panic!("{text}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn addresses() {
        check("unix:///run/containerd/containerd.sock", Ok("cri=unix:///run/containerd/containerd.sock"));
        check("/run/crio/crio.sock", Ok("cri=unix:///run/crio/crio.sock"));
        check("unix://run/x", Err("expected its socket"));
        check("tcp://localhost:1", Err("cri=unix:///run/containerd/containerd.sock"));
        check("", Err("is not the address"));
    }
}
