//! The checkpoint file: two redb tables, `allocated` and `actuated`, from a pod's UID to JSON.
//!
//! JSON because the records are small, a person can read them in a dump, and the resource types already have it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use supple_resize::actuate::Actuated;

use super::{Allocated, Backing, Change, CheckpointError, Records};
use crate::options::OpenDatabase;

const ALLOCATED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("allocated");
const ACTUATED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("actuated");

/// The records are a few hundred bytes a pod; this holds those of a full node of a hundred, and of more the upper levels.
const CACHE_BYTES: usize = 2 << 20;

/// The open file.
pub(super) struct File {
    path: PathBuf,
    open: OpenDatabase,
    /// `None` after an error: redb refuses everything after one, so the next commit opens the file again.
    database: Option<Database>,
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
        let mut file = Self { path, open, database: None };
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
        // A write transaction, because it creates the tables of a new file.
        let transaction = database.begin_write().map_err(|e| fail(e.into()))?;
        {
            let table = transaction.open_table(ALLOCATED).map_err(|e| fail(e.into()))?;
            for row in table.iter().map_err(|e| fail(e.into()))? {
                let (uid, value) = row.map_err(|e| fail(e.into()))?;
                let allocated: Allocated = decode(&path, uid.value(), value.value())?;
                records.entry(uid.value().to_owned()).or_default().allocated = Some(allocated);
            }
            let table = transaction.open_table(ACTUATED).map_err(|e| fail(e.into()))?;
            for row in table.iter().map_err(|e| fail(e.into()))? {
                let (uid, value) = row.map_err(|e| fail(e.into()))?;
                let actuated: Actuated = decode(&path, uid.value(), value.value())?;
                records.entry(uid.value().to_owned()).or_default().actuated = Some(actuated);
            }
        }
        transaction.commit().map_err(|e| fail(e.into()))?;
        Ok(records)
    }

    fn write(&mut self, changes: &[(String, Change)]) -> Result<(), CheckpointError> {
        let path = self.path.clone();
        let fail =
            |error: redb::Error| CheckpointError { operation: "write", path: path.clone(), message: error.to_string() };
        let transaction = self.database()?.begin_write().map_err(|e| fail(e.into()))?;
        {
            let mut allocated = transaction.open_table(ALLOCATED).map_err(|e| fail(e.into()))?;
            let mut actuated = transaction.open_table(ACTUATED).map_err(|e| fail(e.into()))?;
            for (uid, change) in changes {
                match change {
                    Change::Allocated(record) => {
                        allocated
                            .insert(uid.as_str(), encode(&path, record)?.as_slice())
                            .map_err(|e| fail(e.into()))?;
                    }
                    Change::Actuated(record) => {
                        actuated.insert(uid.as_str(), encode(&path, record)?.as_slice()).map_err(|e| fail(e.into()))?;
                    }
                    Change::Forgotten => {
                        allocated.remove(uid.as_str()).map_err(|e| fail(e.into()))?;
                        actuated.remove(uid.as_str()).map_err(|e| fail(e.into()))?;
                    }
                }
            }
        }
        transaction.commit().map_err(|e| fail(e.into()))
    }
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

fn decode<T: DeserializeOwned>(path: &Path, uid: &str, value: &[u8]) -> Result<T, CheckpointError> {
    serde_json::from_slice(value).map_err(|error| CheckpointError {
        operation: "read",
        path: path.to_owned(),
        message: format!(
            "the record of pod {uid} is not one this version wrote ({error}); stop the cluster and remove the file to have \
             every pod allocated what its spec says"
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
