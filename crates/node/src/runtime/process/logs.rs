//! A container's log on its way out: which entries are wanted, and following it while it grows and rotates.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use rustix::fs::inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::kernel::readiness;
use crate::runtime::LogOptions;
use crate::shim::record::RunDir;

/// How much is sent at once.
const CHUNK: usize = 32 << 10;

/// One entry of a log file: `TIME STREAM TAG TEXT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    time: &'a [u8],
    /// Ends a line, as opposed to a part of a long one.
    full: bool,
    text: &'a [u8],
}

/// `None` for a line that is no entry: one torn by a full disk.
fn entry(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = line.splitn(4, |&b| b == b' ');
    let (time, stream, tag, text) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let known = matches!(stream, b"stdout" | b"stderr") && matches!(tag, b"F" | b"P");
    known.then_some(Entry { time, full: tag == b"F", text })
}

/// Picks entries and writes them as the reader wants them.
#[derive(Debug)]
struct Selection {
    options: LogOptions,
    /// Bytes that may still be sent.
    left: u64,
    /// The next entry begins a line, so it may be given its time.
    at_line_start: bool,
}

impl Selection {
    fn new(options: LogOptions) -> Self {
        let left = options.limit_bytes.unwrap_or(u64::MAX);
        Self { options, left, at_line_start: true }
    }

    fn wants(&self, entry: &Entry<'_>) -> bool {
        let Some(since) = self.options.since else { return true };
        let time = std::str::from_utf8(entry.time).ok().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        time.is_some_and(|time| time >= since)
    }

    /// Append the entry to `out`, cut where the limit is.
    fn put(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let before = out.len();
        if self.options.timestamps && self.at_line_start {
            out.extend_from_slice(entry.time);
            out.push(b' ');
        }
        out.extend_from_slice(entry.text);
        if entry.full {
            out.push(b'\n');
        }
        self.at_line_start = entry.full;
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        out.truncate(before.saturating_add(room));
        self.left -= u64::try_from(out.len() - before).unwrap_or(u64::MAX).min(self.left);
    }
}

/// The entries of `text`, which begins at the start of one.
fn entries(text: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    text.split(|&b| b == b'\n').filter_map(entry)
}

/// What is in the log already. The files are bounded by rotation, so reading them whole is bounded too.
fn select(text: &[u8], selection: &mut Selection) -> Vec<u8> {
    let mut out = Vec::new();
    match selection.options.tail_lines {
        None => {
            for it in entries(text) {
                if selection.wants(&it) {
                    selection.put(&it, &mut out);
                }
            }
        }
        Some(lines) => {
            let lines = usize::try_from(lines).unwrap_or(usize::MAX);
            let (mut kept, mut whole) = (VecDeque::new(), 0_usize);
            for it in entries(text) {
                if selection.wants(&it) {
                    kept.push_back(it);
                    whole += usize::from(it.full);
                }
                // A line still being written counts as one.
                while whole + usize::from(kept.back().is_some_and(|it| !it.full)) > lines {
                    match kept.pop_front() {
                        Some(first) => whole -= usize::from(first.full),
                        None => break,
                    }
                }
            }
            for it in &kept {
                selection.put(it, &mut out);
            }
        }
    }
    out
}

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
        true => Some(watch(&dir).map_err(Some)?),
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
            selection.options.tail_lines = None;
            io::Result::Ok((cursor, selection, text))
        })
        .await
        .map_err(|error| Some(io::Error::other(error)))?
        .map_err(Some)?;
        (cursor, selection) = (next_cursor, next_selection);
        for chunk in text.chunks(CHUNK) {
            out.send(Ok(Bytes::copy_from_slice(chunk))).await.map_err(|_| None)?;
        }
        if over || selection.left == 0 {
            return Ok(());
        }
        let Some(changes) = &mut changes else { return Ok(()) };
        tokio::select! {
            changed = changed(changes) => changed.map_err(Some)?,
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
    use proptest::prelude::*;
    use std::fs;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n\
                       2026-01-01T00:00:02Z stderr F o\ntorn\n2026-01-01T00:00:03.5Z stdout F three\n";

    #[track_caller]
    fn check(options: LogOptions, expect: &str) {
        let out = select(LOG.as_bytes(), &mut Selection::new(options.clone()));
        assert_eq!(String::from_utf8_lossy(&out), expect, "{options:?}");
    }

    #[test]
    fn options_pick_and_cut() {
        let all = LogOptions::default;
        check(all(), "one\ntwo\nthree\n");
        check(LogOptions { tail_lines: Some(2), ..all() }, "two\nthree\n");
        check(LogOptions { tail_lines: Some(0), ..all() }, "");
        check(LogOptions { tail_lines: Some(9), ..all() }, "one\ntwo\nthree\n");
        check(LogOptions { since: "2026-01-01T00:00:02Z".parse().ok(), ..all() }, "two\nthree\n");
        check(LogOptions { since: "2026-01-01T00:00:03.5Z".parse().ok(), ..all() }, "three\n");
        check(LogOptions { limit_bytes: Some(5), ..all() }, "one\nt");
        check(LogOptions { limit_bytes: Some(0), ..all() }, "");
        check(
            LogOptions { timestamps: true, ..all() },
            "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n2026-01-01T00:00:03.5Z three\n",
        );
    }

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

    proptest! {
        #[test]
        fn no_log_panics(text in proptest::collection::vec(any::<u8>(), 0..300), tail in proptest::option::of(0_u64..4),
                         limit in proptest::option::of(0_u64..99), timestamps: bool) {
            let options = LogOptions { tail_lines: tail, limit_bytes: limit, timestamps, ..LogOptions::default() };
            let out = select(&text, &mut Selection::new(options));
            prop_assert!(limit.is_none_or(|limit| out.len() as u64 <= limit));
        }
    }
}
