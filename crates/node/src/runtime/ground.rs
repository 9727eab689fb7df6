//! What every runtime that works on this machine stands on: the name of its root cgroup, its directories, its locks.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::stream::{BoxStream, StreamExt as _};
use supple_quantity::Bytes;
use supple_resize::kernel::CgroupResources;
use tokio::sync::{mpsc, watch};

use super::{ContainerRef, ContainerUsage, Exit, RunState, RuntimeError, RuntimeEvent, error};
use crate::cgroup::{Group, Stat};

/// The name of our root in the hierarchies, made once per data directory. Not derived from the directory's path: two
/// programs in two containers may have the same path and see the same cgroups, and one would end the other's pods.
pub fn root_name(file: &Path) -> io::Result<String> {
    match fs::read_to_string(file) {
        Ok(name) if Group::is_name(name.trim()) && name.starts_with("supple-") => return Ok(name.trim().to_owned()),
        Ok(_) => {} // a torn or foreign file names nothing of ours
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let name = format!("supple-{}", uuid::Uuid::new_v4().simple());
    let beside = file.with_extension("new");
    fs::write(&beside, &name)?;
    fs::File::open(&beside)?.sync_all()?;
    fs::rename(&beside, file)?;
    Ok(name)
}

/// Where the records and logs of containers are, below a data directory.
pub fn containers_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("containers")
}

/// Make a directory that only we may enter: environments and logs are nobody else's.
pub fn make_private(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))
}

/// What the cgroup of a container says it uses. What is not in there (when it started, its CPU over a window) is left out.
pub fn usage_of(container: &str, stat: &Stat) -> ContainerUsage {
    ContainerUsage {
        container: container.to_owned(),
        cpu_usage_nanos: stat.cpu_usage_nanos,
        memory_usage: memory(stat.memory_usage),
        memory_working_set: memory(stat.memory_working_set()),
        memory_peak: memory(stat.memory_peak),
        memory_rss: memory(stat.memory_rss),
        memory_cache: memory(stat.memory_cache),
        page_faults: stat.page_faults,
        major_page_faults: stat.major_page_faults,
        cpu_periods: stat.cpu_periods,
        throttled_periods: stat.throttled_periods,
        throttled_nanos: stat.throttled_nanos,
        memory_high_hits: stat.memory_events.high,
        memory_max_hits: stat.memory_events.max,
        oom_kills: stat.memory_events.oom_kill,
        cpu_pressure: stat.cpu_pressure,
        memory_pressure: stat.memory_pressure,
        io_pressure: stat.io_pressure,
        ..ContainerUsage::default()
    }
}

/// Lock; a panic elsewhere leaves maps that are still whole, so it does not spread.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A size as the kernel and the CRI give it.
pub fn memory(bytes: u64) -> Bytes {
    Bytes(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Remove a directory with everything in it; nothing if it is gone already.
pub fn remove_dir(dir: &Path) -> Result<(), RuntimeError> {
    match fs::remove_dir_all(dir) {
        Err(it) if it.kind() != io::ErrorKind::NotFound => Err(error::record("remove", dir, &it)),
        _ => Ok(()),
    }
}

/// Write values to a cgroup. Lowering a memory limit makes the kernel reclaim before the call returns, which may take
/// long: that alone is done on a thread of its own.
pub async fn apply(group: Group, values: CgroupResources) -> Result<(), RuntimeError> {
    let lowers = match values.memory_limit_bytes {
        Some(limit) if limit >= 0 => {
            let usage = group.memory_usage().map_err(|it| error::cgroup(&it))?;
            u64::try_from(limit).is_ok_and(|limit| limit < usage)
        }
        _ => false,
    };
    let result = match lowers {
        false => group.apply(&values),
        true => tokio::task::spawn_blocking(move || group.apply(&values)).await.map_err(|lost| error::task(&lost))?,
    };
    result.map_err(|it| error::cgroup(&it))
}

/// End a cgroup with everything inside.
pub async fn end(group: Group) -> Result<(), RuntimeError> {
    let ended = tokio::task::spawn_blocking(move || group.end()).await.map_err(|lost| error::task(&lost))?;
    ended.map_err(|it| error::cgroup(&it))
}

/// Everything that is told, for the first who asks; for any other nothing.
pub fn events(receiver: Option<mpsc::UnboundedReceiver<RuntimeEvent>>) -> BoxStream<'static, RuntimeEvent> {
    match receiver {
        Some(receiver) => futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|event| (event, receiver))
        })
        .boxed(),
        None => futures::stream::empty().boxed(),
    }
}

/// Of each container of one pod the run with the greatest attempt.
pub fn newest(runs: impl Iterator<Item = (ContainerRef, RunState)>) -> Vec<(ContainerRef, RunState)> {
    let mut newest: BTreeMap<String, (ContainerRef, RunState)> = BTreeMap::new();
    for (id, state) in runs {
        if newest.get(&id.container).is_none_or(|(known, _)| known.attempt < id.attempt) {
            newest.insert(id.container.clone(), (id, state));
        }
    }
    newest.into_values().collect()
}

/// Wait until a phase has come in which `ended` finds an end.
pub async fn end_of<P>(phase: &watch::Sender<P>, ended: impl Fn(&P) -> Option<Exit>) -> Exit {
    let mut phase = phase.subscribe();
    loop {
        if let Some(exit) = ended(&phase.borrow_and_update()) {
            return exit;
        }
        if phase.changed().await.is_err() {
            // The sender is borrowed by the caller of this.
            std::future::pending::<()>().await;
        }
    }
}
