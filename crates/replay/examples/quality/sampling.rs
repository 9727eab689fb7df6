//! What the fast path saves at each sampling interval, on a made recording of every second.
//!
//! Recordings at hand have a sample a minute at best, and what happens within a minute is the question. So sixteen services of
//! six days are made, second by second: their memory swings a little, and every second day or so it surges by a quarter to
//! its double within ten seconds, a minute, five minutes or half an hour (equally often), stays there for twenty minutes to two
//! hours and falls back. Every second is judged; the strategy sees every nth.

use supple_recommend::policy::Policy;
use supple_recommend::sample::{OutOfMemory, Sample, Size, amount};
use supple_recommend::strategy::Strategy;
use supple_recommend::supple::Supple;
use supple_replay::figures::Figures;

use crate::rows::dice;

const SERVICES: i64 = 16;
const DAYS: i64 = 6;
const DAY: i64 = 86_400;

/// A surge begins at most once an hour.
const SLOT: i64 = 3600;

/// The table.
pub fn table() {
    println!("\n### What the fast path saves, by sampling interval\n");
    println!(
        "Memory of {SERVICES} made services, {DAYS} days of seconds (how: the head of `examples/quality/sampling.rs`); the first day is learning time.\n"
    );
    println!(
        "| interval | kills a day and service without the fast path | with it | saved | footprint without | with |\n|---|---|---|---|---|---|"
    );
    for interval in [1, 15, 60, 300] {
        let of = |reflexes| {
            let mut total = Figures::default();
            let policy = Policy { reflexes, ..Policy::default() };
            let services: Vec<Figures> = std::thread::scope(|scope| {
                let parts: Vec<_> =
                    (0..SERVICES).map(|service| scope.spawn(move || judge(service, interval, policy))).collect();
                parts.into_iter().filter_map(|part| part.join().ok()).collect()
            });
            services.iter().for_each(|it| total.add(it));
            total
        };
        let (slow, fast) = (of(false), of(true));
        let footprint = |it: &Figures| it.footprint().unwrap_or(f64::NAN);
        println!(
            "| {interval} s | {:.3} | {:.3} | {} of {} | {:.2} | {:.2} |",
            slow.events_per_day(),
            fast.events_per_day(),
            i128::from(slow.events) - i128::from(fast.events),
            slow.events,
            footprint(&slow),
            footprint(&fast)
        );
    }
}

fn judge(service: i64, interval: i64, policy: Policy) -> Figures {
    let mut strategy = Supple::new(policy);
    let mut figures = Figures::default();
    let mut size = Size::default();
    for time in 0..DAYS * DAY {
        let used = memory(service, time);
        let before = figures.in_event;
        if let (Some(limit), true) = (size.memory_limit, time >= DAY) {
            figures.judge(used, limit.0, 1.0 / 3600.0);
            if figures.in_event && !before {
                let kill =
                    OutOfMemory { time, limit: Some(limit), request: size.memory_request, peak: Some(amount(limit.0)) };
                strategy.out_of_memory(0, &kill);
                size = strategy.size(0, time, &size);
            }
        }
        if time % interval == 0 {
            strategy.observe(0, &Sample { time, memory: Some(used), ..Sample::default() });
            size = strategy.size(0, time, &size);
        }
    }
    figures
}

/// The memory of a service at a second, in bytes.
fn memory(service: i64, time: i64) -> f64 {
    let base = 5e8 * (0.5 + dice(service, 0, 11));
    let noise = 0.02 * dice(service, time / 30, 12) + 0.03 * (amount(time) / amount(DAY) * std::f64::consts::TAU).sin();
    // Surges of the last three hours may still be there.
    let surge = (0..4).map(|ago| time / SLOT - ago).filter(|slot| *slot >= 0).map(|slot| surge(service, slot, time));
    base * (1.0 + noise + surge.fold(0.0, f64::max))
}

/// What the surge of an hour, if there is one, adds.
fn surge(service: i64, slot: i64, time: i64) -> f64 {
    if dice(service, slot, 13) > 0.02 {
        return 0.0;
    }
    let height = 0.25 + 0.75 * dice(service, slot, 14);
    let begin = amount(slot * SLOT) + dice(service, slot, 15) * amount(SLOT);
    let climb = match dice(service, slot, 16) {
        it if it < 0.25 => 10.0,
        it if it < 0.5 => 60.0,
        it if it < 0.75 => 300.0,
        _ => 1800.0,
    };
    let stay = 1200.0 + 6000.0 * dice(service, slot, 17);
    let age = amount(time) - begin;
    if age < 0.0 || age > climb + stay { 0.0 } else { height * (age / climb).min(1.0) }
}
