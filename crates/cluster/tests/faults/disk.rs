//! A disk in memory that fails, hangs, tears and, when its machine loses power, forgets what was not flushed.

use std::io::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::{Database, StorageBackend};
use supple_node::OpenDatabase;

use crate::dice::{Dice, Fault, Layer};

/// What a power failure leaves whole: a write is torn between sectors, not within one.
const SECTOR: usize = 512;

/// The disk. It outlives the processes that open it.
pub struct Disk {
    name: &'static str,
    dice: Arc<Dice>,
    platter: Mutex<Platter>,
}

#[derive(Default)]
struct Platter {
    /// What is read: everything written.
    live: Vec<u8>,
    /// What a power failure leaves.
    durable: Vec<u8>,
    /// Writes since the last flush, in order.
    dirty: Vec<(usize, Vec<u8>)>,
    /// Whether a database has been made on it; until then a death leaves nothing, as of a file without its name.
    made: bool,
    /// How many processes have died on it; what an earlier one still holds open writes nothing.
    deaths: u64,
}

impl Disk {
    pub fn new(name: &'static str, dice: Arc<Dice>) -> Arc<Self> {
        Arc::new(Self { name, dice, platter: Mutex::default() })
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the database on it, for the process that lives now.
    pub fn opener(self: &Arc<Self>) -> OpenDatabase {
        let (disk, life) = (Arc::clone(self), self.platter().deaths);
        Arc::new(move |builder| {
            disk.clear_unfinished();
            let database = builder.create_with_backend(Handle { disk: Arc::clone(&disk), life })?;
            disk.platter().made = true;
            Ok(database)
        })
    }

    /// How long it hangs before the next flush.
    pub fn pace(self: &Arc<Self>) -> Arc<dyn Fn() -> Duration + Send + Sync> {
        let disk = Arc::clone(self);
        Arc::new(move || match disk.fault("pace", hangs) {
            Some(Fault::Hang(time)) => time,
            _ => Duration::ZERO,
        })
    }

    fn fault(&self, operation: &str, able: impl Fn(Fault) -> Option<Fault>) -> Option<Fault> {
        self.dice.fault(Layer::Disk, &format!("{} {operation}", self.name), "durable write", able)
    }

    fn clear_unfinished(&self) {
        let mut platter = self.platter();
        if !platter.made {
            *platter = Platter { deaths: platter.deaths, ..Platter::default() };
        }
    }

    /// The process is killed: the kernel keeps what was written.
    pub fn killed(&self) {
        self.platter().deaths += 1;
    }

    /// The power fails: of what was not flushed, any part may be there and any part not.
    pub fn power_lost(&self) {
        let mut platter = self.platter();
        platter.deaths += 1;
        for (offset, data) in std::mem::take(&mut platter.dirty) {
            for (nth, sector) in data.chunks(SECTOR).enumerate() {
                if self.dice.roll(self.name, 2) == 0 {
                    put(&mut platter.durable, offset + nth * SECTOR, sector);
                }
            }
        }
        let (durable, length) = (platter.durable.clone(), platter.live.len());
        platter.live = durable;
        platter.live.resize(length, 0);
    }

    /// A copy as a process would find it that is started now, opened without faults.
    pub fn copy(&self) -> Database {
        self.clear_unfinished();
        let backend = redb::backends::InMemoryBackend::new();
        let live = self.platter().live.clone();
        backend.set_len(live.len() as u64).and_then(|()| backend.write(0, &live)).expect("memory takes everything");
        Database::builder().create_with_backend(backend).expect("what a killed process leaves can be opened")
    }
}

/// Before a flush a disk can do nothing but hang: for long, or for a moment.
fn hangs(rolled: Fault) -> Option<Fault> {
    Some(if matches!(rolled, Fault::Hang(_)) { rolled } else { Fault::Hang(Duration::from_millis(200)) })
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

/// The disk as one process has it open.
struct Handle {
    disk: Arc<Disk>,
    life: u64,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.disk.name)
    }
}

impl Handle {
    fn platter(&self) -> Result<MutexGuard<'_, Platter>> {
        let platter = self.disk.platter();
        if platter.deaths == self.life { Ok(platter) } else { Err(Error::other("the process is dead")) }
    }

    /// It is not here that a disk hangs, but before a flush, where nothing waits but what is to be written.
    fn fault(&self, operation: &str) -> Option<Fault> {
        self.disk.fault(operation, |it| Some(it).filter(|it| !matches!(it, Fault::Hang(_))))
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> Result<u64> {
        Ok(self.platter()?.live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let platter = self.platter()?;
        let from = usize::try_from(offset).map_err(Error::other)?;
        let found = platter.live.get(from..from + out.len()).ok_or_else(|| Error::other("read behind the end"))?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let len = usize::try_from(len).map_err(Error::other)?;
        let able = |it| Some(it).filter(|it| matches!(it, Fault::Fail | Fault::Torn));
        if self.disk.fault("resize", able).is_some() {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        let mut platter = self.platter()?;
        platter.live.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        let fault = self.fault("flush");
        let mut platter = self.platter()?;
        if matches!(fault, Some(Fault::Fail)) {
            return Err(Error::other("flush failed"));
        }
        let mut dirty = std::mem::take(&mut platter.dirty);
        // Of a flush that is torn only the beginning is there to stay.
        let rest = if fault == Some(Fault::Torn) { dirty.split_off(dirty.len() / 2) } else { Vec::new() };
        // One that is repeated writes everything once more, in the same order.
        for (offset, data) in dirty.iter().chain(dirty.iter().filter(|_| fault == Some(Fault::Repeat))) {
            put(&mut platter.durable, *offset, data);
        }
        platter.dirty = rest;
        let live = platter.live.len();
        platter.durable.resize(live, 0);
        match fault {
            Some(Fault::Lost) => Err(Error::other("flushed, but the answer was lost")),
            Some(Fault::Torn) => Err(Error::other("flushed in part")),
            _ => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let offset = usize::try_from(offset).map_err(Error::other)?;
        let fault = self.fault("write");
        let mut platter = self.platter()?;
        let written = match fault {
            Some(Fault::Fail) => 0,
            Some(Fault::Torn) => data.len() / 2,
            _ => data.len(),
        };
        put(&mut platter.live, offset, &data[..written]);
        let times = if fault == Some(Fault::Repeat) { 2 } else { 1 };
        platter.dirty.extend(std::iter::repeat_n((offset, data[..written].to_vec()), times));
        if written < data.len() || matches!(fault, Some(Fault::Lost)) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}
