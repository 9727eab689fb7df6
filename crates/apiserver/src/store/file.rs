//! The file beneath a durable store: one redb database with one table of objects and the revision of the last commit.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::object::{Indexer, Key, Object};
use super::state::{Event, EventType};

/// Key → (revision, JSON).
const OBJECTS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("objects");
/// `revision` → newest committed revision; `format` → [`FORMAT`].
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";
const FORMAT_KEY: &str = "format";
/// Version of this layout. A file of a newer one is refused rather than misread.
const FORMAT: u64 = 1;

/// Pages kept in memory. Objects are served from memory anyway; this only has to hold the tree's upper levels.
const CACHE: usize = 4 << 20;

/// Why the file could not be opened, read or written, in words for a person.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} {path}: {message}")]
pub struct FileError {
    /// What was being done.
    pub operation: &'static str,
    /// To which file.
    pub path: PathBuf,
    /// What was found, and what to do.
    pub message: String,
}

/// Opens the database beneath a store: a file, or in a fault test a disk that fails and forgets.
pub type OpenDatabase = Arc<dyn Fn(&redb::Builder) -> Result<Database, redb::DatabaseError> + Send + Sync>;

/// Where the database is, and how it is opened: at the start, and again after each failed write.
pub(super) struct Place {
    path: PathBuf,
    open: OpenDatabase,
}

impl Place {
    /// The file at `path`, created if it does not exist.
    pub(super) fn file(path: &Path) -> Self {
        let path = path.to_owned();
        let from = path.clone();
        Self { path, open: Arc::new(move |builder| open_file(builder, &from)) }
    }

    /// What `open` opens.
    pub(super) fn given(open: OpenDatabase) -> Self {
        Self { path: PathBuf::from("(the disk of a test)"), open }
    }

    fn open(&self) -> Result<Database, FileError> {
        let mut builder = Database::builder();
        // Without the check a damaged file may be noticed too late, by a panic.
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        (self.open)(&builder).map_err(|error| {
            let advice = match error {
                redb::DatabaseError::DatabaseAlreadyOpen => " (another process has it open)",
                redb::DatabaseError::UpgradeRequired(_) => {
                    " (it was written by another version of the storage library)"
                }
                _ => "",
            };
            failure("open", &self.path, &format!("{error}{advice}"))
        })
    }
}

/// Opens the file at `path`, or makes it: under another name first, because a file whose making was interrupted is no
/// database and could never be opened again.
fn open_file(builder: &redb::Builder, path: &Path) -> Result<Database, redb::DatabaseError> {
    if !path.try_exists().map_err(redb::StorageError::from)? {
        let unfinished = path.with_extension("unfinished");
        drop(builder.create_with_backend(backend(&unfinished, true)?)?);
        std::fs::rename(&unfinished, path).map_err(redb::StorageError::from)?;
        // The name too is to outlive a power failure.
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(directory).and_then(|it| it.sync_all()).map_err(redb::StorageError::from)?;
    }
    builder.create_with_backend(backend(path, false)?)
}

fn backend(path: &Path, truncate: bool) -> Result<redb::backends::FileBackend, redb::DatabaseError> {
    // Secrets are objects too: nobody else reads the file.
    let options =
        std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(truncate).mode(0o600).clone();
    redb::backends::FileBackend::new(options.open(path).map_err(redb::StorageError::from)?)
}

/// The open file.
pub(super) struct File {
    place: Place,
    /// `None` after a failed write: redb asks for the file to be opened anew before it is used again.
    database: Option<Database>,
    /// Events of writes that failed when the file could not be asked whether it has them. Everybody was told that they
    /// did not take place, so they are taken back with the next write.
    doubtful: Vec<Arc<Event>>,
}

impl File {
    /// Opens or creates the file and reads everything in it: the objects and the revision of the last commit.
    pub(super) fn open(place: Place, indexer: Indexer) -> Result<(Self, Vec<Object>, u64), FileError> {
        let database = place.open()?;
        let (objects, revision) =
            load(&database, indexer).map_err(|error| failure("read", &place.path, &error.to_string()))?;
        Ok((Self { place, database: Some(database), doubtful: Vec::new() }, objects, revision))
    }

    /// Whether the file may have more than anybody was told.
    pub(super) fn in_doubt(&self) -> bool {
        !self.doubtful.is_empty()
    }

    /// Writes events in one transaction and flushes it. On return they are durable. Without events only what is in doubt
    /// is taken back.
    pub(super) fn commit(&mut self, events: &[Arc<Event>]) -> Result<(), FileError> {
        if events.is_empty() && !self.in_doubt() {
            return Ok(());
        }
        let newest = events.last().map(|event| event.object.revision);
        let database = match self.database.take() {
            Some(database) => database,
            None => self.place.open()?,
        };
        let Err(error) = write(&database, &self.doubtful, events, newest) else {
            self.database = Some(database);
            self.doubtful.clear();
            return Ok(());
        };
        // After a failed flush the kernel may or may not have kept the pages: only the file can say.
        drop(database);
        match self.newest() {
            Ok(found) if newest == Some(found) => {
                self.doubtful.clear();
                Ok(())
            }
            Ok(_) => Err(failure("write", &self.place.path, &error.to_string())),
            Err(error) => {
                self.doubtful.extend(events.iter().cloned());
                Err(error)
            }
        }
    }

    /// Opens the file anew; the revision of its last commit.
    fn newest(&mut self) -> Result<u64, FileError> {
        let reopened = self.place.open()?;
        let found = revision(&reopened).map_err(|error| failure("read", &self.place.path, &error.to_string()))?;
        self.database = Some(reopened);
        Ok(found)
    }
}

fn failure(operation: &'static str, path: &Path, message: &str) -> FileError {
    FileError { operation, path: path.to_owned(), message: message.to_owned() }
}

fn write(
    database: &Database,
    doubtful: &[Arc<Event>],
    events: &[Arc<Event>],
    newest: Option<u64>,
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut be = |key: &Key, object: Option<&Object>| -> Result<(), redb::Error> {
            match object {
                Some(object) => drop(objects.insert(key.as_str(), (object.revision, &*object.json()))?),
                None => drop(objects.remove(key.as_str())?),
            }
            Ok(())
        };
        // The newest first: what was before the oldest of them is what remains.
        for event in doubtful.iter().rev() {
            be(&event.object.key, event.previous.as_deref())?;
        }
        for event in events {
            let is_there = event.kind != EventType::Deleted;
            be(&event.object.key, is_there.then_some(&*event.object))?;
        }
        if let Some(newest) = newest {
            transaction.open_table(META)?.insert(REVISION, newest)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn revision(database: &Database) -> Result<u64, redb::Error> {
    let meta = database.begin_read()?.open_table(META)?;
    Ok(meta.get(REVISION)?.map_or(0, |revision| revision.value()))
}

/// What can be wrong with a file that redb itself finds sound.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Database(#[from] redb::Error),
    #[error("it has layout {found} and this program knows up to {FORMAT}; start the newer program that wrote it")]
    Newer { found: u64 },
    #[error("the object {key} in it is not JSON; the file is damaged, restore it or start with another data directory")]
    Damaged { key: String },
}

fn load(database: &Database, indexer: Indexer) -> Result<(Vec<Object>, u64), LoadError> {
    prepare(database)?;
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    let meta = transaction.open_table(META).map_err(redb::Error::from)?;
    let read = |name| meta.get(name).map(|found| found.map_or(0, |value| value.value())).map_err(redb::Error::from);
    let found = read(FORMAT_KEY)?;
    if found > FORMAT {
        return Err(LoadError::Newer { found });
    }
    let newest = read(REVISION)?;
    let table = transaction.open_table(OBJECTS).map_err(redb::Error::from)?;
    let mut objects = Vec::new();
    for entry in table.iter().map_err(redb::Error::from)? {
        let (key, value) = entry.map_err(redb::Error::from)?;
        let (revision, json) = value.value();
        let object = Object::load(Key::from_stored(key.value()), revision, json, indexer)
            .ok_or_else(|| LoadError::Damaged { key: key.value().to_owned() })?;
        objects.push(object);
    }
    Ok((objects, newest))
}

/// Makes the tables of a new file.
fn prepare(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        if meta.get(FORMAT_KEY)?.is_some() {
            drop(meta);
            transaction.abort()?;
            return Ok(());
        }
        meta.insert(FORMAT_KEY, FORMAT)?;
        meta.insert(REVISION, 0)?;
        transaction.open_table(OBJECTS)?;
    }
    transaction.commit()?;
    Ok(())
}
