//! What a container or its pod suffers, noticed the moment the kernel tells: limits met, OOM kills survived, waiting. The
//! same for every runtime that knows its containers' cgroups.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::bell::Bell;
use super::ground::lock;
use super::{ContainerRef, PodRef, RuntimeEvent, Seen, Strain, Strains, error};
use crate::cgroup::{CgroupError, Group, MemoryEvents};

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
pub const END_OF_CONTAINER: Duration = Duration::from_millis(300);
/// A container that lives at its limit makes the kernel ring a hundred times a second. After each look but the
/// first the next one waits for this long, so that it costs next to nothing, and what happens is still known within 100 ms.
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

/// A container that is listened to.
pub struct Listener {
    /// Who it is.
    pub id: ContainerRef,
    /// Its cgroup.
    pub group: Group,
    /// Where what it suffers is counted.
    pub suffered: Arc<Mutex<Suffered>>,
    /// Where it is told.
    pub told: mpsc::UnboundedSender<RuntimeEvent>,
    /// Called when the OOM killer has taken a process in it, perhaps its first one.
    pub killed: Box<dyn Fn() + Send + Sync>,
}

impl Listener {
    /// Listen to a container whose memory events up to `seen` are known. Runs until it is dropped or the cgroup is gone.
    pub async fn listen(&self, seen: MemoryEvents) {
        let who = || error::describe(&self.id);
        let memory = async {
            let so = "OOM kills in a running container are noticed only when it ends";
            warn_unless_gone(self.memory(seen).await, who, so);
        };
        let stalls = [Strain::MemoryStall, Strain::CpuStall].map(|strain| async move {
            let so = "pressure is known only when usage is read";
            warn_unless_gone(self.stalls(strain).await, who, so);
        });
        let [first, second] = stalls;
        tokio::join!(memory, first, second);
    }

    async fn memory(&self, mut seen: MemoryEvents) -> Result<(), CgroupError> {
        let mut bell = Bell::memory(&self.group)?;
        let late = self.group.version_2().is_none();
        // What happened before the bell was hung is found by the counters.
        let (mut now, mut rest) = (self.group.memory_events()?, Duration::ZERO);
        loop {
            for strain in met(seen, now) {
                self.note(strain);
            }
            if now.oom_kill > seen.oom_kill {
                (self.killed)();
            }
            seen = now;
            rested(&mut rest, bell.rung()).await.map_err(|error| unheard(&self.group, error))?;
            let mut pauses = LOOKS.into_iter().filter(|_| late);
            now = loop {
                let now = self.group.memory_events()?;
                match pauses.next() {
                    Some(pause) if now.oom_kill == seen.oom_kill => tokio::time::sleep(pause).await,
                    _ => break now,
                }
            };
        }
    }

    /// The kernel rings at most once a window and while the wait goes on.
    async fn stalls(&self, strain: Strain) -> Result<(), CgroupError> {
        let Some(mut bell) = Bell::stall(&self.group, strain)? else { return Ok(()) };
        let mut rest = Duration::ZERO;
        loop {
            rested(&mut rest, bell.rung()).await.map_err(|error| unheard(&self.group, error))?;
            // The end of a cgroup rings too.
            if !self.group.exists() {
                return Ok(());
            }
            self.note(strain);
        }
    }

    fn note(&self, strain: Strain) {
        note(&self.told, &self.suffered, strain, || (self.id.pod.clone(), Some(self.id.container.clone())));
    }
}

/// The pod's own limits, listened to for as long as this is kept.
#[derive(Debug)]
pub struct OwnLimits {
    suffered: Arc<Mutex<Suffered>>,
    task: AbortHandle,
}

impl OwnLimits {
    /// Listen to them from now on. That its tasks wait is told of its containers, where they are.
    pub fn listen(pod: PodRef, group: Group, told: mpsc::UnboundedSender<RuntimeEvent>) -> Self {
        let suffered = Arc::<Mutex<Suffered>>::default();
        let task = tokio::spawn(own_limits(pod, group, told, Arc::clone(&suffered))).abort_handle();
        Self { suffered, task }
    }

    /// What the kernel told of them.
    pub fn seen(&self) -> Strains {
        lock(&self.suffered).seen()
    }
}

impl Drop for OwnLimits {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn own_limits(
    pod: PodRef,
    group: Group,
    told: mpsc::UnboundedSender<RuntimeEvent>,
    suffered: Arc<Mutex<Suffered>>,
) {
    let followed = async {
        let Some(mut bell) = Bell::own_memory(&group)? else { return Ok(()) };
        let (mut seen, mut rest) = (MemoryEvents::default(), Duration::ZERO);
        loop {
            let now = group.own_memory_events()?;
            for strain in met(seen, now) {
                note(&told, &suffered, strain, || (pod.clone(), None));
            }
            seen = now;
            rested(&mut rest, bell.rung()).await.map_err(|error| unheard(&group, error))?;
        }
    };
    let describe = || format!("pod {}/{}", pod.namespace, pod.name);
    warn_unless_gone(followed.await, describe, "reaching its limits is not noticed");
}

/// Waits until the bell has rung, not at all before the first time and for a [`REST`] before each after it. A ring that comes
/// meanwhile is not lost.
async fn rested(rest: &mut Duration, rung: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::time::sleep(std::mem::replace(rest, REST)).await;
    rung.await
}

fn unheard(group: &Group, source: io::Error) -> CgroupError {
    CgroupError::Read { path: group.memory_directory().into(), source }
}

/// Which limits were met between two readings.
fn met(before: MemoryEvents, now: MemoryEvents) -> impl Iterator<Item = Strain> {
    let high = (now.high > before.high).then_some(Strain::MemoryHigh);
    high.into_iter().chain((now.max > before.max).then_some(Strain::MemoryMax))
}

fn note(
    told: &mpsc::UnboundedSender<RuntimeEvent>,
    suffered: &Mutex<Suffered>,
    strain: Strain,
    who: impl FnOnce() -> (PodRef, Option<String>),
) {
    if lock(suffered).take(strain, Timestamp::now()) {
        let (pod, container) = who();
        // Nobody has subscribed, or no longer: then nobody wants to know.
        let _ = told.send(RuntimeEvent::Strained { pod, container, strain });
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

    /// By the runtime's own clock, so that it does not matter how busy the machine is: what rings is heard at once, or at the
    /// end of a rest. With what the kernel takes itself, a tenth of a trigger's window, that is within 100 ms.
    #[tokio::test(start_paused = true)]
    async fn what_rings_is_heard_within_a_rest() {
        let (bell, mut rung) = tokio::sync::watch::channel(());
        let mut rest = Duration::ZERO;
        // From what was heard before to the next ring, and from there until it is heard, in milliseconds.
        for (gap, late) in [(0, 0), (100, 0), (1000, 0), (0, 25), (1, 24), (24, 1), (25, 0), (26, 0), (3, 22), (3, 22)]
        {
            let ringing = async {
                tokio::time::sleep(Duration::from_millis(gap)).await;
                bell.send_replace(());
                tokio::time::Instant::now()
            };
            let hearing = async {
                rested(&mut rest, async { rung.changed().await.map_err(io::Error::other) }).await.unwrap();
                tokio::time::Instant::now()
            };
            let (rang, heard) = tokio::join!(ringing, hearing);
            assert_eq!(heard - rang, Duration::from_millis(late), "{gap} ms after the one before");
        }
        assert!(super::super::bell::Trigger::LATEST + REST <= Duration::from_millis(100));
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
