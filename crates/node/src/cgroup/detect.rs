//! Where the cgroup hierarchies are: the mount table in, typed hierarchies out. Nothing is made or written here.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CgroupError;
use super::file::{self, File};
use super::parse::{self, Mount};

/// Where to look for the mount table and this process's own cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounts {
    /// A file in the format of `/proc/self/mountinfo`.
    pub mountinfo: PathBuf,
    /// A file in the format of `/proc/self/cgroup`.
    pub own: PathBuf,
}

impl Mounts {
    /// `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub fn of_this_machine() -> Self {
        Self { mountinfo: "/proc/self/mountinfo".into(), own: "/proc/self/cgroup".into() }
    }
}

/// The directories of cgroup v1 in which a cgroup may be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1 {
    /// Of the hierarchy with `cpu`.
    pub cpu: PathBuf,
    /// Of the hierarchy with `cpuacct`; often the same.
    pub cpuacct: PathBuf,
    /// Of the hierarchy with `memory`.
    pub memory: PathBuf,
    /// Of a version 2 hierarchy mounted beside them (hybrid): it limits nothing, but it knows pressure and kills a
    /// whole cgroup at once.
    pub unified: Option<PathBuf>,
}

/// Which cgroups this machine has, and in which directories children may be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hierarchies {
    /// cpu and memory are on version 1 (legacy or hybrid).
    V1(V1),
    /// cpu and memory are on version 2.
    V2(PathBuf),
}

impl Hierarchies {
    /// Find them. A v1 hierarchy is used from the directory that is mounted, as a kubelet does; where that may not be
    /// written, from this process's own cgroup (a delegated one).
    ///
    /// # Errors
    /// [`CgroupError::Read`] for the tables, [`CgroupError::NoHierarchy`] where cpu and memory are not both on version
    /// 1 or both on version 2, or are mounted read-only.
    pub fn detect(mounts: &Mounts) -> Result<Self, CgroupError> {
        let read = |path: &Path| match fs::read(path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(source) => Err(CgroupError::Read { path: path.to_owned(), source }),
        };
        let table = parse::mountinfo(&read(&mounts.mountinfo)?);
        let own = read(&mounts.own)?;
        let with = |controller: &str| {
            let mount =
                table.iter().find(|it| it.kind == "cgroup" && it.options.iter().any(|option| option == controller))?;
            Some((mount, base(mount, parse::own_path(&own, controller))))
        };
        // Not every cgroup2 mount is this machine's own: a container's root file system may hold another one. The
        // first in the table is the one that was mounted first.
        let unified = table.iter().find(|it| it.kind == "cgroup2").map(|it| (it, base(it, parse::own_path(&own, ""))));
        let writable = |name: &str, mount: &Mount| match mount.read_only {
            false => Ok(()),
            true => Err(CgroupError::NoHierarchy(format!("{name} at {} is mounted read-only", mount.point.display()))),
        };
        match (with("cpu"), with("memory"), &unified) {
            (Some((cpu_mount, cpu)), Some((memory_mount, memory)), _) => {
                writable("cpu", cpu_mount)?;
                writable("memory", memory_mount)?;
                let (_, cpuacct) = with("cpuacct").ok_or_else(|| {
                    CgroupError::NoHierarchy("cpu and memory are on version 1, cpuacct is not".into())
                })?;
                let unified = unified.filter(|(mount, _)| !mount.read_only).map(|(_, dir)| dir);
                Ok(Self::V1(V1 { cpu, cpuacct, memory, unified }))
            }
            (None, None, Some((mount, dir))) => {
                writable("version 2", mount)?;
                let controllers = file::read(dir, File::CONTROLLERS)?;
                match ["cpu", "memory"].iter().find(|it| !controllers.split_whitespace().any(|has| has == **it)) {
                    None => Ok(Self::V2(dir.clone())),
                    Some(absent) => Err(CgroupError::NoHierarchy(format!(
                        "the version 2 hierarchy at {} has no {absent} controller (it has: {})",
                        dir.display(),
                        controllers.trim(),
                    ))),
                }
            }
            (None, None, None) => Err(CgroupError::NoHierarchy("none is mounted".into())),
            (cpu, memory, _) => Err(CgroupError::NoHierarchy(format!(
                "{} is on version 1 and {} is not",
                if cpu.is_some() { "cpu" } else { "memory" },
                if memory.is_some() { "cpu" } else { "memory" },
            ))),
        }
    }

    /// Version and place in words: "cgroup v1 cpu and memory hierarchies at /sys/fs/cgroup/cpu and …".
    pub fn describe(&self) -> String {
        match self {
            Self::V1(V1 { cpu, memory, .. }) => {
                format!("cgroup v1 cpu and memory hierarchies at {} and {}", cpu.display(), memory.display())
            }
            Self::V2(dir) => format!("cgroup v2 hierarchy with cpu and memory at {}", dir.display()),
        }
    }
}

/// Where every hierarchy of this machine is mounted that may be written, with resource controllers or without: a
/// container runtime makes its cgroups in each of them.
///
/// # Errors
/// [`CgroupError::Read`] for the mount table.
pub fn mounted(mounts: &Mounts) -> Result<Vec<PathBuf>, CgroupError> {
    let text =
        fs::read(&mounts.mountinfo).map_err(|source| CgroupError::Read { path: mounts.mountinfo.clone(), source })?;
    let mut points: Vec<PathBuf> = parse::mountinfo(&String::from_utf8_lossy(&text))
        .into_iter()
        .filter(|mount| matches!(mount.kind.as_str(), "cgroup" | "cgroup2") && !mount.read_only)
        .map(|mount| mount.point)
        .collect();
    points.sort_unstable();
    points.dedup();
    Ok(points)
}

/// The directory below which to make a cgroup: the mounted one where it may be written, else this process's own.
fn base(mount: &Mount, own: Option<&str>) -> PathBuf {
    let may_write =
        |dir: &Path| rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok();
    if may_write(&mount.point) {
        return mount.point.clone();
    }
    own.and_then(|path| Path::new(path).strip_prefix(&mount.root).ok())
        .map(|below| mount.point.join(below))
        .filter(|dir| may_write(dir))
        .unwrap_or_else(|| mount.point.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine in a directory: `{}` in the mount table stands for the directory.
    #[track_caller]
    fn check(table: &str, controllers: Option<&str>, expect: Result<&str, &str>) {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display().to_string();
        for name in ["cpu", "cpuacct", "memory", "unified"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        if let Some(controllers) = controllers {
            fs::write(dir.path().join("unified/cgroup.controllers"), controllers).unwrap();
        }
        let mounts = Mounts { mountinfo: dir.path().join("mountinfo"), own: dir.path().join("own") };
        fs::write(&mounts.mountinfo, table.replace("{}", &at)).unwrap();
        fs::write(&mounts.own, "2:cpu,cpuacct:/\n1:memory:/a\n0::/\n").unwrap();
        let got = Hierarchies::detect(&mounts).map(|it| it.describe().replace(&at, "{}"));
        let got = got.map_err(|error| error.to_string().replace(&at, "{}"));
        assert_eq!(got.as_deref().map_err(String::as_str), expect, "{table}");
    }

    const CPU: &str = "32 31 0:29 / {}/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n";
    const MEMORY: &str = "35 31 0:32 / {}/memory rw,relatime - cgroup cgroup rw,memory\n";
    const UNIFIED: &str = "41 31 0:38 / {}/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn version_1_hybrid_and_2() {
        let v1 = Ok("cgroup v1 cpu and memory hierarchies at {}/cpu and {}/memory");
        check(&[CPU, MEMORY].concat(), None, v1);
        check(&[CPU, MEMORY, UNIFIED].concat(), Some("hugetlb"), v1);
        check(
            UNIFIED,
            Some("cpuset cpu io memory pids\n"),
            Ok("cgroup v2 hierarchy with cpu and memory at {}/unified"),
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = |text: &'static str| Err(text);
        check("", None, refused("no cgroup hierarchy has both cpu and memory: none is mounted"));
        check(
            UNIFIED,
            Some("hugetlb\n"),
            refused(
                "no cgroup hierarchy has both cpu and memory: the version 2 hierarchy at {}/unified has no cpu controller (it has: hugetlb)",
            ),
        );
        check(
            &[CPU, UNIFIED].concat(),
            Some("memory"),
            refused("no cgroup hierarchy has both cpu and memory: cpu is on version 1 and memory is not"),
        );
        check(
            &[CPU, &MEMORY.replace("rw,relatime", "ro,relatime")].concat(),
            None,
            refused("no cgroup hierarchy has both cpu and memory: memory at {}/memory is mounted read-only"),
        );
        check(UNIFIED, None, refused("read {}/unified/cgroup.controllers: No such file or directory (os error 2)"));
    }
}
