//! The audit file: one JSON object a line, in the order in which things were decided and done, which one task writes. What was told is
//! never left out: where the file is slower than what happens, whoever tells waits. Once the loop is to end it waits no longer than
//! it has: a file that takes nothing any more, a pipe that nobody reads or a disk that is gone, must not keep it from ending, and how
//! many lines are not in it is said.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::event::Told;

/// Lines that wait to be written.
const QUEUE: usize = 1024;

/// How long all lines together are waited for once the loop is to end.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Where lines are told; they end up in the file in this order.
#[derive(Debug)]
pub struct Audit {
    entries: mpsc::Sender<Entry>,
    /// Lines that were told and are not in the file.
    open: Arc<AtomicUsize>,
    /// The loop is to end.
    stop: CancellationToken,
    /// Until when it then waits.
    patience: OnceLock<Instant>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Say when all before it has been written.
    Mark(oneshot::Sender<()>),
}

impl Audit {
    /// To this file, until `stop`. The task ends when nothing can be told any more and everything has been written.
    pub fn start(
        file: impl AsyncWrite + Send + Unpin + 'static,
        tasks: &mut JoinSet<()>,
        stop: CancellationToken,
    ) -> Self {
        let (entries, receiver) = mpsc::channel(QUEUE);
        let open = Arc::new(AtomicUsize::new(0));
        tasks.spawn(write(file, receiver, open.clone()));
        Self { entries, open, stop, patience: OnceLock::new() }
    }

    /// One more line. Waits while too many wait already.
    pub async fn tell(&self, told: &Told) {
        let Ok(mut line) = serde_json::to_vec(told) else { return };
        line.push(b'\n');
        self.open.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            biased;
            _ = self.entries.send(Entry::Line(line)) => {} // the task never ends before
            () = self.is_over() => {}
        }
    }

    /// Wait until all that was told is in the file.
    pub async fn written(&self) {
        let (mark, reached) = oneshot::channel();
        let all = async {
            if self.entries.send(Entry::Mark(mark)).await.is_ok() {
                let _ = reached.await;
            }
        };
        tokio::select! {
            biased;
            () = all => {}
            () = self.is_over() => {}
        }
    }

    /// Lines that were told and are not in the file.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Nothing is waited for any longer.
    async fn is_over(&self) {
        self.stop.cancelled().await;
        sleep_until(*self.patience.get_or_init(|| Instant::now() + LAST_LINES)).await;
    }
}

/// Each line is flushed before the next: what was decided and done is to be found here when all else is gone.
async fn write(mut file: impl AsyncWrite + Send + Unpin, mut entries: mpsc::Receiver<Entry>, open: Arc<AtomicUsize>) {
    let mut failing = false;
    while let Some(entry) = entries.recv().await {
        let line = match entry {
            Entry::Line(line) => line,
            Entry::Mark(mark) => {
                let _ = mark.send(()); // nobody waits any more
                continue;
            }
        };
        let written = async {
            file.write_all(&line).await?;
            file.flush().await
        };
        match written.await {
            Ok(()) => failing = false,
            Err(error) if std::mem::replace(&mut failing, true) => tracing::debug!(%error, "it still fails"),
            Err(error) => {
                tracing::error!(%error, "cannot write the audit file: lines are missing from here on")
            }
        }
        open.fetch_sub(1, Ordering::Relaxed); // or it has been said why it is not there
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use supple_decide::code::Code;
    use supple_decide::key::WorkloadKey;
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    use super::*;

    fn told(number: usize) -> Told {
        Told {
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
            code: Code::Fits,
            pod: None,
            workload: WorkloadKey { namespace: "n".into(), kind: "Deployment".into(), name: "w".into() },
            message: number.to_string(),
            gist: None,
        }
    }

    #[tokio::test]
    async fn a_file_that_is_slow_holds_up_whoever_tells_and_loses_nothing() {
        let (file, reader) = tokio::io::duplex(64);
        let mut tasks = JoinSet::new();
        let audit = Audit::start(file, &mut tasks, CancellationToken::new());
        let mut fitted = 0;
        while audit.tell(&told(fitted)).now_or_never().is_some() {
            fitted += 1;
            tokio::task::yield_now().await;
        }
        assert!((QUEUE..QUEUE + 3).contains(&fitted), "{fitted}");
        let mut lines = BufReader::new(reader).lines();
        let read = async {
            for number in 0..=fitted {
                let line = lines.next_line().await.unwrap().unwrap();
                let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(line["message"], number.to_string());
            }
        };
        let tell = async {
            audit.tell(&told(fitted)).await;
            audit.written().await;
        };
        tokio::join!(read, tell);
        drop(audit);
        while tasks.join_next().await.is_some() {}
        assert!(lines.next_line().await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_takes_nothing_holds_up_nobody_who_is_to_end() {
        let (file, _nobody_reads) = tokio::io::duplex(64);
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let audit = Audit::start(file, &mut tasks, stop.clone());
        let most = QUEUE + 100;
        let mut all = Box::pin(async {
            for number in 0..most {
                audit.tell(&told(number)).await;
            }
            audit.written().await;
        });
        assert!(tokio::time::timeout(Duration::from_secs(3600), &mut all).await.is_err(), "whoever tells waits");
        stop.cancel();
        let began = Instant::now();
        all.await;
        assert_eq!(began.elapsed(), LAST_LINES, "for all of them together");
        assert_eq!(audit.open(), most);
    }
}
