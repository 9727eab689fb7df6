//! Usage that was recorded, played again: of each container a course of samples, all of them in one loop that began at
//! one moment, so that what happened together in the recording happens together here. Pure, and integers throughout.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

/// What memory is counted in: 32 bits of it are 16 TiB.
const PAGE: u64 = 4096;

/// One reading of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Seconds since the recording began.
    pub at: u32,
    /// CPU in use, thousandths of a core.
    pub cpu: u32,
    /// Memory held, in pages of 4 KiB.
    pages: u32,
}

impl Reading {
    /// One with this much CPU (thousandths of a core) and memory (bytes); more than 16 TiB is 16 TiB.
    pub fn new(at: u32, cpu: u32, memory: u64) -> Self {
        Self { at, cpu, pages: u32::try_from(memory.div_ceil(PAGE)).unwrap_or(u32::MAX) }
    }

    /// Memory held, in bytes.
    pub fn memory(&self) -> u64 {
        u64::from(self.pages) * PAGE
    }
}

/// The readings of one container, in the order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course(Box<[Reading]>);

impl Course {
    /// `None` without readings. They are put in order; of several at one second the last counts.
    pub fn new(mut readings: Vec<Reading>) -> Option<Self> {
        readings.sort_by_key(|it| it.at);
        readings.reverse();
        readings.dedup_by_key(|it| it.at);
        readings.reverse();
        (!readings.is_empty()).then(|| Self(readings.into_boxed_slice()))
    }

    /// The readings.
    pub fn readings(&self) -> &[Reading] {
        &self.0
    }

    /// The newest at this second of the loop. Before the first it is the last one: the loop has just come round.
    fn at(&self, second: u32) -> Reading {
        let after = self.0.partition_point(|it| it.at <= second);
        self.0[after.checked_sub(1).unwrap_or(self.0.len() - 1)]
    }

    /// The most memory it ever holds, in bytes.
    fn most_memory(&self) -> u64 {
        self.0.iter().map(Reading::memory).max().unwrap_or(0)
    }
}

/// All containers of a recording, by who plays them.
#[derive(Debug)]
pub struct Recording {
    origin: Timestamp,
    length: u32,
    courses: HashMap<String, Played>,
}

/// A course as one container plays it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Played {
    course: Arc<Course>,
    origin: Timestamp,
    length: u32,
    /// How far ahead of the others it is, seconds.
    ahead: u32,
}

impl Recording {
    /// An empty one: a loop of `length` seconds that begins at `origin`.
    pub fn new(origin: Timestamp, length: u32) -> Self {
        Self { origin, length: length.max(1), courses: HashMap::new() }
    }

    /// A container of a pod is to play this course, so many seconds ahead of the recording.
    pub fn play(&mut self, namespace: &str, pod: &str, container: &str, course: Arc<Course>, ahead: u32) {
        let played = Played { course, origin: self.origin, length: self.length, ahead };
        self.courses.insert(key(namespace, pod, container), played);
    }

    /// How many containers play something.
    pub fn len(&self) -> usize {
        self.courses.len()
    }

    /// Whether nobody plays anything.
    pub fn is_empty(&self) -> bool {
        self.courses.is_empty()
    }

    /// What this container plays.
    pub(super) fn of(&self, namespace: &str, pod: &str, container: &str) -> Option<Played> {
        self.courses.get(&key(namespace, pod, container)).cloned()
    }
}

/// None of the three has a slash.
fn key(namespace: &str, pod: &str, container: &str) -> String {
    format!("{namespace}/{pod}/{container}")
}

impl Played {
    fn reading(&self, at: Timestamp) -> Reading {
        let since = at.as_second().saturating_sub(self.origin.as_second());
        let second = since.saturating_add(i64::from(self.ahead)).rem_euclid(i64::from(self.length));
        self.course.at(u32::try_from(second).unwrap_or(0))
    }

    /// CPU at this moment, thousandths of a core.
    pub(super) fn cpu_at(&self, at: Timestamp) -> u64 {
        u64::from(self.reading(at).cpu)
    }

    /// Memory at this moment, bytes.
    pub(super) fn memory_at(&self, at: Timestamp) -> u64 {
        self.reading(at).memory()
    }

    /// The most memory it ever holds, in bytes.
    pub(super) fn most_memory(&self) -> u64 {
        self.course.most_memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(length: u32, ahead: u32, second: i64, expect: (u64, u64)) {
        let origin = Timestamp::from_second(1_000).unwrap();
        let readings = vec![Reading::new(60, 200, 8192), Reading::new(0, 100, 4097), Reading::new(60, 250, 12_288)];
        let mut recording = Recording::new(origin, length);
        recording.play("n", "p", "c", Arc::new(Course::new(readings).unwrap()), ahead);
        let played = recording.of("n", "p", "c").unwrap();
        let at = Timestamp::from_second(1_000 + second).unwrap();
        assert_eq!((played.cpu_at(at), played.memory_at(at)), expect, "second {second}");
        assert_eq!(played.most_memory(), 12_288);
    }

    #[test]
    fn a_recording_goes_round() {
        check(120, 0, 0, (100, 8192));
        check(120, 0, 59, (100, 8192));
        check(120, 0, 60, (250, 12_288));
        check(120, 0, 120, (100, 8192));
        check(120, 0, -1, (250, 12_288));
        check(120, 30, 30, (250, 12_288));
        check(0, 0, 7, (100, 8192));
    }

    #[test]
    fn who_plays_nothing_and_what_is_nothing() {
        assert_eq!(Recording::new(Timestamp::UNIX_EPOCH, 1).of("n", "p", "c"), None);
        assert_eq!(Course::new(Vec::new()), None);
        assert_eq!(Reading::new(0, 0, u64::MAX).memory(), u64::from(u32::MAX) * PAGE);
    }
}
