//! A container's output on its way into its log: cut into lines, each with its time and stream, in a bounded file.
//!
//! The format is the CRI's: `TIME STREAM TAG TEXT`, where the tag is `F` for a full line and `P` for a part of one that
//! was too long, continued by the next entry of the same stream.

use std::fs::{self, File};
use std::io::{self, Write as _};

use super::record::RunDir;

/// A line longer than this is cut into parts, so that output without line ends takes no memory.
const LONGEST: usize = 16 << 10;

/// What one stream has written since its last line end.
#[derive(Debug)]
pub struct Lines {
    stream: &'static str,
    rest: Vec<u8>,
}

impl Lines {
    /// Lines of `stdout` or `stderr`.
    pub fn of(stream: &'static str) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Take `bytes`; put the entries they complete into `out`, stamped `now`.
    pub fn take(&mut self, bytes: &[u8], now: &str, out: &mut Vec<u8>) {
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            self.rest.extend_from_slice(piece);
            while self.rest.len() > LONGEST {
                let later = self.rest.split_off(LONGEST);
                self.entry(b"P", now, out);
                self.rest = later;
            }
            if self.rest.last() == Some(&b'\n') {
                self.rest.pop();
                self.entry(b"F", now, out);
            }
        }
    }

    /// The stream has ended: what it left without a line end is a line too.
    pub fn finish(&mut self, now: &str, out: &mut Vec<u8>) {
        if !self.rest.is_empty() {
            self.entry(b"F", now, out);
        }
    }

    fn entry(&mut self, tag: &[u8], now: &str, out: &mut Vec<u8>) {
        for part in [now.as_bytes(), b" ", self.stream.as_bytes(), b" ", tag, b" ", &self.rest, b"\n"] {
            out.extend_from_slice(part);
        }
        self.rest.clear();
    }
}

/// The file: at most `limit` bytes, plus one older file of the same size.
#[derive(Debug)]
pub struct Writer {
    dir: RunDir,
    limit: u64,
    file: Option<File>,
    size: u64,
    /// The last write failed in the middle: the next entry needs a line of its own.
    torn: bool,
}

impl Writer {
    /// Append to the log in `dir`.
    pub fn open(dir: RunDir, limit: u64) -> Self {
        Self { dir, limit: limit.max(1), file: None, size: 0, torn: false }
    }

    /// Append entries. What cannot be written (a full disk) is lost: a container must not stop because its log does.
    pub fn append(&mut self, entries: &[u8]) {
        if entries.is_empty() {
            return;
        }
        self.torn = self.try_append(entries).is_err();
    }

    fn try_append(&mut self, mut entries: &[u8]) -> io::Result<()> {
        while !entries.is_empty() {
            let room = usize::try_from(self.limit.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let now = fitting(entries, room, self.size == 0);
            if now.is_empty() {
                self.file = None;
                self.size = 0;
                fs::rename(self.dir.log(), self.dir.older_log())?;
                continue;
            }
            self.write(now)?;
            entries = entries.get(now.len()..).unwrap_or_default();
        }
        Ok(())
    }

    fn write(&mut self, entries: &[u8]) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = File::options().create(true).append(true).open(self.dir.log())?;
                self.size = file.metadata()?.len();
                file
            }
        };
        if self.torn {
            file.write_all(b"\n")?;
        }
        let written = file.write_all(entries);
        self.size = self.size.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        self.file = Some(file);
        written
    }
}

/// As many whole entries from the front as fit into `room`; at least one where `must` is set, because an entry larger
/// than a whole file must go somewhere.
fn fitting(entries: &[u8], room: usize, must: bool) -> &[u8] {
    if entries.len() <= room {
        return entries;
    }
    let fits = entries.get(..room).unwrap_or_default().iter().rposition(|&b| b == b'\n');
    let first = || entries.iter().position(|&b| b == b'\n').unwrap_or(entries.len().saturating_sub(1));
    let end = fits.or_else(|| must.then(first));
    end.and_then(|end| entries.get(..=end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(chunks: &[&str], expect: &str) {
        let (mut lines, mut out) = (Lines::of("stdout"), Vec::new());
        for chunk in chunks {
            lines.take(chunk.as_bytes(), "T", &mut out);
        }
        lines.finish("T", &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expect, "{chunks:?}");
    }

    #[test]
    fn lines_are_made_of_chunks() {
        check(&["a\nb", "c\n", "\n", "d"], "T stdout F a\nT stdout F bc\nT stdout F \nT stdout F d\n");
        check(&[], "");
        let long = "x".repeat(LONGEST);
        check(&[&long, "yz\n"], &format!("T stdout P {long}\nT stdout F yz\n"));
        check(&[&long, "\n"], &format!("T stdout P {long}\nT stdout F \n"));
    }

    #[test]
    fn the_log_stays_within_its_bound() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::new(temp.path());
        let mut writer = Writer::open(dir.clone(), 30);
        for n in 0..10 {
            writer.append(format!("T stdout F line{n}\n").as_bytes());
        }
        let read = |path| fs::read_to_string(path).unwrap();
        assert_eq!(read(dir.log()), "T stdout F line9\n");
        assert_eq!(read(dir.older_log()), "T stdout F line8\n");
        // All at once it is no more; what is larger than a file has one to itself.
        writer.append(b"T stdout F a\nT stdout F b\nT stdout F 0123456789012345678901234567890\nT stdout F c\n");
        assert_eq!(read(dir.log()), "T stdout F c\n");
        assert_eq!(read(dir.older_log()), "T stdout F 0123456789012345678901234567890\n");
    }
}
