//! A cluster for a test: `supple up` in a directory of its own, ended with the test.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub const SUPPLE: &str = env!("CARGO_BIN_EXE_supple");

/// How long anything may take that is waited for; far beyond what it takes, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `supple up`.
pub struct Up {
    child: Child,
    /// What it announced, line by line.
    pub announced: Vec<String>,
    /// Its data directory.
    pub data_dir: PathBuf,
    stdout: BufReader<ChildStdout>,
    _own: Option<TempDir>,
}

impl Up {
    /// A cluster in a fresh directory with 2 CPU and 4Gi, nothing resized by itself.
    pub fn new(runtime: &str) -> Self {
        let own = tempfile::tempdir().unwrap();
        let data_dir = own.path().join("data");
        let mut up = Self::start(&data_dir, runtime, &["--no-loop"]);
        up._own = Some(own);
        up
    }

    /// A cluster in `data_dir`; returns when it has announced itself.
    pub fn start(data_dir: &Path, runtime: &str, more: &[&str]) -> Self {
        Self::launch(data_dir, runtime, more, &[])
    }

    /// As [`Self::start`], with environment variables.
    pub fn launch(data_dir: &Path, runtime: &str, more: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = up_command(data_dir, runtime, more);
        command.envs(env.iter().copied());
        Self::run(command, data_dir)
    }

    /// A simulated cluster in `data_dir`.
    pub fn simulated(data_dir: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(SUPPLE);
        command.args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir).args(more);
        Self::run(command, data_dir)
    }

    fn run(mut command: Command, data_dir: &Path) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut announced = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended before it was up: {announced:?}");
            if line.trim().is_empty() {
                break;
            }
            announced.push(line.trim().to_owned());
        }
        Self { child, announced, data_dir: data_dir.to_owned(), stdout, _own: None }
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// `supple ARGS` against it.
    pub fn supple<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        Command::new(SUPPLE).args(args).env("KUBECONFIG", self.kubeconfig()).output().unwrap()
    }

    /// Its kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir.join("kubeconfig")
    }

    /// Lines of its stdout up to the first that contains `part`.
    pub fn read_until(&mut self, part: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "it ended without {part:?}: {lines:#?}");
            lines.push(line.trim_end().to_owned());
            if line.contains(part) {
                return lines;
            }
        }
    }

    /// Ask it to stop and wait for it; what it still printed, and its exit code.
    pub fn stop(mut self) -> (String, Option<i32>) {
        signal(self.pid(), "TERM");
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        (rest, status.code())
    }

    /// kill -9, and wait until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Wait until it has ended by itself; how.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.pid(), "TERM");
            let _ = self.child.wait();
        }
    }
}

/// `supple up` as the tests start it.
pub fn up_command(data_dir: &Path, runtime: &str, more: &[&str]) -> Command {
    let mut command = Command::new(SUPPLE);
    command
        .args(["up", "--listen", "127.0.0.1:0", "--node-name", "node", "--node-capacity", "cpu=2,memory=4Gi,pods=20"])
        .args(["--runtime", runtime, "--data-dir"])
        .arg(data_dir)
        .args(more);
    command
}

/// Send a signal by name to one process.
pub fn signal(pid: i32, name: &str) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap().success());
}

/// stdout of a command that must have succeeded.
#[track_caller]
pub fn good(output: &Output) -> String {
    assert!(output.status.success(), "{:?}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// stderr of a command that must have failed with `code`.
#[track_caller]
pub fn bad(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stderr)
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Something this machine lacks: the test is passed over, or fails where nothing may be passed over.
pub fn lacking(what: &str) {
    assert!(std::env::var_os("SUPPLE_REQUIRE_ALL").is_none(), "this machine lacks {what}, and nothing may be skipped");
    println!("skipped: {what}");
}

/// Stock kubectl with a cluster: `$SUPPLE_KUBECTL`, or the one in the path, from 1.32 on (the first that knows
/// `--subresource resize`). `None`, with a message, where there is none.
pub fn kubectl_program() -> Option<PathBuf> {
    let program = std::env::var_os("SUPPLE_KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from);
    let version = Command::new(&program).args(["version", "--client", "-o", "json"]).output();
    let minor = version.ok().and_then(|it| {
        let version: Value = serde_json::from_slice(&it.stdout).ok()?;
        let minor = version.pointer("/clientVersion/minor")?.as_str()?.trim_end_matches('+').to_owned();
        minor.parse::<u32>().ok()
    });
    if minor.is_some_and(|it| it >= 32) {
        return Some(program);
    }
    lacking("kubectl from version 1.32 on (name one with SUPPLE_KUBECTL)");
    None
}

/// kubectl on a cluster.
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: TempDir,
}

impl Kubectl {
    /// For this cluster; `None` where the machine has no kubectl.
    pub fn of(up: &Up) -> Option<Self> {
        Self::with(&up.kubeconfig())
    }

    /// For whatever this kubeconfig names; `None` where the machine has no kubectl.
    pub fn with(kubeconfig: &Path) -> Option<Self> {
        Some(Self {
            program: kubectl_program()?,
            kubeconfig: kubeconfig.to_owned(),
            home: tempfile::tempdir().unwrap(),
        })
    }

    /// The command, with a discovery cache of its own.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env("KUBECONFIG", &self.kubeconfig).env("HOME", self.home.path());
        command
    }

    /// Run it.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.command(args).output().unwrap()
    }

    /// stdout of a run that must succeed.
    #[track_caller]
    pub fn good<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        good(&self.run(args))
    }

    /// `kubectl get … -o jsonpath=…`.
    #[track_caller]
    pub fn path(&self, object: &str, path: &str) -> String {
        self.good(["get", object, "-o", &format!("jsonpath={path}")])
    }

    /// `kubectl create -f -` of this text.
    #[track_caller]
    pub fn create(&self, manifests: &str) {
        self.reading(["create", "-f", "-"], manifests);
    }

    /// `kubectl apply -f -` of this text, with more flags; what it says.
    #[track_caller]
    pub fn apply(&self, manifests: &str, more: &[&str]) -> String {
        self.reading(["apply", "-f", "-"].iter().chain(more), manifests)
    }

    /// stdout of a run that must succeed, with this text on stdin.
    #[track_caller]
    fn reading<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, text: &str) -> String {
        use std::io::Write as _;
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        good(&child.wait_with_output().unwrap())
    }

    /// Wait until the pod is Ready.
    #[track_caller]
    pub fn ready(&self, pod: &str) {
        self.good(["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=60s"]);
    }

    /// Create a pod with one container `app` and wait until it is Ready.
    #[track_caller]
    pub fn pod(&self, name: &str, resources: &str) {
        self.create(&pod(name, resources));
        self.ready(name);
    }
}

/// A pod with one container `app`; `resources` is YAML in flow style.
pub fn pod(name: &str, resources: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
         containers:\n  - name: app\n    image: registry.example/app:1\n    resources: {resources}\n"
    )
}

/// Try until it succeeds: for what nobody announces.
#[track_caller]
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "never came true: {what}");
        #[expect(clippy::disallowed_methods, reason = "another process is asked again; it announces nothing")]
        std::thread::sleep(Duration::from_millis(50));
    }
}
