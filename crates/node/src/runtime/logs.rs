//! A container's log on its way out: read from its files, followed while they grow and rotate.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use rustix::fs::inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::kernel::readiness;
use crate::runtime::LogOptions;
use crate::runtime::entries::{Selection, select};
use crate::shim::record::RunDir;

/// How much is sent at once.
const CHUNK: usize = 32 << 10;
/// How often a log is looked at when the kernel does not tell of changes.
const LOOK: Duration = Duration::from_millis(250);

/// A place in a growing, rotating log.
#[derive(Debug)]
struct Cursor {
    dir: RunDir,
    file: Option<(File, u64)>,
    /// The beginning of an entry whose end has not been written yet.
    rest: Vec<u8>,
}

impl Cursor {
    /// From the beginning of what is kept.
    fn new(dir: RunDir) -> Self {
        Self { dir, file: None, rest: Vec::new() }
    }

    /// Everything new, as whole entries.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut text = std::mem::take(&mut self.rest);
        loop {
            if let Some((file, _)) = &mut self.file {
                file.read_to_end(&mut text)?;
            }
            match self.next()? {
                Some(next) => self.file = Some(next),
                None => break,
            }
        }
        let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        self.rest = text.split_off(whole);
        Ok(text)
    }

    /// The file after the one being read: the log may have been rotated, even twice, since the last look.
    fn next(&self) -> io::Result<Option<(File, u64)>> {
        let open = |path| match File::open(path) {
            Ok(file) => file.metadata().map(|it| Some((file, it.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let at = self.file.as_ref().map(|(_, inode)| *inode);
        // The newest is opened first: should it become the older one now, it is found there and nothing is skipped.
        let newest = open(self.dir.log())?;
        if at.is_some() && newest.as_ref().map(|(_, inode)| *inode) == at {
            return Ok(None);
        }
        let older = open(self.dir.older_log())?;
        match older {
            Some((_, inode)) if Some(inode) == at => Ok(newest),
            Some(older) if newest.as_ref().map(|(_, inode)| *inode) != Some(older.1) => Ok(Some(older)),
            _ => Ok(newest),
        }
    }
}

/// The log of the run in `dir`. `ended` completes when no more will be written.
pub fn stream(
    dir: RunDir,
    options: LogOptions,
    ended: impl Future<Output = ()> + Send + 'static,
) -> BoxStream<'static, io::Result<Bytes>> {
    // A reader slower than the log holds this task, not memory.
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        if let Err(Some(error)) = send(dir, options, ended, &sender).await {
            // A reader that has gone needs no error.
            let _ = sender.send(Err(error)).await;
        }
    });
    futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }).boxed()
}

/// `Err(None)`: the reader has gone.
async fn send(
    dir: RunDir,
    options: LogOptions,
    ended: impl Future<Output = ()> + Send,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), Option<io::Error>> {
    let follow = options.follow;
    // Watched before the first reading, so that nothing written in between goes unnoticed.
    let mut changes = match follow {
        // The kernel gives out a limited number of watches: without one it is looked instead.
        true => watch(&dir).ok(),
        false => None,
    };
    let mut selection = Selection::new(options);
    let mut ended = std::pin::pin!(ended);
    let mut over = !follow;
    let mut cursor = Cursor::new(dir);
    loop {
        let (next_cursor, next_selection, text) = tokio::task::spawn_blocking(move || {
            let text = cursor.read()?;
            let text = select(&text, &mut selection);
            // The last lines are those of the first reading; after that everything is new.
            selection.no_more_tail();
            io::Result::Ok((cursor, selection, text))
        })
        .await
        .map_err(|error| Some(io::Error::other(error)))?
        .map_err(Some)?;
        (cursor, selection) = (next_cursor, next_selection);
        for chunk in text.chunks(CHUNK) {
            out.send(Ok(Bytes::copy_from_slice(chunk))).await.map_err(|_| None)?;
        }
        if over || selection.is_full() {
            return Ok(());
        }
        let change = async {
            match &mut changes {
                Some(changes) => changed(changes).await,
                None => {
                    tokio::time::sleep(LOOK).await;
                    Ok(())
                }
            }
        };
        tokio::select! {
            changed = change => changed.map_err(Some)?,
            () = &mut ended => over = true,
            () = out.closed() => return Err(None),
        }
    }
}

/// Be told of every change of the log files in `dir`.
fn watch(dir: &RunDir) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&fd, dir.path(), inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE)?;
    readiness(fd, Interest::READABLE)
}

/// Wait for a change; everything that has happened until then counts as one.
async fn changed(fd: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut ready = fd.readable().await?;
    let mut events = [0_u8; 4096];
    loop {
        match ready.try_io(|fd| Ok(rustix::io::read(fd, &mut events)?)) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_would_block) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_cursor_follows_two_rotations() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::new(temp.path());
        let mut cursor = Cursor::new(dir.clone());
        let mut read = || String::from_utf8(cursor.read().unwrap()).unwrap();
        assert_eq!(read(), "");
        fs::write(dir.log(), "a\nb").unwrap();
        assert_eq!(read(), "a\n");
        fs::write(dir.log(), "a\nbb\n").unwrap();
        fs::rename(dir.log(), dir.older_log()).unwrap();
        fs::write(dir.log(), "c\n").unwrap();
        assert_eq!(read(), "bb\nc\n");
        fs::rename(dir.log(), dir.older_log()).unwrap();
        fs::write(dir.log(), "d\n").unwrap();
        fs::rename(dir.log(), dir.older_log()).unwrap();
        fs::write(dir.log(), "e\n").unwrap();
        assert_eq!(read(), "d\ne\n");
        assert_eq!(read(), "");
    }
}
