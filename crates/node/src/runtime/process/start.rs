//! Starting a container: records, cgroup, shim, and the word that its command runs.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::fs::FlockOperation;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use super::machine::Machine;
use super::run::{Phase, Run};
use super::{error, watch};
use crate::cgroup::MemoryEvents;
use crate::runtime::{ContainerConfig, ContainerRef, RunState, RuntimeError, ground};
use crate::shim::record::{self, End, RunDir, Spec, State};

/// Where programs are looked for when the container does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Start it. Whatever fails, nothing of the attempt stays on the machine.
pub async fn start(machine: Arc<Machine>, config: ContainerConfig) -> Result<RunState, RuntimeError> {
    let id = config.id.clone();
    let dir = machine.run_dir(&id)?;
    let group = machine.container_group(&id)?;
    let spec = spec(&machine, &config, &group);
    forget_older(&machine, &id);

    let lock = write_records(&dir, &spec)?;
    if let Err(it) = group.create().and_then(|()| group.apply(&config.resources)) {
        let failed = error::cgroup(&it);
        clean(&machine, &id, group).await;
        return Err(failed);
    }
    let run = Arc::new(Run::new(id.clone(), dir, group.clone(), Phase::Starting));
    machine.add_run(Arc::clone(&run));
    match launch(&machine, &run, lock).await {
        Ok(()) => Ok(run.state()),
        Err(failed) => {
            clean(&machine, &id, group).await;
            Err(failed)
        }
    }
}

fn spec(machine: &Machine, config: &ContainerConfig, group: &crate::cgroup::Group) -> Spec {
    let hostname = config.id.pod.name.clone();
    let mut env = vec![("PATH".to_owned(), PATH.to_owned()), ("HOSTNAME".to_owned(), hostname.clone())];
    for (name, value) in &config.env {
        // What the container sets replaces what it would have got.
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
    let command: Vec<String> = config.command.iter().chain(&config.args).cloned().collect();
    let command = if command.is_empty() { machine.options.stand_in.clone() } else { command };
    Spec {
        container: config.id.container.clone(),
        attempt: config.id.attempt,
        image: config.image.clone(),
        command,
        env,
        working_dir: config.working_dir.clone().filter(|it| !it.is_empty()),
        hostname,
        oom_score_adj: config.oom_score_adj,
        group: group.clone(),
        isolate: machine.isolate,
        log_limit_bytes: machine.options.log_limit_bytes,
    }
}

/// The run's directory with its spec, and the lock that the shim will hold.
fn write_records(dir: &RunDir, spec: &Spec) -> Result<File, RuntimeError> {
    let failed = |it: &std::io::Error| error::record("write the record of the container in", dir.path(), it);
    // A run of this attempt that a predecessor began and did not finish is not this one.
    match fs::remove_dir_all(dir.path()) {
        Err(it) if it.kind() != std::io::ErrorKind::NotFound => return Err(failed(&it)),
        _ => {}
    }
    fs::create_dir_all(dir.path()).map_err(|it| failed(&it))?;
    record::write(&dir.spec(), spec).map_err(|it| failed(&it))?;
    let lock = File::create(dir.lock()).map_err(|it| failed(&it))?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|it| failed(&it.into()))?;
    Ok(lock)
}

/// Run the shim and wait for its word.
async fn launch(machine: &Arc<Machine>, run: &Arc<Run>, lock: File) -> Result<(), RuntimeError> {
    let failed = |operation: &str, message: String| RuntimeError {
        reason: "CreateContainerError",
        operation: operation.to_owned(),
        object: error::describe(&run.id),
        message,
    };
    let Some((program, arguments)) = machine.options.shim.split_first() else {
        return Err(failed("start the shim of", "no shim command is configured".into()));
    };
    let spawn = || -> std::io::Result<(OwnedFd, pipe::Receiver)> {
        let (word, speaker) = std::io::pipe()?;
        let mut command = Command::new(program);
        command.args(arguments).arg("supervise").arg(run.dir.path()).args(&machine.options.shim);
        command.env_clear().current_dir("/").stdin(lock).stdout(speaker).stderr(Stdio::null());
        let child = command.spawn()?;
        // The child's own handle is dropped: it is awaited through the pidfd, as an adopted one is.
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidData)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok((pidfd, pipe::Receiver::from_owned_fd(OwnedFd::from(word))?))
    };
    let (pidfd, mut word) = spawn().map_err(|it| failed("start the shim of", it.to_string()))?;
    let mut heard = Vec::new();
    let _ = word.read_to_end(&mut heard).await; // an error is silence: then the record says what happened
    if heard.is_empty() {
        watch::reap(pidfd).await;
        let end = record::read::<End>(&run.dir.exit()).ok().flatten();
        return Err(match end.and_then(|it| it.failed) {
            Some(it) if it.by_container => {
                RuntimeError { reason: "StartError", ..failed("execute the command of", it.message) }
            }
            Some(it) => failed("start", it.message),
            None => failed("start", format!("its shim ({}) ended without a word", program.display())),
        });
    }
    let state = record::read::<State>(&run.dir.state()).ok().flatten();
    let started = state
        .and_then(|it| it.container)
        .ok_or_else(|| failed("start", "its shim says that it runs and left no record of it".into()))?;
    machine.start_measuring(run);
    run.phase.send_replace(Phase::Running(started));
    watch::spawn(Arc::clone(machine), Arc::clone(run), pidfd, MemoryEvents::default());
    Ok(())
}

/// Leave nothing of an attempt that failed.
async fn clean(machine: &Machine, id: &ContainerRef, group: crate::cgroup::Group) {
    if let Err(it) = ground::end(group).await {
        tracing::warn!(container = %error::describe(id), error = %it, "could not remove the cgroup of a container that did not start");
    }
    if let Err(it) = machine.discard(id) {
        tracing::warn!(container = %error::describe(id), error = %it, "could not remove the record of a container that did not start");
    }
}

/// Keep the logs of the run before this one (`kubectl logs --previous`) and drop those of earlier ones, so that a
/// crash-looping container fills no disk.
fn forget_older(machine: &Machine, id: &ContainerRef) {
    let Some(last) = id.attempt.checked_sub(2) else { return };
    // Attempts are counted up one by one; the ones before have been dropped by the starts before.
    for attempt in (0..=last).rev() {
        let old = ContainerRef { attempt, ..id.clone() };
        if !machine.run_dir(&old).is_ok_and(|dir| dir.path().is_dir()) {
            return;
        }
        if let Err(it) = machine.discard(&old) {
            tracing::warn!(container = %error::describe(&old), error = %it, "could not remove an old log");
            return;
        }
    }
}
