//! The checkpoint file: two redb tables, `allocated` and `actuated`, from a pod's UID to JSON, and a log.
//!
//! JSON because the records are small, a person can read them in a dump, and the resource types already have it.
//!
//! Each record stands on a page of its own, as pods come in no order. Where many are written together that page is what a
//! record costs, so they go into the log first, all of a commit in one value, and from there into the tables some thousand at
//! a time, when a change comes alone, or at the next start. What stands in the log is newer than what stands in the tables.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use supple_resize::actuate::Actuated;

use super::{Allocated, Backing, Change, CheckpointError, Records};
use crate::options::OpenDatabase;

const ALLOCATED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("allocated");
const ACTUATED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("actuated");

/// In order of its keys, each value an array of [`Line`]s.
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// How many lines the log may have: they are kept in memory, too.
const LOG_MOST: usize = 2048;

/// The records are a few hundred bytes a pod; this holds those of a full node of a hundred, and of more the upper levels.
const CACHE_BYTES: usize = 2 << 20;

/// The open file.
pub(super) struct File {
    path: PathBuf,
    open: OpenDatabase,
    /// `None` after an error: redb refuses everything after one, so the next commit opens the file again.
    database: Option<Database>,
    /// What the log has, unless a commit of which it is not known whether it took place has added to it or emptied it: the
    /// next one then overwrites that, or says the same again.
    log: Vec<Line<'static>>,
    /// The key of its next value.
    next: u64,
}

/// A change, as the log has it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Line<'a> {
    Allocated(Cow<'a, str>, Cow<'a, Allocated>),
    Actuated(Cow<'a, str>, Cow<'a, Actuated>),
    Forgotten(Cow<'a, str>),
}

impl<'a> Line<'a> {
    fn of((uid, change): &'a (String, Change)) -> Self {
        let uid = Cow::Borrowed(uid.as_str());
        match change {
            Change::Allocated(record) => Self::Allocated(uid, Cow::Borrowed(record)),
            Change::Actuated(record) => Self::Actuated(uid, Cow::Borrowed(record)),
            Change::Forgotten => Self::Forgotten(uid),
        }
    }

    fn into_owned(self) -> Line<'static> {
        let own = |uid: Cow<'_, str>| Cow::Owned(uid.into_owned());
        match self {
            Self::Allocated(uid, record) => Line::Allocated(own(uid), Cow::Owned(record.into_owned())),
            Self::Actuated(uid, record) => Line::Actuated(own(uid), Cow::Owned(record.into_owned())),
            Self::Forgotten(uid) => Line::Forgotten(own(uid)),
        }
    }
}

impl File {
    /// Open or create the file and read all records in it.
    pub(super) fn open(path: PathBuf) -> Result<(Self, BTreeMap<String, Records>), CheckpointError> {
        let from = path.clone();
        Self::given(path, Arc::new(move |builder| open_file(builder, &from)))
    }

    /// As [`File::open`], on the database that `open` opens; `path` is what messages call it.
    pub(super) fn given(
        path: PathBuf,
        open: OpenDatabase,
    ) -> Result<(Self, BTreeMap<String, Records>), CheckpointError> {
        let mut file = Self { path, open, database: None, log: Vec::new(), next: 0 };
        let records = file.read()?;
        Ok((file, records))
    }

    fn database(&mut self) -> Result<&Database, CheckpointError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => (self.open)(Database::builder().set_cache_size(CACHE_BYTES)).map_err(|e| self.error("open", &e))?,
        };
        Ok(self.database.insert(database))
    }

    fn error(&self, operation: &'static str, error: &dyn std::error::Error) -> CheckpointError {
        CheckpointError { operation, path: self.path.clone(), message: error.to_string() }
    }

    fn read(&mut self) -> Result<BTreeMap<String, Records>, CheckpointError> {
        let path = self.path.clone();
        let fail =
            |error: redb::Error| CheckpointError { operation: "read", path: path.clone(), message: error.to_string() };
        let database = self.database()?;
        let mut records = BTreeMap::<String, Records>::new();
        // A write transaction, because it creates the tables of a new file, and brings what the log has into them.
        let transaction = database.begin_write().map_err(|e| fail(e.into()))?;
        let mut log = Vec::new();
        {
            let table = transaction.open_table(LOG).map_err(|e| fail(e.into()))?;
            for row in table.iter().map_err(|e| fail(e.into()))? {
                let (at, value) = row.map_err(|e| fail(e.into()))?;
                let lines: Vec<Line<'static>> =
                    decode(&path, &format!("line {} of the log", at.value()), value.value())?;
                log.extend(lines);
            }
        }
        settle(&transaction, &path, &log)?;
        {
            let table = transaction.open_table(ALLOCATED).map_err(|e| fail(e.into()))?;
            for row in table.iter().map_err(|e| fail(e.into()))? {
                let (uid, value) = row.map_err(|e| fail(e.into()))?;
                let allocated: Allocated = decode(&path, &format!("the record of pod {}", uid.value()), value.value())?;
                records.entry(uid.value().to_owned()).or_default().allocated = Some(allocated);
            }
            let table = transaction.open_table(ACTUATED).map_err(|e| fail(e.into()))?;
            for row in table.iter().map_err(|e| fail(e.into()))? {
                let (uid, value) = row.map_err(|e| fail(e.into()))?;
                let actuated: Actuated = decode(&path, &format!("the record of pod {}", uid.value()), value.value())?;
                records.entry(uid.value().to_owned()).or_default().actuated = Some(actuated);
            }
        }
        transaction.commit().map_err(|e| fail(e.into()))?;
        self.log = Vec::new();
        Ok(records)
    }

    fn write(&mut self, changes: &[(String, Change)]) -> Result<(), CheckpointError> {
        let path = self.path.clone();
        let fail =
            |error: redb::Error| CheckpointError { operation: "write", path: path.clone(), message: error.to_string() };
        let lines: Vec<Line<'_>> = changes.iter().map(Line::of).collect();
        let is_logged = lines.len() > 1 && self.log.len() + lines.len() <= LOG_MOST;
        let next = self.next;
        let transaction = self.database()?.begin_write().map_err(|e| fail(e.into()))?;
        if is_logged {
            let mut log = transaction.open_table(LOG).map_err(|e| fail(e.into()))?;
            log.insert(next, encode(&path, &lines)?.as_slice()).map_err(|e| fail(e.into()))?;
        } else {
            settle(&transaction, &path, self.log.iter().chain(&lines))?;
        }
        transaction.commit().map_err(|e| fail(e.into()))?;
        if is_logged {
            self.log.extend(lines.into_iter().map(Line::into_owned));
            self.next += 1;
        } else {
            self.log = Vec::new();
        }
        Ok(())
    }
}

/// Brings these lines into the tables, of those about one pod the last, and empties the log.
fn settle<'a, 'b: 'a>(
    transaction: &WriteTransaction,
    path: &Path,
    lines: impl IntoIterator<Item = &'a Line<'b>>,
) -> Result<(), CheckpointError> {
    let fail =
        |error: redb::Error| CheckpointError { operation: "write", path: path.to_owned(), message: error.to_string() };
    /// What becomes of a row, if anything does: it is another, or is gone.
    type Row<'a, T> = Option<Option<&'a T>>;
    let mut rows = BTreeMap::<&str, (Row<'_, Allocated>, Row<'_, Actuated>)>::new();
    for line in lines {
        match line {
            Line::Allocated(uid, record) => rows.entry(uid).or_default().0 = Some(Some(record)),
            Line::Actuated(uid, record) => rows.entry(uid).or_default().1 = Some(Some(record)),
            Line::Forgotten(uid) => _ = rows.insert(uid, (Some(None), Some(None))),
        }
    }
    let mut allocated = transaction.open_table(ALLOCATED).map_err(|e| fail(e.into()))?;
    let mut actuated = transaction.open_table(ACTUATED).map_err(|e| fail(e.into()))?;
    for (uid, (promise, deed)) in rows {
        let rows = [
            (&mut allocated, promise.map(|it| it.map(|it| encode(path, it)).transpose())),
            (&mut actuated, deed.map(|it| it.map(|it| encode(path, it)).transpose())),
        ];
        for (table, row) in rows {
            match row.transpose()? {
                Some(Some(record)) => drop(table.insert(uid, record.as_slice()).map_err(|e| fail(e.into()))?),
                Some(None) => drop(table.remove(uid).map_err(|e| fail(e.into()))?),
                None => {}
            }
        }
    }
    let mut log = transaction.open_table(LOG).map_err(|e| fail(e.into()))?;
    log.retain(|_, _| false).map_err(|e| fail(e.into()))
}

/// Opens the file at `path`, or makes it: under another name first, because a file whose making was interrupted is no
/// database and could never be opened again.
fn open_file(builder: &redb::Builder, path: &Path) -> Result<Database, redb::DatabaseError> {
    if !path.try_exists().map_err(redb::StorageError::from)? {
        let unfinished = path.with_extension("unfinished");
        drop(
            builder.create_with_backend(redb::backends::FileBackend::new(
                std::fs::File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(&unfinished)
                    .map_err(redb::StorageError::from)?,
            )?)?,
        );
        std::fs::rename(&unfinished, path).map_err(redb::StorageError::from)?;
        // The name too is to outlive a power failure.
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(directory).and_then(|it| it.sync_all()).map_err(redb::StorageError::from)?;
    }
    builder.create(path)
}

impl Backing for File {
    fn commit(&mut self, changes: &[(String, Change)]) -> Result<(), CheckpointError> {
        let result = self.write(changes);
        if result.is_err() {
            self.database = None;
        }
        result
    }
}

fn encode(path: &Path, record: &impl Serialize) -> Result<Vec<u8>, CheckpointError> {
    serde_json::to_vec(record).map_err(|error| CheckpointError {
        operation: "encode a record for",
        path: path.to_owned(),
        message: error.to_string(),
    })
}

fn decode<T: DeserializeOwned>(path: &Path, what: &str, value: &[u8]) -> Result<T, CheckpointError> {
    serde_json::from_slice(value).map_err(|error| CheckpointError {
        operation: "read",
        path: path.to_owned(),
        message: format!(
            "{what} is not of this version ({error}); stop the cluster and remove the file: every pod is then \
             allocated the sizes in its spec"
        ),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceRequirements;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use supple_quantity::MilliCpu;
    use supple_resize::allocate::Allocation;
    use supple_resize::amounts::Amounts;
    use supple_resize::condition::ResizeConditions;

    use super::*;

    fn allocated(cpu: &str) -> Allocated {
        let requests = [("cpu".to_owned(), Quantity(cpu.to_owned()))].into();
        let container = ResourceRequirements { requests: Some(requests), ..Default::default() };
        let allocation = Allocation { containers: [("app".to_owned(), container)].into(), pod: None };
        let mut conditions = ResizeConditions::default();
        conditions.allocate(Some(2), jiff::Timestamp::UNIX_EPOCH);
        Allocated { allocation: Arc::new(allocation), conditions }
    }

    fn actuated(milli: i64) -> Actuated {
        let amounts = Amounts { cpu_request: MilliCpu(milli), ..Amounts::default() };
        Actuated { containers: [("app".to_owned(), amounts)].into(), pod: Some(amounts) }
    }

    #[test]
    fn what_was_committed_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.redb");
        let (mut file, records) = File::open(path.clone()).unwrap();
        assert!(records.is_empty());
        let allocated = allocated("150m");
        file.commit(&[
            ("one".into(), Change::Allocated(allocated.clone())),
            ("one".into(), Change::Actuated(actuated(100))),
            ("two".into(), Change::Allocated(Allocated::default())),
        ])
        .unwrap();
        file.commit(&[("two".into(), Change::Forgotten)]).unwrap();
        drop(file);
        let (_, records) = File::open(path).unwrap();
        let wanted = Records { allocated: Some(allocated), actuated: Some(actuated(100)) };
        assert_eq!(records, BTreeMap::from([("one".to_owned(), wanted)]));
    }

    #[test]
    fn the_log_is_newer_than_the_tables_wherever_the_node_stops() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.redb");
        let change = |uid: &str, change: Change| (uid.to_owned(), change);
        let commits = [
            vec![change("one", Change::Allocated(allocated("1"))), change("two", Change::Allocated(allocated("1")))],
            vec![change("one", Change::Allocated(allocated("2"))), change("one", Change::Actuated(actuated(2)))],
            vec![change("two", Change::Forgotten), change("one", Change::Actuated(actuated(3)))],
            vec![change("one", Change::Allocated(allocated("4")))], // alone: into the tables
            vec![change("two", Change::Allocated(allocated("5"))), change("two", Change::Actuated(actuated(5)))],
        ];
        let records = |allocated, actuated| Records { allocated, actuated };
        let states = [
            vec![("one", records(Some(allocated("1")), None)), ("two", records(Some(allocated("1")), None))],
            vec![
                ("one", records(Some(allocated("2")), Some(actuated(2)))),
                ("two", records(Some(allocated("1")), None)),
            ],
            vec![("one", records(Some(allocated("2")), Some(actuated(3))))],
            vec![("one", records(Some(allocated("4")), Some(actuated(3))))],
            vec![
                ("one", records(Some(allocated("4")), Some(actuated(3)))),
                ("two", records(Some(allocated("5")), Some(actuated(5)))),
            ],
        ];
        for (count, expected) in states.into_iter().enumerate() {
            let _ = std::fs::remove_file(&path);
            let (mut file, _) = File::open(path.clone()).unwrap();
            commits[..=count].iter().for_each(|changes| file.commit(changes).unwrap());
            drop(file);
            let expected: BTreeMap<_, _> = expected.into_iter().map(|(uid, it)| (uid.to_owned(), it)).collect();
            // Once from the log, and once from where the first start has brought it.
            for _ in 0..2 {
                assert_eq!(File::open(path.clone()).unwrap().1, expected, "after {} commits", count + 1);
            }
        }
    }

    #[test]
    fn the_log_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, _) = File::open(dir.path().join("c.redb")).unwrap();
        let pods = LOG_MOST / 3;
        for round in 1..=4 {
            let changes: Vec<_> = (0..pods).map(|it| (it.to_string(), Change::Actuated(actuated(round)))).collect();
            file.commit(&changes).unwrap();
            assert!(file.log.len() <= LOG_MOST);
        }
        assert!(file.log.is_empty(), "the fourth was too much");
        let records = file.read().unwrap();
        assert_eq!(records.len(), pods);
        assert!(records.values().all(|it| it.actuated == Some(actuated(4))));
    }

    #[test]
    fn a_file_that_is_no_checkpoint_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.redb");
        std::fs::write(&path, vec![b'x'; 8192]).unwrap();
        let error = File::open(path.clone()).err().expect("a text file is no database");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }

    #[test]
    fn writing_goes_on_after_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        std::fs::create_dir(&sub).unwrap();
        let (mut file, _) = File::open(sub.join("c.redb")).unwrap();
        // An error leaves no open database; the directory is away when the next commit opens it again.
        file.database = None;
        std::fs::rename(&sub, dir.path().join("away")).unwrap();
        let error = file.commit(&[("one".into(), Change::Actuated(actuated(1)))]).unwrap_err();
        assert_eq!(error.operation, "open");
        std::fs::rename(dir.path().join("away"), &sub).unwrap();
        file.commit(&[("one".into(), Change::Actuated(actuated(1)))]).unwrap();
        assert_eq!(file.read().unwrap().len(), 1);
    }
}
