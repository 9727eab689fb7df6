//! The rows of a made recording: the same for the same numbers, whatever else is written.
//!
//! A container's CPU swings with the day, is noisy and has a burst of five minutes now and then; its memory drifts within the
//! day, grows slowly and falls back at a restart.

use std::io::{self, Write};

use supple_recommend::sample::amount;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Days.
    pub days: i64,
    /// Containers; four pods make a workload.
    pub containers: i64,
    /// Seconds between two samples.
    pub seconds: i64,
    /// One pod after another, instead of in the order of time.
    pub by_pod: bool,
}

/// Writes all of it, and tells how many rows that are.
pub fn write(out: &mut impl Write, extent: &Extent) -> io::Result<i64> {
    writeln!(out, "time,namespace,workload,pod,container,cpu_cores,memory_bytes")?;
    let Extent { days, containers, seconds, by_pod } = *extent;
    let steps = days * 86_400 / seconds.max(1);
    if by_pod {
        for container in 0..containers {
            (0..steps).try_for_each(|step| row(out, container, step * seconds))?;
        }
    } else {
        for step in 0..steps {
            (0..containers).try_for_each(|container| row(out, container, step * seconds))?;
        }
    }
    out.flush()?;
    Ok(steps * containers)
}

fn row(out: &mut impl Write, container: i64, time: i64) -> io::Result<()> {
    let (workload, pod) = (container / 4, container % 4);
    let size = 0.5 + dice(workload, 0, 1) * 4.0;
    let phase = dice(workload, 0, 2);
    let day = amount(time) / 86_400.0;
    let swing = 1.0 + 0.5 * ((day - phase) * std::f64::consts::TAU).sin();
    let noise = 0.8 + 0.4 * dice(container, time, 3);
    let burst = if dice(container, time / 300, 4) < 0.01 { 2.0 } else { 1.0 };
    let cpu = 0.2 * size * swing * noise * burst;
    // Restarted every one to eleven days, at an hour of its own.
    let life = 1.0 + 10.0 * dice(container, 0, 5);
    let age = (day + life * dice(container, 0, 6)).rem_euclid(life);
    let memory = 2e8 * size * (0.7 + 0.05 * age + 0.1 * swing + 0.03 * dice(container, time / 120, 7));
    writeln!(out, "{time},ns{},app{workload},app{workload}-{pod},main,{cpu:.4},{memory:.0}", workload % 10)
}

/// A number from 0 to 1 that depends on nothing but what is given (SplitMix64's finish).
pub fn dice(series: i64, time: i64, salt: u64) -> f64 {
    let mixed = series.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ time.cast_unsigned().wrapping_mul(0xD1B5_4A32_D192_ED03)
        ^ salt.wrapping_mul(0x8CB9_2BA7_2F3D_8DD7);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
