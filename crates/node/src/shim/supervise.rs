//! First stage: stays beside the container from its start to its recorded end.

use std::ffi::OsString;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::log::Writer;
use super::pump::{Pump, Woken};
use super::record::{self, End, Failure, ProcessId, RunDir, Spec, Started, State};
use crate::cgroup::Group;
use crate::kernel::{Namespaces, unshare};

/// How often a shim looks whether its records are still there. Not told by inotify: the kernel gives a user 128 instances
/// (`fs.inotify.max_user_instances`), and a shim a container would leave none to the rest of the machine.
const LOOK: Duration = Duration::from_secs(5);

/// Exit code of a container that could not be started, as containerd reports it.
const NOT_STARTED: i32 = 128;

/// Run the container described in `dir`. Standard input is the lock that says this shim lives; standard output is where
/// the runtime learns that the container runs (one line) or does not (end of file without one).
pub fn run(dir: &Path, shim: &[OsString]) -> i32 {
    let dir = RunDir::new(dir);
    // A Ctrl-C at the program's terminal is for the program: it ends its containers in order.
    let _ = rustix::process::setsid();
    // The shim is small and holds the only knowledge of how the container ends: the OOM killer is to look elsewhere.
    // Without the capability it stays as it is.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-998");

    let began = Timestamp::now();
    let outcome = supervise(&dir, shim);
    let (code, end) = match outcome {
        Ok(end) => (0, end),
        Err(failure) => {
            let end = End {
                code: NOT_STARTED,
                signal: None,
                oom_kills: 0,
                started_at: began,
                finished_at: Timestamp::now(),
                failed: Some(failure),
            };
            (1, end)
        }
    };
    // If even this fails, the runtime sees a shim that ended without a record and says so.
    let _ = record::write_reserved(&dir.exit(), &end);
    code
}

fn supervise(dir: &RunDir, shim: &[OsString]) -> Result<End, Failure> {
    let machine = |what: &str, error: io::Error| Failure { by_container: false, message: format!("{what}: {error}") };
    let spec: Spec = record::read(&dir.spec())
        .and_then(|spec| spec.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(|error| machine("read the container's spec", error))?;
    let mut state = State { shim: ProcessId::of(std::process::id()), container: None };
    record::write(&dir.state(), &state).map_err(|error| machine("record the shim", error))?;
    record::reserve(&dir.exit()).map_err(|error| machine("reserve room for the record of its end", error))?;

    if spec.isolate {
        unshare(Namespaces::Pid).map_err(|error| machine("make a PID namespace", error.into()))?;
    }
    let (mut child, outputs) = start(dir, shim)?;
    let started = Started { process: ProcessId::of(child.id()), at: Timestamp::now() };
    state.container = Some(started);
    if let Err(error) = record::write(&dir.state(), &state) {
        let _ = child.kill();
        return Err(machine("record the container", error));
    }
    // The runtime may be gone: the container runs all the same, and the next runtime finds it by its records.
    let _ = io::stdout().write_all(b"started\n").and_then(|()| io::stdout().flush());
    close_stdout();

    let status = follow(&mut child, outputs, dir, &spec).map_err(|error| machine("wait for the container", error))?;
    let finished_at = Timestamp::now();
    Ok(End {
        code: exit_code(status),
        signal: status.signal(),
        oom_kills: spec.group.oom_kills().unwrap_or(0),
        started_at: started.at,
        finished_at,
        failed: None,
    })
}

/// Start the second stage and wait until it has become the container's command.
fn start(dir: &RunDir, shim: &[OsString]) -> Result<(Child, [PipeReader; 2]), Failure> {
    let machine = |error: io::Error| Failure { by_container: false, message: format!("start the container: {error}") };
    let (mut report, reporter) = io::pipe().map_err(machine)?;
    let (stdout, stdout_writer) = io::pipe().map_err(machine)?;
    let (stderr, stderr_writer) = io::pipe().map_err(machine)?;
    let (program, arguments) = shim.split_first().ok_or_else(|| machine(io::ErrorKind::InvalidInput.into()))?;
    let mut command = Command::new(program);
    command.args(arguments).arg("enter").arg(dir.path()).env_clear();
    command.stdin(reporter).stdout(stdout_writer).stderr(stderr_writer);
    let mut child = command.spawn().map_err(machine)?;
    // It holds this side's copies of the writing ends: without this, no end of file would ever come.
    drop(command);
    let mut told = Vec::new();
    report.read_to_end(&mut told).map_err(machine)?;
    if told.is_empty() {
        return Ok((child, [stdout, stderr]));
    }
    let _ = child.wait();
    Err(serde_json::from_slice(&told).unwrap_or_else(|error| machine(error.into())))
}

/// Standard output was the line to the runtime; its end tells the runtime that no more will come.
fn close_stdout() {
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
}

/// Write the log until the container's first process has ended and all its output is in.
///
/// A run whose records are removed meanwhile can be adopted by nobody and its end recorded nowhere: it is ended, so that
/// deleting a data directory leaves nothing running.
fn follow(child: &mut Child, outputs: [PipeReader; 2], dir: &RunDir, spec: &Spec) -> io::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let mut pump = Pump::new(outputs, Writer::open(dir.clone(), spec.log_limit_bytes));
    let mut looked = Instant::now();
    loop {
        if pump.wait(&[&ended], Some(LOOK.saturating_sub(looked.elapsed())))? == Woken::Other(0) {
            break;
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if !dir.spec().exists() {
                spec.group.kill().map_err(io::Error::other)?;
            }
        }
    }
    let status = child.wait()?;
    // Without a PID namespace other processes may live on; with the container's first process the container has ended.
    let _ = spec.group.kill();
    pump.finish(Duration::from_secs(1));
    if !dir.spec().exists() {
        remove_with_parents(&spec.group);
    }
    Ok(status)
}

/// Remove the container's cgroup, and its pod's and our own root with it if nothing else is in there.
fn remove_with_parents(group: &Group) {
    if group.end().is_ok() {
        for dir in group.directories() {
            for parent in dir.ancestors().skip(1).take(2) {
                // Busy: another container goes on in there, and its shim removes it.
                let _ = std::fs::remove_dir(parent);
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}
