//! The program under measurement: started as anybody would, looked at from outside, ended as a person would.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::wire::{Access, Connection};

/// The program: the one just built, or to hold one against another the one that `SUPPLE_BENCH_PROGRAM` names.
pub static SUPPLE: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::var_os("SUPPLE_BENCH_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_supple").into()).into()
});

/// What the system knows of the process with this number.
#[derive(Clone, Copy, Debug)]
pub struct Figures(pub u32);

impl Figures {
    /// A figure in KiB of its `/proc` status, in MiB.
    fn mebibytes(self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|it| it.split_whitespace().next()?.parse::<u32>().ok());
        f64::from(kib.expect("the program has not ended")) / 1024.0
    }

    /// Memory it holds, MiB.
    pub fn memory(self) -> f64 {
        self.mebibytes("VmRSS")
    }

    /// The most it has held, MiB.
    pub fn most_memory(self) -> f64 {
        self.mebibytes("VmHWM")
    }

    /// CPU time it has used: fields 14 and 15 of its `stat`, in hundredths of a second.
    pub fn cpu_time(self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum::<u64>();
        Duration::from_millis(ticks * 10)
    }
}

/// A running `supple up`.
pub struct Program {
    child: Child,
    data_dir: PathBuf,
    /// From before it was started to when it had announced that its API answers and its nodes are registered.
    pub started_in: Duration,
}

impl Program {
    /// Start it and wait until it says that it is up.
    pub fn start(data_dir: &Path, more: &[&str]) -> Self {
        let began = Instant::now();
        let mut child = Command::new(&*SUPPLE)
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        // It announces itself in a paragraph; the rest goes nowhere.
        let up = lines.by_ref().any(|line| line.is_ok_and(|line| line.trim().is_empty()));
        assert!(up, "it ended before it was up");
        let started_in = began.elapsed();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, data_dir: data_dir.to_owned(), started_in }
    }

    /// How to get in.
    pub fn access(&self) -> Access {
        Access::of(&self.data_dir)
    }

    /// A connection to it.
    pub async fn connect(&self) -> Connection {
        Connection::open(&self.access()).await
    }

    /// What the system knows of its process.
    pub fn figures(&self) -> Figures {
        Figures(self.child.id())
    }

    /// How much of one core it takes while nobody asks it anything, percent, over this time.
    pub async fn idle_cpu(&self, over: Duration) -> f64 {
        let before = self.figures().cpu_time();
        tokio::time::sleep(over).await;
        self.figures().cpu_time().saturating_sub(before).as_secs_f64() / over.as_secs_f64() * 100.0
    }

    /// Wait until no pod is anything but running, and there are this many.
    pub async fn all_run(&self, pods: usize) {
        let mut connection = self.connect().await;
        loop {
            let path = "/api/v1/pods?fieldSelector=status.phase!%3DRunning&limit=1";
            connection.get(path).await;
            let none_waits = items(connection.body()) == 0;
            if none_waits {
                connection.get("/api/v1/pods?fieldSelector=status.phase%3DRunning&limit=1").await;
                let list: serde_json::Value = serde_json::from_slice(connection.body()).unwrap_or_default();
                // With a selector the server does not count what is left.
                let any = list["items"].as_array().is_some_and(|it| !it.is_empty());
                if any && self.count(&mut connection).await == pods {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn count(&self, connection: &mut Connection) -> usize {
        connection.get("/api/v1/pods?limit=1").await;
        let list: serde_json::Value = serde_json::from_slice(connection.body()).unwrap_or_default();
        let rest = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
        items(connection.body()) + usize::try_from(rest).unwrap_or(0)
    }

    /// Ask it to stop, and wait until it has.
    pub fn stop(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|it| it.success()), "the program has ended by itself");
        assert!(self.child.wait().expect("it is ours").success(), "it ends in order");
    }
}

fn items(list: &[u8]) -> usize {
    let list: serde_json::Value = serde_json::from_slice(list).unwrap_or_default();
    list["items"].as_array().map_or(0, Vec::len)
}
