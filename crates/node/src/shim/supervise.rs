//! First stage: stays beside the container from its start to its recorded end.

use std::ffi::OsString;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::log::{Lines, Writer};
use crate::kernel::{Namespaces, unshare};

use super::record::{self, End, Failure, ProcessId, RunDir, Spec, Started, State};

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
    // If even this fails (a full disk), the runtime sees a shim that ended without a record and says so.
    let _ = record::write(&dir.exit(), &end);
    code
}

fn supervise(dir: &RunDir, shim: &[OsString]) -> Result<End, Failure> {
    let machine = |what: &str, error: io::Error| Failure { by_container: false, message: format!("{what}: {error}") };
    let spec: Spec = record::read(&dir.spec())
        .and_then(|spec| spec.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(|error| machine("read the container's spec", error))?;
    let mut state = State { shim: ProcessId::of(std::process::id()), container: None };
    record::write(&dir.state(), &state).map_err(|error| machine("record the shim", error))?;

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
fn follow(child: &mut Child, outputs: [PipeReader; 2], dir: &RunDir, spec: &Spec) -> io::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let mut log = Writer::open(dir.clone(), spec.log_limit_bytes);
    let [stdout, stderr] = outputs;
    let mut streams = [(Some(stdout), Lines::of("stdout")), (Some(stderr), Lines::of("stderr"))];
    let mut buffer = vec![0; 32 << 10];
    while !pump(&mut streams, Some(&pidfd), None, &mut buffer, &mut log)? {}
    let status = child.wait()?;

    // Without a PID namespace other processes may live on; with the container's first process the container has ended.
    let _ = spec.group.kill();
    // Nobody is left who could write, so the ends of file are there at once, unless a pipe was handed out of the
    // container: that one is given up.
    let deadline = Instant::now() + Duration::from_secs(1);
    while streams.iter().any(|(stream, _)| stream.is_some()) {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
        if pump(&mut streams, None, Some(&timeout), &mut buffer, &mut log)? || left.is_zero() {
            break;
        }
    }
    let (now, mut rest) = (Timestamp::now().to_string(), Vec::new());
    for (_, lines) in &mut streams {
        lines.finish(&now, &mut rest);
    }
    log.append(&rest);
    Ok(status)
}

/// Wait for output and log it. True when the process has ended, or when nothing came in time.
fn pump(
    streams: &mut [(Option<PipeReader>, Lines); 2],
    process: Option<&OwnedFd>,
    timeout: Option<&Timespec>,
    buffer: &mut [u8],
    log: &mut Writer,
) -> io::Result<bool> {
    let readable = {
        let mut polled: Vec<PollFd<'_>> = Vec::with_capacity(3);
        polled.extend(process.map(|fd| PollFd::new(fd, PollFlags::IN)));
        polled.extend(
            streams
                .iter()
                .filter_map(|(it, _)| it.as_ref())
                .map(|it| PollFd::from_borrowed_fd(it.as_fd(), PollFlags::IN)),
        );
        match poll(&mut polled, timeout) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let mut ready = polled.iter().map(|it| !it.revents().is_empty());
        let ended = process.is_some() && ready.next().unwrap_or(false);
        let mut readable = [false; 2];
        for (slot, (stream, _)) in readable.iter_mut().zip(streams.iter()) {
            *slot = stream.is_some() && ready.next().unwrap_or(false);
        }
        if ended {
            return Ok(true);
        }
        readable
    };
    let (now, mut entries) = (Timestamp::now().to_string(), Vec::new());
    for ((stream, lines), _) in streams.iter_mut().zip(readable).filter(|(_, readable)| *readable) {
        let read = match stream.as_mut().map(|it| it.read(buffer)) {
            None => continue,
            Some(Ok(read)) => read,
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
            Some(Err(_)) => 0,
        };
        match buffer.get(..read) {
            Some([]) | None => *stream = None,
            Some(bytes) => lines.take(bytes, &now, &mut entries),
        }
    }
    log.append(&entries);
    Ok(false)
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}
