//! The fast path: a pure function of the latest measurement, for what cannot wait for the slow one.
//!
//! It raises at once and it forbids decreases; it never lowers. How much that saves depends on how often it is asked: a
//! jump within one sampling interval cannot be seen coming.

use supple_quantity::Bytes;

use crate::resource::Resource;
use crate::sample::amount;

/// Memory this near to its limit, and higher than ever within the last day, is about to be killed.
const NEAR: f64 = 0.97;

/// A limit that is met while the working set is less than this share of it was met by page cache, as anything that reads files
/// does all day: the kernel takes that back, and more room would be filled with more of it. Where that hurts, pressure tells.
const MET: f64 = 0.85;

/// Stalled on memory for this share of the last ten seconds: pressure.
const PRESSURE: f64 = 0.10;

/// Some task waited for a CPU for this share of the last minute: half of what a node calls a stall. Threads that share cores wait for
/// each other now and then, so that memory's tenth would never let anything shrink on a busy node.
const WAITING: f64 = 0.25;

/// Throttled in this share of periods: three times what is tolerated.
const THROTTLED: f64 = 0.15;

/// What is raised to, from use (memory) or from the size in force (CPU).
const MEMORY_RAISE: f64 = 1.2;
const CPU_RAISE: f64 = 1.25;
const SUSTAINED_RAISE: f64 = 1.05;

/// The latest measurement of one resource. What was not measured is `None` and says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latest {
    /// Use: thousandths of a core or bytes.
    pub used: Option<f64>,
    /// Where use was over the size in force for several samples in a row: the lowest of them.
    pub sustained: Option<f64>,
    /// Highest use known of the day before this measurement.
    pub known_peak: Option<f64>,
    /// Share of the last ten seconds in which some task stalled on it (PSI some avg10), 0 to 1.
    pub pressure: Option<f64>,
    /// Share of CPU periods throttled, 0 to 1.
    pub throttled: Option<f64>,
    /// Tasks wait for a CPU: [`has_waited`].
    pub waited: bool,
    /// `memory.events` counted a high, max or oom since the measurement before, and the working set says so too: [`is_met_by_use`].
    pub breached: bool,
}

/// Whether a limit that was met was met by what is in use. Where one of them is not known, it was.
pub fn is_met_by_use(used: Option<f64>, limit: Option<Bytes>) -> bool {
    used.zip(limit).is_none_or(|(used, limit)| used >= amount(limit.0) * MET)
}

/// Whether so large a share of the last minute in which some task waited for a CPU (PSI some avg60) is too much to lower anything.
pub fn has_waited(pressure: Option<f64>) -> bool {
    pressure.is_some_and(|it| it >= WAITING)
}

/// What the moment demands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reflex {
    /// Nothing.
    None,
    /// This size now, and held.
    Raise(f64),
    /// No decrease while this lasts.
    Veto,
}

/// What the latest measurement demands at the size in force.
pub fn react(resource: Resource, latest: &Latest, in_force: f64) -> Reflex {
    let pressed = latest.pressure.is_some_and(|it| it >= PRESSURE) || latest.breached;
    match resource {
        Resource::Memory => {
            let near = |used: &f64| *used >= in_force * NEAR && latest.known_peak.is_none_or(|peak| *used > peak);
            let used = latest.used.unwrap_or(0.0);
            if latest.used.as_ref().is_some_and(near) || pressed {
                Reflex::Raise(if pressed { used.max(in_force) } else { used } * MEMORY_RAISE)
            } else if used >= in_force * NEAR {
                Reflex::Veto
            } else {
                Reflex::None
            }
        }
        Resource::Cpu => match latest.throttled {
            Some(share) if share >= THROTTLED => Reflex::Raise(in_force * CPU_RAISE),
            _ if latest.sustained.is_some() => Reflex::Raise(latest.sustained.unwrap_or(in_force) * SUSTAINED_RAISE),
            Some(share) if share >= THROTTLED / 3.0 => Reflex::Veto,
            _ if latest.waited => Reflex::Veto,
            _ => Reflex::None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(resource: Resource, latest: Latest, wanted: Reflex) {
        assert_eq!(react(resource, &latest, 1000.0), wanted, "{resource:?} {latest:?}");
    }

    #[test]
    fn reflexes() {
        let memory = |used| Latest { used: Some(used), known_peak: Some(900.0), ..Latest::default() };
        check(Resource::Memory, memory(500.0), Reflex::None);
        check(Resource::Memory, memory(980.0), Reflex::Raise(980.0 * MEMORY_RAISE));
        check(Resource::Memory, Latest { known_peak: Some(980.0), ..memory(980.0) }, Reflex::Veto);
        check(Resource::Memory, Latest { breached: true, ..memory(500.0) }, Reflex::Raise(1200.0));
        check(Resource::Memory, Latest { pressure: Some(0.2), ..memory(500.0) }, Reflex::Raise(1200.0));
        check(Resource::Memory, Latest::default(), Reflex::None);
        let cpu = |throttled| Latest { throttled: Some(throttled), ..Latest::default() };
        check(Resource::Cpu, cpu(0.0), Reflex::None);
        check(Resource::Cpu, cpu(0.06), Reflex::Veto);
        check(Resource::Cpu, cpu(0.2), Reflex::Raise(1250.0));
        check(Resource::Cpu, Latest { sustained: Some(2000.0), ..Latest::default() }, Reflex::Raise(2100.0));
        check(Resource::Cpu, Latest { waited: true, ..Latest::default() }, Reflex::Veto);
        check(Resource::Cpu, Latest { waited: true, ..cpu(0.2) }, Reflex::Raise(1250.0));
        assert!(has_waited(Some(0.25)) && !has_waited(Some(0.2)) && !has_waited(None));
        check(Resource::Cpu, Latest { used: Some(2000.0), ..Latest::default() }, Reflex::None);
    }
}
