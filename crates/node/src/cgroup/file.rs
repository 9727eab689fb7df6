//! One read or write of one cgroup file, by typed name; errors carry the path, the value and the kernel's number.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::CgroupError;
use super::fault::{self, Fate};

/// Name of a file the kernel puts into a cgroup's directory. Only the constants below exist, so a misspelt name does
/// not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File(&'static str);

macro_rules! files {
    ($($(#[doc = $doc:literal])* $constant:ident = $name:literal;)*) => {
        impl File {
            $($(#[doc = $doc])* pub const $constant: Self = Self($name);)*
        }
    };
}

files! {
    /// Both versions: processes inside; writing 0 moves the writer in.
    PROCS = "cgroup.procs";
    /// v2: controllers to be had here.
    CONTROLLERS = "cgroup.controllers";
    /// v2: controllers handed on to children.
    SUBTREE_CONTROL = "cgroup.subtree_control";
    /// v2: writing 1 kills everything inside, at once and for good.
    KILL = "cgroup.kill";
    /// v1: relative share of CPU.
    CPU_SHARES = "cpu.shares";
    /// v1: microseconds of CPU per period.
    CPU_QUOTA = "cpu.cfs_quota_us";
    /// v1: length of a period.
    CPU_PERIOD = "cpu.cfs_period_us";
    /// Both: throttling; v2 also usage.
    CPU_STAT = "cpu.stat";
    /// v1: nanoseconds of CPU used.
    CPUACCT_USAGE = "cpuacct.usage";
    /// v1.
    MEMORY_LIMIT = "memory.limit_in_bytes";
    /// v1: memory and swap together; absent without swap accounting.
    MEMSW_LIMIT = "memory.memsw.limit_in_bytes";
    /// v1.
    MEMORY_USAGE = "memory.usage_in_bytes";
    /// v1: highest usage seen.
    MEMORY_MAX_USAGE = "memory.max_usage_in_bytes";
    /// v1: whether limits bind descendants too; always so on newer kernels.
    USE_HIERARCHY = "memory.use_hierarchy";
    /// v1: `oom_kill`.
    OOM_CONTROL = "memory.oom_control";
    /// v1: where an eventfd is registered.
    EVENT_CONTROL = "cgroup.event_control";
    /// v2.
    CPU_MAX = "cpu.max";
    /// v2.
    CPU_WEIGHT = "cpu.weight";
    /// v2.
    MEMORY_MAX = "memory.max";
    /// v2: what is never reclaimed.
    MEMORY_MIN = "memory.min";
    /// v2: what is reclaimed last.
    MEMORY_LOW = "memory.low";
    /// v2: from where on it is slowed down.
    MEMORY_HIGH = "memory.high";
    /// v2.
    MEMORY_CURRENT = "memory.current";
    /// v2: highest usage seen, from Linux 5.19 on.
    MEMORY_PEAK = "memory.peak";
    /// v2: `oom_kill`.
    MEMORY_EVENTS = "memory.events";
    /// v2: the same, of this cgroup's own limits alone; from Linux 5.2 on.
    MEMORY_EVENTS_LOCAL = "memory.events.local";
    /// v2: writing a number of bytes reclaims as much, from Linux 5.19 on.
    MEMORY_RECLAIM = "memory.reclaim";
    /// v2: absent without swap accounting.
    SWAP_MAX = "memory.swap.max";
    /// v2: one OOM kill takes all.
    OOM_GROUP = "memory.oom.group";
    /// Both: `inactive_file`.
    MEMORY_STAT = "memory.stat";
    /// v1: how often the limit was met.
    MEMORY_FAILCNT = "memory.failcnt";
    /// v1: where an eventfd is told of reclaim.
    PRESSURE_LEVEL = "memory.pressure_level";
    /// v2, and the v2 side of a hybrid machine.
    CPU_PRESSURE = "cpu.pressure";
    /// Likewise.
    MEMORY_PRESSURE = "memory.pressure";
    /// Likewise.
    IO_PRESSURE = "io.pressure";
}

impl File {
    /// Its path in the cgroup `dir`.
    pub fn of(self, dir: &Path) -> std::path::PathBuf {
        dir.join(self.0)
    }
}

/// Read the file of the cgroup `dir`.
///
/// # Errors
/// [`CgroupError::Read`].
pub fn read(dir: &Path, file: File) -> Result<String, CgroupError> {
    let path = file.of(dir);
    // Not `read_to_string`: a fixture or a future kernel may hold bytes that are no UTF-8; what is no number is found
    // out by the parser, with the same error as any other content that is none.
    match fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(source) => Err(CgroupError::Read { path, source }),
    }
}

/// Read the file and parse it.
///
/// # Errors
/// [`CgroupError::Read`], or [`CgroupError::Malformed`] where `parse` refuses.
pub fn read_as<T>(
    dir: &Path,
    file: File,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, CgroupError> {
    let text = read(dir, file)?;
    parse(&text).ok_or_else(|| CgroupError::Malformed {
        path: file.of(dir),
        content: text.chars().take(120).collect(),
        expected,
    })
}

/// Like [`read_as`], for a file that not every kernel has: absent is `None`.
///
/// # Errors
/// Any other than that the file is absent.
pub fn read_optional<T>(
    dir: &Path,
    file: File,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, CgroupError> {
    match read_as(dir, file, expected, parse) {
        // EOPNOTSUPP: the file is there but PSI is switched off in this kernel.
        Err(error) if error.is_gone() || error.errno() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => Ok(None),
        other => other.map(Some),
    }
}

/// Write `value` to the file of the cgroup `dir`, in one `write` call as the kernel wants it.
///
/// # Errors
/// [`CgroupError::Write`].
pub fn write(dir: &Path, file: File, value: impl ToString) -> Result<(), CgroupError> {
    let (path, value) = (file.of(dir), value.to_string());
    let once = || {
        // Truncating changes nothing in a cgroup; it does in the plain files of a test.
        let mut open = fs::OpenOptions::new().write(true).truncate(true).open(&path)?;
        open.write_all(value.as_bytes())
    };
    let injected = || std::io::Error::from(rustix::io::Errno::IO);
    let written = match fault::of(&path) {
        Fate::Carry => once(),
        Fate::Refuse => Err(injected()),
        Fate::Hang(time) => {
            #[expect(clippy::disallowed_methods, reason = "it stands for the kernel, which does not await either")]
            std::thread::sleep(time);
            once()
        }
        Fate::Lose => once().and_then(|()| Err(injected())),
        Fate::Repeat => once().and_then(|()| once()),
    };
    written.map_err(|source| CgroupError::Write { path, value, source })
}
