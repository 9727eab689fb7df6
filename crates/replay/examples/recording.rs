//! A recording of any length on standard output, always the same: the input of the speed measurements.
//!
//! `cargo run --release -p supple-replay --example recording -- [DAYS [CONTAINERS [SECONDS [pods]]]] > recording.csv` (default 30
//! days, 1,000 containers, a sample a minute). Rows come in the order of time, or with `pods` one pod after another.
//! A container's CPU swings with the day, is noisy and has a burst now and then; its memory drifts within the day,
//! grows slowly and falls back at a restart.

use std::io::{BufWriter, Write};

use supple_recommend::sample::amount;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = |default: i64| args.next().map_or(Ok(default), |it| it.parse());
    let (days, containers, seconds) = (next(30)?, next(1000)?, next(60)?.max(1));
    let by_pod = args.next().is_some_and(|it| it == "pods");
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    writeln!(out, "time,namespace,workload,pod,container,cpu_cores,memory_bytes")?;
    let steps = days * 86_400 / seconds;
    if by_pod {
        for container in 0..containers {
            (0..steps).try_for_each(|step| row(&mut out, container, step * seconds))?;
        }
    } else {
        for step in 0..steps {
            (0..containers).try_for_each(|container| row(&mut out, container, step * seconds))?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Four pods make a workload.
fn row(out: &mut impl Write, container: i64, time: i64) -> std::io::Result<()> {
    let (workload, pod) = (container / 4, container % 4);
    let size = 0.5 + dice(workload, 0, 1) * 4.0;
    let phase = dice(workload, 0, 2);
    let day = amount(time) / 86_400.0;
    let swing = 1.0 + 0.5 * ((day - phase) * std::f64::consts::TAU).sin();
    let noise = 0.8 + 0.4 * dice(container, time, 3);
    // A burst of five minutes about six times a day.
    let burst = if dice(container, time / 300, 4) < 0.02 { 2.5 } else { 1.0 };
    let cpu = 0.2 * size * swing * noise * burst;
    // Restarted every one to eleven days, at an hour of its own.
    let life = 1.0 + 10.0 * dice(container, 0, 5);
    let age = (day + life * dice(container, 0, 6)).rem_euclid(life);
    let memory = 2e8 * size * (0.7 + 0.05 * age + 0.1 * swing + 0.03 * dice(container, time / 120, 7));
    writeln!(out, "{time},ns{},app{workload},app{workload}-{pod},main,{cpu:.4},{memory:.0}", workload % 10)
}

/// A number from 0 to 1 that depends on nothing but what is given (SplitMix64's finish).
fn dice(container: i64, time: i64, salt: u64) -> f64 {
    let mixed = container.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ time.cast_unsigned().wrapping_mul(0xD1B5_4A32_D192_ED03)
        ^ salt.wrapping_mul(0x8CB9_2BA7_2F3D_8DD7);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
