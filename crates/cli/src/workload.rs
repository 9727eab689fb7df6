//! The demonstration's workloads, played by the program itself (`supple workload KIND`), so that `up --demo` needs no
//! image and no other program: real CPU time, real memory, nothing simulated.

use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use clap::ValueEnum;

/// What to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A little CPU and memory, always the same.
    Steady,
    /// Memory that grows to a ceiling and stays there.
    Growing,
    /// Long quiet, then a burst of CPU, again and again.
    Bursts,
    /// Next to nothing.
    Idle,
    /// Next to nothing until its memory limit is lowered, then more than that.
    Fragile,
    /// A lot of memory, always.
    Hoarder,
    /// Nothing at all: what runs where a container names no command.
    StandIn,
}

/// One period of the duty cycle. Shorter than the kernel's own 100 ms CFS period would be lost in it.
const PERIOD: Duration = Duration::from_millis(200);

/// Play `kind` until SIGTERM or SIGINT, then exit with 0.
///
/// The signal is awaited explicitly: the first process of a PID namespace gets no default action for SIGTERM, and a
/// workload that ignored it would be killed only after the whole grace period.
pub fn play(kind: Kind) -> std::io::Result<()> {
    say(&format!(
        "{} workload started",
        kind.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
    ));
    std::thread::spawn(move || match kind {
        Kind::Steady => steady(),
        Kind::Growing => growing(),
        Kind::Bursts => bursts(),
        Kind::Idle => idle(),
        Kind::Fragile => fragile(),
        Kind::Hoarder => hoarder(),
        Kind::StandIn => {}
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        say("asked to stop");
        Ok(())
    })
}

/// A line for the container's log. Nobody may be reading it any more, and that is no reason to end.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn steady() {
    let held = hold(72 << 20);
    loop {
        burn(PERIOD, 10);
        black_box(&held);
    }
}

fn growing() {
    let mut held = Vec::new();
    loop {
        if held.len() < 256 {
            held.push(hold(1 << 20)); // a MiB a second up to 256 MiB: its first limit lasts two minutes
            if held.len() % 20 == 0 {
                say(&format!("holding {} MiB", held.len()));
            }
        }
        evenly(Duration::from_secs(1), 2);
        black_box(&held);
    }
}

fn bursts() {
    loop {
        say("quiet");
        for _ in 0..75 {
            burn(PERIOD, 2);
        }
        say("burst");
        for _ in 0..100 {
            burn(PERIOD, 70);
        }
    }
}

fn idle() {
    loop {
        evenly(Duration::from_secs(1), 1);
    }
}

/// The longest time that is waited to be shrunk, in seconds; and where that cannot be seen.
const PATIENCE: u32 = 100;
const UNSEEN: u32 = 60;

fn fragile() {
    let first = memory_limit();
    let mut waited = 0;
    let patience = if first.is_some() { PATIENCE } else { UNSEEN };
    while waited < patience && memory_limit() >= first {
        evenly(Duration::from_secs(1), 1);
        waited += 1;
    }
    for _ in 0..4 {
        evenly(Duration::from_secs(1), 1); // so that it is seen running with what it was given
    }
    say("now it needs 220 MiB");
    let held = hold(220 << 20);
    loop {
        evenly(Duration::from_secs(1), 1);
        black_box(&held);
    }
}

/// The memory limit this process runs under, as its cgroup has it; `None` where that cannot be read.
fn memory_limit() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let file = match controllers {
            "" => format!("/sys/fs/cgroup{path}/memory.max"),
            it if it.split(',').any(|it| it == "memory") => {
                format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")
            }
            _ => return None,
        };
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    })
}

fn hoarder() {
    let held = hold(280 << 20);
    loop {
        evenly(Duration::from_secs(1), 1);
        black_box(&held);
    }
}

/// Memory that is really there: every page is written once.
fn hold(bytes: usize) -> Vec<u8> {
    let mut block = vec![0_u8; bytes];
    for page in block.chunks_mut(4096) {
        page[0] = 1;
    }
    black_box(block)
}

/// The same for longer, a little in each period: all of a second's work at its beginning would run into a small limit, and be
/// throttled by it though it needs no more.
fn evenly(time: Duration, percent: u32) {
    for _ in 0..time.as_millis() / PERIOD.as_millis() {
        burn(PERIOD, percent);
    }
}

/// Use `percent` of one core's time for about `period`: CPU time, not time on the clock, so that a busy machine or a
/// limit does not make a workload look smaller than it is.
fn burn(period: Duration, percent: u32) {
    let began = Instant::now();
    let until = cpu_time() + period * percent / 100;
    let mut x = 1_u64;
    while cpu_time() < until {
        for _ in 0..1000 {
            x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    #[expect(clippy::disallowed_methods, reason = "sleeping is what a workload does between its bursts of work")]
    std::thread::sleep(period.saturating_sub(began.elapsed()));
}

/// CPU time this thread has used.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |it: i64| u64::try_from(it).unwrap_or_default(); // a thread's time is never negative
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
