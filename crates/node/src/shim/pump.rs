//! A container's two output pipes on their way into its log, while something else is waited for.

use std::io::{self, PipeReader, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::log::{Lines, Writer};

/// Why [`Pump::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There was output, and it has been logged.
    Output,
    /// The other thing at this index is ready.
    Other(usize),
    /// Nothing came in time.
    Nothing,
}

/// Both pipes and the log.
#[derive(Debug)]
pub struct Pump {
    streams: [(Option<PipeReader>, Lines); 2],
    buffer: Vec<u8>,
    log: Writer,
}

impl Pump {
    /// Log what comes from these pipes.
    pub fn new([stdout, stderr]: [PipeReader; 2], log: Writer) -> Self {
        let streams = [(Some(stdout), Lines::of("stdout")), (Some(stderr), Lines::of("stderr"))];
        Self { streams, buffer: vec![0; 32 << 10], log }
    }

    /// Wait for output, which is logged, or for one of `others`, which come first.
    ///
    /// # Errors
    /// What `poll` says.
    pub fn wait(&mut self, others: &[&OwnedFd], timeout: Option<Duration>) -> io::Result<Woken> {
        let open = self.streams.iter().filter_map(|(stream, _)| stream.as_ref());
        let mut polled: Vec<PollFd<'_>> = others.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
        polled.extend(open.map(|it| PollFd::from_borrowed_fd(it.as_fd(), PollFlags::IN)));
        let timeout = timeout.map(|it| Timespec {
            tv_sec: i64::try_from(it.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(it.subsec_nanos()),
        });
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) => return Ok(Woken::Nothing),
            // An interrupted wait has seen nothing; the next one sees it.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = polled.iter().map(|it| !it.revents().is_empty()).collect();
        let (first, mut readable) = (ready.iter().position(|it| *it), ready.iter().skip(others.len()));
        if let Some(index) = first.filter(|index| *index < others.len()) {
            return Ok(Woken::Other(index));
        }
        let (now, mut entries) = (Timestamp::now().to_string(), Vec::new());
        for (stream, lines) in &mut self.streams {
            let Some(pipe) = stream else { continue };
            if readable.next() != Some(&true) {
                continue;
            }
            let read = match pipe.read(&mut self.buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            match self.buffer.get(..read) {
                Some([]) | None => *stream = None,
                Some(bytes) => lines.take(bytes, &now, &mut entries),
            }
        }
        self.log.append(&entries);
        Ok(Woken::Output)
    }

    /// Nobody is left who could write: log the rest. The ends of file are there at once, unless a pipe was handed out
    /// of the container; that one is given up after `patience`.
    pub fn finish(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.streams.iter().any(|(stream, _)| stream.is_some()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !matches!(self.wait(&[], Some(left)), Ok(Woken::Output)) {
                break;
            }
        }
        let (now, mut rest) = (Timestamp::now().to_string(), Vec::new());
        for (_, lines) in &mut self.streams {
            lines.finish(&now, &mut rest);
        }
        self.log.append(&rest);
    }
}
