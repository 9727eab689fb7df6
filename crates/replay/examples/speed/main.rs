//! How fast, and in how much memory, as Markdown.
//!
//! `cargo run --release -p supple-replay --example speed -- [PATH/TO/supple [DAYS]]` measures the recommender by itself, makes recordings
//! in the folder for temporary files (3 GB for the longest) and replays them with that program. With `DAYS` it makes one recording
//! of so many days in the order of time, and replays that with the defaults, three times. `cargo xtask tables` has both, into the pages.

#[path = "../recording/rows.rs"]
mod rows;

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rows::{Extent, dice};
use supple_recommend::policy::Policy;
use supple_recommend::sample::{Sample, amount};
use supple_recommend::state::{Cursor, State};

/// Options, and what they mean.
static RUNS: [(&[&str], &str); 3] = [
    (&["--against", "none", "--no-bound"], "our own judgement alone"),
    (&["--no-bound"], "against vpa"),
    (&[], "against vpa, with the bound (the default)"),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    recommender();
    let Some(program) = std::env::args().nth(1) else { return Ok(()) };
    let days = std::env::args().nth(2).map(|it| it.parse()).transpose()?;
    let folder = std::env::temp_dir().join(format!("supple-speed-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let program = Path::new(&program);
    let measured = match days {
        None => [(1, false), (30, false), (1, true), (30, true)].iter().try_for_each(|(days, by_pod)| {
            let runs = if *by_pod { &RUNS[1..2] } else { &RUNS[..] };
            replays(program, &folder, (*days, *by_pod), runs)
        }),
        Some(days) => replays(program, &folder, (days, false), &[RUNS[2]; 3]),
    };
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn recommender() {
    let policy = Policy::default();
    let samples: Vec<Sample> = (0..7 * 1440)
        .map(|minute| Sample {
            time: minute * 60,
            cpu: Some(500.0 + 300.0 * (amount(minute) / 229.0).sin() + 200.0 * dice(0, minute, 1)),
            memory: Some(8e8 + 2e8 * dice(0, minute, 2)),
            ..Sample::default()
        })
        .collect();
    let mut states = Vec::new();
    let begin = on_the_processor();
    for _ in 0..1000 {
        let (mut state, mut cursor) = (State::default(), Cursor::default());
        for sample in &samples {
            state.observe(&mut cursor, sample, &policy);
        }
        states.push(state);
    }
    let taken = on_the_processor() - begin;
    let count = 1000.0 * amount(i64::try_from(samples.len()).unwrap_or(0));
    println!("### The recommender by itself\n\n| | measured | aim |\n|---|---|---|");
    println!(
        "| samples taken in by the recommender, a second and core | {:.1} million | ≥ 5 million |",
        count / taken / 1e6
    );
    let begin = on_the_processor();
    let mut sum = 0_i64;
    for i in 0..100_000 {
        let which = i % states.len();
        let advice = states[which].advise(&policy, (Some(900), Some(1 << 30)));
        sum = sum.wrapping_add(advice.cpu.map_or(0, |it| it.request));
    }
    let taken = on_the_processor() - begin;
    println!("| 100,000 full recommendations on one core | {taken:.2} s | < 1 s |");
    assert!(sum != 0, "advice is given");
}

/// Seconds this thread was on a processor: what others run meanwhile does not count.
fn on_the_processor() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split_whitespace().next().and_then(|it| it.parse::<i64>().ok());
    amount(nanos.expect("the kernel tells how long a thread ran")) / 1e9
}

/// One recording, and so many replays of it.
fn replays(
    program: &Path,
    folder: &Path,
    (days, by_pod): (i64, bool),
    runs: &[(&[&str], &str)],
) -> Result<(), Box<dyn std::error::Error>> {
    let path = folder.join("recording.csv");
    let extent = Extent { days, containers: 1000, seconds: 60, by_pod };
    let rows = rows::write(&mut BufWriter::with_capacity(1 << 20, File::create(&path)?), &extent)?;
    let order = if by_pod { "one pod after another" } else { "in the order of time" };
    println!("\n### 1,000 containers, {days} days, {order}\n");
    println!("{:.1} million rows.\n", amount(rows) / 1e6);
    println!("| replayed | seconds | CPU seconds | memory |\n|---|---|---|---|");
    for (options, meaning) in runs {
        let run = measure(Command::new(program).arg("replay").args(*options).args(["-o", "csv"]).arg(&path))?;
        println!(
            "| {meaning} | {:.1} | {:.1} | {} MiB |",
            run.wall.as_secs_f64(),
            run.cpu.as_secs_f64(),
            run.peak >> 20,
        );
    }
    std::fs::remove_file(&path)?;
    Ok(())
}

struct Run {
    wall: Duration,
    cpu: Duration,
    /// Bytes.
    peak: u64,
}

/// Runs a program to its end and asks the kernel now and again what it took.
#[expect(clippy::disallowed_methods, reason = "what a program takes is looked at now and again; growing is no event")]
fn measure(command: &mut Command) -> Result<Run, Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let (mut peak, mut ticks) = (0, 0);
    loop {
        if let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", child.id())) {
            let kibibytes =
                status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(|it| it.trim_end_matches("kB"));
            peak = kibibytes.and_then(|it| it.trim().parse::<u64>().ok()).map_or(peak, |it| it << 10);
        }
        if let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", child.id())) {
            // After the name in parentheses, user and system time are the 12th and 13th.
            let times = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
            ticks = ticks.max(times.filter_map(|it| it.parse::<u64>().ok()).sum());
        }
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                return Err(format!("the program ended with {status}").into());
            }
            return Ok(Run { wall: begin.elapsed(), cpu: Duration::from_millis(ticks * 10), peak });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
