//! A containerd of the test's own: its configuration, images, state and socket in a temporary directory, stopped by its
//! PID, and nothing left of what ran in it. Images are made of `busybox-static`, because there is no registry.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than it takes to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a test must find installed.
const PROGRAMS: [&str; 5] = ["containerd", "ctr", "runc", "tar", "sha256sum"];
const BUSYBOX: &str = "/bin/busybox";
/// Where Debian installs the plugins that make pods' networks.
const PLUGINS: &str = "/usr/lib/cni";
/// The network of its pods where they have one: addresses of theirs begin with this.
pub const SUBNET: &str = "10.213.7.";
/// The image that tests run.
pub const IMAGE: &str = "docker.io/library/busybox:1.35";
/// What keeps a sandbox alive.
const PAUSE: &str = "supple.test/pause:1";

/// A running containerd.
#[derive(Debug)]
pub struct Containerd {
    dir: tempfile::TempDir,
    child: Child,
}

impl Containerd {
    /// Start one with both images; `Err` says what this machine lacks.
    pub fn start() -> Result<Self, String> {
        Self::with(false)
    }

    /// Likewise, whose pods have networks of their own. It is in one itself, so that the bridge it makes goes with it.
    pub fn start_with_network() -> Result<Self, String> {
        for plugin in ["bridge", "host-local", "loopback"] {
            let plugin = Path::new(PLUGINS).join(plugin);
            if !plugin.exists() {
                let plugin = plugin.display();
                return Err(format!(
                    "{plugin} is not installed (apt-get install containernetworking-plugins iproute2)"
                ));
            }
        }
        run(Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]))?;
        Self::with(true)
    }

    fn with(network: bool) -> Result<Self, String> {
        possible()?;
        let dir = tempfile::Builder::new().prefix("supple-cri-").tempdir().map_err(|it| it.to_string())?;
        let archive = images(dir.path())?;
        fs::write(dir.path().join("config.toml"), config(dir.path())).map_err(|it| it.to_string())?;
        if network {
            let cni = dir.path().join("cni");
            fs::create_dir(&cni).map_err(|it| it.to_string())?;
            fs::write(cni.join("10-test.conflist"), bridge(dir.path())).map_err(|it| it.to_string())?;
        }
        let child = launch(dir.path())?;
        let containerd = Self { dir, child };
        containerd.answers()?;
        containerd.ctr(&["images", "import", "--snapshotter", "native", &archive.display().to_string()])?;
        Ok(containerd)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        socket(self.dir.path())
    }

    /// Whether its runc makes a container's weight of its shares by the curve of 2025, and not linearly as before.
    pub fn weighs_by_the_curve(&self) -> bool {
        let said = run(Command::new("runc").arg("--version")).unwrap_or_default();
        let version = said.split_whitespace().nth(2).unwrap_or_default();
        let mut numbers = version.split(|it: char| !it.is_ascii_digit()).map_while(|it| it.parse::<u32>().ok());
        let mut number = || numbers.next().unwrap_or(0);
        (number(), number(), number()) >= (1, 3, 2)
    }

    /// End it as a crash would, and start it again; what it runs goes on meanwhile.
    pub fn restart(&mut self) -> Result<(), String> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(|it| it.to_string())?;
        self.child = launch(self.dir.path())?;
        self.answers()
    }

    /// How many containers it has, sandboxes among them.
    pub fn containers(&self) -> usize {
        self.ctr(&["containers", "ls", "-q"]).unwrap_or_default().lines().count()
    }

    /// Addresses that are given to pods now, where they have networks of their own.
    pub fn addresses(&self) -> Vec<String> {
        let given = fs::read_dir(self.dir.path().join("addresses/test")).into_iter().flatten().flatten();
        let names = given.map(|it| it.file_name().to_string_lossy().into_owned());
        let mut addresses: Vec<String> = names.filter(|it| it.starts_with(SUBNET)).collect();
        addresses.sort_unstable();
        addresses
    }

    fn answers(&self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        // Nobody announces that it listens; asking is a process of its own and takes long enough.
        while let Err(said) = self.ctr(&["version"]) {
            if Instant::now() > end {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(format!("containerd does not answer: {said}; its log ends with {last:#?}"));
            }
        }
        Ok(())
    }

    /// Ask it what the CRI does not know.
    pub fn ctr(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(self.socket()).args(["-n", "k8s.io"]).args(words);
        run(&mut command)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // What a failed test left running, so that no shim outlives it.
        for task in self.ctr(&["tasks", "ls", "-q"]).unwrap_or_default().lines() {
            let _ = self.ctr(&["tasks", "rm", "-f", task]);
        }
        for container in self.ctr(&["containers", "ls", "-q"]).unwrap_or_default().lines() {
            let _ = self.ctr(&["containers", "rm", container]);
        }
        let _ = run(Command::new("kill").arg(self.child.id().to_string()));
        let _ = self.child.wait();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let inside = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
        for mount in inside.filter(|it| it.starts_with(self.dir.path())) {
            let _ = run(Command::new("umount").arg("-l").arg(mount));
        }
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("containerd.sock")
}

/// What this machine lacks, if anything.
fn possible() -> Result<(), String> {
    let missing = |name: &&&str| run(Command::new("which").arg(name)).is_err();
    if let Some(name) = PROGRAMS.iter().find(missing) {
        return Err(format!("{name} is not installed (apt-get install containerd runc busybox-static)"));
    }
    let own = fs::read(BUSYBOX).map_err(|it| format!("{BUSYBOX}: {it} (apt-get install busybox-static)"))?;
    // A dynamic one names its loader, which the image does not have.
    let is_static = !own.windows(10).any(|it| it == b"/ld-linux-" || it == b"/lib64/ld-");
    is_static.then_some(()).ok_or_else(|| format!("{BUSYBOX} is not static (apt-get install busybox-static)"))
}

fn launch(dir: &Path) -> Result<Child, String> {
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).map_err(|it| it.to_string())?;
    let mut command = match dir.join("cni").exists() {
        true => {
            let mut inside = Command::new("unshare");
            inside.args(["--net", "containerd"]);
            inside
        }
        false => Command::new("containerd"),
    };
    command.arg("--config").arg(dir.join("config.toml")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map_err(|it| format!("containerd cannot be started: {it}"))
}

/// `restrict_oom_score_adj`: tests may run without CAP_SYS_RESOURCE. `native`: in a container there may be no overlayfs.
fn config(dir: &Path) -> String {
    let dir_ = dir.display();
    let socket = socket(dir);
    let socket = socket.display();
    format!(
        r#"version = 2
root = "{dir_}/root"
state = "{dir_}/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{dir_}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{dir_}/cni"
"#
    )
}

/// What the plugins are told: a bridge, and addresses that are written down in a directory of the test's own.
fn bridge(dir: &Path) -> String {
    serde_json::json!({
        "cniVersion": "0.4.0", "name": "test",
        "plugins": [{
            "type": "bridge", "bridge": "supple-test", "isGateway": true, "ipMasq": false,
            "ipam": { "type": "host-local", "dataDir": dir.join("addresses"), "ranges": [[{ "subnet": format!("{SUBNET}0/24") }]] },
        }],
    })
    .to_string()
}

/// The names that the image has of busybox: those the tests call. All four hundred would be copied for every container.
const NAMES: [&str; 17] = [
    "sh", "sleep", "cat", "dd", "echo", "grep", "head", "hostname", "ip", "nc", "pwd", "rm", "sort", "tail", "tr",
    "true", "test",
];

/// An archive with both images, of one layer: busybox under some of its names.
fn images(dir: &Path) -> Result<PathBuf, String> {
    let failed = |it: std::io::Error| it.to_string();
    let root = dir.join("image");
    for name in ["bin", "tmp", "proc", "sys", "dev", "etc"] {
        fs::create_dir_all(root.join(name)).map_err(failed)?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).map_err(failed)?;
    for name in NAMES {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).map_err(failed)?;
    }
    let archive = dir.join("archive");
    fs::create_dir(&archive).map_err(failed)?;
    let layer = archive.join("layer.tar");
    run(Command::new("tar").args(["-C"]).arg(&root).args(["--owner=0", "--group=0", "-cf"]).arg(&layer).arg("."))?;
    let digest = run(Command::new("sha256sum").arg(&layer))?;
    let digest = digest.split(' ').next().unwrap_or_default();
    let mut manifest = Vec::new();
    for (number, (name, command)) in [(IMAGE, ["sh", "-i"]), (PAUSE, ["sleep", "2147483647"])].into_iter().enumerate() {
        let config = serde_json::json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
            "config": { "Cmd": command, "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        });
        let file = format!("config-{number}.json");
        fs::write(archive.join(&file), config.to_string()).map_err(failed)?;
        manifest.push(serde_json::json!({ "Config": file, "RepoTags": [name], "Layers": ["layer.tar"] }));
    }
    fs::write(archive.join("manifest.json"), serde_json::Value::from(manifest).to_string()).map_err(failed)?;
    let tar = dir.join("images.tar");
    run(Command::new("tar").arg("-C").arg(&archive).arg("-cf").arg(&tar).arg("."))?;
    Ok(tar)
}

/// What a program prints; `Err`: what it complains about.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|it| format!("{command:?}: {it}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
