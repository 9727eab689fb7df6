//! The file that what was learned is kept in beside the cluster: written after every round while it is small, so that a process
//! that is killed forgets one round at most, the open window included; a large one every few rounds.
//!
//! ```text
//! {"file":"supple history","version":1,"written":"2026-01-01T00:00:00Z"}
//! {"namespace":"shop","kind":"Deployment","name":"web","container":"app","fresh":"…","state":"base64"}     one a container
//! {"pages":1,"sum":"cbf29ce484222325"}
//! ```
//!
//! Always written anew beside the old one, made durable, and put in its place in one step: whoever is killed meanwhile leaves the
//! old one or the new one. What stands there otherwise was done to it by somebody else, and is set aside.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use supple_decide::key::WorkloadKey;

/// What the first line calls it.
const NAME: &str = "supple history";

/// The version that is written, and the newest that is read.
const VERSION: u32 = 1;

/// A longer file is not read: a hundred thousand containers fit into it.
const LONGEST: u64 = 128 << 20;

/// What is known of one container of one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Whose.
    pub workload: WorkloadKey,
    /// Which.
    pub container: Arc<str>,
    /// The newest sample it rests on.
    pub fresh: Option<Timestamp>,
    /// The state of its recommender ([`supple_recommend::state::State::save`]).
    pub state: Vec<u8>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryFileError {
    /// It cannot be opened, read or written.
    #[error("{operation} the history file {}: {source}; check that the directory exists and is writable", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process writes it.
    #[error("the history file {} is in use by another process; set a different --history-file for each", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error(
        "the history file {} has version {version}, and this program reads up to version {VERSION}: run the newer \
         program, or move the file away to start from the Rightsizing objects",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// The file, held by this process alone.
#[derive(Debug)]
pub struct HistoryFile {
    path: PathBuf,
    /// Held for as long as this lives; given back by the kernel however the process ends.
    _lock: File,
}

/// What was found in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What was kept.
    pub pages: Vec<Page>,
    /// What was wrong with the file, if it had to be set aside.
    pub set_aside: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    file: String,
    version: u32,
    #[serde(default)]
    written: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Line {
    namespace: Arc<str>,
    kind: Arc<str>,
    name: Arc<str>,
    container: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fresh: Option<Timestamp>,
    state: String,
}

#[derive(Serialize, Deserialize)]
struct Foot {
    pages: usize,
    sum: String,
}

/// Why a text is no history.
#[derive(Debug, PartialEq, Eq)]
enum Unreadable {
    Newer(u32),
    Damaged(String),
}

impl HistoryFile {
    /// Take hold of the file and read what it keeps; one that is not there keeps nothing.
    ///
    /// # Errors
    /// [`HistoryFileError`]. A file that is damaged is none: it is renamed to `FILE.damaged`, and [`Found`] says so.
    pub fn open(path: &Path) -> Result<(Self, Found), HistoryFileError> {
        let fail =
            |operation: &'static str| move |source| HistoryFileError::Io { operation, path: path.to_owned(), source };
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(beside(path, ".lock"));
        let lock = lock.map_err(fail("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HistoryFileError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(fail("lock")(error)),
        }
        let file = Self { path: path.to_owned(), _lock: lock };
        let read = match File::open(path) {
            Ok(opened) => {
                let mut bytes = Vec::new();
                opened.take(LONGEST + 1).read_to_end(&mut bytes).map_err(fail("read"))?;
                bytes
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((file, Found::default())),
            Err(error) => return Err(fail("open")(error)),
        };
        match decode(&read) {
            Ok(pages) => Ok((file, Found { pages, set_aside: None })),
            Err(Unreadable::Newer(version)) => Err(HistoryFileError::Newer { path: path.to_owned(), version }),
            Err(Unreadable::Damaged(why)) => {
                let aside = beside(path, ".damaged");
                std::fs::rename(path, &aside).map_err(fail("set aside"))?;
                let why = format!(
                    "cannot read the history file {} ({why}); it is moved to {}, and the history of the Rightsizing \
                     objects is used",
                    path.display(),
                    aside.display()
                );
                Ok((file, Found { pages: Vec::new(), set_aside: Some(why) }))
            }
        }
    }

    /// Keep these pages in place of those before. They are durable when this returns.
    ///
    /// # Errors
    /// [`HistoryFileError::Io`]; then those before are kept.
    pub fn save(&self, pages: &[Page], now: Timestamp) -> Result<(), HistoryFileError> {
        let fail =
            |operation: &'static str| move |source| HistoryFileError::Io { operation, path: self.path.clone(), source };
        let new = beside(&self.path, ".new");
        let file = File::create(&new).map_err(fail("write"))?;
        let mut out = BufWriter::new(file);
        encode(pages, now, &mut out).map_err(fail("write"))?;
        let file = out.into_inner().map_err(|error| fail("write")(error.into_error()))?;
        file.sync_all().map_err(fail("make durable"))?;
        std::fs::rename(&new, &self.path).map_err(fail("replace"))?;
        // The new name is durable with its directory.
        let parent = self.path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|it| it.sync_all()).map_err(fail("make durable"))
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// FNV-1a, of all that stands before the last line: against what a disk or an editor does, not against an enemy.
fn sum(bytes: &[u8], sum: u64) -> u64 {
    bytes.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

fn encode(pages: &[Page], now: Timestamp, out: &mut impl std::io::Write) -> std::io::Result<()> {
    let mut total = EMPTY;
    put(&Head { file: NAME.to_owned(), version: VERSION, written: now }, &mut total, out)?;
    for Page { workload: WorkloadKey { namespace, kind, name }, container, fresh, state } in pages {
        let line = Line {
            namespace: namespace.clone(),
            kind: kind.clone(),
            name: name.clone(),
            container: container.clone(),
            fresh: *fresh,
            state: STANDARD.encode(state),
        };
        put(&line, &mut total, out)?;
    }
    let sum = format!("{total:016x}");
    put(&Foot { pages: pages.len(), sum }, &mut total, out)
}

fn put<T: Serialize>(value: &T, total: &mut u64, out: &mut impl std::io::Write) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    *total = sum(&line, *total);
    out.write_all(&line)
}

fn decode(bytes: &[u8]) -> Result<Vec<Page>, Unreadable> {
    let damaged = |why: &str| Unreadable::Damaged(why.to_owned());
    let mut lines = bytes.split_inclusive(|it| *it == b'\n');
    let first = lines.next().ok_or_else(|| damaged("it is empty"))?;
    let head: Head = serde_json::from_slice(first).map_err(|_| {
        damaged(
            "its first line is not the header of a \
     history",
        )
    })?;
    if head.file != NAME {
        return Err(damaged("its first line is of another kind of file"));
    }
    if head.version > VERSION {
        return Err(Unreadable::Newer(head.version)); // before anything else of it is looked at
    }
    if u64::try_from(bytes.len()).is_ok_and(|it| it > LONGEST) {
        return Err(damaged("it is too long"));
    }
    let mut pages = BTreeMap::new();
    let (mut total, mut read) = (sum(first, EMPTY), 0_usize);
    for line in lines {
        if let Ok(foot) = serde_json::from_slice::<Foot>(line) {
            let whole = foot.pages == read && foot.sum == format!("{total:016x}");
            return if whole { Ok(pages.into_values().collect()) } else { Err(damaged("its checksum does not match")) };
        }
        let page: Line =
            serde_json::from_slice(line).map_err(|_| Unreadable::Damaged(format!("line {} is not valid", read + 2)))?;
        let state = STANDARD.decode(&page.state);
        let state = state.map_err(|_| Unreadable::Damaged(format!("the state in line {} is not base64", read + 2)))?;
        let Line { namespace, kind, name, container, fresh, .. } = page;
        let workload = WorkloadKey { namespace, kind, name };
        let page = Page { workload: workload.clone(), container: container.clone(), fresh, state };
        pages.insert((workload, container), page);
        (total, read) = (sum(line, total), read + 1);
    }
    Err(damaged("it ends too early"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(name: &str, state: &[u8]) -> Page {
        let workload = WorkloadKey { namespace: "shop".into(), kind: "Deployment".into(), name: name.into() };
        Page { workload, container: "app".into(), fresh: Timestamp::from_second(7).ok(), state: state.to_vec() }
    }

    fn text(pages: &[Page]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(pages, Timestamp::UNIX_EPOCH, &mut out).unwrap();
        out
    }

    #[track_caller]
    fn check(bytes: &[u8], expect: &str) {
        match decode(bytes) {
            Err(Unreadable::Damaged(why)) => assert_eq!(why, expect),
            other => panic!("{other:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn what_is_no_history_is_said() {
        let whole = text(&[page("a", &[1, 2]), page("b", &[3])]);
        check(b"", "it is empty");
        check(b"hello\n", "its first line is not the header of a history");
        check(br#"{"file":"audit","version":1}"#, "its first line is of another kind of file");
        let cut = whole.iter().rposition(|it| *it == b'{').unwrap();
        check(&whole[..cut], "it ends too early");
        check(&whole[..cut - 9], "line 3 is not valid");
        let changed = String::from_utf8(whole).unwrap().replace("AQI=", "AQM=");
        check(changed.as_bytes(), "its checksum does not match");
        check(changed.replace("AQM=", "A").as_bytes(), "the state in line 2 is not base64");
    }

    #[test]
    fn what_was_kept_is_found_and_only_one_process_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let (file, found) = HistoryFile::open(&path).unwrap();
        assert_eq!(found, Found::default());
        let pages = [page("a", &[1, 2]), page("b", &[])];
        file.save(&[page("c", &[9])], Timestamp::UNIX_EPOCH).unwrap();
        file.save(&pages, Timestamp::UNIX_EPOCH).unwrap();
        let in_use = HistoryFile::open(&path).unwrap_err().to_string();
        assert!(in_use.ends_with("is in use by another process; set a different --history-file for each"), "{in_use}");
        drop(file);
        assert_eq!(HistoryFile::open(&path).unwrap().1.pages, pages);
    }

    #[test]
    fn a_newer_file_is_refused_and_a_damaged_one_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        std::fs::write(&path, r#"{"file":"supple history","version":2,"anything":[]}"#).unwrap();
        let error = HistoryFile::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("has version 2, and this program reads up to version 1: run the newer program"),
            "{error}"
        );
        assert!(path.exists(), "it is left as it is");
        std::fs::write(&path, "rubbish").unwrap();
        let (file, found) = HistoryFile::open(&path).unwrap();
        assert!(found.set_aside.unwrap().contains("its first line is not the header of a history"));
        assert_eq!(std::fs::read(folder.path().join("history.damaged")).unwrap(), b"rubbish");
        file.save(&[], Timestamp::UNIX_EPOCH).unwrap();
        let nowhere = HistoryFile::open(&folder.path().join("no/such/history")).unwrap_err().to_string();
        assert!(nowhere.contains("check that the directory exists"), "{nowhere}");
    }

    proptest! {
        #[test]
        fn every_page_survives(states in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..9)) {
            let named = states.iter().enumerate();
            let pages: Vec<Page> = named.map(|(index, state)| page(&format!("\"{index}\n"), state)).collect();
            prop_assert_eq!(decode(&text(&pages)).unwrap(), pages);
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..400, headed in any::<bool>()) {
            let mut all = if headed { text(&[page("a", &[1, 2, 3])]) } else { Vec::new() };
            all.truncate(at);
            all.extend(bytes);
            let _ = decode(&all);
        }
    }
}
