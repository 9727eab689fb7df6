//! What a killed predecessor left: runs that go on are adopted, ended ones are told, everything else is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::machine::{Machine, PodRecord};
use super::run::{self, Phase, Run};
use super::{error, watch};
use crate::cgroup::Role;
use crate::runtime::ground::{end, newest};
use crate::runtime::{ContainerRef, FoundPod, PodRef, RuntimeError};
use crate::shim::record::{self, End, RunDir, Spec, State};

/// How long a shim that was begun by the predecessor may take to say who it is and to execute the command.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
pub async fn recover(machine: Arc<Machine>) -> Result<Vec<FoundPod>, RuntimeError> {
    let mut found = Vec::new();
    for uid in names(&machine.containers_dir())? {
        let dir = machine.containers_dir().join(&uid);
        let record = record::read::<PodRecord>(&dir.join("pod.json")).unwrap_or_default();
        let Some(PodRecord { namespace, name }) = record else {
            // The predecessor was killed between making the directory and writing the record: no container yet.
            discard(&dir);
            continue;
        };
        let pod = PodRef { uid, namespace, name };
        let runs = recover_pod(&machine, &pod, &dir).await?;
        machine.adopt_pod(&pod)?;
        found.push(FoundPod { pod, containers: newest(runs.iter().map(|run| (run.id.clone(), run.state()))) });
    }
    remove_orphans(&machine, &found).await?;
    Ok(found)
}

async fn recover_pod(machine: &Arc<Machine>, pod: &PodRef, dir: &Path) -> Result<Vec<Arc<Run>>, RuntimeError> {
    let mut runs = Vec::new();
    for container in names(dir)? {
        for attempt in names(&dir.join(&container))? {
            let Ok(attempt) = attempt.parse() else { continue };
            let id = ContainerRef { pod: pod.clone(), container: container.clone(), attempt };
            if let Some(run) = recover_run(machine, id).await? {
                machine.add_run(Arc::clone(&run));
                runs.push(run);
            }
        }
    }
    Ok(runs)
}

/// `None` for a run that was forgotten (only its log is left) or never began.
async fn recover_run(machine: &Arc<Machine>, id: ContainerRef) -> Result<Option<Arc<Run>>, RuntimeError> {
    let dir = machine.run_dir(&id)?;
    let Ok(Some(spec)) = record::read::<Spec>(&dir.spec()) else { return Ok(None) };
    let run = |phase| Arc::new(Run::new(id.clone(), dir.clone(), spec.group.clone(), phase));
    // Its end first: a shim that has recorded it may be there for another moment.
    let over = record::read::<End>(&dir.exit()).is_ok_and(|end| end.is_some());
    let found = if over {
        None
    } else {
        adopt(&dir).await.map_err(|it| error::record("find the shim of the run in", dir.path(), &it))?
    };
    if let Some(Adopted { state, pidfd }) = found {
        let run = run(state.container.map_or(Phase::Starting, Phase::Running));
        let seen = run.group.memory_events().unwrap_or_default(); // told by the predecessor
        watch::spawn(Arc::clone(machine), Arc::clone(&run), pidfd, seen);
        return Ok(Some(run));
    }
    // No shim: it is over. If it left no record it was killed, and the container with it or by what follows.
    let ended = match record::read::<End>(&dir.exit()) {
        Ok(Some(end)) if end.failed.is_some() => None, // told to nobody: the worker begins this attempt anew
        Ok(Some(end)) => Some(run(Phase::Ended(run::exit(&end)))),
        Ok(None) | Err(_) => match record::read::<State>(&dir.state()).ok().flatten().and_then(|it| it.container) {
            Some(started) => {
                let run = run(Phase::Running(started));
                end(run.group.clone()).await?;
                watch::finish_silently(&run);
                Some(run)
            }
            None => None, // its command was never executed
        },
    };
    end(spec.group.clone()).await?;
    Ok(ended)
}

struct Adopted {
    state: State,
    pidfd: OwnedFd,
}

/// Take hold of a living shim and wait until its container runs; `None` where there is none (any more).
async fn adopt(dir: &RunDir) -> io::Result<Option<Adopted>> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        // The lock, not the PID, says whether the shim lives: PIDs are given out again, and right after its start it
        // has not written down its own yet.
        if !is_locked(dir)? {
            return Ok(None);
        }
        if let Some(state) = record::read::<State>(&dir.state())?
            && (state.container.is_some() || tokio::time::Instant::now() > deadline)
            && let Some(pid) = i32::try_from(state.shim.pid).ok().and_then(Pid::from_raw)
            && let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
            // The handle is taken; if the shim still lives now, the PID was its own all the time.
            && state.shim.is_still_there()
            && is_locked(dir)?
        {
            return Ok(Some(Adopted { state, pidfd }));
        }
        if tokio::time::Instant::now() > deadline + PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "its shim lives and does not say who it is"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn is_locked(dir: &RunDir) -> io::Result<bool> {
    let file = match File::open(dir.lock()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Cgroups below our root that belong to no pod or run we know of.
async fn remove_orphans(machine: &Machine, found: &[FoundPod]) -> Result<(), RuntimeError> {
    let known: BTreeMap<String, &PodRef> = found.iter().map(|it| (format!("pod{}", it.pod.uid), &it.pod)).collect();
    for name in machine.root.children().map_err(|it| error::cgroup(&it))? {
        let group = machine.root.child(&name, Role::Pod);
        let Some(pod) = known.get(&name) else {
            tracing::info!(cgroup = %group.memory_directory().display(), "removing the cgroup of a pod that no record knows");
            end(group).await?;
            continue;
        };
        let alive: BTreeSet<String> = machine
            .runs(pod)
            .iter()
            .filter(|run| !matches!(&*run.phase.borrow(), Phase::Ended(_)))
            .map(|run| format!("{}-{}", run.id.container, run.id.attempt))
            .collect();
        for child in group.children().map_err(|it| error::cgroup(&it))? {
            if !alive.contains(&child) {
                end(group.child(&child, Role::Container)).await?;
            }
        }
    }
    Ok(())
}

/// Names of the directories in `dir` that can be names of ours; none where it is not there.
fn names(dir: &Path) -> Result<Vec<String>, RuntimeError> {
    let failed = |it: &io::Error| error::record("list", dir, it);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(it) if it.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(it) => return Err(failed(&it)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|it| failed(&it))?;
        if entry.file_type().is_ok_and(|it| it.is_dir())
            && let Ok(name) = entry.file_name().into_string()
            && crate::cgroup::Group::is_name(&name)
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn discard(dir: &Path) {
    if let Err(error) = fs::remove_dir_all(dir) {
        tracing::warn!(dir = %dir.display(), %error, "could not remove what an interrupted start left");
    }
}
