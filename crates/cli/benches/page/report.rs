//! The page: tables of what was measured, what was aimed at, and how it was measured; and the machine they are of.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::load::median;

/// What a figure should be, what it is, and its unit.
pub enum Aim {
    /// Nobody has said.
    None,
    /// No more than.
    AtMost(f64, f64, &'static str),
    /// No less than.
    AtLeast(f64, f64, &'static str),
}

/// The page as it grows; what it says is told on stderr, too, because the whole takes minutes.
pub struct Page(String);

impl Page {
    /// One about this machine.
    pub fn new(machine: &str) -> Self {
        let mut text = String::from("# Benchmarks\n\n");
        text.push_str(
            "Written by `cargo xtask bench`, which builds what is shipped (`cargo build --profile dist`), runs it, and measures it\n\
             over the socket, like any client. Figures differ between machines: to judge a change, run it before and after on the\n\
             same machine. Nothing here is a test.\n\n",
        );
        let _ = writeln!(text, "Measured on {machine}.");
        Self(text)
    }

    /// A table about something.
    pub fn part(&mut self, title: &str, about: &str) {
        eprintln!("{title}");
        let _ = write!(self.0, "\n## {title}\n\n{about}\n\n| what | measured | aim | how |\n|---|---|---|---|\n");
    }

    /// A line of the table.
    pub fn row(&mut self, what: &str, measured: &str, aim: Aim, how: &str) {
        let aim = match aim {
            Aim::None => "–".to_owned(),
            Aim::AtMost(most, is, unit) => format!("≤ {most} {unit}{}", missed(is > most)),
            Aim::AtLeast(least, is, unit) => format!("≥ {least} {unit}{}", missed(is < least)),
        };
        eprintln!("  {what}: {measured} (aim {aim})");
        let _ = writeln!(self.0, "| {what} | {measured} | {aim} | {how} |");
    }

    /// The whole.
    pub fn text(&self) -> &str {
        &self.0
    }
}

fn missed(is_missed: bool) -> &'static str {
    if is_missed { ", **missed**" } else { "" }
}

/// The machine in a sentence: processor, cores, memory, kernel, and how long the disk takes to flush.
pub fn machine(dir: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|it| it.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, it)| it);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = read("/proc/meminfo");
    let memory =
        memory.lines().find_map(|it| it.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    format!(
        "{cores} cores ({}), {} GiB, Linux {}, a disk that takes {:.2} ms to flush 4 KiB; load {load} when it began",
        model.trim(),
        memory.unwrap_or(0) >> 20,
        kernel.trim(),
        flush(dir).as_secs_f64() * 1000.0
    )
}

/// The median time of an appended page and its flush.
fn flush(dir: &Path) -> Duration {
    let mut file = fs::File::create(dir.join("flush")).expect("the directory is writable");
    let times = (0..100).map(|_| {
        let began = Instant::now();
        file.write_all(&[0; 4096]).and_then(|()| file.sync_data()).expect("the directory is writable");
        began.elapsed()
    });
    median(times.collect()).0
}
