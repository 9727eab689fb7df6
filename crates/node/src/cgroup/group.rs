//! One cgroup of ours: its directories, made and listed. Values, counters and the end of it are in the files beside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{self, File};
use super::{CgroupError, Hierarchies, V1};

/// What a cgroup is for; cgroup v2 wants different things of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The one below which all of ours are.
    Root,
    /// A pod: holds containers, never processes.
    Pod,
    /// A container: holds processes.
    Container,
}

/// One cgroup: a directory in each hierarchy in use. A value; the directories need not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub(super) at: Hierarchies,
    pub(super) role: Role,
}

impl Group {
    /// Our own root of this name, directly below the hierarchies' directories.
    pub fn root(below: &Hierarchies, name: &str) -> Self {
        Self { at: below.join(name), role: Role::Root }
    }

    /// The group `name` inside this one. `name` must be a plain file name ([`Group::is_name`]).
    #[must_use]
    pub fn child(&self, name: &str, role: Role) -> Self {
        debug_assert!(Self::is_name(name), "{name:?} would lead out of our own root");
        Self { at: self.at.join(name), role }
    }

    /// Whether `name` can be a group's name: one path component, no surprises.
    pub fn is_name(name: &str) -> bool {
        !name.is_empty()
            && name.len() <= 255
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its directories, each once: v1 controllers often share one.
    pub fn directories(&self) -> Vec<&Path> {
        match &self.at {
            Hierarchies::V1(V1 { cpu, cpuacct, memory, unified }) => {
                let mut all: Vec<&Path> = vec![cpu, cpuacct, memory];
                all.extend(unified.as_deref());
                all.dedup();
                all
            }
            Hierarchies::V2(dir) => vec![dir],
        }
    }

    /// The directory in which memory is accounted: the one that is there exactly as long as the group is.
    pub fn memory_directory(&self) -> &Path {
        match &self.at {
            Hierarchies::V1(V1 { memory, .. }) => memory,
            Hierarchies::V2(dir) => dir,
        }
    }

    /// The files to which a process writes 0 to move itself in.
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.directories().into_iter().map(|dir| File::PROCS.of(dir)).collect()
    }

    /// Whether it exists (in every hierarchy).
    pub fn exists(&self) -> bool {
        self.directories().into_iter().all(Path::is_dir)
    }

    /// Make it; nothing if it is there already. A root also prepares what its descendants need: on v2 the controllers,
    /// on an old v1 kernel that limits bind descendants.
    ///
    /// # Errors
    /// [`CgroupError::Create`] or [`CgroupError::Write`]; directories made up to then are removed again.
    pub fn create(&self) -> Result<(), CgroupError> {
        let mut made = Vec::new();
        let result = self.directories().into_iter().try_for_each(|dir| {
            if self.role == Role::Root && matches!(self.at, Hierarchies::V2(_)) {
                delegate(dir.parent().unwrap_or(dir))?;
            }
            match fs::create_dir(dir) {
                Ok(()) => made.push(dir),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(CgroupError::Create { path: dir.to_owned(), source }),
            }
            Ok(())
        });
        let result = result.and_then(|()| self.prepare());
        if result.is_err() {
            for dir in made.into_iter().rev() {
                // The error that is reported is the first one; an empty directory that stays is found by `recover`.
                let _ = fs::remove_dir(dir);
            }
        }
        result
    }

    fn prepare(&self) -> Result<(), CgroupError> {
        match (&self.at, self.role) {
            (Hierarchies::V2(dir), Role::Root | Role::Pod) => delegate(dir),
            (Hierarchies::V1(V1 { memory, .. }), Role::Root) => {
                let binds = file::read_optional(memory, File::USE_HIERARCHY, "0 or 1", super::parse::number::<u8>)?;
                if binds == Some(0) { file::write(memory, File::USE_HIERARCHY, 1) } else { Ok(()) }
            }
            // As runtimes of the reference do: a container half of which is gone is rarely of use.
            (Hierarchies::V2(dir), Role::Container) if File::OOM_GROUP.of(dir).exists() => {
                file::write(dir, File::OOM_GROUP, 1)
            }
            _ => Ok(()),
        }
    }

    /// Names of the groups inside, sorted: the union over the hierarchies, because a killed predecessor may have made
    /// or removed only some.
    ///
    /// # Errors
    /// [`CgroupError::Read`]; a directory that is not there has no children.
    pub fn children(&self) -> Result<Vec<String>, CgroupError> {
        let mut names = Vec::new();
        for dir in self.directories() {
            names.extend(subdirectories(dir)?.iter().filter_map(|it| Some(it.file_name()?.to_str()?.to_owned())));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }
}

impl Hierarchies {
    fn join(&self, name: &str) -> Self {
        match self {
            Self::V1(V1 { cpu, cpuacct, memory, unified }) => Self::V1(V1 {
                cpu: cpu.join(name),
                cpuacct: cpuacct.join(name),
                memory: memory.join(name),
                unified: unified.as_ref().map(|dir| dir.join(name)),
            }),
            Self::V2(dir) => Self::V2(dir.join(name)),
        }
    }
}

/// Hand cpu and memory on to the children of `dir`, if that is not done yet.
fn delegate(dir: &Path) -> Result<(), CgroupError> {
    let have = file::read(dir, File::SUBTREE_CONTROL)?;
    for controller in ["cpu", "memory"] {
        if !have.split_whitespace().any(|it| it == controller) {
            file::write(dir, File::SUBTREE_CONTROL, format!("+{controller}"))?;
        }
    }
    Ok(())
}

/// The directories in `dir`; none where it is not there.
pub(super) fn subdirectories(dir: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let failed = |source| CgroupError::Read { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
            Ok((kind, path)) if kind.is_dir() => found.push(path),
            Ok(_) => {}
            // Removed while it was listed: so it is not there.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(found)
}
