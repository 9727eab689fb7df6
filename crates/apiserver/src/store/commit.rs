//! How what was staged is made durable. *Group commit*: one thread takes everything that was staged while the disk was
//! busy and flushes it at once, so that the number of writes a second is not the number of flushes a second. *Inline*:
//! at once and in the caller, for tests in which one thread must be all there is. *Paced*: as the thread does it, by a task
//! that lets a disk hang, likewise.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::file::{File, FileError};
use super::state::Event;
use super::{Shared, read_poisoned};
use crate::crash::CrashPoints;

/// How long the disk takes until it begins with the next flush: in a fault test, as long as it hangs.
pub type Pace = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How many transactions make a crowd. Each flush costs as much as writing dozens of objects, so where many write, those
/// who come next are worth waiting for; who writes alone is flushed at once.
const CROWD: usize = 8;

/// For how long they are waited for: the longer the more there were the last time, since then the next come thicker, too.
const GATHER_EACH: Duration = Duration::from_micros(200);
const GATHER: Duration = Duration::from_millis(6);

/// How many of them at most.
const ENOUGH: usize = 96;

/// How a transaction ended.
pub(super) type Outcome = Result<(), FileError>;

/// A staged transaction on its way to the disk.
pub(super) struct Pending {
    pub(super) events: Vec<Arc<Event>>,
    /// Called once, when it is durable or has failed.
    pub(super) done: Box<dyn FnOnce(Outcome) + Send>,
}

/// Transactions in the order of their revisions. Pushed to under the state's lock, which is what keeps the order.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<(Vec<Pending>, bool)>,
    filled: Condvar,
    /// The same for whoever waits as a task.
    announced: Notify,
}

impl Queue {
    pub(super) fn push(&self, pending: Pending) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0.push(pending);
        // In between nobody waits for one more.
        if matches!(inner.0.len(), 1 | ENOUGH) {
            self.filled.notify_one();
        }
        drop(inner);
        self.announced.notify_one();
    }

    fn close(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.filled.notify_one();
    }

    /// Everything queued; waits for the first, and where the `last` were a crowd a moment for others. `None` once closed and
    /// empty.
    fn take(&self, last: usize) -> Option<Vec<Pending>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        while inner.0.is_empty() {
            if inner.1 {
                return None;
            }
            inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if last >= CROWD {
            let moment = GATHER.min(GATHER_EACH * u32::try_from(last).unwrap_or(u32::MAX));
            let too_few = |it: &mut (Vec<Pending>, bool)| it.0.len() < ENOUGH && !it.1;
            let waited = self.filled.wait_timeout_while(inner, moment, too_few);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(std::mem::take(&mut inner.0))
    }

    fn drain(&self) -> Vec<Pending> {
        std::mem::take(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner).0)
    }
}

/// The thread and its queue; dropping it finishes what is queued and closes the file.
pub(super) struct Committer {
    queue: Arc<Queue>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Committer {
    pub(super) fn start(shared: Arc<Shared>, queue: Arc<Queue>, disk: Disk) -> std::io::Result<Self> {
        let taken = queue.clone();
        let thread =
            std::thread::Builder::new().name("store-commit".to_owned()).spawn(move || run(&shared, &taken, disk))?;
        Ok(Self { queue, thread: Some(thread) })
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook; there is nothing to add while dropping.
            let _ = thread.join();
        }
    }
}

/// The file with the points around a flush of it.
pub(super) struct Disk {
    pub(super) file: File,
    pub(super) crash_points: CrashPoints,
}

impl Disk {
    /// Makes events durable, and has `publish` show them.
    pub(super) fn commit(&mut self, events: &[Arc<Event>], publish: impl FnOnce()) -> Outcome {
        self.crash_points.pass("store-before-commit");
        let outcome = self.file.commit(events);
        self.crash_points.pass("store-after-commit");
        match &outcome {
            Ok(()) => {
                publish();
                self.crash_points.pass("store-published");
            }
            Err(error) => tracing::error!(%error, "{} writes were not taken", events.len()),
        }
        outcome
    }
}

fn run(shared: &Shared, queue: &Queue, mut disk: Disk) {
    let mut last = 0;
    while let Some(batch) = queue.take(last) {
        last = batch.len();
        commit(shared, queue, &mut disk, batch);
    }
}

/// Makes what was taken from the queue durable, and tells whoever waits for it.
fn commit(shared: &Shared, queue: &Queue, disk: &mut Disk, batch: Vec<Pending>) {
    let events: Vec<_> = batch.iter().flat_map(|pending| pending.events.iter().cloned()).collect();
    let outcome = disk.commit(&events, || shared.publish(&events));
    shared.in_doubt.store(disk.file.in_doubt(), Ordering::Release);
    match outcome {
        Ok(()) => {
            finish(batch, &Ok(()));
            shared.rest();
        }
        Err(error) => {
            // Whatever was staged meanwhile stands on writes that never took place: it goes with them.
            let mut state = shared.state.write().unwrap_or_else(read_poisoned);
            let later = queue.drain();
            state.abandon();
            drop(state);
            finish(batch.into_iter().chain(later), &Err(error));
        }
    }
}

/// The task, its queue and its disk; dropping it ends the task and finishes what is queued.
pub(super) struct Paced {
    shared: Arc<Shared>,
    pub(super) queue: Arc<Queue>,
    disk: Arc<Mutex<Disk>>,
    task: AbortHandle,
}

impl Paced {
    /// Starts it on the runtime that it is called on.
    pub(super) fn start(shared: Arc<Shared>, disk: Disk, pace: Pace) -> Self {
        let (queue, disk) = (Arc::<Queue>::default(), Arc::new(Mutex::new(disk)));
        let task = {
            let (shared, queue, disk) = (Arc::clone(&shared), Arc::clone(&queue), Arc::clone(&disk));
            tokio::spawn(async move {
                loop {
                    queue.announced.notified().await;
                    tokio::time::sleep(pace()).await;
                    flush(&shared, &queue, &disk);
                }
            })
        };
        Self { shared, queue, disk, task: task.abort_handle() }
    }

    /// Makes durable what is queued now, without waiting for the task.
    pub(super) fn flush(&self) {
        flush(&self.shared, &self.queue, &self.disk);
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.task.abort();
        self.flush();
    }
}

fn flush(shared: &Shared, queue: &Queue, disk: &Mutex<Disk>) {
    let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
    let batch = queue.drain();
    if !batch.is_empty() {
        commit(shared, queue, &mut disk, batch);
    }
}

fn finish(batch: impl IntoIterator<Item = Pending>, outcome: &Outcome) {
    for pending in batch {
        (pending.done)(outcome.clone());
    }
}
