//! Group commit: one thread takes every change that waits and makes all of them durable at once, so that a burst of
//! resizes costs one flush and not one each.

use std::collections::{BTreeMap, HashSet};
use std::mem::discriminant;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use super::file::File;
use super::{Backing, Change, CheckpointError, Records};
use crate::options::{CrashPoints, Keep, Pace};

/// The file's name in the node's directory.
const FILE: &str = "node-checkpoints.redb";

/// How many changes make a crowd: then those who come next are worth waiting for, for so long. A flush costs as much as
/// dozens of records, and nobody outside waits for one. Who comes alone is flushed at once.
const CROWD: usize = 8;
const GATHER: Duration = Duration::from_millis(8);

/// A change on its way to the disk; resolves when it is durable or could not be made so.
#[must_use = "the change is durable only when this has resolved"]
pub(crate) struct Pending(oneshot::Receiver<Result<(), CheckpointError>>);

impl Pending {
    /// Wait until the change is durable.
    pub(crate) async fn durable(self) -> Result<(), CheckpointError> {
        match self.0.await {
            Ok(result) => result,
            Err(_) => Err(stopped()),
        }
    }
}

/// The node's checkpoints. Cloning gives another handle on the same writer.
#[derive(Clone)]
pub(crate) enum Checkpoints {
    /// On a disk, which takes its time: a thread writes.
    Thread(mpsc::Sender<Job>),
    /// On one that may hang, in a test that has but one thread: a task writes.
    Task(tokio::sync::mpsc::UnboundedSender<Job>),
    /// In memory: done as it is handed over.
    Inline(Arc<Mutex<dyn Backing>>),
}

/// A change and who waits for it.
pub(crate) struct Job {
    uid: String,
    change: Change,
    done: oneshot::Sender<Result<(), CheckpointError>>,
}

/// Keeps nothing: for a node whose pods do not outlive it.
struct Nowhere;

impl Backing for Nowhere {
    fn commit(&mut self, _: &[(String, Change)]) -> Result<(), CheckpointError> {
        Ok(())
    }
}

/// A file that is written by whoever hands a change over, with the points around each write.
struct Observed {
    file: File,
    crash_points: CrashPoints,
}

impl Backing for Observed {
    fn commit(&mut self, changes: &[(String, Change)]) -> Result<(), CheckpointError> {
        observed(&mut self.file, changes.to_vec(), &self.crash_points)
    }
}

/// Commit, passing the points before and after each kind of change.
fn observed(
    backing: &mut dyn Backing,
    changes: Vec<(String, Change)>,
    crash_points: &CrashPoints,
) -> Result<(), CheckpointError> {
    let points: Vec<_> = names(&changes).collect();
    for (before, _) in &points {
        crash_points.hit(before);
    }
    backing.commit(&newest(changes))?;
    for (_, after) in &points {
        crash_points.hit(after);
    }
    Ok(())
}

impl Checkpoints {
    /// Open the checkpoints where they are kept and read what they hold.
    pub(crate) fn open(
        keep: &Keep,
        crash_points: CrashPoints,
    ) -> Result<(Self, BTreeMap<String, Records>), CheckpointError> {
        match keep {
            Keep::Directory(dir) => {
                std::fs::create_dir_all(dir).map_err(|error| CheckpointError {
                    operation: "create the directory",
                    path: dir.to_owned(),
                    message: error.to_string(),
                })?;
                let (file, records) = File::open(dir.join(FILE))?;
                Ok((Self::on(Box::new(file), crash_points)?, records))
            }
            Keep::Given(open) => {
                let (file, records) = File::given(PathBuf::from(FILE), Arc::clone(open))?;
                Ok((Self::inline(Observed { file, crash_points }), records))
            }
            Keep::Paced(open, pace) => {
                let (file, records) = File::given(PathBuf::from(FILE), Arc::clone(open))?;
                Ok((Self::paced(Box::new(file), crash_points, Arc::clone(pace)), records))
            }
            Keep::Nowhere => Ok((Self::inline(Nowhere), BTreeMap::new())),
        }
    }

    /// Checkpoints on a backing that does not block.
    pub(crate) fn inline(backing: impl Backing) -> Self {
        Self::Inline(Arc::new(Mutex::new(backing)))
    }

    /// Checkpoints on this backing.
    pub(crate) fn on(backing: Box<dyn Backing>, crash_points: CrashPoints) -> Result<Self, CheckpointError> {
        let (sender, receiver) = mpsc::channel();
        // A thread of its own: a commit blocks for as long as the disk takes to flush.
        std::thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || run(&receiver, backing, &crash_points))
            .map_err(|error| CheckpointError {
                operation: "start the writer of",
                path: PathBuf::from(FILE),
                message: error.to_string(),
            })?;
        Ok(Self::Thread(sender))
    }

    /// Checkpoints on a backing that takes its time, on one thread.
    fn paced(mut backing: Box<dyn Backing>, crash_points: CrashPoints, pace: Pace) -> Self {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(first) = receiver.recv().await {
                tokio::time::sleep(pace()).await;
                let waiting = std::iter::from_fn(|| receiver.try_recv().ok());
                write(std::iter::once(first).chain(waiting), &mut *backing, &crash_points);
            }
        });
        Self::Task(sender)
    }

    /// Hand a change to the writer. Changes of one pod become durable in the order in which they were handed over.
    pub(crate) fn write(&self, uid: &str, change: Change) -> Pending {
        let (done, result) = oneshot::channel();
        match self {
            Self::Thread(sender) => {
                if let Err(mpsc::SendError(job)) = sender.send(Job { uid: uid.to_owned(), change, done }) {
                    // Nobody waits yet, so the answer cannot be refused.
                    let _ = job.done.send(Err(stopped()));
                }
            }
            Self::Task(sender) => {
                if let Err(refused) = sender.send(Job { uid: uid.to_owned(), change, done }) {
                    let _ = refused.0.done.send(Err(stopped()));
                }
            }
            Self::Inline(backing) => {
                // A backing that panicked once is asked again: it keeps nothing that could be half done.
                let mut backing = backing.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = done.send(backing.commit(&[(uid.to_owned(), change)]));
            }
        }
        Pending(result)
    }
}

fn stopped() -> CheckpointError {
    CheckpointError {
        operation: "write",
        path: PathBuf::from(FILE),
        message: "the writer has stopped, because the node is being stopped".into(),
    }
}

fn run(receiver: &mpsc::Receiver<Job>, mut backing: Box<dyn Backing>, crash_points: &CrashPoints) {
    let mut is_crowded = false;
    while let Ok(first) = receiver.recv() {
        if is_crowded {
            std::thread::park_timeout(GATHER); // that more have come is no event: who hands a change over wakes nobody
        }
        let jobs: Vec<Job> = std::iter::once(first).chain(receiver.try_iter()).collect();
        is_crowded = jobs.len() >= CROWD;
        write(jobs.into_iter(), &mut *backing, crash_points);
    }
}

/// All of them at once.
fn write(jobs: impl Iterator<Item = Job>, backing: &mut dyn Backing, crash_points: &CrashPoints) {
    let mut changes = Vec::new();
    let mut waiting = Vec::new();
    for Job { uid, change, done } in jobs {
        changes.push((uid, change));
        waiting.push(done);
    }
    let result = observed(backing, changes, crash_points);
    for done in waiting {
        // Whoever asked may have been stopped meanwhile; the change is durable all the same.
        let _ = done.send(result.clone());
    }
}

/// Of several records of one kind about one pod only the last: a resize leaves one after each of its steps, and those
/// that wait together become durable together.
fn newest(changes: Vec<(String, Change)>) -> Vec<(String, Change)> {
    let mut seen = HashSet::with_capacity(changes.len());
    let mut keeps: Vec<bool> =
        changes.iter().rev().map(|(uid, change)| seen.insert((uid.as_str(), discriminant(change)))).collect();
    changes.into_iter().filter(|_| keeps.pop() == Some(true)).collect()
}

/// The crash points before and after each kind of change in a batch.
fn names(changes: &[(String, Change)]) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
    changes.iter().map(|(_, change)| match change {
        Change::Allocated(_) => ("node.allocated.before", "node.allocated.after"),
        Change::Actuated(_) => ("node.actuated.before", "node.actuated.after"),
        Change::Forgotten => ("node.forgotten.before", "node.forgotten.after"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Allocated;
    use super::*;

    /// Blocks its first commit until told to go on, and records the size of each batch.
    struct Slow {
        go: mpsc::Receiver<()>,
        batches: Arc<Mutex<Vec<usize>>>,
    }

    impl Backing for Slow {
        fn commit(&mut self, changes: &[(String, Change)]) -> Result<(), CheckpointError> {
            // The sender is dropped after the first commit, which lets all others through at once.
            let _ = self.go.recv();
            self.batches.lock().unwrap().push(changes.len());
            Ok(())
        }
    }

    fn allocated() -> Change {
        Change::Allocated(Allocated::default())
    }

    #[test]
    fn only_the_last_record_of_a_kind_is_written() {
        let changes = [("a", allocated()), ("b", allocated()), ("a", Change::Forgotten), ("a", allocated())];
        let changes = changes.map(|(uid, change)| (uid.to_owned(), change)).to_vec();
        let kept: Vec<_> = newest(changes).into_iter().map(|(uid, change)| (uid, discriminant(&change))).collect();
        let [allocated, forgotten] = [discriminant(&allocated()), discriminant(&Change::Forgotten)];
        assert_eq!(kept, [("b".to_owned(), allocated), ("a".to_owned(), forgotten), ("a".to_owned(), allocated)]);
    }

    #[tokio::test]
    async fn changes_that_wait_share_one_commit() {
        let (go, gate) = mpsc::channel();
        let batches = Arc::new(Mutex::new(Vec::new()));
        let reached = Arc::new(Mutex::new(Vec::new()));
        let (started, mut first_started) = tokio::sync::mpsc::unbounded_channel();
        let points = CrashPoints::new({
            let reached = Arc::clone(&reached);
            move |name| {
                reached.lock().unwrap().push(name);
                let _ = started.send(());
            }
        });
        let checkpoints = Checkpoints::on(Box::new(Slow { go: gate, batches: Arc::clone(&batches) }), points).unwrap();
        let first = checkpoints.write("a", allocated());
        first_started.recv().await.unwrap();
        let rest: Vec<_> = (0..50).map(|n| checkpoints.write(&format!("pod-{n}"), allocated())).collect();
        drop(go);
        first.durable().await.unwrap();
        for pending in rest {
            pending.durable().await.unwrap();
        }
        assert_eq!(*batches.lock().unwrap(), [1, 50]);
        assert_eq!(reached.lock().unwrap()[..2], ["node.allocated.before", "node.allocated.after"]);
    }
}
