//! What a fault harness makes of a write to a cgroup file. In production nobody has installed one, and every write is
//! carried out.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// What becomes of one write. The kernel takes a value whole or not at all: what can be torn is a change of several files,
/// by refusing one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out.
    Carry,
    /// It is refused, with an error that means nothing in particular.
    Refuse,
    /// It takes this long, as where the kernel reclaims memory first.
    Hang(Duration),
    /// It is carried out, and an error says that it was not.
    Lose,
    /// It is carried out twice.
    Repeat,
}

type Fates = Box<dyn Fn(&Path) -> Fate + Send + Sync>;

static FATES: OnceLock<Fates> = OnceLock::new();

/// From now on `fate` decides about every write of this process, by the file's path. Once in a process: a test that does
/// this is a program of its own.
///
/// # Errors
/// Somebody else decides already.
pub fn install(fate: impl Fn(&Path) -> Fate + Send + Sync + 'static) -> Result<(), &'static str> {
    FATES.set(Box::new(fate)).map_err(|_| "the fate of writes to cgroups is decided already")
}

pub(super) fn of(path: &Path) -> Fate {
    FATES.get().map_or(Fate::Carry, |fate| fate(path))
}
