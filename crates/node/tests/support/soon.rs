//! How soon after the kernel tells of something the node does: measured beside it, printed, and not judged.
#![allow(clippy::unwrap_used, reason = "what cannot be measured is a failed test")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::support::PATIENCE;

/// When the kernel next tells whoever waits at this file, with a trigger of its own or without one: asked for beside the
/// node, in the plainest way there is.
pub fn rung(file: &Path, trigger: Option<&str>) -> std::thread::JoinHandle<Instant> {
    let mut file = fs::File::options().read(true).write(trigger.is_some()).open(file).unwrap();
    match trigger {
        Some(trigger) => file.write_all(trigger.as_bytes()).unwrap(),
        // What is in it now is not news.
        None => drop(std::io::read_to_string(&file).unwrap()),
    }
    std::thread::spawn(move || {
        let patience = rustix::event::Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        rustix::event::poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&patience)).unwrap();
        Instant::now()
    })
}

/// How long it took, sorted and summed up: printed, not judged.
pub fn print_latencies(what: &str, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let Some(worst) = latencies.last() else { return println!("{what}: never in time to be measured") };
    let at = |percent: usize| latencies[(latencies.len() * percent).div_ceil(100).max(1) - 1];
    let late = latencies.iter().filter(|it| **it > Duration::from_millis(100)).count();
    let times = latencies.len();
    println!("{what}, {times} times: p50 {:.1?}, p90 {:.1?}, worst {worst:.1?}, {late} over 100 ms", at(50), at(90));
}
