//! The audit file: one JSON object a line, in the order in which things were decided and done, which one task writes. What was told is
//! never left out: where the file is slower than what happens, whoever tells waits.

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::event::Told;

/// Lines that wait to be written.
const QUEUE: usize = 1024;

/// Where lines are told; they end up in the file in this order.
#[derive(Debug)]
pub struct Audit(mpsc::Sender<Entry>);

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Say when all before it has been written.
    Mark(oneshot::Sender<()>),
}

impl Audit {
    /// To this file. The task ends when nothing can be told any more and everything has been written.
    pub fn start(file: impl AsyncWrite + Send + Unpin + 'static, tasks: &mut JoinSet<()>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tasks.spawn(write(file, receiver));
        Self(sender)
    }

    /// One more line. Waits while too many wait already.
    pub async fn tell(&self, told: &Told) {
        let Ok(mut line) = serde_json::to_vec(told) else { return };
        line.push(b'\n');
        let _ = self.0.send(Entry::Line(line)).await; // the task never ends before
    }

    /// Wait until all that was told is in the file.
    pub async fn written(&self) {
        let (mark, reached) = oneshot::channel();
        if self.0.send(Entry::Mark(mark)).await.is_ok() {
            let _ = reached.await;
        }
    }
}

/// Each line is flushed before the next: what was decided and done is to be found here when all else is gone.
async fn write(mut file: impl AsyncWrite + Send + Unpin, mut entries: mpsc::Receiver<Entry>) {
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
        }
    }

    #[tokio::test]
    async fn a_file_that_is_slow_holds_up_whoever_tells_and_loses_nothing() {
        let (file, reader) = tokio::io::duplex(64);
        let mut tasks = JoinSet::new();
        let audit = Audit::start(file, &mut tasks);
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
}
