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

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Message, TargetKind};

use self::initramfs::Tree;

/// The tests whose truth only a cgroup v2 kernel knows, by the names of their targets.
const TESTS: [&str; 8] =
    ["cgroup_files", "cgroup_kill", "process", "strain", "memory_qos", "listening", "adoption", "resize_node"];

/// Everything takes a few minutes under emulation on a small machine that does other work, too.
const PATIENCE: Duration = Duration::from_secs(900);

/// The recordings that the scenarios play.
const RECORDINGS: &str = "resize-node.json";

/// Run the tests, or the one that is named, with the words after it as its filter. A sentence for each that failed.
pub fn run(root: &Path, arguments: &[&str]) -> Result<Vec<String>> {
    let (tests, words) = match arguments {
        [] => (TESTS.to_vec(), [].as_slice()),
        [name, words @ ..] if TESTS.contains(name) => (vec![*name], words),
        [name, ..] => bail!("{name:?} is not run in the virtual machine; known are {}", TESTS.join(", ")),
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

    let programs = build(root, &tests)?;
    let mark = format!("[supple-vm {}]", std::process::id());
    let mut tree = Tree::default();
    for directory in ["/proc", "/sys", "/dev", "/tmp", "/root", "/usr", "/sbin"] {
        tree.directory(directory);
    }
    tree.file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", false);
    tree.file("/etc/hosts", "127.0.0.1 localhost\n", false);
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
    let tests: Vec<&Program> = programs.iter().filter(|it| it.is_test).collect();
    tree.file("/init", init(&tests, words, &mark), true);
    let initramfs = place.join("initramfs");
    let out = File::create(&initramfs).with_context(|| format!("cannot write {}", initramfs.display()))?;
    tree.write(BufWriter::new(out)).with_context(|| format!("cannot write {}", initramfs.display()))?;

    let report = boot::boot(&kernel, &initramfs, &mark, &place.join("console.log"), PATIENCE)?;
    Ok(report.problems(tests.iter().map(|it| it.name.as_str())))
}

/// A program that was built.
struct Program {
    name: String,
    path: PathBuf,
    is_test: bool,
}

/// Build the tests and what they start.
fn build(root: &Path, tests: &[&str]) -> Result<Vec<Program>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The whole workspace, of which one kind of target is chosen: its dependencies are then the ones that `cargo test`
    // has built, and not the same with other features.
    cargo.current_dir(root).args(["test", "--workspace", "--no-run", "--locked"]);
    cargo.arg("--message-format=json-render-diagnostics");
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
    let order = |program: &Program| tests.iter().position(|test| *test == program.name);
    programs.sort_by_key(order);
    Ok(programs)
}

/// What the machine runs as its first process: mounts, then the tests one after the other, and what became of each.
fn init(tests: &[&Program], words: &[&str], mark: &str) -> String {
    let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
    let words: Vec<String> = words.iter().map(|it| quoted(it)).collect();
    let words = words.join(" ");
    let mut script = String::from(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/bin:/sbin HOME=/root RUST_BACKTRACE=1\n\
         export SUPPLE_REQUIRE_ALL=1 SUPPLE_CONFORMANCE=/conformance\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sys /sys\n\
         mount -t devtmpfs dev /dev\n\
         mount -t tmpfs tmp /tmp\n\
         mount -t cgroup2 -o nsdelegate,memory_recursiveprot none /sys/fs/cgroup\n\
         ip link set lo up\n\
         cd /tmp\n",
    );
    for test in tests {
        let Program { name, path, .. } = test;
        // Containers of containerd need more than there is in the machine.
        let flag = if name == "resize_node" { "--process" } else { "--show-output" };
        let path = quoted(&path.display().to_string());
        // What passes may have measured something, too.
        script.push_str(&format!("echo '{mark} begin {name}'\n{path} {flag} {words}\necho \"{mark} end {name} $?\"\n"));
    }
    script.push_str(&format!("echo '{mark} over'\npoweroff -f\n"));
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_runs_each_test_and_says_how_it_ended() {
        let program = Program { name: "process".into(), path: "/t/process-1".into(), is_test: true };
        let script = init(&[&program], &["it's", "b"], "[m]");
        let expected =
            "echo '[m] begin process'\n'/t/process-1' --show-output 'it'\\''s' 'b'\necho \"[m] end process $?\"\n";
        assert!(script.contains(expected), "{script}");
        assert!(script.ends_with("echo '[m] over'\npoweroff -f\n"), "{script}");
    }
}
