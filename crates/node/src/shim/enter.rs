//! Second stage: becomes the container's command. What is done here happens to the container and to nothing else.

use std::convert::Infallible;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::Signal;

use super::record::{Failure, RunDir, Spec, read};
use crate::kernel::{Namespaces, unshare};

/// Join the container's cgroups and namespaces and execute its command. Returns an exit code if that fails; standard
/// input is the pipe on which the reason is told.
pub fn run(dir: &Path) -> i32 {
    // The pipe must close by itself at the moment the command is executed: that is how the other end knows.
    let Ok(report) = fcntl_dupfd_cloexec(io::stdin(), 3) else { return 1 };
    let Err(failure) = enter(&RunDir::new(dir));
    tell(report, &failure);
    1
}

fn tell(report: OwnedFd, failure: &Failure) {
    if let Ok(text) = serde_json::to_vec(failure) {
        // If nobody listens any more there is nobody to tell.
        let _ = fs::File::from(report).write_all(&text);
    }
}

fn enter(dir: &RunDir) -> Result<Infallible, Failure> {
    let machine = |what: &str, error: &dyn std::fmt::Display| Failure {
        by_container: false,
        message: format!("{what}: {error}"),
    };
    let spec: Spec = read(&dir.spec())
        .and_then(|spec| spec.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(|error| machine("read the container's spec", &error))?;

    // Before anything is charged or signalled. The shim's end must be the container's end: a container without a shim
    // would run on with nobody to know how it ends.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| machine("tie the container to its shim", &error))?;
    for path in spec.group.procs_files() {
        write_existing(&path, "0").map_err(|error| machine(&format!("join {}", path.display()), &error))?;
    }
    match write_existing(Path::new("/proc/self/oom_score_adj"), &spec.oom_score_adj.to_string()) {
        // Lowering it takes CAP_SYS_RESOURCE, which root in a container may lack. The order in which the kernel would
        // kill is then not quite the kubelet's; a Guaranteed pod that cannot start at all would be worse.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && spec.oom_score_adj < 0 => {}
        written => written.map_err(|error| machine("set oom_score_adj", &error))?,
    }
    if spec.isolate {
        isolate(&spec.hostname).map_err(|(what, error)| machine(what, &error))?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // The program forbids itself huge pages, which is inherited; a container has what its machine gives. A kernel that knows
    // nothing of it has forbidden nothing.
    let _ = rustix::thread::disable_transparent_huge_pages(false);

    let directory = spec.working_dir.as_deref().unwrap_or("/");
    std::env::set_current_dir(directory).map_err(|error| Failure {
        by_container: true,
        message: format!("chdir to cwd ({directory:?}) set in config.json failed: {}", plain(&error)),
    })?;
    let (program, arguments) = spec.command.split_first().ok_or_else(|| machine("read the spec", &"no command"))?;
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .exec();
    Err(Failure { by_container: true, message: not_executed(program, &error) })
}

/// Own mounts (so that `/proc` can show the own PID namespace) and own host name.
fn isolate(hostname: &str) -> Result<(), (&'static str, Errno)> {
    unshare(Namespaces::MountAndUts).map_err(|e| ("make namespaces", e))?;
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", private).map_err(|e| ("make mounts private", e))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match rustix::mount::mount("proc", "/proc", "proc", flags, None) {
        // Inside another container parts of /proc may be masked, and then the kernel shows nobody an unmasked one. The
        // namespace holds all the same.
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(("mount /proc", error)),
    }
    let name = hostname.as_bytes();
    rustix::system::sethostname(name.get(..64).unwrap_or(name)).map_err(|e| ("set the host name", e))
}

fn write_existing(path: &Path, value: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// What an OCI runtime says when a command cannot be executed.
fn not_executed(program: &str, error: &io::Error) -> String {
    let has_directory = program.contains('/');
    match error.kind() {
        io::ErrorKind::NotFound if !has_directory => format!("exec: {program:?}: executable file not found in $PATH"),
        io::ErrorKind::NotFound => format!("exec: {program:?}: stat {program}: no such file or directory"),
        _ => format!("exec: {program:?}: {}", plain(error)),
    }
}

/// The system's text in lower case and without its number, as programs written in Go print it.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_as_an_oci_runtime_words_them() {
        #[track_caller]
        fn check(program: &str, errno: Errno, expect: &str) {
            assert_eq!(not_executed(program, &errno.into()), expect);
        }
        check("nope", Errno::NOENT, r#"exec: "nope": executable file not found in $PATH"#);
        check("/nope", Errno::NOENT, r#"exec: "/nope": stat /nope: no such file or directory"#);
        check("/etc/passwd", Errno::ACCESS, r#"exec: "/etc/passwd": permission denied"#);
    }
}
