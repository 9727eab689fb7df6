//! `cargo xtask vm`: the tests that need a cgroup v2 kernel with cpu and memory, in a small virtual machine that has one.
//!
//! ```text
//!   build the test programs ──▶ initramfs (they, their libraries, the recordings, busybox) ──▶ boot ──▶ verdict
//! ```
//!
//! The machine is emulated, so it runs everywhere, as any user, and nothing of this machine is in its reach. `.ci/vm`
//! fetches the kernel and busybox and calls this.

mod boot;
mod initramfs;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Message, TargetKind};

use self::initramfs::Tree;

/// The tests whose truth only a cgroup v2 kernel knows, by the names of their targets, and how each is called there.
const TESTS: [(&str, &str, &str); 11] = [
    // What passes may have measured something, too.
    ("cgroup_files", "cgroup_files", "--show-output"),
    ("cgroup_kill", "cgroup_kill", "--show-output"),
    ("cgroup_faults", "cgroup_faults", "--show-output"),
    ("process", "process", "--show-output"),
    ("strain", "strain", "--show-output"),
    ("memory_qos", "memory_qos", "--show-output"),
    ("listening", "listening", "--show-output"),
    ("adoption", "adoption", "--show-output"),
    (CONTAINERD, "cri_containerd", "--show-output --skip networks"),
    ("resize_node", "resize_node", "--process"),
    (CONTAINERS, "resize_node", "--cri"),
];

/// The scenarios once more, on containers of this machine's containerd.
const CONTAINERS: &str = "resize_node_cri";

/// What containers do one by one; the machine's kernel has no bridge for networks of their own.
const CONTAINERD: &str = "cri_containerd";

/// What those need in the machine.
const CONTAINER_PROGRAMS: [&str; 5] =
    ["/usr/bin/containerd", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/ctr", "/usr/sbin/runc", "/usr/bin/tar"];

/// Everything takes ten minutes under emulation, and a multiple of it on a small machine that does other work, too. A test
/// that waits in vain gives up by itself long before.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The recordings that the scenarios play.
const RECORDINGS: &str = "resize-node.json";

/// Run the tests, or the one that is named, with the words after it as its filter. A sentence for each that failed.
pub fn run(root: &Path, arguments: &[&str]) -> Result<Vec<String>> {
    let names = || TESTS.iter().map(|(name, ..)| *name);
    let (tests, words) = match arguments {
        [] => (TESTS.to_vec(), &[] as &[&str]),
        [name, words @ ..] if names().any(|it| it == *name) => {
            (TESTS.into_iter().filter(|(it, ..)| it == name).collect(), words)
        }
        [name, ..] => {
            let known: Vec<&str> = names().collect();
            bail!("{name:?} is not run in the virtual machine; known are {}", known.join(", "))
        }
    };
    let place = root.join("target/ci/vm");
    let (kernel, busybox) = (place.join("vmlinuz"), place.join("busybox"));
    let recordings = std::env::var_os("SUPPLE_CONFORMANCE").map_or(root.join("../shared/conformance"), PathBuf::from);
    let recordings = recordings.join(RECORDINGS);
    for (file, origin) in [
        (&kernel, "`.ci/vm` fetches it"),
        (&busybox, "`.ci/vm` fetches it"),
        (&recordings, "SUPPLE_CONFORMANCE says where it is"),
    ] {
        if !file.exists() {
            bail!("{} is missing; {origin}", file.display());
        }
    }

    let targets: BTreeSet<&str> = tests.iter().map(|(_, target, _)| *target).collect();
    let programs = build(root, &targets)?;
    let mark = format!("[supple-vm {}]", std::process::id());
    let mut tree = Tree::default();
    for directory in ["/proc", "/sys", "/dev", "/tmp", "/root", "/usr", "/sbin", "/run", "/var/lib", "/inside"] {
        tree.directory(directory);
    }
    tree.file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", false);
    tree.file("/etc/hosts", "127.0.0.1 localhost\n", false);
    tree.file("/etc/resolv.conf", "", false);
    tree.program(&busybox, "/bin/busybox")?;
    tree.file(
        PathBuf::from("/conformance").join(RECORDINGS),
        fs::read(&recordings).with_context(|| format!("cannot read {}", recordings.display()))?,
        false,
    );
    for program in &programs {
        // At the same place as here: tests know the shim by the path it was built at.
        tree.program(&program.path, &program.path)?;
    }
    if tests.iter().any(|(name, ..)| [CONTAINERS, CONTAINERD].contains(name)) {
        for program in CONTAINER_PROGRAMS.map(Path::new) {
            if !program.exists() {
                bail!(
                    "{} is missing; `. .ci/tools` installs it (Debian packages containerd and runc)",
                    program.display()
                );
            }
            tree.program(program, program)?;
        }
    }
    let mut runs = Vec::new();
    for (name, target, flag) in tests {
        let program = programs.iter().find(|it| it.is_test && it.name == target);
        let path = program.with_context(|| format!("cargo has built no test {target}"))?.path.clone();
        runs.push(Run { name, path, flag });
    }
    tree.file("/init", init(&runs, words, &mark), true);
    let initramfs = place.join("initramfs");
    let out = File::create(&initramfs).with_context(|| format!("cannot write {}", initramfs.display()))?;
    tree.write(BufWriter::new(out)).with_context(|| format!("cannot write {}", initramfs.display()))?;

    let report = boot::boot(&kernel, &initramfs, &mark, &place.join("console.log"), PATIENCE)?;
    Ok(report.problems(runs.iter().map(|it| it.name)))
}

/// A test program as it is called in the machine.
struct Run {
    name: &'static str,
    path: PathBuf,
    flag: &'static str,
}

/// A program that was built.
struct Program {
    name: String,
    path: PathBuf,
    is_test: bool,
}

/// Build the tests and what they start.
fn build(root: &Path, tests: &BTreeSet<&str>) -> Result<Vec<Program>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The whole workspace, of which one kind of target is chosen: its dependencies are then the ones that `cargo test`
    // has built, and not the same with other features.
    cargo.current_dir(root).args(["test", "--workspace", "--no-run", "--locked"]);
    cargo.arg("--message-format=json-render-diagnostics");
    // What cargo told this program about itself would look changed to build scripts that ask for it (`ring` has one), and
    // they and whatever stands on them would be built again.
    for (name, _) in std::env::vars_os() {
        let own = |it: &str| it.starts_with("CARGO_PKG_") || it.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(own) {
            cargo.env_remove(name);
        }
    }
    for test in tests {
        cargo.args(["--test", test]);
    }
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut programs = Vec::new();
    for message in Message::parse_stream(BufReader::new(stdout)) {
        let Message::CompilerArtifact(artifact) = message.context("cannot read what cargo said")? else { continue };
        let Some(path) = artifact.executable else { continue };
        let is_test = artifact.target.kind.contains(&TargetKind::Test);
        programs.push(Program { name: artifact.target.name, path: path.into_std_path_buf(), is_test });
    }
    if !child.wait().context("cannot wait for cargo")?.success() {
        bail!("the tests could not be built");
    }
    Ok(programs)
}

/// What the machine runs as its first process: mounts, then the tests one after the other, and what became of each.
fn init(runs: &[Run], words: &[&str], mark: &str) -> String {
    let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
    let words: Vec<String> = words.iter().map(|it| quoted(it)).collect();
    let words = words.join(" ");
    // A container's root is pivoted into, which the kernel does not allow from the file system that it booted with: the
    // script mounts that over itself, and goes on inside.
    let mut script = String::from(
        "#!/bin/busybox sh\n\
         if [ \"$1\" != inside ]; then\n\
         /bin/busybox mount -o bind / /inside\n\
         cd /inside\n\
         /bin/busybox mount -o move . /\n\
         exec /bin/busybox chroot . /init inside\n\
         fi\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/root RUST_BACKTRACE=1\n\
         export SUPPLE_REQUIRE_ALL=1 SUPPLE_CONFORMANCE=/conformance\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sys /sys\n\
         mount -t devtmpfs dev /dev\n\
         mount -t tmpfs tmp /tmp\n\
         mount -t cgroup2 -o nsdelegate,memory_recursiveprot none /sys/fs/cgroup\n\
         ip link set lo up\n\
         cd /tmp\n",
    );
    for Run { name, path, flag } in runs {
        let path = quoted(&path.display().to_string());
        script.push_str(&format!(
            "echo \"{mark} begin {name} $(cut -d. -f1 /proc/uptime)\"\n{path} {flag} {words}\necho \"{mark} end {name} $?\"\n"
        ));
    }
    script.push_str(&format!("echo '{mark} over'\npoweroff -f\n"));
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_runs_each_test_and_says_how_it_ended() {
        let run = Run { name: "process", path: "/t/process-1".into(), flag: "--show-output" };
        let script = init(&[run], &["it's", "b"], "[m]");
        let expected = "'/t/process-1' --show-output 'it'\\''s' 'b'\necho \"[m] end process $?\"\n";
        assert!(script.contains(expected), "{script}");
        assert!(script.ends_with("echo '[m] over'\npoweroff -f\n"), "{script}");
    }
}
