//! What a container or its pod suffers, noticed the moment the kernel tells: limits met, OOM kills survived, waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::bell::Bell;
use super::error;
use super::machine::Machine;
use super::run::Run;
use crate::cgroup::{CgroupError, Group, MemoryEvents};
use crate::runtime::ground::lock;
use crate::runtime::{PodRef, RuntimeEvent, Seen, Strain, Strains};

/// Version 1 tells *before* it kills, and tells of kills in the whole pod: the counter is looked at again after these
/// pauses. Together they are longer than a kill takes; a later one is seen at the next notice or at the end.
const LOOKS: [Duration; 5] = [
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(800),
];
/// If the killed process was the container's first one, its end is told instead, within this time.
const END_OF_CONTAINER: Duration = Duration::from_millis(300);
/// A container that lives at its limit makes the kernel ring a hundred times a second. After each look the next one waits
/// for this long, so that it costs next to nothing, and what happens is still known within 100 ms.
const REST: Duration = Duration::from_millis(25);
/// How soon the same strain of the same container is told again; counted it is every time.
const TELL_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What was noticed, and what of it was told.
#[derive(Debug, Default)]
pub struct Suffered {
    seen: Strains,
    told: BTreeMap<Strain, Timestamp>,
}

impl Suffered {
    /// Count it. Returns whether it is to be told.
    fn take(&mut self, strain: Strain, at: Timestamp) -> bool {
        let seen = self.seen.entry(strain).or_insert(Seen { times: 0, last: at });
        *seen = Seen { times: seen.times.saturating_add(1), last: at };
        let due = self.told.get(&strain).is_none_or(|told| at.duration_since(*told) >= TELL_AGAIN);
        if due {
            self.told.insert(strain, at);
        }
        due
    }

    /// Every strain with its count.
    pub fn seen(&self) -> Strains {
        self.seen.clone()
    }
}

/// Listen to a container whose memory events up to `seen` are known. Runs until it is dropped or the cgroup is gone.
pub async fn watch(machine: Arc<Machine>, run: Arc<Run>, seen: MemoryEvents) {
    let memory = async {
        warn_unless_gone(
            memory(&machine, &run, seen).await,
            || error::describe(&run.id),
            "OOM kills in a running container will be noticed only at its end",
        );
    };
    let stalls = [Strain::MemoryStall, Strain::CpuStall].map(|strain| {
        let (machine, run) = (&machine, &run);
        async move {
            let stalls = stalls(&run.group, strain, || note_container(machine, run, strain)).await;
            warn_unless_gone(
                stalls,
                || error::describe(&run.id),
                "how its tasks wait is known only when its usage is read",
            );
        }
    });
    let [first, second] = stalls;
    tokio::join!(memory, first, second);
}

/// Listen to a pod's own limits. That its tasks wait is told of its containers, where they are.
pub async fn watch_pod(machine: Arc<Machine>, pod: PodRef, suffered: Arc<Mutex<Suffered>>, group: Group) {
    let followed = async {
        let Some(mut bell) = Bell::own_memory(&group)? else { return Ok(()) };
        let mut seen = MemoryEvents::default();
        loop {
            let now = group.own_memory_events()?;
            for strain in met(seen, now) {
                note(&machine, &suffered, strain, || (pod.clone(), None));
            }
            seen = now;
            tokio::time::sleep(REST).await;
            bell.rung().await.map_err(|source| CgroupError::Read { path: group.memory_directory().into(), source })?;
        }
    };
    let describe = || format!("pod {}/{}", pod.namespace, pod.name);
    warn_unless_gone(followed.await, describe, "that it meets its own limits is not noticed");
}

/// Which limits were met between two readings.
fn met(before: MemoryEvents, now: MemoryEvents) -> impl Iterator<Item = Strain> {
    let high = (now.high > before.high).then_some(Strain::MemoryHigh);
    high.into_iter().chain((now.max > before.max).then_some(Strain::MemoryMax))
}

async fn memory(machine: &Arc<Machine>, run: &Arc<Run>, mut seen: MemoryEvents) -> Result<(), CgroupError> {
    let mut bell = Bell::memory(&run.group)?;
    let late = run.group.version_2().is_none();
    // What happened before the bell was hung is found by the counters.
    let mut now = run.group.memory_events()?;
    loop {
        for strain in met(seen, now) {
            note_container(machine, run, strain);
        }
        if now.oom_kill > seen.oom_kill {
            let (machine, run) = (Arc::clone(machine), Arc::clone(run));
            tokio::spawn(async move {
                if tokio::time::timeout(END_OF_CONTAINER, run.ended()).await.is_err() {
                    machine.tell(RuntimeEvent::OomKill(run.id.clone()));
                }
            });
        }
        seen = now;
        tokio::time::sleep(REST).await;
        bell.rung().await.map_err(|source| CgroupError::Read { path: run.group.memory_directory().into(), source })?;
        let mut pauses = LOOKS.into_iter().filter(|_| late);
        now = loop {
            let now = run.group.memory_events()?;
            match pauses.next() {
                Some(pause) if now.oom_kill == seen.oom_kill => tokio::time::sleep(pause).await,
                _ => break now,
            }
        };
    }
}

/// The kernel rings at most once a window and while the wait goes on.
async fn stalls(group: &Group, strain: Strain, note: impl Fn()) -> Result<(), CgroupError> {
    let Some(mut bell) = Bell::stall(group, strain)? else { return Ok(()) };
    loop {
        bell.rung().await.map_err(|source| CgroupError::Read { path: group.memory_directory().into(), source })?;
        // The end of a cgroup rings too.
        if !group.exists() {
            return Ok(());
        }
        note();
        tokio::time::sleep(REST).await;
    }
}

fn note_container(machine: &Machine, run: &Run, strain: Strain) {
    note(machine, &run.suffered, strain, || (run.id.pod.clone(), Some(run.id.container.clone())));
}

fn note(machine: &Machine, suffered: &Mutex<Suffered>, strain: Strain, who: impl FnOnce() -> (PodRef, Option<String>)) {
    if lock(suffered).take(strain, Timestamp::now()) {
        let (pod, container) = who();
        machine.tell(RuntimeEvent::Strained { pod, container, strain });
    }
}

fn warn_unless_gone(result: Result<(), CgroupError>, who: impl FnOnce() -> String, so: &str) {
    match result {
        Err(error) if !error.is_gone() => tracing::warn!(who = who(), %error, "{so}"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strain_is_counted_and_now_and_then_told() {
        let mut suffered = Suffered::default();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut take = |strain, seconds| suffered.take(strain, at(seconds));
        assert!(take(Strain::MemoryHigh, 100), "the first");
        assert!(!take(Strain::MemoryHigh, 101) && !take(Strain::MemoryHigh, 109), "too soon");
        assert!(take(Strain::CpuStall, 101), "another one");
        assert!(take(Strain::MemoryHigh, 110), "again after a while");
        // The clock was set back: nothing is told twice for it, and nothing panics.
        assert!(!take(Strain::MemoryHigh, 5));
        let expect = [
            (Strain::MemoryHigh, Seen { times: 5, last: at(5) }),
            (Strain::CpuStall, Seen { times: 1, last: at(101) }),
        ];
        assert_eq!(suffered.seen(), expect.into());
    }

    #[test]
    fn limits_met_between_readings() {
        #[track_caller]
        fn check(before: (u64, u64), now: (u64, u64), expect: &[Strain]) {
            let events = |(high, max)| MemoryEvents { high, max, oom_kill: 0 };
            assert_eq!(met(events(before), events(now)).collect::<Vec<_>>(), expect);
        }
        check((0, 0), (0, 0), &[]);
        check((1, 0), (2, 0), &[Strain::MemoryHigh]);
        check((1, 4), (1, 5), &[Strain::MemoryMax]);
        check((0, 0), (9, 9), &[Strain::MemoryHigh, Strain::MemoryMax]);
    }
}
